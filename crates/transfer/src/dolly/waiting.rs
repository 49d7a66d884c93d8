//! A node that listens: finds its parent among whoever connects.
//!
//! A stranger can do nothing here: what sends garbage is dropped, what says nothing is
//! kept aside (a true parent with several children may be silent for long), and there
//! is a bound on how many.

use std::net::{IpAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use goldring_wire::dolly::config::Config;
use goldring_wire::dolly::hearing::Hearing;
use goldring_wire::dolly::identity::{Own, Place};
use goldring_wire::dolly::password::Password;
use goldring_wire::dollyplus::status::Abilities;

use super::caller::{self, Caller, DataCaller};
use super::net::{Listeners, Pair, readable};
use super::report::{Event, Reporter};
use crate::discover::Answerer;
use crate::dollyplus::client::Call;

/// How often a node says that it waits.
const SAY: Duration = Duration::from_secs(15);
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

/// Who called.
#[derive(Debug)]
pub(super) enum Found {
    /// A parent of a dolly ring.
    Parent(Box<Parent>),
    /// A ring of dolly+.
    Plus(Call),
}

#[derive(Debug)]
struct Waiting<'a> {
    listeners: Listeners,
    own: &'a Own,
    hearing: Hearing,
    callers: Vec<Caller>,
    data: Vec<DataCaller>,
    answerer: Option<Answerer>,
}

/// Waits for a parent until `deadline`; `None` when nobody came.
pub(super) fn await_parent(
    listeners: Listeners,
    (own, password, plus): (&Own, Option<&Password>, Option<Abilities>),
    answerer: Option<Answerer>,
    deadline: Option<Instant>,
    report: &mut dyn Reporter,
) -> Option<Found> {
    let mut waiting = Waiting {
        listeners,
        own,
        hearing: Hearing::new(password.cloned(), plus),
        callers: Vec::new(),
        data: Vec::new(),
        answerer,
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
        if let Some(at) = waiting.data.iter().position(DataCaller::is_plus) {
            let DataCaller { stream, said, .. } = waiting.data.remove(at);
            return Some(Found::Plus(Call::new(waiting.listeners, stream, said)));
        }
        if let Some(parent) = waiting.complete() {
            return Some(Found::Parent(Box::new(parent)));
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
            fds.extend(
                self.data
                    .iter()
                    .map(|d| std::os::fd::AsFd::as_fd(&d.stream)),
            );
            fds.extend(self.answerer.iter().map(std::os::fd::AsFd::as_fd));
            readable(&fds, LOOK)
        };
        if let Some(answerer) = &mut self.answerer {
            answerer.look();
        }
        let now = Instant::now();
        let (callers, data) = ready[2..].split_at(self.callers.len());
        self.look_at_data(data);
        self.look_at_callers(callers, now, report);
        // Data first: the parent connected it first.
        for (stream, peer) in accept_all(&self.listeners.data) {
            self.data.push(DataCaller::new(stream, peer));
        }
        for (stream, peer) in accept_all(&self.listeners.control) {
            let hearing = self.hearing.clone();
            self.callers.push(Caller::new(stream, peer, hearing, now));
        }
        while self.data.len() > STRANGERS {
            let busiest = busiest(self.data.iter().map(|data| data.peer));
            self.data.remove(busiest);
        }
        while self.callers.len() > STRANGERS {
            let busiest = busiest(self.callers.iter().map(|caller| caller.peer));
            self.callers.remove(busiest);
        }
    }

    fn look_at_data(&mut self, ready: &[bool]) {
        let mut ready = ready.iter();
        let plus = self.hearing.is_plus();
        self.data
            .retain_mut(|data| !ready.next().copied().unwrap_or(false) || data.step(plus));
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
        let links = |caller: &Caller| {
            let (config, _) = caller.found.as_ref()?;
            caller::links_of(&self.data, config.networks.as_ref(), caller.peer)
        };
        let mut callers = self.callers.iter().enumerate();
        let (index, links) = callers.find_map(|(i, caller)| Some((i, links(caller)?)))?;
        let caller = self.callers.remove(index);
        let (config, place) = caller.found?;
        let mut all: Vec<Option<DataCaller>> = self.data.drain(..).map(Some).collect();
        let data = links.into_iter().filter_map(|at| all[at].take());
        Some(Parent {
            pair: Pair {
                data: data.map(|data| data.stream).collect(),
                control: caller.stream,
            },
            peer: caller.peer,
            config,
            text: caller.hearing.text().to_vec(),
            place,
        })
    }
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
pub(crate) fn busiest(peers: impl Iterator<Item = IpAddr>) -> usize {
    let peers: Vec<IpAddr> = peers.collect();
    let count = |peer: &IpAddr| peers.iter().filter(|p| *p == peer).count();
    let most = peers.iter().map(count).max().unwrap_or(0);
    peers
        .iter()
        .position(|peer| count(peer) == most)
        .unwrap_or(0)
}
