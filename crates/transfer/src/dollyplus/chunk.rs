//! Chunks in memory: their bytes, the pool these come from, and what they are part of.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, PoisonError};

use goldring_wire::dollyplus::own::{self, Encoding, Verdicts};
use twox_hash::XxHash3_64;

use crate::range::Range;

/// Buffers that were used and can be used again: asking the system for a fresh MiB
/// costs more than filling it.
#[derive(Debug, Default)]
pub(super) struct Pool(Mutex<Vec<Vec<u8>>>);

/// The most buffers that wait: as many as a window of goldring's chunks has in memory.
const POOLED: usize = 128;

impl Pool {
    /// A buffer of at least `size` bytes, with whatever was in it.
    pub(super) fn take(self: &Arc<Self>, size: usize) -> Bytes {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bytes = waiting.pop().unwrap_or_default();
        drop(waiting);
        if bytes.len() < size {
            bytes.resize(size, 0);
        }
        Bytes {
            bytes,
            home: Arc::clone(self),
        }
    }
}

/// A buffer that goes back to its pool.
#[derive(Debug)]
pub(super) struct Bytes {
    bytes: Vec<u8>,
    home: Arc<Pool>,
}

impl Bytes {
    pub(super) fn first(&self, length: usize) -> &[u8] {
        &self.bytes[..length]
    }

    pub(super) fn as_mut(&mut self, length: usize) -> &mut [u8] {
        &mut self.bytes[..length]
    }
}

impl Drop for Bytes {
    fn drop(&mut self) {
        let mut waiting = self.home.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() < POOLED {
            waiting.push(std::mem::take(&mut self.bytes));
        }
    }
}

/// A piece of a file. In a ring with old peers it is a part of one of their chunks.
#[derive(Debug)]
pub(super) struct Chunk {
    /// What goldring says of it; in a ring with old peers, too.
    pub(super) about: own::Chunk,
    pub(super) part: Part,
    payload: Payload,
    /// Where it was read, on the golden node, if it can be read there again.
    origin: Option<Arc<File>>,
}

/// A part of a chunk of old peers, which is 4 MiB long: whoever kept all of it back until its
/// last byte is here would cost a long ring a tenth of a second at each computer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Part {
    /// The number of the chunk within its file, which is what old peers count.
    pub(super) number: u32,
    /// Where in the chunk it begins, in bytes.
    pub(super) at: u32,
    /// How long the chunk is, in bytes.
    pub(super) whole: u32,
    /// Whether the chunk is the last one of its file.
    pub(super) last: bool,
}

impl Part {
    /// All of a chunk.
    pub(super) fn all(number: u32, about: &own::Chunk) -> Self {
        Self {
            number,
            at: 0,
            whole: about.length,
            last: about.last,
        }
    }
}

/// Where the payload of a chunk is.
#[derive(Debug)]
pub(super) enum Payload {
    /// There is none.
    Nothing,
    /// In memory.
    Memory(Bytes),
    /// On the target, where it can be sent from: what is not in memory leaves room for
    /// what comes next in the processor's caches, too.
    Stored(Range),
    /// In the golden node's input, where somebody else may have changed it meanwhile.
    Again(Range),
}

impl Chunk {
    /// One of goldring, whose parts nobody counts.
    pub(super) fn new(about: own::Chunk, bytes: Option<Bytes>) -> Self {
        Self::part_of(Part::default(), about, bytes)
    }

    /// A part of one of old peers.
    pub(super) fn part_of(part: Part, about: own::Chunk, bytes: Option<Bytes>) -> Self {
        Self {
            about,
            part,
            payload: bytes.map_or(Payload::Nothing, Payload::Memory),
            origin: None,
        }
    }

    /// The same, read from `file`, if that can be read at any place.
    pub(super) fn read_from(mut self, file: Option<Arc<File>>) -> Self {
        self.origin = file;
        self
    }

    /// The same chunk, whose data can be read from `file` now.
    pub(super) fn stored(&self, file: Arc<File>) -> Self {
        let offset = self.about.offset;
        Self {
            about: self.about,
            part: self.part,
            payload: Payload::Stored(Range { file, offset }),
            origin: None,
        }
    }

    /// The same chunk without its data in memory, if that can be read once more.
    pub(super) fn to_be_read_again(&self) -> Option<Self> {
        let file = Arc::clone(self.origin.as_ref()?);
        let Payload::Memory(_) = self.payload else {
            return None;
        };
        let (offset, payload) = (self.about.offset, self.about.length);
        Some(Self {
            about: own::Chunk {
                encoding: Encoding::Raw,
                payload,
                ..self.about
            },
            part: self.part,
            payload: Payload::Again(Range { file, offset }),
            origin: None,
        })
    }

    /// The same with its data in memory: what is in the input now.
    ///
    /// # Errors
    /// It cannot be read any more.
    pub(super) fn again(&self, range: &Range) -> io::Result<Self> {
        let length = self.about.length as usize;
        let mut bytes = Arc::<Pool>::default().take(length);
        range
            .file
            .read_exact_at(bytes.as_mut(length), range.offset)?;
        let checksum = xxh3(bytes.as_mut(length));
        let about = own::Chunk {
            checksum,
            ..self.about
        };
        Ok(Self::part_of(self.part, about, Some(bytes)))
    }

    /// Whether a chunk of old peers ends with it.
    pub(super) fn ends_whole(&self) -> bool {
        self.part.at + self.about.length == self.part.whole
    }

    /// Whether its data is in memory as it will be on the target, and more of the file
    /// follows.
    pub(super) fn is_plain(&self) -> bool {
        let raw = self.about.encoding == Encoding::Raw && !self.about.last;
        raw && matches!(self.payload, Payload::Memory(_))
    }

    /// Where the payload is.
    pub(super) fn payload(&self) -> &Payload {
        &self.payload
    }

    /// The payload as it travels, as far as it is in memory.
    pub(super) fn bytes(&self) -> &[u8] {
        match &self.payload {
            Payload::Memory(bytes) => bytes.first(self.about.payload as usize),
            Payload::Nothing | Payload::Stored(_) | Payload::Again(_) => &[],
        }
    }

    /// Whether the payload is what the golden node sent.
    pub(super) fn is_intact(&self) -> bool {
        xxh3(self.bytes()) == self.about.checksum
    }
}

/// What passes through a computer, in order.
#[derive(Debug)]
pub(super) enum Item {
    /// Data.
    Chunk(Chunk),
    /// No more of it.
    End,
    /// What the computers up to here have to say.
    Verdicts(Verdicts),
    /// Farewell.
    Bye,
    /// The golden node gives up.
    Abort(String),
}

/// XXH3 with 64 bits: the checksum of a chunk.
pub(super) fn xxh3(data: &[u8]) -> u64 {
    XxHash3_64::oneshot(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_come_back() {
        let pool = Arc::new(Pool::default());
        let first = pool.take(100).as_mut(100).as_ptr();
        assert_eq!(pool.take(50).as_mut(50).as_ptr(), first);
    }
}
