//! `method:disk`: stage 2 on a disk of this computer or a USB stick, as files or in an
//! ISO file. Nothing is written there.

use std::path::PathBuf;

use goldring_hw::device::Kind as Hardware;

use super::mounted::block::{Device, Empty, Kind, devices, first};
use super::mounted::{self, Miss};
use crate::ctx::Ctx;
use crate::fate::Fate;

/// Looks at the partition or disk that is named, or at all of them.
pub(super) fn deliver(ctx: &mut Ctx) -> Result<PathBuf, Fate> {
    // What a try before has left.
    ctx.held = None;
    let all = devices(&ctx.root);
    let candidates = chosen(ctx, &all)?;
    let tell = |device: &Device, empty| told(device, empty, &all);
    match first(ctx, &candidates, |_| true, tell) {
        Ok(found) => mounted::deliver(ctx, found),
        Err(misses) => Err(mounted::nothing(&mounted::together(
            "no stage 2 on a disk",
            misses,
        ))),
    }
}

/// What a dry run says.
pub(super) fn plan(ctx: &Ctx) -> Result<String, Fate> {
    let all = devices(&ctx.root);
    let candidates = chosen(ctx, &all)?;
    let names: Vec<&str> = candidates.iter().map(Device::name).collect();
    let directory = ctx.automatic()?.directory.trim_matches('/');
    Ok(format!(
        "would look for stage 2 in /{directory} of {}",
        names.join(", ")
    ))
}

/// The devices to look at, partitions before the disk that they are on.
fn chosen(ctx: &Ctx, all: &[Device]) -> Result<Vec<Device>, Fate> {
    let automatic = ctx.automatic()?;
    let mut every: Vec<Device> = Vec::new();
    for disk in all.iter().filter(|device| *device.kind() == Kind::Disk) {
        every.extend(all.iter().filter(|part| is_part(part, disk)).cloned());
        every.push(disk.clone());
    }
    if every.is_empty() {
        let hints = ctx.hardware.hints(&ctx.root, Hardware::Storage);
        return Err(Fate::retry("method:disk: this computer shows no disk").because(&hints));
    }
    let (key, name, chosen): (_, _, Vec<Device>) = match (&automatic.partition, &automatic.disk) {
        (Some(name), _) => {
            let is_it = |device: &&Device| device.name() == name;
            (
                "partition",
                name,
                every.iter().filter(is_it).cloned().collect(),
            )
        }
        (None, Some(name)) => {
            let is_on = |device: &&Device| device.disk() == name;
            ("disk", name, every.iter().filter(is_on).cloned().collect())
        }
        (None, None) => return Ok(every),
    };
    if !chosen.is_empty() {
        return Ok(chosen);
    }
    let there: Vec<&str> = every
        .iter()
        .filter(|device| key == "partition" || *device.kind() == Kind::Disk)
        .map(Device::name)
        .collect();
    // It may be a stick that shows itself later.
    let hints = ctx.hardware.hints(&ctx.root, Hardware::Storage);
    Err(Fate::retry(format!(
        "{key}:{name}: there is no such {key}, but {}",
        there.join(", ")
    ))
    .because(&hints))
}

fn is_part(part: &Device, disk: &Device) -> bool {
    matches!(part.kind(), Kind::Partition(of) if of == disk.name())
}

/// What to tell of a device. That a disk with partitions is no file system itself is what
/// one expects.
fn told(device: &Device, empty: Empty, all: &[Device]) -> Option<Miss> {
    let name = device.name();
    let split = all.iter().any(|part| is_part(part, device));
    match empty {
        Empty::Miss(miss) => Some(miss),
        Empty::NoFileSystem(_) if split => None,
        Empty::NoFileSystem(what) => Some(Miss::Absent(what)),
        Empty::NoMedium => Some(Miss::Absent(format!("{name} has no disc in it"))),
    }
}
