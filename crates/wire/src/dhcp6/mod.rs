//! DHCPv6, the client's end (RFC 8415).
//!
//! [`message`] reads and writes messages as plain values, [`client`] is the state machine:
//! one address (IA_NA), or only the settings that a router leaves to DHCPv6. The machine has
//! no socket and no clock: it takes `(now, bytes)` and gives bytes to send, the next deadline
//! and events.

pub mod client;
mod lease;
pub mod message;
mod timer;
mod types;

pub use client::Client;
pub use lease::{Lease, Settings};
pub use message::{Ia, IaAddress, Kind, Message, ParseError, Status};
pub use types::{Config, Event, Loss, Wish};

use std::net::Ipv6Addr;

/// The server's UDP port (RFC 8415, section 7.2).
pub const SERVER_PORT: u16 = 547;
/// The client's UDP port.
pub const CLIENT_PORT: u16 = 546;
/// All servers and relays of the link (section 7.1): where everything is sent.
pub const SERVERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2);
