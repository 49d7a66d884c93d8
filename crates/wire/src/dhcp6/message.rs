//! Messages as plain values (RFC 8415, sections 8 and 21).

use std::net::Ipv6Addr;

use crate::dhcp::message::{emit_search, search};
use crate::dhcp::packet::text;

/// Option numbers (RFC 8415, section 24; RFC 3646, 4704, 5970).
pub(super) mod option {
    pub(crate) const CLIENT_ID: u16 = 1;
    pub(crate) const SERVER_ID: u16 = 2;
    pub(crate) const IA_NA: u16 = 3;
    pub(crate) const IA_ADDRESS: u16 = 5;
    pub(crate) const REQUESTED: u16 = 6;
    pub(crate) const PREFERENCE: u16 = 7;
    pub(crate) const ELAPSED: u16 = 8;
    pub(crate) const STATUS: u16 = 13;
    pub(crate) const DNS: u16 = 23;
    pub(crate) const SEARCH: u16 = 24;
    pub(crate) const REFRESH: u16 = 32;
    pub(crate) const FQDN: u16 = 39;
    pub(crate) const BOOT_URL: u16 = 59;
    pub(crate) const SOL_MAX_RT: u16 = 82;
    pub(crate) const INF_MAX_RT: u16 = 83;
}

/// Longer identifiers are none (section 11.1: 128 bytes and the type).
const DUID_MAX: usize = 130;
/// More of a kind are not kept.
const MOST: usize = 16;

/// Why bytes are no DHCPv6 message to a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Shorter than type and transaction.
    #[error("only {0} bytes")]
    Short(usize),
    /// A type that a client neither sends nor receives.
    #[error("unknown message type {0}")]
    UnknownKind(u8),
    /// An option that is cut off, or whose length does not fit its meaning.
    #[error("option {0} has a wrong length")]
    OptionLength(u16),
}

/// Message types (section 7.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Who gives out addresses?
    Solicit,
    /// I do.
    Advertise,
    /// Then please this one.
    Request,
    /// May I keep it?
    Renew,
    /// May I keep it, says anybody?
    Rebind,
    /// Yes, or no.
    Reply,
    /// Somebody else has that address.
    Decline,
    /// Only the settings, please.
    Inform,
}

impl Kind {
    const ALL: [(Self, u8); 8] = [
        (Self::Solicit, 1),
        (Self::Advertise, 2),
        (Self::Request, 3),
        (Self::Renew, 5),
        (Self::Rebind, 6),
        (Self::Reply, 7),
        (Self::Decline, 9),
        (Self::Inform, 11),
    ];

    fn number(self) -> u8 {
        let found = Self::ALL.iter().find(|(kind, _)| *kind == self);
        found.map_or(0, |(_, number)| *number)
    }

    fn from_number(number: u8) -> Result<Self, ParseError> {
        let found = Self::ALL.iter().find(|(_, n)| *n == number);
        found
            .map(|(kind, _)| *kind)
            .ok_or(ParseError::UnknownKind(number))
    }
}

/// How something went (section 21.13).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// 0 is success; see [`Status::is_success`] and the constants.
    pub code: u16,
    /// The server's words; may be empty.
    pub message: String,
}

impl Status {
    /// No reason is named.
    pub const UNSPECIFIED: u16 = 1;
    /// The server has no address left.
    pub const NO_ADDRESSES: u16 = 2;
    /// The server does not know the association.
    pub const NO_BINDING: u16 = 3;
    /// The address is of another network.
    pub const NOT_ON_LINK: u16 = 4;

    /// Whether all is well.
    pub fn is_success(&self) -> bool {
        self.code == 0
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let meaning = match self.code {
            0 => "success",
            Self::UNSPECIFIED => "no reason given",
            Self::NO_ADDRESSES => "it has no address left",
            Self::NO_BINDING => "it does not know this node",
            Self::NOT_ON_LINK => "the address is of another network",
            5 => "it wants multicast",
            code => return write!(f, "status {code} {}", self.message),
        };
        f.write_str(meaning)?;
        if !self.message.is_empty() {
            write!(f, " ({})", self.message)?;
        }
        Ok(())
    }
}

/// An address of an association (section 21.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IaAddress {
    /// The address.
    pub address: Ipv6Addr,
    /// For how many seconds it is to be used for new connections.
    pub preferred: u32,
    /// For how many seconds it is ours.
    pub valid: u32,
}

/// An association: addresses that go together (section 21.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ia {
    /// Chosen by the client.
    pub id: u32,
    /// When to renew, in seconds; 0 leaves it to the client.
    pub t1: u32,
    /// When to ask every server, in seconds; 0 leaves it to the client.
    pub t2: u32,
    /// Its addresses.
    pub addresses: Vec<IaAddress>,
    /// Why there are none.
    pub status: Option<Status>,
}

/// A message. Options that are not here are dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its type.
    pub kind: Kind,
    /// The transaction, of 24 bits.
    pub xid: u32,
    /// The client's identifier.
    pub client_id: Vec<u8>,
    /// The server's identifier; empty when there is none.
    pub server_id: Vec<u8>,
    /// Associations.
    pub ias: Vec<Ia>,
    /// What the client asks for.
    pub requested: Vec<u16>,
    /// Hundredths of a second since the client began.
    pub elapsed: Option<u16>,
    /// How much the server wants the client; 255 ends the choice.
    pub preference: u8,
    /// How it went.
    pub status: Option<Status>,
    /// Name servers.
    pub dns: Vec<Ipv6Addr>,
    /// The domains to search.
    pub search: Vec<String>,
    /// When to ask for settings again, in seconds.
    pub refresh: Option<u32>,
    /// The node's full name.
    pub fqdn: Option<String>,
    /// The URL of the boot file.
    pub boot_url: Option<String>,
    /// The longest pause between two Solicits, in seconds.
    pub sol_max_rt: Option<u32>,
    /// The longest pause between two Information-requests, in seconds.
    pub inf_max_rt: Option<u32>,
}

impl Message {
    /// One with nothing but its identifier in it.
    pub fn new(kind: Kind, xid: u32, client_id: Vec<u8>) -> Self {
        Self {
            kind,
            xid,
            client_id,
            server_id: Vec::new(),
            ias: Vec::new(),
            requested: Vec::new(),
            elapsed: None,
            preference: 0,
            status: None,
            dns: Vec::new(),
            search: Vec::new(),
            refresh: None,
            fqdn: None,
            boot_url: None,
            sol_max_rt: None,
            inf_max_rt: None,
        }
    }

    /// The transaction of a message, without reading the rest.
    pub fn xid_of(bytes: &[u8]) -> Option<u32> {
        let &[_, a, b, c] = bytes.first_chunk()?;
        Some(u32::from_be_bytes([0, a, b, c]))
    }

    /// Takes the payload of a UDP datagram.
    ///
    /// # Errors
    /// [`ParseError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        let xid = Self::xid_of(bytes).ok_or(ParseError::Short(bytes.len()))?;
        let mut message = Self::new(Kind::from_number(bytes[0])?, xid, Vec::new());
        for_each(&bytes[4..], |number, value| message.read(number, value))?;
        Ok(message)
    }

    /// One option; `None` for a wrong length.
    fn read(&mut self, number: u16, value: &[u8]) -> Option<()> {
        match number {
            option::CLIENT_ID => self.client_id = duid(value)?,
            option::SERVER_ID => self.server_id = duid(value)?,
            option::IA_NA => {
                let ia = ia(value)?;
                if self.ias.len() < MOST {
                    self.ias.push(ia);
                }
            }
            option::REQUESTED => self.requested = numbers(value)?,
            option::PREFERENCE => self.preference = *value.first().filter(|_| value.len() == 1)?,
            option::ELAPSED => self.elapsed = Some(u16::from_be_bytes(value.try_into().ok()?)),
            option::STATUS => self.status = Some(status(value)?),
            option::DNS => self.dns = addresses(value)?,
            option::SEARCH => self.search = search(value),
            option::REFRESH => self.refresh = Some(number32(value)?),
            // RFC 4704, section 4.1: flags, then one name, perhaps without its domain.
            option::FQDN => self.fqdn = name(value.get(1..)?),
            option::BOOT_URL => self.boot_url = text(value),
            option::SOL_MAX_RT => self.sol_max_rt = Some(number32(value)?),
            option::INF_MAX_RT => self.inf_max_rt = Some(number32(value)?),
            _ => {}
        }
        Some(())
    }

    /// Writes it at the end of `out`.
    pub fn emit(&self, out: &mut Vec<u8>) {
        out.push(self.kind.number());
        out.extend(&self.xid.to_be_bytes()[1..]);
        let mut put = |number: u16, value: &[u8]| put(out, number, value);
        for (number, id) in [
            (option::CLIENT_ID, &self.client_id),
            (option::SERVER_ID, &self.server_id),
        ] {
            if !id.is_empty() {
                put(number, id);
            }
        }
        for ia in &self.ias {
            put(option::IA_NA, &emit_ia(ia));
        }
        if !self.requested.is_empty() {
            let bytes: Vec<u8> = self
                .requested
                .iter()
                .flat_map(|n| n.to_be_bytes())
                .collect();
            put(option::REQUESTED, &bytes);
        }
        if self.preference != 0 {
            put(option::PREFERENCE, &[self.preference]);
        }
        if let Some(elapsed) = self.elapsed {
            put(option::ELAPSED, &elapsed.to_be_bytes());
        }
        if let Some(status) = &self.status {
            put(option::STATUS, &emit_status(status));
        }
        if !self.dns.is_empty() {
            let bytes: Vec<u8> = self.dns.iter().flat_map(Ipv6Addr::octets).collect();
            put(option::DNS, &bytes);
        }
        if !self.search.is_empty() {
            put(option::SEARCH, &emit_search(&self.search));
        }
        if let Some(name) = &self.fqdn {
            // Flags zero: the server does as it likes about DNS.
            let name = emit_search(std::slice::from_ref(name));
            put(option::FQDN, &[&[0], &name[..]].concat());
        }
        if let Some(url) = &self.boot_url {
            put(option::BOOT_URL, url.as_bytes());
        }
        for (number, seconds) in [
            (option::REFRESH, self.refresh),
            (option::SOL_MAX_RT, self.sol_max_rt),
            (option::INF_MAX_RT, self.inf_max_rt),
        ] {
            if let Some(seconds) = seconds {
                put(number, &seconds.to_be_bytes());
            }
        }
    }
}

/// Walks through options: number, length, value (section 21.1).
fn for_each(
    mut bytes: &[u8],
    mut each: impl FnMut(u16, &[u8]) -> Option<()>,
) -> Result<(), ParseError> {
    while let Some((&[n0, n1, l0, l1], rest)) = bytes.split_first_chunk() {
        let number = u16::from_be_bytes([n0, n1]);
        let wrong = ParseError::OptionLength(number);
        let length = u16::from_be_bytes([l0, l1]);
        let (value, rest) = rest.split_at_checked(length.into()).ok_or(wrong)?;
        each(number, value).ok_or(wrong)?;
        bytes = rest;
    }
    // One to three bytes at the end are no option and harm nobody.
    Ok(())
}

fn duid(value: &[u8]) -> Option<Vec<u8>> {
    (1..=DUID_MAX)
        .contains(&value.len())
        .then(|| value.to_vec())
}

fn ia(value: &[u8]) -> Option<Ia> {
    let word = |at: usize| number32(value.get(at..at + 4)?);
    let mut ia = Ia {
        id: word(0)?,
        t1: word(4)?,
        t2: word(8)?,
        addresses: Vec::new(),
        status: None,
    };
    for_each(&value[12..], |number, value| {
        match number {
            option::IA_ADDRESS => {
                let (address, rest) = value.split_first_chunk::<16>()?;
                let address = IaAddress {
                    address: (*address).into(),
                    preferred: number32(rest.get(..4)?)?,
                    valid: number32(rest.get(4..8)?)?,
                };
                if ia.addresses.len() < MOST {
                    ia.addresses.push(address);
                }
            }
            option::STATUS => ia.status = Some(status(value)?),
            _ => {}
        }
        Some(())
    })
    .ok()?;
    Some(ia)
}

fn status(value: &[u8]) -> Option<Status> {
    let (code, words) = value.split_first_chunk()?;
    Some(Status {
        code: u16::from_be_bytes(*code),
        message: text(words).unwrap_or_default(),
    })
}

fn numbers(value: &[u8]) -> Option<Vec<u16>> {
    let whole = value.len().is_multiple_of(2);
    let number = |chunk: &[u8]| u16::from_be_bytes([chunk[0], chunk[1]]);
    whole.then(|| value.chunks_exact(2).map(number).collect())
}

fn addresses(value: &[u8]) -> Option<Vec<Ipv6Addr>> {
    let whole = value.len().is_multiple_of(16);
    let address = |chunk: &[u8]| Some(Ipv6Addr::from(<[u8; 16]>::try_from(chunk).ok()?));
    whole.then(|| {
        value
            .chunks_exact(16)
            .filter_map(address)
            .take(MOST)
            .collect()
    })
}

fn number32(value: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(value.try_into().ok()?))
}

/// A name of labels; one without its end is only a part of a name (RFC 4704, section 4.2).
fn name(value: &[u8]) -> Option<String> {
    let whole = [value, &[0]].concat();
    search(&whole).into_iter().next()
}

fn put(out: &mut Vec<u8>, number: u16, value: &[u8]) {
    let length = value.len().min(u16::MAX.into());
    out.extend(number.to_be_bytes());
    out.extend((length as u16).to_be_bytes());
    out.extend(&value[..length]);
}

fn emit_ia(ia: &Ia) -> Vec<u8> {
    let mut bytes: Vec<u8> = [ia.id, ia.t1, ia.t2]
        .iter()
        .flat_map(|n| n.to_be_bytes())
        .collect();
    for address in &ia.addresses {
        let mut value = address.address.octets().to_vec();
        value.extend(address.preferred.to_be_bytes());
        value.extend(address.valid.to_be_bytes());
        put(&mut bytes, option::IA_ADDRESS, &value);
    }
    if let Some(status) = &ia.status {
        put(&mut bytes, option::STATUS, &emit_status(status));
    }
    bytes
}

fn emit_status(status: &Status) -> Vec<u8> {
    [&status.code.to_be_bytes(), status.message.as_bytes()].concat()
}
