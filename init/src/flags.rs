//! The flags for runs on a laptop; PID 1 takes none.

use std::ffi::OsString;

use goldring_contract::Root;
use lexopt::prelude::{Long, Short, ValueExt};

/// What `--help` prints.
pub(crate) const HELP: &str = "\
init: PID 1 of goldring's stage 1

As PID 1 it takes no flags; everything is on the kernel command line.
Elsewhere:
  init --list           the steps of a boot
  init --dry-run        what a boot would do, without doing it, with
    --root DIR            the folder that stands for / (its /sys, /proc, /etc)
    --cmdline TEXT        instead of DIR/proc/cmdline
    --kernel RELEASE      instead of DIR/proc/sys/kernel/osrelease
  init --dhcp CARD      print the lease that a node would get, change nothing
                        (needs root; the card must be up)
  init --ipv6 CARD      the same for IPv6, from routers and DHCPv6 (the card
                        has the address for a moment: is it free?)
    --keep DIR            take the address too and renew it until the program
                          is ended, with resolv.conf in DIR/etc
  init --help           this text
Called as modprobe: loads the modules that are named.
";

/// What the world is said to be, in a dry run.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    /// The folder that stands for `/`.
    pub(crate) root: Root,
    /// The kernel command line, when it is not to be read.
    pub(crate) cmdline: Option<String>,
    /// The kernel's release, when it is not to be read.
    pub(crate) kernel: Option<String>,
}

/// What is wanted.
#[derive(Debug)]
pub(crate) enum Request {
    Help,
    List,
    DryRun(Box<Facts>),
    /// The card, and the folder of `--keep`.
    Dhcp(String, Option<Root>),
    /// The same for IPv6.
    Ipv6(String, Option<Root>),
}

/// Reads the flags.
pub(crate) fn parse(args: impl Iterator<Item = OsString>) -> Result<Request, String> {
    read(args).map_err(|error| format!("{error}; see init --help"))
}

fn read(args: impl Iterator<Item = OsString>) -> Result<Request, lexopt::Error> {
    let mut parser = lexopt::Parser::from_args(args);
    let mut dry_run = false;
    let (mut card, mut card6, mut keep) = (None, None, None);
    let mut facts = Facts {
        root: Root::system(),
        cmdline: None,
        kernel: None,
    };
    while let Some(arg) = parser.next()? {
        match arg {
            Short('h') | Long("help") => return Ok(Request::Help),
            Long("list") => return Ok(Request::List),
            Long("dhcp") => card = Some(parser.value()?.string()?),
            Long("ipv6") => card6 = Some(parser.value()?.string()?),
            Long("keep") => keep = Some(Root::at(parser.value()?)),
            Long("dry-run") => dry_run = true,
            Long("root") => facts.root = Root::at(parser.value()?),
            Long("cmdline") => facts.cmdline = Some(parser.value()?.string()?),
            Long("kernel") => facts.kernel = Some(parser.value()?.string()?),
            other => return Err(other.unexpected()),
        }
    }
    if let Some(card) = card {
        Ok(Request::Dhcp(card, keep))
    } else if let Some(card) = card6 {
        Ok(Request::Ipv6(card, keep))
    } else if dry_run {
        Ok(Request::DryRun(Box::new(facts)))
    } else {
        Err("this is no PID 1; say --dry-run to see what a boot would do".into())
    }
}
