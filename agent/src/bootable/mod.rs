//! A clone made bootable on this computer, whose hardware, disks and name are others than
//! those of the golden node. The clone's own programs do it, in its own tree.
//!
//! The steps are a table, run in its order; `ka-d` and `goldring bootable` report them by
//! name. The boot loader comes last: until then the boot sector is empty. What UEFI starts
//! are files, which came with the others; whoever makes the partitions keeps firmware away.

mod hardware;
mod hostname;
mod identity;
mod initramfs;
mod loader;
mod names;
mod swap;

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use goldring_contract::Root;
use goldring_files::manifest::{Manifest, Mount};

use crate::fault::Usage;
use crate::files;
use crate::killpoint::killpoint;
use crate::tools::chroot::ChrootMounts;
use crate::tools::run::{Programs, Runner, command_line};
use crate::tools::tree::Tree;
pub(crate) use names::Names;
pub(crate) use swap::SwapFile;

const EXAMPLES: &str = "\
Examples:
  goldring bootable /mnt/disk                       what the golden node had, for this computer
  goldring bootable /mnt/disk -r lilo               run lilo at the end
  goldring bootable /mnt/disk -r 'grub --with=aic7xxx'    with options for mkinitrd
  goldring bootable /mnt/disk --rename /dev/sda=/dev/nvme0n1 --hostname node7
  goldring bootable /mnt/disk --dry-run             show what would be run";

/// Options of `goldring bootable`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Where the clone is mounted, with all its file systems
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// The boot loader (lilo, grub, systemd-boot, extlinux), and options for mkinitrd; else
    /// the one that the clone shows
    #[arg(short = 'r', long = "loader", value_name = "LOADER")]
    loader: Option<String>,
    /// The clone calls a disk by a name that it does not have here
    #[arg(long, value_name = "OLD=NEW", value_parser = Names::parse)]
    rename: Vec<(String, String)>,
    /// Take this place out of its fstab, since its disk stayed behind
    #[arg(long, value_name = "PLACE")]
    without: Vec<String>,
    /// The golden node's list (goldring files list): swap files, and what stayed behind
    #[arg(long, value_name = "FILE")]
    list: Option<PathBuf>,
    /// Its name
    #[arg(long, value_name = "NAME")]
    hostname: Option<String>,
    /// Keep machine-id, ssh host keys, leases and names of cards
    #[arg(long)]
    keep_identity: bool,
    /// Change nothing; show what would be run
    #[arg(short = 'n', long)]
    dry_run: bool,
}

/// What shall become of a clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wish {
    /// Disks that have other names here.
    pub(crate) names: Names,
    /// Places whose disks stayed on the golden node.
    pub(crate) gone: Vec<String>,
    /// Subvolumes of btrfs and their places.
    pub(crate) subvolumes: Vec<(String, String)>,
    /// Swap files, which did not travel.
    pub(crate) swap_files: Vec<SwapFile>,
    /// `-r`: a boot loader, and options for mkinitrd behind it. None: the clone's own.
    pub(crate) loader: Vec<String>,
    /// `--keep-identity`.
    pub(crate) keep_identity: bool,
    /// What DHCP called this computer.
    pub(crate) hostname: Option<String>,
    /// Nothing is changed.
    pub(crate) dry: bool,
}

impl Wish {
    /// Takes `-r`'s text apart: `grub --with=a --with=b`.
    ///
    /// # Errors
    /// It is empty or begins with an option.
    pub(crate) fn with_loader(mut self, text: &str) -> Result<Self, String> {
        self.loader = text.split_ascii_whitespace().map(str::to_owned).collect();
        match self.loader.first() {
            Some(name) if !name.starts_with('-') => Ok(self),
            _ => Err(format!(
                "-r {text:?} names no boot loader; lilo and grub are such"
            )),
        }
    }

    /// Takes over what the golden node's list says of it.
    pub(crate) fn with_manifest(mut self, manifest: &Manifest) -> Self {
        let left = manifest.left.iter().filter(|left| left.without_disk);
        self.gone.extend(left.map(|left| left.place.clone()));
        let subvolumes = manifest
            .mounts
            .iter()
            .filter(|mount| !mount.subvolume.is_empty());
        let both = |mount: &Mount| (mount.place.clone(), mount.subvolume.clone());
        self.subvolumes.extend(subvolumes.map(both));
        let files = manifest.swaps.iter().filter(|swap| swap.is_file());
        self.swap_files.extend(files.map(|swap| SwapFile {
            path: swap.place.clone(),
            size: swap.size,
        }));
        self
    }

    fn loader_name(&self) -> Option<&str> {
        self.loader.first().map(String::as_str)
    }

    fn loader_options(&self) -> &[String] {
        self.loader.get(1..).unwrap_or_default()
    }
}

/// A clone that is mounted on this computer, and what is done to it.
pub(crate) struct Clone<'a> {
    /// This computer.
    root: &'a Root,
    /// Where the clone is mounted.
    folder: &'a Path,
    tree: Tree,
    runner: &'a mut dyn Runner,
    wish: &'a Wish,
    say: &'a mut dyn FnMut(&str),
}

impl<'a> Clone<'a> {
    /// The clone on `folder` of the computer at `root`. What happens is told to `say`.
    pub(crate) fn new(
        root: &'a Root,
        folder: &'a Path,
        runner: &'a mut dyn Runner,
        wish: &'a Wish,
        say: &'a mut dyn FnMut(&str),
    ) -> Self {
        Self {
            root,
            folder,
            tree: Tree::new(root.join(folder)).dry(wish.dry),
            runner,
            wish,
            say,
        }
    }

    fn say(&mut self, what: &str) {
        (self.say)(what);
    }

    /// Runs a program of the clone in the clone.
    fn chroot(&mut self, command: &[&str]) -> anyhow::Result<String> {
        let folder = self.folder.to_str().context("a folder with an odd name")?;
        self.runner.run("chroot", &[&[folder], command].concat())
    }
}

/// A step: its name, for reports and kill points, and what it does.
struct Step {
    name: &'static str,
    run: fn(&mut Clone<'_>) -> anyhow::Result<()>,
}

/// All of them. The boot loader is the last: what breaks before it leaves an empty boot
/// sector.
const STEPS: [Step; 7] = [
    Step {
        name: "device names",
        run: device_names,
    },
    Step {
        name: "swap files",
        run: swap::make,
    },
    Step {
        name: "identity",
        run: identity::refresh,
    },
    Step {
        name: "host name",
        run: hostname::set,
    },
    Step {
        name: "drivers",
        run: hardware::modprobe_conf,
    },
    Step {
        name: "initramfs",
        run: initramfs::rebuild,
    },
    Step {
        name: "boot loader",
        run: loader::install,
    },
];

/// The step before which nothing starts from the disk.
pub(crate) const LAST_STEP: &str = STEPS[STEPS.len() - 1].name;

/// The names of all steps, in their order.
pub(crate) fn step_names() -> Vec<&'static str> {
    STEPS.iter().map(|step| step.name).collect()
}

/// Does all steps; each is told to `begin` before it runs.
///
/// # Errors
/// The step and why it failed. Nothing stays mounted that was not before.
pub(crate) fn make(clone: &mut Clone<'_>, begin: &mut dyn FnMut(&str)) -> anyhow::Result<()> {
    if !clone.tree.has("/etc/fstab") {
        bail!(
            "{} has no /etc/fstab: no system is mounted there",
            clone.folder.display()
        );
    }
    let mounts = ChrootMounts::new(clone.root, clone.runner, clone.folder)?
        .with_run(clone.runner, clone.folder)?;
    let mounts = match clone.wish.dry {
        true => mounts,
        false => mounts.with_links(clone.runner)?,
    };
    let done = all_steps(clone, begin);
    let undone = mounts.undo(clone.runner);
    // The first error is the one to tell.
    done.and(undone)
}

fn all_steps(clone: &mut Clone<'_>, begin: &mut dyn FnMut(&str)) -> anyhow::Result<()> {
    for step in &STEPS {
        begin(step.name);
        killpoint(step.name);
        (step.run)(clone).with_context(|| format!("step: {}", step.name))?;
    }
    Ok(())
}

fn device_names(clone: &mut Clone<'_>) -> anyhow::Result<()> {
    let changed = names::rewrite(&clone.tree, clone.wish)?;
    if !changed.is_empty() {
        clone.say(&format!("other names of disks in {}", changed.join(", ")));
    }
    Ok(())
}

/// Shows what would be run.
struct Shown;

impl Runner for Shown {
    fn run(&mut self, program: &str, arguments: &[&str]) -> anyhow::Result<String> {
        // What only looks is run, since the plan depends on it.
        if ["lsblk", "blkid"].contains(&program) {
            return Programs.run(program, arguments);
        }
        println!("would run: {}", command_line(program, arguments));
        Ok(String::new())
    }
}

/// `goldring bootable`.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let mut wish = Wish {
        gone: args.without.clone(),
        keep_identity: args.keep_identity,
        hostname: args.hostname.clone(),
        dry: args.dry_run,
        ..Wish::default()
    };
    for (from, to) in &args.rename {
        wish.names.add(from, to);
    }
    if let Some(text) = &args.loader {
        wish = wish.with_loader(text).map_err(Usage)?;
    }
    if let Some(path) = &args.list {
        wish = wish.with_manifest(&files::read_list(path)?);
    }
    let folder = args
        .folder
        .canonicalize()
        .with_context(|| args.folder.display().to_string())?;
    if folder == Path::new("/") {
        bail!(Usage(
            "/ is the system that runs; name the folder where the clone is mounted".to_owned()
        ));
    }
    // Whatever ends this program ends its mounts: a clone with this computer's /dev in it would
    // be a trap for whoever removes the folder.
    goldring_sys::mount::of_our_own().context("making mounts of its own")?;
    let root = Root::system();
    let mut runner: Box<dyn Runner> = match args.dry_run {
        true => Box::new(Shown),
        false => Box::new(Programs),
    };
    let mut say = |what: &str| println!("  {what}");
    let mut clone = Clone::new(&root, &folder, runner.as_mut(), &wish, &mut say);
    make(&mut clone, &mut |step| println!("step: {step}"))?;
    if !args.dry_run {
        Programs.run("sync", &[])?;
        println!("{} starts on this computer now", folder.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests;
