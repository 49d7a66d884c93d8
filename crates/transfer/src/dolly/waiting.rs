//! A node that listens: finds its parent among whoever connects.
//!
//! A stranger can do nothing here: what sends garbage is dropped, what says nothing is
//! kept aside (a true parent with several children may be silent for long), and there
//! is a bound on how many.

use std::net::{IpAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use goldring_wire::dolly::config::Config;
use goldring_wire::dolly::identity::{Own, Place};
use goldring_wire::dolly::lines::ConfigReader;

use super::net::{Got, Listeners, Pair, read_some, readable};
use super::report::{Event, Reporter};

/// How often a node says that it waits.
const SAY: Duration = Duration::from_secs(15);
/// A configuration that has begun must be complete after this.
const COMPLETE: Duration = Duration::from_secs(10);
/// A configuration whose last line has no end is taken after so long.
const UNENDED: Duration = Duration::from_millis(300);
/// The data connection was made first; it cannot be far.
const DATA: Duration = Duration::from_secs(5);
/// The most connections that are looked at at the same time, of each kind.
const STRANGERS: usize = 64;
/// How long one look takes at most.
const LOOK: Duration = Duration::from_millis(250);

/// The parent, found.
#[derive(Debug)]
pub(super) struct Parent {
    pub(super) pair: Pair,
    pub(super) peer: IpAddr,
    pub(super) config: Config,
    /// The configuration as it came.
    pub(super) text: Vec<u8>,
    pub(super) place: Place,
}

#[derive(Debug)]
struct Caller {
    stream: TcpStream,
    peer: IpAddr,
    reader: ConfigReader,
    /// When it has to be through; set once it has begun.
    deadline: Option<Instant>,
    /// When it last sent something.
    heard: Instant,
    /// Complete, and waiting for its data connection.
    found: Option<(Config, Place)>,
}

#[derive(Debug)]
struct Waiting<'a> {
    listeners: Listeners,
    own: &'a Own,
    callers: Vec<Caller>,
    data: Vec<(TcpStream, IpAddr)>,
}

/// Waits for a parent until `deadline`; `None` when nobody came.
pub(super) fn await_parent(
    listeners: Listeners,
    own: &Own,
    deadline: Option<Instant>,
    report: &mut dyn Reporter,
) -> Option<Parent> {
    let mut waiting = Waiting {
        listeners,
        own,
        callers: Vec::new(),
        data: Vec::new(),
    };
    let mut say = Instant::now();
    loop {
        let now = Instant::now();
        if now >= say {
            say = now + SAY;
            let left = deadline.map(|at| at.saturating_duration_since(now));
            report.event(Event::Waiting { left });
        }
        if deadline.is_some_and(|at| now >= at) {
            return None;
        }
        waiting.look(report);
        if let Some(parent) = waiting.complete() {
            return Some(parent);
        }
    }
}

impl Waiting<'_> {
    fn look(&mut self, report: &mut dyn Reporter) {
        let ready = {
            let mut fds = vec![
                std::os::fd::AsFd::as_fd(&self.listeners.data),
                std::os::fd::AsFd::as_fd(&self.listeners.control),
            ];
            fds.extend(
                self.callers
                    .iter()
                    .map(|c| std::os::fd::AsFd::as_fd(&c.stream)),
            );
            fds.extend(self.data.iter().map(|(s, _)| std::os::fd::AsFd::as_fd(s)));
            readable(&fds, LOOK)
        };
        let now = Instant::now();
        let (callers, data) = ready[2..].split_at(self.callers.len());
        self.look_at_data(data);
        self.look_at_callers(callers, now, report);
        // Data first: the parent connected it first.
        for (stream, peer) in accept_all(&self.listeners.data) {
            self.data.push((stream, peer));
        }
        for (stream, peer) in accept_all(&self.listeners.control) {
            self.callers.push(Caller {
                stream,
                peer,
                reader: ConfigReader::default(),
                deadline: None,
                heard: now,
                found: None,
            });
        }
        while self.data.len() > STRANGERS {
            let busiest = busiest(self.data.iter().map(|(_, peer)| *peer));
            self.data.remove(busiest);
        }
        while self.callers.len() > STRANGERS {
            let busiest = busiest(self.callers.iter().map(|caller| caller.peer));
            self.callers.remove(busiest);
        }
    }

    /// A parent sends no data before this node is ready: what can be read is either an
    /// end or a stranger.
    fn look_at_data(&mut self, ready: &[bool]) {
        let mut ready = ready.iter();
        self.data
            .retain(|_| !ready.next().copied().unwrap_or(false));
    }

    fn look_at_callers(&mut self, ready: &[bool], now: Instant, report: &mut dyn Reporter) {
        let mut ready = ready.iter();
        let own = self.own;
        self.callers.retain_mut(|caller| {
            let readable = ready.next().copied().unwrap_or(false);
            match caller.step(readable, own, now) {
                Ok(()) => true,
                Err(why) => {
                    if let Some(why) = why {
                        let peer = caller.peer.to_string();
                        report.event(Event::Dropped { peer, why });
                    }
                    false
                }
            }
        });
    }

    fn complete(&mut self) -> Option<Parent> {
        let index = self.callers.iter().position(|caller| {
            caller.found.is_some() && self.data.iter().any(|(_, peer)| *peer == caller.peer)
        })?;
        // The newest one: an older one may be half a pair that the parent gave up.
        let data = self
            .data
            .iter()
            .rposition(|(_, peer)| *peer == self.callers[index].peer)?;
        let (data, peer) = self.data.remove(data);
        let caller = self.callers.remove(index);
        let (config, place) = caller.found?;
        Some(Parent {
            pair: Pair {
                data,
                control: caller.stream,
            },
            peer,
            config,
            text: caller.reader.bytes().to_vec(),
            place,
        })
    }
}

impl Caller {
    /// Reads what is there. An error drops the caller, with a reason worth telling or
    /// without one.
    fn step(&mut self, readable: bool, own: &Own, now: Instant) -> Result<(), Option<String>> {
        if self.deadline.is_some_and(|at| now >= at) {
            let why = if self.found.is_some() {
                "sent a configuration, but there is no data connection from it"
            } else {
                "began a configuration and did not end it"
            };
            return Err(Some(why.to_owned()));
        }
        if !readable {
            let silent = now.duration_since(self.heard) >= UNENDED;
            if self.found.is_none() && silent && self.reader.may_be_complete() {
                return self.understand(own, now);
            }
            return Ok(());
        }
        let bytes = match read_some(&self.stream) {
            Got::Nothing => return Ok(()),
            Got::End if self.found.is_some() => {
                return Err(Some("sent a configuration and left".to_owned()));
            }
            // A port scan, or half a pair that the parent tries again.
            Got::End => return Err(None),
            Got::Bytes(bytes) => bytes,
        };
        if self.found.is_some() {
            return Ok(());
        }
        self.heard = now;
        self.deadline.get_or_insert(now + COMPLETE);
        if self.reader.push(&bytes).map_err(|e| Some(e.to_string()))? {
            return self.understand(own, now);
        }
        Ok(())
    }

    fn understand(&mut self, own: &Own, now: Instant) -> Result<(), Option<String>> {
        let config = Config::received(self.reader.bytes())
            .map_err(|e| Some(format!("sent a configuration with a fault in {e}")))?;
        let place = own
            .find(&config)
            .ok_or_else(|| Some(not_listed(own, &config)))?;
        self.found = Some((config, place));
        self.deadline = Some(now + DATA);
        Ok(())
    }
}

fn not_listed(own: &Own, config: &Config) -> String {
    let names: Vec<String> = own.all().collect();
    format!(
        "sent a configuration without this computer: it is {}, the list says {}; put one of its names into the list",
        goldring_wire::dolly::listed(&names),
        goldring_wire::dolly::listed(&config.clients)
    )
}

fn accept_all(listener: &TcpListener) -> Vec<(TcpStream, IpAddr)> {
    let mut accepted = Vec::new();
    while accepted.len() < STRANGERS {
        match listener.accept() {
            Ok((stream, peer)) => {
                // What cannot be made non-blocking could stop the look at others.
                if stream.set_nonblocking(true).is_ok() {
                    accepted.push((stream, peer.ip()));
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionAborted => {}
            Err(_) => break,
        }
    }
    accepted
}

/// The oldest connection of the peer that has most of them.
fn busiest(peers: impl Iterator<Item = IpAddr>) -> usize {
    let peers: Vec<IpAddr> = peers.collect();
    let count = |peer: &IpAddr| peers.iter().filter(|p| *p == peer).count();
    let most = peers.iter().map(count).max().unwrap_or(0);
    peers
        .iter()
        .position(|peer| count(peer) == most)
        .unwrap_or(0)
}
