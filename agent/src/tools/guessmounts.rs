//! `guessmounts`: finds the installed system and mounts its tree.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use goldring_contract::Root;
use goldring_contract::sentences::{NO_ROOT_DEVICE, found_root};
use goldring_disk::users::parse_mountinfo;

use super::chroot::{ChrootMounts, inside};
use super::disks;
use super::run::{Programs, Runner};
use super::systems::{self, Found, kernel_type, untouched};
use super::volumes;
use goldring_disk::fstab::{self, Plan};
use goldring_disk::lsblk::Device;

const EXAMPLES: &str = "\
Examples:
  guessmounts                     mount the installed system on /mnt
  chroot /mnt                     and work in it
  guessmounts --umount            take everything down again
  guessmounts --root /dev/sdb2    choose one of several systems";

/// Options of `guessmounts`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Where to mount it
    #[arg(default_value = "/mnt", value_name = "DIR")]
    folder: PathBuf,
    /// The device of the system's root, when there are several systems
    #[arg(long, value_name = "DEVICE")]
    root: Option<String>,
    /// Unmount all that is mounted there, and stop the volumes that were started for it
    #[arg(short, long, conflicts_with = "root")]
    umount: bool,
}

/// The machine, and what runs programs on it.
pub(crate) struct World<'a> {
    pub(crate) root: &'a Root,
    pub(crate) runner: &'a mut dyn Runner,
}

/// What `guessmounts` is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wish<'a> {
    /// Where to.
    pub(crate) folder: &'a Path,
    /// Which root.
    pub(crate) root: Option<&'a str>,
    /// Nothing is written, not even a journal replayed.
    pub(crate) untouched: bool,
}

/// An installed system that is mounted.
#[derive(Debug, Default)]
pub(crate) struct Mounted {
    /// Devices and where they are, seen from the system; the root first.
    pub(crate) devices: Vec<(Device, String)>,
    /// What its fstab names and is not here.
    pub(crate) missing: Vec<String>,
}

/// Mounts it, or takes it down.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let root = Root::system();
    let mut world = World {
        root: &root,
        runner: &mut Programs,
    };
    if args.umount {
        return take_down(&mut world, &args.folder);
    }
    let wish = Wish {
        folder: &args.folder,
        root: args.root.as_deref(),
        untouched: false,
    };
    let mounted = mount_system(&mut world, &wish)?;
    if !mounted.missing.is_empty() {
        bail!(
            "the system is mounted, but without {}; see above",
            mounted.missing.join(", ")
        );
    }
    println!(
        "chroot {0} leads into it, guessmounts --umount {0} takes it down",
        args.folder.display()
    );
    Ok(())
}

/// Finds the system and mounts it with all that its fstab names.
///
/// # Errors
/// No system; something mounted there already; a root that cannot be mounted. What
/// cannot be mounted below it is only told.
pub(crate) fn mount_system(world: &mut World<'_>, wish: &Wish<'_>) -> anyhow::Result<Mounted> {
    let folder = wish.folder;
    if is_mounted(world.root, folder)? {
        bail!(
            "something is mounted on {0} already; guessmounts --umount {0} takes it down",
            folder.display()
        );
    }
    volumes::start(world)?;
    let all = disks::list(world.runner)?;
    let system = choose(world, &all, wish.root)?;
    println!("{}", found_root(&system.name, &system.device.name));
    let result = mount_all(world, wish, &all, &system);
    if result.is_err() {
        // A half-mounted system is of no use; the first error is the one to tell.
        let _ = unmount(world, folder);
    }
    result
}

/// Whether something is mounted on or below `folder`.
pub(crate) fn is_mounted(root: &Root, folder: &Path) -> anyhow::Result<bool> {
    Ok(!mounts(root, folder)?.is_empty())
}

/// What is mounted on or below `folder`, in the order in which it was.
fn mounts(root: &Root, folder: &Path) -> anyhow::Result<Vec<String>> {
    let text = fs::read_to_string(root.join("/proc/self/mountinfo"))
        .context("reading /proc/self/mountinfo")?;
    let places = parse_mountinfo(&text).into_iter().map(|mount| mount.place);
    Ok(places
        .filter(|place| Path::new(place).starts_with(folder))
        .collect())
}

/// The system that is meant.
fn choose(world: &mut World<'_>, all: &[Device], wish: Option<&str>) -> anyhow::Result<Found> {
    let wished: Vec<Device> = match wish {
        Some(path) => vec![known(world.root, all, path).with_context(|| {
            format!("--root {path}: no such device; lsparts shows what there is")
        })?],
        None => all.to_vec(),
    };
    let mut troubles = Vec::new();
    let mut say = |trouble| troubles.push(trouble);
    let mut systems = systems::search(world.root, world.runner, &wished, &mut say).into_iter();
    for trouble in &troubles {
        eprintln!("{trouble}");
    }
    let Some(first) = systems.next() else {
        let looked: Vec<&str> = wished
            .iter()
            .filter(|device| systems::may_be_root(device))
            .map(|device| device.name.as_str())
            .collect();
        bail!("{NO_ROOT_DEVICE} {}", where_looked(&looked));
    };
    for other in systems {
        println!(
            "{} is on {} as well; guessmounts --root {} takes that one",
            other.name, other.device.name, other.device.name
        );
    }
    Ok(first)
}

fn where_looked(devices: &[&str]) -> String {
    if devices.is_empty() {
        return "No file system that could hold a system is here; lsparts shows what there is, \
                goldring drvinst STORAGE loads drivers"
            .to_owned();
    }
    format!(
        "Looked for an /etc/fstab and a release file on {}; an encrypted disk must be opened \
         first (cryptsetup open)",
        devices.join(", ")
    )
}

/// The device that a path of `/dev` leads to.
fn known(root: &Root, all: &[Device], path: &str) -> Option<Device> {
    let same = |name: &str| all.iter().find(|d| d.name == name || d.kernel_name == name);
    if let Some(device) = same(path) {
        return Some(device.clone());
    }
    // /dev/VG/LV and /dev/md/NAME are links.
    let target = root.join(path).canonicalize().ok()?;
    let inside = target
        .strip_prefix(root.as_path().canonicalize().ok()?)
        .ok()?;
    same(&format!("/{}", inside.display())).cloned()
}

fn mount_all(
    world: &mut World<'_>,
    wish: &Wish<'_>,
    all: &[Device],
    system: &Found,
) -> anyhow::Result<Mounted> {
    let entries = fstab::parse(&system.fstab);
    let mut options = fstab::root(&entries)
        .map(fstab::options)
        .unwrap_or_default();
    options.retain(|option| option != "ro" && option != "rw");
    if let Some(subvolume) = &system.subvolume
        && !options.iter().any(|option| option.starts_with("subvol"))
    {
        options.push(format!("subvol={subvolume}"));
    }
    fs::create_dir_all(world.root.join(wish.folder))
        .with_context(|| format!("making {}", wish.folder.display()))?;
    mount(world, wish, &system.device, wish.folder, &options)?;
    let mut mounted = Mounted {
        devices: vec![(system.device.clone(), "/".to_owned())],
        missing: Vec::new(),
    };
    let root = world.root.clone();
    let plans = fstab::plan(&entries, all, &system.device, &|path| {
        known(&root, all, path)
    });
    for plan in plans {
        follow(world, wish, plan, &mut mounted);
    }
    ChrootMounts::new(world.root, world.runner, wish.folder)?.keep();
    Ok(mounted)
}

/// Does what the plan for one line says, and tells it.
fn follow(world: &mut World<'_>, wish: &Wish<'_>, plan: Plan, mounted: &mut Mounted) {
    match plan {
        Plan::Left(why) => println!("{why}"),
        Plan::Missing {
            place,
            why,
            optional,
        } => {
            eprintln!("{place} is not mounted: {why}");
            if !optional {
                mounted.missing.push(place);
            }
        }
        Plan::Bind { from, place } => {
            let bound = inside(world.root, wish.folder, &from).and_then(|from| {
                let to = inside(world.root, wish.folder, &place)?;
                world
                    .runner
                    .run("mount", &["--bind", &text(&from), &text(&to)])
            });
            match bound {
                Ok(_) => println!("{from} is on {place}"),
                Err(error) => {
                    eprintln!("{place} is not mounted: {error:#}");
                    mounted.missing.push(place);
                }
            }
        }
        Plan::Mount {
            device,
            place,
            options,
            note,
        } => {
            if let Some(note) = note {
                println!("{note}");
            }
            let done = inside(world.root, wish.folder, &place)
                .and_then(|target| mount(world, wish, &device, &target, &options));
            match done {
                Ok(()) => mounted.devices.push((*device, place)),
                Err(error) => {
                    eprintln!("{place} is not mounted: {error:#}");
                    mounted.missing.push(place);
                }
            }
        }
    }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// Mounts a device, with its own options if they will do and without them otherwise.
fn mount(
    world: &mut World<'_>,
    wish: &Wish<'_>,
    device: &Device,
    target: &Path,
    options: &[String],
) -> anyhow::Result<()> {
    if device.content.is_empty() {
        bail!("{} holds nothing that is known", device.name);
    }
    let kind = kernel_type(&device.content);
    let target = text(target);
    let subvolumes = options.iter().filter(|o| o.starts_with("subvol")).cloned();
    let plain = if wish.untouched {
        std::iter::once(untouched(&device.content)).chain(subvolumes)
    } else {
        std::iter::once("rw".to_owned()).chain(subvolumes)
    };
    let plain = plain.collect::<Vec<_>>().join(",");
    let mut attempt = |options: &str| {
        let arguments = ["-t", kind, "-o", options, &device.name, &target];
        world.runner.run("mount", &arguments)
    };
    let own = options.join(",");
    if !wish.untouched && !own.is_empty() {
        match attempt(&own) {
            Ok(_) => {
                println!("{} is on {target}", device.name);
                return Ok(());
            }
            // Options of another kernel or another file system.
            Err(error) if own != plain => eprintln!("{error:#}; trying with {plain}"),
            Err(error) => return Err(error),
        }
    }
    attempt(&plain)?;
    println!("{} is on {target}", device.name);
    Ok(())
}

/// Unmounts all, and stops what was started for it.
pub(crate) fn take_down(world: &mut World<'_>, folder: &Path) -> anyhow::Result<()> {
    if is_mounted(world.root, folder)? {
        unmount(world, folder)?;
        println!("{} is free", folder.display());
    } else {
        println!("nothing is mounted on {}", folder.display());
    }
    volumes::stop(world)
}

/// Everything on and below `folder`, the last first.
fn unmount(world: &mut World<'_>, folder: &Path) -> anyhow::Result<()> {
    for place in mounts(world.root, folder)?.iter().rev() {
        world.runner.run("umount", &[place]).with_context(|| {
            format!(
                "unmounting {place}; does a shell stand in it (cd /), or a program run from it \
                 (fuser -vm {place})?"
            )
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
