//! A loop device as a disk.

use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::net::run;

/// How often a free loop device is looked for, and the pause between.
const TRIES: u32 = 30;
const PAUSE: Duration = Duration::from_millis(100);

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
        Self::of(file)
    }

    /// Makes a file that exists a disk. When the file becomes shorter later, the disk has
    /// blocks that cannot be read.
    ///
    /// # Errors
    /// There are no loop devices here.
    pub fn of(file: &Path) -> Result<Self> {
        // Between finding a free device and taking it somebody else may be quicker.
        let mut said = String::new();
        for _ in 0..TRIES {
            let output = Command::new("losetup")
                .args(["-f", "--show"])
                .arg(file)
                .output()?;
            if output.status.success() {
                let device = String::from_utf8_lossy(&output.stdout).trim().to_owned();
                return Ok(Self { device });
            }
            said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            thread::sleep(PAUSE);
        }
        bail!("losetup: {said}");
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
        std::fs::create_dir_all(place)?;
        let place = place.to_string_lossy().into_owned();
        run("mkfs.ext4", &["-q", device])?;
        run("mount", &[device, &place])?;
        Ok(Self { place })
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // It may be gone.
        let _ = run("umount", &[&self.place]);
    }
}

/// A file system in memory that has little room; unmounted when dropped.
#[derive(Debug)]
pub struct Small {
    place: String,
}

impl Small {
    /// Mounts one with so much room, such as `24m`.
    ///
    /// # Errors
    /// It cannot be mounted.
    pub fn new(place: &Path, size: &str) -> Result<Self> {
        std::fs::create_dir_all(place)?;
        let place = place.to_string_lossy().into_owned();
        let size = format!("size={size}");
        run("mount", &["-t", "tmpfs", "-o", &size, "small", &place])?;
        Ok(Self { place })
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // Whoever still writes there is killed soon.
        let _ = run("umount", &["-l", &self.place]);
    }
}
