//! What a ring tells the person in front of it.

use std::fmt;
use std::time::Duration;

use goldring_wire::dolly::{Failure, listed};

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

/// The line for a person.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Waiting { left } => {
                f.write_str("waiting for the golden node (ports 9997 and 9998)")?;
                left.map_or(Ok(()), |left| write!(f, ", {} s left", left.as_secs()))
            }
            Self::Dropped { peer, why } => write!(f, "{peer} {why}; still waiting"),
            Self::Config {
                peer,
                output,
                place,
                of,
                children,
            } => {
                let next = if children.is_empty() {
                    "nobody".to_owned()
                } else {
                    listed(children)
                };
                write!(
                    f,
                    "{peer} calls: this is node {place} of {of}, it writes {output} and feeds {next}"
                )
            }
            Self::Connected(name) => write!(f, "{name} answers"),
            Self::Got(name) => write!(f, "{name} has the configuration"),
            Self::Ready(name, n, of) => write!(f, "{name} is ready, {n} of {of}"),
            Self::Missing(names, why) => {
                write!(f, "still waiting for {}", listed(names))?;
                why.as_ref().map_or(Ok(()), |why| write!(f, " ({why})"))
            }
            Self::Joined => f.write_str("in the ring; waiting until everybody is"),
            Self::Started(Some(total)) => {
                write!(f, "the ring is complete, {total} bytes to come")
            }
            Self::Started(None) => f.write_str("the ring is complete, data to come"),
            Self::Progress(done, _) => write!(f, "{done} bytes moved"),
            Self::Stored => f.write_str("done here, waiting for the others"),
            Self::Counted(name, n) => write!(f, "{name} has stored {n} bytes"),
            Self::Note(line) => f.write_str(line),
        }
    }
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
