//! A ring of four nodes in the middle of its data, and what can happen to it there.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use goldring_host_tests::program::{Program, Signal, stranger};
use goldring_host_tests::ring::{LONG, Ring};
use goldring_host_tests::target::{Loop, Small};

use super::{Fault, Way};

/// How many nodes.
pub(super) const NODES: usize = 4;
/// What is copied: more than all buffers between two computers hold.
const SIZE: usize = 20 << 20;
/// The golden node sends so slowly until the fault has happened. All would take ten seconds.
const GATE: &str = "16mbit";
/// And so slowly while strangers are there: a minute and more.
const SLOWER: &str = "2mbit";
/// What the kernels keep of a connection.
const BUFFER: u32 = 1 << 20;
/// Once the last node has so much, everybody is in the middle.
const MIDDLE: u64 = 3 << 20;
/// The speeds of a slow node and of the others.
const SPEEDS: (&str, &str) = ("20mbit", "200mbit");
/// Of a golden disk, so much can be read.
const READABLE: u64 = 15 << 20;
/// How long data may stand still.
const STALL: [&str; 2] = ["--stall-timeout", "3"];

/// The ring. What is first here goes first.
#[derive(Debug)]
pub(super) struct Scene {
    pub(super) way: Way,
    pub(super) fault: Fault,
    /// Whom it happens to.
    pub(super) victims: &'static [usize],
    /// The golden node and the others.
    pub(super) programs: Vec<Program>,
    strangers: Vec<Program>,
    disks: Vec<Loop>,
    small: Vec<Small>,
    pub(super) ring: Ring,
}

impl Scene {
    /// Starts a ring and waits until it is in its middle.
    pub(super) fn new(
        goldring: &Path,
        (way, fault): (Way, Fault),
        victims: &'static [usize],
    ) -> Result<Self> {
        let strangers = usize::from(fault == Fault::Strangers);
        let mut scene = Self {
            way,
            fault,
            victims,
            programs: Vec::new(),
            strangers: Vec::new(),
            disks: Vec::new(),
            small: Vec::new(),
            ring: Ring::new(goldring, NODES + strangers, SIZE)?,
        };
        scene.ring.net.small_buffers(BUFFER)?;
        scene.configure()?;
        for node in 1..=NODES {
            scene.make_target(node)?;
        }
        if fault == Fault::GoldenReadError {
            scene.make_bad_input()?;
        }
        scene.set_speeds()?;
        scene.start()?;
        if fault != Fault::GoldenReadError {
            scene.reach_the_middle()?;
        }
        Ok(scene)
    }

    fn configure(&self) -> Result<()> {
        let mut text = match self.way {
            Way::Plus => "iofiles 1\nin > out\n",
            Way::Dolly | Way::Plain => "infile in\noutfile out\n",
        }
        .to_owned();
        write!(text, "server n0\nfirstclient n1\nlastclient n{NODES}\n")?;
        writeln!(text, "clients {NODES}")?;
        for node in 1..=NODES {
            writeln!(text, "n{node}")?;
        }
        text.push_str("endconfig\n");
        self.ring.configure_as(&text)
    }

    fn is_victim(&self, node: usize) -> bool {
        self.victims.contains(&node)
    }

    /// A disk that looks bootable; for those who have trouble with it, one of another kind.
    fn make_target(&mut self, node: usize) -> Result<()> {
        let home = self.ring.home(node);
        fs::create_dir_all(&home)?;
        let mut place = home.clone();
        if self.is_victim(node) && self.fault == Fault::FullDisk {
            self.small.push(Small::new(&home.join("small"), "22m")?);
            fs::write(home.join("small/out"), "")?;
            return Ok(symlink("small/out", home.join("out"))?);
        }
        if self.is_victim(node) && self.fault == Fault::WriteError {
            // There is less behind the disk than it says.
            place = home.join("small");
            self.small.push(Small::new(&place, "6m")?);
        }
        let disk = Loop::new(&place.join("disk"), SIZE as u64)?;
        fs::write(&disk.device, bootable())?;
        symlink(&disk.device, home.join("out"))?;
        self.disks.push(disk);
        Ok(())
    }

    /// A disk that cannot be read to its end.
    fn make_bad_input(&mut self) -> Result<()> {
        let home = self.ring.home(0);
        let file = home.join("disk");
        fs::rename(home.join("in"), &file)?;
        let disk = Loop::of(&file)?;
        symlink(&disk.device, home.join("in"))?;
        self.disks.push(disk);
        let file = fs::OpenOptions::new().write(true).open(&file)?;
        Ok(file.set_len(READABLE)?)
    }

    fn set_speeds(&self) -> Result<()> {
        if self.fault != Fault::Slow {
            return self.ring.net.slow(0, GATE);
        }
        for node in 0..=NODES {
            if self.is_victim(node) {
                self.ring.net.slow_both_ways(node, SPEEDS.0)?;
            } else {
                self.ring.net.slow(node, SPEEDS.1)?;
            }
        }
        Ok(())
    }

    fn start(&mut self) -> Result<()> {
        for node in 1..=NODES {
            let program = self.start_node(node)?;
            self.programs.push(program);
        }
        for program in &self.programs {
            program.expect("waiting for the golden node", LONG)?;
        }
        let late = if self.fault == Fault::Rebooted {
            "60"
        } else {
            "0"
        };
        let golden = match self.way {
            Way::Plain => self.ring.start(0, &STALL)?,
            Way::Plus => {
                let more = [&STALL[..], &["--late", late]].concat();
                self.ring.start_plus(0, &more)?
            }
            Way::Dolly => {
                let words = ["-s", "-f", "dolly.cfg", "--late", late];
                self.ring.start_with(0, &[&words[..], &STALL].concat())?
            }
        };
        self.programs.insert(0, golden);
        Ok(())
    }

    fn start_node(&self, node: usize) -> Result<Program> {
        match self.way {
            Way::Plus => self.ring.start_plus(node, &STALL),
            Way::Dolly | Way::Plain => self.ring.start(node, &STALL),
        }
    }

    fn reach_the_middle(&self) -> Result<()> {
        let end = Instant::now() + LONG;
        while self.ring.net.traffic(NODES, "eth0")? < MIDDLE {
            let said = || self.programs[0].said();
            ensure!(Instant::now() < end, "nothing moves:\n{}", said());
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// It happens; since when.
    pub(super) fn strike(&mut self) -> Result<Instant> {
        let start = Instant::now();
        for &victim in self.victims {
            match self.fault {
                Fault::Killed | Fault::GoldenKilled => self.kill(victim)?,
                Fault::Frozen | Fault::GoldenFrozen => {
                    self.programs[victim].signal(Signal::STOP)?;
                }
                Fault::Unplugged | Fault::GoldenUnplugged => self.ring.net.cut(victim)?,
                Fault::Rebooted => self.reboot(victim)?,
                Fault::FullDisk => {
                    let other = self.ring.home(victim).join("small/other");
                    // What no longer fits is not missed.
                    let _ = fs::write(other, vec![1; 16 << 20]);
                }
                Fault::Slow | Fault::WriteError | Fault::GoldenReadError | Fault::Strangers => {}
            }
        }
        if self.fault == Fault::Strangers {
            return self.pester().map(|()| start);
        }
        if self.fault != Fault::Slow {
            self.ring.net.quick(0)?;
        }
        Ok(start)
    }

    fn kill(&mut self, victim: usize) -> Result<()> {
        self.programs[victim].signal(Signal::KILL)?;
        self.programs[victim].wait(LONG).map(|_| ())
    }

    /// Nobody hears of its end, and then it is there again and knows nothing.
    fn reboot(&mut self, victim: usize) -> Result<()> {
        self.ring.net.cut(victim)?;
        self.kill(victim)?;
        self.ring.net.plug(victim)?;
        self.programs[victim] = self.start_node(victim)?;
        Ok(())
    }

    /// A stranger and a listed node try every port of all computers while data moves.
    fn pester(&mut self) -> Result<()> {
        self.ring.net.quick(0)?;
        self.ring.net.slow(0, SLOWER)?;
        let path = stranger().to_string_lossy().into_owned();
        let hosts: Vec<String> = (0..=NODES).map(|node| format!("n{node}")).collect();
        for (from, listed) in [(NODES + 1, "--scan"), (2, "--listed")] {
            let mut words = vec!["python3", path.as_str(), "--scan", listed];
            words.extend(hosts.iter().map(String::as_str));
            let folder = self.ring.home(from).join("stranger");
            let program = Program::start(&self.ring.net, from, &folder, &words)?;
            self.strangers.push(program);
        }
        for program in &mut self.strangers {
            program.ends_with(0, LONG)?;
        }
        let golden = &self.programs[0];
        ensure!(!golden.said().contains("clones are complete"), "too late");
        self.ring.net.quick(0)
    }

    /// What a victim that was frozen or unplugged does once it can again.
    pub(super) fn relieve(&mut self) -> Result<()> {
        for &victim in self.victims {
            match self.fault {
                Fault::Frozen | Fault::GoldenFrozen => {
                    self.programs[victim].signal(Signal::CONT)?
                }
                Fault::Unplugged | Fault::GoldenUnplugged => self.ring.net.plug(victim)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// The file behind a node's target, whatever kind that is.
    fn stored(&self, node: usize) -> PathBuf {
        let home = self.ring.home(node);
        match self.fault {
            Fault::FullDisk if self.is_victim(node) => home.join("small/out"),
            Fault::WriteError if self.is_victim(node) => home.join("small/disk"),
            _ => home.join("disk"),
        }
    }

    /// A node has everything.
    pub(super) fn has_all(&self, node: usize) -> Result<()> {
        let copy = fs::read(self.stored(node))?;
        ensure!(copy == self.ring.input, "the copy of n{node} differs");
        Ok(())
    }

    /// A node's disk does not look as if one could start from it, unless nothing of it was
    /// touched.
    pub(super) fn is_not_bootable(&self, node: usize) -> Result<()> {
        let disk = fs::read(self.stored(node))?;
        let first = &disk[..disk.len().min(512)];
        let is_untouched = first == bootable() && disk[512..].iter().all(|byte| *byte == 0);
        ensure!(
            is_untouched || first.iter().all(|byte| *byte == 0),
            "n{node} looks bootable: {:x?}",
            &first[..8]
        );
        Ok(())
    }
}

/// The first sector of a disk that one could start from.
fn bootable() -> [u8; 512] {
    let mut sector = [0x55; 512];
    sector[511] = 0xaa;
    sector
}
