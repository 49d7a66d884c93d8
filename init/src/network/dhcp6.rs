//! The DHCPv6 client's socket and clock: the first answer, and its renewal in a thread.

use std::io;
use std::net::{SocketAddrV6, UdpSocket};
use std::time::{Duration, Instant};

use goldring_sys::{random, udp};
use goldring_wire::dhcp6::{
    CLIENT_PORT, Client, Config, Event, Lease, Loss, SERVER_PORT, SERVERS, Settings, Wish,
};

use super::held6::Held6;
use super::link::Link;
use crate::console::say;
use crate::fate::Fate;

/// Messages of one try, some 8 s; the engine tries again.
const MESSAGES: u32 = 3;
/// A server that says no so often means it.
const REFUSALS: u32 = 3;
/// However the conversation goes, one try ends after this.
const TRY: Duration = Duration::from_secs(60);
/// The socket is read at least so often.
const READ: Duration = Duration::from_secs(60);
/// The longest message that is read.
const MAX_SIZE: usize = 1500;

/// A conversation on one card.
#[derive(Debug)]
pub(super) struct Conversation {
    client: Client,
    socket: UdpSocket,
    started: Instant,
    card: Link,
}

impl Conversation {
    /// Begins one. The card must have its address of the link.
    ///
    /// # Errors
    /// A card that is gone.
    pub(super) fn new(card: &Link, hostname: Option<&str>, wish: Wish) -> io::Result<Self> {
        let config = Config {
            mac: card.mac,
            hostname: hostname.map(str::to_owned),
            seed: random::number(),
            wish,
        };
        Ok(Self {
            client: Client::new(config, Duration::ZERO),
            socket: udp::on_interface6(&card.name, CLIENT_PORT)?,
            started: Instant::now(),
            card: card.clone(),
        })
    }

    /// Gets the first address, one that nobody has; `take` tries it.
    ///
    /// # Errors
    /// Nobody answers, or the servers refuse.
    pub(super) fn first_lease(
        &mut self,
        take: &mut dyn FnMut(&Lease) -> Result<bool, Fate>,
    ) -> Result<Lease, Fate> {
        let mut last = String::new();
        let mut refusals = 0;
        loop {
            match self.event()? {
                Some(Event::Bound(lease) | Event::Renewed(lease)) => {
                    if take(&lease)? {
                        return Ok(lease);
                    }
                    last = format!("; {} is in use by another computer", lease.address);
                    self.say(&last[2..]);
                    self.client.decline(self.started.elapsed());
                    refusals += 1;
                }
                Some(Event::Refused(status)) => {
                    last = format!("; it refuses: {status}");
                    self.say(&format!("the DHCPv6 server refuses: {status}"));
                    refusals += 1;
                }
                Some(Event::Unanswered(sent)) if sent < MESSAGES => {}
                Some(Event::Unanswered(_)) | None => return Err(self.nobody(&last)),
                Some(other) => {
                    if let Event::Nonsense(_) = other {
                        last = format!("; {}", remark(&other).unwrap_or_default());
                    }
                    self.remark(&other);
                }
            }
            if refusals >= REFUSALS {
                return Err(self.nobody(&last));
            }
        }
    }

    /// Gets the settings without an address.
    ///
    /// # Errors
    /// Nobody answers.
    pub(super) fn settings(&mut self) -> Result<Settings, Fate> {
        loop {
            match self.event()? {
                Some(Event::Informed(settings)) => return Ok(settings),
                Some(Event::Unanswered(sent)) if sent < MESSAGES => {}
                Some(Event::Unanswered(_)) | None => return Err(self.nobody("")),
                Some(other) => self.remark(&other),
            }
        }
    }

    fn event(&mut self) -> Result<Option<Event>, Fate> {
        self.next(Some(TRY))
            .map_err(|error| Fate::retry(format!("DHCPv6 on {}: {error}", self.card.name)))
    }

    fn nobody(&self, last: &str) -> Fate {
        let seconds = self.started.elapsed().as_secs();
        Fate::retry(format!(
            "no DHCPv6 answer on {} within {seconds} s{last}; \
             is the DHCPv6 server in this network?",
            self.card.name
        ))
    }

    /// Keeps what was granted for as long as the machine runs, and the card in step with it.
    pub(super) fn keep(mut self, mut held: Held6) {
        let name = self.card.name.clone();
        let work = move || {
            loop {
                match self.next(None) {
                    Ok(Some(event)) => self.follow(&mut held, event),
                    Ok(None) => {}
                    // The card may come back.
                    Err(_) => std::thread::sleep(Duration::from_secs(10)),
                }
            }
        };
        if let Err(error) = std::thread::Builder::new().name("dhcp6".into()).spawn(work) {
            say(&format!("{name}: DHCPv6 will not be renewed: {error}"));
        }
    }

    /// What an event means for the card.
    fn follow(&mut self, held: &mut Held6, event: Event) {
        match event {
            Event::Renewed(lease) | Event::Bound(lease) => {
                if !held.change(&lease) {
                    self.say(&format!(
                        "{} is in use by another computer, declined",
                        lease.address
                    ));
                    self.client.decline(self.started.elapsed());
                }
            }
            Event::Informed(settings) => held.settle(settings),
            Event::Lost(Loss::Refused) => {
                self.say("the DHCPv6 server takes the address away; asking for another one");
                held.lose();
            }
            // As with IPv4: a clone of hours must not end because a server was switched off.
            Event::Lost(Loss::Expired) => self.say(
                "the DHCPv6 lease ran out and no server answers; \
                 keeping the address and asking on",
            ),
            other => self.remark(&other),
        }
    }

    fn remark(&self, event: &Event) {
        if let Some(sentence) = remark(event) {
            self.say(&sentence);
        }
    }

    fn say(&self, sentence: &str) {
        say(&format!("{}: {sentence}", self.card.name));
    }

    /// Sends and receives until something happens or `limit` (since the start) is over.
    fn next(&mut self, limit: Option<Duration>) -> io::Result<Option<Event>> {
        let mut buffer = [0; MAX_SIZE];
        let to = SocketAddrV6::new(SERVERS, SERVER_PORT, 0, self.card.index);
        loop {
            let now = self.started.elapsed();
            while let Some(bytes) = self.client.poll_transmit(now) {
                // One that could not be sent is like one that was lost: it is sent again.
                let _ = self.socket.send_to(&bytes, to);
            }
            if let Some(event) = self.client.poll_event() {
                return Ok(Some(event));
            }
            if limit.is_some_and(|limit| now >= limit) {
                return Ok(None);
            }
            let due = self.client.poll_timeout().unwrap_or(now + READ);
            let wait = due
                .saturating_sub(now)
                .clamp(Duration::from_millis(1), READ);
            self.socket.set_read_timeout(Some(wait))?;
            match self.socket.recv_from(&mut buffer) {
                Ok((length, _)) => {
                    self.client
                        .handle(self.started.elapsed(), &buffer[..length]);
                }
                Err(error) if is_timeout(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// What is worth a line, if anything.
fn remark(event: &Event) -> Option<String> {
    Some(match event {
        Event::Offered(address) => format!("a DHCPv6 server offers {address}"),
        Event::Refused(status) => format!("the DHCPv6 server refuses: {status}"),
        Event::Nonsense(error) => format!(
            "a DHCPv6 answer makes no sense ({error}), ignored; look at the server's options"
        ),
        _ => return None,
    })
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
    )
}
