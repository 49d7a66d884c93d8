//! Finding the nodes that wait ([`goldring_wire::discover`]) over real sockets: a waiting
//! node has an [`Answerer`], the golden node calls [`find`].

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use goldring_contract::Root;
use goldring_contract::limits::DISCOVER_PORT;
use goldring_wire::discover::{Answer, Finder, Found, PERIOD, Program, Query};

use crate::fib;

/// The most answers of a node in one second; each golden node asks once in it.
const ANSWERS: u32 = 50;
/// Longer than any datagram that means something.
const LONGEST: usize = 512;

/// Answers for a node that waits.
#[derive(Debug)]
pub struct Answerer {
    /// Hears everybody, broadcasts included.
    ear: UdpSocket,
    /// Answers from the address on which the node listens.
    mouth: Option<UdpSocket>,
    answer: Answer,
    /// How many answers went out since when.
    count: u32,
    since: Instant,
}

impl Answerer {
    /// For a node that listens on `address` (`0.0.0.0` is all).
    ///
    /// # Errors
    /// The port is taken, or the address is not this computer's.
    pub fn open(program: Program, name: &str, address: Ipv4Addr) -> io::Result<Self> {
        let ear = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, DISCOVER_PORT))?;
        ear.set_nonblocking(true)?;
        let mouth = if address.is_unspecified() {
            None
        } else {
            Some(UdpSocket::bind((address, 0))?)
        };
        Ok(Self {
            ear,
            mouth,
            answer: Answer {
                number: 0,
                program,
                node: u64::from_be_bytes(goldring_sys::random::bytes()),
                name: name.to_owned(),
            },
            count: 0,
            since: Instant::now(),
        })
    }

    /// Answers what has come. Never blocks.
    pub fn look(&mut self) {
        let mut bytes = [0; LONGEST];
        if self.since.elapsed() >= Duration::from_secs(1) {
            (self.count, self.since) = (0, Instant::now());
        }
        // What is over the limit is read and forgotten.
        for _ in 0..ANSWERS {
            let Ok((n, from)) = self.ear.recv_from(&mut bytes) else {
                return;
            };
            let query = Query::parse(&bytes[..n]);
            let Ok(query) = query else { continue };
            if query.program != self.answer.program || self.count >= ANSWERS {
                continue;
            }
            self.count += 1;
            self.answer.number = query.number;
            let mouth = self.mouth.as_ref().unwrap_or(&self.ear);
            // It asks again in a second.
            let _ = mouth.send_to(&self.answer.emit(), from);
        }
    }
}

impl AsFd for Answerer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ear.as_fd()
    }
}

/// Why a search came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// No socket, or no network at all.
    #[error("asking for waiting nodes (UDP port {DISCOVER_PORT}): {0}")]
    Io(#[from] io::Error),
    /// More than were asked for.
    #[error(
        "{0} nodes wait, not {1}: {2}; write --nodes {0} for all of them, or name those that are meant"
    )]
    TooMany(usize, usize, String),
    /// Not enough in the time that there was.
    #[error(
        "only {found} of {wanted} nodes are there after {seconds} s: {who}; switch the others on, or write --nodes {found}"
    )]
    TooFew {
        /// How many answered.
        found: usize,
        /// How many were asked for.
        wanted: usize,
        /// The time.
        seconds: u64,
        /// Who answered.
        who: String,
    },
}

/// Asks on all networks of this computer until exactly `wanted` nodes wait. `told` gets
/// those that are there, once a second.
///
/// # Errors
/// There are more, or `limit` has passed, or there is no network.
pub fn find(
    root: &Root,
    programs: &[Program],
    wanted: usize,
    limit: Option<Duration>,
    told: &mut dyn FnMut(&[Found]),
) -> Result<Vec<Found>, FindError> {
    let mut search = Search::open(root, programs)?;
    let start = Instant::now();
    let mut complete = false;
    loop {
        let found = search.round()?;
        told(&found);
        if found.len() > wanted {
            return Err(FindError::TooMany(found.len(), wanted, names(&found)));
        }
        // One more round: somebody who was not expected may be slower to answer.
        if found.len() == wanted && std::mem::replace(&mut complete, true) {
            return Ok(found);
        }
        complete &= found.len() == wanted;
        if let Some(limit) = limit.filter(|limit| start.elapsed() >= *limit) {
            return Err(FindError::TooFew {
                found: found.len(),
                wanted,
                seconds: limit.as_secs(),
                who: names(&found),
            });
        }
    }
}

/// Who waits now: asks for so many seconds, and starts nothing.
///
/// # Errors
/// There is no network.
pub fn look_around(
    root: &Root,
    programs: &[Program],
    rounds: u32,
) -> Result<Vec<Found>, FindError> {
    let mut search = Search::open(root, programs)?;
    let mut found = Vec::new();
    for _ in 0..rounds {
        found = search.round()?;
    }
    Ok(found)
}

/// What becomes of the question whether a computer waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Waits {
    /// It does; this computer has that address as it sees it.
    Yes(Ipv4Addr),
    /// It is there, but no goldring that waits for this.
    No,
    /// Nothing came back.
    Silent,
    /// It cannot be asked: what the system said.
    Unreachable(String),
}

/// How many computers are asked at the same time.
const ASKED: usize = 256;

/// Asks each of these computers whether it waits for `program`, for so long. Whoever waits
/// for something else, or with an old program, does not notice.
pub fn ask(hosts: &[String], program: Program, limit: Duration) -> Vec<Waits> {
    let of_one = |host: &String| {
        let answer = ask_one(host, program, limit);
        answer.unwrap_or_else(|error| Waits::Unreachable(error.to_string()))
    };
    let mut all = Vec::new();
    for some in hosts.chunks(ASKED) {
        std::thread::scope(|scope| {
            let asked: Vec<_> = some
                .iter()
                .map(|host| scope.spawn(move || of_one(host)))
                .collect();
            let answers = asked
                .into_iter()
                .map(|thread| thread.join().unwrap_or(Waits::Silent));
            all.extend(answers);
        });
    }
    all
}

/// The address of this computer on the way to another one.
///
/// # Errors
/// The name is unknown, or there is no way.
pub fn own_address(host: &str) -> io::Result<Ipv4Addr> {
    let socket = towards(host)?;
    match socket.local_addr()? {
        SocketAddr::V4(own) => Ok(*own.ip()),
        SocketAddr::V6(_) => Err(io::ErrorKind::AddrNotAvailable.into()),
    }
}

fn towards(host: &str) -> io::Result<UdpSocket> {
    let all = (host, DISCOVER_PORT).to_socket_addrs()?;
    let address = all.into_iter().find(SocketAddr::is_ipv4);
    let address = address.ok_or_else(|| io::Error::other("it has no IPv4 address"))?;
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.connect(address)?;
    Ok(socket)
}

fn ask_one(host: &str, program: Program, limit: Duration) -> io::Result<Waits> {
    let own = own_address(host)?;
    let socket = towards(host)?;
    let query = Query {
        number: goldring_sys::random::number(),
        program,
    };
    let (start, mut answer) = (Instant::now(), Waits::Silent);
    let mut bytes = [0; LONGEST];
    while start.elapsed() < limit {
        let asked = Instant::now();
        // What became of the last question is told here, too.
        note(socket.send(&query.emit()), &mut answer)?;
        while let Some(left) = PERIOD.checked_sub(asked.elapsed()) {
            socket.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
            let n = note(socket.recv(&mut bytes), &mut answer)?;
            let Ok(said) = Answer::parse(&bytes[..n]) else {
                continue;
            };
            if said.number == query.number && said.program == program {
                return Ok(Waits::Yes(own));
            }
        }
    }
    Ok(answer)
}

/// Notes a refusal: somebody is there, but nobody listens.
fn note(result: io::Result<usize>, answer: &mut Waits) -> io::Result<usize> {
    use io::ErrorKind::{ConnectionRefused, HostUnreachable, TimedOut, WouldBlock};
    match result {
        Err(error) if error.kind() == ConnectionRefused => *answer = Waits::No,
        Err(error) if [WouldBlock, TimedOut, HostUnreachable].contains(&error.kind()) => {}
        result => return result,
    }
    Ok(0)
}

/// The names and addresses of nodes, for a line.
pub fn names(found: &[Found]) -> String {
    let name = |found: &Found| match found.name.as_str() {
        "" => found.address.to_string(),
        name if name == found.address.to_string() => name.to_owned(),
        name => format!("{} ({name})", found.address),
    };
    let names: Vec<String> = found.iter().map(name).collect();
    if names.is_empty() {
        return "nobody".to_owned();
    }
    names.join(", ")
}

struct Search {
    root: Root,
    socket: UdpSocket,
    finder: Finder,
}

impl Search {
    fn open(root: &Root, programs: &[Program]) -> io::Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket.set_broadcast(true)?;
        Ok(Self {
            root: root.clone(),
            socket,
            finder: Finder::new(programs, goldring_sys::random::number()),
        })
    }

    /// Asks once on every network and listens until it is time to ask again.
    fn round(&mut self) -> io::Result<Vec<Found>> {
        let start = Instant::now();
        self.ask()?;
        let mut bytes = [0; LONGEST];
        loop {
            let left = PERIOD.saturating_sub(start.elapsed());
            if left.is_zero() {
                return Ok(self.finder.present(Instant::now()));
            }
            self.socket.set_read_timeout(Some(left))?;
            if let Ok((n, SocketAddr::V4(from))) = self.socket.recv_from(&mut bytes) {
                let now = Instant::now();
                self.finder.answered(now, *from.ip(), &bytes[..n]);
            }
        }
    }

    /// One network that is down must not keep the others from being asked.
    fn ask(&self) -> io::Result<()> {
        let table = fs::read_to_string(self.root.join("/proc/net/fib_trie"))?;
        let mut asked = false;
        let mut trouble = io::Error::new(
            io::ErrorKind::NetworkUnreachable,
            "this computer has no IPv4 network",
        );
        for network in fib::broadcasts(&table) {
            let to = (network, DISCOVER_PORT);
            for query in self.finder.queries() {
                match self.socket.send_to(&query, to) {
                    Ok(_) => asked = true,
                    Err(error) => trouble = error,
                }
            }
        }
        if asked { Ok(()) } else { Err(trouble) }
    }
}
