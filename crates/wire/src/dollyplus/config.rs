//! The operator's file of dolly+ (0.93): the files with `>` and `>>`, then the hosts.
//!
//! Reading is liberal (comments with `#`, blank lines, tabs, CRLF, indentation); what
//! the old program takes for something else than is meant is an error with its line.
//! The text stays with the golden node: clients get what they need in packets.

use crate::dolly::config::ConfigError;
use crate::dolly::values::{self, Result, cut, fault};

use super::cook::Cook;
use super::{FILES_MAX, HOST_MAX, HOSTS_MAX, NAME_MAX};

/// A file to copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileLine {
    /// Read on the golden node.
    pub input: String,
    /// Written on every client.
    pub output: String,
    /// What the client does with it; [`Cook::PLAIN`] for `>`.
    pub cook: Cook,
    /// The line says `>>` (or `compressed`), and the ending means nothing.
    pub uncookable: bool,
}

/// A configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The files, in their order.
    pub files: Vec<FileLine>,
    /// The golden node, as the last client has to find it.
    pub server: String,
    /// The clients in their order.
    pub clients: Vec<String>,
}

#[derive(Debug, Default)]
struct Draft {
    input: Option<(usize, String, bool)>,
    output: Option<String>,
    files: Vec<FileLine>,
    /// `iofiles N`: its line and N.
    announced: Option<(usize, usize)>,
    server: Option<String>,
    first: bool,
    last: bool,
    count: Option<(usize, usize)>,
    clients: Vec<String>,
}

impl Config {
    /// Reads a file's bytes.
    ///
    /// # Errors
    /// The first fault, with its line and what to write instead.
    pub fn parse_bytes(bytes: &[u8]) -> std::result::Result<Self, ConfigError> {
        Self::parse(values::utf8(bytes)?)
    }

    /// As [`Config::parse_bytes`], of text.
    ///
    /// # Errors
    /// The first fault.
    pub fn parse(text: &str) -> std::result::Result<Self, ConfigError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut draft = Draft::default();
        let mut line = 1;
        for (index, raw) in text.lines().enumerate() {
            line = index + 1;
            let words = values::words_of(raw);
            let Some(first) = words.first() else { continue };
            if first.starts_with("endconfig") {
                return draft.finish(line);
            }
            draft.line(line, raw, &words)?;
        }
        fault(
            line,
            "the text ends here without an endconfig line; write endconfig below the last client",
        )
    }
}

impl Draft {
    fn line(&mut self, line: usize, raw: &str, words: &[&str]) -> Result<()> {
        if self.count.is_some() {
            return self.client(line, words);
        }
        if let Some((_, announced)) = self.announced
            && self.files.len() < announced
        {
            return self.file(line, raw);
        }
        match words {
            ["iofiles", count] => {
                let most = FILES_MAX as u64;
                let count = values::number(line, "iofiles", count, 1, most)?;
                self.announced = Some((line, usize::try_from(count).unwrap_or(FILES_MAX)));
                Ok(())
            }
            ["infile", path] => self.infile(line, path, false),
            ["compressed", "infile", path] => self.infile(line, path, true),
            ["outfile", path] => self.outfile(line, path),
            ["server", name] => {
                self.server = Some(host(line, name)?);
                Ok(())
            }
            ["firstclient", _] => {
                self.first = true;
                Ok(())
            }
            ["lastclient", _] => {
                self.last = true;
                Ok(())
            }
            ["clients", count] => {
                let count = values::number(line, "clients", count, 1, HOSTS_MAX as u64)?;
                self.count = Some((line, usize::try_from(count).unwrap_or(HOSTS_MAX)));
                Ok(())
            }
            [] => Ok(()),
            [word, ..] => self.stranger(line, raw, word),
        }
    }

    /// A line that has no place here, and what to do about it.
    fn stranger(&self, line: usize, raw: &str, word: &str) -> Result<()> {
        const OF_DOLLY: [&str; 6] = ["segsize", "add", "add2", "fanout", "hyphennormal", "dummy"];
        let complaint = if OF_DOLLY.contains(&word) {
            format!("{word} belongs to dolly; dolly+ has nothing like it, remove the line")
        } else if raw.contains('>') {
            match self.announced {
                Some((at, n)) => format!(
                    "line {at} says iofiles {n}, and this is one more; write iofiles {}",
                    n + 1
                ),
                None => "a file line needs a line iofiles N above it".to_owned(),
            }
        } else {
            format!(
                "{:?} is not understood; dolly+ has iofiles N, infile PATH, outfile PATH, server NAME, \
                 firstclient NAME, lastclient NAME, clients N, endconfig",
                cut(word)
            )
        };
        fault(line, complaint)
    }

    fn infile(&mut self, line: usize, path: &str, cook: bool) -> Result<()> {
        if let Some((before, ..)) = self.input {
            return fault(
                line,
                format!("a second infile, the first is line {before}; use iofiles 2"),
            );
        }
        self.input = Some((line, path.to_owned(), cook));
        Ok(())
    }

    fn outfile(&mut self, line: usize, path: &str) -> Result<()> {
        if self.output.is_some() {
            return fault(line, "a second outfile; use iofiles for several files");
        }
        self.output = Some(path.to_owned());
        Ok(())
    }

    fn file(&mut self, line: usize, raw: &str) -> Result<()> {
        let Some((input, rest)) = raw.split_once('>') else {
            let n = self.announced.map_or(0, |(_, n)| n);
            return fault(
                line,
                format!(
                    "this is not INPUT > OUTPUT or INPUT >> OUTPUT, and line {} announced {n} such lines; \
                     {} are there",
                    self.announced.map_or(0, |(at, _)| at),
                    self.files.len()
                ),
            );
        };
        let (rest, cook) = match rest.strip_prefix('>') {
            Some(rest) => (rest, true),
            None => (rest, false),
        };
        let (input, output) = (input.trim(), rest.trim());
        if input.is_empty() {
            return fault(line, "there is no input before the >; write INPUT > OUTPUT");
        }
        if output.is_empty() {
            return fault(
                line,
                "there is no output behind the >; write INPUT > OUTPUT",
            );
        }
        self.add(line, input, output, cook)
    }

    fn add(&mut self, line: usize, input: &str, output: &str, cook: bool) -> Result<()> {
        if output.contains('>') {
            return fault(
                line,
                format!(
                    "{:?} has a > in it; write one file on each line",
                    cut(output)
                ),
            );
        }
        if output.len() > NAME_MAX {
            return fault(
                line,
                format!(
                    "the output has {} characters, clients take {NAME_MAX}; use a shorter path",
                    output.len()
                ),
            );
        }
        if let Some(twice) = self.files.iter().position(|file| file.output == output) {
            return fault(
                line,
                format!("file {} has the same output; every output once", twice + 1),
            );
        }
        let wanted = if cook {
            Cook::of_name(input)
        } else {
            Cook::PLAIN
        };
        self.files.push(FileLine {
            input: input.to_owned(),
            output: output.to_owned(),
            cook: wanted,
            uncookable: cook && wanted == Cook::PLAIN,
        });
        Ok(())
    }

    fn client(&mut self, line: usize, words: &[&str]) -> Result<()> {
        let [name] = words else {
            return fault(
                line,
                format!(
                    "{:?} is more than one name; write one client on each line",
                    words.join(" ")
                ),
            );
        };
        let name = host(line, name)?;
        if self.clients.contains(&name) {
            return fault(line, format!("{name} is in the list twice; remove one"));
        }
        if self.server.as_ref() == Some(&name) {
            return fault(line, format!("{name} is the server and cannot be a client"));
        }
        self.clients.push(name);
        Ok(())
    }

    fn finish(mut self, end: usize) -> Result<Config> {
        match (self.input.take(), self.output.take(), self.announced) {
            (Some((line, input, cook)), Some(output), None) => {
                self.add(line, &input, &output, cook)?;
            }
            (None, None, Some((line, n))) if self.files.len() == n && line > 0 => {}
            (None, None, Some((line, n))) => {
                return fault(
                    line,
                    format!("iofiles {n}, but {} file lines follow", self.files.len()),
                );
            }
            (Some((line, ..)), _, Some(_)) => {
                return fault(line, "infile and iofiles exclude each other; remove one");
            }
            (Some((line, ..)), None, None) => {
                return fault(line, "infile without outfile; add a line outfile PATH");
            }
            _ => return missing(end, "iofiles N with N file lines (or infile and outfile)"),
        }
        let Some(server) = self.server else {
            return missing(end, "server NAME");
        };
        if !self.first || !self.last {
            return missing(end, "firstclient NAME and lastclient NAME");
        }
        let Some((line, count)) = self.count else {
            return missing(end, "clients N");
        };
        if count != self.clients.len() {
            return fault(
                line,
                format!(
                    "clients {count}, but the list above endconfig has {0} names; write clients {0}, or mend the list",
                    self.clients.len()
                ),
            );
        }
        let (files, clients) = (self.files, self.clients);
        Ok(Config {
            files,
            server,
            clients,
        })
    }
}

fn missing<T>(end: usize, what: &str) -> Result<T> {
    fault(
        end,
        format!("endconfig, but there was no line {what}; add it above clients"),
    )
}

fn host(line: usize, name: &str) -> Result<String> {
    if name.len() > HOST_MAX {
        return fault(
            line,
            format!(
                "the name {:?} has {} characters, dolly+ takes {HOST_MAX}; use the computer's IP address",
                cut(name),
                name.len()
            ),
        );
    }
    Ok(name.to_owned())
}
