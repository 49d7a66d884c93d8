//! FAT (Microsoft, FAT specification 1.03).

use std::io::{self, Read, Seek};

use super::{bytes, le16, le32, of};
use crate::desc::{FileSystem, Format};

/// How many bytes of the root directory are looked at for a label, which is its first
/// entry in what any tool makes.
const LOOKED_AT: usize = 4096;

struct Boot {
    sector: u64,
    cluster: u64,
    reserved: u64,
    tables: u64,
    root_entries: u64,
    per_table: u64,
    sectors: u64,
}

pub(super) fn read(device: &mut (impl Read + Seek)) -> io::Result<Option<FileSystem>> {
    let Some(first) = bytes::<512>(device, 0)? else {
        return Ok(None);
    };
    let boot = Boot::parse(&first);
    let format = boot.format();
    // Behind the fields that only FAT32 has.
    let extended = if format == Format::Fat32 { 64 } else { 36 };
    let signature = first[extended + 2];
    let serial = le32(&first, extended + 3);
    let uuid = matches!(signature, 0x28 | 0x29)
        .then(|| format!("{:04X}-{:04X}", serial >> 16, serial & 0xFFFF));
    let label = match root_label(device, &boot, le32(&first, 44), format)? {
        Some(label) => Some(label),
        None if signature == 0x29 => label(&first[extended + 7..extended + 18]),
        None => None,
    };
    Ok(Some(FileSystem {
        block: super::power(boot.cluster * boot.sector),
        ..of(format, label, uuid)
    }))
}

impl Boot {
    fn parse(first: &[u8; 512]) -> Self {
        let or = |short: u16, long: u32| {
            if short == 0 {
                u64::from(long)
            } else {
                u64::from(short)
            }
        };
        Self {
            sector: u64::from(le16(first, 11)),
            cluster: u64::from(first[13]).max(1),
            reserved: u64::from(le16(first, 14)),
            tables: u64::from(first[16]),
            root_entries: u64::from(le16(first, 17)),
            per_table: or(le16(first, 22), le32(first, 36)),
            sectors: or(le16(first, 19), le32(first, 32)),
        }
    }

    /// The first sector of the root directory of FAT12 and FAT16, and of the clusters.
    fn places(&self) -> (u64, u64) {
        let root = self.reserved + self.tables * self.per_table;
        let data = root + (self.root_entries * 32).div_ceil(self.sector.max(1));
        (root, data)
    }

    /// The width depends on the number of clusters alone.
    fn format(&self) -> Format {
        let clusters = self.sectors.saturating_sub(self.places().1) / self.cluster;
        match clusters {
            _ if self.root_entries == 0 => Format::Fat32,
            0..4085 => Format::Fat12,
            4085..65525 => Format::Fat16,
            _ => Format::Fat32,
        }
    }
}

/// Windows changes the label in the root directory only.
fn root_label(
    device: &mut (impl Read + Seek),
    boot: &Boot,
    root: u32,
    format: Format,
) -> io::Result<Option<String>> {
    let (fixed, data) = boot.places();
    let sector = if format == Format::Fat32 {
        data + u64::from(root.saturating_sub(2)) * boot.cluster
    } else {
        fixed
    };
    let Some(entries) = bytes::<LOOKED_AT>(device, sector * boot.sector)? else {
        return Ok(None);
    };
    for entry in entries.chunks_exact(32) {
        match (entry[0], entry[11]) {
            (0, _) => break,
            (0xE5, _) => {}
            // Volume label, and not a piece of a long name (0x0F).
            (_, attributes) if attributes & 0x18 == 0x08 && attributes & 0x3F != 0x0F => {
                return Ok(label(&entry[..11]));
            }
            _ => {}
        }
    }
    Ok(None)
}

/// Letters of the code page of whoever wrote it are nothing that we can write again.
fn label(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?.trim_end();
    let plain = text.is_ascii() && !text.chars().any(char::is_control);
    (plain && !text.is_empty() && text != "NO NAME").then(|| text.to_owned())
}
