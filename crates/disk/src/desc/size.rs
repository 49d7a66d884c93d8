//! Sizes as a desc says them.

use std::fmt;

/// 512 bytes: the unit of `s`, whatever the disk's own sectors are.
pub const UNIT: u64 = 512;
/// A megabyte of a desc, in units: 2^20 bytes, as fdisk's `+500M`.
const MEGABYTE: u64 = (1 << 20) / UNIT;
/// 2^63 bytes, the largest that a file may be.
const LARGEST: u64 = (1 << 63) / UNIT;

/// How large.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// What the others leave.
    Fill,
    /// This many units of 512 bytes; never 0.
    Units(u64),
    /// Hundredths of a percent, from 1 to 10000.
    Percent(u16),
}

impl Size {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text == "fill" {
            return Ok(Self::Fill);
        }
        if let Some(number) = text.strip_suffix('%') {
            return percent(number)
                .map(Self::Percent)
                .ok_or_else(|| format!("{text} is no share; write 0.01% to 100%, or fill"));
        }
        match units(text, MEGABYTE) {
            Some(0) => {
                Err("nothing has the size 0; write megabytes (500), 20G, 25% or fill".into())
            }
            Some(units) => Ok(Self::Units(units)),
            None => Err(format!(
                "{text:?} is no size; write megabytes (500), 20G, 25% or fill"
            )),
        }
    }
}

/// A number with a letter: `K`, `M`, `G`, `T` of 1024, `s` for 512 bytes; without one it
/// counts `plain` units. In units; `None` for what is no such thing, or not whole units.
pub(super) fn units(text: &str, plain: u64) -> Option<u64> {
    let split = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, letter) = text.split_at(split);
    let unit = match letter {
        "" => plain,
        "s" => 1,
        "K" => 2,
        "M" => MEGABYTE,
        "G" => MEGABYTE << 10,
        "T" => MEGABYTE << 20,
        _ => return None,
    };
    let number: u64 = number.parse().ok()?;
    number.checked_mul(unit).filter(|units| *units <= LARGEST)
}

fn percent(text: &str) -> Option<u16> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
    if !digits(whole) || !digits(part) || whole.len() > 3 || part.len() > 2 {
        return None;
    }
    let hundredths = format!("{part:0<2}").parse::<u32>().ok()?;
    let number = whole.parse::<u32>().ok()? * 100 + hundredths;
    u16::try_from(number)
        .ok()
        .filter(|number| (1..=10_000).contains(number))
}

/// Units as a desc writes them: whole megabytes are a plain number.
pub(super) fn print_units(units: u64) -> String {
    if units > 0 && units.is_multiple_of(MEGABYTE) {
        (units / MEGABYTE).to_string()
    } else {
        format!("{units}s")
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Fill => f.write_str("fill"),
            Self::Units(units) => f.write_str(&print_units(units)),
            Self::Percent(number) if number % 100 == 0 => write!(f, "{}%", number / 100),
            Self::Percent(number) => write!(f, "{}.{:02}%", number / 100, number % 100),
        }
    }
}

/// Units as people read them: `509.2 MB`, in powers of 1024 as a desc counts.
pub fn megabytes(units: u64) -> String {
    let whole = units / MEGABYTE;
    let tenth = units % MEGABYTE * 10 / MEGABYTE;
    if whole == 0 && tenth == 0 {
        format!("{units} sectors of 512 bytes")
    } else if tenth == 0 || whole >= 1000 {
        format!("{whole} MB")
    } else {
        format!("{whole}.{tenth} MB")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_written() {
        for (text, size, printed) in [
            ("3500", Size::Units(3500 * 2048), "3500"),
            ("0001", Size::Units(2048), "1"),
            ("20G", Size::Units(20 << 21), "20480"),
            ("1T", Size::Units(1 << 31), "1048576"),
            ("3K", Size::Units(6), "6s"),
            ("63s", Size::Units(63), "63s"),
            ("fill", Size::Fill, "fill"),
            ("25%", Size::Percent(2500), "25%"),
            ("12.5%", Size::Percent(1250), "12.50%"),
            ("0.01%", Size::Percent(1), "0.01%"),
            ("100%", Size::Percent(10_000), "100%"),
        ] {
            assert_eq!(Size::parse(text), Ok(size), "{text}");
            assert_eq!(size.to_string(), printed);
            assert_eq!(Size::parse(printed), Ok(size), "{printed}");
        }
        for ugly in [
            "",
            "0",
            "0%",
            "-5",
            "+5",
            "5m",
            "5MB",
            "5 ",
            "M",
            "%",
            "101%",
            "999.99%",
            "1.234%",
            "1,5%",
            "0.1",
            "99999999999999999999",
            "9999999999999999T",
            "Fill",
            "fil",
            "½",
            "5é",
        ] {
            assert!(Size::parse(ugly).is_err(), "{ugly}");
        }
        assert_eq!(megabytes(2048), "1 MB");
        assert_eq!(megabytes(3072), "1.5 MB");
        assert_eq!(megabytes(33), "33 sectors of 512 bytes");
    }
}
