//! cpio archives of the "newc" kind, as the kernel unpacks them.
//!
//! The `cpio` crate writes headers and paddings; this module gives it the lengths,
//! and checks them, because the crate accepts fewer bytes than were announced.

use std::io::Write;

use anyhow::{Context, Result, bail};
use cpio::newc;

use crate::tree::{Kind, Tree};

/// The type bits of a cpio mode (the same as in `stat`).
const TYPE: u32 = 0o170_000;
const FOLDER: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const LINK: u32 = 0o120_000;
const DEVICE: u32 = 0o020_000;

/// One name of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The path as it is written in the archive.
    pub name: String,
    /// Type and permission bits, as in `stat`.
    pub mode: u32,
    /// Owner and group.
    pub owner: (u32, u32),
    /// Seconds since 1970.
    pub time: u32,
    /// Numbers of a device node.
    pub device: (u32, u32),
    /// The bytes; of a link, its target.
    pub data: Vec<u8>,
}

impl Entry {
    /// The letter that `ls -l` writes for its type.
    pub fn letter(&self) -> char {
        match self.mode & TYPE {
            FOLDER => 'd',
            FILE => '-',
            LINK => 'l',
            DEVICE => 'c',
            0o060_000 => 'b',
            0o010_000 => 'p',
            0o140_000 => 's',
            _ => '?',
        }
    }
}

/// The entries that [`write()`] makes of a tree, in order.
///
/// # Errors
/// A file cannot be read.
pub fn entries(tree: &Tree) -> impl Iterator<Item = Result<Entry>> {
    tree.iter().map(|(path, node)| {
        let mut device = (0, 0);
        let (kind, data) = match &node.kind {
            Kind::Folder => (FOLDER, Vec::new()),
            Kind::File(content) => (FILE, content.read()?),
            Kind::Link(target) => (LINK, target.clone().into_bytes()),
            Kind::Device { major, minor } => {
                device = (*major, *minor);
                (DEVICE, Vec::new())
            }
        };
        Ok(Entry {
            name: path.to_owned(),
            mode: kind | u32::from(node.mode),
            owner: (0, 0),
            time: 0,
            device,
            data,
        })
    })
}

/// Writes a tree as one archive. Inode numbers count from 1, every time is 0 and
/// everything belongs to root, so the bytes depend on the tree alone.
///
/// # Errors
/// A file cannot be read or is larger than a cpio archive can say (4 GiB); `out` fails.
pub fn write<W: Write>(tree: &Tree, mut out: W) -> Result<W> {
    for (entry, inode) in entries(tree).zip(1..) {
        let entry = entry?;
        let size = u32::try_from(entry.data.len())
            .with_context(|| format!("/{} is too large for a cpio archive", entry.name))?;
        let folder = entry.mode & TYPE == FOLDER;
        let mut writer = newc::Builder::new(&entry.name)
            .ino(inode)
            .mode(entry.mode)
            .nlink(if folder { 2 } else { 1 })
            .rdev_major(entry.device.0)
            .rdev_minor(entry.device.1)
            .write(out, size);
        writer.write_all(&entry.data)?;
        out = writer.finish()?;
    }
    Ok(newc::trailer(out)?)
}

/// Reads one archive from the start of `bytes`.
///
/// Returns its entries and the number of bytes that it took, trailer included.
///
/// # Errors
/// Bytes that are no archive, or one that ends early.
pub fn read(bytes: &[u8]) -> Result<(Vec<Entry>, usize)> {
    let mut entries = Vec::new();
    let mut rest = bytes;
    loop {
        let at = bytes.len() - rest.len();
        let problem = || format!("cpio archive, entry {} at byte {at}", entries.len() + 1);
        let reader = newc::Reader::new(rest).with_context(problem)?;
        let header = reader.entry();
        let mut entry = Entry {
            name: header.name().to_owned(),
            mode: header.mode(),
            owner: (header.uid(), header.gid()),
            time: header.mtime(),
            device: (header.rdev_major(), header.rdev_minor()),
            data: Vec::new(),
        };
        let (size, last) = (header.file_size() as usize, header.is_trailer());
        rest = reader.to_writer(&mut entry.data).with_context(problem)?;
        if entry.data.len() != size {
            bail!(
                "{}: announces {size} bytes and has {}",
                problem(),
                entry.data.len()
            );
        }
        if last {
            return Ok((entries, bytes.len() - rest.len()));
        }
        entries.push(entry);
    }
}

/// Whether these bytes begin like an archive.
pub fn is_archive(bytes: &[u8]) -> bool {
    bytes.starts_with(b"070701") || bytes.starts_with(b"070702")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Content;
    use proptest::prelude::{ProptestConfig, any, prop, prop_assert_eq, proptest};

    #[test]
    fn a_tree_comes_back() {
        let mut tree = Tree::new();
        tree.file("init", 0o755, Content::Bytes(vec![1, 2, 3]))
            .unwrap();
        tree.device("dev/console", 0o600, 5, 1).unwrap();
        tree.link("sbin/modprobe", "/init").unwrap();
        let bytes = write(&tree, Vec::new()).unwrap();
        let (back, used) = read(&bytes).unwrap();
        assert_eq!(used, bytes.len());
        let wanted: Vec<_> = entries(&tree).map(Result::unwrap).collect();
        assert_eq!(back, wanted);
        let letters: String = back.iter().map(Entry::letter).collect();
        assert_eq!(letters, "dc-dl");
        assert_eq!(back[1].device, (5, 1));
    }

    #[test]
    fn ugly_archives_are_errors() {
        let mut tree = Tree::new();
        tree.text("a", "0123456789").unwrap();
        let good = write(&tree, Vec::new()).unwrap();
        for cut in 0..good.len() {
            assert!(read(&good[..cut]).is_err(), "cut at {cut}");
        }
        let mut wild = good;
        wild[54..62].copy_from_slice(b"ffffffff");
        assert!(read(&wild).is_err());
        assert!(read(b"070707").is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_tree_comes_back(
            files in prop::collection::btree_map("[a-c]{1,3}(/[a-zé .-]{1,4}x){0,2}", any::<Vec<u8>>(), 0..12)
        ) {
            let mut tree = Tree::new();
            for (path, bytes) in files {
                // Two random paths may want one name as file and as folder.
                let _ = tree.file(&path, 0o644, Content::Bytes(bytes));
            }
            let bytes = write(&tree, Vec::new()).unwrap();
            let (back, used) = read(&bytes).unwrap();
            prop_assert_eq!(used, bytes.len());
            let wanted: Vec<_> = entries(&tree).map(Result::unwrap).collect();
            prop_assert_eq!(back, wanted);
        }
    }
}
