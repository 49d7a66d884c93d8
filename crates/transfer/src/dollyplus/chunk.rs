//! Chunks in memory: their bytes, the pool these come from, and how data is packed into
//! them and taken out again.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use goldring_wire::dollyplus::own::{self, Encoding, Verdicts};
use goldring_wire::dollyplus::pace::Pace;
use twox_hash::XxHash3_64;

use super::effort::{Effort, Packed};
use crate::range::Range;
use crate::zeros::zeros;

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
            Payload::Memory(bytes) => &bytes.bytes[..self.about.payload as usize],
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

/// Compression, handed in by whoever has it linked: PID 1 has not.
#[derive(Debug, Clone, Copy)]
pub struct Codec {
    /// Packs the first slice into the second at a level; how many bytes it took, or
    /// `None` when they are too many.
    pub pack: fn(&[u8], &mut [u8], i32) -> Option<usize>,
    /// Unpacks the first slice into the second; how many bytes came out.
    pub unpack: fn(&[u8], &mut [u8]) -> io::Result<usize>,
}

/// Takes data out of chunks and keeps the digest of all of it.
#[derive(Debug)]
pub(super) struct Unpacker {
    codec: Option<Codec>,
    scratch: Vec<u8>,
    digest: Digest,
}

impl Unpacker {
    pub(super) fn new(codec: Option<Codec>) -> Self {
        Self {
            codec,
            scratch: Vec::new(),
            digest: Digest::default(),
        }
    }

    /// The chunk's data.
    pub(super) fn data<'a>(&'a mut self, chunk: &'a Chunk) -> io::Result<&'a [u8]> {
        let length = chunk.about.length as usize;
        let data = match chunk.about.encoding {
            Encoding::Raw => chunk.bytes(),
            Encoding::Zeros => zeros(length),
            Encoding::Zstd => {
                let codec = self.codec.ok_or_else(|| {
                    io::Error::other("compressed data came, and this computer cannot unpack it")
                })?;
                self.scratch.resize(length.max(self.scratch.len()), 0);
                let n = (codec.unpack)(chunk.bytes(), &mut self.scratch[..length])?;
                if n != length {
                    return Err(io::Error::other("compressed data of another length came"));
                }
                &self.scratch[..length]
            }
        };
        // What travelled as it is was hashed when it came.
        self.digest.add(match chunk.about.encoding {
            Encoding::Raw => chunk.about.checksum,
            encoding => hash_of(encoding, data),
        });
        Ok(data)
    }

    pub(super) fn digest(&self) -> &Digest {
        &self.digest
    }
}

/// XXH3 with 64 bits: the checksum of a chunk.
fn xxh3(data: &[u8]) -> u64 {
    XxHash3_64::oneshot(data)
}

/// Zeros are hashed once, not once for each chunk of an empty disk.
fn hash_of(encoding: Encoding, data: &[u8]) -> u64 {
    static FULL: std::sync::LazyLock<u64> = std::sync::LazyLock::new(|| xxh3(zeros(own::CHUNK)));
    if encoding == Encoding::Zeros && data.len() == own::CHUNK {
        return *FULL;
    }
    xxh3(data)
}

/// A digest of all data: SHA-256 over the XXH3 of each chunk's data and the length of
/// all. However a chunk travelled, as it is, compressed or as a word for zeros, it is
/// the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Digest {
    sha: crate::digest::Sha256,
    chunks: u64,
}

impl Digest {
    fn add(&mut self, hash: u64) {
        self.sha.add(&hash.to_le_bytes());
        self.chunks += 1;
    }

    /// In hexadecimal.
    pub(super) fn hex(&self) -> String {
        let mut sha = self.sha.clone();
        sha.add(&self.chunks.to_le_bytes());
        sha.hex()
    }
}

/// How hard a golden node tries to send less.
#[derive(Debug)]
pub(super) struct Packer {
    codec: Option<Codec>,
    pool: Arc<Pool>,
    /// So many chunks are not tried after one that did not get smaller.
    skip: u32,
    effort: Effort,
    digest: Digest,
}

/// After data that cannot be compressed, the next chunks are most likely no better.
const SKIP: u32 = 16;

impl Packer {
    pub(super) fn new(codec: Option<Codec>, pool: Arc<Pool>) -> Self {
        Self {
            codec,
            pool,
            skip: 0,
            effort: Effort::default(),
            digest: Digest::default(),
        }
    }

    /// Makes a chunk of `about.length` bytes of data. `waiting`: so many chunks wait for
    /// the network already.
    pub(super) fn pack(&mut self, mut about: own::Chunk, data: Bytes, waiting: u64) -> Chunk {
        let length = about.length as usize;
        let raw = &data.bytes[..length];
        let zeros = length > 0 && is_zero(raw);
        about.encoding = if zeros {
            Encoding::Zeros
        } else {
            Encoding::Raw
        };
        let hash = hash_of(about.encoding, raw);
        self.digest.add(hash);
        if zeros {
            return Self::zeros(about);
        }
        if let Some(packed) = self.compress(raw, waiting) {
            let (packed, n) = packed;
            about.encoding = Encoding::Zstd;
            about.payload = u32::try_from(n).unwrap_or(0);
            about.checksum = xxh3(&packed.bytes[..n]);
            return Chunk::new(about, Some(packed));
        }
        about.payload = about.length;
        about.checksum = hash;
        Chunk::new(about, Some(data))
    }

    /// A chunk of zeros that nobody has read: a hole.
    pub(super) fn hole(&mut self, mut about: own::Chunk) -> Chunk {
        about.encoding = Encoding::Zeros;
        self.digest
            .add(hash_of(Encoding::Zeros, zeros(about.length as usize)));
        Self::zeros(about)
    }

    fn zeros(mut about: own::Chunk) -> Chunk {
        about.payload = 0;
        about.checksum = xxh3(&[]);
        Chunk::new(about, None)
    }

    fn compress(&mut self, raw: &[u8], waiting: u64) -> Option<(Bytes, usize)> {
        let codec = self.codec?;
        if self.skip > 0 {
            self.skip -= 1;
            return None;
        }
        // Nobody waits for the network: then compressing only costs time.
        let level = match waiting {
            0 | 1 => return None,
            2 | 3 => Effort::least(),
            _ => self.effort.level(),
        };
        // A twelfth less is worth unpacking.
        let most = raw.len() - raw.len() / 12;
        let mut packed = self.pool.take(most.max(1));
        let start = Instant::now();
        let done = (codec.pack)(raw, packed.as_mut(most), level);
        let sizes = done.map(|n| (raw.len(), n));
        self.effort.tried(level, start.elapsed(), sizes);
        match done {
            Some(n) => Some((packed, n)),
            None => {
                self.skip = SKIP;
                None
            }
        }
    }

    /// Packs harder or less hard, as the threads have spent their time.
    pub(super) fn look(&mut self, pace: Pace) {
        self.effort.look(pace);
    }

    /// What packing has done.
    pub(super) fn packed(&self) -> Packed {
        self.effort.packed()
    }

    pub(super) fn digest(&self) -> &Digest {
        &self.digest
    }
}

/// Whether all bytes are zero.
pub(super) fn is_zero(data: &[u8]) -> bool {
    // Whole words without a branch in between are what the compiler makes fast.
    let zero = |word: &[u8]| word.iter().fold(0, |all, b| all | b) == 0;
    data.chunks(64).all(zero)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_are_recognised_wherever_they_end() {
        for length in [0, 1, 63, 64, 65, 4096, 4097] {
            let mut data = vec![0; length];
            assert!(is_zero(&data), "{length}");
            if let Some(last) = data.last_mut() {
                *last = 1;
                assert!(!is_zero(&data), "{length}");
            }
            if length > 0 {
                let mut data = vec![0; length];
                data[length / 2] = 9;
                assert!(!is_zero(&data), "{length}");
            }
        }
    }

    fn about(length: usize) -> own::Chunk {
        own::Chunk {
            sequence: 0,
            file: 0,
            last: false,
            encoding: Encoding::Raw,
            offset: 0,
            length: u32::try_from(length).unwrap(),
            payload: 0,
            checksum: 0,
        }
    }

    #[test]
    fn the_digest_is_the_same_however_the_data_travels() {
        let pool = Arc::new(Pool::default());
        let mut packer = Packer::new(None, Arc::clone(&pool));
        let mut unpacker = Unpacker::new(None);
        for (fill, length) in [(0, own::CHUNK), (7, own::CHUNK), (0, 100), (1, 0)] {
            let mut data = pool.take(length);
            data.as_mut(length).fill(fill);
            let chunk = packer.pack(about(length), data, 9);
            assert!(chunk.is_intact());
            assert_eq!(chunk.bytes().is_empty(), fill == 0 || length == 0);
            let got = unpacker.data(&chunk).unwrap();
            assert_eq!(got.len(), length);
            assert!(got.iter().all(|b| *b == fill));
        }
        let hole = packer.hole(about(500));
        unpacker.data(&hole).unwrap();
        assert_eq!(packer.digest().hex(), unpacker.digest().hex());
    }

    #[test]
    fn buffers_come_back() {
        let pool = Arc::new(Pool::default());
        let first = pool.take(100).as_mut(100).as_ptr();
        assert_eq!(pool.take(50).as_mut(50).as_ptr(), first);
    }
}
