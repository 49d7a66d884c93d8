//! What a server granted, made usable: missing and odd values are replaced by those that
//! the RFCs name.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::message::{Message, Route};

/// A lease that is shorter would be renewed all the time.
const SHORTEST_LEASE: u32 = 20;
/// What a missing lease time is taken for; RFC 2131 demands one.
const DEFAULT_LEASE: u32 = 3600;
/// "For ever" (RFC 2131, section 3.3).
const INFINITE_LEASE: u32 = u32::MAX;

/// What a server granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The address.
    pub address: Ipv4Addr,
    /// The prefix length of its network.
    pub prefix: u8,
    /// Routes. From option 121 or else the first router of option 3.
    pub routes: Vec<Route>,
    /// Name servers.
    pub dns: Vec<Ipv4Addr>,
    /// Hosts that take syslog (option 7).
    pub log_servers: Vec<Ipv4Addr>,
    /// The node's name.
    pub hostname: Option<String>,
    /// The node's domain.
    pub domain: Option<String>,
    /// The domains to search.
    pub search: Vec<String>,
    /// The link's MTU, when it makes sense (RFC 2132, section 5.1: at least 68; IPv4
    /// hosts want 576).
    pub mtu: Option<u16>,
    /// The server that granted it.
    pub server_id: Option<Ipv4Addr>,
    /// The boot server: siaddr, else option 66, else the server itself.
    pub boot_server: Option<String>,
    /// When the address is no longer ours; `None` for never.
    pub duration: Option<Duration>,
    /// When to renew.
    pub t1: Duration,
    /// When to ask every server.
    pub t2: Duration,
}

/// Whether a host can have this address.
pub(super) fn usable(address: Ipv4Addr) -> bool {
    !(address.is_unspecified()
        || address.is_loopback()
        || address.is_multicast()
        || address.is_broadcast())
}

/// What an ACK grants.
pub(super) fn lease(message: &Message) -> Lease {
    let seconds = message.lease.unwrap_or(DEFAULT_LEASE).max(SHORTEST_LEASE);
    // RFC 2131, section 4.4.5: T1 is half of the lease, T2 seven eighths, and T1 < T2.
    let t2 = message
        .t2
        .filter(|t2| (2..seconds).contains(t2))
        .unwrap_or(seconds / 8 * 7);
    let t1 = message
        .t1
        .filter(|t1| (1..t2).contains(t1))
        .unwrap_or((seconds / 2).min(t2 - 1));
    Lease {
        address: message.yiaddr,
        prefix: prefix(message),
        routes: default_routes(message),
        dns: usable_of(&message.dns),
        log_servers: usable_of(&message.log),
        hostname: message.hostname.clone(),
        domain: message.domain.clone(),
        search: message.search.clone(),
        mtu: message.mtu.filter(|mtu| *mtu >= 576),
        server_id: message.server_id,
        boot_server: boot_server(message).or_else(|| message.server_id.and_then(text)),
        duration: (seconds != INFINITE_LEASE).then(|| Duration::from_secs(seconds.into())),
        t1: Duration::from_secs(t1.into()),
        t2: Duration::from_secs(t2.into()),
    }
}

/// The boot server that a message names.
pub(super) fn boot_server(message: &Message) -> Option<String> {
    text(message.siaddr).or_else(|| message.boot_server.clone())
}

fn text(address: Ipv4Addr) -> Option<String> {
    usable(address).then(|| address.to_string())
}

fn usable_of(addresses: &[Ipv4Addr]) -> Vec<Ipv4Addr> {
    addresses.iter().copied().filter(|a| usable(*a)).collect()
}

/// The netmask as a prefix length; by address class when it is missing or has holes.
fn prefix(message: &Message) -> u8 {
    let mask = message.netmask.map_or(0, u32::from);
    let ones = mask.leading_ones();
    if ones != 0 && mask.checked_shl(ones).unwrap_or(0) == 0 {
        return ones as u8;
    }
    match message.yiaddr.octets()[0] {
        0..=127 => 8,
        128..=191 => 16,
        _ => 24,
    }
}

/// RFC 3442: with option 121 the router option is ignored.
fn default_routes(message: &Message) -> Vec<Route> {
    if !message.routes.is_empty() {
        return message.routes.clone();
    }
    let router = message.routers.iter().copied().find(|a| usable(*a));
    let default = router.map(|router| Route {
        network: Ipv4Addr::UNSPECIFIED,
        prefix: 0,
        router,
    });
    default.into_iter().collect()
}
