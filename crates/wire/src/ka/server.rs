//! The golden node: gathers the nodes, builds the tree, attaches everybody to a parent,
//! mends the tree when somebody is lost, tells the real end of data, and lets everybody go.
//!
//! Phases: *gathering* until `-n` nodes accept data (or somebody says GO_NOW, or the time
//! is over); *building* until each is served by its parent; *flowing*; *done*. A node is
//! lost when its control connection closes, when it answers no ping, or when what it lacks
//! is nowhere any more; its children go to its nearest ancestor that lives, has room, and
//! still has what they need. The server itself is the last of them.
//!
//! What an old server got wrong and this one does not: it asks an ancestor before it sends
//! somebody there (an old client dies of a refused connection), compares positions before
//! it authorises (an old parent dies of an offset that it no longer has), goes on pinging
//! after the last byte, mends trees too, and never counts or places somebody who came late.

mod chain;
mod ending;
mod gather;
mod node;
mod told;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use self::gather::Conn;
use self::node::Node;
use super::own::{Compared, FromServer, Stream};

pub use self::node::{Fate, Report};
pub use self::told::{Event, Failure};

/// How often everybody is pinged.
pub const PING_EVERY: Duration = Duration::from_secs(2);
/// How long an ancestor may take to say where it is before a node is sent to it.
pub const PROBE: Duration = Duration::from_secs(3);
/// How long a node may take to be served by the parent that it was told.
pub const ATTACH: Duration = Duration::from_secs(30);
/// How long a connection may stay without a HELLO.
pub const GREET: Duration = Duration::from_secs(10);
/// The most connections that have not said what they are.
pub const UNKNOWN_MAX: usize = 128;
/// The most nodes of a session.
pub const NODES_MAX: usize = 4000;
/// With at most so many leaves they report their positions without `-l`.
pub const LEAVES_ASKED: usize = 32;
/// How often whoever is missing is named.
const MISSING_EVERY: Duration = Duration::from_secs(30);

/// A control connection, as the driver numbers them; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub u64);

/// A data connection to the server, as the driver numbers them; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DataId(pub u64);

/// Whether the source waits for the last nodes, so that nothing that anybody may need is
/// forgotten anywhere (`-l`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lead {
    /// It does not.
    Unbounded,
    /// It does.
    Bounded,
    /// It does, if no more than [`LEAVES_ASKED`] nodes have to report for it.
    WhenFew,
}

/// What happens when the time for gathering is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Late {
    /// Nothing is sent.
    GiveUp,
    /// Those who are there get it.
    GoOn,
}

/// How a session shall be.
#[derive(Debug, Clone)]
pub struct Setup {
    /// How many nodes are waited for.
    pub wanted: usize,
    /// Who may take part, if that is limited: a name and an address for each.
    pub expected: Option<Vec<(String, Ipv4Addr)>>,
    /// How long they are waited for.
    pub patience: Duration,
    /// And then.
    pub late: Late,
    /// The most children that a node is given.
    pub arity: usize,
    /// `-l`.
    pub lead: Lead,
    /// `-d`: between two nodes that are let go.
    pub release: Option<Duration>,
    /// How many bytes the server keeps.
    pub history: u64,
    /// A node that has said nothing for so long is dead.
    pub silence: Duration,
}

/// What the driver tells the machine.
#[derive(Debug, Clone)]
pub enum Input<'a> {
    /// Somebody asked for this session by UDP.
    Asked(Ipv4Addr),
    /// Somebody asked for the session that follows this one: it has what comes here.
    AskedNext(Ipv4Addr),
    /// A control connection: who, and under which address of this computer.
    Accepted {
        /// Its number.
        conn: ConnId,
        /// Who connected.
        from: Ipv4Addr,
        /// Where: what the node knows the server as.
        local: Ipv4Addr,
    },
    /// It brought bytes.
    Received(ConnId, &'a [u8]),
    /// It ended.
    Closed(ConnId),
    /// A data connection to the server.
    Called(DataId, Ipv4Addr),
    /// A data connection to a child broke.
    Broke(DataId),
    /// The source has given so many bytes; from the first of the two on they are kept.
    Head(u64, u64),
    /// The source has ended, and ended well.
    Ended(Stream),
    /// The source failed: why.
    Failed(String),
    /// Time has passed.
    Tick,
}

/// What the machine wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send this.
    Send(ConnId, Vec<u8>),
    /// Close this control connection, when what was to be sent is sent.
    Close(ConnId),
    /// Start the source.
    Start(Compared),
    /// Read the source up to this byte of the stream only.
    Limit(u64),
    /// Send the stream from this byte on.
    Serve(DataId, u64),
    /// Close this data connection.
    Drop(DataId),
}

/// How a session ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The stream was sent; how each node fared is in [`Server::reports`].
    Sent(Stream),
    /// All who are waited for have it already, see [`Input::AskedNext`].
    Needless,
    /// Nobody got it.
    Failed(Failure),
}

#[derive(Debug)]
enum Phase {
    Gathering { since: Instant, told: Instant },
    Building,
    Flowing,
    Done(Outcome),
}

/// The machine.
#[derive(Debug)]
pub struct Server {
    setup: Setup,
    phase: Phase,
    conns: BTreeMap<ConnId, Conn>,
    /// While gathering those who are there; later all that were placed, lost or not.
    nodes: Vec<Node>,
    /// Who was heard of and is not there.
    heard_of: BTreeMap<Ipv4Addr, &'static str>,
    /// Who is past this session and counts as one that has got everything.
    past: BTreeSet<Ipv4Addr>,
    /// What is kept of the stream.
    head: (u64, u64),
    total: Option<Stream>,
    limit: u64,
    lead: bool,
    pinged: Instant,
    ticked: Instant,
    /// When the last node was let go.
    released: Option<Instant>,
    actions: VecDeque<Action>,
    events: VecDeque<Event>,
}

impl Server {
    /// A session that waits for its nodes.
    pub fn new(setup: Setup, now: Instant) -> Self {
        Self {
            setup,
            phase: Phase::Gathering {
                since: now,
                told: now,
            },
            conns: BTreeMap::new(),
            nodes: Vec::new(),
            heard_of: BTreeMap::new(),
            past: BTreeSet::new(),
            head: (0, 0),
            total: None,
            limit: u64::MAX,
            lead: false,
            pinged: now,
            ticked: now,
            released: None,
            actions: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Takes what happened.
    pub fn handle(&mut self, now: Instant, input: Input<'_>) {
        if matches!(self.phase, Phase::Done(_)) {
            return;
        }
        match input {
            Input::Asked(who) => self.asked(who),
            Input::AskedNext(who) => self.asked_next(who),
            Input::Accepted { conn, from, local } => self.accepted(now, conn, (from, local)),
            Input::Received(conn, bytes) => self.received(now, conn, bytes),
            Input::Closed(conn) => self.closed(conn),
            Input::Called(data, from) => self.called(now, data, from),
            Input::Broke(data) => self.broke(data),
            Input::Head(oldest, newest) => self.head = (oldest, newest),
            Input::Ended(stream) => self.ended(stream),
            Input::Failed(why) => self.fail(Failure::Source(why)),
            Input::Tick => {}
        }
        self.look(now);
    }

    /// Whether requests by UDP are answered.
    pub fn answers(&self) -> bool {
        matches!(self.phase, Phase::Gathering { .. })
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
    pub fn deadline(&self) -> Instant {
        let next = self.pinged + PING_EVERY;
        let mut all = vec![next];
        if let Phase::Gathering { since, .. } = self.phase {
            all.extend(since.checked_add(self.setup.patience));
        }
        if let (Some(last), Some(pause)) = (self.released, self.setup.release)
            && self.next_to_go().is_some()
        {
            all.push(last + pause);
        }
        all.extend(self.nodes.iter().filter_map(Node::due));
        all.into_iter().min().unwrap_or(next)
    }

    /// How it ended, when it has.
    pub fn outcome(&self) -> Option<&Outcome> {
        match &self.phase {
            Phase::Done(outcome) => Some(outcome),
            _ => None,
        }
    }

    /// How each node fared.
    pub fn reports(&self) -> Vec<Report> {
        let past = |address: &Ipv4Addr| Report {
            who: address.to_string(),
            address: *address,
            fate: Fate::Gone,
            checked: true,
            position: 0,
        };
        let took_part = self.nodes.iter().map(Node::report);
        took_part.chain(self.past.iter().map(past)).collect()
    }

    /// Those that were expected, or heard of, and never took part.
    pub fn absent(&self) -> Vec<String> {
        let absent = |(name, address): &(String, Ipv4Addr)| {
            let here = self.nodes.iter().any(|node| node.address == *address);
            (!here && !self.past.contains(address)).then(|| named(name, *address))
        };
        match &self.setup.expected {
            Some(expected) => expected.iter().filter_map(absent).collect(),
            None => Vec::new(),
        }
    }

    /// Looks at the clock, and at what follows from what happened.
    fn look(&mut self, now: Instant) {
        self.expire(now);
        self.gate(now);
        self.mend(now);
        self.begin();
        self.bound();
        self.let_go(now);
        self.finish();
    }

    fn fail(&mut self, failure: Failure) {
        let reason = failure.to_string();
        for conn in std::mem::take(&mut self.conns).into_keys() {
            if let Some(node) = self.nodes.iter().find(|node| node.conn == conn)
                && node.own
            {
                let word = FromServer::Reason(reason.clone()).emit(node.layout);
                self.actions.push_back(Action::Send(conn, word));
            }
            self.actions.push_back(Action::Close(conn));
        }
        for node in &mut self.nodes {
            if node.fate == Fate::Working {
                node.fate = Fate::Lost("the session ended without it".to_owned());
            }
        }
        self.phase = Phase::Done(Outcome::Failed(failure));
    }
}

/// A name with its address, where they differ.
fn named(name: &str, address: Ipv4Addr) -> String {
    let address = address.to_string();
    if name.is_empty() || name == address {
        return address;
    }
    format!("{name} ({address})")
}
