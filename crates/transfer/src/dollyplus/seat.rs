//! A client's place, as its desk and its reading thread share it.

use std::net::{IpAddr, TcpListener, TcpStream};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use std::os::fd::AsFd;

use goldring_wire::dollyplus::packet::Command;
use goldring_wire::dollyplus::status::{Abilities, State as Doing, Status};

use super::bank::Bank;
use super::desk::Answer;
use super::link::{Link, Trouble};
use super::report::Event;
use crate::dolly::net::readable;

/// How long a new neighbour waits until this computer has let go of the old one.
const LET_GO: Duration = Duration::from_millis(1500);
/// How often a thread that waits looks around.
const LOOK: Duration = Duration::from_millis(200);

#[derive(Debug, Default)]
struct Inner {
    bank: Option<Arc<Bank>>,
    /// The neighbour that data comes from, to be cut off when another one calls.
    upstream: Option<TcpStream>,
    /// The reading thread waits for a neighbour.
    waits: bool,
    /// Who has announced itself as the new neighbour.
    expected: Option<IpAddr>,
    /// It has to let go of the neighbour that data comes from.
    cut: bool,
    /// Addresses of the members before it; empty while nobody may call.
    members: Vec<IpAddr>,
    /// The chunk that is wanted next, as an old neighbour counts.
    wanted: u32,
    done: bool,
}

/// The place.
#[derive(Debug)]
pub(super) struct Seat {
    abilities: Abilities,
    inner: Mutex<Inner>,
    moved: Condvar,
    events: Mutex<Sender<Event>>,
}

impl Seat {
    pub(super) fn new(abilities: Abilities, events: Sender<Event>) -> Self {
        Self {
            abilities,
            inner: Mutex::default(),
            moved: Condvar::new(),
            events: Mutex::new(events),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The client is a member now.
    pub(super) fn take(&self, bank: &Arc<Bank>) {
        self.lock().bank = Some(Arc::clone(bank));
    }

    /// These may become its neighbours.
    pub(super) fn allow(&self, members: Vec<IpAddr>) {
        self.lock().members = members;
        self.moved.notify_all();
    }

    /// Data comes from this neighbour.
    pub(super) fn fed_by(&self, link: &Link) -> Result<(), Trouble> {
        let handle = link.handle()?;
        let mut inner = self.lock();
        inner.upstream = Some(handle);
        inner.waits = false;
        Ok(())
    }

    /// Nothing more comes from it: it waits until this end of the connection is closed.
    pub(super) fn is_left(&self) {
        self.lock().upstream = None;
    }

    /// The next chunk, as an old neighbour counts.
    pub(super) fn wants(&self, chunk: u32) {
        self.lock().wanted = chunk;
    }

    /// Everything is here and written.
    pub(super) fn is_done(&self) {
        self.lock().done = true;
    }

    /// Waits a moment for a new neighbour on the ring's port; `None` when none came.
    pub(super) fn new_neighbour(&self, listener: &TcpListener) -> Option<TcpStream> {
        {
            let mut inner = self.lock();
            inner.upstream = None;
            inner.cut = false;
            inner.waits = true;
            self.moved.notify_all();
        }
        if readable(&[listener.as_fd()], LOOK) != [true] {
            return None;
        }
        let (stream, from) = listener.accept().ok()?;
        let mut inner = self.lock();
        if inner.expected == Some(from.ip()) {
            inner.expected = None;
            return Some(stream);
        }
        drop(inner);
        let why = "connected to the ring without announcing itself".to_owned();
        self.tell(Event::Dropped {
            peer: from.ip().to_string(),
            why,
        });
        None
    }

    fn tell(&self, event: Event) {
        let events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        // Nobody listens any more when the run is over.
        let _ = events.send(event);
    }

    /// Somebody wants to be the new neighbour: cut off the old one, wait until the
    /// reading thread has noticed, and say which chunk comes next.
    fn reconnect(&self, from: IpAddr) -> Option<Command> {
        let deadline = Instant::now() + LET_GO;
        let mut inner = self.lock();
        // The names of the members may still be looked up.
        while inner.bank.is_some() && inner.members.is_empty() && Instant::now() < deadline {
            let waited = self.moved.wait_timeout(inner, LOOK);
            inner = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        if inner.bank.is_none() || !inner.members.contains(&from) {
            drop(inner);
            let why = "wants to take a place in the ring, and is no member before it".to_owned();
            self.tell(Event::Dropped {
                peer: from.to_string(),
                why,
            });
            return None;
        }
        inner.expected = Some(from);
        if let Some(upstream) = inner.upstream.take() {
            // It may be gone; that is why somebody calls.
            let _ = upstream.shutdown(std::net::Shutdown::Both);
        }
        while !inner.waits {
            if Instant::now() >= deadline {
                return None;
            }
            let waited = self.moved.wait_timeout(inner, LOOK);
            inner = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        Some(Command::Wanted(inner.wanted))
    }

    /// Somebody calls, or nobody is to feed this computer for a while: the reading thread
    /// has to stop waiting for room, too.
    pub(super) fn is_called(&self) -> bool {
        let inner = self.lock();
        inner.expected.is_some() || inner.cut
    }

    /// The others cannot wait for this computer: it lets go of them.
    fn step_out(&self, from: IpAddr) -> Option<Command> {
        let mut inner = self.lock();
        let bank = inner.bank.clone().filter(|_| inner.members.contains(&from));
        let Some(bank) = bank else {
            drop(inner);
            let why = "wants this computer to leave the ring, and is no member of it".to_owned();
            self.tell(Event::Dropped {
                peer: from.to_string(),
                why,
            });
            return None;
        };
        bank.leave_behind();
        inner.cut = true;
        if let Some(upstream) = inner.upstream.take() {
            // It may be gone, which is as good.
            let _ = upstream.shutdown(std::net::Shutdown::Both);
        }
        drop(inner);
        Some(Command::Status(self.status().encode()))
    }

    fn is_member(&self, from: IpAddr) -> bool {
        self.lock().members.contains(&from)
    }

    fn status(&self) -> Status {
        let inner = self.lock();
        let state = match &inner.bank {
            None => Doing::Waiting,
            Some(_) if inner.done => Doing::Done,
            Some(bank) => {
                let level = bank.level();
                Doing::Busy {
                    received: level.received,
                    stored: level.stored,
                }
            }
        };
        let pace = match state {
            Doing::Busy { .. } => inner.bank.as_ref().map(|bank| bank.pace()),
            _ => None,
        };
        Status {
            abilities: self.abilities,
            state,
            pace,
        }
    }
}

impl Answer for Seat {
    fn answer(&self, command: Command, from: IpAddr) -> Option<Command> {
        match command {
            Command::Ping => Some(Command::Status(self.status().encode())),
            Command::Reconnect => self.reconnect(from),
            Command::StepOut => self.step_out(from),
            Command::Probe if self.is_member(from) => Some(Command::Status(self.status().encode())),
            _ => None,
        }
    }

    fn dropped(&self, from: IpAddr, why: &Trouble) {
        self.tell(Event::Dropped {
            peer: from.to_string(),
            why: why.to_string(),
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use goldring_wire::dollyplus::window::Limits;

    use super::*;

    #[test]
    fn only_a_member_can_send_a_computer_out_of_the_ring() {
        let (events, heard) = mpsc::channel();
        let seat = Seat::new(Abilities::default(), events);
        let bank = Arc::new(Bank::new(Limits::OWN, true, 0));
        let [golden, stranger] = [1, 9].map(|last| IpAddr::from([10, 0, 0, last]));
        assert!(seat.answer(Command::StepOut, golden).is_none(), "no ring");
        seat.take(&bank);
        seat.allow(vec![golden]);
        for command in [Command::StepOut, Command::Probe] {
            assert!(seat.answer(command, stranger).is_none());
        }
        assert!(!bank.is_behind() && !seat.is_called());
        let dropped = |event: &Event| matches!(event, Event::Dropped { .. });
        assert_eq!(heard.try_iter().filter(dropped).count(), 2);
        assert!(seat.answer(Command::Probe, golden).is_some());
        assert!(!bank.is_behind());
        assert!(seat.answer(Command::StepOut, golden).is_some());
        assert!(bank.is_behind() && seat.is_called());
    }
}
