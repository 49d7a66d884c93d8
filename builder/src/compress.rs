//! Compressed streams: what the kernel can unpack, and what other initramfs images use.

use std::io::{Read, Write};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

/// Independent blocks of this size let xz use all processors; the bytes do not depend
/// on how many there are. The same as the dictionary of preset 6, so little is lost.
const XZ_BLOCK: u64 = 8 << 20;
/// liblzma's own default; more costs memory in the node and gains 1 % here.
const XZ_PRESET: u32 = 6;
/// The best level that a node unpacks with little memory.
const ZSTD_LEVEL: i32 = 19;

/// How `all.rdz` is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Compression {
    /// xz with CRC32 (the kernel knows no other check): smallest.
    Xz,
    /// zstd, level 19: a tenth larger, unpacked three times as fast.
    Zstd,
    /// zstd, level 3: made at once, for development.
    Fast,
}

impl Compression {
    /// Compresses what `fill` writes.
    ///
    /// # Errors
    /// Those of `fill`.
    pub fn compress(self, fill: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<Vec<u8>> {
        let threads = std::thread::available_parallelism().map_or(1, |n| n.get() as u32);
        match self {
            Self::Xz => {
                let stream = liblzma::stream::MtStreamBuilder::new()
                    .threads(threads)
                    .block_size(XZ_BLOCK)
                    .preset(XZ_PRESET)
                    .check(liblzma::stream::Check::Crc32)
                    .encoder()
                    .context("starting xz")?;
                let mut writer = liblzma::write::XzEncoder::new_stream(Vec::new(), stream);
                fill(&mut writer)?;
                Ok(writer.finish()?)
            }
            Self::Zstd | Self::Fast => {
                let level = if self == Self::Zstd { ZSTD_LEVEL } else { 3 };
                let mut writer = zstd::Encoder::new(Vec::new(), level)?;
                writer.include_checksum(true)?;
                // Not `threads`: with workers the frame depends on their presence, so
                // there is always the same number of them.
                writer.multithread(2)?;
                fill(&mut writer)?;
                Ok(writer.finish()?)
            }
        }
    }
}

/// What a stream is compressed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// gzip.
    Gzip,
    /// xz.
    Xz,
    /// zstd.
    Zstd,
    /// A format that is recognised and not read here.
    Foreign(&'static str),
}

impl Format {
    /// Recognises a stream by its first bytes.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        let known: [(&[u8], Self); 7] = [
            (b"\x1f\x8b", Self::Gzip),
            (b"\xfd7zXZ\0", Self::Xz),
            (b"\x28\xb5\x2f\xfd", Self::Zstd),
            (b"BZh", Self::Foreign("bzip2")),
            (b"\x5d\0\0", Self::Foreign("lzma")),
            (b"\x02\x21\x4c\x18", Self::Foreign("lz4")),
            (b"\x89LZO", Self::Foreign("lzo")),
        ];
        known
            .iter()
            .find(|(magic, _)| bytes.starts_with(magic))
            .map(|(_, format)| *format)
    }

    /// What people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Xz => "xz",
            Self::Zstd => "zstd",
            Self::Foreign(name) => name,
        }
    }

    /// Unpacks the one stream that `bytes` begin with, at most `limit` bytes of it.
    ///
    /// Returns the content and how many of `bytes` the stream took.
    ///
    /// # Errors
    /// A broken stream, a larger one, or a format that is only recognised.
    pub fn unpack(self, bytes: &[u8], limit: u64) -> Result<(Vec<u8>, usize)> {
        let context = || format!("unpacking {}", self.name());
        let mut out = Vec::new();
        let rest = match self {
            Self::Gzip => {
                let mut reader = flate2::bufread::GzDecoder::new(bytes);
                fill(&mut reader, limit, &mut out).with_context(context)?;
                reader.into_inner()
            }
            Self::Xz => {
                let mut reader = liblzma::bufread::XzDecoder::new(bytes);
                fill(&mut reader, limit, &mut out).with_context(context)?;
                reader.into_inner()
            }
            Self::Zstd => {
                let mut reader = zstd::Decoder::with_buffer(bytes)?.single_frame();
                fill(&mut reader, limit, &mut out).with_context(context)?;
                reader.finish()
            }
            Self::Foreign(name) => bail!("{name} is recognised but not read here"),
        };
        Ok((out, bytes.len() - rest.len()))
    }
}

fn fill(reader: &mut dyn Read, limit: u64, out: &mut Vec<u8>) -> Result<()> {
    reader.take(limit + 1).read_to_end(out)?;
    if out.len() as u64 > limit {
        bail!("more than {limit} bytes");
    }
    Ok(())
}

/// Unpacks what is compressed and returns what is not as it is.
///
/// # Errors
/// See [`Format::unpack`].
pub fn plain(bytes: Vec<u8>, limit: u64) -> Result<Vec<u8>> {
    match Format::of(&bytes) {
        Some(format) => Ok(format.unpack(&bytes, limit)?.0),
        None => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_compressed_comes_back_and_twice_is_the_same() {
        let bytes: Vec<u8> = (0..2_300_000_u32)
            .flat_map(|n| (n / 7).to_le_bytes())
            .collect();
        for compression in [Compression::Xz, Compression::Zstd, Compression::Fast] {
            let once = compression.compress(|w| Ok(w.write_all(&bytes)?)).unwrap();
            let twice = compression.compress(|w| Ok(w.write_all(&bytes)?)).unwrap();
            assert!(once == twice, "{compression:?} differs from itself");
            let format = Format::of(&once).unwrap();
            let size = bytes.len() as u64;
            let mut padded = once.clone();
            padded.extend([0; 7]);
            assert!(format.unpack(&padded, size).unwrap() == (bytes.clone(), once.len()));
            assert!(format.unpack(&once, 100).is_err());
            assert!(
                format
                    .unpack(&once[..once.len() - 9], u64::MAX - 1)
                    .is_err()
            );
        }
    }

    #[test]
    fn xz_has_the_check_that_kernels_know() {
        let bytes = Compression::Xz
            .compress(|w| Ok(w.write_all(b"x")?))
            .unwrap();
        // Stream flags, xz file format 1.0.4, section 2.1.1.2: 1 is CRC32.
        assert_eq!(&bytes[6..8], &[0, 1]);
    }
}
