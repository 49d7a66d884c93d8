//! Which file system a device or an image holds, told by its marks: nothing is mounted to
//! find out.
//!
//! Marks and their places: libblkid, `libblkid/src/superblocks/*.c` (util-linux), and the
//! headers of Linux that are named at each.

use std::fmt;
use std::io::{self, Read, Seek, SeekFrom};

/// A file system that is known by its marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileSystem {
    /// ext2, ext3 or ext4; the kernel's ext4 drives all three.
    Ext,
    /// XFS.
    Xfs,
    /// btrfs.
    Btrfs,
    /// FAT12, FAT16 or FAT32.
    Vfat,
    /// exFAT.
    Exfat,
    /// NTFS.
    Ntfs,
    /// ReiserFS 3.5 or 3.6.
    Reiserfs,
    /// JFS.
    Jfs,
    /// ISO 9660, perhaps with UDF beside it.
    Iso9660,
    /// UDF without ISO 9660.
    Udf,
    /// squashfs.
    Squashfs,
}

impl FileSystem {
    /// The types that mount(2) may know it by, best first.
    pub fn kernel_types(self) -> &'static [&'static str] {
        match self {
            Self::Ext => &["ext4"],
            Self::Xfs => &["xfs"],
            Self::Btrfs => &["btrfs"],
            Self::Vfat => &["vfat"],
            Self::Exfat => &["exfat"],
            Self::Ntfs => &["ntfs3", "ntfs"],
            Self::Reiserfs => &["reiserfs"],
            Self::Jfs => &["jfs"],
            Self::Iso9660 => &["iso9660"],
            Self::Udf => &["udf"],
            Self::Squashfs => &["squashfs"],
        }
    }

    /// Options for a mount that never writes, not even to replay a journal as plain `ro`
    /// would (Linux, Documentation/filesystems and admin-guide: ext4 `noload`, xfs
    /// `norecovery`, btrfs `rescue=nologreplay`). What has no such option needs a
    /// read-only device below it. `nouuid`: the same disk may be here twice.
    pub fn untouched(self) -> &'static str {
        match self {
            Self::Ext => "noload",
            Self::Xfs => "norecovery,nouuid",
            Self::Btrfs => "rescue=nologreplay",
            _ => "",
        }
    }
}

impl fmt::Display for FileSystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ext => "ext",
            Self::Ntfs => "ntfs",
            other => other.kernel_types()[0],
        })
    }
}

/// Marks that stand at one place each. Those in front are the more certain ones; a disk
/// that once was something else may still have old marks further behind.
const MARKS: &[(u64, &[u8], FileSystem)] = &[
    (0, b"hsqs", FileSystem::Squashfs),
    (0, b"XFSB", FileSystem::Xfs),
    (3, b"NTFS    ", FileSystem::Ntfs),
    (3, b"EXFAT   ", FileSystem::Exfat),
    // s_magic 0xEF53 at 56 of the superblock at 1024 (fs/ext4/ext4.h).
    (1080, b"\x53\xef", FileSystem::Ext),
    // BTRFS_MAGIC at 64 of the superblock at 64 KiB (btrfs_tree.h).
    (65600, b"_BHRfS_M", FileSystem::Btrfs),
    // At 52 of the superblock at 64 KiB (reiserfs_fs.h); 8 KiB in version 3.5.
    (65588, b"ReIsErFs", FileSystem::Reiserfs),
    (65588, b"ReIsEr2Fs", FileSystem::Reiserfs),
    (8244, b"ReIsErFs", FileSystem::Reiserfs),
    (32768, b"JFS1", FileSystem::Jfs),
    // The first volume descriptor, in sector 16 of 2048 bytes (ECMA-119, 8.1).
    (32769, b"CD001", FileSystem::Iso9660),
    // The same place for UDF (ECMA-167, 2/9.2).
    (32769, b"BEA01", FileSystem::Udf),
];

/// Looks at the marks. `None`: none of them; so also for swap, LVM, RAID and encryption.
///
/// # Errors
/// What reading says; a device that is too short is none.
pub fn probe(device: &mut (impl Read + Seek)) -> io::Result<Option<FileSystem>> {
    for (offset, mark, file_system) in MARKS {
        let mut found = [0; 16];
        let found = &mut found[..mark.len()];
        if read_at(device, *offset, found)? && found == *mark {
            return Ok(Some(*file_system));
        }
    }
    let mut sector = [0; 512];
    let fat = read_at(device, 0, &mut sector)? && is_fat(&sector);
    Ok(fat.then_some(FileSystem::Vfat))
}

/// FAT has no mark of its own, and its 55 AA is that of a partition table as well; so the
/// numbers must make sense (Microsoft, FAT specification 1.03, boot sector and BPB).
pub(crate) fn is_fat(sector: &[u8; 512]) -> bool {
    let word = |at: usize| u16::from_le_bytes([sector[at], sector[at + 1]]);
    let jump = matches!(sector[0], 0xEB | 0xE9);
    let bytes = matches!(word(11), 512 | 1024 | 2048 | 4096);
    let cluster = sector[13].is_power_of_two();
    let reserved = word(14) != 0;
    let tables = matches!(sector[16], 1 | 2);
    let media = sector[21] >= 0xF0;
    jump && bytes && cluster && reserved && tables && media && sector[510..] == [0x55, 0xAA]
}

/// Fills `bytes` from `offset`; false when the device ends before.
fn read_at(device: &mut (impl Read + Seek), offset: u64, bytes: &mut [u8]) -> io::Result<bool> {
    device.seek(SeekFrom::Start(offset))?;
    match device.read_exact(bytes) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn of(bytes: &[u8]) -> Option<FileSystem> {
        probe(&mut Cursor::new(bytes)).unwrap()
    }

    #[test]
    fn each_mark_is_seen_at_its_place_and_nowhere_else() {
        for (offset, mark, file_system) in MARKS {
            let mut bytes = vec![0; *offset as usize];
            bytes.extend(*mark);
            assert_eq!(of(&bytes), Some(*file_system), "{file_system}");
            bytes.pop();
            assert_eq!(of(&bytes), None, "{file_system}, cut");
            bytes.insert(0, 0);
            bytes.extend([0; 16]);
            assert_eq!(of(&bytes), None, "{file_system}, moved");
        }
        assert_eq!(of(b""), None);
        assert_eq!(of(&[0xFF; 70_000]), None);
    }

    #[test]
    fn a_partition_table_is_no_fat() {
        // mkfs.vfat -F 16: EB 3C 90, 512 bytes, 4 sectors, 4 reserved, 2 tables, F8.
        let mut sector = [0; 512];
        sector[..3].copy_from_slice(b"\xEB\x3C\x90");
        sector[11..17].copy_from_slice(&[0, 2, 4, 4, 0, 2]);
        sector[21] = 0xF8;
        sector[510..].copy_from_slice(b"\x55\xAA");
        assert_eq!(of(&sector), Some(FileSystem::Vfat));
        for (at, value) in [(0, 0x33), (12, 3), (13, 3), (16, 9), (21, 1), (510, 0)] {
            let mut ugly = sector;
            ugly[at] = value;
            assert_eq!(of(&ugly), None, "byte {at}");
        }
        let mut table = [0; 512];
        table[510..].copy_from_slice(b"\x55\xAA");
        assert_eq!(of(&table), None);
    }

    #[test]
    fn a_mount_never_replays_a_journal() {
        assert_eq!(FileSystem::Ext.untouched(), "noload");
        assert!(FileSystem::Xfs.untouched().contains("norecovery"));
        assert!(FileSystem::Btrfs.untouched().contains("nologreplay"));
        assert_eq!(FileSystem::Ext.to_string(), "ext");
    }
}
