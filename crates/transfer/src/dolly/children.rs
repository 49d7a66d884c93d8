//! The computers below this one: connected, heard, told, let go.

use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};
use std::thread;
use std::time::{Duration, Instant};

use goldring_wire::dolly::Failure;

use super::dial::{Arrival, Dialer, Manner};
use super::flowing;
use super::net::{Got, Pair, read_some, readable};
use crate::pump::Lane;

/// A child that is ready has every link to it; this is how long the own thread that made
/// the last one may take to say so.
const LINKS: Duration = Duration::from_secs(5);

/// The children of this computer, in the order of the list.
#[derive(Debug)]
pub(super) struct Children {
    names: Vec<String>,
    pairs: Vec<Option<Pair>>,
    links: usize,
    dialer: Dialer,
}

impl Children {
    /// Starts to connect to all of `names`.
    pub(super) fn start(names: Vec<String>, manner: Manner) -> Self {
        Self {
            pairs: names.iter().map(|_| None).collect(),
            links: manner.links(),
            dialer: Dialer::start(names.clone(), manner),
            names,
        }
    }

    /// A child that answered since the last call.
    pub(super) fn arrived(&mut self) -> Option<usize> {
        loop {
            match self.dialer.arrived()? {
                Arrival::Pair(child, pair) => {
                    self.pairs[child] = Some(pair);
                    return Some(child);
                }
                Arrival::Link(child, link) => {
                    if let Some(pair) = &mut self.pairs[child] {
                        pair.data.push(link);
                    }
                }
            }
        }
    }

    /// Lets a child go and connects to it again.
    pub(super) fn redial(&mut self, child: usize) {
        self.forget(child);
        self.dialer.dial(child);
    }

    /// Lets a child go.
    pub(super) fn forget(&mut self, child: usize) {
        self.pairs[child] = None;
    }

    /// Why the first of `missing` is not connected, as far as is known.
    pub(super) fn reason(&self, missing: &[String]) -> Option<String> {
        let name = missing.first()?;
        let child = self.names.iter().position(|n| n == name)?;
        let links = |pair: &Pair| pair.data.len();
        let absent = self.pairs[child].as_ref().map_or(0, links) < self.links;
        self.dialer.reason(name).filter(|_| absent)
    }

    /// Waits until somebody says something, the parent or a child, but not longer than
    /// `wait`; then reads once from each that did. The parent is `None`.
    pub(super) fn hear(
        &self,
        parent: Option<&TcpStream>,
        wait: Duration,
    ) -> Vec<(Option<usize>, Got)> {
        let parent = parent.map(|control| (None, control));
        let pairs = self.pairs.iter().enumerate();
        let children = pairs.filter_map(|(i, pair)| Some((Some(i), &pair.as_ref()?.control)));
        let all: Vec<_> = parent.into_iter().chain(children).collect();
        let fds: Vec<BorrowedFd<'_>> = all.iter().map(|(_, control)| control.as_fd()).collect();
        let ready = readable(&fds, wait);
        all.into_iter()
            .zip(ready)
            .filter(|(_, ready)| *ready)
            .map(|((who, control), _)| (who, read_some(control)))
            .collect()
    }

    /// Sends a control message; whoever is gone cannot be told.
    pub(super) fn say(&self, child: usize, bytes: &[u8]) -> Result<(), Failure> {
        match &self.pairs[child] {
            Some(pair) => flowing::say(&pair.control, &self.names[child], bytes),
            None => Ok(()),
        }
    }

    /// The lanes to all children, who are ready.
    pub(super) fn lanes(&mut self) -> Result<Vec<Lane>, Failure> {
        let until = Instant::now() + LINKS;
        while let Some(child) = self.with_too_few_links() {
            if Instant::now() >= until {
                let neighbour = self.names[child].clone();
                let what = "its ready before it had every link of the add line";
                return Err(Failure::Nonsense { neighbour, what });
            }
            thread::sleep(Duration::from_millis(5));
            self.arrived();
        }
        let pairs = self.pairs.iter().flatten().zip(&self.names);
        pairs
            .map(|(pair, name)| flowing::lane(&pair.data, name))
            .collect()
    }

    fn with_too_few_links(&self) -> Option<usize> {
        let few = |pair: &Option<Pair>| pair.as_ref().is_some_and(|p| p.data.len() < self.links);
        self.pairs.iter().position(few)
    }

    /// This computer's address, as the first child that is connected sees it.
    pub(super) fn own_address(&self) -> Option<std::net::IpAddr> {
        let pair = self.pairs.iter().flatten().next()?;
        Some(pair.control.local_addr().ok()?.ip())
    }

    /// Ends all connections at once.
    pub(super) fn shut(&self) {
        for pair in self.pairs.iter().flatten() {
            pair.shut();
        }
    }
}
