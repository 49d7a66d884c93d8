//! Writing a desc.

use std::fmt;

use super::options::quoted;
use super::size::print_units;
use super::{Array, Content, Desc, EXTENDED, FileSystem, Group, Kind, Partition, Table, Volume};

impl fmt::Display for Desc {
    /// As a file that is read to the same value again.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.table)?;
        for partition in &self.partitions {
            writeln!(f, "{partition}")?;
        }
        for array in &self.arrays {
            writeln!(f, "{array}")?;
        }
        for group in &self.groups {
            writeln!(f, "{group}")?;
        }
        for volume in &self.volumes {
            writeln!(f, "{volume}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dos(None) => f.write_str("dos"),
            Self::Dos(Some(id)) => write!(f, "dos id={id:#010x}"),
            Self::Gpt(None) => f.write_str("gpt"),
            Self::Gpt(Some(id)) => write!(f, "gpt id={id}"),
        }
    }
}

impl Partition {
    /// The line as old programs read it: `[logical] TYPE SIZE`.
    pub fn words(&self) -> String {
        let logical = if self.logical { "logical " } else { "" };
        format!("{logical}{} {}", self.kind.word(), self.size)
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words())?;
        if let Kind::Extended(byte) = self.kind
            && byte != EXTENDED[0]
        {
            write!(f, " type={byte:x}")?;
        }
        if let Some(number) = self.number {
            write!(f, " number={number}")?;
        }
        for (key, units) in [("start", self.start), ("spare", self.spare)] {
            if let Some(units) = units {
                write!(f, " {key}={}", print_units(units))?;
            }
        }
        if self.boot {
            f.write_str(" boot")?;
        }
        if self.attributes != 0 {
            write!(f, " attributes={:#x}", self.attributes)?;
        }
        option(f, "name", self.name.as_deref())?;
        option(f, "part-uuid", self.part_uuid)?;
        write!(f, "{}", self.content)
    }
}

/// ` key=value`, when there is one.
fn option(f: &mut fmt::Formatter<'_>, key: &str, value: Option<impl fmt::Display>) -> fmt::Result {
    match value {
        Some(value) => write!(f, " {key}={}", quoted(&value.to_string())),
        None => Ok(()),
    }
}

impl fmt::Display for Content {
    /// The options of a line, each with a blank in front of it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsaid => Ok(()),
            Self::Nothing => f.write_str(" fs=none"),
            Self::FileSystem(file_system) => write!(f, "{file_system}"),
            Self::Member { array, slot } => write!(f, " array={array} slot={slot}"),
            Self::Physical { group, uuid } => {
                write!(f, " group={group}")?;
                option(f, "pv", uuid.as_ref())
            }
        }
    }
}

impl fmt::Display for FileSystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, " fs={}", self.format)?;
        option(f, "label", self.label.as_ref())?;
        option(f, "uuid", self.uuid.as_ref())?;
        option(f, "block", self.block)?;
        option(f, "inode", self.inode)?;
        if !self.features.is_empty() {
            write!(f, " features={}", self.features.join(","))?;
        }
        let subvolumes = Some(self.subvolumes.join(","));
        option(
            f,
            "subvolumes",
            subvolumes.filter(|names| !names.is_empty()),
        )?;
        option(f, "mount", self.mount.as_ref())
    }
}

impl fmt::Display for Array {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (device, level, members) = (&self.device, self.level, self.members);
        write!(
            f,
            "array {device} level={level} members={members} metadata={}",
            self.metadata
        )?;
        option(f, "name", self.name.as_ref())?;
        option(f, "id", self.id.as_ref())?;
        option(f, "chunk", self.chunk.map(in_kibibytes))?;
        option(f, "layout", self.layout.as_ref())?;
        write!(f, "{}", self.content)
    }
}

fn in_kibibytes(bytes: u32) -> String {
    format!("{}K", bytes >> 10)
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "group {}", self.name)?;
        option(
            f,
            "extent",
            self.extent.map(|bytes| format!("{}K", bytes >> 10)),
        )
    }
}

impl fmt::Display for Volume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "volume {}/{} {}", self.group, self.name, self.size)?;
        option(f, "stripes", self.stripes)?;
        option(f, "stripe", self.stripe.map(in_kibibytes))?;
        write!(f, "{}", self.content)
    }
}
