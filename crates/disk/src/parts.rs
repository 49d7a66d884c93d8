//! An image in several files: `path_0`, `path_1` and so on, as dolly's `split` reads and
//! writes them.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use goldring_contract::Root;

use crate::source::{Source, SourceError};
use crate::target::{Room, Target, TargetError};
use crate::writer::Sync;

/// The name of a part, counted from 0.
pub fn name(path: &Path, number: u64) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(format!("_{number}"));
    PathBuf::from(name)
}

/// The parts of an input, read one after the other as if they were one file.
#[derive(Debug)]
pub struct Joined {
    root: Root,
    path: PathBuf,
    /// How many parts there are.
    pub count: u64,
    /// How many bytes all of them hold.
    pub size: u64,
    next: u64,
    open: Option<Source>,
}

impl Joined {
    /// Finds `path_0`, `path_1` and so on, until one is missing.
    ///
    /// # Errors
    /// There is no first one, or one cannot be read or is no plain file.
    pub fn open(root: &Root, path: &Path) -> Result<Self, SourceError> {
        let (mut count, mut size) = (0, 0_u64);
        loop {
            let part = name(path, count);
            if count > 0 && !root.join(&part).exists() {
                break;
            }
            let source = Source::open(root, &part)?;
            let Some(bytes) = source.size else {
                return Err(SourceError::Part(part.display().to_string()));
            };
            size = size.saturating_add(bytes);
            count += 1;
        }
        Ok(Self {
            root: root.clone(),
            path: path.to_owned(),
            count,
            size,
            next: 0,
            open: None,
        })
    }
}

impl Read for Joined {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        loop {
            if let Some(part) = &mut self.open {
                let n = part.read(buf)?;
                if n > 0 {
                    return Ok(n);
                }
                self.open = None;
            }
            if self.next == self.count {
                return Ok(0);
            }
            let part = name(&self.path, self.next);
            self.next += 1;
            self.open = Some(Source::open(&self.root, &part).map_err(io::Error::other)?);
        }
    }
}

/// Writes parts of a fixed size. Whatever is not finished is removed again: a copy that
/// is not whole must not look like one, and must not be in the way of the next try.
#[derive(Debug)]
pub struct Parts {
    root: Root,
    path: PathBuf,
    size: u64,
    sync: Sync,
    /// How many parts were made; the last of them is open.
    made: u64,
    file: File,
    /// How many bytes the open part has.
    filled: u64,
    finished: bool,
}

impl Parts {
    /// Makes the first part. No part may exist, whatever its number.
    ///
    /// # Errors
    /// One exists, or the first cannot be made.
    pub fn create(root: &Root, path: &Path, size: u64, sync: Sync) -> Result<Self, TargetError> {
        if let Some(old) = existing(root, path) {
            return Err(TargetError::Exists(old.display().to_string()));
        }
        let file = Target::create_new(root, &name(path, 0))?.file;
        Ok(Self {
            root: root.clone(),
            path: path.to_owned(),
            size: size.max(1),
            sync,
            made: 1,
            file,
            filled: 0,
            finished: false,
        })
    }

    /// How much fits, to be asked while somebody else writes.
    pub fn room(&self) -> Room {
        Room::of_file(&self.file, self.path.display().to_string())
    }

    /// Forces the last part and the names of all to the disk.
    ///
    /// # Errors
    /// The disk refuses; then nothing stays.
    pub fn finish(&mut self) -> io::Result<()> {
        self.close()?;
        if self.sync == Sync::Always {
            let path = self.root.join(&self.path);
            let folder = path.parent().filter(|folder| *folder != Path::new(""));
            File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
        }
        self.finished = true;
        Ok(())
    }

    fn close(&mut self) -> io::Result<()> {
        match self.sync {
            Sync::Always => self.file.sync_all(),
            Sync::Never => Ok(()),
        }
    }
}

impl Write for Parts {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        if self.filled == self.size {
            self.close()?;
            self.file = make(&self.root, &name(&self.path, self.made))?;
            self.made += 1;
            self.filled = 0;
        }
        let room = usize::try_from(self.size - self.filled).unwrap_or(usize::MAX);
        let n = self.file.write(&bytes[..bytes.len().min(room)])?;
        self.filled += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        for number in 0..self.made {
            // Only what was made here; one that is gone already is no loss.
            let _ = fs::remove_file(self.root.join(name(&self.path, number)));
        }
    }
}

fn make(root: &Root, path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(root.join(path))
}

/// A part of this path that exists, whatever its number.
fn existing(root: &Root, path: &Path) -> Option<PathBuf> {
    let mut start = path.file_name()?.to_owned();
    start.push("_");
    let start = start.into_encoded_bytes();
    let folder = path.parent().unwrap_or(Path::new(""));
    let entries = fs::read_dir(root.join(folder)).ok()?;
    let is_part = |name: &OsString| {
        let rest = name.as_encoded_bytes().strip_prefix(start.as_slice());
        rest.is_some_and(|rest| !rest.is_empty() && rest.iter().all(u8::is_ascii_digit))
    };
    let mut found: Vec<OsString> = entries
        .filter_map(|entry| Some(entry.ok()?.file_name()))
        .filter(is_part)
        .collect();
    found.sort_unstable();
    Some(folder.join(found.first()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn world() -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::at(dir.path());
        (dir, root)
    }

    fn write(root: &Root, size: u64, data: &[u8]) -> Result<Vec<Vec<u8>>, TargetError> {
        let mut parts = Parts::create(root, Path::new("/img"), size, Sync::Always)?;
        for piece in data.chunks(7) {
            parts.write_all(piece).unwrap();
        }
        parts.finish().unwrap();
        let read = |i| fs::read(root.join(name(Path::new("/img"), i))).ok();
        Ok((0..).map_while(read).collect())
    }

    #[test]
    fn parts_have_their_size_and_the_last_has_the_rest() {
        let data: Vec<u8> = (0..25).collect();
        for (size, lengths) in [
            (10, vec![10, 10, 5]),
            (25, vec![25]),
            (5, vec![5; 5]),
            (100, vec![25]),
        ] {
            let (_dir, root) = world();
            let parts = write(&root, size, &data).unwrap();
            let got: Vec<usize> = parts.iter().map(Vec::len).collect();
            assert_eq!(got, lengths);
            assert_eq!(parts.concat(), data);
            let mut joined = Joined::open(&root, Path::new("/img")).unwrap();
            assert_eq!((joined.size, joined.count), (25, lengths.len() as u64));
            let mut back = Vec::new();
            joined.read_to_end(&mut back).unwrap();
            assert_eq!(back, data);
        }
        let (_dir, root) = world();
        assert_eq!(write(&root, 10, &[]).unwrap(), [Vec::<u8>::new()]);
    }

    #[test]
    fn a_part_that_exists_is_never_overwritten() {
        for old in ["/img_0", "/img_7"] {
            let (_dir, root) = world();
            fs::write(root.join(old), "old").unwrap();
            let error = write(&root, 10, &[1]).unwrap_err().to_string();
            assert_eq!(
                error,
                format!("{old} exists and is not overwritten; remove it, or write another outfile")
            );
            assert_eq!(fs::read(root.join(old)).unwrap(), b"old");
        }
        let (_dir, root) = world();
        for other in ["/img", "/img_", "/img_a", "/img_0.gz"] {
            fs::write(root.join(other), "other").unwrap();
        }
        assert_eq!(write(&root, 10, &[1]).unwrap(), [[1]]);
    }

    #[test]
    fn what_is_not_finished_does_not_stay() {
        let (_dir, root) = world();
        let mut parts = Parts::create(&root, Path::new("/img"), 4, Sync::Never).unwrap();
        parts.write_all(&[1; 10]).unwrap();
        assert!(root.join("/img_2").exists());
        drop(parts);
        assert_eq!(fs::read_dir(root.join("/")).unwrap().count(), 0);
    }

    #[test]
    fn an_input_without_a_first_part_is_named() {
        let (_dir, root) = world();
        fs::write(root.join("/img_1"), "x").unwrap();
        let error = Joined::open(&root, Path::new("/img")).unwrap_err();
        assert_eq!(error.to_string(), "opening the infile /img_0");
    }
}
