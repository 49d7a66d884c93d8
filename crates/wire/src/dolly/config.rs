//! The configuration: what it says, and the text that travels.
//!
//! Grammar of dolly 0.2 to 0.64, and the shorter one of 0.70 to 0.72. Reading is liberal (CRLF, tabs, comments with `#`,
//! blank lines, indentation, keywords in any order); what is written is canonical,
//! because that text goes to old readers.

use std::fmt;

use super::SEGMENT;
use super::draft::{Draft, Reading};
use super::values;

/// The longest text that may travel: an old reader gives up at 4096 bytes.
pub const TEXT_MAX: usize = 4095;
/// The longest text that every old reader gets in one piece.
pub const TEXT_SAFE: usize = 1400;
/// The most clients that dolly 0.57 accepts.
pub const CLIENTS_MAX: usize = 10_000;
/// The most children of one computer: old ones have room for eight.
pub const FANOUT_MAX: usize = 8;

/// What is copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// A file, partition or disk.
    File {
        /// Read by the server.
        input: Source,
        /// Written by each client.
        output: Output,
    },
    /// `dummy`: data from nowhere, to measure the network.
    Dummy {
        /// How much, in units of 1 MiB; without it as long as the operator says.
        megabytes: Option<u64>,
    },
}

/// The `infile` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The path on the server.
    pub path: String,
    /// `compressed`: the clients unpack what they get.
    pub compressed: bool,
    /// `split`: read `path_0`, `path_1` and so on.
    pub split: bool,
}

/// The `outfile` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// The path on each client.
    pub path: String,
    /// `compressed`: the server packs what it sends.
    pub compressed: bool,
    /// `split N`: write parts of N bytes.
    pub split: Option<u64>,
}

/// The `add` or `add2` line: more than one network at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Networks {
    /// `add2`: the names are put before the first digit of a host name, not behind it.
    pub infix: bool,
    /// How many networks besides the first.
    pub count: usize,
    /// What makes a host's name on each of them.
    pub names: Vec<String>,
}

impl Networks {
    /// How many data connections there are between two neighbours.
    pub fn links(&self) -> usize {
        self.count + 1
    }

    /// The name under which the first network knows `host`: `add 0:x` renames it.
    pub fn primary(&self, host: &str) -> String {
        match self.names.first() {
            Some(piece) if self.count == 0 => self.renamed(host, piece),
            _ => host.to_owned(),
        }
    }

    /// The names of `host` on each further network, in the order of their links.
    pub fn further(&self, host: &str) -> Vec<String> {
        let pieces = self.names.iter().take(self.count);
        pieces.map(|piece| self.renamed(host, piece)).collect()
    }

    fn renamed(&self, host: &str, piece: &str) -> String {
        let end = host.len();
        let at = match host.find(|c: char| c.is_ascii_digit()) {
            Some(digit) if self.infix => digit,
            _ => end,
        };
        format!("{}{piece}{}", &host[..at], &host[at..])
    }
}

/// A size in bytes with `K`, `M`, `G` or `T` behind it, as dolly writes sizes (powers of
/// 1024, small letters too). `None` for anything else, and for nothing.
pub fn parse_size(word: &str) -> Option<u64> {
    super::values::size(word)
}

/// What the programs of a ring speak with each other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Dialect {
    /// dolly 0.21 to 0.64.
    #[default]
    Classic,
    /// dolly 0.70 to 0.72, as SUSE has it.
    Suse,
}

/// A configuration of a ring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// How it is written, and what the ring speaks.
    pub dialect: Dialect,
    /// What is copied.
    pub payload: Payload,
    /// `segsize`: the largest TCP segment of a sender, in bytes.
    pub segsize: Option<u32>,
    /// `add`, `add2`.
    pub networks: Option<Networks>,
    /// How many children each computer feeds; 1 is a chain.
    pub fanout: usize,
    /// `hyphennormal`: a `-` in a name means nothing.
    pub hyphen_normal: bool,
    /// The golden node; empty when the text was one of the SUSE dialect, which does not
    /// name it.
    pub server: String,
    /// The first client as written; old ones only look whether the line is there.
    pub first_client: String,
    /// The last client: whoever has this name feeds nobody.
    pub last_client: String,
    /// The clients in their order.
    pub clients: Vec<String>,
}

/// A configuration that cannot be used: where, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {complaint}")]
pub struct ConfigError {
    /// Counted from 1.
    pub line: usize,
    /// One sentence, with the remedy.
    pub complaint: String,
}

/// The text as it goes to the clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// The bytes, LF only.
    pub bytes: Vec<u8>,
    /// What the operator should know about it.
    pub warning: Option<String>,
}

/// A text that no old reader would take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the configuration is {0} bytes long and may have {TEXT_MAX}; use shorter names, or clone in two runs"
)]
pub struct TextTooLong(pub usize);

impl Config {
    /// Reads an operator's file, strictly: whatever the old programs mishandle is an
    /// error with its line. A file without any of the lines `server`, `firstclient`,
    /// `lastclient` and `clients` is one of the SUSE dialect: only names, one on each line.
    ///
    /// # Errors
    /// The first fault.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let dialect = super::draft::dialect_of(text);
        Draft::read(text, dialect, Reading::Operator)?.finish()
    }

    /// As [`Config::parse`], from a file's bytes.
    ///
    /// # Errors
    /// The first fault, also one of the encoding.
    pub fn parse_bytes(bytes: &[u8]) -> Result<Self, ConfigError> {
        Self::parse(values::utf8(bytes)?)
    }

    /// Reads what came from a parent. Oddities that old clients accept are accepted:
    /// what the server could not do is the server's concern.
    ///
    /// # Errors
    /// A text from which a client cannot learn its part.
    pub fn received(bytes: &[u8]) -> Result<Self, ConfigError> {
        let text = String::from_utf8_lossy(bytes);
        Draft::read(&text, Dialect::Classic, Reading::Client)?.finish()
    }

    /// As [`Config::received`], from a parent of the SUSE dialect.
    ///
    /// # Errors
    /// A text from which a client cannot learn its part.
    pub fn received_suse(bytes: &[u8]) -> Result<Self, ConfigError> {
        let text = String::from_utf8_lossy(bytes);
        Draft::read(&text, Dialect::Suse, Reading::Client)?.finish()
    }

    /// The same ring in another dialect; `server` is the golden node's name, in case the
    /// text had none.
    ///
    /// # Errors
    /// Half a sentence: what the SUSE dialect has no word for.
    pub fn into_dialect(mut self, dialect: Dialect, server: &str) -> Result<Self, &'static str> {
        if self.server.is_empty() {
            server.clone_into(&mut self.server);
        }
        if dialect == Dialect::Suse {
            let compressed = matches!(&self.payload, Payload::File { input, output }
                if input.compressed || output.compressed);
            let lacks = [
                (matches!(self.payload, Payload::Dummy { .. }), "dummy"),
                (compressed, "compressed"),
                (self.segsize.is_some(), "segsize"),
                (self.networks.is_some(), "add"),
                (self.fanout > 1, "fanout"),
            ];
            if let Some((_, word)) = lacks.iter().find(|(used, _)| *used) {
                return Err(word);
            }
        }
        self.dialect = dialect;
        Ok(self)
    }

    /// The text that travels: canonical, never of a size that makes an old reader wait
    /// for more.
    ///
    /// # Errors
    /// More than [`TEXT_MAX`] bytes.
    pub fn text(&self) -> Result<Text, TextTooLong> {
        let text = self.text_for_ours();
        if text.bytes.len() > TEXT_MAX {
            return Err(TextTooLong(text.bytes.len()));
        }
        Ok(text)
    }

    /// The text that travels among programs of ours, which take
    /// [`RECEIVED_MAX`](super::lines::RECEIVED_MAX) bytes.
    pub fn text_for_ours(&self) -> Text {
        let mut bytes = self.to_string().into_bytes();
        pad(&mut bytes);
        let warning = (bytes.len() > TEXT_SAFE).then(|| {
            format!(
                "the configuration is {} bytes long; dolly 0.57 gets more than {TEXT_SAFE} only over links with an MTU of 1500",
                bytes.len()
            )
        });
        Text { bytes, warning }
    }

    /// Whether the client at `place` has no children: by the shape of the tree, or
    /// because it is the `lastclient`.
    pub fn children_of(&self, place: usize) -> std::ops::Range<usize> {
        if self.clients.get(place) == Some(&self.last_client) {
            return 0..0;
        }
        super::topology::of_client(place, self.clients.len(), self.fanout)
    }
}

/// Makes sure that an old reader, which reads on when exactly one segment came, does
/// not wait for bytes that never come. The blank stands before the last end of line,
/// where old readers ignore it, so that the text still ends with its last line.
pub fn pad(text: &mut Vec<u8>) {
    if text.is_empty() || !text.len().is_multiple_of(SEGMENT) {
        return;
    }
    let end = text.strip_suffix(b"\n").map_or(text.len(), <[u8]>::len);
    text.insert(end, b' ');
}

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.payload {
            Payload::File { input, output } => write!(f, "{input}{output}")?,
            Payload::Dummy { megabytes: None } => writeln!(f, "dummy")?,
            Payload::Dummy { megabytes: Some(n) } => writeln!(f, "dummy {n}")?,
        }
        if let Some(size) = self.segsize {
            writeln!(f, "segsize {size}")?;
        }
        if let Some(networks) = &self.networks {
            let word = if networks.infix { "add2" } else { "add" };
            writeln!(f, "{word} {}:{}", networks.count, networks.names.join(":"))?;
        }
        if self.fanout != 1 {
            writeln!(f, "fanout {}", self.fanout)?;
        }
        if self.hyphen_normal {
            writeln!(f, "hyphennormal")?;
        }
        if self.dialect == Dialect::Classic {
            self.write_ends(f)?;
        }
        for client in &self.clients {
            writeln!(f, "{client}")?;
        }
        writeln!(f, "endconfig")
    }
}

impl Config {
    fn write_ends(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "server {}", self.server)?;
        writeln!(f, "firstclient {}", self.first_client)?;
        writeln!(f, "lastclient {}", self.last_client)?;
        writeln!(f, "clients {}", self.clients.len())
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let before = if self.compressed { "compressed " } else { "" };
        let behind = if self.split { " split" } else { "" };
        writeln!(f, "{before}infile {}{behind}", self.path)
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let before = if self.compressed { "compressed " } else { "" };
        write!(f, "{before}outfile {}", self.path)?;
        if let Some(size) = self.split {
            // Old readers know K to T as powers of 1024; the largest one that divides.
            let units = [("T", 40), ("G", 30), ("M", 20), ("K", 10)];
            let unit = units
                .iter()
                .find(|(_, shift)| size != 0 && size.trailing_zeros() >= *shift);
            let (letter, shift) = unit.copied().unwrap_or(("", 0));
            write!(f, " split {}{letter}", size >> shift)?;
        }
        writeln!(f)
    }
}
