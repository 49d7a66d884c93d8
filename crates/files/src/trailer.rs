//! What a tar held, told by the one who sent it, behind the files and before the end of the tar: in
//! a global extended header, as a comment (POSIX.1-2008, pax, "pax Header Block"). Every tar reads
//! over that. Behind the end it would be in the way: GNU tar leaves as soon as it has seen the end,
//! since 1.21 without reading what is still in its pipe, and whoever writes there is killed.

use std::fmt;
use std::fmt::Write as _;

use twox_hash::XxHash3_128;

use crate::made::Made;
use crate::text::{Line, Pairs};
use crate::walk::BLOCK;

/// The name of the header, which no tar uses for anything.
pub(crate) const MEMBER: &[u8] = b"goldring-files";
/// Its first line.
const FIRST: &str = "goldring-files 1";
/// Its last line.
const LAST: &str = "end";
/// The end of a tar: two empty blocks, and no filling, which would be in the way as well.
pub const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];
/// A list of sockets is never longer.
pub const TRAILER_MAX: usize = 16 << 20;

/// Who compares what came with what was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Whoever receives it: the trailer has a count and a digest.
    Checked,
    /// Both ends of a ka session, all that passes, before a receiver sees its end; so nothing is
    /// summed up a second time. The trailer has a count, and what no tar carries. With an old
    /// node among the others there is none.
    Agreed,
    /// Nobody: a tar as old nodes read it and old golden nodes send it, and nothing behind it.
    Plain,
}

/// What a tar held.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Contents {
    /// Files, folders, links and devices.
    pub entries: u64,
    /// Bytes of tar up to the trailer.
    pub bytes: u64,
    /// XXH3 of these bytes, 128 bits, where they are summed up.
    pub digest: Option<u128>,
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
    /// There is none.
    #[error(
        "nothing behind the files says what they were; an old golden node? then use goldring files receive --plain"
    )]
    Absent,
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

    /// A header with this, whole blocks; [`END`] has to follow.
    pub fn to_bytes(&self) -> Vec<u8> {
        let record = comment(&self.to_string());
        let mut bytes = vec![0; BLOCK];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        put(0, MEMBER);
        for number in [100, 108, 116] {
            put(number, b"0000000");
        }
        put(124, format!("{:011o}", record.len()).as_bytes());
        put(136, b"00000000000");
        // The sum is made with blanks in its place.
        put(148, b"        ");
        put(156, b"g");
        put(257, b"ustar\x0000");
        let sum: u32 = bytes.iter().map(|&byte| u32::from(byte)).sum();
        bytes[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        bytes.extend_from_slice(record.as_bytes());
        bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
        bytes
    }
}

/// A record, whose length counts its own digits, too.
fn comment(text: &str) -> String {
    let rest = format!(" comment={text}\n");
    let mut length = rest.len();
    while length != rest.len() + length.to_string().len() {
        length = rest.len() + length.to_string().len();
    }
    format!("{length}{rest}")
}

fn contents(pairs: &Pairs<'_>) -> Option<Contents> {
    let digest = match std::str::from_utf8(pairs.bytes("xxh3")).ok()? {
        "" => None,
        digits => Some(u128::from_str_radix(digits, 16).ok()?),
    };
    Some(Contents {
        entries: pairs.number("entries", 10)?,
        bytes: pairs.number("bytes", 10)?,
        digest,
    })
}

impl fmt::Display for Trailer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let contents = &self.contents;
        let line = Line::new("contents")
            .number("entries", contents.entries)
            .number("bytes", contents.bytes);
        let line = match contents.digest {
            Some(digest) => line.with("xxh3", format!("{digest:032x}")),
            None => line,
        };
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

/// How two ends differ, in words; `None` when they agree in all that both know.
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
    if sent
        .digest
        .zip(came.digest)
        .is_some_and(|(sent, came)| sent != came)
    {
        let _ = write!(all, "the digests differ, ");
    }
    all.strip_suffix(", ").map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::walk::Walk;

    fn trailer() -> Trailer {
        Trailer {
            contents: Contents {
                entries: 7,
                bytes: 10240,
                digest: Some(0xfeed << 100),
            },
            made: vec![Made::plain_folder("/a b")],
            failed: "tar: ./x: Read error".to_owned(),
        }
    }

    #[test]
    fn it_is_read_as_it_was_written() {
        for length in [0, 1, 800, 9_800, 99_800] {
            // Lengths of records whose number has a digit more than that of their text.
            for more in 0..200 {
                let mut trailer = Trailer {
                    failed: "x".repeat(length + more),
                    ..trailer()
                };
                // Every second one is without.
                trailer.contents.digest = trailer.contents.digest.filter(|_| more % 2 == 0);
                let bytes = [&trailer.to_bytes()[..], &END].concat();
                assert_eq!(bytes.len() % BLOCK, 0);
                let mut walk = Walk::new(Form::Checked);
                assert_eq!(walk.feed(&bytes), Ok(bytes.len()));
                assert!(walk.has_ended());
                assert_eq!(walk.contents().bytes, 0);
                assert_eq!(Trailer::parse(walk.trailer().unwrap()), Ok(trailer));
            }
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
        let odd = text.replace("xxh3=", "xxh3=x");
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
        came.digest = Some(1);
        assert_eq!(
            difference(&sent, &came).unwrap(),
            "7 files were sent and 6 came, the digests differ"
        );
        came.digest = None;
        assert_eq!(
            difference(&sent, &came).unwrap(),
            "7 files were sent and 6 came"
        );
        came.entries = 7;
        assert_eq!(difference(&came, &sent), None);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read(bytes: Vec<u8>) {
            let _ = Trailer::parse(&bytes);
        }
    }
}
