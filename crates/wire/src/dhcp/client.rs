//! The client's state machine (RFC 2131, section 4.4 and figure 5).
//!
//! | state | sends | on ACK | on NAK | when time is up |
//! |---|---|---|---|---|
//! | Selecting | DISCOVER, broadcast | – (an OFFER leads to Requesting) | – | again, after 4, 8, 16, 32, 64 s; with an offer in hand Requesting |
//! | Requesting | REQUEST, broadcast | Bound | Selecting | again; after 4 of them Selecting |
//! | Bound | nothing | – | Renewing, once | at T1 Renewing |
//! | Renewing | REQUEST to its server | Bound | Selecting | again; at T2 Rebinding |
//! | Rebinding | REQUEST, broadcast | Bound | Selecting | again; at the lease's end Selecting |
//!
//! [`Client::decline`] leads from Bound back to Selecting.
//!
//! Time is a [`Duration`] since any fixed moment; the machine reads no clock.

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::time::Duration;

use super::lease::{Lease, boot_server, lease, usable};
use super::message::{Kind, Message};
use super::packet::Packet;
use super::types::{Config, Destination, Event, Loss, MAX_SIZE, PARAMETERS, Transmit};

/// REQUESTs for one offer before all begins anew (RFC 2131, section 3.1 item 5).
const REQUEST_TRIES: u32 = 4;
/// The pause after a NAK, so that a confused server is not flooded.
const AFTER_NAK: Duration = Duration::from_secs(2);
/// The pause after a DECLINE (RFC 2131, section 3.1 item 5).
const AFTER_DECLINE: Duration = Duration::from_secs(10);
/// The shortest pause between two REQUESTs of a renewal (RFC 2131, section 4.4.5).
const RENEWAL_PAUSE: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy)]
struct Offer {
    address: Ipv4Addr,
    server: Ipv4Addr,
}

#[derive(Debug, Clone)]
struct Held {
    lease: Lease,
    /// When the REQUEST that brought it was sent (RFC 2131, section 4.4.5).
    since: Duration,
    /// Its server has said no once, and was asked again.
    doubted: bool,
}

/// What was told in this transaction already, and is not told again: a broken server
/// answers every message.
#[derive(Debug, Default)]
struct Told {
    nonsense: bool,
    empty: bool,
}

#[derive(Debug)]
enum State {
    Selecting {
        sent: u32,
        next: Duration,
        /// An offer that is taken at this moment, unless a better one comes.
        best: Option<(Offer, Duration)>,
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
    /// What we had before all began anew: its server is preferred.
    earlier: Option<Ipv4Addr>,
    told: Told,
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
            earlier: None,
            told: Told::default(),
            state: State::Selecting {
                sent: 0,
                next: now,
                best: None,
            },
            outbox: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Takes a datagram that arrived at the client port. What is not for us, or makes
    /// no sense, changes nothing.
    pub fn handle(&mut self, now: Duration, bytes: &[u8]) {
        let for_us = Packet::new(bytes).is_ok_and(|packet| {
            packet.is_reply() && packet.xid() == self.xid && packet.chaddr() == self.config.mac
        });
        if !for_us {
            return;
        }
        match Message::parse(bytes) {
            Ok(message) => match message.kind {
                Kind::Offer => self.offered(now, &message),
                Kind::Ack => self.acknowledged(&message),
                Kind::Nak => self.refused(now, &message),
                _ => {}
            },
            Err(error) if !self.told.nonsense => {
                self.told.nonsense = true;
                self.events.push_back(Event::Nonsense(error));
            }
            Err(_) => {}
        }
    }

    /// The address that was granted is in use by somebody else: tells the server so, and
    /// begins anew after a pause. Does nothing without a lease.
    pub fn decline(&mut self, now: Duration) {
        let State::Bound(held) = &self.state else {
            return;
        };
        // RFC 2131, table 5: neither a parameter list nor anything else.
        let mut message = Message::new(Kind::Decline, self.xid, self.config.mac);
        message.requested = Some(held.lease.address);
        message.server_id = held.lease.server_id;
        message.client_id = self.client_id();
        self.send(Destination::Broadcast, &message);
        self.restart(now + AFTER_DECLINE);
    }

    /// Whether there is a lease.
    pub fn is_bound(&self) -> bool {
        matches!(
            self.state,
            State::Bound(_) | State::Renewing { .. } | State::Rebinding { .. }
        )
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
            State::Selecting { next, best, .. } => {
                Some(best.as_ref().map_or(*next, |(_, due)| *next.min(due)))
            }
            State::Requesting { next, .. } => Some(*next),
            State::Bound(held) => held.lease.duration.map(|_| held.since + held.lease.t1),
            State::Renewing { next, .. } | State::Rebinding { next, .. } => Some(*next),
        }
    }

    /// The next thing that happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn offered(&mut self, now: Duration, message: &Message) {
        let State::Selecting {
            sent: 1.., best, ..
        } = &mut self.state
        else {
            return;
        };
        if !usable(message.yiaddr) {
            if !self.told.empty {
                self.told.empty = true;
                self.events.push_back(Event::Empty(message.server_id));
            }
            return;
        }
        let Some(server) = message.server_id else {
            return;
        };
        let offer = Offer {
            address: message.yiaddr,
            server,
        };
        let good = boot_server(message).is_some()
            || self.earlier == Some(server)
            || self.config.patience.is_zero();
        if good {
            self.choose(now, offer);
        } else if best.is_none() {
            *best = Some((offer, now + self.config.patience));
        }
    }

    fn choose(&mut self, now: Duration, offer: Offer) {
        self.events.push_back(Event::Offered {
            address: offer.address,
            server: offer.server,
        });
        self.state = State::Requesting {
            offer,
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
            doubted: false,
        });
    }

    fn refused(&mut self, now: Duration, message: &Message) {
        let why = message.message.clone();
        match &self.state {
            State::Requesting { offer, .. } => {
                if message.server_id.is_some_and(|id| id != offer.server) {
                    return;
                }
                self.earlier = None;
            }
            State::Bound(held) => {
                // RFC 2131, figure 5, has a client without an open request drop it, which
                // is right for the NAK of another server and for a late copy. But a server
                // that takes its word back must be heard: it is asked, as at T1.
                if message.server_id != held.lease.server_id || held.doubted {
                    return;
                }
                let held = Held {
                    doubted: true,
                    ..held.clone()
                };
                self.events.push_back(Event::Doubted(why));
                self.new_transaction();
                self.renew(now, held);
                return;
            }
            State::Renewing { .. } | State::Rebinding { .. } => {
                self.events.push_back(Event::Lost(Loss::Refused));
            }
            State::Selecting { .. } => return,
        }
        self.events.push_back(Event::Refused(why));
        self.restart(now + AFTER_NAK);
    }

    /// Back to the start, with a new transaction.
    fn restart(&mut self, next: Duration) {
        self.new_transaction();
        self.started = next;
        self.state = State::Selecting {
            sent: 0,
            next,
            best: None,
        };
    }

    /// Another number, so that late answers to earlier messages are not taken for answers
    /// to the next one.
    fn new_transaction(&mut self) {
        self.xid = self.xid.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        self.told = Told::default();
    }

    /// Does what is due at `now`.
    fn advance(&mut self, now: Duration) {
        if self.poll_timeout().is_none_or(|due| now < due) {
            return;
        }
        match &self.state {
            State::Selecting {
                best: Some((offer, due)),
                ..
            } if now >= *due => {
                let offer = *offer;
                self.choose(now, offer);
                self.advance(now);
            }
            State::Selecting { sent, best, .. } => {
                let (sent, best) = (*sent, *best);
                if sent > 0 {
                    self.events.push_back(Event::Unanswered(sent));
                }
                let message = self.discover(now);
                self.send(Destination::Broadcast, &message);
                let next = now + self.backoff(sent);
                self.state = State::Selecting {
                    sent: sent.saturating_add(1),
                    next,
                    best,
                };
            }
            State::Requesting { sent, .. } if *sent >= REQUEST_TRIES => {
                self.events.push_back(Event::Refused(None));
                self.restart(now);
                self.advance(now);
            }
            State::Requesting { offer, sent, .. } => {
                let (offer, sent) = (*offer, *sent);
                let message = self.request(now, &offer);
                self.send(Destination::Broadcast, &message);
                let next = now + self.backoff(sent);
                self.state = State::Requesting {
                    offer,
                    sent: sent + 1,
                    next,
                };
            }
            State::Bound(held) => {
                let held = held.clone();
                self.new_transaction();
                self.renew(now, held);
            }
            State::Renewing { held, .. } | State::Rebinding { held, .. } => {
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
            self.events.push_back(Event::Lost(Loss::Expired));
            self.earlier = held.lease.server_id;
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
        message.client_id = self.client_id();
        message
    }

    /// RFC 2132, section 9.14: hardware type, then the address.
    fn client_id(&self) -> Vec<u8> {
        [&[1][..], &self.config.mac].concat()
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
