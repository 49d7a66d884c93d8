//! `install_bootloader`: the boot loader that the installed system uses, installed again
//! on the disk that the machine starts from.

use std::io::{BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use goldring_contract::Root;

use super::disks;
use super::guessmounts::{self, Mounted, Wish, World};
use super::loaders::{self, Loader, Place, Purpose};
use super::run::{Programs, command_line};
use goldring_disk::lsblk::{Device, disks_below, split_partition};

const EXAMPLES: &str = "\
Examples:
  install_bootloader              find the system and install its boot loader
  install_bootloader --dry-run    show what would be run; writes no disk
  install_bootloader --auto       never ask; take the first boot loader";

/// Options of `install_bootloader`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Never ask; take the first boot loader that fits the machine
    #[arg(short, long)]
    auto: bool,
    /// Show what would be run and write no disk
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Take this boot loader: grub, grub-efi, grub-legacy, systemd-boot, lilo, extlinux
    #[arg(long, value_name = "NAME")]
    loader: Option<String>,
    /// The device of the system's root, when there are several systems
    #[arg(long, value_name = "DEVICE")]
    root: Option<String>,
    /// Where the system is mounted, or will be
    #[arg(long, default_value = "/mnt", value_name = "DIR")]
    folder: PathBuf,
}

/// Finds the system, mounts it if need be, and installs its boot loader.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let root = Root::system();
    let mut world = World {
        root: &root,
        runner: &mut Programs,
    };
    install(&mut world, args, &mut ask)
}

type Ask<'a> = &'a mut dyn FnMut(&[Loader]) -> anyhow::Result<usize>;

fn install(world: &mut World<'_>, args: &Args, ask: Ask<'_>) -> anyhow::Result<()> {
    let ours = !guessmounts::is_mounted(world.root, &args.folder)?;
    let mounted = if ours {
        let wish = Wish {
            folder: &args.folder,
            root: args.root.as_deref(),
            untouched: args.dry_run,
        };
        guessmounts::mount_system(world, &wish)?
    } else {
        already_mounted(world, &args.folder, args.root.as_deref())?
    };
    let done = work(world, args, &mounted, ask);
    if args.dry_run && ours {
        guessmounts::take_down(world, &args.folder)?;
    }
    done
}

fn work(world: &mut World<'_>, args: &Args, mounted: &Mounted, ask: Ask<'_>) -> anyhow::Result<()> {
    complete(mounted)?;
    let found = find(world.root, &args.folder, mounted);
    let loader = choose(found, args, ask)?;
    let plan = plan(world.root, &args.folder, mounted, loader, Purpose::Repair)?;
    println!("{}, on {}", plan.loader, plan.disks.join(" and "));
    for command in &plan.commands {
        let arguments: Vec<&str> = command[1..].iter().map(String::as_str).collect();
        let line = command_line(&command[0], &arguments);
        if args.dry_run {
            println!("would run: {line}");
        } else {
            println!("running: {line}");
            world.runner.run(&command[0], &arguments)?;
        }
    }
    if !args.dry_run {
        world.runner.run("sync", &[])?;
        println!(
            "the boot loader is installed; the system stays mounted on {}",
            args.folder.display()
        );
    }
    Ok(())
}

/// Whether all is mounted that a boot loader needs.
///
/// # Errors
/// The place that is not.
pub(crate) fn complete(mounted: &Mounted) -> anyhow::Result<()> {
    let needed = ["/boot", "/boot/efi", "/efi", "/usr"];
    let is_missing = |place: &&&str| mounted.missing.iter().any(|m| m == *place);
    match needed.iter().find(is_missing) {
        Some(place) => {
            bail!("{place} is not mounted, and the boot loader needs it; see above")
        }
        None => Ok(()),
    }
}

/// The boot loaders that the system in `folder` shows signs of; see [`loaders::find`].
pub(crate) fn find(root: &Root, folder: &Path, mounted: &Mounted) -> Vec<Loader> {
    let places: Vec<&str> = mounted.devices.iter().map(|(_, p)| p.as_str()).collect();
    loaders::find(&root.join(folder), &places, is_efi(root))
}

/// Whether this machine was started by UEFI.
pub(crate) fn is_efi(root: &Root) -> bool {
    root.join("/sys/firmware/efi").exists()
}

/// How a boot loader is installed.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Which.
    pub(crate) loader: Loader,
    /// Where.
    pub(crate) disks: Vec<String>,
    /// How, in this order.
    pub(crate) commands: loaders::Commands,
}

/// What installs `loader` in the system that is mounted on `folder`.
///
/// # Errors
/// What is missing for it.
pub(crate) fn plan(
    root: &Root,
    folder: &Path,
    mounted: &Mounted,
    loader: Loader,
    purpose: Purpose,
) -> anyhow::Result<Plan> {
    let disks = disks_of(root, mounted, "/boot")?;
    let place = Place {
        folder: folder.to_str().context("a folder with an odd name")?,
        disks: &disks,
        esp: esp(&loader, mounted),
        efi: is_efi(root),
        is_here: &|device| root.join(device).exists(),
        purpose,
    };
    let commands = loaders::commands(&loader, &place).map_err(anyhow::Error::msg)?;
    Ok(Plan {
        loader,
        disks,
        commands,
    })
}

/// What a person or `guessmounts` has mounted before.
///
/// # Errors
/// Nothing is, or `root` is wished, which may be another system.
pub(crate) fn already_mounted(
    world: &mut World<'_>,
    folder: &Path,
    root: Option<&str>,
) -> anyhow::Result<Mounted> {
    if let Some(root) = root {
        bail!(
            "something is mounted on {0} already, perhaps another system than that on {root}; \
             guessmounts --umount {0} takes it down",
            folder.display()
        );
    }
    let mut mounted = Mounted::default();
    for device in disks::list(world.runner)? {
        let below = Path::new(&device.mounted).strip_prefix(folder).ok();
        if let Some(place) = below.map(|below| format!("/{}", below.display())) {
            mounted.devices.push((device, place));
        }
    }
    if !mounted.devices.iter().any(|(_, place)| place == "/") {
        bail!(
            "no system is mounted on {0}; guessmounts --umount {0} clears it",
            folder.display()
        );
    }
    Ok(mounted)
}

/// The loader that is wanted; several are asked for.
fn choose(mut found: Vec<Loader>, args: &Args, ask: Ask<'_>) -> anyhow::Result<Loader> {
    let all: Vec<&str> = found.iter().map(Loader::word).collect();
    let all = all.join(", ");
    if let Some(name) = &args.loader {
        found.retain(|loader| loader.word() == name);
        if found.is_empty() {
            bail!(
                "--loader {name}: the system does not use it; it uses {}",
                if all.is_empty() {
                    "none that is known"
                } else {
                    &all
                }
            );
        }
    }
    match found.len() {
        0 => bail!(
            "the system shows no boot loader that is known (GRUB, systemd-boot, LILO, EXTLINUX); \
             install one in it: chroot {}",
            args.folder.display()
        ),
        1 => Ok(found.remove(0)),
        _ if args.auto => Ok(found.remove(0)),
        _ => {
            let number = ask(&found).with_context(|| {
                format!("the system has several boot loaders: {all}; choose one with --loader, or --auto")
            })?;
            if number >= found.len() {
                bail!("there is no number {}", number + 1);
            }
            Ok(found.remove(number))
        }
    }
}

/// Asks the person at the terminal.
fn ask(loaders: &[Loader]) -> anyhow::Result<usize> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        bail!("no terminal to ask on");
    }
    for (number, loader) in loaders.iter().enumerate() {
        println!("{}) {loader}", number + 1);
    }
    print!("Which one? ");
    std::io::stdout().flush()?;
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer)?;
    let number: usize = answer.trim().parse().context("that is no number")?;
    number
        .checked_sub(1)
        .context("that is no number of the list")
}

/// The device that `path` of the installed system is on.
fn device_of<'m>(mounted: &'m Mounted, path: &str) -> Option<&'m Device> {
    mounted
        .devices
        .iter()
        .filter(|(_, place)| Path::new(path).starts_with(place))
        .max_by_key(|(_, place)| place.len())
        .map(|(device, _)| device)
}

fn disks_of(root: &Root, mounted: &Mounted, path: &str) -> anyhow::Result<Vec<String>> {
    let device = device_of(mounted, path).context("nothing is mounted")?;
    Ok(disks_below(root, &device.kernel_name).into_iter().collect())
}

fn esp(loader: &Loader, mounted: &Mounted) -> Option<(String, u32)> {
    let Loader::Shim { .. } = loader else {
        return None;
    };
    let mut devices = mounted.devices.iter().map(|(device, _)| device);
    let esp = devices.find(|device| device.is_esp())?;
    let (disk, number) = split_partition(&esp.name)?;
    Some((disk.to_owned(), number))
}

#[cfg(test)]
mod tests;
