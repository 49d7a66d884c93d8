//! A client becomes a member: it is called, calls the next one, and learns what is to
//! be copied.

use std::thread;
use std::time::Duration;

use goldring_wire::dollyplus::own::{self, Plan};
use goldring_wire::dollyplus::packet::{ABSENT, Head, Kind, List, Strange};
use goldring_wire::dollyplus::ring::Ring;

use super::Timing;
use super::callers::COMPLETE;
use super::link::{Link, Trouble, at_most};
use super::report::Event;

/// Tries to reach the next computer, and the pause between them (0.93).
const TRIES: (u32, Duration) = (4, Duration::from_secs(1));
/// How long the ring may take to close and to say what comes: others may be waited for.
const PATIENCE: Duration = Duration::from_secs(300);

/// What is copied.
#[derive(Debug)]
pub(super) enum What {
    /// A FILE packet: there are old members.
    Old(List),
    /// A plan.
    Own(Plan),
}

/// A member of a ring that is about to start.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) ring: Ring,
    pub(super) up: Link,
    pub(super) down: Link,
    /// The place of the next one; 0 is the golden node.
    pub(super) next: usize,
    pub(super) what: What,
}

/// Takes part in building the ring.
pub(super) fn join(
    mut up: Link,
    mut ring: Ring,
    timing: Timing,
    tell: &mut dyn FnMut(Event),
) -> Result<Member, String> {
    let server = ring.server().to_owned();
    let of_server = |trouble: Trouble| {
        format!("the ring did not close: the computer before this one {trouble}")
    };
    let (next, mut down) = call_next(&mut ring, timing, tell)?;
    let name = ring.host(next).to_owned();
    let of_next = |trouble: Trouble| format!("the ring did not close: {name} {trouble}");
    let mut patience = at_most(PATIENCE, "closed the ring");
    let hosts = up.list(Kind::Host, &mut patience).map_err(of_server)?;
    ring.learn(&hosts)
        .map_err(|strange| format!("{server} {strange}"))?;
    let packet = hosts.encode().map_err(|strange| strange.to_string())?;
    down.send(&packet, &[], &mut at_most(COMPLETE, "taken a packet"))
        .map_err(&of_next)?;
    tell(Event::Ring(ring.hosts().to_vec()));
    let (what, packet) = files(&mut up).map_err(of_server)?;
    down.send(&packet, &[], &mut at_most(COMPLETE, "taken a packet"))
        .map_err(of_next)?;
    Ok(Member {
        ring,
        up,
        down,
        next,
        what,
    })
}

/// Finds the next computer that is there and sends it the RING packet.
fn call_next(
    ring: &mut Ring,
    timing: Timing,
    tell: &mut dyn FnMut(Event),
) -> Result<(usize, Link), String> {
    let mut next = ring.candidate(ring.own());
    loop {
        let host = ring.host(next).to_owned();
        match call(&host, timing) {
            Ok(mut link) => {
                let packet = ring.call(next).encode().map_err(|s| s.to_string())?;
                let sent = link.send(&packet, &[], &mut at_most(COMPLETE, "taken a packet"));
                match sent {
                    Ok(()) => {
                        if next != 0 {
                            ring.mark(next, goldring_wire::dollyplus::packet::AVAILABLE);
                        }
                        tell(Event::Next(host));
                        return Ok((next, link));
                    }
                    Err(trouble) if next == 0 => return Err(format!("{host} {trouble}")),
                    Err(trouble) => leave_out(ring, next, &trouble, tell),
                }
            }
            Err(trouble) if next == 0 => {
                return Err(format!(
                    "this is the last client, and the golden node, {host}, {trouble}; write an address \
                     that this computer can reach into the server line"
                ));
            }
            Err(trouble) => leave_out(ring, next, &trouble, tell),
        }
        next = ring.candidate(next);
    }
}

fn leave_out(ring: &mut Ring, place: usize, trouble: &Trouble, tell: &mut dyn FnMut(Event)) {
    ring.mark(place, ABSENT);
    tell(Event::Lost {
        name: ring.host(place).to_owned(),
        by: ring.name().to_owned(),
        why: trouble.to_string(),
    });
}

/// Connects to a host's ring port; one that refuses may be about to listen.
pub(super) fn call(host: &str, timing: Timing) -> Result<Link, Trouble> {
    let (tries, pause) = TRIES;
    let mut tried = 1;
    loop {
        match Link::connect(host, timing.stall) {
            Ok(link) => return Ok(link),
            Err(Trouble::Io(error))
                if tried < tries && error.kind() == std::io::ErrorKind::ConnectionRefused =>
            {
                tried += 1;
                thread::sleep(pause);
            }
            Err(trouble) => return Err(trouble),
        }
    }
}

/// What is to be copied, and the packet that said so.
fn files(up: &mut Link) -> Result<(What, Vec<u8>), Trouble> {
    let mut patience = at_most(PATIENCE, "said what is to be copied");
    let head = up.head(&mut patience)?;
    let mut complete = at_most(COMPLETE, "completed its packet");
    match head {
        Head::List {
            kind: Kind::File,
            bytes,
            count,
        } => {
            let rest = up.body(List::rest(bytes), &mut complete)?;
            let list = List::decode(Kind::File, count, &rest)?;
            let packet = list.encode()?;
            Ok((What::Old(list), packet))
        }
        Head::Own { kind, bytes } if own::Kind::of(kind)? == own::Kind::Plan => {
            let body = up.body(bytes as usize, &mut complete)?;
            let packet = own::Kind::Plan.packet(&body);
            Ok((What::Own(Plan::decode(&body)?), packet))
        }
        other => {
            let wanted = "a FILE packet";
            let got = other.name();
            Err(Trouble::Strange(Strange::Order { got, wanted }))
        }
    }
}
