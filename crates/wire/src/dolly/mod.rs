//! dolly, both dialects (classic: 0.21 to 0.64; SUSE: 0.70 to 0.72): the configuration,
//! who is whose child, and both ends of the conversation.
//!
//! A ring is a chain or a tree: a parent connects to each child twice, once for data
//! and once for control. The configuration travels down the control connections as
//! plain text, `Host got parameters` and `Host ready` travel up as lines, the length
//! of the data goes down as eight bytes, and each machine's count comes back up as
//! eight bytes once it has synced.
//!
//! | module | holds |
//! |---|---|
//! | [`config`] | the text: reading, checking, writing |
//! | [`topology`] | parents and children |
//! | [`identity`] | which entry of the list is this computer |
//! | [`hearing`] | what a waiting node hears, in either dialect |
//! | [`opening`] | how a parent begins, in either dialect |
//! | [`password`] | the password of the SUSE dialect |
//! | [`lines`] | what comes in pieces: configuration, lines, counts |
//! | [`flow`] | how much of the data may be passed on |
//! | [`server`] | the golden node's conversation |
//! | [`node`] | a node's conversation |
//! | [`own`] | how a ring of goldring goes over to dolly+ |

mod check;
pub mod config;
mod draft;
pub mod flow;
pub mod hearing;
pub mod identity;
pub mod lines;
pub mod node;
pub mod opening;
pub mod own;
pub mod password;
pub mod server;
pub mod topology;
pub(crate) mod values;

use std::time::Duration;

/// What old clients read from a data connection in one blocking call (dolly 0.57).
/// Until a client knows the total, it must get nothing but whole blocks, or it waits
/// for the rest of one for ever.
pub const BLOCK: u64 = 4096;
/// The size of a configuration at which an old reader goes on reading: one TCP
/// segment of a 1500-byte link with time stamps.
pub const SEGMENT: usize = 1448;
/// No disk is larger; a total above it is not a total.
pub const TOTAL_MAX: u64 = i64::MAX as u64;
/// How often a machine that waits for others says for whom.
pub const NOTICE: Duration = Duration::from_secs(10);

/// Why a ring broke. Every sentence names the computer to look at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// A neighbour's connection ended before its work did.
    #[error(
        "{neighbour} closed the connection {when}; look at its screen, then start the ring again"
    )]
    Lost {
        /// The neighbour, as the configuration names it.
        neighbour: String,
        /// At which stage, such as `while data was moving`.
        when: &'static str,
    },
    /// Another computer of the ring said why it stopped.
    #[error("{0}; all others stop with it, start the ring again")]
    Reported(String),
    /// A neighbour has done nothing for too long.
    #[error(
        "{neighbour} {silence} for {seconds} s; look at it and its cable, then start the ring again"
    )]
    Silent {
        /// The neighbour, as the configuration names it.
        neighbour: String,
        /// What it does not do, such as `has taken no data`.
        silence: &'static str,
        /// For how long.
        seconds: u64,
    },
    /// A neighbour counted other bytes than were sent.
    #[error(
        "{neighbour} reports {got} bytes where {expected} were sent; its copy is not good, clone it again"
    )]
    Mismatch {
        /// The neighbour, as the configuration names it.
        neighbour: String,
        /// How many bytes were sent.
        expected: u64,
        /// How many it reports.
        got: u64,
    },
    /// Not everybody came in the time that there was.
    #[error("gave up after {seconds} s without {missing}; start it, or take it out of the list")]
    GaveUp {
        /// The time: of the golden node what `-a` gave.
        seconds: u64,
        /// Who is not there.
        missing: String,
    },
    /// A child that does not know the password.
    #[error(
        "{neighbour} does not know the password; give it the same -P, then start the ring again"
    )]
    WrongPassword {
        /// The neighbour, as the configuration names it.
        neighbour: String,
    },
    /// A neighbour sent what no dolly sends.
    #[error("{neighbour} sent {what}; is it a dolly, and of the dialect of this ring?")]
    Nonsense {
        /// The neighbour, as the configuration names it.
        neighbour: String,
        /// What came.
        what: &'static str,
    },
    /// Something of this computer itself: its disk, its input.
    #[error("{0}")]
    Here(String),
}

/// Names with commas, cut so that a line of a console stays a line.
pub fn listed<S: AsRef<str>>(names: &[S]) -> String {
    const SHOWN: usize = 8;
    let mut text = names
        .iter()
        .take(SHOWN)
        .map(AsRef::as_ref)
        .collect::<Vec<_>>()
        .join(", ");
    if names.len() > SHOWN {
        text.push_str(&format!(" and {} more", names.len() - SHOWN));
    }
    text
}
