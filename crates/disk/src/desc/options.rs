//! The words of a line, and its options `key=value`.

/// A word of a line: `key=value`, or a word alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) key: String,
    pub(super) value: Option<String>,
}

/// Splits a line at blanks. A value in quotes may hold blanks; `\"`, `\\` and `\xNN`
/// stand for what they say. A word that begins with `#` begins a comment.
pub(super) fn words(line: &str) -> Result<Vec<Word>, String> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() && !rest.starts_with('#') {
        let end = rest
            .find(|c: char| c.is_whitespace() || c == '=' || c == '"')
            .unwrap_or(rest.len());
        let (key, tail) = rest.split_at(end);
        let (value, tail) = match tail.strip_prefix('=') {
            Some(tail) if !key.is_empty() => {
                let (value, tail) = value(tail, key)?;
                (Some(value), tail)
            }
            _ => (None, tail),
        };
        if !tail.is_empty() && !tail.starts_with(char::is_whitespace) {
            let wrong: String = tail.chars().take(20).collect();
            return Err(format!(
                "{wrong:?} stands where a blank should; write key=value or key=\"a value\""
            ));
        }
        let key = key.to_owned();
        words.push(Word { key, value });
        rest = tail.trim_start();
    }
    Ok(words)
}

fn value<'a>(text: &'a str, key: &str) -> Result<(String, &'a str), String> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text
            .find(|c: char| c.is_whitespace() || c == '"')
            .unwrap_or(text.len());
        let (value, tail) = text.split_at(end);
        return Ok((value.to_owned(), tail));
    };
    let mut value = Vec::new();
    let mut bytes = quoted.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        let byte = match byte {
            b'"' => {
                let value = String::from_utf8(value)
                    .map_err(|_| format!("the value of {key} is no UTF-8; write other \\x"))?;
                return Ok((value, &quoted[at + 1..]));
            }
            b'\\' => escaped(&mut bytes).ok_or_else(|| {
                format!("the value of {key} has a lone \\; write \\\\, \\\" or \\x and two digits")
            })?,
            other => other,
        };
        value.push(byte);
    }
    Err(format!(
        "the quotes of {key}= are not closed; write \" at the end"
    ))
}

fn escaped(bytes: &mut impl Iterator<Item = (usize, u8)>) -> Option<u8> {
    let mut next = || bytes.next().map(|(_, byte)| byte);
    match next()? {
        plain @ (b'"' | b'\\') => Some(plain),
        b'x' => {
            let digit = |byte: u8| char::from(byte).to_digit(16);
            let number = digit(next()?)? * 16 + digit(next()?)?;
            u8::try_from(number).ok().filter(|byte| *byte != 0)
        }
        _ => None,
    }
}

/// A value as it is written: in quotes when it must be.
pub(super) fn quoted(value: &str) -> String {
    let plain = |c: char| !c.is_whitespace() && !c.is_control() && c != '"' && c != '\\';
    if !value.is_empty() && value.chars().all(plain) {
        return value.to_owned();
    }
    let mut text = String::from('"');
    for c in value.chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            ' ' => text.push(c),
            c if c.is_control() || c.is_whitespace() => {
                let mut buffer = [0; 4];
                for byte in c.encode_utf8(&mut buffer).bytes() {
                    text.push_str(&format!("\\x{byte:02x}"));
                }
            }
            c => text.push(c),
        }
    }
    text.push('"');
    text
}

/// The options of a line, taken out one by one; what remains is not known there.
#[derive(Debug)]
pub(super) struct Options {
    words: Vec<Word>,
    /// The keys that somebody asked for.
    known: Vec<&'static str>,
}

impl Options {
    pub(super) fn new(words: Vec<Word>) -> Self {
        let known = Vec::new();
        Self { words, known }
    }

    /// The value of a key.
    pub(super) fn take(&mut self, key: &'static str) -> Result<Option<String>, String> {
        self.known.push(key);
        let Some(word) = self.remove(key) else {
            return Ok(None);
        };
        if self.words.iter().any(|word| word.key == key) {
            return Err(format!("{key} stands here twice; leave one out"));
        }
        match word.value {
            Some(value) if !value.is_empty() => Ok(Some(value)),
            _ => Err(format!("{key} has no value; write {key}=… or leave it out")),
        }
    }

    /// The value of a key, read.
    pub(super) fn read<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, String> {
        self.take(key)?.map(|value| read(&value)).transpose()
    }

    /// Whether a word stands there.
    pub(super) fn flag(&mut self, key: &'static str) -> Result<bool, String> {
        self.known.push(key);
        match self.remove(key) {
            None => Ok(false),
            Some(word) if word.value.is_none() => Ok(true),
            Some(_) => Err(format!("{key} takes no value; write {key} alone")),
        }
    }

    /// Complains about what nobody asked for.
    pub(super) fn finish(mut self) -> Result<(), String> {
        let Some(word) = self.words.pop() else {
            return Ok(());
        };
        self.known.sort_unstable();
        self.known.dedup();
        Err(format!(
            "{:?} is not known here; known are {}",
            word.key,
            self.known.join(", ")
        ))
    }

    fn remove(&mut self, key: &str) -> Option<Word> {
        let at = self.words.iter().position(|word| word.key == key)?;
        Some(self.words.remove(at))
    }
}
