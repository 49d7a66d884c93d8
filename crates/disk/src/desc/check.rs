//! What can be wrong with a desc as a whole.

use std::collections::HashSet;

use super::{Content, Desc, Format, MOST_PARTITIONS, Partition, Problem, Problems, Size};

pub(super) fn check(desc: &Desc) -> Result<(), Problems> {
    let mut problems = Vec::new();
    let mut say = |line: super::Line, text: String| {
        let line = line.0;
        problems.push(Problem { line, text });
    };
    numbers(desc, &mut say);
    extended(desc, &mut say);
    for logical in [false, true] {
        let level: Vec<&Partition> = desc
            .partitions
            .iter()
            .filter(|p| p.logical == logical)
            .collect();
        let sizes = level.iter().map(|p| (p.line, p.size));
        shares(sizes.collect(), &mut say);
    }
    names(desc, &mut say);
    for group in &desc.groups {
        let volumes = desc
            .volumes
            .iter()
            .filter(|volume| volume.group == group.name);
        shares(volumes.map(|v| (v.line, v.size)).collect(), &mut say);
    }
    if problems.is_empty() {
        return Ok(());
    }
    problems.sort_by_key(|problem| problem.line);
    Err(Problems(problems))
}

type Say<'a> = &'a mut dyn FnMut(super::Line, String);

fn numbers(desc: &Desc, say: Say<'_>) {
    let gpt = desc.table.is_gpt();
    let mut last = [0, 4];
    for (partition, number) in desc.partitions.iter().zip(desc.numbers()) {
        let last = &mut last[usize::from(partition.logical)];
        if number <= *last {
            say(
                partition.line,
                format!(
                    "number={number} is not after {last}; the lines stand in the order of the numbers"
                ),
            );
        } else if !gpt && !partition.logical && number > 4 {
            say(partition.line, "a dos table has four primary partitions; write \"extended fill\" and \"logical\" in front of the last ones, or gpt on the first line".into());
            return;
        } else if number > MOST_PARTITIONS as u32 {
            say(
                partition.line,
                format!("there is no partition {number}; {MOST_PARTITIONS} are the most"),
            );
            return;
        }
        *last = number;
    }
}

fn extended(desc: &Desc, say: Say<'_>) {
    let mut there = false;
    for partition in &desc.partitions {
        if partition.kind.is_extended() {
            if there {
                say(
                    partition.line,
                    "a disk has one extended partition; leave this line out".into(),
                );
            }
            there = true;
        } else if partition.logical && !there {
            say(partition.line, "a logical partition lies in an extended one; write \"extended SIZE\" on a line above".into());
            return;
        }
    }
}

/// One level: the primary partitions, the logical ones, or the volumes of a group.
fn shares(level: Vec<(super::Line, Size)>, say: Say<'_>) {
    let mut filled: Option<super::Line> = None;
    let mut percent = 0u64;
    for (line, size) in level {
        match (size, filled) {
            (Size::Fill, None) => filled = Some(line),
            (Size::Fill, Some(first)) => say(
                line,
                format!(
                    "line {} fills the rest already; write a size or a share (50%) in one of the two",
                    first.0
                ),
            ),
            (Size::Percent(share), _) => {
                let before = percent;
                percent += u64::from(share);
                if before <= 10_000 && percent > 10_000 {
                    say(
                        line,
                        format!(
                            "with this line the shares are {}%; write smaller ones",
                            percent / 100
                        ),
                    );
                }
            }
            (Size::Units(_), _) => {}
        }
    }
}

/// Names and identifiers that may stand once only.
fn names(desc: &Desc, say: Say<'_>) {
    let mut seen = HashSet::new();
    let mut once = |line: super::Line, what: &str, name: &str, say: Say<'_>| {
        if !seen.insert(format!("{what} {name}")) {
            say(
                line,
                format!("{what} {name} stands here twice; leave one out"),
            );
        }
    };
    for partition in &desc.partitions {
        if let Some(uuid) = partition.part_uuid {
            once(partition.line, "part-uuid", &uuid.to_string(), say);
        }
    }
    for array in &desc.arrays {
        once(array.line, "array", &array.device, say);
    }
    for group in &desc.groups {
        once(group.line, "group", &group.name, say);
    }
    for volume in &desc.volumes {
        once(
            volume.line,
            "volume",
            &format!("{}/{}", volume.group, volume.name),
            say,
        );
    }
    for (line, content) in contents(desc) {
        match content {
            Content::Member { array, slot } => {
                once(line, "array", &format!("{array} slot {slot}"), say)
            }
            Content::Physical {
                uuid: Some(uuid), ..
            } => once(line, "pv", uuid, say),
            Content::FileSystem(file_system) => {
                // A btrfs or swap may be here twice by its parts; a place may not.
                if let Some(mount) = &file_system.mount {
                    once(line, "mount", mount, say);
                }
                if let Some(uuid) = file_system
                    .uuid
                    .as_ref()
                    .filter(|_| file_system.format != Format::Btrfs)
                {
                    once(line, "uuid", uuid, say);
                }
            }
            _ => {}
        }
    }
}

/// All that is in something, with its line.
fn contents(desc: &Desc) -> impl Iterator<Item = (super::Line, &Content)> {
    let partitions = desc.partitions.iter().map(|p| (p.line, &p.content));
    let arrays = desc.arrays.iter().map(|a| (a.line, &a.content));
    let volumes = desc.volumes.iter().map(|v| (v.line, &v.content));
    partitions.chain(arrays).chain(volumes)
}
