//! The golden node's conversation.
//!
//! | phase | ends when |
//! |---|---|
//! | gathering | both connections to every child are there: the configuration goes out |
//! | waiting | every client of the list said `ready`: the total goes out, data may flow |
//! | streaming | the driver says that everything was sent |
//! | counting | every child's count came back |
//!
//! The total goes out right after the last `ready`, before the first byte of data; old
//! clients take it at any time, and it is what cures their deadlock (section 7.1).

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::config::Dialect;
use super::lines::{Upward, UpwardReader};
use super::opening::{self, Greeting, Opening};
use super::{Failure, NOTICE, listed, own};

/// What the server needs to know.
#[derive(Debug, Clone)]
pub struct Setup {
    /// All clients, in the order of the list.
    pub clients: Vec<String>,
    /// How many of them, from the first, are children of the server.
    pub children: usize,
    /// The configuration that travels ([`super::config::Config::text`]).
    pub text: Vec<u8>,
    /// The text offers to go over to dolly+ ([`super::own`]).
    pub offers: bool,
    /// How to begin with each child.
    pub opening: Opening,
    /// How many bytes will be sent, when that is known before.
    pub total: Option<u64>,
    /// How long to wait for all clients to be ready (`-a`); for ever without.
    pub give_up: Option<Duration>,
    /// How long the counts may take after the last byte.
    pub count_wait: Duration,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input<'a> {
    /// Data and control to this child are connected.
    Connected(usize),
    /// This child's control connection brought bytes.
    Received(usize, &'a [u8]),
    /// This child's control connection ended.
    Closed(usize),
    /// The input has ended: this is how much it was. Only when [`Setup::total`] was
    /// not known.
    Total(u64),
    /// Every byte was given to the children's data connections.
    Sent,
    /// A deadline passed.
    Tick,
}

/// Bytes for a child's control connection, to be sent with one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmit {
    /// The child.
    pub to: usize,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// What the operator or the driver should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A child answered.
    Connected(String),
    /// Its connection ended before the ring was complete: connect it again.
    Reconnect(usize),
    /// A client has read the configuration.
    Got(String),
    /// A client is ready; so many of so many are.
    Ready(String, usize, usize),
    /// Still waiting for these.
    Missing(Vec<String>),
    /// A line that means nothing to a server.
    Line(String),
    /// All are ready: data may flow.
    Start,
    /// The total is with the children: the last short block may flow.
    TotalSent,
    /// A child and everybody below it stored so many bytes.
    Counted(String, u64),
    /// All counts are right.
    Done,
    /// All are goldring: the ring goes over to dolly+.
    Switch,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Gathering,
    Waiting,
    Streaming,
    Counting(Instant),
    Done,
}

#[derive(Debug, Default)]
struct Child {
    connected: bool,
    greeting: Greeting,
    reader: UpwardReader,
    count: Option<u64>,
}

/// The machine.
#[derive(Debug)]
pub struct Server {
    setup: Setup,
    phase: Phase,
    started: Instant,
    notice: Instant,
    children: Vec<Child>,
    got: Vec<String>,
    ready: Vec<String>,
    own: Vec<String>,
    total: Option<u64>,
    transmits: VecDeque<Transmit>,
    events: VecDeque<Event>,
}

impl Server {
    /// A server that begins at `now`; the driver connects its children.
    pub fn new(setup: Setup, now: Instant) -> Self {
        let children = (0..setup.children).map(|_| Child::default()).collect();
        Self {
            phase: Phase::Gathering,
            started: now,
            notice: now + NOTICE,
            children,
            got: Vec::new(),
            ready: Vec::new(),
            own: Vec::new(),
            total: setup.total,
            transmits: VecDeque::new(),
            events: VecDeque::new(),
            setup,
        }
    }

    /// Takes what happened.
    ///
    /// # Errors
    /// The ring is broken; nothing more is to be done.
    pub fn handle(&mut self, now: Instant, input: Input<'_>) -> Result<(), Failure> {
        match input {
            Input::Connected(child) => self.connected(child),
            Input::Received(child, bytes) => self.received(now, child, bytes),
            Input::Closed(child) => self.closed(child),
            Input::Total(total) => {
                self.total = Some(total);
                self.send_total(total);
                Ok(())
            }
            Input::Sent => self.sent(now),
            Input::Tick => self.tick(now),
        }
    }

    /// The next bytes to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When [`Input::Tick`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.phase {
            Phase::Gathering | Phase::Waiting => {
                let give_up = self.setup.give_up.map(|limit| self.started + limit);
                let greetings = self.children.iter().map(|child| child.greeting.deadline());
                let all = greetings.chain([give_up, Some(self.notice)]);
                all.flatten().min()
            }
            Phase::Counting(deadline) => Some(deadline),
            Phase::Streaming | Phase::Done => None,
        }
    }

    /// Whether every count came back right.
    pub fn is_done(&self) -> bool {
        self.phase == Phase::Done
    }

    /// Whether data may flow, or has.
    pub fn has_started(&self) -> bool {
        !matches!(self.phase, Phase::Gathering | Phase::Waiting)
    }

    /// The clients that are waited for, as the configuration names them: those that have
    /// not answered at all, or if there are none, those that are not ready. (A client is
    /// ready only when its own children are there, so it would be wrong to blame it.)
    pub fn missing(&self) -> Vec<String> {
        let absent = self.without(&self.got);
        if absent.is_empty() {
            self.without(&self.ready)
        } else {
            absent
        }
    }

    /// The clients that are not among `names`. Who knows itself by a name that is not
    /// in the list is taken for the first of those that would be left.
    fn without(&self, names: &[String]) -> Vec<String> {
        let clients = &self.setup.clients;
        let said = |entry: &&String| {
            names.iter().any(|name| {
                name == *entry || entry.split_once('-').is_some_and(|(base, _)| name == base)
            })
        };
        let left: Vec<String> = clients.iter().filter(|e| !said(e)).cloned().collect();
        let distinct: std::collections::HashSet<&String> = names.iter().collect();
        let absent = clients.len().saturating_sub(distinct.len());
        let surplus = left.len().saturating_sub(absent);
        left.into_iter().skip(surplus).collect()
    }

    fn name(&self, child: usize) -> String {
        self.setup.clients.get(child).cloned().unwrap_or_default()
    }

    fn connected(&mut self, child: usize) -> Result<(), Failure> {
        let name = self.name(child);
        let Some(slot) = self.children.get_mut(child) else {
            return Ok(());
        };
        slot.connected = true;
        self.events.push_back(Event::Connected(name));
        if self.phase == Phase::Gathering && self.children.iter().all(|c| c.connected) {
            self.phase = Phase::Waiting;
            for (to, child) in self.children.iter_mut().enumerate() {
                let Setup { opening, text, .. } = &self.setup;
                for bytes in child.greeting.begin(opening, to, text) {
                    self.transmits.push_back(Transmit { to, bytes });
                }
            }
        }
        Ok(())
    }

    fn received(&mut self, now: Instant, child: usize, bytes: &[u8]) -> Result<(), Failure> {
        let neighbour = self.name(child);
        let Some(slot) = self.children.get_mut(child) else {
            return Ok(());
        };
        let to = child;
        let bytes = match slot.greeting.received(now, bytes) {
            Ok((answer, rest)) => {
                self.transmits
                    .extend(answer.map(|bytes| Transmit { to, bytes }));
                rest
            }
            Err(_) => {
                let bytes = opening::auth_failed(&neighbour);
                self.transmits.push_back(Transmit { to, bytes });
                return Err(Failure::WrongPassword { neighbour });
            }
        };
        let items = slot.reader.push(bytes).map_err(|_| Failure::Nonsense {
            neighbour: neighbour.clone(),
            what: "a line without end",
        })?;
        for item in items {
            match item {
                Upward::Got(name) => {
                    self.note_got(&name);
                    self.events.push_back(Event::Got(name));
                }
                Upward::Ready(name) => self.say_ready(name),
                Upward::Own(name) => {
                    if self.own.len() < self.setup.clients.len() && !self.own.contains(&name) {
                        self.own.push(name);
                    }
                }
                Upward::GaveUp(text) => return Err(Failure::Reported(text)),
                Upward::Other(line) => self.events.push_back(Event::Line(line)),
                Upward::Count(count) => self.counted(child, count)?,
            }
        }
        self.start_if_all();
        self.finish_if_all();
        Ok(())
    }

    fn note_got(&mut self, name: &String) {
        if !self.got.contains(name) && self.got.len() < self.setup.clients.len() {
            self.got.push(name.clone());
        }
    }

    fn say_ready(&mut self, name: String) {
        if self.ready.contains(&name) || self.ready.len() == self.setup.clients.len() {
            return;
        }
        self.ready.push(name.clone());
        let (n, of) = (self.ready.len(), self.setup.clients.len());
        self.events.push_back(Event::Ready(name, n, of));
    }

    fn start_if_all(&mut self) {
        if self.phase != Phase::Waiting || self.ready.len() < self.setup.clients.len() {
            return;
        }
        if self.setup.offers && self.own.len() == self.setup.clients.len() {
            self.phase = Phase::Done;
            for to in 0..self.children.len() {
                let bytes = own::SWITCH.to_le_bytes().to_vec();
                self.transmits.push_back(Transmit { to, bytes });
            }
            self.events.push_back(Event::Switch);
            return;
        }
        self.phase = Phase::Streaming;
        self.events.push_back(Event::Start);
        if let Some(total) = self.total {
            self.send_total(total);
        }
    }

    fn send_total(&mut self, total: u64) {
        for (to, child) in self.children.iter_mut().enumerate() {
            child.reader.expect_count(total);
            let bytes = total.to_le_bytes().to_vec();
            self.transmits.push_back(Transmit { to, bytes });
        }
        self.events.push_back(Event::TotalSent);
    }

    fn counted(&mut self, child: usize, count: u64) -> Result<(), Failure> {
        let neighbour = self.name(child);
        let expected = self.total.unwrap_or_default();
        if count != expected {
            return Err(Failure::Mismatch {
                neighbour,
                expected,
                got: count,
            });
        }
        if let Some(slot) = self.children.get_mut(child) {
            slot.count = Some(count);
        }
        self.events.push_back(Event::Counted(neighbour, count));
        Ok(())
    }

    fn sent(&mut self, now: Instant) -> Result<(), Failure> {
        if self.phase == Phase::Streaming {
            self.phase = Phase::Counting(now + self.setup.count_wait);
        }
        self.finish_if_all();
        Ok(())
    }

    fn finish_if_all(&mut self) {
        let counting = matches!(self.phase, Phase::Counting(_));
        if counting && self.children.iter().all(|child| child.count.is_some()) {
            self.phase = Phase::Done;
            self.events.push_back(Event::Done);
        }
    }

    fn closed(&mut self, child: usize) -> Result<(), Failure> {
        let neighbour = self.name(child);
        let Some(slot) = self.children.get_mut(child) else {
            return Ok(());
        };
        let when = match self.phase {
            Phase::Gathering => {
                *slot = Child::default();
                self.events.push_back(Event::Reconnect(child));
                return Ok(());
            }
            _ if slot.count.is_some() => return Ok(()),
            Phase::Waiting if self.setup.opening.dialect == Dialect::Suse => {
                "before it was ready (does it know the same password, or none?)"
            }
            Phase::Waiting => "before it was ready",
            Phase::Streaming => "while data was moving",
            Phase::Counting(_) => "before it reported that everything is stored",
            Phase::Done => return Ok(()),
        };
        Err(Failure::Lost { neighbour, when })
    }

    fn tick(&mut self, now: Instant) -> Result<(), Failure> {
        match self.phase {
            Phase::Gathering | Phase::Waiting => {
                if let Some(limit) = self.setup.give_up.filter(|l| now >= self.started + *l) {
                    return Err(Failure::GaveUp {
                        seconds: limit.as_secs(),
                        missing: listed(&self.missing()),
                    });
                }
                for (to, child) in self.children.iter_mut().enumerate() {
                    let bytes = child.greeting.go_on(now, &self.setup.text);
                    self.transmits
                        .extend(bytes.map(|bytes| Transmit { to, bytes }));
                }
                if now >= self.notice {
                    self.notice = now + NOTICE;
                    self.events.push_back(Event::Missing(self.missing()));
                }
                Ok(())
            }
            Phase::Counting(deadline) if now >= deadline => Err(Failure::Silent {
                neighbour: self.uncounted(),
                silence: "has not reported that everything is stored",
                seconds: self.setup.count_wait.as_secs(),
            }),
            _ => Ok(()),
        }
    }

    fn uncounted(&self) -> String {
        let names: Vec<String> = (0..self.children.len())
            .filter(|child| self.children[*child].count.is_none())
            .map(|child| self.name(child))
            .collect();
        listed(&names)
    }
}
