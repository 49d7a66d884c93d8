//! Partition tables as they lie on a disk: read, and written.

mod dos;
mod gpt;
#[cfg(test)]
mod tests;
mod wipe;

use std::io::{self, Read, Seek, Write};

use crate::desc::{Kind, Table, size::UNIT};
use crate::guid::Guid;

pub use wipe::wipe;

/// How large a disk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    /// How many logical sectors.
    pub sectors: u64,
    /// Bytes of a logical sector: 512 or 4096.
    pub sector_size: u32,
}

impl Geometry {
    /// Of a disk of so many bytes; the rest behind the last whole sector is nobody's.
    pub fn new(bytes: u64, sector_size: u32) -> Self {
        Self {
            sectors: bytes / u64::from(sector_size),
            sector_size,
        }
    }

    /// Sectors of a MiB, to which everything is aligned.
    pub fn mebibyte(self) -> u64 {
        (1 << 20) / u64::from(self.sector_size)
    }

    /// Units of 512 bytes in so many sectors.
    pub fn units(self, sectors: u64) -> u64 {
        sectors * (u64::from(self.sector_size) / UNIT)
    }

    /// The first sector behind those that partitions of this table may have.
    pub fn end(self, gpt: bool) -> u64 {
        if gpt {
            self.sectors.saturating_sub(1 + self.entries())
        } else {
            self.sectors.min(dos::LIMIT)
        }
    }

    /// The first sector that a partition of this table may have.
    pub fn begin(self, gpt: bool) -> u64 {
        if gpt { 2 + self.entries() } else { 1 }
    }

    /// Sectors that 128 entries of a GPT take.
    fn entries(self) -> u64 {
        (128 * 128u64).div_ceil(u64::from(self.sector_size))
    }
}

/// A partition table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionTable {
    /// Which, and its identifier.
    pub table: Table,
    /// The disk.
    pub disk: Geometry,
    /// In the order of their numbers.
    pub parts: Vec<Part>,
}

/// A partition as a table has it; places in sectors of the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its number.
    pub number: u32,
    /// Its first sector.
    pub start: u64,
    /// How many it has.
    pub sectors: u64,
    /// Its type.
    pub kind: Kind,
    /// For a logical one: the sector of its own table (EBR).
    pub ebr: Option<u64>,
    /// The boot flag (DOS), or that BIOS may start from it (GPT).
    pub boot: bool,
    /// The other attributes of GPT.
    pub attributes: u64,
    /// Its name in a GPT.
    pub name: Option<String>,
    /// Its identifier in a GPT.
    pub uuid: Option<Guid>,
}

impl Part {
    /// The first sector behind it.
    pub fn end(&self) -> u64 {
        self.start + self.sectors
    }

    /// Whether it lies in the extended one.
    pub fn is_logical(&self) -> bool {
        self.ebr.is_some()
    }
}

/// Why a table is not read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Reading failed.
    #[error("reading the partition table")]
    Io(#[from] io::Error),
    /// There is one, and it makes no sense.
    #[error("the partition table is broken: {0}; look at it with sfdisk --verify")]
    Broken(String),
}

/// Why a table is not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Writing failed.
    #[error("writing the partition table")]
    Io(#[from] io::Error),
    /// It cannot be expressed.
    #[error("the partition table cannot be written: {0}")]
    Unfit(String),
}

impl PartitionTable {
    /// Reads the table of a disk. `None`: it has none, which goes also for a disk that is
    /// one file system as a whole.
    ///
    /// # Errors
    /// A table that is cut, loops, or lies outside of the disk.
    pub fn read(
        disk: &mut (impl Read + Seek),
        geometry: Geometry,
    ) -> Result<Option<Self>, ReadError> {
        match dos::read(disk, geometry)? {
            dos::Found::None => Ok(None),
            dos::Found::Dos(table) => Ok(Some(table)),
            dos::Found::Protective => gpt::read(disk, geometry).map(Some),
        }
    }

    /// Writes the table, its last and least important parts first: a disk that is half
    /// written has none. What was there is not wiped here: see [`wipe`].
    ///
    /// # Errors
    /// What writing says, or a table that does not fit into its own format.
    pub fn write(&self, disk: &mut (impl Read + Write + Seek)) -> Result<(), WriteError> {
        match self.table {
            Table::Dos(id) => dos::write(self, id.unwrap_or(0), disk),
            Table::Gpt(id) => gpt::write(self, id, disk),
        }
    }

    /// With new identifiers where it has none.
    #[must_use]
    pub fn identified(mut self) -> Self {
        match &mut self.table {
            Table::Dos(id) => {
                // 0 stands for none.
                id.get_or_insert_with(|| goldring_sys::random::number() | 1);
            }
            Table::Gpt(id) => {
                id.get_or_insert_with(Guid::random);
                for part in &mut self.parts {
                    part.uuid.get_or_insert_with(Guid::random);
                }
            }
        }
        self
    }
}
