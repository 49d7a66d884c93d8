//! Whoever connects to a waiting node, until it is known what it is.

use std::net::{IpAddr, TcpStream};
use std::time::{Duration, Instant};

use goldring_wire::dolly::config::{Config, FANOUT_MAX, Networks};
use goldring_wire::dolly::hearing::{Heard, Hearing};
use goldring_wire::dolly::identity::{Own, Place};
use goldring_wire::dolly::{listed, topology};

use super::flowing;
use super::net::{Got, read_some};
use crate::dollyplus::callers::is_ring;

/// A configuration that has begun must be complete after this.
const COMPLETE: Duration = Duration::from_secs(10);
/// A configuration whose last line has no end is taken after so long.
const UNENDED: Duration = Duration::from_millis(300);
/// The data connection was made first; it cannot be far.
const DATA: Duration = Duration::from_secs(5);
/// Those over other networks may be tried several times.
const FURTHER_DATA: Duration = Duration::from_secs(60);

/// What a dolly+ ring begins with on the data port.
const RING: &[u8] = b"ROPN";

/// A connection to the control port.
#[derive(Debug)]
pub(super) struct Caller {
    pub(super) stream: TcpStream,
    pub(super) peer: IpAddr,
    pub(super) hearing: Hearing,
    /// When it has to be through; set once it has begun.
    deadline: Option<Instant>,
    /// When it last sent something.
    heard: Instant,
    /// Complete, and waiting for its data connections.
    pub(super) found: Option<(Config, Place)>,
}

impl Caller {
    pub(super) fn new(stream: TcpStream, peer: IpAddr, hearing: Hearing, now: Instant) -> Self {
        Self {
            stream,
            peer,
            hearing,
            deadline: None,
            heard: now,
            found: None,
        }
    }

    /// Reads what is there. An error drops the caller, with a reason worth telling or
    /// without one.
    pub(super) fn step(
        &mut self,
        readable: bool,
        own: &Own,
        now: Instant,
    ) -> Result<(), Option<String>> {
        if self.deadline.is_some_and(|at| now >= at) {
            let why = if self.found.is_some() {
                "sent a configuration, but not all of its data connections are there"
            } else {
                "began a configuration and did not end it"
            };
            return Err(Some(why.to_owned()));
        }
        if !readable {
            let silent = now.duration_since(self.heard) >= UNENDED;
            if self.found.is_none() && silent && self.hearing.may_be_complete() {
                return self.understand(own, now);
            }
            return Ok(());
        }
        let bytes = match read_some(&self.stream) {
            Got::Nothing => return Ok(()),
            Got::End if self.found.is_some() => {
                return Err(Some("sent a configuration and left".to_owned()));
            }
            // A port scan, or half a pair that the parent tries again.
            Got::End => return Err(None),
            Got::Bytes(bytes) => bytes,
        };
        if self.found.is_some() {
            return Ok(());
        }
        self.heard = now;
        self.deadline.get_or_insert(now + COMPLETE);
        match self.hearing.push(&bytes).map_err(|e| Some(e.to_string()))? {
            Heard::Nothing => Ok(()),
            Heard::Plus(answer) => {
                // One question to a connection.
                let _ = flowing::say(&self.stream, "it", &answer);
                Err(None)
            }
            Heard::Answer(answer) => flowing::say(&self.stream, "it", &answer).map_err(|_| None),
            Heard::Complete => self.understand(own, now),
        }
    }

    fn understand(&mut self, own: &Own, now: Instant) -> Result<(), Option<String>> {
        let config = self
            .hearing
            .config()
            .map_err(|e| Some(format!("sent a configuration with a fault in {e}")))?;
        let place = own
            .find(&config)
            .ok_or_else(|| Some(not_listed(own, &config)))?;
        if let Some(right) = not_the_parent(&config, place.index, self.peer) {
            return Err(Some(format!(
                "sent a configuration in which not it but {right} feeds this computer; if it is that computer, list it by this address"
            )));
        }
        let further = config.networks.as_ref().is_some_and(|n| n.count > 0);
        self.deadline = Some(now + if further { FURTHER_DATA } else { DATA });
        self.found = Some((config, place));
        Ok(())
    }
}

/// Who should have called, when it is certain that this caller is somebody else: another
/// client of the list, or nobody of it although the parent is a client with an address.
/// Names are not looked up, which can take long and be wrong; the golden node may well
/// call from another of its addresses.
fn not_the_parent(config: &Config, index: usize, peer: IpAddr) -> Option<&str> {
    let parent = topology::parent(index, config.fanout);
    let right = parent.map_or(config.server.as_str(), |at| config.clients[at].as_str());
    let is = |name: &str| name.parse::<IpAddr>().is_ok_and(|address| address == peer);
    let other = |(at, name): (usize, &String)| Some(at) != parent && at != index && is(name);
    let another = config.clients.iter().enumerate().any(other);
    let stranger = parent.is_some() && right.parse::<IpAddr>().is_ok() && !is(right);
    (another || stranger).then_some(if right.is_empty() {
        "the golden node"
    } else {
        right
    })
}

fn not_listed(own: &Own, config: &Config) -> String {
    let names: Vec<String> = own.all().collect();
    format!(
        "sent a configuration without this computer: it is {}, the list says {}; put one of its names into the list",
        listed(&names),
        listed(&config.clients)
    )
}

/// A connection to the data port.
#[derive(Debug)]
pub(super) struct DataCaller {
    pub(super) stream: TcpStream,
    pub(super) peer: IpAddr,
    /// Its first bytes: with several links the number of this one.
    pub(super) said: Vec<u8>,
}

impl DataCaller {
    pub(super) fn new(stream: TcpStream, peer: IpAddr) -> Self {
        Self {
            stream,
            peer,
            said: Vec::new(),
        }
    }

    /// Reads what is there. A parent sends no data before this node is ready: more than
    /// the number of a link is a stranger's. `false` drops the connection.
    pub(super) fn step(&mut self, plus: bool) -> bool {
        match read_some(&self.stream) {
            Got::Nothing => true,
            Got::End => false,
            Got::Bytes(bytes) => {
                self.said.extend(bytes);
                let begun = self.said.len().min(RING.len());
                if plus && self.said[..begun] == RING[..begun] {
                    return is_ring(&self.said) != Some(false);
                }
                let number = self
                    .said
                    .first()
                    .is_some_and(|b| usize::from(*b) < FANOUT_MAX);
                number && self.said.len() <= 4 && self.said[1..].iter().all(|b| *b == 0)
            }
        }
    }

    /// Whether a ring of dolly+ has called.
    pub(super) fn is_plus(&self) -> bool {
        is_ring(&self.said) == Some(true)
    }

    /// Whether this is link `number` of a parent that calls from `peer`. The further
    /// links come over other networks, so from other addresses.
    fn is(&self, number: usize, networks: Option<&Networks>, peer: IpAddr) -> bool {
        let numbered = networks.is_some_and(|networks| networks.count > 0);
        let said: &[u8] = match (numbered, u8::try_from(number)) {
            (false, _) => &[],
            (true, Ok(number)) => &[number, 0, 0, 0],
            (true, Err(_)) => return false,
        };
        self.said == said && (number > 0 || self.peer == peer)
    }
}

/// Where the data connections of a parent are among `all`, in the order of their links;
/// `None` when one is missing. Of several the newest: an older one may be half a pair that
/// the parent gave up.
pub(super) fn links_of(
    all: &[DataCaller],
    networks: Option<&Networks>,
    peer: IpAddr,
) -> Option<Vec<usize>> {
    let links = networks.map_or(1, Networks::links);
    (0..links)
        .map(|number| all.iter().rposition(|data| data.is(number, networks, peer)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_certainly_not_the_parent_is_known() {
        let text = "infile /a\noutfile /b\nserver 10.0.0.1\nfirstclient 10.0.0.2\n\
                    lastclient 10.0.0.4\nclients 3\n10.0.0.2\n10.0.0.3\n10.0.0.4\nendconfig\n";
        let config = Config::received(text.as_bytes()).unwrap();
        let who = |place: usize, peer: &str| {
            not_the_parent(&config, place, peer.parse().unwrap()).map(str::to_owned)
        };
        assert_eq!(who(0, "10.0.0.1"), None);
        assert_eq!(
            who(0, "10.9.9.9"),
            None,
            "another address of the golden node"
        );
        assert_eq!(who(0, "10.0.0.3").as_deref(), Some("10.0.0.1"));
        assert_eq!(who(1, "10.0.0.2"), None);
        assert_eq!(who(1, "10.0.0.1").as_deref(), Some("10.0.0.2"));
        assert_eq!(who(2, "10.0.0.2").as_deref(), Some("10.0.0.3"));
        let named = Config::received(text.replace("10.0.0.", "node").as_bytes()).unwrap();
        assert_eq!(not_the_parent(&named, 2, "10.9.9.9".parse().unwrap()), None);
    }
}
