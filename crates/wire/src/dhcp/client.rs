//! The client's state machine (RFC 2131, section 4.4 and figure 5).
//!
//! | state | sends | on ACK | on NAK | when time is up |
//! |---|---|---|---|---|
//! | Selecting | DISCOVER, broadcast | – (an OFFER leads to Requesting) | – | again, after 4, 8, 16, 32, 64 s |
//! | Requesting | REQUEST, broadcast | Bound | Selecting | again; after 4 of them Selecting |
//! | Bound | nothing | – | – | at T1 Renewing |
//! | Renewing | REQUEST to its server | Bound | Selecting | again; at T2 Rebinding |
//! | Rebinding | REQUEST, broadcast | Bound | Selecting | again; at the lease's end Selecting |
//!
//! Time is a [`Duration`] since any fixed moment; the machine reads no clock.

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::time::Duration;

use super::lease::{Lease, lease, usable};
use super::message::{Kind, Message, option};

/// Options that the client asks for. A strict server sends what is asked for and
/// nothing else (RFC 2131, section 4.3.1), and routes (121) come before the router
/// option for those that send only one of them (RFC 3442).
pub const PARAMETERS: [u8; 16] = [
    option::NETMASK,
    option::ROUTES,
    option::ROUTERS,
    option::DNS,
    option::HOSTNAME,
    option::DOMAIN,
    option::MTU,
    option::BROADCAST,
    option::NTP,
    option::LEASE,
    option::SERVER_ID,
    option::T1,
    option::T2,
    option::BOOT_SERVER,
    option::BOOT_FILE,
    option::SEARCH,
];

/// The longest message that we take: an Ethernet frame's worth of UDP (RFC 2132,
/// section 9.10, counts IP and UDP headers).
pub const MAX_SIZE: u16 = 1500;

/// REQUESTs for one offer before all begins anew (RFC 2131, section 3.1 item 5).
const REQUEST_TRIES: u32 = 4;
/// The pause after a NAK, so that a confused server is not flooded.
const AFTER_NAK: Duration = Duration::from_secs(2);
/// The shortest pause between two REQUESTs of a renewal (RFC 2131, section 4.4.5).
const RENEWAL_PAUSE: Duration = Duration::from_secs(60);

/// Who the client is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The interface's hardware address. The client identifier is `01` and this, as
    /// PXE ROMs send it, so that the ROM and we get the same lease.
    pub mac: [u8; 6],
    /// A name to ask for.
    pub hostname: Option<String>,
    /// A random number; nodes that are switched on together must differ in it.
    pub seed: u32,
}

/// Where a datagram goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    /// 255.255.255.255.
    Broadcast,
    /// One server.
    Server(Ipv4Addr),
}

/// A datagram to send, to the server port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmit {
    /// Where to.
    pub to: Destination,
    /// The payload.
    pub bytes: Vec<u8>,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A server offered an address; it was asked for.
    Offered {
        /// The address.
        address: Ipv4Addr,
        /// The server.
        server: Ipv4Addr,
    },
    /// The address is ours.
    Bound(Lease),
    /// It stays ours.
    Renewed(Lease),
    /// The server said no; all begins anew.
    Refused(Option<String>),
    /// Nobody answered this many DISCOVERs; another one goes out.
    Unanswered(u32),
    /// The lease ran out; all begins anew.
    Lost,
}

#[derive(Debug, Clone)]
struct Offer {
    address: Ipv4Addr,
    server: Ipv4Addr,
}

#[derive(Debug, Clone)]
struct Held {
    lease: Lease,
    /// When the REQUEST that brought it was sent (RFC 2131, section 4.4.5).
    since: Duration,
}

#[derive(Debug)]
enum State {
    Selecting {
        sent: u32,
        next: Duration,
    },
    Requesting {
        offer: Offer,
        sent: u32,
        next: Duration,
    },
    Bound(Held),
    Renewing {
        held: Held,
        next: Duration,
    },
    Rebinding {
        held: Held,
        next: Duration,
    },
}

/// The client. Call [`Client::poll_transmit`] until it gives nothing, then wait for a
/// datagram or for [`Client::poll_timeout`], whichever comes first.
#[derive(Debug)]
pub struct Client {
    config: Config,
    xid: u32,
    started: Duration,
    requested_at: Duration,
    state: State,
    outbox: VecDeque<Transmit>,
    events: VecDeque<Event>,
}

impl Client {
    /// A client that begins at once.
    pub fn new(config: Config, now: Duration) -> Self {
        Self {
            xid: config.seed,
            config,
            started: now,
            requested_at: now,
            state: State::Selecting { sent: 0, next: now },
            outbox: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Takes a datagram that arrived at the client port. What is not for us, or makes
    /// no sense, changes nothing.
    pub fn handle(&mut self, now: Duration, bytes: &[u8]) {
        let Ok(message) = Message::parse(bytes) else {
            return;
        };
        if !message.kind.is_reply() || message.xid != self.xid || message.chaddr != self.config.mac
        {
            return;
        }
        match message.kind {
            Kind::Offer => self.offered(now, &message),
            Kind::Ack => self.acknowledged(&message),
            Kind::Nak => self.refused(now, &message),
            _ => {}
        }
    }

    /// The next datagram to send at `now`, if any.
    pub fn poll_transmit(&mut self, now: Duration) -> Option<Transmit> {
        self.advance(now);
        self.outbox.pop_front()
    }

    /// When [`Client::poll_transmit`] must be called again even if nothing arrives;
    /// `None` for a lease without end.
    pub fn poll_timeout(&self) -> Option<Duration> {
        match &self.state {
            State::Selecting { next, .. } | State::Requesting { next, .. } => Some(*next),
            State::Bound(held) => held.lease.duration.map(|_| held.since + held.lease.t1),
            State::Renewing { next, .. } | State::Rebinding { next, .. } => Some(*next),
        }
    }

    /// The next thing that happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn offered(&mut self, now: Duration, message: &Message) {
        // Further offers, and those of proxy DHCP servers, which have no address to
        // give (PXE specification 2.1, section 2.2), are left alone.
        let (State::Selecting { sent: 1.., .. }, Some(server)) = (&self.state, message.server_id)
        else {
            return;
        };
        let address = message.yiaddr;
        if !usable(address) {
            return;
        }
        self.events.push_back(Event::Offered { address, server });
        self.state = State::Requesting {
            offer: Offer { address, server },
            sent: 0,
            next: now,
        };
    }

    fn acknowledged(&mut self, message: &Message) {
        let first = match &self.state {
            State::Requesting {
                offer, sent: 1.., ..
            } => {
                if message.server_id.is_some_and(|id| id != offer.server) {
                    return;
                }
                true
            }
            State::Renewing { .. } | State::Rebinding { .. } => false,
            _ => return,
        };
        if !usable(message.yiaddr) {
            return;
        }
        let lease = lease(message);
        self.events.push_back(if first {
            Event::Bound(lease.clone())
        } else {
            Event::Renewed(lease.clone())
        });
        self.state = State::Bound(Held {
            lease,
            since: self.requested_at,
        });
    }

    fn refused(&mut self, now: Duration, message: &Message) {
        match &self.state {
            State::Requesting { offer, .. } => {
                if message.server_id.is_some_and(|id| id != offer.server) {
                    return;
                }
            }
            State::Renewing { .. } | State::Rebinding { .. } => self.events.push_back(Event::Lost),
            // In Bound nothing was asked for, so nothing can be refused.
            State::Selecting { .. } | State::Bound(_) => return,
        }
        self.events
            .push_back(Event::Refused(message.message.clone()));
        self.restart(now + AFTER_NAK);
    }

    /// Back to the start, with a new transaction.
    fn restart(&mut self, next: Duration) {
        self.xid = self.xid.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        self.started = next;
        self.state = State::Selecting { sent: 0, next };
    }

    /// Does what is due at `now`.
    fn advance(&mut self, now: Duration) {
        if self.poll_timeout().is_none_or(|due| now < due) {
            return;
        }
        match &self.state {
            State::Selecting { sent, .. } => {
                let sent = *sent;
                if sent > 0 {
                    self.events.push_back(Event::Unanswered(sent));
                }
                let message = self.discover(now);
                self.send(Destination::Broadcast, &message);
                let next = now + self.backoff(sent);
                self.state = State::Selecting {
                    sent: sent.saturating_add(1),
                    next,
                };
            }
            State::Requesting { sent, .. } if *sent >= REQUEST_TRIES => {
                self.events.push_back(Event::Refused(None));
                self.restart(now);
                self.advance(now);
            }
            State::Requesting { offer, sent, .. } => {
                let (offer, sent) = (offer.clone(), *sent);
                let message = self.request(now, &offer);
                self.send(Destination::Broadcast, &message);
                let next = now + self.backoff(sent);
                self.state = State::Requesting {
                    offer,
                    sent: sent + 1,
                    next,
                };
            }
            State::Bound(held) | State::Renewing { held, .. } | State::Rebinding { held, .. } => {
                let held = held.clone();
                self.renew(now, held);
            }
        }
    }

    /// T1 has passed: asks the server, later all servers, and at last gives up.
    fn renew(&mut self, now: Duration, held: Held) {
        let Some(duration) = held.lease.duration else {
            return;
        };
        let (t2, end) = (held.since + held.lease.t2, held.since + duration);
        if now >= end {
            self.events.push_back(Event::Lost);
            self.restart(now);
            self.advance(now);
            return;
        }
        let server = held.lease.server_id.filter(|_| now < t2);
        let limit = if server.is_some() { t2 } else { end };
        let message = self.renewal(now, held.lease.address);
        self.send(
            server.map_or(Destination::Broadcast, Destination::Server),
            &message,
        );
        // RFC 2131, section 4.4.5: half of the remaining time, but at least 60 s.
        let next = (now + ((limit - now) / 2).max(RENEWAL_PAUSE)).min(limit);
        self.state = if server.is_some() {
            State::Renewing { held, next }
        } else {
            State::Rebinding { held, next }
        };
    }

    /// RFC 2131, section 4.1: 4, 8, 16, 32, 64 s, each plus or minus up to a second.
    fn backoff(&self, sent: u32) -> Duration {
        let seconds = 4u64 << sent.min(4);
        let jitter = self
            .xid
            .rotate_left(sent.wrapping_mul(7) % 32)
            .wrapping_mul(2_654_435_761)
            % 2000;
        Duration::from_millis(seconds * 1000 - 1000 + u64::from(jitter))
    }

    fn send(&mut self, to: Destination, message: &Message) {
        let mut bytes = Vec::with_capacity(400);
        message.emit(&mut bytes);
        self.outbox.push_back(Transmit { to, bytes });
    }

    /// What all our messages have.
    fn message(&self, kind: Kind, now: Duration) -> Message {
        let mut message = Message::new(kind, self.xid, self.config.mac);
        let secs = now.saturating_sub(self.started).as_secs();
        message.secs = u16::try_from(secs).unwrap_or(u16::MAX);
        message.parameters = PARAMETERS.to_vec();
        message.max_size = Some(MAX_SIZE);
        message.hostname.clone_from(&self.config.hostname);
        // RFC 2132, section 9.14: hardware type, then the address.
        message.client_id = [&[1][..], &self.config.mac].concat();
        message
    }

    fn discover(&self, now: Duration) -> Message {
        let mut message = self.message(Kind::Discover, now);
        // Without an address the kernel takes no unicast (RFC 2131, section 4.1).
        message.broadcast = true;
        message
    }

    fn request(&mut self, now: Duration, offer: &Offer) -> Message {
        self.requested_at = now;
        let mut message = self.message(Kind::Request, now);
        message.broadcast = true;
        message.requested = Some(offer.address);
        message.server_id = Some(offer.server);
        message
    }

    /// RFC 2131, section 4.3.2: renewing and rebinding fill ciaddr, and neither
    /// option 50 nor option 54.
    fn renewal(&mut self, now: Duration, address: Ipv4Addr) -> Message {
        self.requested_at = now;
        let mut message = self.message(Kind::Request, now);
        message.ciaddr = address;
        message
    }
}
