//! What a server tells the person in front of it.

use std::fmt;

use crate::dolly::listed;
use crate::ka::own::Stream;

/// What there is to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A node accepts data: it, and how many of how many are there.
    Joined(String, usize, usize),
    /// A node waits at the next session and needs nothing of this one.
    Past(String),
    /// A node went before the start.
    Left(String),
    /// A connection was closed: whose, and why.
    Dropped(String, String),
    /// Not everybody is there: who is, how many are wanted, what is known of the others.
    Missing(Vec<String>, usize, Vec<String>),
    /// Somebody wants the start now.
    GoNow(String),
    /// Who is fed by whom.
    Tree(Vec<(String, String)>),
    /// Everybody is served; data comes.
    Complete,
    /// A node is lost, and why.
    Lost(String, String),
    /// A node goes on with another parent, at this byte.
    Mended(String, String, u64),
    /// All data was sent to those who are fed from here.
    Ended(Stream),
    /// A node has everything.
    Finished(String),
}

/// Why nobody got the stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Not enough came.
    #[error(
        "{here} of {wanted} nodes are here after {seconds} s ({who}); missing: {missing}; switch them on, or start with those who are here with --partial"
    )]
    Missing {
        /// How many came.
        here: usize,
        /// How many were wanted.
        wanted: usize,
        /// After so long.
        seconds: u64,
        /// Who came.
        who: String,
        /// What is known of the others.
        missing: String,
    },
    /// The source.
    #[error("{0}; nobody was told that the data is complete, start the session again")]
    Source(String),
    /// Nobody is left.
    #[error("no node is left: {0}")]
    Nobody(String),
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Joined(who, n, of) => write!(f, "{who} is here, {n} of {of}"),
            Self::Past(who) => write!(f, "{who} has this already and waits for what comes next"),
            Self::Left(who) => write!(f, "{who} has left before the start"),
            Self::Dropped(who, why) => write!(f, "closed a connection of {who}: {why}"),
            Self::Missing(here, wanted, missing) => {
                write!(f, "{} of {wanted} nodes are here", here.len())?;
                if !missing.is_empty() {
                    write!(f, "; missing: {}", listed(missing))?;
                }
                Ok(())
            }
            Self::GoNow(who) => write!(f, "{who} says that it is time to start"),
            Self::Tree(tree) => {
                let pair = |(child, parent): &(String, String)| format!("{parent} feeds {child}");
                let pairs: Vec<String> = tree.iter().map(pair).collect();
                f.write_str(&listed(&pairs))
            }
            Self::Complete => f.write_str("everybody is connected, data to come"),
            Self::Lost(who, why) => write!(f, "lost {who}: {why}"),
            Self::Mended(child, parent, at) => {
                write!(f, "{child} goes on behind {parent}, at byte {at}")
            }
            Self::Ended(stream) => write!(f, "all {} bytes are read", stream.bytes),
            Self::Finished(who) => write!(f, "{who} has everything"),
        }
    }
}
