//! A whole session in memory: a server, nodes of both kinds, connections with delays, and
//! a clock that nobody waits for.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use goldring_wire::ka::client::{self, Client};
use goldring_wire::ka::message::{Layout, ToClient};
use goldring_wire::ka::own::Stream;
use goldring_wire::ka::reader::{OfServer, ServerSaid};
use goldring_wire::ka::server::{self, Action, ConnId, DataId, Outcome, Server};

use crate::old::{Death, Old, Wants};

mod links;

/// What the drivers of goldring keep, and how far they read ahead.
pub(crate) const KEPT: u64 = 64 << 20;
const AHEAD: u64 = 16 << 20;
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const STEP: Duration = Duration::from_millis(1);
/// What a link carries in a step, in bytes.
const RATE: u64 = 300_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Up,
    Frozen,
    Dead,
    /// It ended by itself, well or not.
    Left(bool),
}

#[derive(Debug)]
enum Mind {
    Ours(Box<Client>),
    Old(Box<Old>),
}

#[derive(Debug)]
pub(crate) struct Peer {
    mind: Mind,
    pub(crate) address: Ipv4Addr,
    pub(crate) state: State,
    pub(crate) came: u64,
    /// The connection to its parent.
    link: Option<u64>,
    flowing_out: bool,
    done: bool,
    pub(crate) died_of: Option<Death>,
}

#[derive(Debug)]
struct Link {
    child: usize,
    /// `None` is the server.
    parent: Option<usize>,
    /// From where on it is served, and how far that is.
    position: Option<u64>,
    /// The parent has closed its side.
    ended: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Accepted(usize),
    Up(usize, Vec<u8>),
    UpClosed(usize),
    Down(usize, Vec<u8>),
    DownClosed(usize),
    Called(u64),
    Refused(usize, u64),
    HungUp(Option<usize>, u64),
    ParentEnded(usize, u64),
}

pub(crate) struct World {
    pub(crate) now: Instant,
    pub(crate) server: Server,
    pub(crate) peers: Vec<Peer>,
    links: BTreeMap<u64, Link>,
    next_link: u64,
    queue: BinaryHeap<Reverse<(Instant, u64, What)>>,
    /// When the last message of each connection arrives: they do not overtake each other.
    last: BTreeMap<(u8, usize), Instant>,
    seed: u64,
    count: u64,
    started: bool,
    pub(crate) head: u64,
    limit: u64,
    pub(crate) total: u64,
    ended: bool,
    pub(crate) events: Vec<server::Event>,
    /// What the server says to each of them, and of whom it has heard that he is gone.
    words: Vec<OfServer>,
    gone: Vec<bool>,
}

impl World {
    pub(crate) fn new(setup: server::Setup, olds: &[bool], total: u64, seed: u64) -> Self {
        let now = Instant::now();
        let mut world = Self {
            now,
            server: Server::new(setup, now),
            peers: Vec::new(),
            links: BTreeMap::new(),
            next_link: 0,
            queue: BinaryHeap::new(),
            last: BTreeMap::new(),
            seed: seed | 1,
            count: 0,
            started: false,
            head: 0,
            limit: u64::MAX,
            total,
            ended: false,
            events: Vec::new(),
            words: Vec::new(),
            gone: vec![false; olds.len()],
        };
        for (i, old) in olds.iter().enumerate() {
            world.join(i, *old);
        }
        world
    }

    fn random(&mut self, below: u64) -> u64 {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        self.seed % below.max(1)
    }

    fn join(&mut self, index: usize, old: bool) {
        let [high, low] = u16::try_from(index + 10).unwrap().to_be_bytes();
        let wait = self.random(2) == 0;
        let layout = match old {
            true => Layout::ALL[self.random(2) as usize],
            false => Layout::A32,
        };
        self.words.push(OfServer::new(layout));
        let mind = if old {
            Mind::Old(Box::new(Old::new(layout, wait)))
        } else {
            let setup = client::Setup {
                layout,
                name: String::new(),
                wait,
                keeps: KEPT - AHEAD,
                hold: client::HOLD,
            };
            Mind::Ours(Box::new(Client::new(setup, self.now)))
        };
        self.peers.push(Peer {
            mind,
            address: Ipv4Addr::new(10, 0, high, low),
            state: State::Up,
            came: 0,
            link: None,
            flowing_out: false,
            done: false,
            died_of: None,
        });
        self.post((0, index), What::Accepted(index));
        self.flow_peer(index);
    }

    /// Delivers later; what belongs to one connection stays in order.
    fn post(&mut self, key: (u8, usize), what: What) {
        let delay = Duration::from_micros(100 + self.random(2000));
        let last = self.last.get(&key).copied().unwrap_or(self.now);
        let at = (self.now + delay).max(last + Duration::from_nanos(1));
        self.last.insert(key, at);
        self.count += 1;
        self.queue.push(Reverse((at, self.count, what)));
    }

    /// A process that is killed: its kernel closes everything.
    pub(crate) fn kill(&mut self, index: usize) {
        self.peers[index].state = State::Dead;
        self.close_all(index);
    }

    pub(crate) fn freeze(&mut self, index: usize) {
        self.peers[index].state = State::Frozen;
    }

    fn close_all(&mut self, index: usize) {
        self.post((0, index), What::UpClosed(index));
        let links: Vec<u64> = self.links.keys().copied().collect();
        for id in links {
            let (child, parent) = (self.links[&id].child, self.links[&id].parent);
            if child == index {
                self.post((2, id as usize), What::HungUp(parent, id));
            }
            if parent == Some(index) {
                self.end_link(id);
            }
        }
    }

    /// Lets time pass until all is over.
    pub(crate) fn run(&mut self, limit: Duration) -> Option<Outcome> {
        let end = self.now + limit;
        while self.now < end {
            self.step();
            let settled = self
                .peers
                .iter()
                .all(|peer| !matches!(peer.state, State::Up));
            if let (Some(outcome), true) = (self.server.outcome(), settled) {
                return Some(outcome.clone());
            }
        }
        None
    }

    pub(crate) fn step(&mut self) {
        self.now += STEP;
        while let Some(Reverse((at, ..))) = self.queue.peek()
            && *at <= self.now
        {
            let Some(Reverse((at, _, what))) = self.queue.pop() else {
                return;
            };
            self.deliver(at, what);
        }
        self.move_data();
        self.server_input(server::Input::Tick);
        for index in 0..self.peers.len() {
            if self.peers[index].state == State::Up {
                let now = self.now;
                if let Mind::Ours(client) = &mut self.peers[index].mind {
                    client.handle(now, client::Input::Tick);
                }
                self.flow_peer(index);
            }
        }
    }

    fn deliver(&mut self, at: Instant, what: What) {
        match what {
            What::Accepted(i) => {
                let (conn, from) = (ConnId(i as u64), self.peers[i].address);
                let local = SERVER;
                self.server_at(at, server::Input::Accepted { conn, from, local });
            }
            What::Up(i, bytes) => {
                self.server_at(at, server::Input::Received(ConnId(i as u64), &bytes));
            }
            What::UpClosed(i) => {
                self.gone[i] = true;
                self.server_at(at, server::Input::Closed(ConnId(i as u64)));
            }
            What::Called(id) => self.called(at, id),
            What::HungUp(None, id) => {
                let served = self.links.remove(&id).is_some_and(|link| !link.ended);
                if served {
                    self.server_at(at, server::Input::Broke(DataId(id)));
                }
            }
            What::HungUp(Some(parent), id) => {
                self.links.remove(&id);
                self.peer_at(parent, |mind, _| match mind {
                    Mind::Ours(client) => client.handle(at, client::Input::HungUp(DataId(id))),
                    Mind::Old(old) => old.hung_up(DataId(id)),
                });
            }
            What::Down(i, bytes) => self.peer_at(i, |mind, came| match mind {
                Mind::Ours(client) => {
                    client.handle(at, client::Input::Came(came));
                    client.handle(at, client::Input::Received(&bytes));
                }
                Mind::Old(old) => old.received(&bytes),
            }),
            What::DownClosed(i) => self.peer_at(i, |mind, _| match mind {
                Mind::Ours(client) => client.handle(at, client::Input::Closed),
                Mind::Old(old) => old.die("the server closed"),
            }),
            What::Refused(i, id) if self.peers[i].link == Some(id) => {
                self.peers[i].link = None;
                self.peer_at(i, |mind, _| match mind {
                    Mind::Ours(client) => client.handle(at, client::Input::Refused("no".into())),
                    Mind::Old(old) => old.refused(),
                });
            }
            What::ParentEnded(i, id) if self.peers[i].link == Some(id) => {
                self.peers[i].link = None;
                let parent = self.links.get(&id).and_then(|link| link.parent);
                self.post((2, id as usize), What::HungUp(parent, id));
                self.peer_at(i, |mind, came| match mind {
                    Mind::Ours(client) => {
                        client.handle(at, client::Input::ParentEnded(stream(came)));
                    }
                    Mind::Old(old) => old.parent_ended(),
                });
            }
            What::Refused(..) | What::ParentEnded(..) => {}
        }
    }

    fn called(&mut self, at: Instant, id: u64) {
        let Some(link) = self.links.get(&id) else {
            return;
        };
        let (child, parent) = (link.child, link.parent);
        let from = self.peers[child].address;
        let Some(parent) = parent else {
            return self.server_at(at, server::Input::Called(DataId(id), from));
        };
        match self.peers[parent].state {
            State::Up => self.peer_at(parent, |mind, _| match mind {
                Mind::Ours(client) => client.handle(at, client::Input::Called(DataId(id), from)),
                Mind::Old(old) => old.called(DataId(id), from),
            }),
            // Its kernel takes the connection, and nobody else does.
            State::Frozen => {}
            State::Dead | State::Left(_) => {
                self.links.remove(&id);
                self.post((3, id as usize), What::Refused(child, id));
            }
        }
    }

    fn peer_at(&mut self, index: usize, act: impl FnOnce(&mut Mind, u64)) {
        let peer = &mut self.peers[index];
        if peer.state == State::Up {
            act(&mut peer.mind, peer.came);
            self.flow_peer(index);
        }
    }

    pub(crate) fn server_input(&mut self, input: server::Input<'_>) {
        self.server_at(self.now, input);
    }

    fn server_at(&mut self, at: Instant, input: server::Input<'_>) {
        let oldest = self.head.saturating_sub(KEPT);
        let head = server::Input::Head(oldest, self.head);
        self.server.handle(at, head);
        self.server.handle(at, input);
        while let Some(action) = self.server.poll_action() {
            match action {
                Action::Send(conn, bytes) => {
                    let i = conn.0 as usize;
                    self.leads_to_nobody_who_is_gone(i, &bytes);
                    self.post((1, i), What::Down(i, bytes));
                }
                Action::Close(conn) => {
                    let i = conn.0 as usize;
                    self.post((1, i), What::DownClosed(i));
                }
                Action::Start(_) => self.started = true,
                Action::Limit(limit) => self.limit = limit,
                Action::Serve(data, offset) => {
                    assert!(offset >= oldest, "the server no longer has {offset}");
                    if let Some(link) = self.links.get_mut(&data.0) {
                        link.position = Some(offset);
                    }
                }
                Action::Drop(data) => self.end_link(data.0),
            }
        }
        while let Some(event) = self.server.poll_event() {
            self.events.push(event);
        }
    }

    /// An old node dies of somebody who is gone. The server cannot know of everybody in time, but
    /// whom it knows to be gone it must not name.
    fn leads_to_nobody_who_is_gone(&mut self, to: usize, mut bytes: &[u8]) {
        while let Ok(Some(said)) = self.words[to].next(&mut bytes) {
            let (ServerSaid::Plain(ToClient::Parent(named))
            | ServerSaid::Plain(ToClient::AuthChild { child: named, .. })) = said
            else {
                continue;
            };
            let gone = self.peers.iter().zip(&self.gone);
            let known = gone.filter(|(peer, gone)| peer.address == named && **gone);
            assert_eq!(known.count(), 0, "it names {named}, which is gone, to {to}");
        }
    }

    /// Does what a node wants.
    fn flow_peer(&mut self, index: usize) {
        loop {
            let wants = match &mut self.peers[index].mind {
                Mind::Ours(client) => {
                    while client.poll_event().is_some() {}
                    client.poll_action().map(|action| match action {
                        client::Action::Send(bytes) => Wants::Say(bytes),
                        client::Action::Leave => Wants::LeaveParent,
                        client::Action::Connect(parent) => Wants::Connect(parent),
                        client::Action::Run(_) => Wants::Say(Vec::new()),
                        client::Action::Serve(data, offset) => Wants::Serve(data, offset),
                        client::Action::Drop(data) => Wants::Drop(data),
                        client::Action::EndOfData => Wants::EndOfData,
                    })
                }
                Mind::Old(old) if old.wants.is_empty() => None,
                Mind::Old(old) => Some(old.wants.remove(0)),
            };
            match wants {
                Some(wants) => self.do_it(index, wants),
                None => break,
            }
            if self.peers[index].state != State::Up {
                return;
            }
        }
        if let Mind::Ours(client) = &self.peers[index].mind
            && let Some(outcome) = client.outcome()
        {
            let good = matches!(outcome, client::Outcome::Complete(..));
            if !good {
                self.peers[index].died_of = Some(Death::Other(format!("{outcome:?}")));
            }
            self.peers[index].state = State::Left(good);
            self.close_all(index);
        }
    }

    fn do_it(&mut self, index: usize, wants: Wants) {
        match wants {
            Wants::Say(bytes) if bytes.is_empty() => {}
            Wants::Say(bytes) => self.post((0, index), What::Up(index, bytes)),
            Wants::LeaveParent => self.leave_parent(index),
            Wants::Connect(parent) => {
                self.leave_parent(index);
                self.connect(index, parent);
            }
            Wants::Serve(data, offset) => self.serve(index, data, offset),
            Wants::Drop(data) => self.end_link(data.0),
            Wants::EndOfData => self.peers[index].flowing_out = true,
            Wants::Leave => {
                self.peers[index].state = State::Left(true);
                self.close_all(index);
            }
            Wants::Die(why) => {
                self.peers[index].died_of = Some(why);
                self.peers[index].state = State::Left(false);
                self.close_all(index);
            }
        }
    }
}

/// A digest that differs with the length is enough where bytes are only counted.
fn stream(bytes: u64) -> Stream {
    Stream {
        bytes,
        digest: bytes.wrapping_mul(0x9e37_79b9_7f4a_7c15),
    }
}
