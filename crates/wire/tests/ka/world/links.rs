//! The connections that data flows on: who is fed by whom, from where, and how fast.

use std::net::Ipv4Addr;

use goldring_wire::ka::OLD_HISTORY;
use goldring_wire::ka::client;
use goldring_wire::ka::server::{self, DataId};

use super::{AHEAD, KEPT, Link, Mind, RATE, SERVER, State, What, World, stream};

impl World {
    /// The parent's side closes.
    pub(super) fn end_link(&mut self, id: u64) {
        if let Some(link) = self.links.get_mut(&id)
            && !std::mem::replace(&mut link.ended, true)
        {
            let child = link.child;
            self.post((3, id as usize), What::ParentEnded(child, id));
        }
    }

    pub(super) fn leave_parent(&mut self, index: usize) {
        if let Some(before) = self.peers[index].link.take()
            && let Some(link) = self.links.get(&before)
        {
            let parent = link.parent;
            self.post((2, before as usize), What::HungUp(parent, before));
        }
    }

    pub(super) fn connect(&mut self, index: usize, parent: Ipv4Addr) {
        let parent = match parent {
            SERVER => None,
            address => self.peers.iter().position(|peer| peer.address == address),
        };
        self.next_link += 1;
        let id = self.next_link;
        self.links.insert(
            id,
            Link {
                child: index,
                parent,
                position: None,
                ended: false,
            },
        );
        self.peers[index].link = Some(id);
        self.post((2, id as usize), What::Called(id));
    }

    pub(super) fn serve(&mut self, index: usize, data: DataId, offset: u64) {
        let kept = match self.peers[index].mind {
            Mind::Ours(_) => KEPT,
            Mind::Old(_) => OLD_HISTORY,
        };
        let came = self.peers[index].came;
        if offset + kept < came || offset > came {
            let now = self.now;
            if let Mind::Ours(client) = &mut self.peers[index].mind {
                client.handle(now, client::Input::Forgotten(data));
            }
            return;
        }
        if let Some(link) = self.links.get_mut(&data.0) {
            link.position = Some(offset);
        }
    }

    /// The slowest child of somebody.
    fn slowest(&self, parent: Option<usize>) -> Option<u64> {
        let of = |link: &&Link| link.parent == parent && !link.ended;
        let all = self.links.values().filter(of);
        all.filter_map(|link| link.position).min()
    }

    pub(super) fn move_data(&mut self) {
        if self.started && !self.ended {
            // Nobody reads, nobody is fed: it waits, as the ring does.
            let slowest = self.slowest(None).map_or(self.head, |at| at + AHEAD);
            let most = self.total.min(self.limit).min(slowest);
            self.head = self.head.max((self.head + 2 * RATE).min(most));
            if self.head == self.total {
                self.ended = true;
                self.server_input(server::Input::Ended(stream(self.total)));
            }
        }
        let ids: Vec<u64> = self.links.keys().copied().collect();
        for id in ids {
            self.move_link(id);
        }
        for index in 0..self.peers.len() {
            self.flow_out(index);
        }
    }

    fn move_link(&mut self, id: u64) {
        let link = &self.links[&id];
        let (child, parent) = (link.child, link.parent);
        let (Some(position), false) = (link.position, link.ended) else {
            return;
        };
        let parent_up = parent.is_none_or(|parent| self.peers[parent].state == State::Up);
        if !parent_up || self.peers[child].link != Some(id) {
            return;
        }
        let source = parent.map_or(self.head, |parent| self.peers[parent].came);
        let all_out = parent.map_or(self.ended, |parent| self.peers[parent].flowing_out);
        if self.peers[child].state == State::Up {
            assert_eq!(position, self.peers[child].came, "bytes twice, or left out");
            let ahead = match self.peers[child].mind {
                Mind::Ours(_) => AHEAD,
                Mind::Old(_) => OLD_HISTORY,
            };
            let room = self.slowest(Some(child)).map_or(u64::MAX, |at| at + ahead);
            let now = (position + RATE).min(source).min(room.max(position));
            if let Some(link) = self.links.get_mut(&id) {
                link.position = Some(now);
            }
            if now > position {
                self.came(child, now);
            }
            if all_out && now == source {
                self.end_link(id);
            }
        }
    }

    fn came(&mut self, index: usize, bytes: u64) {
        let now = self.now;
        let peer = &mut self.peers[index];
        peer.came = bytes;
        match &mut peer.mind {
            Mind::Ours(client) => client.handle(now, client::Input::Came(bytes)),
            Mind::Old(old) => old.came(bytes),
        }
        self.flow_peer(index);
    }

    /// A node whose children have everything, and whose command has.
    fn flow_out(&mut self, index: usize) {
        let peer = &self.peers[index];
        let of = |link: &Link| link.parent == Some(index) && link.position.is_some() && !link.ended;
        if peer.state != State::Up || !peer.flowing_out || peer.done {
            return;
        }
        if self.links.values().any(of) {
            return;
        }
        let now = self.now;
        let peer = &mut self.peers[index];
        peer.done = true;
        match &mut peer.mind {
            Mind::Ours(client) => client.handle(now, client::Input::Done),
            Mind::Old(old) => old.done(),
        }
        self.flow_peer(index);
    }
}
