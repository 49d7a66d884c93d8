use std::io::Cursor;

use proptest::prelude::*;

use super::*;
use crate::desc::Desc;
use crate::layout::layout;

/// A disk of so many MiB with rubbish on it, and its table.
fn disk(text: &str, megabytes: u64, sector_size: u32) -> (Cursor<Vec<u8>>, PartitionTable) {
    let geometry = Geometry::new(megabytes << 20, sector_size);
    let table = layout(&Desc::parse(text).unwrap(), geometry)
        .unwrap()
        .table
        .identified();
    (Cursor::new(vec![0xA5; (megabytes << 20) as usize]), table)
}

fn written(text: &str, megabytes: u64, sector_size: u32) -> (Vec<u8>, PartitionTable) {
    let (mut disk, table) = disk(text, megabytes, sector_size);
    wipe(&table, &mut disk).unwrap();
    table.write(&mut disk).unwrap();
    (disk.into_inner(), table)
}

fn read(bytes: &[u8], sector_size: u32) -> Result<Option<PartitionTable>, ReadError> {
    PartitionTable::read(
        &mut Cursor::new(bytes),
        Geometry::new(bytes.len() as u64, sector_size),
    )
}

const DOS: &str = "dos id=0x0badcafe\nlinux 5 boot\ntypeb 3 number=3\nextended fill type=f\nlogical swap 5\nlogical linux 3s\nlogical type8e fill";
const GPT: &str = "gpt id=6d1b0c1e-0000-4000-8000-676f6c647200\nbios 1\nefi 5 name=\"EFI Söstem\" part-uuid=6d1b0c1e-0000-4000-8000-676f6c647201\nlinux fill number=9 boot attributes=0x8000000000000001";

#[test]
fn the_tables_of_old_disks_are_read() {
    // What fdisk 2.11 wrote: cylinders, tables one track in front of logical partitions,
    // and the extended one last of all.
    let text = "extended 96390s start=96390s number=4\nlogical linux 32067s start=96453s\nlogical swap 64197s start=128583s";
    let (bytes, table) = written(text, 100, 512);
    let ebrs: Vec<Option<u64>> = table.parts.iter().map(|part| part.ebr).collect();
    assert_eq!(ebrs, [None, Some(96390), Some(128520)]);
    assert_eq!(read(&bytes, 512).unwrap(), Some(table));
}

#[test]
fn the_bytes_are_those_of_the_format() {
    let (bytes, _) = written(
        "dos id=0x0badcafe\nlinux 5 boot\nextended fill type=f\nlogical swap 5\nlogical linux 5",
        100,
        512,
    );
    assert_eq!(bytes[440..446], [0xFE, 0xCA, 0xAD, 0x0B, 0, 0]);
    // Head 32, sector 33, cylinder 0 is sector 2048, as fdisk writes it.
    assert_eq!(
        bytes[446..462],
        [0x80, 32, 33, 0, 0x83, 195, 3, 0, 0, 8, 0, 0, 0, 0x28, 0, 0]
    );
    assert_eq!(bytes[446 + 16 + 4], 0xF);
    assert_eq!(bytes[510..512], [0x55, 0xAA]);
    // The second table is 6 MiB behind the first, and its link counts from there.
    let ebr = 6 << 20;
    assert_eq!(bytes[ebr + 446 + 4], 0x82);
    assert_eq!(bytes[ebr + 462 + 4], 5);
    assert_eq!(
        bytes[ebr + 462 + 8..ebr + 462 + 16],
        [0, 0x30, 0, 0, 0, 0x30, 0, 0]
    );
    assert_eq!(bytes[ebr + (6 << 20) + 462..ebr + (6 << 20) + 510], [0; 48]);
}

#[test]
fn boot_code_stays_and_what_was_there_goes() {
    let (mut disk, table) = disk(DOS, 100, 512);
    table.write(&mut disk).unwrap();
    assert_eq!(disk.get_ref()[..440], [0xA5; 440]);
    for (text, sector_size) in [(DOS, 512), (DOS, 4096), (GPT, 512), (GPT, 4096)] {
        let (bytes, table) = written(text, 100, sector_size);
        assert_eq!(bytes[..440], [0; 440]);
        for part in table.parts.iter().filter(|part| !part.kind.is_extended()) {
            let [begin, end] =
                [part.start, part.end()].map(|n| (n * u64::from(sector_size)) as usize);
            assert!(
                bytes[begin..end.min(begin + 65_600)]
                    .iter()
                    .all(|byte| *byte == 0)
            );
            assert!(
                bytes[end.saturating_sub(65_536).max(begin)..end]
                    .iter()
                    .all(|byte| *byte == 0)
            );
        }
    }
}

#[test]
fn the_second_gpt_is_read_when_the_first_is_broken() {
    let (mut bytes, table) = written(GPT, 100, 512);
    bytes[512 + 60] ^= 1;
    assert_eq!(read(&bytes, 512).unwrap().as_ref(), Some(&table));
    let end = bytes.len();
    bytes[end - 512 + 60] ^= 1;
    let error = read(&bytes, 512).unwrap_err().to_string();
    assert!(
        error.starts_with("the partition table is broken: gpt: "),
        "{error}"
    );
}

#[test]
fn what_is_no_table_is_none() {
    assert!(read(&[], 512).unwrap().is_none());
    assert!(read(&[0; 4096], 512).unwrap().is_none());
    assert!(read(&[0x55; 4096], 512).unwrap().is_none());
    let (mut bytes, _) = written("", 100, 512);
    assert_eq!(read(&bytes, 512).unwrap().unwrap().parts, []);
    bytes[3..11].copy_from_slice(b"NTFS    ");
    assert!(read(&bytes, 512).unwrap().is_none());
}

#[test]
fn broken_chains_are_named() {
    let (bytes, table) = written(DOS, 100, 512);
    let ebr = |at: usize| {
        table
            .parts
            .iter()
            .filter_map(|part| part.ebr)
            .nth(at)
            .unwrap() as usize
            * 512
    };
    type Change = (usize, &'static [u8], &'static str);
    let changes: [Change; 6] = [
        (446 + 12, &[0xFF; 4], "partition 1 ends"),
        // The second link leads to the first table, or out.
        (ebr(1) + 462 + 8, &[0; 4], "never ends"),
        (ebr(1) + 462 + 8, &[0xFF; 4], "behind the extended one"),
        (
            ebr(1) + 446 + 12,
            &[0xFF; 4],
            "logical partition 6: it ends behind",
        ),
        (
            ebr(1) + 510,
            &[0, 0],
            "logical partition 6: it has no table",
        ),
        (446 + 4, &[5], "two extended"),
    ];
    for (at, change, said) in changes {
        let mut bytes = bytes.clone();
        bytes[at..at + change.len()].copy_from_slice(change);
        let error = read(&bytes, 512).unwrap_err().to_string();
        assert!(error.contains(said), "{said}: {error}");
    }
    // Without its first table an extended partition is empty.
    let mut bytes = bytes.clone();
    bytes[ebr(0) + 510] = 0;
    assert_eq!(read(&bytes, 512).unwrap().unwrap().parts.len(), 3);
}

#[test]
fn a_gpt_that_lies_about_itself_is_broken_and_no_more() {
    let (bytes, _) = written(GPT, 100, 512);
    for (at, field) in [
        (72, u64::MAX.to_le_bytes()),
        (80, u64::MAX.to_le_bytes()),
        (80, 0x0000_0100_0000_0080u64.to_le_bytes()),
    ] {
        let mut bytes = bytes.clone();
        // Both copies, with the checksum that says it is as it should be.
        for header in [512, bytes.len() - 512] {
            bytes[header + at..header + at + 8].copy_from_slice(&field);
            bytes[header + 16..header + 20].fill(0);
            let mut crc = flate2::Crc::new();
            crc.update(&bytes[header..header + 92]);
            bytes[header + 16..header + 20].copy_from_slice(&crc.sum().to_le_bytes());
        }
        let error = read(&bytes, 512).unwrap_err().to_string();
        assert!(error.contains("its header tells of"), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn what_is_written_is_read(desc in crate::desc::tests::descs(), megabytes in 3u64..64, large in any::<bool>()) {
        let sector_size = if large { 4096 } else { 512 };
        let geometry = Geometry::new(megabytes << 20, sector_size);
        // Sizes of the other tests are too large for a disk in memory.
        let mut desc = desc;
        for partition in &mut desc.partitions {
            if let crate::desc::Size::Units(units) = &mut partition.size {
                *units = *units % 9000 + 1;
            }
        }
        if let Ok(layout) = layout(&desc, geometry) {
            let table = layout.table.identified();
            let mut disk = Cursor::new(vec![0xA5; (megabytes << 20) as usize]);
            wipe(&table, &mut disk).unwrap();
            table.write(&mut disk).unwrap();
            prop_assert_eq!(PartitionTable::read(&mut disk, geometry).unwrap(), Some(table));
        }
    }

    #[test]
    fn no_disk_makes_it_stumble(changes in proptest::collection::vec((0usize..20_000, any::<u8>()), 0..40), gpt in any::<bool>()) {
        let (mut bytes, _) = written(if gpt { GPT } else { DOS }, 40, 512);
        for (at, byte) in changes {
            bytes[at % 20_000] = byte;
        }
        let _ = read(&bytes, 512);
        let _ = read(&bytes, 4096);
    }
}
