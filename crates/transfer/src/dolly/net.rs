//! Sockets as dolly needs them.

use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
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

/// The connections to a neighbour.
#[derive(Debug)]
pub(super) struct Pair {
    /// One, or with `add` several in the order of their numbers.
    pub(super) data: Vec<TcpStream>,
    pub(super) control: TcpStream,
}

impl Pair {
    /// Ends all at once; whoever is blocked on them wakes up.
    pub(super) fn shut(&self) {
        // They may be gone; that is what is wanted.
        for data in &self.data {
            let _ = data.shutdown(std::net::Shutdown::Both);
        }
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

/// Connects with segments of at most `segsize` bytes, which the kernel wants to know
/// before (`TCP_MAXSEG`, tcp(7)).
pub(super) fn connect_with_segments(
    address: SocketAddr,
    limit: Duration,
    segsize: u32,
) -> io::Result<TcpStream> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    goldring_sys::tcp::set_max_segment(&socket, segsize)?;
    match rustix::net::connect(&socket, &address) {
        Ok(()) => return Ok(TcpStream::from(socket)),
        Err(rustix::io::Errno::INPROGRESS) => {}
        Err(error) => return Err(error.into()),
    }
    let mut wait = [PollFd::new(&socket, PollFlags::OUT)];
    if poll(&mut wait, Some(&timespec(limit)))? == 0 {
        return Err(io::ErrorKind::TimedOut.into());
    }
    sockopt::socket_error(&socket)??;
    Ok(TcpStream::from(socket))
}

/// Makes a dead peer or a pulled cable an error after about `stall`, and a full peer
/// unable to block a small message for ever.
pub(crate) fn tune(stream: &TcpStream, stall: Duration) -> io::Result<()> {
    keep_alive(stream, stall)?;
    must_answer(stream, stall)
}

/// Makes a dead peer or a pulled cable an error after about `stall`, as long as nothing is
/// on its way to it.
pub(crate) fn keep_alive(stream: &TcpStream, stall: Duration) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
    let at_least = |time: Duration| time.max(Duration::from_secs(1));
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, at_least(stall / 3))?;
    sockopt::set_tcp_keepintvl(stream, at_least(stall / 6))?;
    sockopt::set_tcp_keepcnt(stream, 4)?;
    Ok(())
}

/// The same while something is on its way.
pub(crate) fn must_answer(stream: &TcpStream, stall: Duration) -> io::Result<()> {
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
    match poll(&mut polled, Some(&timespec(timeout))) {
        Ok(_) => polled.iter().map(|fd| !fd.revents().is_empty()).collect(),
        Err(_) => vec![false; fds.len()],
    }
}

fn timespec(time: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(time.subsec_nanos()),
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
