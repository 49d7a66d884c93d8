//! What goes into a session, what comes out, and what it tells the person in front of it.

use std::fmt;
use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::sync::Arc;

use goldring_wire::ka::{client, server};

/// Ends something that may be blocked.
pub type Stop = Arc<dyn Fn() + Send + Sync>;
/// Says whether all went well, or why not.
pub type Check = Box<dyn FnOnce() -> Result<(), String> + Send>;

/// Where a stream comes from.
pub struct Source {
    /// The bytes.
    pub reader: Box<dyn Read + Send>,
    /// Called after the last one: whether that was really all.
    pub check: Check,
    /// Called when nobody wants it any more.
    pub stop: Stop,
}

/// Where a stream goes.
pub struct Sink {
    /// The bytes; dropped after the last one.
    pub writer: Box<dyn Write + Send>,
    /// Called then: whether all is where it should be.
    pub check: Check,
    /// Called when no more comes.
    pub stop: Stop,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Source")
    }
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sink")
    }
}

/// Something happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// At the server.
    Server(server::Event),
    /// At a client.
    Client(client::Event),
    /// A client looks for the server of this session.
    Looking(String),
    /// It is connected to it.
    Found(Ipv4Addr),
    /// So many bytes were read from the source, or have come.
    Progress(u64),
    /// Anything else worth a line.
    Note(String),
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server(event) => event.fmt(f),
            Self::Client(event) => event.fmt(f),
            Self::Looking(session) => write!(f, "looking for the ka server of session {session}"),
            Self::Found(server) => write!(f, "connected to {server}, waiting for the start"),
            Self::Progress(bytes) => write!(f, "{bytes} bytes moved"),
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
