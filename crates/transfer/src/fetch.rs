//! A stream into a file, with its length and digest checked while it arrives; a small file
//! into memory.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use goldring_contract::limits::FETCH_SILENCE;
use goldring_contract::paths;

use crate::digest::Sha256;
use crate::remote::{self, Options, RemoteError, Url};

/// How much is read at once, in bytes.
const BLOCK: usize = 256 * 1024;
/// A stream that delivers less than this within the silence limit, twice in a row, has
/// failed, or it could keep a node waiting for ever with one byte now and then. Once is no
/// crime: a connection that broke may have been made again meanwhile.
const LEAST: u64 = 64 * 1024;

/// How far a fetch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes that arrived.
    pub bytes: u64,
    /// Bytes that there are.
    pub total: u64,
    /// Time since the first byte was awaited.
    pub elapsed: Duration,
}

/// Why a stream did not become a file.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The stream broke.
    #[error("the transfer broke off after {got} of {total} bytes")]
    Broken {
        /// Bytes that arrived.
        got: u64,
        /// Bytes that were announced.
        total: u64,
        /// Why.
        source: io::Error,
    },
    /// The stream ended too early.
    #[error("cut off: only {got} of {total} bytes arrived")]
    Cut {
        /// Bytes that arrived.
        got: u64,
        /// Bytes that were announced.
        total: u64,
    },
    /// The stream is too slow to be called alive.
    #[error("only {got} of {total} bytes arrived, and less than 64 KiB in the last {window:?}")]
    Slow {
        /// Bytes that arrived.
        got: u64,
        /// Bytes that were announced.
        total: u64,
        /// The time that it had.
        window: Duration,
    },
    /// The file cannot be written.
    #[error("writing {path}")]
    Write {
        /// Which file.
        path: String,
        /// Why.
        source: io::Error,
    },
}

/// Why a small file is not here.
#[derive(Debug, thiserror::Error)]
pub enum SmallError {
    /// The server does not give it.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// It broke off.
    #[error("{url}: broken off after {got} bytes")]
    Broken {
        /// Which file.
        url: String,
        /// Bytes that arrived.
        got: usize,
        /// Why.
        source: io::Error,
    },
    /// It is not small.
    #[error("{url}: more than {most} bytes; is it the right file?")]
    Large {
        /// Which file.
        url: String,
        /// What would have been taken.
        most: usize,
    },
}

/// Fetches the file at `url` (`http:`, `ftp:`, and `https:` where it was built in and the
/// image says whom to trust) into memory, if it has at most `most` bytes. Takes no longer
/// than some minutes, whatever the server does.
///
/// # Errors
/// See [`SmallError`].
pub fn small(url: &str, most: usize) -> Result<Vec<u8>, SmallError> {
    let options = Options {
        roots: std::fs::read(paths::CA_HANDED_OVER).ok(),
        ..Options::new(FETCH_SILENCE)
    };
    let url = Url::parse(url).map_err(RemoteError::from)?;
    small_with(&url, most, &options)
}

/// As [`small`], with options.
///
/// # Errors
/// See [`SmallError`].
pub fn small_with(url: &Url, most: usize, options: &Options) -> Result<Vec<u8>, SmallError> {
    let started = Instant::now();
    let mut remote = remote::open(url, options)?;
    let mut bytes = Vec::new();
    let mut block = [0; 4096];
    loop {
        let read = match remote.read(&mut block) {
            // One letter now and then is no better than silence.
            Ok(_) if started.elapsed() > options.silence * 4 => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "the server is too slow",
            )),
            other => other,
        };
        let length = read.map_err(|source| SmallError::Broken {
            url: url.to_string(),
            got: bytes.len(),
            source,
        })?;
        if length == 0 {
            return Ok(bytes);
        }
        bytes.extend(&block[..length]);
        if bytes.len() > most {
            let url = url.to_string();
            return Err(SmallError::Large { url, most });
        }
    }
}

/// A file that is removed unless it became whole.
struct Partial<'a>(&'a Path);

impl Partial<'_> {
    fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for Partial<'_> {
    fn drop(&mut self) {
        // It may not even have been made.
        let _ = std::fs::remove_file(self.0);
    }
}

/// Copies `total` bytes from `stream` into a new file at `path`. Calls `progress` for
/// each block. Returns the SHA-256 of what was written, in lower-case hexadecimal.
///
/// # Errors
/// See [`FetchError`]; the file is then removed, since it may fill the memory.
pub fn into_file(
    stream: &mut (impl Read + ?Sized),
    total: u64,
    path: &Path,
    silence: Duration,
    progress: &mut dyn FnMut(Progress),
) -> Result<String, FetchError> {
    let partial = Partial(path);
    let failed = |source| FetchError::Write {
        path: path.display().to_string(),
        source,
    };
    let mut file = File::create(path).map_err(failed)?;
    let store = &mut |block: &[u8]| file.write_all(block).map_err(failed);
    let digest = read(stream, total, silence, store, progress)?;
    partial.keep();
    Ok(digest)
}

/// The SHA-256 of `total` bytes from `stream`, which are kept nowhere.
///
/// # Errors
/// See [`FetchError`].
pub fn digest_of(
    stream: &mut (impl Read + ?Sized),
    total: u64,
    silence: Duration,
    progress: &mut dyn FnMut(Progress),
) -> Result<String, FetchError> {
    read(stream, total, silence, &mut |_| Ok(()), progress)
}

fn read(
    stream: &mut (impl Read + ?Sized),
    total: u64,
    silence: Duration,
    store: &mut dyn FnMut(&[u8]) -> Result<(), FetchError>,
    progress: &mut dyn FnMut(Progress),
) -> Result<String, FetchError> {
    let mut digest = Sha256::default();
    let mut block = vec![0; BLOCK];
    let started = Instant::now();
    let mut window = (started, 0);
    let mut slow = false;
    let mut got = 0u64;
    while got < total {
        let most = usize::try_from(total - got).map_or(BLOCK, |rest| rest.min(BLOCK));
        let length = match stream.read(&mut block[..most]) {
            Ok(0) => return Err(FetchError::Cut { got, total }),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(source) => return Err(FetchError::Broken { got, total, source }),
        };
        digest.add(&block[..length]);
        store(&block[..length])?;
        got += length as u64;
        let elapsed = started.elapsed();
        progress(Progress {
            bytes: got,
            total,
            elapsed,
        });
        if window.0.elapsed() >= silence {
            let (before, now) = (slow, got - window.1 < LEAST);
            slow = now;
            if before && now {
                return Err(FetchError::Slow {
                    got,
                    total,
                    window: silence,
                });
            }
            window = (Instant::now(), got);
        }
    }
    Ok(digest.hex())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_and_digest_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let mut steps = 0;
        let digest = into_file(&mut &b"abc"[..], 3, &path, Duration::MAX, &mut |p| {
            steps += 1;
            assert_eq!((p.bytes, p.total), (3, 3));
        });
        // FIPS 180-2, appendix B.1.
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(digest.unwrap(), expected);
        assert_eq!((steps, std::fs::read(&path).unwrap()), (1, b"abc".to_vec()));
        let read = digest_of(&mut &b"abc"[..], 3, Duration::MAX, &mut |_| {});
        assert_eq!(read.unwrap(), expected);
    }

    #[test]
    fn one_long_pause_is_no_crime() {
        struct Pausing(u32);
        impl Read for Pausing {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                self.0 += 1;
                if self.0 == 2 {
                    std::thread::sleep(Duration::from_millis(450));
                }
                Ok(buffer.len().min(1000))
            }
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let silence = Duration::from_millis(400);
        into_file(&mut Pausing(0), 1 << 20, &path, silence, &mut |_| {}).unwrap();
    }

    #[test]
    fn a_cut_or_endless_trickle_is_an_error_and_leaves_nothing() {
        struct Trickle;
        impl Read for Trickle {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                buffer[0] = 1;
                Ok(1)
            }
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let quiet = &mut |_| {};
        let cut = into_file(&mut &b"abc"[..], 4, &path, Duration::MAX, quiet).unwrap_err();
        assert_eq!(cut.to_string(), "cut off: only 3 of 4 bytes arrived");
        let slow = into_file(&mut Trickle, 1 << 40, &path, Duration::ZERO, quiet).unwrap_err();
        assert!(matches!(slow, FetchError::Slow { .. }), "{slow}");
        assert!(!path.exists());
        let nowhere = folder.path().join("no/where");
        let write = into_file(&mut &b"abc"[..], 3, &nowhere, Duration::MAX, quiet).unwrap_err();
        assert!(matches!(write, FetchError::Write { .. }));
    }
}
