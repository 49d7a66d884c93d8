//! A node from its configuration to its count.

use std::os::fd::{AsFd, BorrowedFd};

use std::time::{Duration, Instant};

use goldring_wire::dolly::Failure;
use goldring_wire::dolly::node::{self, Event as Said, Input, Link, Node};

use super::client::{Fits, OpenStore, Store};
use super::dial::Dialer;
use super::flowing::{Blame, Flowing};
use super::net::{Got, Pair, read_some, readable};
use super::report::{Event, Reporter, Summary};
use super::waiting::Parent;
use super::watch::Patience;
use super::{TICK, flowing};
use crate::pump::Lane;

/// Everything about this node's part.
#[derive(Debug, Clone)]
pub(super) struct Setup {
    pub(super) talk: node::Setup,
    pub(super) stall: Duration,
    /// Counted from 1; 0 is the server.
    pub(super) place: usize,
    pub(super) clients: usize,
}

struct Member<'a> {
    setup: Setup,
    parent: Parent,
    machine: Node,
    dialer: Dialer,
    children: Vec<Option<Pair>>,
    store: Option<Store>,
    fits: Option<Fits>,
    flow: Option<Flowing>,
    total: Option<u64>,
    started: Option<Instant>,
    stored: Option<u64>,
    report: &'a mut dyn Reporter,
}

/// Runs a node that has its configuration.
pub(super) fn run(
    setup: Setup,
    parent: Parent,
    open: OpenStore<'_>,
    report: &mut dyn Reporter,
) -> Result<Summary, Failure> {
    let names = setup.talk.children.clone();
    let mut member = Member {
        machine: Node::new(setup.talk.clone(), Instant::now()),
        dialer: Dialer::start(names.clone(), setup.stall),
        children: names.iter().map(|_| None).collect(),
        setup,
        parent,
        store: None,
        fits: None,
        flow: None,
        total: None,
        started: None,
        stored: None,
        report,
    };
    let result = member.work(open);
    member.end(result)
}

impl Member<'_> {
    fn work(&mut self, open: OpenStore<'_>) -> Result<(), Failure> {
        self.flush()?;
        let store = open(&self.parent.config).map_err(Failure::Here)?;
        self.store = Some(store);
        // What belongs to the configuration must be read before this node is ready.
        self.hear(Duration::ZERO)?;
        self.handle(Input::Opened)?;
        while !self.machine.is_done() {
            self.hear(TICK)?;
            while let Some((child, pair)) = self.dialer.arrived() {
                self.children[child] = Some(pair);
                self.handle(Input::Connected(child))?;
            }
            if self
                .machine
                .poll_timeout()
                .is_some_and(|at| Instant::now() >= at)
            {
                self.handle(Input::Tick)?;
            }
            self.look_at_flow()?;
        }
        Ok(())
    }

    /// Reads every control connection that has something.
    fn hear(&mut self, wait: Duration) -> Result<(), Failure> {
        let mut links = vec![Link::Parent];
        let mut fds: Vec<BorrowedFd<'_>> = vec![self.parent.pair.control.as_fd()];
        for (child, pair) in self.children.iter().enumerate() {
            if let Some(pair) = pair {
                links.push(Link::Child(child));
                fds.push(pair.control.as_fd());
            }
        }
        let ready = readable(&fds, wait);
        for (link, _) in links.into_iter().zip(ready).filter(|(_, ready)| *ready) {
            let stream = match link {
                Link::Parent => &self.parent.pair.control,
                Link::Child(child) => match &self.children[child] {
                    Some(pair) => &pair.control,
                    None => continue,
                },
            };
            match read_some(stream) {
                Got::Nothing => {}
                Got::Bytes(bytes) => self.handle(Input::Received(link, &bytes))?,
                Got::End => {
                    if let Link::Child(child) = link
                        && self.stored.is_some()
                    {
                        // It counted and left; or the machine will say that it is lost.
                        self.children[child] = None;
                    }
                    self.handle(Input::Closed(link))?;
                }
            }
        }
        Ok(())
    }

    fn handle(&mut self, input: Input<'_>) -> Result<(), Failure> {
        let result = self.machine.handle(Instant::now(), input);
        self.flush()?;
        result?;
        while let Some(event) = self.machine.poll_event() {
            self.obey(event)?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Failure> {
        while let Some(message) = self.machine.poll_transmit() {
            let (name, pair) = match message.to {
                Link::Parent => (&self.setup.talk.parent, Some(&self.parent.pair)),
                Link::Child(child) => (
                    &self.setup.talk.children[child],
                    self.children[child].as_ref(),
                ),
            };
            if let Some(pair) = pair {
                flowing::say(&pair.control, name, &message.bytes)?;
            }
        }
        Ok(())
    }

    fn obey(&mut self, event: Said) -> Result<(), Failure> {
        match event {
            Said::Connected(name) => self.report.event(Event::Connected(name)),
            Said::Reconnect(child) => {
                self.children[child] = None;
                self.dialer.dial(child);
            }
            Said::Missing(names) => {
                let why = names.first().and_then(|name| self.dialer.reason(name));
                self.report.event(Event::Missing(names, why));
            }
            Said::Joined => {
                self.start_flow()?;
                self.report.event(Event::Joined);
            }
            Said::Total(total) => {
                self.total = Some(total);
                self.check_room(total)?;
                self.start_clock();
                if let Some(flow) = &self.flow {
                    flow.gate.open(total);
                }
            }
            Said::Counted(name, n) => self.report.event(Event::Counted(name, n)),
            Said::Done => {}
        }
        Ok(())
    }

    fn check_room(&self, bytes: u64) -> Result<(), Failure> {
        match &self.fits {
            Some(fits) => fits(bytes).map_err(Failure::Here),
            None => Ok(()),
        }
    }

    fn start_clock(&mut self) {
        if self.started.is_none() {
            self.started = Some(Instant::now());
            self.report.event(Event::Started(self.total));
        }
    }

    /// Everybody below is connected: from now on data may come.
    fn start_flow(&mut self) -> Result<(), Failure> {
        let Some(store) = self.store.take() else {
            return Ok(());
        };
        self.fits = Some(store.fits);
        let mut lanes = vec![Lane {
            name: store.name,
            sink: store.sink,
        }];
        for (pair, name) in self
            .children
            .iter()
            .flatten()
            .zip(&self.setup.talk.children)
        {
            lanes.push(flowing::lane(&pair.data, name)?);
        }
        let patience = Patience::of(self.setup.place, self.setup.clients, self.setup.stall);
        let source = flowing::from_socket(&self.parent.pair.data)?;
        let flow = Flowing::start(lanes, source, (self.setup.stall, patience))?;
        self.flow = Some(flow.of_node(self.setup.talk.parent.clone()));
        Ok(())
    }

    fn look_at_flow(&mut self) -> Result<(), Failure> {
        let Some(flow) = &mut self.flow else {
            return Ok(());
        };
        let received = flow.gate.received();
        let begins = received > 0 && self.started.is_none();
        let look = flow.look(self.started.is_some());
        if let Some(done) = flow.lane_bytes(0).filter(|_| self.started.is_some()) {
            self.report.event(Event::Progress(done, self.total));
        }
        if begins {
            self.start_clock();
            self.handle(Input::Data)?;
        }
        if self.total.is_none() && received > 0 {
            self.check_room(received)?;
        }
        match look {
            Err(Blame::Here(what)) => return Err(Failure::Here(what)),
            Err(Blame::Neighbour(failure)) => return Err(failure),
            Ok(None) => {}
            Ok(Some(bytes)) if self.stored.is_none() => {
                self.stored = Some(bytes);
                self.report.event(Event::Stored);
                self.handle(Input::Stored(bytes))?;
            }
            Ok(Some(_)) => {}
        }
        Ok(())
    }

    /// The last words to the neighbours, and the summary.
    fn end(mut self, result: Result<(), Failure>) -> Result<Summary, Failure> {
        if let Err(failure) = &result {
            self.machine.last_words(failure);
            // Whoever is gone cannot be told.
            while let Some(message) = self.machine.poll_transmit() {
                let pair = match message.to {
                    Link::Parent => Some(&self.parent.pair),
                    Link::Child(child) => self.children[child].as_ref(),
                };
                if let Some(pair) = pair {
                    let _ = flowing::say(&pair.control, "", &message.bytes);
                }
            }
        }
        if let Some(flow) = self.flow.take() {
            flow.stop();
        }
        self.parent.pair.shut();
        for pair in self.children.iter().flatten() {
            pair.shut();
        }
        match (result, self.stored) {
            (Ok(()), bytes) => Ok(self.summary(bytes.unwrap_or_default(), None)),
            (Err(failure), Some(bytes)) => Ok(self.summary(bytes, Some(failure))),
            (Err(failure), None) => Err(failure),
        }
    }

    fn summary(&self, bytes: u64, trouble: Option<Failure>) -> Summary {
        Summary {
            bytes,
            elapsed: self.started.map(|at| at.elapsed()).unwrap_or_default(),
            trouble,
        }
    }
}
