//! Partition tables as old nodes read them: keystrokes for fdisk and dumps for sfdisk, of
//! util-linux before 2.26 (ka-deploy 0.94, `ka-d.sh` and `ka_replication.sh`).

use std::fmt::Write as _;

use crate::desc::{Desc, Kind, Size};
use crate::lsblk::join_partition;
use crate::table::PartitionTable;

/// A MiB in units of 512 bytes, which is what fdisk calls `M`.
const MEBIBYTE: u64 = 2048;
/// Primary partitions of a DOS table.
const PRIMARIES: u32 = 4;

/// What is typed into fdisk on an empty disk to make what `desc` says.
///
/// # Errors
/// What these keystrokes cannot say, in words for the person who wrote the desc.
pub fn fdisk_keystrokes(desc: &Desc) -> Result<String, String> {
    if desc.table.is_gpt() {
        return Err("its table is a gpt".to_owned());
    }
    let (mut keys, mut primary, mut logical) = (String::new(), 0, PRIMARIES);
    let (mut active, mut fallback) = (None, None);
    for (line, part) in desc.partitions.iter().enumerate() {
        let odd = |what: &str| Err(format!("partition {} of its desc has {what}", line + 1));
        if part.start.is_some() || part.spare.is_some() || part.number.is_some() {
            return odd("a place or number of its own");
        }
        let number = if part.logical {
            &mut logical
        } else {
            &mut primary
        };
        *number += 1;
        let number = *number;
        if part.boot {
            active = Some(number);
        }
        if !part.logical && starts(part.kind) {
            fallback = fallback.or(Some(number));
        }
        let size = match part.size {
            Size::Fill => String::new(),
            Size::Units(units) if units % MEBIBYTE == 0 => format!("+{}M", units / MEBIBYTE),
            Size::Units(_) => return odd("a size that is no whole number of megabytes"),
            Size::Percent(_) => return odd("a size in percent"),
        };
        let which = match (part.logical, part.kind.is_extended()) {
            (true, _) => "l".to_owned(),
            (false, true) => format!("e\n{number}"),
            (false, false) => format!("p\n{number}"),
        };
        // New, which, where fdisk proposes, how large.
        let _ = write!(keys, "n\n{which}\n\n{size}\n");
        if let Kind::Dos(byte) = part.kind {
            // With one partition alone it does not ask for its number.
            let which = match number {
                1 => String::new(),
                number => format!("{number}\n"),
            };
            let _ = write!(keys, "t\n{which}{byte:x}\n");
        }
    }
    if primary > PRIMARIES {
        return Err("its desc has more than four primary partitions".to_owned());
    }
    // Some firmware starts nothing from a disk without an active partition.
    if let Some(number) = active.or(fallback) {
        let _ = write!(keys, "a\n{number}\n");
    }
    keys.push_str("p\nw\n");
    Ok(keys)
}

/// Whether firmware may start what is in a primary partition of this kind.
fn starts(kind: Kind) -> bool {
    !kind.is_extended() && !kind.is_swap()
}

/// The lines of `sfdisk -d` that say where partitions are, for the disk `name`.
///
/// # Errors
/// What they cannot say.
pub fn sfdisk_dump(name: &str, table: &PartitionTable) -> Result<String, String> {
    if table.table.is_gpt() {
        return Err("its table is a gpt".to_owned());
    }
    if table.disk.sector_size != 512 {
        let size = table.disk.sector_size;
        return Err(format!("it has sectors of {size} bytes"));
    }
    let last = table.parts.iter().map(|part| part.number).max();
    let any_active = table.parts.iter().any(|part| part.boot);
    let mut text = String::new();
    let mut made_active = any_active;
    // The old sfdisk goes by the place of a line.
    for number in 1..=last.unwrap_or_default().max(PRIMARIES) {
        let found = table.parts.iter().find(|part| part.number == number);
        let (start, sectors, byte) = match found {
            None => (0, 0, 0),
            Some(part) => match part.kind {
                Kind::Dos(byte) | Kind::Extended(byte) => (part.start, part.sectors, byte),
                Kind::Gpt(_) => return Err(format!("partition {number} has a type of gpt")),
            },
        };
        let active = match found {
            Some(part) if part.boot => true,
            Some(part) if !made_active && !part.is_logical() && starts(part.kind) => {
                made_active = true;
                true
            }
            _ => false,
        };
        let partition = join_partition(name, number);
        let active = if active { ", bootable" } else { "" };
        let _ = writeln!(
            text,
            "{partition} : start={start:>9}, size={sectors:>9}, Id={byte:>2x}{active}"
        );
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::layout;
    use crate::table::Geometry;

    #[test]
    fn the_manuals_desc_is_typed_as_the_old_script_did() {
        let desc = "linux 3500\nextended fill\nlogical swap 500\nlogical linux fill\n";
        let keys = fdisk_keystrokes(&Desc::parse(desc).unwrap()).unwrap();
        assert_eq!(
            keys,
            "n\np\n1\n\n+3500M\nt\n83\n\
             n\ne\n2\n\n\n\
             n\nl\n\n+500M\nt\n5\n82\n\
             n\nl\n\n\nt\n6\n83\n\
             a\n1\np\nw\n"
        );
        let second = fdisk_keystrokes(&Desc::parse("swap 40\nlinux fill").unwrap()).unwrap();
        assert!(second.ends_with("a\n2\np\nw\n"), "{second}");
        let windows = Desc::parse("typeb 40\nlinux 900 boot\nswap fill").unwrap();
        let keys = fdisk_keystrokes(&windows).unwrap();
        assert!(
            keys.contains("t\nb\nn\np\n2\n\n+900M\nt\n2\n83\n"),
            "{keys}"
        );
        assert!(keys.ends_with("a\n2\np\nw\n"), "{keys}");
    }

    #[test]
    fn what_cannot_be_typed_is_told() {
        for (desc, why) in [
            ("gpt\nlinux fill", "a gpt"),
            ("linux 50%\nlinux fill", "in percent"),
            ("linux 1500K\nlinux fill", "whole number of megabytes"),
            ("linux 10 start=4M\nlinux fill", "a place"),
        ] {
            let desc = Desc::parse(desc).unwrap();
            let error = fdisk_keystrokes(&desc).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn a_dump_has_a_line_for_each_place() {
        let table = |desc: &str, size: u64| {
            layout(&Desc::parse(desc).unwrap(), Geometry::new(size, 512))
                .unwrap()
                .table
        };
        let manual = table("swap 10\nextended 50\nlogical linux 20 boot", 100 << 20);
        assert_eq!(
            sfdisk_dump("/dev/sda", &manual).unwrap(),
            "/dev/sda1 : start=     2048, size=    20480, Id=82\n\
             /dev/sda2 : start=    22528, size=   102400, Id= 5\n\
             /dev/sda3 : start=        0, size=        0, Id= 0\n\
             /dev/sda4 : start=        0, size=        0, Id= 0\n\
             /dev/sda5 : start=    24576, size=    40960, Id=83, bootable\n"
        );
        let plain = sfdisk_dump("/dev/nvme0n1", &table("linux 20", 50 << 20)).unwrap();
        assert!(
            plain
                .starts_with("/dev/nvme0n1p1 : start=     2048, size=    40960, Id=83, bootable\n"),
            "{plain}"
        );
        assert!(sfdisk_dump("/dev/sda", &table("gpt\nlinux 20", 50 << 20)).is_err());
        let layout = layout(
            &Desc::parse("linux 20").unwrap(),
            Geometry::new(50 << 20, 4096),
        );
        let error = sfdisk_dump("/dev/sda", &layout.unwrap().table).unwrap_err();
        assert!(error.contains("4096 bytes"), "{error}");
    }
}
