//! What a ring of dolly+ tells the person in front of it.

use std::fmt;
use std::time::Duration;

use goldring_wire::dolly::listed;
use goldring_wire::dollyplus::own::Verdict;
use goldring_wire::dollyplus::packet::Entry;
use goldring_wire::dollyplus::status::State;

/// Something happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A client waits for a ring.
    Waiting {
        /// How long it goes on, when there is an end.
        left: Option<Duration>,
    },
    /// A connection that is not a ring's was dropped.
    Dropped {
        /// Who.
        peer: String,
        /// Why.
        why: String,
    },
    /// Golden node: who has not answered yet.
    Missing(Vec<String>),
    /// Client: a RING packet called it.
    Called {
        /// The golden node.
        server: String,
        /// This client's name.
        name: String,
    },
    /// The next computer was found.
    Next(String),
    /// The ring is closed; these are its hosts with their states.
    Ring(Vec<Entry>),
    /// These files are copied: how they are cooked, and the outputs.
    Files(Vec<Entry>),
    /// Data moves; how much, when that is known; and whether every member is goldring.
    Started {
        /// Bytes.
        total: Option<u64>,
        /// Checksums, verdicts, compression.
        own: bool,
    },
    /// A file begins: its number and name.
    File(usize, String),
    /// So much of so much has moved.
    Progress(u64, Option<u64>),
    /// Golden node: what a member says of itself.
    Host(String, State),
    /// Somebody left this computer out, and why.
    Lost {
        /// Who is left out.
        name: String,
        /// By whom.
        by: String,
        /// Why.
        why: String,
    },
    /// A client's neighbour is gone; it waits for another one.
    Orphaned(String),
    /// Golden node: the others cannot wait for this client. Why, in a sentence behind its
    /// name; it gets the rest at the end.
    LeftBehind {
        /// Who.
        name: String,
        /// What is slow, and how slow.
        slow: Slow,
    },
    /// Client: the others go on without this computer.
    SteppedOut,
    /// Another computer took a neighbour's place and goes on at this chunk.
    Resumed(String, u64),
    /// Everything is stored here; the others are waited for.
    Stored,
    /// Golden node: what a computer says at the end.
    Verdict(String, Verdict),
    /// Golden node: these are waited for once more.
    Late(Vec<String>, Duration),
    /// Anything else worth a line.
    Note(String),
}

/// What of a computer holds a ring up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slow {
    /// Which part of it.
    pub part: SlowPart,
    /// What everybody got because of it, in bytes in a second.
    pub rate: u64,
    /// What the others could take.
    pub others: u64,
}

/// The part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlowPart {
    /// Its target.
    Disk,
    /// What it receives.
    Receives,
    /// What it sends on.
    Sends,
}

impl fmt::Display for Slow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = match self.part {
            SlowPart::Disk => "its disk takes",
            SlowPart::Receives => "its network takes",
            SlowPart::Sends => "its network sends on",
        };
        let megabytes = |bytes: u64| bytes as f64 / 1e6;
        let (rate, others) = (megabytes(self.rate), megabytes(self.others));
        write!(
            f,
            "{part} {rate:.1} MB/s, the others could have {others:.1}"
        )
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Waiting { left } => {
                f.write_str("waiting for the golden node (ports 9997 and 9998)")?;
                left.map_or(Ok(()), |left| write!(f, ", {} s left", left.as_secs()))
            }
            Self::Dropped { peer, why } => write!(f, "{peer} {why}; it is dropped"),
            Self::Missing(names) => write!(f, "still waiting for {}", listed(names)),
            Self::Called { server, name } => {
                write!(f, "Server name is {server}, my name is {name}.")
            }
            Self::Next(name) => write!(f, "{name} is the next adjacent host."),
            Self::Ring(hosts) => {
                let here =
                    |entry: &&Entry| entry.flag == goldring_wire::dollyplus::packet::AVAILABLE;
                let members = hosts.iter().filter(here).count();
                write!(
                    f,
                    "the ring is closed, {members} computers of {}",
                    hosts.len()
                )
            }
            Self::Files(files) => write!(f, "{} files to copy", files.len()),
            Self::Started { total, own } => {
                match total {
                    Some(total) => write!(f, "{total} bytes to come")?,
                    None => f.write_str("data to come")?,
                }
                if *own {
                    f.write_str(", with checksums")
                } else {
                    f.write_str(", without checksums: an old dolly+ is in the ring")
                }
            }
            Self::File(number, name) => write!(f, "file No.={number} '{name}'"),
            Self::Progress(done, _) => write!(f, "{done} bytes moved"),
            Self::Host(name, state) => match state {
                State::Waiting => write!(f, "{name} waits"),
                State::Busy { received, stored } => {
                    write!(f, "{name} has {received} bytes, {stored} stored")
                }
                State::Done => write!(f, "{name} has everything"),
            },
            Self::Lost { name, by, why } => write!(f, "{name} is left out by {by}: {name} {why}"),
            Self::Orphaned(why) => write!(f, "{why}; waiting for another neighbour"),
            Self::LeftBehind { name, slow } => write!(
                f,
                "{name} is left behind: {slow}; it gets the rest when they are through"
            ),
            Self::SteppedOut => f.write_str(
                "the others go on without this computer; it gets the rest when they are through",
            ),
            Self::Resumed(name, at) => write!(f, "{name} goes on at chunk {at}"),
            Self::Stored => f.write_str("done here, waiting for the others"),
            Self::Verdict(name, verdict) => match verdict {
                Verdict::Willing => write!(f, "{name} is willing"),
                Verdict::Complete { bytes, .. } => {
                    write!(
                        f,
                        "{name} has stored {bytes} bytes, and they are the right ones"
                    )
                }
                Verdict::Failed(why) => write!(f, "{name} failed: {why}"),
            },
            Self::Late(names, left) => write!(
                f,
                "waiting {} s for {} to come back (Ctrl-C ends it)",
                left.as_secs(),
                listed(names)
            ),
            Self::Note(line) => f.write_str(line),
        }
    }
}

/// Takes events. Called from one thread, often; must not block for long.
pub trait Reporter {
    /// Something happened.
    fn event(&mut self, event: Event);
}

impl<F: FnMut(Event)> Reporter for F {
    fn event(&mut self, event: Event) {
        self(event);
    }
}
