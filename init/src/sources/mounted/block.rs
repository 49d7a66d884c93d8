//! Block devices as sources: which there are, and what one holds.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use goldring_contract::Root;
use goldring_contract::limits::MOUNT_WAIT;
use goldring_disk::member::member;
use goldring_disk::probe::{FileSystem, probe};
use goldring_disk::superblock::complaint;

use super::{ENODEV, Found, Layer, Miss, Wanted, bounded, find, wanted};
use crate::ctx::Ctx;

/// No disc, or no card in the reader (errno.h).
const ENOMEDIUM: i32 = 123;

/// A block device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Device {
    /// Its name below `/dev`, such as `sda1` or `cciss/c0d0p1`.
    pub(super) name: String,
    /// What it is.
    pub(super) kind: Kind,
}

/// What a block device is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A CD or DVD drive.
    Drive,
    /// A whole disk.
    Disk,
    /// A part of the disk of this name.
    Partition(String),
}

impl Device {
    /// The disk that it is, or is a part of.
    pub(crate) fn disk(&self) -> &str {
        match &self.kind {
            Kind::Partition(disk) => disk,
            _ => &self.name,
        }
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// What it is.
    pub(crate) fn kind(&self) -> &Kind {
        &self.kind
    }
}

/// Drives, and disks with their partitions, in the order of their names and numbers.
/// Left out: what is only memory, floppy drives (each look takes seconds), and what is
/// built upon others. A disk without a size is an empty card reader.
pub(crate) fn devices(root: &Root) -> Vec<Device> {
    let mut found = Vec::new();
    let folder = fs::read_dir(root.join("/sys/class/block"));
    for entry in folder.into_iter().flatten().flatten() {
        let path = entry.path();
        let read = |file: &str| fs::read_to_string(path.join(file)).unwrap_or_default();
        // The kernel writes a slash in a name as an exclamation mark.
        let dev_name = |name: &std::ffi::OsStr| name.to_string_lossy().replace('!', "/");
        let name = dev_name(&entry.file_name());
        let number: u32 = read("partition").trim().parse().unwrap_or(0);
        let kind = if is_drive(&name) {
            Kind::Drive
        } else if is_other(&name) || matches!(read("size").trim(), "" | "0") {
            continue;
        } else if number == 0 {
            Kind::Disk
        } else {
            let real = path.canonicalize().unwrap_or_default();
            let disk = real.parent().and_then(|disk| disk.file_name());
            Kind::Partition(disk.map(dev_name).unwrap_or_default())
        };
        found.push((number, Device { name, kind }));
    }
    found.sort_by(|(a, x), (b, y)| {
        // sdb comes before sdaa; a disk before its partitions.
        let key = |device: &Device| (device.disk().len(), device.disk().to_owned());
        key(x).cmp(&key(y)).then(a.cmp(b))
    });
    found.into_iter().map(|(_, device)| device).collect()
}

fn is_drive(name: &str) -> bool {
    name.strip_prefix("sr")
        .is_some_and(|rest| rest.parse::<u32>().is_ok())
}

fn is_other(name: &str) -> bool {
    const PREFIXES: [&str; 8] = ["ram", "loop", "zram", "fd", "dm-", "md", "nbd", "mtdblock"];
    PREFIXES.iter().any(|prefix| {
        name.strip_prefix(prefix)
            .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    })
}

/// What a look at a device finds instead of stage 2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Empty {
    /// No disc.
    NoMedium,
    /// Nothing that could be mounted, in words.
    NoFileSystem(String),
    /// A file system that has it not, or cannot be read.
    Miss(Miss),
}

/// Looks for stage 2 on one device after the other. `tell` says what is worth a word of
/// one that has it not.
pub(crate) fn first(
    ctx: &Ctx,
    candidates: &[Device],
    takes: fn(FileSystem) -> bool,
    tell: impl Fn(&Device, Empty) -> Option<Miss>,
) -> Result<Found, Vec<Miss>> {
    let wanted = wanted(ctx);
    let directory = ctx.args.automatic.as_ref().map(|a| a.directory.clone());
    let directory = directory.unwrap_or_default();
    let mut misses = Vec::new();
    for device in candidates {
        let (root, directory, one) = (ctx.root.clone(), directory.clone(), device.clone());
        let work = move || look(&root, &one, &directory, wanted, takes);
        match bounded(MOUNT_WAIT, work) {
            Some(Ok(found)) => return Ok(found),
            Some(Err(empty)) => misses.extend(tell(device, empty)),
            None => misses.push(Miss::Absent(format!(
                "{} did not answer within {} s",
                device.name(),
                MOUNT_WAIT.as_secs()
            ))),
        }
    }
    Err(misses)
}

/// Looks for stage 2 on a device. Only file systems that `takes` takes are mounted, and
/// nothing is written, not even a journal.
fn look(
    root: &Root,
    device: &Device,
    directory: &str,
    wanted: Wanted,
    takes: fn(FileSystem) -> bool,
) -> Result<Found, Empty> {
    let name = device.name();
    let path = root.join("/dev").join(name);
    let miss = |what: String| Empty::Miss(Miss::Absent(format!("{name} {what}")));
    let unreadable = |error: io::Error| match error.raw_os_error() {
        Some(ENOMEDIUM) => Empty::NoMedium,
        _ => miss(format!("cannot be read ({error})")),
    };
    let mut file = File::open(&path).map_err(unreadable)?;
    let fs = match probe(&mut file).map_err(unreadable)? {
        Some(fs) if takes(fs) => fs,
        Some(fs) => return Err(Empty::NoFileSystem(format!("{name} holds {fs}"))),
        None => {
            let what = member(&mut file).map_err(unreadable)?;
            return Err(Empty::NoFileSystem(match what {
                Some(what) => format!("{name} is a part of {what}, left out"),
                None => format!("{name} holds no known file system"),
            }));
        }
    };
    let layer = mount(root, &path, fs).map_err(|error| {
        let why = complaint(&mut file, fs).ok().flatten();
        miss(match (why, error.raw_os_error()) {
            (_, Some(ENODEV)) => format!("holds {fs}, which this kernel cannot mount"),
            (Some(why), _) => format!("holds a broken {fs}: {why}"),
            (None, _) => format!("holds a broken {fs} ({error})"),
        })
    })?;
    find(root, layer, directory, name, wanted).map_err(Empty::Miss)
}

/// Those that would replay a journal even for reading get a device below them that
/// nobody can write to.
fn mount(root: &Root, device: &Path, fs: FileSystem) -> io::Result<Layer> {
    let (types, options) = (fs.kernel_types(), fs.untouched());
    match fs {
        FileSystem::Reiserfs | FileSystem::Jfs | FileSystem::Ntfs => {
            Layer::mount_loop(root, device, types, options)
        }
        _ => Layer::mount(root, device, types, options),
    }
}
