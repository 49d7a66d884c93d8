//! What was on a disk before, made unrecognisable: old tables, and old super blocks that
//! would lie where a new partition begins or ends.

use std::io::{self, Seek, SeekFrom, Write};

use super::PartitionTable;

const MEBIBYTE: u64 = 1 << 20;
/// RAID 0.90 and 1.0 have theirs in the last 128 KiB (md(4)).
const AT_THE_END: u64 = 128 << 10;

/// Writes zeros over the first and the last MiB of the disk, and over the first MiB and
/// the end of where each partition of `table` will be.
///
/// # Errors
/// What writing says.
pub fn wipe(table: &PartitionTable, disk: &mut (impl Write + Seek)) -> io::Result<()> {
    let size = u64::from(table.disk.sector_size);
    let whole = table.disk.sectors * size;
    zeros(disk, 0, MEBIBYTE.min(whole))?;
    zeros(disk, whole.saturating_sub(MEBIBYTE), whole)?;
    for part in &table.parts {
        let (begin, end) = (part.start * size, part.end() * size);
        zeros(disk, begin, end.min(begin + MEBIBYTE))?;
        zeros(disk, begin.max(end.saturating_sub(AT_THE_END)), end)?;
    }
    disk.flush()
}

fn zeros(disk: &mut (impl Write + Seek), begin: u64, end: u64) -> io::Result<()> {
    static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
    disk.seek(SeekFrom::Start(begin))?;
    let mut left = end.saturating_sub(begin);
    while left > 0 {
        let now = left.min(ZEROS.len() as u64);
        disk.write_all(&ZEROS[..now as usize])?;
        left -= now;
    }
    Ok(())
}
