//! What an image holds, as a text. Lines as in the manifest: what is not known is left alone,
//! so that an older goldring reads a newer image; what an older one must not do without
//! changes the number in the first line. The last line has the digest of all before it.

use std::fmt::{self, Write as _};

use super::{FILES, PIECES_MAX, is_small, piece_file, raw_stream};
use crate::deployment::{DEPLOYMENT_FILE, MANIFEST_FILE};
use crate::text::{Line, Pairs};
use crate::trailer::Sum;

/// How the first line of any version begins.
pub(super) const MARK: &str = "goldring-image ";
const FIRST: &str = "goldring-image 1";
const LAST: &str = "end";
/// An index is never longer: 200 000 pieces, some 70 bytes for each.
pub(super) const INDEX_MAX: u64 = 32 << 20;
/// A piece never has more bytes, unpacked.
const PIECE_MAX: u64 = 1 << 40;

/// Size and digest of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stamp {
    /// In bytes.
    pub bytes: u64,
    /// XXH3, 128 bits.
    pub digest: u128,
}

/// All that an image holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Index {
    /// What the golden node calls itself.
    pub host: String,
    /// The goldring that saved it.
    pub version: String,
    /// When, in seconds since 1970.
    pub saved: u64,
    /// What a person said about it.
    pub description: String,
    /// Unpacked bytes of each piece but the last one of a stream.
    pub piece: u64,
    /// The golden node's disks.
    pub disks: Vec<KeptDisk>,
    /// What travels first.
    pub files: Vec<KeptFile>,
    /// The files, then each raw partition.
    pub streams: Vec<Stream>,
}

/// A disk of the golden node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeptDisk {
    /// Its name there.
    pub device: String,
    /// In bytes.
    pub size: u64,
    /// Bytes of a sector.
    pub sector_size: u32,
}

/// A small file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeptFile {
    /// Its name in the folder.
    pub name: String,
    /// What it is.
    pub stamp: Stamp,
}

/// A stream in pieces.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stream {
    /// [`FILES`] or one of [`raw_stream`].
    pub name: String,
    /// Unpacked.
    pub bytes: u64,
    /// Files in it; 0 for a partition.
    pub entries: u64,
    /// The pieces as they lie there.
    pub pieces: Vec<Stamp>,
}

/// A text that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IndexError {
    /// Another first line.
    #[error("this is no index of an image, or one of a later goldring")]
    First,
    /// A line that lacks something or says what cannot be.
    #[error("line {0} of the index is not understood")]
    Line(usize),
    /// Nothing says that it is whole.
    #[error("the index is cut")]
    Short,
    /// Too much of it.
    #[error("the index is longer than any that is one")]
    Long,
    /// Its digest is another.
    #[error("the index has changed since it was written")]
    Changed,
    /// Something that each image has.
    #[error("the index lacks {0}")]
    Lacks(&'static str),
}

impl Stream {
    /// How many bytes its pieces have.
    pub fn packed(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.bytes).sum()
    }

    /// How many bytes come out of a piece, if each has `piece` but the last.
    pub fn unpacked(&self, number: usize, piece: u64) -> u64 {
        let before = (number as u64).saturating_mul(piece);
        self.bytes.saturating_sub(before).min(piece)
    }

    /// The file with a piece.
    pub fn file(&self, number: usize) -> String {
        piece_file(&self.name, number)
    }

    fn fits(&self, piece: u64) -> bool {
        self.pieces.len() as u64 == self.bytes.div_ceil(piece).max(1)
    }
}

impl Index {
    /// Reads the text.
    ///
    /// # Errors
    /// It is none, is cut or has changed; names that lead out of the folder are none.
    pub fn parse(text: &str) -> Result<Self, IndexError> {
        if text.len() as u64 > INDEX_MAX {
            return Err(IndexError::Long);
        }
        let mut lines = text.split_inclusive('\n').enumerate();
        if lines.next().map(|(_, line)| line.trim_end_matches('\n')) != Some(FIRST) {
            return Err(IndexError::First);
        }
        let mut index = Self::default();
        let (mut sum, mut pieces) = (Sum::default(), 0);
        sum.add(FIRST.as_bytes());
        sum.add(b"\n");
        for (number, line) in lines {
            let wrong = IndexError::Line(number + 1);
            let pairs = Pairs::parse(line.strip_suffix('\n').ok_or(IndexError::Short)?);
            if pairs.keyword == LAST {
                let same = digest(&pairs).ok_or(wrong)? == sum.digest();
                return same.then_some(index).ok_or(IndexError::Changed)?.checked();
            }
            sum.add(line.as_bytes());
            pieces += usize::from(pairs.keyword == "piece");
            if pieces > PIECES_MAX {
                return Err(IndexError::Long);
            }
            index.line(&pairs).ok_or(wrong)?;
        }
        Err(IndexError::Short)
    }

    fn line(&mut self, pairs: &Pairs<'_>) -> Option<()> {
        let number = |key| pairs.number(key, 10);
        match pairs.keyword {
            "golden" => {
                self.host = pairs.text("host");
                self.version = pairs.text("goldring");
                self.saved = number("saved")?;
                self.piece = number("piece").filter(|piece| (1..=PIECE_MAX).contains(piece))?;
            }
            "description" => self.description = pairs.text("text"),
            "disk" => self.disks.push(KeptDisk {
                device: pairs.text("device"),
                size: number("size")?,
                sector_size: number("sector")
                    .and_then(|size| u32::try_from(size).ok())
                    .filter(|size| size.is_power_of_two() && (512..=65536).contains(size))?,
            }),
            "file" => self.files.push(KeptFile {
                name: Some(pairs.text("name")).filter(|name| is_small(name))?,
                stamp: stamp(pairs)?,
            }),
            "stream" => self.streams.push(Stream {
                name: pairs.text("name"),
                bytes: number("bytes")?,
                entries: number("entries").unwrap_or(0),
                pieces: Vec::new(),
            }),
            "piece" => self.streams.last_mut()?.pieces.push(stamp(pairs)?),
            // Of a later version that an earlier one may do without.
            _ => {}
        }
        Some(())
    }

    fn checked(self) -> Result<Self, IndexError> {
        if self.piece == 0 {
            return Err(IndexError::Lacks("the golden node"));
        }
        for (name, what) in [
            (DEPLOYMENT_FILE, "the deployment"),
            (MANIFEST_FILE, "the list of files"),
        ] {
            if !self.files.iter().any(|file| file.name == name) {
                return Err(IndexError::Lacks(what));
            }
        }
        let mut names = (0..).map(|number| match number {
            0 => FILES.to_owned(),
            number => raw_stream(number - 1),
        });
        let named = |stream: &Stream| Some(&stream.name) == names.next().as_ref();
        if self.streams.is_empty() || !self.streams.iter().all(named) {
            return Err(IndexError::Lacks("a stream"));
        }
        if !self.streams.iter().all(|stream| stream.fits(self.piece)) {
            return Err(IndexError::Lacks("a piece"));
        }
        Ok(self)
    }

    /// The stamp of a small file.
    pub fn stamp(&self, name: &str) -> Option<Stamp> {
        let mut files = self.files.iter();
        files.find(|file| file.name == name).map(|file| file.stamp)
    }

    /// Bytes of all streams, unpacked.
    pub fn unpacked(&self) -> u64 {
        self.streams.iter().map(|stream| stream.bytes).sum()
    }

    /// Bytes of all files of the image but the index.
    pub fn packed(&self) -> u64 {
        let files = self.files.iter().map(|file| file.stamp.bytes);
        files.sum::<u64>() + self.streams.iter().map(Stream::packed).sum::<u64>()
    }

    /// The text without its end, as it stands in an image that is not whole.
    pub(super) fn begun(&self) -> String {
        let golden = Line::new("golden")
            .with("host", &self.host)
            .with("goldring", &self.version)
            .number("saved", self.saved)
            .number("piece", self.piece);
        let mut text = format!("{FIRST}\n{}", golden.end());
        if !self.description.is_empty() {
            let line = Line::new("description").with("text", &self.description);
            text.push_str(&line.end());
        }
        for disk in &self.disks {
            let line = Line::new("disk").with("device", &disk.device);
            let line = line.number("size", disk.size);
            text.push_str(&line.number("sector", disk.sector_size).end());
        }
        text
    }
}

fn digest(pairs: &Pairs<'_>) -> Option<u128> {
    let text = std::str::from_utf8(pairs.bytes("xxh3")).ok()?;
    u128::from_str_radix(text, 16).ok()
}

fn stamp(pairs: &Pairs<'_>) -> Option<Stamp> {
    Some(Stamp {
        bytes: pairs.number("bytes", 10)?,
        digest: digest(pairs)?,
    })
}

fn stamped(line: Line, stamp: Stamp) -> String {
    let line = line.number("bytes", stamp.bytes);
    line.with("xxh3", format!("{:032x}", stamp.digest)).end()
}

impl fmt::Display for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.begun();
        for file in &self.files {
            let line = Line::new("file").with("name", &file.name);
            text.push_str(&stamped(line, file.stamp));
        }
        for stream in &self.streams {
            let line = Line::new("stream").with("name", &stream.name);
            let line = line.number("bytes", stream.bytes);
            text.push_str(&line.number("entries", stream.entries).end());
            for piece in &stream.pieces {
                text.push_str(&stamped(Line::new("piece"), *piece));
            }
        }
        let mut sum = Sum::default();
        sum.add(text.as_bytes());
        writeln!(text, "{LAST} xxh3={:032x}", sum.digest())?;
        f.write_str(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index() -> Index {
        let stamp = |bytes| Stamp {
            bytes,
            digest: 0xfeed << 100,
        };
        let file = |name: &str| KeptFile {
            name: name.into(),
            stamp: stamp(7),
        };
        Index {
            host: "max5.paris".into(),
            version: "0.1.0".into(),
            saved: 1_795_867_200,
            description: "the lab, \"spring\" = 2026\n\\ä".into(),
            piece: 100,
            disks: vec![KeptDisk {
                device: "/dev/sda".into(),
                size: 80 << 30,
                sector_size: 512,
            }],
            files: vec![file("deployment"), file("manifest"), file("desc.0")],
            streams: vec![
                Stream {
                    name: "files".into(),
                    bytes: 201,
                    entries: 12,
                    pieces: vec![stamp(60), stamp(61), stamp(9)],
                },
                Stream {
                    name: "raw0".into(),
                    bytes: 0,
                    entries: 0,
                    pieces: vec![stamp(13)],
                },
            ],
        }
    }

    /// The text with a right digest at its end, whatever stands before it.
    fn sealed(text: &str) -> String {
        let body = text.rsplit_once("end xxh3=").map_or(text, |(body, _)| body);
        let mut sum = Sum::default();
        sum.add(body.as_bytes());
        format!("{body}end xxh3={:032x}\n", sum.digest())
    }

    #[test]
    fn it_is_read_as_it_was_written() {
        let text = index().to_string();
        assert_eq!(Index::parse(&text), Ok(index()));
        let later =
            sealed(&text.replace("stream name=files", "smell strength=5\nstream name=files"));
        assert_eq!(Index::parse(&later), Ok(index()));
        assert_eq!(index().packed(), 3 * 7 + 60 + 61 + 9 + 13);
        let stream = &index().streams[0];
        let unpacked: Vec<u64> = (0..4).map(|number| stream.unpacked(number, 100)).collect();
        assert_eq!(unpacked, [100, 100, 1, 0]);
        assert_eq!(stream.file(2), "files.0002");
    }

    #[test]
    fn half_of_it_and_a_changed_one_are_no_index() {
        let text = index().to_string();
        for cut in 0..text.len() {
            let half = text.get(..cut);
            assert!(half.is_none_or(|half| Index::parse(half).is_err()), "{cut}");
        }
        for at in 0..text.len() {
            for bit in [0, 3, 7] {
                let mut bytes = text.clone().into_bytes();
                bytes[at] ^= 1 << bit;
                let changed = String::from_utf8_lossy(&bytes).into_owned();
                // Digits of the digest may be written large.
                let same = changed.eq_ignore_ascii_case(&text);
                assert!(same || Index::parse(&changed).is_err(), "{at} {bit}");
            }
        }
        let changed = text.replace("saved=1", "saved=2");
        assert_eq!(Index::parse(&changed), Err(IndexError::Changed));
    }

    #[test]
    fn ugly_texts_are_refused() {
        use IndexError::{Lacks, Line};
        let text = index().to_string();
        for (from, to, error) in [
            ("goldring-image 1", "goldring-image 2", IndexError::First),
            ("goldring-image 1", "", IndexError::First),
            ("saved=1795867200", "saved=-1", Line(2)),
            ("piece=100", "piece=0", Line(2)),
            ("piece=100", "", Line(2)),
            ("piece=100", "piece=99999999999999999999999", Line(2)),
            ("sector=512", "sector=500", Line(4)),
            ("sector=512", "sector=4294967808", Line(4)),
            ("name=deployment", "name=../deployment", Line(5)),
            ("name=deployment", "name=/etc/passwd", Line(5)),
            ("name=deployment", "name=", Line(5)),
            ("name=deployment", "name=image", Line(5)),
            ("name=deployment", "name=desc.1", Lacks("the deployment")),
            ("name=manifest", "name=desc.1", Lacks("the list of files")),
            ("bytes=7 ", "bytes=x ", Line(5)),
            ("xxh3=000feed", "xxh3=z", Line(5)),
            ("name=files", "name=raw0", Lacks("a stream")),
            ("name=raw0", "name=raw1", Lacks("a stream")),
            ("name=raw0", "name=../../x", Lacks("a stream")),
            ("bytes=201", "bytes=300", Lacks("a piece")),
        ] {
            let ugly = text.replacen(from, to, 1);
            assert_ne!(ugly, text, "{from}");
            let error = match error {
                // The last piece of 201 bytes may have 100, so 300 is good and 301 is not.
                Lacks("a piece") => {
                    let good = sealed(&ugly);
                    assert!(Index::parse(&good).is_ok());
                    let bad = sealed(&ugly.replace("bytes=300", "bytes=301"));
                    assert_eq!(Index::parse(&bad), Err(error));
                    continue;
                }
                error => error,
            };
            assert_eq!(Index::parse(&sealed(&ugly)), Err(error), "{from} -> {to}");
        }
        let none = format!("{FIRST}\n");
        assert_eq!(Index::parse(&sealed(&none)), Err(Lacks("the golden node")));
        let early = sealed(&format!("{FIRST}\npiece bytes=1 xxh3=0\n"));
        assert_eq!(Index::parse(&early), Err(Line(2)));
        let many = format!("{text}{}", "x".repeat(32 << 20));
        assert_eq!(Index::parse(&many), Err(IndexError::Long));
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read(text: String, body: String) {
            let _ = Index::parse(&text);
            let _ = Index::parse(&sealed(&format!("{FIRST}\n{body}")));
        }
    }
}
