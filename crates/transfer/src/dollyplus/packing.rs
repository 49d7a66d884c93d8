//! How data is packed into chunks, taken out of them again, and summed up.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use goldring_wire::dollyplus::own::{self, Encoding};
use goldring_wire::dollyplus::pace::Pace;

use super::chunk::{Bytes, Chunk, Pool, xxh3};
use super::effort::{Effort, Packed};
use crate::zeros::zeros;

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
        let raw = data.first(length);
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
            about.checksum = xxh3(packed.first(n));
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
}
