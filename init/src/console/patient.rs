//! A terminal that is waited for, but not for long.

use std::io::{self, Write};
use std::time::{Duration, Instant};

/// How long a terminal may take nothing before the rest of a line is dropped. At 9600
/// baud the kernel's buffer of 4 KiB moves every few milliseconds.
const PATIENCE: Duration = Duration::from_secs(1);
const NAP: Duration = Duration::from_millis(5);

/// A writer that does not wait by itself.
#[derive(Debug)]
pub(super) struct Patient<W> {
    out: W,
    /// It took nothing the last time, so nobody waits for it until it does again.
    stuck: bool,
}

impl<W: Write> Patient<W> {
    pub(super) fn new(out: W) -> Self {
        Self { out, stuck: false }
    }

    /// Writes what the terminal takes. Returns whether it is still one: when the leader of
    /// a session ends, the kernel hangs its terminal up for everybody (setsid(2), tty(4)),
    /// and only a newly opened one works.
    pub(super) fn put(&mut self, text: &str) -> bool {
        // Whatever the last line was cut to, this one begins where a line begins.
        let whole = if self.stuck {
            format!("\n{text}")
        } else {
            text.to_owned()
        };
        let patience = if self.stuck { Duration::ZERO } else { PATIENCE };
        match self.all(whole.as_bytes(), patience) {
            Ok(whole) => {
                self.stuck = !whole;
                true
            }
            Err(_) => false,
        }
    }

    /// Whether all went out in time.
    fn all(&mut self, mut rest: &[u8], patience: Duration) -> io::Result<bool> {
        let mut end = Instant::now() + patience;
        while !rest.is_empty() {
            match self.out.write(rest) {
                Ok(length) if length > 0 => {
                    rest = rest.get(length..).unwrap_or_default();
                    end = Instant::now() + patience;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                _ if Instant::now() >= end => return Ok(false),
                _ => std::thread::sleep(NAP),
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes a few bytes at a time, as long as it has room.
    struct Line {
        taken: Vec<u8>,
        room: usize,
        interrupt: bool,
    }

    impl Write for Line {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.interrupt = !self.interrupt;
            if self.interrupt {
                return Err(io::ErrorKind::Interrupted.into());
            }
            if self.room == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let length = bytes.len().min(3).min(self.room);
            self.taken.extend(&bytes[..length]);
            self.room -= length;
            Ok(length)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_terminal_that_takes_nothing_is_waited_for_once() {
        let line = Line {
            taken: Vec::new(),
            room: 10,
            interrupt: false,
        };
        let mut terminal = Patient::new(line);
        assert!(terminal.put("first\n"));
        let begin = Instant::now();
        assert!(terminal.put("second\n"));
        assert!(begin.elapsed() >= PATIENCE);
        let begin = Instant::now();
        for _ in 0..100 {
            terminal.put("lost\n");
        }
        assert!(begin.elapsed() < PATIENCE);
        terminal.out.room = 100;
        terminal.put("again\n");
        terminal.put("and on\n");
        let taken = String::from_utf8(terminal.out.taken).unwrap();
        assert_eq!(taken, "first\nseco\nagain\nand on\n");
    }

    #[test]
    fn a_terminal_that_is_hung_up_is_known_at_once() {
        struct Gone;
        impl Write for Gone {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::Error::from_raw_os_error(5))
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let begin = Instant::now();
        assert!(!Patient::new(Gone).put("x"));
        assert!(begin.elapsed() < PATIENCE);
    }
}
