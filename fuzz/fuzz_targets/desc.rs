//! Desc files, and disks with partition tables, RAID and LVM that somebody made up. What
//! is read is printed and read again, and laid out; nothing lies upon anything else.
#![no_main]

use std::io::Cursor;

use goldring_disk::desc::{Content, Desc};
use goldring_disk::describe::describe;
use goldring_disk::layout::layout;
use goldring_disk::table::{Geometry, PartitionTable};
use goldring_disk::{identity, lvm, raid};
use libfuzzer_sys::fuzz_target;

/// Disks of an odd size, of a small and of a large one.
const DISKS: [(u64, u32); 4] = [
    (3 << 20, 512),
    ((100 << 20) + 512, 512),
    (40 << 30, 4096),
    (9 << 40, 512),
];

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(desc) = Desc::parse(text)
    {
        assert_eq!(Desc::parse(&desc.to_string()), Ok(desc.clone()));
        for (bytes, sector_size) in DISKS {
            if let Ok(layout) = layout(&desc, Geometry::new(bytes, sector_size)) {
                sound(&layout.table);
            }
        }
    }
    for sector_size in [512, 4096] {
        let geometry = Geometry::new(data.len() as u64, sector_size);
        if let Ok(Some(table)) = PartitionTable::read(&mut Cursor::new(data), geometry) {
            let contents = vec![Content::Unsaid; table.parts.len()];
            if let Ok(desc) = describe(&table, &contents) {
                assert_eq!(Desc::parse(&desc.to_string()), Ok(desc));
            }
        }
    }
    let _ = identity::identify(&mut Cursor::new(data));
    let _ = lvm::read(&mut Cursor::new(data));
    let _ = raid::read(&mut Cursor::new(data));
});

fn sound(table: &PartitionTable) {
    let parts = table.parts.iter().filter(|part| !part.kind.is_extended());
    let mut places: Vec<(u64, u64)> = parts.map(|part| (part.start, part.end())).collect();
    places.sort_unstable();
    assert!(places.windows(2).all(|pair| pair[0].1 <= pair[1].0));
    assert!(
        places
            .iter()
            .all(|(begin, end)| begin < end && *end <= table.disk.sectors)
    );
}
