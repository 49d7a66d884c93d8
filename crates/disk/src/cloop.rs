//! Compressed loop images, version 2: what `rescue.clp` was until 2007, and what
//! Debian's `create_compressed_fs` still writes.
//!
//! | offset | content |
//! |---|---|
//! | 0 | 128 bytes of text that begin with [`MARK`], filled with zeros |
//! | 128 | the size of a block, 32 bits, big-endian |
//! | 132 | the number of blocks n, 32 bits, big-endian |
//! | 136 | n + 1 offsets in this file, 64 bits each, big-endian; the last is the end |
//! | … | n zlib streams, each of which expands to one block |
//!
//! Nothing in the file is trusted: sizes are bounded before memory is taken for them.

use std::io::{self, BufRead, Read, Seek, SeekFrom};

use flate2::{Decompress, FlushDecompress, Status};

/// How such a file begins.
pub const MARK: &[u8] = b"#!/bin/sh\n#V2.0 Format\n";

/// Where the sizes are, behind the text.
const SIZES: u64 = 128;
/// Where the offsets begin.
const OFFSETS: u64 = 136;
/// A block has whole sectors; QEMU's driver has a bound of this kind as well.
const SECTOR: u32 = 512;
/// The largest block, in bytes. The usual size is 64 KiB.
pub const BLOCK_MAX: u32 = 4 << 20;
/// The most blocks: 64 GiB in blocks of the usual size, and 8 MiB of offsets.
pub const BLOCKS_MAX: u32 = 1 << 20;

/// Why an image cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum CloopError {
    /// The text is not that of version 2.
    #[error("it does not begin as a compressed loop image of version 2")]
    Mark,
    /// A block size that none has.
    #[error("blocks of {0} bytes make no sense")]
    BlockSize(u32),
    /// A number of blocks that none has.
    #[error("{0} blocks make no sense")]
    Blocks(u32),
    /// The offsets do not describe blocks one behind the other.
    #[error("the place of block {0} makes no sense")]
    Offset(u32),
    /// It is longer than what is there.
    #[error("it is cut off: {there} of {announced} bytes are there")]
    Cut {
        /// Bytes that there are.
        there: u64,
        /// Where the last block ends.
        announced: u64,
    },
    /// A block does not expand, or not to its size.
    #[error("block {0} is damaged")]
    Damaged(u32),
    /// Reading failed.
    #[error("reading it")]
    Read(#[from] io::Error),
}

/// An opened image.
#[derive(Debug)]
pub struct Cloop<R> {
    file: R,
    block_size: u32,
    offsets: Vec<u64>,
    packed: Vec<u8>,
}

impl<R: Read + Seek> Cloop<R> {
    /// Reads and checks the sizes and offsets. What follows the last block is ignored:
    /// the image may lie on a larger device.
    ///
    /// # Errors
    /// See [`CloopError`].
    pub fn open(mut file: R) -> Result<Self, CloopError> {
        let there = file.seek(SeekFrom::End(0))?;
        file.seek(SeekFrom::Start(0))?;
        let mut mark = [0; MARK.len()];
        exactly(&mut file, &mut mark, there)?;
        if mark != MARK {
            return Err(CloopError::Mark);
        }
        file.seek(SeekFrom::Start(SIZES))?;
        let mut sizes = [0; 8];
        exactly(&mut file, &mut sizes, there)?;
        let [a, b, c, d, e, f, g, h] = sizes;
        let block_size = u32::from_be_bytes([a, b, c, d]);
        let blocks = u32::from_be_bytes([e, f, g, h]);
        if !block_size.is_multiple_of(SECTOR) || block_size == 0 || block_size > BLOCK_MAX {
            return Err(CloopError::BlockSize(block_size));
        }
        if blocks == 0 || blocks > BLOCKS_MAX {
            return Err(CloopError::Blocks(blocks));
        }
        let mut table = vec![0; (blocks as usize + 1) * 8];
        exactly(&mut file, &mut table, there)?;
        let offsets = table
            .as_chunks()
            .0
            .iter()
            .map(|bytes| u64::from_be_bytes(*bytes))
            .collect();
        let image = Self {
            file,
            block_size,
            offsets,
            packed: Vec::new(),
        };
        image.check(there)?;
        Ok(image)
    }

    /// Blocks follow each other, behind the offsets, and each is of a size that a block
    /// of this kind can have.
    fn check(&self, there: u64) -> Result<(), CloopError> {
        let begin = OFFSETS + self.offsets.len() as u64 * 8;
        // zlib adds a few bytes to each 16 KiB of what cannot be compressed (RFC 1950
        // and 1951: a stored block has five bytes in front).
        let longest = u64::from(self.block_size) + u64::from(self.block_size / 256) + 1024;
        let mut before = begin;
        for (block, &offset) in (0u32..).zip(&self.offsets) {
            let wrong = match block {
                0 => offset < begin,
                _ => offset <= before || offset - before > longest,
            };
            if wrong {
                return Err(CloopError::Offset(block));
            }
            before = offset;
        }
        if before > there {
            return Err(CloopError::Cut {
                there,
                announced: before,
            });
        }
        Ok(())
    }

    /// How many blocks there are.
    pub fn blocks(&self) -> u32 {
        // Bounded by BLOCKS_MAX.
        self.offsets.len() as u32 - 1
    }

    /// How long the image is when it is expanded, in bytes; the last block may be
    /// shorter than the others.
    pub fn expanded(&self) -> u64 {
        u64::from(self.blocks()) * u64::from(self.block_size)
    }

    /// Where a block ends in the file: what is before is not needed for later ones.
    pub fn end_of(&self, block: u32) -> u64 {
        self.offsets
            .get(block as usize + 1)
            .copied()
            .unwrap_or_default()
    }

    /// Where the last block ends: how long the image is, in bytes.
    pub fn end(&self) -> u64 {
        self.offsets.last().copied().unwrap_or_default()
    }

    /// Expands one block into `out`, whose old content is replaced.
    ///
    /// # Errors
    /// There is no such block, it is damaged, or it cannot be read.
    pub fn read_block(&mut self, block: u32, out: &mut Vec<u8>) -> Result<(), CloopError> {
        let damaged = CloopError::Damaged(block);
        let place = self.offsets.get(block as usize..block as usize + 2);
        let Some(&[begin, end]) = place else {
            return Err(damaged);
        };
        // Both checks of `check` bound the difference.
        self.packed.resize((end - begin) as usize, 0);
        self.file.seek(SeekFrom::Start(begin))?;
        self.file.read_exact(&mut self.packed)?;
        out.clear();
        out.reserve_exact(self.block_size as usize);
        let mut zlib = Decompress::new(true);
        let status = zlib.decompress_vec(&self.packed, out, FlushDecompress::Finish);
        let whole = out.len() == self.block_size as usize;
        let last = block + 1 == self.blocks() && !out.is_empty();
        match status {
            Ok(Status::StreamEnd) if whole || last => Ok(()),
            _ => Err(damaged),
        }
    }
}

/// What an image expands to, read and sought as if it lay there. It keeps one block.
#[derive(Debug)]
pub struct Expanded<R> {
    image: Cloop<R>,
    at: u64,
    /// The block that is kept, with its number.
    held: Option<u32>,
    block: Vec<u8>,
}

impl<R: Read + Seek> Expanded<R> {
    /// From its beginning.
    pub fn new(image: Cloop<R>) -> Self {
        Self {
            image,
            at: 0,
            held: None,
            block: Vec::new(),
        }
    }
}

impl<R: Read + Seek> BufRead for Expanded<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let size = u64::from(self.image.block_size);
        let wanted = u32::try_from(self.at / size).unwrap_or(u32::MAX);
        if wanted >= self.image.blocks() {
            return Ok(&[]);
        }
        if self.held != Some(wanted) {
            // Half a block is none.
            self.held = None;
            self.image
                .read_block(wanted, &mut self.block)
                .map_err(io::Error::other)?;
            self.held = Some(wanted);
        }
        let from = usize::try_from(self.at % size).unwrap_or(usize::MAX);
        Ok(self.block.get(from..).unwrap_or_default())
    }

    fn consume(&mut self, amount: usize) {
        self.at += amount as u64;
    }
}

impl<R: Read + Seek> Read for Expanded<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let here = self.fill_buf()?;
        let n = here.len().min(out.len());
        out[..n].copy_from_slice(&here[..n]);
        self.consume(n);
        Ok(n)
    }
}

impl<R: Read + Seek> Seek for Expanded<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.image.expanded().checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

fn exactly(file: &mut impl Read, bytes: &mut [u8], there: u64) -> Result<(), CloopError> {
    file.read_exact(bytes).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => CloopError::Cut {
            there,
            announced: there.max(OFFSETS) + 1,
        },
        _ => error.into(),
    })
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write};

    use flate2::Compression;
    use flate2::write::ZlibEncoder;
    use proptest::prelude::*;

    use super::*;

    /// An image of `content`, written from the table above.
    fn pack(content: &[u8], block_size: u32, level: u32) -> Vec<u8> {
        let blocks: Vec<Vec<u8>> = content
            .chunks(block_size as usize)
            .map(|block| {
                let mut encoder = ZlibEncoder::new(Vec::new(), Compression::new(level));
                encoder.write_all(block).unwrap();
                encoder.finish().unwrap()
            })
            .collect();
        let mut image = MARK.to_vec();
        image.resize(128, 0);
        image.extend(block_size.to_be_bytes());
        image.extend((blocks.len() as u32).to_be_bytes());
        let mut offset = 136 + 8 * (blocks.len() as u64 + 1);
        image.extend(offset.to_be_bytes());
        for block in &blocks {
            offset += block.len() as u64;
            image.extend(offset.to_be_bytes());
        }
        image.extend(blocks.concat());
        image
    }

    fn expand(image: &[u8]) -> Result<Vec<u8>, CloopError> {
        let mut cloop = Cloop::open(Cursor::new(image))?;
        let (mut all, mut block) = (Vec::new(), Vec::new());
        for number in 0..cloop.blocks() {
            cloop.read_block(number, &mut block)?;
            all.extend(&block);
        }
        Ok(all)
    }

    #[test]
    fn what_debians_tool_wrote_is_read() {
        let image = include_bytes!("../../../fixtures/cloop/numbers.cloop");
        let mut expected: Vec<u8> = (1..=9000)
            .flat_map(|n| format!("{n}\n").into_bytes())
            .collect();
        // The tool fills the last block with zeros.
        expected.resize(expected.len().next_multiple_of(4096), 0);
        assert_eq!(expand(image).unwrap(), expected);
        let mut longer = image.to_vec();
        longer.resize(1 << 20, 0xff);
        assert_eq!(expand(&longer).unwrap(), expected, "on a larger device");
    }

    #[test]
    fn each_fault_has_its_sentence() {
        let good = pack(&[7; 3000], 1024, 6);
        let with = |at: usize, bytes: &[u8]| {
            let mut image = good.clone();
            image[at..at + bytes.len()].copy_from_slice(bytes);
            expand(&image).unwrap_err().to_string()
        };
        assert_eq!(expand(&good).unwrap(), [7; 3000]);
        assert!(with(0, b"#!/bin/zh").contains("version 2"));
        assert!(with(128, &[0, 0, 0, 0]).contains("blocks of 0 bytes"));
        assert!(with(128, &[0, 0, 2, 1]).contains("blocks of 513 bytes"));
        assert!(with(128, &[0xff; 4]).contains("blocks of 4294967295 bytes"));
        assert!(with(132, &[0; 4]).contains("0 blocks"));
        assert!(with(132, &[0xff; 4]).contains("4294967295 blocks"));
        assert!(with(136, &[0; 8]).contains("place of block 0"));
        assert!(with(144, &[0; 8]).contains("place of block 1"));
        assert!(with(152, &[0x7f; 8]).contains("place of block 2"));
        assert!(with(good.len() - 4, &[0; 4]).contains("block 2 is damaged"));
        // Blocks of another size than they say.
        assert!(with(128, &[0, 0, 2, 0]).contains("block 0 is damaged"));
        for end in [0, 50, 130, 140, good.len() - 1] {
            let error = expand(&good[..end]).unwrap_err();
            assert!(matches!(error, CloopError::Cut { .. }), "{end}: {error}");
        }
        let mut cloop = Cloop::open(Cursor::new(&good)).unwrap();
        assert!(cloop.read_block(3, &mut Vec::new()).is_err());
        assert!(cloop.read_block(u32::MAX - 1, &mut Vec::new()).is_err());
    }

    #[test]
    fn what_it_expands_to_is_read_at_any_place() {
        let content: Vec<u8> = (0..5000u32).map(|n| (n % 251) as u8).collect();
        let image = pack(&content, 1024, 6);
        let mut file = Expanded::new(Cloop::open(Cursor::new(&image)).unwrap());
        let mut all = Vec::new();
        file.read_to_end(&mut all).unwrap();
        assert_eq!(all, content);
        for (at, length) in [(0, 10), (1020, 10), (3000, 2000), (4999, 5), (9000, 1)] {
            let mut some = Vec::new();
            file.seek(SeekFrom::Start(at)).unwrap();
            (&mut file).take(length).read_to_end(&mut some).unwrap();
            let end = content.len().min((at + length) as usize);
            assert_eq!(some, content[end.min(at as usize)..end], "{at}");
        }
        assert_eq!(file.seek(SeekFrom::End(-20)).unwrap(), 5100);
        assert!(file.seek(SeekFrom::Current(-6000)).is_err());
        let mut bad = image.clone();
        let last = bad.len() - 9;
        bad[last..].fill(0);
        let mut file = Expanded::new(Cloop::open(Cursor::new(&bad)).unwrap());
        let error = file.read_to_end(&mut Vec::new()).unwrap_err();
        assert!(error.to_string().contains("block 4 is damaged"), "{error}");
    }

    proptest! {
        #[test]
        fn what_is_packed_is_expanded(
            content in prop::collection::vec(any::<u8>(), 1..20_000),
            sectors in 1u32..20,
            level in 0u32..10,
        ) {
            prop_assert_eq!(expand(&pack(&content, sectors * 512, level)).unwrap(), content);
        }

        #[test]
        fn a_changed_image_is_never_a_panic_nor_longer_than_it_says(
            at in 0usize..700,
            byte in any::<u8>(),
            cut in 0usize..2000,
        ) {
            let mut image = pack(&[b"abc".repeat(900), vec![0; 900]].concat(), 1024, 6);
            let at = at % image.len();
            image[at] = byte;
            image.truncate(image.len().saturating_sub(cut.saturating_sub(1500)));
            if let Ok(all) = expand(&image) {
                prop_assert!(all.len() <= 4096);
            }
        }
    }
}
