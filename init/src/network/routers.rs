//! The routers of a link, and what they say.

use std::io;
use std::net::Ipv6Addr;
use std::time::{Duration, Instant};

use goldring_sys::icmp6::RouterSocket;
use goldring_wire::router::{Advertisement, SOLICITATION};

use super::link::Link;
use crate::console::say;

/// Questions, and the pause after each: RFC 4861 (section 10) waits 4 s, but an answer
/// takes half a second at most (MAX_RA_DELAY_TIME).
const QUESTIONS: u32 = 3;
const PAUSE: Duration = Duration::from_secs(2);
/// The longest message that is read.
const MAX_SIZE: usize = 1500;

/// Hears the routers of a card's link from now on.
#[derive(Debug)]
pub(super) struct Routers {
    socket: RouterSocket,
    name: String,
}

/// A router that has spoken.
#[derive(Debug, Clone)]
pub(crate) struct Router {
    /// Its address on the link.
    pub(super) address: Ipv6Addr,
    pub(super) said: Advertisement,
}

impl Routers {
    /// Starts to listen.
    ///
    /// # Errors
    /// A kernel without IPv6, or a card that is gone.
    pub(super) fn listen(card: &Link) -> io::Result<Self> {
        Ok(Self {
            socket: RouterSocket::open(&card.name, card.index)?,
            name: card.name.clone(),
        })
    }

    /// What was said since it listens, else what is said when it asks.
    pub(super) fn find(&self) -> Option<Router> {
        self.heard(Duration::ZERO).or_else(|| {
            (0..QUESTIONS).find_map(|_| {
                // A question that could not be sent is like one that was lost.
                let _ = self.socket.solicit(&SOLICITATION);
                self.heard(PAUSE)
            })
        })
    }

    /// The best of what is said within `limit`: the first one of a router that takes what
    /// leaves the link, or the last of the others.
    fn heard(&self, limit: Duration) -> Option<Router> {
        let end = Instant::now() + limit;
        let mut buffer = [0; MAX_SIZE];
        let mut found = None;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let Ok((length, address)) = self.socket.receive(&mut buffer, left) else {
                return found;
            };
            match Advertisement::parse(&buffer[..length]) {
                // RFC 4861, section 6.1.2: others come from elsewhere.
                Ok(_) if !address.is_unicast_link_local() => {}
                Ok(said) => {
                    let is_default = said.lifetime != 0;
                    found = Some(Router { address, said });
                    if is_default {
                        return found;
                    }
                }
                Err(error) => say(&format!(
                    "{}: what the router {address} says makes no sense ({error}), ignored",
                    self.name
                )),
            }
        }
    }
}
