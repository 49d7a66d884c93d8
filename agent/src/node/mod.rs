//! `goldring node`: what a node does once stage 2 runs. `init` starts it, reads its
//! outcome, and starts it again or reboots.

mod clone;
mod shell;
mod ssh;

use std::fs;
use std::path::Path;

use anyhow::Context;
use goldring_contract::bootargs::{BootArgs, CloneMethod};
use goldring_contract::handover::{Network, Outcome};
use goldring_contract::{Root, paths};

use crate::bootable::Names;
use crate::install;

/// Options of `goldring node`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Stands for / when reading /proc and /run (for tests)
    #[arg(long, default_value = "/", hide = true)]
    root: std::path::PathBuf,
    /// With kamethod: this disk stands for that of the golden node (for tests)
    #[arg(long, value_name = "GOLDEN=HERE", value_parser = Names::parse, hide = true)]
    disk: Vec<(String, String)>,
}

/// Does what the kernel command line says and leaves the outcome for `init`.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    // A key on the console must not end a clone; Ctrl-Alt-Del does. Before any thread.
    goldring_sys::signals::ignore_keys().context("blocking the keys of the console")?;
    let root = Root::at(&args.root);
    let outcome = work(&root, &args.disk);
    let (word, reason) = match &outcome {
        Outcome::Done(reason) => ("done", reason),
        Outcome::Retry(reason) => ("this try failed", reason),
        Outcome::Reboot(reason) => ("giving up", reason),
        Outcome::Hold(reason) => ("stopping here", reason),
    };
    eprintln!("goldring: {word}: {reason}");
    write_outcome(&root, &outcome)
}

fn work(root: &Root, disks: &[(String, String)]) -> Outcome {
    let text = fs::read_to_string(root.join("/proc/cmdline")).unwrap_or_default();
    let boot = match BootArgs::parse(&text) {
        Ok(boot) => boot,
        Err(error) => return Outcome::Reboot(crate::fault::one_line(error)),
    };
    match boot.clone {
        Some(CloneMethod::Dolly) => clone::dolly(root, &network(root)),
        Some(CloneMethod::Ka) => install::run(root, &network(root), boot.kaopt.as_deref(), disks),
        Some(CloneMethod::DollyPlus) => clone::dolly_plus(root),
        None => {
            if let Some(url) = &boot.ssh_key {
                ssh::start(root, &network(root), url);
            }
            shell::run(root)
        }
    }
}

/// What `init` learnt. Without it a node still knows its own addresses.
fn network(root: &Root) -> Network {
    let Ok(text) = fs::read_to_string(root.join(paths::HANDOVER)) else {
        return Network::default();
    };
    Network::parse(&text).unwrap_or_else(|error| {
        eprintln!("goldring: {}: {error}", paths::HANDOVER);
        Network::default()
    })
}

fn write_outcome(root: &Root, outcome: &Outcome) -> anyhow::Result<()> {
    let path = root.join(paths::OUTCOME);
    let context = || format!("writing the outcome to {}", path.display());
    fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).with_context(context)?;
    fs::write(&path, outcome.to_string()).with_context(context)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(cmdline: &str) -> Outcome {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("proc")).unwrap();
        fs::write(dir.path().join("proc/cmdline"), cmdline).unwrap();
        let root = dir.path().to_owned();
        let disk = Vec::new();
        run(&Args {
            root: root.clone(),
            disk,
        })
        .unwrap();
        Outcome::parse(&fs::read_to_string(root.join("run/goldring/outcome")).unwrap()).unwrap()
    }

    #[test]
    fn a_command_line_that_is_none_is_told() {
        let Outcome::Reboot(reason) = outcome("automatic=method rescue dollymethod") else {
            panic!();
        };
        assert!(reason.contains("has no colon"), "{reason}");
    }

    #[test]
    fn without_a_shell_the_machine_is_left_as_it_is() {
        assert!(matches!(outcome("rescue"), Outcome::Hold(_)));
    }
}
