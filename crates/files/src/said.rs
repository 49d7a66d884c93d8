//! What GNU tar says: what its sentences mean, and which of them are trouble.
//!
//! Sentences and exit codes: GNU tar, `src/create.c`, `src/extract.c`, `doc/tar.texi`
//! ("exit status": 1 for files that changed, 2 for errors).

use std::io::{self, BufRead, BufReader, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use goldring_disk::escape;

/// How many troubles are kept to be told at the end.
const TROUBLES: usize = 20;
/// A line of tar is never longer: two names and a sentence.
const LINE_MAX: u64 = 64 << 10;

/// What a line of tar means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// A socket, which is not in the stream.
    Socket(Vec<u8>),
    /// A file changed or went while it was read; what the stream has is whole.
    Changed,
    /// Rights or an owner were refused, which is right where the file system has none.
    Refused(Vec<u8>),
    /// No room is left.
    Full,
    /// Sums up what was said before.
    Nothing,
    /// Anything else.
    Trouble,
}

impl Said {
    /// Reads a line.
    pub fn parse(line: &[u8]) -> Self {
        let Some(line) = line.strip_prefix(b"tar: ") else {
            return Self::Trouble;
        };
        let has = |words: &str| {
            line.windows(words.len())
                .any(|part| part == words.as_bytes())
        };
        if let Some(name) = line.strip_suffix(b": socket ignored") {
            return Self::Socket(unquoted(name));
        }
        if line.starts_with(b"Exiting with failure status")
            || line.starts_with(b"Error is not recoverable")
        {
            return Self::Nothing;
        }
        if has("No space left on device") || has(": Wrote only ") || has("Disk quota exceeded") {
            return Self::Full;
        }
        let changes = [
            ": file changed as we read it",
            ": File removed before we read it",
            "; padding with zeros",
        ];
        if changes.iter().any(|end| line.ends_with(end.as_bytes())) {
            return Self::Changed;
        }
        // A folder on FAT, which tar wants to have no list of its own for new files.
        let list = b"acl_delete_def_file_at: Cannot drop default POSIX ACLs for file '";
        if let Some(name) = line.strip_prefix(list)
            && let Some(name) = name.strip_suffix(b"': Operation not supported")
        {
            return Self::Refused(unquoted(name));
        }
        for words in [": Cannot change mode to ", ": Cannot change ownership to "] {
            let place = line
                .windows(words.len())
                .rposition(|part| part == words.as_bytes());
            if let Some(place) = place
                && has("Operation not permitted")
            {
                return Self::Refused(unquoted(&line[..place]));
            }
        }
        Self::Trouble
    }
}

/// Reads a name as `--quoting-style=escape` writes it.
fn unquoted(name: &[u8]) -> Vec<u8> {
    // Letters first become digits, which are all that is left then.
    let mut digits = Vec::new();
    let mut rest = name;
    while let Some((&first, tail)) = rest.split_first() {
        let code: Option<&[u8]> = match tail.first() {
            Some(b'a') => Some(b"\\007"),
            Some(b'b') => Some(b"\\010"),
            Some(b't') => Some(b"\\011"),
            Some(b'n') => Some(b"\\012"),
            Some(b'v') => Some(b"\\013"),
            Some(b'f') => Some(b"\\014"),
            Some(b'r') => Some(b"\\015"),
            Some(b'\\') => Some(b"\\134"),
            _ => None,
        };
        match code.filter(|_| first == b'\\') {
            Some(code) => {
                digits.extend_from_slice(code);
                rest = &tail[1..];
            }
            None => {
                digits.push(first);
                rest = tail;
            }
        }
    }
    escape::octal_bytes(&digits)
}

/// What tar said in the end.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    pub(crate) sockets: Vec<Vec<u8>>,
    pub(crate) changed: u64,
    /// The first of them.
    pub(crate) troubles: Vec<String>,
    pub(crate) any: bool,
}

impl Heard {
    /// The troubles in one line.
    pub(crate) fn sentence(&self, ended: std::process::ExitStatus) -> String {
        match self.troubles.is_empty() {
            true => format!("tar: {ended}, and it said nothing"),
            false => self.troubles.join(" / "),
        }
    }
}

/// Reads all that tar says, in a thread of its own. `forgive` is asked about rights that were
/// refused; `full` is set when no room is left, since tar would try every other file as well.
pub(crate) fn listen(
    stderr: impl Read + Send + 'static,
    mut say: impl FnMut(&str) + Send + 'static,
    forgive: impl Fn(&[u8]) -> bool + Send + 'static,
    full: &Arc<AtomicBool>,
) -> io::Result<JoinHandle<Heard>> {
    let full = Arc::clone(full);
    let work = move || hear(stderr, &mut say, &forgive, &full);
    thread::Builder::new().name("tar".into()).spawn(work)
}

fn hear(
    stderr: impl Read,
    say: &mut dyn FnMut(&str),
    forgive: &dyn Fn(&[u8]) -> bool,
    full: &AtomicBool,
) -> Heard {
    let mut heard = Heard::default();
    let mut lines = BufReader::new(stderr);
    let mut line = Vec::new();
    loop {
        line.clear();
        match lines.by_ref().take(LINE_MAX).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return heard,
            Ok(_) => {}
        }
        let line = line.strip_suffix(b"\n").unwrap_or(&line);
        let text = String::from_utf8_lossy(line);
        match Said::parse(line) {
            Said::Nothing => {}
            Said::Socket(name) => heard.sockets.push(name),
            Said::Changed => {
                heard.changed += 1;
                say(&text);
            }
            Said::Refused(name) if forgive(&name) => {}
            meaning => {
                say(&text);
                heard.any = true;
                if meaning == Said::Full {
                    full.store(true, Ordering::Relaxed);
                }
                if heard.troubles.len() < TROUBLES {
                    heard.troubles.push(text.into_owned());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_are_understood() {
        let table = [
            (
                "tar: ./so ck\\\\et\\n: socket ignored",
                Said::Socket(b"./so ck\\et\n".to_vec()),
            ),
            (
                "tar: ./\\377\\303.sock: socket ignored",
                Said::Socket(b"./\xff\xc3.sock".to_vec()),
            ),
            ("tar: ./x: file changed as we read it", Said::Changed),
            ("tar: ./x: File removed before we read it", Said::Changed),
            (
                "tar: ./x: File shrank by 5 bytes; padding with zeros",
                Said::Changed,
            ),
            ("tar: ./big: Wrote only 512 of 10240 bytes", Said::Full),
            (
                "tar: ./a: Cannot mkdir: No space left on device",
                Said::Full,
            ),
            (
                "tar: ./boot/efi/x: Cannot change mode to rwx------: Operation not permitted",
                Said::Refused(b"./boot/efi/x".to_vec()),
            ),
            (
                "tar: ./a: Cannot change ownership to uid 5, gid 6: Operation not permitted",
                Said::Refused(b"./a".to_vec()),
            ),
            (
                "tar: acl_delete_def_file_at: Cannot drop default POSIX ACLs for file './boot/efi': Operation not supported",
                Said::Refused(b"./boot/efi".to_vec()),
            ),
            ("tar: ./a: Cannot open: Permission denied", Said::Trouble),
            (
                "tar: ./a: Cannot open: No such file or directory",
                Said::Trouble,
            ),
            (
                "tar: ./a: Read error at byte 0, while reading 512 bytes: Input/output error",
                Said::Trouble,
            ),
            (
                "tar: Exiting with failure status due to previous errors",
                Said::Nothing,
            ),
            ("sh: tar: not found", Said::Trouble),
            ("", Said::Trouble),
        ];
        for (line, meaning) in table {
            assert_eq!(Said::parse(line.as_bytes()), meaning, "{line}");
        }
    }
}
