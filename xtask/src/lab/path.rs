//! The path of one case: power-on, stage 2, the ring, the comparison, the first boot
//! from disk.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use goldring_contract::sentences::{Milestone, installing_driver};

use super::boot_server::{self, BootServer, Label};
use super::case::Case;
use super::machine::{Direct, Machine, Power};
use super::network::Network;
use super::process::Process;
use super::report::Report;
use super::{Options, Shared, Until, compare};
use crate::host;

/// How long a node may take from power-on to stage 2 or to its place in the ring.
const TO_RING: Duration = Duration::from_secs(900);
/// How long the clone of the disk may take.
const TO_CLONE: Duration = Duration::from_secs(2400);
/// How long a cloned node may take from power-on to its login prompt.
const TO_LOGIN: Duration = Duration::from_secs(900);
/// How long a shell may take to answer, the drivers of disks included.
const TO_ANSWER: Duration = Duration::from_secs(180);
/// Disk of a node that is not cloned.
const EMPTY_DISK: u64 = 64 << 20;

/// Everything that runs; dropping it takes all of it down.
pub(super) struct Lab<'a> {
    nodes: Vec<Machine>,
    boot_server: BootServer,
    network: Network,
    case: Case,
    options: &'a Options,
    shared: &'a Shared,
    run: PathBuf,
}

impl<'a> Lab<'a> {
    /// Makes the network and `nodes` nodes, and starts the servers. What they say goes to
    /// files in `run`.
    pub(super) fn start(
        options: &'a Options,
        shared: &'a Shared,
        case: Case,
        nodes: u8,
        run: PathBuf,
    ) -> Result<Self> {
        std::fs::create_dir_all(&run).with_context(|| format!("making {}", run.display()))?;
        let network = Network::new(usize::from(nodes))?;
        if let Some(frames) = case.nic.frames {
            for number in 1..=usize::from(nodes) {
                network.hold_back(number, frames)?;
            }
        }
        let label = match options.until {
            Until::Stage2 => Label::Rescue,
            Until::Clone | Until::Login => Label::HttpDolly,
        };
        let boot_server = BootServer::start(&network, &shared.images, &run, label)?;
        let size = match &shared.golden {
            Some(golden) => std::fs::metadata(golden)?.len(),
            None => EMPTY_DISK,
        };
        let nodes = (1..=usize::from(nodes))
            .map(|number| Machine::new(number, case, &run, size))
            .collect::<Result<_>>()?;
        Ok(Self {
            nodes,
            boot_server,
            network,
            case,
            options,
            shared,
            run,
        })
    }

    /// Runs the path as far as it is wanted, and says how far it came. What is known of a
    /// path that fails is in the report as well.
    pub(super) fn run(&mut self, report: &mut Report) -> Result<&'static str> {
        println!("consoles: {}", self.run.join("*.console").display());
        if let Some(file) = self.missing_firmware() {
            self.power_on("rescue", Some(Label::Rescue))?;
            self.wait_for_the_firmwares_name(file)?;
            return Ok("named");
        }
        if self.options.until == Until::Stage2 {
            self.power_on("rescue", Some(Label::Rescue))?;
            self.look(report)?;
            return Ok(self.options.until.name());
        }
        self.power_on("clone", Some(Label::HttpDolly))?;
        let mut server = self.start_dolly_server()?;
        self.wait_for_ring(&mut server, report)?;
        self.wait_for_clones(&mut server, report)?;
        self.compare(report)?;
        if self.options.until == Until::Login {
            self.boot_server.set_default(Label::Local)?;
            self.power_on("local", None)?;
            self.wait_for_login(report)?;
        }
        Ok(self.options.until.name())
    }

    /// Firmware that the card needs and the images do not have.
    fn missing_firmware(&self) -> Option<&'static str> {
        let file = self.case.nic.firmware?;
        let inside = std::fs::read_to_string(self.shared.images.join("image.json"));
        (!inside.unwrap_or_default().contains(file)).then_some(file)
    }

    /// Without its firmware such a card is of no use, and the console has to say so.
    fn wait_for_the_firmwares_name(&mut self, file: &str) -> Result<()> {
        for node in &mut self.nodes {
            node.wait_for(
                &format!("wants the firmware {file}, not in this image"),
                TO_RING,
                || Ok(()),
            )?;
            println!("{}: its card wants the firmware {file}", node.name());
        }
        Ok(())
    }

    /// Switches all nodes on. `label` is for cards that cannot read it from the server;
    /// without it they boot from disk.
    fn power_on(&mut self, name: &str, label: Option<Label>) -> Result<()> {
        let words = label.map(boot_server::command_line);
        let direct = words.as_ref().filter(|_| !self.case.nic.has_rom);
        let power = Power {
            name,
            direct: direct.map(|words| Direct {
                images: &self.shared.images,
                words,
            }),
            memory: self.options.memory,
            accel: &self.options.accel,
        };
        for node in &mut self.nodes {
            node.power_on(&self.network, power)?;
        }
        println!("{} nodes switched on ({name})", self.nodes.len());
        Ok(())
    }

    /// Waits for the shells of stage 2 and asks for the disk.
    fn look(&mut self, report: &mut Report) -> Result<()> {
        let start = Instant::now();
        let disk = self.case.disk.device.trim_start_matches("/dev/");
        for node in &mut self.nodes {
            let running = format!("goldring: {}", Milestone::Stage2Running);
            node.wait_for(&running, TO_RING, || Ok(()))?;
            report.marks(node.name(), &node.console()?);
            node.wait_for("# ", TO_ANSWER, || Ok(()))?;
            // Disks may still be looked for. The echo of this line shows no number.
            let size = node.disk_size()?;
            node.type_line(&format!(
                "until lsblk -brdno NAME,SIZE | sed s/^/disk:/ | grep :{disk}; do sleep 1; done"
            ))?;
            node.wait_for(&format!("disk:{disk} {size}"), TO_ANSWER, || Ok(()))?;
            report.marks(node.name(), &node.console()?);
            println!(
                "{}: stage 2 runs, its disk is {}",
                node.name(),
                self.case.disk.device
            );
        }
        report.phase("power-on to the last disk seen", start.elapsed());
        self.check_drivers()
    }

    /// The drivers that the models are for, and no others by chance.
    fn check_drivers(&self) -> Result<()> {
        for node in &self.nodes {
            let console = node.console()?;
            for driver in [self.case.nic.driver, self.case.disk.driver] {
                let sentence = installing_driver(driver, "");
                let begin = sentence.trim_end_matches("\")");
                if !console.contains(begin) {
                    bail!(
                        "{}: {driver} was not loaded ({})",
                        node.name(),
                        self.run.display()
                    );
                }
            }
        }
        Ok(())
    }

    /// The golden side, as the manual starts it: `dolly -s -v -f dolly.cfg`.
    fn start_dolly_server(&self) -> Result<Process> {
        let (Some(golden), Some(program)) = (&self.shared.golden, &self.shared.program) else {
            bail!("no golden disk was made");
        };
        let names: Vec<&str> = self.nodes.iter().map(Machine::name).collect();
        let text = format!(
            "infile {}\noutfile {}\nserver golden\nfirstclient {}\nlastclient {}\nclients {}\n{}\nendconfig\n",
            golden.display(),
            self.case.disk.device,
            names[0],
            names[names.len() - 1],
            names.len(),
            names.join("\n"),
        );
        let config = self.run.join("dolly.cfg");
        std::fs::write(&config, text).with_context(|| format!("writing {}", config.display()))?;
        // The golden node's name is the configuration's "server": a name of its own in
        // a UTS namespace, so that this machine's name stays what it is.
        let script = "hostname golden && exec \"$0\" dolly -s -v -f \"$1\"";
        let mut command = self.network.command("unshare");
        command
            .args(["--uts", "sh", "-c", script])
            .arg(program)
            .arg(&config);
        Process::start("the dolly server", command, &self.run.join("golden.log"))
    }

    fn wait_for_ring(&mut self, server: &mut Process, report: &mut Report) -> Result<()> {
        let start = Instant::now();
        for node in &mut self.nodes {
            let left = TO_RING.saturating_sub(start.elapsed());
            let joined = node.wait_for("goldring: ring joined", left, || server.check_running());
            report.marks(node.name(), &node.console()?);
            joined?;
            println!("{} joined the ring", node.name());
        }
        report.phase("power-on to the last node in the ring", start.elapsed());
        self.check_drivers()
    }

    fn wait_for_clones(&mut self, server: &mut Process, report: &mut Report) -> Result<()> {
        let start = Instant::now();
        server.wait_success(TO_CLONE)?;
        report.phase("ring complete to all nodes synced", start.elapsed());
        for node in &mut self.nodes {
            node.wait_for_reboot(Duration::from_secs(120))?;
            report.marks(node.name(), &node.console()?);
            println!("{} is cloned and asked for its reboot", node.name());
        }
        Ok(())
    }

    fn compare(&self, report: &mut Report) -> Result<()> {
        let start = Instant::now();
        let golden = self.shared.golden.as_ref().context("no golden disk")?;
        for node in &self.nodes {
            compare::identical(golden, node.disk())
                .with_context(|| format!("comparing {}'s disk with the golden one", node.name()))?;
            println!("{}: its disk is the golden disk, byte by byte", node.name());
        }
        report.phase("disks compared", start.elapsed());
        Ok(())
    }

    fn wait_for_login(&mut self, report: &mut Report) -> Result<()> {
        let start = Instant::now();
        for node in &mut self.nodes {
            let left = TO_LOGIN.saturating_sub(start.elapsed());
            node.wait_for("golden login:", left, || Ok(()))?;
            println!("{}: login prompt, from its own disk", node.name());
        }
        report.phase(
            "power-on to the last login prompt, from disk",
            start.elapsed(),
        );
        Ok(())
    }

    /// Leaves everything running until Ctrl-C.
    pub(super) fn keep(&self) -> Result<()> {
        println!("everything is left running; Ctrl-C takes it down");
        println!("  consoles: {}", self.run.join("*.console").display());
        println!(
            "  inside the network: ip netns exec {} bash",
            self.network.name()
        );
        while host::check_interrupt().is_ok() {
            std::thread::sleep(Duration::from_millis(200));
        }
        Ok(())
    }

    /// Removes what is large: a matrix would fill the disk.
    pub(super) fn tidy(self) {
        let run = self.run.clone();
        let disks: Vec<PathBuf> = self.nodes.iter().map(|n| n.disk().to_owned()).collect();
        drop(self);
        for disk in disks {
            let _ = std::fs::remove_file(disk);
        }
        for folder in ["tftpboot", "www"] {
            let _ = std::fs::remove_dir_all(run.join(folder));
        }
    }
}
