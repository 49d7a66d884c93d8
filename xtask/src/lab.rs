//! `cargo xtask lab`: the whole path with virtual machines, as the old manual tells
//! it. Nodes boot by PXE, fetch stage 2, are cloned, and start from their own disks.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::{host, programs, workspace};

mod boot_server;
mod compare;
mod golden;
mod machine;
mod network;
mod process;
mod report;

use boot_server::{BootServer, Label};
use machine::Machine;
use network::Network;
use process::Process;
use report::Report;

const EXAMPLES: &str = "\
Examples:
  cargo xtask lab --install --nodes 2 --method http --clone dolly
      install what is needed, clone two nodes and show the report
  cargo xtask lab --keep
      leave the cloned nodes running until Ctrl-C; their consoles are files
  cargo xtask lab --images target/images --nodes 4
      take images that are there instead of making them";

/// How the lab is run.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// How many nodes to clone.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=20))]
    nodes: u8,
    /// How the nodes get stage 2.
    #[arg(long, value_enum, default_value_t = Method::Http)]
    method: Method,
    /// How the nodes are cloned.
    #[arg(long, value_enum, default_value_t = Clone::Dolly)]
    clone: Clone,
    /// Leave everything running at the end, until Ctrl-C.
    #[arg(long)]
    keep: bool,
    /// Install what is missing by apt.
    #[arg(long)]
    install: bool,
    /// Take the images from this folder instead of making them.
    #[arg(long, value_name = "DIR")]
    images: Option<PathBuf>,
    /// Memory of each node, in MiB.
    #[arg(long, default_value_t = 1024, value_name = "MIB")]
    memory: u32,
    /// QEMU's accelerator; kvm is faster where it works.
    #[arg(long, default_value = "tcg", value_parser = ["tcg", "kvm"])]
    accel: String,
}

/// The ways to get stage 2 that this version has.
#[derive(clap::ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    /// From a web server.
    Http,
}

/// The ways to clone that this version has.
#[derive(clap::ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
enum Clone {
    /// By a dolly ring.
    Dolly,
}

/// How long a node may take from power-on to its place in the ring.
const TO_RING: Duration = Duration::from_secs(420);
/// How long the clone of the 3 GB disk may take.
const TO_CLONE: Duration = Duration::from_secs(1200);
/// How long a cloned node may take from power-on to its login prompt.
const TO_LOGIN: Duration = Duration::from_secs(420);

/// Runs the path once and prints the report.
pub(crate) fn run(options: &Options) -> Result<()> {
    prepare_host(options)?;
    let work = workspace::target().join("lab");
    std::fs::create_dir_all(&work).with_context(|| format!("making {}", work.display()))?;
    let _lock = lock(&work)?;
    let images = images(options)?;
    let golden = golden::disk(&work)?;
    let mut lab = Lab::start(options, &work, &images, &golden)?;
    let mut report = Report::default();

    println!("consoles: {}", lab.run.join("*.console").display());
    lab.power_on(options, "clone")?;
    let mut server = lab.start_dolly_server()?;
    lab.wait_for_ring(&mut server, &mut report)?;
    lab.wait_for_clones(&mut server, &mut report)?;
    lab.compare(&mut report)?;
    lab.boot_server.set_default(Label::Local)?;
    lab.power_on(options, "local")?;
    lab.wait_for_login(&mut report)?;

    report.print();
    if options.keep {
        lab.keep()?;
    }
    Ok(())
}

fn prepare_host(options: &Options) -> Result<()> {
    if !host::is_root() {
        bail!(
            "the lab makes network namespaces and a Debian system, which needs root; \
             run it as root: sudo cargo xtask lab"
        );
    }
    if options.install {
        host::install(host::LAB)?;
    }
    match host::missing(host::LAB).as_slice() {
        [] => host::catch_interrupts(),
        packages => bail!(
            "missing packages: {}; run again with --install, or install them by hand",
            packages.join(" ")
        ),
    }
}

/// One lab at a time: the golden disk and the folder of the run are shared.
fn lock(work: &Path) -> Result<std::fs::File> {
    let path = work.join("lock");
    let file =
        std::fs::File::create(&path).with_context(|| format!("making {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(_) => bail!(
            "another lab is running (it holds {}); wait for its end",
            path.display()
        ),
    }
}

fn images(options: &Options) -> Result<PathBuf> {
    if let Some(folder) = &options.images {
        return Ok(folder.clone());
    }
    // The same verb as a person would type; its progress and its table are its own.
    let status = Command::new(std::env::current_exe().context("finding xtask itself")?)
        .arg("image")
        .status()
        .context("starting cargo xtask image")?;
    if !status.success() {
        bail!("the images were not made");
    }
    Ok(workspace::target().join("images"))
}

/// Everything that runs; dropping it takes all of it down.
struct Lab {
    nodes: Vec<Machine>,
    boot_server: BootServer,
    network: Network,
    golden: PathBuf,
    program: PathBuf,
    run: PathBuf,
}

impl Lab {
    fn start(options: &Options, work: &Path, images: &Path, golden: &Path) -> Result<Self> {
        let run = work.join("run");
        if run.exists() {
            std::fs::remove_dir_all(&run).with_context(|| format!("emptying {}", run.display()))?;
        }
        std::fs::create_dir_all(&run).with_context(|| format!("making {}", run.display()))?;
        let network = Network::new(usize::from(options.nodes))?;
        let boot_server = BootServer::start(&network, images, &run)?;
        let nodes = (1..=usize::from(options.nodes))
            .map(|number| Machine::new(number, &network, &run, std::fs::metadata(golden)?.len()))
            .collect::<Result<_>>()?;
        let program = programs::build(&workspace::root(), false)?.agent;
        let golden = golden.to_owned();
        Ok(Self {
            nodes,
            boot_server,
            network,
            golden,
            program,
            run,
        })
    }

    fn power_on(&mut self, options: &Options, boot: &str) -> Result<()> {
        for node in &mut self.nodes {
            node.power_on(&self.network, boot, options.memory, &options.accel)?;
        }
        println!("{} nodes switched on ({boot})", self.nodes.len());
        Ok(())
    }

    /// The golden side, as the manual starts it: `dolly -s -v -f dolly.cfg`.
    fn start_dolly_server(&self) -> Result<Process> {
        let names: Vec<&str> = self.nodes.iter().map(Machine::name).collect();
        let text = format!(
            "infile {}\noutfile /dev/vda\nserver golden\nfirstclient {}\nlastclient {}\nclients {}\n{}\nendconfig\n",
            self.golden.display(),
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
            .arg(&self.program)
            .arg(&config);
        Process::start("the dolly server", command, &self.run.join("golden.log"))
    }

    fn wait_for_ring(&mut self, server: &mut Process, report: &mut Report) -> Result<()> {
        let start = Instant::now();
        for node in &mut self.nodes {
            node.wait_for(
                "goldring: ring joined",
                TO_RING.saturating_sub(start.elapsed()),
                || server.check_running(),
            )?;
            report.marks(node.name(), &node.console()?);
            println!("{} joined the ring", node.name());
        }
        report.phase("power-on to the last node in the ring", start.elapsed());
        Ok(())
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
        for node in &self.nodes {
            compare::identical(&self.golden, node.disk())
                .with_context(|| format!("comparing {}'s disk with the golden one", node.name()))?;
            println!("{}: its disk is the golden disk, byte by byte", node.name());
        }
        report.phase("disks compared", start.elapsed());
        Ok(())
    }

    fn wait_for_login(&mut self, report: &mut Report) -> Result<()> {
        let start = Instant::now();
        for node in &mut self.nodes {
            node.wait_for(
                "golden login:",
                TO_LOGIN.saturating_sub(start.elapsed()),
                || Ok(()),
            )?;
            println!("{}: login prompt, from its own disk", node.name());
        }
        report.phase(
            "power-on to the last login prompt, from disk",
            start.elapsed(),
        );
        Ok(())
    }

    fn keep(&self) -> Result<()> {
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
}

/// Only the golden disk, for stories that are not about cloning it.
pub(crate) fn golden_disk() -> Result<()> {
    let work = workspace::target().join("lab");
    std::fs::create_dir_all(&work).with_context(|| format!("making {}", work.display()))?;
    let _lock = lock(&work)?;
    println!("{}", golden::disk(&work)?.display());
    Ok(())
}

/// `ip`, with its arguments.
fn ip(arguments: &[&str]) -> Result<String> {
    host::run(Command::new("ip").args(arguments))
}
