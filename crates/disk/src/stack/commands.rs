//! The commands that make arrays, groups and volumes.

use std::fmt::Display;

use crate::desc::{Array, Group, Size, Volume};

/// The arguments of `mdadm` that make an array; of a member that is not there it learns
/// that it is missing.
pub fn mdadm(array: &Array, members: &[Option<String>]) -> Vec<String> {
    let mut line = vec!["--create".to_owned(), format!("/dev/{}", array.device)];
    // Ask nothing, whatever was on the members.
    line.push("--run".into());
    line.push(format!("--level={}", array.level));
    line.push(format!("--raid-devices={}", array.members));
    line.push(format!("--metadata={}", array.metadata));
    let mut option = |key: &str, value: Option<String>| {
        line.extend(value.map(|value| format!("--{key}={value}")));
    };
    option("uuid", array.id.clone());
    option(
        "name",
        array.name.clone().filter(|_| array.metadata != "0.90"),
    );
    option(
        "chunk",
        array.chunk.map(|bytes| format!("{}K", bytes >> 10)),
    );
    option("layout", array.layout.clone());
    if array.members == 1 {
        line.push("--force".into());
    }
    line.extend(
        members
            .iter()
            .map(|member| member.clone().unwrap_or_else(|| "missing".into())),
    );
    line
}

/// The arguments of `pvcreate`.
pub fn pvcreate(device: &str, uuid: Option<&str>) -> Vec<String> {
    let mut line = words(&["-y", "-ff"]);
    if let Some(uuid) = uuid {
        line.extend(words(&["--uuid", uuid, "--norestorefile"]));
    }
    line.push(device.to_owned());
    line
}

/// The arguments of `vgcreate`.
pub fn vgcreate(group: &Group, devices: &[String]) -> Vec<String> {
    let mut line = words(&["-y"]);
    if let Some(extent) = group.extent {
        line.extend(words(&["-s", &format!("{}k", extent >> 10)]));
    }
    line.push(group.name.clone());
    line.extend(devices.iter().cloned());
    line
}

/// The arguments of `lvcreate`; `extents` is how many the whole group has.
pub fn lvcreate(volume: &Volume, extents: u64) -> Vec<String> {
    // Old signatures where it lies are wiped, without a question.
    let mut line = words(&["-y", "-Wy", "-n", &volume.name]);
    let mut option = |key: &str, value: Option<&dyn Display>| {
        if let Some(value) = value {
            line.extend([key.to_owned(), value.to_string()]);
        }
    };
    match volume.size {
        Size::Fill => option("-l", Some(&"100%FREE")),
        Size::Units(units) => option("-L", Some(&format!("{}s", units))),
        Size::Percent(share) => option("-l", Some(&of_share(share, extents))),
    }
    option("-i", volume.stripes.as_ref().map(|n| n as &dyn Display));
    let stripe = volume.stripe.map(|bytes| format!("{}k", bytes >> 10));
    option("-I", stripe.as_ref().map(|text| text as &dyn Display));
    line.push(volume.group.clone());
    line
}

pub(super) fn of_share(share: u16, extents: u64) -> u64 {
    (u128::from(extents) * u128::from(share) / 10_000).max(1) as u64
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}
