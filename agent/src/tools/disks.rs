//! The block devices of this machine.

use anyhow::Context;
use goldring_disk::lsblk::{self, BLKID, Device, LSBLK};

use super::run::Runner;

/// All devices that have a size, as lsblk lists them: disks by number, each followed by
/// what is in it.
///
/// # Errors
/// lsblk fails.
pub(crate) fn list(runner: &mut dyn Runner) -> anyhow::Result<Vec<Device>> {
    let text = runner.run("lsblk", &LSBLK).context("looking for disks")?;
    let mut devices = lsblk::parse(&text);
    for device in &mut devices {
        let arguments = [&BLKID[..], &[&device.name]].concat();
        // A device that holds nothing known is a failure to blkid.
        device.learn(&runner.run("blkid", &arguments).unwrap_or_default());
    }
    Ok(devices)
}
