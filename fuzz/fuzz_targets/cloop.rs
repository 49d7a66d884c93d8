//! Compressed loop images that somebody made up.
#![no_main]

use std::io::Cursor;

use goldring_disk::cloop::{BLOCK_MAX, Cloop};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(mut image) = Cloop::open(Cursor::new(data)) else {
        return;
    };
    let mut block = Vec::new();
    for number in 0..image.blocks() {
        if image.read_block(number, &mut block).is_err() {
            return;
        }
        assert!(block.len() <= BLOCK_MAX as usize);
    }
});
