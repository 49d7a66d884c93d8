//! Reading a configuration line by line; every fault with its line and its remedy.

use super::config::{CLIENTS_MAX, Config, FANOUT_MAX, Networks, Output, Payload, Source};
use super::values::{Result, cut, fault, networks, number, split_size, words_of};

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
struct At<T> {
    line: usize,
    value: T,
}

/// What has been read so far.
#[derive(Debug)]
pub(super) struct Draft {
    reading: Reading,
    input: Option<At<Source>>,
    output: Option<At<Output>>,
    dummy: Option<At<Option<u64>>>,
    segsize: Option<At<u32>>,
    networks: Option<At<Networks>>,
    fanout: Option<At<usize>>,
    hyphen: Option<At<()>>,
    server: Option<At<String>>,
    first: Option<At<String>>,
    last: Option<At<String>>,
    count: Option<At<usize>>,
    clients: Vec<At<String>>,
    /// The line of `endconfig`.
    end: usize,
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
    pub(super) fn read(text: &str, reading: Reading) -> Result<Self> {
        let mut draft = Self {
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
            if first.starts_with("endconfig") {
                draft.end = last_line;
                return Ok(draft);
            }
            if draft.count.is_some() {
                draft.client(last_line, &words)?;
            } else {
                draft.keyword(last_line, &words)?;
            }
        }
        fault(
            last_line,
            "the text ends here without an endconfig line; write endconfig below the last client",
        )
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

impl Draft {
    /// Puts the lines together and compares them with each other.
    pub(super) fn finish(mut self) -> Result<Config> {
        let payload = self.payload()?;
        let server = self.needed(self.server.clone(), "server NAME")?;
        let first = self.needed(self.first.clone(), "firstclient NAME")?;
        let last = self.needed(self.last.clone(), "lastclient NAME")?;
        let count = self.needed(self.count.clone(), "clients N")?;
        if count.value != self.clients.len() {
            return fault(
                count.line,
                format!(
                    "clients {}, but the list above endconfig has {} names; write clients {1}, or mend the list",
                    count.value,
                    self.clients.len()
                ),
            );
        }
        if self.reading == Reading::Operator {
            self.compare(&server, &first, &last)?;
        }
        Ok(Config {
            payload,
            segsize: self.segsize.map(|at| at.value),
            networks: self.networks.map(|at| at.value),
            fanout: self.fanout.map_or(1, |at| at.value),
            hyphen_normal: self.hyphen.is_some(),
            server: server.value,
            first_client: first.value,
            last_client: last.value,
            clients: self.clients.into_iter().map(|at| at.value).collect(),
        })
    }

    fn payload(&mut self) -> Result<Payload> {
        if let Some(dummy) = self.dummy.take() {
            if let Some(line) = self.input.as_ref().map(|at| at.line) {
                return fault(
                    line,
                    format!(
                        "infile and dummy (line {}) exclude each other; remove one",
                        dummy.line
                    ),
                );
            }
            return Ok(Payload::Dummy {
                megabytes: dummy.value,
            });
        }
        let input = self.needed(self.input.clone(), "infile PATH")?;
        let output = self.needed(self.output.clone(), "outfile PATH")?;
        Ok(Payload::File {
            input: input.value,
            output: output.value,
        })
    }

    fn needed<T>(&self, slot: Option<At<T>>, what: &str) -> Result<At<T>> {
        match slot {
            Some(at) => Ok(at),
            None => fault(
                self.end,
                format!("endconfig, but there was no line {what}; add it above clients"),
            ),
        }
    }

    fn compare(&self, server: &At<String>, first: &At<String>, last: &At<String>) -> Result<()> {
        if let (Some(networks), Some(fanout)) = (&self.networks, &self.fanout)
            && fanout.value > 1
        {
            return fault(
                networks.line,
                format!(
                    "add and fanout (line {}) exclude each other; remove one",
                    fanout.line
                ),
            );
        }
        usable_name(server)?;
        let mut seen: std::collections::HashMap<&str, usize> = std::collections::HashMap::new();
        for client in &self.clients {
            usable_name(client)?;
            if let Some(before) = seen.insert(&client.value, client.line) {
                return fault(
                    client.line,
                    format!(
                        "{} is in the list twice, also in line {before}; remove one",
                        client.value
                    ),
                );
            }
            if client.value == server.value {
                return fault(
                    client.line,
                    format!(
                        "{} is the server (line {}) and cannot be a client",
                        client.value, server.line
                    ),
                );
            }
        }
        let ends = [
            ("firstclient", first, self.clients.first()),
            ("lastclient", last, self.clients.last()),
        ];
        for (keyword, named, listed) in ends {
            if let Some(listed) = listed.filter(|listed| listed.value != named.value) {
                return fault(
                    named.line,
                    format!(
                        "{keyword} {}, but line {} of the list says {}; write {keyword} {2}",
                        named.value, listed.line, listed.value
                    ),
                );
            }
        }
        Ok(())
    }
}

/// What old programs cannot stand in a name: they count the word `ready` anywhere in
/// a line, and use names as a format.
fn usable_name(name: &At<String>) -> Result<()> {
    let bad = |why: &str| {
        fault(
            name.line,
            format!(
                "the name {:?} {why}; use the computer's IP address instead",
                cut(&name.value)
            ),
        )
    };
    if name.value.contains("ready") {
        return bad("contains \"ready\", which old servers count as an answer");
    }
    if name.value.contains('%') {
        return bad("contains \"%\", which crashes old servers");
    }
    if name.value.len() > 253 || name.value.contains(|c: char| c.is_control() || c == '\'') {
        return bad("is not a host name");
    }
    Ok(())
}
