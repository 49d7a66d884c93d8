//! From the partitions of a disk to a desc: one that gives the same table on the same
//! disk, and a working one on a larger disk.

use crate::desc::{Content, Desc, EXTENDED, Kind, Partition, Size, Table};
use crate::layout::layout;
use crate::table::{Part, PartitionTable};

/// Why there is no desc for a table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DescribeError {
    /// The table is one that we would not make.
    #[error(
        "this partition table cannot be said in a desc: {0}; repair it with sfdisk or sgdisk first"
    )]
    Odd(String),
    /// A type that GPT does not have.
    #[error("partition {number} is of type {kind}, for which gpt has none; leave out --gpt")]
    NoCounterpart {
        /// Its number.
        number: u32,
        /// Its type.
        kind: String,
    },
    /// The old grammar has no words for it.
    #[error("the old grammar cannot say {0}; leave out --old")]
    NotOld(&'static str),
}

/// The desc of a table; `contents` has what is in each of its parts.
///
/// # Errors
/// A table that cannot be laid out again: partitions upon each other, outside of the
/// disk, out of order.
pub fn describe(table: &PartitionTable, contents: &[Content]) -> Result<Desc, DescribeError> {
    let mut parts: Vec<(&Part, &Content)> = table.parts.iter().zip(contents).collect();
    parts.sort_by_key(|(part, _)| part.number);
    let mut desc = Desc {
        table: table.table,
        partitions: parts
            .iter()
            .map(|(part, content)| partition(table, part, content))
            .collect(),
        arrays: Vec::new(),
        groups: Vec::new(),
        volumes: Vec::new(),
    };
    if let Table::Dos(Some(0)) = desc.table {
        desc.table = Table::Dos(None);
    }
    let wanted = Wanted {
        parts: parts
            .iter()
            .map(|(part, _)| (part.number, part.start, part.sectors))
            .collect(),
        table,
    };
    wanted.without_needless_numbers(&mut desc);
    wanted.check(&desc)?;
    wanted.without_needless_places(&mut desc);
    for logical in [false, true] {
        wanted.filled(&mut desc, logical);
    }
    Ok(desc)
}

fn partition(table: &PartitionTable, part: &Part, content: &Content) -> Partition {
    let units = |sectors| table.disk.units(sectors);
    Partition {
        logical: part.is_logical(),
        start: Some(units(part.start)),
        number: (!part.is_logical()).then_some(part.number),
        boot: part.boot,
        attributes: part.attributes,
        name: part.name.clone(),
        part_uuid: part.uuid.filter(|uuid| !uuid.is_nil()),
        content: if part.kind.is_extended() {
            Content::Unsaid
        } else {
            content.clone()
        },
        ..Partition::plain(part.kind, Size::Units(units(part.sectors)))
    }
}

/// What a layout must come to.
struct Wanted<'a> {
    table: &'a PartitionTable,
    parts: Vec<(u32, u64, u64)>,
}

impl Wanted<'_> {
    fn check(&self, desc: &Desc) -> Result<(), DescribeError> {
        let laid =
            layout(desc, self.table.disk).map_err(|error| DescribeError::Odd(error.to_string()))?;
        let parts = laid.table.parts.iter();
        if parts
            .map(|part| (part.number, part.start, part.sectors))
            .eq(self.parts.iter().copied())
        {
            Ok(())
        } else {
            Err(DescribeError::Odd(
                "its numbers do not follow each other".into(),
            ))
        }
    }

    fn is(&self, desc: &Desc) -> bool {
        self.check(desc).is_ok()
    }

    fn without_needless_numbers(&self, desc: &mut Desc) {
        let mut last = 0;
        for partition in &mut desc.partitions {
            if let Some(number) = partition.number {
                if number == last + 1 {
                    partition.number = None;
                }
                last = number;
            }
        }
    }

    /// A place is said only where the layout would not come to it by itself.
    fn without_needless_places(&self, desc: &mut Desc) {
        for at in 0..desc.partitions.len() {
            let place = desc.partitions[at].start.take();
            if !self.is(desc) {
                desc.partitions[at].start = place;
            }
        }
    }

    /// The last partition that may grow gets the rest of the disk, if it has it here.
    fn filled(&self, desc: &mut Desc, logical: bool) {
        let level = (0..desc.partitions.len()).filter(|at| desc.partitions[*at].logical == logical);
        let mut level: Vec<usize> = level.collect();
        level.sort_by_key(|at| std::cmp::Reverse(self.parts[*at].1));
        let Some(at) = level
            .iter()
            .copied()
            .find(|at| grows(desc.partitions[*at].kind))
        else {
            return;
        };
        let size = std::mem::replace(&mut desc.partitions[at].size, Size::Fill);
        if self.is(desc) {
            return;
        }
        let end = self.parts[at].1 + self.parts[at].2;
        let spare = self.whole(desc, logical).saturating_sub(end);
        // What is left on purpose, perhaps for flash to level itself, stays left.
        if spare < 2 * self.table.disk.mebibyte() && level.first() == Some(&at) {
            desc.partitions[at].spare = Some(self.table.disk.units(spare));
            if self.is(desc) {
                return;
            }
            desc.partitions[at].spare = None;
        }
        desc.partitions[at].size = size;
    }

    /// The end of the disk, or of the extended partition.
    fn whole(&self, desc: &Desc, logical: bool) -> u64 {
        let extended = desc.partitions.iter().position(|p| p.kind.is_extended());
        match extended.filter(|_| logical) {
            Some(at) => self.parts[at].1 + self.parts[at].2,
            None => self.table.disk.sectors,
        }
    }
}

/// Whether more room is of use to it.
fn grows(kind: Kind) -> bool {
    let fixed = ["bios", "msr", "recovery", "type27", "type12"];
    !kind.is_swap() && !kind.is_efi() && !fixed.contains(&kind.word().as_str())
}

/// The same partitions in a GPT: logical ones are plain ones there, so numbers change.
///
/// # Errors
/// A type that GPT does not have.
pub fn to_gpt(desc: &Desc) -> Result<Desc, DescribeError> {
    if desc.table.is_gpt() {
        return Ok(desc.clone());
    }
    let mut gpt = Desc {
        table: Table::Gpt(None),
        partitions: Vec::new(),
        ..desc.clone()
    };
    let fills =
        |partition: &Partition| partition.size == Size::Fill && !partition.kind.is_extended();
    let mut filled = desc.partitions.iter().any(fills);
    for (partition, number) in desc.partitions.iter().zip(desc.numbers()) {
        if partition.kind.is_extended() {
            continue;
        }
        let kind = partition
            .kind
            .in_gpt()
            .ok_or_else(|| DescribeError::NoCounterpart {
                number,
                kind: partition.kind.word(),
            })?;
        gpt.partitions.push(Partition {
            kind,
            logical: false,
            start: None,
            spare: None,
            number: None,
            boot: false,
            ..partition.clone()
        });
    }
    // The table takes a MiB at the end, which the last of them must give.
    if !filled && let Some(last) = gpt.partitions.iter_mut().rfind(|p| grows(p.kind)) {
        last.size = Size::Fill;
        filled = true;
    }
    // Two fills, of the disk and of the extended partition, are one too many.
    let all = gpt
        .partitions
        .iter_mut()
        .filter(|p| filled && p.size == Size::Fill);
    let many: Vec<&mut Partition> = all.collect();
    if many.len() > 1 {
        return Err(DescribeError::Odd(
            "it has two partitions that fill the rest".into(),
        ));
    }
    Ok(gpt)
}

/// The desc in the words that programs before goldring read, with what these cannot say
/// in comments. The extended partition and the last logical one fill the rest, where they
/// have it: sizes in whole megabytes, and tables of logical partitions that old programs
/// did not count, would not fit.
///
/// # Errors
/// GPT, which the old grammar has no words for.
pub fn to_old(desc: &Desc) -> Result<String, DescribeError> {
    if desc.table.is_gpt() {
        return Err(DescribeError::NotOld("gpt"));
    }
    let mut text = String::new();
    let mut next = 1;
    for (partition, number) in desc.partitions.iter().zip(desc.numbers()) {
        if !partition.logical {
            if number != next {
                return Err(DescribeError::NotOld("a gap in the numbers of partitions"));
            }
            next += 1;
        }
        let kind = if partition.kind.is_extended() {
            Kind::Extended(EXTENDED[0])
        } else {
            partition.kind
        };
        let mut old = Partition::plain(kind, partition.size);
        old.logical = partition.logical;
        if let Size::Units(units) = partition.size {
            old.size = Size::Units((units / 2048).max(1) * 2048);
        }
        if old.to_string() != partition.to_string() {
            text.push_str(&format!("# {number}: {partition}\n"));
        }
        text.push_str(&format!("{}\n", old.words()));
    }
    let arrays = desc.arrays.iter().map(ToString::to_string);
    let groups = desc.groups.iter().map(ToString::to_string);
    let volumes = desc.volumes.iter().map(ToString::to_string);
    for line in arrays.chain(groups).chain(volumes) {
        text.push_str(&format!("# {line}\n"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::desc::tests::descs;
    use crate::table::Geometry;

    fn described(text: &str, megabytes: u64, sector_size: u32) -> String {
        let disk = Geometry::new(megabytes << 20, sector_size);
        let table = layout(&Desc::parse(text).unwrap(), disk).unwrap().table;
        let contents = vec![Content::Unsaid; table.parts.len()];
        describe(&table, &contents).unwrap().to_string()
    }

    #[test]
    fn a_table_is_said_as_short_as_it_can_be() {
        for (text, expected) in [
            (
                "linux 3500\nextended fill\nlogical swap 500\nlogical linux fill",
                None,
            ),
            (
                "dos id=0x12345678\nlinux 30 boot\nextended fill type=f\nlogical linux fill\nlogical swap 5",
                None,
            ),
            // What is behind the end of the disk is no reason not to fill it.
            ("linux 5\nlinux 8094", Some("linux 5\nlinux 8094")),
            ("linux 5\nlinux 9994", Some("linux 5\nlinux fill")),
            ("gpt\nlinux 5\nlinux fill spare=33s", None),
            (
                "gpt\nefi 100 number=3\nlinux fill\nrecovery 500 number=9",
                None,
            ),
            ("linux 5\nlinux 500 number=4", None),
            (
                "linux 96327s start=63s\nextended 96390s start=96390s\nlogical linux 32067s start=96453s\nlogical swap 64197s start=128583s",
                None,
            ),
            ("linux 10 start=100\nlinux 5 start=50\nlinux 5", None),
            (
                "linux 25%\nlinux 75%",
                Some("linux 2499\nlinux fill spare=1"),
            ),
            (
                "linux 10\nextended 50\nlogical linux 20\nlinux fill\nlogical linux 28",
                Some("linux 10\nextended 50\nlinux fill\nlogical linux 20\nlogical linux fill"),
            ),
        ] {
            let expected = expected.unwrap_or(text);
            let header = if expected.contains("gpt") || expected.contains("dos") {
                ""
            } else {
                "dos\n"
            };
            assert_eq!(
                described(text, 9_999 + 1, 512),
                format!("{header}{expected}\n"),
                "{text}"
            );
        }
    }

    #[test]
    fn old_words_come_with_what_they_cannot_say() {
        let desc = Desc::parse("dos id=0x1\nlinux 7000001s boot\nextended fill type=f\nlogical swap 500\nlogical linux fill spare=5s fs=ext4\ngroup vg0").unwrap();
        let text = to_old(&desc).unwrap();
        assert_eq!(
            text,
            "# 1: linux 7000001s boot\nlinux 3417\n# 2: extended fill type=f\nextended fill\nlogical swap 500\n# 6: logical linux fill spare=5s fs=ext4\nlogical linux fill\n# group vg0\n"
        );
        assert_eq!(Desc::parse(&text).unwrap().partitions.len(), 4);
        for (text, about) in [("gpt\nlinux 5", "gpt"), ("linux 5 number=2", "a gap")] {
            let error = to_old(&Desc::parse(text).unwrap()).unwrap_err().to_string();
            assert!(
                error.contains(about) && error.ends_with("leave out --old"),
                "{error}"
            );
        }
    }

    #[test]
    fn dos_becomes_gpt() {
        let desc = Desc::parse(
            "linux 50 boot start=63s\nextended fill\nlogical swap 5\nlogical typeb 9 fs=vfat",
        )
        .unwrap();
        let gpt = to_gpt(&desc).unwrap();
        assert_eq!(
            gpt.to_string(),
            "gpt\nlinux 50\nswap 5\nwindows fill fs=vfat\n"
        );
        let error = to_gpt(&Desc::parse("linux 5\ntypea5 6").unwrap()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "partition 2 is of type typea5, for which gpt has none; leave out --gpt"
        );
    }

    proptest! {
        #[test]
        fn the_same_table_on_the_same_disk_and_a_sound_one_on_a_larger(
            desc in descs(), megabytes in 100u64..300_000, more in 0u64..100_000, large in any::<bool>(),
        ) {
            let disk = Geometry::new((megabytes << 20) | (4096 * (more % 256)), if large { 4096 } else { 512 });
            if let Ok(laid) = layout(&desc, disk) {
                let contents: Vec<Content> = desc.partitions.iter().map(|p| p.content.clone()).collect();
                let again = describe(&laid.table, &contents).unwrap();
                let text = again.to_string();
                prop_assert_eq!(Desc::parse(&text).unwrap(), again.clone());
                let second = layout(&again, disk).unwrap().table;
                let mut first = laid.table;
                first.parts.sort_by_key(|part| part.number);
                for part in first.parts.iter_mut().filter(|part| part.ebr.is_some()) {
                    // Where the tables of logical partitions lie is nobody's business.
                    part.ebr = second.parts.iter().find(|other| other.number == part.number).and_then(|other| other.ebr);
                }
                prop_assert_eq!(&second.parts, &first.parts);
                let larger = Geometry::new(((megabytes + more) << 20) | (4096 * (more % 256)), disk.sector_size);
                let third = layout(&again, larger).unwrap().table;
                for (small, large) in first.parts.iter().zip(&third.parts) {
                    prop_assert!(large.sectors >= small.sectors && large.number == small.number);
                }
            }
        }
    }
}
