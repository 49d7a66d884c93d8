//! Stories in virtual machines. Each trial is one sentence about what a person sees.

mod cards;
mod clone;
mod images;
mod ka;
mod ka_clone;
mod ka_stacks;
mod losses;
mod mounted;
mod network;
mod people;
mod ramdisk;
mod rescue;
mod stage1;
mod turns;
mod web;

use std::process::ExitCode;

pub(crate) use goldring_host_tests::timing::not_long;
use goldring_host_tests::timing::{print_slowest, timed};
use libtest_mimic::{Arguments, Failed, Trial};

/// A trial that counts as ignored, and says why, when something is missing.
fn trial(
    name: &'static str,
    missing: Option<&str>,
    story: impl FnOnce() -> anyhow::Result<()> + Send + 'static,
) -> Trial {
    if let Some(missing) = missing {
        eprintln!("ignored: {name}: {missing}");
    }
    let run = move || {
        let result = turns::in_turn(|| timed(name, story));
        result.map_err(|error| Failed::from(format!("{error:#}")))
    };
    Trial::test(name, run).with_ignored_flag(missing.is_some())
}

/// Why no virtual machine can be started here, if so.
fn no_qemu() -> Option<&'static str> {
    let there = std::process::Command::new("qemu-system-x86_64")
        .arg("--version")
        .output()
        .is_ok();
    (!there).then_some("needs qemu-system-x86; as root, cargo xtask test installs it")
}

/// Why the lab cannot run here, if so.
fn no_lab() -> Option<&'static str> {
    use std::os::unix::fs::MetadataExt;
    // The owner of this process, without a system call of our own.
    let root = std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
    if root {
        no_qemu()
    } else {
        Some("the lab needs root: sudo cargo xtask test --tier vm")
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let mut trials = images::trials();
    trials.extend(stage1::trials());
    trials.extend(rescue::trials());
    trials.extend(people::trials());
    trials.extend(network::trials());
    trials.extend(ramdisk::trials());
    trials.extend(ka::trials());
    trials.extend(ka_clone::trials());
    trials.extend(ka_stacks::trials());
    trials.extend(mounted::trials());
    trials.extend(web::trials());
    trials.extend(cards::trials());
    trials.extend(clone::trials());
    trials.extend(losses::trials());
    let conclusion = libtest_mimic::run(&arguments, trials);
    print_slowest();
    conclusion.exit_code()
}
