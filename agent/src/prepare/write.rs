//! Writes a tree into an empty folder, with everything that whoever runs this may give it.

use std::fs::{self, File, Permissions};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::os::unix::fs::{PermissionsExt, lchown, symlink};
use std::path::Path;

use anyhow::Context;
use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, makedev, mknodat, utimensat};

use super::tree::{Entry, Kind, Tree};

/// What was refused, since only root may do it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Lacking {
    /// Device nodes that are not there.
    pub(super) devices: u64,
    /// Files that have another owner than in the image.
    pub(super) owners: u64,
}

/// Writes everything below `folder`, which is there and empty. `tick` is told how many
/// bytes of files are written.
///
/// # Errors
/// Something cannot be read or written.
pub(super) fn write(
    tree: &mut dyn Tree,
    folder: &Path,
    tick: &mut dyn FnMut(u64),
) -> anyhow::Result<Lacking> {
    let entries = tree.entries().to_vec();
    let mut lacking = Lacking::default();
    let mut done = 0;
    for (number, entry) in entries.iter().enumerate() {
        let place = folder.join(&entry.path);
        let context = || format!("writing {}", place.display());
        if let Kind::File(length) = entry.kind {
            let file = File::create_new(&place).with_context(context)?;
            let mut out = Counted::new(BufWriter::with_capacity(1 << 20, file));
            let copied = tree.copy(number, &mut out);
            copied.with_context(|| match out.failed {
                true => format!("writing {}", place.display()),
                false => format!("/{} is damaged in it; get it again", entry.path.display()),
            })?;
            out.flush().with_context(context)?;
            anyhow::ensure!(
                out.count == length,
                "/{} has {} bytes and not {length}; the image is damaged",
                entry.path.display(),
                out.count
            );
            done += length;
            tick(done);
        } else if !make(entry, &place).with_context(context)? {
            lacking.devices += 1;
            continue;
        }
        if !dress(entry, &place).with_context(context)? {
            lacking.owners += 1;
        }
    }
    // Rights that forbid writing, and times, last: what is inside comes first.
    let folders = entries.iter().rev().filter(|one| one.kind == Kind::Folder);
    for entry in folders {
        let place = folder.join(&entry.path);
        let done = fs::set_permissions(&place, Permissions::from_mode(entry.rights))
            .and_then(|()| touch(entry, &place));
        done.with_context(|| format!("writing {}", place.display()))?;
    }
    Ok(lacking)
}

/// Makes what is no file; false: it is a device, and not for us to make.
fn make(entry: &Entry, place: &Path) -> io::Result<bool> {
    let node = |kind, device| -> io::Result<()> {
        Ok(mknodat(
            CWD,
            place,
            kind,
            Mode::from_raw_mode(0o600),
            device,
        )?)
    };
    let made = match &entry.kind {
        // The top is there.
        Kind::Folder if entry.path.as_os_str().is_empty() => Ok(()),
        Kind::Folder => fs::create_dir(place),
        Kind::Link(target) => symlink(target, place),
        Kind::Char(major, minor) => node(FileType::CharacterDevice, makedev(*major, *minor)),
        Kind::Block(major, minor) => node(FileType::BlockDevice, makedev(*major, *minor)),
        Kind::Pipe => node(FileType::Fifo, 0),
        Kind::Socket => node(FileType::Socket, 0),
        Kind::File(_) => Ok(()),
    };
    match made {
        Err(error) if entry.kind.is_device() && error.kind() == ErrorKind::PermissionDenied => {
            Ok(false)
        }
        other => other.map(|()| true),
    }
}

/// Owner, rights and times; false: the owner is another one.
fn dress(entry: &Entry, place: &Path) -> io::Result<bool> {
    let own = match lchown(place, Some(entry.uid), Some(entry.gid)) {
        Ok(()) => true,
        Err(error) if error.kind() == ErrorKind::PermissionDenied => false,
        Err(error) => return Err(error),
    };
    match entry.kind {
        // Later, when what is in it is there.
        Kind::Folder => return Ok(own),
        Kind::Link(_) => {}
        _ => fs::set_permissions(place, Permissions::from_mode(entry.rights))?,
    }
    touch(entry, place)?;
    Ok(own)
}

fn touch(entry: &Entry, place: &Path) -> io::Result<()> {
    let time = Timespec {
        tv_sec: entry.changed,
        tv_nsec: 0,
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    Ok(utimensat(CWD, place, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

/// Counts what passes, and knows whether it was this end that failed.
struct Counted<W> {
    out: W,
    count: u64,
    failed: bool,
}

impl<W> Counted<W> {
    fn new(out: W) -> Self {
        Self {
            out,
            count: 0,
            failed: false,
        }
    }
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes);
        self.failed = written.is_err();
        let n = written?;
        self.count += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
