use std::fs;
use std::os::unix::fs::FileExt;

use goldring_disk::desc::{FileSystem, Format};
use goldring_disk::mkfs::Place;

use super::apply::{make, tool};
use super::nodes::Nodes;
use super::stack::{self, Builder};
use super::*;
use crate::fault::chain;
use crate::tools::run::testing::Recorder;

const HERE: Place<'_> = Place {
    device: "/dev/zero",
    sector_size: 512,
    start: None,
};

/// Images of disks below a root, with their plans.
fn plans(folder: &Path, texts: &[&str]) -> anyhow::Result<(Root, Vec<Plan>)> {
    let root = Root::at(folder);
    fs::create_dir_all(folder.join("dev"))?;
    let plan = |(number, text): (usize, &&str)| {
        let path = PathBuf::from(format!("/dev/sd{number}"));
        fs::File::create(root.join(&path))?.set_len(300 << 20)?;
        Plan::new(Disk::open(&root, &path, 512)?, Desc::parse(text)?)
    };
    let plans = texts
        .iter()
        .enumerate()
        .map(plan)
        .collect::<anyhow::Result<_>>()?;
    Ok((root, plans))
}

#[test]
fn arrays_and_volumes_are_made_by_their_tools() {
    let folder = tempfile::tempdir().unwrap();
    let md = "array md0 level=1 members=2 name=golden:0 group=vg0";
    let one =
        format!("raid fill array=md0 slot=0\n{md}\nvolume vg0/rest fill\nvolume vg0/half 50%");
    let two = format!("linux 50\nraid fill array=md0 slot=1\n{md}");
    let (root, plans) = plans(folder.path(), &[&one, &two]).unwrap();
    for device in ["dev/md0", "dev/vg0/rest", "dev/vg0/half"] {
        let path = folder.path().join(device);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }
    let stack = stack::of(&plans).unwrap();
    let nodes = [0, 1].map(|n| Nodes::Kernel {
        disk: format!("/dev/sd{}", ["a", "b"][n]),
    });
    let mut runner = Recorder::new(|line| {
        Ok(if line.starts_with("vgs") {
            " 61\n".into()
        } else {
            String::new()
        })
    });
    let mut said = Vec::new();
    let mut report = |line: String| said.push(line);
    let mut builder = Builder {
        root: &root,
        runner: &mut runner,
        plans: &plans,
        nodes: nodes.iter().collect(),
        report: &mut report,
    };
    builder.build(&stack).unwrap();
    assert_eq!(
        runner.lines,
        [
            "mdadm --create /dev/md0 --run --level=1 --raid-devices=2 --metadata=1.2 --name=golden:0 /dev/sda1 /dev/sdb2",
            "pvcreate -y -ff /dev/md0",
            "vgcreate -y vg0 /dev/md0",
            "vgs --noheadings -o vg_extent_count vg0",
            "lvcreate -y -Wy -n half -l 30 vg0",
            "lvcreate -y -Wy -n rest -l 100%FREE vg0",
        ]
    );
    assert_eq!(said[0], "making /dev/md0, RAID of level 1");
}

#[test]
fn a_volume_that_does_not_fit_is_told_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let (_, plans) = plans(
        folder.path(),
        &["lvm fill group=vg0\nvolume vg0/root 1000 fs=ext4"],
    )
    .unwrap();
    let error = chain(&stack::of(&plans).unwrap_err());
    assert!(
        error.starts_with(
            "line 2: volume vg0/root 1000 does not fit: 1000 MB are wanted and 296 MB are left"
        ),
        "{error}"
    );
}

#[test]
fn a_tool_that_lies_or_is_not_there_is_told() {
    let ext4 = FileSystem::plain(Format::Ext4);
    let mut silent = Recorder::new(|_| Ok(String::new()));
    let error = chain(
        &make(
            &mut silent,
            &ext4,
            Place {
                device: "/dev/null",
                ..HERE
            },
        )
        .unwrap_err(),
    );
    assert!(
        error.contains("no ext4 is there") || error.contains("/dev/null"),
        "{error}"
    );
    let error = chain(&tool(&mut Programs, "no-such-tool", &[]).unwrap_err());
    assert_eq!(
        error,
        "no-such-tool is not here; install util-linux, or make stage 2 again with it (images/stage2.toml)"
    );
}

#[test]
fn a_plan_tells_what_will_be() {
    let folder = tempfile::tempdir().unwrap();
    let text = "gpt\nefi 50\nlinux fill fs=ext4 label=root block=4096 mount=/";
    let (_, plans) = plans(folder.path(), &[text]).unwrap();
    let text = plans[0].text();
    let rows: Vec<&str> = text
        .lines()
        .skip_while(|line| !line.starts_with("to be"))
        .collect();
    assert_eq!(
        rows,
        [
            "to be, with a gpt table:",
            "  no  first sector  sectors    size  type                  holds",
            "   1          2048   102400   50 MB  EFI system partition  fat32",
            "   2        104448   507904  248 MB  Linux                 ext4 label=root mount=/",
        ]
    );
}

#[test]
fn what_is_no_disk_is_told_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let root = Root::at(folder.path());
    fs::create_dir_all(folder.path().join("sys/class/block/sda")).unwrap();
    fs::write(folder.path().join("sys/class/block/sda/size"), "2000000\n").unwrap();
    let said = |path: &str| chain(&Disk::open(&root, Path::new(path), 512).unwrap_err());
    assert_eq!(
        said("/dev/sdq"),
        "/dev/sdq does not exist on this computer; the disks here are /dev/sda (1.0 GB)"
    );
    assert_eq!(
        said("/sys"),
        "/sys is neither a disk nor a file; name a disk such as /dev/sda"
    );
    fs::write(folder.path().join("empty"), "").unwrap();
    let disk = Disk::open(&root, Path::new("/empty"), 512).unwrap();
    let error = chain(&Plan::new(disk, Desc::parse("linux 5").unwrap()).unwrap_err());
    assert!(
        error.contains("the disk has 0 sectors of 512 bytes; partitions need 3 MB"),
        "{error}"
    );
    fs::write(folder.path().join("latin"), b"linux 5 fs=ext4 label=\xE4").unwrap();
    let error = chain(&read(&folder.path().join("latin")).unwrap_err());
    assert!(
        error.contains("is no text in UTF-8; name the file"),
        "{error}"
    );
}

/// The desc of a disk with these super blocks in its partitions, without its header.
fn surveyed(text: &str, contents: &[&[u8]], fstab: &str) -> (String, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let (root, plans) = plans(folder.path(), &[text]).unwrap();
    let disk = &plans[0].disk;
    let path = root.join(&disk.path);
    let mut file = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    plans[0].layout.table.write(&mut file).unwrap();
    for (part, content) in plans[0].layout.table.parts.iter().zip(contents) {
        file.write_all_at(content, part.start * 512).unwrap();
    }
    fs::create_dir_all(root.join("/etc")).unwrap();
    fs::write(root.join("/etc/fstab"), fstab).unwrap();
    let described = survey::survey(&root, disk).unwrap();
    let text = described.desc.to_string();
    let lines: Vec<&str> = text.lines().skip(1).collect();
    (lines.join("\n"), described.notes)
}

#[test]
fn a_survey_looks_into_groups_and_arrays() {
    let lvm: &[u8] = include_bytes!("../../../fuzz/seeds/desc/lvm");
    let md: &[u8] = include_bytes!("../../../fuzz/seeds/desc/md12");
    let swap: &[u8] = include_bytes!("../../../fuzz/seeds/superblock/swap");
    let (text, notes) = surveyed("lvm 100\nraid 70\nswap 5\nswap fill", &[lvm, md, swap], "");
    let id = "12345678-1234-4234-8234-123456789abc";
    assert_eq!(text, format!("\
type8e 100 group=vg0 pv=n83moU-AyFQ-uB2K-HEHW-NSz6-Ztui-x3euNP
typefd fill array=md0 slot=1
swap 5 fs=swap uuid={id}
swap 124 fs=none
array md0 level=1 members=2 metadata=1.2 name=golden:0 id=c82218e5:88c17789:815fbd5f:c666c53a fs=none
group vg0 extent=4096K
volume vg0/root 40 fs=none
volume vg0/striped 40 stripes=2 stripe=64K fs=none
volume vg0/rest fill fs=none"));
    let said: Vec<&str> = notes.iter().map(String::as_str).collect();
    assert!(said[0].starts_with(
        "what is in vg0/striped is not known while it does not run; start it (vgchange -ay vg0)"
    ));
    assert_eq!(said.len(), 2, "{said:?}");
}

#[test]
fn a_survey_tells_where_things_are_mounted() {
    let btrfs: &[u8] = include_bytes!("../../../fuzz/seeds/superblock/btrfs");
    let vfat: &[u8] = include_bytes!("../../../fuzz/seeds/superblock/vfat");
    let fstab = "# a comment\n\
        UUID=12345678-1234-4234-8234-123456789ABC / btrfs subvol=/@,noatime 0 0\n\
        UUID=12345678-1234-4234-8234-123456789abc /home btrfs subvol=@home 0 0\n\
        /dev/sd02 /boot/efi vfat defaults 0 0\n\
        UUID=1234-5678 none swap sw 0 0\n";
    let (text, notes) = surveyed("linux 120\nefi 50", &[btrfs, vfat], fstab);
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].ends_with("subvolumes=@,@home mount=/"), "{text}");
    assert!(lines[1].contains("fs=fat12 uuid=1234-5678"), "{text}");
    assert_eq!(notes, [""; 0]);
}
