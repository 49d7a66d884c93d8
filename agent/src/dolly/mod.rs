//! `goldring dolly`: the golden node with `-s`, otherwise a node.

mod dry;
mod golden;
mod input;
mod member;
pub(crate) mod over;
pub(crate) mod ring;
pub(crate) mod screen;
pub(crate) mod store;
pub(crate) mod words;

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::bail;
use goldring_contract::limits::{DOLLY_CLONE_WAIT, DOLLY_STALL};
use goldring_wire::dolly::config::{Dialect, parse_size};
use goldring_wire::dolly::password::Password;

use crate::dollyplus::Patience;
use crate::fault::Usage;
use words::Words;

/// Examples at the end of the help text.
const EXAMPLES: &str = "\
Examples, on the golden node:
  goldring dolly -s --in /dev/sda --out /dev/sda node2 node3 node4
                                               clone to these nodes
  goldring dolly -s --in /dev/sda --out /dev/sda --nodes 40
                                               clone to the 40 nodes that wait
  goldring dolly -s -v -f dolly.cfg            clone as this file says:

    infile /dev/sda
    outfile /dev/sda
    server node1
    firstclient node2
    lastclient node4
    clients 3
    node2
    node3
    node4
    endconfig

  Each with --dry-run says what would happen, lets the nodes look at their targets,
  and writes nothing.
On each node (rescue dollymethod does it by itself):
  goldring dolly -v                            wait for the golden node

Exit status: 0 all clones are complete, 1 it failed, 2 wrong options.";

/// Options of `goldring dolly`; the letters are those of dolly 0.57 and 0.58.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// This is the golden node; its name must be the configuration's server
    #[arg(short = 's', conflicts_with = "any_server")]
    server: bool,
    /// As -s, whatever this computer is called
    #[arg(short = 'S')]
    any_server: bool,
    /// The configuration (golden node only; the others get it from there)
    #[arg(short = 'f', value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    words: Words,
    /// Say everything that happens
    #[arg(short = 'v')]
    verbose: bool,
    /// Append one line of figures to this file when done
    #[arg(short = 'o', value_name = "FILE")]
    log: Option<PathBuf>,
    /// Give up if the ring is not complete after so long
    #[arg(short = 'a', value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    alarm: Option<u64>,
    /// Accepted and without effect: nothing is said about signals
    #[arg(short = 'q')]
    quiet: bool,
    /// Do not sync at the end (a node only; for measurements)
    #[arg(short = 'n')]
    no_sync: bool,
    /// A dummy run, to measure the network: zeros are sent, nothing is written
    #[arg(short = 'd')]
    dummy: bool,
    /// How long a dummy run lasts (golden node only)
    #[arg(short = 't', value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    dummy_time: Option<u64>,
    /// How large compressed data is unpacked (4G, 500M, …), for the figures only
    #[arg(short = 'c', value_name = "SIZE", value_parser = size)]
    size: Option<u64>,
    /// The password of a ring of dolly 0.70 and later
    #[arg(short = 'P', value_name = "PASSWORD")]
    password: Option<String>,
    /// What is spoken with the nodes: classic (dolly up to 0.64), or suse (0.70 and later).
    /// A node recognises it by itself
    #[arg(long, value_name = "DIALECT", value_parser = ["classic", "suse"], default_value = "classic")]
    dialect: String,
    /// Speak as old dolly does, even when all nodes are goldring: no checksums, and one
    /// computer that dies ends the ring (golden node only)
    #[arg(long)]
    plain: bool,
    /// When all nodes are goldring: wait so long, at the end, for those that were lost
    /// (golden node only)
    #[arg(long, value_name = "SECONDS", default_value_t = DOLLY_CLONE_WAIT.as_secs())]
    late: u64,
    #[command(flatten)]
    patience: Patience,
    /// A line of JSON for each event on the standard output, once the ring is dolly+
    #[arg(long)]
    json: bool,
    /// Give up when no data has moved for so long
    #[arg(long, value_name = "SECONDS", default_value_t = DOLLY_STALL.as_secs(),
          value_parser = clap::value_parser!(u64).range(1..))]
    stall_timeout: u64,
    /// Listen on this address only (a node only)
    #[arg(long, value_name = "ADDRESS", default_value_t = Ipv4Addr::UNSPECIFIED)]
    bind: Ipv4Addr,
    /// Wait so long for the golden node (a node only; default: until it comes)
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    wait: Option<u64>,
    /// Say what would happen, let all nodes look at their targets, write nothing (golden
    /// node only)
    #[arg(long)]
    dry_run: bool,
}

impl Args {
    fn is_server(&self) -> bool {
        self.server || self.any_server
    }

    fn stall(&self) -> Duration {
        Duration::from_secs(self.stall_timeout)
    }

    fn dialect(&self) -> Dialect {
        match self.dialect.as_str() {
            "suse" => Dialect::Suse,
            _ => Dialect::Classic,
        }
    }

    fn password(&self) -> Option<Password> {
        self.password.as_deref().map(Password::new)
    }
}

fn size(word: &str) -> Result<u64, String> {
    parse_size(word).ok_or_else(|| "write a size such as 700M (K, M, G or T)".to_owned())
}

/// Runs it.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    if args.is_server() {
        if args.password.is_some() && args.dialect() == Dialect::Classic {
            bail!(Usage(
                "only dolly 0.70 and later know a password; add --dialect suse, or leave -P away"
                    .to_owned()
            ));
        }
        return golden::run(args);
    }
    let server_only = [
        (args.config.is_some(), "-f"),
        (args.words.input.is_some(), "--in"),
        (args.dummy_time.is_some(), "-t"),
        (args.size.is_some(), "-c"),
        (args.dry_run, "--dry-run"),
    ];
    for (given, option) in server_only {
        if given {
            bail!(Usage(format!(
                "{option} is for the golden node; write goldring dolly -s -f FILE there, and goldring dolly -v on the others"
            )));
        }
    }
    member::run(args)
}
