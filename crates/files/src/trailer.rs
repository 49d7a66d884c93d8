//! What stands behind the end of a tar: what it held, told by the one who sent it. An old
//! tar reads up to its own end and never sees it.

use std::fmt;
use std::fmt::Write as _;

use twox_hash::XxHash3_128;

use crate::made::Made;
use crate::text::{Line, Pairs};

/// Its first line.
const FIRST: &str = "goldring-files 1";
/// Its last line; what follows is filling.
const LAST: &str = "end";
/// A list of sockets is never longer.
pub const TRAILER_MAX: usize = 16 << 20;

/// What a tar held.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Contents {
    /// Files, folders, links and devices.
    pub entries: u64,
    /// Bytes of tar, with the filling at its end.
    pub bytes: u64,
    /// XXH3 of these bytes, 128 bits.
    pub digest: u128,
}

/// What a tar held, and what it could not hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Trailer {
    /// What it held.
    pub contents: Contents,
    /// Sockets.
    pub made: Vec<Made>,
    /// Why the tar is not all that it should be; empty when all is well.
    pub failed: String,
}

/// A stream that ends in something else.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrailerError {
    /// It is cut.
    #[error("the stream ends too early, the golden node or the network has gone")]
    Short,
    /// A line that is not understood.
    #[error("line {0} behind the files is not understood; is goldring on the golden node newer?")]
    Line(usize),
    /// No end comes.
    #[error("the list behind the files does not end")]
    Long,
}

impl Trailer {
    /// Reads it.
    ///
    /// # Errors
    /// It is cut or not understood.
    pub fn parse(bytes: &[u8]) -> Result<Self, TrailerError> {
        if bytes.len() > TRAILER_MAX {
            return Err(TrailerError::Long);
        }
        let text = std::str::from_utf8(bytes).map_err(|_| TrailerError::Line(1))?;
        let mut lines = text.split_inclusive('\n').enumerate();
        let first = lines.next().map(|(_, line)| line);
        match first {
            Some(line) if line.strip_suffix('\n') == Some(FIRST) => {}
            Some(line) if line.ends_with('\n') => return Err(TrailerError::Line(1)),
            _ => return Err(TrailerError::Short),
        }
        let mut trailer = Self::default();
        for (number, line) in lines {
            let line = line.strip_suffix('\n').ok_or(TrailerError::Short)?;
            let pairs = Pairs::parse(line);
            let wrong = TrailerError::Line(number + 1);
            match pairs.keyword {
                LAST => return Ok(trailer),
                "contents" => trailer.contents = contents(&pairs).ok_or(wrong)?,
                "make" => trailer.made.push(Made::parse(&pairs).ok_or(wrong)?),
                "failed" => trailer.failed = pairs.text("why"),
                // Of a later version that an earlier one may do without.
                _ => {}
            }
        }
        Err(TrailerError::Short)
    }

    /// The bytes that follow a tar, whole blocks.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.to_string().into_bytes();
        bytes.resize(bytes.len().next_multiple_of(512), 0);
        bytes
    }
}

fn contents(pairs: &Pairs<'_>) -> Option<Contents> {
    let digest = std::str::from_utf8(pairs.bytes("xxh3")).ok()?;
    Some(Contents {
        entries: pairs.number("entries", 10)?,
        bytes: pairs.number("bytes", 10)?,
        digest: u128::from_str_radix(digest, 16).ok()?,
    })
}

impl fmt::Display for Trailer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let contents = &self.contents;
        let line = Line::new("contents")
            .number("entries", contents.entries)
            .number("bytes", contents.bytes)
            .with("xxh3", format!("{:032x}", contents.digest));
        write!(f, "{FIRST}\n{}", line.end())?;
        for made in &self.made {
            write!(f, "{made}")?;
        }
        if !self.failed.is_empty() {
            f.write_str(&Line::new("failed").with("why", &self.failed).end())?;
        }
        writeln!(f, "{LAST}")
    }
}

/// Sums up a tar that passes.
pub struct Sum(XxHash3_128);

impl fmt::Debug for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sum({:032x})", self.digest())
    }
}

impl Default for Sum {
    fn default() -> Self {
        Self(XxHash3_128::new())
    }
}

impl Sum {
    /// Adds bytes.
    pub fn add(&mut self, bytes: &[u8]) {
        self.0.write(bytes);
    }

    /// The sum up to now.
    pub fn digest(&self) -> u128 {
        self.0.finish_128()
    }
}

/// How two ends differ, in words; `None` when they agree.
pub fn difference(sent: &Contents, came: &Contents) -> Option<String> {
    let mut all = String::new();
    for (what, sent, came) in [
        ("files", sent.entries, came.entries),
        ("bytes", sent.bytes, came.bytes),
    ] {
        if sent != came {
            let _ = write!(all, "{sent} {what} were sent and {came} came, ");
        }
    }
    if sent.digest != came.digest {
        let _ = write!(all, "the digests differ, ");
    }
    all.strip_suffix(", ").map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trailer() -> Trailer {
        Trailer {
            contents: Contents {
                entries: 7,
                bytes: 10240,
                digest: 0xfeed << 100,
            },
            made: vec![Made::plain_folder("/a b")],
            failed: "tar: ./x: Read error".to_owned(),
        }
    }

    #[test]
    fn it_is_read_as_it_was_written() {
        for trailer in [trailer(), Trailer::default()] {
            let bytes = trailer.to_bytes();
            assert_eq!(bytes.len() % 512, 0);
            assert_eq!(Trailer::parse(&bytes), Ok(trailer));
        }
    }

    #[test]
    fn half_of_it_is_an_early_end() {
        let text = trailer().to_string();
        for cut in 0..text.len() {
            assert!(Trailer::parse(&text.as_bytes()[..cut]).is_err(), "{cut}");
        }
        assert_eq!(Trailer::parse(b""), Err(TrailerError::Short));
        assert_eq!(
            Trailer::parse(b"goldring-files 2\n"),
            Err(TrailerError::Line(1))
        );
        assert_eq!(Trailer::parse(b"\xff\n"), Err(TrailerError::Line(1)));
        let odd = text.replace("entries=7", "entries=x");
        assert_eq!(Trailer::parse(odd.as_bytes()), Err(TrailerError::Line(2)));
        let later = text.replace("failed", "smell");
        assert_eq!(Trailer::parse(later.as_bytes()).unwrap().failed, "");
        let long = vec![b' '; TRAILER_MAX + 1];
        assert_eq!(Trailer::parse(&long), Err(TrailerError::Long));
    }

    #[test]
    fn what_differs_is_told() {
        let sent = trailer().contents;
        assert_eq!(difference(&sent, &sent), None);
        let mut came = sent.clone();
        came.entries = 6;
        came.digest = 1;
        assert_eq!(
            difference(&sent, &came).unwrap(),
            "7 files were sent and 6 came, the digests differ"
        );
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read(bytes: Vec<u8>) {
            let _ = Trailer::parse(&bytes);
        }
    }
}
