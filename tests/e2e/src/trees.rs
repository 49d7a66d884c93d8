//! The files of a computer that is switched off: its disk as a loop device, its file systems
//! mounted below a folder. Needs root, and a kernel that knows them.

use std::path::Path;

use anyhow::{Context, Result};
use goldring_host_tests::net::run;
use goldring_host_tests::target::{Loop, Mounted};

/// A file system on a partition.
#[derive(Debug, Clone, Copy)]
pub struct Part<'a> {
    /// The partition's number.
    pub number: u32,
    /// Where the computer mounts it.
    pub place: &'a str,
    /// Its type.
    pub kind: &'a str,
}

/// A mounted tree, to be read only. Gone when dropped.
#[derive(Debug)]
pub struct Tree {
    /// Where.
    pub folder: tempfile::TempDir,
    // Dropped in this order: what is mounted in another goes first.
    _mounts: Vec<Mounted>,
    _disk: Loop,
}

/// What the kernel cannot mount, if there is something.
pub fn unknown<'a>(parts: &[Part<'a>]) -> Option<&'a str> {
    let all = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
    let knows = |kind: &str| {
        all.lines().any(|line| line.trim() == kind) || run("modprobe", &[kind]).is_ok()
    };
    parts.iter().map(|part| part.kind).find(|kind| !knows(kind))
}

/// Mounts the file systems of `disk`, `/` first.
///
/// # Errors
/// The disk or the kernel does not have them.
pub fn mounted(disk: &Path, parts: &[Part<'_>]) -> Result<Tree> {
    let folder = tempfile::tempdir()?;
    let (disk, devices) = attached(disk, parts)?;
    let mut mounts = Vec::new();
    for (part, device) in parts.iter().zip(devices) {
        // Another disk may have the same UUIDs, which this one does not want.
        let options = match part.kind {
            "xfs" => "ro,nouuid",
            _ => "ro",
        };
        let place = folder.path().join(part.place.trim_start_matches('/'));
        mounts.insert(0, Mounted::with(&device, options, &place)?);
    }
    Ok(Tree {
        folder,
        _mounts: mounts,
        _disk: disk,
    })
}

/// Gives each btrfs of `disk` another UUID, so that it can be mounted beside its clone. The
/// files stay what they are.
///
/// # Errors
/// The program fails.
pub fn with_other_uuids(disk: &Path, parts: &[Part<'_>]) -> Result<()> {
    let (_disk, devices) = attached(disk, parts)?;
    for (part, device) in parts.iter().zip(devices) {
        if part.kind == "btrfs" {
            run("btrfstune", &["-f", "-u", &device]).context("giving a btrfs another UUID")?;
        }
    }
    Ok(())
}

fn attached(disk: &Path, parts: &[Part<'_>]) -> Result<(Loop, Vec<String>)> {
    let disk = Loop::of(disk)?;
    // What somebody had there before may have been left. `-u` would take care of it, but it
    // stops at the hole behind an extended partition.
    let _ = run("partx", &["-d", &disk.device]);
    run("partx", &["-a", &disk.device])?;
    let device = |part: &Part<'_>| format!("{}p{}", disk.device, part.number);
    let devices = parts.iter().map(device).collect();
    Ok((disk, devices))
}
