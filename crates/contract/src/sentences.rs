//! The console sentences that the manuals promise, word for word, and the marks
//! that time a boot.

use std::error::Error;
use std::fmt;

/// `Installing driver X (for "VENDOR|NAME")`, as the old `drvinst` printed it.
pub fn installing_driver(module: &str, name: &str) -> String {
    format!("Installing driver {module} (for \"{name}\")")
}

/// `Can't find X.ko in archive`, as the old module loader printed it.
pub fn cannot_find_module(module: &str) -> String {
    format!("Can't find {module}.ko in archive")
}

/// `=> found a Mandriva Linux root partition on …`, as the old `guessmounts` printed it.
pub fn found_root(name: &str, device: &str) -> String {
    format!("=> found a {name} root partition on {device}")
}

/// Said when no installed system is found (old `guessmounts`).
pub const NO_ROOT_DEVICE: &str = "Could not find your root device :-(.";
/// Said when no dolly server came (manual, "get stage2 with dolly").
pub const NO_DOLLY_SERVER: &str = "Can't reach a valid Dolly server";
/// The first line of a node that waits for dolly+ (manual, its transcript).
pub const DOLLY_PLUS_CLIENT: &str = "I am a dolly+ client";
/// Said when no ka server came (manual, "get stage2 with ka").
pub const NO_KA_SERVER: &str = "Can't reach a valid KA server";

/// Moments of a boot whose time is worth knowing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Milestone {
    /// No driver is left to load.
    ModulesLoaded,
    /// The interface has its address.
    AddressBound,
    /// Stage 2 is fetched, checked and mounted, and the agent runs.
    Stage2Running,
    /// The node is a member of its dolly ring.
    RingJoined,
    /// The last byte is on the disk and synced.
    CloneDone,
}

impl Milestone {
    /// All of them, in the order in which they happen.
    pub const ALL: [Self; 5] = [
        Self::ModulesLoaded,
        Self::AddressBound,
        Self::Stage2Running,
        Self::RingJoined,
        Self::CloneDone,
    ];
}

impl fmt::Display for Milestone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ModulesLoaded => "modules loaded",
            Self::AddressBound => "address bound",
            Self::Stage2Running => "stage 2 running",
            Self::RingJoined => "ring joined",
            Self::CloneDone => "clone done",
        })
    }
}

/// The line that says when a milestone was passed; `seconds` is the kernel's own
/// clock (`CLOCK_BOOTTIME`).
///
/// ```
/// use goldring_contract::sentences::{mark, parse_mark, Milestone};
/// let line = mark(Milestone::AddressBound, 3.25);
/// assert_eq!(line, "goldring: address bound, 3.25 s after kernel start");
/// assert_eq!(parse_mark(&line), Some((Milestone::AddressBound, 3.25)));
/// ```
pub fn mark(milestone: Milestone, seconds: f64) -> String {
    format!("goldring: {milestone}, {seconds:.2} s after kernel start")
}

/// Reads a line that [`mark`] wrote, wherever it stands in `line`.
pub fn parse_mark(line: &str) -> Option<(Milestone, f64)> {
    let rest = &line[line.find("goldring: ")? + "goldring: ".len()..];
    let (what, rest) = rest.split_once(", ")?;
    let milestone = Milestone::ALL.into_iter().find(|m| m.to_string() == what)?;
    let seconds = rest.split_once(" s after kernel start")?.0.parse().ok()?;
    Some((milestone, seconds))
}

/// An error with all its sources on one line, each said once.
pub fn chain(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        line.push_str(": ");
        line.push_str(&error.to_string());
        source = error.source();
    }
    line
}
