//! How a client finds its server, and how a server answers.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use goldring_contract::Root;
use goldring_wire::ka::discover::{BadName, is_reply, is_request, reply, request};
use goldring_wire::ka::{REPLY_PORT, REQUEST_PORT};

use super::net::Over;
use crate::fib;

/// Between two requests; the old programs take the same.
const PERIOD: Duration = Duration::from_secs(1);
/// How often a thread that listens looks whether it should stop.
const GLANCE: Duration = Duration::from_millis(50);
/// The most answers in one second.
const ANSWERS: u32 = 200;
/// Longer than any request that is one.
const LONGEST: usize = 512;

/// Why no server was found.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// The name.
    #[error("{0}")]
    Name(#[from] BadName),
    /// No socket.
    #[error(
        "looking for a ka server (UDP port {REPLY_PORT}): {0}; is another ka client running here?"
    )]
    Io(#[from] io::Error),
    /// No network.
    #[error("looking for a ka server: this computer has no IPv4 network that is up")]
    NoNetwork,
    /// Nobody answered.
    #[error(
        "no ka server of session {name} has answered within {seconds} s; start one with -s {name}"
    )]
    Nobody {
        /// The session.
        name: String,
        /// After so long.
        seconds: u64,
    },
}

/// Asks on all networks who the server of a session is.
#[derive(Debug)]
pub(super) struct Finder {
    root: Root,
    name: String,
    request: Vec<u8>,
    ear: UdpSocket,
    mouth: UdpSocket,
}

impl Finder {
    /// From now on answers are heard.
    pub(super) fn open(root: &Root, name: &str) -> Result<Self, FindError> {
        let request = request(name)?;
        let ear = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, REPLY_PORT))?;
        let mouth = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        mouth.set_broadcast(true)?;
        Ok(Self {
            root: root.clone(),
            name: name.to_owned(),
            request,
            ear,
            mouth,
        })
    }

    /// The server that answers first, within `limit`, which is what is left of `all`.
    pub(super) fn find(&self, limit: Duration, all: Duration) -> Result<Ipv4Addr, FindError> {
        let start = Instant::now();
        let mut asked = false;
        loop {
            let round = Instant::now();
            asked |= self.ask();
            while let Some(left) = PERIOD.checked_sub(round.elapsed()).filter(|t| !t.is_zero()) {
                self.ear.set_read_timeout(Some(left))?;
                let mut bytes = [0; LONGEST];
                if let Ok((n, SocketAddr::V4(from))) = self.ear.recv_from(&mut bytes)
                    && is_reply(&bytes[..n])
                {
                    return Ok(*from.ip());
                }
            }
            if start.elapsed() < limit {
                continue;
            }
            if !asked {
                return Err(FindError::NoNetwork);
            }
            return Err(FindError::Nobody {
                name: self.name.clone(),
                seconds: all.as_secs(),
            });
        }
    }

    /// Asks by the broadcast address of each network, which needs no default route, and by
    /// the limited broadcast over each interface, which needs no right netmask. Whether
    /// anything went out.
    fn ask(&self) -> bool {
        let mut asked = false;
        let table = fs::read_to_string(self.root.join("/proc/net/fib_trie"));
        for network in fib::broadcasts(&table.unwrap_or_default()) {
            let sent = self.mouth.send_to(&self.request, (network, REQUEST_PORT));
            asked |= sent.is_ok();
        }
        let everybody = (Ipv4Addr::BROADCAST, REQUEST_PORT);
        for name in self.interfaces() {
            // Needs root, and an interface that is up and has an address.
            let sent = goldring_sys::udp::on_interface(&name, 0)
                .and_then(|socket| socket.send_to(&self.request, everybody));
            asked |= sent.is_ok();
        }
        asked || self.mouth.send_to(&self.request, everybody).is_ok()
    }

    fn interfaces(&self) -> Vec<String> {
        let Ok(folder) = fs::read_dir(self.root.join("/sys/class/net")) else {
            return Vec::new();
        };
        let names = folder.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        names.filter(|name| name != "lo").collect()
    }
}

/// Which session somebody asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// The one that is here.
    This,
    /// The one that follows it.
    Next,
}

/// Answers requests for the session `name` until it is over, and tells who asked; who asks for
/// the session `next` is only told. With an `address` only those who are reached from there
/// are answered.
pub(super) fn answer(
    (name, next): (&str, Option<&str>),
    address: Ipv4Addr,
    over: &Over,
    mut asked: impl FnMut(Wanted, Ipv4Addr) -> bool + Send + 'static,
) -> Result<JoinHandle<()>, FindError> {
    let this = request(name)?;
    let next = next.map(request).transpose()?;
    let ear = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, REQUEST_PORT))?;
    ear.set_read_timeout(Some(GLANCE))?;
    let over = over.clone();
    let work = move || {
        let (mut count, mut since) = (0, Instant::now());
        while !over.is_said() {
            let mut bytes = [0; LONGEST];
            let Ok((n, SocketAddr::V4(from))) = ear.recv_from(&mut bytes) else {
                continue;
            };
            if since.elapsed() >= PERIOD {
                (count, since) = (0, Instant::now());
            }
            count += 1;
            let asks = |session: &[u8]| is_request(session, &bytes[..n]);
            let wanted = match asks(&this) {
                true => Wanted::This,
                false if next.as_deref().is_some_and(asks) => Wanted::Next,
                false => continue,
            };
            if count <= ANSWERS && asked(wanted, *from.ip()) && wanted == Wanted::This {
                // It asks again in a second.
                let _ = reply_to(*from.ip(), address);
            }
        }
    };
    Ok(thread::Builder::new().name("answer".into()).spawn(work)?)
}

/// The client connects to where the answer comes from.
fn reply_to(client: Ipv4Addr, address: Ipv4Addr) -> io::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.connect((client, REPLY_PORT))?;
    let SocketAddr::V4(from) = socket.local_addr()? else {
        return Ok(());
    };
    if address.is_unspecified() || *from.ip() == address {
        socket.send(&reply())?;
    }
    Ok(())
}
