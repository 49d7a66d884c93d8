//! The data of one ring, and what everybody says at its end.

use std::io::PipeWriter;
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use goldring_wire::dollyplus::own::{Kind, Verdict, Verdicts};
use goldring_wire::dollyplus::pace::Judge;
use goldring_wire::dollyplus::packet::Head;
use goldring_wire::dollyplus::window::Limits;

use super::build::Closed;
use super::watch::{HOLD, Watch};
use super::{Fate, Server};
use crate::dolly::net::readable;
use crate::dollyplus::admission::Admission;
use crate::dollyplus::bank::Bank;
use crate::dollyplus::chunk::Item;
use crate::dollyplus::clock::Clock;
use crate::dollyplus::crew::{self, Closing, Crew, Worker};
use crate::dollyplus::effort::Packed;
use crate::dollyplus::link::{Link, Trouble, addresses_of, at_most};
use crate::dollyplus::onward::{Mode, Onward};
use crate::dollyplus::packing::Digest;
use crate::dollyplus::report::{Event, Reporter};
use crate::dollyplus::source::{Reading, Stop};
use crate::dollyplus::{PlusError, Timing};

/// How often the main thread looks around when nobody wakes it.
const LOOK: Duration = Duration::from_millis(50);
/// How often whoever waits for connections looks around.
const GLANCE: Duration = Duration::from_secs(60);

/// How a round ended.
#[derive(Debug, Default)]
pub(super) struct Round {
    pub(super) fates: Vec<(String, Fate)>,
    pub(super) verdicts: Vec<(String, Verdict)>,
    pub(super) bytes: u64,
    pub(super) elapsed: Duration,
    pub(super) reading: Duration,
    pub(super) packed: Packed,
    /// Of everything, when it was read from its beginning among goldring.
    pub(super) digest: Option<String>,
    /// Those that the others could not wait for.
    pub(super) behind: Vec<String>,
}

/// Everything in flight.
struct Flight<'a> {
    server: &'a Server<'a>,
    bank: &'a Bank,
    mode: Mode,
    members: &'a [String],
    verdicts: Verdicts,
    returned: Receiver<Verdicts>,
    /// The threads that look around are to end.
    over: &'a AtomicBool,
    clock: Clock,
    /// It is only the rest, for one that was left out.
    rest: bool,
    /// How much had been sent when that last grew.
    moved: (u64, Instant),
}

/// Sends, and collects the verdicts.
pub(super) fn run(
    server: &Server<'_>,
    closed: Closed,
    report: &mut dyn Reporter,
) -> Result<Round, PlusError> {
    if server.options.dry {
        return Ok(dry(server, closed.down, closed.verdicts));
    }
    let (mode, rest) = (closed.mode, closed.first);
    let limits = match mode {
        Mode::Old => Limits::OLD,
        Mode::Own => Limits::OWN,
    };
    let members = closed.ring.members().into_iter();
    let members: Vec<String> = members.map(|at| closed.ring.host(at).to_owned()).collect();
    let first = rest.unwrap_or(0);
    let bank = Bank::new(limits, false, first);
    let (verdict, returned) = mpsc::channel();
    let over = AtomicBool::new(false);
    let skipped = first * goldring_wire::dollyplus::own::CHUNK as u64;
    let total = total(server).map(|total| total.saturating_sub(skipped));
    let mut flight = Flight {
        server,
        bank: &bank,
        mode,
        members: &members,
        verdicts: Verdicts::default(),
        returned,
        over: &over,
        clock: Clock::new(total, mode == Mode::Own),
        rest: rest.is_some(),
        moved: (0, Instant::now()),
    };
    let threads = threads(server, closed, (&members, &bank, &over), verdict);
    let threads = threads.map_err(|error| PlusError::Here(error.to_string()))?;
    let ended = flight.fly(threads, report);
    let (read, reading) = ended.map_err(PlusError::Here)?;
    let (digest, packed) = read.unzip();
    let round = flight.round(digest.as_ref(), (rest.is_none(), reading));
    Ok(Round {
        packed: packed.unwrap_or_default(),
        ..round
    })
}

/// All bytes of all files, when that is known.
fn total(server: &Server<'_>) -> Option<u64> {
    server.files.iter().map(|file| file.size).sum()
}

/// Everybody who works beside the main thread.
fn threads<'a>(
    server: &'a Server<'a>,
    closed: Closed,
    (members, bank, over): (&'a [String], &'a Bank, &'a AtomicBool),
    verdict: Sender<Verdicts>,
) -> std::io::Result<Threads<'a>> {
    let (mode, timing) = (closed.mode, server.options.timing);
    let watched = mode == Mode::Own;
    let (closing, open) = Closing::new()?;
    Ok(Threads {
        watch: watched.then(|| watch(server, (members, bank, over), closed.first)),
        onward: Onward {
            ring: closed.ring,
            next: closed.next,
            link: Some(closed.down),
            bank,
            mode,
            timing,
            events: server.events.clone(),
            file: None,
            missed: 0,
            told: None,
            calls: 0,
        },
        reading: Reading {
            bank,
            pool: &server.pool,
            mode,
            codec: closed.codec,
            first: closed.first.unwrap_or(0),
        },
        returns: Returns {
            listener: server.listener,
            timing,
            members,
            over,
            closing,
            crew: Crew::of_this_thread(),
        },
        open,
        back: closed.back,
        verdict,
    })
}

/// Looks at the members; whoever wants the rest only holds nobody up.
fn watch<'a>(
    server: &'a Server<'a>,
    (members, bank, over): (&'a [String], &'a Bank, &'a AtomicBool),
    rest: Option<u64>,
) -> Watch<'a> {
    let factor = server.options.leave_behind.filter(|_| rest.is_none());
    Watch {
        server: &server.options.server,
        members,
        bank,
        counter: server.counter,
        over,
        events: server.events.clone(),
        total: total(server),
        travelled: (Instant::now(), 0),
        judge: factor.map(|factor| Judge::new(members.len(), factor, HOLD)),
    }
}

/// What works beside the main thread.
struct Threads<'a> {
    onward: Onward<'a>,
    reading: Reading<'a>,
    returns: Returns<'a>,
    /// Dropped, it ends `returns`.
    open: PipeWriter,
    /// From the last client, as the ring was built.
    back: Option<Link>,
    verdict: Sender<Verdicts>,
    watch: Option<Watch<'a>>,
}

/// Nothing is written: the ring says farewell.
fn dry(server: &Server<'_>, mut down: Link, verdicts: Verdicts) -> Round {
    let mut patience = at_most(server.options.timing.finish, "taken the farewell");
    // Whoever is gone cannot be told.
    let _ = down.send(&Kind::Bye.packet(&[]), &[], &mut patience);
    down.end();
    let fates = verdicts.0.iter().map(|(name, verdict)| {
        let fate = match verdict {
            Verdict::Failed(why) => Fate::Failed(why.clone()),
            _ => Fate::Willing,
        };
        (name.clone(), fate)
    });
    Round {
        fates: fates.collect(),
        verdicts: verdicts.0.clone(),
        bytes: 0,
        elapsed: Duration::ZERO,
        ..Round::default()
    }
}

impl<'a> Flight<'a> {
    /// Sends everything and hears everybody. Gives the digest and what packing has done,
    /// unless nobody is left, and the time that reading took; the error is the golden node's own.
    fn fly(
        &mut self,
        threads: Threads<'a>,
        report: &mut dyn Reporter,
    ) -> Result<(Option<(Digest, Packed)>, Duration), String> {
        let start = Instant::now();
        self.clock.start(report);
        let Threads {
            onward,
            reading,
            returns,
            open,
            back,
            verdict,
            watch,
        } = threads;
        let (bank, over) = (self.bank, self.over);
        let crew = Crew::of_this_thread();
        let ended = thread::scope(|scope| {
            scope.spawn(move || returns.run(back, &verdict));
            let watch = watch.map(|watch| crew.spawn(scope, move || watch.run()));
            let sender = crew.spawn(scope, || onward.run());
            let files = self.server.files;
            let reader = crew.spawn(scope, move || reading.run(files));
            self.watch(&reader, report);
            let digest = match reader.join() {
                Ok(Ok(digest)) => Ok(Some(digest)),
                Ok(Err(Stop::Failed(why))) => Err(why),
                Ok(Err(Stop::Stopped)) => bank.failure().map_or(Ok(None), Err),
                Err(_) => Err("the reading thread crashed".to_owned()),
            };
            let reading = start.elapsed();
            match &digest {
                Ok(Some(_)) => self.end(report),
                Ok(None) => {}
                Err(why) if self.mode == Mode::Own => bank.put(Item::Abort(why.clone()), false),
                Err(_) => {}
            }
            bank.close();
            while !sender.is_finished() {
                self.listen(report);
                crew::rest(LOOK);
            }
            over.store(true, Ordering::Release);
            drop(open);
            if let Some(watch) = watch {
                watch.wake();
            }
            if let Some(why) = bank.failure() {
                return Err(why);
            }
            digest.map(|digest| (digest, reading))
        });
        self.listen(report);
        ended
    }

    /// Passes events on, and notes who was left out.
    fn listen(&mut self, report: &mut dyn Reporter) {
        for event in self.server.heard.try_iter() {
            if let Event::Lost { name, why, .. } = &event {
                // That it is gone is no news then.
                if self.server.counter.behind().contains(name) {
                    continue;
                }
                self.server.counter.lose(name, why);
            }
            report.event(event);
        }
        while let Ok(verdicts) = self.returned.try_recv() {
            for (name, verdict) in verdicts.0 {
                if self.members.contains(&name) && self.verdicts.of(&name).is_none() {
                    report.event(Event::Verdict(name.clone(), verdict.clone()));
                    self.clock.end();
                    self.verdicts.add(&name, verdict);
                }
            }
        }
    }

    /// Those of whom something is still to come.
    fn awaited(&self) -> usize {
        let missing = |name: &&String| {
            self.verdicts.of(name).is_none() && self.server.counter.lost(name).is_none()
        };
        self.members.iter().filter(missing).count()
    }

    /// Until everything is read, or nobody is left to send it to.
    fn watch<T>(&mut self, reader: &Worker<'_, T>, report: &mut dyn Reporter) {
        while !reader.is_finished() {
            crew::rest(LOOK);
            self.listen(report);
            self.look(report);
            if self.awaited() == 0 || self.is_stuck() {
                report.event(Event::Note("no client is left".to_owned()));
                self.bank.stop();
                return;
            }
        }
    }

    /// Whether the one that wants the rest takes nothing of it: everybody else has been
    /// served, so there is nothing to wait for.
    fn is_stuck(&mut self) -> bool {
        let sent = self.bank.level().sent;
        if sent != self.moved.0 {
            self.moved = (sent, Instant::now());
        }
        let limit = self.server.options.timing.orphan;
        let stuck = self.rest && self.moved.1.elapsed() >= limit;
        if stuck {
            let why = format!(
                "it has taken nothing for {} s; look at its disk, then clone it again",
                limit.as_secs()
            );
            for name in self.members {
                self.server.counter.lose(name, &why);
            }
        }
        stuck
    }

    fn look(&mut self, report: &mut dyn Reporter) {
        let level = self.bank.level();
        self.clock.look(level.received, level.sent, report);
    }

    /// Everything is read: until everybody has said something, or is lost.
    fn end(&mut self, report: &mut dyn Reporter) {
        if self.mode == Mode::Own {
            self.bank.put(Item::End, false);
            self.bank.put(Item::Verdicts(Verdicts::default()), false);
        } else {
            self.bank.close();
        }
        let mut deadline = None;
        loop {
            self.listen(report);
            self.look(report);
            let said = self.mode == Mode::Old && self.server.counter.is_finished();
            if said {
                self.clock.end();
            }
            if said || self.awaited() == 0 || self.bank.is_stopped() {
                break;
            }
            // The last bytes are in nobody's hands before they are sent.
            if self.bank.level().unsent == 0 {
                let finish = self.server.options.timing.finish;
                let at = *deadline.get_or_insert_with(|| Instant::now() + finish);
                if Instant::now() >= at {
                    break;
                }
            }
            crew::rest(LOOK);
        }
        if self.mode == Mode::Own {
            self.bank.put(Item::Bye, false);
        }
    }

    /// What became of everybody. `whole`: in a ring from the beginning.
    fn round(self, digest: Option<&Digest>, (whole, reading): (bool, Duration)) -> Round {
        let own = self.mode == Mode::Own;
        let digest = digest.filter(|_| own && whole).map(Digest::hex);
        let finished = self.server.counter.is_finished();
        let fates = self.members.iter().map(|name| {
            let lost = || {
                let why = self.server.counter.lost(name);
                why.unwrap_or_else(|| "it has not said that it has everything".to_owned())
            };
            let fate = match self.verdicts.of(name) {
                Some(Verdict::Complete { digest: theirs, .. }) => {
                    if digest.as_ref().is_none_or(|ours| ours == theirs) {
                        Fate::Verified { late: false }
                    } else {
                        Fate::Failed("what it has is not what was sent; clone it again".to_owned())
                    }
                }
                Some(Verdict::Failed(why)) => Fate::Failed(why.clone()),
                _ if !own && finished && self.server.counter.lost(name).is_none() => Fate::Sent,
                _ => Fate::Failed(lost()),
            };
            (name.clone(), fate)
        });
        Round {
            fates: fates.collect(),
            verdicts: self.verdicts.0.clone(),
            bytes: self.bank.level().received,
            elapsed: self.clock.elapsed(),
            reading,
            packed: Packed::default(),
            digest,
            behind: self.server.counter.behind(),
        }
    }
}

/// The connections that come from the last client, whoever that is.
struct Returns<'a> {
    listener: &'a TcpListener,
    timing: Timing,
    members: &'a [String],
    over: &'a AtomicBool,
    closing: Closing,
    /// Waits for verdicts.
    crew: Crew,
}

impl Returns<'_> {
    fn run(&self, back: Option<Link>, verdicts: &Sender<Verdicts>) {
        let (addresses, door) = (addresses_of(self.members), Admission::default());
        thread::scope(|scope| {
            if let Some(link) = back {
                scope.spawn(|| self.read(link, verdicts));
            }
            loop {
                match readable(&[self.listener.as_fd(), self.closing.as_fd()], GLANCE)[..] {
                    [_, true] => return,
                    [true, _] => {}
                    _ => continue,
                }
                let Ok((stream, from)) = self.listener.accept() else {
                    continue;
                };
                if !addresses.contains(&from.ip()) {
                    continue;
                }
                let guest = door.admit(from.ip());
                if let (Some(guest), Ok(link)) = (guest, Link::new(stream, self.timing.stall)) {
                    scope.spawn(move || {
                        self.read(link, verdicts);
                        drop(guest);
                    });
                }
            }
        });
    }

    /// Takes verdicts until the connection ends.
    fn read(&self, mut link: Link, verdicts: &Sender<Verdicts>) {
        let mut patience = |_| match self.over.load(Ordering::Acquire) {
            true => Err(Trouble::Stopped),
            false => Ok(()),
        };
        while let Ok(Head::Own { kind, bytes }) = link.head(&mut patience) {
            let Ok(body) = link.body(bytes as usize, &mut patience) else {
                return;
            };
            if Kind::of(kind) == Ok(Kind::Verdicts)
                && let Ok(said) = Verdicts::decode(&body)
            {
                let _ = verdicts.send(said);
                self.crew.wake();
            }
        }
    }
}
