//! A node: a QEMU process with a disk, a network card and a console in a file.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::network::{self, Network};
use super::process::{Process, last_lines};
use crate::host;

/// A node of the lab.
#[derive(Debug)]
pub(super) struct Machine {
    number: usize,
    name: String,
    run: PathBuf,
    disk: PathBuf,
    console: PathBuf,
    qemu: Option<Process>,
}

impl Machine {
    /// Makes an empty disk of `disk_size` bytes for node `number`, counted from 1.
    pub(super) fn new(number: usize, _: &Network, run: &Path, disk_size: u64) -> Result<Self> {
        let name = network::node_name(number);
        let disk = run.join(format!("{name}.disk"));
        let console = run.join(format!("{name}.console"));
        File::create(&disk)
            .and_then(|file| file.set_len(disk_size))
            .with_context(|| format!("making {}", disk.display()))?;
        Ok(Self {
            number,
            name,
            run: run.to_owned(),
            disk,
            console,
            qemu: None,
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

    /// What the console has shown since the last power-on.
    pub(super) fn console(&self) -> Result<String> {
        let bytes = std::fs::read(&self.console)
            .with_context(|| format!("reading {}", self.console.display()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Switches it on: PXE first, then its disk. A reboot ends the process, so that
    /// the lab sees it and can look at the disk before anything writes to it again.
    pub(super) fn power_on(
        &mut self,
        network: &Network,
        boot: &str,
        memory: u32,
        accel: &str,
    ) -> Result<()> {
        let accel = if accel == "tcg" {
            "tcg,thread=multi"
        } else {
            accel
        };
        self.console = self.run.join(format!("{}.{boot}.console", self.name));
        // The file must be there before somebody waits for words in it.
        File::create(&self.console)?;
        let mut command = network.command("qemu-system-x86_64");
        command
            .args([
                "-name",
                &self.name,
                "-accel",
                accel,
                "-m",
                &memory.to_string(),
            ])
            .args(["-display", "none", "-monitor", "none", "-no-reboot"])
            .arg("-serial")
            .arg(format!("file:{}", self.console.display()))
            .arg("-drive")
            .arg(format!(
                "file={},if=none,id=disk,format=raw,cache=unsafe",
                self.disk.display()
            ))
            .args(["-device", "virtio-blk-pci,drive=disk,bootindex=2"])
            .arg("-netdev")
            .arg(format!(
                "tap,id=net,ifname={},script=no,downscript=no",
                network::tap(self.number)
            ))
            .arg("-device")
            .arg(format!(
                "virtio-net-pci,netdev=net,bootindex=1,mac={}",
                network::node_mac(self.number)
            ));
        let log = self.run.join(format!("{}.qemu.log", self.name));
        self.qemu = Some(Process::start(&self.name, command, &log)?);
        Ok(())
    }

    /// Waits for `words` on the console. `also` is asked each time; its error ends the
    /// wait.
    pub(super) fn wait_for(
        &mut self,
        words: &str,
        limit: Duration,
        mut also: impl FnMut() -> Result<()>,
    ) -> Result<()> {
        let start = Instant::now();
        loop {
            host::check_interrupt()?;
            if self.console()?.contains(words) {
                return Ok(());
            }
            let off = match &mut self.qemu {
                Some(qemu) => qemu.ended()?.is_some(),
                None => true,
            };
            if off && !self.console()?.contains(words) {
                bail!(
                    "{} went off before {words:?}: {}",
                    self.name,
                    self.last_words()
                );
            }
            also().with_context(|| format!("{}: waiting for {words:?}", self.name))?;
            if start.elapsed() >= limit {
                let seconds = limit.as_secs();
                bail!(
                    "{}: no {words:?} in {seconds} s: {}",
                    self.name,
                    self.last_words()
                );
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Waits until the node asks for a reboot.
    pub(super) fn wait_for_reboot(&mut self, limit: Duration) -> Result<()> {
        let last = self.last_words();
        match &mut self.qemu {
            None => bail!("{} is not switched on", self.name),
            Some(qemu) => qemu
                .wait_success(limit)
                .with_context(|| format!("{} did not ask for a reboot: {last}", self.name)),
        }
    }

    fn last_words(&self) -> String {
        last_lines(&self.console, 8)
    }
}
