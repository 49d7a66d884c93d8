//! A stream is cut into pieces, and each is compressed into a file of its own.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};

use rustix::fs::{Advice, fadvise};

use super::{PIECES_MAX, Stamp, StoreError, Stream, at, piece_file};
use crate::trailer::Sum;

/// How streams are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// Unpacked bytes of a piece.
    pub piece: u64,
    /// Of zstd.
    pub level: i32,
    /// How many threads compress; with one, the caller does.
    pub threads: u32,
}

/// How far a cutter is: bytes that came, and bytes that lie in files.
pub type Tell<'a> = &'a mut dyn FnMut(u64, u64);

/// Takes the bytes of a stream.
pub struct Cutter<'a> {
    folder: PathBuf,
    stream: Stream,
    cut: Cut,
    open: Option<Piece>,
    /// The last piece but one is brought to the disk while the next one fills.
    syncing: Option<JoinHandle<Result<(), StoreError>>>,
    packed: u64,
    tell: Tell<'a>,
    failure: Option<StoreError>,
}

impl std::fmt::Debug for Cutter<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cutter")
            .field("folder", &self.folder)
            .field("stream", &self.stream)
            .finish_non_exhaustive()
    }
}

struct Piece {
    path: PathBuf,
    encoder: zstd::stream::write::Encoder<'static, Stamped>,
    filled: u64,
}

/// A file that is summed up while it is written.
struct Stamped {
    file: File,
    sum: Sum,
    bytes: u64,
}

impl Write for Stamped {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.sum.add(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Piece {
    fn begin(path: PathBuf, cut: Cut) -> Result<Self, StoreError> {
        let file = File::create_new(&path).map_err(at("making", &path))?;
        let stamped = Stamped {
            file,
            sum: Sum::default(),
            bytes: 0,
        };
        let started = zstd::stream::write::Encoder::new(stamped, cut.level).and_then(|mut zstd| {
            // What is unpacked is checked against it.
            zstd.include_checksum(true)?;
            if cut.threads > 1 {
                zstd.multithread(cut.threads)?;
            }
            Ok(zstd)
        });
        let encoder = started.map_err(at("starting zstd for", &path))?;
        Ok(Self {
            path,
            encoder,
            filled: 0,
        })
    }
}

impl<'a> Cutter<'a> {
    /// Will put the pieces of the stream `name` into `folder`.
    pub fn new(folder: &Path, name: &str, cut: Cut, tell: Tell<'a>) -> Self {
        Self {
            folder: folder.to_owned(),
            stream: Stream {
                name: name.to_owned(),
                ..Stream::default()
            },
            cut,
            open: None,
            syncing: None,
            packed: 0,
            tell,
            failure: None,
        }
    }

    /// Why writing failed, if it did: more than an [`io::Error`] tells.
    pub fn failure(&mut self) -> Option<StoreError> {
        self.failure.take()
    }

    /// Ends the last piece, and waits until all is on the disk.
    ///
    /// # Errors
    /// The kernel's, with the path.
    pub fn finish(mut self) -> Result<Stream, StoreError> {
        if self.stream.pieces.is_empty() && self.open.is_none() {
            self.open = Some(self.next()?);
        }
        self.close()?;
        self.synced()?;
        Ok(self.stream)
    }

    fn next(&self) -> Result<Piece, StoreError> {
        let number = self.stream.pieces.len();
        if number == PIECES_MAX {
            return Err(StoreError::Pieces);
        }
        let file = piece_file(&self.stream.name, number);
        Piece::begin(self.folder.join(file), self.cut)
    }

    fn take(&mut self, bytes: &[u8]) -> Result<usize, StoreError> {
        let mut piece = match self.open.take() {
            Some(piece) => piece,
            None => self.next()?,
        };
        let room = self.cut.piece - piece.filled;
        let length = usize::try_from(room).unwrap_or(usize::MAX).min(bytes.len());
        let written = piece.encoder.write_all(&bytes[..length]);
        written.map_err(at("writing", &piece.path))?;
        piece.filled += length as u64;
        self.stream.bytes += length as u64;
        let is_full = piece.filled == self.cut.piece;
        (self.tell)(
            self.stream.bytes,
            self.packed + piece.encoder.get_ref().bytes,
        );
        self.open = Some(piece);
        if is_full {
            self.close()?;
        }
        Ok(length)
    }

    fn close(&mut self) -> Result<(), StoreError> {
        let Some(piece) = self.open.take() else {
            return Ok(());
        };
        let stamped = piece.encoder.finish();
        let Stamped { file, sum, bytes } = stamped.map_err(at("writing", &piece.path))?;
        self.packed += bytes;
        self.stream.pieces.push(Stamp {
            bytes,
            digest: sum.digest(),
        });
        self.synced()?;
        let path = piece.path;
        self.syncing = Some(thread::spawn(move || {
            file.sync_all().map_err(at("writing", &path))?;
            // Whoever checks it reads the disk, not the memory; nobody needs it there.
            let _ = fadvise(&file, 0, None, Advice::DontNeed);
            Ok(())
        }));
        Ok(())
    }

    fn synced(&mut self) -> Result<(), StoreError> {
        let joined = self.syncing.take().map(JoinHandle::join);
        joined.unwrap_or(Ok(Ok(()))).unwrap_or_else(|_| {
            let error = io::Error::other("a thread failed");
            Err(at("writing", &self.folder)(error))
        })
    }
}

impl Write for Cutter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        self.take(bytes).map_err(|error| {
            let told = io::Error::other(error.to_string());
            self.failure = Some(error);
            told
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Read;

    use proptest::prelude::{any, prop, proptest};

    use super::*;
    use crate::store::{FILES, Packed};

    fn saved(folder: &Path, bytes: &[u8], writes: usize, cut: Cut) -> Stream {
        let mut tell = |_, _| {};
        let mut cutter = Cutter::new(folder, FILES, cut, &mut tell);
        for part in bytes.chunks(writes) {
            cutter.write_all(part).unwrap();
        }
        cutter.finish().unwrap()
    }

    fn unpacked(folder: &Path, stream: &Stream) -> Vec<u8> {
        let mut all = Vec::new();
        let packed = Packed::new(folder, stream);
        let mut unpacked = zstd::stream::read::Decoder::new(packed).unwrap();
        unpacked.read_to_end(&mut all).unwrap();
        all
    }

    proptest! {
        // Each piece is brought to the disk, which takes its time.
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(48))]
        #[test]
        fn what_was_cut_is_joined(
            bytes in prop::collection::vec(any::<u8>(), 0..3000),
            piece in 150..1500_u64,
            writes in 1..900_usize,
            threads in 1..3_u32,
        ) {
            let folder = tempfile::tempdir().unwrap();
            let cut = Cut { piece, level: 1, threads };
            let stream = saved(folder.path(), &bytes, writes, cut);
            assert_eq!(stream.bytes, bytes.len() as u64);
            assert_eq!(stream.pieces.len(), bytes.len().div_ceil(piece as usize).max(1));
            assert_eq!(unpacked(folder.path(), &stream), bytes);
            for (number, stamp) in stream.pieces.iter().enumerate() {
                // Each by itself, and of the size that is told.
                let one = fs::read(folder.path().join(stream.file(number))).unwrap();
                assert_eq!(one.len() as u64, stamp.bytes);
                let plain = zstd::stream::decode_all(&one[..]).unwrap();
                assert_eq!(plain.len() as u64, stream.unpacked(number, piece));
            }
        }
    }

    #[test]
    fn the_levels_of_zstd_and_more_than_a_block() {
        let bytes: Vec<u8> = (0..3_000_000_u32)
            .flat_map(|n| (n / 7).to_le_bytes())
            .collect();
        for (level, threads) in [(1, 1), (3, 4), (9, 2)] {
            let folder = tempfile::tempdir().unwrap();
            let cut = Cut {
                piece: 5 << 20,
                level,
                threads,
            };
            let stream = saved(folder.path(), &bytes, 70_000, cut);
            assert_eq!(stream.pieces.len(), 3);
            assert!(stream.packed() < bytes.len() as u64 / 2, "{stream:?}");
            assert_eq!(unpacked(folder.path(), &stream), bytes);
        }
    }

    #[test]
    fn what_cannot_be_written_is_named() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("files.0001"), "").unwrap();
        let mut tell = |_, _| {};
        let cut = Cut {
            piece: 10,
            level: 1,
            threads: 1,
        };
        let mut cutter = Cutter::new(folder.path(), FILES, cut, &mut tell);
        let error = cutter.write_all(&[7; 30]).unwrap_err();
        assert!(error.to_string().contains("files.0001"), "{error}");
        let failure = cutter.failure().unwrap();
        assert!(
            matches!(failure, StoreError::Io(_, error) if error.kind() == io::ErrorKind::AlreadyExists)
        );
    }
}
