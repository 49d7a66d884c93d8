//! `method:cdrom`: stage 2 on a CD or DVD, or on a USB stick or disk that a CD's image was
//! written to.

use std::path::PathBuf;

use goldring_disk::probe::FileSystem;
use goldring_hw::device::Kind as Hardware;

use super::mounted::block::{Device, Empty, Kind, devices, first};
use super::mounted::{self, Miss};
use crate::ctx::Ctx;
use crate::fate::Fate;

/// Looks into each drive, then at each disk.
pub(super) fn deliver(ctx: &mut Ctx) -> Result<PathBuf, Fate> {
    // What a try before has left.
    ctx.held = None;
    let candidates = candidates(ctx);
    match first(ctx, &candidates, is_disc, told) {
        Ok(found) => mounted::deliver(ctx, found),
        Err(misses) => Err(nothing(ctx, &candidates, misses)),
    }
}

/// What a dry run says.
pub(super) fn plan(ctx: &Ctx) -> Result<String, Fate> {
    let candidates = candidates(ctx);
    if candidates.is_empty() {
        return Err(nothing(ctx, &candidates, Vec::new()));
    }
    let names: Vec<&str> = candidates.iter().map(Device::name).collect();
    Ok(format!(
        "would look for a CD with stage 2 in {}",
        names.join(", ")
    ))
}

/// Drives first. An image that was written to a disk is on the whole of it.
fn candidates(ctx: &Ctx) -> Vec<Device> {
    let (drives, others): (Vec<_>, Vec<_>) = devices(&ctx.root)
        .into_iter()
        .filter(|device| !matches!(device.kind(), Kind::Partition(_)))
        .partition(|device| *device.kind() == Kind::Drive);
    drives.into_iter().chain(others).collect()
}

fn is_disc(fs: FileSystem) -> bool {
    matches!(fs, FileSystem::Iso9660 | FileSystem::Udf)
}

/// What to tell of a device. That a disk is no CD is what one expects.
fn told(device: &Device, empty: Empty) -> Option<Miss> {
    let name = device.name();
    match (device.kind(), empty) {
        (_, Empty::Miss(miss)) => Some(miss),
        (Kind::Drive, Empty::NoMedium) => Some(Miss::Absent(format!("{name} has no disc in it"))),
        (Kind::Drive, Empty::NoFileSystem(_)) => {
            Some(Miss::Absent(format!("the disc in {name} holds no files")))
        }
        _ => None,
    }
}

fn nothing(ctx: &Ctx, candidates: &[Device], misses: Vec<Miss>) -> Fate {
    let has_drive = candidates
        .iter()
        .any(|device| *device.kind() == Kind::Drive);
    if has_drive || !misses.is_empty() {
        return mounted::nothing(&mounted::together("no stage 2 on a CD", misses));
    }
    let disks: Vec<&str> = candidates.iter().map(Device::name).collect();
    let disks = match disks.as_slice() {
        [] => "no disk".to_owned(),
        disks => format!(
            "none of its disks ({}) holds a CD's image",
            disks.join(", ")
        ),
    };
    let hints = ctx.hardware.hints(&ctx.root, Hardware::Storage);
    Fate::retry(format!(
        "method:cdrom: this computer shows no CD drive, and {disks}"
    ))
    .because(&hints)
}
