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
        Self::with_sectors(file, size, 512)
    }

    /// The same with larger sectors.
    ///
    /// # Errors
    /// As [`Loop::new`].
    pub fn with_sectors(file: &Path, size: u64, sector_size: u32) -> Result<Self> {
        std::fs::File::create(file)?.set_len(size)?;
        Self::attach(file, sector_size)
    }

    /// Makes a file that exists a disk. When the file becomes shorter later, the disk has
    /// blocks that cannot be read.
    ///
    /// # Errors
    /// There are no loop devices here.
    pub fn of(file: &Path) -> Result<Self> {
        Self::attach(file, 512)
    }

    fn attach(file: &Path, sector_size: u32) -> Result<Self> {
        // Between finding a free device and taking it somebody else may be quicker.
        let mut said = String::new();
        for _ in 0..TRIES {
            let output = Command::new("losetup")
                .args(["-f", "--show", "-b", &sector_size.to_string()])
                .arg(file)
                .output()?;
            if output.status.success() {
                let device = String::from_utf8_lossy(&output.stdout).trim().to_owned();
                let device = Self { device };
                // Those of a disk that had this number before; they would be in the way.
                device.forget_partitions()?;
                return Ok(device);
            }
            said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            thread::sleep(PAUSE);
        }
        bail!("losetup: {said}");
    }

    /// Makes the kernel forget all partitions. One that was mounted by a program which has
    /// just been killed is in use for a moment longer.
    fn forget_partitions(&self) -> Result<()> {
        for _ in 0..TRIES {
            if self.partitions()?.is_empty() {
                return Ok(());
            }
            if run("partx", &["-d", &self.device]).is_err() {
                thread::sleep(PAUSE);
            }
        }
        bail!("{} are still in use", self.partitions()?.join(" "));
    }

    /// The names of those that the kernel knows.
    fn partitions(&self) -> Result<Vec<String>> {
        let name = self.device.trim_start_matches("/dev/");
        let mut found = Vec::new();
        for entry in std::fs::read_dir(Path::new("/sys/block").join(name))? {
            let entry = entry?;
            if entry.path().join("partition").exists() {
                found.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        Ok(found)
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        // The device may be gone. Partitions would stay when it is something else.
        let _ = self.forget_partitions();
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

    /// Mounts what is on a device.
    ///
    /// # Errors
    /// There is nothing that the kernel knows.
    pub fn with(device: &str, options: &str, place: &Path) -> Result<Self> {
        let place = place.to_string_lossy().into_owned();
        run("mount", &["-o", options, device, &place])?;
        Ok(Self { place })
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // It may be gone. What is mounted in it must go first: the folder is removed next.
        let _ = run("umount", &["--recursive", &self.place]);
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
