//! Identifiers of 16 bytes: UUIDs of file systems, and the GUIDs of GPT, which lie on the
//! disk with their first three fields turned (UEFI specification, appendix A).

use std::fmt;
use std::str::FromStr;

/// An identifier, in the order in which it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Guid(pub [u8; 16]);

impl Guid {
    /// A new one, of version 4 (RFC 9562, 5.4).
    pub fn random() -> Self {
        let mut bytes: [u8; 16] = goldring_sys::random::bytes();
        bytes[6] = bytes[6] & 0x0F | 0x40;
        bytes[8] = bytes[8] & 0x3F | 0x80;
        Self(bytes)
    }

    /// From the bytes of a GPT, or to them: turning twice is turning not at all.
    #[must_use]
    pub fn turned(self) -> Self {
        let mut bytes = self.0;
        bytes[0..4].reverse();
        bytes[4..6].reverse();
        bytes[6..8].reverse();
        Self(bytes)
    }

    /// Whether it is all zeros, which stands for none.
    pub fn is_nil(self) -> bool {
        self.0 == [0; 16]
    }

    /// From a constant; a mistake shows when it is compiled.
    pub const fn constant(number: u128) -> Self {
        Self(number.to_be_bytes())
    }
}

/// It is no identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a UUID is 32 hexadecimal digits, such as 0fc63daf-8483-4772-8e79-3d69d8477de4")]
pub struct NoGuid;

impl FromStr for Guid {
    type Err = NoGuid;

    fn from_str(text: &str) -> Result<Self, NoGuid> {
        let dashes: Vec<usize> = text.match_indices('-').map(|(at, _)| at).collect();
        if dashes != [8, 13, 18, 23] || text.len() != 36 {
            return Err(NoGuid);
        }
        let digits = text.replace('-', "");
        if !digits.chars().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(NoGuid);
        }
        let number = u128::from_str_radix(&digits, 16).map_err(|_| NoGuid)?;
        Ok(Self::constant(number))
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            if matches!(at, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let text = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b";
        let guid: Guid = text.parse().unwrap();
        assert_eq!(guid.to_string(), text);
        assert_eq!(text.to_uppercase().parse(), Ok(guid));
        // As it lies on a disk (UEFI specification, appendix A).
        let disk = b"\x28\x73\x2a\xc1\x1f\xf8\xd2\x11\xba\x4b\x00\xa0\xc9\x3e\xc9\x3b";
        assert_eq!(guid.turned().0, *disk);
        assert_eq!(guid.turned().turned(), guid);
        let random = Guid::random();
        assert_eq!(random.to_string().as_bytes()[14], b'4');
        assert_eq!(random.to_string().parse(), Ok(random));
        for ugly in [
            "",
            "c12a7328",
            "c12a7328f81f11d2ba4b00a0c93ec93b",
            "c12a7328-f81f-11d2-ba4b-00a0c93ec93",
            "c12a7328-f81f-11d2-ba4b-00a0c93ec93g",
            "c12a7328-f81f-11d2-ba4b-+0a0c93ec93b",
            "c12a732-8f81f-11d2-ba4b-00a0c93ec93b",
            "é12a7328-f81f-11d2-ba4b-00a0c93ec93",
        ] {
            assert_eq!(ugly.parse::<Guid>(), Err(NoGuid), "{ugly}");
        }
    }
}
