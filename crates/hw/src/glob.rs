//! Patterns of `modules.alias`: `*`, `?` and `[…]`, matched against a device's modalias.

/// Whether `text` matches `pattern`: `*` is any run of bytes, `?` any byte, `[a-f0]` one
/// of a set and `[!a]` none of it (fnmatch(3), as depmod's patterns use it). An open
/// bracket without its end is a byte like others. Never takes longer than
/// the product of both lengths.
pub fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    // Where to go on when the last star has to take one byte more.
    let mut star = None;
    loop {
        if pattern.get(p) == Some(&b'*') {
            star = Some((p, t));
            p += 1;
            continue;
        }
        if t == text.len() {
            return p == pattern.len();
        }
        if let Some(width) = one(&pattern[p..], text[t]) {
            p += width;
            t += 1;
            continue;
        }
        let Some((star_p, star_t)) = star else {
            return false;
        };
        star = Some((star_p, star_t + 1));
        p = star_p + 1;
        t = star_t + 1;
    }
}

/// How many bytes of the pattern match `byte`; `None` when they do not.
fn one(pattern: &[u8], byte: u8) -> Option<usize> {
    match *pattern.first()? {
        b'?' => Some(1),
        b'[' => match set(&pattern[1..], byte) {
            Some((true, width)) => Some(width + 1),
            Some((false, _)) => None,
            None => (byte == b'[').then_some(1),
        },
        literal => (literal == byte).then_some(1),
    }
}

/// Reads a set up to its `]`: whether it holds `byte`, and its width.
fn set(set: &[u8], byte: u8) -> Option<(bool, usize)> {
    let negated = matches!(set.first(), Some(b'!' | b'^'));
    let first = usize::from(negated);
    let mut at = first;
    let mut found = false;
    loop {
        match set.get(at)? {
            // A bracket that comes first is a member.
            b']' if at > first => return Some((found != negated, at + 1)),
            &low => match (set.get(at + 1), set.get(at + 2)) {
                (Some(b'-'), Some(&high)) if high != b']' => {
                    found |= (low..=high).contains(&byte);
                    at += 3;
                }
                _ => {
                    found |= low == byte;
                    at += 1;
                }
            },
        }
    }
}

/// The part of a pattern before its first wildcard.
pub fn literal_prefix(pattern: &str) -> &str {
    let end = pattern.find(['*', '?', '[']).unwrap_or(pattern.len());
    &pattern[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_fnmatch() {
        let table = [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("*", "anything", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("a*c", "abbbc", true),
            ("a*c", "abbb", false),
            ("a*b*c", "a-b-b-c", true),
            ("[0-9a-f]", "c", true),
            ("[0-9a-f]", "g", false),
            ("x[!0]", "x1", true),
            ("x[!0]", "x0", false),
            ("[]]", "]", true),
            ("[", "[", true),
            ("[a", "[a", true),
            ("[a-]", "-", true),
            (
                "pci:v00008086d000010D3sv*sd*bc*sc*i*",
                "pci:v00008086d000010D3sv00008086sd0000A01Fbc02sc00i00",
                true,
            ),
            (
                "pci:v00008086d000010D3sv*sd*bc*sc*i*",
                "pci:v00008086d000010D4sv00008086sd0000A01Fbc02sc00i00",
                false,
            ),
            (
                "usb:v0B95p772Ad*dc*dsc*dp*ic*isc*ip*in*",
                "usb:v0B95p772Ad0001dcFFdscFFdp00icFFiscFFip00in00",
                true,
            ),
            (
                "usb:v*p*d*dc*dsc*dp*ic08isc06ip50in*",
                "usb:v0781p5567d0100dc00dsc00dp00ic08isc06ip50in00",
                true,
            ),
            (
                "usb:v04E6p0001d0[0-1]*dc*",
                "usb:v04E6p0001d0200dc00",
                false,
            ),
            ("acpi*:LNXSYSTM:*", "acpi:LNXSYSTM:", true),
            ("virtio:d00000001v*", "virtio:d00000001v00001AF4", true),
        ];
        for (pattern, text, expected) in table {
            assert_eq!(matches(pattern, text), expected, "{pattern} / {text}");
        }
    }

    #[test]
    fn stars_do_not_explode() {
        let pattern = "*a".repeat(40);
        let text = "a".repeat(39) + "b";
        let started = std::time::Instant::now();
        assert!(!matches(&pattern, &text));
        assert!(started.elapsed().as_secs() < 1);
    }
}
