use proptest::prelude::*;

use super::*;

fn said(text: &str) -> String {
    match Desc::parse(text) {
        Ok(desc) => panic!("{text:?} is read as\n{desc}"),
        Err(problems) => problems.to_string(),
    }
}

#[test]
fn the_manuals_example_is_read_as_ever() {
    let text = "linux 3500\nextended fill\nlogical swap 500\nlogical linux fill\n";
    let desc = Desc::parse(text).unwrap();
    assert_eq!(desc.numbers(), [1, 2, 5, 6]);
    let words: Vec<String> = desc.partitions.iter().map(Partition::words).collect();
    assert_eq!(words.join("\n") + "\n", text);
    assert_eq!(desc.to_string(), format!("dos\n{text}"));
    assert_eq!(
        desc.partitions[2].file_system(),
        Some(FileSystem::plain(Format::Swap))
    );
    assert_eq!(desc.partitions[3].file_system(), None);
}

#[test]
fn old_files_are_read_whatever_their_blanks_and_comments() {
    for (text, words) in [
        ("", ""),
        ("# only a comment\n\n \t\n", ""),
        ("\u{feff}linux 5\r\n\tswap\t 7 \r\n", "linux 5|swap 7"),
        (
            "typeB 100\ntype7 200\ntypefd 300\ntype8e 400",
            "typeb 100|type7 200|typefd 300|type8e 400",
        ),
        ("type83 5\ntype82 6", "linux 5|swap 6"),
        (
            "  # a comment that the old one did not know\nlinux 5 # so is this",
            "linux 5",
        ),
        (
            "linux 1\nlinux 2\nextended 50\nlogical linux 3\nlinux 4",
            "linux 1|linux 2|extended 50|logical linux 3|linux 4",
        ),
    ] {
        let desc = Desc::parse(text).unwrap();
        let all: Vec<String> = desc.partitions.iter().map(Partition::words).collect();
        assert_eq!(all.join("|"), words, "{text:?}");
    }
}

#[test]
fn all_that_is_new_is_read_and_printed_the_same() {
    let text = "\
gpt id=6d1b0c1e-0000-4000-8000-676f6c647200
bios 1
efi 512 name=\"EFI System\" part-uuid=6d1b0c1e-0000-4000-8000-676f6c647201 fs=fat32 label=ESP uuid=1A2B-3C4D mount=/boot/efi
linux 12.50% number=5 boot fs=ext4 label=\"my \\\"root\\\" \\\\\" uuid=6d1b0c1e-0000-4000-8000-676f6c647203 block=4096 inode=256 features=has_journal,extent mount=/
root 63s start=513 attributes=0x1 fs=none
raid 500 array=md0 slot=1
lvm fill spare=33s group=vg0 pv=abcdef-abcd-abcd-abcd-abcd-abcd-abcdef
type6d1b0c1e-0000-4000-8000-676f6c647204 5
array md0 level=10 members=4 metadata=1.2 name=golden:0 id=01234567:89abcdef:01234567:89abcdef chunk=512K layout=n2 fs=xfs mount=/var
group vg0 extent=4096K
volume vg0/root 20480 stripes=2 stripe=64K fs=btrfs subvolumes=@,@/var,@home
volume vg0/swap fill fs=swap label=swap
";
    let desc = Desc::parse(text).unwrap();
    assert_eq!(desc.to_string(), text);
    assert_eq!(desc.numbers(), [1, 2, 5, 6, 7, 8, 9]);
    let dos = "dos id=0x0badcafe\nlinux 5 boot fs=ntfs uuid=5E2AB1C02AB19A01\nextended fill type=f spare=1s\nlogical linux fill\n";
    assert_eq!(Desc::parse(dos).unwrap().to_string(), dos);
}

#[test]
fn each_mistake_is_named_with_its_line_and_what_to_write() {
    for (text, line, about) in [
        ("linux", 1, "the size is missing"),
        (
            "linux 5\nlogical linux 5",
            2,
            "write \"extended SIZE\" on a line above",
        ),
        ("logical", 1, "write \"logical linux 500\""),
        (
            "extended 9\nlogical extended 5",
            2,
            "leave out the word logical",
        ),
        ("win 500", 1, "is no type; write linux, swap"),
        ("Linux 500", 1, "\"Linux\" is no type"),
        ("linux 5x", 1, "\"5x\" is no size; write megabytes"),
        ("linux -5", 1, "is no size"),
        ("linux 0", 1, "has the size 0"),
        ("linux fil", 1, "is no size"),
        (
            "linux 5 6",
            1,
            "\"6\" is not known here; known are array, block, boot,",
        ),
        ("typexx 5", 1, "write a hexadecimal number"),
        ("type 83 5", 1, "without blank"),
        ("type0 5", 1, "no partition"),
        ("type5 5", 1, "\"extended SIZE\""),
        ("typef 5", 1, "\"extended SIZE type=f\""),
        ("typeee 5", 1, "the mark of gpt"),
        ("extended 5 type=7", 1, "type=5, type=f or type=85"),
        ("extended 5\nextended 6", 2, "one extended"),
        (
            "linux 1\nlinux 1\nlinux 1\nlinux 1\nlinux 1",
            5,
            "four primary",
        ),
        (
            "linux 1 number=3\nlinux 1 number=2",
            2,
            "order of the numbers",
        ),
        ("linux fill\nlinux fill", 2, "line 1 fills the rest already"),
        ("linux 60%\n# x\nlinux 50%", 3, "the shares are 110%"),
        ("linux 5\ngpt", 2, "move it to the first line"),
        ("gpt\nextended 5", 2, "gpt has no extended"),
        ("gpt\nlogical linux 5", 2, "gpt has no logical"),
        ("gpt\ntype99 5", 2, "no counterpart in gpt"),
        ("gpt id=5", 1, "32 hexadecimal digits"),
        ("dos id=5", 1, "write 0x"),
        ("home 5", 1, "a type of gpt only"),
        (
            "type0fc63daf-8483-4772-8e79-3d69d8477de4 5",
            1,
            "a type of gpt",
        ),
        (
            "linux 5 fs=zfs",
            1,
            "fs=zfs is not known; write one of ext2",
        ),
        ("linux 5 label=x", 1, "write fs=… too"),
        ("linux 5 fs=xfs label=thirteen-long", 1, "room for 12"),
        ("linux 5 fs=vfat label=ä", 1, "write ASCII"),
        (
            "linux 5 fs=vfat uuid=6d1b0c1e-0000-4000-8000-676f6c647200",
            1,
            "such as 1A2B-3C4D",
        ),
        ("linux 5 fs=ext4 uuid=1A2B-3C4D", 1, "32 hexadecimal digits"),
        ("linux 5 fs=ext4 block=1000", 1, "power of two"),
        ("linux 5 fs=ext4 mount=home", 1, "absolute path"),
        ("linux 5 fs=ext4 mount=/../x", 1, "absolute path"),
        ("linux 5 fs=ext4 fs=xfs", 1, "fs stands here twice"),
        ("linux 5 fs=", 1, "fs has no value"),
        ("linux 5 boot=yes", 1, "takes no value"),
        ("linux 5 fs=\"ext4", 1, "not closed"),
        ("linux 5 fs=\"ext4\"x", 1, "where a blank should"),
        ("linux 5 fs=ext4 label=\"a\\q\"", 1, "a lone \\"),
        ("linux 5 fs=ext4 label=\"a\\xff\"", 1, "no UTF-8"),
        ("linux 5 fs=jfs features=x", 1, "leave out features="),
        ("linux 5 fs=ext4 subvolumes=@", 1, "leave out subvolumes="),
        (
            "linux 5 fs=btrfs subvolumes=/@",
            1,
            "write names without / in front",
        ),
        ("linux 5 spare=1", 1, "belongs to fill"),
        ("linux 5 array=md0", 1, "write slot=0"),
        ("linux 5 array=sda slot=0", 1, "write md0"),
        ("linux 5 group=vg0 fs=xfs", 1, "only one of"),
        ("linux 5 pv=x group=v", 1, "pvs -o pv_uuid"),
        ("linux 5 fs=swap mount=/x", 1, "not mounted"),
        ("fs=ext4 linux 5", 1, "begins with a type"),
        ("\"linux\" 5", 1, "where a blank should"),
        (
            "array md0 level=5 members=3",
            1,
            "level=0, level=1 or level=10",
        ),
        ("array md0 level=1", 1, "members= is missing"),
        ("array level=1", 1, "the name is missing"),
        (
            "array md0 level=1 members=2\narray md0 level=1 members=2",
            2,
            "twice",
        ),
        ("group -x", 1, "no name of LVM"),
        ("volume root 5", 1, "has no group"),
        ("volume vg0/root", 1, "a name and a size"),
        ("volume v/r 5 array=md0 slot=0", 1, "holds a file system"),
        (
            "linux 5 fs=ext4 mount=/\nlinux 5 fs=ext4 mount=/",
            2,
            "mount / stands here twice",
        ),
    ] {
        let said = said(text);
        assert!(
            said.starts_with(&format!("line {line}: ")),
            "{text:?}: {said}"
        );
        assert!(said.contains(about), "{text:?}: {said}");
    }
}

#[test]
fn all_mistakes_are_told_at_once() {
    let said = said("linux\nlinux x\nlinux 5");
    assert!(said.contains("line 1: ") && said.contains("; line 2: ") && !said.contains("line 3"));
    let many = "x\n".repeat(20_000);
    let Err(Problems(problems)) = Desc::parse(&many) else {
        panic!("read")
    };
    assert_eq!(problems.len(), 10_001);
    assert!(Problems(problems).to_string().ends_with("and 9991 more"));
}

/// A desc that may be: what is drawn is made fit for its table.
pub(crate) fn descs() -> impl Strategy<Value = Desc> {
    let text = "[a-zA-Z0-9 \"\\\\#=é\n\t]{1,10}";
    let size = prop_oneof![
        1 => Just(Size::Fill),
        6 => (1u64..40_000).prop_map(|n| Size::Units(n * 2048)),
        2 => (1u64..9_000_000).prop_map(Size::Units),
        1 => (1u16..3000).prop_map(Size::Percent),
    ];
    let format = proptest::sample::select(&Format::ALL[..]);
    let content = prop_oneof![
        Just(Content::Unsaid),
        Just(Content::Nothing),
        (format, proptest::option::of(text), any::<u128>()).prop_map(|(format, label, number)| {
            let label = label.filter(|label| format.check_label(label).is_ok());
            let uuid = Guid::constant(number).to_string();
            let uuid = format.identifier(&uuid).ok();
            Content::FileSystem(FileSystem {
                label,
                uuid,
                ..FileSystem::plain(format)
            })
        }),
        (0u32..9999).prop_map(|slot| Content::Member {
            array: "md/x-1".into(),
            slot
        }),
    ];
    let part = (
        size,
        content,
        any::<u8>(),
        proptest::option::of(text),
        any::<bool>(),
        any::<u128>(),
    );
    let parts = proptest::collection::vec(part, 0..12);
    (any::<bool>(), any::<u32>(), parts, 0usize..5).prop_map(|(gpt, id, parts, extended)| {
        let table = if gpt {
            Table::Gpt(Some(Guid::constant(u128::from(id) + 1)))
        } else {
            Table::Dos(Some(id))
        };
        let mut desc = Desc {
            table,
            partitions: Vec::new(),
            arrays: Vec::new(),
            groups: Vec::new(),
            volumes: Vec::new(),
        };
        for (at, (size, content, byte, name, boot, uuid)) in parts.into_iter().enumerate() {
            let kind = match (gpt, byte) {
                (true, _) => Kind::Gpt(Guid::constant(u128::from(byte) + 1)),
                (false, 0 | 5 | 0xF | 0x85 | 0xEE) => Kind::Dos(0x83),
                (false, byte) => Kind::Dos(byte),
            };
            let mut partition = Partition {
                boot,
                content,
                ..Partition::plain(kind, size)
            };
            if gpt {
                partition.name = name;
                partition.part_uuid = Some(Guid::constant(uuid | 1));
            } else {
                partition.logical = at > extended.min(3);
                if at == extended.min(3) {
                    partition.kind = Kind::Extended([5, 0xF, 0x85][usize::from(byte % 3)]);
                    partition.content = Content::Unsaid;
                }
            }
            desc.partitions.push(partition);
        }
        desc
    })
}

proptest! {
    #[test]
    fn what_is_printed_is_read_as_the_same(desc in descs()) {
        if desc.check().is_ok() {
            prop_assert_eq!(Desc::parse(&desc.to_string()), Ok(desc));
        }
    }

    #[test]
    fn no_text_makes_it_stumble(text in "(linux|swap|extended|logical|gpt|dos|array|volume|[ \n=\"#%]|[a-z0-9é]{0,4}|fill|fs=|label=){0,40}") {
        if let Ok(desc) = Desc::parse(&text) {
            prop_assert_eq!(Desc::parse(&desc.to_string()), Ok(desc));
        }
    }
}
