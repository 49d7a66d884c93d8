//! Router advertisements, as far as a node needs them (RFC 4861, section 4.2; RFC 8106).
//!
//! The kernel makes addresses and routes of them by itself. What it keeps from programs,
//! or tells only in pieces, is read here: whether there is a DHCPv6 server to ask, the
//! name servers, and the domains to search.

use std::net::Ipv6Addr;

use crate::dhcp::message::{emit_search, search};

/// The ICMPv6 type of an advertisement.
pub const ADVERTISEMENT: u8 = 134;
/// "Is there a router?" (section 4.1), without the sender's hardware address, which
/// routers ask for themselves. The kernel fills the checksum in.
pub const SOLICITATION: [u8; 8] = [133, 0, 0, 0, 0, 0, 0, 0];

/// The fixed part (section 4.2).
const FIXED: usize = 16;
const MANAGED: u8 = 0x80;
const OTHER: u8 = 0x40;
const ON_LINK: u8 = 0x80;
const AUTONOMOUS: u8 = 0x40;
/// More of a kind are not kept.
const MOST: usize = 16;

mod option {
    pub(super) const PREFIX: u8 = 3;
    pub(super) const DNS: u8 = 25;
    pub(super) const SEARCH: u8 = 31;
}

/// Why bytes are no router advertisement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Shorter than its fixed part.
    #[error("only {0} bytes")]
    Short(usize),
    /// Something else of ICMPv6.
    #[error("type {0}, code {1} is no router advertisement")]
    Kind(u8, u8),
    /// An option of no length, or one that does not fit (section 6.1.2: the whole
    /// message is dropped).
    #[error("option {0} has a wrong length")]
    Option(u8),
}

/// What a router says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Advertisement {
    /// M: addresses are given out by DHCPv6.
    pub managed: bool,
    /// O: DHCPv6 tells name servers and the like.
    pub other: bool,
    /// For how many seconds it is a default router; 0: it is none.
    pub lifetime: u16,
    /// The networks of this link.
    pub prefixes: Vec<Prefix>,
    /// Name servers that count now.
    pub dns: Vec<Ipv6Addr>,
    /// Domains to search, that count now.
    pub search: Vec<String>,
}

/// A network of a link (section 4.6.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefix {
    /// Its address.
    pub network: Ipv6Addr,
    /// Its length, at most 128.
    pub length: u8,
    /// L: its addresses are reached without a router.
    pub on_link: bool,
    /// A: a node makes itself an address in it.
    pub autonomous: bool,
    /// For how many seconds; 0: no longer, [`u32::MAX`]: for ever.
    pub valid: u32,
}

impl Advertisement {
    /// Reads an ICMPv6 message whose checksum and hop limit were looked at by who
    /// received it.
    ///
    /// # Errors
    /// [`ParseError`]. Options that are not known are skipped.
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        let (fixed, mut rest) = bytes
            .split_at_checked(FIXED)
            .ok_or(ParseError::Short(bytes.len()))?;
        if fixed[..2] != [ADVERTISEMENT, 0] {
            return Err(ParseError::Kind(fixed[0], fixed[1]));
        }
        let mut said = Self {
            managed: fixed[5] & MANAGED != 0,
            other: fixed[5] & OTHER != 0,
            lifetime: u16::from_be_bytes([fixed[6], fixed[7]]),
            ..Self::default()
        };
        while let [number, units, ..] = rest {
            // The length counts 8 bytes and includes the two of the header.
            let (value, others) = rest
                .split_at_checked(usize::from(*units) * 8)
                .filter(|(value, _)| !value.is_empty())
                .ok_or(ParseError::Option(*number))?;
            said.option(*number, &value[2..])
                .ok_or(ParseError::Option(*number))?;
            rest = others;
        }
        Ok(said)
    }

    /// One option, without its header; `None` for one that is too short.
    fn option(&mut self, number: u8, value: &[u8]) -> Option<()> {
        match number {
            option::PREFIX => {
                let network: [u8; 16] = value.get(14..30)?.try_into().ok()?;
                let prefix = Prefix {
                    network: network.into(),
                    length: value[0],
                    on_link: value[1] & ON_LINK != 0,
                    autonomous: value[1] & AUTONOMOUS != 0,
                    valid: u32::from_be_bytes(value[2..6].try_into().ok()?),
                };
                if prefix.length <= 128 && self.prefixes.len() < MOST {
                    self.prefixes.push(prefix);
                }
            }
            option::DNS => {
                let lifetime: [u8; 4] = value.get(2..6)?.try_into().ok()?;
                let servers = value[6..].chunks_exact(16).filter_map(|chunk| {
                    let bytes: [u8; 16] = chunk.try_into().ok()?;
                    Some(Ipv6Addr::from(bytes))
                });
                // RFC 8106, section 5.1: a lifetime of zero takes a server away.
                if lifetime != [0; 4] {
                    let room = MOST - self.dns.len();
                    self.dns.extend(servers.filter(usable).take(room));
                }
            }
            option::SEARCH => {
                let lifetime: [u8; 4] = value.get(2..6)?.try_into().ok()?;
                if lifetime != [0; 4] {
                    let room = MOST - self.search.len();
                    // The field is filled up with zeros, which are empty names.
                    self.search
                        .extend(search(&value[6..]).into_iter().take(room));
                }
            }
            _ => {}
        }
        Some(())
    }

    /// Writes it, for tests and servers. The checksum is left to the kernel.
    pub fn emit(&self) -> Vec<u8> {
        let flags = if self.managed { MANAGED } else { 0 } | if self.other { OTHER } else { 0 };
        let mut bytes = vec![ADVERTISEMENT, 0, 0, 0, 64, flags];
        bytes.extend(self.lifetime.to_be_bytes());
        bytes.extend([0; 8]);
        for prefix in &self.prefixes {
            let flags = if prefix.on_link { ON_LINK } else { 0 }
                | if prefix.autonomous { AUTONOMOUS } else { 0 };
            let mut value = vec![prefix.length, flags];
            value.extend(prefix.valid.to_be_bytes());
            value.extend(prefix.valid.to_be_bytes());
            value.extend([0; 4]);
            value.extend(prefix.network.octets());
            emit_option(&mut bytes, option::PREFIX, &value);
        }
        let lifetime = 600u32.to_be_bytes();
        if !self.dns.is_empty() {
            let servers = self.dns.iter().flat_map(Ipv6Addr::octets);
            let value: Vec<u8> = [0, 0].into_iter().chain(lifetime).chain(servers).collect();
            emit_option(&mut bytes, option::DNS, &value);
        }
        // One option each, since all together may be too long for one.
        for name in self.search.chunks(1) {
            let value = [&[0, 0], &lifetime[..], &emit_search(name)].concat();
            emit_option(&mut bytes, option::SEARCH, &value);
        }
        bytes
    }
}

fn emit_option(bytes: &mut Vec<u8>, number: u8, value: &[u8]) {
    let units = (2 + value.len()).div_ceil(8);
    let end = bytes.len() + units * 8;
    bytes.extend([number, units as u8]);
    bytes.extend(value);
    bytes.resize(end, 0);
}

/// Whether a server can have this address.
pub(crate) fn usable(address: &Ipv6Addr) -> bool {
    !(address.is_unspecified() || address.is_loopback() || address.is_multicast())
}
