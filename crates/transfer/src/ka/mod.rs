//! ka over real sockets: [`server::serve`] on the golden node, [`client::receive`] on the
//! others.
//!
//! One thread of each end owns the machine of [`goldring_wire::ka`] and never blocks for
//! long; others accept connections, read each control connection, read the data, and feed
//! the command and each child out of the [`ring`]. They tell the first one what happened.

pub mod client;
mod feed;
pub mod find;
mod net;
mod report;
pub mod ring;
pub mod server;

pub use report::{Check, Event, Reporter, Sink, Source, Stop};

use std::time::Duration;

pub use goldring_wire::ka::own::Compared;
use goldring_wire::ka::{CONTROL_PORT, DATA_PORT};

/// Where the connections go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    /// `-p`.
    pub control: u16,
    /// `-P`.
    pub data: u16,
}

impl Default for Ports {
    fn default() -> Self {
        Self {
            control: CONTROL_PORT,
            data: DATA_PORT,
        }
    }
}

/// Between two looks at what moves.
const BEAT: Duration = Duration::from_millis(200);
/// How many messages of threads may wait to be read.
const QUEUE: usize = 256;
/// A control message that does not go out within this time belongs to a dead peer.
const SAY: Duration = Duration::from_secs(2);
