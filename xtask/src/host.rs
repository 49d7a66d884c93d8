//! What this machine has: programs, packages, root, and a person who presses
//! Ctrl-C.

use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, bail};

/// A file or program that something needs, and the Debian package that has it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Need {
    /// A program on the path, or an absolute file name.
    pub(crate) what: &'static str,
    /// The package that brings it.
    pub(crate) package: &'static str,
}

/// Short for a [`Need`].
pub(crate) const fn need(what: &'static str, package: &'static str) -> Need {
    Need { what, package }
}

/// What the lab needs beside Rust.
pub(crate) const LAB: &[Need] = &[
    need("qemu-system-x86_64", "qemu-system-x86"),
    need("/usr/lib/ipxe/qemu/pxe-virtio.rom", "ipxe-qemu"),
    need("/usr/share/seabios/bios-256k.bin", "seabios"),
    need("/usr/lib/PXELINUX/pxelinux.0", "pxelinux"),
    need(
        "/usr/lib/syslinux/modules/bios/ldlinux.c32",
        "syslinux-common",
    ),
    need("dnsmasq", "dnsmasq-base"),
    need("rsyslogd", "rsyslog"),
    need("nginx", "nginx-light"),
    need("python3", "python3"),
    need("busybox", "busybox"),
    need("ip", "iproute2"),
    need("mmdebstrap", "mmdebstrap"),
    need(
        "/usr/share/keyrings/debian-archive-keyring.gpg",
        "debian-archive-keyring",
    ),
    need("mke2fs", "e2fsprogs"),
    need("sfdisk", "fdisk"),
    need("vsftpd", "vsftpd"),
    need("openssl", "openssl"),
    // The images that came by dolly in the old days.
    need("unsquashfs", "squashfs-tools"),
    need("xorriso", "xorriso"),
    need("create_compressed_fs", "cloop-utils"),
    // Stage 2 over NFS, and on disks with these file systems.
    need("ganesha.nfsd", "nfs-ganesha"),
    need(
        "/usr/lib/x86_64-linux-gnu/ganesha/libfsalvfs.so",
        "nfs-ganesha-vfs",
    ),
    need("rpcbind", "rpcbind"),
    need("mkfs.xfs", "xfsprogs"),
    need("mkfs.vfat", "dosfstools"),
    // A person who logs in to the rescue system, and an installed system to mend.
    need("ssh-keygen", "openssh-client"),
    need("mkfs.btrfs", "btrfs-progs"),
    // Machines that UEFI starts.
    need("/usr/share/OVMF/OVMF_CODE_4M.fd", "ovmf"),
];

/// What the tests in network namespaces need.
pub(crate) const NAMESPACES: &[Need] = &[
    need("ip", "iproute2"),
    need("tc", "iproute2"),
    need("python3", "python3"),
    need("losetup", "mount"),
    need("unshare", "util-linux"),
    need("dnsmasq", "dnsmasq-base"),
    need("radvd", "radvd"),
    // What `>>` unpacks.
    need("cpio", "cpio"),
    need("bzip2", "bzip2"),
    need("xz", "xz-utils"),
    need("zstd", "zstd"),
    need("mke2fs", "e2fsprogs"),
    // Images of a stage 2, as old and new golden nodes have them.
    need("mksquashfs", "squashfs-tools"),
    need("xorriso", "xorriso"),
    need("create_compressed_fs", "cloop-utils"),
    // What makes file systems from a desc file, and what looks at the result.
    need("sfdisk", "fdisk"),
    need("sgdisk", "gdisk"),
    need("mkfs.xfs", "xfsprogs"),
    need("mkfs.btrfs", "btrfs-progs"),
    need("mkreiserfs", "reiserfsprogs"),
    need("mkfs.jfs", "jfsutils"),
    need("mkfs.fat", "dosfstools"),
    need("mkntfs", "ntfs-3g"),
];

impl Need {
    /// Whether it is there.
    pub(crate) fn is_met(&self) -> bool {
        if self.what.starts_with('/') {
            return Path::new(self.what).exists();
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        // Debian keeps sfdisk and mke2fs out of an ordinary user's path.
        let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
        folders
            .into_iter()
            .any(|folder| folder.join(self.what).is_file())
    }
}

/// The packages that are missing, each once.
pub(crate) fn missing(needs: &[Need]) -> Vec<&'static str> {
    let mut packages: Vec<_> = needs
        .iter()
        .filter(|n| !n.is_met())
        .map(|n| n.package)
        .collect();
    packages.sort_unstable();
    packages.dedup();
    packages
}

/// Installs what is missing, by apt.
///
/// # Errors
/// No root, no apt, or apt's own failure with its last lines.
pub(crate) fn install(needs: &[Need]) -> Result<()> {
    let packages = missing(needs);
    if packages.is_empty() {
        return Ok(());
    }
    let by_hand = format!(
        "apt-get install --no-install-recommends {}",
        packages.join(" ")
    );
    if !is_root() {
        bail!(
            "installing {} needs root; run as root: {by_hand}",
            packages.join(" ")
        );
    }
    eprintln!("installing {}", packages.join(" "));
    for arguments in [
        vec!["update"],
        [&["install", "-y", "--no-install-recommends"], &packages[..]].concat(),
    ] {
        let output = Command::new("apt-get")
            .args(&arguments)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .output()
            .with_context(|| format!("running apt-get; install by hand: {by_hand}"))?;
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stderr);
            let last: Vec<_> = text.lines().rev().take(5).collect();
            bail!("apt-get {} failed: {}", arguments[0], last.join(" / "));
        }
    }
    match missing(needs).as_slice() {
        [] => Ok(()),
        still => bail!("installed, but still missing: {}", still.join(" ")),
    }
}

/// Whether this process may make network namespaces.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// From now on Ctrl-C and SIGTERM only set a flag; see [`check_interrupt`].
pub(crate) fn catch_interrupts() -> Result<()> {
    static INSTALLED: OnceLock<()> = OnceLock::new();
    if INSTALLED.set(()).is_ok() {
        ctrlc::set_handler(|| INTERRUPTED.store(true, Ordering::Relaxed))
            .context("installing the Ctrl-C handler")?;
    }
    Ok(())
}

/// An error once somebody pressed Ctrl-C; every loop that waits calls it, so that
/// what was made is taken down on the way out.
pub(crate) fn check_interrupt() -> Result<()> {
    if INTERRUPTED.load(Ordering::Relaxed) {
        bail!("interrupted; everything was taken down");
    }
    Ok(())
}

/// Waits until no other program holds the lock of `folder`, and holds it until it is
/// dropped. `what` stands in the message about another one.
///
/// # Errors
/// The lock cannot be had, or somebody pressed Ctrl-C.
pub(crate) fn lock(folder: &Path, what: &str) -> Result<File> {
    goldring_builder::lock::hold(folder, |first| {
        if first {
            let folder = folder.display();
            eprintln!("another {what} is running (it holds {folder}/lock); waiting for its end");
        }
        check_interrupt()
    })
}

/// Runs a command that is quiet when all is well.
///
/// # Errors
/// The command line, the status and the last lines of what it said.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    let line = format!("{command:?}").replace('"', "");
    let output = command
        .stdin(std::process::Stdio::null())
        .output()
        .with_context(|| format!("starting {line}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let mut last: Vec<_> = text.lines().rev().take(20).collect();
    last.reverse();
    bail!("{line}: {}: {}", output.status, last.join(" / "))
}
