//! The devices of new partitions: those of the kernel, or loop devices where the kernel
//! knows none, as for a file.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use goldring_contract::Root;
use goldring_disk::lsblk::join_partition;
use goldring_disk::table::Part;
use goldring_sys::block;
use goldring_sys::loopdev::LoopDevice;

use super::{Disk, Plan};

/// How long a node may take to appear, and how often it is looked for.
const PATIENCE: Duration = Duration::from_secs(10);
const BEAT: Duration = Duration::from_millis(50);

/// The devices of the partitions of a disk.
#[derive(Debug)]
pub(crate) enum Nodes {
    /// Those of the kernel.
    Kernel {
        /// The disk as the kernel names it, such as `/dev/sda`.
        disk: String,
    },
    /// Loop devices, made when they are asked for.
    Loops,
}

/// The device of a partition; a loop device is gone when it is dropped.
#[derive(Debug)]
pub(crate) struct Node {
    /// Its path.
    pub(crate) path: PathBuf,
    _device: Option<LoopDevice>,
}

impl Nodes {
    /// Makes the kernel know the partitions of a disk that is `claimed`.
    ///
    /// # Errors
    /// It does not learn of them, or they do not appear.
    pub(crate) fn of(root: &Root, plan: &Plan, claimed: &File) -> anyhow::Result<Self> {
        let disk = &plan.disk;
        if !disk.is_device {
            return Ok(Self::Loops);
        }
        let shown = disk.path.display();
        let known = learn(claimed, plan).with_context(|| {
            format!("telling the kernel of the partitions of {shown}; restart the computer if it never learns")
        })?;
        if !known {
            return Ok(Self::Loops);
        }
        let real = fs::canonicalize(root.join(&disk.path)).unwrap_or_else(|_| disk.path.clone());
        let nodes = Self::Kernel {
            disk: real.to_string_lossy().into_owned(),
        };
        for (part, _) in plan.parts() {
            nodes.wait(disk, part)?;
        }
        Ok(nodes)
    }

    /// Waits until the node of a partition is there and has its size.
    fn wait(&self, disk: &Disk, part: &Part) -> anyhow::Result<()> {
        let Self::Kernel { disk: name } = self else {
            return Ok(());
        };
        let path = join_partition(name, part.number);
        let size = part.sectors * u64::from(disk.geometry.sector_size);
        let start = Instant::now();
        loop {
            let found = File::open(&path).and_then(block::size);
            if found.as_ref().is_ok_and(|found| *found == size) {
                return Ok(());
            }
            if start.elapsed() > PATIENCE {
                return match found {
                    Ok(found) => bail!(
                        "{path} still has its old size of {found} bytes; restart the computer, then start again"
                    ),
                    Err(error) => Err(error).with_context(|| {
                        format!("{path} did not appear; is devtmpfs mounted on /dev?")
                    }),
                };
            }
            sleep(BEAT);
        }
    }

    /// The device of a partition.
    ///
    /// # Errors
    /// There is no loop device for it.
    pub(crate) fn node(&self, root: &Root, disk: &Disk, part: &Part) -> anyhow::Result<Node> {
        match self {
            Self::Kernel { disk } => Ok(Node {
                path: join_partition(disk, part.number).into(),
                _device: None,
            }),
            Self::Loops => {
                let device = window(root, disk, part).with_context(|| {
                    format!("making a loop device for partition {}", part.number)
                })?;
                Ok(Node {
                    path: device.path().to_owned(),
                    _device: Some(device),
                })
            }
        }
    }
}

fn window(root: &Root, disk: &Disk, part: &Part) -> std::io::Result<LoopDevice> {
    let size = u64::from(disk.geometry.sector_size);
    let range = (part.start * size, part.sectors * size);
    let file: &Path = &root.join(&disk.path);
    LoopDevice::window(file, &root.join("/dev"), range, disk.geometry.sector_size)
}

/// The kernel reads the table, or is told. Nobody uses the disk, but somebody may look at a
/// partition for a moment, as udev does. False: it has no partitions at all.
fn learn(claimed: &File, plan: &Plan) -> std::io::Result<bool> {
    let start = Instant::now();
    loop {
        if block::reread_partitions(claimed).is_ok() {
            return Ok(true);
        }
        match tell(claimed, plan) {
            Err(error) if is(&error, rustix::io::Errno::BUSY) && start.elapsed() < PATIENCE => {
                sleep(BEAT);
            }
            known => return known,
        }
    }
}

/// Tells of each partition, for a device that does not read its table again by itself.
/// False: it has no partitions at all, as a loop device of some kernels.
fn tell(claimed: &File, plan: &Plan) -> std::io::Result<bool> {
    // The kernel's own limit of partitions on a disk.
    for number in 1..=256 {
        match block::delete_partition(claimed, number) {
            Err(error) if is(&error, rustix::io::Errno::INVAL) => return Ok(false),
            Err(error) if !is(&error, rustix::io::Errno::NXIO) => return Err(error),
            _ => {}
        }
    }
    let size = u64::from(plan.disk.geometry.sector_size);
    for part in &plan.layout.table.parts {
        // An extended one is two sectors to the kernel, so that nobody writes into it.
        let sectors = if part.kind.is_extended() {
            2
        } else {
            part.sectors
        };
        match block::add_partition(claimed, part.number, part.start * size, sectors * size) {
            Err(error) if is(&error, rustix::io::Errno::INVAL) => return Ok(false),
            other => other?,
        }
    }
    Ok(true)
}

fn is(error: &std::io::Error, errno: rustix::io::Errno) -> bool {
    error.raw_os_error() == Some(errno.raw_os_error())
}
