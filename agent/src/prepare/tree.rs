//! A tree of files inside an image, or in a folder: what is in it, and its bytes.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::io::{self, Write};
use std::path::{Component, Path, PathBuf};

use anyhow::{bail, ensure};

/// No stage 2 has more; an image that says so is broken.
const ENTRIES_MAX: usize = 1 << 20;
/// The permissions with set-user-id, set-group-id and sticky.
const RIGHTS: u32 = 0o7777;

/// Something in a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// Seen from the top, which itself is the empty path.
    pub(super) path: PathBuf,
    /// Permissions, with the special bits.
    pub(super) rights: u32,
    /// Owner.
    pub(super) uid: u32,
    /// Group.
    pub(super) gid: u32,
    /// Seconds since 1970.
    pub(super) changed: i64,
    /// What it is.
    pub(super) kind: Kind,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// A folder.
    Folder,
    /// A file of so many bytes.
    File(u64),
    /// A symbolic link.
    Link(PathBuf),
    /// A character device: major and minor number.
    Char(u32, u32),
    /// A block device.
    Block(u32, u32),
    /// A named pipe.
    Pipe,
    /// A socket, which means something only to the program that made it.
    Socket,
}

impl Kind {
    /// Whether only root may make it.
    pub(super) fn is_device(&self) -> bool {
        matches!(self, Self::Char(..) | Self::Block(..))
    }
}

impl Entry {
    /// With the permissions cut out of a `st_mode`.
    pub(super) fn new(path: PathBuf, mode: u32, kind: Kind) -> Self {
        Self {
            path,
            rights: mode & RIGHTS,
            uid: 0,
            gid: 0,
            changed: 0,
            kind,
        }
    }
}

/// Where files come from.
pub(super) trait Tree {
    /// Everything in it, each folder before what is in it, the top first.
    fn entries(&self) -> &[Entry];

    /// Writes the bytes of file number `number`.
    ///
    /// # Errors
    /// They cannot be read or written.
    fn copy(&mut self, number: usize, out: &mut dyn Write) -> io::Result<()>;

    /// Where a file begins in what it is read from, if its bytes lie there as they are.
    fn place(&self, _number: usize) -> Option<u64> {
        None
    }
}

/// The number of the file at `path`.
pub(super) fn file_at(entries: &[Entry], path: &str) -> Option<usize> {
    let wanted = Path::new(path);
    let mut all = entries.iter();
    all.position(|entry| entry.path == wanted && matches!(entry.kind, Kind::File(_)))
}

/// Every name stays inside and stands once, in a folder that was named before: so nothing
/// that is written goes through a link of the image.
///
/// # Errors
/// Not so.
pub(super) fn check(entries: &[Entry]) -> anyhow::Result<()> {
    ensure!(
        entries.len() <= ENTRIES_MAX,
        "more than {ENTRIES_MAX} names"
    );
    let mut folders = HashSet::new();
    let mut names = HashSet::new();
    for entry in entries {
        let path = &entry.path;
        let shown = path.display();
        let is_plain = path.components().all(|c| matches!(c, Component::Normal(_)));
        ensure!(is_plain, "it names {shown}, which leads out of it");
        ensure!(names.insert(path), "it names {shown} twice");
        match path.parent() {
            None => ensure!(entry.kind == Kind::Folder, "its top is no folder"),
            Some(parent) => ensure!(
                folders.contains(parent),
                "it names {shown} before the folder that it is in"
            ),
        }
        if entry.kind == Kind::Folder {
            folders.insert(path.as_path());
        }
    }
    ensure!(!entries.is_empty(), "nothing is in it");
    Ok(())
}

/// A name inside a folder, as an image has it.
///
/// # Errors
/// It is none.
pub(super) fn child(folder: &Path, name: &OsStr) -> anyhow::Result<PathBuf> {
    let mut parts = Path::new(name).components();
    match (parts.next(), parts.next()) {
        (Some(Component::Normal(only)), None) if only == name => Ok(folder.join(name)),
        _ => bail!("a name in {} is none: {name:?}", folder.display()),
    }
}

/// Sums up a tree.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sizes {
    /// Files, folders, links and the rest.
    pub(super) entries: u64,
    /// Bytes in files.
    pub(super) bytes: u64,
    /// What a file system of blocks of 4 KiB needs for it, in bytes.
    pub(super) room: u64,
    /// Device nodes.
    pub(super) devices: u64,
}

impl Sizes {
    /// Of these.
    pub(super) fn of(entries: &[Entry]) -> Self {
        const BLOCK: u64 = 4096;
        let mut sizes = Self::default();
        for entry in entries {
            sizes.entries += 1;
            sizes.devices += u64::from(entry.kind.is_device());
            sizes.room = sizes.room.saturating_add(BLOCK);
            if let Kind::File(length) = entry.kind {
                sizes.bytes = sizes.bytes.saturating_add(length);
                let blocks = length.div_ceil(BLOCK).saturating_mul(BLOCK);
                sizes.room = sizes.room.saturating_add(blocks);
            }
        }
        sizes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str, kind: Kind) -> Entry {
        Entry::new(path.into(), 0o100_755, kind)
    }

    #[test]
    fn names_that_lead_out_are_refused() {
        let top = entry("", Kind::Folder);
        let link = entry("a", Kind::Link("/etc".into()));
        let good = [
            top.clone(),
            entry("b", Kind::Folder),
            entry("b/c", Kind::File(5)),
        ];
        check(&good).unwrap();
        for (entries, why) in [
            (vec![], "nothing is in it"),
            (vec![entry("", Kind::Pipe)], "no folder"),
            (vec![top.clone(), entry("../x", Kind::Pipe)], "leads out"),
            (vec![top.clone(), entry("/x", Kind::Pipe)], "leads out"),
            (vec![top.clone(), link.clone(), link.clone()], "twice"),
            (
                vec![top.clone(), link, entry("a/passwd", Kind::File(1))],
                "before the folder",
            ),
            (vec![top, entry("b/c", Kind::File(1))], "before the folder"),
        ] {
            let error = check(&entries).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
        for name in ["", ".", "..", "a/b", "/a", "a/"] {
            assert!(child(Path::new("b"), OsStr::new(name)).is_err(), "{name}");
        }
        assert_eq!(
            child(Path::new("b"), OsStr::new("c")).unwrap(),
            Path::new("b/c")
        );
    }

    #[test]
    fn sizes_are_added() {
        let all = [
            entry("", Kind::Folder),
            entry("a", Kind::File(1)),
            entry("b", Kind::File(4097)),
            entry("c", Kind::Char(5, 1)),
        ];
        let sizes = Sizes::of(&all);
        assert_eq!((sizes.entries, sizes.bytes, sizes.devices), (4, 4098, 1));
        assert_eq!(sizes.room, (4 + 1 + 2) * 4096);
        assert_eq!(
            Sizes::of(&[entry("a", Kind::File(u64::MAX))]).bytes,
            u64::MAX
        );
        assert_eq!(file_at(&all, "b"), Some(2));
        assert_eq!(file_at(&all, "c"), None);
    }
}
