//! The DHCP client's sockets and clock: the first lease, and its renewal in a thread.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use goldring_contract::Root;
use goldring_sys::packet::PacketSocket;
use goldring_sys::{random, udp};
use goldring_wire::dhcp::{
    CLIENT_PORT, Client, Config, Destination, Event, Lease, Loss, MAX_SIZE, SERVER_PORT, datagram,
};

use super::held::Held;
use super::link::{self, Link, mac_text};
use super::probe;
use crate::console::say;
use crate::fate::Fate;

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
    /// Sends everything, and receives while there is a lease.
    socket: UdpSocket,
    /// Receives as long as the card has no address: some servers answer by unicast to the
    /// address that they offer, whatever they were asked for, and IP drops that.
    packets: Option<PacketSocket>,
    started: Instant,
    card: Link,
}

impl Conversation {
    /// Begins one. An offer that names no boot server waits `patience` for a better one.
    ///
    /// # Errors
    /// A card that is gone.
    pub(crate) fn new(card: &Link, hostname: Option<&str>, patience: Duration) -> io::Result<Self> {
        let config = Config {
            mac: card.mac,
            hostname: hostname.map(str::to_owned),
            seed: random::number(),
            patience,
        };
        Ok(Self {
            client: Client::new(config, Duration::ZERO),
            socket: udp::on_interface(&card.name, CLIENT_PORT)?,
            packets: None,
            started: Instant::now(),
            card: card.clone(),
        })
    }

    /// Gets the first lease, of an address that nobody has.
    ///
    /// # Errors
    /// Nobody answers, or the servers refuse.
    pub(crate) fn first_lease(&mut self) -> Result<Lease, Fate> {
        let mut last = String::new();
        loop {
            let event = self
                .next(Some(TRY))
                .map_err(|error| Fate::retry(format!("DHCP on {}: {error}", self.card.name)))?;
            match event {
                Some(Event::Bound(lease)) => match self.in_use(&lease) {
                    None => return Ok(lease),
                    Some(sentence) => last = format!("; {sentence}"),
                },
                Some(Event::Refused(why)) => {
                    let why = reason(why);
                    self.say(&format!("the DHCP server refuses: {why}"));
                    last = format!("; it refused: {why}");
                }
                Some(Event::Unanswered(sent)) if sent < DISCOVERS => {
                    self.say("no DHCP answer yet, asking again");
                }
                Some(Event::Unanswered(_)) | None => {
                    let seconds = self.started.elapsed().as_secs();
                    return Err(Fate::retry(format!(
                        "no DHCP lease on {} within {seconds} s{last}; \
                         is the DHCP server in this network?",
                        self.card.name
                    )));
                }
                Some(other) => {
                    if let Event::Empty(_) | Event::Nonsense(_) = other {
                        last = format!("; {}", remark(&other).unwrap_or_default());
                    }
                    self.remark(&other);
                }
            }
        }
    }

    /// Keeps the lease for as long as the machine runs, and the card in step with it.
    pub(crate) fn keep(mut self, mut held: Held) {
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
        if let Err(error) = std::thread::Builder::new().name("dhcp".into()).spawn(work) {
            say(&format!("{name}: the lease will not be renewed: {error}"));
        }
    }

    /// What an event means for the card.
    fn follow(&mut self, held: &mut Held, event: Event) {
        match event {
            Event::Renewed(lease) => held.change(&lease),
            Event::Bound(lease) => {
                // Ours is not asked for: nobody else would answer in our place.
                if held.has(lease.address) || self.in_use(&lease).is_none() {
                    held.change(&lease);
                }
            }
            Event::Lost(Loss::Refused) => {
                self.say("the DHCP server takes the address away; asking for another one");
                held.lose();
            }
            // RFC 2131, section 4.4.5, would have us stop at once. But a clone of hours must
            // not end because a DHCP server was switched off meanwhile; who could give the
            // address away does not answer.
            Event::Lost(Loss::Expired) => self.say(
                "the DHCP lease ran out and no server answers; \
                 keeping the address and asking on",
            ),
            other => self.remark(&other),
        }
    }

    /// Declines an address that somebody else has, and says who.
    fn in_use(&mut self, lease: &Lease) -> Option<String> {
        let mac = probe::holder(&self.card, lease.address)?;
        let sentence = format!("{} is in use by {}", lease.address, mac_text(mac));
        self.say(&format!("{sentence}, declined"));
        self.client.decline(self.started.elapsed());
        Some(sentence)
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
        let mut buffer = [0; MAX_SIZE as usize];
        loop {
            let now = self.started.elapsed();
            self.listen();
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
            match self.receive(&mut buffer, wait) {
                Ok(message) => self.client.handle(self.started.elapsed(), message),
                Err(error) if is_timeout(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Opens the packet socket when there is no lease, closes it when there is one.
    fn listen(&mut self) {
        if self.client.is_bound() {
            self.packets = None;
        } else if self.packets.is_none() {
            // Without one, servers that keep the rules are heard all the same.
            self.packets = PacketSocket::udp(self.card.index, CLIENT_PORT).ok();
        }
    }

    /// The next message; empty for a packet that holds none.
    fn receive<'a>(&self, buffer: &'a mut [u8], wait: Duration) -> io::Result<&'a [u8]> {
        if let Some(packets) = &self.packets {
            let length = packets.receive(buffer, wait)?;
            return Ok(datagram::payload(&buffer[..length], CLIENT_PORT).unwrap_or_default());
        }
        self.socket.set_read_timeout(Some(wait))?;
        let (length, _) = self.socket.recv_from(buffer)?;
        Ok(&buffer[..length])
    }
}

/// What is worth a line, if anything.
fn remark(event: &Event) -> Option<String> {
    Some(match event {
        Event::Offered { address, server } => format!("{server} offers {address}"),
        Event::Refused(why) => format!("the DHCP server refuses: {}", reason(why.clone())),
        Event::Doubted(why) => format!(
            "the DHCP server refuses what it has granted ({}), asking it again",
            reason(why.clone())
        ),
        Event::Empty(Some(server)) => format!("{server} answers, but offers no address"),
        Event::Empty(None) => "a DHCP server answers, but offers no address".to_owned(),
        Event::Nonsense(error) => {
            format!("a DHCP answer makes no sense ({error}), ignored; look at the server's options")
        }
        Event::Bound(_) | Event::Renewed(_) | Event::Unanswered(_) | Event::Lost(_) => return None,
    })
}

fn reason(why: Option<String>) -> String {
    why.unwrap_or_else(|| "no reason given".to_owned())
}

/// `init --dhcp CARD`: asks once and prints the lease. With `keep` it also takes the
/// address, renews it until somebody ends the program, and writes resolv.conf below that
/// folder.
pub(crate) fn show(card: &str, keep: Option<Root>) -> ExitCode {
    let Some(card) = link::named(&Root::system(), card) else {
        eprintln!("init: there is no Ethernet card {card}");
        return ExitCode::FAILURE;
    };
    match ask(&card, keep) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Fate::Retry(cause) | Fate::Reboot(cause) | Fate::Hold(cause)) => {
            eprintln!("init: {}", cause.why);
            ExitCode::FAILURE
        }
    }
}

fn ask(card: &Link, keep: Option<Root>) -> Result<(), Fate> {
    let mut conversation = Conversation::new(card, None, Duration::ZERO)
        .map_err(|error| Fate::retry(format!("DHCP on {card}: {error}")))?;
    let lease = conversation.first_lease()?;
    println!("{lease:#?}");
    if let Some(root) = keep {
        conversation.keep(Held::take(&root, card, &lease, None)?);
        loop {
            std::thread::park();
        }
    }
    Ok(())
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
    )
}
