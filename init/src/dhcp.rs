//! The DHCP client's socket and clock: the first lease, and its renewal in a thread.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use goldring_contract::Root;
use goldring_sys::{random, udp};
use goldring_wire::dhcp::{
    CLIENT_PORT, Client, Config, Destination, Event, Lease, SERVER_PORT, client::MAX_SIZE,
};

use crate::console::say;
use crate::fate::Fate;
use crate::link::{self, Link};

/// DISCOVERs of one try; the engine tries again, perhaps on another card.
const DISCOVERS: u32 = 2;
/// However the conversation goes, one try ends after this.
const TRY: Duration = Duration::from_secs(60);
/// The socket is read at least so often.
const READ: Duration = Duration::from_secs(60);

/// A conversation on one card.
#[derive(Debug)]
pub(crate) struct Conversation {
    client: Client,
    socket: UdpSocket,
    started: Instant,
    name: String,
}

impl Conversation {
    /// Begins one.
    ///
    /// # Errors
    /// A card that is gone.
    pub(crate) fn new(link: &Link, hostname: Option<&str>) -> io::Result<Self> {
        let config = Config {
            mac: link.mac,
            hostname: hostname.map(str::to_owned),
            seed: random::number(),
        };
        Ok(Self {
            client: Client::new(config, Duration::ZERO),
            socket: udp::on_interface(&link.name, CLIENT_PORT)?,
            started: Instant::now(),
            name: link.name.clone(),
        })
    }

    /// Gets the first lease.
    ///
    /// # Errors
    /// Nobody answers, or the servers refuse.
    pub(crate) fn first_lease(&mut self) -> Result<Lease, Fate> {
        let mut refusal = String::new();
        loop {
            match self.next(Some(TRY)) {
                Ok(Some(Event::Bound(lease))) => return Ok(lease),
                Ok(Some(Event::Offered { address, server })) => {
                    say(&format!("{}: {server} offers {address}", self.name));
                }
                Ok(Some(Event::Refused(why))) => {
                    let why = why.unwrap_or_else(|| "no reason given".to_owned());
                    say(&format!("{}: the DHCP server refuses: {why}", self.name));
                    refusal = format!("; it refused: {why}");
                }
                Ok(Some(Event::Unanswered(sent))) if sent < DISCOVERS => {
                    say(&format!("{}: no DHCP answer yet, asking again", self.name));
                }
                Ok(Some(Event::Unanswered(_)) | None) => {
                    let seconds = self.started.elapsed().as_secs();
                    return Err(Fate::retry(format!(
                        "no DHCP lease on {} within {seconds} s{refusal}; \
                         is the DHCP server in this network?",
                        self.name
                    )));
                }
                Ok(Some(_)) => {}
                Err(error) => {
                    return Err(Fate::retry(format!("DHCP on {}: {error}", self.name)));
                }
            }
        }
    }

    /// Keeps the lease for as long as the machine runs; `changed` hears of each new one.
    pub(crate) fn keep(mut self, mut changed: impl FnMut(&Lease) + Send + 'static) {
        let name = self.name.clone();
        let work = move || {
            loop {
                match self.next(None) {
                    Ok(Some(Event::Bound(lease) | Event::Renewed(lease))) => changed(&lease),
                    Ok(Some(Event::Lost)) => say(&format!(
                        "{}: the DHCP lease ran out; asking for another one",
                        self.name
                    )),
                    Ok(_) => {}
                    // The card may come back.
                    Err(_) => std::thread::sleep(Duration::from_secs(10)),
                }
            }
        };
        if let Err(error) = std::thread::Builder::new().name("dhcp".into()).spawn(work) {
            say(&format!("{name}: the lease will not be renewed: {error}"));
        }
    }

    /// Sends and receives until something happens or `limit` (since the start) is over.
    fn next(&mut self, limit: Option<Duration>) -> io::Result<Option<Event>> {
        let mut buffer = [0; MAX_SIZE as usize];
        loop {
            let now = self.started.elapsed();
            while let Some(transmit) = self.client.poll_transmit(now) {
                let address = match transmit.to {
                    Destination::Broadcast => Ipv4Addr::BROADCAST,
                    Destination::Server(address) => address,
                };
                let to = SocketAddrV4::new(address, SERVER_PORT);
                // A lost datagram and one that could not be sent are the same to DHCP:
                // it will be sent again.
                let _ = self.socket.send_to(&transmit.bytes, to);
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
                Ok((length, _)) => self
                    .client
                    .handle(self.started.elapsed(), &buffer[..length]),
                Err(error) if is_timeout(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// `init --dhcp CARD`: asks once and prints the lease, without taking the address.
pub(crate) fn show(card: &str) -> ExitCode {
    let Some(card) = link::named(&Root::system(), card) else {
        eprintln!("init: there is no Ethernet card {card}");
        return ExitCode::FAILURE;
    };
    let lease = Conversation::new(&card, None)
        .map_err(|error| Fate::retry(format!("DHCP on {card}: {error}")))
        .and_then(|mut conversation| conversation.first_lease());
    match lease {
        Ok(lease) => {
            println!("{lease:#?}");
            ExitCode::SUCCESS
        }
        Err(Fate::Retry(cause) | Fate::Reboot(cause) | Fate::Hold(cause)) => {
            eprintln!("init: {}", cause.why);
            ExitCode::FAILURE
        }
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
    )
}
