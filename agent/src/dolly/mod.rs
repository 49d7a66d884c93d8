//! `goldring dolly`: the golden node with `-s`, otherwise a node.

mod golden;
pub(crate) mod member;
pub(crate) mod screen;

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::bail;
use goldring_contract::limits::DOLLY_STALL;

use crate::fault::Usage;

/// Examples at the end of the help text.
const EXAMPLES: &str = "\
Examples:
  On the golden node, with this dolly.cfg:

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

  goldring dolly -s -v -f dolly.cfg            clone
  goldring dolly -s -f dolly.cfg --dry-run     check the file, connect to nobody
  On each node (rescue dollymethod does it by itself):
  goldring dolly -v                            wait for the golden node

Exit status: 0 all clones are complete, 1 it failed, 2 wrong options.";

/// Options of `goldring dolly`; the letters are those of dolly 0.57 and 0.58.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// This is the golden node; its name must be the configuration's server
    #[arg(short = 's', requires = "config", conflicts_with = "any_server")]
    server: bool,
    /// As -s, whatever this computer is called
    #[arg(short = 'S', requires = "config")]
    any_server: bool,
    /// The configuration (golden node only; the others get it from there)
    #[arg(short = 'f', value_name = "FILE")]
    config: Option<PathBuf>,
    /// Say everything that happens
    #[arg(short = 'v')]
    verbose: bool,
    /// Append one line of figures to this file when done
    #[arg(short = 'o', value_name = "FILE")]
    log: Option<PathBuf>,
    /// Give up if the ring is not complete after so long
    #[arg(short = 'a', value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    alarm: Option<u64>,
    /// Accepted and without effect
    #[arg(short = 'q')]
    quiet: bool,
    /// Do not sync at the end (a node only; for measurements)
    #[arg(short = 'n')]
    no_sync: bool,
    /// Dummy data; comes with a later version
    #[arg(short = 'd', hide = true)]
    dummy: bool,
    /// Length of a dummy run; comes with a later version
    #[arg(short = 't', value_name = "SECONDS", hide = true)]
    dummy_time: Option<u64>,
    /// Uncompressed size; accepted and without effect
    #[arg(short = 'c', value_name = "SIZE", hide = true)]
    size: Option<String>,
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
    /// Check everything and say what would happen (golden node only)
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
}

/// Runs it.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    if args.dummy || args.dummy_time.is_some() {
        bail!(Usage(
            "-d and -t (dummy data) come with a later version; clone a file to measure".to_owned()
        ));
    }
    if args.is_server() {
        return golden::run(args);
    }
    let server_only = [(args.config.is_some(), "-f"), (args.dry_run, "--dry-run")];
    for (given, option) in server_only {
        if given {
            bail!(Usage(format!(
                "{option} is for the golden node; write goldring dolly -s -f FILE there, and goldring dolly -v on the others"
            )));
        }
    }
    member::run(args)
}
