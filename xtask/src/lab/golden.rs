//! The golden node's disk: a Debian that boots to a login, made without mounting
//! anything and kept for the next run.
//!
//! 1.5 GiB, a dos table, ext4 (bootable) and swap, GRUB for BIOS. The machine that
//! makes it may have no support for partitions on loop devices, so the file system is
//! filled by `mke2fs -d` and GRUB's images are written to their sectors here.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::host;

/// The disk, 1.5 GiB: the system has 0.7.
const SIZE: u64 = 3 << 29;
const SECTOR: u64 = 512;
/// First sector of the root partition: 1 MiB, which leaves room for GRUB before it.
const ROOT_START: u64 = 2048;
const ROOT_SECTORS: u64 = 2_800_000;
/// First sector of the swap partition, as sfdisk aligns it.
const SWAP_START: u64 = 2_803_712;
const ROOT_UUID: &str = "5a1bd16f-0000-4000-8000-676f6c647231";
const SWAP_UUID: &str = "5a1bd16f-0000-4000-8000-676f6c647232";
const SUITE: &str = "bookworm";
/// busybox and zstd: what initramfs-tools recommends, so what an installed Debian has.
/// grub2-common has grub-install, which install_bootloader runs in an installed system.
pub(super) const PACKAGES: &str = "linux-image-amd64,systemd-sysv,udev,kmod,login,e2fsprogs,iproute2,dbus,grub-pc-bin,grub-common,grub2-common,busybox,zstd";

/// What is made.
#[derive(Debug)]
pub(crate) struct Golden {
    /// The disk.
    pub(crate) disk: PathBuf,
    /// The system's kernel.
    pub(crate) kernel: PathBuf,
    /// The system's initramfs, by initramfs-tools with `MODULES=most`.
    pub(crate) initrd: PathBuf,
}

/// The golden disk below `work` and what boots it, made when they are not there.
pub(crate) fn make(work: &Path) -> Result<Golden> {
    let golden = Golden {
        disk: work.join("golden.img"),
        kernel: work.join("golden.vmlinuz"),
        initrd: work.join("golden.initrd"),
    };
    if golden.disk.exists() && golden.initrd.exists() && golden.kernel.exists() {
        return Ok(golden);
    }
    println!("making the golden disk: Debian {SUITE} (about two minutes, kept afterwards)");
    let root = system(work)?;
    for (link, file) in [("vmlinuz", &golden.kernel), ("initrd.img", &golden.initrd)] {
        let from = root.join(link);
        std::fs::copy(&from, file).with_context(|| format!("copying {}", from.display()))?;
    }
    let unfinished = work.join("golden.img.part");
    write_disk(&root, &unfinished)?;
    std::fs::remove_dir_all(&root).with_context(|| format!("removing {}", root.display()))?;
    std::fs::rename(&unfinished, &golden.disk)
        .with_context(|| format!("renaming {}", unfinished.display()))?;
    Ok(golden)
}

/// A Debian with these packages as a tree of files at `root`, in place of what is there.
/// Files that `without` matches are not unpacked, but for those that `with` matches.
pub(super) fn tree(
    root: &Path,
    packages: &str,
    without: &[&str],
    with: &[&str],
) -> Result<PathBuf> {
    if root.exists() {
        std::fs::remove_dir_all(root).with_context(|| format!("removing {}", root.display()))?;
    }
    let log = root.with_extension("mmdebstrap.log");
    let output = File::create(&log).with_context(|| format!("making {}", log.display()))?;
    // dpkg goes by the last one that matches.
    let exclude = |files: &&str| format!("--dpkgopt=path-exclude={files}");
    let include = |files: &&str| format!("--dpkgopt=path-include={files}");
    let status = Command::new("mmdebstrap")
        .args(["--variant=minbase", &format!("--include={packages}")])
        .args(without.iter().map(exclude))
        .args(with.iter().map(include))
        .arg(SUITE)
        .arg(root)
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .status()
        .context("starting mmdebstrap")?;
    if !status.success() {
        bail!("mmdebstrap: {status}; what it said is in {}", log.display());
    }
    Ok(root.to_owned())
}

/// Calls the system at `root` golden. That is its password, too: a lab has nothing to protect.
pub(super) fn name_and_password(root: &Path) -> Result<()> {
    for (name, text) in [
        ("etc/hostname", "golden\n"),
        ("etc/hosts", "127.0.0.1 localhost golden\n"),
    ] {
        let path = root.join(name);
        std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
    }
    let script = "echo root:golden | chpasswd";
    host::run(Command::new("chroot").arg(root).args(["sh", "-c", script]))?;
    Ok(())
}

/// The golden system as a tree of files.
fn system(work: &Path) -> Result<PathBuf> {
    let root = tree(&work.join("golden.root"), PACKAGES, &[], &[])?;
    name_and_password(&root)?;
    let write = |name: &str, text: &str| {
        let path = root.join(name);
        std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))
    };
    write(
        "etc/fstab",
        &format!(
            "UUID={ROOT_UUID} / ext4 errors=remount-ro 0 1\nUUID={SWAP_UUID} none swap sw 0 0\n"
        ),
    )?;
    std::fs::create_dir_all(root.join("boot/grub"))?;
    write("boot/grub/grub.cfg", &grub_config())?;
    host::run(Command::new("chroot").arg(&root).args([
        "sh",
        "-c",
        "grub-mkimage -O i386-pc -o /boot/grub/core.img \
         -p '(hd0,msdos1)/boot/grub' biosdisk part_msdos ext2 linux normal serial configfile",
    ]))?;
    Ok(root)
}

fn grub_config() -> String {
    format!(
        "serial --unit=0 --speed=115200\nterminal_output serial\n\
         linux /vmlinuz root=UUID={ROOT_UUID} ro console=tty0 console=ttyS0 no_timer_check\n\
         initrd /initrd.img\nboot\n"
    )
}

fn write_disk(root: &Path, disk: &Path) -> Result<()> {
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(disk)
        .with_context(|| format!("making {}", disk.display()))?;
    file.set_len(SIZE)?;
    partition(disk)?;
    let offset = format!("offset={}", ROOT_START * SECTOR);
    host::run(
        Command::new("mke2fs")
            .args([
                "-q", "-t", "ext4", "-L", "golden", "-U", ROOT_UUID, "-E", &offset, "-d",
            ])
            .arg(root)
            .arg(disk)
            .arg(format!("{}k", ROOT_SECTORS * SECTOR / 1024)),
    )?;
    write_swap(&mut file, disk)?;
    write_grub(&mut file, root)?;
    file.sync_all().context("syncing the golden disk")
}

fn partition(disk: &Path) -> Result<()> {
    let mut sfdisk = Command::new("sfdisk")
        .arg("--quiet")
        .arg(disk)
        .stdin(Stdio::piped())
        .spawn()
        .context("starting sfdisk")?;
    let table = format!(
        "label: dos\nstart={ROOT_START}, size={ROOT_SECTORS}, type=83, bootable\nstart={SWAP_START}, type=82\n"
    );
    sfdisk
        .stdin
        .take()
        .context("sfdisk has no input")?
        .write_all(table.as_bytes())?;
    let status = sfdisk.wait()?;
    if !status.success() {
        bail!("sfdisk: {status}");
    }
    Ok(())
}

/// mkswap writes to files from their start, so the header is made aside and copied.
fn write_swap(file: &mut File, disk: &Path) -> Result<()> {
    let aside = disk.with_extension("swap");
    File::create(&aside)?.set_len(SIZE - SWAP_START * SECTOR)?;
    host::run(
        Command::new("mkswap")
            .args(["-q", "-U", SWAP_UUID])
            .arg(&aside),
    )?;
    let mut header = Vec::new();
    File::open(&aside)?.take(4096).read_to_end(&mut header)?;
    file.seek(SeekFrom::Start(SWAP_START * SECTOR))?;
    file.write_all(&header)?;
    std::fs::remove_file(&aside).with_context(|| format!("removing {}", aside.display()))
}

/// GRUB's first stage goes into the boot sector, before the table (440 bytes), and
/// its core image into the sectors behind it; `boot.img` looks for it in sector 1.
fn write_grub(file: &mut File, root: &Path) -> Result<()> {
    let read = |name: &str| {
        let path = root.join(name);
        std::fs::read(&path).with_context(|| format!("reading {}", path.display()))
    };
    let boot = read("usr/lib/grub/i386-pc/boot.img")?;
    let core = read("boot/grub/core.img")?;
    if core.len() as u64 > (ROOT_START - 1) * SECTOR {
        bail!("GRUB's core image does not fit before the first partition");
    }
    file.seek(SeekFrom::Start(0))?;
    file.write_all(&boot[..440])?;
    file.seek(SeekFrom::Start(SECTOR))?;
    file.write_all(&core)?;
    Ok(())
}
