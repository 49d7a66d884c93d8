//! A tree of files like that of an installed system, the same one each time.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, symlink};
use std::path::{Path, PathBuf};

/// Parts of the bytes, in hundredths: small files, files of some hundred KB; the rest is
/// in large ones.
const SMALL_PART: u64 = 40;
const MIDDLE_PART: u64 = 10;
/// How large they are, in bytes, from and below.
const SMALL: (u64, u64) = (100, 16 << 10);
const MIDDLE: (u64, u64) = (100 << 10, 500 << 10);
const LARGE: (u64, u64) = (20 << 20, 60 << 20);
/// So many small files are in a folder; of empty ones, which may be millions, so many.
const IN_A_FOLDER: u64 = 50;
const EMPTY_IN_A_FOLDER: u64 = 1000;
/// Every so many small files have a second name, or a symbolic link that leads to them.
const LINKED: u64 = 50;
const POINTED_AT: u64 = 20;
/// Files with holes, so large, with so many pieces of data.
const SPARSE: (u64, u64, u64) = (10, 64 << 20, 5);
/// Content is taken from so many random bytes.
const NOISE: usize = 8 << 20;

/// What a tree holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Made {
    files: u64,
    empty: u64,
    names: u64,
    symlinks: u64,
    sparse: u64,
    folders: u64,
    bytes: u64,
}

impl fmt::Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a tree of {} files with {} bytes, {} empty ones, {} second names, {} symbolic \
             links, {} files with holes, {} folders",
            self.files,
            self.bytes,
            self.empty,
            self.names,
            self.symlinks,
            self.sparse,
            self.folders
        )
    }
}

/// Makes a tree of `bytes` in the files, and so many empty ones besides.
///
/// # Errors
/// It cannot be written.
pub(super) fn make(top: &Path, bytes: u64, empty: u64) -> io::Result<Made> {
    let mut noise = vec![0; NOISE];
    File::open("/dev/urandom")?.read_exact(&mut noise)?;
    let mut tree = Tree {
        top,
        noise,
        dice: 0x9e37_79b9_7f4a_7c15,
        made: Made::default(),
    };
    fs::create_dir(top)?;
    let (small, middle) = (bytes * SMALL_PART / 100, bytes * MIDDLE_PART / 100);
    tree.fill("small", small, SMALL)?;
    tree.fill("middle", middle, MIDDLE)?;
    tree.fill("large", bytes - small - middle, LARGE)?;
    tree.sparse()?;
    tree.empty(empty)?;
    Ok(tree.made)
}

struct Tree<'a> {
    top: &'a Path,
    noise: Vec<u8>,
    /// Of a generator of Marsaglia's (xorshift, 2003).
    dice: u64,
    made: Made,
}

impl Tree<'_> {
    fn roll(&mut self, (from, below): (u64, u64)) -> u64 {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        from + self.dice % (below - from)
    }

    fn folder(&mut self, name: &str) -> io::Result<PathBuf> {
        let folder = self.top.join(name);
        fs::create_dir_all(&folder)?;
        self.made.folders += 1;
        Ok(folder)
    }

    /// Files of sizes of a range, `bytes` in all.
    fn fill(&mut self, name: &str, bytes: u64, sizes: (u64, u64)) -> io::Result<()> {
        let mut folder = self.folder(name)?;
        let (mut left, mut number) = (bytes, 0);
        while left > 0 {
            if number % IN_A_FOLDER == 0 {
                folder = self.folder(&format!("{name}/{:05}", number / IN_A_FOLDER))?;
            }
            let size = self.roll(sizes).min(left);
            let path = folder.join(format!("file{number:06}.dat"));
            self.file(&path, size)?;
            if sizes == SMALL {
                self.names(&path, number)?;
            }
            left -= size;
            number += 1;
        }
        Ok(())
    }

    fn file(&mut self, path: &Path, size: u64) -> io::Result<()> {
        let file = File::create(path)?;
        let mut at = 0;
        while at < size {
            let from = usize::try_from(self.roll((0, NOISE as u64 / 2))).unwrap_or(0);
            let piece = &self.noise[from..];
            let length = usize::try_from(size - at).map_or(piece.len(), |n| n.min(piece.len()));
            file.write_all_at(&piece[..length], at)?;
            at += length as u64;
        }
        self.made.files += 1;
        self.made.bytes += size;
        Ok(())
    }

    fn names(&mut self, path: &Path, number: u64) -> io::Result<()> {
        if number.is_multiple_of(LINKED) {
            fs::hard_link(path, path.with_extension("same"))?;
            self.made.names += 1;
        }
        if number.is_multiple_of(POINTED_AT)
            && let Some(name) = path.file_name()
        {
            symlink(name, path.with_extension("link"))?;
            self.made.symlinks += 1;
        }
        Ok(())
    }

    fn sparse(&mut self) -> io::Result<()> {
        let folder = self.folder("sparse")?;
        let (files, size, pieces) = SPARSE;
        for number in 0..files {
            let file = File::create(folder.join(format!("{number}")))?;
            file.set_len(size)?;
            for piece in 0..pieces {
                let bytes = &self.noise[..4096];
                file.write_all_at(bytes, size / pieces * piece)?;
            }
            self.made.sparse += 1;
        }
        Ok(())
    }

    fn empty(&mut self, count: u64) -> io::Result<()> {
        let mut folder = PathBuf::new();
        for number in 0..count {
            if number % EMPTY_IN_A_FOLDER == 0 {
                folder = self.folder(&format!("empty/{:05}", number / EMPTY_IN_A_FOLDER))?;
            }
            File::create(folder.join(format!("{number}")))?;
        }
        self.made.empty += count;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn there_is_everything_that_a_system_has() {
        let folder = tempfile::tempdir().unwrap();
        let top = folder.path().join("tree");
        let made = make(&top, 2 << 20, 1001).unwrap();
        assert_eq!(made.bytes, 2 << 20);
        assert!(
            made.files > 60 && made.names > 0 && made.symlinks > 0,
            "{made}"
        );
        assert_eq!((made.empty, made.sparse), (1001, SPARSE.0));
        assert!(top.join("empty/00001/1000").is_file());
        let first = top.join("small/00000/file000000.same");
        assert_eq!(fs::metadata(&first).unwrap().nlink(), 2);
        assert!(
            fs::metadata(first.with_extension("link"))
                .unwrap()
                .is_file()
        );
        let holes = fs::metadata(top.join("sparse/0")).unwrap();
        assert!(holes.blocks() * 512 < holes.len() / 100);
    }
}
