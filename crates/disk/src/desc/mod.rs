//! The desc file: the partitions of a disk, one on each line, and what is in them.
//!
//! The grammar of the old programs is read as they read it:
//!
//! ```text
//! line := [ "logical" ] TYPE SIZE
//! TYPE := "linux" | "swap" | "extended" | "type" HEX
//! SIZE := megabytes | "fill"
//! ```
//!
//! What modern machines need follows behind the size as `key=value`, or stands on lines
//! of its own: `gpt`, `array`, `group`, `volume`. docs/guide/desc.md explains each word.

mod check;
mod content;
mod format;
mod kind;
mod options;
mod parse;
mod print;
pub mod size;
#[cfg(test)]
pub(crate) mod tests;
mod upon;

use std::fmt;

pub use format::{FileSystem, Format};
pub use kind::{EXTENDED, Kind};
pub use size::Size;

use crate::guid::Guid;

/// How many partitions a desc may have: those of a GPT.
pub const MOST_PARTITIONS: usize = 128;

/// A whole desc.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Desc {
    /// Which partition table, and its identifier.
    pub table: Table,
    /// In the order of their numbers; logical ones among each other.
    pub partitions: Vec<Partition>,
    /// Software RAID.
    pub arrays: Vec<Array>,
    /// Volume groups of LVM.
    pub groups: Vec<Group>,
    /// Logical volumes of LVM.
    pub volumes: Vec<Volume>,
}

/// A partition table's kind, with its identifier if that is to be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    /// The table of DOS (MBR).
    Dos(Option<u32>),
    /// GPT.
    Gpt(Option<Guid>),
}

impl Table {
    /// Whether it is GPT.
    pub fn is_gpt(self) -> bool {
        matches!(self, Self::Gpt(_))
    }
}

/// The line on which something stands, from 1. It is no part of what is said there: two
/// things that differ in their lines only are equal.
#[derive(Debug, Clone, Copy, Default)]
pub struct Line(pub usize);

impl PartialEq for Line {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Line {}

/// A partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Where it stands.
    pub line: Line,
    /// It lies in the extended one.
    pub logical: bool,
    /// Its type.
    pub kind: Kind,
    /// Its size.
    pub size: Size,
    /// Where it begins, in units of 512 bytes, if not where the one before it ends.
    pub start: Option<u64>,
    /// How much is left free behind a `fill`, in units of 512 bytes, to the end of the
    /// disk or of the extended partition.
    pub spare: Option<u64>,
    /// Its number, if not the next one.
    pub number: Option<u32>,
    /// The boot flag (DOS), or that BIOS may start from it (GPT).
    pub boot: bool,
    /// The other attributes of GPT.
    pub attributes: u64,
    /// The partition's own name in a GPT; never empty.
    pub name: Option<String>,
    /// The partition's own identifier in a GPT.
    pub part_uuid: Option<Guid>,
    /// What is in it.
    pub content: Content,
}

/// `boot` of a GPT: attribute 2, "legacy BIOS bootable" (UEFI specification, 5.3.3).
pub const LEGACY_BOOT: u64 = 1 << 2;

impl Partition {
    /// One of which nothing but type and size is said.
    pub fn plain(kind: Kind, size: Size) -> Self {
        Self {
            line: Line::default(),
            logical: false,
            kind,
            size,
            start: None,
            spare: None,
            number: None,
            boot: false,
            attributes: 0,
            name: None,
            part_uuid: None,
            content: Content::Unsaid,
        }
    }

    /// The file system to be made in it: the one that its line names; for swap and EFI
    /// partitions without one, what these always hold.
    pub fn file_system(&self) -> Option<FileSystem> {
        match &self.content {
            Content::FileSystem(file_system) => Some(file_system.clone()),
            Content::Unsaid if self.kind.is_swap() => Some(FileSystem::plain(Format::Swap)),
            Content::Unsaid if self.kind.is_efi() => Some(FileSystem::plain(Format::Fat32)),
            _ => None,
        }
    }
}

/// What is in a partition, an array or a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// The line does not say.
    Unsaid,
    /// Nothing is to be made (`fs=none`).
    Nothing,
    /// A file system, or swap.
    FileSystem(FileSystem),
    /// It is a part of a RAID.
    Member {
        /// Which, such as `md0`.
        array: String,
        /// Its place there, from 0.
        slot: u32,
    },
    /// It is a part of a volume group.
    Physical {
        /// Which.
        group: String,
        /// The identifier of this part, as LVM writes it.
        uuid: Option<String>,
    },
}

/// A software RAID (md).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Array {
    /// Where it stands.
    pub line: Line,
    /// The name of the device below `/dev`, such as `md0` or `md/root`.
    pub device: String,
    /// 0, 1 or 10.
    pub level: u8,
    /// How many members it has.
    pub members: u32,
    /// `0.90`, `1.0`, `1.1` or `1.2`.
    pub metadata: String,
    /// The name in the super block, often with the host in front of it.
    pub name: Option<String>,
    /// Its identifier, as mdadm writes it: four times 8 digits with colons.
    pub id: Option<String>,
    /// Bytes of a chunk; not for level 1.
    pub chunk: Option<u32>,
    /// `n2`, `f2`, `o2`…; for level 10.
    pub layout: Option<String>,
    /// What is in it.
    pub content: Content,
}

/// A volume group of LVM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Where it stands.
    pub line: Line,
    /// Its name.
    pub name: String,
    /// Bytes of an extent.
    pub extent: Option<u64>,
}

/// A logical volume of LVM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Where it stands.
    pub line: Line,
    /// The group in which it is.
    pub group: String,
    /// Its name.
    pub name: String,
    /// Its size; a share is one of the group.
    pub size: Size,
    /// Over how many parts of the group it is spread, if over several.
    pub stripes: Option<u32>,
    /// Bytes of a stripe.
    pub stripe: Option<u32>,
    /// What is in it.
    pub content: Content,
}

/// A complaint about a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Which line, from 1.
    pub line: usize,
    /// What is wrong, and what to write.
    pub text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.text)
    }
}

/// Everything that is wrong with a desc, in the order of its lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl std::error::Error for Problems {}

/// How many complaints are shown.
const SHOWN: usize = 10;

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.0.iter().take(SHOWN).enumerate() {
            if at > 0 {
                f.write_str("; ")?;
            }
            write!(f, "{problem}")?;
        }
        match self.0.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

impl Desc {
    /// Reads a desc file.
    ///
    /// # Errors
    /// All lines that are wrong, each with what to write.
    pub fn parse(text: &str) -> Result<Self, Problems> {
        parse::parse(text)
    }

    /// What is wrong with it as a whole: too many partitions, logical ones without an
    /// extended one, shares of more than everything…
    ///
    /// # Errors
    /// All of it.
    pub fn check(&self) -> Result<(), Problems> {
        check::check(self)
    }

    /// All file systems that it makes: in partitions, arrays and volumes.
    pub fn file_systems(&self) -> impl Iterator<Item = FileSystem> {
        let in_partitions = self.partitions.iter().filter_map(Partition::file_system);
        let arrays = self.arrays.iter().map(|array| &array.content);
        let volumes = self.volumes.iter().map(|volume| &volume.content);
        let above = arrays.chain(volumes).filter_map(|content| match content {
            Content::FileSystem(file_system) => Some(file_system.clone()),
            _ => None,
        });
        in_partitions.chain(above)
    }

    /// Whether it makes the file system with this identifier.
    pub fn makes(&self, uuid: &str) -> bool {
        let is_it = |one: FileSystem| one.uuid.is_some_and(|own| own.eq_ignore_ascii_case(uuid));
        self.file_systems().any(is_it)
    }

    /// The number of each partition: its own, or the one after the line before; logical
    /// ones count from 5.
    pub fn numbers(&self) -> Vec<u32> {
        let (mut primary, mut logical) = (0u32, 4u32);
        let mut number = |partition: &Partition| {
            let last = if partition.logical {
                &mut logical
            } else {
                &mut primary
            };
            *last = partition.number.unwrap_or_else(|| last.saturating_add(1));
            *last
        };
        self.partitions.iter().map(&mut number).collect()
    }
}
