//! Firmware that drivers asked for and did not get, from the kernel's log.

/// A driver without its firmware.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The driver.
    pub driver: String,
    /// The device's place on its bus.
    pub place: String,
    /// The file, relative to `/lib/firmware`.
    pub file: String,
}

/// What the kernel's messages say of firmware that is not there; each once.
pub fn wanted<'m>(messages: impl IntoIterator<Item = &'m str>) -> Vec<Wanted> {
    let mut all = Vec::new();
    for wanted in messages.into_iter().filter_map(parse) {
        if !all.contains(&wanted) {
            all.push(wanted);
        }
    }
    all
}

/// `tg3 0000:02:00.0: Direct firmware load for tigon/tg3_tso.bin failed with error -2`
/// (Linux, drivers/base/firmware_loader/main.c), and with Debian's words `tg3
/// 0000:02:00.0: firmware: failed to load tigon/tg3_tso.bin (-2)`. Only `ENOENT` counts.
fn parse(message: &str) -> Option<Wanted> {
    let (device, text) = message.split_once(": ")?;
    let (driver, place) = device.split_once(' ')?;
    let file = match text.strip_prefix("Direct firmware load for ") {
        Some(rest) => rest.strip_suffix(" failed with error -2")?,
        None => text
            .strip_prefix("firmware: failed to load ")?
            .strip_suffix(" (-2)")?,
    };
    Some(Wanted {
        driver: driver.to_owned(),
        place: place.to_owned(),
        file: file.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kernels_words_are_understood() {
        let messages = [
            "tg3 0000:02:00.0: firmware: failed to load tigon/tg3_tso.bin (-2)",
            "firmware_class: See the manual for information",
            "tg3 0000:02:00.0: Direct firmware load for tigon/tg3_tso.bin failed with error -2",
            "e100 0000:00:03.0: Direct firmware load for e100/d101m_ucode.bin failed with error -12",
            "e100: firmware: failed to load x",
            "",
        ];
        let tg3 = Wanted {
            driver: "tg3".into(),
            place: "0000:02:00.0".into(),
            file: "tigon/tg3_tso.bin".into(),
        };
        assert_eq!(wanted(messages), [tg3]);
    }
}
