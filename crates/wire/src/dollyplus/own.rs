//! What goldring says to goldring: only in a ring in which every member, asked by the
//! golden node beforehand, has answered that it understands it ([`super::status`]).
//!
//! A packet is `GR`, two letters, the body's length in four bytes, the body.
//!
//! | letters | body | way |
//! |---|---|---|
//! | `PL` | [`Plan`]: instead of FILE, what is to be written and how | once around |
//! | `CH` | [`Chunk`]: 40 bytes; the payload follows behind the packet | onward |
//! | `EN` | nothing: all chunks were sent | onward |
//! | `VD` | [`Verdicts`]: a line of each computer, added as the packet passes | once around |
//! | `BY` | nothing: the golden node has all verdicts | onward |
//! | `AB` | why the golden node stops | onward |

use super::cook::Cook;
use super::packet::Strange;

/// Payload of a chunk, except a file's last one. Smaller than the old one: in a long
/// chain each hop costs the time of one chunk.
pub const CHUNK: usize = 256 << 10;
/// The version that this describes.
pub const VERSION: u32 = 1;
/// The bytes between a chunk packet's head and its payload.
pub const CHUNK_HEAD: usize = 40;

/// What kind of packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A plan.
    Plan,
    /// A chunk.
    Chunk,
    /// The end of all chunks.
    End,
    /// The verdicts.
    Verdicts,
    /// Farewell.
    Bye,
    /// The golden node gives up, and why; or a node that it does not answer any more.
    Abort,
}

impl Kind {
    const ALL: [(Self, [u8; 2]); 6] = [
        (Self::Plan, *b"PL"),
        (Self::Chunk, *b"CH"),
        (Self::End, *b"EN"),
        (Self::Verdicts, *b"VD"),
        (Self::Bye, *b"BY"),
        (Self::Abort, *b"AB"),
    ];

    /// From a head's letters.
    ///
    /// # Errors
    /// There is no such kind.
    pub fn of(letters: [u8; 2]) -> Result<Self, Strange> {
        let found = Self::ALL.iter().find(|(_, own)| *own == letters);
        found.map(|(kind, _)| *kind).ok_or_else(|| {
            let shown = String::from_utf8_lossy(&letters);
            Strange::Magic(format!("GR{}", shown.escape_default()))
        })
    }

    /// A packet of this kind.
    pub fn packet(self, body: &[u8]) -> Vec<u8> {
        let found = Self::ALL.iter().find(|(kind, _)| *kind == self);
        let letters = found.map_or(*b"AB", |(_, letters)| *letters);
        let mut packet = b"GR".to_vec();
        packet.extend(letters);
        packet.extend(u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes());
        packet.extend_from_slice(body);
        packet
    }
}

/// How a chunk's payload stands for its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// As it is.
    Raw,
    /// Nothing: the data is zeros.
    Zeros,
    /// One zstd frame.
    Zstd,
}

/// A chunk without its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk {
    /// Counted over all files from 0.
    pub sequence: u32,
    /// The file, counted from 0.
    pub file: u16,
    /// Whether it is the file's last one.
    pub last: bool,
    /// How the payload stands for the data.
    pub encoding: Encoding,
    /// Where the data belongs in its file.
    pub offset: u64,
    /// The data's bytes.
    pub length: u32,
    /// The payload's bytes.
    pub payload: u32,
    /// Of the data; how it is made is the driver's matter (XXH3, 64 bits).
    pub checksum: u64,
}

impl Chunk {
    /// What stands between the packet's head and the payload.
    pub fn encode(&self) -> [u8; CHUNK_HEAD] {
        let mut bytes = [0; CHUNK_HEAD];
        let encoding = match self.encoding {
            Encoding::Raw => 0,
            Encoding::Zeros => 1,
            Encoding::Zstd => 2,
        };
        bytes[..4].copy_from_slice(&self.sequence.to_be_bytes());
        bytes[4..6].copy_from_slice(&self.file.to_be_bytes());
        bytes[6] = u8::from(self.last);
        bytes[7] = encoding;
        bytes[8..16].copy_from_slice(&self.offset.to_be_bytes());
        bytes[16..20].copy_from_slice(&self.length.to_be_bytes());
        bytes[20..24].copy_from_slice(&self.payload.to_be_bytes());
        bytes[24..32].copy_from_slice(&self.checksum.to_be_bytes());
        bytes
    }

    /// The packet with its head: what goes before the payload.
    pub fn packet(&self) -> Vec<u8> {
        Kind::Chunk.packet(&self.encode())
    }

    /// Understands it.
    ///
    /// # Errors
    /// A length or an encoding that no goldring sends.
    pub fn decode(bytes: &[u8; CHUNK_HEAD]) -> Result<Self, Strange> {
        let four = |at: usize| {
            let bytes = bytes[at..].first_chunk().copied();
            u32::from_be_bytes(bytes.unwrap_or_default())
        };
        let eight = |at: usize| {
            let bytes = bytes[at..].first_chunk().copied();
            u64::from_be_bytes(bytes.unwrap_or_default())
        };
        let text = |why: &str| Strange::Text {
            what: "a chunk",
            why: why.to_owned(),
        };
        let encoding = match bytes[7] {
            0 => Encoding::Raw,
            1 => Encoding::Zeros,
            2 => Encoding::Zstd,
            _ => return Err(text("its encoding is unknown")),
        };
        let chunk = Self {
            sequence: four(0),
            file: u16::from_be_bytes([bytes[4], bytes[5]]),
            last: bytes[6] != 0,
            encoding,
            offset: eight(8),
            length: four(16),
            payload: four(20),
            checksum: eight(24),
        };
        let most = CHUNK as u32;
        let fits = match encoding {
            Encoding::Raw => chunk.payload == chunk.length,
            Encoding::Zeros => chunk.payload == 0,
            Encoding::Zstd => chunk.payload < chunk.length,
        };
        if chunk.length > most || !fits {
            return Err(text("its lengths are impossible"));
        }
        if chunk.offset.checked_add(u64::from(chunk.length)).is_none() {
            return Err(text("its place is impossible"));
        }
        Ok(chunk)
    }
}

/// A file of a [`Plan`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// How to unpack it.
    pub cook: Cook,
    /// Its bytes as they travel, when that is known beforehand.
    pub size: Option<u64>,
    /// Where each client puts it.
    pub output: String,
}

/// What is going to happen, before it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// A name of this run, that of the golden node's clock and process: a client that
    /// was passed over tells by it whether it may go on where it was.
    pub run: String,
    /// Nothing will be written: targets are checked, and that is all.
    pub dry: bool,
    /// The files.
    pub files: Vec<File>,
}

impl Plan {
    /// As text: one line each.
    pub fn encode(&self) -> String {
        let mut text = format!("goldring {VERSION}\nrun {}\n", self.run);
        if self.dry {
            text.push_str("dry\n");
        }
        for file in &self.files {
            let size = file.size.map_or("-".to_owned(), |size| size.to_string());
            text.push_str(&format!(
                "file {} {size} {}\n",
                file.cook.flag(),
                file.output
            ));
        }
        text
    }

    /// Understands it.
    ///
    /// # Errors
    /// The line that cannot be understood.
    pub fn decode(bytes: &[u8]) -> Result<Self, Strange> {
        let bad = |why: String| Strange::Text {
            what: "a plan",
            why,
        };
        let text = std::str::from_utf8(bytes).map_err(|_| bad("it is no text".to_owned()))?;
        let mut plan = Self {
            run: String::new(),
            dry: false,
            files: Vec::new(),
        };
        for line in text.lines() {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            match word {
                "goldring" if rest == VERSION.to_string() => {}
                "run" => plan.run = rest.to_owned(),
                "dry" => plan.dry = true,
                "file" => {
                    let file = file(rest).ok_or_else(|| bad(format!("{line:?}")))?;
                    plan.files.push(file);
                }
                _ => return Err(bad(format!("{line:?}"))),
            }
        }
        if plan.run.is_empty() || plan.files.is_empty() || plan.files.len() > super::FILES_MAX {
            return Err(bad("it names no run or no file".to_owned()));
        }
        Ok(plan)
    }
}

fn file(rest: &str) -> Option<File> {
    let mut words = rest.splitn(3, ' ');
    let cook = Cook::from_flag(words.next()?.parse().ok()?)?;
    let size = match words.next()? {
        "-" => None,
        size => Some(size.parse().ok()?),
    };
    let output = words.next()?.to_owned();
    let usable = !output.is_empty() && !output.chars().any(char::is_control);
    usable.then_some(File { cook, size, output })
}

/// What a computer says at the end of a round.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It can do what the plan says.
    Willing,
    /// It has everything: so many bytes, with this digest.
    Complete {
        /// Of data, over all files.
        bytes: u64,
        /// Over the checksums of all chunks, in hexadecimal.
        digest: String,
    },
    /// It cannot, or could not.
    Failed(String),
}

/// The verdicts, in the order of the ring.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verdicts(pub Vec<(String, Verdict)>);

impl Verdicts {
    /// As text: one line each.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        for (name, verdict) in &self.0 {
            let said = match verdict {
                Verdict::Willing => "willing".to_owned(),
                Verdict::Complete { bytes, digest } => format!("complete {bytes} {digest}"),
                Verdict::Failed(why) => format!("failed {}", one_line(why)),
            };
            text.push_str(&format!("{name} {said}\n"));
        }
        text
    }

    /// Understands it.
    ///
    /// # Errors
    /// The line that cannot be understood.
    pub fn decode(bytes: &[u8]) -> Result<Self, Strange> {
        let bad = |why: String| Strange::Text {
            what: "a list of verdicts",
            why,
        };
        let text = std::str::from_utf8(bytes).map_err(|_| bad("it is no text".to_owned()))?;
        let mut all = Self::default();
        for line in text.lines() {
            let parsed = verdict(line).ok_or_else(|| bad(format!("{line:?}")))?;
            all.0.push(parsed);
        }
        Ok(all)
    }

    /// The verdict of a computer.
    pub fn of(&self, name: &str) -> Option<&Verdict> {
        let found = self.0.iter().find(|(own, _)| own == name);
        found.map(|(_, verdict)| verdict)
    }

    /// Adds one, in place of an earlier one of the same computer.
    pub fn add(&mut self, name: &str, verdict: Verdict) {
        self.0.retain(|(own, _)| own != name);
        self.0.push((name.to_owned(), verdict));
    }
}

fn verdict(line: &str) -> Option<(String, Verdict)> {
    let mut words = line.splitn(3, ' ');
    let name = words.next().filter(|name| !name.is_empty())?;
    let (word, rest) = (words.next()?, words.next());
    let verdict = match (word, rest) {
        ("willing", None) => Verdict::Willing,
        ("complete", Some(rest)) => {
            let (bytes, digest) = rest.split_once(' ')?;
            let hex = digest.len() <= 128 && digest.bytes().all(|b| b.is_ascii_hexdigit());
            let (bytes, digest) = (bytes.parse().ok()?, digest.to_owned());
            hex.then_some(Verdict::Complete { bytes, digest })?
        }
        ("failed", Some(why)) => Verdict::Failed(one_line(why)),
        _ => return None,
    };
    Some((name.to_owned(), verdict))
}

/// A sentence that stays on its line, and is no longer than one should be.
pub fn one_line(text: &str) -> String {
    const MOST: usize = 400;
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(MOST)
        .collect()
}
