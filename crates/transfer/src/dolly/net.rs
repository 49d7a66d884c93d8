//! Sockets as dolly needs them.

use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::time::Duration;

use goldring_contract::limits::{DOLLY_CONTROL_PORT, DOLLY_DATA_PORT};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};

/// Connections wait here until they are accepted; more than old dolly's one, so that a
/// port scan does not keep the parent out.
const BACKLOG: i32 = 64;

/// Where a node listens.
#[derive(Debug)]
pub(crate) struct Listeners {
    pub(crate) data: TcpListener,
    pub(crate) control: TcpListener,
}

/// Both connections to a neighbour.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) data: TcpStream,
    pub(super) control: TcpStream,
}

impl Pair {
    /// Ends both at once; whoever is blocked on them wakes up.
    pub(super) fn shut(&self) {
        // They may be gone; that is what is wanted.
        let _ = self.data.shutdown(std::net::Shutdown::Both);
        let _ = self.control.shutdown(std::net::Shutdown::Write);
    }
}

/// Listens for data and control. An old parent that finds one port open and the other
/// closed loses a connection for ever (section 3, step 2), so both are bound before
/// either listens.
///
/// # Errors
/// A port is taken, or the address is not this computer's.
pub(crate) fn listeners(address: Ipv4Addr) -> io::Result<Listeners> {
    let open = |port| -> io::Result<_> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
        sockopt::set_socket_reuseaddr(&socket, true)?;
        bind(&socket, &SocketAddrV4::new(address, port))?;
        Ok(socket)
    };
    let data = open(DOLLY_DATA_PORT)?;
    let control = open(DOLLY_CONTROL_PORT)?;
    listen(&data, BACKLOG)?;
    listen(&control, BACKLOG)?;
    Ok(Listeners {
        data: TcpListener::from(data),
        control: TcpListener::from(control),
    })
}

/// Makes a dead peer or a pulled cable an error after about `stall`, and a full peer
/// unable to block a small message for ever.
pub(crate) fn tune(stream: &TcpStream, stall: Duration) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
    let at_least = |time: Duration| time.max(Duration::from_secs(1));
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, at_least(stall / 3))?;
    sockopt::set_tcp_keepintvl(stream, at_least(stall / 6))?;
    sockopt::set_tcp_keepcnt(stream, 4)?;
    // Linux counts a peer that is alive and takes nothing, too. The watch over the data
    // knows better who is to blame, so it gets its chance first.
    let millis = u32::try_from((stall * 3 / 2).as_millis()).unwrap_or(u32::MAX);
    sockopt::set_tcp_user_timeout(stream, millis)?;
    Ok(())
}

/// Waits until one of the descriptors can be read (or has ended), at most `timeout`;
/// says which.
pub(crate) fn readable<F: std::os::fd::AsFd>(fds: &[F], timeout: Duration) -> Vec<bool> {
    let mut polled: Vec<PollFd<'_>> = fds
        .iter()
        .map(|fd| PollFd::new(fd, PollFlags::IN))
        .collect();
    let timeout = Timespec {
        tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(timeout.subsec_nanos()),
    };
    match poll(&mut polled, Some(&timeout)) {
        Ok(_) => polled.iter().map(|fd| !fd.revents().is_empty()).collect(),
        Err(_) => vec![false; fds.len()],
    }
}

/// What a readable connection gave.
#[derive(Debug)]
pub(super) enum Got {
    /// Bytes.
    Bytes(Vec<u8>),
    /// Nothing after all.
    Nothing,
    /// Its end.
    End,
}

/// Reads once from a connection that [`readable`] named.
pub(super) fn read_some(mut stream: &TcpStream) -> Got {
    let mut buf = [0; 4096];
    match stream.read(&mut buf) {
        Ok(0) => Got::End,
        Ok(n) => Got::Bytes(buf[..n].to_vec()),
        Err(error) => match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Got::Nothing,
            _ => Got::End,
        },
    }
}

/// The IPv4 addresses of this computer but for loopback ones, from
/// `/proc/net/fib_trie`: the lines before `/32 host LOCAL`.
pub fn local_addresses(fib_trie: &str) -> Vec<Ipv4Addr> {
    let mut found = Vec::new();
    let mut last = None;
    for line in fib_trie.lines() {
        let line = line.trim();
        if let Some(address) = line.strip_prefix("|-- ") {
            last = address.parse::<Ipv4Addr>().ok();
        } else if line == "/32 host LOCAL"
            && let Some(address) = last.filter(|a| !a.is_loopback() && !found.contains(a))
        {
            found.push(address);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_from_the_kernels_table() {
        let text = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n\
                    Local:\n           |-- 10.77.0.12\n              /32 host LOCAL\n\
                    \u{20}          |-- 10.77.0.255\n              /32 link BROADCAST\n\
                    \u{20}          |-- 127.0.0.1\n              /32 host LOCAL\n";
        assert_eq!(local_addresses(text), [Ipv4Addr::new(10, 77, 0, 12)]);
    }
}
