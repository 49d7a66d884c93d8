//! The boot: our `vmlinuz` and `all.rdz` to "stage 2 running" (drivers, DHCP and the
//! download of stage 2 included), beside the same kernel with a Debian initramfs of
//! `MODULES=most` to its shell (drivers by udev, no network). The same machine, turn by
//! turn, by the clock of the kernel that boots.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use goldring_builder::newc;
use goldring_builder::tree::Tree;
use goldring_contract::sentences::{Milestone, parse_mark};

use super::Boot;
use super::stats::{Spread, spread};
use crate::lab::{self, Scene};
use crate::workspace;

/// The machine's cards: four makers, four drivers.
const NICS: [&str; 4] = ["virtio-net-pci", "e1000e", "rtl8139", "vmxnet3"];
/// Its disk controllers.
const DISKS: [&str; 6] = [
    "virtio-blk-pci",
    "ich9-ahci",
    "nvme",
    "lsi53c895a",
    "megasas",
    "usb-storage",
];
/// Of each disk.
const DISK_SIZE: u64 = 64 << 20;
/// A boot takes no longer than this, however busy the machine is.
const LIMIT: Duration = Duration::from_secs(1200);
/// What the Debian side prints just before its shell.
const SHELL: &str = "debian: shell, ";
/// Its initramfs-tools run this before a shell.
const HOOK: &str =
    "read up rest < /proc/uptime\necho \"debian: shell, $up s after kernel start\"\n";

/// One boot: seconds after kernel start.
#[derive(Debug, Default)]
struct Run {
    marks: Vec<(Milestone, f64)>,
    shell: Option<f64>,
}

/// Measures and prints.
pub(super) fn run(options: &Boot) -> Result<()> {
    lab::prepare_host(options.install)?;
    let work = workspace::target().join("lab");
    let _lock = lab::lock(&work)?;
    let images = lab::images(options.images.as_deref())?;
    let golden = lab::golden::make(&work)?;
    same_kernel(&images, &golden.kernel)?;
    let folder = workspace::target().join("bench");
    let scratch = folder.join("run");
    if scratch.exists() {
        fs::remove_dir_all(&scratch).with_context(|| format!("emptying {}", scratch.display()))?;
    }
    fs::create_dir_all(&scratch).with_context(|| format!("making {}", scratch.display()))?;
    let initrd = scratch.join("debian.initrd");
    fs::write(&initrd, debian(&golden.initrd)?)
        .with_context(|| format!("writing {}", initrd.display()))?;

    let scene = Scene::start(&images, &scratch, NICS.len())?;
    let mut runs = Vec::new();
    for number in 1..=options.runs.get() {
        let ours = boot(&scene, options, &images.join("all.rdz"), "ours", number)?;
        println!("run {number}: ours    {}", told(&ours));
        let debian = boot(&scene, options, &initrd, "debian", number)?;
        println!("run {number}: Debian  {}", told(&debian));
        runs.push((ours, debian));
    }
    let raw = folder.join("boot.csv");
    fs::write(&raw, csv(&runs)).with_context(|| format!("writing {}", raw.display()))?;
    print!("\n{}", report(&runs, &images, &golden.initrd)?);
    println!("raw data: {}", raw.display());
    Ok(())
}

/// Both sides boot the same file, so their modules must be for it.
fn same_kernel(images: &Path, golden: &Path) -> Result<()> {
    let read = |path: &Path| fs::read(path).with_context(|| format!("reading {}", path.display()));
    if read(&images.join("vmlinuz"))? == read(golden)? {
        return Ok(());
    }
    bail!(
        "{} is another kernel than that of the golden system; remove {} and make the images again \
         with cargo xtask image --refresh, so that both are the newest",
        images.join("vmlinuz").display(),
        golden.with_file_name("golden.img").display()
    )
}

/// Debian's initramfs with the hook behind it: the kernel unpacks one archive after the
/// other.
fn debian(initrd: &Path) -> Result<Vec<u8>> {
    let mut bytes = fs::read(initrd).with_context(|| format!("reading {}", initrd.display()))?;
    // An archive begins at a multiple of four.
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    let mut tree = Tree::new();
    tree.text("scripts/panic/ORDER", HOOK)?;
    newc::write(&tree, bytes)
}

/// Boots once.
fn boot(scene: &Scene, options: &Boot, initrd: &Path, side: &str, number: u8) -> Result<Run> {
    let disks = disks(scene.folder())?;
    let words = match side {
        // A screen of pixels costs time that Debian's side does not spend.
        "ours" => scene.words().replace("vga=788 ", ""),
        _ => "root=/dev/none break=premount console=tty0 console=ttyS0,115200 no_timer_check"
            .to_owned(),
    };
    let mut arguments = lab::engine(&options.accel, options.memory);
    for (number, (model, disk)) in DISKS.iter().zip(disks).enumerate() {
        let drive = format!("d{number}");
        arguments.push("-drive".to_owned());
        arguments.push(format!(
            "file={},if=none,id={drive},format=raw,cache=unsafe",
            disk.display()
        ));
        let model = lab::models::disk(model).context("no such disk controller")?;
        arguments.extend(model.arguments(&drive, None));
    }
    for (number, model) in NICS.iter().enumerate() {
        let model = lab::models::nic(model).context("no such card")?;
        arguments.extend(scene.card(&model, number + 1));
    }
    arguments.extend([
        "-kernel".to_owned(),
        scene.images().join("vmlinuz").display().to_string(),
        "-initrd".to_owned(),
        initrd.display().to_string(),
        "-append".to_owned(),
        words,
    ]);
    let name = format!("{side}.{number}");
    let mut guest = scene.boot(&name, &arguments)?;
    match side {
        // The disks as well, so that a later look at the figures has all of them.
        "ours" => {
            let both = [Milestone::Stage2Running, Milestone::ModulesLoaded];
            let words = both.map(|milestone| format!("goldring: {milestone}, "));
            for words in words {
                guest.wait_for(&words, LIMIT, || Ok(()))?;
            }
        }
        _ => guest.wait_for(SHELL, LIMIT, || Ok(()))?,
    }
    Ok(read(&guest.console()?))
}

/// Six empty disks, made anew for each boot.
fn disks(folder: &Path) -> Result<Vec<PathBuf>> {
    let make = |number: usize| {
        let path = folder.join(format!("disk{number}"));
        File::create(&path)
            .and_then(|file| file.set_len(DISK_SIZE))
            .with_context(|| format!("making {}", path.display()))?;
        Ok(path)
    };
    (0..DISKS.len()).map(make).collect()
}

/// The figures on a console.
fn read(console: &str) -> Run {
    let shell = console.lines().find_map(|line| {
        let rest = line.split_once(SHELL)?.1;
        rest.split_once(" s after")?.0.parse().ok()
    });
    Run {
        marks: console.lines().filter_map(parse_mark).collect(),
        shell,
    }
}

impl Run {
    fn at(&self, milestone: Milestone) -> Option<f64> {
        let mark = self.marks.iter().find(|(m, _)| *m == milestone)?;
        Some(mark.1)
    }
}

fn told(run: &Run) -> String {
    match run.shell {
        Some(seconds) => format!("shell after {seconds:.2} s"),
        None => {
            let marks = run.marks.iter();
            let marks: Vec<String> = marks.map(|(m, s)| format!("{m} {s:.2} s")).collect();
            marks.join(", ")
        }
    }
}

/// One line for each figure.
fn csv(runs: &[(Run, Run)]) -> String {
    let mut text = String::from("run,side,moment,seconds after kernel start\n");
    for (number, (ours, debian)) in runs.iter().enumerate() {
        let number = number + 1;
        // Writing to a String cannot fail.
        for (milestone, seconds) in &ours.marks {
            let _ = writeln!(text, "{number},goldring,{milestone},{seconds}");
        }
        if let Some(seconds) = debian.shell {
            let _ = writeln!(text, "{number},debian,shell,{seconds}");
        }
    }
    text
}

fn report(runs: &[(Run, Run)], images: &Path, initrd: &Path) -> Result<String> {
    let of = |milestone| {
        let figures: Vec<f64> = runs
            .iter()
            .filter_map(|(ours, _)| ours.at(milestone))
            .collect();
        spread(&figures)
    };
    let shells: Vec<f64> = runs.iter().filter_map(|(_, debian)| debian.shell).collect();
    let (Some(stage2), Some(shell)) = (of(Milestone::Stage2Running), spread(&shells)) else {
        bail!("no figures");
    };
    let size = |path: &Path| fs::metadata(path).map_or(0.0, |file| file.len() as f64 / 1e6);
    let mut text = format!(
        "{} cards ({}), {} disk controllers ({})\n\n\
         seconds after kernel start, {} runs each         least  median  greatest\n",
        NICS.len(),
        NICS.join(", "),
        DISKS.len(),
        DISKS.join(", "),
        runs.len()
    );
    let mut row = |name: String, figures: Spread| {
        let _ = writeln!(
            text,
            "{name:<48} {:>6.2}  {:>6.2}  {:>8.2}",
            figures.least, figures.median, figures.greatest
        );
    };
    let all = size(&images.join("all.rdz"));
    for milestone in [Milestone::AddressBound, Milestone::ModulesLoaded] {
        if let Some(figures) = of(milestone) {
            row(format!("goldring: {milestone}"), figures);
        }
    }
    row(
        format!("goldring: stage 2 running (all.rdz {all:.1} MB)"),
        stage2,
    );
    row(
        format!("Debian: shell (initramfs {:.1} MB)", size(initrd)),
        shell,
    );
    let _ = writeln!(
        text,
        "\nratio of the medians, goldring to Debian: {:.2}\n\
         goldring's figure has DHCP and the download of stage 2 ({:.1} MB, http) in it, \
         Debian's has neither.",
        stage2.median / shell.median,
        size(&images.join("rescue.clp")),
    );
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_from_consoles() {
        let ours = read(
            "x\r\n[ 1.0] y goldring: address bound, 3.85 s after kernel start\r\n\
                         goldring: stage 2 running, 5.66 s after kernel start",
        );
        assert_eq!(ours.at(Milestone::Stage2Running), Some(5.66));
        assert_eq!(ours.at(Milestone::RingJoined), None);
        let debian = read("Spawning shell\r\ndebian: shell, 17.25 s after kernel start\r\n");
        assert_eq!(debian.shell, Some(17.25));
        for ugly in [
            "",
            "debian: shell, ",
            "debian: shell, x s after kernel start",
        ] {
            assert_eq!(read(ugly).shell, None);
        }
        let text = csv(&[(ours, debian)]);
        assert!(text.contains("1,goldring,stage 2 running,5.66\n1,debian,shell,17.25\n"));
    }

    #[test]
    fn the_hook_is_an_archive_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let initrd = folder.path().join("initrd");
        fs::write(&initrd, b"12345").unwrap();
        let bytes = debian(&initrd).unwrap();
        assert!(bytes.starts_with(b"12345\x00\x00\x00070701"));
        let (entries, _) = newc::read(&bytes[8..]).unwrap();
        let order = entries.iter().find(|e| e.name == "scripts/panic/ORDER");
        assert_eq!(order.unwrap().data, HOOK.as_bytes());
    }

    #[test]
    fn another_kernel_is_no_comparison() {
        let folder = tempfile::tempdir().unwrap();
        let golden = folder.path().join("golden.vmlinuz");
        fs::write(folder.path().join("vmlinuz"), "1").unwrap();
        fs::write(&golden, "1").unwrap();
        same_kernel(folder.path(), &golden).unwrap();
        fs::write(&golden, "2").unwrap();
        let error = same_kernel(folder.path(), &golden).unwrap_err().to_string();
        assert!(
            error.contains("another kernel") && error.contains("golden.img"),
            "{error}"
        );
    }
}
