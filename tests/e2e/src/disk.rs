//! A disk as an installed system leaves it, made without mounting anything: partitions
//! and file systems are written to a file at their places.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use goldring_host_tests::net::run;

const MIB: u64 = 1 << 20;

/// What is on the partitions, in MiB: `/boot`, `/`, swap, `/home`.
const PARTITIONS: [u64; 4] = [32, 64, 16, 128];

/// The name of the system, as it tells it itself.
pub const NAME: &str = "Mandriva Linux 2010.1";
/// Its fstab: the disk was called hda there, one file system is named by its label, and
/// some lines are for others.
const FSTAB: &str = "\
/dev/hda2 / ext3 relatime 1 1
LABEL=people /home btrfs noatime 1 2
/dev/hda1 /boot ext3 defaults 1 2
/dev/hda3 swap swap defaults 0 0
none /proc proc defaults 0 0
server:/export /net nfs defaults 0 0
/dev/cdrom /media/cdrom auto noauto,user 0 0
";

/// Makes it in `folder`: a dos table, `/boot` and `/` in ext3, swap, `/home` in btrfs.
/// `/boot/on-boot` and `/home/on-home` tell where they come from.
///
/// # Errors
/// A program is missing or fails.
pub fn installed(folder: &Path) -> Result<PathBuf> {
    let disk = folder.join("installed.img");
    let total: u64 = PARTITIONS.iter().sum();
    File::create(&disk)?.set_len((total + 2) * MIB)?;
    let sizes = PARTITIONS.iter().zip(["83", "83", "82", "83"]);
    let lines: String = sizes
        .map(|(size, kind)| format!("size={size}MiB, type={kind}\n"))
        .collect();
    partition(&disk, &format!("label: dos\n{lines}"))?;

    let root = folder.join("root");
    for place in [
        "etc",
        "boot",
        "home",
        "net",
        "dev",
        "proc",
        "sys",
        "media/cdrom",
    ] {
        fs::create_dir_all(root.join(place))?;
    }
    fs::write(root.join("etc/mandriva-release"), format!("{NAME}\n"))?;
    fs::write(root.join("etc/fstab"), FSTAB)?;
    let boot = folder.join("boot");
    let home = folder.join("home");
    for (place, file) in [(&boot, "on-boot"), (&home, "on-home")] {
        fs::create_dir_all(place)?;
        fs::write(place.join(file), "here\n")?;
    }
    let mut start = 1;
    for (size, (tree, label)) in PARTITIONS.iter().zip([
        (Some(&boot), ""),
        (Some(&root), "mandriva"),
        (None, ""),
        (Some(&home), "people"),
    ]) {
        let part = folder.join("part");
        File::create(&part)?.set_len(size * MIB)?;
        let part_name = part.to_str().context("an odd name")?;
        match tree {
            None => run("mkswap", &["-q", part_name])?,
            Some(tree) if label == "people" => {
                let tree = tree.to_str().context("an odd name")?;
                run(
                    "mkfs.btrfs",
                    &["-q", "-M", "-L", label, "--rootdir", tree, part_name],
                )?;
            }
            Some(tree) => {
                let tree = tree.to_str().context("an odd name")?;
                run(
                    "mke2fs",
                    &["-q", "-t", "ext3", "-L", label, "-d", tree, part_name],
                )?;
            }
        }
        copy(&part, &disk, start * MIB)?;
        fs::remove_file(&part)?;
        start += size;
    }
    Ok(disk)
}

fn partition(disk: &Path, script: &str) -> Result<()> {
    let mut sfdisk = Command::new("sfdisk")
        .arg("--quiet")
        .arg(disk)
        .stdin(Stdio::piped())
        .spawn()
        .context("starting sfdisk")?;
    let mut input = sfdisk.stdin.take().context("sfdisk has no input")?;
    input.write_all(script.as_bytes())?;
    drop(input);
    let status = sfdisk.wait()?;
    if !status.success() {
        bail!("sfdisk: {status}");
    }
    Ok(())
}

fn copy(from: &Path, to: &Path, offset: u64) -> Result<()> {
    let mut target = File::options().write(true).open(to)?;
    target.seek(SeekFrom::Start(offset))?;
    std::io::copy(&mut File::open(from)?, &mut target)?;
    Ok(())
}

/// A copy of a disk that does not boot: the code of its boot sector and what stands
/// between that and the first partition are zeros. The table stays.
///
/// # Errors
/// It cannot be copied.
pub fn without_loader(disk: &Path, copy: &Path) -> Result<()> {
    let (from, to) = (disk.to_str(), copy.to_str());
    let names = from.zip(to).context("an odd name")?;
    run("cp", &["--sparse=always", names.0, names.1])?;
    let mut file = File::options().write(true).open(copy)?;
    file.write_all(&[0; 440])?;
    file.seek(SeekFrom::Start(512))?;
    file.write_all(&vec![0; MIB as usize - 512])?;
    Ok(())
}
