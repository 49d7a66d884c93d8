//! What goldring says to goldring in a ka session, and to nobody else.
//!
//! A client of goldring writes [`WORD`] into bytes of its HELLO that an old server does
//! not look at. A server of goldring answers such a client, and no other, with
//! [`FromServer::Welcome`]; from then on both may say what is here. Each word is a message
//! of the usual size, with a type of its own, and a tail behind it.

use super::message::{Layout, OwnHeader, ToClient, ToServer};

/// Behind the version in a HELLO. By chance it does not lie on a stack.
pub const WORD: [u8; 8] = *b"goldring";
/// The longest tail in bytes.
pub const TAIL_MAX: usize = 1024;
/// The longest text in a tail in bytes.
const TEXT_MAX: usize = 900;

/// A whole stream: how long it is, and its digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Stream {
    /// Bytes.
    pub bytes: u64,
    /// XXH3, 64 bits, of all of them.
    pub digest: u64,
}

/// Who compares what a node got with what was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compared {
    /// The session: both ends are goldring, and nobody's sink sees its end before both agree on
    /// a [`Stream`].
    BySession,
    /// Nobody: an old program is among them.
    ByNobody,
}

/// From a server of goldring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromServer {
    /// You are goldring, and so am I.
    Welcome,
    /// What the stream was. Said before END_OF_FLOW.
    Ended(Stream),
    /// Why the connection closes now.
    Reason(String),
}

/// From a client of goldring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromClient {
    /// What this computer is called.
    Name(String),
    /// How many bytes it keeps behind its position, for a child that lost its parent.
    Keeps(u64),
    /// What came. Said before FINISHED.
    Got(Stream),
    /// Why it leaves now.
    Reason(String),
    /// It has no longer what AUTH_CHILD promised to this child.
    Cannot(std::net::Ipv4Addr),
}

impl FromServer {
    /// The message and its tail.
    pub fn emit(&self, layout: Layout) -> Vec<u8> {
        let (kind, tail) = match self {
            Self::Welcome => (1, Vec::new()),
            Self::Ended(stream) => (2, stream.emit()),
            Self::Reason(text) => (3, cut(text)),
        };
        let header = OwnHeader {
            kind,
            length: length(&tail),
        };
        [ToClient::Own(header).emit(layout), tail].concat()
    }

    /// Reads a tail. `None`: a later goldring says something new.
    pub fn parse(header: OwnHeader, tail: &[u8]) -> Option<Self> {
        Some(match header.kind {
            1 => Self::Welcome,
            2 => Self::Ended(Stream::parse(tail)?),
            3 => Self::Reason(text(tail)),
            _ => return None,
        })
    }
}

impl FromClient {
    /// The message and its tail.
    pub fn emit(&self, layout: Layout) -> Vec<u8> {
        let (kind, tail) = match self {
            Self::Name(name) => (1, cut(name)),
            Self::Keeps(bytes) => (2, bytes.to_le_bytes().to_vec()),
            Self::Got(stream) => (3, stream.emit()),
            Self::Reason(text) => (4, cut(text)),
            Self::Cannot(child) => (5, child.octets().to_vec()),
        };
        let header = OwnHeader {
            kind,
            length: length(&tail),
        };
        [ToServer::Own(header).emit(layout), tail].concat()
    }

    /// Reads a tail. `None`: a later goldring says something new.
    pub fn parse(header: OwnHeader, tail: &[u8]) -> Option<Self> {
        Some(match header.kind {
            1 => Self::Name(text(tail)),
            2 => Self::Keeps(number(tail, 0)?),
            3 => Self::Got(Stream::parse(tail)?),
            4 => Self::Reason(text(tail)),
            5 => Self::Cannot(tail.first_chunk::<4>().copied()?.into()),
            _ => return None,
        })
    }
}

impl Stream {
    fn emit(self) -> Vec<u8> {
        [self.bytes.to_le_bytes(), self.digest.to_le_bytes()].concat()
    }

    fn parse(tail: &[u8]) -> Option<Self> {
        Some(Self {
            bytes: number(tail, 0)?,
            digest: number(tail, 8)?,
        })
    }
}

fn number(tail: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*tail.get(at..)?.first_chunk()?))
}

fn length(tail: &[u8]) -> u16 {
    u16::try_from(tail.len()).unwrap_or(u16::MAX)
}

/// A text that fits, whole characters only.
fn cut(text: &str) -> Vec<u8> {
    let mut end = text.len().min(TEXT_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.as_bytes()[..end].to_vec()
}

/// A text from outside, for one line of a screen.
fn text(tail: &[u8]) -> String {
    let text = String::from_utf8_lossy(&tail[..tail.len().min(TEXT_MAX)]);
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().map(plain).collect()
}
