//! The messages of a control connection: C structures of a fixed size, copied raw.
//!
//! Unused bytes held what lay on the stack of an old program. Ours are zero, and nobody
//! reads them, but for [`own`](super::own)'s word in a HELLO.

use std::net::Ipv4Addr;

use super::VERSION;

/// How a C compiler laid the structures out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Layout {
    /// 64-bit numbers at multiples of 4: i386, and what the old Makefile forced on x86-64.
    A32,
    /// 64-bit numbers at multiples of 8: x86-64, ARM and MIPS.
    A64,
}

impl Layout {
    /// Both.
    pub const ALL: [Self; 2] = [Self::A32, Self::A64];

    /// Bytes of a message from a client.
    pub const fn to_server(self) -> usize {
        match self {
            Self::A32 => 32,
            Self::A64 => 40,
        }
    }

    /// Bytes of a message from the server.
    pub const fn to_client(self) -> usize {
        match self {
            Self::A32 => 16,
            Self::A64 => 24,
        }
    }

    /// Where the payload begins, behind the type.
    pub(super) const fn payload(self) -> usize {
        match self {
            Self::A32 => 4,
            Self::A64 => 8,
        }
    }

    /// Where a 64-bit number stands that follows an address.
    const fn after_address(self) -> usize {
        match self {
            Self::A32 => 8,
            Self::A64 => 16,
        }
    }

    /// What a connection speaks whose first bytes are these: the name of the protocol
    /// stands right behind the type. `None`: not enough bytes yet.
    ///
    /// # Errors
    /// It is neither.
    pub fn detect(first: &[u8]) -> Result<Option<Self>, NotKa> {
        let mark = &VERSION.as_bytes()[..2];
        for layout in Self::ALL {
            match first.get(layout.payload()..layout.payload() + 2) {
                None => return Ok(None),
                Some(bytes) if bytes == mark => return Ok(Some(layout)),
                Some(_) => {}
            }
        }
        Err(NotKa)
    }
}

/// What came is no message of ka.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("what came is not ka-deploy 0.6")]
pub struct NotKa;

/// When a client says how far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Report {
    /// No longer.
    Never,
    /// Whenever another MiB has come.
    Regularly,
    /// At once.
    Once,
}

/// What a client says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ToServer {
    /// The first word. Whether the client is goldring stands in unused bytes.
    Hello {
        /// It said [`own::WORD`](super::own::WORD).
        own: bool,
    },
    /// A child has connected here; said again when it is served.
    GotClient(Ipv4Addr),
    /// It takes data: this is what `-n` counts.
    AcceptsData,
    /// The data connection to the parent ended.
    ParentLost {
        /// Who that was.
        parent: Ipv4Addr,
        /// How many bytes have come in all.
        received: u64,
    },
    /// Everything came, was passed on and given to the command.
    Finished,
    /// So many bytes have come.
    Position(u64),
    /// Start now, whoever is there.
    GoNow,
    /// Whether it waits for FINISH before it leaves.
    Options {
        /// It does.
        wait: bool,
    },
    /// The answer to a ping.
    Pong,
    /// Words follow that only goldring says: so many bytes.
    Own(OwnHeader),
}

/// What a server says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ToClient {
    /// Never said by any known server.
    Go,
    /// The end of data that the client reported is the real one.
    EndOfFlow,
    /// Leave.
    Finish,
    /// Connect to this parent.
    Parent(Ipv4Addr),
    /// Serve this child.
    AuthChild {
        /// Who.
        child: Ipv4Addr,
        /// From which byte of the stream on.
        offset: u64,
    },
    /// Close the connection of this child.
    DropChild(Ipv4Addr),
    /// Say how far you are.
    ReportPosition(Report),
    /// Say PONG.
    Ping,
    /// Words follow that only goldring says.
    Own(OwnHeader),
}

/// What announces the words of goldring: their kind, and how many bytes follow the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OwnHeader {
    /// See [`own`](super::own).
    pub kind: u16,
    /// Bytes that follow, at most [`own::TAIL_MAX`](super::own::TAIL_MAX).
    pub length: u16,
}

/// The type of a message that has words of goldring behind it: "Gr" in the upper half.
const OWN: u32 = 0x4772_0000;

impl ToServer {
    /// The bytes, all unused ones zero.
    pub fn emit(self, layout: Layout) -> Vec<u8> {
        let mut writer = Writer::new(layout, layout.to_server());
        match self {
            Self::Hello { own } => {
                writer.kind(0).payload(VERSION.as_bytes());
                if own {
                    writer.at(layout.payload() + VERSION.len() + 1, &super::own::WORD);
                }
            }
            Self::GotClient(child) => writer.kind(1).payload(&child.octets()),
            Self::AcceptsData => writer.kind(2).done(),
            Self::ParentLost { parent, received } => {
                writer.kind(3).payload(&parent.octets());
                writer.at(layout.after_address(), &received.to_le_bytes());
            }
            Self::Finished => writer.kind(4).done(),
            Self::Position(received) => writer.kind(5).payload(&received.to_le_bytes()),
            Self::GoNow => writer.kind(6).done(),
            Self::Options { wait } => writer.kind(7).payload(&[u8::from(wait)]),
            Self::Pong => writer.kind(8).done(),
            Self::Own(header) => writer.own(header),
        }
        writer.bytes
    }

    /// Reads one message of exactly [`Layout::to_server`] bytes.
    ///
    /// # Errors
    /// No client says this: an unknown type, a HELLO with another version, a position
    /// below zero.
    pub fn parse(layout: Layout, bytes: &[u8]) -> Result<Self, NotKa> {
        let reader = Reader::new(layout, bytes, layout.to_server())?;
        Ok(match reader.kind {
            0 => {
                let rest = reader.payload.strip_prefix(VERSION.as_bytes());
                let rest = rest.and_then(|rest| rest.strip_prefix(&[0])).ok_or(NotKa)?;
                Self::Hello {
                    own: rest.starts_with(&super::own::WORD),
                }
            }
            1 => Self::GotClient(reader.address()?),
            2 => Self::AcceptsData,
            3 => Self::ParentLost {
                parent: reader.address()?,
                received: reader.offset(layout.after_address())?,
            },
            4 => Self::Finished,
            5 => Self::Position(reader.offset(layout.payload())?),
            6 => Self::GoNow,
            // A C program takes any value but zero for yes.
            7 => Self::Options {
                wait: reader.payload[0] != 0,
            },
            8 => Self::Pong,
            kind => Self::Own(reader.own(kind)?),
        })
    }
}

impl ToClient {
    /// The bytes, all unused ones zero.
    pub fn emit(self, layout: Layout) -> Vec<u8> {
        let mut writer = Writer::new(layout, layout.to_client());
        match self {
            Self::Go => writer.kind(0).done(),
            Self::EndOfFlow => writer.kind(1).done(),
            Self::Finish => writer.kind(2).done(),
            Self::Parent(parent) => writer.kind(3).payload(&parent.octets()),
            Self::AuthChild { child, offset } => {
                writer.kind(4).payload(&child.octets());
                writer.at(layout.after_address(), &offset.to_le_bytes());
            }
            Self::DropChild(child) => writer.kind(5).payload(&child.octets()),
            Self::ReportPosition(report) => {
                let number: u32 = match report {
                    Report::Never => 0,
                    Report::Regularly => 1,
                    Report::Once => 2,
                };
                writer.kind(6).payload(&number.to_le_bytes());
            }
            Self::Ping => writer.kind(7).done(),
            Self::Own(header) => writer.own(header),
        }
        writer.bytes
    }

    /// Reads one message of exactly [`Layout::to_client`] bytes.
    ///
    /// # Errors
    /// No server says this.
    pub fn parse(layout: Layout, bytes: &[u8]) -> Result<Self, NotKa> {
        let reader = Reader::new(layout, bytes, layout.to_client())?;
        Ok(match reader.kind {
            0 => Self::Go,
            1 => Self::EndOfFlow,
            2 => Self::Finish,
            3 => Self::Parent(reader.address()?),
            4 => Self::AuthChild {
                child: reader.address()?,
                offset: reader.offset(layout.after_address())?,
            },
            5 => Self::DropChild(reader.address()?),
            6 => Self::ReportPosition(match reader.number()? {
                0 => Report::Never,
                1 => Report::Regularly,
                2 => Report::Once,
                _ => return Err(NotKa),
            }),
            7 => Self::Ping,
            kind => Self::Own(reader.own(kind)?),
        })
    }
}

struct Writer {
    layout: Layout,
    bytes: Vec<u8>,
}

impl Writer {
    fn new(layout: Layout, size: usize) -> Self {
        Self {
            layout,
            bytes: vec![0; size],
        }
    }

    fn kind(&mut self, kind: u32) -> &mut Self {
        self.at(0, &kind.to_le_bytes());
        self
    }

    fn payload(&mut self, bytes: &[u8]) {
        self.at(self.layout.payload(), bytes);
    }

    fn own(&mut self, header: OwnHeader) {
        self.kind(OWN | u32::from(header.kind))
            .payload(&header.length.to_le_bytes());
    }

    fn at(&mut self, place: usize, bytes: &[u8]) {
        self.bytes[place..place + bytes.len()].copy_from_slice(bytes);
    }

    /// A message without a payload.
    fn done(&self) {}
}

struct Reader<'a> {
    bytes: &'a [u8],
    kind: u32,
    payload: &'a [u8],
}

impl<'a> Reader<'a> {
    fn new(layout: Layout, bytes: &'a [u8], size: usize) -> Result<Self, NotKa> {
        if bytes.len() != size {
            return Err(NotKa);
        }
        let (kind, _) = bytes.split_first_chunk().ok_or(NotKa)?;
        Ok(Self {
            bytes,
            kind: u32::from_le_bytes(*kind),
            payload: &bytes[layout.payload()..],
        })
    }

    fn address(&self) -> Result<Ipv4Addr, NotKa> {
        let (octets, _) = self.payload.split_first_chunk::<4>().ok_or(NotKa)?;
        Ok(Ipv4Addr::from(*octets))
    }

    fn number(&self) -> Result<u32, NotKa> {
        let (number, _) = self.payload.split_first_chunk().ok_or(NotKa)?;
        Ok(u32::from_le_bytes(*number))
    }

    /// A position; they are signed and never below zero.
    fn offset(&self, place: usize) -> Result<u64, NotKa> {
        let (number, _) = self.bytes[place..].split_first_chunk().ok_or(NotKa)?;
        u64::try_from(i64::from_le_bytes(*number)).map_err(|_| NotKa)
    }

    fn own(&self, kind: u32) -> Result<OwnHeader, NotKa> {
        let length = self.payload.split_first_chunk().ok_or(NotKa)?.0;
        let header = OwnHeader {
            kind: u16::try_from(kind ^ OWN).map_err(|_| NotKa)?,
            length: u16::from_le_bytes(*length),
        };
        if usize::from(header.length) > super::own::TAIL_MAX {
            return Err(NotKa);
        }
        Ok(header)
    }
}
