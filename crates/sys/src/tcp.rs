//! What the standard library and rustix do not set on a TCP socket.

use std::io;
use std::os::fd::AsFd;

use nix::sys::socket::{setsockopt, sockopt::TcpMaxSeg};

/// Limits the segments of a socket that is not connected yet to `bytes` (`TCP_MAXSEG`,
/// tcp(7)); the kernel takes 88 to 32767.
///
/// # Errors
/// `EINVAL` for another number.
pub fn set_max_segment(socket: &impl AsFd, bytes: u32) -> io::Result<()> {
    Ok(setsockopt(socket, TcpMaxSeg, &bytes)?)
}
