//! A node: a disk and a network card, and a machine around them when it is on.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use super::case::Case;
use super::guest::{self, Guest};
use super::network::{self, Network};

/// How a node is switched on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Power<'a> {
    /// Stands in the name of the console's file.
    pub(super) name: &'a str,
    /// The kernel to start, for a card that cannot boot by itself.
    pub(super) direct: Option<Direct<'a>>,
    /// Memory, in MiB.
    pub(super) memory: u32,
    /// QEMU's accelerator.
    pub(super) accel: &'a str,
}

/// A kernel that is started without PXE.
#[derive(Debug, Clone, Copy)]
pub(super) struct Direct<'a> {
    /// The folder of `vmlinuz` and `all.rdz`.
    pub(super) images: &'a Path,
    /// The kernel command line.
    pub(super) words: &'a str,
}

impl Direct<'_> {
    /// QEMU's arguments.
    fn arguments(&self) -> Vec<String> {
        let file = |name: &str| self.images.join(name).display().to_string();
        [
            "-kernel",
            &file("vmlinuz"),
            "-initrd",
            &file("all.rdz"),
            "-append",
            self.words,
        ]
        .map(str::to_owned)
        .to_vec()
    }
}

/// A node of the lab.
#[derive(Debug)]
pub(super) struct Machine {
    number: usize,
    name: String,
    case: Case,
    run: PathBuf,
    disk: PathBuf,
    guest: Option<Guest>,
}

impl Machine {
    /// Makes an empty disk of at least `disk_size` bytes for node `number`, counted from
    /// 1.
    pub(super) fn new(number: usize, case: Case, run: &Path, disk_size: u64) -> Result<Self> {
        let name = network::node_name(number);
        let disk = run.join(format!("{name}.disk"));
        File::create(&disk)
            .and_then(|file| file.set_len(case.disk.size(disk_size)))
            .with_context(|| format!("making {}", disk.display()))?;
        Ok(Self {
            number,
            name,
            case,
            run: run.to_owned(),
            disk,
            guest: None,
        })
    }

    /// The node's name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The file behind its disk.
    pub(super) fn disk(&self) -> &Path {
        &self.disk
    }

    /// The length of the file behind its disk, in bytes.
    pub(super) fn disk_size(&self) -> Result<u64> {
        let disk = std::fs::metadata(&self.disk);
        let disk = disk.with_context(|| format!("reading {}", self.disk.display()))?;
        Ok(disk.len())
    }

    /// Switches it on: PXE first, then its disk. A reboot ends the process, so that
    /// the lab sees it and can look at the disk before anything writes to it again.
    pub(super) fn power_on(&mut self, network: &Network, power: Power<'_>) -> Result<()> {
        let mut arguments = guest::engine(power.accel, power.memory);
        arguments.extend([
            "-drive".to_owned(),
            format!(
                "file={},if=none,id=disk,format=raw,cache=unsafe",
                self.disk.display()
            ),
        ]);
        arguments.extend(self.case.disk.arguments("disk", Some(2)));
        arguments.extend(network::card(&self.case.nic, self.number, Some(1)));
        if let Some(direct) = power.direct {
            arguments.extend(direct.arguments());
        }
        let guest = Guest::start(network, &self.run, &self.name, power.name, &arguments)?;
        self.guest = Some(guest);
        Ok(())
    }

    fn guest(&mut self) -> Result<&mut Guest> {
        let name = &self.name;
        self.guest
            .as_mut()
            .with_context(|| format!("{name} is not switched on"))
    }

    /// What the console has shown since the last power-on.
    pub(super) fn console(&self) -> Result<String> {
        self.guest
            .as_ref()
            .map_or(Ok(String::new()), Guest::console)
    }

    /// See [`Guest::type_line`].
    pub(super) fn type_line(&mut self, line: &str) -> Result<()> {
        self.guest()?.type_line(line)
    }

    /// See [`Guest::wait_for`].
    pub(super) fn wait_for(
        &mut self,
        words: &str,
        limit: Duration,
        also: impl FnMut() -> Result<()>,
    ) -> Result<()> {
        self.guest()?.wait_for(words, limit, also)
    }

    /// See [`Guest::wait_for_reboot`].
    pub(super) fn wait_for_reboot(&mut self, limit: Duration) -> Result<()> {
        self.guest()?.wait_for_reboot(limit)
    }
}
