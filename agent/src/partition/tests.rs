use std::fs;

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
