//! A whole ring in memory: our machines ([`ours`]) and models of dolly 0.57 ([`old`]),
//! links that deliver in random pieces and random order, a clock that only moves when
//! nothing else can.

mod old;
mod ours;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use goldring_wire::dolly::config::Config;
use goldring_wire::dolly::flow::Intake;
use goldring_wire::dolly::hearing::{Heard, Hearing};
use goldring_wire::dolly::identity::Own;
use goldring_wire::dolly::node::{self, Link, Node};
use goldring_wire::dolly::opening::Opening;
use goldring_wire::dolly::server::{self, Server};
use goldring_wire::dolly::{Failure, topology};

/// Which program a computer runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Program {
    Ours,
    /// A model of dolly 0.57: blocking reads of whole blocks, the total after the data.
    Classic,
}

/// What a test wants.
#[derive(Debug, Clone)]
pub(crate) struct Story {
    pub(crate) server: Program,
    pub(crate) clients: Vec<Program>,
    pub(crate) fanout: usize,
    pub(crate) size: usize,
    /// The server learns its total only at the end of the input.
    pub(crate) pipe: bool,
    /// How parents begin, with the dialect.
    pub(crate) opening: Opening,
    /// This client dies after so many bytes.
    pub(crate) dies: Option<(usize, u64)>,
    /// This client's disk fails when it syncs at the end.
    pub(crate) ill: Option<usize>,
    pub(crate) seed: u64,
}

/// One parent's connections to one child.
#[derive(Debug, Default)]
struct Edge {
    connected: bool,
    wanted: bool,
    down: VecDeque<u8>,
    up: VecDeque<u8>,
    data: VecDeque<u8>,
    /// The parent half-closed the data connection.
    fin: bool,
    parent_gone: bool,
    child_gone: bool,
    /// Who has been told that the other end is gone.
    told: (bool, bool),
}

#[derive(Debug)]
enum Client {
    /// Has read a part of its configuration.
    Reading(Hearing),
    Ours(Box<Node>, Intake),
    Classic(old::Client),
    Dead,
}

#[derive(Debug)]
enum Golden {
    Ours(Box<Server>),
    Classic(old::Server),
}

pub(crate) struct Ring {
    story: Story,
    config: Config,
    now: Instant,
    begin: Instant,
    random: u64,
    edges: Vec<Edge>,
    clients: Vec<Client>,
    golden: Golden,
    pub(crate) input: Vec<u8>,
    fed: usize,
    started: bool,
    /// Has everything, and passed it on.
    complete: Vec<bool>,
    /// Is writing the last of it to its disk.
    syncing: Vec<bool>,
    pub(crate) disks: Vec<Vec<u8>>,
    pub(crate) failures: Vec<Option<Failure>>,
    pub(crate) golden_failure: Option<Failure>,
    pub(crate) golden_done: bool,
}

#[derive(Debug, Clone, Copy)]
enum Move {
    Connect(usize),
    Up(usize),
    Down(usize),
    Data(usize),
    Synced(usize),
    Feed,
}

impl Ring {
    pub(crate) fn new(story: Story) -> Self {
        let names: Vec<String> = (1..=story.clients.len()).map(|i| format!("n{i}")).collect();
        let text = format!(
            "infile /i\noutfile /o\nfanout {}\nserver n0\nfirstclient {}\nlastclient {}\nclients {}\n{}\nendconfig\n",
            story.fanout,
            names[0],
            names[names.len() - 1],
            names.len(),
            names.join("\n")
        );
        let config = Config::parse(&text).unwrap();
        let dialect = story.opening.dialect;
        let config = config.into_dialect(dialect, "n0").unwrap();
        let n = names.len();
        let begin = Instant::now();
        let children = topology::of_server(n, story.fanout).len();
        let mut edges: Vec<Edge> = (0..n).map(|_| Edge::default()).collect();
        edges
            .iter_mut()
            .take(children)
            .for_each(|edge| edge.wanted = true);
        let golden = match story.server {
            Program::Ours => Golden::Ours(Box::new(Server::new(
                server::Setup {
                    offers: false,
                    clients: config.clients.clone(),
                    children,
                    text: config.text().unwrap().bytes,
                    total: (!story.pipe).then_some(story.size as u64),
                    opening: story.opening.clone(),
                    give_up: None,
                    count_wait: Duration::from_secs(900),
                },
                begin,
            ))),
            Program::Classic => Golden::Classic(old::Server::default()),
        };
        Self {
            input: (0..story.size).map(|i| (i * 7 + i / 251) as u8).collect(),
            random: story.seed | 1,
            complete: vec![false; n],
            syncing: vec![false; n],
            disks: vec![Vec::new(); n],
            failures: vec![None; n],
            clients: story
                .clients
                .iter()
                .map(|_| Client::Reading(Hearing::new(story.opening.password.clone(), None)))
                .collect(),
            golden_failure: None,
            golden_done: false,
            fed: 0,
            started: false,
            now: begin,
            begin,
            edges,
            golden,
            config,
            story,
        }
    }

    /// Runs until nothing can happen any more, time included.
    pub(crate) fn run(&mut self) {
        loop {
            let moves = self.moves();
            if moves.is_empty() {
                if self.wait() {
                    continue;
                }
                return;
            }
            let next = moves[self.below(moves.len())];
            self.make(next);
        }
    }

    /// How much virtual time went by.
    pub(crate) fn elapsed(&self) -> Duration {
        self.now - self.begin
    }

    pub(crate) fn all_copied(&self) -> bool {
        self.disks.iter().all(|disk| *disk == self.input)
    }

    fn below(&mut self, n: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random % n as u64) as usize
    }

    fn children(&self, client: usize) -> Vec<usize> {
        self.config.children_of(client).collect()
    }

    fn moves(&self) -> Vec<Move> {
        let mut moves = Vec::new();
        for (i, edge) in self.edges.iter().enumerate() {
            let alive = !edge.child_gone && !edge.parent_gone;
            if edge.wanted && !edge.connected && alive {
                moves.push(Move::Connect(i));
            }
            if self.parent_listens(i) && (!edge.up.is_empty() || (edge.child_gone && !edge.told.0))
            {
                moves.push(Move::Up(i));
            }
            if self.child_listens(i)
                && (!edge.down.is_empty() || (edge.parent_gone && !edge.told.1))
            {
                moves.push(Move::Down(i));
            }
            if self.child_reads(i) && (!edge.data.is_empty() || self.blocked_at_end(i)) {
                moves.push(Move::Data(i));
            }
            if self.syncing[i] {
                moves.push(Move::Synced(i));
            }
        }
        if self.started && self.fed < self.input.len() && self.golden_failure.is_none() {
            moves.push(Move::Feed);
        }
        moves
    }

    fn parent_of(&self, client: usize) -> Option<usize> {
        topology::parent(client, self.story.fanout)
    }

    fn parent_listens(&self, i: usize) -> bool {
        match self.parent_of(i) {
            None => self.golden_failure.is_none(),
            Some(p) => match &self.clients[p] {
                // It goes when it has reported.
                Client::Ours(machine, _) => !machine.is_done(),
                // After its loop it waits for counts; inside, not while a read blocks.
                Client::Classic(c) => c.joined && c.block.is_none(),
                Client::Reading(_) | Client::Dead => false,
            },
        }
    }

    fn child_listens(&self, i: usize) -> bool {
        match &self.clients[i] {
            Client::Reading(_) => true,
            Client::Ours(machine, _) => !machine.is_done(),
            Client::Classic(c) => c.block.is_none() && c.total.is_none(),
            Client::Dead => false,
        }
    }

    fn child_reads(&self, i: usize) -> bool {
        match &self.clients[i] {
            Client::Ours(_, intake) => intake.room() > 0,
            Client::Classic(c) => c.joined && !c.left,
            Client::Reading(_) | Client::Dead => false,
        }
    }

    /// An old client inside a blocking read that the end of the data wakes.
    fn blocked_at_end(&self, i: usize) -> bool {
        let blocked = matches!(&self.clients[i], Client::Classic(c) if c.block.is_some());
        blocked && self.edges[i].fin
    }

    fn make(&mut self, next: Move) {
        match next {
            Move::Connect(i) => {
                self.edges[i].connected = true;
                match self.parent_of(i) {
                    None => self.golden_connected(i),
                    Some(p) => self.client_connected(p, i),
                }
            }
            Move::Up(i) => {
                let parent = self.parent_of(i);
                let classic = parent.is_some_and(|p| matches!(self.clients[p], Client::Classic(_)));
                // Messages are written whole and short, so a read gives whole ones. An old
                // client with two children would mix up pieces.
                let bytes = if classic {
                    self.edges[i].up.drain(..).collect()
                } else {
                    self.take(i, |edge| &mut edge.up)
                };
                if bytes.is_empty() {
                    self.edges[i].told.0 = true;
                }
                match self.parent_of(i) {
                    None => self.golden_hears(i, &bytes),
                    Some(p) => self.client_hears_child(p, i, &bytes),
                }
            }
            Move::Down(i) => {
                let bytes = self.take(i, |edge| &mut edge.down);
                if bytes.is_empty() {
                    self.edges[i].told.1 = true;
                }
                self.client_hears_parent(i, &bytes);
            }
            Move::Data(i) => self.client_reads(i),
            Move::Synced(i) => self.node_synced(i),
            Move::Feed => self.feed(),
        }
    }

    /// A random piece from the front of a queue; empty when only its end is left.
    fn take(&mut self, i: usize, queue: impl Fn(&mut Edge) -> &mut VecDeque<u8>) -> Vec<u8> {
        let len = queue(&mut self.edges[i]).len();
        if len == 0 {
            return Vec::new();
        }
        let most = if self.below(3) == 0 { len } else { len.min(37) };
        let n = 1 + self.below(most);
        queue(&mut self.edges[i]).drain(..n).collect()
    }

    // --- the golden node ---

    fn golden_connected(&mut self, i: usize) {
        match &mut self.golden {
            Golden::Ours(_) => self.golden_input(server::Input::Connected(i)),
            Golden::Classic(_) => self.old_golden_connected(),
        }
    }

    fn golden_hears(&mut self, i: usize, bytes: &[u8]) {
        match &mut self.golden {
            Golden::Ours(_) if bytes.is_empty() => self.golden_input(server::Input::Closed(i)),
            Golden::Ours(_) => self.golden_input(server::Input::Received(i, bytes)),
            Golden::Classic(_) => self.old_golden_hears(bytes),
        }
    }

    fn feed(&mut self) {
        let left = self.input.len() - self.fed;
        let mut n = if left == 0 {
            0
        } else {
            1 + self.below(left.min(9000))
        };
        let ours = matches!(self.golden, Golden::Ours(_));
        if !ours || self.story.pipe {
            // Whole blocks, as dolly reads them, but for the last.
            n = left.min(4096);
            if ours && n < 4096 && n > 0 {
                self.golden_input(server::Input::Total(self.input.len() as u64));
            }
        }
        let children = topology::of_server(self.edges.len(), self.story.fanout);
        let bytes = self.input[self.fed..self.fed + n].to_vec();
        self.fed += n;
        for i in children.clone() {
            self.edges[i].data.extend(&bytes);
        }
        if self.fed < self.input.len() {
            return;
        }
        for i in children.clone() {
            self.edges[i].fin = true;
        }
        if ours {
            if self.story.pipe && self.input.len().is_multiple_of(4096) {
                self.golden_input(server::Input::Total(self.input.len() as u64));
            }
            self.golden_input(server::Input::Sent);
        } else {
            for i in children {
                self.edges[i]
                    .down
                    .extend((self.input.len() as u64).to_le_bytes());
            }
        }
    }

    // --- the clients ---

    fn client_connected(&mut self, p: usize, i: usize) {
        if let Client::Ours(..) = self.clients[p] {
            let k = self.children(p).iter().position(|c| *c == i).unwrap();
            self.node_input(p, node::Input::Connected(k));
        } else {
            self.old_client_joins(p);
        }
    }

    fn client_hears_parent(&mut self, i: usize, bytes: &[u8]) {
        match &mut self.clients[i] {
            Client::Reading(_) if bytes.is_empty() => self.die(i),
            Client::Reading(hearing) => {
                let heard = hearing.push(bytes).unwrap();
                if let Heard::Answer(answer) = &heard {
                    self.edges[i].up.extend(answer);
                }
                let mut complete = heard == Heard::Complete;
                if self.story.clients[i] == Program::Classic {
                    // It takes what one read gives: never less than the text.
                    let rest: Vec<u8> = self.edges[i].down.drain(..).collect();
                    complete |= hearing.push(&rest).unwrap() == Heard::Complete;
                }
                if complete {
                    let text = hearing.text().to_vec();
                    let config = hearing.config().unwrap();
                    self.configured(i, &config, text);
                }
            }
            Client::Ours(..) if bytes.is_empty() => {
                self.node_input(i, node::Input::Closed(Link::Parent));
            }
            Client::Ours(..) => self.node_input(i, node::Input::Received(Link::Parent, bytes)),
            Client::Classic(_) if bytes.is_empty() => self.die(i),
            Client::Classic(_) => self.old_client_hears_parent(i, bytes),
            Client::Dead => {}
        }
    }

    fn configured(&mut self, i: usize, config: &Config, text: Vec<u8>) {
        let own = Own {
            names: vec![self.config.clients[i].clone()],
            addresses: vec![],
        };
        let place = own.find(config).unwrap();
        assert_eq!(place.index, i);
        let children = self.children(i);
        if self.story.clients[i] == Program::Classic {
            self.old_client_configured(i, &place.name, text);
        } else {
            let setup = node::Setup {
                own: true,
                name: place.name,
                parent: self
                    .parent_of(i)
                    .map_or("n0".into(), |p| config.clients[p].clone()),
                children: children
                    .iter()
                    .map(|c| config.clients[*c].clone())
                    .collect(),
                text,
                opening: self.story.opening.clone(),
                ring_wait: Duration::from_secs(3600),
                count_wait: Duration::from_secs(900),
            };
            self.clients[i] = Client::Ours(Box::new(Node::new(setup, self.now)), Intake::new(1));
            self.node_input(i, node::Input::Opened);
        }
        for c in children {
            self.edges[c].wanted = true;
        }
    }

    fn client_hears_child(&mut self, p: usize, i: usize, bytes: &[u8]) {
        let children = self.children(p);
        if let Client::Ours(..) = self.clients[p] {
            let k = children.iter().position(|c| *c == i).unwrap();
            let link = Link::Child(k);
            if bytes.is_empty() {
                self.node_input(p, node::Input::Closed(link));
            } else {
                self.node_input(p, node::Input::Received(link, bytes));
            }
            return;
        }
        self.old_client_hears_child(p, bytes);
    }

    fn client_reads(&mut self, i: usize) {
        if let Client::Ours(..) = self.clients[i] {
            self.node_reads(i);
        } else {
            self.old_client_reads(i);
        }
    }

    fn die(&mut self, i: usize) {
        self.clients[i] = Client::Dead;
        self.syncing[i] = false;
        self.edges[i].child_gone = true;
        self.drop_children(Some(i));
    }

    fn drop_children(&mut self, of: Option<usize>) {
        for i in 0..self.edges.len() {
            if self.parent_of(i) == of {
                self.edges[i].parent_gone = true;
            }
        }
    }
}
