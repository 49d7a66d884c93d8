//! Disks made as their desc files say, looked at by the tools of the field.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context, Result, bail, ensure};
use goldring_host_tests::target::{Loop, Mounted};

use crate::Story;

pub(crate) const STORIES: &[Story] = &[
    ("desc_tables_please_sfdisk_and_sgdisk", tables),
    (
        "desc_makes_every_file_system_as_blkid_sees_it",
        file_systems,
    ),
    ("desc_of_a_disk_makes_the_same_disk", again),
    ("desc_leaves_alone_a_disk_in_use", in_use),
    ("desc_that_does_not_fit_destroys_nothing", unfit),
    ("desc_of_what_other_tools_made", of_others),
];

const TOOLS: [&str; 12] = [
    "sfdisk",
    "sgdisk",
    "blkid",
    "losetup",
    "mke2fs",
    "mkfs.xfs",
    "mkfs.btrfs",
    "mkreiserfs",
    "mkfs.jfs",
    "mkfs.fat",
    "mkntfs",
    "mkswap",
];

/// Which tool is missing here, if one is.
pub(crate) fn unavailable() -> Option<String> {
    let path = std::env::var("PATH").unwrap_or_default();
    let there = |tool: &&&str| {
        path.split(':')
            .any(|folder| Path::new(folder).join(tool).exists())
    };
    let missing = TOOLS.iter().find(|tool| !there(tool))?;
    Some(format!("there is no {missing}"))
}

/// The identifier of a partition; stories run at once, and btrfs wants its own everywhere.
fn uuid(story: u32, number: u32) -> String {
    format!("6d1b0c1e-0000-4000-8{story:03}-676f6c6472{number:02}")
}

/// One of each kind, as small as its tool makes it.
fn every_file_system(story: u32) -> String {
    let mut text = String::from("gpt id=6d1b0c1e-0000-4000-8000-676f6c647200\n");
    let lines = [
        "bios 1",
        "efi 64 fs=fat32 label=ESP uuid=1A2B-3C4D mount=/boot/efi",
        "linux 20 fs=ext2 label=boot uuid=@ block=1024 inode=128 mount=/boot",
        "linux 30 fs=ext3 label=\"my root\" uuid=@",
        "linux 40 fs=ext4 label=root uuid=@ block=4096 inode=256 features=has_journal,ext_attr,resize_inode,dir_index,filetype,extent,flex_bg,sparse_super,large_file,huge_file,dir_nlink,extra_isize mount=/",
        "linux 301 fs=xfs label=var uuid=@ block=4096 inode=512 features=crc,finobt,sparse,reflink",
        "linux 128 fs=btrfs label=\"ä b\" uuid=@ block=4096 inode=16384 features=extref,skinny-metadata subvolumes=top,home",
        "linux 64 fs=reiserfs label=home uuid=@ block=4096",
        "linux 20 fs=jfs label=old uuid=@",
        "windows 20 fs=ntfs label=Windows uuid=5E2AB1C02AB19A01 block=4096",
        "windows 40 fs=fat16 label=DATA uuid=0000-0001 block=4096",
        "swap 10 fs=swap label=swap uuid=@",
        "raid 5 fs=none",
        "linux fill fs=xfs label=rest",
    ];
    for (number, line) in (1..).zip(lines) {
        text.push_str(&line.replace('@', &uuid(story, number)));
        text.push_str(&format!(" part-uuid={}\n", uuid(story, number + 50)));
    }
    text
}

fn goldring(program: &Path, arguments: &[&str]) -> Result<Output> {
    Command::new(program)
        .args(arguments)
        .output()
        .context("starting goldring")
}

/// What it printed; it must not fail.
fn printed(program: &Path, arguments: &[&str]) -> Result<String> {
    let output = goldring(program, arguments)?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{arguments:?}: {said}");
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// What it complained; it must fail.
fn complained(program: &Path, arguments: &[&str]) -> Result<String> {
    let output = goldring(program, arguments)?;
    ensure!(
        output.status.code() == Some(1),
        "{arguments:?} ended with {}",
        output.status
    );
    Ok(String::from_utf8_lossy(&output.stderr).into_owned())
}

fn tool(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program)
        .args(arguments)
        .env("LC_ALL", "C")
        .output()?;
    let said = [output.stdout, output.stderr]
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .concat();
    ensure!(
        output.status.success(),
        "{program} {}: {said}",
        arguments.join(" ")
    );
    Ok(said)
}

/// A desc carried out on a disk; on a file when `sector_size` is that of files.
fn partition(program: &Path, folder: &Path, desc: &str, disk: &str) -> Result<String> {
    let file = folder.join("desc");
    fs::write(&file, desc)?;
    printed(
        program,
        &[
            "partition",
            "--desc",
            &file.to_string_lossy(),
            "--yes",
            disk,
        ],
    )
}

const DESCS: [&str; 4] = [
    "linux 35 fs=none\nextended fill\nlogical swap 5\nlogical linux fill fs=none",
    "dos id=0x0badcafe\ntypeb 5 boot\nlinux 7 number=3\nextended 40 type=f\nlogical linux 3s\nlogical type8e 5\nlogical typefd 9\nlogical linux fill",
    "gpt\nbios 1\nlinux fill name=\"the söcond\"\nraid 5 number=9 boot",
    "gpt\nlinux 10%\nlinux 25%\nlvm 65%",
];

/// Number, start, size and type as sfdisk prints them, against what the plan says.
fn tables(program: &Path) -> Result<()> {
    let folder = tempfile::tempdir()?;
    for sector_size in [512, 4096] {
        for desc in DESCS {
            let disk = Loop::with_sectors(&folder.path().join("disk"), 100 << 20, sector_size)?;
            // Swap would be made, which another story does.
            let desc = desc.replace("swap 5", "swap 5 fs=none");
            let plan = partition(program, folder.path(), &desc, &disk.device)?;
            let verdict = tool("sfdisk", &["-V", &disk.device])?;
            ensure!(verdict.contains("No errors detected"), "{desc}: {verdict}");
            if desc.starts_with("gpt") {
                let verdict = tool("sgdisk", &["-v", &disk.device])?;
                ensure!(verdict.contains("No problems found"), "{desc}: {verdict}");
            }
            let dump = tool("sfdisk", &["-d", &disk.device])?;
            let theirs: Vec<[String; 3]> = dump.lines().filter_map(row_of_sfdisk).collect();
            let ours: Vec<[String; 3]> = plan
                .lines()
                .skip_while(|line| !line.contains("to be"))
                .filter_map(row_of_plan)
                .collect();
            ensure!(
                !ours.is_empty() && theirs == ours,
                "{desc}:\n{dump}\n{plan}"
            );
        }
    }
    Ok(())
}

/// `/dev/loop0p1 : start=        2048, size=       71680, type=83`
fn row_of_sfdisk(line: &str) -> Option<[String; 3]> {
    let (device, fields) = line.split_once(" : ")?;
    let number = device.rsplit('p').next()?;
    let field = |key: &str| {
        Some(
            fields
                .split(key)
                .nth(1)?
                .split(',')
                .next()?
                .trim()
                .to_owned(),
        )
    };
    Some([number.to_owned(), field("start=")?, field("size=")?])
}

fn row_of_plan(line: &str) -> Option<[String; 3]> {
    let mut words = line.split_ascii_whitespace();
    let number = words.next().filter(|word| word.parse::<u32>().is_ok())?;
    Some([
        number.to_owned(),
        words.next()?.to_owned(),
        words.next()?.to_owned(),
    ])
}

fn file_systems(program: &Path) -> Result<()> {
    let folder = tempfile::tempdir()?;
    for sector_size in [512, 4096] {
        let file = folder.path().join("disk");
        let disk = Loop::with_sectors(&file, 1200 << 20, sector_size)?;
        // jfs and reiserfs make nothing of larger sectors.
        let lines = every_file_system(sector_size / 512);
        let desc = if sector_size == 512 {
            lines
        } else {
            let all = lines.lines().map(|line| {
                if line.contains("jfs") || line.contains("fs=ext2") {
                    line.replace("fs=", "#")
                } else {
                    line.to_owned()
                }
            });
            all.collect::<Vec<_>>().join("\n")
        };
        partition(program, folder.path(), &desc, &disk.device)?;
        subvolume(folder.path(), &disk.device)?;
        let dump = tool("sfdisk", &["-d", &disk.device])?;
        let rows: Vec<[String; 3]> = dump.lines().filter_map(row_of_sfdisk).collect();
        for (line, [number, start, size]) in desc.lines().skip(1).zip(&rows) {
            let bytes = |sectors: &str| {
                sectors
                    .parse::<u64>()
                    .map(|n| (n * u64::from(sector_size)).to_string())
            };
            let found = Command::new("blkid")
                .args([
                    "-p",
                    "-o",
                    "udev",
                    "-O",
                    &bytes(start)?,
                    "-S",
                    &bytes(size)?,
                    &disk.device,
                ])
                .output()?;
            let found = String::from_utf8_lossy(&found.stdout).into_owned();
            expect(line, &found).with_context(|| {
                format!("partition {number}, sectors of {sector_size}: {line}\n{found}")
            })?;
        }
    }
    Ok(())
}

/// A subvolume of the btrfs can be mounted.
fn subvolume(folder: &Path, disk: &str) -> Result<()> {
    let place = folder.join("home");
    fs::create_dir_all(&place)?;
    let place = place.to_string_lossy();
    tool(
        "mount",
        &["-o", "subvol=home,ro", &format!("{disk}p7"), &place],
    )?;
    tool("umount", &[&place])?;
    Ok(())
}

/// What a line promises is what blkid says.
fn expect(line: &str, found: &str) -> Result<()> {
    let has = |key: &str| {
        found
            .lines()
            .find_map(|line| line.strip_prefix(key))
            .map(|value| value.replace("\\x20", " "))
    };
    let Some(format) = line
        .split("fs=")
        .nth(1)
        .and_then(|rest| rest.split(' ').next())
        .filter(|word| *word != "none")
    else {
        ensure!(has("ID_FS_TYPE=").is_none(), "nothing should be there");
        return Ok(());
    };
    let kind = if format.starts_with("fat") {
        "vfat"
    } else {
        format
    };
    ensure!(
        has("ID_FS_TYPE=").as_deref() == Some(kind),
        "it should be {kind}"
    );
    for (key, theirs) in [(" label=", "ID_FS_LABEL_ENC="), (" uuid=", "ID_FS_UUID=")] {
        let Some(rest) = line.split(key).nth(1) else {
            continue;
        };
        let value = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split('"').next(),
            None => rest.split(' ').next(),
        };
        ensure!(
            has(theirs).as_deref() == value,
            "{theirs} should be {value:?}"
        );
    }
    Ok(())
}

/// Without the first comment, which has the name of the disk.
fn desc_of(program: &Path, disk: &str) -> Result<String> {
    let text = printed(program, &["fdisk_to_desc", disk])?;
    Ok(text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| format!("{line}\n"))
        .collect())
}

/// The desc of a disk, on a second one, is the desc of that; also on a larger one, whose
/// last partition is larger then.
fn again(program: &Path) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let dos = "dos id=0x0badcafe\nlinux 20 boot fs=ext3 label=boot\nextended fill type=f\nlogical swap 10\nlogical linux 30 fs=ext4\nlogical linux fill fs=btrfs\n";
    for desc in [every_file_system(2), dos.to_owned()] {
        let first = folder.path().join("first").to_string_lossy().into_owned();
        fs::File::create(&first)?.set_len(1200 << 20)?;
        partition(program, folder.path(), &desc, &first)?;
        let text = desc_of(program, &first)?;
        for size in [1200, 1500] {
            // The first one would be found to have the same btrfs.
            fs::write(&first, [])?;
            let second = folder.path().join("second").to_string_lossy().into_owned();
            fs::File::create(&second)?.set_len(size << 20)?;
            partition(program, folder.path(), &text, &second)?;
            let again = desc_of(program, &second)?;
            ensure!(again == text, "{size}:\n{text}\nbecame\n{again}");
        }
    }
    Ok(())
}

fn in_use(program: &Path) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let backing = folder.path().join("disk");
    let disk = Loop::new(&backing, 100 << 20)?;
    let _mounted = Mounted::new(&disk.device, &folder.path().join("mounted"))?;
    let before = fs::read(&backing)?;
    let desc = folder.path().join("desc");
    fs::write(&desc, "linux fill")?;
    let desc = desc.to_string_lossy();
    for decision in ["--yes", "--dry-run"] {
        let said = complained(
            program,
            &["partition", "--desc", &desc, decision, &disk.device],
        )?;
        let expected = format!("{} is in use: {} is mounted on", disk.device, disk.device);
        ensure!(
            said.contains(&expected) && said.trim().lines().count() == 1,
            "{said}"
        );
    }
    // The kernel goes on writing its inodes; a table would lie in front and at the end.
    let after = fs::read(&backing)?;
    let end = before.len() - (64 << 10);
    let same = before[..1024] == after[..1024] && before[end..] == after[end..];
    ensure!(same, "it was written to");
    Ok(())
}

fn unfit(program: &Path) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let image = folder.path().join("image");
    let pattern = vec![0x5A; 64 << 20];
    fs::write(&image, &pattern)?;
    let desc = folder.path().join("desc");
    let (image, desc) = (image.to_string_lossy(), desc.to_string_lossy());
    for (text, about) in [
        (
            "linux 50\nlinux 20",
            "line 2: linux 20 does not fit: 20 MB are wanted and 13 MB are left, 7 MB too few",
        ),
        (
            "linux 50\nlinux x",
            "line 2: \"x\" is no size; write megabytes",
        ),
        (
            "extended 50\nlogical linux 60",
            "line 2: logical linux 60 does not fit",
        ),
    ] {
        fs::write(desc.as_ref(), text)?;
        let said = complained(program, &["partition", "--desc", &desc, "--yes", &image])?;
        ensure!(
            said.contains(about) && said.trim().lines().count() == 1,
            "{said}"
        );
    }
    fs::write(desc.as_ref(), "linux 50")?;
    let plan = printed(
        program,
        &["partition", "--desc", &desc, "--dry-run", &image],
    )?;
    ensure!(
        plan.contains("lost: nothing that is known") && plan.contains("2048   102400"),
        "{plan}"
    );
    let output = goldring(program, &["partition", "--desc", &desc, &image])?;
    ensure!(
        output.status.code() == Some(2),
        "neither --yes nor --dry-run"
    );
    ensure!(fs::read(image.as_ref())? == pattern, "it was written to");
    Ok(())
}

/// Tables that sfdisk and sgdisk made, with their oddities, are described so that the
/// same comes of it.
fn of_others(program: &Path) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let scripts = [
        "label: dos\nlabel-id: 0x12345678\nstart=2048, size=20480, type=83, bootable\nstart=63488, size=40960, type=f\nstart=65536, size=2048, type=82\nstart=77824, size=20000, type=8e\n",
        "label: dos\nunit: sectors\nstart=63, size=20000, type=b\nstart=20480, size=90000, type=5\nstart=20543, size=4001, type=83\nstart=30000, size=80480, type=83\n",
        "label: gpt\nfirst-lba: 34\nstart=34, size=2014, type=21686148-6449-6E6F-744E-656564454649\nsize=20480, type=L, name=\"a b\"\nsize=+, type=S\n",
    ];
    for script in scripts {
        let image = folder.path().join("image").to_string_lossy().into_owned();
        fs::File::create(&image)?.set_len(100 << 20)?;
        let file = folder.path().join("script");
        fs::write(&file, script)?;
        let command = format!("sfdisk -q --no-reread '{image}' < '{}'", file.display());
        tool("sh", &["-c", &command])?;
        let text = desc_of(program, &image)?.replace(" fs=none", "");
        let text: String = text
            .lines()
            .map(|line| {
                format!(
                    "{line} {}\n",
                    if line.starts_with("dos")
                        || line.starts_with("gpt")
                        || line.starts_with("extended")
                    {
                        ""
                    } else {
                        "fs=none"
                    }
                )
            })
            .collect();
        let copy = folder.path().join("copy").to_string_lossy().into_owned();
        fs::File::create(&copy)?.set_len(100 << 20)?;
        partition(program, folder.path(), &text, &copy)?;
        let [theirs, ours] = [&image, &copy].map(|disk| {
            let dump = tool("sfdisk", &["-d", disk]).unwrap_or_default();
            dump.replace(disk, "")
                .lines()
                .filter(|line| {
                    !line.starts_with("last-lba")
                        && !line.starts_with("first-lba")
                        && !line.starts_with("device")
                })
                .map(str::to_owned)
                .collect::<Vec<_>>()
        });
        ensure!(
            theirs == ours && theirs.len() > 4,
            "{text}\n{theirs:#?}\n{ours:#?}"
        );
    }
    // A disk without a table says so.
    let empty = folder.path().join("empty");
    fs::File::create(&empty)?.write_at(&[0], 10 << 20)?;
    let said = complained(program, &["fdisk_to_desc", &empty.to_string_lossy()])?;
    if !said.contains("there is no partition table") {
        bail!("{said}");
    }
    Ok(())
}
