//! The other file systems of Linux, and swap.

use std::io::{self, Read, Seek};

use super::{Identity, bytes, le16, le32, le64, names, of, power, text, uuid};
use crate::desc::{FileSystem, Format};

/// Features of version 5 (fs/xfs/libxfs/xfs_format.h), by the names that mkfs.xfs has.
const XFS_RO_COMPAT: &[(u64, &str)] = &[
    (1, "finobt"),
    (2, "rmapbt"),
    (4, "reflink"),
    (8, "inobtcount"),
];
const XFS_INCOMPAT: &[(u64, &str)] = &[
    (2, "sparse"),
    (8, "bigtime"),
    (0x20, "nrext64"),
    (0x40, "exchange"),
    (0x80, "parent"),
];

pub(super) fn xfs(device: &mut (impl Read + Seek)) -> io::Result<Option<FileSystem>> {
    let Some(block) = bytes::<264>(device, 0)? else {
        return Ok(None);
    };
    // All of it is big endian.
    let be32 = |at: usize| u64::from(le32(&block, at).swap_bytes());
    let version = le16(&block, 100).swap_bytes() & 0xF;
    let mut features = Vec::new();
    if version == 5 {
        features.push("crc".to_owned());
        features.extend(names(be32(212), XFS_RO_COMPAT));
        features.extend(names(be32(216), XFS_INCOMPAT));
    } else {
        features.push("v4".to_owned());
        // XFS_SB_VERSION2_FTYPE.
        features.extend(names(be32(200), &[(0x200, "ftype")]));
    }
    Ok(Some(FileSystem {
        block: power(be32(4)),
        inode: power(u64::from(le16(&block, 104).swap_bytes())),
        features,
        ..of(Format::Xfs, text(&block[108..120]), uuid(&block, 32))
    }))
}

/// fs/btrfs/btrfs_tree.h, by the names that mkfs.btrfs has.
const BTRFS_COMPAT_RO: &[(u64, &str)] = &[(1, "free-space-tree"), (8, "block-group-tree")];
const BTRFS_INCOMPAT: &[(u64, &str)] = &[
    (4, "mixed-bg"),
    (0x40, "extref"),
    (0x80, "raid56"),
    (0x100, "skinny-metadata"),
    (0x200, "no-holes"),
];

pub(super) fn btrfs(device: &mut (impl Read + Seek)) -> io::Result<Option<Identity>> {
    let Some(block) = bytes::<555>(device, 64 << 10)? else {
        return Ok(None);
    };
    let mut features = names(le64(&block, 180), BTRFS_COMPAT_RO);
    features.extend(names(le64(&block, 188), BTRFS_INCOMPAT));
    let file_system = FileSystem {
        block: power(u64::from(le32(&block, 144))),
        inode: power(u64::from(le32(&block, 148))),
        features,
        ..of(Format::Btrfs, text(&block[299..555]), uuid(&block, 32))
    };
    Ok(Some(if le64(&block, 136) > 1 {
        Identity::OneOfSeveral(file_system)
    } else {
        Identity::FileSystem(file_system)
    }))
}

/// fs/reiserfs/reiserfs.h. The super block of version 3.5 has neither label nor UUID.
pub(super) fn reiserfs(device: &mut (impl Read + Seek)) -> io::Result<Option<FileSystem>> {
    let Some(block) = bytes::<116>(device, 64 << 10)? else {
        return Ok(None);
    };
    if &block[52..61] != b"ReIsEr2Fs" {
        return Ok(Some(FileSystem::plain(Format::Reiserfs)));
    }
    Ok(Some(FileSystem {
        block: power(u64::from(le16(&block, 44))),
        ..of(Format::Reiserfs, text(&block[100..116]), uuid(&block, 84))
    }))
}

/// fs/jfs/jfs_superblock.h.
pub(super) fn jfs(device: &mut (impl Read + Seek)) -> io::Result<Option<FileSystem>> {
    let block = bytes::<168>(device, 32 << 10)?;
    Ok(block.map(|block| FileSystem {
        block: power(u64::from(le32(&block, 16))),
        ..of(Format::Jfs, text(&block[152..168]), uuid(&block, 136))
    }))
}

/// include/linux/swap.h: the header lies behind the first KiB.
pub(super) fn swap(device: &mut (impl Read + Seek)) -> io::Result<Option<FileSystem>> {
    let block = bytes::<68>(device, 1024)?;
    Ok(block.map(|block| of(Format::Swap, text(&block[28..44]), uuid(&block, 12))))
}
