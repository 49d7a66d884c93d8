//! Super blocks that somebody made up: what is recognised can be complained about, and
//! what is not may be a part of something.
#![no_main]

use std::io::Cursor;

use goldring_disk::{member, probe, superblock};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut device = Cursor::new(data);
    if let Ok(Some(file_system)) = probe::probe(&mut device) {
        let _ = superblock::complaint(&mut device, file_system);
    }
    let _ = member::member(&mut device);
});
