//! RAID and LVM: started before a system is looked for, stopped when it is taken down.

use std::fs;

use anyhow::Context;

use super::disks;
use super::drivers;
use super::guessmounts::World;
use goldring_disk::lsblk::Device;

/// What was started, one on each line: `vg NAME`, `md /dev/md127`.
const STARTED: &str = "/run/goldring/volumes";

/// Starts what is there and does not run yet.
///
/// # Errors
/// Only those of lsblk: a RAID that lacks a disk must not hide the rest.
pub(crate) fn start(world: &mut World<'_>) -> anyhow::Result<()> {
    let before = disks::list(world.runner)?;
    let holds = |devices: &[Device], content: &str| devices.iter().any(|d| d.content == content);
    if holds(&before, "linux_raid_member") {
        drivers::need(world.root, "md-mod");
        tell(world, "mdadm", &["--assemble", "--scan"]);
    }
    let now = disks::list(world.runner)?;
    let mut groups = Vec::new();
    if holds(&now, "LVM2_member") {
        drivers::need(world.root, "dm-mod");
        groups = active_groups(world);
        tell(world, "vgchange", &["--activate", "y"]);
        let after = active_groups(world);
        groups = after
            .into_iter()
            .filter(|vg| !groups.contains(vg))
            .collect();
    }
    let is_raid = |device: &&Device| device.kind.starts_with("raid");
    let old: Vec<&str> = before
        .iter()
        .filter(is_raid)
        .map(|d| d.name.as_str())
        .collect();
    let mut lines: Vec<String> = groups.iter().map(|vg| format!("vg {vg}\n")).collect();
    let raids = now.iter().filter(is_raid).map(|d| &d.name);
    let raids = raids.filter(|name| !old.contains(&name.as_str()));
    lines.extend(raids.map(|name| format!("md {name}\n")));
    remember(world, &lines).with_context(|| format!("writing {STARTED}"))
}

/// The groups that have an active volume.
fn active_groups(world: &mut World<'_>) -> Vec<String> {
    let arguments = ["--noheadings", "-o", "vg_name", "-S", "lv_active=active"];
    let text = world.runner.run("lvs", &arguments).unwrap_or_default();
    let mut groups: Vec<String> = text.lines().map(|line| line.trim().to_owned()).collect();
    groups.retain(|group| !group.is_empty());
    groups.sort();
    groups.dedup();
    groups
}

fn tell(world: &mut World<'_>, program: &str, arguments: &[&str]) {
    if let Err(error) = world.runner.run(program, arguments) {
        eprintln!("{error:#}");
    }
}

fn remember(world: &World<'_>, lines: &[String]) -> std::io::Result<()> {
    if lines.is_empty() {
        return Ok(());
    }
    let path = world.root.join(STARTED);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let old = fs::read_to_string(&path).unwrap_or_default();
    fs::write(path, old + &lines.concat())
}

/// Stops what [`start`] started, so that the disks are free to be written to.
///
/// # Errors
/// Somebody uses one.
pub(crate) fn stop(world: &mut World<'_>) -> anyhow::Result<()> {
    let path = world.root.join(STARTED);
    let text = fs::read_to_string(&path).unwrap_or_default();
    for line in text.lines() {
        match line.split_once(' ') {
            Some(("vg", name)) => world.runner.run("vgchange", &["--activate", "n", name])?,
            Some(("md", name)) => world.runner.run("mdadm", &["--stop", name])?,
            _ => continue,
        };
    }
    match fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {STARTED}"))
        }
        _ => Ok(()),
    }
}
