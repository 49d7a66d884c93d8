//! Reading a configuration line by line; every fault with its line and its remedy.

use super::config::{CLIENTS_MAX, Dialect, FANOUT_MAX, Networks, Output, Source};
use super::values::{Result, cut, fault, networks, number, split_size, words_of};

/// The longest line that dolly 0.57 reads as one, without its end.
const LINE_MAX: usize = 254;

/// For whom a text is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// An operator who can mend it.
    Operator,
    /// A client that has it from its parent.
    Client,
}

/// A value and its line.
#[derive(Debug, Clone)]
pub(super) struct At<T> {
    pub(super) line: usize,
    pub(super) value: T,
}

/// What has been read so far.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) dialect: Dialect,
    pub(super) reading: Reading,
    pub(super) input: Option<At<Source>>,
    pub(super) output: Option<At<Output>>,
    pub(super) dummy: Option<At<Option<u64>>>,
    pub(super) segsize: Option<At<u32>>,
    pub(super) networks: Option<At<Networks>>,
    pub(super) fanout: Option<At<usize>>,
    pub(super) hyphen: Option<At<()>>,
    pub(super) server: Option<At<String>>,
    pub(super) first: Option<At<String>>,
    pub(super) last: Option<At<String>>,
    pub(super) count: Option<At<usize>>,
    pub(super) clients: Vec<At<String>>,
    /// The line of `endconfig`.
    pub(super) end: usize,
}

const KEYWORDS: &[&str] = &[
    "infile",
    "outfile",
    "compressed",
    "dummy",
    "segsize",
    "add",
    "add2",
    "fanout",
    "hyphennormal",
    "server",
    "firstclient",
    "lastclient",
    "clients",
    "endconfig",
];

/// In which dialect a text is: the SUSE one has none of the lines that say who is where.
pub(super) fn dialect_of(text: &str) -> Dialect {
    const CLASSIC: [&str; 5] = ["dummy", "server", "firstclient", "lastclient", "clients"];
    let lines = || {
        text.lines().map(words_of).take_while(|words| {
            !words
                .first()
                .is_some_and(|word| word.starts_with("endconfig"))
        })
    };
    let has = |keyword: &str| lines().any(|words| words.first() == Some(&keyword));
    // A client with a number behind it, or no client at all, is something else misspelt.
    let named = lines().any(|words| words.len() == 1 && !KEYWORDS.contains(&words[0]));
    let named = named && (has("infile") || has("outfile"));
    if named && !CLASSIC.iter().any(|keyword| has(keyword)) {
        Dialect::Suse
    } else {
        Dialect::Classic
    }
}

fn set<T>(slot: &mut Option<At<T>>, line: usize, keyword: &str, value: T) -> Result<()> {
    if let Some(first) = slot {
        return fault(
            line,
            format!(
                "a second {keyword} line, the first is line {}; remove one",
                first.line
            ),
        );
    }
    *slot = Some(At { line, value });
    Ok(())
}

impl Draft {
    pub(super) fn read(text: &str, dialect: Dialect, reading: Reading) -> Result<Self> {
        let mut draft = Self {
            dialect,
            reading,
            input: None,
            output: None,
            dummy: None,
            segsize: None,
            networks: None,
            fanout: None,
            hyphen: None,
            server: None,
            first: None,
            last: None,
            count: None,
            clients: Vec::new(),
            end: 0,
        };
        // Editors of another system put a mark before the first line.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut last_line = 1;
        for (index, raw) in text.lines().enumerate() {
            last_line = index + 1;
            let words = words_of(raw);
            let Some(first) = words.first() else { continue };
            draft.short_enough(last_line, &words)?;
            if first.starts_with("endconfig") {
                draft.end = last_line;
                return Ok(draft);
            }
            if draft.count.is_some() {
                draft.client(last_line, &words)?;
            } else if dialect == Dialect::Suse {
                draft.suse(last_line, &words)?;
            } else {
                draft.keyword(last_line, &words)?;
            }
        }
        fault(
            last_line,
            "the text ends here without an endconfig line; write endconfig below the last client",
        )
    }

    /// Old readers take what is behind the limit for the next line.
    fn short_enough(&self, line: usize, words: &[&str]) -> Result<()> {
        let length: usize = words.iter().map(|word| word.len() + 1).sum();
        if self.reading == Reading::Operator && length > LINE_MAX + 1 {
            return fault(
                line,
                format!(
                    "a line of {} characters, and old programs read {LINE_MAX}; use a shorter path or name",
                    length - 1
                ),
            );
        }
        Ok(())
    }

    /// A line of the SUSE dialect: what is no keyword is a client.
    fn suse(&mut self, line: usize, words: &[&str]) -> Result<()> {
        match words[0] {
            "infile" | "outfile" => self.keyword(line, words),
            word if word.starts_with("hyp") => self.other(line, word),
            "compressed" | "dummy" | "segsize" | "add" | "add2" | "fanout" => fault(
                line,
                format!(
                    "{} needs the lines server, firstclient, lastclient and clients, too; see the guide",
                    words[0]
                ),
            ),
            _ => self.client(line, words),
        }
    }

    fn client(&mut self, line: usize, words: &[&str]) -> Result<()> {
        if let [name] = words {
            let value = (*name).to_owned();
            self.clients.push(At { line, value });
            return Ok(());
        }
        if KEYWORDS.contains(&words[0]) {
            return fault(
                line,
                format!(
                    "{} stands in the list of clients; the list ends with endconfig, and keywords come above clients",
                    words[0]
                ),
            );
        }
        fault(
            line,
            format!(
                "{:?} is more than one name; write one client on each line",
                words.join(" ")
            ),
        )
    }

    fn keyword(&mut self, line: usize, words: &[&str]) -> Result<()> {
        match words[0] {
            "compressed" => self.compressed(line, &words[1..]),
            "infile" => self.infile(line, words, false),
            "outfile" => self.outfile(line, words, false),
            "dummy" => {
                let size = match words.get(1) {
                    None => None,
                    Some(word) => Some(number(line, "dummy", word, 1, 1 << 40)?),
                };
                set(&mut self.dummy, line, "dummy", size)
            }
            "segsize" => {
                let size = number(line, "segsize", self.value(line, words)?, 88, 32_767)?;
                set(
                    &mut self.segsize,
                    line,
                    "segsize",
                    u32::try_from(size).unwrap_or(0),
                )
            }
            "add" | "add2" => {
                let networks = networks(line, words[0], self.value(line, words)?)?;
                set(&mut self.networks, line, words[0], networks)
            }
            "fanout" => {
                let max = FANOUT_MAX as u64;
                let n = number(line, "fanout", self.value(line, words)?, 1, max)?;
                set(
                    &mut self.fanout,
                    line,
                    "fanout",
                    usize::try_from(n).unwrap_or(1),
                )
            }
            "server" | "firstclient" | "lastclient" => {
                let value = self.value(line, words)?.to_owned();
                let slot = match words[0] {
                    "server" => &mut self.server,
                    "firstclient" => &mut self.first,
                    _ => &mut self.last,
                };
                set(slot, line, words[0], value)
            }
            "clients" => {
                let max = CLIENTS_MAX as u64;
                let n = number(line, "clients", self.value(line, words)?, 1, max)?;
                set(
                    &mut self.count,
                    line,
                    "clients",
                    usize::try_from(n).unwrap_or(0),
                )
            }
            other => self.other(line, other),
        }
    }

    fn other(&mut self, line: usize, word: &str) -> Result<()> {
        let strict = self.reading == Reading::Operator;
        let hyphen = ["hyphennormal", "hypheninterface"];
        if hyphen.contains(&word) || (!strict && hyphen.iter().any(|h| word.starts_with(h))) {
            return set(&mut self.hyphen, line, "hyphennormal", ());
        }
        if word.starts_with("hyp") {
            return fault(line, format!("{word:?} is misspelt; write hyphennormal"));
        }
        let small = word.to_ascii_lowercase();
        if small != word && KEYWORDS.contains(&small.as_str()) {
            return fault(line, format!("{word:?} has capital letters; write {small}"));
        }
        if word == "iofiles" {
            return fault(
                line,
                "iofiles belongs to dolly+; for dolly write an infile and an outfile line",
            );
        }
        fault(
            line,
            format!(
                "{:?} is no keyword of dolly; the keywords are {}",
                cut(word),
                KEYWORDS.join(", ")
            ),
        )
    }

    /// The one word behind a keyword.
    fn value<'a>(&self, line: usize, words: &[&'a str]) -> Result<&'a str> {
        let Some(value) = words.get(1) else {
            return fault(line, format!("{} has no value; write {0} VALUE", words[0]));
        };
        self.no_more(line, words, 2)?;
        Ok(value)
    }

    fn no_more(&self, line: usize, words: &[&str], allowed: usize) -> Result<()> {
        match words.get(allowed) {
            Some(extra) if self.reading == Reading::Operator => fault(
                line,
                format!(
                    "{:?} behind {} is not understood; remove it (a name can hold no blank, a comment begins with #)",
                    cut(extra),
                    words[0]
                ),
            ),
            _ => Ok(()),
        }
    }

    fn compressed(&mut self, line: usize, rest: &[&str]) -> Result<()> {
        match rest.first() {
            Some(&"infile") => self.infile(line, rest, true),
            Some(&"outfile") => self.outfile(line, rest, true),
            _ => fault(
                line,
                "compressed stands alone; write compressed infile PATH or compressed outfile PATH",
            ),
        }
    }

    fn infile(&mut self, line: usize, words: &[&str], compressed: bool) -> Result<()> {
        let Some(path) = words.get(1) else {
            return fault(line, "infile has no path; write infile PATH");
        };
        let split = words.get(2) == Some(&"split");
        self.no_more(line, words, if split { 3 } else { 2 })?;
        let path = (*path).to_owned();
        set(
            &mut self.input,
            line,
            "infile",
            Source {
                path,
                compressed,
                split,
            },
        )
    }

    fn outfile(&mut self, line: usize, words: &[&str], compressed: bool) -> Result<()> {
        let Some(path) = words.get(1) else {
            return fault(line, "outfile has no path; write outfile PATH");
        };
        let split = match (words.get(2), words.get(3)) {
            (Some(&"split"), Some(size)) => Some(split_size(line, size)?),
            (Some(&"split"), None) => {
                return fault(line, "split has no size; write split 2G (or K, M, T)");
            }
            _ => None,
        };
        self.no_more(line, words, if split.is_some() { 4 } else { 2 })?;
        let path = (*path).to_owned();
        set(
            &mut self.output,
            line,
            "outfile",
            Output {
                path,
                compressed,
                split,
            },
        )
    }
}
