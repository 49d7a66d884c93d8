//! A ring without a configuration: what is read, what is written, and the nodes, which are
//! named or found.

use std::fs;
use std::time::Duration;

use anyhow::{Context, bail};
use goldring_contract::Root;
use goldring_transfer::discover;
use goldring_wire::discover::{Found, Program};

use crate::fault::Usage;

/// The most nodes that can be found: their addresses fill the longest configuration that a
/// node takes (64 KiB).
const FOUND_MAX: usize = 4000;
/// How often a dry run asks who waits.
const DRY_ROUNDS: u32 = 3;

/// The words of the command line.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Words {
    /// Without a configuration: what is read on the golden node
    #[arg(
        long = "in",
        value_name = "PATH",
        requires = "output",
        conflicts_with = "config"
    )]
    pub(crate) input: Option<String>,
    /// Without a configuration: what is written on every node
    #[arg(long = "out", value_name = "PATH", requires = "input")]
    pub(crate) output: Option<String>,
    /// Without a configuration: the nodes, in their order
    #[arg(value_name = "NODE", requires = "input")]
    nodes: Vec<String>,
    /// Without a configuration: find so many waiting nodes (UDP port 9996), then start
    #[arg(long = "nodes", value_name = "N", requires = "input", conflicts_with = "nodes",
          value_parser = nodes)]
    pub(crate) count: Option<usize>,
}

fn nodes(word: &str) -> Result<usize, String> {
    match word.parse() {
        Ok(n) if (1..=FOUND_MAX).contains(&n) => Ok(n),
        _ => Err(format!("write a number from 1 to {FOUND_MAX}")),
    }
}

/// How nodes are looked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Search<'a> {
    /// What they wait for.
    pub(crate) programs: &'a [Program],
    /// Only those that wait at the moment.
    pub(crate) dry: bool,
    /// For how long; without, until they are there.
    pub(crate) limit: Option<Duration>,
}

/// A ring in words.
#[derive(Debug)]
pub(crate) struct Ring<'a> {
    pub(crate) input: &'a str,
    pub(crate) output: &'a str,
    pub(crate) clients: Vec<String>,
}

impl Ring<'_> {
    /// The configuration, which then gets the same checks as one from a file: what is copied, in
    /// lines, and what the golden node is called.
    pub(crate) fn text(&self, copied: &str, server: &str) -> String {
        let end = |name: Option<&String>| name.cloned().unwrap_or_default();
        format!(
            "{copied}\nserver {server}\nfirstclient {}\nlastclient {}\nclients {}\n{}\nendconfig\n",
            end(self.clients.first()),
            end(self.clients.last()),
            self.clients.len(),
            self.clients.join("\n"),
        )
    }
}

impl Words {
    /// The ring that they name. `search` is told the output; `told` gets lines, and whether
    /// a line is news.
    pub(crate) fn ring<'s>(
        &self,
        root: &Root,
        search: &dyn Fn(&str) -> Search<'s>,
        told: &mut dyn FnMut(&str, bool),
    ) -> anyhow::Result<Ring<'_>> {
        let (Some(input), Some(output)) = (&self.input, &self.output) else {
            bail!(Usage(
                "there is no ring: write -f FILE, or --in PATH --out PATH and the nodes (their names, or --nodes N)"
                    .to_owned()
            ));
        };
        // Nobody should wait for forty nodes to learn of a slip of the finger.
        fs::metadata(input).with_context(|| format!("opening the infile {input}"))?;
        let clients = match self.count {
            Some(count) => found(root, &search(output), count, told)?,
            None if self.nodes.is_empty() => bail!(Usage(
                "--in and --out need the nodes; write their names behind them, or --nodes N for those that wait"
                    .to_owned()
            )),
            None => self.nodes.clone(),
        };
        Ok(Ring {
            input,
            output,
            clients,
        })
    }
}

/// The addresses of the nodes that wait, in their order.
fn found(
    root: &Root,
    search: &Search<'_>,
    count: usize,
    told: &mut dyn FnMut(&str, bool),
) -> anyhow::Result<Vec<String>> {
    let found = if search.dry {
        let found = discover::look_around(root, search.programs, DRY_ROUNDS)?;
        told(&progress(&found, count, true), true);
        if found.is_empty() {
            bail!("no node waits, so there is no plan; switch nodes on, then start again");
        }
        found
    } else {
        let mut last: Option<Vec<Found>> = None;
        let mut tell = |found: &[Found]| {
            let changed = last.as_deref() != Some(found);
            told(&progress(found, count, changed), changed);
            last = Some(found.to_vec());
        };
        discover::find(root, search.programs, count, search.limit, &mut tell)?
    };
    Ok(found
        .iter()
        .map(|found| found.address.to_string())
        .collect())
}

/// `found 2 of 3 nodes: 10.0.0.2 (node2), 10.0.0.3`.
fn progress(found: &[Found], count: usize, who: bool) -> String {
    let line = format!("found {} of {count} nodes", found.len());
    if who && !found.is_empty() {
        format!("{line}: {}", discover::names(found))
    } else {
        line
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn who_was_found_is_told() {
        let node = |last: u8, name: &str| Found {
            address: Ipv4Addr::new(10, 0, 0, last),
            name: name.to_owned(),
        };
        let found = [node(2, "node2"), node(3, ""), node(4, "10.0.0.4")];
        assert_eq!(
            progress(&found, 40, true),
            "found 3 of 40 nodes: 10.0.0.2 (node2), 10.0.0.3, 10.0.0.4"
        );
        assert_eq!(progress(&found, 40, false), "found 3 of 40 nodes");
        assert_eq!(progress(&[], 40, true), "found 0 of 40 nodes");
    }
}
