//! The thread that takes what comes from the computer before this one, and finds another
//! one when that is gone.

use std::cell::Cell;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use goldring_wire::dollyplus::own::{self, CHUNK_HEAD, Encoding, Verdict, Verdicts};
use goldring_wire::dollyplus::packet::{Command, Head, Strange};

use super::Timing;
use super::bank::Bank;
use super::chunk::{Chunk, Item, Part, Pool};
use super::link::{Link, Trouble, ask, report_back};
use super::onward::Mode;
use super::report::Event;
use super::seat::Seat;
use super::store::Outcome;

/// How often a client without a neighbour asks whether the golden node is still there.
const ASK: Duration = Duration::from_secs(5);
/// So many questions in a row without an answer mean that it is gone.
const MISSED: u32 = 3;
/// How long a client without a neighbour waits once it has everything.
const LINGER: Duration = Duration::from_secs(15);
/// How the reason begins when a client says it in the place of the golden node.
const GONE: &str = "the golden node, ";
/// How often a client that waits for its disk looks whether it should stop.
const LOOK: Duration = Duration::from_millis(200);

/// The receiving side of a client.
#[derive(Debug)]
pub(super) struct Inward<'a> {
    pub(super) seat: &'a Seat,
    pub(super) listener: &'a TcpListener,
    pub(super) bank: &'a Bank,
    pub(super) outcome: &'a Outcome,
    pub(super) mode: Mode,
    pub(super) timing: Timing,
    pub(super) me: &'a str,
    pub(super) server: &'a str,
    /// How many files come.
    pub(super) files: usize,
    pub(super) pool: Arc<Pool>,
    pub(super) events: Sender<Event>,
    pub(super) server_is: Presence,
}

/// Whether the golden node answers, as far as it was asked.
#[derive(Debug, Default)]
pub(super) struct Presence {
    asked: Cell<Option<Instant>>,
    missed: Cell<u32>,
}

/// Where a file is, as an old neighbour counts.
#[derive(Debug, Default)]
struct Place {
    file: u16,
    /// The chunk that comes, or has come in part.
    chunk: u32,
    /// Where in the file it begins.
    offset: u64,
    /// What is here of it, when the neighbour that sent it is gone.
    begun: Option<Begun>,
}

/// The beginning of a chunk of old programs.
#[derive(Debug, Clone, Copy)]
struct Begun {
    /// So many bytes are in the bank.
    here: u32,
    /// What its head says.
    head: (bool, u32),
}

impl Inward<'_> {
    /// Takes everything; the bank is closed at the end. The error says why it could not.
    pub(super) fn run(&self, link: Link) -> Result<(), String> {
        let mut link = Some(link);
        let mut place = Place::default();
        loop {
            let trouble = match &mut link {
                Some(current) => match self.take(current, &mut place) {
                    Ok(true) => {
                        self.seat.is_left();
                        return Ok(());
                    }
                    Ok(false) => continue,
                    Err(End::Trouble(trouble)) => trouble,
                    Err(End::Over(why)) => return Err(why),
                },
                None => Trouble::End,
            };
            if let Some(old) = link.take() {
                old.shut();
            }
            if self.bank.is_stopped() {
                return Err(self.stopped());
            }
            let Some(new) = self.wait_for_neighbour(&trouble)? else {
                return Ok(());
            };
            link = Some(new);
        }
    }

    /// Why everything here ends.
    fn stopped(&self) -> String {
        let failure = self.bank.failure();
        failure.unwrap_or_else(|| "stopped".to_owned())
    }

    /// Asked while nothing comes. The neighbour may wait for others, but not without an
    /// end: a golden node that hangs does not answer, and an old one is not asked.
    fn wait(&self, silent: Duration) -> Result<(), Trouble> {
        if self.bank.is_stopped() {
            return Err(Trouble::Stopped);
        }
        self.bank.pause();
        let limit = match self.mode {
            Mode::Own => self.timing.stall,
            Mode::Old => self.timing.orphan,
        };
        if silent < limit {
            // What was missed while nothing came is of the past.
            self.server_is.missed.set(0);
            return Ok(());
        }
        let alive = || ask(self.server, &Command::Ping).is_ok();
        if self.mode == Mode::Own && !self.is_server_gone(alive) {
            return Ok(());
        }
        let seconds = silent.as_secs();
        Err(Trouble::Silent(format!("has sent nothing for {seconds} s")))
    }

    /// Waits for room for what comes next.
    fn make_room(&self, link: &mut Link) -> Result<(), End> {
        while !self.bank.has_room() {
            if self.bank.is_stopped() || self.seat.is_called() {
                return Err(End::Trouble(Trouble::End));
            }
        }
        if !link.hears_more()? {
            self.bank.pause();
        }
        Ok(())
    }

    /// Takes one packet; whether it was the last one.
    fn take(&self, link: &mut Link, place: &mut Place) -> Result<bool, End> {
        self.make_room(link)?;
        let mut patience = |silent| self.wait(silent);
        let head = link.head(&mut patience)?;
        match (self.mode, head) {
            (Mode::Own, Head::Own { kind, bytes }) => {
                let kind = own::Kind::of(kind).map_err(Trouble::from)?;
                let body = link.body(bytes as usize, &mut patience)?;
                self.own(link, kind, &body)
            }
            (Mode::Old, Head::File(number)) => {
                if usize::from(number) >= self.files {
                    let why = "names a file that was not announced";
                    return Err(Trouble::from(Strange::List(why)).into());
                }
                // A new neighbour says it again when the first chunk has come in part.
                if place.begun.is_none() || (place.file, place.chunk) != (number, 0) {
                    *place = Place {
                        file: number,
                        ..Place::default()
                    };
                }
                self.seat.wants(0);
                Ok(false)
            }
            (Mode::Old, Head::Chunk { last, length }) => self.old(link, place, (last, length)),
            (_, other) => {
                let wanted = "data";
                let got = other.name();
                Err(Trouble::from(Strange::Order { got, wanted }).into())
            }
        }
    }

    /// A chunk of old programs goes into the bank, and on from there, part by part.
    fn old(&self, link: &mut Link, place: &mut Place, head: (bool, u32)) -> Result<bool, End> {
        let (last, length) = head;
        let mut number = [0; 4];
        link.exact(&mut number, &mut |silent| self.wait(silent))?;
        let got = u32::from_be_bytes(number);
        if got != place.chunk {
            let (got, wanted) = (u64::from(got), u64::from(place.chunk));
            return Err(Trouble::from(Strange::Gap { got, wanted }).into());
        }
        let mut here = match place.begun {
            Some(begun) if begun.head != head => {
                let why = "says another length of a chunk that has come in part";
                return Err(Trouble::from(Strange::List(why)).into());
            }
            Some(begun) => begun.here,
            None => 0,
        };
        self.pass_over(link, here)?;
        loop {
            here += self.part(link, place, (here, head))?;
            if here == length {
                break;
            }
            place.begun = Some(Begun { here, head });
            self.make_room(link)?;
        }
        *place = Place {
            file: place.file,
            chunk: place.chunk + 1,
            offset: place.offset + u64::from(length),
            begun: None,
        };
        let over = last && usize::from(place.file) + 1 == self.files;
        if over {
            self.bank.close();
        }
        self.seat.wants(place.chunk);
        Ok(over)
    }

    /// Takes what is here already: a new neighbour begins with the whole chunk.
    fn pass_over(&self, link: &mut Link, bytes: u32) -> Result<(), Trouble> {
        let mut left = bytes as usize;
        let mut known = self.pool.take(left.min(own::CHUNK));
        while left > 0 {
            let some = left.min(own::CHUNK);
            link.exact(known.as_mut(some), &mut |silent| self.wait(silent))?;
            left -= some;
        }
        Ok(())
    }

    /// Takes the part of a chunk that begins `at` a byte of it; its length.
    fn part(
        &self,
        link: &mut Link,
        place: &Place,
        (at, (last, whole)): (u32, (bool, u32)),
    ) -> Result<u32, Trouble> {
        let length = (whole - at).min(own::CHUNK as u32);
        let mut bytes = self.pool.take(length as usize);
        let patience = &mut |silent| self.wait(silent);
        link.exact(bytes.as_mut(length as usize), patience)?;
        let about = own::Chunk {
            sequence: 0,
            file: place.file,
            last: last && at + length == whole,
            encoding: Encoding::Raw,
            offset: place.offset + u64::from(at),
            length,
            payload: length,
            checksum: 0,
        };
        let part = Part {
            number: place.chunk,
            at,
            whole,
            last,
        };
        let chunk = Chunk::part_of(part, about, Some(bytes));
        self.bank.put(Item::Chunk(chunk), true);
        Ok(length)
    }

    fn own(&self, link: &mut Link, kind: own::Kind, body: &[u8]) -> Result<bool, End> {
        match kind {
            own::Kind::Chunk => self.own_chunk(link, body)?,
            own::Kind::End => self.bank.put(Item::End, false),
            own::Kind::Verdicts => {
                let mut verdicts = Verdicts::decode(body).map_err(Trouble::from)?;
                verdicts.add(self.me, self.verdict()?);
                self.bank.put(Item::Verdicts(verdicts), false);
            }
            own::Kind::Bye => {
                self.bank.put(Item::Bye, false);
                self.bank.close();
                return Ok(true);
            }
            own::Kind::Abort => {
                let why = own::one_line(&String::from_utf8_lossy(body));
                self.bank.put(Item::Abort(why.clone()), false);
                self.bank.close();
                return Err(End::Over(match why.starts_with(GONE) {
                    true => format!("{why}; start the ring again"),
                    false => format!("{} gave up: {why}", self.server),
                }));
            }
            own::Kind::Plan => {
                let (got, wanted) = ("a second plan", "data");
                return Err(Trouble::from(Strange::Order { got, wanted }).into());
            }
        }
        let wanted = self.bank.wanted();
        self.seat.wants(u32::try_from(wanted).unwrap_or(u32::MAX));
        Ok(false)
    }

    fn own_chunk(&self, link: &mut Link, body: &[u8]) -> Result<(), End> {
        let Some(head) = body.first_chunk::<CHUNK_HEAD>() else {
            let why = "has a chunk without its description";
            return Err(Trouble::from(Strange::List(why)).into());
        };
        let about = own::Chunk::decode(head).map_err(Trouble::from)?;
        let (got, wanted) = (u64::from(about.sequence), self.bank.wanted());
        if got != wanted {
            return Err(Trouble::from(Strange::Gap { got, wanted }).into());
        }
        let mut patience = |silent| self.wait(silent);
        let length = about.payload as usize;
        let bytes = if length == 0 {
            None
        } else {
            let mut bytes = self.pool.take(length);
            link.exact(bytes.as_mut(length), &mut patience)?;
            Some(bytes)
        };
        let chunk = Chunk::new(about, bytes);
        if !chunk.is_intact() {
            return Err(Trouble::from(Strange::Damaged(got)).into());
        }
        self.bank.put(Item::Chunk(chunk), true);
        Ok(())
    }

    /// What this computer has to say, once everything is written and synced.
    fn verdict(&self) -> Result<Verdict, End> {
        let start = Instant::now();
        loop {
            if let Some(verdict) = self.outcome.wait(LOOK) {
                if matches!(verdict, Verdict::Complete { .. }) {
                    self.seat.is_done();
                    let _ = self.events.send(Event::Stored);
                }
                return Ok(verdict);
            }
            if self.bank.is_stopped() {
                return Err(End::Trouble(Trouble::Stopped));
            }
            if start.elapsed() >= self.timing.finish {
                let seconds = self.timing.finish.as_secs();
                return Ok(Verdict::Failed(format!(
                    "its disk has not taken the last bytes in {seconds} s"
                )));
            }
        }
    }

    /// The computer before this one is gone: somebody will call, or nobody is left.
    /// `None`: nothing is missing here any more.
    fn wait_for_neighbour(&self, trouble: &Trouble) -> Result<Option<Link>, String> {
        let lost = format!("the computer before this one {trouble}");
        let _ = self.events.send(match self.bank.is_behind() {
            true => Event::SteppedOut,
            false => Event::Orphaned(lost.clone()),
        });
        let start = Instant::now();
        loop {
            if let Some(stream) = self.seat.new_neighbour(self.listener) {
                let link = Link::new(stream, self.timing.stall);
                let fed = link.and_then(|link| self.seat.fed_by(&link).map(|()| link));
                match fed {
                    Ok(link) => return Ok(Some(link)),
                    Err(_) => continue,
                }
            }
            if self.bank.is_stopped() {
                return Err(self.stopped());
            }
            let complete = matches!(self.outcome.get(), Some(Verdict::Complete { .. }));
            if complete && start.elapsed() >= LINGER {
                self.bank.close();
                return Ok(None);
            }
            // It is told that this computer is here and what it wants.
            let gone = self.mode == Mode::Own
                && self.is_server_gone(|| report_back(self.server, self.me, self.bank).is_ok());
            // Whoever is left behind is called when the others are through.
            let forgotten = !self.bank.is_behind() && start.elapsed() >= self.timing.orphan;
            if (gone || forgotten) && !complete {
                let why = if gone {
                    let why = format!("{GONE}{}, answers no more", self.server);
                    // The others need not find out one after the other.
                    self.bank.put(Item::Abort(why.clone()), false);
                    format!("and {why}")
                } else {
                    let seconds = self.timing.orphan.as_secs();
                    format!("and nobody took its place in {seconds} s")
                };
                return Err(format!("{lost}, {why}; start the ring again"));
            }
        }
    }

    /// Asks the golden node now and then; whether it has not answered for a while.
    fn is_server_gone(&self, ask: impl FnOnce() -> bool) -> bool {
        let Presence { asked, missed } = &self.server_is;
        if asked.get().is_none_or(|at| at.elapsed() >= ASK) {
            asked.set(Some(Instant::now()));
            let answered = ask();
            missed.set(if answered { 0 } else { missed.get() + 1 });
        }
        missed.get() >= MISSED
    }
}

/// Why taking ended.
enum End {
    /// The neighbour is of no use any more.
    Trouble(Trouble),
    /// The run is over.
    Over(String),
}

impl From<Trouble> for End {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}

#[cfg(test)]
mod tests;
