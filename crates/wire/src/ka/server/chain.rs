//! The tree: building it, attaching nodes to their parents, and mending it.

use std::net::Ipv4Addr;
use std::time::Instant;

use super::node::{Fate, Link, Node, Seat};
use super::{ATTACH, Action, DataId, Event, Failure, LEAVES_ASKED, Lead, PROBE, Phase, Server};
use crate::ka::message::{Report, ToClient, ToServer};
use crate::ka::own::{Compared, FromClient, FromServer};
use crate::ka::reader::ClientSaid;
use crate::ka::{OLD_HISTORY, REPORT_EVERY, tree};

/// How often a node may lose a parent that lives without getting on.
const STUMBLES: u32 = 5;
/// After so many the ancestor above is tried.
const STUMBLES_HERE: u32 = 2;

const NONSENSE: &str = "it sent what no ka client sends now";

impl Server {
    /// Gives everybody a parent.
    pub(super) fn build(&mut self, now: Instant) {
        self.nodes.sort_by_key(|node| node.address);
        let parents = tree::parents(self.nodes.len(), self.setup.arity);
        for (node, parent) in self.nodes.iter_mut().zip(&parents) {
            node.parent = parent.map_or(Seat::Server, Seat::Node);
        }
        let leaves = (0..self.nodes.len()).filter(|i| self.is_leaf(*i)).count();
        self.lead = match self.setup.lead {
            Lead::Unbounded => false,
            Lead::Bounded => true,
            Lead::WhenFew => leaves <= LEAVES_ASKED,
        };
        self.phase = Phase::Building;
        let pair = |node: &Node| (node.who(), self.seat_name(node.parent));
        let pairs = self.nodes.iter().map(pair).collect();
        self.events.push_back(Event::Tree(pairs));
        for node in 0..self.nodes.len() {
            self.tell_parent(now, node);
            self.ask_leaf(node);
        }
    }

    fn seat_name(&self, seat: Seat) -> String {
        match seat {
            Seat::Server => "the server".to_owned(),
            Seat::Node(node) => self.nodes[node].who(),
        }
    }

    fn is_leaf(&self, index: usize) -> bool {
        let below = |node: &Node| node.parent == Seat::Node(index) && node.is_working();
        !self.nodes.iter().any(below)
    }

    /// The last nodes say how far they are, so that the source can wait for them.
    fn ask_leaf(&mut self, index: usize) {
        let node = &self.nodes[index];
        if self.lead && !node.reports && node.is_working() && self.is_leaf(index) {
            self.nodes[index].reports = true;
            self.send(index, ToClient::ReportPosition(Report::Regularly));
            // It reports what it gets from now on, and the source may be waiting for it.
            if matches!(self.phase, Phase::Flowing) {
                self.ask_position(index);
            }
        }
    }

    fn tell_parent(&mut self, now: Instant, index: usize) {
        let address = match self.nodes[index].parent {
            Seat::Server => self.nodes[index].server,
            Seat::Node(parent) => self.nodes[parent].address,
        };
        self.nodes[index].link = Link::Told(now);
        self.send(index, ToClient::Parent(address));
    }

    /// A node that connects to `seat` from this address because it was told to.
    pub(super) fn child_on_its_way(&self, address: Ipv4Addr, seat: Seat) -> Option<usize> {
        self.nodes.iter().position(|node| {
            node.address == address
                && node.parent == seat
                && node.is_working()
                && matches!(node.link, Link::Told(_))
        })
    }

    /// A node is connected to its parent and has to say from where on it needs data.
    pub(super) fn arrived(&mut self, now: Instant, index: usize) {
        self.ask_position(index);
        // What it reports regularly may be on its way, older than the answer.
        let pong = if self.nodes[index].reports && matches!(self.phase, Phase::Flowing) {
            self.ping(index);
            Some(self.nodes[index].pings)
        } else {
            None
        };
        self.nodes[index].link = Link::Arrived(now, pong);
    }

    fn ask_position(&mut self, index: usize) {
        self.nodes[index].asked += 1;
        self.send(index, ToClient::ReportPosition(Report::Once));
    }

    /// What a node of the tree says.
    pub(super) fn member_said(
        &mut self,
        now: Instant,
        index: usize,
        said: ClientSaid,
    ) -> Result<(), &'static str> {
        let message = match said {
            ClientSaid::Own(FromClient::Cannot(child)) => {
                self.cannot(index, child);
                return Ok(());
            }
            ClientSaid::Own(word) => return self.nodes[index].own_word(word),
            ClientSaid::Plain(message) => message,
        };
        match message {
            ToServer::Pong => {
                self.nodes[index].pongs += 1;
                self.authorise(now, index);
            }
            ToServer::Options { wait } => self.nodes[index].wait = wait,
            ToServer::Position(position) => {
                self.position(index, position)?;
                let node = &mut self.nodes[index];
                node.answered = (node.answered + 1).min(node.asked);
                self.authorise(now, index);
            }
            ToServer::GotClient(child) => self.got_client(now, index, child),
            ToServer::ParentLost { parent, received } => {
                self.position(index, received)?;
                self.parent_lost(index, parent);
            }
            ToServer::Finished => return self.finished(index),
            _ => return Err(NONSENSE),
        }
        Ok(())
    }

    fn position(&mut self, index: usize, position: u64) -> Result<(), &'static str> {
        let most = self.total.map_or(self.head.1, |total| total.bytes);
        // The driver may be behind with what it says of the source, but only a little.
        let node = &mut self.nodes[index];
        if self.total.is_some() && position > most {
            return Err("it says that it has more than was sent");
        }
        if position < node.position {
            return Err("it says that it has less than before");
        }
        node.position = position;
        Ok(())
    }

    /// Somebody has connected to a node, or is served there now.
    fn got_client(&mut self, now: Instant, parent: usize, child: Ipv4Addr) {
        if let Some(child) = self.child_on_its_way(child, Seat::Node(parent)) {
            return self.arrived(now, child);
        }
        let served = self.nodes.iter().position(|node| {
            node.address == child
                && node.parent == Seat::Node(parent)
                && matches!(node.link, Link::Authorised(_))
        });
        if let Some(child) = served {
            return self.served(child);
        }
        let known = |node: &Node| node.address == child;
        if !self.nodes.iter().any(known) {
            let who = self.nodes[parent].who();
            let why = format!("it is not expected on the data port of {who}");
            let dropped = Event::Dropped(child.to_string(), why);
            self.events.push_back(dropped);
        }
    }

    fn served(&mut self, index: usize) {
        self.nodes[index].link = Link::Served;
        if matches!(self.phase, Phase::Flowing) {
            let node = &self.nodes[index];
            let parent = self.seat_name(node.parent);
            let mended = Event::Mended(node.who(), parent, node.position);
            self.events.push_back(mended);
        }
    }

    /// Lets the parent serve a node whose position is known now.
    fn authorise(&mut self, now: Instant, index: usize) {
        let node = &mut self.nodes[index];
        let Link::Arrived(_, pong) = node.link else {
            return;
        };
        let answered = match pong {
            Some(pong) => node.pongs >= pong && node.answered > 0,
            None => node.answered == node.asked,
        };
        if !answered {
            return;
        }
        node.answered = node.asked;
        if !self.has(self.nodes[index].parent, index) {
            return self.cut(index, true);
        }
        let (child, offset) = (self.nodes[index].address, self.nodes[index].position);
        match (self.nodes[index].parent, self.nodes[index].data) {
            (Seat::Node(parent), _) => {
                self.nodes[index].link = Link::Authorised(now);
                self.send(parent, ToClient::AuthChild { child, offset });
            }
            (Seat::Server, Some(data)) => {
                self.actions.push_back(Action::Serve(data, offset));
                self.served(index);
            }
            (Seat::Server, None) => {}
        }
    }

    /// Whether this parent still has what the node lacks.
    fn has(&self, parent: Seat, index: usize) -> bool {
        let offset = self.nodes[index].position;
        match parent {
            Seat::Server => offset >= self.head.0,
            Seat::Node(parent) => self.nodes[parent].covers(offset),
        }
    }

    fn has_room(&self, parent: Seat) -> bool {
        let Seat::Node(parent) = parent else {
            return true;
        };
        let fed = |node: &&Node| {
            node.parent == Seat::Node(parent)
                && node.is_working()
                && !matches!(node.link, Link::Cut { .. } | Link::Ended)
        };
        self.nodes.iter().filter(fed).count() < self.nodes[parent].room()
    }

    /// A goldring has forgotten what a child needs.
    fn cannot(&mut self, parent: usize, child: Ipv4Addr) {
        let child = self.nodes.iter().position(|node| {
            node.address == child && node.parent == Seat::Node(parent) && node.is_attached()
        });
        if let Some(child) = child {
            self.cut(child, true);
        }
    }

    /// A node says that the data connection to its parent has ended.
    fn parent_lost(&mut self, index: usize, parent: Ipv4Addr) {
        let node = &self.nodes[index];
        let current = match node.parent {
            Seat::Server => node.server,
            Seat::Node(parent) => self.nodes[parent].address,
        };
        // It speaks of a parent that it no longer has.
        if current != parent || matches!(node.link, Link::Cut { .. } | Link::Ended | Link::None) {
            return;
        }
        if self.total.is_some_and(|total| total.bytes == node.position) {
            return self.end_of_flow(index);
        }
        let progress = node.position > node.stumbles.1;
        let count = if progress { 1 } else { node.stumbles.0 + 1 };
        let position = node.position;
        self.nodes[index].stumbles = (count, position);
        if count > STUMBLES {
            let why = "its data connections break again and again".to_owned();
            return self.lose(index, why);
        }
        self.cut(index, count > STUMBLES_HERE);
    }

    /// A data connection by which the server feeds somebody is broken.
    pub(super) fn broke(&mut self, data: DataId) {
        let fed = self.nodes.iter().position(|node| node.data == Some(data));
        if let Some(index) = fed {
            self.nodes[index].data = None;
            // Its own word decides: it may have everything.
            if self.total.is_none() && self.nodes[index].is_attached() {
                self.cut(index, false);
            }
        }
    }

    /// Takes a node from its parent; `above`: a new one is looked for further up.
    fn cut(&mut self, index: usize, above: bool) {
        self.detach(index);
        let parent = self.nodes[index].parent;
        if above && let Seat::Node(parent) = parent {
            self.nodes[index].parent = self.nodes[parent].parent;
        } else if above {
            let why =
                "what it lacks is no longer in the memory of anybody; start it again".to_owned();
            return self.lose(index, why);
        }
        // Where it is was said just now, or is asked when it is connected again.
        self.nodes[index].link = Link::Cut {
            own: 0,
            asked: None,
        };
    }

    /// The parent's end of it.
    fn detach(&mut self, index: usize) {
        let child = self.nodes[index].address;
        if let Some(data) = self.nodes[index].data.take() {
            self.actions.push_back(Action::Drop(data));
        }
        if let Seat::Node(parent) = self.nodes[index].parent
            && self.nodes[index].is_attached()
            && self.nodes[parent].is_here()
        {
            // An old client must not hear this of a child that it does not serve yet.
            self.send(parent, ToClient::DropChild(child));
        }
    }

    /// A node is lost; its children are its parent's now.
    pub(super) fn lose(&mut self, index: usize, why: String) {
        if !self.nodes[index].is_here() {
            return;
        }
        let conn = self.nodes[index].conn;
        if self.conns.remove(&conn).is_some() {
            self.send_own(index, &FromServer::Reason(why.clone()));
            self.actions.push_back(Action::Close(conn));
        }
        // A goldring has said FINISHED only after its command had ended well.
        let node = &mut self.nodes[index];
        if node.own && node.fate == Fate::Finished {
            node.fate = Fate::Gone;
            return;
        }
        node.fate = Fate::Lost(why.clone());
        let who = node.who();
        self.events.push_back(Event::Lost(who, why));
        self.detach(index);
        let (above, here) = (self.nodes[index].parent, Seat::Node(index));
        self.nodes[index].link = Link::None;
        for child in 0..self.nodes.len() {
            let node = &mut self.nodes[child];
            if node.parent == here && node.is_working() && node.link != Link::Ended {
                node.parent = above;
                self.orphan(child);
            }
        }
        if let Seat::Node(above) = above {
            self.ask_leaf(above);
        }
    }

    /// The parent of a node is lost. Where the node is decides who can help it.
    fn orphan(&mut self, index: usize) {
        let own = match self.nodes[index].link {
            Link::Cut { own, .. } => own,
            _ if matches!(self.phase, Phase::Building) => 0,
            _ => {
                self.ask_position(index);
                self.nodes[index].asked
            }
        };
        self.nodes[index].link = Link::Cut { own, asked: None };
    }

    /// Sends those who have no parent to one, as soon as it has said that it lives.
    pub(super) fn mend(&mut self, now: Instant) {
        // Losing a node on the way may cut others, and each turn loses one or settles one.
        let mut again = true;
        while std::mem::take(&mut again) {
            for index in 0..self.nodes.len() {
                if self.nodes[index].is_working() {
                    again |= self.mend_one(now, index);
                }
            }
        }
    }

    fn mend_one(&mut self, now: Instant, index: usize) -> bool {
        match self.nodes[index].link {
            Link::Told(at) | Link::Arrived(at, _) | Link::Authorised(at) if now >= at + ATTACH => {
                let parent = self.seat_name(self.nodes[index].parent);
                let seconds = ATTACH.as_secs();
                let why = format!("it was not connected to {parent} within {seconds} s");
                self.lose(index, why);
                true
            }
            Link::Cut { own, asked } => {
                self.nodes[index].answered >= own && self.find_parent(now, index, (own, asked))
            }
            _ => false,
        }
    }

    fn find_parent(
        &mut self,
        now: Instant,
        index: usize,
        (own, asked): (u64, Option<(Instant, u64)>),
    ) -> bool {
        let parent = self.nodes[index].parent;
        if let Seat::Node(above) = parent
            && !self.nodes[above].can_feed()
        {
            self.nodes[index].parent = self.nodes[above].parent;
            self.nodes[index].link = Link::Cut { own, asked: None };
            return true;
        }
        let lives = match (parent, asked) {
            (Seat::Server, _) => true,
            (Seat::Node(parent), None) => {
                self.ask_position(parent);
                let due = self.nodes[parent].asked;
                self.nodes[index].link = Link::Cut {
                    own,
                    asked: Some((now, due)),
                };
                return false;
            }
            (Seat::Node(parent), Some((at, due))) => {
                let lives = self.nodes[parent].answered >= due;
                if !lives && now >= at + PROBE {
                    let why = "it did not say where it is when a child needed it".to_owned();
                    self.lose(parent, why);
                    return true;
                }
                lives
            }
        };
        if !lives {
            return false;
        }
        if self.has_room(parent) && self.has(parent, index) {
            self.tell_parent(now, index);
            return false;
        }
        self.cut(index, true);
        true
    }

    /// Starts the source when everybody is served.
    pub(super) fn begin(&mut self) {
        if !matches!(self.phase, Phase::Building) {
            return;
        }
        let waits = |node: &Node| node.is_working() && node.link != Link::Served;
        if self.nodes.iter().any(waits) || !self.nodes.iter().any(Node::is_here) {
            return;
        }
        self.phase = Phase::Flowing;
        self.events.push_back(Event::Complete);
        self.bound();
        let mut here = self.nodes.iter().filter(|node| node.is_here());
        let compared = match here.all(|node| node.own) {
            true => Compared::BySession,
            false => Compared::ByNobody,
        };
        self.actions.push_back(Action::Start(compared));
    }

    /// How far the source may go so that nobody forgets what a node may need.
    pub(super) fn bound(&mut self) {
        if !self.lead || !matches!(self.phase, Phase::Flowing) || self.total.is_some() {
            return;
        }
        let here = |node: &&Node| node.is_working();
        let last = self.nodes.iter().filter(here).filter(|node| node.reports);
        let Some(last) = last.map(|node| node.position).min() else {
            return;
        };
        let kept = self.nodes.iter().filter(here).map(|node| node.keeps).min();
        let kept = kept.unwrap_or(OLD_HISTORY).min(self.setup.history);
        // A report is up to a MiB old, and memory is given back in pieces.
        let limit = last + kept.saturating_sub(4 * REPORT_EVERY).max(REPORT_EVERY * 2);
        if limit != self.limit && (limit > self.limit || self.limit == u64::MAX) {
            self.limit = limit;
            self.actions.push_back(Action::Limit(limit));
        }
    }

    /// Nobody is left while there was still something to do.
    pub(super) fn nobody(&mut self) {
        let lost = |node: &Node| match &node.fate {
            Fate::Lost(why) => Some(format!("{}: {why}", node.who())),
            _ => None,
        };
        let lost: Vec<String> = self.nodes.iter().filter_map(lost).collect();
        self.fail(Failure::Nobody(crate::dolly::listed(&lost)));
    }
}
