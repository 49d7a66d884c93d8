//! `goldring ka-d-server`.

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::time::Duration;

use anyhow::{Context, bail};
use goldring_files::send::Sending;
use goldring_files::tar::Source;
use goldring_transfer::ka::server::{Options, Summary, serve};
use goldring_wire::ka::server::{Fate, Late, Lead};

use super::screen::Screen;
use super::{ServerArgs, command, ports};
use crate::dolly::screen::rate;
use crate::files::stream::{self, form};

/// Sends the output of a command.
pub(super) fn run(args: &ServerArgs) -> anyhow::Result<()> {
    let options = options(args)?;
    let mut screen = Screen::new(args.verbose);
    let mut open = |compared| match &args.tree {
        Some(tree) => stream::source(Sending {
            source: Source::tree(tree),
            level: None,
            form: form(compared),
        }),
        None => command::source(&args.command),
    };
    let summary = serve(&options, &mut open, &mut screen)?;
    sum_up(&summary)
}

fn options(args: &ServerArgs) -> anyhow::Result<Options> {
    let lead = match (args.bounded, args.unbounded) {
        (true, _) => Lead::Bounded,
        (_, true) => Lead::Unbounded,
        _ => Lead::WhenFew,
    };
    Ok(Options {
        session: args.session.clone(),
        next: None,
        wanted: usize::try_from(args.nodes)?,
        expected: expected(&args.only)?,
        patience: Duration::from_secs(args.timeout),
        late: if args.partial {
            Late::GoOn
        } else {
            Late::GiveUp
        },
        arity: args.arity.into(),
        lead,
        release: args.delay.map(|tenths| Duration::from_millis(100) * tenths),
        silence: Duration::from_secs(args.stall_timeout),
        bind: args.bind,
        ports: ports(args.control_port, args.data_port),
    })
}

/// The addresses of those who may take part.
fn expected(hosts: &[String]) -> anyhow::Result<Option<Vec<(String, Ipv4Addr)>>> {
    let address = |host: &String| {
        let found = (host.as_str(), 0).to_socket_addrs();
        let mut found = found.with_context(|| format!("looking up {host} of --only"))?;
        let address = found.find_map(|address| match address {
            SocketAddr::V4(address) => Some(*address.ip()),
            SocketAddr::V6(_) => None,
        });
        let address =
            address.with_context(|| format!("{host} has no IPv4 address; ka needs one"))?;
        Ok((host.clone(), address))
    };
    let all: anyhow::Result<Vec<_>> = hosts.iter().map(address).collect();
    Ok(Some(all?).filter(|all| !all.is_empty()))
}

/// Says how each node fared; an error when one has not everything.
pub(super) fn sum_up(summary: &Summary) -> anyhow::Result<()> {
    let mut out = io::stdout();
    let (mut good, mut bad) = (0, Vec::new());
    for node in &summary.nodes {
        let line = match &node.fate {
            Fate::Lost(why) => {
                bad.push(node.who.clone());
                format!("not complete: {why}")
            }
            _ if node.checked => "complete, and checked".to_owned(),
            _ => "complete, as far as an old program tells".to_owned(),
        };
        if node.fate.is_good() {
            good += 1;
        }
        let _ = writeln!(out, "{}: {line}", node.who);
    }
    for who in &summary.absent {
        bad.push(who.clone());
        let _ = writeln!(out, "{who}: never came");
    }
    let bytes = summary.stream.bytes;
    let _ = writeln!(
        out,
        "sent {bytes} bytes in {:.1} s, {}; {good} of {} nodes have everything",
        summary.elapsed.as_secs_f64(),
        rate(bytes, summary.elapsed),
        good + bad.len()
    );
    if bad.is_empty() {
        return Ok(());
    }
    bail!(
        "{} of {} nodes have not got everything: {}; look at their screens, then start again with them alone",
        bad.len(),
        good + bad.len(),
        bad.join(", ")
    )
}
