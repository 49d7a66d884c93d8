//! Connections: who is a node, who is a stranger, and when there are enough.

use std::net::Ipv4Addr;
use std::time::Instant;

use super::node::{Fate, Node};
use super::{
    Action, ConnId, DataId, Event, Failure, GREET, Late, MISSING_EVERY, NODES_MAX, Outcome,
    PING_EVERY, Phase, Server, UNKNOWN_MAX,
};
use crate::dolly::listed;
use crate::ka::message::{ToClient, ToServer};
use crate::ka::own::{FromClient, FromServer};
use crate::ka::reader::{ClientSaid, OfClient};

#[derive(Debug)]
pub(super) struct Conn {
    from: Ipv4Addr,
    local: Ipv4Addr,
    since: Instant,
    reader: OfClient,
    role: Role,
}

#[derive(Debug)]
enum Role {
    /// It has not said HELLO.
    Stranger,
    /// It has, but takes no data yet.
    Greeted(Box<Node>),
    /// One of the nodes.
    Member,
}

const LATE: &str = "the transfer has begun without it; start it for the next session";

impl Server {
    pub(super) fn asked(&mut self, who: Ipv4Addr) {
        // It asks in all its networks, and may be here before the last question.
        let here = self.nodes.iter().any(|node| node.address == who);
        if !here && self.heard_of.len() < NODES_MAX {
            self.heard_of
                .entry(who)
                .or_insert("asked for the session and did not connect");
        }
    }

    /// It waits at the next session and will not come to this one.
    pub(super) fn asked_next(&mut self, who: Ipv4Addr) {
        let here = self.nodes.iter().any(|node| node.address == who);
        let stranger = match &self.setup.expected {
            Some(expected) => !expected.iter().any(|(_, address)| *address == who),
            None => false,
        };
        if here || stranger || !self.answers() || self.past.len() >= self.wanted_all() {
            return;
        }
        self.heard_of.remove(&who);
        if self.past.insert(who) {
            self.events.push_back(Event::Past(who.to_string()));
        }
    }

    pub(super) fn accepted(
        &mut self,
        now: Instant,
        conn: ConnId,
        (from, local): (Ipv4Addr, Ipv4Addr),
    ) {
        let unknown = |conn: &&Conn| !matches!(conn.role, Role::Member);
        if self.conns.values().filter(unknown).count() >= UNKNOWN_MAX {
            return self.actions.push_back(Action::Close(conn));
        }
        let state = Conn {
            from,
            local,
            since: now,
            reader: OfClient::default(),
            role: Role::Stranger,
        };
        self.conns.insert(conn, state);
    }

    pub(super) fn received(&mut self, now: Instant, conn: ConnId, mut bytes: &[u8]) {
        if let Some(node) = self.node_of(conn) {
            self.nodes[node].heard = now;
        }
        // What is said may close the connection.
        while let Some(state) = self.conns.get_mut(&conn) {
            match state.reader.next(&mut bytes) {
                Ok(Some(said)) => self.said(now, conn, said),
                Ok(None) => return,
                Err(error) => return self.drop_conn(conn, &error.to_string()),
            }
        }
    }

    pub(super) fn closed(&mut self, conn: ConnId) {
        let Some(state) = self.conns.remove(&conn) else {
            return;
        };
        let Some(node) = self.node_of(conn) else {
            if matches!(state.role, Role::Stranger) {
                let why = "it ended before it said anything".to_owned();
                let dropped = Event::Dropped(state.from.to_string(), why);
                self.events.push_back(dropped);
            }
            return;
        };
        self.left(node);
    }

    fn said(&mut self, now: Instant, conn: ConnId, said: ClientSaid) {
        let Some(state) = self.conns.get_mut(&conn) else {
            return;
        };
        match (&mut state.role, said) {
            (Role::Member, said) => {
                let Some(node) = self.node_of(conn) else {
                    return;
                };
                if let Err(why) = self.member_said(now, node, said) {
                    self.drop_conn(conn, why);
                }
            }
            (Role::Stranger, ClientSaid::Plain(ToServer::Hello { own })) => {
                let Some(layout) = state.reader.layout() else {
                    return;
                };
                let mut node = Node::new((conn, now), (state.from, state.local), layout);
                node.own = own;
                state.role = Role::Greeted(Box::new(node));
                if own {
                    let word = FromServer::Welcome.emit(layout);
                    self.actions.push_back(Action::Send(conn, word));
                }
            }
            (Role::Greeted(node), ClientSaid::Plain(ToServer::Options { wait })) => {
                node.wait = wait;
            }
            (Role::Greeted(node), ClientSaid::Own(word)) => {
                if let Err(why) = node.own_word(word) {
                    self.drop_conn(conn, why);
                }
            }
            (Role::Greeted(_), ClientSaid::Plain(ToServer::GoNow)) => self.go_now(now, conn),
            (Role::Greeted(_), ClientSaid::Plain(ToServer::AcceptsData)) => self.join(conn),
            (_, said) => {
                let why = format!("{said:?} before anything else");
                self.drop_conn(conn, &why);
            }
        }
    }

    /// A connection becomes a node.
    fn join(&mut self, conn: ConnId) {
        let Some(address) = self.conns.get(&conn).map(|state| state.from) else {
            return;
        };
        if !self.answers() {
            return self.drop_conn(conn, LATE);
        }
        let mut name = String::new();
        if let Some(expected) = &self.setup.expected {
            let Some((expected, _)) = expected.iter().find(|(_, a)| *a == address) else {
                return self.drop_conn(conn, "it is not one of the nodes of this session");
            };
            name.clone_from(expected);
        }
        if self.nodes.len() >= NODES_MAX {
            return self.drop_conn(conn, "there are too many nodes");
        }
        let state = self.conns.get_mut(&conn);
        let role = state.map(|state| std::mem::replace(&mut state.role, Role::Member));
        let Some(Role::Greeted(mut node)) = role else {
            return;
        };
        // Of one that was never here only the address is known.
        if !name.is_empty() && name != address.to_string() {
            node.name = name;
        }
        // It was switched off and on again, and nobody noticed: an address is one node.
        if let Some(before) = self.nodes.iter().position(|n| n.address == address) {
            let before = self.nodes.remove(before);
            self.conns.remove(&before.conn);
            self.actions.push_back(Action::Close(before.conn));
        }
        self.heard_of.remove(&address);
        // It was started again.
        self.past.remove(&address);
        let who = node.who();
        self.nodes.push(*node);
        let joined = Event::Joined(who, self.nodes.len(), self.wanted());
        self.events.push_back(joined);
    }

    fn go_now(&mut self, now: Instant, conn: ConnId) {
        let from = self.conns.get(&conn).map(|state| state.from);
        let (Some(from), true) = (from, self.answers()) else {
            return self.drop_conn(conn, LATE);
        };
        if self.nodes.is_empty() {
            let why = "it says that it is time to start, but no node is here";
            return self.drop_conn(conn, why);
        }
        self.events.push_back(Event::GoNow(from.to_string()));
        self.build(now);
    }

    /// How many are waited for here.
    fn wanted(&self) -> usize {
        self.wanted_all().saturating_sub(self.past.len())
    }

    fn wanted_all(&self) -> usize {
        match &self.setup.expected {
            Some(expected) => expected.len(),
            None => self.setup.wanted.max(1),
        }
    }

    /// Closes a connection, whoever it is.
    pub(super) fn drop_conn(&mut self, conn: ConnId, why: &str) {
        let Some(state) = self.conns.remove(&conn) else {
            return;
        };
        if let Role::Greeted(node) = &state.role
            && node.own
        {
            let word = FromServer::Reason(why.to_owned()).emit(node.layout);
            self.actions.push_back(Action::Send(conn, word));
        }
        match self.node_of(conn) {
            Some(node) if !self.answers() => return self.lose(node, why.to_owned()),
            Some(node) => {
                let node = self.nodes.remove(node);
                self.heard_of
                    .insert(node.address, "was here and was dropped");
            }
            None => {}
        }
        let dropped = Event::Dropped(state.from.to_string(), why.to_owned());
        self.events.push_back(dropped);
        self.actions.push_back(Action::Close(conn));
    }

    /// A node's control connection has ended.
    fn left(&mut self, node: usize) {
        if self.answers() {
            let node = self.nodes.remove(node);
            self.heard_of.insert(node.address, "was here and has left");
            self.events.push_back(Event::Left(node.who()));
            return;
        }
        if self.nodes[node].fate == Fate::Finished {
            self.nodes[node].fate = Fate::Gone;
            return;
        }
        let why = match self.nodes[node].reason.take() {
            Some(reason) => reason,
            None => "it closed its connection before it had finished".to_owned(),
        };
        self.lose(node, why);
    }

    pub(super) fn node_of(&self, conn: ConnId) -> Option<usize> {
        self.nodes.iter().position(|node| node.conn == conn)
    }

    /// Pings, and what has waited for too long.
    pub(super) fn expire(&mut self, now: Instant) {
        let late = |(id, conn): (&ConnId, &Conn)| {
            let is_late = !matches!(conn.role, Role::Member) && now >= conn.since + GREET;
            is_late.then_some(*id)
        };
        let strangers: Vec<ConnId> = self.conns.iter().filter_map(late).collect();
        for conn in strangers {
            self.drop_conn(conn, "it did not say what it wants");
        }
        // This computer itself was asleep: what the others said is still to be read.
        if now > self.ticked + 2 * PING_EVERY {
            for node in &mut self.nodes {
                node.heard = now;
            }
        }
        self.ticked = now;
        if now < self.pinged + PING_EVERY {
            return;
        }
        self.pinged = now;
        for index in 0..self.nodes.len() {
            if self.nodes[index].is_here() {
                self.ping(index);
            }
        }
        let silent = |node: &Node| node.is_here() && now >= node.heard + self.setup.silence;
        let frozen: Vec<ConnId> = self
            .nodes
            .iter()
            .filter(|n| silent(n))
            .map(|n| n.conn)
            .collect();
        for conn in frozen {
            let seconds = self.setup.silence.as_secs();
            let why = format!("it has answered nothing for {seconds} s; look at it and its cable");
            self.drop_conn(conn, &why);
        }
    }

    pub(super) fn ping(&mut self, node: usize) {
        self.nodes[node].pings += 1;
        self.send(node, ToClient::Ping);
    }

    pub(super) fn send(&mut self, node: usize, message: ToClient) {
        let node = &self.nodes[node];
        let bytes = message.emit(node.layout);
        self.actions.push_back(Action::Send(node.conn, bytes));
    }

    /// Says something that only goldring understands.
    pub(super) fn send_own(&mut self, node: usize, word: &FromServer) {
        let node = &self.nodes[node];
        if node.own {
            let bytes = word.emit(node.layout);
            self.actions.push_back(Action::Send(node.conn, bytes));
        }
    }

    /// Whether there are enough, or the time is over.
    pub(super) fn gate(&mut self, now: Instant) {
        let Phase::Gathering { since, told } = self.phase else {
            return;
        };
        if self.nodes.len() >= self.wanted() {
            if self.nodes.is_empty() {
                self.phase = Phase::Done(Outcome::Needless);
                return;
            }
            return self.build(now);
        }
        let over = now.duration_since(since) >= self.setup.patience;
        if !over && now < told + MISSING_EVERY {
            return;
        }
        self.phase = Phase::Gathering { since, told: now };
        let here: Vec<String> = self.nodes.iter().map(Node::who).collect();
        let missing = self.missing();
        let event = Event::Missing(here.clone(), self.wanted(), missing.clone());
        self.events.push_back(event);
        if !over {
            return;
        }
        if self.setup.late == Late::GoOn && !self.nodes.is_empty() {
            return self.build(now);
        }
        self.fail(Failure::Missing {
            here: here.len(),
            wanted: self.wanted(),
            seconds: self.setup.patience.as_secs(),
            who: if here.is_empty() {
                "nobody".to_owned()
            } else {
                listed(&here)
            },
            missing: listed(&missing),
        });
    }

    /// What is known of those who are not here.
    fn missing(&self) -> Vec<String> {
        if self.setup.expected.is_some() {
            return self.absent();
        }
        let mut missing: Vec<String> = self
            .heard_of
            .iter()
            .map(|(who, what)| format!("{who} {what}"))
            .collect();
        let unknown = self
            .wanted()
            .saturating_sub(self.nodes.len() + missing.len());
        match unknown {
            0 => {}
            1 => missing.push("1 that was never heard of".to_owned()),
            n => missing.push(format!("{n} that were never heard of")),
        }
        missing
    }

    /// A data connection to the server.
    pub(super) fn called(&mut self, now: Instant, data: DataId, from: Ipv4Addr) {
        let child = self.child_on_its_way(from, super::node::Seat::Server);
        let Some(child) = child else {
            self.actions.push_back(Action::Drop(data));
            let why = "it is not expected on the data port".to_owned();
            let dropped = Event::Dropped(from.to_string(), why);
            return self.events.push_back(dropped);
        };
        self.nodes[child].data = Some(data);
        self.arrived(now, child);
    }
}

impl Node {
    /// What a goldring says of itself.
    pub(super) fn own_word(&mut self, word: FromClient) -> Result<(), &'static str> {
        if !self.own {
            return Err("it says words of goldring and is none");
        }
        match word {
            FromClient::Name(name) if self.name.is_empty() => self.name = name,
            FromClient::Name(_) | FromClient::Cannot(_) => {}
            FromClient::Keeps(bytes) => self.keeps = bytes,
            FromClient::Got(stream) => self.got = Some(stream),
            FromClient::Reason(text) => self.reason = Some(text),
        }
        Ok(())
    }
}
