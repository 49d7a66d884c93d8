//! ka, as ka-deploy 0.6 speaks it: one golden node, and nodes in a chain or a tree that
//! pass on a stream and feed a command with it. The golden node knows every node by a
//! control connection of its own and repairs the chain.
//!
//! [`message`] is the control connection to the byte, [`discover`] the two datagrams by
//! which a node finds its server, [`tree`] who feeds whom, [`server::Server`] and
//! [`client::Client`] the two ends. Data has no framing at all: the bytes of a command.
//!
//! Among goldring a few [words](own) are added that old programs never see.

pub mod client;
pub mod discover;
pub mod message;
pub mod own;
pub mod reader;
pub mod server;
pub mod tree;

/// The name of the protocol; all ka-deploy releases say this.
pub const VERSION: &str = "Ka-deploy-0.6";
/// Where a server hears requests (UDP).
pub const REQUEST_PORT: u16 = 4957;
/// Where a client hears answers (UDP); not the port that it sent from.
pub const REPLY_PORT: u16 = 4958;
/// The control connections of a server (TCP), unless `-p` says another.
pub const CONTROL_PORT: u16 = 30765;
/// The data connections of a server and of every client (TCP), unless `-P` says another.
pub const DATA_PORT: u16 = 30764;
/// The most children of an old program.
pub const OLD_CHILDREN: usize = 4;
/// The ring of an old program, in bytes; what is further back is lost there.
pub const OLD_HISTORY: u64 = 35 << 20;
/// How far a client gets between two reports of its position, in bytes.
pub const REPORT_EVERY: u64 = 1 << 20;
/// The longest session name; an old server reads 200 bytes with the NUL.
pub const NAME_MAX: usize = 199;
