//! What a device is a part of, when it holds no file system of its own: told by marks.
//!
//! Marks and their places: libblkid, `libblkid/src/superblocks/*.c` (util-linux).

use std::io::{self, Read, Seek, SeekFrom};

/// Where a mark stands.
enum Place {
    /// Bytes from the beginning.
    Begin(u64),
    /// Bytes from the end, of a size that is rounded down to this.
    End(u64, u64),
}
use Place::{Begin, End};

const MARKS: &[(Place, &[u8], &str)] = &[
    // lvm.c: the label is in one of the first four sectors.
    (Begin(24), b"LVM2 001", "LVM"),
    (Begin(512 + 24), b"LVM2 001", "LVM"),
    (Begin(1024 + 24), b"LVM2 001", "LVM"),
    (Begin(1536 + 24), b"LVM2 001", "LVM"),
    (Begin(0), b"LUKS\xba\xbe", "an encrypted disk"),
    // linux_raid.c: versions 1.1, 1.2, 1.0 and 0.90.
    (Begin(0), b"\xfc\x4e\x2b\xa9", "a RAID"),
    (Begin(4096), b"\xfc\x4e\x2b\xa9", "a RAID"),
    (End(8192, 4096), b"\xfc\x4e\x2b\xa9", "a RAID"),
    (End(65536, 65536), b"\xfc\x4e\x2b\xa9", "a RAID"),
    // swap.c: at the end of the first page.
    (Begin(4096 - 10), b"SWAPSPACE2", "the swap space"),
    (Begin(4096 - 10), b"SWAP-SPACE", "the swap space"),
    (Begin(65536 - 10), b"SWAPSPACE2", "the swap space"),
];

/// What it is a part of, in words: `LVM`, `a RAID`, `an encrypted disk`, `the swap
/// space`.
///
/// # Errors
/// What reading says; a device that is too short is none.
pub fn member(device: &mut (impl Read + Seek)) -> io::Result<Option<&'static str>> {
    let size = device.seek(SeekFrom::End(0))?;
    for (place, mark, what) in MARKS {
        let offset = match place {
            Begin(offset) => Some(*offset),
            End(back, round) => (size / round * round).checked_sub(*back),
        };
        let Some(offset) = offset.filter(|offset| offset + mark.len() as u64 <= size) else {
            continue;
        };
        let mut found = [0; 16];
        let found = &mut found[..mark.len()];
        device.seek(SeekFrom::Start(offset))?;
        device.read_exact(found)?;
        if found == *mark {
            return Ok(Some(what));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn of(size: usize, at: usize, mark: &[u8]) -> Option<&'static str> {
        let mut bytes = vec![0; size];
        bytes[at..at + mark.len()].copy_from_slice(mark);
        member(&mut Cursor::new(bytes)).unwrap()
    }

    #[test]
    fn members_are_told_by_their_marks() {
        let raid = b"\xfc\x4e\x2b\xa9";
        assert_eq!(of(2048, 536, b"LVM2 001"), Some("LVM"));
        assert_eq!(of(2048, 0, b"LUKS\xba\xbe"), Some("an encrypted disk"));
        assert_eq!(of(8192, 4086, b"SWAPSPACE2"), Some("the swap space"));
        assert_eq!(of(8192, 4096, raid), Some("a RAID"));
        // Version 0.90: the last whole 64 KiB; 1.0: 8 KiB before the end.
        assert_eq!(of(200_000, 131_072, raid), Some("a RAID"));
        assert_eq!(of(200_704, 192_512, raid), Some("a RAID"));
        assert_eq!(of(200_704, 192_513, raid), None);
        assert_eq!(of(70_000, 100, b"zebra"), None);
        for size in [0, 1, 10, 4095, 65_535] {
            assert_eq!(member(&mut Cursor::new(vec![0; size])).unwrap(), None);
        }
    }
}
