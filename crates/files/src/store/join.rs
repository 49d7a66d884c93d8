//! The pieces of a stream, read one after the other. What is read was saved so: each piece is
//! checked to its last byte.

use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};

use super::{Index, Stamp, Stream};
use crate::text::shown;
use crate::trailer::Sum;

/// Bytes in one read.
const BLOCK: usize = 256 << 10;

/// A file of an image that is not what was saved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub wrong: Wrong,
}

/// What is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wrong {
    /// It is not there.
    Missing,
    /// It has another size: what it has and what it had.
    Size(u64, u64),
    /// Its digest is another.
    Changed,
    /// It cannot be read.
    Unreadable(String),
    /// It is as it was written, and does not unpack to what it should.
    Unpacks(String),
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = shown(&self.path);
        match &self.wrong {
            Wrong::Missing => write!(f, "{path} is missing"),
            Wrong::Size(has, had) => {
                write!(f, "{path} is damaged: it has {has} bytes instead of {had}")
            }
            Wrong::Changed => write!(f, "{path} is damaged: its digest is another"),
            Wrong::Unreadable(why) => write!(f, "{path} cannot be read: {why}"),
            Wrong::Unpacks(why) => write!(f, "{path} was written wrongly: {why}"),
        }
    }
}

impl std::error::Error for Damage {}

impl From<Damage> for io::Error {
    fn from(damage: Damage) -> Self {
        Self::new(ErrorKind::InvalidData, damage)
    }
}

/// The damage in an error, if it is one.
pub(super) fn damage_of(error: &io::Error) -> Option<&Damage> {
    error.get_ref()?.downcast_ref()
}

/// A file that must be what its stamp says.
struct Checked {
    path: PathBuf,
    file: File,
    stamp: Stamp,
    sum: Sum,
    read: u64,
}

impl Checked {
    fn open(path: PathBuf, stamp: Stamp) -> Result<Self, Damage> {
        let unreadable = |error: &io::Error| match error.kind() {
            ErrorKind::NotFound => Wrong::Missing,
            _ => Wrong::Unreadable(error.to_string()),
        };
        let opened = File::open(&path).and_then(|file| Ok((file.metadata()?, file)));
        let (meta, file) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                let wrong = unreadable(&error);
                return Err(Damage { path, wrong });
            }
        };
        if meta.len() != stamp.bytes || !meta.is_file() {
            let wrong = Wrong::Size(meta.len(), stamp.bytes);
            return Err(Damage { path, wrong });
        }
        Ok(Self {
            path,
            file,
            stamp,
            sum: Sum::default(),
            read: 0,
        })
    }

    fn wrong(&self, wrong: Wrong) -> Damage {
        let path = self.path.clone();
        Damage { path, wrong }
    }

    /// 0 at the end of a file that is whole.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Damage> {
        let left = usize::try_from(self.stamp.bytes - self.read).unwrap_or(usize::MAX);
        if left == 0 {
            let same = self.sum.digest() == self.stamp.digest;
            return same.then_some(0).ok_or_else(|| self.wrong(Wrong::Changed));
        }
        let length = left.min(buffer.len());
        let read = loop {
            match self.file.read(&mut buffer[..length]) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(self.wrong(Wrong::Unreadable(error.to_string()))),
                Ok(0) => return Err(self.wrong(Wrong::Size(self.read, self.stamp.bytes))),
                Ok(read) => break read,
            }
        };
        self.sum.add(&buffer[..read]);
        self.read += read as u64;
        Ok(read)
    }
}

/// A small file, checked.
pub(super) fn small(path: PathBuf, stamp: Stamp) -> Result<Vec<u8>, Damage> {
    let mut file = Checked::open(path, stamp)?;
    let (mut all, mut buffer) = (Vec::new(), vec![0; BLOCK]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(all),
            read => all.extend_from_slice(&buffer[..read]),
        }
    }
}

/// The pieces of a stream as they lie there, one after the other: a stream of zstd.
pub struct Packed {
    pieces: std::vec::IntoIter<(PathBuf, Stamp)>,
    open: Option<Checked>,
}

impl fmt::Debug for Packed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Packed({} pieces behind this one)", self.pieces.len())
    }
}

impl Packed {
    /// All pieces of a stream in this folder.
    pub fn new(folder: &Path, stream: &Stream) -> Self {
        let piece = |(number, stamp): (usize, &Stamp)| (folder.join(stream.file(number)), *stamp);
        let pieces: Vec<_> = stream.pieces.iter().enumerate().map(piece).collect();
        Self {
            pieces: pieces.into_iter(),
            open: None,
        }
    }

    /// One piece alone.
    fn one(path: PathBuf, stamp: Stamp) -> Self {
        Self {
            pieces: vec![(path, stamp)].into_iter(),
            open: None,
        }
    }
}

impl Read for Packed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            if let Some(open) = &mut self.open {
                let read = open.read(buffer)?;
                if read > 0 {
                    return Ok(read);
                }
                self.open = None;
            }
            let Some((path, stamp)) = self.pieces.next() else {
                return Ok(0);
            };
            self.open = Some(Checked::open(path, stamp)?);
        }
    }
}

/// Counts what passes.
struct Told<'a, R> {
    inner: R,
    tell: &'a mut dyn FnMut(u64),
}

impl<R: Read> Read for Told<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        (self.tell)(read as u64);
        Ok(read)
    }
}

/// Reads every file of an image and unpacks every piece; gives what is wrong, nothing if all
/// is well. `tell` hears of the bytes that were read since the last time.
pub(super) fn verify(folder: &Path, index: &Index, tell: &mut dyn FnMut(u64)) -> Vec<Damage> {
    let mut all = Vec::new();
    for file in &index.files {
        all.extend(small(folder.join(&file.name), file.stamp).err());
    }
    for stream in &index.streams {
        for (number, stamp) in stream.pieces.iter().enumerate() {
            let path = folder.join(stream.file(number));
            let wanted = stream.unpacked(number, index.piece);
            all.extend(piece(path, *stamp, wanted, tell).err());
        }
    }
    all
}

/// A piece must be what was written, and unpack to so many bytes.
fn piece(
    path: PathBuf,
    stamp: Stamp,
    wanted: u64,
    tell: &mut dyn FnMut(u64),
) -> Result<(), Damage> {
    let packed = Told {
        inner: Packed::one(path.clone(), stamp),
        tell,
    };
    let mut reader = BufReader::with_capacity(BLOCK, packed);
    let unpacked = zstd::stream::read::Decoder::with_buffer(&mut reader)
        .and_then(|mut decoder| io::copy(&mut decoder, &mut io::sink()));
    let why = match unpacked {
        Ok(bytes) if bytes == wanted => None,
        Ok(bytes) => Some(format!("{bytes} bytes come out of it instead of {wanted}")),
        Err(error) => match damage_of(&error) {
            Some(damage) => return Err(damage.clone()),
            None => Some(error.to_string()),
        },
    };
    // Whether it is damaged, the whole of it tells.
    if let Err(error) = io::copy(&mut reader, &mut io::sink()) {
        let wrong = Wrong::Unreadable(error.to_string());
        return Err(damage_of(&error).cloned().unwrap_or(Damage { path, wrong }));
    }
    why.map_or(Ok(()), |why| {
        let wrong = Wrong::Unpacks(why);
        Err(Damage { path, wrong })
    })
}
