//! The thread that sends on, and what it does when the next computer is gone: it looks
//! for the one behind it and goes on where that one is.

use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread;
use std::time::{Duration, Instant};

use goldring_wire::dollyplus::own;
use goldring_wire::dollyplus::packet::{self, ABSENT, Command};
use goldring_wire::dollyplus::ring::Ring;

use super::Timing;
use super::bank::{Bank, Next};
use super::chunk::{Chunk, Item, Part, Payload};
use super::link::{Link, Patience, Trouble, ask, at_most, report_back};
use super::report::Event;

/// Between a neighbour's word that it listens again and the connection to it, for old
/// ones, which do so one after the other (0.93 waits as long).
const OLD_PAUSE: Duration = Duration::from_secs(1);
/// A neighbour that takes nothing is asked how it is, after so long, if it is goldring.
const ASK_AFTER: Duration = Duration::from_secs(2);
/// An old one, which may not answer while it works, is given up after so long (0.93).
const OLD_SILENCE: Duration = Duration::from_secs(200);
/// How often a neighbour is looked at when there is nothing to send.
const IDLE_LOOK: Duration = Duration::from_secs(3);
/// So many questions in a row without an answer mean that it is not.
const MISSED: u32 = 2;
/// How often the golden node is called for the verdicts, and the pause between.
const CALLS: u32 = 10;
const CALL_PAUSE: Duration = Duration::from_millis(500);
/// How long the last one may take to close, once it has everything.
const FAREWELL: Duration = Duration::from_secs(20);

/// Whether all members are goldring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Packets of 0.93 only.
    Old,
    /// goldring's packets.
    Own,
}

/// The sending side of one computer.
#[derive(Debug)]
pub(super) struct Onward<'a> {
    pub(super) ring: Ring,
    /// The place of the next computer; 0: the server, this is the last one.
    pub(super) next: usize,
    pub(super) link: Option<Link>,
    pub(super) bank: &'a Bank,
    pub(super) mode: Mode,
    pub(super) timing: Timing,
    pub(super) events: Sender<Event>,
    /// The file whose number the next one has, in a ring with old members.
    pub(super) file: Option<u16>,
    /// Questions without an answer.
    pub(super) missed: u32,
    /// As the last one: the number of the verdicts that the golden node was given.
    pub(super) told: Option<u64>,
    /// As the last one: how often the golden node could not be called, in a row.
    pub(super) calls: u32,
}

impl Onward<'_> {
    /// Sends until the bank is closed and empty. Gives the place of the last neighbour.
    pub(super) fn run(mut self) -> usize {
        let mut looked = Instant::now();
        if self.watch_link().is_err() {
            // Sending will say so.
            self.link = None;
        }
        loop {
            if self.is_left_behind() {
                self.go_alone();
            }
            match self.bank.next_to_send() {
                Next::Items(first, items) => {
                    looked = Instant::now();
                    let (sent, ended) = self.send_all(first, &items);
                    self.bank.sent(sent);
                    match ended {
                        Ok(()) => {}
                        Err(Trouble::Stopped) => break,
                        Err(trouble @ Trouble::Reading(_)) => {
                            self.give_up(&trouble);
                            break;
                        }
                        Err(_) if self.is_left_behind() => {}
                        // Nobody is left who could hear it.
                        Err(_) if self.calls >= CALLS => self.bank.sent(1),
                        Err(trouble) => self.replace(&trouble),
                    }
                }
                Next::Nothing if looked.elapsed() >= IDLE_LOOK => {
                    looked = Instant::now();
                    if let Err(trouble) = self.look() {
                        self.replace(&trouble);
                    }
                }
                Next::Nothing => {}
                Next::Closed => break,
            }
        }
        self.farewell();
        self.next
    }

    /// Sends items, the first of which has this number; how many went.
    fn send_all(&mut self, first: u64, items: &[Arc<Item>]) -> (u64, Result<(), Trouble>) {
        for (number, item) in (first..).zip(items) {
            if let Err(trouble) = self.send(item) {
                return (number - first, Err(trouble));
            }
            if matches!(**item, Item::Verdicts(_)) {
                self.told = Some(number);
            }
        }
        (items.len() as u64, Ok(()))
    }

    fn send(&mut self, item: &Item) -> Result<(), Trouble> {
        let alone = self.ring.own() == 0;
        if self.next == 0 && (alone || !matches!(item, Item::Verdicts(_))) {
            // The golden node has the data already, knows when it is over, and says nothing
            // to itself.
            return Ok(());
        }
        let packet = match item {
            Item::Chunk(chunk) => return self.send_chunk(chunk),
            // What an old one has not heard of is not said to it.
            _ if self.mode == Mode::Old => return Ok(()),
            Item::End => own::Kind::End.packet(&[]),
            Item::Verdicts(verdicts) => own::Kind::Verdicts.packet(verdicts.encode().as_bytes()),
            Item::Bye => own::Kind::Bye.packet(&[]),
            Item::Abort(why) => own::Kind::Abort.packet(why.as_bytes()),
        };
        self.talk(|link, patience| link.send(&packet, &[], patience))
    }

    /// What is stored here cannot be read: the computer behind finds another neighbour, or
    /// hears from the golden node that this is the end.
    fn give_up(&mut self, trouble: &Trouble) {
        let why =
            format!("the next computer {trouble}; check the disk of this one, then clone again");
        if self.ring.own() == 0 && self.mode == Mode::Own {
            let packet = own::Kind::Abort.packet(own::one_line(&why).as_bytes());
            // It may be gone as well.
            let _ = self.talk(|link, patience| link.send(&packet, &[], patience));
        }
        self.bank.fail(why);
    }

    fn send_chunk(&mut self, chunk: &Chunk) -> Result<(), Trouble> {
        if let Payload::Again(range) = chunk.payload() {
            let again = chunk.again(range).map_err(Trouble::Reading)?;
            return self.send_chunk(&again);
        }
        let about = &chunk.about;
        if self.mode == Mode::Own {
            return self.write(&about.packet(), chunk);
        }
        let mut head = Vec::new();
        if self.file != Some(about.file) {
            head.extend(packet::file_number(about.file));
            self.file = Some(about.file);
        }
        let Part { last, whole, .. } = chunk.part;
        if chunk.part.at == 0 {
            head.extend(packet::chunk_head(last, whole, chunk.part.number));
        }
        self.write(&head, chunk)
    }

    /// Sends a chunk behind what belongs before it.
    fn write(&mut self, head: &[u8], chunk: &Chunk) -> Result<(), Trouble> {
        self.talk(|link, patience| match chunk.payload() {
            Payload::Stored(range) => {
                link.send_range(head, range, chunk.about.payload as usize, patience)
            }
            Payload::Memory(_) | Payload::Nothing | Payload::Again(_) => {
                link.send(head, chunk.bytes(), patience)
            }
        })
    }

    fn talk(
        &mut self,
        say: impl FnOnce(&mut Link, Patience<'_>) -> Result<(), Trouble>,
    ) -> Result<(), Trouble> {
        let host = self.ring.host(self.next).to_owned();
        let mut patience = patience(host, (self.mode, self.next != 0), self.bank);
        match &mut self.link {
            Some(link) => say(link, &mut patience),
            None => Err(Trouble::End),
        }
    }

    /// Whether the next computer is still there, while there is nothing for it.
    fn look(&mut self) -> Result<(), Trouble> {
        if self.mode == Mode::Old || self.ring.own() == 0 && self.next == 0 {
            return Ok(());
        }
        if self.next == 0 {
            return self.look_at_server();
        }
        if ask(self.ring.host(self.next), &Command::Ping).is_ok() {
            self.missed = 0;
            return Ok(());
        }
        self.missed += 1;
        match &self.link {
            Some(link) if link.is_open() && self.missed < MISSED => Ok(()),
            _ => Err(Trouble::Silent("does not answer".to_owned())),
        }
    }

    /// A connection that the golden node has closed may have swallowed the verdicts:
    /// they are told again on another one.
    fn look_at_server(&mut self) -> Result<(), Trouble> {
        if self.link.as_ref().is_some_and(Link::is_open) {
            return Ok(());
        }
        if let Some(told) = self.told.take() {
            // They are kept longer than anything else.
            let _ = self.bank.rewind(told);
        }
        Err(Trouble::End)
    }

    /// The next computer is gone: the one behind it takes its place.
    fn replace(&mut self, trouble: &Trouble) {
        if let Some(link) = self.link.take() {
            link.shut();
        }
        if self.next == 0 {
            self.call_server();
            return;
        }
        if self.mode == Mode::Own && self.ring.own() != 0 {
            // It may be this computer that was frozen for a while. A golden node that does
            // not answer does not know better.
            let _ = report_back(self.ring.server(), self.ring.name(), self.bank);
            if self.is_left_behind() {
                return;
            }
        }
        self.missed = 0;
        self.leave_out(self.next, &trouble.to_string());
        loop {
            self.next = self.ring.next(self.ring.own());
            if self.next == 0 {
                self.call_server();
                return;
            }
            match self.take_over() {
                Ok(()) => return,
                Err(trouble) => self.leave_out(self.next, &trouble.to_string()),
            }
        }
    }

    /// The others go on without this computer, and it still has a neighbour.
    fn is_left_behind(&self) -> bool {
        self.next != 0 && self.bank.is_behind()
    }

    /// Nobody is fed from here any more; only the golden node still has to hear of it.
    fn go_alone(&mut self) {
        if let Some(link) = self.link.take() {
            link.shut();
        }
        for place in self.ring.members() {
            if place != self.ring.own() {
                self.ring.mark(place, ABSENT);
            }
        }
        self.call_server();
    }

    fn leave_out(&mut self, place: usize, why: &str) {
        let (me, name) = (
            self.ring.name().to_owned(),
            self.ring.host(place).to_owned(),
        );
        self.ring.mark(place, ABSENT);
        if self.ring.own() != 0 {
            let report = Command::Report(packet::left_out(&me, &name));
            // The golden node may be gone as well; others will notice.
            let _ = ask(self.ring.server(), &report);
        }
        let (by, why) = (me, why.to_owned());
        // Nobody listens any more when the run is over.
        let _ = self.events.send(Event::Lost { name, by, why });
    }

    /// Asks the next computer where it is, rewinds to there, and connects.
    fn take_over(&mut self) -> Result<(), Trouble> {
        let host = self.ring.host(self.next).to_owned();
        let answer = ask(&host, &Command::Reconnect)?;
        let Some(Command::Wanted(wanted)) = answer else {
            return Err(Trouble::Silent("does not say what it wants".to_owned()));
        };
        let (number, file) = match self.mode {
            Mode::Own => (u64::from(wanted), None),
            Mode::Old => {
                let meant = self.bank.meant(self.file, wanted);
                meant.map_err(|why| Trouble::Silent(format!("wants chunk {wanted}, {why}")))?
            }
        };
        self.bank.rewind(number).map_err(|_| {
            Trouble::Silent(format!("wants chunk {wanted}, which is not here any more"))
        })?;
        if self.mode == Mode::Old {
            thread::sleep(OLD_PAUSE);
            // It knows in which file it is, unless that has not begun.
            self.file = file.filter(|_| wanted > 0);
        }
        self.link = Some(Link::connect(&host, self.timing.stall)?);
        self.watch_link()?;
        let _ = self.events.send(Event::Resumed(host, u64::from(wanted)));
        Ok(())
    }

    /// Nobody can ask an old one how it is while it works.
    fn watch_link(&self) -> Result<(), Trouble> {
        match &self.link {
            Some(link) if self.mode == Mode::Old => link.has_to_answer(self.timing.stall),
            _ => Ok(()),
        }
    }

    /// This computer is the last one now; the golden node wants the verdicts from it.
    fn call_server(&mut self) {
        self.next = 0;
        if self.mode == Mode::Old || self.ring.own() == 0 {
            return;
        }
        match Link::connect(self.ring.server(), self.timing.stall) {
            Ok(link) => {
                self.link = Some(link);
                self.calls = 0;
            }
            Err(_) => {
                self.calls += 1;
                thread::sleep(CALL_PAUSE);
            }
        }
    }

    /// The next computer has everything once it closes.
    fn farewell(&mut self) {
        let Some(link) = &mut self.link else { return };
        link.end();
        // The golden node has had the verdicts before its farewell came; without that, it
        // is gone.
        let is_told = self.mode == Mode::Own && self.next == 0;
        if is_told || self.bank.is_stopped() {
            return;
        }
        let mut patience = at_most(FAREWELL, "closed the connection");
        // Whatever comes, it is the end.
        let _ = link.exact(&mut [0], &mut patience);
    }
}

/// Waits for a neighbour that takes nothing (data, if this computer feeds it) as long as it says that it is alive: it
/// waits for its own disk or neighbour then.
fn patience(
    host: String,
    (mode, feeds): (Mode, bool),
    bank: &Bank,
) -> impl FnMut(Duration) -> Result<(), Trouble> {
    let mut old = at_most(OLD_SILENCE, "taken data");
    let mut asked = Duration::ZERO;
    move |silent| {
        if bank.is_stopped() {
            return Err(Trouble::Stopped);
        }
        if feeds && bank.is_behind() {
            return Err(Trouble::End);
        }
        if mode == Mode::Old {
            return old(silent);
        }
        if silent < asked {
            asked = Duration::ZERO;
        }
        if silent < asked + ASK_AFTER {
            return Ok(());
        }
        asked = silent;
        // A busy computer may miss one question.
        let answer = ask(&host, &Command::Ping).or_else(|_| ask(&host, &Command::Ping));
        answer.map(|_| ()).map_err(|_| {
            Trouble::Silent(format!(
                "has taken no data for {} s and does not answer",
                silent.as_secs()
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use goldring_wire::dollyplus::own::Verdicts;
    use goldring_wire::dollyplus::packet::{AVAILABLE, CALLED, Entry, Kind, List};
    use goldring_wire::dollyplus::window::Limits;

    use super::*;

    /// Somebody with verdicts to tell, and nobody left to tell them to.
    fn alone(ring: Ring) {
        let bank = Bank::new(Limits::OWN, false, 0);
        bank.put(Item::Verdicts(Verdicts::default()), false);
        bank.close();
        let (events, _heard) = mpsc::channel();
        let second = Duration::from_secs(1);
        let onward = Onward {
            ring,
            next: 0,
            link: None,
            bank: &bank,
            mode: Mode::Own,
            timing: Timing {
                stall: second,
                orphan: second,
                finish: second,
            },
            events,
            file: None,
            missed: 0,
            told: None,
            calls: 0,
        };
        assert_eq!(onward.run(), 0);
    }

    #[test]
    fn a_golden_node_without_clients_comes_to_its_end() {
        alone(Ring::of_server("n0", &["n1"]));
    }

    #[test]
    fn a_last_client_without_a_golden_node_comes_to_its_end() {
        let entry = |flag, name: &str| Entry {
            flag,
            name: name.to_owned(),
        };
        let list = List {
            kind: Kind::Ring,
            // An address where nobody listens, at once.
            entries: vec![entry(AVAILABLE, "127.0.0.2"), entry(CALLED, "n1")],
        };
        alone(Ring::called(list).unwrap());
    }
}
