//! Places where a program can be made to die, so that tests see what a power cut leaves
//! behind, and patience that tests can shorten. They exist in a build with `--features
//! faults` only; in any other these functions do nothing.

#[cfg(feature = "faults")]
mod faults {
    use std::io::{self, Read, Write};
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
    pub(crate) fn reading_within<R: Read>(place: &'static str, bytes: u64, stream: R) -> impl Read {
        Within {
            place,
            bytes,
            stream,
        }
    }

    /// The same for one that is written to.
    pub(crate) fn writing_within<W: Write>(
        place: &'static str,
        bytes: u64,
        stream: W,
    ) -> impl Write {
        Within {
            place,
            bytes,
            stream,
        }
    }

    struct Within<S> {
        place: &'static str,
        bytes: u64,
        stream: S,
    }

    impl<S> Within<S> {
        fn passed(&mut self, length: usize) -> usize {
            self.bytes = self.bytes.saturating_sub(length as u64);
            if self.bytes == 0 {
                killpoint(self.place);
            }
            length
        }
    }

    impl<R: Read> Read for Within<R> {
        fn read(&mut self, piece: &mut [u8]) -> io::Result<usize> {
            let length = self.stream.read(piece)?;
            Ok(self.passed(length))
        }
    }

    impl<W: Write> Write for Within<W> {
        fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
            let length = self.stream.write(piece)?;
            Ok(self.passed(length))
        }

        fn flush(&mut self) -> io::Result<()> {
            self.stream.flush()
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
    use std::io::{Read, Write};

    use crate::tools::watch::Patience;

    pub(crate) fn killpoint(_place: &str) {}

    pub(crate) fn reading_within<R: Read>(_: &'static str, _: u64, stream: R) -> impl Read {
        stream
    }

    pub(crate) fn writing_within<W: Write>(_: &'static str, _: u64, stream: W) -> impl Write {
        stream
    }

    pub(crate) fn shortened(patience: Patience) -> Patience {
        patience
    }
}

pub(crate) use faults::{killpoint, reading_within, shortened, writing_within};
