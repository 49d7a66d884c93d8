//! dolly+ over real sockets: [`server::serve`] on the golden node, [`client::clone`] on
//! the others, [`ping`] for whoever wants to know how one is.
//!
//! Each computer has a thread that takes chunks (from its disk or its neighbour), one
//! that sends them on (`onward`), one that writes (`store`), and a desk for commands
//! (`desk`). They meet at the `bank`. Beside them the golden node watches how everybody is
//! doing, and leaves behind who holds the others up (`server/watch`).

mod admission;
mod bank;
pub(crate) mod callers;
mod chunk;
pub mod client;
mod clock;
mod crew;
mod desk;
mod effort;
mod inward;
mod join;
mod link;
mod onward;
mod packing;
pub mod report;
mod seat;
pub mod server;
pub mod source;
mod store;

pub use effort::Packed;
pub use packing::Codec;
pub use report::{Event, Reporter};

use std::time::Duration;

use goldring_wire::dollyplus::packet::Command;
use goldring_wire::dollyplus::status::{Abilities, Status};

/// How long things may take.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// A peer whose kernel answers no more is dead after this.
    pub stall: Duration,
    /// How long a client may be without a neighbour while the ring exists.
    pub orphan: Duration,
    /// How long the members may take to write everything after the last byte.
    pub finish: Duration,
}

/// Why there is no clone. Each sentence says what to do.
#[derive(Debug, thiserror::Error)]
pub enum PlusError {
    /// The sockets cannot be had.
    #[error("listening on {address}, ports 9997 and 9998 (is another dolly running here?)")]
    Listen {
        /// The address.
        address: std::net::Ipv4Addr,
        /// What the system said.
        source: std::io::Error,
    },
    /// Nobody came in time.
    #[error("no server in {0} s")]
    NoServer(u64),
    /// The ring could not be built, or broke.
    #[error("{0}")]
    Ring(String),
    /// Something of this computer itself: its disk, its input.
    #[error("{0}")]
    Here(String),
    /// Some members cannot do what is planned; nothing was written anywhere.
    #[error("nothing was written: {0}")]
    Refused(String),
}

/// What a client answers: its own words, and what goldring reads in them.
///
/// # Errors
/// It does not answer, in a sentence that begins with its name.
pub fn ping(host: &str) -> Result<(String, Status), String> {
    match link::ask(host, &Command::Ping) {
        Ok(Some(Command::Status(text))) => {
            let status = Status::decode(&text);
            Ok((text, status))
        }
        Ok(_) => Err(format!(
            "{host} answers something else; is it a dolly+ client?"
        )),
        Err(trouble) => Err(format!("{host} {trouble}")),
    }
}

/// What this program can do, with this compression.
fn abilities(codec: Option<Codec>) -> Abilities {
    Abilities {
        own: true,
        zstd: codec.is_some(),
    }
}
