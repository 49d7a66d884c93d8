//! NTFS (ntfs-3g, include/ntfs-3g/layout.h): the boot sector, and the name in the record
//! of `$Volume`.

use std::io::{self, Read, Seek, SeekFrom};

use super::{bytes, le16, le32, le64, of, power};
use crate::desc::{FileSystem, Format};

/// The record of `$Volume`, and the attribute with its name.
const VOLUME: u64 = 3;
const VOLUME_NAME: u32 = 0x60;
const LAST: u32 = 0xFFFF_FFFF;
/// A record is 1 KiB, or 4 KiB on disks with such sectors.
const LARGEST_RECORD: u64 = 64 << 10;

pub(super) fn read(device: &mut (impl Read + Seek)) -> io::Result<Option<FileSystem>> {
    let Some(boot) = bytes::<512>(device, 0)? else {
        return Ok(None);
    };
    let cluster = u64::from(le16(&boot, 11)) * clusters(boot[13]);
    let record = match boot[64] {
        negative @ 0x80.. => 1u64.checked_shl(256 - u32::from(negative)).unwrap_or(0),
        count => u64::from(count) * cluster,
    };
    let place = le64(&boot, 48)
        .checked_mul(cluster)
        .and_then(|mft| mft.checked_add(VOLUME * record));
    let place = place.filter(|place| i64::try_from(*place).is_ok());
    let label = match place {
        Some(place) if (512..=LARGEST_RECORD).contains(&record) => {
            volume_name(device, place, record)?
        }
        _ => None,
    };
    let serial = format!("{:016X}", le64(&boot, 72));
    Ok(Some(FileSystem {
        block: power(cluster),
        ..of(Format::Ntfs, label, Some(serial))
    }))
}

/// Sectors of a cluster; large numbers are powers of two (Windows 10, 1709).
fn clusters(byte: u8) -> u64 {
    match byte {
        0xF0.. => 1 << (256 - u32::from(byte)),
        count => u64::from(count),
    }
}

fn volume_name(device: &mut (impl Read + Seek), at: u64, size: u64) -> io::Result<Option<String>> {
    let mut record = vec![0; size as usize];
    device.seek(SeekFrom::Start(at))?;
    match device.read_exact(&mut record) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    Ok(repair(&mut record).and_then(|()| name(&record)))
}

/// The last two bytes of each 512 are kept elsewhere in the record, against torn writes.
fn repair(record: &mut [u8]) -> Option<()> {
    if &record[..4] != b"FILE" {
        return None;
    }
    let (at, count) = (usize::from(le16(record, 4)), usize::from(le16(record, 6)));
    for number in 1..count {
        let kept = at + number * 2;
        let pair = [*record.get(kept)?, *record.get(kept + 1)?];
        record
            .get_mut(number * 512 - 2..number * 512)?
            .copy_from_slice(&pair);
    }
    Some(())
}

fn name(record: &[u8]) -> Option<String> {
    let mut at = usize::from(le16(record, 20));
    loop {
        let attribute = record.get(at..).filter(|rest| rest.len() >= 24)?;
        let (kind, length) = (le32(attribute, 0), le32(attribute, 4) as usize);
        if kind == LAST || length < 24 {
            return None;
        }
        if kind == VOLUME_NAME {
            let (length, begin) = (
                le32(attribute, 16) as usize,
                usize::from(le16(attribute, 20)),
            );
            let value = attribute.get(begin..begin.checked_add(length)?)?;
            let units: Vec<u16> = value.chunks_exact(2).map(|pair| le16(pair, 0)).collect();
            return String::from_utf16(&units)
                .ok()
                .filter(|name| !name.is_empty() && !name.contains('\0'));
        }
        at = at.checked_add(length)?;
    }
}
