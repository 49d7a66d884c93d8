//! What goes into the client and comes out of it.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::lease::Lease;
use super::message::option;
use super::packet::ParseError;

/// Options that the client asks for. A strict server sends what is asked for and
/// nothing else (RFC 2131, section 4.3.1), and routes (121) come before the router
/// option for those that send only one of them (RFC 3442).
pub const PARAMETERS: [u8; 18] = [
    option::NETMASK,
    option::ROUTES,
    option::ROUTERS,
    option::DNS,
    option::HOSTNAME,
    option::DOMAIN,
    option::MTU,
    option::BROADCAST,
    option::NTP,
    option::LEASE,
    option::SERVER_ID,
    option::T1,
    option::T2,
    option::BOOT_SERVER,
    option::BOOT_FILE,
    option::SEARCH,
    option::LOG,
    option::ROUTES_MS,
];

/// The longest message that we take: an Ethernet frame's worth of UDP (RFC 2132,
/// section 9.10, counts IP and UDP headers).
pub const MAX_SIZE: u16 = 1500;

/// Who the client is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The interface's hardware address. The client identifier (option 61) is `01` and
    /// this: iPXE sends the same, and for a ROM that sends none (the PXE specification
    /// asks for option 97 only) servers know the client by its hardware address, which
    /// they take for the same client. So the ROM and we get the same lease; an identifier
    /// of RFC 4361 would get another one.
    pub mac: [u8; 6],
    /// A name to ask for.
    pub hostname: Option<String>,
    /// A random number; nodes that are switched on together must differ in it.
    pub seed: u32,
    /// How long an offer that names no boot server waits for one that does. Zero takes
    /// the first offer.
    pub patience: Duration,
}

/// Where a datagram goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    /// 255.255.255.255.
    Broadcast,
    /// One server.
    Server(Ipv4Addr),
}

/// A datagram to send, to the server port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmit {
    /// Where to.
    pub to: Destination,
    /// The payload.
    pub bytes: Vec<u8>,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A server offered an address; it was asked for.
    Offered {
        /// The address.
        address: Ipv4Addr,
        /// The server.
        server: Ipv4Addr,
    },
    /// The address is ours.
    Bound(Lease),
    /// It stays ours.
    Renewed(Lease),
    /// The server said no; all begins anew.
    Refused(Option<String>),
    /// The server said no to an address that it had granted. It is asked again: a real
    /// no leads to [`Event::Lost`], a stray datagram to nothing.
    Doubted(Option<String>),
    /// A server answers, but offers no address: a proxy DHCP server, or one that has
    /// none left. Told once.
    Empty(Option<Ipv4Addr>),
    /// An answer to us makes no sense and is dropped. Told once.
    Nonsense(ParseError),
    /// Nobody answered this many DISCOVERs; another one goes out.
    Unanswered(u32),
    /// The address is no longer granted; all begins anew.
    Lost(Loss),
}

/// How a lease was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// A server took it away. Somebody else may have the address next.
    Refused,
    /// No server answered until it ran out.
    Expired,
}
