//! What a ring tells the person in front of it.

use std::time::Duration;

use goldring_wire::dolly::Failure;

/// Something happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A node listens and nobody came yet.
    Waiting {
        /// How long it goes on, when there is an end.
        left: Option<Duration>,
    },
    /// A connection that is not a ring's was dropped.
    Dropped {
        /// Who.
        peer: String,
        /// Why.
        why: String,
    },
    /// A parent sent a configuration with this node in it.
    Config {
        /// The parent's address.
        peer: String,
        /// What will be written.
        output: String,
        /// This node's place, from 1.
        place: usize,
        /// The number of clients.
        of: usize,
        /// The names of the children.
        children: Vec<String>,
    },
    /// A child answered.
    Connected(String),
    /// A client has read the configuration.
    Got(String),
    /// A client is ready; so many of so many are.
    Ready(String, usize, usize),
    /// Not there yet, with what the last try to reach the first of them gave.
    Missing(Vec<String>, Option<String>),
    /// This node is a member of the ring.
    Joined,
    /// Data moves; how much, when that is known.
    Started(Option<u64>),
    /// So much of so much has moved.
    Progress(u64, Option<u64>),
    /// Everything is stored here; the others are waited for.
    Stored,
    /// A child and everybody below it stored so much.
    Counted(String, u64),
    /// Anything else worth a line.
    Note(String),
}

/// Takes events. Called from one thread, often; must not block for long.
pub trait Reporter {
    /// Something happened.
    fn event(&mut self, event: Event);
}

impl<F: FnMut(Event)> Reporter for F {
    fn event(&mut self, event: Event) {
        self(event);
    }
}

/// What a finished ring did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// How many bytes were copied.
    pub bytes: u64,
    /// From the first byte until everything was stored and counted.
    pub elapsed: Duration,
    /// On a node: everything is stored here, but the ring broke afterwards.
    pub trouble: Option<Failure>,
}
