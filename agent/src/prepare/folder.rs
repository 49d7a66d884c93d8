//! A tree that was unpacked already, by another tool or by a mount.

use std::fs::{self, File, Metadata};
use std::io::{self, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use rustix::fs::{major, minor};

use super::place::MARKER;
use super::tree::{Entry, Kind, Tree};

/// One that was looked through.
#[derive(Debug)]
pub(super) struct Folder {
    top: PathBuf,
    entries: Vec<Entry>,
}

impl Folder {
    /// Looks through it, on one file system.
    ///
    /// # Errors
    /// Something in it cannot be read.
    pub(super) fn open(top: &Path) -> anyhow::Result<Self> {
        let context = |path: &Path| format!("looking at {}", path.display());
        let meta = fs::metadata(top).with_context(|| context(top))?;
        let device = meta.dev();
        let mut entries = vec![entry(PathBuf::new(), &meta, top)?];
        let mut folders = vec![PathBuf::new()];
        while let Some(folder) = folders.pop() {
            let place = top.join(&folder);
            let mut inside: Vec<_> = fs::read_dir(&place)
                .and_then(Iterator::collect::<io::Result<Vec<_>>>)
                .with_context(|| context(&place))?;
            inside.sort_by_key(fs::DirEntry::file_name);
            for one in inside {
                let path = folder.join(one.file_name());
                let place = one.path();
                let meta = one.metadata().with_context(|| context(&place))?;
                // What another prepare says about it is not of the tree.
                if path == Path::new(MARKER) {
                    continue;
                }
                let found = entry(path, &meta, &place)?;
                if found.kind == Kind::Folder && meta.dev() == device {
                    folders.push(found.path.clone());
                }
                entries.push(found);
            }
        }
        Ok(Self {
            top: top.to_owned(),
            entries,
        })
    }
}

/// What lies at `place`, as an entry.
fn entry(path: PathBuf, meta: &Metadata, place: &Path) -> anyhow::Result<Entry> {
    let kind = meta.file_type();
    let device = || (major(meta.rdev()), minor(meta.rdev()));
    let kind = match kind {
        _ if kind.is_dir() => Kind::Folder,
        _ if kind.is_file() => Kind::File(meta.len()),
        _ if kind.is_symlink() => {
            let target = fs::read_link(place);
            Kind::Link(target.with_context(|| format!("reading the link {}", place.display()))?)
        }
        _ if kind.is_char_device() => Kind::Char(device().0, device().1),
        _ if kind.is_block_device() => Kind::Block(device().0, device().1),
        _ if kind.is_fifo() => Kind::Pipe,
        _ if kind.is_socket() => Kind::Socket,
        _ => bail!("{} is of no kind that is known", place.display()),
    };
    let mut entry = Entry::new(path, meta.mode(), kind);
    entry.uid = meta.uid();
    entry.gid = meta.gid();
    entry.changed = meta.mtime();
    Ok(entry)
}

impl Tree for Folder {
    fn entries(&self) -> &[Entry] {
        &self.entries
    }

    fn copy(&mut self, number: usize, out: &mut dyn Write) -> io::Result<()> {
        let path = self.top.join(&self.entries[number].path);
        io::copy(&mut File::open(path)?, out)?;
        Ok(())
    }
}
