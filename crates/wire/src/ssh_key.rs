//! Public keys as OpenSSH writes them: the content of `id_ed25519.pub`, or of an
//! `authorized_keys` with several (sshd(8), "AUTHORIZED_KEYS FILE FORMAT"; RFC 4253,
//! section 6.6).

/// The longest file that is taken, in bytes: some hundred keys.
pub const FILE_MAX: usize = 64 * 1024;
/// How much of a wrong file is shown.
const SHOWN: usize = 40;

/// Kinds of keys that a server of today takes. DSA is not among them.
const KINDS: [&str; 7] = [
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
];

/// Why a file gives no key. The sentence says what to serve instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Somebody put the wrong half onto the web server.
    #[error(
        "a PRIVATE key is served there, for everybody to read: take it away, make a new pair \
         (ssh-keygen), and serve the file that ends in .pub"
    )]
    Private,
    /// Nothing that looks like a key.
    #[error("no public key, it begins with {0:?}; serve a file such as id_ed25519.pub")]
    None(String),
    /// A key that was cut or changed.
    #[error("line {line} is a broken {kind} key; copy the file again")]
    Broken {
        /// Which line, from 1.
        line: usize,
        /// What it says that it is.
        kind: &'static str,
    },
    /// More than a person would write.
    #[error(
        "more than {FILE_MAX} bytes, so no file of public keys; serve a file such as id_ed25519.pub"
    )]
    TooLong,
}

/// The lines with keys, each as it was written, without comments and empty lines.
///
/// # Errors
/// See [`KeyError`]: no key at all, or a line that is none.
///
/// ```
/// use goldring_wire::ssh_key::parse;
/// let file = b"# mine\nssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIh4GIx8jUuaFJF3wh9Zx39+6YWAaaZ49pmEIFqoEFrz me\n";
/// assert_eq!(parse(file).unwrap().len(), 1);
/// ```
pub fn parse(file: &[u8]) -> Result<Vec<String>, KeyError> {
    if file.len() > FILE_MAX {
        return Err(KeyError::TooLong);
    }
    let text = String::from_utf8_lossy(file);
    if text.contains("PRIVATE KEY-----") || text.starts_with("PuTTY-User-Key-File") {
        return Err(KeyError::Private);
    }
    let mut keys = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if line.chars().any(char::is_control) {
            return Err(KeyError::None(shown(&text)));
        }
        // Options may stand in front; they hold no word that is a kind of key.
        let mut words = line.split_ascii_whitespace();
        let kind = words.find_map(|word| KINDS.into_iter().find(|kind| *kind == word));
        let Some(kind) = kind else {
            return Err(KeyError::None(shown(&text)));
        };
        let blob = words.next().and_then(base64).unwrap_or_default();
        if !is_key(&blob, kind) {
            let line = number + 1;
            return Err(KeyError::Broken { line, kind });
        }
        keys.push(line.to_owned());
    }
    if keys.is_empty() {
        return Err(KeyError::None(shown(&text)));
    }
    Ok(keys)
}

fn shown(text: &str) -> String {
    let line = text.lines().find(|line| !line.trim().is_empty());
    line.unwrap_or_default()
        .trim()
        .chars()
        .filter(|c| !c.is_control())
        .take(SHOWN)
        .collect()
}

/// Whether a blob is a row of strings (u32 length, bytes) of which the first is `kind`
/// and the last ends where the blob ends: a key that was cut does not.
fn is_key(blob: &[u8], kind: &str) -> bool {
    let mut rest = blob;
    let mut strings = 0;
    while let Some((length, tail)) = rest.split_first_chunk() {
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        let Some((string, tail)) = tail.split_at_checked(length) else {
            return false;
        };
        if strings == 0 && string != kind.as_bytes() {
            return false;
        }
        strings += 1;
        rest = tail;
    }
    rest.is_empty() && strings >= 2
}

/// RFC 4648, section 4.
fn base64(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=');
    let mut out = Vec::with_capacity(text.len() * 3 / 4);
    let (mut bits, mut count) = (0u32, 0);
    for byte in text.bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            // The upper bits were given before.
            out.push((bits >> count & 0xff) as u8);
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIh4GIx8jUuaFJF3wh9Zx39+6YWAaaZ49pmEIFqoEFrz";

    #[test]
    fn what_people_serve() {
        let good = [
            KEY.to_owned(),
            format!("{KEY} me@home\r\n"),
            format!("\n# two\n{KEY} a\n\n{KEY} b\n"),
            format!("from=\"10.0.*\",command=\"echo a b\" {KEY} a\n"),
        ];
        let counts: Vec<usize> = good
            .iter()
            .map(|file| parse(file.as_bytes()).unwrap().len())
            .collect();
        assert_eq!(counts, [1, 1, 2, 1]);
        let cut = &KEY[..KEY.len() - 8];
        let other = KEY.replace("ssh-ed25519", "ssh-rsa");
        let bad = [
            ("<!DOCTYPE html>\n<p>404", "begins with \"<!DOCTYPE html>\""),
            ("", "begins with \"\""),
            ("# only a comment\n", "no public key"),
            ("ssh-dss AAAAB3NzaC1kc3MAAACB me", "no public key"),
            ("-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n", "PRIVATE key"),
            ("PuTTY-User-Key-File-3: ssh-ed25519\n", "PRIVATE key"),
            ("ssh-ed25519", "line 1 is a broken ssh-ed25519"),
            ("ssh-ed25519 !!!!", "line 1 is a broken"),
            (cut, "line 1 is a broken"),
            (&other, "line 1 is a broken ssh-rsa"),
            ("ssh-ed25519 \u{1b}[2J", "no public key"),
        ];
        for (file, said) in bad {
            let error = parse(file.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(said), "{file:?}: {error}");
        }
        let long = vec![b'#'; FILE_MAX + 1];
        assert_eq!(parse(&long), Err(KeyError::TooLong));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_key_or_a_sentence(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Err(error) = parse(&bytes) {
                prop_assert!(!error.to_string().chars().any(char::is_control));
            }
        }

        #[test]
        fn a_key_with_one_letter_less_is_broken(at in 12..KEY.len()) {
            let mut cut = KEY.to_owned();
            cut.remove(at);
            prop_assert!(parse(cut.as_bytes()).is_err());
        }
    }
}
