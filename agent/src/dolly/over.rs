//! When a ring turns out to be goldring only it goes over to dolly+, in which a computer
//! that dies is replaced and every byte is checked; and a node that waits for dolly is
//! there for rings of dolly+, too.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use anyhow::bail;
use goldring_contract::Root;
use goldring_transfer::dolly::client::Ending;
use goldring_transfer::dollyplus::client::{self, Done, Wanted};
use goldring_transfer::dollyplus::server::{self, Summary};
use goldring_transfer::dollyplus::{PlusError, Timing};
use goldring_wire::dolly::config::{Config, Dialect, Payload};
use goldring_wire::dollyplus::config::FileLine;
use goldring_wire::dollyplus::cook::Cook;
use goldring_wire::dollyplus::status::Abilities;

use super::Args;
use crate::dollyplus::member::{self, Before};
use crate::dollyplus::screen::Screen;
use crate::dollyplus::{ZSTD, golden, timing};

/// What this program can do in a ring of dolly+.
pub(crate) const ABILITIES: Abilities = Abilities {
    own: true,
    zstd: true,
};
/// How long the others of a ring may take to close this one and listen again.
const REGROUP: Duration = Duration::from_secs(60);
/// How long those that wait may take to answer, in a dry run.
const GATHER: Duration = Duration::from_secs(5);

/// Why a ring cannot go over, if it cannot: dolly+ has no parts, no links, no trees.
pub(super) fn hindrance(args: &Args, config: &Config) -> Option<&'static str> {
    let Payload::File { input, output } = &config.payload else {
        return Some("dummy data is not written anywhere");
    };
    let parts = input.split || output.split.is_some();
    let hindrances = [
        (args.plain, "--plain says that they are old"),
        (
            config.dialect == Dialect::Suse,
            "--dialect suse says that they are old",
        ),
        (config.networks.is_some(), "add is only in dolly"),
        (config.fanout != 1, "fanout is only in dolly"),
        (parts, "split is only in dolly"),
        (
            input.compressed || output.compressed,
            "compressed is only in dolly",
        ),
    ];
    let found = hindrances.iter().find(|(hinders, _)| *hinders);
    found.map(|(_, what)| *what)
}

/// The golden node of a ring that went over; `address` is its own.
pub(super) fn serve(
    args: &Args,
    config: &Config,
    address: IpAddr,
    screen: &mut Screen,
) -> anyhow::Result<Summary> {
    let summary = ring(args, config, (address, &config.clients), screen)?;
    screen.server_summary(&summary);
    Ok(summary)
}

/// A ring of dolly+ of these clients; with `--dry-run` it writes nothing.
pub(super) fn ring(
    args: &Args,
    config: &Config,
    (address, clients): (IpAddr, &[String]),
    screen: &mut Screen,
) -> anyhow::Result<Summary> {
    let Payload::File { input, output } = &config.payload else {
        bail!("a dummy ring cannot go over to dolly+");
    };
    let line = FileLine {
        input: input.path.clone(),
        output: output.path.clone(),
        cook: Cook::PLAIN,
        uncookable: false,
    };
    let options = server::Options {
        bind: Ipv4Addr::UNSPECIFIED,
        server: address.to_string(),
        timing: timing(args.stall()),
        codec: Some(ZSTD),
        plain: false,
        wait: if args.dry_run { GATHER } else { REGROUP },
        late: Duration::from_secs(args.late),
        leave_behind: args.patience.factor(),
        dry: args.dry_run,
    };
    let files = [golden::file(&Root::system(), &line, screen)?];
    Ok(server::serve(&options, &files, clients, screen)?)
}

/// A node whose ring went over, or that a ring of dolly+ has called; `allow` says what may
/// be written.
pub(crate) fn join(
    root: &Root,
    ending: Ending,
    (bind, timing): (Ipv4Addr, Timing),
    allow: &dyn Fn(&str) -> Result<(), String>,
    screen: &mut Screen,
) -> Result<Done, PlusError> {
    let (call, before) = match ending {
        Ending::Called(call) => (Some(call), Before::Emptied),
        // dolly leaves what is behind the last byte as it was.
        _ => (None, Before::Kept),
    };
    let options = client::Options {
        bind,
        announce: None,
        wait: Some(REGROUP),
        again: false,
        timing,
        codec: Some(ZSTD),
    };
    let mut open = |wanted: Wanted<'_>| {
        allow(wanted.output)?;
        member::open(root, wanted, before)
    };
    client::clone(&options, call, &mut open, screen)
}
