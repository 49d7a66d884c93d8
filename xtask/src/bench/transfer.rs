//! Transfers to all hosts of a network of namespaces, by goldring and by others: what
//! `bench ring` and `bench files` have in common.

use std::fs;
use std::num::NonZeroU8;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::host::{self, Need, need};
use crate::workspace;

pub(super) mod data;
mod figures;
pub(super) mod options;
mod process;
mod report;
mod scene;
pub(super) mod tools;
mod tree;

use data::{Amount, Data, Memory};
use options::Rate;
use report::Row;
pub(super) use scene::Case;
use scene::Place;
use tools::Tool;

/// What the bench itself needs.
const NEEDS: [Need; 3] = [
    need("ip", "iproute2"),
    need("tc", "iproute2"),
    need("mount", "mount"),
];

/// What every bench of transfers can be told.
#[derive(clap::Args, Debug)]
pub(super) struct Common {
    /// Runs of everything; the tools take turns within each
    #[arg(long, default_value = "1")]
    runs: NonZeroU8,
    /// How many hosts receive
    #[arg(long, default_value = "1,3,7", value_delimiter = ',', value_name = "N,…",
          value_parser = clap::value_parser!(u8).range(1..=60))]
    nodes: Vec<u8>,
    /// Measure this goldring instead of building one
    #[arg(long, value_name = "FILE")]
    goldring: Option<PathBuf>,
    /// Install what is missing by apt
    #[arg(long)]
    install: bool,
    /// Only say what would be measured, and what is missing
    #[arg(long)]
    dry_run: bool,
}

/// What is measured.
#[derive(Debug)]
pub(super) struct Bench<'a> {
    /// The folder for its files below `target/bench`.
    pub(super) name: &'static str,
    pub(super) common: &'a Common,
    pub(super) rates: &'a [Rate],
    pub(super) data: &'a [Data],
    pub(super) tools: &'a [Tool],
    /// Everything once more with a node killed in the middle.
    pub(super) kill: bool,
    pub(super) amount: Amount,
}

impl Bench<'_> {
    /// Everything that is measured in one run, in this order. Each run begins with
    /// another tool, so that no tool is always the one after an idle machine.
    pub(super) fn cases(&self, run: u8) -> Vec<Case> {
        let mut tools = self.tools.to_vec();
        let first = usize::from(run.saturating_sub(1)) % tools.len().max(1);
        tools.rotate_left(first);
        let mut cases = Vec::new();
        for rate in self.rates {
            for nodes in &self.common.nodes {
                for data in self.data {
                    for tool in &tools {
                        let case = Case {
                            rate: *rate,
                            nodes: usize::from(*nodes),
                            data: *data,
                            tool: *tool,
                            kill: false,
                        };
                        cases.push(case);
                        // With one node nobody is left.
                        if self.kill && case.nodes > 1 {
                            cases.push(Case { kill: true, ..case });
                        }
                    }
                }
            }
        }
        cases
    }

    /// Memory for the source of each kind and every copy of it, in bytes.
    pub(super) fn memory(&self) -> u64 {
        let most = self.common.nodes.iter().copied().max().unwrap_or(0);
        self.amount.memory() * (u64::from(most) + self.data.len() as u64)
    }

    /// Measures and prints.
    pub(super) fn run(&self) -> Result<()> {
        let mut needs = NEEDS.to_vec();
        needs.extend(self.tools.iter().filter_map(|tool| tool.need()));
        if self.common.dry_run {
            print!("{}", self.plan(&needs));
            return Ok(());
        }
        if !host::is_root() {
            bail!("network namespaces need root; run it as root, or see --dry-run");
        }
        if self.common.install {
            host::install(&needs)?;
        }
        let packages = host::missing(&NEEDS);
        if !packages.is_empty() {
            bail!(
                "{} is missing; install it, or give --install",
                packages.join(" ")
            );
        }
        host::catch_interrupts()?;
        let goldring = match &self.common.goldring {
            Some(path) => fs::canonicalize(path).with_context(|| path.display().to_string())?,
            None => build()?,
        };
        let folder = workspace::target().join("bench").join(self.name);
        // Two would mount their memory over each other.
        fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        let _lock = host::lock(&folder, "bench")?;
        let memory = Memory::mount(&folder.join("memory"), self.memory())?;
        for data in self.data {
            let made = memory.make(*data, &self.amount)?;
            eprintln!("{made}");
        }
        let place = Place {
            goldring,
            memory: &memory,
            logs: folder.join("logs"),
            amount: self.amount,
        };
        let rows = self.measure(&place)?;
        let raw = folder.join(format!("{}.csv", self.name));
        fs::write(&raw, report::csv(&rows))
            .with_context(|| format!("writing {}", raw.display()))?;
        print!("\n{}", report::report(&rows, self.amount.bytes));
        println!("raw data: {}", raw.display());
        Ok(())
    }

    fn measure(&self, place: &Place<'_>) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        for run in 1..=self.common.runs.get() {
            for case in self.cases(run) {
                host::check_interrupt()?;
                let row = Row {
                    run,
                    case,
                    result: place.measure(&case)?,
                };
                eprintln!("run {run}: {}", report::told(&row, place.amount.bytes));
                rows.push(row);
            }
        }
        Ok(rows)
    }

    /// What would be measured, and what is missing.
    pub(super) fn plan(&self, needs: &[Need]) -> String {
        let cases = self.cases(1);
        let mut text = format!(
            "{} transfers of {} bytes in each of {} runs, with {} MiB of memory for the files:\n",
            cases.len(),
            self.amount.bytes,
            self.common.runs,
            self.memory() >> 20
        );
        for case in &cases {
            text += &format!("  {case}\n");
        }
        match host::missing(needs).as_slice() {
            [] => text += "nothing is missing\n",
            packages => {
                text += &format!(
                    "missing: {}; --install installs it, as root\n",
                    packages.join(" ")
                );
            }
        }
        text
    }
}

/// The program as it is released, but for the static linking.
fn build() -> Result<PathBuf> {
    eprintln!("building goldring");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let target = workspace::target();
    let status = Command::new(cargo)
        .current_dir(workspace::root())
        .args(["build", "--quiet", "--locked", "--release"])
        .args(["--package", "goldring-agent", "--target-dir"])
        .arg(&target)
        .status()
        .context("starting cargo")?;
    if !status.success() {
        bail!("goldring does not build ({status}); the compiler's messages are above");
    }
    Ok(target.join("release/goldring"))
}
