//! Rates and sizes on the command line.

use std::fmt;
use std::str::FromStr;

/// The limit of a link in Mbit/s (10^6 bits), if it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::bench) struct Rate(pub(in crate::bench) Option<u32>);

impl FromStr for Rate {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        match (word, word.parse()) {
            ("none", _) => Ok(Self(None)),
            (_, Ok(rate)) if rate > 0 => Ok(Self(Some(rate))),
            _ => Err("give Mbit/s, such as 400, or none".to_owned()),
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(rate) => write!(f, "{rate} Mbit/s"),
            None => f.write_str("no limit"),
        }
    }
}

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::bench) struct Size(pub(in crate::bench) u64);

impl FromStr for Size {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let units = [("KiB", 10), ("MiB", 20), ("GiB", 30), ("", 0)];
        let (number, shift) = units
            .iter()
            .find_map(|(unit, shift)| Some((word.strip_suffix(unit)?, shift)))
            .unwrap_or((word, &0));
        number
            .parse::<u64>()
            .ok()
            .and_then(|number| number.checked_mul(1 << shift))
            .filter(|bytes| *bytes > 0)
            .map(Self)
            .ok_or_else(|| "give a size such as 1GiB, 300MiB or 5000000".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_become_numbers() {
        let size = |word: &str| word.parse::<Size>().ok().map(|size| size.0);
        assert_eq!(size("1GiB"), Some(1 << 30));
        assert_eq!(size("3MiB"), Some(3 << 20));
        assert_eq!(size("70"), Some(70));
        for ugly in ["", "GiB", "0", "-1", "1.5GiB", "99999999999GiB", "1 GiB"] {
            assert_eq!(size(ugly), None, "{ugly:?}");
        }
        assert_eq!("400".parse(), Ok(Rate(Some(400))));
        assert_eq!("none".parse(), Ok(Rate(None)));
        assert_eq!(Rate(Some(5)).to_string(), "5 Mbit/s");
    }
}
