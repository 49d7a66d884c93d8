//! The target of a clone: what it is, and whether it may be written.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use goldring_contract::Root;

use crate::users::{self, DeviceNumber, User};

/// What a path turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A whole disk or something like one (loop, RAID, volume).
    Disk {
        /// Its size in bytes.
        size: u64,
    },
    /// A partition.
    Partition {
        /// Its size in bytes.
        size: u64,
    },
    /// A plain file; it grows as needed.
    File,
    /// A pipe, a terminal, `/dev/null`: what is written is gone.
    Stream,
}

/// A target that may be written.
#[derive(Debug)]
pub struct Target {
    /// The path as the configuration names it.
    pub path: PathBuf,
    /// What it is.
    pub kind: Kind,
    /// Open for writing, and a block device for reading as well and
    /// exclusively, so that nobody mounts it meanwhile.
    pub file: File,
}

/// Why a target may not be written. Each sentence says what to do.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// No such device.
    #[error("{path} does not exist on this computer; {here}")]
    Absent {
        /// The path.
        path: String,
        /// Which disks exist.
        here: String,
    },
    /// Somebody uses it.
    #[error("{path} is in use: {users}; free it, then start again")]
    InUse {
        /// The path.
        path: String,
        /// Who, and what to do about each.
        users: String,
    },
    /// The kernel says that it is in use, and nobody is to be found.
    #[error(
        "{0} is in use by something that neither mounts, swap nor sysfs show; free it, then start again"
    )]
    Busy(String),
    /// A folder and other things without room for data.
    #[error("{0} is neither a disk, a partition nor a file; name one in the outfile line")]
    Unusable(String),
    /// A file that must not exist does.
    #[error("{0} exists and is not overwritten; remove it, or write another outfile")]
    Exists(String),
    /// A new file that would lie among the devices.
    #[error(
        "{0} would be a plain file in /dev, which is memory; write an outfile that lies on a disk"
    )]
    InMemory(String),
    /// The input does not fit.
    #[error(
        "{path} has {size} bytes, {missing} too few for the {total} bytes to come; use a larger one, or a smaller input"
    )]
    TooSmall {
        /// The path.
        path: String,
        /// Its size.
        size: u64,
        /// How much is to come.
        total: u64,
        /// The difference.
        missing: u64,
    },
    /// The file system has no room for it.
    #[error(
        "there is room for {size} bytes at {path}, {missing} too few for the {total} bytes to come; make room, or write another outfile"
    )]
    NoRoom {
        /// The path.
        path: String,
        /// How much there is room for.
        size: u64,
        /// How much is to come.
        total: u64,
        /// The difference.
        missing: u64,
    },
    /// The system refused.
    #[error("{doing} {path}")]
    Io {
        /// A gerund.
        doing: &'static str,
        /// The path.
        path: String,
        /// What the system said.
        source: io::Error,
    },
}

impl Target {
    /// Opens `path` for writing if it is something that may be overwritten.
    ///
    /// A plain file is made when it is missing, unless it would lie in `/dev`: there a
    /// missing name is a device that does not exist, and a file of that name would
    /// fill memory. An existing file is not cut, as dolly never did.
    ///
    /// # Errors
    /// It is absent, in use, or nothing that can be written.
    pub fn open(root: &Root, path: &Path) -> Result<Self, TargetError> {
        let shown = path.display().to_string();
        let real = root.join(path);
        let meta = match fs::metadata(&real) {
            Ok(meta) => meta,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Self::create(root, path, shown);
            }
            Err(source) => return Err(io_error("looking at", &shown, source)),
        };
        let kind = meta.file_type();
        if kind.is_block_device() {
            return Self::open_device(root, path, &meta);
        }
        if kind.is_file() {
            Self::refuse_swap_file(root, path, &shown)?;
        } else if kind.is_dir() || kind.is_socket() {
            return Err(TargetError::Unusable(shown));
        }
        // A pipe that is also open for reading would never say that its reader left.
        let file = OpenOptions::new()
            .read(kind.is_file())
            .write(true)
            .open(&real)
            .map_err(|source| io_error("opening", &shown, source))?;
        Ok(Self {
            path: path.to_owned(),
            kind: if kind.is_file() {
                Kind::File
            } else {
                Kind::Stream
            },
            file,
        })
    }

    /// Makes a plain file that must not exist yet.
    ///
    /// # Errors
    /// Something has this name already, or the file cannot be made.
    pub fn create_new(root: &Root, path: &Path) -> Result<Self, TargetError> {
        let shown = path.display().to_string();
        match fs::symlink_metadata(root.join(path)) {
            Ok(_) => Err(TargetError::Exists(shown)),
            Err(_) if is_device_name(root, path) => Err(TargetError::InMemory(shown)),
            Err(_) => Self::create(root, path, shown),
        }
    }

    fn create(root: &Root, path: &Path, shown: String) -> Result<Self, TargetError> {
        if is_device_name(root, path) {
            return Err(TargetError::Absent {
                path: shown,
                here: disks_sentence(root),
            });
        }
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(root.join(path))
            .map_err(|source| io_error("making", &shown, source))?;
        Ok(Self {
            path: path.to_owned(),
            kind: Kind::File,
            file,
        })
    }

    fn open_device(root: &Root, path: &Path, meta: &fs::Metadata) -> Result<Self, TargetError> {
        let shown = path.display().to_string();
        let number = DeviceNumber::from_raw(meta.rdev());
        let users = users::of_device(root, number)
            .map_err(|source| io_error("reading the mount table for", &shown, source))?;
        if !users.is_empty() {
            return Err(in_use(shown, &users));
        }
        // On a block device O_EXCL means: nobody else may hold it, and nobody may
        // mount it while we do (open(2)).
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(rustix::fs::OFlags::EXCL.bits().cast_signed())
            .open(root.join(path))
            .map_err(|source| match source.raw_os_error() {
                Some(code) if code == rustix::io::Errno::BUSY.raw_os_error() => {
                    TargetError::Busy(shown.clone())
                }
                _ => io_error("opening", &shown, source),
            })?;
        let size = goldring_sys::block::size(&file)
            .map_err(|source| io_error("asking for the size of", &shown, source))?;
        let part = root
            .join(format!("/sys/dev/block/{number}/partition"))
            .exists();
        let kind = if part {
            Kind::Partition { size }
        } else {
            Kind::Disk { size }
        };
        Ok(Self {
            path: path.to_owned(),
            kind,
            file,
        })
    }

    fn refuse_swap_file(root: &Root, path: &Path, shown: &str) -> Result<(), TargetError> {
        let swaps = fs::read_to_string(root.join("/proc/swaps")).unwrap_or_default();
        if users::parse_swaps(&swaps)
            .iter()
            .any(|swap| Path::new(swap) == path)
        {
            let device = shown.to_owned();
            return Err(in_use(shown.to_owned(), &[User::Swap { device }]));
        }
        Ok(())
    }

    /// How much fits, to be asked while somebody else writes.
    pub fn room(&self) -> Room {
        let path = self.path.display().to_string();
        match self.kind {
            Kind::Disk { size } | Kind::Partition { size } => Room {
                path,
                size: Some(size),
                grows: false,
            },
            Kind::File => Room::of_file(&self.file, path),
            Kind::Stream => Room {
                path,
                size: None,
                grows: true,
            },
        }
    }
}

/// How much fits on a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Room {
    path: String,
    size: Option<u64>,
    /// A file, which has no size of its own.
    grows: bool,
}

impl Room {
    /// Of a plain file: what it occupies, and what is free around it.
    pub(crate) fn of_file(file: &File, path: String) -> Self {
        let occupied = file.metadata().map(|meta| meta.blocks() * 512);
        let size = match (occupied, rustix::fs::fstatvfs(file)) {
            // A file system without blocks, such as some of those over the network,
            // says nothing about its size.
            (Ok(occupied), Ok(around)) if around.f_blocks > 0 => {
                let free = around.f_bavail.saturating_mul(around.f_frsize);
                Some(free.saturating_add(occupied))
            }
            _ => None,
        };
        Self {
            path,
            size,
            grows: true,
        }
    }

    /// Whether `total` bytes fit.
    ///
    /// # Errors
    /// They do not.
    pub fn check(&self, total: u64) -> Result<(), TargetError> {
        let Some(size) = self.size.filter(|size| *size < total) else {
            return Ok(());
        };
        let path = self.path.clone();
        let missing = total - size;
        Err(if self.grows {
            TargetError::NoRoom {
                path,
                size,
                total,
                missing,
            }
        } else {
            TargetError::TooSmall {
                path,
                size,
                total,
                missing,
            }
        })
    }
}

/// Whether a missing `path` would have been a device: it lies in `/dev`, and not in a
/// file system of its own there, such as `/dev/shm`.
fn is_device_name(root: &Root, path: &Path) -> bool {
    let device = |path: &Path| fs::metadata(root.join(path)).map(|meta| meta.dev()).ok();
    let folder = path.parent().and_then(device);
    path.starts_with("/dev") && (folder.is_none() || folder == device(Path::new("/dev")))
}

/// The disks that exist, as half a sentence.
pub fn disks_sentence(root: &Root) -> String {
    let disks: Vec<String> = users::disks(root)
        .iter()
        .map(|(name, size)| format!("/dev/{name} ({})", decimal(*size)))
        .collect();
    if disks.is_empty() {
        "no disk is here at all: its driver is missing, or the disk".to_owned()
    } else {
        format!(
            "the disks here are {}; name one in the outfile line",
            disks.join(", ")
        )
    }
}

/// A size as it stands on a disk's label.
///
/// ```
/// assert_eq!(goldring_disk::target::decimal(500_107_862_016), "500.1 GB");
/// ```
pub fn decimal(bytes: u64) -> String {
    let units = [("TB", 12), ("GB", 9), ("MB", 6), ("kB", 3)];
    for (unit, power) in units {
        let one = 10_u64.pow(power);
        if bytes >= one {
            let tenths = u128::from(bytes) * 10 / u128::from(one);
            return format!("{}.{} {unit}", tenths / 10, tenths % 10);
        }
    }
    format!("{bytes} bytes")
}

fn in_use(path: String, users: &[User]) -> TargetError {
    let users = users.iter().map(User::to_string).collect::<Vec<_>>();
    TargetError::InUse {
        path,
        users: users.join(", "),
    }
}

fn io_error(doing: &'static str, path: &str, source: io::Error) -> TargetError {
    TargetError::Io {
        doing,
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_device_lists_those_that_exist() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::at(dir.path());
        fs::create_dir_all(root.join("/sys/class/block/sdb")).unwrap();
        fs::write(root.join("/sys/class/block/sdb/size"), "976773168\n").unwrap();
        let error = Target::open(&root, Path::new("/dev/sda"))
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            "/dev/sda does not exist on this computer; the disks here are /dev/sdb (500.1 GB); name one in the outfile line"
        );
    }

    #[test]
    fn new_files_do_not_exist_yet_and_lie_on_a_disk() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::at(dir.path());
        fs::create_dir(root.join("/dev")).unwrap();
        let new = |path: &str| {
            let made = Target::create_new(&root, Path::new(path));
            made.map(|target| target.kind).map_err(|e| e.to_string())
        };
        assert_eq!(new("/new.gz"), Ok(Kind::File));
        assert!(
            new("/new.gz")
                .unwrap_err()
                .contains("exists and is not overwritten")
        );
        let said = new("/dev/sda_0").unwrap_err();
        assert!(
            said.starts_with("/dev/sda_0 would be a plain file in /dev"),
            "{said}"
        );
        assert!(!root.join("/dev/sda_0").exists());
    }

    #[test]
    fn a_file_that_cannot_fit_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::at(dir.path());
        let room = Target::open(&root, Path::new("/new.img")).unwrap().room();
        room.check(1000).unwrap();
        let error = room.check(u64::MAX).unwrap_err().to_string();
        assert!(error.starts_with("there is room for "), "{error}");
    }

    #[test]
    fn a_file_is_made_when_missing_and_kept_when_there() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::at(dir.path());
        let target = Target::open(&root, Path::new("/new.img")).unwrap();
        assert_eq!(target.kind, Kind::File);
        fs::write(root.join("/old.img"), [7; 100]).unwrap();
        Target::open(&root, Path::new("/old.img")).unwrap();
        assert_eq!(fs::read(root.join("/old.img")).unwrap().len(), 100);
        assert!(Target::open(&root, Path::new("/")).is_err());
        assert!(Target::open(&root, Path::new("/no/folder.img")).is_err());
    }
}
