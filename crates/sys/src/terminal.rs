//! Terminals that are written to without ever waiting for them.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

/// Opens a terminal for writing. It does not become the caller's own, opening does not
/// wait for a carrier, and a write that would wait (a serial line whose other end said
/// stop, a screen with Scroll Lock) fails with [`io::ErrorKind::WouldBlock`] (tty(4),
/// open(2)).
///
/// # Errors
/// There is none.
pub fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .custom_flags((OFlags::NOCTTY | OFlags::NONBLOCK).bits().cast_signed())
        .open(path)
}

/// How many letters fit into a line, as far as the terminal knows (ioctl_tty(2),
/// `TIOCGWINSZ`); a serial line does not.
pub fn columns(terminal: impl AsFd) -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(terminal).ok()?;
    Some(usize::from(size.ws_col)).filter(|&columns| columns > 0)
}
