//! Our machines, and what their drivers do: bytes on links, events, data passed on.

use std::time::Duration;

use goldring_wire::dolly::flow::Intake;
use goldring_wire::dolly::node::{self, Link};
use goldring_wire::dolly::{Failure, server};

use super::{Client, Edge, Golden, Ring};

impl Ring {
    /// Lets a second or less go by, until somebody who pauses goes on.
    pub(super) fn wait(&mut self) -> bool {
        let mut all = Vec::new();
        if let Golden::Ours(machine) = &self.golden {
            all.push((None, machine.poll_timeout()));
        }
        for (i, client) in self.clients.iter().enumerate() {
            if let Client::Ours(machine, _) = client {
                all.push((Some(i), machine.poll_timeout()));
            }
        }
        let next = all.iter().filter_map(|(_, at)| *at).min();
        let Some(next) = next.filter(|at| *at < self.now + Duration::from_secs(1)) else {
            return false;
        };
        self.now = next;
        for (who, at) in all {
            match who {
                _ if at.is_none_or(|at| at > next) => {}
                None => self.golden_input(server::Input::Tick),
                Some(i) => self.node_input(i, node::Input::Tick),
            }
        }
        true
    }

    pub(super) fn golden_input(&mut self, input: server::Input<'_>) {
        let Golden::Ours(machine) = &mut self.golden else {
            return;
        };
        if let Err(failure) = machine.handle(self.now, input) {
            self.golden_failure = Some(failure);
            self.drop_children(None);
            return;
        }
        while let Some(t) = machine.poll_transmit() {
            self.edges[t.to].down.extend(t.bytes);
        }
        let mut begins = false;
        while let Some(event) = machine.poll_event() {
            match event {
                server::Event::Start => begins = true,
                server::Event::Reconnect(i) => {
                    self.edges[i] = Edge {
                        wanted: true,
                        ..Edge::default()
                    };
                }
                server::Event::Done => self.golden_done = true,
                _ => {}
            }
        }
        if begins {
            self.started = true;
            self.feed();
        }
    }

    pub(super) fn node_input(&mut self, i: usize, input: node::Input<'_>) {
        let children = self.children(i);
        let Client::Ours(machine, _) = &mut self.clients[i] else {
            return;
        };
        let result = machine.handle(self.now, input);
        if let Err(failure) = result {
            return self.node_fails(i, failure);
        }
        self.node_says(i);
        let Client::Ours(machine, intake) = &mut self.clients[i] else {
            return;
        };
        let mut long = false;
        while let Some(event) = machine.poll_event() {
            match event {
                node::Event::Total(total) => long |= !intake.set_total(total),
                node::Event::Reconnect(k) => {
                    self.edges[children[k]] = Edge {
                        wanted: true,
                        ..Edge::default()
                    };
                }
                _ => {}
            }
        }
        assert!(!long, "more data than the total");
        self.pass_on(i);
    }

    fn node_says(&mut self, i: usize) {
        let children = self.children(i);
        let Client::Ours(machine, _) = &mut self.clients[i] else {
            return;
        };
        while let Some(t) = machine.poll_transmit() {
            match t.to {
                Link::Parent => self.edges[i].up.extend(t.bytes),
                Link::Child(k) => self.edges[children[k]].down.extend(t.bytes),
            }
        }
    }

    fn node_fails(&mut self, i: usize, failure: Failure) {
        if let Client::Ours(machine, _) = &mut self.clients[i] {
            machine.last_words(&failure);
        }
        self.node_says(i);
        self.failures[i] = Some(failure);
        self.die(i);
    }

    /// The disk has everything, or not.
    pub(super) fn node_synced(&mut self, i: usize) {
        self.syncing[i] = false;
        if self.story.ill == Some(i) {
            return self.node_fails(i, Failure::Here("writing /o failed".to_owned()));
        }
        let bytes = self.disks[i].len() as u64;
        self.node_input(i, node::Input::Stored(bytes));
    }

    pub(super) fn node_reads(&mut self, i: usize) {
        let Client::Ours(_, intake) = &self.clients[i] else {
            return;
        };
        let room = usize::try_from(intake.room()).unwrap_or(usize::MAX);
        let most = self.edges[i].data.len().min(room).min(5000);
        let n = 1 + self.below(most);
        let bytes: Vec<u8> = self.edges[i].data.drain(..n).collect();
        self.disks[i].extend(&bytes);
        let Client::Ours(_, intake) = &mut self.clients[i] else {
            return;
        };
        intake.add(n as u64);
        let received = intake.received();
        if self
            .story
            .dies
            .is_some_and(|(who, at)| who == i && received >= at)
        {
            self.die(i);
            return;
        }
        self.node_input(i, node::Input::Data);
        self.pass_on(i);
    }

    fn pass_on(&mut self, i: usize) {
        let children = self.children(i);
        let Client::Ours(machine, intake) = &mut self.clients[i] else {
            return;
        };
        let n = usize::try_from(intake.sendable()).unwrap();
        let end = usize::try_from(intake.received()).unwrap();
        let start = self.disks[i].len().min(end) - usize::try_from(waiting(intake)).unwrap();
        for &c in &children {
            self.edges[c].data.extend(&self.disks[i][start..start + n]);
        }
        intake.pass(n as u64);
        let complete = intake.is_complete() && machine.has_started() && !machine.is_done();
        if intake.is_complete() {
            for c in children {
                self.edges[c].fin = true;
            }
        }
        if complete && !std::mem::replace(&mut self.complete[i], true) {
            self.syncing[i] = true;
        }
    }
}

fn waiting(intake: &Intake) -> u64 {
    intake.received() - intake.passed()
}
