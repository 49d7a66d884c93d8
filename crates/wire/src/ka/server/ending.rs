//! The end: who has everything, who may go, and when all is over.

use std::time::Instant;

use super::node::{Fate, Link, Node};
use super::{Event, Outcome, Phase, Server};
use crate::ka::message::ToClient;
use crate::ka::own::{FromServer, Stream};

impl Server {
    /// The source is read to its end, and ended well.
    pub(super) fn ended(&mut self, stream: Stream) {
        if matches!(self.phase, Phase::Flowing) {
            self.head.1 = stream.bytes;
            self.total = Some(stream);
            self.events.push_back(Event::Ended(stream));
        }
    }

    /// A node has seen the real end.
    pub(super) fn end_of_flow(&mut self, index: usize) {
        self.nodes[index].link = Link::Ended;
        if let Some(total) = self.total {
            self.send_own(index, &FromServer::Ended(total));
        }
        self.send(index, ToClient::EndOfFlow);
    }

    /// A node says that it has done everything.
    pub(super) fn finished(&mut self, index: usize) -> Result<(), &'static str> {
        let node = &self.nodes[index];
        let Some(total) = self.total.filter(|_| node.link == Link::Ended) else {
            return Err("it says that it has finished before the data has");
        };
        if node.own && node.got != Some(total) {
            let why = match node.got {
                Some(got) if got.bytes == total.bytes => {
                    "its copy is damaged: the digests differ; clone it again".to_owned()
                }
                got => format!(
                    "it has {} bytes of {}; clone it again",
                    got.map_or(0, |got| got.bytes),
                    total.bytes
                ),
            };
            self.lose(index, why);
            return Ok(());
        }
        if node.is_working() {
            let who = node.who();
            let before = self.nodes.iter().map(|node| node.finished).max();
            self.nodes[index].finished = before.unwrap_or(0) + 1;
            self.nodes[index].fate = Fate::Finished;
            self.events.push_back(Event::Finished(who));
        }
        Ok(())
    }

    /// Lets those go who wait for it: all together, or with `-d` one after the other.
    pub(super) fn let_go(&mut self, now: Instant) {
        let Some(pause) = self.setup.release else {
            if !self.nodes.iter().any(Node::is_working) {
                for index in 0..self.nodes.len() {
                    if self.nodes[index].waits_for_leave() {
                        self.release(index);
                    }
                }
            }
            return;
        };
        while let Some(index) = self.next_to_go() {
            if self.released.is_some_and(|last| now < last + pause) {
                return;
            }
            self.released = Some(now);
            self.release(index);
        }
    }

    /// With `-d`: who finished first of those who wait.
    pub(super) fn next_to_go(&self) -> Option<usize> {
        let waiting = (0..self.nodes.len()).filter(|i| self.nodes[*i].waits_for_leave());
        waiting.min_by_key(|i| self.nodes[*i].finished)
    }

    fn release(&mut self, index: usize) {
        self.nodes[index].released = true;
        self.send(index, ToClient::Finish);
    }

    /// All is over when nobody is here any more.
    pub(super) fn finish(&mut self) {
        if !matches!(self.phase, Phase::Building | Phase::Flowing)
            || self.nodes.iter().any(Node::is_here)
        {
            return;
        }
        match self.total {
            Some(total)
                if self.nodes.iter().any(|node| node.fate.is_good()) || !self.past.is_empty() =>
            {
                self.phase = Phase::Done(Outcome::Sent(total));
            }
            _ => self.nobody(),
        }
    }
}
