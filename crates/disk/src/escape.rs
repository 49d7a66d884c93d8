//! Bytes that stand as a backslash and digits, in what the kernel and udev write.

/// Reads `\040` and its like (proc(5), fstab(5)). What is no such thing stays.
pub fn octal(text: &str) -> String {
    unescaped(text, |tail| number(tail.get(..3)?, 8))
}

/// As [`octal`], for names that may hold any byte.
pub fn octal_bytes(bytes: &[u8]) -> Vec<u8> {
    unescaped_bytes(bytes, |tail| number(tail.get(..3)?, 8))
}

/// Reads `\x20` and its like, which lsblk writes and udev puts into names of links. What
/// is no such thing stays.
pub fn hexadecimal(text: &str) -> String {
    unescaped(text, |tail| number(tail.strip_prefix(b"x")?.get(..2)?, 16))
}

fn number(digits: &[u8], radix: u32) -> Option<u8> {
    let digits = std::str::from_utf8(digits).ok()?;
    // from_str_radix takes a sign, too.
    let plain = digits.chars().all(|digit| digit.is_digit(radix));
    u8::from_str_radix(digits, radix).ok().filter(|_| plain)
}

/// `code` reads what stands behind a backslash, three letters in both ways to write.
fn unescaped(text: &str, code: impl Fn(&[u8]) -> Option<u8>) -> String {
    String::from_utf8_lossy(&unescaped_bytes(text.as_bytes(), code)).into_owned()
}

fn unescaped_bytes(bytes: &[u8], code: impl Fn(&[u8]) -> Option<u8>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = bytes;
    while let Some((&first, tail)) = rest.split_first() {
        match code(tail).filter(|_| first == b'\\') {
            Some(byte) => {
                out.push(byte);
                rest = &tail[3..];
            }
            None => {
                out.push(first);
                rest = tail;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ugly_escapes_stay_what_they_are() {
        let table = [
            (octal as fn(&str) -> String, "my\\040disk", "my disk"),
            (octal, "a\\134b\\zc", "a\\b\\zc"),
            (octal, "a\\04", "a\\04"),
            (octal, "\\777\\+12\\", "\\777\\+12\\"),
            (octal, "\\303\\244", "ä"),
            (hexadecimal, r"\x2", r"\x2"),
            (hexadecimal, r"a\x5cb\", r"a\b\"),
            (hexadecimal, r"\x+1\xC3\xa4", r"\x+1ä"),
            (hexadecimal, "", ""),
        ];
        for (read, text, plain) in table {
            assert_eq!(read(text), plain, "{text}");
        }
    }
}
