//! The golden node closes the ring and says what is to be copied.

use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use goldring_wire::dollyplus::own::{File, Kind, Plan, Verdict, Verdicts};
use goldring_wire::dollyplus::packet::{ABSENT, AVAILABLE, Command, Entry, Kind as ListKind, List};
use goldring_wire::dollyplus::ring::Ring;
use goldring_wire::dollyplus::status::Abilities;

use super::Server;
use crate::dollyplus::PlusError;
use crate::dollyplus::callers::Callers;
use crate::dollyplus::join::call;
use crate::dollyplus::link::{Link, Trouble, addresses_of, ask, at_most};
use crate::dollyplus::onward::Mode;
use crate::dollyplus::packing::Codec;
use crate::dollyplus::report::{Event, Reporter};

/// How long the ring may take to close.
const CLOSE: Duration = Duration::from_secs(60);
/// How long a packet may take to go round a closed ring; targets are opened meanwhile.
const ROUND: Duration = Duration::from_secs(120);
/// Tries to build the ring: a client may die just then.
const TRIES: u32 = 3;
/// Between two tries, so that clients have noticed the end of the last one.
const PAUSE: Duration = Duration::from_secs(2);

/// A closed ring.
#[derive(Debug)]
pub(super) struct Closed {
    pub(super) ring: Ring,
    pub(super) next: usize,
    pub(super) down: Link,
    /// From the last client.
    pub(super) back: Option<Link>,
    pub(super) mode: Mode,
    pub(super) codec: Option<Codec>,
    /// The first chunk that is wanted, when somebody wants the rest only.
    pub(super) first: Option<u64>,
    /// In a dry run: what everybody says.
    pub(super) verdicts: Verdicts,
}

/// Builds the ring of those that are there.
pub(super) fn ring(
    server: &Server<'_>,
    present: &[(String, Abilities)],
    report: &mut dyn Reporter,
) -> Result<Closed, PlusError> {
    let mut tried = 1;
    loop {
        match build(server, present, report) {
            Err(PlusError::Ring(why)) if tried < TRIES => {
                report.event(Event::Note(format!("{why}; trying once more")));
                tried += 1;
                thread::sleep(PAUSE);
            }
            other => return other,
        }
    }
}

fn build(
    server: &Server<'_>,
    present: &[(String, Abilities)],
    report: &mut dyn Reporter,
) -> Result<Closed, PlusError> {
    let options = server.options;
    let names: Vec<&str> = present.iter().map(|(name, _)| name.as_str()).collect();
    let mut ring = Ring::of_server(&options.server, &names);
    let (next, mut down) = call_first(&mut ring, server, report)?;
    let mut back = accept(server, &names, &mut ring, report)?;
    let lost = |trouble: Trouble| {
        PlusError::Ring(format!("the ring did not close: the last client {trouble}"))
    };
    let first = |trouble: Trouble| {
        PlusError::Ring(format!(
            "the ring did not close: the first client {trouble}"
        ))
    };
    let mut patience = at_most(ROUND, "sent the packet on");
    let packet = ring.hosts_packet().encode();
    let packet = packet.map_err(|strange| {
        PlusError::Here(format!("the list of hosts: this computer {strange}"))
    })?;
    down.send(&packet, &[], &mut patience).map_err(first)?;
    back.list(ListKind::Host, &mut patience).map_err(lost)?;
    report.event(Event::Ring(ring.hosts().to_vec()));
    for name in ring.absent() {
        server.counter.lose(&name, "was not in the ring");
    }
    let members: Vec<&(String, Abilities)> = {
        let absent = ring.absent();
        present
            .iter()
            .filter(|(name, _)| !absent.contains(name))
            .collect()
    };
    let own = !options.plain && members.iter().all(|(_, abilities)| abilities.own);
    let zstd = own && members.iter().all(|(_, abilities)| abilities.zstd);
    let mut closed = Closed {
        ring,
        next,
        down,
        back: Some(back),
        mode: if own { Mode::Own } else { Mode::Old },
        codec: options.codec.filter(|_| zstd),
        first: None,
        verdicts: Verdicts::default(),
    };
    report.event(Event::Files(entries(server)));
    match closed.mode {
        Mode::Own => plan(server, &mut closed)?,
        Mode::Old => files(server, &mut closed)?,
    }
    Ok(closed)
}

/// The first client that is there gets the RING packet.
fn call_first(
    ring: &mut Ring,
    server: &Server<'_>,
    report: &mut dyn Reporter,
) -> Result<(usize, Link), PlusError> {
    let mut next = ring.candidate(0);
    while next != 0 {
        let called = call(ring.host(next), server.options.timing).and_then(|mut link| {
            let packet = ring.call(next).encode()?;
            link.send(&packet, &[], &mut at_most(ROUND, "taken a packet"))?;
            Ok(link)
        });
        match called {
            Ok(link) => {
                ring.mark(next, AVAILABLE);
                report.event(Event::Next(ring.host(next).to_owned()));
                return Ok((next, link));
            }
            Err(trouble) => {
                ring.mark(next, ABSENT);
                report.event(Event::Lost {
                    name: ring.host(next).to_owned(),
                    by: ring.server().to_owned(),
                    why: trouble.to_string(),
                });
            }
        }
        next = ring.candidate(next);
    }
    Err(PlusError::Ring("no client can be reached".to_owned()))
}

/// The last client connects, and brings the states of all.
fn accept(
    server: &Server<'_>,
    names: &[&str],
    ring: &mut Ring,
    report: &mut dyn Reporter,
) -> Result<Link, PlusError> {
    let members = addresses_of(names);
    let mut callers = Callers::default();
    // The more clients have to be left out, the longer it takes.
    let deadline =
        Instant::now() + CLOSE + Duration::from_secs(5) * u32::try_from(names.len()).unwrap_or(1);
    while Instant::now() < deadline {
        let (from, why) = match callers.look(server.listener, server.options.timing.stall) {
            None => continue,
            Some(Ok((link, list, from))) if members.contains(&from) => match ring.learn(&list) {
                Ok(()) => return Ok(link),
                Err(strange) => (from, strange.to_string()),
            },
            Some(Ok((_, _, from))) => (
                from,
                "connected to the ring and is not in the list of clients".to_owned(),
            ),
            Some(Err((from, trouble))) => (from, trouble.to_string()),
        };
        report.event(Event::Dropped {
            peer: from.to_string(),
            why,
        });
    }
    Err(PlusError::Ring(
        "the ring did not close: the last client has not connected to this computer; \
         write an address that it can reach into the server line"
            .to_owned(),
    ))
}

fn entries(server: &Server<'_>) -> Vec<Entry> {
    let files = server.files.iter();
    files
        .map(|file| Entry {
            flag: file.cook.flag(),
            name: file.output.clone(),
        })
        .collect()
}

/// FILE, once around.
fn files(server: &Server<'_>, closed: &mut Closed) -> Result<(), PlusError> {
    if let Some(file) = server.files.iter().find(|file| !file.cook.is_old()) {
        return Err(PlusError::Here(format!(
            "{} needs a compression that an old dolly+ does not know, and one is in the ring; \
             use .gz, or leave the old one out",
            file.input
        )));
    }
    let list = List {
        kind: ListKind::File,
        entries: entries(server),
    };
    let packet = list
        .encode()
        .map_err(|strange| PlusError::Here(strange.to_string()))?;
    let mut patience = at_most(ROUND, "sent the list of files on");
    let sent = closed.down.send(&packet, &[], &mut patience);
    let returned = sent.and_then(|()| match &mut closed.back {
        Some(back) => back.list(ListKind::File, &mut patience),
        None => Err(Trouble::End),
    });
    returned.map(|_| ()).map_err(|trouble| {
        PlusError::Ring(format!(
            "the list of files did not come round: a client {trouble}"
        ))
    })
}

/// The plan once around, then what everybody says to it.
fn plan(server: &Server<'_>, closed: &mut Closed) -> Result<(), PlusError> {
    let plan = Plan {
        run: run_name(),
        dry: server.options.dry,
        files: server
            .files
            .iter()
            .map(|file| File {
                cook: file.cook,
                size: file.size,
                output: file.output.clone(),
            })
            .collect(),
    };
    let broken = |trouble: Trouble| {
        PlusError::Ring(format!("the plan did not come round: a client {trouble}"))
    };
    let mut patience = at_most(ROUND, "sent the plan on");
    let Closed { down, back, .. } = closed;
    let back = back.as_mut().ok_or_else(|| broken(Trouble::End))?;
    let packet = Kind::Plan.packet(plan.encode().as_bytes());
    down.send(&packet, &[], &mut patience).map_err(broken)?;
    back.own(Kind::Plan, &mut patience).map_err(broken)?;
    down.send(&Kind::Verdicts.packet(&[]), &[], &mut patience)
        .map_err(broken)?;
    let body = back.own(Kind::Verdicts, &mut patience).map_err(broken)?;
    let verdicts = Verdicts::decode(&body).map_err(|strange| broken(strange.into()))?;
    let refused: Vec<String> = verdicts
        .0
        .iter()
        .filter_map(|(name, verdict)| match verdict {
            Verdict::Failed(why) => Some(format!("{name} refuses: {why}")),
            _ => None,
        })
        .collect();
    closed.verdicts = verdicts;
    if refused.is_empty() || server.options.dry {
        return Ok(());
    }
    let all = refused.join("; ");
    // Whoever is gone cannot be told.
    let _ = closed
        .down
        .send(&Kind::Abort.packet(all.as_bytes()), &[], &mut patience);
    closed.down.end();
    Err(PlusError::Refused(format!(
        "{all}; mend it or take it out of the list, then start again"
    )))
}

/// Unlike that of any other run.
fn run_name() -> String {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    format!("{}-{}", since.as_nanos(), std::process::id())
}

/// A ring of one client that was left out and still has what came.
pub(super) fn resumed(
    server: &Server<'_>,
    name: &str,
    report: &mut dyn Reporter,
) -> Result<Closed, PlusError> {
    let failed = |trouble: Trouble| PlusError::Ring(format!("{name} {trouble}"));
    let answer = ask(name, &Command::Reconnect).map_err(failed)?;
    let Some(Command::Wanted(wanted)) = answer else {
        return Err(failed(Trouble::Silent(
            "does not say what it wants".to_owned(),
        )));
    };
    let down = Link::connect(name, server.options.timing.stall).map_err(failed)?;
    report.event(Event::Resumed(name.to_owned(), u64::from(wanted)));
    let mut ring = Ring::of_server(&server.options.server, &[name]);
    ring.mark(1, AVAILABLE);
    Ok(Closed {
        ring,
        next: 1,
        down,
        back: None,
        mode: Mode::Own,
        codec: None,
        first: Some(u64::from(wanted)),
        verdicts: Verdicts::default(),
    })
}
