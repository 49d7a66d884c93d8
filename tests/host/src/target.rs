//! A loop device as a disk.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::net::run;

/// A loop device; detached when dropped.
#[derive(Debug)]
pub struct Loop {
    /// Its path.
    pub device: String,
}

impl Loop {
    /// Makes a file of `size` bytes a disk.
    ///
    /// # Errors
    /// There are no loop devices here.
    pub fn new(file: &Path, size: u64) -> Result<Self> {
        std::fs::File::create(file)?.set_len(size)?;
        let output = Command::new("losetup")
            .args(["-f", "--show"])
            .arg(file)
            .output()?;
        if !output.status.success() {
            bail!(
                "losetup: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        let device = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        Ok(Self { device })
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        // The device may be gone.
        let _ = run("losetup", &["-d", &self.device]);
    }
}

/// A mounted file system; unmounted when dropped.
#[derive(Debug)]
pub struct Mounted {
    place: String,
}

impl Mounted {
    /// Makes an ext4 on a device and mounts it.
    ///
    /// # Errors
    /// No.
    pub fn new(device: &str, place: &Path) -> Result<Self> {
        Self::made_by(&["mkfs.ext4", "-q"], device, place)
    }

    /// The same for another file system, whose maker is `mkfs` with its options.
    ///
    /// # Errors
    /// There is no such program, or the kernel does not know the file system.
    pub fn made_by(mkfs: &[&str], device: &str, place: &Path) -> Result<Self> {
        std::fs::create_dir_all(place)?;
        let place = place.to_string_lossy().into_owned();
        run(mkfs[0], &[&mkfs[1..], &[device]].concat())?;
        run("mount", &[device, &place])?;
        Ok(Self { place })
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // It may be gone. What is mounted in it must go first: the folder is removed next.
        let _ = run("umount", &["--recursive", &self.place]);
    }
}
