//! Lines of a keyword and `key=value` pairs, in which a name may hold any byte: what is no
//! plain letter stands as a backslash and three octal digits, as in fstab(5).

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use goldring_disk::escape;

/// A line being written.
#[derive(Debug, Default)]
pub struct Line(String);

impl Line {
    /// Begins a line.
    pub fn new(keyword: &str) -> Self {
        Self(keyword.to_owned())
    }

    /// Adds a pair; an empty value is left out, as it is what a reader takes for one that is
    /// not there.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl AsRef<OsStr>) -> Self {
        let value = value.as_ref().as_bytes();
        if !value.is_empty() {
            let _ = write!(self.0, " {key}={}", escaped(value));
        }
        self
    }

    /// Adds a number.
    #[must_use]
    pub fn number(self, key: &str, value: impl std::fmt::Display) -> Self {
        self.with(key, value.to_string())
    }

    /// The line with its end.
    pub fn end(mut self) -> String {
        self.0.push('\n');
        self.0
    }
}

/// Bytes as they stand in a line.
pub fn escaped(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for &byte in bytes {
        if byte.is_ascii_graphic() && byte != b'\\' {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "\\{byte:03o}");
        }
    }
    text
}

/// A line that was read.
#[derive(Debug)]
pub struct Pairs<'a> {
    /// Its first word.
    pub keyword: &'a str,
    pairs: Vec<(&'a str, Vec<u8>)>,
}

impl<'a> Pairs<'a> {
    /// Reads a line. A word without `=` is left alone.
    pub fn parse(line: &'a str) -> Self {
        let mut words = line.split_ascii_whitespace();
        let keyword = words.next().unwrap_or_default();
        let pairs = words
            .filter_map(|word| word.split_once('='))
            .map(|(key, value)| (key, escape::octal_bytes(value.as_bytes())))
            .collect();
        Self { keyword, pairs }
    }

    /// All values of a key.
    pub fn all<'s>(&'s self, key: &'s str) -> impl Iterator<Item = &'s [u8]> {
        let same = move |(other, _): &&(&str, Vec<u8>)| *other == key;
        self.pairs
            .iter()
            .filter(same)
            .map(|(_, value)| value.as_slice())
    }

    /// The value, or nothing.
    pub fn bytes(&self, key: &str) -> &[u8] {
        let pair = self.pairs.iter().find(|(other, _)| *other == key);
        pair.map_or(&[], |(_, value)| value)
    }

    /// The value as text; what is no UTF-8 becomes a question mark.
    pub fn text(&self, key: &str) -> String {
        String::from_utf8_lossy(self.bytes(key)).into_owned()
    }

    /// The value as a path.
    pub fn path(&self, key: &str) -> PathBuf {
        PathBuf::from(std::ffi::OsString::from_vec(self.bytes(key).to_vec()))
    }

    /// The value as a number in this radix; `None` when it is none.
    pub fn number(&self, key: &str, radix: u32) -> Option<u64> {
        u64::from_str_radix(std::str::from_utf8(self.bytes(key)).ok()?, radix).ok()
    }
}

/// A path for people: what a terminal would not show stands as octal digits.
pub fn shown(path: &Path) -> String {
    match path.to_str() {
        Some(text) if !text.chars().any(char::is_control) => text.to_owned(),
        _ => escaped(path.as_os_str().as_bytes()).replace("\\040", " "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_name_is_read_as_it_was_written() {
        for name in [
            &b"plain"[..],
            b"a b",
            b"new\nline\ttab",
            b"\xff\xfe\\134",
            b"k=v=w",
            &[7u8; 255],
        ] {
            let line = Line::new("word")
                .with("path", OsStr::from_bytes(name))
                .with("none", "")
                .number("n", 7)
                .end();
            assert_eq!(line.lines().count(), 1, "{line}");
            let pairs = Pairs::parse(&line);
            assert_eq!(
                (pairs.keyword, pairs.bytes("path"), pairs.number("n", 10)),
                ("word", name, Some(7))
            );
            assert_eq!(pairs.bytes("none"), b"");
        }
        assert_eq!(shown(Path::new("/a b/ä")), "/a b/ä");
        assert_eq!(shown(Path::new("/a b\n")), "/a b\\012");
    }
}
