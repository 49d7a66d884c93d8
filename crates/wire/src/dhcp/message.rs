//! A DHCP message as a plain value that compares with `==`.

use std::net::Ipv4Addr;

use super::packet::{Fixed, Options, Packet, ParseError, Writer, text};

/// Option numbers (RFC 2132 unless said otherwise).
pub mod option {
    /// Subnet mask.
    pub const NETMASK: u8 = 1;
    /// Routers, best first.
    pub const ROUTERS: u8 = 3;
    /// Name servers.
    pub const DNS: u8 = 6;
    /// Log servers: those that take syslog.
    pub const LOG: u8 = 7;
    /// The client's name.
    pub const HOSTNAME: u8 = 12;
    /// The client's domain.
    pub const DOMAIN: u8 = 15;
    /// The link's MTU.
    pub const MTU: u8 = 26;
    /// The broadcast address.
    pub const BROADCAST: u8 = 28;
    /// Time servers.
    pub const NTP: u8 = 42;
    /// The address that the client wants.
    pub const REQUESTED: u8 = 50;
    /// Lease time in seconds.
    pub const LEASE: u8 = 51;
    /// Message type.
    pub const KIND: u8 = 53;
    /// The server that speaks, or is meant.
    pub const SERVER_ID: u8 = 54;
    /// What the client wants to know.
    pub const PARAMETERS: u8 = 55;
    /// Why not.
    pub const MESSAGE: u8 = 56;
    /// The longest message that the client takes.
    pub const MAX_SIZE: u8 = 57;
    /// When to renew, in seconds.
    pub const T1: u8 = 58;
    /// When to ask other servers, in seconds.
    pub const T2: u8 = 59;
    /// The client's identity.
    pub const CLIENT_ID: u8 = 61;
    /// The boot server's name.
    pub const BOOT_SERVER: u8 = 66;
    /// The boot file's name.
    pub const BOOT_FILE: u8 = 67;
    /// Domain search list (RFC 3397).
    pub const SEARCH: u8 = 119;
    /// Routes (RFC 3442).
    pub const ROUTES: u8 = 121;
    /// The same as option 121, as older Windows servers number it ([MS-DHCPE], section
    /// 2.2.8).
    pub const ROUTES_MS: u8 = 249;
}

/// The message types of RFC 2132, section 9.6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The client looks for servers.
    Discover = 1,
    /// A server offers an address.
    Offer = 2,
    /// The client takes an offer, or renews.
    Request = 3,
    /// The client found the address in use.
    Decline = 4,
    /// The server agrees.
    Ack = 5,
    /// The server does not.
    Nak = 6,
    /// The client gives the address back.
    Release = 7,
    /// The client has an address and wants the rest.
    Inform = 8,
}

impl Kind {
    fn from_number(number: u8) -> Result<Self, ParseError> {
        Ok(match number {
            1 => Self::Discover,
            2 => Self::Offer,
            3 => Self::Request,
            4 => Self::Decline,
            5 => Self::Ack,
            6 => Self::Nak,
            7 => Self::Release,
            8 => Self::Inform,
            other => return Err(ParseError::UnknownKind(other)),
        })
    }

    /// Whether servers send it.
    pub fn is_reply(self) -> bool {
        matches!(self, Self::Offer | Self::Ack | Self::Nak)
    }
}

/// One route of option 121.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// The network; host bits are zero.
    pub network: Ipv4Addr,
    /// Its prefix length, 0 to 32.
    pub prefix: u8,
    /// The router; 0.0.0.0 means that the network is on this link (RFC 3442).
    pub router: Ipv4Addr,
}

/// A message. Absent options are `None` or empty. An option that is longer than its
/// meaning allows is an error when the address depends on it; an MTU, a time server or a
/// log server that makes no sense counts as absent, like a text that is none.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(
    missing_docs,
    reason = "the names are those of RFC 2131 and of `option`"
)]
pub struct Message {
    pub kind: Kind,
    pub xid: u32,
    pub secs: u16,
    pub broadcast: bool,
    pub ciaddr: Ipv4Addr,
    pub yiaddr: Ipv4Addr,
    pub siaddr: Ipv4Addr,
    pub chaddr: [u8; 6],
    pub sname: Option<String>,
    pub file: Option<String>,
    pub netmask: Option<Ipv4Addr>,
    pub routers: Vec<Ipv4Addr>,
    pub dns: Vec<Ipv4Addr>,
    pub log: Vec<Ipv4Addr>,
    pub hostname: Option<String>,
    pub domain: Option<String>,
    pub mtu: Option<u16>,
    pub ntp: Vec<Ipv4Addr>,
    pub requested: Option<Ipv4Addr>,
    pub lease: Option<u32>,
    pub server_id: Option<Ipv4Addr>,
    pub parameters: Vec<u8>,
    pub message: Option<String>,
    pub max_size: Option<u16>,
    pub t1: Option<u32>,
    pub t2: Option<u32>,
    pub client_id: Vec<u8>,
    pub boot_server: Option<String>,
    pub boot_file: Option<String>,
    pub search: Vec<String>,
    pub routes: Vec<Route>,
}

impl Message {
    /// A message without options but its type.
    pub fn new(kind: Kind, xid: u32, chaddr: [u8; 6]) -> Self {
        let none = Ipv4Addr::UNSPECIFIED;
        Self {
            kind,
            xid,
            secs: 0,
            broadcast: false,
            ciaddr: none,
            yiaddr: none,
            siaddr: none,
            chaddr,
            sname: None,
            file: None,
            netmask: None,
            routers: Vec::new(),
            dns: Vec::new(),
            log: Vec::new(),
            hostname: None,
            domain: None,
            mtu: None,
            ntp: Vec::new(),
            requested: None,
            lease: None,
            server_id: None,
            parameters: Vec::new(),
            message: None,
            max_size: None,
            t1: None,
            t2: None,
            client_id: Vec::new(),
            boot_server: None,
            boot_file: None,
            search: Vec::new(),
            routes: Vec::new(),
        }
    }

    /// Reads the payload of a UDP datagram.
    ///
    /// # Errors
    /// See [`ParseError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        let packet = Packet::new(bytes)?;
        let options = packet.options();
        let kind = match options.get(option::KIND) {
            Some([number]) => Kind::from_number(*number)?,
            Some(_) => return Err(ParseError::OptionLength(option::KIND)),
            None => return Err(ParseError::NoKind),
        };
        if kind.is_reply() != packet.is_reply() {
            return Err(ParseError::Operation(bytes[0]));
        }
        let words = |number| options.get(number).and_then(text);
        Ok(Self {
            kind,
            xid: packet.xid(),
            secs: packet.secs(),
            broadcast: packet.broadcast(),
            ciaddr: packet.ciaddr(),
            yiaddr: packet.yiaddr(),
            siaddr: packet.siaddr(),
            chaddr: packet.chaddr(),
            sname: packet.sname(&options),
            file: packet.file(&options),
            netmask: number(&options, option::NETMASK)?.map(u32::into),
            routers: addresses(&options, option::ROUTERS)?,
            dns: addresses(&options, option::DNS)?,
            log: addresses(&options, option::LOG).unwrap_or_default(),
            hostname: words(option::HOSTNAME),
            domain: words(option::DOMAIN),
            mtu: short(&options, option::MTU).unwrap_or_default(),
            ntp: addresses(&options, option::NTP).unwrap_or_default(),
            requested: number(&options, option::REQUESTED)?.map(u32::into),
            lease: number(&options, option::LEASE)?,
            server_id: number(&options, option::SERVER_ID)?.map(u32::into),
            parameters: options.get(option::PARAMETERS).unwrap_or_default().to_vec(),
            message: words(option::MESSAGE),
            max_size: short(&options, option::MAX_SIZE)?,
            t1: number(&options, option::T1)?,
            t2: number(&options, option::T2)?,
            client_id: options.get(option::CLIENT_ID).unwrap_or_default().to_vec(),
            boot_server: words(option::BOOT_SERVER),
            boot_file: words(option::BOOT_FILE),
            search: options.get(option::SEARCH).map(search).unwrap_or_default(),
            routes: classless_routes(&options)?,
        })
    }

    /// Appends the message to `out`, at least 300 bytes long.
    pub fn emit(&self, out: &mut Vec<u8>) {
        let mut writer = Writer::new(
            out,
            &Fixed {
                reply: self.kind.is_reply(),
                xid: self.xid,
                secs: self.secs,
                broadcast: self.broadcast,
                addresses: [self.ciaddr, self.yiaddr, self.siaddr],
                chaddr: self.chaddr,
                sname: self.sname.as_deref().unwrap_or(""),
                file: self.file.as_deref().unwrap_or(""),
            },
        );
        writer.option(option::KIND, &[self.kind as u8]);
        self.emit_options(&mut writer);
        writer.finish();
    }

    /// All options but the message type; empty ones are left out.
    fn emit_options(&self, writer: &mut Writer<'_>) {
        for (number, address) in [
            (option::NETMASK, self.netmask),
            (option::REQUESTED, self.requested),
            (option::SERVER_ID, self.server_id),
        ] {
            if let Some(address) = address {
                writer.option(number, &address.octets());
            }
        }
        for (number, list) in [
            (option::ROUTERS, &self.routers),
            (option::DNS, &self.dns),
            (option::LOG, &self.log),
            (option::NTP, &self.ntp),
        ] {
            let bytes: Vec<u8> = list.iter().flat_map(Ipv4Addr::octets).collect();
            writer.option(number, &bytes);
        }
        for (number, value) in [(option::MTU, self.mtu), (option::MAX_SIZE, self.max_size)] {
            if let Some(value) = value {
                writer.option(number, &value.to_be_bytes());
            }
        }
        for (number, value) in [
            (option::LEASE, self.lease),
            (option::T1, self.t1),
            (option::T2, self.t2),
        ] {
            if let Some(value) = value {
                writer.option(number, &value.to_be_bytes());
            }
        }
        for (number, words) in [
            (option::HOSTNAME, &self.hostname),
            (option::DOMAIN, &self.domain),
            (option::MESSAGE, &self.message),
            (option::BOOT_SERVER, &self.boot_server),
            (option::BOOT_FILE, &self.boot_file),
        ] {
            if let Some(words) = words {
                writer.option(number, words.as_bytes());
            }
        }
        writer.option(option::CLIENT_ID, &self.client_id);
        writer.option(option::PARAMETERS, &self.parameters);
        writer.option(option::SEARCH, &emit_search(&self.search));
        writer.option(option::ROUTES, &emit_routes(&self.routes));
    }
}

/// Option 121, or else its twin.
fn classless_routes(options: &Options) -> Result<Vec<Route>, ParseError> {
    for number in [option::ROUTES, option::ROUTES_MS] {
        if let Some(bytes) = options.get(number) {
            return routes(bytes).ok_or(ParseError::OptionLength(number));
        }
    }
    Ok(Vec::new())
}

/// An option of exactly four bytes.
fn number(options: &Options, number: u8) -> Result<Option<u32>, ParseError> {
    options
        .get(number)
        .map(|bytes| bytes.try_into().map(u32::from_be_bytes))
        .transpose()
        .map_err(|_| ParseError::OptionLength(number))
}

/// An option of exactly two bytes.
fn short(options: &Options, number: u8) -> Result<Option<u16>, ParseError> {
    options
        .get(number)
        .map(|bytes| bytes.try_into().map(u16::from_be_bytes))
        .transpose()
        .map_err(|_| ParseError::OptionLength(number))
}

/// An option of one or more addresses.
fn addresses(options: &Options, number: u8) -> Result<Vec<Ipv4Addr>, ParseError> {
    let bytes = options.get(number).unwrap_or_default();
    let (addresses, []) = bytes.as_chunks::<4>() else {
        return Err(ParseError::OptionLength(number));
    };
    Ok(addresses.iter().copied().map(Ipv4Addr::from).collect())
}

/// Option 121: prefix length, the significant bytes of the network, the router, again
/// and again (RFC 3442). `None` for anything else.
fn routes(mut bytes: &[u8]) -> Option<Vec<Route>> {
    let mut routes = Vec::new();
    while let [prefix, rest @ ..] = bytes {
        let significant = usize::from(prefix.div_ceil(8));
        if *prefix > 32 || rest.len() < significant + 4 {
            return None;
        }
        let mut network = [0; 4];
        network[..significant].copy_from_slice(&rest[..significant]);
        let mut router = [0; 4];
        router.copy_from_slice(&rest[significant..significant + 4]);
        let mask = u32::MAX.checked_shl(32 - u32::from(*prefix)).unwrap_or(0);
        routes.push(Route {
            network: Ipv4Addr::from(u32::from_be_bytes(network) & mask),
            prefix: *prefix,
            router: router.into(),
        });
        bytes = &rest[significant + 4..];
    }
    Some(routes)
}

fn emit_routes(routes: &[Route]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for route in routes {
        bytes.push(route.prefix);
        let significant = usize::from(route.prefix.div_ceil(8)).min(4);
        bytes.extend(&route.network.octets()[..significant]);
        bytes.extend(route.router.octets());
    }
    bytes
}

/// Option 119: names of labels, with pointers back into the option (RFC 3397, RFC 1035
/// section 4.1.4). Names that make no sense are left out.
pub(crate) fn search(bytes: &[u8]) -> Vec<String> {
    let mut names = Vec::new();
    let mut at = 0;
    while at < bytes.len() && names.len() < 16 {
        let Some((name, next)) = domain_name(bytes, at) else {
            break;
        };
        names.extend(text(name.as_bytes()));
        at = next;
    }
    names
}

/// The name at `at` and where the next one begins.
fn domain_name(bytes: &[u8], mut at: usize) -> Option<(String, usize)> {
    let mut name = String::new();
    let mut next = None;
    loop {
        let length = usize::from(*bytes.get(at)?);
        match length {
            0 => return Some((name, next.unwrap_or(at + 1))),
            1..=63 => {
                let label = std::str::from_utf8(bytes.get(at + 1..at + 1 + length)?).ok()?;
                // A dot inside a label, or 255 bytes of name, is not what people write.
                if label.contains('.') || name.len() + length > 254 {
                    return None;
                }
                if !name.is_empty() {
                    name.push('.');
                }
                name.push_str(label);
                at += 1 + length;
            }
            192.. => {
                let target = (length & 0x3f) << 8 | usize::from(*bytes.get(at + 1)?);
                // Only backwards, so that no chain of pointers is endless.
                if target >= at {
                    return None;
                }
                next = next.or(Some(at + 2));
                at = target;
            }
            _ => return None,
        }
    }
}

/// Names of labels, without pointers.
pub(crate) fn emit_search(names: &[String]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for name in names {
        for label in name.split('.') {
            bytes.push(label.len().min(63) as u8);
            bytes.extend(&label.as_bytes()[..label.len().min(63)]);
        }
        bytes.push(0);
    }
    bytes
}
