//! The block devices of this machine.

use anyhow::Context;
use goldring_disk::lsblk::{self, Device};

use super::run::Runner;

/// All devices that have a size, as lsblk lists them: disks by number, each followed by
/// what is in it.
///
/// # Errors
/// lsblk fails.
pub(crate) fn list(runner: &mut dyn Runner) -> anyhow::Result<Vec<Device>> {
    let arguments = [&lsblk::ARGUMENTS[..], &[lsblk::COLUMNS]].concat();
    let text = runner
        .run("lsblk", &arguments)
        .context("looking for disks")?;
    Ok(lsblk::parse(&text))
}
