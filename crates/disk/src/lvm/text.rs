//! The text of LVM: `key = value`, sections in braces, comments behind `#`
//! (lvm2, `libdm/libdm-config.c`).

/// A section, or the whole text.
#[derive(Debug, Default)]
pub(super) struct Section {
    values: Vec<(String, Vec<String>)>,
    /// In the order of the text.
    pub(super) sections: Vec<(String, Section)>,
}

impl Section {
    pub(super) fn section(&self, name: &str) -> Option<&Section> {
        let found = self.sections.iter().find(|(other, _)| other == name);
        found.map(|(_, section)| section)
    }

    /// A value; one that is alone is a list of one.
    pub(super) fn list(&self, key: &str) -> &[String] {
        let found = self.values.iter().find(|(other, _)| other == key);
        found.map_or(&[], |(_, values)| values)
    }

    pub(super) fn text(&self, key: &str) -> Option<&str> {
        self.list(key).first().map(String::as_str)
    }

    pub(super) fn number(&self, key: &str) -> Option<u64> {
        self.text(key)?.parse().ok()
    }
}

/// How deep sections lie in each other; in real ones it is four.
const DEEPEST: usize = 16;

/// Reads a text. `None`: it is none.
pub(super) fn parse(text: &str) -> Option<Section> {
    let mut rest = Rest(text);
    let section = rest.section(0)?;
    rest.0.is_empty().then_some(section)
}

struct Rest<'a>(&'a str);

impl Rest<'_> {
    /// To the closing brace, or to the end.
    fn section(&mut self, depth: usize) -> Option<Section> {
        let mut section = Section::default();
        loop {
            self.skip();
            if self.0.is_empty() || self.0.starts_with('}') {
                return (depth <= DEEPEST).then_some(section);
            }
            let name = self.word()?;
            self.skip();
            if self.eat('{') {
                if depth == DEEPEST {
                    return None;
                }
                let inner = self.section(depth + 1)?;
                self.eat('}').then_some(())?;
                section.sections.push((name, inner));
            } else {
                self.eat('=').then_some(())?;
                let values = self.values()?;
                section.values.push((name, values));
            }
        }
    }

    fn values(&mut self) -> Option<Vec<String>> {
        self.skip();
        if !self.eat('[') {
            return Some(vec![self.value()?]);
        }
        let mut values = Vec::new();
        loop {
            self.skip();
            if self.eat(']') {
                return Some(values);
            }
            values.push(self.value()?);
            self.skip();
            self.eat(',');
        }
    }

    fn value(&mut self) -> Option<String> {
        if !self.eat('"') {
            return self.word();
        }
        let mut text = String::new();
        let mut letters = self.0.char_indices();
        while let Some((at, letter)) = letters.next() {
            match letter {
                '"' => {
                    self.0 = &self.0[at + 1..];
                    return Some(text);
                }
                '\\' => text.push(letters.next()?.1),
                letter => text.push(letter),
            }
        }
        None
    }

    fn word(&mut self) -> Option<String> {
        let end = |c: char| c.is_whitespace() || "={}[],\"#".contains(c);
        let (word, rest) = self.0.split_at(self.0.find(end).unwrap_or(self.0.len()));
        self.0 = rest;
        (!word.is_empty()).then(|| word.to_owned())
    }

    /// Blanks, comments, and the NUL at the end.
    fn skip(&mut self) {
        loop {
            self.0 = self
                .0
                .trim_start_matches(|c: char| c.is_whitespace() || c == '\0');
            if !self.0.starts_with('#') {
                return;
            }
            self.0 = self.0.split_once('\n').map_or("", |(_, rest)| rest);
        }
    }

    fn eat(&mut self, letter: char) -> bool {
        match self.0.strip_prefix(letter) {
            Some(rest) => {
                self.0 = rest;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read() {
        let all = parse("# x\na = 1 b=\"c \\\" d\" l = [ \"x\", 2,\n3 ]\ns { n = -1 t { } }\n\0")
            .unwrap();
        assert_eq!((all.number("a"), all.text("b")), (Some(1), Some("c \" d")));
        assert_eq!(all.list("l"), ["x", "2", "3"]);
        let section = all.section("s").unwrap();
        assert_eq!((section.number("n"), section.text("n")), (None, Some("-1")));
        assert!(section.section("t").is_some() && all.section("t").is_none());
        let deep = "a {".repeat(100_000);
        for ugly in [
            "a", "a =", "a = [", "a = [1", "a = \"x", "a {", "}", "a { } }", "= 1", "a = \"\\",
            &deep,
        ] {
            assert!(parse(ugly).is_none(), "{ugly:.20}");
        }
    }
}
