//! Sockets as ka needs them.

use std::io::{self, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use goldring_contract::limits::DOLLY_STALL;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};

use crate::dolly::net::{readable, tune};

/// As the old programs; a port scan fills less.
const BACKLOG: i32 = 200;
/// How often a thread that accepts looks whether it should stop.
const GLANCE: Duration = Duration::from_millis(50);

/// Tells all threads of a session that it is over. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Over(Arc<AtomicBool>);

impl Over {
    pub(super) fn say(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_said(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Accepts connections until the session is over; the port is free once it is joined.
pub(super) fn accept(
    address: (Ipv4Addr, u16),
    over: &Over,
    mut each: impl FnMut(TcpStream, Ipv4Addr) + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    let listener = listener(address)?;
    let over = over.clone();
    let work = move || {
        while !over.is_said() {
            if !readable(&[&listener], GLANCE)[0] {
                continue;
            }
            // A caller that is gone again is no error of ours.
            let Ok((stream, SocketAddr::V4(from))) = listener.accept() else {
                continue;
            };
            if tune(&stream, DOLLY_STALL).is_ok() {
                each(stream, *from.ip());
            }
        }
    };
    thread::Builder::new().name("accept".into()).spawn(work)
}

fn listener((address, port): (Ipv4Addr, u16)) -> io::Result<TcpListener> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    bind(&socket, &SocketAddrV4::new(address, port))?;
    listen(&socket, BACKLOG)?;
    Ok(TcpListener::from(socket))
}

/// Connects within `limit`.
pub(super) fn connect(address: SocketAddrV4, limit: Duration) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address.into(), limit)?;
    tune(&stream, DOLLY_STALL)?;
    Ok(stream)
}

/// How long a read of a control connection takes before its thread looks around.
const LOOK: Duration = Duration::from_secs(3);

/// Lets nobody be blocked for long on a control connection.
pub(super) fn limit(stream: &TcpStream) -> io::Result<()> {
    stream.set_write_timeout(Some(super::SAY))?;
    stream.set_read_timeout(Some(LOOK))
}

/// A read that brought nothing, yet.
pub(super) fn is_only_late(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), Interrupted | TimedOut | WouldBlock)
}

/// Says something on a control connection, if the peer takes it.
pub(super) fn say(stream: &TcpStream, bytes: &[u8]) -> io::Result<()> {
    let mut stream = stream;
    stream.write_all(bytes)
}

/// This computer's address on a connection.
pub(super) fn local(stream: &TcpStream) -> Ipv4Addr {
    match stream.local_addr() {
        Ok(SocketAddr::V4(address)) => *address.ip(),
        _ => Ipv4Addr::UNSPECIFIED,
    }
}

/// A connection that one thread makes and another may close at any time.
#[derive(Debug, Default)]
pub(super) struct Slot {
    state: Mutex<(bool, Option<TcpStream>)>,
}

impl Slot {
    /// It stands; closed at once if nobody wants it any more.
    pub(super) fn fill(&self, stream: TcpStream) {
        let mut state = self.lock();
        if state.0 {
            let _ = stream.shutdown(Shutdown::Both);
        }
        state.1 = Some(stream);
    }

    /// Nobody wants it any more.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.0 = true;
        if let Some(stream) = &state.1 {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().0
    }

    fn lock(&self) -> MutexGuard<'_, (bool, Option<TcpStream>)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
