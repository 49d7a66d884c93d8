//! `cargo xtask lab`: the whole path with virtual machines, as the old manual tells
//! it. Nodes boot by PXE, fetch stage 2, are cloned, and start from their own disks.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use goldring_contract::sentences::Milestone;

use crate::programs::{self, Https};
use crate::{host, workspace};

mod boot_server;
mod case;
mod compare;
pub(crate) mod golden;
mod guest;
mod installed;
mod machine;
pub(crate) mod models;
mod network;
mod path;
mod process;
mod report;
mod scene;

use case::{Case, Row};
pub(crate) use guest::engine;
use models::{Disk, Nic};
use path::Lab;
use report::Report;
pub(crate) use scene::Scene;

const EXAMPLES: &str = "\
Examples:
  cargo xtask lab --install --nodes 2 --method http --clone dolly
      install what is needed, clone two nodes and show the report
  cargo xtask lab --keep
      leave the cloned nodes running until Ctrl-C; their consoles are files
  cargo xtask lab --images target/images --nodes 4
      take images that are there instead of making them
  cargo xtask lab --nic e1000e --disk nvme
      another card and another disk controller
  cargo xtask lab --nic all --disk all --until stage2
      every card and controller of QEMU, as far as the driver and the disk; a table";

/// How the lab is run.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// How many nodes to clone; 2, but 1 each when there are several models
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=20))]
    nodes: Option<u8>,
    /// The network card, by QEMU's name; several times, or all
    #[arg(long, value_name = "MODEL", value_parser = models::parse_nics)]
    nic: Vec<Vec<Nic>>,
    /// The disk controller, by QEMU's name; several times, or all
    #[arg(long, value_name = "MODEL", value_parser = models::parse_disks)]
    disk: Vec<Vec<Disk>>,
    /// How far to go
    #[arg(long, value_enum, default_value_t = Until::Login)]
    until: Until,
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

/// The end of the path.
#[derive(clap::ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
enum Until {
    /// Stage 2 runs and sees the disk. Nothing is cloned.
    Stage2,
    /// The disk is the golden disk.
    Clone,
    /// The node has started from its disk.
    Login,
}

impl Until {
    fn name(self) -> &'static str {
        match self {
            Self::Stage2 => "stage2",
            Self::Clone => "clone",
            Self::Login => "login",
        }
    }
}

/// What all cases share.
struct Shared {
    images: PathBuf,
    /// The golden disk and `goldring`, when something is cloned.
    golden: Option<PathBuf>,
    program: Option<PathBuf>,
    run: PathBuf,
}

/// Runs the path for each case and prints the report.
pub(crate) fn run(options: &Options) -> Result<()> {
    let cases = case::cases(&options.nic, &options.disk);
    if options.keep && cases.len() > 1 {
        bail!("--keep keeps one case; name one card and one controller");
    }
    prepare_host(options.install)?;
    let work = workspace::target().join("lab");
    let _lock = lock(&work)?;
    let shared = Shared::prepare(options, &work)?;
    match cases.as_slice() {
        [case] => one(options, &shared, *case),
        cases => several(options, &shared, cases),
    }
}

impl Shared {
    fn prepare(options: &Options, work: &Path) -> Result<Self> {
        let images = images(options.images.as_deref())?;
        let (golden, program) = match options.until {
            Until::Stage2 => (None, None),
            Until::Clone | Until::Login => (
                Some(golden::make(work)?.disk),
                Some(programs::build(&workspace::root(), Https::Without)?.agent),
            ),
        };
        let run = work.join("run");
        if run.exists() {
            std::fs::remove_dir_all(&run).with_context(|| format!("emptying {}", run.display()))?;
        }
        Ok(Self {
            images,
            golden,
            program,
            run,
        })
    }
}

/// One case, with all figures.
fn one(options: &Options, shared: &Shared, case: Case) -> Result<()> {
    let nodes = options.nodes.unwrap_or(2);
    let mut lab = Lab::start(options, shared, case, nodes, shared.run.clone())?;
    let mut report = Report::default();
    lab.run(&mut report)?;
    report.print();
    if options.keep {
        lab.keep()?;
    }
    Ok(())
}

/// Many cases, one after the other, with a line each. One that fails does not stop the
/// next.
fn several(options: &Options, shared: &Shared, cases: &[Case]) -> Result<()> {
    let nodes = options.nodes.unwrap_or(1);
    let mut rows = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        println!("\n{} of {}: {}", number + 1, cases.len(), case.name());
        let start = Instant::now();
        let mut report = Report::default();
        let mut lab = Lab::start(options, shared, *case, nodes, shared.run.join(case.name()))?;
        let done = lab.run(&mut report);
        lab.tidy();
        // Somebody who presses Ctrl-C wants no more cases.
        host::check_interrupt()?;
        if let Err(error) = &done {
            println!("failed: {error:#}");
        }
        rows.push(Row {
            case: *case,
            stage2: report.slowest(Milestone::Stage2Running),
            seconds: start.elapsed().as_secs_f64(),
            reached: done.map_err(|error| format!("{error:#}")),
        });
    }
    let table = case::table(&rows);
    let file = shared.run.join("table");
    std::fs::write(&file, &table).with_context(|| format!("writing {}", file.display()))?;
    print!("\n{table}");
    match rows.iter().filter(|row| row.reached.is_err()).count() {
        0 => Ok(()),
        failed => bail!("{failed} of {} failed", rows.len()),
    }
}

/// Root, packages, and a Ctrl-C that takes everything down.
pub(crate) fn prepare_host(install: bool) -> Result<()> {
    if !host::is_root() {
        bail!(
            "this makes network namespaces and a Debian system, which needs root; \
             run it as root, with sudo"
        );
    }
    if install {
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

/// One lab at a time: the golden disk and the folder of the run are shared. Waits for
/// the other one's end.
pub(crate) fn lock(work: &Path) -> Result<std::fs::File> {
    host::lock(work, "lab")
}

/// The images in `folder`, or those of `cargo xtask image`.
pub(crate) fn images(folder: Option<&Path>) -> Result<PathBuf> {
    if let Some(folder) = folder {
        return std::path::absolute(folder).context("finding the images");
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

/// What `cargo xtask golden` makes.
#[derive(clap::Args, Debug)]
pub(crate) struct GoldenOptions {
    /// A golden machine with such disks instead; its disks are printed
    #[arg(long, value_parser = installed::names())]
    layout: Option<String>,
}

/// Only the golden disk, or that of a golden machine, for stories that are not about `lab`.
pub(crate) fn golden_disk(options: &GoldenOptions) -> Result<()> {
    if let Some(name) = &options.layout {
        return installed::golden_machine(name);
    }
    let work = workspace::target().join("lab");
    let _lock = lock(&work)?;
    println!("{}", golden::make(&work)?.disk.display());
    Ok(())
}

/// `ip`, with its arguments.
fn ip(arguments: &[&str]) -> Result<String> {
    host::run(Command::new("ip").args(arguments))
}
