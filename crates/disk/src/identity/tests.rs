use std::io::Cursor;

use proptest::prelude::*;

use super::*;

const UUID: &[u8; 16] = b"\x12\x34\x56\x78\x12\x34\x42\x34\x82\x34\x12\x34\x56\x78\x9a\xbc";
const TEXT: &str = "12345678-1234-4234-8234-123456789abc";

fn image(size: usize, fields: &[(usize, &[u8])]) -> Vec<u8> {
    let mut image = vec![0; size];
    for (at, field) in fields {
        image[*at..*at + field.len()].copy_from_slice(field);
    }
    image
}

/// As a line of a desc has it.
fn said(image: &[u8]) -> String {
    match identify(&mut Cursor::new(image)).unwrap() {
        Some(Identity::FileSystem(file_system)) => file_system.to_string().trim().to_owned(),
        Some(Identity::OneOfSeveral(file_system)) => format!("one of{file_system}"),
        Some(Identity::Member(what)) => format!("a part of {what}"),
        Some(Identity::Other(what)) => what,
        None => "nothing".to_owned(),
    }
}

/// The beginnings of what the tools made; their generator is beside them.
#[test]
fn what_the_tools_made_is_known() {
    let id = format!("uuid={TEXT}");
    for (image, expected) in [
        (
            &include_bytes!("../../../../fuzz/seeds/superblock/ext4")[..],
            format!(
                "fs=ext4 {id} block=1024 inode=256 features=has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,flex_bg,sparse_super,large_file,huge_file,dir_nlink,extra_isize,metadata_csum"
            ),
        ),
        (
            include_bytes!("../../../../fuzz/seeds/superblock/xfs"),
            format!(
                "fs=xfs {id} block=4096 inode=512 features=crc,finobt,reflink,inobtcount,sparse,bigtime"
            ),
        ),
        (
            include_bytes!("../../../../fuzz/seeds/superblock/btrfs"),
            format!(
                "fs=btrfs {id} block=4096 inode=16384 features=free-space-tree,extref,skinny-metadata,no-holes"
            ),
        ),
        (
            include_bytes!("../../../../fuzz/seeds/superblock/vfat"),
            "fs=fat12 uuid=1234-5678 block=2048".to_owned(),
        ),
        (
            include_bytes!("../../../../fuzz/seeds/superblock/swap"),
            format!("fs=swap {id}"),
        ),
    ] {
        assert_eq!(said(image), expected);
    }
}

#[test]
fn the_others_are_known_by_their_fields() {
    let reiserfs: [(usize, &[u8]); 4] = [
        (65_580, &[0, 16]),
        (65_588, b"ReIsEr2Fs"),
        (65_620, UUID),
        (65_636, b"home"),
    ];
    let jfs: [(usize, &[u8]); 4] = [
        (32_768, b"JFS1"),
        (32_784, &[0, 16]),
        (32_904, UUID),
        (32_920, b"var"),
    ];
    let ntfs: [(usize, &[u8]); 7] = [
        (3, b"NTFS    "),
        (11, &[0, 2, 8]),
        (48, &[4]),
        (64, &[0xF6]),
        (72, b"\x01\x9a\xb1\x2a\xc0\xb1\x2a\x5e"),
        // $Volume is the fourth record of 1 KiB; its name lies across the end of a sector.
        (
            4 * 4096 + 3072,
            b"FILE\x30\0\x03\0\0\0\0\0\0\0\0\0\0\0\0\0\xe0\x01",
        ),
        (
            4 * 4096 + 3072 + 0x1e0,
            b"\x60\0\0\0\x28\0\0\0\0\0\0\0\0\0\0\0\x08\0\0\0\x18\0\0\0W\0i\0n\0!\0",
        ),
    ];
    let mut windows = image(40_000, &ntfs);
    let record = 4 * 4096 + 3072;
    // The update sequence has what belongs into the last two bytes of each sector.
    let kept = windows[record + 510..record + 512].to_vec();
    windows[record + 510..record + 512].copy_from_slice(&[9, 9]);
    windows[record + 0x32..record + 0x34].copy_from_slice(&kept);
    let fat: [(usize, &[u8]); 5] = [
        (0, b"\xEB\x3C\x90"),
        (11, &[0, 2, 4, 1, 0, 2, 0, 2, 0, 0, 0xF8, 9, 0]),
        (38, b"\x29\x78\x56\x34\x12OLD        FAT12   "),
        (510, b"\x55\xAA"),
        (19 * 512, b"NEW NAME   \x08"),
    ];
    for (image, expected) in [
        (
            image(70_000, &reiserfs),
            format!("fs=reiserfs label=home uuid={TEXT} block=4096"),
        ),
        (
            image(70_000, &jfs),
            format!("fs=jfs label=var uuid={TEXT} block=4096"),
        ),
        (
            windows,
            "fs=ntfs label=Win! uuid=5E2AB1C02AB19A01 block=4096".to_owned(),
        ),
        (
            image(40_000, &fat),
            "fs=fat12 label=\"NEW NAME\" uuid=1234-5678 block=2048".to_owned(),
        ),
        (image(40_000, &[(32_769, b"CD001")]), "iso9660".to_owned()),
        (
            image(8192, &[(536, b"LVM2 001")]),
            "a part of LVM".to_owned(),
        ),
        (vec![0; 70_000], "nothing".to_owned()),
    ] {
        assert_eq!(said(&image), expected);
    }
}

proptest! {
    #[test]
    fn no_super_block_makes_it_stumble(
        which in 0usize..7,
        changes in proptest::collection::vec((0usize..600, any::<u8>()), 0..60),
        length in 0usize..70_600,
    ) {
        let (base, mark): (usize, &[u8]) = [
            (0, &b"XFSB"[..]), (1080, b"\x53\xef"), (65_600, b"_BHRfS_M"), (65_588, b"ReIsEr2Fs"), (32_768, b"JFS1"), (3, b"NTFS    "), (4086, b"SWAPSPACE2"),
        ][which];
        let mut image = image(70_600, &[]);
        for (at, byte) in changes {
            image[base / 1024 * 1024 + at] = byte;
        }
        image[base..base + mark.len()].copy_from_slice(mark);
        image.truncate(length);
        let _ = identify(&mut Cursor::new(image));
    }
}
