//! `goldring dollyS`, `dollyC` and `dping`: dolly+.

mod codec;
mod cook;
pub(crate) mod golden;
pub(crate) mod member;
pub(crate) mod screen;

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::anyhow;
use goldring_contract::limits::{DOLLY_ACK_WAIT, DOLLY_CLONE_WAIT, DOLLY_STALL};
use goldring_transfer::dollyplus::server::{Fate, Summary};
use goldring_transfer::dollyplus::{self, Timing};
use goldring_wire::dollyplus::status::State;

use crate::dolly::words::Words;
pub(crate) use codec::ZSTD;

const SERVER_EXAMPLES: &str = "\
Examples:
  goldring dollyS --in /dev/sda --out /dev/sda node2 node3
                                             clone to these nodes
  goldring dollyS --in /dev/sda --out /dev/sda --nodes 40
                                             clone to the 40 nodes that wait
  With this dolly.cfg:

    iofiles 2
    /dev/sda > /dev/sda
    /data/home.tar.gz >> /home
    server node1
    firstclient node2
    lastclient node4
    clients 3
    node2
    node3
    node4
    endconfig

  goldring dollyS -v -f dolly.cfg            clone
  goldring dollyS -f dolly.cfg --dry-run     build the ring, check all targets, write nothing
  On each node (rescue dollyCmethod does it by itself):
  goldring dollyC -v                         wait for the golden node

Exit status: 0 every client has everything, 1 it failed, 2 wrong options.";

/// What scripts of dolly+ 0.93 say, and nothing here needs.
#[derive(Debug, Clone, clap::Args)]
struct WithoutEffect {
    /// Accepted and without effect
    #[arg(short = 'd', hide = true)]
    endless: bool,
    /// Accepted and without effect
    #[arg(short = 'B', hide = true)]
    no_bind: bool,
    /// Accepted and without effect
    #[arg(short = 'L', hide = true)]
    blocking: bool,
}

/// What becomes of a node that holds all others up.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Patience {
    /// A node that holds all others up gets its data after them, when they could do so many
    /// times more without it; with "never" everybody waits
    #[arg(long, value_name = "FACTOR", default_value = "4", value_parser = factor)]
    leave_behind: Factor,
}

impl Patience {
    /// So many times more, if any.
    pub(crate) fn factor(&self) -> Option<f64> {
        self.leave_behind.0
    }
}

/// How many times more the others must be able to do.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Factor(Option<f64>);

fn factor(word: &str) -> Result<Factor, String> {
    /// Less than that is what any two disks differ by.
    const LEAST: f64 = 1.5;
    match word.parse() {
        _ if word == "never" => Ok(Factor(None)),
        Ok(factor) if factor >= LEAST && f64::is_finite(factor) => Ok(Factor(Some(factor))),
        _ => Err(format!("write a number from {LEAST} on, or never")),
    }
}

/// Options of `goldring dollyS`; the letters are those of dolly+ 0.93.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = SERVER_EXAMPLES)]
pub(crate) struct ServerArgs {
    /// The configuration; - is the standard input
    #[arg(short = 'f', value_name = "FILE", required_unless_present = "input")]
    config: Option<PathBuf>,
    #[command(flatten)]
    words: Words,
    /// Give up if the nodes of --nodes are not there after so long
    #[arg(short = 'a', value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    alarm: Option<u64>,
    /// Say everything that happens
    #[arg(short = 'v')]
    verbose: bool,
    #[command(flatten)]
    _without_effect: WithoutEffect,
    /// Speak as dolly+ 0.93 does, whoever the clients are: no checksums, no compression
    #[arg(long)]
    plain: bool,
    /// Build the ring, check all targets, write nothing
    #[arg(long)]
    dry_run: bool,
    /// Look so long for clients that do not answer, then go on without them
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    wait: u64,
    /// At the end, wait so long for clients that were left out; they then get what they miss
    #[arg(long, value_name = "SECONDS", default_value_t = DOLLY_CLONE_WAIT.as_secs())]
    late: u64,
    #[command(flatten)]
    patience: Patience,
    /// A line of JSON for each event on the standard output
    #[arg(long)]
    json: bool,
    /// Listen on this address only
    #[arg(long, value_name = "ADDRESS", default_value_t = Ipv4Addr::UNSPECIFIED)]
    bind: Ipv4Addr,
    /// A computer that has answered nothing for so long is dead
    #[arg(long, value_name = "SECONDS", default_value_t = DOLLY_STALL.as_secs(),
          value_parser = clap::value_parser!(u64).range(1..))]
    stall_timeout: u64,
}

const CLIENT_EXAMPLES: &str = "\
Examples:
  goldring dollyC -v               wait for the golden node, whoever that is
  goldring dollyC --wait 300       but not longer than 300 s

Exit status: 0 everything is stored here, 1 it failed, 2 wrong options.";

/// Options of `goldring dollyC`; the letters are those of dolly+ 0.93.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = CLIENT_EXAMPLES)]
pub(crate) struct ClientArgs {
    /// Say everything that happens
    #[arg(short = 'v')]
    verbose: bool,
    #[command(flatten)]
    _without_effect: WithoutEffect,
    /// Take no compressed data
    #[arg(long)]
    plain: bool,
    /// Wait so long for the golden node (default: until it comes)
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    wait: Option<u64>,
    /// A line of JSON for each event on the standard output
    #[arg(long)]
    json: bool,
    /// Listen on this address only
    #[arg(long, value_name = "ADDRESS", default_value_t = Ipv4Addr::UNSPECIFIED)]
    bind: Ipv4Addr,
    /// A computer that has answered nothing for so long is dead
    #[arg(long, value_name = "SECONDS", default_value_t = DOLLY_STALL.as_secs(),
          value_parser = clap::value_parser!(u64).range(1..))]
    stall_timeout: u64,
}

const PING_EXAMPLES: &str = "\
Examples:
  goldring dping -h node2          what node2 is doing
  goldring dping node2 node3       several

Exit status: 0 all answer, 1 somebody does not, 2 wrong options.";

/// Options of `goldring dping`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = PING_EXAMPLES, disable_help_flag = true)]
pub(crate) struct PingArgs {
    /// A host, as in dolly+ 0.93
    #[arg(short = 'h', value_name = "HOST")]
    host: Vec<String>,
    /// Hosts
    #[arg(value_name = "HOST", required_unless_present = "host")]
    hosts: Vec<String>,
    /// Print help
    #[arg(long, action = clap::ArgAction::Help)]
    help: Option<bool>,
}

/// `goldring dollyS`.
pub(crate) fn serve(args: &ServerArgs) -> anyhow::Result<()> {
    golden::run(args)
}

/// `goldring dollyC`.
pub(crate) fn clone(args: &ClientArgs) -> anyhow::Result<()> {
    member::run(args)
}

/// `goldring dping`.
pub(crate) fn ping(args: &PingArgs) -> anyhow::Result<()> {
    let mut silent = Vec::new();
    for host in args.host.iter().chain(&args.hosts) {
        match dollyplus::ping(host) {
            Ok((text, status)) => {
                let doing = match status.state {
                    State::Waiting => "waits for a ring".to_owned(),
                    State::Done => "has everything".to_owned(),
                    State::Busy { received, stored } if status.abilities.own => {
                        format!("has {received} bytes, {stored} stored")
                    }
                    State::Busy { .. } => "is a member of a ring".to_owned(),
                };
                println!("{host} {doing}: {text}");
            }
            Err(sentence) => silent.push(sentence),
        }
    }
    if silent.is_empty() {
        return Ok(());
    }
    Err(anyhow!("{}", silent.join("; ")))
}

/// What clients were asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// To take everything.
    ToTake,
    /// To look at their targets.
    ToLook,
}

/// An error when somebody has not got everything, or could not take it.
pub(crate) fn all_good(summary: &Summary, asked: Asked) -> anyhow::Result<()> {
    let bad = |(name, fate): &(String, Fate)| (!fate.is_good()).then(|| name.clone());
    let failed: Vec<String> = summary.fates.iter().filter_map(bad).collect();
    if failed.is_empty() {
        return Ok(());
    }
    let what = match asked {
        Asked::ToTake => (
            "have not got everything",
            "look at their screens, then start again with them alone",
        ),
        Asked::ToLook => (
            "are not ready for this",
            "mend that, or take them out of the list",
        ),
    };
    Err(anyhow!(
        "{} of {} clients {}: {}; {}",
        failed.len(),
        summary.fates.len(),
        what.0,
        failed.join(", "),
        what.1
    ))
}

/// How long things may take, with this stall.
pub(crate) fn timing(stall: Duration) -> Timing {
    Timing {
        stall,
        orphan: DOLLY_CLONE_WAIT,
        finish: DOLLY_ACK_WAIT,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_slow_is_too_slow() {
        assert_eq!(factor("4"), Ok(Factor(Some(4.0))));
        assert_eq!(factor("1.5"), Ok(Factor(Some(1.5))));
        assert_eq!(factor("never"), Ok(Factor(None)));
        for odd in ["", "1", "-4", "nan", "inf", "always", "4x"] {
            assert!(factor(odd).is_err(), "{odd}");
        }
    }
}
