//! The password of dolly 0.70 to 0.72 (protocol description, section 8).

use std::fmt;

use sha2::{Digest, Sha256};

/// The length of a challenge and of its answer, in bytes.
pub const CHALLENGE: usize = 32;

/// A password, of which only the digest is kept.
///
/// It proves the child to the parent and nothing more: whoever is the parent can say
/// `OK` to any answer, and nothing that follows is encrypted.
#[derive(Clone, PartialEq, Eq)]
pub struct Password([u8; CHALLENGE]);

impl Password {
    /// Of this text.
    pub fn new(text: &str) -> Self {
        Self(Sha256::digest(text.as_bytes()).into())
    }

    /// What a child answers: SHA-256 of the password's digest and the challenge.
    pub fn answer(&self, challenge: &[u8; CHALLENGE]) -> [u8; CHALLENGE] {
        Sha256::new()
            .chain_update(self.0)
            .chain_update(challenge)
            .finalize()
            .into()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// A challenge for the child of this number, from a seed that nobody can guess.
pub(super) fn challenge(seed: &[u8; CHALLENGE], child: usize) -> [u8; CHALLENGE] {
    Sha256::new()
        .chain_update(seed)
        .chain_update((child as u64).to_le_bytes())
        .finalize()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_that_of_dolly() {
        // Section 10 of the description: dolly 0.72.0 with -P secret.
        let hex = |text: &str| -> [u8; 32] {
            let byte = |i: usize| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap();
            std::array::from_fn(byte)
        };
        let challenge = hex("41c9cc5434c88e0997c2a729f8cabf78a0fe9991e051b5509517d0f5e29e22ca");
        let answer = hex("b69586d92abb0cdfa7c2aaba5f6f3b1570f380c13385fce01935615a7b455e2e");
        assert_eq!(Password::new("secret").answer(&challenge), answer);
        assert_ne!(Password::new("Secret").answer(&challenge), answer);
        assert_eq!(format!("{:?}", Password::new("secret")), "Password(…)");
    }
}
