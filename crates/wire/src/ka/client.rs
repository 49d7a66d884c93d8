//! A node: it says that it takes data, connects to the parent that it is told, feeds its
//! command and its children, and tells the server when all of that is done.
//!
//! Where an old client dies, this one says PARENT_LOST and waits: a parent that refuses
//! the connection, a child that is not known, a position that it no longer has. Strangers
//! on its data port are told to an old server as late as possible, because that one dies of
//! them.

mod told;

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use super::REPORT_EVERY;
use super::message::{Layout, Report, ToClient, ToServer};
use super::own::{Compared, FromClient, FromServer, Stream};
use super::reader::{OfServer, ServerSaid};
use super::server::DataId;

pub use self::told::{Event, Failure};

/// The most connections that wait for the server's word; more are closed.
pub const WAITING_MAX: usize = 16;
/// How long a connection waits for the server's word.
pub const WORD: Duration = Duration::from_secs(60);
/// A connection that is told to an old server has stood for so long: a port scan does not.
pub const HOLD: Duration = Duration::from_millis(100);
/// An old server takes any report of a position for the answer to its question, an old one
/// that it has not read yet, too; so it gets the time to read it before it asks.
pub const SETTLE: Duration = Duration::from_millis(300);
/// A goldring server pings all the time; after so long without a word it is dead.
pub const SERVER_SILENCE: Duration = Duration::from_secs(30);

/// How a node takes part.
#[derive(Debug, Clone)]
pub struct Setup {
    /// How it speaks.
    pub layout: Layout,
    /// What it is called.
    pub name: String,
    /// `-w`: it waits until it may go.
    pub wait: bool,
    /// How many bytes it keeps.
    pub keeps: u64,
    /// See [`HOLD`].
    pub hold: Duration,
}

/// What the driver tells the machine.
#[derive(Debug, Clone)]
pub enum Input<'a> {
    /// The server said something.
    Received(&'a [u8]),
    /// The control connection has ended.
    Closed,
    /// The parent could not be connected to: why.
    Refused(String),
    /// The data connection to the parent has ended; all that has come so far.
    ParentEnded(Stream),
    /// So many bytes have come in all.
    Came(u64),
    /// Somebody connects to the data port.
    Called(DataId, Ipv4Addr),
    /// Such a connection has ended.
    HungUp(DataId),
    /// What this child was to be sent is no longer here.
    Forgotten(DataId),
    /// After [`Action::EndOfData`]: the command has ended well, and all children have all.
    Done,
    /// This computer cannot go on: why.
    Failed(String),
    /// Time has passed.
    Tick,
}

/// What the machine wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send this to the server.
    Send(Vec<u8>),
    /// Leave the parent that there may be.
    Leave,
    /// Connect to this parent.
    Connect(Ipv4Addr),
    /// Start the command.
    Run(Compared),
    /// Send the stream from this byte on.
    Serve(DataId, u64),
    /// Close this data connection.
    Drop(DataId),
    /// No more data comes: let everything flow out.
    EndOfData,
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// All is here, and the command has ended well; and what happened afterwards.
    Complete(Stream, Option<String>),
    /// It is not.
    Failed(Failure),
}

#[derive(Debug)]
struct Waiting {
    data: DataId,
    from: Ipv4Addr,
    since: Instant,
    told: bool,
}

/// The machine.
#[derive(Debug)]
pub struct Client {
    setup: Setup,
    reader: OfServer,
    /// The server is goldring.
    own: bool,
    /// It has said anything at all.
    answered: bool,
    heard: Instant,
    parent: Option<Ipv4Addr>,
    /// The parent is connected to only then.
    connect_at: Option<Instant>,
    /// The parent's connection has ended; all that came.
    ended: Option<Stream>,
    /// What the server says of the whole stream.
    promised: Option<Stream>,
    came: u64,
    reports: bool,
    reported: u64,
    waiting: Vec<Waiting>,
    children: Vec<(DataId, Ipv4Addr)>,
    /// END_OF_FLOW has come.
    flowed: bool,
    finished: bool,
    reason: Option<String>,
    /// Everything has come, and then the server went: why it is not heard any more.
    alone: Option<String>,
    outcome: Option<Outcome>,
    actions: VecDeque<Action>,
    events: VecDeque<Event>,
}

impl Client {
    /// Connected to the server. Its first words are to be sent.
    pub fn new(setup: Setup, now: Instant) -> Self {
        let layout = setup.layout;
        let wait = setup.wait;
        let mut client = Self {
            setup,
            reader: OfServer::new(layout),
            own: false,
            answered: false,
            heard: now,
            parent: None,
            connect_at: None,
            ended: None,
            promised: None,
            came: 0,
            reports: false,
            reported: 0,
            waiting: Vec::new(),
            children: Vec::new(),
            flowed: false,
            finished: false,
            reason: None,
            alone: None,
            outcome: None,
            actions: VecDeque::new(),
            events: VecDeque::new(),
        };
        client.send(ToServer::Hello { own: true });
        client.send(ToServer::Options { wait });
        client.send(ToServer::AcceptsData);
        client
    }

    /// What `-g` says: start without waiting for more.
    pub fn go_now(layout: Layout) -> Vec<u8> {
        let words = [
            ToServer::Hello { own: true },
            ToServer::Options { wait: false },
            ToServer::GoNow,
        ];
        words.iter().flat_map(|word| word.emit(layout)).collect()
    }

    /// Takes what happened.
    pub fn handle(&mut self, now: Instant, input: Input<'_>) {
        if self.outcome.is_some() {
            return;
        }
        match input {
            Input::Received(bytes) => self.received(now, bytes),
            Input::Closed => self.closed(),
            Input::Refused(_) => self.parent_lost(),
            Input::ParentEnded(stream) => {
                self.came = stream.bytes;
                self.ended = Some(stream);
                self.parent_lost();
            }
            Input::Came(bytes) => self.came(bytes),
            Input::Called(data, from) => self.called(now, data, from),
            Input::HungUp(data) => {
                self.waiting.retain(|waiting| waiting.data != data);
                self.children.retain(|(child, _)| *child != data);
            }
            Input::Forgotten(data) => self.forgotten(data),
            Input::Done => self.done(),
            Input::Failed(why) => self.fail(Failure::Here(why)),
            Input::Tick => {}
        }
        self.look(now);
    }

    /// What to do next.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// What to tell next.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When to come back with [`Input::Tick`] at the latest.
    pub fn deadline(&self) -> Option<Instant> {
        let waiting = self.waiting.iter().map(|waiting| match waiting.told {
            true => waiting.since + WORD,
            // Before there is a parent nobody is told.
            false if self.parent.is_none() => waiting.since + WORD,
            false => waiting.since + self.hold(),
        });
        let silence = self.listens().then(|| self.heard + SERVER_SILENCE);
        waiting.chain(silence).chain(self.connect_at).min()
    }

    /// How it ended, when it has.
    pub fn outcome(&self) -> Option<&Outcome> {
        self.outcome.as_ref()
    }

    /// Whether a server that says nothing would be noticed.
    fn listens(&self) -> bool {
        self.own && self.alone.is_none()
    }

    fn hold(&self) -> Duration {
        if self.own {
            Duration::ZERO
        } else {
            self.setup.hold
        }
    }

    fn send(&mut self, message: ToServer) {
        let bytes = message.emit(self.setup.layout);
        self.actions.push_back(Action::Send(bytes));
    }

    fn send_own(&mut self, word: &FromClient) {
        if self.own {
            let bytes = word.emit(self.setup.layout);
            self.actions.push_back(Action::Send(bytes));
        }
    }

    fn fail(&mut self, failure: Failure) {
        self.send_own(&FromClient::Reason(failure.to_string()));
        self.outcome = Some(Outcome::Failed(failure));
    }

    fn received(&mut self, now: Instant, mut bytes: &[u8]) {
        self.heard = now;
        self.answered = true;
        while self.outcome.is_none() {
            match self.reader.next(&mut bytes) {
                Ok(Some(ServerSaid::Plain(message))) => self.said(now, message),
                Ok(Some(ServerSaid::Own(word))) => self.own_said(word),
                Ok(None) => return,
                Err(_) => return self.fail(Failure::Nonsense("an unknown message")),
            }
        }
    }

    fn own_said(&mut self, word: FromServer) {
        match word {
            FromServer::Welcome => {
                self.own = true;
                self.events.push_back(Event::Welcome);
                let name = std::mem::take(&mut self.setup.name);
                self.send_own(&FromClient::Name(name));
                self.send_own(&FromClient::Keeps(self.setup.keeps));
            }
            FromServer::Ended(stream) => self.promised = Some(stream),
            FromServer::Reason(text) => self.reason = Some(text),
        }
    }

    fn said(&mut self, now: Instant, message: ToClient) {
        match message {
            ToClient::Go | ToClient::Own(_) => {}
            ToClient::Ping => self.send(ToServer::Pong),
            ToClient::ReportPosition(Report::Once) => {
                self.send(ToServer::Position(self.came));
            }
            ToClient::ReportPosition(report) => self.reports = report == Report::Regularly,
            // Everything has come: it needs nobody.
            ToClient::Parent(_) if self.flowed => {}
            ToClient::Parent(parent) => {
                let settle = !self.own && self.reports && self.came > 0;
                self.connect_at = Some(now + if settle { SETTLE } else { Duration::ZERO });
                if self.parent.is_none() {
                    let compared = match self.own {
                        true => Compared::BySession,
                        false => Compared::ByNobody,
                    };
                    self.actions.push_back(Action::Run(compared));
                }
                self.parent = Some(parent);
                self.ended = None;
                self.events.push_back(Event::Parent(parent));
                self.actions.push_back(Action::Leave);
            }
            ToClient::AuthChild { child, offset } => self.auth(child, offset),
            ToClient::DropChild(child) => self.drop_child(child),
            ToClient::EndOfFlow => self.end_of_flow(),
            ToClient::Finish if self.finished => self.complete(None),
            ToClient::Finish => self.setup.wait = false,
        }
    }

    fn came(&mut self, bytes: u64) {
        // Words of several threads may overtake each other.
        self.came = self.came.max(bytes);
        if self.came > self.reported + REPORT_EVERY {
            self.reported = self.came;
            if self.reports {
                self.send(ToServer::Position(self.came));
            }
        }
    }

    fn parent_lost(&mut self) {
        let Some(parent) = self.parent.filter(|_| !self.flowed) else {
            return;
        };
        self.events.push_back(Event::ParentLost(self.came));
        let received = self.came;
        self.send(ToServer::ParentLost { parent, received });
    }

    fn end_of_flow(&mut self) {
        if std::mem::replace(&mut self.flowed, true) {
            return;
        }
        let Some(got) = self.ended else {
            return self.fail(Failure::Nonsense("the end, while data still comes"));
        };
        if self.own && self.promised.is_none() {
            return self.fail(Failure::Nonsense("the end, and not what all of it was"));
        }
        if let Some(sent) = self.promised.filter(|sent| *sent != got) {
            let same = got.bytes == sent.bytes;
            return self.fail(Failure::Damaged {
                got: got.bytes,
                sent: sent.bytes,
                how: if same { ", with another digest" } else { "" },
            });
        }
        self.events.push_back(Event::EndOfData(got.bytes));
        self.actions.push_back(Action::EndOfData);
    }

    /// The command has ended well and the children have everything.
    fn done(&mut self) {
        let (Some(got), true) = (self.ended, self.flowed) else {
            return;
        };
        self.send_own(&FromClient::Got(got));
        self.send(ToServer::Finished);
        self.finished = true;
        if let Some(why) = self.alone.take() {
            self.complete(Some(why));
        } else if self.setup.wait {
            self.events.push_back(Event::Finished);
        } else {
            self.complete(None);
        }
    }

    fn complete(&mut self, trouble: Option<String>) {
        let stream = self.ended.unwrap_or_default();
        self.outcome = Some(Outcome::Complete(stream, trouble));
    }

    fn closed(&mut self) {
        let failure = match self.reason.take() {
            Some(reason) => return self.told_to_go(reason),
            None if !self.answered => Failure::TurnedAway,
            None => Failure::ServerGone,
        };
        self.deserted(failure);
    }

    fn told_to_go(&mut self, reason: String) {
        match self.finished {
            true => self.complete(Some(reason)),
            false => self.outcome = Some(Outcome::Failed(Failure::Said(reason))),
        }
    }

    /// The server is not heard any more. Whoever has everything, checked, does without it:
    /// its command may be at work on it for long.
    fn deserted(&mut self, failure: Failure) {
        let gone = match failure {
            Failure::Silent(_) => failure.to_string(),
            _ => "the server is gone before it let this node go".to_owned(),
        };
        if self.finished {
            self.complete(Some(gone));
        } else if self.flowed {
            self.alone.get_or_insert(gone);
        } else {
            self.fail(failure);
        }
    }

    fn called(&mut self, now: Instant, data: DataId, from: Ipv4Addr) {
        // A child that comes again has given up what it had.
        let (again, others) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|waiting| waiting.from == from);
        self.waiting = others;
        let again: Vec<Waiting> = again;
        for waiting in again {
            self.actions.push_back(Action::Drop(waiting.data));
        }
        if self.waiting.len() >= WAITING_MAX {
            self.actions.push_back(Action::Drop(data));
            return self.events.push_back(Event::Dropped(from, "too many wait"));
        }
        self.waiting.push(Waiting {
            data,
            from,
            since: now,
            told: false,
        });
    }

    fn auth(&mut self, child: Ipv4Addr, offset: u64) {
        let called = |waiting: &Waiting| waiting.from == child && waiting.told;
        let Some(place) = self.waiting.iter().position(called) else {
            return self.send_own(&FromClient::Cannot(child));
        };
        let data = self.waiting.swap_remove(place).data;
        if self.finished {
            self.actions.push_back(Action::Drop(data));
            return self.send_own(&FromClient::Cannot(child));
        }
        // What is left of an earlier connection of the same child.
        let stale: Vec<DataId> = self
            .children
            .extract_if(.., |(_, who)| *who == child)
            .map(|(data, _)| data)
            .collect();
        self.actions.extend(stale.into_iter().map(Action::Drop));
        self.children.push((data, child));
        self.actions.push_back(Action::Serve(data, offset));
        self.events.push_back(Event::Child(child, offset));
        self.send(ToServer::GotClient(child));
    }

    fn forgotten(&mut self, data: DataId) {
        if let Some(place) = self.children.iter().position(|(d, _)| *d == data) {
            let (data, child) = self.children.swap_remove(place);
            self.actions.push_back(Action::Drop(data));
            self.send_own(&FromClient::Cannot(child));
        }
    }

    fn drop_child(&mut self, child: Ipv4Addr) {
        let waiting = self.waiting.iter().filter(|w| w.from == child);
        let served = self.children.iter().filter(|(_, who)| *who == child);
        let all: Vec<DataId> = waiting
            .map(|w| w.data)
            .chain(served.map(|(data, _)| *data))
            .collect();
        self.waiting.retain(|waiting| waiting.from != child);
        self.children.retain(|(_, who)| *who != child);
        self.actions.extend(all.into_iter().map(Action::Drop));
    }

    /// What time brings: calls are told to the server, or closed.
    fn look(&mut self, now: Instant) {
        if self.outcome.is_some() {
            return;
        }
        if self.listens() && now >= self.heard + SERVER_SILENCE {
            return self.deserted(Failure::Silent(SERVER_SILENCE.as_secs()));
        }
        if let (Some(parent), Some(at)) = (self.parent, self.connect_at)
            && now >= at
        {
            self.connect_at = None;
            self.actions.push_back(Action::Connect(parent));
        }
        let hold = self.hold();
        let mut told = Vec::new();
        if self.parent.is_some() {
            for waiting in &mut self.waiting {
                if !waiting.told && now >= waiting.since + hold {
                    waiting.told = true;
                    told.push(waiting.from);
                }
            }
        }
        for child in told {
            self.send(ToServer::GotClient(child));
        }
        let (late, others): (Vec<Waiting>, Vec<Waiting>) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|waiting| now >= waiting.since + WORD);
        self.waiting = others;
        for waiting in late {
            self.actions.push_back(Action::Drop(waiting.data));
            let why = "the server does not know it";
            self.events.push_back(Event::Dropped(waiting.from, why));
        }
    }
}
