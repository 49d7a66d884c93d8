//! ext2, ext3, ext4 (fs/ext4/ext4.h; names of features: e2fsprogs, lib/e2p/feature.c).

use std::io::{self, Read, Seek};

use super::{bytes, le16, le32, names, of, power, text, uuid};
use crate::desc::{FileSystem, Format};

const HAS_JOURNAL: u64 = 4;
/// What ext3 knows as well: file types, recovery, meta block groups.
const INCOMPAT_OF_EXT3: u64 = 0x02 | 0x04 | 0x10;
/// Sparse super blocks, large files, and a bit that was never used.
const RO_COMPAT_OF_EXT3: u64 = 0x01 | 0x02 | 0x04;

const COMPAT: &[(u64, &str)] = &[
    (HAS_JOURNAL, "has_journal"),
    (0x08, "ext_attr"),
    (0x10, "resize_inode"),
    (0x20, "dir_index"),
    (0x200, "sparse_super2"),
    (0x400, "fast_commit"),
    (0x800, "stable_inodes"),
    (0x1000, "orphan_file"),
];
/// Without `needs_recovery`, which is a state, and a journal that is a device.
const INCOMPAT: &[(u64, &str)] = &[
    (0x02, "filetype"),
    (0x10, "meta_bg"),
    (0x40, "extent"),
    (0x80, "64bit"),
    (0x100, "mmp"),
    (0x200, "flex_bg"),
    (0x400, "ea_inode"),
    (0x2000, "metadata_csum_seed"),
    (0x4000, "large_dir"),
    (0x8000, "inline_data"),
    (0x10000, "encrypt"),
    (0x20000, "casefold"),
];
const RO_COMPAT: &[(u64, &str)] = &[
    (0x01, "sparse_super"),
    (0x02, "large_file"),
    (0x08, "huge_file"),
    (0x10, "uninit_bg"),
    (0x20, "dir_nlink"),
    (0x40, "extra_isize"),
    (0x100, "quota"),
    (0x200, "bigalloc"),
    (0x400, "metadata_csum"),
    (0x2000, "project"),
    (0x8000, "verity"),
];

pub(super) fn read(device: &mut (impl Read + Seek)) -> io::Result<Option<FileSystem>> {
    let Some(block) = bytes::<256>(device, 1024)? else {
        return Ok(None);
    };
    let [compat, incompat, ro_compat] = [92, 96, 100].map(|at| u64::from(le32(&block, at)));
    let format = if incompat & !INCOMPAT_OF_EXT3 != 0 || ro_compat & !RO_COMPAT_OF_EXT3 != 0 {
        Format::Ext4
    } else if compat & HAS_JOURNAL != 0 {
        Format::Ext3
    } else {
        Format::Ext2
    };
    let mut features = names(compat, COMPAT);
    features.extend(names(incompat, INCOMPAT));
    features.extend(names(ro_compat, RO_COMPAT));
    // Before revision 1 an inode had 128 bytes.
    let inode = if le32(&block, 76) == 0 {
        128
    } else {
        u64::from(le16(&block, 88))
    };
    Ok(Some(FileSystem {
        block: 1024u64.checked_shl(le32(&block, 24)).and_then(power),
        inode: power(inode),
        features,
        ..of(format, text(&block[120..136]), uuid(&block, 104))
    }))
}
