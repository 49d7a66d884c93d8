//! The connections that a node makes: to its server, and to its parents.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream, ToSocketAddrs};
use std::thread;
use std::time::{Duration, Instant};

use super::{ClientError, Options, Where};
use crate::ka::find::Finder;
use crate::ka::{Event, Reporter, net};

/// How long the control connection may take to be made.
const CONNECT: Duration = Duration::from_secs(5);
/// Between two tries to connect to somebody who refuses.
const AGAIN: Duration = Duration::from_millis(300);
/// How long a parent that refuses is asked again; it may be about to listen.
const PATIENCE: Duration = Duration::from_secs(3);

/// Connects to a parent, again and again if it refuses.
pub(super) fn call(address: SocketAddrV4, slot: &net::Slot) -> io::Result<TcpStream> {
    let end = Instant::now() + PATIENCE;
    loop {
        let result = net::connect(address, PATIENCE).and_then(|stream| {
            slot.fill(stream.try_clone()?);
            Ok(stream)
        });
        match result {
            Err(error) if slot.is_closed() || Instant::now() >= end => return Err(error),
            Err(_) => thread::sleep(AGAIN),
            Ok(stream) => return Ok(stream),
        }
    }
}

/// The control connection to the server, found or known.
pub(super) fn dial(
    options: &Options,
    reporter: &mut dyn Reporter,
) -> Result<TcpStream, ClientError> {
    let port = options.ports.control;
    match &options.server {
        Where::Host(host) => {
            let failed = |error| ClientError::Connect(host.clone(), error);
            let address = resolve(host, port).map_err(failed)?;
            net::connect(address, CONNECT).map_err(failed)
        }
        Where::Session(name) => {
            reporter.event(Event::Looking(name.clone()));
            let finder = Finder::open(&options.root, name)?;
            let end = Instant::now() + options.find;
            loop {
                let left = end.saturating_duration_since(Instant::now());
                let server = finder.find(left.max(Duration::from_millis(1)), options.find)?;
                match net::connect(SocketAddrV4::new(server, port), CONNECT) {
                    Ok(stream) => return Ok(stream),
                    // It has begun just now, and stopped listening; the next one may come.
                    Err(error) if Instant::now() >= end => {
                        return Err(ClientError::Connect(server.to_string(), error));
                    }
                    Err(_) => thread::sleep(AGAIN),
                }
            }
        }
    }
}

fn resolve(host: &str, port: u16) -> io::Result<SocketAddrV4> {
    let found = (host, port).to_socket_addrs()?.find_map(|a| match a {
        SocketAddr::V4(address) => Some(address),
        SocketAddr::V6(_) => None,
    });
    found.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "it has no IPv4 address"))
}

pub(super) fn peer(stream: &TcpStream) -> Ipv4Addr {
    match stream.peer_addr() {
        Ok(SocketAddr::V4(address)) => *address.ip(),
        _ => Ipv4Addr::UNSPECIFIED,
    }
}
