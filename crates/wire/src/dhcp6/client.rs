//! The client's state machine (RFC 8415, section 18.2).
//!
//! | state | sends | on an answer | when time is up |
//! |---|---|---|---|
//! | Soliciting | Solicit | the best Advertise leads to Requesting | again, with an Advertise in hand Requesting |
//! | Requesting | Request | Bound, or after a refusal Soliciting | again; after 10 of them Soliciting |
//! | Bound | nothing | – | at T1 Renewing |
//! | Renewing | Renew | Bound; "no binding" leads to Requesting | again; at T2 Rebinding |
//! | Rebinding | Rebind | as Renewing | again; at the end of the lease Soliciting |
//! | Declining | Decline | Soliciting | again; after 4 of them Soliciting |
//! | Informing | Information-request | Informed | again |
//! | Informed | nothing | – | Informing |
//!
//! Everything goes to [`super::SERVERS`]: no server needs unicast, and newer ones refuse it.
//!
//! Time is a [`Duration`] since any fixed moment; the machine reads no clock.

use std::collections::VecDeque;
use std::net::Ipv6Addr;
use std::time::Duration;

use super::lease::{Lease, granted, lease, settings};
use super::message::{Ia, IaAddress, Kind, Message, Status};
use super::timer::{Random, Timer};
use super::types::{Config, Event, Loss, PARAMETERS, Wish};

const SECOND: Duration = Duration::from_secs(1);
// RFC 8415, section 7.6: the first pause, the longest one, and how many messages.
const SOLICIT: (Duration, Duration) = (SECOND, Duration::from_secs(3600));
const REQUEST: (Duration, Duration) = (SECOND, Duration::from_secs(30));
const REQUEST_TRIES: u32 = 10;
const RENEW: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(600));
const DECLINE_TRIES: u32 = 4;
const INFORM: (Duration, Duration) = (SECOND, Duration::from_secs(3600));
/// For how long settings count when the server says nothing, and at least (section 21.23).
const REFRESH: u32 = 86_400;
const REFRESH_LEAST: u32 = 600;
/// What a server may ask for as the longest pause (section 21.24).
const MAX_RT: std::ops::RangeInclusive<u32> = 60..=86_400;
/// The pause after a refusal or a decline, so that a confused server is not flooded.
const AFTER_REFUSAL: Duration = Duration::from_secs(2);

#[derive(Debug, Clone)]
struct Offer {
    address: Ipv6Addr,
    server_id: Vec<u8>,
    preference: u8,
}

#[derive(Debug, Clone)]
struct Held {
    lease: Lease,
    /// When the message that brought it was sent.
    since: Duration,
}

impl Held {
    fn end(&self) -> Option<Duration> {
        self.since.checked_add(self.lease.valid?)
    }
}

/// What was told in this transaction already: a broken server answers every message.
#[derive(Debug, Default)]
struct Told {
    nonsense: bool,
    refused: bool,
}

#[derive(Debug)]
enum State {
    Soliciting {
        best: Option<Offer>,
    },
    Requesting {
        offer: Offer,
    },
    Bound,
    Renewing,
    Rebinding,
    Declining {
        address: Ipv6Addr,
        server_id: Vec<u8>,
    },
    Informing,
    Informed {
        until: Duration,
    },
}

/// The client. Call [`Client::poll_transmit`] until it gives nothing, then wait for a
/// datagram or for [`Client::poll_timeout`], whichever comes first.
#[derive(Debug)]
pub struct Client {
    config: Config,
    random: Random,
    xid: u32,
    started: Duration,
    sent_at: Duration,
    longest: (Option<u32>, Option<u32>),
    told: Told,
    timer: Timer,
    held: Option<Held>,
    state: State,
    outbox: VecDeque<Vec<u8>>,
    events: VecDeque<Event>,
}

impl Client {
    /// A client that begins within a second, so that nodes that are switched on together
    /// do not ask together (section 18.2.1).
    pub fn new(config: Config, now: Duration) -> Self {
        let mut client = Self {
            random: Random(config.seed),
            config,
            xid: 0,
            started: now,
            sent_at: now,
            longest: (None, None),
            told: Told::default(),
            timer: Timer::new(now),
            held: None,
            state: State::Informing,
            outbox: VecDeque::new(),
            events: VecDeque::new(),
        };
        let delay = Duration::from_millis(u64::from(client.random.next() % 1000));
        client.begin(client.first(), now + delay);
        client
    }

    /// Takes a datagram that arrived at the client port. What is not for us, or makes
    /// no sense, changes nothing.
    pub fn handle(&mut self, now: Duration, bytes: &[u8]) {
        if Message::xid_of(bytes) != Some(self.xid) || self.timer.sent == 0 {
            return;
        }
        let message = match Message::parse(bytes) {
            Ok(message) => message,
            Err(error) => {
                if !std::mem::replace(&mut self.told.nonsense, true) {
                    self.events.push_back(Event::Nonsense(error));
                }
                return;
            }
        };
        // Sections 16.3 and 16.10.
        if message.client_id != self.config.client_id() || message.server_id.is_empty() {
            return;
        }
        let allowed = |seconds: Option<u32>| seconds.filter(|seconds| MAX_RT.contains(seconds));
        self.longest.0 = allowed(message.sol_max_rt).or(self.longest.0);
        self.longest.1 = allowed(message.inf_max_rt).or(self.longest.1);
        match message.kind {
            Kind::Advertise => self.advertised(now, &message),
            Kind::Reply => self.replied(now, &message),
            _ => {}
        }
    }

    /// The address that was granted is in use by somebody else: tells the server so, and
    /// begins anew. Does nothing without an address.
    pub fn decline(&mut self, now: Duration) {
        if !matches!(self.state, State::Bound) {
            return;
        }
        if let Some(held) = self.held.take() {
            let state = State::Declining {
                address: held.lease.address,
                server_id: held.lease.server_id,
            };
            self.begin(state, now);
        }
    }

    /// Whether there is an address.
    pub fn is_bound(&self) -> bool {
        self.held.is_some()
    }

    /// The next datagram to send at `now`, if any, to [`super::SERVERS`].
    pub fn poll_transmit(&mut self, now: Duration) -> Option<Vec<u8>> {
        while self.poll_timeout().is_some_and(|due| now >= due) {
            self.advance(now);
        }
        self.outbox.pop_front()
    }

    /// When [`Client::poll_transmit`] must be called again even if nothing arrives;
    /// `None` for an address for ever.
    pub fn poll_timeout(&self) -> Option<Duration> {
        let held = |time: fn(&Lease) -> Duration| {
            let held = self.held.as_ref()?;
            held.since.checked_add(time(&held.lease))
        };
        let end = || self.held.as_ref().and_then(Held::end);
        let limit = match &self.state {
            State::Bound => return held(|lease| lease.t1),
            State::Informed { until } => return Some(*until),
            State::Renewing => held(|lease| lease.t2),
            State::Rebinding | State::Requesting { .. } => end(),
            _ => None,
        };
        Some(limit.map_or(self.timer.next, |limit| limit.min(self.timer.next)))
    }

    /// The next thing that happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn advertised(&mut self, now: Duration, message: &Message) {
        let State::Soliciting { best } = &mut self.state else {
            return;
        };
        let iaid = self.config.iaid();
        let ia = message.ias.iter().find(|ia| ia.id == iaid);
        let Some(granted) = ia.and_then(|ia| granted(ia, None)) else {
            // Section 18.2.9: an Advertise without an address is only good for a word.
            self.refused_once(refusal(message, ia).unwrap_or_else(no_addresses));
            return;
        };
        let offer = Offer {
            address: granted.address,
            server_id: message.server_id.clone(),
            preference: message.preference,
        };
        // Section 18.2.1: who wants us most ends the choice, and so does whoever answers
        // after the first pause.
        if offer.preference == u8::MAX || self.timer.sent > 1 {
            self.choose(now, offer);
        } else if best
            .as_ref()
            .is_none_or(|best| best.preference < offer.preference)
        {
            *best = Some(offer);
        }
    }

    fn choose(&mut self, now: Duration, offer: Offer) {
        self.events.push_back(Event::Offered(offer.address));
        self.begin(State::Requesting { offer }, now);
    }

    fn replied(&mut self, now: Duration, message: &Message) {
        let iaid = self.config.iaid();
        let ia = message.ias.iter().find(|ia| ia.id == iaid);
        match &self.state {
            State::Requesting { offer } => {
                if message.server_id != offer.server_id {
                    return;
                }
                if !self.granted(message, ia)
                    && let Some(status) = refusal(message, ia)
                {
                    self.refused(now, status);
                }
            }
            State::Renewing | State::Rebinding => {
                if !self.granted(message, ia) {
                    self.not_renewed(now, message, ia);
                }
            }
            State::Declining { .. } => self.restart(now + AFTER_REFUSAL),
            State::Informing => {
                if let Some(status) = refusal(message, None) {
                    self.refused_once(status);
                    return;
                }
                let seconds = message.refresh.unwrap_or(REFRESH).max(REFRESH_LEAST);
                self.events.push_back(Event::Informed(settings(message)));
                self.state = State::Informed {
                    until: now + Duration::from_secs(seconds.into()),
                };
            }
            State::Soliciting { .. } | State::Bound | State::Informed { .. } => {}
        }
    }

    /// Takes what a Reply grants, when it grants something.
    fn granted(&mut self, message: &Message, ia: Option<&Ia>) -> bool {
        let old = self.held.as_ref().map(|held| held.lease.address);
        let Some(lease) = ia.and_then(|ia| lease(message, ia, old)) else {
            return false;
        };
        let renewed =
            old == Some(lease.address) || matches!(self.state, State::Renewing | State::Rebinding);
        self.events.push_back(if renewed {
            Event::Renewed(lease.clone())
        } else {
            Event::Bound(lease.clone())
        });
        self.held = Some(Held {
            lease,
            since: self.sent_at,
        });
        self.state = State::Bound;
        true
    }

    /// An answer to a renewal that grants nothing (section 18.2.10.1).
    fn not_renewed(&mut self, now: Duration, message: &Message, ia: Option<&Ia>) {
        let Some(held) = &self.held else {
            return;
        };
        let address = held.lease.address;
        let taken = ia.is_some_and(|ia| {
            let ours = |granted: &&IaAddress| granted.address == address;
            ia.addresses.iter().find(ours).is_some_and(|a| a.valid == 0)
        });
        match refusal(message, ia) {
            // The server has forgotten us, after a restart perhaps: it is asked for the
            // same address.
            Some(status) if status.code == Status::NO_BINDING => {
                self.refused_once(status);
                let offer = Offer {
                    address,
                    server_id: message.server_id.clone(),
                    preference: 0,
                };
                self.begin(State::Requesting { offer }, now);
            }
            Some(status) if matches!(status.code, Status::NO_ADDRESSES | Status::NOT_ON_LINK) => {
                self.refused(now, status);
            }
            Some(status) => self.refused_once(status),
            None if taken => {
                self.held = None;
                self.events.push_back(Event::Lost(Loss::Refused));
                self.restart(now);
            }
            None => {}
        }
    }

    fn refused_once(&mut self, status: Status) {
        if !std::mem::replace(&mut self.told.refused, true) {
            self.events.push_back(Event::Refused(status));
        }
    }

    fn refused(&mut self, now: Duration, status: Status) {
        if self.held.take().is_some() {
            self.events.push_back(Event::Lost(Loss::Refused));
        }
        self.events.push_back(Event::Refused(status));
        self.restart(now + AFTER_REFUSAL);
    }

    fn restart(&mut self, next: Duration) {
        self.begin(self.first(), next);
    }

    fn first(&self) -> State {
        match self.config.wish {
            Wish::Address => State::Soliciting { best: None },
            Wish::Settings => State::Informing,
        }
    }

    /// A new exchange, with a new number, so that late answers to earlier messages are not
    /// taken for answers to the next one.
    fn begin(&mut self, state: State, next: Duration) {
        self.xid = self.random.next() >> 8;
        self.told = Told::default();
        self.started = next;
        self.timer = Timer::new(next);
        self.state = state;
    }

    /// Does what is due at `now`.
    fn advance(&mut self, now: Duration) {
        let over = self.is_over(now);
        match &mut self.state {
            State::Soliciting { best } => {
                if let Some(offer) = best.take() {
                    self.choose(now, offer);
                    return;
                }
                self.unanswered();
                let longest = self.longest.0;
                self.send(now, Kind::Solicit, (SOLICIT.0, seconds(longest, SOLICIT.1)));
            }
            State::Requesting { .. } if self.timer.sent >= REQUEST_TRIES => self.restart(now),
            State::Requesting { .. } if over => self.expired(now),
            State::Requesting { .. } => self.send(now, Kind::Request, REQUEST),
            State::Bound => self.begin(State::Renewing, now),
            State::Renewing => {
                let due = |held: &Held| held.since.checked_add(held.lease.t2);
                let t2 = self.held.as_ref().and_then(due);
                if t2.is_some_and(|t2| now >= t2) {
                    self.begin(State::Rebinding, now);
                } else {
                    self.send(now, Kind::Renew, RENEW);
                }
            }
            State::Rebinding if over => self.expired(now),
            State::Rebinding => self.send(now, Kind::Rebind, RENEW),
            State::Declining { .. } if self.timer.sent >= DECLINE_TRIES => self.restart(now),
            State::Declining { .. } => self.send(now, Kind::Decline, REQUEST),
            State::Informing => {
                self.unanswered();
                let longest = self.longest.1;
                self.send(now, Kind::Inform, (INFORM.0, seconds(longest, INFORM.1)));
            }
            State::Informed { .. } => self.begin(State::Informing, now),
        }
    }

    fn unanswered(&mut self) {
        if self.timer.sent > 0 {
            self.events.push_back(Event::Unanswered(self.timer.sent));
        }
    }

    /// Whether what we have has run out.
    fn is_over(&self, now: Duration) -> bool {
        let end = self.held.as_ref().and_then(Held::end);
        end.is_some_and(|end| now >= end)
    }

    fn expired(&mut self, now: Duration) {
        self.held = None;
        self.events.push_back(Event::Lost(Loss::Expired));
        self.restart(now);
    }

    /// Sends a message and winds the timer.
    fn send(&mut self, now: Duration, kind: Kind, pauses: (Duration, Duration)) {
        let message = self.message(now, kind);
        let mut bytes = Vec::with_capacity(200);
        message.emit(&mut bytes);
        self.outbox.push_back(bytes);
        self.sent_at = now;
        let random = self.random.next();
        self.timer.wind(now, pauses, random, kind == Kind::Solicit);
    }

    fn message(&self, now: Duration, kind: Kind) -> Message {
        let mut message = Message::new(kind, self.xid, self.config.client_id());
        let elapsed = now.saturating_sub(self.started).as_millis() / 10;
        message.elapsed = Some(u16::try_from(elapsed).unwrap_or(u16::MAX));
        let address = match &self.state {
            State::Requesting { offer } => {
                message.server_id.clone_from(&offer.server_id);
                Some(offer.address)
            }
            State::Declining { address, server_id } => {
                message.server_id.clone_from(server_id);
                Some(*address)
            }
            State::Renewing => {
                if let Some(held) = &self.held {
                    message.server_id.clone_from(&held.lease.server_id);
                }
                self.held.as_ref().map(|held| held.lease.address)
            }
            State::Rebinding => self.held.as_ref().map(|held| held.lease.address),
            _ => None,
        };
        if kind != Kind::Inform {
            // Section 18.2.2: the times of a client's message mean nothing.
            let addresses = address.into_iter().map(|address| IaAddress {
                address,
                preferred: 0,
                valid: 0,
            });
            message.ias.push(Ia {
                id: self.config.iaid(),
                t1: 0,
                t2: 0,
                addresses: addresses.collect(),
                status: None,
            });
        }
        if kind != Kind::Decline {
            message.requested = PARAMETERS.to_vec();
            message.fqdn.clone_from(&self.config.hostname);
        }
        message
    }
}

fn seconds(asked: Option<u32>, default: Duration) -> Duration {
    asked.map_or(default, |seconds| Duration::from_secs(seconds.into()))
}

/// What a server says no with, for the whole message or for the association.
fn refusal(message: &Message, ia: Option<&Ia>) -> Option<Status> {
    let statuses = [
        message.status.as_ref(),
        ia.and_then(|ia| ia.status.as_ref()),
    ];
    let no = statuses.into_iter().flatten().find(|s| !s.is_success());
    no.cloned()
}

fn no_addresses() -> Status {
    Status {
        code: Status::NO_ADDRESSES,
        message: String::new(),
    }
}
