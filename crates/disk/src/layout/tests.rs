use proptest::prelude::*;

use super::*;
use crate::desc::tests::descs;

/// `number:start+size` of each partition, in MiB.
fn laid(text: &str, megabytes: u64, sector_size: u32) -> Result<String, String> {
    let desc = Desc::parse(text).map_err(|problems| problems.to_string())?;
    let disk = Geometry::new(megabytes << 20, sector_size);
    let layout = layout(&desc, disk).map_err(|error| error.to_string())?;
    let mebibyte = disk.mebibyte();
    let number = |sectors: u64| {
        if sectors.is_multiple_of(mebibyte) {
            (sectors / mebibyte).to_string()
        } else {
            format!("{sectors}s")
        }
    };
    let parts = layout.table.parts.iter();
    let mut all: Vec<String> = parts
        .map(|part| {
            format!(
                "{}:{}+{}",
                part.number,
                number(part.start),
                number(part.sectors)
            )
        })
        .collect();
    all.extend(layout.notes.iter().map(|note| format!("({note})")));
    Ok(all.join(" "))
}

#[test]
fn descs_are_laid_out() {
    for (text, megabytes, expected) in [
        (
            "linux 3500\nextended fill\nlogical swap 500\nlogical linux fill",
            20_000,
            "1:1+3500 2:3501+16499 5:3502+500 6:4003+15997",
        ),
        (
            "linux 1\nlinux 2\nlinux 3\nlinux fill",
            100,
            "1:1+1 2:2+2 3:4+3 4:7+93",
        ),
        // Numbers go by kind, places by line.
        (
            "linux 10\nextended 50\nlogical linux 20\nlinux fill\nlogical linux fill",
            100,
            "1:1+10 2:11+50 5:12+20 3:61+39 6:33+28",
        ),
        // fill in the middle leaves room for what comes behind.
        ("linux 10\nlinux fill\nswap 5", 100, "1:1+10 2:11+84 3:95+5"),
        (
            "extended fill\nlogical linux fill\nlogical swap 9\nlogical linux 3",
            100,
            "1:1+99 5:2+84 6:87+9 7:97+3",
        ),
        ("linux 25%\nlinux 75%", 101, "1:1+25 2:26+75"),
        (
            "linux 25%\nlinux fill\nlinux 50%",
            101,
            "1:1+25 2:26+25 3:51+50",
        ),
        (
            "extended 100%\nlogical linux 50%\nlogical linux 50%",
            103,
            "1:1+102 5:2+50 6:53+50",
        ),
        (
            "linux 1s\nlinux 3\nlinux 2049s",
            100,
            "1:1+1s 2:2+3 3:5+2049s",
        ),
        (
            "linux 5 start=7\nlinux 5\nlinux 5 start=1 number=4",
            100,
            "1:7+5 2:12+5 4:1+5",
        ),
        (
            "linux fill\nlinux 5 start=50\nlinux fill start=60 number=4",
            100,
            "line 3",
        ),
        ("linux fill\nlinux 5 start=50", 100, "1:1+49 2:50+5"),
        ("linux fill spare=1", 100, "1:1+98"),
        ("linux fill spare=0s", 100, "1:1+99"),
        // The gaps of two logical ones are added to the extended one.
        (
            "extended 50\nlogical linux 30\nlogical linux 20\nlinux 5",
            100,
            "1:1+52 5:2+30 6:33+20 2:53+5 (line 1: the extended partition gets 52 MB instead of 50 MB, for each logical one needs 1 MB for its own table)",
        ),
        ("extended 63s\n", 100, "1:1+63s"),
        // Old tables: cylinders of 63 sectors.
        (
            "linux 96327s start=63s\nextended 96390s start=96390s\nlogical linux 32067s start=96453s\nlogical swap 64197s start=128583s",
            100,
            "1:63s+96327s 2:96390s+96390s 5:96453s+32067s 6:128583s+64197s",
        ),
        ("gpt\nefi 10\nlinux fill", 100, "1:1+10 2:11+88"),
        ("gpt\nlinux fill spare=33s", 100, "1:1+202719s"),
        (
            "gpt\nlinux 1 number=3\nlinux 1\nlinux 1 number=9",
            100,
            "3:1+1 4:2+1 9:3+1",
        ),
        ("gpt\nlinux 6s start=34s", 100, "1:34s+6s"),
        ("", 100, ""),
    ] {
        match laid(text, megabytes, 512) {
            Ok(places) => assert_eq!(places, expected, "{text}"),
            Err(error) => assert!(
                error.starts_with(expected) && !expected.is_empty(),
                "{text}: {error}"
            ),
        }
        if !text.contains("s start") && !text.contains("spare=33s") && !text.contains("s\n") {
            let same = laid(text, megabytes, 4096);
            assert!(
                same.is_err() || same.as_deref() == Ok(expected),
                "{text}: {same:?}"
            );
        }
    }
    assert_eq!(
        laid("gpt\nlinux 24s start=48s\nlinux fill spare=33s", 100, 4096).unwrap(),
        "1:6s+3s 2:1+25339s"
    );
}

#[test]
fn a_line_that_does_not_fit_is_named_with_what_it_lacks() {
    for (text, megabytes, said) in [
        (
            "linux 50\nlinux 60",
            100,
            "line 2: linux 60 does not fit: 60 MB are wanted and 49 MB are left, 11 MB too few; write a smaller size or fill, or take a larger disk",
        ),
        (
            "gpt\nlinux 99",
            100,
            "line 2: linux 99 does not fit: 99 MB are wanted and 98.9 MB are left, 33 sectors of 512 bytes too few",
        ),
        (
            "linux fill\nlinux 50\nlinux 60",
            100,
            "line 1: nothing is left for linux fill: the lines below need 110 MB and 99 MB are there, 12 MB too few; write smaller sizes",
        ),
        (
            "extended 50\nlogical linux 30\nlogical linux 23",
            100,
            "line 3: logical linux 23 does not fit: 23 MB are wanted and 18 MB are left, 5 MB too few in the extended one; write \"extended fill\"",
        ),
        (
            "linux 49\nextended 50\nlogical linux 30\nlogical linux 20",
            100,
            "line 2: extended 50 does not fit: 52 MB are wanted and 50 MB are left, 2 MB too few (with 1 MB for the table of each logical one); write \"extended fill\", and fill",
        ),
        // The manual's example: three disks in one file.
        (
            "swap 509\nlinux 5992\nextended 71657\nlogical linux 52281\nlogical linux 19375\nlogical linux 78167\nlogical linux 156327",
            79_000,
            "line 5: logical linux 19375 does not fit: 19375 MB are wanted and 19374 MB are left, 1 MB too few in the extended one; write \"extended fill\"",
        ),
        (
            "linux 5\nlinux 5 start=3",
            100,
            "line 2: it begins inside of that of line 1, 3 MB before its end",
        ),
        (
            "linux 5 start=0",
            100,
            "line 1: its start= lies where the partition table is",
        ),
        ("linux 5 start=200", 100, "line 1: its start= lies where"),
        (
            "gpt\nlinux 5 start=33s",
            100,
            "line 2: its start= lies where",
        ),
        (
            "extended 20\nlogical linux 5 start=1",
            100,
            "line 2: its start= lies where",
        ),
        (
            "linux 3000000",
            4_000_000,
            "line 1: linux 3000000 does not fit: 3000000 MB are wanted and 2097150 MB are left, 902849 MB too few in a dos table",
        ),
        (
            "linux 1",
            2,
            "the disk has 2 MB; partitions need 3 MB and more",
        ),
    ] {
        let error = laid(text, megabytes, 512).unwrap_err();
        assert!(error.starts_with(said), "{text}: {error}");
    }
    let error = laid("linux 5 start=63s", 100, 4096).unwrap_err();
    assert!(
        error.contains("inside of a sector of 4096 bytes; write a multiple of 8"),
        "{error}"
    );
    assert!(
        laid("linux 5", 100, 520)
            .unwrap_err()
            .contains("sectors of 520 bytes")
    );
}

#[test]
fn a_large_disk_wants_gpt() {
    let laid_out = laid("linux 10\nlinux fill", 4 << 20, 512).unwrap();
    assert!(
        laid_out
            .starts_with("1:1+10 2:11+2097140 (a dos table ends after 2097151 MB, so 2097152 MB"),
        "{laid_out}"
    );
    assert!(
        laid_out.contains("write gpt on the first line"),
        "{laid_out}"
    );
    // Larger sectors reach further.
    assert_eq!(laid("linux fill", 4 << 20, 4096).unwrap(), "1:1+4194303");
    assert_eq!(
        laid("gpt\nlinux fill", 4 << 20, 512).unwrap(),
        "1:1+4194302"
    );
}

/// What must be true of every layout.
fn sound(layout: &Layout, desc: &Desc) {
    let table = &layout.table;
    let (disk, gpt) = (table.disk, table.table.is_gpt());
    assert_eq!(table.parts.len(), desc.partitions.len());
    let extended = table.parts.iter().find(|part| part.kind.is_extended());
    let mut taken: Vec<(u64, u64)> = Vec::new();
    for (part, line) in table.parts.iter().zip(&desc.partitions) {
        assert!(part.sectors > 0 && part.start >= disk.begin(gpt) && part.end() <= disk.end(gpt));
        assert!(line.start.is_some() || part.start.is_multiple_of(disk.mebibyte()));
        if let crate::desc::Size::Units(units) = line.size {
            assert!(part.kind.is_extended() || part.sectors == units.div_ceil(disk.units(1)));
        }
        if let (Some(ebr), Some(extended)) = (part.ebr, extended) {
            assert!(ebr >= extended.start && ebr < part.start && part.end() <= extended.end());
            taken.push((ebr, ebr + 1));
        }
        if !part.kind.is_extended() {
            taken.push((part.start, part.end()));
        }
    }
    taken.sort_unstable();
    assert!(
        taken.windows(2).all(|pair| pair[0].1 <= pair[1].0),
        "{taken:?}"
    );
    // In the order of the lines, as nothing has a place of its own.
    for logical in [false, true] {
        let level = table
            .parts
            .iter()
            .filter(|part| part.is_logical() == logical);
        let starts: Vec<u64> = level.map(|part| part.start).collect();
        assert!(starts.is_sorted(), "{starts:?}");
    }
}

proptest! {
    #[test]
    fn every_layout_is_sound(desc in descs(), megabytes in 1u64..300_000, large in any::<bool>()) {
        let disk = Geometry::new((megabytes << 20) | 512, if large { 4096 } else { 512 });
        if let Ok(layout) = layout(&desc, disk) {
            sound(&layout, &desc);
        }
    }

    #[test]
    fn a_larger_disk_takes_what_a_smaller_one_took(desc in descs(), megabytes in 1u64..200_000, more in 0u64..50_000) {
        let fits = |megabytes: u64| layout(&desc, Geometry::new(megabytes << 20, 512)).is_ok();
        // Shares grow with the disk and may then leave too little for the sizes.
        let shares = desc.partitions.iter().any(|p| matches!(p.size, crate::desc::Size::Percent(_)));
        prop_assert!(shares || !fits(megabytes) || fits(megabytes + more));
    }
}
