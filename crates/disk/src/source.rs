//! What the golden node reads: a file, partition or disk, or a pipe.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::num::NonZeroU64;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use goldring_contract::Root;
use rustix::fs::{Advice, fadvise};

use crate::users::{self, DeviceNumber, User};

/// How much is read before what was read is given back to the system.
const STEP: u64 = 16 << 20;

/// An input, read once from its beginning, without pushing everything else out of
/// memory.
#[derive(Debug)]
pub struct Source {
    file: File,
    /// How many bytes there are; unknown for a pipe.
    pub size: Option<u64>,
    /// Who uses it meanwhile: what is copied may change while it is read.
    pub users: Vec<User>,
    position: u64,
    dropped: u64,
    /// Data is stored up to here, as far as was looked.
    data_until: u64,
}

/// An input that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// A folder.
    #[error("the infile {0} is a folder; name a disk, a partition or a file")]
    Folder(String),
    /// A part of a split input that has no size.
    #[error("{0} is no plain file; split reads plain files")]
    Part(String),
    /// The system refused.
    #[error("opening the infile {path}")]
    Io {
        /// The path.
        path: String,
        /// What the system said.
        source: io::Error,
    },
}

impl Source {
    /// Opens `path`.
    ///
    /// # Errors
    /// It is not there, or cannot be read.
    pub fn open(root: &Root, path: &Path) -> Result<Self, SourceError> {
        let shown = || path.display().to_string();
        let io = |source| SourceError::Io {
            path: shown(),
            source,
        };
        let file = File::open(root.join(path)).map_err(io)?;
        let meta = file.metadata().map_err(io)?;
        if meta.is_dir() {
            return Err(SourceError::Folder(shown()));
        }
        let mut users = Vec::new();
        let size = if meta.file_type().is_block_device() {
            let number = DeviceNumber::from_raw(meta.rdev());
            users = users::of_device(root, number).unwrap_or_default();
            Some(goldring_sys::block::size(&file).map_err(io)?)
        } else {
            meta.is_file().then_some(meta.len())
        };
        // Advice only.
        let _ = fadvise(&file, 0, None, Advice::Sequential);
        Ok(Self {
            file,
            size,
            users: users
                .into_iter()
                .filter(|user| writes(root, user))
                .collect(),
            position: 0,
            dropped: 0,
            data_until: 0,
        })
    }
}

impl Source {
    /// The same once more, for somebody else to look for holes. Both share the place
    /// where they read.
    ///
    /// # Errors
    /// There are too many open files.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            file: self.file.try_clone()?,
            size: self.size,
            users: Vec::new(),
            position: self.position,
            dropped: self.dropped,
            data_until: self.data_until,
        })
    }

    /// Its file, for somebody who reads at places of his own.
    ///
    /// # Errors
    /// There are too many open files.
    pub fn file(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// Goes to this byte.
    ///
    /// # Errors
    /// It is a pipe.
    pub fn go_to(&mut self, offset: u64) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(offset))?;
        self.position = offset;
        self.dropped = self.dropped.min(offset);
        Ok(())
    }

    /// Goes to this byte, where reading has failed. What the system has read ahead is
    /// forgotten, and from now on it reads no more than it is asked for.
    ///
    /// # Errors
    /// It is a pipe.
    pub fn go_carefully_to(&mut self, offset: u64) -> io::Result<()> {
        // Advice only.
        let _ = fadvise(&self.file, 0, None, Advice::Random);
        let _ = fadvise(&self.file, 0, None, Advice::DontNeed);
        self.go_to(offset)
    }

    /// When nothing is stored at this byte, which then reads as zero: where something is
    /// again, or the end. `None` when something is stored there, or when the system does
    /// not know, as on a disk.
    pub fn hole_at(&mut self, offset: u64) -> Option<u64> {
        let size = self.size?;
        if offset < self.data_until {
            return None;
        }
        let back = self.position;
        let found = match rustix::fs::seek(&self.file, rustix::fs::SeekFrom::Data(offset)) {
            Ok(data) if data > offset => Some(data),
            Ok(_) => {
                let hole = rustix::fs::seek(&self.file, rustix::fs::SeekFrom::Hole(offset));
                self.data_until = hole.unwrap_or(size);
                None
            }
            // No more data up to the end.
            Err(rustix::io::Errno::NXIO) => Some(size),
            Err(_) => {
                self.data_until = size;
                None
            }
        };
        // Looking has moved the place where the next byte is read.
        self.file.seek(SeekFrom::Start(back)).ok()?;
        found.filter(|end| *end > offset)
    }
}

/// A file system that is mounted read-only changes nothing.
fn writes(root: &Root, user: &User) -> bool {
    let User::Mount { place, .. } = user else {
        return true;
    };
    let text = fs::read_to_string(root.join("/proc/self/mounts")).unwrap_or_default();
    !text.lines().any(|line| {
        let mut words = line.split(' ').skip(1);
        words.next() == Some(place)
            && words
                .nth(1)
                .is_some_and(|o| o.split(',').any(|o| o == "ro"))
    })
}

impl Read for Source {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read(buf)?;
        self.position += n as u64;
        if self.position - self.dropped >= STEP {
            let len = NonZeroU64::new(self.position - self.dropped);
            // Advice only.
            let _ = fadvise(&self.file, self.dropped, len, Advice::DontNeed);
            self.dropped = self.position;
        }
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;

    #[test]
    fn holes_are_found_without_reading_and_reading_goes_on_where_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let file = File::create(&path).unwrap();
        file.set_len(4 << 20).unwrap();
        file.write_all_at(&[1; 4096], 0).unwrap();
        file.write_all_at(&[2; 4096], 2 << 20).unwrap();
        let mut source = Source::open(&Root::system(), &path).unwrap();
        assert_eq!(source.hole_at(0), None);
        let mut bytes = [0; 10];
        source.read_exact(&mut bytes).unwrap();
        assert_eq!(bytes, [1; 10]);
        match source.hole_at(1 << 20) {
            Some(end) => assert_eq!(end, 2 << 20),
            // A file system without holes.
            None => return,
        }
        source.read_exact(&mut bytes).unwrap();
        assert_eq!(bytes, [1; 10], "the place was kept");
        assert_eq!(source.hole_at(3 << 20), Some(4 << 20));
        source.go_to(2 << 20).unwrap();
        source.read_exact(&mut bytes).unwrap();
        assert_eq!(bytes, [2; 10]);
    }
}
