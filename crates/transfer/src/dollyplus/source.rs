//! The golden node's reading thread: files in, chunks out.

use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;

use goldring_wire::dollyplus::cook::Cook;
use goldring_wire::dollyplus::own::{self, Encoding};

use super::bank::Bank;
use super::chunk::{Chunk, Item, Part, Pool};
use super::effort::Packed;
use super::onward::Mode;
use super::packing::{Codec, Digest, Packer};
use crate::range::{self, TRIES};

/// What a file is read through.
pub trait Input: Read + Send {
    /// Goes to this byte. A pipe cannot.
    ///
    /// # Errors
    /// It cannot be done.
    fn go_to(&mut self, offset: u64) -> io::Result<()>;

    /// Goes to this byte, where reading has failed: from now on no more is read at once than
    /// is asked for, so that the block that cannot be read is the one that is named.
    ///
    /// # Errors
    /// It cannot be done.
    fn go_carefully_to(&mut self, offset: u64) -> io::Result<()> {
        self.go_to(offset)
    }

    /// When nothing is stored at this byte (it reads as zero): where something is again,
    /// or the end. Must be cheap; `None` when the system does not know.
    fn hole_at(&mut self, offset: u64) -> Option<u64>;

    /// The file itself, if it can be read at any place at any time.
    fn file(&self) -> Option<Arc<File>> {
        None
    }
}

/// Opens an input, once for each run.
pub type OpenInput = Box<dyn Fn() -> io::Result<Box<dyn Input>> + Send + Sync>;

/// A file of the golden node.
pub struct InFile {
    /// Its name here.
    pub input: String,
    /// Its name on the clients.
    pub output: String,
    /// What they do with it.
    pub cook: Cook,
    /// Its size; unknown for a pipe.
    pub size: Option<u64>,
    /// Opens it.
    pub open: OpenInput,
}

impl std::fmt::Debug for InFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "InFile({} to {})", self.input, self.output)
    }
}

/// Why reading ended.
#[derive(Debug)]
pub(super) enum Stop {
    /// The bank was stopped.
    Stopped,
    /// The input is at fault: a sentence.
    Failed(String),
}

/// Reads all files into the bank, from chunk `first` on (counted over all files).
pub(super) struct Reading<'a> {
    pub(super) bank: &'a Bank,
    pub(super) pool: &'a Arc<Pool>,
    pub(super) mode: Mode,
    pub(super) codec: Option<Codec>,
    pub(super) first: u64,
}

impl Reading<'_> {
    /// Does it, and gives the digest of what was read, and what packing has done.
    pub(super) fn run(&self, files: &[InFile]) -> Result<(Digest, Packed), Stop> {
        let mut packer = Packer::new(self.codec, Arc::clone(self.pool));
        let mut sequence = 0;
        for (number, file) in files.iter().enumerate() {
            let number = u16::try_from(number).unwrap_or(u16::MAX);
            let skipped = self.skip(file, sequence)?;
            let Some(offset) = skipped else {
                sequence += chunks(file.size.unwrap_or(0), self.size());
                continue;
            };
            sequence += offset / self.size() as u64;
            self.file(&mut packer, (number, file), offset, &mut sequence)?;
        }
        Ok((packer.digest().clone(), packer.packed()))
    }

    fn size(&self) -> usize {
        match self.mode {
            Mode::Old => goldring_wire::dollyplus::CHUNK,
            Mode::Own => own::CHUNK,
        }
    }

    /// Where to begin in a file whose first chunk is `sequence`; `None`: behind it.
    fn skip(&self, file: &InFile, sequence: u64) -> Result<Option<u64>, Stop> {
        let Some(ahead) = self.first.checked_sub(sequence).filter(|ahead| *ahead > 0) else {
            return Ok(Some(0));
        };
        let Some(size) = file.size else {
            let why = format!("{} is a pipe and cannot be read again", file.input);
            return Err(Stop::Failed(why));
        };
        let inside = ahead < chunks(size, self.size());
        Ok(inside.then_some(ahead * self.size() as u64))
    }

    fn file(
        &self,
        packer: &mut Packer,
        (number, file): (u16, &InFile),
        mut offset: u64,
        sequence: &mut u64,
    ) -> Result<(), Stop> {
        let failed = |what: &str, error: io::Error| {
            Stop::Failed(format!("{what} {} failed: {error}", file.input))
        };
        let mut input = (file.open)().map_err(|error| failed("opening", error))?;
        let origin = input.file().filter(|_| file.size.is_some());
        if offset > 0 {
            input
                .go_to(offset)
                .map_err(|error| failed("reading", error))?;
        }
        loop {
            while !self.bank.has_room() {
                if self.bank.is_stopped() {
                    return Err(Stop::Stopped);
                }
            }
            let left = file
                .size
                .map_or(u64::MAX, |size| size.saturating_sub(offset));
            let want = self.size().min(usize::try_from(left).unwrap_or(usize::MAX));
            let mut about = own::Chunk {
                sequence: u32::try_from(*sequence).unwrap_or(u32::MAX),
                file: number,
                last: false,
                encoding: Encoding::Raw,
                offset,
                length: 0,
                payload: 0,
                checksum: 0,
            };
            let length = if self.hole(input.as_mut(), offset, want) {
                about.length = u32::try_from(want).unwrap_or(u32::MAX);
                self.bank.put(Item::Chunk(packer.hole(about)), true);
                let behind = input.go_to(offset + want as u64);
                behind.map_err(|error| failed("reading", error))?;
                want
            } else {
                let sized = file.size.is_some();
                let read = self.data(packer, about, (input.as_mut(), &origin), (want, sized));
                read.map_err(|error| failed("reading", error))?
            };
            *sequence += 1;
            offset += length as u64;
            if length < self.size() {
                return Ok(());
            }
        }
    }

    /// Reads a chunk and puts it into the bank; its length.
    fn data(
        &self,
        packer: &mut Packer,
        mut about: own::Chunk,
        (input, origin): (&mut dyn Input, &Option<Arc<File>>),
        (want, sized): (usize, bool),
    ) -> io::Result<usize> {
        let mut data = self.pool.take(self.size());
        let length = fill(input, data.as_mut(want), about.offset)?;
        if sized && length < want {
            let end = about.offset + length as u64;
            return Err(io::Error::other(format!(
                "it became shorter meanwhile, it ends after {end} bytes; clone it while nobody changes it"
            )));
        }
        about.length = u32::try_from(length).unwrap_or(u32::MAX);
        about.last = length < self.size();
        let chunk = match self.mode {
            Mode::Own => {
                packer.look(self.bank.pace());
                packer.pack(about, data, self.bank.level().unsent)
            }
            Mode::Old => {
                about.payload = about.length;
                let number = about.offset / self.size() as u64;
                let number = u32::try_from(number).unwrap_or(u32::MAX);
                Chunk::part_of(Part::all(number, &about), about, Some(data))
            }
        };
        // A pipe may have nothing more for long.
        let chunk = chunk.read_from(origin.clone());
        self.bank.put(Item::Chunk(chunk), sized && !about.last);
        Ok(length)
    }

    /// Whether the whole next chunk is a hole. The last one is always read.
    fn hole(&self, input: &mut dyn Input, offset: u64, want: usize) -> bool {
        if self.mode == Mode::Old || want < self.size() {
            return false;
        }
        let end = input.hole_at(offset);
        end.is_some_and(|end| end >= offset + want as u64)
    }
}

/// How many chunks a file has: the last one is shorter than the others, if need be empty.
fn chunks(size: u64, chunk: usize) -> u64 {
    size / chunk as u64 + 1
}

/// So much is read at once where something cannot be read.
const PAGE: usize = 4096;

/// Reads until the buffer is full or the input ends. What cannot be read is tried again,
/// a page at a time: a large read fails as a whole.
fn fill(input: &mut dyn Input, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let (mut filled, mut failures, mut most) = (0, 0, buffer.len());
    while filled < buffer.len() {
        let end = buffer.len().min(filled + most);
        match input.read(&mut buffer[filled..end]) {
            Ok(0) => break,
            Ok(n) => (filled, failures) = (filled + n, 0),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                (failures, most) = (failures + 1, PAGE);
                let at = offset + filled as u64;
                if failures >= TRIES || input.go_carefully_to(at).is_err() {
                    let text = range::unreadable(at, failures, &error);
                    let text = format!("{text}; check the disk, or clone without this file");
                    return Err(io::Error::new(error.kind(), text));
                }
            }
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails at its third byte, so many times.
    struct Bad(u32, u64);

    impl Read for Bad {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.1 == 3 && self.0 > 0 {
                self.0 -= 1;
                return Err(io::Error::other("medium error"));
            }
            if self.1 == 5 || buffer.is_empty() {
                return Ok(0);
            }
            buffer[0] = 7;
            self.1 += 1;
            Ok(1)
        }
    }

    impl Input for Bad {
        fn go_to(&mut self, offset: u64) -> io::Result<()> {
            self.1 = offset;
            Ok(())
        }

        fn hole_at(&mut self, _: u64) -> Option<u64> {
            None
        }
    }

    #[test]
    fn a_block_that_cannot_be_read_is_tried_again_and_then_named() {
        let mut buffer = [0; 9];
        assert_eq!(fill(&mut Bad(2, 0), &mut buffer, 0).unwrap(), 5);
        let said = fill(&mut Bad(3, 0), &mut buffer, 0)
            .unwrap_err()
            .to_string();
        assert!(
            said.starts_with("block 0 (byte 3) cannot be read, tried 3 times"),
            "{said}"
        );
    }

    #[test]
    fn a_file_has_a_chunk_more_than_whole_ones() {
        assert_eq!(chunks(0, 4), 1);
        assert_eq!(chunks(3, 4), 1);
        assert_eq!(chunks(4, 4), 2);
        assert_eq!(chunks(9, 4), 3);
    }
}
