//! One file to all hosts: goldring's ways beside those that people type by hand. Each
//! host is a network namespace on a bridge, its link limited or not, and writes to a
//! file of its own in memory, which is compared with the source afterwards.

use std::fs;
use std::num::NonZeroU8;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::host::{self, Need, need};
use crate::workspace;

mod data;
mod figures;
mod options;
mod process;
mod report;
mod scene;
mod tools;

use data::{Data, Memory};
use options::{Rate, Size};
use report::Row;
use scene::{Case, Place};
use tools::Tool;

const EXAMPLES: &str = "\
Examples:
  cargo xtask bench ring --install
      every tool, 1, 3 and 7 nodes, 400 Mbit/s and no limit (root); about an hour
  cargo xtask bench ring --nodes 3 --rates none --data random --tools goldring,mbuffer --runs 3
      what the processors allow
  cargo xtask bench ring --kill --nodes 7 --rates 400 --tools plus,mbuffer
      the same with a node killed in the middle
  cargo xtask bench ring --dry-run
      what would be measured, and what is missing";

/// What the bench itself needs.
const NEEDS: [Need; 3] = [
    need("ip", "iproute2"),
    need("tc", "iproute2"),
    need("mount", "mount"),
];

/// How rings are measured.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Ring {
    /// Runs of everything; the tools take turns within each
    #[arg(long, default_value = "1")]
    runs: NonZeroU8,
    /// How many hosts receive
    #[arg(long, default_value = "1,3,7", value_delimiter = ',', value_name = "N,…",
          value_parser = clap::value_parser!(u8).range(1..=60))]
    nodes: Vec<u8>,
    /// Limits of each host's link in Mbit/s, or none
    #[arg(
        long,
        default_value = "400,none",
        value_delimiter = ',',
        value_name = "MBIT,…"
    )]
    rates: Vec<Rate>,
    /// How much is sent, such as 256MiB
    #[arg(long, default_value = "1GiB")]
    size: Size,
    /// Of which kind
    #[arg(long, value_enum, default_value = "half,random", value_delimiter = ',')]
    data: Vec<Data>,
    /// By what [default: all]
    #[arg(long, value_enum, value_delimiter = ',')]
    tools: Vec<Tool>,
    /// Once more with a node killed in the middle: how much later the others end
    #[arg(long)]
    kill: bool,
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

impl Ring {
    fn tools(&self) -> &[Tool] {
        if self.tools.is_empty() {
            Tool::ALL
        } else {
            &self.tools
        }
    }

    /// Everything that is measured in one run, in this order. Each run begins with
    /// another tool, so that no tool is always the one after an idle machine.
    fn cases(&self, run: u8) -> Vec<Case> {
        let mut tools = self.tools().to_vec();
        let first = usize::from(run.saturating_sub(1)) % tools.len();
        tools.rotate_left(first);
        let mut cases = Vec::new();
        for rate in &self.rates {
            for nodes in &self.nodes {
                for data in &self.data {
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
    fn memory(&self) -> u64 {
        let most = self.nodes.iter().copied().max().unwrap_or(0);
        self.size.0 * (u64::from(most) + self.data.len() as u64)
    }
}

/// Measures and prints.
pub(super) fn run(options: &Ring) -> Result<()> {
    let mut needs = NEEDS.to_vec();
    needs.extend(options.tools().iter().filter_map(|tool| tool.need()));
    if options.dry_run {
        print!("{}", plan(options, &needs));
        return Ok(());
    }
    if !host::is_root() {
        bail!("network namespaces need root; run it as root, or see --dry-run");
    }
    if options.install {
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
    let goldring = match &options.goldring {
        Some(path) => fs::canonicalize(path).with_context(|| path.display().to_string())?,
        None => build()?,
    };
    let folder = workspace::target().join("bench/ring");
    let memory = Memory::mount(&folder.join("memory"), options.memory())?;
    for data in &options.data {
        memory.make(*data, options.size.0)?;
    }
    let place = Place {
        goldring,
        memory: &memory,
        logs: folder.join("logs"),
        size: options.size.0,
    };
    let rows = measure(options, &place)?;
    let raw = folder.join("ring.csv");
    fs::write(&raw, report::csv(&rows)).with_context(|| format!("writing {}", raw.display()))?;
    print!("\n{}", report::report(&rows, options.size.0));
    println!("raw data: {}", raw.display());
    Ok(())
}

fn measure(options: &Ring, place: &Place<'_>) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for run in 1..=options.runs.get() {
        for case in options.cases(run) {
            host::check_interrupt()?;
            let row = Row {
                run,
                case,
                result: place.measure(&case)?,
            };
            eprintln!("run {run}: {}", report::told(&row, options.size.0));
            rows.push(row);
        }
    }
    Ok(rows)
}

fn plan(options: &Ring, needs: &[Need]) -> String {
    let cases = options.cases(1);
    let mut text = format!(
        "{} transfers of {} bytes in each of {} runs, with {} MiB of memory for the files:\n",
        cases.len(),
        options.size.0,
        options.runs,
        options.memory() >> 20
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

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        ring: Ring,
    }

    fn ring(words: &[&str]) -> Ring {
        let words = [&["x"], words].concat();
        Line::try_parse_from(words).unwrap().ring
    }

    #[test]
    fn everything_is_measured_in_turns() {
        let all = ring(&[]);
        assert_eq!(all.cases(1).len(), 2 * 3 * 2 * Tool::ALL.len());
        let some = ring(&[
            "--nodes",
            "1,3",
            "--rates",
            "none",
            "--data",
            "half",
            "--tools",
            "goldring,nc",
            "--kill",
            "--size",
            "1MiB",
        ]);
        let words = |run| -> Vec<String> { some.cases(run).iter().map(Case::to_string).collect() };
        assert_eq!(
            words(1),
            [
                "no limit, 1 node, half zeros: goldring dolly --plain",
                "no limit, 1 node, half zeros: nc and tee",
                "no limit, 3 nodes, half zeros: goldring dolly --plain",
                "no limit, 3 nodes, half zeros: goldring dolly --plain, a node killed",
                "no limit, 3 nodes, half zeros: nc and tee",
                "no limit, 3 nodes, half zeros: nc and tee, a node killed",
            ]
        );
        assert!(words(2)[0].ends_with("nc and tee"), "{:?}", words(2));
        assert_eq!(some.memory(), 4 << 20);
        assert!(plan(&some, &[need("/no/such", "nosuch")]).contains("missing: nosuch"));
    }

    #[test]
    fn nonsense_is_refused() {
        for words in [
            ["--nodes", "0"],
            ["--nodes", "3,x"],
            ["--rates", "0"],
            ["--rates", "fast"],
            ["--size", "0"],
            ["--size", "1GB"],
            ["--tools", "rsync"],
            ["--runs", "0"],
        ] {
            let words = [&["x"], &words[..]].concat();
            assert!(Line::try_parse_from(&words).is_err(), "{words:?}");
        }
    }
}
