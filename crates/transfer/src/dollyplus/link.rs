//! Packets on a connection: read whole, written whole, and never waited for without
//! looking around.

use std::io::{self, IoSlice, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream, ToSocketAddrs};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::thread;
use std::time::{Duration, Instant};

use goldring_contract::limits::{DOLLY_CONTROL_PORT, DOLLY_DATA_PORT};
use goldring_sys::buffers;
use goldring_wire::dollyplus::own;
use goldring_wire::dollyplus::packet::{Command, HEAD, Head, List, Strange};
use rustix::fs::sendfile;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};

use super::bank::Bank;
use crate::dolly::net::{keep_alive, must_answer, readable};
use crate::range::{Range, RangeError, blame};

/// How often somebody who waits for a peer looks around.
const LOOK: Duration = Duration::from_millis(250);
/// A computer that is off does not answer at all.
const CONNECT: Duration = Duration::from_secs(3);
/// How long a command's answer may take.
const ANSWER: Duration = Duration::from_secs(2);
/// Buffers of the sockets of a ring: what is in them is lost with a neighbour, so they
/// are part of what has to be kept (`Limits`).
const SOCKET_BUFFER: usize = 1 << 20;

/// How much a read waits for; well below what fits into a socket's buffer.
const PIECE: usize = 256 << 10;

/// What is no longer than this is looked for before it is waited for.
const SMALL: usize = 4 << 10;

/// Why a connection is of no use any more. The sentence goes behind the peer's name.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    /// Its end.
    #[error("closed the connection")]
    End,
    /// It says nothing, or takes nothing.
    #[error("{0}")]
    Silent(String),
    /// It talks nonsense.
    #[error(transparent)]
    Strange(#[from] Strange),
    /// The system says so.
    #[error("cannot be reached: {0}")]
    Io(io::Error),
    /// What is to be sent cannot be read any more.
    #[error("cannot be given what is stored here: {0}")]
    Reading(io::Error),
    /// This computer stops.
    #[error("was left because this computer stops")]
    Stopped,
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe => Self::End,
            io::ErrorKind::TimedOut => {
                Self::Silent("answers no more (is it off, or its cable pulled?)".to_owned())
            }
            _ => Self::Io(error),
        }
    }
}

/// Asked while a peer is waited for; an error ends the waiting. Gets the time since
/// something last moved.
pub(super) type Patience<'a> = &'a mut dyn FnMut(Duration) -> Result<(), Trouble>;

/// Waits so long and no longer.
pub(super) fn at_most(limit: Duration, what: &str) -> impl FnMut(Duration) -> Result<(), Trouble> {
    let what = what.to_owned();
    move |silent| {
        if silent < limit {
            return Ok(());
        }
        Err(Trouble::Silent(format!(
            "has not {what} for {} s",
            limit.as_secs()
        )))
    }
}

/// A connection of a ring.
#[derive(Debug)]
pub(super) struct Link {
    stream: TcpStream,
    /// What was read of it before, and belongs before everything else.
    heard: Vec<u8>,
    /// For how many bytes a read waits.
    low: usize,
}

impl Link {
    /// Takes a connection over. `stall`: after so long without an answer of the
    /// peer's kernel it is dead, unless something is on its way to it: who sends asks how
    /// the peer is, because one that waits for others takes nothing, and is alive.
    pub(super) fn new(stream: TcpStream, stall: Duration) -> Result<Self, Trouble> {
        keep_alive(&stream, stall)?;
        buffers::send(&stream, SOCKET_BUFFER);
        buffers::receive(&stream, SOCKET_BUFFER);
        stream.set_write_timeout(Some(LOOK))?;
        Ok(Self {
            stream,
            heard: Vec::new(),
            low: 1,
        })
    }

    /// Connects to a host's ring port.
    pub(super) fn connect(host: &str, stall: Duration) -> Result<Self, Trouble> {
        Self::new(connect(host, DOLLY_DATA_PORT)?, stall)
    }

    /// A peer that nobody can ask has to take something in about this time.
    pub(super) fn has_to_answer(&self, stall: Duration) -> Result<(), Trouble> {
        Ok(must_answer(&self.stream, stall)?)
    }

    /// These bytes were read of it before.
    pub(super) fn has_heard(&mut self, bytes: Vec<u8>) {
        self.heard = bytes;
    }

    /// Another handle, to shut it down from another thread.
    pub(super) fn handle(&self) -> Result<TcpStream, Trouble> {
        Ok(self.stream.try_clone()?)
    }

    /// Whether the peer has not ended it. Nothing may be due to come.
    pub(super) fn is_open(&self) -> bool {
        if readable(&[self.stream.as_fd()], Duration::ZERO) != [true] {
            return true;
        }
        matches!(self.stream.peek(&mut [0]), Ok(n) if n > 0)
    }

    pub(super) fn shut(&self) {
        // It may be gone; that is what is wanted.
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    /// Half-closes: the peer gets everything, and then the end.
    pub(super) fn end(&self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Fills `buffer`.
    pub(super) fn exact(
        &mut self,
        buffer: &mut [u8],
        patience: Patience<'_>,
    ) -> Result<(), Trouble> {
        let mut filled = self.heard.len().min(buffer.len());
        buffer[..filled].copy_from_slice(&self.heard[..filled]);
        self.heard.drain(..filled);
        let (mut since, mut waits) = (Instant::now(), false);
        while filled < buffer.len() {
            let rest = &mut buffer[filled..];
            // A head is mostly here already, behind the chunk before it.
            if rest.len() > SMALL || waits {
                self.wait_for(rest.len())?;
            }
            match rustix::net::recv(&self.stream, rest, RecvFlags::DONTWAIT) {
                Ok((0, _)) => return Err(Trouble::End),
                Ok((n, _)) => {
                    filled += n;
                    since = Instant::now();
                }
                Err(Errno::AGAIN | Errno::INTR) => {
                    if waits {
                        patience(since.elapsed())?;
                    }
                    waits = true;
                }
                Err(error) => return Err(io::Error::from(error).into()),
            }
        }
        Ok(())
    }

    /// Whether the next head is here. It is taken together with the description of a chunk
    /// behind it, which is what most often comes, in one call.
    pub(super) fn hears_more(&mut self) -> Result<bool, Trouble> {
        let heard = self.heard.len();
        if heard >= HEAD {
            return Ok(true);
        }
        self.heard.resize(HEAD + own::CHUNK_HEAD, 0);
        let rest = &mut self.heard[heard..];
        let here = rustix::net::recv(&self.stream, rest, RecvFlags::DONTWAIT);
        // An end is met again by whoever reads.
        self.heard.truncate(heard + here.map_or(0, |(n, _)| n));
        match here {
            Ok(_) | Err(Errno::AGAIN | Errno::INTR) => Ok(self.heard.len() >= HEAD),
            Err(error) => Err(io::Error::from(error).into()),
        }
    }

    /// Waits for a good piece of what is certain to come: each time that a thread wakes up
    /// costs as much as thousands of bytes. (A read that waits by itself would take what is
    /// here and then wait for a whole piece again.)
    fn wait_for(&mut self, rest: usize) -> Result<(), Trouble> {
        let low = rest.clamp(1, PIECE);
        if low != self.low {
            goldring_sys::low_water::set(&self.stream, low)?;
            self.low = low;
        }
        readable(&[self.stream.as_fd()], LOOK);
        Ok(())
    }

    /// The next packet's head.
    pub(super) fn head(&mut self, patience: Patience<'_>) -> Result<Head, Trouble> {
        self.hears_more()?;
        let mut bytes = [0; HEAD];
        self.exact(&mut bytes, patience)?;
        Ok(Head::parse(&bytes)?)
    }

    /// What follows a head, at most a few hundred KiB.
    pub(super) fn body(
        &mut self,
        bytes: usize,
        patience: Patience<'_>,
    ) -> Result<Vec<u8>, Trouble> {
        let mut body = vec![0; bytes];
        self.exact(&mut body, patience)?;
        Ok(body)
    }

    /// The next packet, which has to be a list of this kind.
    pub(super) fn list(
        &mut self,
        wanted: goldring_wire::dollyplus::packet::Kind,
        patience: Patience<'_>,
    ) -> Result<List, Trouble> {
        let head = self.head(&mut *patience)?;
        match head {
            Head::List { kind, bytes, count } if kind == wanted => {
                let rest = self.body(List::rest(bytes), patience)?;
                Ok(List::decode(kind, count, &rest)?)
            }
            other => Err(Trouble::Strange(Strange::Order {
                got: other.name(),
                wanted: "a list of hosts",
            })),
        }
    }

    /// The next packet, which has to be one of goldring's of this kind.
    pub(super) fn own(
        &mut self,
        wanted: own::Kind,
        patience: Patience<'_>,
    ) -> Result<Vec<u8>, Trouble> {
        let head = self.head(&mut *patience)?;
        match head {
            Head::Own { kind, bytes } => {
                let kind = own::Kind::of(kind)?;
                let body = self.body(bytes as usize, patience)?;
                if kind == own::Kind::Abort {
                    let why = String::from_utf8_lossy(&body);
                    return Err(Trouble::Silent(format!("gave up: {}", own::one_line(&why))));
                }
                if kind == wanted {
                    return Ok(body);
                }
                Err(Trouble::Strange(Strange::Order {
                    got: head.name(),
                    wanted: "another one",
                }))
            }
            other => Err(Trouble::Strange(Strange::Order {
                got: other.name(),
                wanted: "a packet of goldring",
            })),
        }
    }

    /// Sends all of two pieces.
    pub(super) fn send(
        &mut self,
        first: &[u8],
        second: &[u8],
        patience: Patience<'_>,
    ) -> Result<(), Trouble> {
        let all = first.len() + second.len();
        let (mut done, mut since) = (0, Instant::now());
        while done < all {
            let head = &first[done.min(first.len())..];
            let tail = &second[done.saturating_sub(first.len()).min(second.len())..];
            let wrote = if head.is_empty() {
                self.stream.write(tail)
            } else {
                self.stream
                    .write_vectored(&[IoSlice::new(head), IoSlice::new(tail)])
            };
            match wrote {
                Ok(0) => return Err(Trouble::End),
                Ok(n) => {
                    done += n;
                    since = Instant::now();
                }
                Err(error) if is_pause(&error) => self.pauses(since, &mut *patience)?,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// The peer has taken nothing for a moment. One that has ended the connection never will, and when
    /// its window was full nothing else tells: its kernel answers to data only.
    fn pauses(&self, since: Instant, patience: Patience<'_>) -> Result<(), Trouble> {
        if !self.is_open() {
            return Err(Trouble::End);
        }
        patience(since.elapsed())
    }
}

impl Link {
    /// Sends all of `first`, and then `len` bytes of a file, which the kernel takes from
    /// where it keeps them.
    pub(super) fn send_range(
        &mut self,
        first: &[u8],
        range: &Range,
        len: usize,
        patience: Patience<'_>,
    ) -> Result<(), Trouble> {
        self.send_more(first, &mut *patience)?;
        let (mut offset, mut since) = (range.offset, Instant::now());
        let end = range.offset + len as u64;
        while offset < end {
            let left = usize::try_from(end - offset).unwrap_or(len);
            match sendfile(&self.stream, &range.file, Some(&mut offset), left) {
                Ok(0) => return Err(Trouble::Reading(io::ErrorKind::UnexpectedEof.into())),
                Ok(_) => since = Instant::now(),
                // Some file systems cannot.
                Err(Errno::INVAL | Errno::NOSYS) => {
                    let mut bytes = vec![0; left];
                    let read = range.file.read_exact_at(&mut bytes, offset);
                    read.map_err(Trouble::Reading)?;
                    return self.send(&bytes, &[], patience);
                }
                Err(Errno::AGAIN | Errno::INTR) => self.pauses(since, &mut *patience)?,
                Err(error) => {
                    return Err(match blame(error.into()) {
                        RangeError::File(error) => Trouble::Reading(error),
                        RangeError::Sink(error) => error.into(),
                    });
                }
            }
        }
        Ok(())
    }

    /// Sends all of `bytes`, of which it is known that more follow at once.
    fn send_more(&mut self, bytes: &[u8], patience: Patience<'_>) -> Result<(), Trouble> {
        let (mut done, since) = (0, Instant::now());
        while done < bytes.len() {
            match rustix::net::send(&self.stream, &bytes[done..], SendFlags::MORE) {
                Ok(n) => done += n,
                Err(Errno::AGAIN | Errno::INTR) => self.pauses(since, &mut *patience)?,
                Err(error) => return Err(io::Error::from(error).into()),
            }
        }
        Ok(())
    }
}

fn is_pause(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
    ) && error.raw_os_error() != Some(rustix::io::Errno::TIMEDOUT.raw_os_error())
}

/// Connects to a host, trying each of its IPv4 addresses.
pub(super) fn connect(host: &str, port: u16) -> Result<TcpStream, Trouble> {
    let mut last = Trouble::Silent("has no IPv4 address".to_owned());
    for address in addresses(host, port)? {
        match TcpStream::connect_timeout(&address, CONNECT) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = Trouble::Io(error),
        }
    }
    Err(last)
}

fn addresses(host: &str, port: u16) -> Result<Vec<SocketAddr>, Trouble> {
    let all = (host, port).to_socket_addrs().map_err(Trouble::Io)?;
    Ok(all.filter(SocketAddr::is_ipv4).collect())
}

/// How many names are looked up at the same time.
const LOOKUPS: usize = 64;

/// The addresses of hosts, to recognise them by. A name that is unknown here has none; a
/// name service that does not answer must not be waited for once for each of them.
pub(super) fn addresses_of<S: AsRef<str> + Sync>(hosts: &[S]) -> Vec<IpAddr> {
    let of_one = |host: &S| addresses(host.as_ref(), DOLLY_DATA_PORT).unwrap_or_default();
    let mut all = Vec::new();
    for some in hosts.chunks(LOOKUPS) {
        let found: Vec<SocketAddr> = thread::scope(|scope| {
            let asked: Vec<_> = some
                .iter()
                .map(|host| scope.spawn(move || of_one(host)))
                .collect();
            let found = asked.into_iter().filter_map(|thread| thread.join().ok());
            found.flatten().collect()
        });
        all.extend(found.iter().map(SocketAddr::ip));
    }
    all
}

/// Sends a command to a host's control port and gives the answer; `None` for a command
/// that has none.
pub(super) fn ask(host: &str, command: &Command) -> Result<Option<Command>, Trouble> {
    let stream = connect(host, DOLLY_CONTROL_PORT)?;
    ask_on(stream, command)
}

/// Tells the golden node that this computer is here and which chunk it wants. When the others
/// have gone on without it, it lets go of them (`bank`).
pub(super) fn report_back(server: &str, me: &str, bank: &Bank) -> Result<(), Trouble> {
    let back = Command::Back {
        name: me.to_owned(),
        wanted: u32::try_from(bank.wanted()).unwrap_or(u32::MAX),
    };
    if ask(server, &back)? == Some(Command::StepOut) {
        bank.leave_behind();
    }
    Ok(())
}

fn ask_on(mut stream: TcpStream, command: &Command) -> Result<Option<Command>, Trouble> {
    stream.set_write_timeout(Some(ANSWER))?;
    stream.set_read_timeout(Some(ANSWER))?;
    stream.write_all(&command.encode())?;
    if matches!(command, Command::Report(_) | Command::Stop(_)) {
        return Ok(None);
    }
    read_command(&mut stream).map(Some)
}

/// Reads one command.
pub(super) fn read_command(stream: &mut TcpStream) -> Result<Command, Trouble> {
    let pause = |error: io::Error| match error.kind() {
        io::ErrorKind::WouldBlock => Trouble::Silent("does not answer".to_owned()),
        _ => error.into(),
    };
    let mut head = [0; HEAD];
    stream.read_exact(&mut head).map_err(pause)?;
    let Head::Command { number, bytes } = Head::parse(&head)? else {
        return Err(Trouble::Strange(Strange::Order {
            got: "something else",
            wanted: "a command",
        }));
    };
    let mut operand = vec![0; usize::from(bytes)];
    stream.read_exact(&mut operand).map_err(pause)?;
    Ok(Command::decode(number, &operand)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Its window is full, so that its kernel is sent nothing that it could refuse.
    #[test]
    fn a_peer_that_has_left_is_not_waited_for() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (peer, _) = listener.accept().unwrap();
        let mut link = Link::new(stream, Duration::from_secs(60)).unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        let mut patience = at_most(Duration::from_secs(10), "left");
        let sent = link.send(&[], &vec![0; 64 << 20], &mut patience);
        assert!(matches!(sent, Err(Trouble::End)), "{sent:?}");
        let sent = link.send_more(&[1], &mut patience);
        assert!(matches!(sent, Err(Trouble::End)), "{sent:?}");
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[1]).unwrap();
        let range = Range {
            file: file.into(),
            offset: 0,
        };
        let sent = link.send_range(&[], &range, 1, &mut patience);
        assert!(matches!(sent, Err(Trouble::End)), "{sent:?}");
    }
}
