//! How a client finds its server: it asks everybody by a broadcast with the name of the
//! session, and the server that has this name answers with the name of the protocol.
//! Other servers stay silent.

use super::{NAME_MAX, VERSION};

/// A name of a session that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    /// Nothing, or longer than an old server reads.
    #[error("a session name has 1 to {NAME_MAX} bytes, this one has {0}")]
    Length(usize),
    /// It would end there.
    #[error("a session name has no zero byte")]
    Zero,
}

/// A name as it travels: with a NUL behind it.
///
/// # Errors
/// No old program could take it.
pub fn request(name: &str) -> Result<Vec<u8>, BadName> {
    if name.is_empty() || name.len() > NAME_MAX {
        return Err(BadName::Length(name.len()));
    }
    if name.contains('\0') {
        return Err(BadName::Zero);
    }
    Ok([name.as_bytes(), &[0]].concat())
}

/// Whether a datagram asks for the session that [`request`] made these bytes of.
pub fn is_request(wanted: &[u8], datagram: &[u8]) -> bool {
    wanted == datagram
}

/// What a server answers.
pub fn reply() -> Vec<u8> {
    [VERSION.as_bytes(), &[0]].concat()
}

/// Whether a datagram is such an answer.
pub fn is_reply(datagram: &[u8]) -> bool {
    datagram.split_last() == Some((&0, VERSION.as_bytes()))
}
