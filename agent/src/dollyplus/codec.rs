//! zstd for rings of goldring.

use std::cell::RefCell;
use std::io;

use goldring_transfer::dollyplus::Codec;
use zstd::bulk::{Compressor, Decompressor};

/// Packs and unpacks.
pub(crate) const ZSTD: Codec = Codec { pack, unpack };

thread_local! {
    // Making one costs more than packing a chunk.
    static PACKER: RefCell<Option<(i32, Compressor<'static>)>> = const { RefCell::new(None) };
    static UNPACKER: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

fn pack(data: &[u8], room: &mut [u8], level: i32) -> Option<usize> {
    PACKER.with_borrow_mut(|packer| {
        match packer {
            Some((made_for, made)) if *made_for != level => {
                made.set_compression_level(level).ok()?;
                *made_for = level;
            }
            Some(_) => {}
            None => *packer = Some((level, Compressor::new(level).ok()?)),
        }
        let (_, packer) = packer.as_mut()?;
        packer.compress_to_buffer(data, room).ok()
    })
}

fn unpack(data: &[u8], room: &mut [u8]) -> io::Result<usize> {
    UNPACKER.with_borrow_mut(|unpacker| {
        if unpacker.is_none() {
            *unpacker = Some(Decompressor::new()?);
        }
        match unpacker.as_mut() {
            Some(unpacker) => unpacker.decompress_to_buffer(data, room),
            None => Err(io::Error::other("zstd has no room")),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back_at_changing_levels() {
        let data: Vec<u8> = (0..100_000_u32).map(|i| (i / 100) as u8).collect();
        for level in [1, -3, 1] {
            let mut room = vec![0; data.len()];
            let n = pack(&data, &mut room, level).unwrap();
            assert!(n < data.len() / 2);
            let mut back = vec![0; data.len()];
            assert_eq!(unpack(&room[..n], &mut back).unwrap(), data.len());
            assert_eq!(back, data);
            assert!(unpack(&room[..n], &mut back[..10]).is_err());
        }
        assert_eq!(pack(&data, &mut [0; 10], 1), None, "no room");
        assert!(unpack(b"garbage", &mut [0; 100]).is_err());
    }
}
