//! The GUID partition table (UEFI specification, chapter 5), by the crate `gptman`.
//!
//! Its reader of whole tables trusts the numbers in them and can be made to panic or to
//! ask for all memory, so ours looks at those first and takes the pieces from there.

use std::io::{Read, Seek, SeekFrom, Write};

use gptman::{GPT, GPTHeader, GPTPartitionEntry};

use super::{Geometry, Part, PartitionTable, ReadError, WriteError};
use crate::desc::{Kind, LEGACY_BOOT, MOST_PARTITIONS, Table};
use crate::guid::Guid;

/// How many entries a table may have that we read.
const MOST_ENTRIES: u32 = 1024;

pub(super) fn read(
    disk: &mut (impl Read + Seek),
    geometry: Geometry,
) -> Result<PartitionTable, ReadError> {
    let backup = geometry.sectors.saturating_sub(1);
    match copy(disk, geometry, 1) {
        Ok(table) => Ok(table),
        // What is wrong with the first copy is what people want to know.
        Err(error) => copy(disk, geometry, backup).map_err(|_| error),
    }
}

fn copy(
    disk: &mut (impl Read + Seek),
    geometry: Geometry,
    at: u64,
) -> Result<PartitionTable, ReadError> {
    let size = u64::from(geometry.sector_size);
    disk.seek(SeekFrom::Start(at * size))?;
    let header = GPTHeader::read_from(disk).map_err(|error| broken(&error))?;
    let many = header.number_of_partition_entries > MOST_ENTRIES;
    let entries = u64::from(header.number_of_partition_entries) * 128;
    let inside = header.partition_entry_lba < geometry.sectors
        && header
            .partition_entry_lba
            .saturating_mul(size)
            .saturating_add(entries)
            <= geometry.sectors * size;
    if many || header.size_of_partition_entry != 128 || !inside {
        return Err(ReadError::Broken(format!(
            "its header tells of {} entries of {} bytes at sector {}",
            header.number_of_partition_entries,
            header.size_of_partition_entry,
            header.partition_entry_lba
        )));
    }
    let entries = header
        .read_partitions(disk, size)
        .map_err(|error| broken(&error))?;
    let mut parts = Vec::new();
    for (number, entry) in (1..).zip(&entries).filter(|(_, entry)| entry.is_used()) {
        if entry.starting_lba == 0
            || entry.ending_lba < entry.starting_lba
            || entry.ending_lba >= geometry.sectors
        {
            return Err(ReadError::Broken(format!(
                "partition {number} ends before it begins, or behind the disk"
            )));
        }
        parts.push(part(number, entry));
    }
    Ok(PartitionTable {
        table: Table::Gpt(Some(Guid(header.disk_guid).turned())),
        disk: geometry,
        parts,
    })
}

fn part(number: u32, entry: &GPTPartitionEntry) -> Part {
    let name = entry.partition_name.as_str();
    Part {
        number,
        start: entry.starting_lba,
        sectors: entry.ending_lba - entry.starting_lba + 1,
        kind: Kind::Gpt(Guid(entry.partition_type_guid).turned()),
        ebr: None,
        boot: entry.attribute_bits & LEGACY_BOOT != 0,
        attributes: entry.attribute_bits & !LEGACY_BOOT,
        name: Some(name)
            .filter(|name| !name.is_empty())
            .map(str::to_owned),
        uuid: Some(Guid(entry.unique_partition_guid).turned()),
    }
}

fn broken(error: &gptman::Error) -> ReadError {
    ReadError::Broken(format!("gpt: {error}"))
}

pub(super) fn write(
    table: &PartitionTable,
    id: Option<Guid>,
    disk: &mut (impl Read + Write + Seek),
) -> Result<(), WriteError> {
    let size = u64::from(table.disk.sector_size);
    if table.disk.end(true) <= table.disk.begin(true) {
        return Err(WriteError::Unfit("the disk is too small for a gpt".into()));
    }
    let id = id.unwrap_or_else(Guid::random);
    let mut gpt = GPT::new_from(disk, size, id.turned().0).map_err(failed)?;
    for part in &table.parts {
        let kind = match part.kind {
            Kind::Gpt(guid)
                if (1..=MOST_PARTITIONS as u32).contains(&part.number) && part.sectors > 0 =>
            {
                guid
            }
            _ => {
                return Err(WriteError::Unfit(format!(
                    "partition {} is none of a gpt",
                    part.number
                )));
            }
        };
        let name = part.name.as_deref().unwrap_or("");
        gpt[part.number] = GPTPartitionEntry {
            partition_type_guid: kind.turned().0,
            unique_partition_guid: part.uuid.unwrap_or_else(Guid::random).turned().0,
            starting_lba: part.start,
            ending_lba: part.end() - 1,
            attribute_bits: part.attributes | if part.boot { LEGACY_BOOT } else { 0 },
            partition_name: name.into(),
        };
    }
    gpt.write_into(disk).map_err(failed)?;
    GPT::write_protective_mbr_into(disk, size).map_err(failed)?;
    disk.flush()?;
    Ok(())
}

fn failed(error: gptman::Error) -> WriteError {
    match error {
        gptman::Error::Io(error) => WriteError::Io(error),
        other => WriteError::Unfit(format!("gpt: {other}")),
    }
}
