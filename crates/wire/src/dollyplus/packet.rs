//! The packets of 0.93. All integers are big-endian.
//!
//! Every packet begins with eight bytes that say what it is and how much follows
//! ([`Head`]), so a reader needs no state: it reads eight bytes, then so many more.

use super::{CHUNK, HOSTS_MAX, NAME_MAX};

/// A computer that has confirmed to be there.
pub const AVAILABLE: u8 = 1;
/// "The entry with this flag is you."
pub const CALLED: u8 = 2;
/// Passed over, or not confirmed yet.
pub const ABSENT: u8 = 3;

/// The length of what every packet begins with.
pub const HEAD: usize = 8;
/// The longest operand of a command.
pub const OPERAND_MAX: usize = 128;
/// The longest body of a packet of goldring's own; chunks apart.
pub const OWN_MAX: usize = 256 << 10;

/// What a list is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// RING: the hosts, while the ring is built.
    Ring,
    /// HOST: the hosts, once it is.
    Host,
    /// FILE: the outputs and how to cook them.
    File,
}

impl Kind {
    const ALL: [(Self, [u8; 4], [u8; 4]); 3] = [
        (Self::Ring, *b"ROPN", *b"RCLS"),
        (Self::Host, *b"HOPN", *b"HCLS"),
        (Self::File, *b"FBEG", *b"FEND"),
    ];

    fn close(self) -> [u8; 4] {
        let found = Self::ALL.iter().find(|(kind, ..)| *kind == self);
        found.map_or(*b"RCLS", |(_, _, close)| *close)
    }

    fn open(self) -> [u8; 4] {
        let found = Self::ALL.iter().find(|(kind, ..)| *kind == self);
        found.map_or(*b"ROPN", |(_, open, _)| *open)
    }
}

/// The first eight bytes of a packet, understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Head {
    /// A list: so many bytes of so many entries follow, and four bytes at the end.
    List {
        /// What it is about.
        kind: Kind,
        /// The entries' bytes.
        bytes: u16,
        /// How many entries.
        count: u16,
    },
    /// FLNO: the chunks of this file come next. Nothing follows.
    File(u16),
    /// SEQN or SEND: a sequence number of four bytes and so much payload follow.
    Chunk {
        /// SEND: the file's last one.
        last: bool,
        /// The payload's bytes.
        length: u32,
    },
    /// CMND: so many bytes of operand follow.
    Command {
        /// Which, see [`Command`].
        number: u16,
        /// The operand's bytes.
        bytes: u16,
    },
    /// A packet of goldring's own with so many bytes, see [`super::own`].
    Own {
        /// The two letters that say what it is.
        kind: [u8; 2],
        /// The body's bytes.
        bytes: u32,
    },
}

/// Bytes that are no packet of dolly+. The sentence goes behind a computer's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Strange {
    /// The beginning of no packet.
    #[error("sent {0:?} where a dolly+ packet begins")]
    Magic(String),
    /// Something larger than it may be.
    #[error("sent {what} of {size} bytes, the most is {most}")]
    Large {
        /// What.
        what: &'static str,
        /// How large it says to be.
        size: u64,
        /// How large it may be.
        most: u64,
    },
    /// A list that contradicts itself.
    #[error("sent a list that {0}")]
    List(&'static str),
    /// A command that there is not.
    #[error("sent the command {0}, which dolly+ does not have")]
    Command(u16),
    /// A packet at the wrong moment.
    #[error("sent {got} where {wanted} was due")]
    Order {
        /// What came.
        got: &'static str,
        /// What should have.
        wanted: &'static str,
    },
    /// A chunk out of its order.
    #[error("sent chunk {got} where {wanted} was due")]
    Gap {
        /// Its number.
        got: u64,
        /// The number that was due.
        wanted: u64,
    },
    /// Data that changed on the way.
    #[error("sent chunk {0} with a wrong checksum")]
    Damaged(u64),
    /// A text that cannot be understood.
    #[error("sent {what} that cannot be read: {why}")]
    Text {
        /// Which text.
        what: &'static str,
        /// What is wrong.
        why: String,
    },
}

fn large(what: &'static str, size: u64, most: usize) -> Strange {
    let most = most as u64;
    Strange::Large { what, size, most }
}

impl Head {
    /// Understands eight bytes. Whatever it says to follow is bounded.
    ///
    /// # Errors
    /// They begin no packet, or one that is too large.
    pub fn parse(bytes: &[u8; HEAD]) -> Result<Self, Strange> {
        let [m0, m1, m2, m3, a, b, c, d] = *bytes;
        let magic = [m0, m1, m2, m3];
        let (first, second) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        let long = u32::from_be_bytes([a, b, c, d]);
        if let Some((kind, ..)) = Kind::ALL.iter().find(|(_, open, _)| *open == magic) {
            if usize::from(second) > HOSTS_MAX + 1 {
                return Err(large("a list", u64::from(second), HOSTS_MAX + 1));
            }
            let (kind, bytes, count) = (*kind, first, second);
            return Ok(Self::List { kind, bytes, count });
        }
        match &magic {
            b"FLNO" => Ok(Self::File(second)),
            b"SEQN" | b"SEND" => {
                if long as usize > CHUNK {
                    return Err(large("a chunk", u64::from(long), CHUNK));
                }
                let last = &magic == b"SEND";
                Ok(Self::Chunk { last, length: long })
            }
            b"CMND" => {
                if usize::from(first) > OPERAND_MAX {
                    return Err(large("a command", u64::from(first), OPERAND_MAX));
                }
                let (number, bytes) = (second, first);
                Ok(Self::Command { number, bytes })
            }
            [b'G', b'R', kind @ ..] => {
                if long as usize > OWN_MAX {
                    return Err(large("a packet", u64::from(long), OWN_MAX));
                }
                let kind = *kind;
                Ok(Self::Own { kind, bytes: long })
            }
            _ => Err(Strange::Magic(
                String::from_utf8_lossy(bytes).escape_default().to_string(),
            )),
        }
    }

    /// How a complaint calls it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::List { kind, .. } => match kind {
                Kind::Ring => "a RING packet",
                Kind::Host => "a HOST packet",
                Kind::File => "a FILE packet",
            },
            Self::File(_) => "a file number",
            Self::Chunk { .. } => "data",
            Self::Command { .. } => "a command",
            Self::Own { .. } => "a packet of goldring",
        }
    }
}

/// An entry of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// A host's state, or how to cook a file.
    pub flag: u8,
    /// A host or an output.
    pub name: String,
}

/// A list packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List {
    /// What it is about.
    pub kind: Kind,
    /// The entries; of hosts, the first is the server.
    pub entries: Vec<Entry>,
}

impl List {
    /// The packet's bytes.
    ///
    /// # Errors
    /// More entries or longer names than the format holds.
    pub fn encode(&self) -> Result<Vec<u8>, Strange> {
        let mut body = Vec::new();
        for entry in &self.entries {
            if entry.name.len() > NAME_MAX {
                return Err(large("a name", entry.name.len() as u64, NAME_MAX));
            }
            body.push(entry.flag);
            body.extend_from_slice(entry.name.as_bytes());
            body.push(0);
        }
        let most = usize::from(u16::MAX);
        let bytes = u16::try_from(body.len());
        let bytes = bytes.map_err(|_| large("a list", body.len() as u64, most))?;
        let count = u16::try_from(self.entries.len()).unwrap_or(u16::MAX);
        let mut packet = self.kind.open().to_vec();
        packet.extend(bytes.to_be_bytes());
        packet.extend(count.to_be_bytes());
        packet.extend(body);
        packet.extend(self.kind.close());
        Ok(packet)
    }

    /// How many bytes follow the head of a list.
    pub fn rest(bytes: u16) -> usize {
        usize::from(bytes) + 4
    }

    /// Understands what followed the head: [`List::rest`] bytes.
    ///
    /// # Errors
    /// The entries are not as many as announced, or the end is not one.
    pub fn decode(kind: Kind, count: u16, rest: &[u8]) -> Result<Self, Strange> {
        let Some((body, close)) = rest.split_last_chunk::<4>() else {
            return Err(Strange::List("ends too early"));
        };
        if *close != kind.close() {
            return Err(Strange::List("has a wrong end"));
        }
        let mut entries = Vec::new();
        let mut left = body;
        while let Some((flag, rest)) = left.split_first() {
            let end = rest.iter().position(|b| *b == 0);
            let end = end.ok_or(Strange::List("ends within a name"))?;
            let (flag, name) = (*flag, text(&rest[..end])?);
            entries.push(Entry { flag, name });
            left = &rest[end + 1..];
        }
        if entries.len() != usize::from(count) {
            return Err(Strange::List("has not as many entries as it says"));
        }
        Ok(Self { kind, entries })
    }
}

fn text(bytes: &[u8]) -> Result<String, Strange> {
    if bytes.len() > NAME_MAX {
        return Err(large("a name", bytes.len() as u64, NAME_MAX));
    }
    let text =
        std::str::from_utf8(bytes).map_err(|_| Strange::List("has a name that is no text"))?;
    if text.is_empty() || text.chars().any(char::is_control) {
        return Err(Strange::List("has a name that is none"));
    }
    Ok(text.to_owned())
}

/// FLNO.
pub fn file_number(number: u16) -> [u8; HEAD] {
    let mut packet = *b"FLNO\0\0\0\0";
    packet[6..].copy_from_slice(&number.to_be_bytes());
    packet
}

/// The beginning of a chunk: magic, length, sequence number.
pub fn chunk_head(last: bool, length: u32, sequence: u32) -> [u8; 12] {
    let mut packet = [0; 12];
    packet[..4].copy_from_slice(if last { b"SEND" } else { b"SEQN" });
    packet[4..8].copy_from_slice(&length.to_be_bytes());
    packet[8..].copy_from_slice(&sequence.to_be_bytes());
    packet
}

/// A command: one to a connection, on the control port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// 1: your neighbour is gone, I am your new one.
    Reconnect,
    /// 2, the answer: the chunk that is wanted next.
    Wanted(u32),
    /// 3: stop for a while. 0.93 never sends it.
    Xoff,
    /// 4: go on. Nobody sends it.
    Xon,
    /// 5: what happened to a neighbour, for the server.
    Report(String),
    /// 6: how are you?
    Ping,
    /// 7, the answer.
    Status(String),
    /// 8: the last client has everything.
    Stop(String),
    /// 0x4701, goldring: a client was passed over and is back; its name and the chunk
    /// that it wants next.
    Back {
        /// As the list names it.
        name: String,
        /// The chunk.
        wanted: u32,
    },
    /// 0x4702, goldring: everything that follows on this connection is only to be taken,
    /// to see how fast that goes; its end is answered with a status.
    Probe,
    /// 0x4703, goldring: the others cannot wait for this client; it lets go of its
    /// neighbours, keeps what it has, and gets the rest at the end.
    StepOut,
}

/// What 0.93 sends as the operand of a ping has four bytes.
const NOTHING: [u8; 4] = [0; 4];
const BACK: u16 = 0x4701;
const PROBE: u16 = 0x4702;
const STEP_OUT: u16 = 0x4703;

impl Command {
    /// Understands an operand.
    ///
    /// # Errors
    /// The number is unknown, or the operand is not one of it.
    pub fn decode(number: u16, operand: &[u8]) -> Result<Self, Strange> {
        let said = || printable(operand);
        let sequence = |bytes: &[u8]| {
            let bytes = bytes.first_chunk().copied();
            bytes.map(u32::from_be_bytes).ok_or(Strange::Text {
                what: "a sequence number",
                why: "it has fewer than four bytes".to_owned(),
            })
        };
        match number {
            1 => Ok(Self::Reconnect),
            2 => Ok(Self::Wanted(sequence(operand)?)),
            3 => Ok(Self::Xoff),
            4 => Ok(Self::Xon),
            5 => Ok(Self::Report(said())),
            6 => Ok(Self::Ping),
            7 => Ok(Self::Status(said())),
            8 => Ok(Self::Stop(said())),
            BACK => Ok(Self::Back {
                wanted: sequence(operand)?,
                name: printable(&operand[4..]),
            }),
            PROBE => Ok(Self::Probe),
            STEP_OUT => Ok(Self::StepOut),
            other => Err(Strange::Command(other)),
        }
    }

    /// The packet's bytes. A text that is too long is cut.
    pub fn encode(&self) -> Vec<u8> {
        let (number, operand) = match self {
            Self::Reconnect => (1, NOTHING.to_vec()),
            Self::Wanted(sequence) => (2, sequence.to_be_bytes().to_vec()),
            Self::Xoff => (3, Vec::new()),
            Self::Xon => (4, Vec::new()),
            Self::Report(text) => (5, text.clone().into_bytes()),
            Self::Ping => (6, vec![0, 0, 0, 3]),
            Self::Status(text) => (7, text.clone().into_bytes()),
            Self::Stop(text) => (8, text.clone().into_bytes()),
            Self::Back { name, wanted } => {
                let mut operand = wanted.to_be_bytes().to_vec();
                operand.extend_from_slice(name.as_bytes());
                (BACK, operand)
            }
            Self::Probe => (PROBE, Vec::new()),
            Self::StepOut => (STEP_OUT, Vec::new()),
        };
        let operand = &operand[..operand.len().min(OPERAND_MAX)];
        let bytes = u16::try_from(operand.len()).unwrap_or(u16::MAX);
        let mut packet = b"CMND".to_vec();
        packet.extend(bytes.to_be_bytes());
        packet.extend(u16::to_be_bytes(number));
        packet.extend_from_slice(operand);
        packet
    }
}

/// Nothing that a peer sends may move a console's cursor.
fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_end_matches(['\0', '\n']);
    text.chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}

/// What a client reports to the server when it leaves a neighbour out.
pub fn left_out(me: &str, neighbour: &str) -> String {
    format!("(<{me}): Stop to sending to {neighbour}.")
}

/// What the last client tells the server at its end; the spelling is that of 0.93.
pub fn last_finished(me: &str) -> String {
    format!("END:(<{me}): The last node finish recieving.")
}
