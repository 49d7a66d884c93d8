//! What goes into the client and comes out of it.

use std::net::Ipv6Addr;

use super::lease::{Lease, Settings};
use super::message::{ParseError, Status, option};

/// Options that the client asks for: a server sends no others of their kind (RFC 8415,
/// section 21.7).
pub(super) const PARAMETERS: [u16; 6] = [
    option::DNS,
    option::SEARCH,
    option::FQDN,
    option::BOOT_URL,
    option::SOL_MAX_RT,
    option::INF_MAX_RT,
];

/// What the client is to get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// An address and the settings.
    Address,
    /// Only the settings: the node makes its address itself (RFC 8415, section 6.1).
    Settings,
}

/// Who the client is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The interface's hardware address. The client's identifier is a DUID-LL of it (RFC
    /// 8415, section 11.4). It is the same at every boot without anything to keep, which
    /// one with a time in it (DUID-LLT) is not, and an administrator can tell it from the
    /// card. UEFI firmware takes the UUID of the mainboard (DUID-UUID), but boards are
    /// sold by the batch with the same UUID, and two nodes with one identifier fight for
    /// one address.
    pub mac: [u8; 6],
    /// A name to ask for.
    pub hostname: Option<String>,
    /// A random number; nodes that are switched on together must differ in it.
    pub seed: u32,
    /// What is wanted.
    pub wish: Wish,
}

impl Config {
    /// DUID-LL: type 3, hardware type 1 (Ethernet), the address.
    pub fn client_id(&self) -> Vec<u8> {
        [&[0, 3, 0, 1][..], &self.mac].concat()
    }

    /// The identifier of the one association: it must be the same after a restart
    /// (section 12), so it comes from the card too.
    pub fn iaid(&self) -> u32 {
        let [_, _, rest @ ..] = self.mac;
        u32::from_be_bytes(rest)
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A server offered an address; it was asked for.
    Offered(Ipv6Addr),
    /// The address is ours.
    Bound(Lease),
    /// It stays ours, or another one took its place.
    Renewed(Lease),
    /// The settings, without an address.
    Informed(Settings),
    /// A server said no. Told once for each transaction.
    Refused(Status),
    /// An answer to us makes no sense and is dropped. Told once for each transaction.
    Nonsense(ParseError),
    /// Nobody answered this many messages; another one goes out.
    Unanswered(u32),
    /// The address is no longer granted; all begins anew.
    Lost(Loss),
}

/// How an address was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// A server took it away. Somebody else may have it next.
    Refused,
    /// No server answered until it ran out.
    Expired,
}
