//! Parts of a file on their way to a socket, without a detour through this program's
//! memory: the kernel sends the pages in which it keeps the file (sendfile(2)).

use std::fs::File;
use std::io::{self, Write};
use std::num::NonZeroU64;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use rustix::fs::{Advice, fadvise, sendfile};

/// Pages are given back to the system this many bytes behind the last ones that were
/// sent: a socket still holds those that its peer has not confirmed.
const LAG: u64 = 16 << 20;

/// How often a block that cannot be read is tried.
pub(crate) const TRIES: u32 = 3;

/// Names the block of a disk that was tried so often.
pub(crate) fn unreadable(at: u64, tries: u32, error: &io::Error) -> io::Error {
    let block = at / 512;
    let text = format!("block {block} (byte {at}) cannot be read, tried {tries} times: {error}");
    io::Error::new(error.kind(), text)
}

/// Reads a part of a file into all of `bytes`. What cannot be read is tried again, and then
/// named.
pub(crate) fn read_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    let (mut filled, mut failures) = (0, 0);
    while filled < bytes.len() {
        let at = offset + filled as u64;
        match file.read_at(&mut bytes[filled..], at) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                failures += 1;
                if failures >= TRIES {
                    return Err(unreadable(at, failures, &error));
                }
            }
        }
    }
    Ok(())
}

/// A part of a file: from `offset` on.
#[derive(Debug, Clone)]
pub struct Range {
    /// The file, open for reading.
    pub file: Arc<File>,
    /// Where the part begins.
    pub offset: u64,
}

/// Which side of a transfer failed.
#[derive(Debug, thiserror::Error)]
pub enum RangeError {
    /// The file.
    #[error("reading: {0}")]
    File(io::Error),
    /// Whoever takes the bytes.
    #[error("writing: {0}")]
    Sink(io::Error),
}

impl Range {
    /// Asks the system to read it soon.
    pub(crate) fn announce(&self, len: usize) {
        // Advice only.
        let _ = fadvise(
            &self.file,
            self.offset,
            NonZeroU64::new(len as u64),
            Advice::WillNeed,
        );
    }

    /// It was sent: what lies well before it need not be kept in memory, so that a clone
    /// does not push out everything else.
    pub(crate) fn forget(&self, len: usize) {
        if let Some(old) = self.offset.checked_sub(LAG) {
            // Advice only.
            let _ = fadvise(
                &self.file,
                old,
                NonZeroU64::new(len as u64),
                Advice::DontNeed,
            );
        }
    }
}

/// Reads a part of a file and writes it.
///
/// # Errors
/// Either side's.
pub fn copy<W: Write + ?Sized>(
    file: &File,
    offset: u64,
    len: usize,
    sink: &mut W,
) -> Result<(), RangeError> {
    let mut bytes = vec![0; len];
    read_at(file, &mut bytes, offset).map_err(RangeError::File)?;
    sink.write_all(&bytes).map_err(RangeError::Sink)
}

/// Sends a part of a file to a socket; copies it where the system cannot do better.
///
/// # Errors
/// Either side's.
pub fn send<S: AsFd + Write>(
    file: &File,
    mut offset: u64,
    len: usize,
    socket: &mut S,
) -> Result<(), RangeError> {
    let end = offset + len as u64;
    while offset < end {
        let left = usize::try_from(end - offset).unwrap_or(len);
        match sendfile(&*socket, file, Some(&mut offset), left) {
            Ok(0) => return Err(RangeError::File(io::ErrorKind::UnexpectedEof.into())),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => match blame(error.into()) {
                // Some file systems cannot, and some blocks can be read the second time.
                RangeError::File(_) => return copy(file, offset, left, socket),
                sink @ RangeError::Sink(_) => return Err(sink),
            },
        }
    }
    Ok(())
}

/// sendfile has one error for both sides; a connection has errors of its own.
pub(crate) fn blame(error: io::Error) -> RangeError {
    use io::ErrorKind as Kind;
    match error.kind() {
        Kind::BrokenPipe
        | Kind::ConnectionAborted
        | Kind::ConnectionReset
        | Kind::HostUnreachable
        | Kind::NetworkDown
        | Kind::NetworkUnreachable
        | Kind::NotConnected
        | Kind::TimedOut
        | Kind::WouldBlock => RangeError::Sink(error),
        _ => RangeError::File(error),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Seek};
    use std::net::{TcpListener, TcpStream};
    use std::thread;

    use super::*;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let here = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (here, listener.accept().unwrap().0)
    }

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    #[test]
    fn a_part_of_a_file_arrives_as_it_is_and_the_files_own_place_is_kept() {
        let bytes: Vec<u8> = (0..3_000_000_u32).map(|i| (i % 251) as u8).collect();
        let mut file = file(&bytes);
        file.rewind().unwrap();
        let (mut here, mut there) = pair();
        let reader = thread::spawn(move || {
            let mut got = Vec::new();
            there.read_to_end(&mut got).unwrap();
            got
        });
        send(&file, 1000, 2_500_000, &mut here).unwrap();
        copy(&file, 5, 10, &mut here).unwrap();
        drop(here);
        let got = reader.join().unwrap();
        assert_eq!(got[..2_500_000], bytes[1000..2_501_000]);
        assert_eq!(got[2_500_000..], bytes[5..15]);
        assert_eq!(file.stream_position().unwrap(), 0);
    }

    #[test]
    fn a_short_file_and_a_closed_connection_are_told_apart() {
        let file = file(&[7; 100]);
        let (mut here, there) = pair();
        for result in [
            send(&file, 50, 60, &mut here),
            copy(&file, 50, 60, &mut here),
        ] {
            assert!(matches!(result, Err(RangeError::File(_))), "{result:?}");
        }
        drop(there);
        // The first may still fit into the socket.
        let result = (0..1000).try_for_each(|_| send(&file, 0, 100, &mut here));
        assert!(matches!(result, Err(RangeError::Sink(_))), "{result:?}");
    }

    #[test]
    fn errors_of_a_disk_are_no_errors_of_a_connection() {
        let of = |errno: rustix::io::Errno| blame(errno.into());
        assert!(matches!(of(rustix::io::Errno::IO), RangeError::File(_)));
        assert!(matches!(of(rustix::io::Errno::PIPE), RangeError::Sink(_)));
        assert!(matches!(
            of(rustix::io::Errno::TIMEDOUT),
            RangeError::Sink(_)
        ));
    }
}
