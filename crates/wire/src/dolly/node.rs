//! A node's conversation, from the complete configuration to the count that it
//! reports.
//!
//! | phase | ends when |
//! |---|---|
//! | joining | the output is open and both connections to every child are there |
//! | ready | the total or the first data came |
//! | moving | the driver says that everything is stored and synced |
//! | counting | every child's count came: the own count goes up |
//!
//! The driver moves the data ([`super::flow`]); this machine sees control connections
//! only, and counts nothing but what it is told.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::config::Dialect;
use super::lines::{self, Upward, UpwardReader};
use super::opening::{self, Greeting, Opening};
use super::{Failure, NOTICE, TOTAL_MAX, listed, own};

/// What a node needs to know; all of it is in the configuration.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The name to report.
    pub name: String,
    /// The parent, as the configuration names it.
    pub parent: String,
    /// The children, as the configuration names them.
    pub children: Vec<String>,
    /// The configuration as it came, for the children.
    pub text: Vec<u8>,
    /// This node can go over to dolly+ when the golden node offers it.
    pub own: bool,
    /// How to begin with each child; also what is spoken with the parent.
    pub opening: Opening,
    /// How long the children may take to come, and after that the first data.
    pub ring_wait: Duration,
    /// How long the children's counts may take after the own last byte is stored.
    pub count_wait: Duration,
}

/// A control connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Link {
    /// To the parent.
    Parent,
    /// To this child.
    Child(usize),
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input<'a> {
    /// The output is open and may be written.
    Opened,
    /// Data and control to this child are connected.
    Connected(usize),
    /// A control connection brought bytes.
    Received(Link, &'a [u8]),
    /// A control connection ended.
    Closed(Link),
    /// The first data came.
    Data,
    /// So many bytes came, were stored, synced, and given to all children.
    Stored(u64),
    /// A deadline passed.
    Tick,
}

/// Bytes for a control connection, to be sent with one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmit {
    /// Where to.
    pub to: Link,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// What the person at the node or the driver should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A child answered.
    Connected(String),
    /// Its connection ended before it got the configuration: connect it again.
    Reconnect(usize),
    /// Still waiting for these children.
    Missing(Vec<String>),
    /// This node is a member of the ring.
    Joined,
    /// The total, already passed on to the children.
    Total(u64),
    /// A child and everybody below it stored so many bytes.
    Counted(String, u64),
    /// The own count is on its way up.
    Done,
    /// The ring goes over to dolly+: close everything and wait for its call.
    Switch,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Joining,
    Ready(Instant),
    Moving,
    Counting(u64, Instant),
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
pub struct Node {
    setup: Setup,
    phase: Phase,
    opened: bool,
    give_up: Instant,
    notice: Instant,
    children: Vec<Child>,
    /// What came from the parent and is not understood yet.
    downward: Vec<u8>,
    total: Option<u64>,
    transmits: VecDeque<Transmit>,
    events: VecDeque<Event>,
}

impl Node {
    /// A node that has just understood the configuration; says so to its parent.
    pub fn new(setup: Setup, now: Instant) -> Self {
        let children = setup.children.iter().map(|_| Child::default()).collect();
        let mut node = Self {
            phase: Phase::Joining,
            opened: false,
            give_up: now + setup.ring_wait,
            notice: now + NOTICE,
            children,
            downward: Vec::new(),
            total: None,
            transmits: VecDeque::new(),
            events: VecDeque::new(),
            setup,
        };
        let line = lines::got(node.setup.opening.dialect, &node.setup.name);
        node.send(Link::Parent, line);
        if node.is_offered() {
            let line = lines::own(&node.setup.name);
            node.send(Link::Parent, line);
        }
        node
    }

    fn is_offered(&self) -> bool {
        self.setup.own && own::is_offered(&self.setup.text)
    }

    /// Takes what happened.
    ///
    /// # Errors
    /// The ring is broken. The driver then asks for [`Node::last_words`].
    pub fn handle(&mut self, now: Instant, input: Input<'_>) -> Result<(), Failure> {
        match input {
            Input::Opened => {
                self.opened = true;
                self.join_if_complete(now);
                Ok(())
            }
            Input::Connected(child) => {
                if let Some(slot) = self.children.get_mut(child) {
                    slot.connected = true;
                    let name = self.setup.children[child].clone();
                    self.events.push_back(Event::Connected(name));
                }
                self.join_if_complete(now);
                Ok(())
            }
            Input::Received(Link::Parent, bytes) => self.parent_said(bytes),
            Input::Received(Link::Child(child), bytes) => self.child_said(now, child, bytes),
            Input::Closed(link) => self.closed(link),
            Input::Data => {
                if matches!(self.phase, Phase::Ready(_)) {
                    self.phase = Phase::Moving;
                }
                Ok(())
            }
            Input::Stored(n) => self.stored(now, n),
            Input::Tick => self.tick(now),
        }
    }

    /// The next bytes to send. All are to be sent before an event is looked at.
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
            Phase::Joining => Some(self.notice.min(self.give_up)),
            Phase::Ready(deadline) => {
                let greetings = self.children.iter().map(|child| child.greeting.deadline());
                greetings.chain([Some(deadline)]).flatten().min()
            }
            Phase::Counting(_, deadline) => Some(deadline),
            Phase::Moving | Phase::Done => None,
        }
    }

    /// Whether the own count went up.
    pub fn is_done(&self) -> bool {
        self.phase == Phase::Done
    }

    /// Whether this node said `ready`.
    pub fn has_joined(&self) -> bool {
        self.phase != Phase::Joining
    }

    /// Whether data moves, or has moved.
    pub fn has_started(&self) -> bool {
        !matches!(self.phase, Phase::Joining | Phase::Ready(_))
    }

    /// Tells the neighbours why this node stops: upward always, downward only once
    /// the children have the total, because an old child takes whatever comes first
    /// for it. What somebody else already said is passed on unchanged.
    pub fn last_words(&mut self, failure: &Failure) {
        let line = match failure {
            Failure::Reported(text) => match text.split_once(" says: ") {
                Some((who, why)) => lines::gave_up(who, why),
                None => lines::gave_up(&self.setup.name, text),
            },
            other => lines::gave_up(&self.setup.name, &cause(other)),
        };
        if self.total.is_some() {
            for child in 0..self.children.len() {
                self.send(Link::Child(child), line.clone());
            }
        }
        self.send(Link::Parent, line);
    }

    fn send(&mut self, to: Link, bytes: Vec<u8>) {
        self.transmits.push_back(Transmit { to, bytes });
    }

    fn join_if_complete(&mut self, now: Instant) {
        let connected = self.children.iter().all(|child| child.connected);
        if self.phase != Phase::Joining || !self.opened || !connected {
            return;
        }
        for (i, child) in self.children.iter_mut().enumerate() {
            let Setup { opening, text, .. } = &self.setup;
            for bytes in child.greeting.begin(opening, i, text) {
                let to = Link::Child(i);
                self.transmits.push_back(Transmit { to, bytes });
            }
        }
        // What came before this line belonged to the configuration (section 4).
        self.downward.clear();
        let line = lines::ready(self.setup.opening.dialect, &self.setup.name);
        self.send(Link::Parent, line);
        self.phase = Phase::Ready(now + self.setup.ring_wait);
        self.events.push_back(Event::Joined);
    }

    fn parent_said(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        if self.phase == Phase::Joining {
            return Ok(());
        }
        for piece in bytes.chunks(lines::LINE_MAX) {
            self.downward.extend_from_slice(piece);
            self.understand()?;
            // A peer may say more than this machine understands, but not fill it.
            if self.downward.len() > lines::LINE_MAX {
                self.downward.clear();
            }
        }
        Ok(())
    }

    fn understand(&mut self) -> Result<(), Failure> {
        if self.total.is_none() {
            let Some(bytes) = self.downward.first_chunk().copied() else {
                return Ok(());
            };
            self.downward.drain(..8);
            self.set_total(u64::from_le_bytes(bytes))?;
        }
        while let Some(end) = self.downward.iter().position(|b| *b == b'\n') {
            let line: Vec<u8> = self.downward.drain(..=end).collect();
            if let Upward::GaveUp(text) = lines::classify(&String::from_utf8_lossy(&line[..end])) {
                return Err(Failure::Reported(text));
            }
        }
        Ok(())
    }

    fn set_total(&mut self, total: u64) -> Result<(), Failure> {
        if total == own::SWITCH && self.is_offered() {
            for child in 0..self.children.len() {
                self.send(Link::Child(child), total.to_le_bytes().to_vec());
            }
            self.phase = Phase::Done;
            self.events.push_back(Event::Switch);
            return Ok(());
        }
        if total > TOTAL_MAX {
            return Err(Failure::Nonsense {
                neighbour: self.setup.parent.clone(),
                what: "a length that no disk has",
            });
        }
        self.total = Some(total);
        for child in 0..self.children.len() {
            self.children[child].reader.expect_count(total);
            self.send(Link::Child(child), total.to_le_bytes().to_vec());
        }
        if matches!(self.phase, Phase::Ready(_)) {
            self.phase = Phase::Moving;
        }
        self.events.push_back(Event::Total(total));
        Ok(())
    }

    fn child_said(&mut self, now: Instant, child: usize, bytes: &[u8]) -> Result<(), Failure> {
        let bytes = self.greeted(now, child, bytes)?;
        let Some(slot) = self.children.get_mut(child) else {
            return Ok(());
        };
        let name = self.setup.children[child].clone();
        let dialect = self.setup.opening.dialect;
        let items = slot.reader.push(bytes).map_err(|_| Failure::Nonsense {
            neighbour: name.clone(),
            what: "a line without end",
        })?;
        // Whole lines, all of one arrival with one call, as they came.
        let mut upward = Vec::new();
        for item in items {
            match item {
                Upward::Got(who) => upward.extend(lines::got(dialect, &who)),
                Upward::Ready(who) => upward.extend(lines::ready(dialect, &who)),
                Upward::Own(who) => upward.extend(lines::own(&who)),
                Upward::Other(line) => upward.extend(format!("{line}\n").into_bytes()),
                Upward::GaveUp(text) => return Err(Failure::Reported(text)),
                Upward::Count(count) => {
                    slot.count = Some(count);
                    self.events.push_back(Event::Counted(name.clone(), count));
                }
            }
        }
        if !upward.is_empty() {
            self.send(Link::Parent, upward);
        }
        self.finish_if_all()
    }

    /// Takes away what a child says to the greeting.
    fn greeted<'a>(
        &mut self,
        now: Instant,
        child: usize,
        bytes: &'a [u8],
    ) -> Result<&'a [u8], Failure> {
        let Some(slot) = self.children.get_mut(child) else {
            return Ok(bytes);
        };
        match slot.greeting.received(now, bytes) {
            Ok((answer, rest)) => {
                if let Some(bytes) = answer {
                    self.send(Link::Child(child), bytes);
                }
                Ok(rest)
            }
            Err(_) => {
                let neighbour = self.setup.children[child].clone();
                self.send(Link::Child(child), opening::auth_failed(&neighbour));
                Err(Failure::WrongPassword { neighbour })
            }
        }
    }

    fn go_on(&mut self, now: Instant) {
        for (i, child) in self.children.iter_mut().enumerate() {
            if let Some(bytes) = child.greeting.go_on(now, &self.setup.text) {
                let to = Link::Child(i);
                self.transmits.push_back(Transmit { to, bytes });
            }
        }
    }

    fn stored(&mut self, now: Instant, n: u64) -> Result<(), Failure> {
        if self.phase == Phase::Moving {
            self.phase = Phase::Counting(n, now + self.setup.count_wait);
        }
        self.finish_if_all()
    }

    fn finish_if_all(&mut self) -> Result<(), Failure> {
        let Phase::Counting(own, _) = self.phase else {
            return Ok(());
        };
        let mut wrong = None;
        for (slot, name) in self.children.iter().zip(&self.setup.children) {
            match slot.count {
                None => return Ok(()),
                Some(count) if count != own => wrong = Some((name.clone(), count)),
                Some(_) => {}
            }
        }
        self.phase = Phase::Done;
        // An old server looks at the number alone: a wrong one has to reach it.
        let reported = wrong.as_ref().map_or(own, |(_, count)| *count);
        self.send(Link::Parent, reported.to_le_bytes().to_vec());
        self.events.push_back(Event::Done);
        Ok(())
    }

    fn closed(&mut self, link: Link) -> Result<(), Failure> {
        let when = match self.phase {
            Phase::Done => return Ok(()),
            Phase::Joining => "before the ring was complete",
            Phase::Ready(_)
                if link != Link::Parent && self.setup.opening.dialect == Dialect::Suse =>
            {
                "before the first byte (does it know the same password, or none?)"
            }
            Phase::Ready(_) => "before the first byte",
            Phase::Moving => "while data was moving",
            Phase::Counting(..) => "before everybody had reported",
        };
        let neighbour = match link {
            Link::Parent => self.setup.parent.clone(),
            Link::Child(child) => {
                let Some(slot) = self.children.get_mut(child) else {
                    return Ok(());
                };
                if slot.count.is_some() {
                    return Ok(());
                }
                if self.phase == Phase::Joining {
                    *slot = Child::default();
                    self.events.push_back(Event::Reconnect(child));
                    return Ok(());
                }
                self.setup.children[child].clone()
            }
        };
        Err(Failure::Lost { neighbour, when })
    }

    fn tick(&mut self, now: Instant) -> Result<(), Failure> {
        self.go_on(now);
        match self.phase {
            Phase::Joining if now >= self.give_up => Err(Failure::GaveUp {
                seconds: self.setup.ring_wait.as_secs(),
                missing: listed(&self.names(|child| !child.connected)),
            }),
            Phase::Joining if now >= self.notice => {
                self.notice = now + NOTICE;
                let missing = self.names(|child| !child.connected);
                if !missing.is_empty() {
                    self.events.push_back(Event::Missing(missing));
                }
                Ok(())
            }
            Phase::Ready(deadline) if now >= deadline => Err(Failure::Silent {
                neighbour: self.setup.parent.clone(),
                silence: "has sent nothing since this node was ready",
                seconds: self.setup.ring_wait.as_secs(),
            }),
            Phase::Counting(_, deadline) if now >= deadline => Err(Failure::Silent {
                neighbour: listed(&self.names(|child| child.count.is_none())),
                silence: "has not reported that everything is stored",
                seconds: self.setup.count_wait.as_secs(),
            }),
            _ => Ok(()),
        }
    }

    fn names(&self, which: impl Fn(&Child) -> bool) -> Vec<String> {
        let pairs = self.children.iter().zip(&self.setup.children);
        pairs
            .filter(|(child, _)| which(child))
            .map(|(_, name)| name.clone())
            .collect()
    }
}

/// The failure without the advice at its end, which is for this computer's screen.
fn cause(failure: &Failure) -> String {
    let text = failure.to_string();
    text.split(';').next().unwrap_or(&text).to_owned()
}
