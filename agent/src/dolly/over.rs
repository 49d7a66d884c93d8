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

/// Whether a ring can go over: dolly+ has no parts, no links, no trees.
pub(super) fn is_possible(args: &Args, config: &Config) -> bool {
    let Payload::File { input, output } = &config.payload else {
        return false;
    };
    !args.plain
        && config.dialect == Dialect::Classic
        && config.networks.is_none()
        && config.fanout == 1
        && !(input.compressed || input.split || output.compressed || output.split.is_some())
}

/// The golden node of a ring that went over; `address` is its own.
pub(super) fn serve(
    args: &Args,
    config: &Config,
    address: IpAddr,
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
        wait: REGROUP,
        late: Duration::from_secs(args.late),
        leave_behind: args.patience.factor(),
        dry: false,
    };
    let files = [golden::file(&Root::system(), &line, screen)?];
    let summary = server::serve(&options, &files, &config.clients, screen)?;
    screen.server_summary(&summary);
    Ok(summary)
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
