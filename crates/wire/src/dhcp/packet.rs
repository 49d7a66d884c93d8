//! The bytes of a DHCP message: a bounds-checked view (RFC 2131, section 2) and the
//! options with overload (RFC 2132, section 9.3) and splitting (RFC 3396).

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// Length of the fixed part, up to and without the magic cookie.
pub const FIXED_LEN: usize = 236;
/// Marks the options field (RFC 2131, section 3).
pub const MAGIC_COOKIE: [u8; 4] = [99, 130, 83, 99];
/// Old servers drop anything shorter (RFC 1542, section 2.1).
pub const MIN_LEN: usize = 300;

const SNAME: std::ops::Range<usize> = 44..108;
const FILE: std::ops::Range<usize> = 108..236;

const OPTION_PAD: u8 = 0;
const OPTION_OVERLOAD: u8 = 52;
const OPTION_END: u8 = 255;

/// Why bytes are no DHCP message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Shorter than the fixed part with the magic cookie.
    #[error("only {0} bytes")]
    Short(usize),
    /// Plain BOOTP, or something else altogether.
    #[error("no DHCP magic cookie")]
    NoCookie,
    /// Not for Ethernet, or with an impossible address length.
    #[error("not for Ethernet")]
    NotEthernet,
    /// Neither request nor reply.
    #[error("operation {0} is neither request nor reply")]
    Operation(u8),
    /// No message type option, so plain BOOTP.
    #[error("no message type")]
    NoKind,
    /// A message type that RFC 2132 does not have.
    #[error("unknown message type {0}")]
    UnknownKind(u8),
    /// An option whose length does not fit its meaning.
    #[error("option {0} has a wrong length")]
    OptionLength(u8),
}

/// A view of the bytes of one message; the bounds are checked once, in [`Packet::new`].
#[derive(Debug, Clone, Copy)]
pub struct Packet<'a>(&'a [u8]);

impl<'a> Packet<'a> {
    /// Takes the payload of a UDP datagram.
    ///
    /// # Errors
    /// [`ParseError`], if it cannot be a DHCP message over Ethernet.
    pub fn new(bytes: &'a [u8]) -> Result<Self, ParseError> {
        if bytes.len() < FIXED_LEN + MAGIC_COOKIE.len() {
            return Err(ParseError::Short(bytes.len()));
        }
        if bytes[FIXED_LEN..FIXED_LEN + 4] != MAGIC_COOKIE {
            return Err(ParseError::NoCookie);
        }
        // htype 1 (Ethernet) has hlen 6 (RFC 1700, "Hardware Type").
        if bytes[1] != 1 || bytes[2] != 6 {
            return Err(ParseError::NotEthernet);
        }
        match bytes[0] {
            1 | 2 => Ok(Self(bytes)),
            other => Err(ParseError::Operation(other)),
        }
    }

    /// Whether this is a reply (of a server).
    pub fn is_reply(self) -> bool {
        self.0[0] == 2
    }

    /// The transaction.
    pub fn xid(self) -> u32 {
        u32::from_be_bytes(self.array(4))
    }

    /// Seconds since the client began.
    pub fn secs(self) -> u16 {
        u16::from_be_bytes(self.array(8))
    }

    /// Whether the client asked for replies by broadcast.
    pub fn broadcast(self) -> bool {
        self.0[10] & 0x80 != 0
    }

    /// The client's present address.
    pub fn ciaddr(self) -> Ipv4Addr {
        self.array(12).into()
    }

    /// The address that is offered.
    pub fn yiaddr(self) -> Ipv4Addr {
        self.array(16).into()
    }

    /// The next server of a PXE boot.
    pub fn siaddr(self) -> Ipv4Addr {
        self.array(20).into()
    }

    /// The client's hardware address.
    pub fn chaddr(self) -> [u8; 6] {
        self.array(28)
    }

    /// All options by number; the parts of a split one are joined (RFC 3396, section
    /// 7), and `file` and `sname` are read when option 52 says that they hold options.
    /// A truncated option ends its field, as in other clients.
    pub fn options(self) -> Options {
        let mut options = Options::default();
        options.read(&self.0[FIXED_LEN + MAGIC_COOKIE.len()..]);
        let overload = options
            .values
            .remove(&OPTION_OVERLOAD)
            .and_then(|value| value.first().copied())
            .unwrap_or(0);
        // The order file, then sname is that of RFC 3396, section 5.
        if overload & 1 != 0 {
            options.read(&self.0[FILE]);
        }
        if overload & 2 != 0 {
            options.read(&self.0[SNAME]);
        }
        // An overload inside an overloaded field means nothing.
        options.values.remove(&OPTION_OVERLOAD);
        options.overload = overload & 3;
        options
    }

    /// `sname` as text, when it holds no options.
    pub fn sname(self, options: &Options) -> Option<String> {
        (options.overload & 2 == 0)
            .then(|| text(&self.0[SNAME]))
            .flatten()
    }

    /// `file` as text, when it holds no options.
    pub fn file(self, options: &Options) -> Option<String> {
        (options.overload & 1 == 0)
            .then(|| text(&self.0[FILE]))
            .flatten()
    }

    fn array<const N: usize>(self, at: usize) -> [u8; N] {
        let mut array = [0; N];
        array.copy_from_slice(&self.0[at..at + N]);
        array
    }
}

/// The options of one message, joined, by number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    values: BTreeMap<u8, Vec<u8>>,
    overload: u8,
}

impl Options {
    /// The bytes of an option.
    pub fn get(&self, number: u8) -> Option<&[u8]> {
        self.values.get(&number).map(Vec::as_slice)
    }

    /// Reads one field of options into the table; stops at option 255 or where the
    /// bytes end.
    fn read(&mut self, mut field: &[u8]) {
        while let [number, rest @ ..] = field {
            match *number {
                OPTION_PAD => field = rest,
                OPTION_END => return,
                number => {
                    let Some((&length, rest)) = rest.split_first() else {
                        return;
                    };
                    let Some((value, rest)) = rest.split_at_checked(length.into()) else {
                        return;
                    };
                    self.values.entry(number).or_default().extend(value);
                    field = rest;
                }
            }
        }
    }
}

/// The text in `bytes`: up to the first NUL (some servers end texts with one), not
/// empty, and without control characters, since texts travel into `/etc/resolv.conf`.
pub fn text(bytes: &[u8]) -> Option<String> {
    let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
    let text = std::str::from_utf8(&bytes[..end]).ok()?;
    (!text.is_empty() && !text.chars().any(char::is_control)).then(|| text.to_owned())
}

/// Writes a message: the fixed part first, then options, then the end.
#[derive(Debug)]
pub struct Writer<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
}

/// What the fixed part holds.
#[derive(Debug, Clone, Copy)]
pub struct Fixed<'a> {
    /// A server's message.
    pub reply: bool,
    /// The transaction.
    pub xid: u32,
    /// Seconds since the client began.
    pub secs: u16,
    /// Replies by broadcast, please.
    pub broadcast: bool,
    /// ciaddr, yiaddr and siaddr.
    pub addresses: [Ipv4Addr; 3],
    /// The client's hardware address.
    pub chaddr: [u8; 6],
    /// Cut at 64 bytes.
    pub sname: &'a str,
    /// Cut at 128 bytes.
    pub file: &'a str,
}

impl<'a> Writer<'a> {
    /// Begins a message at the end of `out`.
    pub fn new(out: &'a mut Vec<u8>, fixed: &Fixed<'_>) -> Self {
        let start = out.len();
        out.extend([if fixed.reply { 2 } else { 1 }, 1, 6, 0]);
        out.extend(fixed.xid.to_be_bytes());
        out.extend(fixed.secs.to_be_bytes());
        // RFC 2131, figure 2: the broadcast flag is the highest bit.
        out.extend([if fixed.broadcast { 0x80 } else { 0 }, 0]);
        for address in fixed.addresses {
            out.extend(address.octets());
        }
        out.extend([0; 4]);
        out.extend(fixed.chaddr);
        out.extend([0; 10]);
        for (text, width) in [(fixed.sname, SNAME.len()), (fixed.file, FILE.len())] {
            let bytes = text.as_bytes();
            let length = bytes.len().min(width);
            out.extend(&bytes[..length]);
            out.resize(out.len() + width - length, 0);
        }
        out.extend(MAGIC_COOKIE);
        Self { out, start }
    }

    /// Adds an option; one of more than 255 bytes is split (RFC 3396, section 6).
    pub fn option(&mut self, number: u8, value: &[u8]) {
        for part in value.chunks(255) {
            self.out.extend([number, part.len() as u8]);
            self.out.extend(part);
        }
    }

    /// Ends the message and fills it up to [`MIN_LEN`].
    pub fn finish(self) {
        self.out.push(OPTION_END);
        if self.out.len() < self.start + MIN_LEN {
            self.out.resize(self.start + MIN_LEN, OPTION_PAD);
        }
    }
}
