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

/// Stops all RAID and LVM that nobody uses, whoever started it: what a clone that broke off
/// left behind would keep its disks from the next try. What is used goes on; who looks at the
/// disks afterwards sees by whom.
pub(crate) fn stop_idle(world: &mut World<'_>) {
    let blocks = world.root.join("/sys/class/block");
    let names = fs::read_dir(&blocks).into_iter().flatten().flatten();
    let mut names: Vec<String> = names
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    let of_lvm = |name: &String| {
        let uuid = fs::read_to_string(blocks.join(name).join("dm/uuid"));
        uuid.is_ok_and(|uuid| uuid.starts_with("LVM-"))
    };
    if names.iter().any(of_lvm) {
        tell(world, "vgchange", &["--activate", "n"]);
    }
    for name in names
        .iter()
        .filter(|name| blocks.join(name).join("md").exists())
    {
        tell(world, "mdadm", &["--stop", &format!("/dev/{name}")]);
    }
}

#[cfg(test)]
mod tests {
    use goldring_contract::Root;

    use super::*;
    use crate::tools::run::testing::Recorder;

    fn stopped(files: &[(&str, &str)]) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::at(folder.path());
        for (name, text) in files {
            let path = root.join(format!("/sys/class/block/{name}"));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        // One that is used does not keep the others.
        let mut runner = Recorder::new(|line: &str| match line.contains("md0") {
            true => anyhow::bail!("in use"),
            false => Ok(String::new()),
        });
        stop_idle(&mut World {
            root: &root,
            runner: &mut runner,
        });
        runner.lines
    }

    #[test]
    fn what_is_built_upon_disks_is_stopped_from_the_top() {
        let files = [
            ("sda/size", "9"),
            ("md0/md/level", "raid1"),
            ("md1/md/level", "raid1"),
            ("md0p1/size", "9"),
            ("dm-0/dm/uuid", "LVM-abc"),
        ];
        assert_eq!(
            stopped(&files),
            [
                "vgchange --activate n",
                "mdadm --stop /dev/md0",
                "mdadm --stop /dev/md1"
            ]
        );
        // An encrypted disk is none of them.
        assert_eq!(stopped(&[("dm-0/dm/uuid", "CRYPT-LUKS2-abc")]), [""; 0]);
        assert_eq!(stopped(&[]), [""; 0]);
    }
}
