//! `cargo xtask test`: all tests, in tiers, and what they need.

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::host::{self, Need};
use crate::workspace;

const EXAMPLES: &str = "\
Examples:
  cargo xtask test
      everything; as root it installs what the upper tiers need
  cargo xtask test --tier fast
      the tests that need neither root nor a virtual machine";

/// Which tests to run.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// Only this tier; may be given several times.
    #[arg(long, value_enum)]
    tier: Vec<Tier>,
    /// Install nothing; tests that lack something count as ignored and say why.
    #[arg(long)]
    no_install: bool,
}

/// The tiers, from quick to slow.
#[derive(clap::ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
enum Tier {
    /// Parsers, protocols in memory, programs in temporary folders.
    Fast,
    /// Programs with real sockets in network namespaces.
    Host,
    /// Stories in virtual machines.
    Vm,
}

impl Tier {
    const ALL: [Self; 3] = [Self::Fast, Self::Host, Self::Vm];

    fn name(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Host => "host",
            Self::Vm => "vm",
        }
    }

    fn needs(self) -> &'static [Need] {
        match self {
            Self::Fast => &[],
            Self::Host => host::NAMESPACES,
            Self::Vm => host::LAB,
        }
    }

    fn cargo_arguments(self) -> &'static [&'static [&'static str]] {
        match self {
            Self::Fast => &[
                &[
                    "--workspace",
                    "--exclude",
                    "goldring-host-tests",
                    "--exclude",
                    "goldring-vm-tests",
                ],
                // Only an image with a CA has https, so nothing else builds it.
                &[
                    "--package",
                    "goldring-transfer",
                    "--features",
                    "https",
                    "tls",
                ],
            ],
            Self::Host => &[&["--package", "goldring-host-tests"]],
            // Two of them work at a time (tests/e2e/tests/vm/turns.rs); the others wait.
            Self::Vm => &[&["--package", "goldring-vm-tests", "--", "--test-threads=4"]],
        }
    }
}

/// Runs the tiers in turn; a tier that fails does not stop the next one.
pub(crate) fn run(options: &Options) -> Result<()> {
    let tiers = if options.tier.is_empty() {
        Tier::ALL.to_vec()
    } else {
        options.tier.clone()
    };
    let mut failed = Vec::new();
    for tier in tiers {
        println!("\n== {} tests", tier.name());
        prepare(tier, options)?;
        let mut runs = tier.cargo_arguments().iter();
        if !runs.try_fold(true, |well, run| {
            Ok::<_, anyhow::Error>(cargo_test(run)? && well)
        })? {
            failed.push(tier.name());
        }
    }
    if failed.is_empty() {
        return Ok(());
    }
    bail!("failed: the {} tests", failed.join(" and the "))
}

/// Whether these tests pass.
fn cargo_test(arguments: &[&str]) -> Result<bool> {
    let status = Command::new(env!("CARGO"))
        .args(["test", "--locked"])
        .args(arguments)
        .current_dir(workspace::root())
        .status()
        .context("starting cargo test")?;
    Ok(status.success())
}

fn prepare(tier: Tier, options: &Options) -> Result<()> {
    let packages = host::missing(tier.needs());
    if packages.is_empty() {
        return Ok(());
    }
    if options.no_install || !host::is_root() {
        println!(
            "missing packages: {}; tests that need them are ignored (as root, \
             `cargo xtask test` installs them)",
            packages.join(" ")
        );
        return Ok(());
    }
    host::install(tier.needs())
}
