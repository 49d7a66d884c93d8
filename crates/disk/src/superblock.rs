//! What is wrong with a file system that has its mark and yet cannot be mounted: a
//! sentence for the person who has to copy or make the image again.
//!
//! Fields: squashfs, `fs/squashfs/squashfs_fs.h`; ext, `fs/ext4/ext4.h`; ISO 9660,
//! ECMA-119, 8.4 (Linux and Ecma).

use std::io::{self, Read, Seek, SeekFrom};

use crate::probe::FileSystem;

/// How much of the beginning is looked at: the descriptor of ISO 9660 is the last.
const BEGIN: usize = 34 << 10;

/// What is wrong, as far as the super block tells. `None`: nothing that shows there.
///
/// # Errors
/// What reading says.
pub fn complaint(
    device: &mut (impl Read + Seek),
    file_system: FileSystem,
) -> io::Result<Option<String>> {
    let there = device.seek(SeekFrom::End(0))?;
    device.seek(SeekFrom::Start(0))?;
    let mut begin = Vec::new();
    device.take(BEGIN as u64).read_to_end(&mut begin)?;
    // What is not there reads as zeros, which make no sense in any of these.
    begin.resize(BEGIN, 0);
    Ok(match file_system {
        FileSystem::Squashfs => squashfs(&begin, there),
        FileSystem::Ext => ext(&begin, there),
        FileSystem::Iso9660 => iso9660(&begin, there),
        _ => None,
    })
}

fn squashfs(begin: &[u8], there: u64) -> Option<String> {
    let (block_size, block_log) = (u32_at(begin, 12), u16_at(begin, 22));
    let (major, minor) = (u16_at(begin, 28), u16_at(begin, 30));
    let used = u64_at(begin, 40);
    if (major, minor) != (4, 0) {
        return Some(format!(
            "it says squashfs {major}.{minor}, and Linux reads 4.0"
        ));
    }
    if !(12..=20).contains(&block_log) || block_size != 1 << block_log {
        return Some(format!(
            "its block size of {block_size} bytes makes no sense"
        ));
    }
    // The tables of numbers, inodes and folders, which every image has.
    let tables = [48, 64, 72].map(|place| u64_at(begin, place));
    if tables.iter().any(|table| *table < 96 || *table >= used) {
        return Some("its tables lie outside of it".to_owned());
    }
    cut_off(used, there)
}

fn ext(begin: &[u8], there: u64) -> Option<String> {
    let (log, low) = (u32_at(begin, 1024 + 24), u32_at(begin, 1024 + 4));
    let (inodes, first) = (u32_at(begin, 1024), u32_at(begin, 1024 + 20));
    // 64 KiB is the largest block.
    if log > 6 {
        return Some("its block size makes no sense".to_owned());
    }
    if low == 0 || inodes == 0 || first > 1 {
        return Some("its numbers of blocks and inodes make no sense".to_owned());
    }
    cut_off(u64::from(low) << (10 + log), there)
}

fn iso9660(begin: &[u8], there: u64) -> Option<String> {
    const DESCRIPTOR: usize = 32768;
    let kind = begin[DESCRIPTOR];
    if kind != 1 {
        return Some(format!("its first descriptor is of kind {kind}, not 1"));
    }
    let block = u16_at(begin, DESCRIPTOR + 128);
    if ![512, 1024, 2048].contains(&block) {
        return Some(format!("its block size of {block} bytes makes no sense"));
    }
    cut_off(
        u64::from(u32_at(begin, DESCRIPTOR + 80)) * u64::from(block),
        there,
    )
}

fn cut_off(used: u64, there: u64) -> Option<String> {
    (used > there).then(|| format!("it is cut off: {there} of {used} bytes are there"))
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn put(bytes: &mut [u8], at: usize, field: &[u8]) {
        bytes[at..at + field.len()].copy_from_slice(field);
    }

    fn squashfs_image() -> Vec<u8> {
        let mut image = vec![0; 5000];
        put(&mut image, 12, &131_072u32.to_le_bytes());
        put(&mut image, 22, &17u16.to_le_bytes());
        put(&mut image, 28, &[4, 0, 0, 0]);
        put(&mut image, 40, &4900u64.to_le_bytes());
        for place in [48, 64, 72] {
            put(&mut image, place, &4000u64.to_le_bytes());
        }
        image
    }

    fn ext_image() -> Vec<u8> {
        let mut image = vec![0; 40_000];
        put(&mut image, 1024, &16u32.to_le_bytes());
        put(&mut image, 1024 + 4, &39u32.to_le_bytes());
        image
    }

    fn iso_image() -> Vec<u8> {
        let mut image = vec![0; 40_000];
        image[32768] = 1;
        put(&mut image, 32768 + 80, &19u32.to_le_bytes());
        put(&mut image, 32768 + 128, &2048u16.to_le_bytes());
        image
    }

    #[test]
    fn each_broken_field_is_named() {
        type Case = (
            FileSystem,
            fn() -> Vec<u8>,
            usize,
            &'static [u8],
            &'static str,
        );
        let cases: [Case; 10] = [
            (
                FileSystem::Squashfs,
                squashfs_image,
                28,
                &[3, 0, 1, 0],
                "squashfs 3.1",
            ),
            (
                FileSystem::Squashfs,
                squashfs_image,
                12,
                &[1],
                "block size of 131073",
            ),
            (
                FileSystem::Squashfs,
                squashfs_image,
                22,
                &[99],
                "block size",
            ),
            (FileSystem::Squashfs, squashfs_image, 70, &[1], "tables"),
            (
                FileSystem::Squashfs,
                squashfs_image,
                46,
                &[1],
                "cut off: 5000 of",
            ),
            (FileSystem::Ext, ext_image, 1024 + 24, &[9], "block size"),
            (
                FileSystem::Ext,
                ext_image,
                1024,
                &[0],
                "numbers of blocks and inodes",
            ),
            (
                FileSystem::Ext,
                ext_image,
                1024 + 6,
                &[1],
                "cut off: 40000 of",
            ),
            (FileSystem::Iso9660, iso_image, 32768, &[255], "kind 255"),
            (
                FileSystem::Iso9660,
                iso_image,
                32768 + 129,
                &[0],
                "block size of 0",
            ),
        ];
        for (file_system, image, at, field, said) in cases {
            let complain =
                |image: Vec<u8>| complaint(&mut Cursor::new(image), file_system).unwrap();
            assert_eq!(complain(image()), None, "{file_system}");
            let mut broken = image();
            put(&mut broken, at, field);
            let text = complain(broken).unwrap_or_default();
            assert!(text.contains(said), "{file_system} {at}: {text:?}");
            // However short: a sentence, no panic.
            for length in [0, 1, 100, 1100, 33_000] {
                let mut short = image();
                short.truncate(length);
                assert!(
                    complain(short).is_some() || length > 5000,
                    "{file_system} {length}"
                );
            }
        }
    }
}
