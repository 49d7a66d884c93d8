//! From a desc to the partitions of a disk of a certain size: nothing is read or written
//! here, so a plan can be looked at, and refused, before anything is destroyed.

mod level;
#[cfg(test)]
mod tests;

use crate::desc::{Desc, Line, Partition, Problem, Problems, Size, size::megabytes};
use crate::table::{Geometry, Part, PartitionTable};
use level::{Item, Level, Misfit, Place};

/// What becomes of a desc on a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The table. Its parts are the partitions of the desc, one for one.
    pub table: PartitionTable,
    /// Sentences about what is not as somebody might expect.
    pub notes: Vec<String>,
}

/// Why a desc does not fit on a disk.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// Lines that do not fit.
    #[error(transparent)]
    Lines(#[from] Problems),
    /// The disk is of no use.
    #[error("{0}")]
    Disk(String),
}

/// The smallest disk that is of use: a MiB in front, one behind, and one for data.
const LEAST_MEBIBYTES: u64 = 3;

/// Computes the partitions. They begin at whole MiB, unless `start=` says otherwise.
///
/// # Errors
/// Which line does not fit and by how much.
pub fn layout(desc: &Desc, disk: Geometry) -> Result<Layout, LayoutError> {
    desc.check()?;
    if !matches!(disk.sector_size, 512 | 4096) {
        return Err(LayoutError::Disk(format!(
            "sectors of {} bytes are not known; they have 512 or 4096",
            disk.sector_size
        )));
    }
    if disk.sectors < LEAST_MEBIBYTES * disk.mebibyte() {
        let size = megabytes(disk.units(disk.sectors));
        return Err(LayoutError::Disk(format!(
            "the disk has {size}; partitions need {LEAST_MEBIBYTES} MB and more"
        )));
    }
    let mut plan = Plan {
        desc,
        disk,
        places: vec![Place::default(); desc.partitions.len()],
        notes: Vec::new(),
    };
    plan.primary()?;
    plan.logical()?;
    plan.overlaps()?;
    plan.limit();
    let table = plan.table();
    let notes = plan.notes;
    Ok(Layout { table, notes })
}

struct Plan<'a> {
    desc: &'a Desc,
    disk: Geometry,
    places: Vec<Place>,
    notes: Vec<String>,
}

impl Plan<'_> {
    fn gpt(&self) -> bool {
        self.desc.table.is_gpt()
    }

    /// The partitions of a level with their places in the desc.
    fn of_level(&self, logical: bool) -> impl Iterator<Item = (usize, &Partition)> {
        let all = self.desc.partitions.iter().enumerate();
        all.filter(move |(_, partition)| partition.logical == logical)
    }

    fn items(&self, logical: bool) -> Result<Vec<Item>, Problems> {
        let item = |(index, partition)| self.item(index, partition);
        self.of_level(logical).map(item).collect()
    }

    fn item(&self, index: usize, partition: &Partition) -> Result<Item, Problems> {
        let per_sector = self.disk.units(1);
        let whole = |units: Option<u64>| match units {
            Some(units) if !units.is_multiple_of(per_sector) => Err(problem(
                partition.line,
                format!(
                    "start={units}s is inside of a sector of {} bytes; write a multiple of {per_sector}",
                    self.disk.sector_size
                ),
            )),
            units => Ok(units.map(|units| units / per_sector)),
        };
        let size = match partition.size {
            Size::Units(units) => Size::Units(units.div_ceil(per_sector)),
            other => other,
        };
        Ok(Item {
            index,
            size,
            start: whole(partition.start)?,
            spare: partition.spare.map(|units| units.div_ceil(per_sector)),
        })
    }

    fn primary(&mut self) -> Result<(), Problems> {
        let mut items = self.items(false)?;
        let widened = self.widen(&mut items);
        let level = Level {
            begin: self.disk.begin(self.gpt()),
            first: self.disk.mebibyte(),
            end: self.disk.end(self.gpt()),
            whole: self.disk.sectors,
            head: 0,
            mebibyte: self.disk.mebibyte(),
        };
        let places = level.place(&items);
        let places = places.map_err(|misfit| self.misfit(&misfit, false, widened))?;
        for (item, place) in items.iter().zip(places) {
            self.places[item.index] = place;
        }
        if let Some((index, from, to)) = widened {
            let line = self.desc.partitions[index].line.0;
            self.notes.push(format!(
                "line {line}: the extended partition gets {} instead of {}, for each logical one needs 1 MB for its own table",
                self.size(to), self.size(from)
            ));
        }
        Ok(())
    }

    /// Makes a sized extended partition larger when it has no room for the tables of its
    /// logical ones, which old programs did not count. Gives which, and both sizes.
    fn widen(&self, items: &mut [Item]) -> Option<(usize, u64, u64)> {
        let mebibyte = self.disk.mebibyte();
        let (mut needed, mut gaps) = (0u64, 0u64);
        for item in self.items(true).ok()? {
            let Size::Units(sectors) = item.size else {
                continue;
            };
            if item.start.is_some() {
                return None;
            }
            needed = needed.saturating_add(mebibyte + sectors.next_multiple_of(mebibyte));
            gaps += mebibyte;
        }
        let extended = |item: &&mut Item| self.desc.partitions[item.index].kind.is_extended();
        let item = items.iter_mut().find(extended)?;
        let Size::Units(sectors) = item.size else {
            return None;
        };
        if needed <= sectors || needed - sectors > gaps || item.start.is_some() {
            return None;
        }
        item.size = Size::Units(needed);
        Some((item.index, sectors, needed))
    }

    fn logical(&mut self) -> Result<(), Problems> {
        let items = self.items(true)?;
        let extended = self
            .desc
            .partitions
            .iter()
            .position(|p| p.kind.is_extended());
        let (false, Some(extended)) = (items.is_empty(), extended) else {
            return Ok(());
        };
        let Place { start, sectors, .. } = self.places[extended];
        let level = Level {
            begin: start + 1,
            first: start,
            end: start + sectors,
            whole: start + sectors,
            head: self.disk.mebibyte(),
            mebibyte: self.disk.mebibyte(),
        };
        let places = level.place(&items);
        let places = places.map_err(|misfit| self.misfit(&misfit, true, None))?;
        for (item, place) in items.iter().zip(places) {
            self.places[item.index] = place;
        }
        self.tables_of_logical(&items, start)
    }

    /// The sectors for the tables of logical partitions: that of the first is the first
    /// of the extended one, the others lie in front of theirs.
    fn tables_of_logical(&mut self, items: &[Item], begin: u64) -> Result<(), Problems> {
        for (at, item) in items.iter().enumerate() {
            let Place { start, .. } = self.places[item.index];
            // A MiB in front as written today, 63 sectors as by old programs, or just there.
            let places = [self.disk.mebibyte(), 63, 1].map(|gap| start.checked_sub(gap));
            let free = |sector: &u64| {
                *sector > begin
                    && items.iter().all(|other| {
                        let place = &self.places[other.index];
                        place.ebr != Some(*sector)
                            && !(place.start..place.start + place.sectors).contains(sector)
                    })
            };
            let found = if at == 0 {
                Some(begin)
            } else {
                places.into_iter().flatten().find(free)
            };
            let line = self.desc.partitions[item.index].line;
            let ebr = found.ok_or_else(|| {
                problem(
                    line,
                    "there is no sector free in front of it for its table; write another start="
                        .into(),
                )
            })?;
            self.places[item.index].ebr = Some(ebr);
        }
        Ok(())
    }

    /// Those with a `start=` may lie upon others.
    fn overlaps(&self) -> Result<(), Problems> {
        for logical in [false, true] {
            let mut level: Vec<(usize, Line)> =
                self.of_level(logical).map(|(at, p)| (at, p.line)).collect();
            level.sort_by_key(|(at, _)| self.places[*at].start);
            for pair in level.windows(2) {
                let [before, behind] = [pair[0].0, pair[1].0].map(|at| &self.places[at]);
                let end = before.start + before.sectors;
                if end > behind.start {
                    return Err(problem(
                        pair[1].1,
                        format!(
                            "it begins inside of that of line {}, {} before its end; leave out start= or write another",
                            pair[0].1.0,
                            self.size(end - behind.start)
                        ),
                    ));
                }
            }
        }
        Ok(())
    }

    /// Tells what a table of DOS cannot reach.
    fn limit(&mut self) {
        let unreachable = self.disk.sectors - self.disk.end(false);
        if !self.gpt() && unreachable > 0 {
            let [end, rest] = [self.disk.end(false), unreachable].map(|sectors| self.size(sectors));
            self.notes.push(format!(
                "a dos table ends after {end}, so {rest} of this disk stay unused; write gpt on the first line to use them"
            ));
        }
    }

    fn size(&self, sectors: u64) -> String {
        megabytes(self.disk.units(sectors))
    }

    fn misfit(
        &self,
        misfit: &Misfit,
        logical: bool,
        widened: Option<(usize, u64, u64)>,
    ) -> Problems {
        let (index, text) = match *misfit {
            Misfit::Small {
                index,
                wanted,
                left,
            } => {
                let [wanted_mb, left_mb, missing] =
                    [wanted, left, wanted - left].map(|n| self.size(n));
                (
                    index,
                    format!(
                        "{} does not fit: {wanted_mb} are wanted and {left_mb} are left, {missing} too few{}",
                        self.desc.partitions[index].words(),
                        self.advice(index, logical, widened)
                    ),
                )
            }
            Misfit::Nothing {
                index,
                behind,
                left,
            } => {
                let [behind_mb, left_mb, missing] = [
                    behind,
                    left,
                    (behind + self.disk.mebibyte()).saturating_sub(left),
                ]
                .map(|n| self.size(n));
                (
                    index,
                    format!(
                        "nothing is left for {}: the lines below need {behind_mb} and {left_mb} are there, {missing} too few; write smaller sizes",
                        self.desc.partitions[index].words()
                    ),
                )
            }
            Misfit::Outside { index } => (
                index,
                "its start= lies where the partition table is, or outside; leave out start=".into(),
            ),
        };
        problem(self.desc.partitions[index].line, text)
    }

    fn advice(
        &self,
        index: usize,
        logical: bool,
        widened: Option<(usize, u64, u64)>,
    ) -> &'static str {
        let limited = !self.gpt() && self.disk.sectors > self.disk.end(false);
        if widened.is_some_and(|(extended, ..)| extended == index) {
            " (with 1 MB for the table of each logical one); write \"extended fill\", and fill for the last logical one"
        } else if logical {
            " in the extended one; write \"extended fill\" above and fill for the last logical one, or smaller sizes"
        } else if limited {
            " in a dos table, which ends at 2^32 sectors; write gpt on the first line, or a smaller size"
        } else {
            "; write a smaller size or fill, or take a larger disk"
        }
    }

    fn table(&self) -> PartitionTable {
        let numbers = self.desc.numbers();
        let parts = self.desc.partitions.iter().zip(&self.places).zip(numbers);
        let part = |((partition, place), number): ((&Partition, &Place), u32)| Part {
            number,
            start: place.start,
            sectors: place.sectors,
            kind: partition.kind,
            ebr: place.ebr,
            boot: partition.boot,
            attributes: partition.attributes,
            name: partition.name.clone(),
            uuid: partition.part_uuid,
        };
        PartitionTable {
            table: self.desc.table,
            disk: self.disk,
            parts: parts.map(part).collect(),
        }
    }
}

fn problem(line: Line, text: String) -> Problems {
    let line = line.0;
    Problems(vec![Problem { line, text }])
}
