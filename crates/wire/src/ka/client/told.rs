//! What a node tells the person in front of it.

use std::fmt;
use std::net::Ipv4Addr;

/// What there is to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The server is goldring.
    Welcome,
    /// The parent.
    Parent(Ipv4Addr),
    /// A child is served, from this byte on.
    Child(Ipv4Addr, u64),
    /// A connection was closed: whose, and why.
    Dropped(Ipv4Addr, &'static str),
    /// The parent is lost at this byte: it waits for another one.
    ParentLost(u64),
    /// Everything has come.
    EndOfData(u64),
    /// Everything is done; it waits until it may go.
    Finished,
}

/// Why not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The server closed the connection without a word: it may speak the other layout.
    #[error("the server closed the connection at once; is the session already running?")]
    TurnedAway,
    /// The server has gone.
    #[error("the server is gone, and not everything has come; look at its screen")]
    ServerGone,
    /// It says why.
    #[error("the server says: {0}")]
    Said(String),
    /// It says nothing any more.
    #[error("the server has said nothing for {0} s; look at it and its cable")]
    Silent(u64),
    /// It sent what no server sends.
    #[error("the server sent what no ka server sends: {0}")]
    Nonsense(&'static str),
    /// Bytes are missing or changed.
    #[error("what came is not what was sent: {got} bytes of {sent}{how}; start the session again")]
    Damaged {
        /// How many came.
        got: u64,
        /// How many were sent.
        sent: u64,
        /// More about it.
        how: &'static str,
    },
    /// This computer.
    #[error("{0}")]
    Here(String),
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Welcome => f.write_str("the server is goldring: the stream will be checked"),
            Self::Parent(parent) => write!(f, "data comes from {parent}"),
            Self::Child(child, 0) => write!(f, "feeding {child}"),
            Self::Child(child, at) => write!(f, "feeding {child} from byte {at} on"),
            Self::Dropped(who, why) => write!(f, "closed a connection of {who}: {why}"),
            Self::ParentLost(at) => {
                write!(f, "no more data comes after byte {at}, asking the server")
            }
            Self::EndOfData(bytes) => write!(f, "all {bytes} bytes are here"),
            Self::Finished => f.write_str("done here, waiting until this node may go"),
        }
    }
}
