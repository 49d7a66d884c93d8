//! A tar that passes by: how many files are in it, the sum of them, and where they end. Needed
//! because a [`crate::trailer`] stands between them and the end of the tar, and because an end
//! that does not come is an error.
//!
//! Formats: POSIX.1-2008 (pax, "ustar Interchange Format"), and the GNU extensions of the
//! manual of tar, "Basic Tar Format".

use crate::trailer::{Contents, Form, MEMBER, Sum};

/// A block of tar.
pub(crate) const BLOCK: usize = 512;
/// Headers with names and attributes are kept whole; more than this is no such thing. Linux
/// gives at most 64 KiB of values for each of the names that fit into 64 KiB.
const EXTENDED_MAX: u64 = 32 << 20;

/// What is wrong with a stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WalkError {
    /// A block that should be a header.
    #[error(
        "byte {0} should begin a file of a tar and does not; the stream is broken or is no tar"
    )]
    NoHeader(u64),
    /// A number that is none.
    #[error("the file at byte {0} of the tar has a size that is none")]
    Size(u64),
    /// An extended header that is too long.
    #[error("the file at byte {0} of the tar has attributes of {1} bytes, which is not possible")]
    Extended(u64, u64),
}

#[derive(Debug)]
enum State {
    /// The next block is a header; this much of it is here.
    Header(Vec<u8>),
    /// So many bytes belong to a file.
    Data(u64),
    /// An extended header: its type, what is missing, what is here, and the filling behind.
    Extended(u8, u64, Vec<u8>, u64),
    /// An old sparse file: more blocks of its map follow, then so many bytes.
    Map(Vec<u8>, u64),
    /// Both empty blocks have come.
    Ended,
}

/// Follows a tar.
#[derive(Debug)]
pub struct Walk {
    state: State,
    /// All of the tar that has passed, and of that the files.
    passed: u64,
    contents: Contents,
    /// `None`: nobody asks for it.
    sum: Option<Sum>,
    /// The files are over.
    behind: bool,
    trailer: Option<Vec<u8>>,
    empty: bool,
    name: Vec<u8>,
    size: Option<u64>,
    long_name: Option<Vec<u8>>,
}

impl Walk {
    /// Sums up what passes only if that is compared.
    pub fn new(form: Form) -> Self {
        Self {
            state: State::Header(Vec::new()),
            passed: 0,
            contents: Contents::default(),
            sum: (form == Form::Checked).then(Sum::default),
            behind: false,
            trailer: None,
            empty: false,
            name: Vec::new(),
            size: None,
            long_name: None,
        }
    }

    /// The files that have passed, up to what stands behind them.
    pub fn contents(&self) -> Contents {
        Contents {
            digest: self.sum.as_ref().map(Sum::digest),
            ..self.contents.clone()
        }
    }

    /// How many bytes of them that is.
    pub fn bytes(&self) -> u64 {
        self.contents.bytes
    }

    /// What was told behind the files, for [`crate::trailer::Trailer::parse`].
    pub fn trailer(&self) -> Option<&[u8]> {
        self.trailer.as_deref()
    }

    /// Whether the end of the tar has passed.
    pub fn has_ended(&self) -> bool {
        matches!(self.state, State::Ended)
    }

    /// The file that passes or has passed last.
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// Takes the next bytes and says how many of them belong to the tar. Fewer than all: its
    /// end is among them.
    ///
    /// # Errors
    /// It is no tar.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<usize, WalkError> {
        let mut rest = bytes;
        while !rest.is_empty() && !self.has_ended() {
            let taken = self.step(rest)?;
            self.passed += taken as u64;
            rest = &rest[taken..];
        }
        Ok(bytes.len() - rest.len())
    }

    /// Takes what one state can use.
    fn step(&mut self, rest: &[u8]) -> Result<usize, WalkError> {
        let state = std::mem::replace(&mut self.state, State::Ended);
        let (taken, state) = match state {
            // Most of them come whole.
            State::Header(block) if block.is_empty() && rest.len() >= BLOCK => {
                let state = self.header(&rest[..BLOCK])?;
                self.count(&rest[..BLOCK]);
                (BLOCK, state)
            }
            State::Header(mut block) => {
                let taken = fill(&mut block, rest, BLOCK);
                if block.len() < BLOCK {
                    (taken, State::Header(block))
                } else {
                    let state = self.header(&block)?;
                    self.count(&block);
                    (taken, state)
                }
            }
            State::Data(left) => {
                let taken = rest.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                self.count(&rest[..taken]);
                (taken, after(left - taken as u64))
            }
            State::Extended(kind, missing, mut text, filling) => {
                let whole = text.len() + usize::try_from(missing).unwrap_or(usize::MAX);
                let taken = fill(&mut text, rest, whole);
                self.count(&rest[..taken]);
                if text.len() < whole {
                    let missing = (whole - text.len()) as u64;
                    (taken, State::Extended(kind, missing, text, filling))
                } else {
                    self.extended(kind, text)?;
                    (taken, after(filling))
                }
            }
            State::Map(mut block, data) => {
                let taken = fill(&mut block, rest, BLOCK);
                self.count(&rest[..taken]);
                let state = match block.get(504) {
                    Some(1) if block.len() == BLOCK => State::Map(Vec::new(), data),
                    _ if block.len() == BLOCK => after(data),
                    _ => State::Map(block, data),
                };
                (taken, state)
            }
            State::Ended => (0, State::Ended),
        };
        self.state = state;
        Ok(taken)
    }

    /// Counts bytes, if they are files'. Those of a header count when all of it is here.
    fn count(&mut self, bytes: &[u8]) {
        if !self.behind {
            self.contents.bytes += bytes.len() as u64;
            if let Some(sum) = &mut self.sum {
                sum.add(bytes);
            }
        }
    }

    /// Where the block begins that is being read.
    fn block(&self) -> u64 {
        self.passed - self.passed % BLOCK as u64
    }

    fn header(&mut self, block: &[u8]) -> Result<State, WalkError> {
        let start = self.block();
        // Nearly all have a name.
        if block[0] == 0 && block.iter().all(|&byte| byte == 0) {
            self.behind = true;
            return Ok(match std::mem::replace(&mut self.empty, true) {
                true => State::Ended,
                false => after(0),
            });
        }
        // Behind the trailer or one empty block nothing but the end may come.
        if self.behind || !checksum_holds(block) {
            return Err(WalkError::NoHeader(start));
        }
        let mut size = number(&block[124..136]).ok_or(WalkError::Size(start))?;
        let kind = block[156];
        if matches!(kind, b'x' | b'g' | b'L' | b'K') {
            if size > EXTENDED_MAX {
                return Err(WalkError::Extended(start, size));
            }
            self.behind = kind == b'g' && short_name(block) == MEMBER;
            let filling = padded(size) - size;
            return Ok(match size {
                0 => after(0),
                _ => State::Extended(kind, size, Vec::new(), filling),
            });
        }
        self.contents.entries += 1;
        self.name = match self.long_name.take() {
            Some(name) => name,
            None => short_name(block),
        };
        if let Some(real) = self.size.take() {
            size = real;
        }
        // Links, devices, folders and pipes have no content, whatever their size says.
        if matches!(kind, b'1'..=b'6') {
            size = 0;
        }
        let data = size
            .checked_next_multiple_of(BLOCK as u64)
            .ok_or(WalkError::Size(start))?;
        Ok(match (kind, block[482]) {
            (b'S', 1) => State::Map(Vec::new(), data),
            _ => after(data),
        })
    }

    fn extended(&mut self, kind: u8, mut text: Vec<u8>) -> Result<(), WalkError> {
        match kind {
            b'L' => {
                while text.last() == Some(&0) {
                    text.pop();
                }
                self.long_name = Some(text);
            }
            b'x' => {
                for (key, value) in records(&text) {
                    match key {
                        b"path" if self.long_name.is_none() => {
                            self.long_name = Some(value.to_vec());
                        }
                        b"GNU.sparse.name" => self.long_name = Some(value.to_vec()),
                        b"size" => {
                            let size = std::str::from_utf8(value).ok();
                            let size = size.and_then(|size| size.parse().ok());
                            self.size = Some(size.ok_or(WalkError::Size(self.block()))?);
                        }
                        _ => {}
                    }
                }
            }
            b'g' if self.behind => {
                let mut records = records(&text);
                let told = records.find(|(key, _)| *key == b"comment");
                self.trailer = told.map(|(_, value)| value.to_vec());
            }
            _ => {}
        }
        Ok(())
    }
}

/// What follows `left` more bytes of data.
fn after(left: u64) -> State {
    match left {
        0 => State::Header(Vec::new()),
        left => State::Data(left),
    }
}

/// Moves bytes until `buffer` has `whole`; gives how many.
fn fill(buffer: &mut Vec<u8>, rest: &[u8], whole: usize) -> usize {
    let taken = rest.len().min(whole - buffer.len());
    buffer.extend_from_slice(&rest[..taken]);
    taken
}

fn padded(size: u64) -> u64 {
    size.next_multiple_of(BLOCK as u64)
}

/// The sum of all bytes, with blanks in the place of the sum; old tars took signed bytes.
fn checksum_holds(block: &[u8]) -> bool {
    let Some(said) = number(&block[148..156]) else {
        return false;
    };
    const BLANKS: u32 = 8 * b' ' as u32;
    // Whole blocks and narrow numbers: this is done for each file, and so it is quick.
    let unsigned = |bytes: &[u8]| bytes.iter().map(|&byte| u32::from(byte)).sum::<u32>();
    if said == u64::from(unsigned(block) - unsigned(&block[148..156]) + BLANKS) {
        return true;
    }
    let signed = |bytes: &[u8]| -> i64 {
        let bytes = bytes.iter().map(|byte| i64::from(byte.cast_signed()));
        bytes.sum()
    };
    i64::try_from(said) == Ok(signed(block) - signed(&block[148..156]) + i64::from(BLANKS))
}

/// Octal digits, or, when the highest bit is set, a number in base 256.
fn number(field: &[u8]) -> Option<u64> {
    if let Some((first, rest)) = field.split_first().filter(|(first, _)| **first >= 0x80) {
        // One bit is the mark, the next the sign of a negative number, which nothing has.
        let start = u64::from(first & 0x7f);
        let add = |sum: u64, byte: &u8| sum.checked_mul(256)?.checked_add(u64::from(*byte));
        return rest
            .iter()
            .try_fold(start, add)
            .filter(|_| first & 0x40 == 0);
    }
    let text = std::str::from_utf8(field).ok()?;
    let text = text.trim_matches(['\0', ' ']);
    match text {
        "" => Some(0),
        text => u64::from_str_radix(text, 8).ok(),
    }
}

fn short_name(block: &[u8]) -> Vec<u8> {
    let field = |range: std::ops::Range<usize>| {
        let field = &block[range];
        let end = field.iter().position(|&byte| byte == 0);
        &field[..end.unwrap_or(field.len())]
    };
    let name = field(0..100);
    match field(345..500) {
        // Only POSIX has a prefix there; GNU has times.
        prefix if &block[257..263] == b"ustar\0" && !prefix.is_empty() => {
            [prefix, b"/", name].concat()
        }
        _ => name.to_vec(),
    }
}

/// `LENGTH KEY=VALUE\n`, the length being that of all of it.
fn records(mut text: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    std::iter::from_fn(move || {
        let blank = text.iter().position(|&byte| byte == b' ')?;
        let length: usize = std::str::from_utf8(&text[..blank]).ok()?.parse().ok()?;
        let record = text.get(blank + 1..length.checked_sub(1)?)?;
        text = text.get(length..)?;
        let cut = record.iter().position(|&byte| byte == b'=')?;
        Some((&record[..cut], &record[cut + 1..]))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trailer::Trailer;

    /// A header as GNU tar writes it.
    fn header(name: &str, kind: u8, size: u64) -> Vec<u8> {
        let mut block = vec![0; BLOCK];
        block[..name.len()].copy_from_slice(name.as_bytes());
        block[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
        block[156] = kind;
        block[257..265].copy_from_slice(b"ustar\x0000");
        seal(block)
    }

    fn seal(mut block: Vec<u8>) -> Vec<u8> {
        block[148..156].fill(b' ');
        let sum: u64 = block.iter().map(|&byte| u64::from(byte)).sum();
        block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        block
    }

    fn pax(records: &str) -> Vec<u8> {
        let mut all = header("pax", b'x', records.len() as u64);
        all.extend_from_slice(records.as_bytes());
        all.resize(all.len().next_multiple_of(BLOCK), 0);
        all
    }

    fn end() -> Vec<u8> {
        vec![0; 2 * BLOCK]
    }

    /// The result is the same however the bytes are cut.
    fn walked(stream: &[u8]) -> Result<(Contents, String, bool), WalkError> {
        let mut answers = [1, 7, 512, 100_000].map(|step| {
            let mut walk = Walk::new(Form::Checked);
            for piece in stream.chunks(step) {
                if walk.feed(piece)? < piece.len() {
                    break;
                }
            }
            let name = String::from_utf8_lossy(walk.name()).into_owned();
            Ok((walk.contents(), name, walk.has_ended()))
        });
        for answer in &answers[1..] {
            assert_eq!(*answer, answers[0]);
        }
        std::mem::replace(&mut answers[0], Err(WalkError::Size(0)))
    }

    #[test]
    fn files_are_counted_and_the_end_is_found() {
        let mut tar = header("./", b'5', 0);
        tar.extend(header("./a", b'0', 600));
        tar.extend(vec![1; 1024]);
        // A link says the size of what it leads to and has no data.
        tar.extend(header("./b", b'1', 600));
        tar.extend(pax("17 path=./long/x\n"));
        tar.extend(header("short", b'0', 0));
        let files = tar.len() as u64;
        let whole = [tar.clone(), end(), vec![0; 1024], b"behind".to_vec()].concat();
        let (contents, name, ended) = walked(&whole).unwrap();
        assert_eq!((contents.entries, contents.bytes), (4, files));
        assert_eq!((name.as_str(), ended), ("./long/x", true));
        let mut sum = Sum::default();
        sum.add(&tar);
        assert_eq!(contents.digest, Some(sum.digest()));
        let trailer = Trailer::default().to_bytes();
        assert_eq!(
            walked(&[tar.clone(), trailer, end()].concat()),
            Ok((contents, name, true))
        );
        let (contents, _, ended) = walked(&tar).unwrap();
        assert_eq!((contents.entries, contents.bytes, ended), (4, files, false));
        // The name of one file is not that of the next.
        tar.extend(header("next", b'0', 0));
        assert_eq!(walked(&tar).unwrap().1, "next");
    }

    #[test]
    fn a_size_may_stand_elsewhere() {
        let mut tar = pax("12 size=512\n");
        tar.extend(header("a", b'0', 0));
        tar.extend(vec![7; 512]);
        tar.extend(end());
        assert_eq!(walked(&tar).unwrap().0.entries, 1);
        let mut large = header("big", b'0', 0);
        large[124..136].copy_from_slice(&[0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0]);
        let mut tar = seal(large);
        tar.extend(vec![7; 512]);
        tar.extend(end());
        assert!(walked(&tar).unwrap().2);
        let mut sparse = header("old", b'S', 512);
        sparse[482] = 1;
        let mut tar = seal(sparse);
        let mut map = vec![0; BLOCK];
        map[504] = 1;
        tar.extend(map);
        tar.extend(vec![0; BLOCK]);
        tar.extend(vec![7; 512]);
        tar.extend(end());
        assert_eq!(walked(&tar).unwrap().0.entries, 1);
        let long = "x".repeat(300);
        let mut tar = header("././@LongLink", b'L', 301);
        tar.extend(long.as_bytes());
        tar.resize(2 * BLOCK, 0);
        tar.extend(header("cut", b'0', 0));
        assert_eq!(walked(&tar).unwrap().1, long);
    }

    #[test]
    fn what_is_no_tar_is_said() {
        assert_eq!(walked(&[b'x'; 600]), Err(WalkError::NoHeader(0)));
        let after = [header("a", b'0', 0), vec![b'y'; 512]].concat();
        assert_eq!(walked(&after), Err(WalkError::NoHeader(512)));
        let lone = [vec![0; 512], header("a", b'0', 0)].concat();
        assert_eq!(walked(&lone), Err(WalkError::NoHeader(512)));
        let more = [Trailer::default().to_bytes(), header("a", b'0', 0)].concat();
        assert_eq!(walked(&more), Err(WalkError::NoHeader(1024)));
        let huge = header("a", b'x', EXTENDED_MAX + 1);
        assert!(matches!(walked(&huge), Err(WalkError::Extended(0, _))));
        let mut wrong = header("a", b'0', 0);
        wrong[124] = b'9';
        assert_eq!(walked(&seal(wrong)), Err(WalkError::Size(0)));
        let size = [pax("9 size=x\n"), header("a", b'0', 0)].concat();
        assert!(matches!(walked(&size), Err(WalkError::Size(_))));
        // A sum of eight bytes in base 256.
        let mut odd = header("a", b'0', 0);
        odd[148..156].fill(0xef);
        assert_eq!(walked(&odd), Err(WalkError::NoHeader(0)));
        assert_eq!(walked(&[]).unwrap().0.entries, 0);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_walked(bytes: Vec<u8>, step in 1usize..2000) {
            let mut walk = Walk::new(Form::Checked);
            for piece in bytes.chunks(step) {
                if walk.feed(piece).is_err() {
                    break;
                }
            }
        }
    }
}
