//! How a golden node finds the nodes that wait for it: it asks everybody on its networks
//! once a second, and waiting nodes answer. A node only ever answers, so it can be neither
//! told nor made to do anything here.
//!
//! One datagram each way, of goldring's own making:
//!
//! | bytes | query | answer |
//! |---|---|---|
//! | 0–7 | `goldring` | the same |
//! | 8 | version, 1 | the same |
//! | 9 | 1 | 2 |
//! | 10–13 | a number | that of the query |
//! | 14 | who is asked: 1 dolly, 2 dolly+, 3 stage 2 by dolly | what the node waits for |
//! | 15–22 | zeros | a number of the node, the same in all its answers |
//! | 23 | 0 | the length of the name, at most 63 |
//! | 24– | zeros up to 128 bytes | the name |
//!
//! A query is longer than any answer, so that nobody can use a node to flood others. The
//! address of a node is where its answer comes from.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

/// How often the golden node asks.
pub const PERIOD: Duration = Duration::from_secs(1);
/// A node that has not answered for so long waits no more.
const PRESENT: Duration = Duration::from_millis(3500);
/// The length of a query in bytes.
const QUERY: usize = 128;
/// The longest name in an answer, in bytes.
const NAME_MAX: usize = 63;
/// The most nodes that are remembered.
const NODES_MAX: usize = 10_000;
const MAGIC: &[u8; 8] = b"goldring";
const VERSION: u8 = 1;

/// What a node waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// A ring of dolly.
    Dolly,
    /// A ring of dolly+.
    DollyPlus,
    /// A ring of dolly that brings stage 2 (`method:dolly`); no disk is written there.
    Stage2,
}

impl Program {
    fn byte(self) -> u8 {
        match self {
            Self::Dolly => 1,
            Self::DollyPlus => 2,
            Self::Stage2 => 3,
        }
    }

    fn of(byte: u8) -> Option<Self> {
        [Self::Dolly, Self::DollyPlus, Self::Stage2]
            .into_iter()
            .find(|program| program.byte() == byte)
    }
}

/// "Who waits?"
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Query {
    /// Tells the golden node which answers are to it.
    pub number: u32,
    /// Who is asked.
    pub program: Program,
}

/// "I do."
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// That of the query.
    pub number: u32,
    /// What the node waits for.
    pub program: Program,
    /// The same in all answers of a node, and of no other.
    pub node: u64,
    /// What the node is called; for people.
    pub name: String,
}

/// A datagram that is none of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no query or answer of goldring")]
pub struct Unknown;

fn head(kind: u8, number: u32, program: Program) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend([VERSION, kind]);
    bytes.extend(number.to_be_bytes());
    bytes.push(program.byte());
    bytes
}

/// The number and the program of a datagram of this kind.
fn parse_head(bytes: &[u8], kind: u8) -> Result<(u32, Program), Unknown> {
    let (head, rest) = bytes.split_first_chunk::<10>().ok_or(Unknown)?;
    if head[..8] != MAGIC[..] || head[8..] != [VERSION, kind] {
        return Err(Unknown);
    }
    let number = rest.first_chunk().ok_or(Unknown)?;
    let program = rest.get(4).copied().and_then(Program::of).ok_or(Unknown)?;
    Ok((u32::from_be_bytes(*number), program))
}

impl Query {
    /// Reads one.
    ///
    /// # Errors
    /// It is something else, or shorter than an answer could be.
    pub fn parse(bytes: &[u8]) -> Result<Self, Unknown> {
        let (number, program) = parse_head(bytes, 1)?;
        if bytes.len() < QUERY {
            return Err(Unknown);
        }
        Ok(Self { number, program })
    }

    /// Its bytes.
    pub fn emit(&self) -> Vec<u8> {
        let mut bytes = head(1, self.number, self.program);
        bytes.resize(QUERY, 0);
        bytes
    }
}

impl Answer {
    /// Reads one. Nothing in the name can move a console's cursor.
    ///
    /// # Errors
    /// It is something else, or not whole.
    pub fn parse(bytes: &[u8]) -> Result<Self, Unknown> {
        let (number, program) = parse_head(bytes, 2)?;
        let rest = bytes.get(15..).ok_or(Unknown)?;
        let (node, rest) = rest.split_first_chunk().ok_or(Unknown)?;
        let (length, rest) = rest.split_first().ok_or(Unknown)?;
        let length = usize::from(*length);
        if length > NAME_MAX {
            return Err(Unknown);
        }
        let name = rest.get(..length).ok_or(Unknown)?;
        let name = String::from_utf8_lossy(name);
        Ok(Self {
            number,
            program,
            node: u64::from_be_bytes(*node),
            name: name.replace(|c: char| c.is_control(), "?"),
        })
    }

    /// Its bytes; a name that is too long is cut.
    pub fn emit(&self) -> Vec<u8> {
        let mut bytes = head(2, self.number, self.program);
        bytes.extend(self.node.to_be_bytes());
        let end = (0..=NAME_MAX.min(self.name.len())).rev();
        let end = end.into_iter().find(|at| self.name.is_char_boundary(*at));
        let name = &self.name[..end.unwrap_or(0)];
        bytes.push(u8::try_from(name.len()).unwrap_or(0));
        bytes.extend(name.bytes());
        bytes
    }
}

/// A node that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Where it can be reached.
    pub address: Ipv4Addr,
    /// What it is called; may be empty.
    pub name: String,
}

#[derive(Debug)]
struct Seen {
    node: u64,
    name: String,
    heard: Instant,
}

/// The golden node's side: collects answers.
#[derive(Debug)]
pub struct Finder {
    number: u32,
    programs: Vec<Program>,
    seen: BTreeMap<Ipv4Addr, Seen>,
}

impl Finder {
    /// Looks for nodes that wait for one of `programs`; `number` is random.
    pub fn new(programs: &[Program], number: u32) -> Self {
        Self {
            number,
            programs: programs.to_vec(),
            seen: BTreeMap::new(),
        }
    }

    /// What to send to everybody, once in each [`PERIOD`]: a datagram for each program.
    pub fn queries(&self) -> impl Iterator<Item = Vec<u8>> + '_ {
        let number = self.number;
        let query = move |program: &Program| Query {
            number,
            program: *program,
        };
        self.programs.iter().map(move |p| query(p).emit())
    }

    /// Takes a datagram. Whatever is no answer to the query is nothing.
    pub fn answered(&mut self, now: Instant, from: Ipv4Addr, bytes: &[u8]) {
        let Ok(answer) = Answer::parse(bytes) else {
            return;
        };
        let ours = answer.number == self.number && self.programs.contains(&answer.program);
        let room = self.seen.len() < NODES_MAX || self.seen.contains_key(&from);
        if ours && room {
            let seen = Seen {
                node: answer.node,
                name: answer.name,
                heard: now,
            };
            self.seen.insert(from, seen);
        }
    }

    /// Who waits at the moment, in the order of their addresses. A node that answers from
    /// several addresses is there once, with the lowest.
    pub fn present(&self, now: Instant) -> Vec<Found> {
        let mut nodes = std::collections::HashSet::new();
        let here = |seen: &&Seen| now.duration_since(seen.heard) <= PRESENT;
        self.seen
            .iter()
            .filter(|(_, seen)| here(seen) && nodes.insert(seen.node))
            .map(|(address, seen)| Found {
                address: *address,
                name: seen.name.clone(),
            })
            .collect()
    }
}
