//! The partition table of DOS: four entries in the first sector, and for the logical
//! partitions a chain of tables with two entries each (EBR): the partition, and the next
//! table.
//!
//! Layout: Microsoft, "Master Boot Record"; how Linux reads it, `block/partitions/msdos.c`.

use std::collections::HashSet;
use std::io::{self, Read, Seek, SeekFrom, Write};

use super::{Geometry, Part, PartitionTable, ReadError, WriteError};
use crate::desc::{EXTENDED, Kind, Table};
use crate::probe;

/// Places and sizes have 32 bits, so this is the first sector out of reach.
pub(super) const LIMIT: u64 = u32::MAX as u64;
/// The type that says: the real table is a GPT.
const PROTECTIVE: u8 = 0xEE;
/// How many logical partitions are followed.
const MOST_LOGICAL: u32 = 128;

const ID: usize = 440;
const ENTRIES: usize = 446;
const ENTRY: usize = 16;
const SIGNATURE: [u8; 2] = [0x55, 0xAA];

type Sector = [u8; 512];

/// An entry; its place is relative to something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Entry {
    boot: bool,
    kind: u8,
    start: u32,
    sectors: u32,
}

impl Entry {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let number = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        matches!(bytes[0], 0 | 0x80).then(|| Self {
            boot: bytes[0] == 0x80,
            kind: bytes[4],
            start: number(8),
            sectors: number(12),
        })
    }

    /// `base`: the sector from which its place counts.
    fn emit(self, base: u64) -> [u8; ENTRY] {
        let mut bytes = [0; ENTRY];
        if self.is_unused() {
            return bytes;
        }
        let first = base + u64::from(self.start);
        bytes[0] = if self.boot { 0x80 } else { 0 };
        bytes[1..4].copy_from_slice(&cylinder(first));
        bytes[4] = self.kind;
        bytes[5..8].copy_from_slice(&cylinder(first + u64::from(self.sectors) - 1));
        bytes[8..12].copy_from_slice(&self.start.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.sectors.to_le_bytes());
        bytes
    }

    fn is_unused(self) -> bool {
        self.kind == 0 || self.sectors == 0
    }

    fn is_extended(self) -> bool {
        EXTENDED.contains(&self.kind)
    }
}

/// A sector as head, sector and cylinder of a disk with 255 heads and 63 sectors, as
/// every BIOS counts; what lies behind cylinder 1023 is its last sector.
fn cylinder(sector: u64) -> [u8; 3] {
    let (track, in_track) = (sector / 63, sector % 63 + 1);
    let (cylinder, head) = (track / 255, track % 255);
    match u16::try_from(cylinder) {
        Ok(cylinder @ 0..=1023) => {
            let [low, high] = cylinder.to_le_bytes();
            [head as u8, in_track as u8 | high << 6, low]
        }
        _ => [254, 0xFF, 0xFF],
    }
}

/// What the first sector says.
pub(super) enum Found {
    None,
    Dos(PartitionTable),
    /// The real table is a GPT.
    Protective,
}

pub(super) fn read(disk: &mut (impl Read + Seek), geometry: Geometry) -> Result<Found, ReadError> {
    let Some(sector) = sector(disk, geometry, 0)? else {
        return Ok(Found::None);
    };
    let Some(entries) = entries(&sector).filter(|entries| is_table(&sector, entries)) else {
        return Ok(Found::None);
    };
    if entries
        .iter()
        .any(|entry| entry.kind == PROTECTIVE && !entry.is_unused())
    {
        return Ok(Found::Protective);
    }
    let mut parts = Vec::new();
    let mut chain = None;
    for (number, entry) in (1..).zip(entries).filter(|(_, entry)| !entry.is_unused()) {
        let part = part(number, entry, 0, None);
        if part.end() > geometry.sectors {
            return Err(ReadError::Broken(format!(
                "partition {number} ends {} sectors behind the disk",
                part.end() - geometry.sectors
            )));
        }
        if part.kind.is_extended() {
            if chain.is_some() {
                return Err(ReadError::Broken("it has two extended partitions".into()));
            }
            chain = Some((part.start, part.end()));
        }
        parts.push(part);
    }
    if let Some(extended) = chain {
        logical(disk, geometry, extended, &mut parts)?;
    }
    let id = u32::from_le_bytes([sector[ID], sector[ID + 1], sector[ID + 2], sector[ID + 3]]);
    Ok(Found::Dos(PartitionTable {
        table: Table::Dos(Some(id)),
        disk: geometry,
        parts,
    }))
}

/// A file system that fills a whole disk has the same signature.
fn is_table(sector: &Sector, entries: &[Entry; 4]) -> bool {
    let file_system = probe::is_fat(sector) || &sector[3..7] == b"NTFS";
    !file_system || entries.iter().any(|entry| !entry.is_unused())
}

fn entries(sector: &Sector) -> Option<[Entry; 4]> {
    let mut entries = [Entry::default(); 4];
    for (entry, bytes) in entries
        .iter_mut()
        .zip(sector[ENTRIES..].chunks_exact(ENTRY))
    {
        *entry = Entry::parse(bytes)?;
    }
    (sector[510..] == SIGNATURE).then_some(entries)
}

fn part(number: u32, entry: Entry, base: u64, ebr: Option<u64>) -> Part {
    let kind = if entry.is_extended() {
        Kind::Extended(entry.kind)
    } else {
        Kind::Dos(entry.kind)
    };
    Part {
        number,
        start: base + u64::from(entry.start),
        sectors: u64::from(entry.sectors),
        kind,
        ebr,
        boot: entry.boot,
        attributes: 0,
        name: None,
        uuid: None,
    }
}

/// Follows the chain of an extended partition.
fn logical(
    disk: &mut (impl Read + Seek),
    geometry: Geometry,
    (begin, end): (u64, u64),
    parts: &mut Vec<Part>,
) -> Result<(), ReadError> {
    let mut ebr = begin;
    let mut seen = HashSet::new();
    let mut number = 5;
    loop {
        if !seen.insert(ebr) || number > MOST_LOGICAL {
            return Err(ReadError::Broken(format!(
                "the chain of logical partitions never ends, at sector {ebr}"
            )));
        }
        let broken = move |what: &str| {
            ReadError::Broken(format!(
                "logical partition {number}: {what} (table in sector {ebr})"
            ))
        };
        let found = sector(disk, geometry, ebr)?.and_then(|sector| entries(&sector));
        let Some(entries) = found else {
            // A new extended partition may have none yet.
            return if ebr == begin {
                Ok(())
            } else {
                Err(broken("it has no table"))
            };
        };
        let mut used = entries.into_iter().filter(|entry| !entry.is_unused());
        let (mut data, mut link) = (None, None);
        for entry in used.by_ref() {
            let place = if entry.is_extended() {
                &mut link
            } else {
                &mut data
            };
            place.get_or_insert(entry);
        }
        if let Some(entry) = data {
            let part = part(number, entry, ebr, Some(ebr));
            if part.end() > end {
                return Err(broken("it ends behind the extended one"));
            }
            parts.push(part);
            number += 1;
        }
        let Some(link) = link else {
            return Ok(());
        };
        let next = begin + u64::from(link.start);
        if next >= end {
            return Err(broken("the next table lies behind the extended one"));
        }
        ebr = next;
    }
}

/// The first 512 bytes of a sector, if there is one.
fn sector(
    disk: &mut (impl Read + Seek),
    geometry: Geometry,
    at: u64,
) -> io::Result<Option<Sector>> {
    let mut sector = [0; 512];
    disk.seek(SeekFrom::Start(at * u64::from(geometry.sector_size)))?;
    match disk.read_exact(&mut sector) {
        Ok(()) => Ok(Some(sector)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes the tables of logical partitions from the last to the first, then the entries
/// of the first sector. The boot code in front of them stays.
pub(super) fn write(
    table: &PartitionTable,
    id: u32,
    disk: &mut (impl Read + Write + Seek),
) -> Result<(), WriteError> {
    let size = u64::from(table.disk.sector_size);
    for (ebr, entries) in chain(table)?.into_iter().rev() {
        let mut sector = vec![0; table.disk.sector_size as usize];
        put(&mut sector, &entries);
        disk.seek(SeekFrom::Start(ebr * size))?;
        disk.write_all(&sector)?;
    }
    let mut entries = [[0; ENTRY]; 4];
    for part in table.parts.iter().filter(|part| !part.is_logical()) {
        let entry = entry(part, 0)?;
        let slot = (part.number as usize)
            .checked_sub(1)
            .and_then(|at| entries.get_mut(at));
        *slot.ok_or_else(|| unfit(part, "has no entry among four"))? = entry.emit(0);
    }
    let mut first = [0; 512];
    disk.seek(SeekFrom::Start(0))?;
    disk.read_exact(&mut first)?;
    first[ID..ID + 4].copy_from_slice(&id.to_le_bytes());
    first[ID + 4..ENTRIES].fill(0);
    put(&mut first, &entries);
    disk.seek(SeekFrom::Start(0))?;
    disk.write_all(&first)?;
    disk.flush()?;
    Ok(())
}

fn put(sector: &mut [u8], entries: &[[u8; ENTRY]]) {
    sector[ENTRIES..510].fill(0);
    for (at, entry) in entries.iter().enumerate() {
        let at = ENTRIES + at * ENTRY;
        sector[at..at + ENTRY].copy_from_slice(entry);
    }
    sector[510..512].copy_from_slice(&SIGNATURE);
}

/// The sector of the table of a logical partition, and its entries: the partition, and the
/// next table.
type Ebr = (u64, [[u8; ENTRY]; 2]);

/// The tables of the logical partitions.
fn chain(table: &PartitionTable) -> Result<Vec<Ebr>, WriteError> {
    let logical: Vec<(u64, &Part)> = table
        .parts
        .iter()
        .filter_map(|part| Some((part.ebr?, part)))
        .collect();
    let Some(extended) = table.parts.iter().find(|part| part.kind.is_extended()) else {
        return match logical.first() {
            Some((_, part)) => Err(unfit(part, "is logical, and there is no extended one")),
            None => Ok(Vec::new()),
        };
    };
    let begin = extended.start;
    let link = |at: usize| -> Result<[u8; ENTRY], WriteError> {
        match logical.get(at) {
            None => Ok([0; ENTRY]),
            Some((ebr, part)) => {
                let [start, sectors] =
                    [ebr.checked_sub(begin), part.end().checked_sub(*ebr)].map(narrow);
                let (start, sectors) = start
                    .zip(sectors)
                    .ok_or_else(|| unfit(part, "lies in front of its table"))?;
                let kind = EXTENDED[0];
                Ok(Entry {
                    boot: false,
                    kind,
                    start,
                    sectors,
                }
                .emit(begin))
            }
        }
    };
    let mut chain = Vec::new();
    // The first table is where the extended partition begins, even when it has nothing
    // but the way to the next.
    if logical.first().is_none_or(|(ebr, _)| *ebr != begin) {
        chain.push((begin, [[0; ENTRY], link(0)?]));
    }
    for (at, (ebr, part)) in logical.iter().enumerate() {
        chain.push((*ebr, [entry(part, *ebr)?.emit(*ebr), link(at + 1)?]));
    }
    Ok(chain)
}

fn narrow(number: Option<u64>) -> Option<u32> {
    number.and_then(|number| u32::try_from(number).ok())
}

fn entry(part: &Part, base: u64) -> Result<Entry, WriteError> {
    let kind = match part.kind {
        Kind::Dos(byte) | Kind::Extended(byte) => byte,
        Kind::Gpt(_) => return Err(unfit(part, "has a type of gpt")),
    };
    let start = narrow(part.start.checked_sub(base));
    let (start, sectors) = start
        .zip(narrow(Some(part.sectors)))
        .ok_or_else(|| unfit(part, "lies behind 2^32 sectors"))?;
    let boot = part.boot;
    Ok(Entry {
        boot,
        kind,
        start,
        sectors,
    })
}

fn unfit(part: &Part, what: &str) -> WriteError {
    WriteError::Unfit(format!("partition {} {what}", part.number))
}
