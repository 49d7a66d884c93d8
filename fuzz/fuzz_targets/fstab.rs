//! The fstab of a foreign disk, and what lsblk says of a foreign disk's labels.
#![no_main]

use goldring_disk::{fstab, lsblk};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: (&str, &str)| {
    let devices = lsblk::parse(data.1);
    let known = |path: &str| devices.iter().find(|device| device.name == path).cloned();
    let root = devices.first().cloned().unwrap_or_default();
    let _ = fstab::plan(&fstab::parse(data.0), &devices, &root, &known);
});
