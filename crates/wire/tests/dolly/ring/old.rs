//! Models of dolly 0.57: blocking reads of whole blocks, the total after the data.

use goldring_wire::dolly::config::Dialect;
use goldring_wire::dolly::{lines, topology};

use super::{Golden, Ring};

/// The golden node.
#[derive(Debug, Default)]
pub(super) struct Server {
    ready: usize,
    started: bool,
    counts: usize,
}

/// A client that has read its configuration.
#[derive(Debug, Default)]
pub(super) struct Client {
    config: Vec<u8>,
    pub(super) joined: bool,
    pub(super) total: Option<u64>,
    received: u64,
    /// A blocking read: how much it wants and what it has.
    pub(super) block: Option<(usize, Vec<u8>)>,
    counts: usize,
    pub(super) left: bool,
}

impl Ring {
    pub(super) fn old_golden_connected(&mut self) {
        let n = topology::of_server(self.edges.len(), self.story.fanout).len();
        if self.edges[..n].iter().all(|edge| edge.connected) {
            let text = self.config.to_string();
            for edge in &mut self.edges[..n] {
                edge.down.extend(text.bytes());
            }
        }
    }

    pub(super) fn old_golden_hears(&mut self, bytes: &[u8]) {
        let n = self.edges.len();
        let Golden::Classic(server) = &mut self.golden else {
            return;
        };
        if server.started {
            server.counts += bytes.len();
            let children = topology::of_server(n, self.story.fanout).len();
            self.golden_done = server.counts == 8 * children;
            return;
        }
        // The model is kinder than the original: it counts ends of lines, two for each
        // client, and so never misses a word that was cut.
        server.ready += bytes.iter().filter(|b| **b == b'\n').count();
        if server.ready == 2 * n {
            server.started = true;
            self.started = true;
            self.feed();
        }
    }

    fn old_client(&mut self, i: usize) -> Option<&mut Client> {
        match &mut self.clients[i] {
            super::Client::Classic(client) => Some(client),
            _ => None,
        }
    }

    pub(super) fn old_client_configured(&mut self, i: usize, name: &str, config: Vec<u8>) {
        self.edges[i].up.extend(lines::got(Dialect::Classic, name));
        self.clients[i] = super::Client::Classic(Client {
            config,
            ..Client::default()
        });
        self.old_client_joins(i);
    }

    pub(super) fn old_client_joins(&mut self, i: usize) {
        let children = self.children(i);
        if !children.iter().all(|c| self.edges[*c].connected) {
            return;
        }
        let Some(client) = self.old_client(i) else {
            return;
        };
        client.joined = true;
        let text = client.config.clone();
        for c in children {
            self.edges[c].down.extend(&text);
        }
        let name = self.config.clients[i].clone();
        self.edges[i]
            .up
            .extend(lines::ready(Dialect::Classic, &name));
        self.old_client_ends(i);
    }

    pub(super) fn old_client_hears_parent(&mut self, i: usize, bytes: &[u8]) {
        // It takes what one read gives for the total: keep the eight together.
        let mut total = bytes.to_vec();
        while total.len() < 8 {
            let Some(byte) = self.edges[i].down.pop_front() else {
                break;
            };
            total.push(byte);
        }
        let total = u64::from_le_bytes(total[..8].try_into().unwrap());
        if let Some(client) = self.old_client(i) {
            client.total = Some(total);
        }
        for c in self.children(i) {
            self.edges[c].down.extend(total.to_le_bytes());
        }
        self.old_client_ends(i);
    }

    pub(super) fn old_client_hears_child(&mut self, p: usize, bytes: &[u8]) {
        let children = self.children(p).len();
        let Some(client) = self.old_client(p) else {
            return;
        };
        if bytes.is_empty() {
            return;
        }
        if !client.left {
            self.edges[p].up.extend(bytes);
            return;
        }
        client.counts += bytes.len();
        if client.counts == 8 * children {
            let total = client.received.to_le_bytes();
            self.edges[p].up.extend(total);
        }
    }

    pub(super) fn old_client_reads(&mut self, i: usize) {
        let super::Client::Classic(client) = &mut self.clients[i] else {
            return;
        };
        let left = client.total.map_or(4096, |total| total - client.received);
        let want = usize::try_from(left.min(4096)).unwrap();
        let (want, mut have) = client.block.take().unwrap_or((want, Vec::new()));
        let edge = &mut self.edges[i];
        while have.len() < want {
            match edge.data.pop_front() {
                Some(byte) => have.push(byte),
                None => break,
            }
        }
        if have.len() < want && !edge.parent_gone && !edge.fin {
            client.block = Some((want, have));
            return;
        }
        client.received += have.len() as u64;
        self.disks[i].extend(&have);
        for c in self.children(i) {
            self.edges[c].data.extend(&have);
        }
        self.old_client_ends(i);
    }

    fn old_client_ends(&mut self, i: usize) {
        let leaf = self.children(i).is_empty();
        let Some(client) = self.old_client(i) else {
            return;
        };
        if client.joined && !client.left && client.total == Some(client.received) {
            client.left = true;
            let count = client.received.to_le_bytes();
            if leaf {
                self.edges[i].up.extend(count);
            }
        }
    }
}
