//! The words and values of a configuration's lines.

use super::config::{ConfigError, FANOUT_MAX, Networks};

pub(crate) type Result<T> = std::result::Result<T, ConfigError>;

pub(crate) fn fault<T>(line: usize, complaint: impl Into<String>) -> Result<T> {
    Err(ConfigError {
        line,
        complaint: complaint.into(),
    })
}

/// A file's bytes as text; the fault names the line that is none.
pub(crate) fn utf8(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).or_else(|error| {
        let before = &bytes[..error.valid_up_to()];
        fault(
            1 + before.iter().filter(|b| **b == b'\n').count(),
            "here is a character that is not UTF-8; write names in plain ASCII",
        )
    })
}

/// The words of a line without its comment.
pub(crate) fn words_of(line: &str) -> Vec<&str> {
    line.split([' ', '\t', '\r'])
        .filter(|word| !word.is_empty())
        .take_while(|word| !word.starts_with('#'))
        .collect()
}

pub(crate) fn number(line: usize, keyword: &str, word: &str, min: u64, max: u64) -> Result<u64> {
    match word.parse::<u64>() {
        Ok(n) if (min..=max).contains(&n) => Ok(n),
        _ => fault(
            line,
            format!(
                "{keyword} {}: write a number from {min} to {max}",
                cut(word)
            ),
        ),
    }
}

pub(super) fn split_size(line: usize, word: &str) -> Result<u64> {
    match size(word) {
        Some(size) => Ok(size),
        None => fault(
            line,
            format!(
                "split {}: write a size such as 700M (K, M, G or T)",
                cut(word)
            ),
        ),
    }
}

/// A size with its unit; `None` for what is none, and for 0.
pub(super) fn size(word: &str) -> Option<u64> {
    let digits = word.trim_end_matches(|c: char| !c.is_ascii_digit());
    let shift = match &word[digits.len()..] {
        "" => 0,
        "k" | "K" => 10,
        "m" | "M" => 20,
        "g" | "G" => 30,
        "t" | "T" => 40,
        _ => return None,
    };
    let n = digits.parse::<u64>().ok()?;
    (n > 0 && n.leading_zeros() > shift).then(|| n << shift)
}

pub(super) fn networks(line: usize, keyword: &str, word: &str) -> Result<Networks> {
    let wrong = || {
        fault(
            line,
            format!(
                "{keyword} {}: write {keyword} N:NAME:… with N names, N up to 7",
                cut(word)
            ),
        )
    };
    let mut parts = word.split(':');
    let count = match parts.next().map(str::parse::<usize>) {
        Some(Ok(count)) if count < FANOUT_MAX => count,
        _ => return wrong(),
    };
    let names: Vec<String> = parts.map(str::to_owned).collect();
    if names.len() != count.max(1) || names.iter().any(String::is_empty) {
        return wrong();
    }
    Ok(Networks {
        infix: keyword == "add2",
        count,
        names,
    })
}

pub(crate) fn cut(text: &str) -> String {
    if text.chars().count() <= 40 {
        return text.to_owned();
    }
    format!("{}…", text.chars().take(40).collect::<String>())
}
