//! DHCP, the client's end (RFC 2131, options of RFC 2132).
//!
//! [`packet`] reads and writes the bytes, [`message`] holds a message as a plain value,
//! and [`client`] is the state machine. The machine has no socket and no clock: it
//! takes `(now, bytes)` and gives bytes to send, the next deadline and events.

pub mod client;
pub mod datagram;
mod lease;
pub mod message;
pub mod packet;
mod types;

pub use client::Client;
pub use lease::Lease;
pub use message::{Kind, Message, Route};
pub use packet::ParseError;
pub use types::{Config, Destination, Event, Loss, MAX_SIZE, PARAMETERS, Transmit};

/// The server's UDP port (RFC 2131, section 4.1).
pub const SERVER_PORT: u16 = 67;
/// The client's UDP port.
pub const CLIENT_PORT: u16 = 68;
