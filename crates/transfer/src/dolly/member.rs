//! A node from its configuration to its count.

use std::time::{Duration, Instant};

use goldring_wire::dolly::Failure;
use goldring_wire::dolly::node::{self, Event as Said, Input, Link, Node};

use super::children::Children;
use super::client::{Ending, Fits, OpenStore, Size, Store};
use super::dial::Manner;
use super::flowing::{Blame, Flowing};
use super::intake::CAUTION;
use super::net::Got;
use super::report::{Event, Reporter, Summary};
use super::waiting::Parent;
use super::watch::Patience;
use super::{flowing, is_due, tick};
use crate::pump::Lane;

/// Everything about this node's part.
#[derive(Debug, Clone)]
pub(super) struct Setup {
    pub(super) talk: node::Setup,
    pub(super) manner: Manner,
    /// Counted from 1; 0 is the server.
    pub(super) place: usize,
    pub(super) clients: usize,
}

struct Member<'a> {
    setup: Setup,
    parent: Parent,
    machine: Node,
    children: Children,
    store: Option<Store>,
    fits: Option<Fits>,
    flow: Option<Flowing>,
    total: Option<u64>,
    started: Option<Instant>,
    stored: Option<u64>,
    switched: bool,
    report: &'a mut dyn Reporter,
}

/// Runs a node that has its configuration.
pub(super) fn run(
    setup: Setup,
    parent: Parent,
    open: OpenStore<'_>,
    report: &mut dyn Reporter,
) -> Result<Ending, Failure> {
    let mut member = Member {
        machine: Node::new(setup.talk.clone(), Instant::now()),
        children: Children::start(setup.talk.children.clone(), setup.manner.clone()),
        setup,
        parent,
        store: None,
        fits: None,
        flow: None,
        total: None,
        started: None,
        stored: None,
        switched: false,
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
            self.hear(tick(self.flow.as_ref()))?;
            while let Some(child) = self.children.arrived() {
                self.handle(Input::Connected(child))?;
            }
            if is_due(self.machine.poll_timeout()) {
                self.handle(Input::Tick)?;
            }
            self.look_at_flow()?;
        }
        Ok(())
    }

    /// Reads every control connection that has something.
    fn hear(&mut self, wait: Duration) -> Result<(), Failure> {
        let parent = Some(&self.parent.pair.control);
        for (who, got) in self.children.hear(parent, wait) {
            let link = who.map_or(Link::Parent, Link::Child);
            match got {
                Got::Nothing => {}
                Got::Bytes(bytes) => self.handle(Input::Received(link, &bytes))?,
                Got::End => {
                    self.handle(Input::Closed(link))?;
                    if let Link::Child(child) = link {
                        // It counted and left, or is called again.
                        self.children.forget(child);
                    }
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
            match message.to {
                Link::Parent => {
                    let control = &self.parent.pair.control;
                    flowing::say(control, &self.setup.talk.parent, &message.bytes)?;
                }
                Link::Child(child) => self.children.say(child, &message.bytes)?,
            }
        }
        Ok(())
    }

    fn obey(&mut self, event: Said) -> Result<(), Failure> {
        match event {
            Said::Connected(name) => self.report.event(Event::Connected(name)),
            Said::Reconnect(child) => self.children.redial(child),
            Said::Missing(names) => {
                let why = self.children.reason(&names);
                self.report.event(Event::Missing(names, why));
            }
            Said::Joined => {
                self.start_flow()?;
                self.report.event(Event::Joined);
            }
            Said::Total(total) => {
                self.total = Some(total);
                self.check_room(Size::Total(total))?;
                self.start_clock();
                if let Some(flow) = &self.flow {
                    flow.gate.open(total);
                }
            }
            Said::Counted(name, n) => self.report.event(Event::Counted(name, n)),
            Said::Done => {}
            Said::Switch => self.switched = true,
        }
        Ok(())
    }

    fn check_room(&self, size: Size) -> Result<(), Failure> {
        match &self.fits {
            Some(fits) => fits(size).map_err(Failure::Here),
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
        lanes.extend(self.children.lanes()?);
        let stall = self.setup.manner.stall;
        let patience = Patience::of(self.setup.place, self.setup.clients, stall);
        let source = flowing::from_sockets(&self.parent.pair.data)?;
        let manner = (self.setup.manner.links(), Some(CAUTION));
        let flow = Flowing::start(lanes, source, (stall, patience), manner)?;
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
            self.check_room(Size::AtLeast(received))?;
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
    fn end(mut self, result: Result<(), Failure>) -> Result<Ending, Failure> {
        if let Err(failure) = &result {
            self.machine.last_words(failure);
            // Whoever is gone cannot be told.
            while let Some(message) = self.machine.poll_transmit() {
                let _ = match message.to {
                    Link::Parent => flowing::say(&self.parent.pair.control, "", &message.bytes),
                    Link::Child(child) => self.children.say(child, &message.bytes),
                };
            }
        }
        let flow = self.flow.take();
        if let Some(flow) = &flow {
            flow.stop();
        }
        self.parent.pair.shut();
        self.children.shut();
        if let Some(flow) = &flow {
            flow.settle();
        }
        let stored = self.stored.or_else(|| flow.as_ref()?.stored());
        match (result, stored) {
            (Ok(()), _) if self.switched => Ok(Ending::Switched),
            (Ok(()), bytes) => Ok(Ending::Stored(
                self.summary(bytes.unwrap_or_default(), None),
            )),
            (Err(failure), Some(bytes)) => Ok(Ending::Stored(self.summary(bytes, Some(failure)))),
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
