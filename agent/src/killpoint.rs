//! Places where a program can be made to die, so that tests see what a power cut leaves
//! behind, and patience that tests can shorten. They exist in a build with `--features
//! faults` only; in any other these functions do nothing.

#[cfg(feature = "faults")]
mod faults {
    use std::io::{self, Read};
    use std::time::Duration;

    use crate::tools::watch::Patience;

    /// Ends this program at once when `GOLDRING_KILL` names this place.
    pub(crate) fn killpoint(place: &str) {
        if std::env::var("GOLDRING_KILL").is_ok_and(|wanted| wanted == place) {
            eprintln!("goldring: killed at {place:?}, as GOLDRING_KILL says");
            std::process::abort();
        }
    }

    /// A stream in whose middle, after so many bytes, is such a place.
    pub(crate) fn within<R: Read>(place: &'static str, bytes: u64, from: R) -> impl Read {
        Within { place, bytes, from }
    }

    struct Within<R> {
        place: &'static str,
        bytes: u64,
        from: R,
    }

    impl<R: Read> Read for Within<R> {
        fn read(&mut self, piece: &mut [u8]) -> io::Result<usize> {
            let length = self.from.read(piece)?;
            self.bytes = self.bytes.saturating_sub(length as u64);
            if self.bytes == 0 {
                killpoint(self.place);
            }
            Ok(length)
        }
    }

    /// With `GOLDRING_TOOL_LIMIT` so many seconds, and half of that until the first word.
    pub(crate) fn shortened(patience: Patience) -> Patience {
        let limit = std::env::var("GOLDRING_TOOL_LIMIT").ok();
        let limit = limit.and_then(|text| text.parse().ok());
        limit.map_or(patience, |seconds| {
            let limit = Duration::from_secs(seconds);
            Patience {
                word: limit / 2,
                limit,
            }
        })
    }
}

#[cfg(not(feature = "faults"))]
mod faults {
    use std::io::Read;

    use crate::tools::watch::Patience;

    pub(crate) fn killpoint(_place: &str) {}

    pub(crate) fn within<R: Read>(_place: &'static str, _bytes: u64, from: R) -> impl Read {
        from
    }

    pub(crate) fn shortened(patience: Patience) -> Patience {
        patience
    }
}

pub(crate) use faults::{killpoint, shortened, within};
