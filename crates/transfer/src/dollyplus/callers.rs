//! Whoever connects to the ring's port while a RING packet is waited for: several at the
//! same time, so that nobody who says nothing, or only half of it, is in the others' way.

use std::net::{IpAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use goldring_wire::dollyplus::packet::{HEAD, Head, Kind, List, Strange};
use goldring_wire::dollyplus::ring::Ring;
use rustix::io::Errno;
use rustix::net::RecvFlags;

use super::link::{Link, Trouble, at_most};
use crate::dolly::net::readable;
use crate::dolly::waiting::busiest;

/// A packet that has begun must be complete after this.
pub(super) const COMPLETE: Duration = Duration::from_secs(10);
/// The most connections at the same time.
const STRANGERS: usize = 64;
/// How long one look takes at most.
const LOOK: Duration = Duration::from_millis(250);

/// Connections that might be a neighbour's.
#[derive(Debug, Default)]
pub(super) struct Callers {
    all: Vec<Caller>,
}

#[derive(Debug)]
struct Caller {
    stream: TcpStream,
    from: IpAddr,
    said: Vec<u8>,
    /// When it said its first byte.
    began: Option<Instant>,
}

/// Who has called, and with which list.
pub(super) type Called = (Link, List, IpAddr);

impl Callers {
    /// One that has already said something.
    pub(super) fn add(&mut self, stream: TcpStream, said: Vec<u8>) {
        let from = stream.peer_addr().map(|peer| peer.ip());
        self.all.push(Caller {
            stream,
            from: from.unwrap_or(IpAddr::from([0, 0, 0, 0])),
            said,
            began: Some(Instant::now()),
        });
    }

    /// Looks once whether somebody calls with a RING packet. The error is what somebody
    /// did instead.
    pub(super) fn look(
        &mut self,
        listener: &TcpListener,
        stall: Duration,
    ) -> Option<Result<Called, (IpAddr, Trouble)>> {
        let ready = {
            let mut fds = vec![listener.as_fd()];
            fds.extend(self.all.iter().map(|caller| caller.stream.as_fd()));
            readable(&fds, LOOK)
        };
        if ready[0]
            && let Ok((stream, from)) = listener.accept()
        {
            self.all.push(Caller {
                stream,
                from: from.ip(),
                said: Vec::new(),
                began: None,
            });
            self.make_room();
        }
        let mut at = 0;
        while let Some(caller) = self.all.get_mut(at) {
            let trouble = match caller.step() {
                Ok(false) => {
                    at += 1;
                    continue;
                }
                Ok(true) => {
                    let caller = self.all.remove(at);
                    let from = caller.from;
                    return Some(caller.link(stall).map_err(|trouble| (from, trouble)));
                }
                Err(trouble) => trouble,
            };
            let from = self.all.remove(at).from;
            // A look whether somebody listens here is no reason for a line.
            if !matches!(trouble, Trouble::End) {
                return Some(Err((from, trouble)));
            }
        }
        None
    }

    fn make_room(&mut self) {
        while self.all.len() > STRANGERS {
            let busiest = busiest(self.all.iter().map(|caller| caller.from));
            self.all.remove(busiest);
        }
    }
}

/// Whether these bytes are a RING packet that calls somebody: not yet known, or not at all.
pub(crate) fn is_ring(said: &[u8]) -> Option<bool> {
    let Ok(length) = packet(said) else {
        return Some(false);
    };
    let packet = said.get(..length)?;
    let (head, rest) = packet.split_first_chunk::<HEAD>()?;
    let Ok(Head::List { count, .. }) = Head::parse(head) else {
        return Some(false);
    };
    let list = List::decode(Kind::Ring, count, rest);
    Some(list.and_then(Ring::called).is_ok())
}

/// How long the RING packet is that begins so, as far as is known.
fn packet(said: &[u8]) -> Result<usize, Trouble> {
    let Some(head) = said.first_chunk::<HEAD>() else {
        return Ok(HEAD);
    };
    match Head::parse(head)? {
        Head::List {
            kind: Kind::Ring,
            bytes,
            ..
        } => Ok(HEAD + List::rest(bytes)),
        other => Err(Trouble::Strange(Strange::Order {
            got: other.name(),
            wanted: "a list of hosts",
        })),
    }
}

impl Caller {
    /// Takes what is there; whether the packet is complete.
    fn step(&mut self) -> Result<bool, Trouble> {
        loop {
            let missing = packet(&self.said)?.saturating_sub(self.said.len());
            if missing == 0 {
                return Ok(true);
            }
            let mut bytes = vec![0; missing];
            match rustix::net::recv(&self.stream, &mut bytes[..], RecvFlags::DONTWAIT) {
                Ok((0, _)) => return Err(Trouble::End),
                Ok((n, _)) => {
                    self.said.extend(&bytes[..n]);
                    self.began.get_or_insert_with(Instant::now);
                }
                Err(Errno::AGAIN | Errno::INTR) => {
                    let silent = self.began.map_or(Duration::ZERO, |at| at.elapsed());
                    return at_most(COMPLETE, "completed its packet")(silent).map(|()| false);
                }
                Err(error) => return Err(std::io::Error::from(error).into()),
            }
        }
    }

    fn link(self, stall: Duration) -> Result<Called, Trouble> {
        let mut link = Link::new(self.stream, stall)?;
        link.has_heard(self.said);
        // All of it is here.
        let list = link.list(Kind::Ring, &mut at_most(COMPLETE, "completed its packet"))?;
        Ok((link, list, self.from))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use goldring_wire::dollyplus::packet::{AVAILABLE, CALLED, Entry};

    use super::*;

    fn ring() -> Vec<u8> {
        let entry = |flag, name: &str| Entry {
            flag,
            name: name.to_owned(),
        };
        let list = List {
            kind: Kind::Ring,
            entries: vec![entry(AVAILABLE, "n0"), entry(CALLED, "n1")],
        };
        list.encode().unwrap()
    }

    /// Looks until somebody has called; everything else that was said meanwhile.
    fn until_called(callers: &mut Callers, listener: &TcpListener) -> (Called, Vec<String>) {
        let mut dropped = Vec::new();
        let end = Instant::now() + Duration::from_secs(5);
        while Instant::now() < end {
            match callers.look(listener, Duration::from_secs(9)) {
                Some(Ok(called)) => return (called, dropped),
                Some(Err((_, trouble))) => dropped.push(trouble.to_string()),
                None => {}
            }
        }
        panic!("nobody has called: {dropped:?}");
    }

    #[test]
    fn who_says_nothing_or_half_of_it_is_in_nobodys_way() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let connect = || TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let ring = ring();
        let mut callers = Callers::default();
        let mut others = Vec::new();
        for said in [&b""[..], b"R", b"ROPN\xff\xff\x00\x02", &ring[..9]].repeat(20) {
            let mut other = connect();
            other.write_all(said).unwrap();
            others.push(other);
            let _ = callers.look(&listener, Duration::from_secs(9));
        }
        assert!(callers.all.len() <= STRANGERS);
        let mut caller = connect();
        caller.write_all(&ring[..5]).unwrap();
        let rest = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(300));
            caller.write_all(&ring[5..]).unwrap();
            caller
        });
        let ((_, list, _), dropped) = until_called(&mut callers, &listener);
        assert_eq!(list.entries[1].name, "n1");
        assert!(dropped.is_empty(), "{dropped:?}");
        drop(rest.join().unwrap());
    }

    #[test]
    fn only_a_whole_ring_packet_that_calls_somebody_is_one() {
        let ring = ring();
        assert_eq!(is_ring(&ring), Some(true));
        assert_eq!(is_ring(&[&ring[..], b"more"].concat()), Some(true));
        for cut in 0..ring.len() {
            assert_eq!(is_ring(&ring[..cut]), None, "{cut}");
        }
        let nobody = b"ROPN\x00\x08\x00\x02\x01n0\0\x01n1\0RCLS";
        for no in [&nobody[..], b"infile /", b"SEQN\0\0\0\0"] {
            assert_eq!(is_ring(no), Some(false), "{no:?}");
        }
    }

    #[test]
    fn what_is_no_ring_packet_is_dropped_with_a_reason() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let connect = || TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let ring = ring();
        let mut wrong = ring.clone();
        let end = wrong.len() - 1;
        wrong[end] ^= 1;
        let mut callers = Callers::default();
        let mut others = Vec::new();
        for said in [
            &b"GET / HTTP/1.0\r\n\r\n"[..],
            &[0xff; 64],
            b"SEQN\0\0\0\0",
            &wrong,
        ] {
            let mut other = connect();
            other.write_all(said).unwrap();
            others.push(other);
        }
        let mut caller = connect();
        caller.write_all(&ring).unwrap();
        let (_, dropped) = until_called(&mut callers, &listener);
        assert_eq!(dropped.len(), others.len(), "{dropped:?}");
    }
}
