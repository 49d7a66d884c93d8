//! What comes in pieces: the configuration, the lines of the clients, the counts.
//!
//! Nothing here holds more than a bounded number of bytes, whatever a peer sends.

use super::config::Dialect;

/// The most that a client reads of a configuration. More than any old one can send
/// ([`super::config::TEXT_MAX`]), so that a later version may send more.
pub const RECEIVED_MAX: usize = 64 * 1024;
/// The longest line of a client.
pub const LINE_MAX: usize = 512;

/// Collects a configuration until its `endconfig` line is there.
#[derive(Debug, Clone, Default)]
pub struct ConfigReader {
    bytes: Vec<u8>,
}

/// What a connection sent cannot be a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotConfig {
    /// Nothing like a keyword at its start.
    #[error("sent something that is no dolly configuration")]
    Garbage,
    /// It goes on and on.
    #[error("sent more than {RECEIVED_MAX} bytes without endconfig")]
    TooLong,
    /// A parent of the SUSE dialect that wants a password.
    #[error("asks for a password; start this node with -P PASSWORD")]
    PasswordNeeded,
    /// A parent that wants none, to a node that was given one.
    #[error(
        "asks for no password, and this node was started with -P; leave -P away, or give it to the golden node, too"
    )]
    NoPassword,
    /// The parent knows another password.
    #[error("says that the password is wrong; give the same -P on both sides")]
    WrongPassword,
    /// A parent of the SUSE dialect that sends the files of a folder.
    #[error(
        "sends a folder as a tar stream, which goldring does not take; name a disk, a partition or a file as infile there"
    )]
    Directory,
}

impl ConfigReader {
    /// Takes what arrived; `true` once the configuration is complete: its `endconfig`
    /// line is there with its end. Without the end see [`ConfigReader::may_be_complete`].
    ///
    /// # Errors
    /// Bytes that no classic dolly sends.
    pub fn push(&mut self, bytes: &[u8]) -> Result<bool, NotConfig> {
        let before = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        // Every configuration is text; a scanner's probe mostly is not.
        let odd = |b: &u8| *b < b' ' && !matches!(b, b'\n' | b'\r' | b'\t');
        if self.bytes[before..].iter().any(odd) {
            return Err(NotConfig::Garbage);
        }
        if self.has_end(|line, last| !last && line.starts_with(b"endconfig")) {
            return Ok(true);
        }
        if self.bytes.len() > RECEIVED_MAX {
            return Err(NotConfig::TooLong);
        }
        Ok(false)
    }

    /// What came so far: once complete, the text to relay.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether the text ends with an `endconfig` that has no end of line. Old readers
    /// take that for complete; whoever waits takes it when nothing more comes. Taking
    /// it at once would leave the end of line to be read as part of the total.
    pub fn may_be_complete(&self) -> bool {
        self.has_end(|line, _| line.starts_with(b"endconfig"))
    }

    fn has_end(&self, is_end: impl Fn(&[u8], bool) -> bool) -> bool {
        let mut lines = self.bytes.split(|b| *b == b'\n').peekable();
        while let Some(line) = lines.next() {
            let last = lines.peek().is_none();
            if is_end(line.trim_ascii_start(), last) {
                return true;
            }
        }
        false
    }
}

/// What a child's control connection carried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Upward {
    /// `Host got parameters 'NAME'.`, and what the SUSE dialect says instead.
    Got(String),
    /// `Host ready 'NAME'.`, and what the SUSE dialect says instead.
    Ready(String),
    /// `Host 'NAME' gave up: REASON.`: why a computer below stopped. Only goldring
    /// sends it.
    GaveUp(String),
    /// `Host 'NAME' is goldring.`: it can go over to dolly+ ([`super::own`]).
    Own(String),
    /// Any other line.
    Other(String),
    /// The eight bytes at the end: how many bytes a client has stored.
    Count(u64),
}

/// A child sent a line without end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a line of more than {LINE_MAX} bytes")]
pub struct LineTooLong;

/// Cuts a child's control connection into lines, and at the end the count.
#[derive(Debug, Clone, Default)]
pub struct UpwardReader {
    bytes: Vec<u8>,
    expected: Option<u64>,
}

impl UpwardReader {
    /// From now on a count may come; a good one is `total`.
    pub fn expect_count(&mut self, total: u64) {
        self.expected = Some(total);
    }

    /// Takes what arrived.
    ///
    /// # Errors
    /// A line that is too long to be one.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<Upward>, LineTooLong> {
        let mut found = Vec::new();
        for piece in bytes.chunks(LINE_MAX) {
            self.bytes.extend_from_slice(piece);
            while let Some(item) = self.next() {
                found.push(item);
            }
            if self.bytes.len() > LINE_MAX {
                return Err(LineTooLong);
            }
        }
        Ok(found)
    }

    fn next(&mut self) -> Option<Upward> {
        if let Some(count) = self.count() {
            self.bytes.drain(..8);
            return Some(Upward::Count(count));
        }
        let waits_for_count = self.expected.is_some() && !self.may_be_line();
        if waits_for_count {
            return None;
        }
        let end = self.bytes.iter().position(|b| *b == b'\n')?;
        let line: Vec<u8> = self.bytes.drain(..=end).collect();
        Some(classify(&String::from_utf8_lossy(&line[..end])))
    }

    /// The first eight bytes as a count, when one may come. A count that is right is
    /// never taken for text, however much it looks like it.
    fn count(&self) -> Option<u64> {
        let expected = self.expected?;
        let count = u64::from_le_bytes(self.bytes.first_chunk().copied()?);
        (count == expected || !self.may_be_line()).then_some(count)
    }

    fn may_be_line(&self) -> bool {
        let n = self.bytes.len().min(5);
        [b"Host ", b"Clien"]
            .iter()
            .any(|start| start[..n] == self.bytes[..n])
    }
}

/// Understands one line of a client (without its end).
pub fn classify(line: &str) -> Upward {
    let quoted = |start: &str| {
        let rest = line.strip_prefix(start)?;
        rest.strip_suffix("'.").map(printable)
    };
    if let Some(name) = quoted("Host ready '") {
        return Upward::Ready(name);
    }
    if let Some(name) = quoted("Host got parameters '") {
        return Upward::Got(name);
    }
    let client = |end: &str| {
        line.strip_prefix("Client ")?
            .strip_suffix(end)
            .map(printable)
    };
    if let Some(name) = client(SUSE_READY) {
        return Upward::Ready(name);
    }
    if let Some(name) = client(SUSE_GOT) {
        return Upward::Got(name);
    }
    if let Some(name) = line
        .strip_prefix("Host '")
        .and_then(|rest| rest.strip_suffix("' is goldring."))
    {
        return Upward::Own(printable(name));
    }
    if let Some((who, why)) = line
        .strip_prefix("Host '")
        .and_then(|rest| rest.split_once("' gave up: "))
    {
        return Upward::GaveUp(printable(&format!(
            "{who} says: {}",
            why.trim_end_matches('.')
        )));
    }
    Upward::Other(printable(line))
}

/// Nothing that a peer sends may move a console's cursor.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}

/// What a child that has its configuration says in the SUSE dialect, behind its name. The
/// large R matters: old servers count `ready`.
const SUSE_GOT: &str = " configured with parameters. Ready to proceed.";
/// What it says when it is ready.
const SUSE_READY: &str = " ready.";

/// `Host got parameters 'NAME'.` with its end of line, or what the SUSE dialect says.
pub fn got(dialect: Dialect, name: &str) -> Vec<u8> {
    match dialect {
        Dialect::Classic => format!("Host got parameters '{name}'.\n"),
        Dialect::Suse => format!("Client {name}{SUSE_GOT}\n"),
    }
    .into_bytes()
}

/// `Host ready 'NAME'.` with its end of line, or what the SUSE dialect says.
pub fn ready(dialect: Dialect, name: &str) -> Vec<u8> {
    match dialect {
        Dialect::Classic => format!("Host ready '{name}'.\n"),
        Dialect::Suse => format!("Client {name}{SUSE_READY}\n"),
    }
    .into_bytes()
}

/// `Host 'NAME' is goldring.` with its end of line.
pub fn own(name: &str) -> Vec<u8> {
    format!("Host '{name}' is goldring.\n").into_bytes()
}

/// `Host 'NAME' gave up: REASON.`, without what an old server would stumble over.
pub fn gave_up(name: &str, reason: &str) -> Vec<u8> {
    let mut line = format!("Host '{name}' gave up: {reason}")
        .replace("ready", "rea-dy")
        .replace('%', "/")
        .replace(|c: char| c.is_control(), " ");
    let room = LINE_MAX - 16;
    if line.len() > room {
        let end = (0..=room).rev().find(|i| line.is_char_boundary(*i));
        line.truncate(end.unwrap_or(0));
    }
    line.push_str(".\n");
    line.into_bytes()
}
