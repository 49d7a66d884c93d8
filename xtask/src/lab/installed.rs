//! Golden machines whose disks are of another kind than the plain golden disk: several file
//! systems, arrays, volumes, UEFI. A virtual machine installs them by the distribution's own
//! programs, so the machine that makes them needs no such drivers, and nothing of goldring is
//! in them. They are kept for the next run.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::guest::engine;
use super::process::{Process, last_lines};
use super::{golden, lock};
use crate::{host, workspace};

/// The first program of the machine that installs.
const INSTALL: &str = include_str!("layouts/install.sh");
/// The system that is installed is a file system in a file of so many bytes, with holes.
const SEED: u64 = 3 << 30;
/// How long an installation may take on a busy machine without KVM.
const LIMIT: Duration = Duration::from_secs(1800);
/// What the installing machine says at its end.
const INSTALLED: &str = "golden machine: installed";
/// UEFI: its code, and variables that nobody has set.
const UEFI: [&str; 2] = [
    "/usr/share/OVMF/OVMF_CODE_4M.fd",
    "/usr/share/OVMF/OVMF_VARS_4M.fd",
];
const FLASH: &str = "if=pflash,format=raw";
/// What golden machines have beside [`golden::PACKAGES`]: what makes the odd files of
/// `install.sh` and the partitions.
const PACKAGES: &str = "fdisk,attr,acl,libcap2-bin,perl";

/// What they do not have: a clone without KVM takes a minute for each 100 MB and an initramfs
/// one for each dozen of modules, and no story is about these.
const WITHOUT: [&str; 5] = [
    "/usr/share/doc/*",
    "/usr/share/man/*",
    "/lib/modules/*/kernel/sound/*",
    "/lib/modules/*/kernel/drivers/*",
    "/lib/modules/*/kernel/fs/*",
];
/// What they have of these all the same: the computers of the lab and the layouts' file systems.
const WITH: [&str; 24] = [
    "/lib/modules/*/kernel/drivers/acpi/*",
    "/lib/modules/*/kernel/drivers/ata/*",
    "/lib/modules/*/kernel/drivers/block/*",
    "/lib/modules/*/kernel/drivers/cdrom/*",
    "/lib/modules/*/kernel/drivers/md/*",
    "/lib/modules/*/kernel/drivers/net/*failover.ko",
    "/lib/modules/*/kernel/drivers/net/ethernet/intel/e1000*",
    "/lib/modules/*/kernel/drivers/net/virtio_net.ko",
    "/lib/modules/*/kernel/drivers/nvme/*",
    "/lib/modules/*/kernel/drivers/scsi/s*_mod.ko",
    "/lib/modules/*/kernel/drivers/scsi/scsi_common.ko",
    "/lib/modules/*/kernel/drivers/scsi/virtio_scsi.ko",
    "/lib/modules/*/kernel/drivers/virtio/*",
    "/lib/modules/*/kernel/fs/autofs/*",
    "/lib/modules/*/kernel/fs/binfmt_misc.ko",
    "/lib/modules/*/kernel/fs/btrfs/*",
    "/lib/modules/*/kernel/fs/configfs/*",
    "/lib/modules/*/kernel/fs/efivarfs/*",
    "/lib/modules/*/kernel/fs/ext4/*",
    "/lib/modules/*/kernel/fs/fat/*",
    "/lib/modules/*/kernel/fs/jbd2/*",
    "/lib/modules/*/kernel/fs/mbcache.ko",
    "/lib/modules/*/kernel/fs/nls/*",
    "/lib/modules/*/kernel/fs/xfs/*",
];

/// How the disks of a golden machine are to be.
struct Layout {
    /// What people call it.
    name: &'static str,
    /// Its disks, in MiB: `/dev/sda`, `/dev/sdb`, …
    disks: &'static [u64],
    /// Its firmware is UEFI, whose variables are kept beside the disks.
    uefi: bool,
    /// More packages of the system, with commas between them.
    packages: &'static str,
    /// The functions that `install.sh` tells of.
    script: &'static str,
}

const LAYOUTS: &[Layout] = &[
    Layout {
        name: "several",
        disks: &[2600],
        uefi: false,
        packages: "xfsprogs,btrfs-progs",
        script: include_str!("layouts/several.sh"),
    },
    Layout {
        name: "raid",
        disks: &[2000, 2000],
        uefi: false,
        packages: "mdadm",
        script: include_str!("layouts/raid.sh"),
    },
    Layout {
        name: "lvm",
        disks: &[2100],
        uefi: false,
        packages: "lvm2,xfsprogs",
        script: include_str!("layouts/lvm.sh"),
    },
    Layout {
        name: "uefi",
        disks: &[2000],
        uefi: true,
        packages: "grub-efi-amd64-bin,efibootmgr,dosfstools",
        script: include_str!("layouts/uefi.sh"),
    },
];

/// The layouts that there are.
pub(super) fn names() -> Vec<&'static str> {
    LAYOUTS.iter().map(|layout| layout.name).collect()
}

/// Makes the golden machine `name` if it is not there, and prints where its disks are, and
/// the variables of its firmware if that is UEFI.
///
/// # Errors
/// There is no such layout; a program fails, with the console of the machine.
pub(super) fn golden_machine(name: &str) -> Result<()> {
    let Some(layout) = LAYOUTS.iter().find(|layout| layout.name == name) else {
        bail!(
            "there is no layout {name}; there are {}",
            names().join(", ")
        );
    };
    let work = workspace::target().join("lab");
    let _lock = lock(&work)?;
    for disk in layout.make(&work)? {
        println!("{}", disk.display());
    }
    Ok(())
}

impl Layout {
    fn make(&self, work: &Path) -> Result<Vec<PathBuf>> {
        let file = |what: &str| work.join(format!("{}.{what}", self.name));
        let disks: Vec<PathBuf> = (1..=self.disks.len())
            .map(|number| file(&format!("disk{number}.img")))
            .collect();
        // Written at the end, so that half an installation is none.
        let variables = self.uefi.then(|| file("vars"));
        let all = || disks.iter().chain(&variables).cloned().collect();
        let (made, recipe) = (file("recipe"), self.recipe());
        if std::fs::read_to_string(&made).is_ok_and(|text| text == recipe) {
            return Ok(all());
        }
        eprintln!(
            "making the golden machine {} (some minutes, kept afterwards)",
            self.name
        );
        // It may be there of an older layout.
        let _ = std::fs::remove_file(&made);
        let root = golden::tree(&file("root"), &self.packages(), &WITHOUT, &WITH)?;
        self.settings(&root)?;
        let seed = file("seed");
        new_file(&seed, SEED)?;
        host::run(
            Command::new("mke2fs")
                .args(["-q", "-F", "-t", "ext4", "-d"])
                .args([&root, &seed]),
        )?;
        for (disk, size) in disks.iter().zip(self.disks) {
            new_file(disk, size << 20)?;
        }
        let machine = Machine {
            root: &root,
            seed: &seed,
            disks: &disks,
            variables: variables.as_deref(),
        };
        machine.install(&file("console"))?;
        std::fs::remove_dir_all(&root).with_context(|| format!("removing {}", root.display()))?;
        std::fs::remove_file(&seed).with_context(|| format!("removing {}", seed.display()))?;
        std::fs::write(&made, recipe).with_context(|| format!("writing {}", made.display()))?;
        Ok(all())
    }

    fn packages(&self) -> String {
        [golden::PACKAGES, PACKAGES, self.packages].join(",")
    }

    /// Everything that it is made of.
    fn recipe(&self) -> String {
        let disks = &self.disks;
        let packages = self.packages();
        let (uefi, script) = (self.uefi, self.script);
        format!(
            "{disks:?} {uefi}
{packages}
{WITHOUT:?} {WITH:?}
{script}
{INSTALL}"
        )
    }

    /// What an installer would have asked: the network by DHCP, the console on the serial line.
    fn settings(&self, root: &Path) -> Result<()> {
        let write = |name: &str, text: &str| {
            let path = root.join(name);
            std::fs::create_dir_all(path.parent().unwrap_or(root))
                .and_then(|()| std::fs::write(&path, text))
                .with_context(|| format!("writing {}", path.display()))
        };
        golden::name_and_password(root)?;
        write("installer/layout", self.script)?;
        write("installer/install", INSTALL)?;
        write(
            "etc/default/grub",
            "GRUB_TIMEOUT=1\nGRUB_CMDLINE_LINUX=\"console=tty0 console=ttyS0 no_timer_check\"\n\
             GRUB_TERMINAL=serial\nGRUB_SERIAL_COMMAND=\"serial --unit=0 --speed=115200\"\n",
        )?;
        // An emulated processor of a busy machine is slower than systemd thinks.
        write(
            "etc/systemd/system.conf.d/lab.conf",
            "[Manager]\nDefaultDeviceTimeoutSec=20min\nDefaultTimeoutStartSec=20min\n",
        )?;
        write(
            "etc/systemd/network/all.network",
            "[Match]\nType=ether\n\n[Network]\nDHCP=ipv4\n",
        )?;
        host::run(Command::new("chroot").arg(root).args([
            "sh",
            "-c",
            "chmod 755 /installer/install && systemctl enable systemd-networkd",
        ]))?;
        Ok(())
    }
}

fn new_file(path: &Path, size: u64) -> Result<()> {
    File::create(path)
        .and_then(|file| file.set_len(size))
        .with_context(|| format!("making {}", path.display()))
}

/// The machine that installs.
struct Machine<'a> {
    /// The tree, with kernel and initramfs.
    root: &'a Path,
    /// The tree as a disk.
    seed: &'a Path,
    disks: &'a [PathBuf],
    /// Where UEFI keeps its variables; none: it has a BIOS.
    variables: Option<&'a Path>,
}

impl Machine<'_> {
    /// Starts the tree, and waits until it is on the disks.
    fn install(&self, console: &Path) -> Result<()> {
        let mut qemu = Command::new("qemu-system-x86_64");
        qemu.args(engine("tcg", 1024))
            .args(["-display", "none", "-monitor", "none", "-no-reboot"])
            .args(["-nic", "none", "-smp", "2"])
            .arg("-serial")
            .arg(format!("file:{}", console.display()))
            .arg("-kernel")
            .arg(self.root.join("vmlinuz"))
            .arg("-initrd")
            .arg(self.root.join("initrd.img"))
            .args([
                "-append",
                "root=/dev/vda rw console=ttyS0 no_timer_check init=/installer/install",
            ])
            .arg("-drive")
            .arg(drive(self.seed, "virtio"));
        for disk in self.disks {
            qemu.arg("-drive").arg(drive(disk, "ide"));
        }
        if let Some(variables) = self.variables {
            let [code, unset] = UEFI;
            std::fs::copy(unset, variables).with_context(|| format!("copying {unset}"))?;
            qemu.args(["-machine", "q35", "-drive"])
                .arg(format!("{FLASH},unit=0,readonly=on,file={code}"))
                .arg("-drive")
                .arg(format!("{FLASH},unit=1,file={}", variables.display()));
        }
        let log = console.with_extension("qemu.log");
        let mut process = Process::start("the machine that installs", qemu, &log)?;
        process.wait_success(LIMIT)?;
        let said = std::fs::read(console).unwrap_or_default();
        if String::from_utf8_lossy(&said).contains(INSTALLED) {
            return Ok(());
        }
        bail!(
            "the golden machine was not installed: {}",
            last_lines(console, 12)
        )
    }
}

fn drive(file: &Path, bus: &str) -> String {
    format!("file={},if={bus},format=raw,cache=unsafe", file.display())
}
