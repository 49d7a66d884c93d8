//! What is to become of a disk, as it is shown before it is done.

use anyhow::Context;
use goldring_contract::Root;
use goldring_disk::desc::{Array, Content, Desc, FileSystem, Partition, Volume, size::megabytes};
use goldring_disk::identity::Identity;
use goldring_disk::layout::{Layout, layout};
use goldring_disk::table::Part;
use goldring_disk::target::decimal;

use super::Disk;

/// A disk, its desc, and what comes of both.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The disk.
    pub(crate) disk: Disk,
    /// What it is to be.
    pub(crate) desc: Desc,
    /// The partitions, one for one those of the desc.
    pub(crate) layout: Layout,
}

impl Plan {
    /// Lays a desc out on a disk.
    ///
    /// # Errors
    /// It does not fit.
    pub(crate) fn new(disk: Disk, desc: Desc) -> anyhow::Result<Self> {
        let mut layout = layout(&desc, disk.geometry)
            .with_context(|| format!("{} has no room for it", disk.path.display()))?;
        layout.table = layout.table.identified();
        Ok(Self { disk, desc, layout })
    }

    /// The partitions that hold something, with their lines.
    pub(crate) fn parts(&self) -> impl Iterator<Item = (&Part, &Partition)> {
        let pairs = self.layout.table.parts.iter().zip(&self.desc.partitions);
        pairs.filter(|(part, _)| !part.kind.is_extended())
    }

    /// What is lost and what will be, for people.
    pub(crate) fn text(&self) -> String {
        let path = self.disk.path.display();
        let geometry = self.disk.geometry;
        let size = decimal(geometry.sectors * u64::from(geometry.sector_size));
        let mut text = format!(
            "{path}: {size}, sectors of {} bytes\n",
            geometry.sector_size
        );
        text.push_str(&self.lost());
        text.push_str(&self.to_be());
        text
    }

    /// What will be, for people.
    pub(crate) fn to_be(&self) -> String {
        let kind = if self.layout.table.table.is_gpt() {
            "gpt"
        } else {
            "dos"
        };
        let mut text = format!("to be, with a {kind} table:\n");
        let rows = self.layout.table.parts.iter().zip(&self.desc.partitions);
        let rows = rows.map(|(part, line)| self.row(part, will_hold(line)));
        text.push_str(&columns(rows.collect()));
        for array in self.desc.arrays.iter().cloned() {
            let content = shortened(array.content);
            text.push_str(&format!("  {}\n", Array { content, ..array }));
        }
        for volume in self.desc.volumes.iter().cloned() {
            let content = shortened(volume.content);
            text.push_str(&format!("  {}\n", Volume { content, ..volume }));
        }
        for note in &self.layout.notes {
            text.push_str(&format!("note: {note}\n"));
        }
        text
    }

    /// What is there now.
    fn lost(&self) -> String {
        let root = Root::system();
        match self.disk.table(&root) {
            Ok(Some(table)) if table.parts.is_empty() => "lost: an empty partition table\n".into(),
            Ok(Some(table)) => {
                let rows = table
                    .parts
                    .iter()
                    .map(|part| self.row(part, self.holds(&root, part)));
                format!("lost:\n{}", columns(rows.collect()))
            }
            Ok(None) => match self.whole(&root) {
                Some(what) => format!("lost: {what} on the whole disk\n"),
                None => "lost: nothing that is known\n".into(),
            },
            Err(error) => format!("lost: {}\n", crate::fault::chain(&error)),
        }
    }

    fn whole(&self, root: &Root) -> Option<String> {
        let mut file = self.disk.reader(root).ok()?;
        let found = goldring_disk::identity::identify(&mut file).ok()??;
        Some(said(&found))
    }

    fn holds(&self, root: &Root, part: &Part) -> String {
        if part.kind.is_extended() {
            return String::new();
        }
        match self.disk.content(root, part) {
            Ok(Some(found)) => said(&found),
            Ok(None) => "nothing that is known".into(),
            Err(error) => crate::fault::chain(&error),
        }
    }

    fn row(&self, part: &Part, holds: String) -> [String; 6] {
        [
            part.number.to_string(),
            part.start.to_string(),
            part.sectors.to_string(),
            megabytes(self.disk.geometry.units(part.sectors)),
            part.kind.name(),
            holds,
        ]
    }
}

/// What a line of a desc makes of its partition.
fn will_hold(line: &Partition) -> String {
    match (&line.content, line.file_system()) {
        (_, Some(file_system)) => short(&file_system),
        (Content::Member { array, slot }, _) => format!("place {slot} of {array}"),
        (Content::Physical { group, .. }, _) => format!("a part of the volume group {group}"),
        (Content::Unsaid, _) if line.kind.is_extended() => String::new(),
        _ => "nothing is made".into(),
    }
}

fn said(found: &Identity) -> String {
    match found {
        Identity::FileSystem(file_system) | Identity::OneOfSeveral(file_system) => {
            short(file_system)
        }
        Identity::Member(what) => format!("a part of {what}"),
        Identity::Other(what) => what.clone(),
    }
}

fn short(file_system: &FileSystem) -> String {
    let short = bare(file_system.clone()).to_string();
    short.trim_start().replacen("fs=", "", 1)
}

fn shortened(content: Content) -> Content {
    match content {
        Content::FileSystem(file_system) => Content::FileSystem(bare(file_system)),
        other => other,
    }
}

/// Without what only a tool wants to know.
fn bare(file_system: FileSystem) -> FileSystem {
    FileSystem {
        block: None,
        inode: None,
        features: Vec::new(),
        ..file_system
    }
}

/// Rows with their columns below each other; the numbers at the right.
fn columns(mut rows: Vec<[String; 6]>) -> String {
    rows.insert(
        0,
        ["no", "first sector", "sectors", "size", "type", "holds"].map(str::to_owned),
    );
    let width = |column: usize| {
        rows.iter()
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths = [0, 1, 2, 3, 4].map(width);
    let line = |[number, start, sectors, size, kind, holds]: &[String; 6]| {
        let [a, b, c, d, e] = widths;
        let line =
            format!("  {number:>a$}  {start:>b$}  {sectors:>c$}  {size:>d$}  {kind:e$}  {holds}");
        format!("{}\n", line.trim_end())
    };
    rows.iter().map(line).collect()
}
