//! Pipes between programs that carry much.

use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::buffers;

/// As much as a pipe may hold without being root (`/proc/sys/fs/pipe-max-size`).
const WIDTH: usize = 1 << 20;
/// How long a read of [`Filled`] goes on for more.
const LOOK: Duration = Duration::from_millis(50);

/// A wider pipe wakes up fewer times; a narrow one works as well.
pub fn widen(pipe: impl AsFd) {
    let _ = rustix::pipe::fcntl_setpipe_size(pipe, WIDTH);
}

/// What a pipe is to programs that read and write it, and is a pair of sockets: a byte costs half
/// of what it costs in a pipe, where each page is got, accounted and given back alone. Whoever
/// opens `/dev/stdin` cannot open this, so it is for programs that are known not to. One end is
/// for us, the other for the program.
///
/// # Errors
/// Too many open files.
pub fn pair() -> io::Result<(UnixStream, OwnedFd)> {
    let (ours, theirs) = UnixStream::pair()?;
    for end in [&ours, &theirs] {
        // As with a pipe.
        buffers::send(end, WIDTH);
    }
    Ok((ours, theirs.into()))
}

/// A pipe whose reads give what comes within 50 ms, if that is needed to fill the buffer, and
/// not only what is in it. Whoever writes small records would make as many pieces otherwise;
/// each of them takes memory of its own and wakes up whoever waits for it.
#[derive(Debug)]
pub struct Filled<R>(R);

impl<R: Read + AsFd> Filled<R> {
    /// Reads from `pipe`.
    pub fn new(pipe: R) -> Self {
        Self(pipe)
    }
}

impl<R: Read + AsFd> Read for Filled<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = self.0.read(buffer)?;
        let end = Instant::now() + LOOK;
        while filled > 0 && filled < buffer.len() && is_readable(&self.0, end) {
            match self.0.read(&mut buffer[filled..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The next read meets both again.
                Ok(0) | Err(_) => break,
                Ok(length) => filled += length,
            }
        }
        Ok(filled)
    }
}

/// Whether something is there, or its end, before `end`.
fn is_readable(pipe: impl AsFd, end: Instant) -> bool {
    let left = end.saturating_duration_since(Instant::now());
    let left = Timespec {
        tv_sec: 0,
        tv_nsec: left.subsec_nanos().into(),
    };
    matches!(
        poll(&mut [PollFd::new(&pipe, PollFlags::IN)], Some(&left)),
        Ok(1)
    )
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};
    use std::thread;

    use super::*;

    #[test]
    fn small_records_fill_a_buffer() {
        let (reader, mut writer) = io::pipe().unwrap();
        let mut filled = Filled::new(reader);
        let records = thread::spawn(move || {
            for record in 0..8 {
                writer.write_all(&[record; 100]).unwrap();
                thread::sleep(Duration::from_millis(1));
            }
            writer
        });
        let mut buffer = [0; 800];
        assert_eq!(filled.read(&mut buffer).unwrap(), 800);
        assert!(
            buffer
                .chunks(100)
                .zip(0..)
                .all(|(part, record)| part == [record; 100])
        );
        let mut writer = records.join().unwrap();
        // It does not wait for what does not come, and the end is one.
        writer.write_all(b"late").unwrap();
        let start = Instant::now();
        assert_eq!(filled.read(&mut buffer).unwrap(), 4);
        assert!(start.elapsed() < Duration::from_secs(5));
        writer.write_all(b"last").unwrap();
        drop(writer);
        assert_eq!(filled.read(&mut buffer).unwrap(), 4);
        assert_eq!(filled.read(&mut buffer).unwrap(), 0);
    }

    /// What a program and whoever feeds it rely on: all of it comes before the end, and whoever
    /// writes to nobody hears of it.
    #[test]
    fn a_pair_is_a_pipe() {
        let (mut ours, theirs) = pair().unwrap();
        let mut cat = Command::new("cat")
            .stdin(theirs)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let bytes: Vec<u8> = (0..300_000u32).map(|number| number as u8).collect();
        ours.write_all(&bytes).unwrap();
        drop(ours);
        let mut all = Vec::new();
        cat.stdout.take().unwrap().read_to_end(&mut all).unwrap();
        assert!(all == bytes && cat.wait().unwrap().success());
        let (mut ours, theirs) = pair().unwrap();
        drop(theirs);
        let error = ours.write_all(&bytes).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn a_pipe_is_widened() {
        let (reader, writer) = io::pipe().unwrap();
        widen(&writer);
        assert_eq!(rustix::pipe::fcntl_getpipe_size(&reader).unwrap(), WIDTH);
    }
}
