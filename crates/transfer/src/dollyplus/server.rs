//! `dollyS`: finds the clients, closes the ring, sends, and knows at the end who has
//! everything.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use goldring_wire::dollyplus::own::Verdict;
use goldring_wire::dollyplus::status::{Abilities, State};

use super::chunk::Pool;
use super::desk::{Answer, Desk};
use super::effort::Packed;
use super::packing::Codec;
use super::report::{Event, Reporter};
use super::source::InFile;
use super::{PlusError, Timing, ping};
use crate::dolly::net::{self, Listeners};

mod build;
mod counter;
mod round;
mod watch;

use counter::Counter;
use round::Round;

/// Between two looks for clients that do not answer yet.
const PAUSE: Duration = Duration::from_secs(1);
/// How long those that looked at their targets may take to wait again, and how often that is
/// looked at.
const LET_GO: Duration = Duration::from_secs(5);
const GLANCE: Duration = Duration::from_millis(100);
/// How long one that was left behind may take to say that it is there.
const CATCH_UP: Duration = Duration::from_secs(30);
/// Once one that was late is back, others may be as well.
const GATHER: Duration = Duration::from_secs(5);

/// How the golden node goes about it.
#[derive(Debug, Clone)]
pub struct Options {
    /// The address to listen on.
    pub bind: Ipv4Addr,
    /// This computer, as the last client has to find it.
    pub server: String,
    /// How long things may take.
    pub timing: Timing,
    /// Packs zstd, where it is linked.
    pub codec: Option<Codec>,
    /// Packets of 0.93 only, whoever the clients are.
    pub plain: bool,
    /// How long to look for clients that do not answer; then they are left out.
    pub wait: Duration,
    /// How long to wait, at the end, for those that were left out.
    pub late: Duration,
    /// A client is left behind, and gets the rest at the end, when the others could do so
    /// many times more than it lets them; without, everybody waits.
    pub leave_behind: Option<f64>,
    /// Builds the ring, checks all targets, writes nothing.
    pub dry: bool,
}

/// What became of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It has everything, and has compared the digest.
    Verified {
        /// In a later round than the first.
        late: bool,
    },
    /// Everything was sent to it, and nobody complained: all that can be known of an
    /// old one.
    Sent,
    /// It is willing to write what is planned (a dry run).
    Willing,
    /// It has not got everything, and why.
    Failed(String),
}

impl Fate {
    /// Whether all is well with it.
    pub fn is_good(&self) -> bool {
        !matches!(self, Self::Failed(_))
    }
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Summary {
    /// Every client that was asked for, in the order of the list.
    pub fates: Vec<(String, Fate)>,
    /// The bytes of the first round.
    pub bytes: u64,
    /// From its first byte to the last verdict.
    pub elapsed: Duration,
    /// The time that reading took, and the time that the ring could not take more.
    pub reading: Duration,
    /// What packing has done in the first round.
    pub packed: Packed,
    /// Nothing was to be written.
    pub dry: bool,
}

/// Sends `files` to `clients`.
///
/// # Errors
/// Nobody is there, somebody refuses, or this computer fails. Clients that fail are
/// part of the summary.
pub fn serve(
    options: &Options,
    files: &[InFile],
    clients: &[String],
    report: &mut dyn Reporter,
) -> Result<Summary, PlusError> {
    let address = options.bind;
    let listen = |source| PlusError::Listen { address, source };
    let Listeners { data, control } = net::listeners(address).map_err(listen)?;
    let (events, heard) = mpsc::channel();
    let counter = Arc::new(Counter::new(clients, events.clone()));
    let answers: Arc<dyn Answer> = Arc::clone(&counter) as Arc<dyn Answer>;
    let _desk = Desk::open(control, answers).map_err(listen)?;
    let server = Server {
        options,
        files,
        listener: &data,
        counter: &counter,
        events,
        heard,
        pool: Arc::default(),
    };
    server.run(clients, report)
}

struct Server<'a> {
    options: &'a Options,
    files: &'a [InFile],
    listener: &'a std::net::TcpListener,
    counter: &'a Arc<Counter>,
    events: mpsc::Sender<Event>,
    heard: Receiver<Event>,
    pool: Arc<Pool>,
}

/// What is known of the clients that are there.
type Present = Vec<(String, Abilities)>;

/// How a round begins.
enum Start<'a> {
    /// With a ring of these.
    Ring(&'a [(String, Abilities)]),
    /// With one that was left out and wants the rest.
    Rest(&'a str),
}

impl Server<'_> {
    fn run(&self, clients: &[String], report: &mut dyn Reporter) -> Result<Summary, PlusError> {
        let mut present = self.gather(clients, self.options.wait, report);
        let mut old = BTreeMap::new();
        if self.options.dry {
            // It writes as soon as it has joined.
            for (name, _) in present.extract_if(.., |(_, abilities)| !abilities.own) {
                let why = "an old dolly+ cannot be asked; look at its screen".to_owned();
                old.insert(name, Fate::Failed(why));
            }
        }
        if present.is_empty() && old.is_empty() {
            let seconds = self.options.wait.as_secs();
            return Err(PlusError::Ring(format!(
                "no client has answered in {seconds} s; start goldring dollyC on them, or look at the names in the list"
            )));
        }
        let round = match present.is_empty() {
            true => Round::default(),
            false => self.round(&Start::Ring(&present), report)?,
        };
        let mut fates: BTreeMap<String, Fate> = round.fates.iter().cloned().chain(old).collect();
        if self.options.dry {
            let_go(&present);
        } else {
            self.catch_up(&round, &mut fates, report);
            self.late(&round, &mut fates, clients, report)?;
        }
        let absent = || Fate::Failed("it has not answered".to_owned());
        let fates = clients.iter().map(|name| {
            let fate = fates.remove(name).unwrap_or_else(absent);
            (name.clone(), fate)
        });
        Ok(Summary {
            fates: fates.collect(),
            bytes: round.bytes,
            elapsed: round.elapsed,
            reading: round.reading,
            packed: round.packed,
            dry: self.options.dry,
        })
    }

    /// Asks all clients at once, again and again, until all have answered or the time
    /// is over.
    fn gather(&self, clients: &[String], wait: Duration, report: &mut dyn Reporter) -> Present {
        let deadline = Instant::now() + wait;
        let mut found: BTreeMap<&String, Abilities> = BTreeMap::new();
        let mut said = Instant::now();
        loop {
            let missing: Vec<&String> = clients.iter().filter(|n| !found.contains_key(n)).collect();
            let answers = ask_all(&missing);
            for (name, (_, abilities)) in answers {
                found.insert(name, abilities);
            }
            self.heard.try_iter().for_each(|event| report.event(event));
            let missing = clients.iter().filter(|n| !found.contains_key(n));
            let missing: Vec<String> = missing.cloned().collect();
            let now = Instant::now();
            if missing.is_empty() || now >= deadline {
                break;
            }
            if now >= said {
                said = now + PAUSE * 5;
                report.event(Event::Missing(missing));
            }
            thread::sleep(PAUSE.min(deadline.saturating_duration_since(now)));
        }
        let present = clients.iter().filter_map(|name| {
            let abilities = found.get(name)?;
            Some((name.clone(), *abilities))
        });
        present.collect()
    }

    /// One ring, from its building to the last verdict.
    fn round(&self, start: &Start<'_>, report: &mut dyn Reporter) -> Result<Round, PlusError> {
        self.counter.begin();
        let closed = match start {
            Start::Ring(present) => build::ring(self, present, report)?,
            Start::Rest(name) => build::resumed(self, name, report)?,
        };
        round::run(self, closed, report)
    }

    /// Those that the others could not wait for get the rest, one after the other.
    fn catch_up(
        &self,
        first: &Round,
        fates: &mut BTreeMap<String, Fate>,
        report: &mut dyn Reporter,
    ) {
        for name in first.behind.iter().filter(|_| first.digest.is_some()) {
            let deadline = Instant::now() + CATCH_UP;
            while Instant::now() < deadline && !self.resume(name, first, fates, report) {
                thread::sleep(PAUSE);
            }
        }
    }

    /// Those that were left out come back: as if nothing had happened, because a cable
    /// was plugged in again, or from the beginning, because they were started again.
    fn late(
        &self,
        first: &Round,
        fates: &mut BTreeMap<String, Fate>,
        clients: &[String],
        report: &mut dyn Reporter,
    ) -> Result<(), PlusError> {
        let deadline = Instant::now() + self.options.late;
        let mut said = None;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let good = |name: &String| fates.get(name).is_some_and(Fate::is_good);
            let lost: Vec<String> = clients.iter().filter(|n| !good(n)).cloned().collect();
            if lost.is_empty() || left.is_zero() {
                return Ok(());
            }
            if said != Some(lost.clone()) {
                report.event(Event::Late(lost.clone(), left));
                said = Some(lost.clone());
            }
            let answers = ask_all(&lost.iter().collect::<Vec<_>>());
            let mut waiting: Vec<String> = Vec::new();
            for (name, (state, abilities)) in answers {
                match state {
                    State::Waiting => waiting.push(name.clone()),
                    _ if !abilities.own || first.digest.is_none() => {}
                    _ => {
                        self.resume(name, first, fates, report);
                    }
                }
            }
            if !waiting.is_empty() {
                thread::sleep(GATHER.min(left));
                self.again(&lost, fates, report);
                continue;
            }
            self.heard.try_iter().for_each(|event| report.event(event));
            thread::sleep(PAUSE.min(left));
        }
    }

    /// A client that still has what came, and says so: it gets the rest. Whether it does.
    fn resume(
        &self,
        name: &String,
        first: &Round,
        fates: &mut BTreeMap<String, Fate>,
        report: &mut dyn Reporter,
    ) -> bool {
        if !self.counter.is_back(name) {
            return false;
        }
        let result = self.round(&Start::Rest(name), report);
        let fate = match result {
            Ok(round) => late_fate(&round, name, first),
            Err(error) => Fate::Failed(error.to_string()),
        };
        fates.insert(name.clone(), fate);
        true
    }

    /// Clients that start from the beginning get a ring of their own.
    fn again(
        &self,
        lost: &[String],
        fates: &mut BTreeMap<String, Fate>,
        report: &mut dyn Reporter,
    ) {
        let answers = ask_all(&lost.iter().collect::<Vec<_>>());
        let waits = |(_, (state, _)): &(&String, (State, Abilities))| *state == State::Waiting;
        let present: Present = answers
            .into_iter()
            .filter(waits)
            .map(|(name, (_, abilities))| (name.clone(), abilities))
            .collect();
        if present.is_empty() {
            return;
        }
        match self.round(&Start::Ring(&present), report) {
            Ok(round) => {
                for (name, fate) in round.fates {
                    let late = match fate {
                        Fate::Verified { .. } => Fate::Verified { late: true },
                        other => other,
                    };
                    fates.insert(name, late);
                }
            }
            Err(error) => {
                for (name, _) in present {
                    fates.insert(name, Fate::Failed(error.to_string()));
                }
            }
        }
    }
}

/// What became of a client that got only the rest: its digest is over everything.
fn late_fate(round: &Round, name: &String, first: &Round) -> Fate {
    let verdict = round.verdicts.iter().find(|(own, _)| own == name);
    match verdict {
        Some((_, Verdict::Complete { digest, .. })) if Some(digest) == first.digest.as_ref() => {
            Fate::Verified { late: true }
        }
        Some((_, Verdict::Complete { .. })) => Fate::Failed(
            "what it has is not what was sent; clone it again from the beginning".to_owned(),
        ),
        Some((_, Verdict::Failed(why))) => Fate::Failed(why.clone()),
        _ => Fate::Failed("it was lost once more".to_owned()),
    }
}

/// After a dry run: until all wait for the next ring, so that it can follow at once.
fn let_go(present: &Present) {
    let deadline = Instant::now() + LET_GO;
    let names: Vec<&String> = present.iter().map(|(name, _)| name).collect();
    let waits = |(_, (state, _)): &(&String, (State, Abilities))| *state == State::Waiting;
    while ask_all(&names)
        .iter()
        .filter(|answer| waits(answer))
        .count()
        < names.len()
        && Instant::now() < deadline
    {
        thread::sleep(GLANCE);
    }
}

/// Asks many at the same time; those that answer.
fn ask_all<'a>(names: &[&'a String]) -> Vec<(&'a String, (State, Abilities))> {
    thread::scope(|scope| {
        let asked: Vec<_> = names
            .iter()
            .map(|name| (*name, scope.spawn(move || ping(name))))
            .collect();
        let answers = asked.into_iter().filter_map(|(name, thread)| {
            let (_, status) = thread.join().ok()?.ok()?;
            Some((name, (status.state, status.abilities)))
        });
        answers.collect()
    })
}
