//! `dollyC`: waits for a ring, becomes a member, stores what comes and sends it on.

use std::net::{Ipv4Addr, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use goldring_contract::limits::DISCOVER_PORT;
use goldring_wire::discover::Program;
use goldring_wire::dollyplus::cook::Cook;
use goldring_wire::dollyplus::own::{Kind, Plan, Verdict, Verdicts};
use goldring_wire::dollyplus::packet::{Command, Entry, last_finished};
use goldring_wire::dollyplus::ring::Ring;
use goldring_wire::dollyplus::window::Limits;

use super::bank::Bank;
use super::callers::Callers;
use super::clock::Clock;
use super::crew::{self, Crew};
use super::desk::{Answer, Desk};
use super::inward::{Inward, Presence};
use super::join::{self, Member, What};
use super::link::{Link, Trouble, addresses_of, ask, at_most};
use super::onward::{Mode, Onward};
use super::packing::Codec;
use super::report::{Event, Reporter};
use super::seat::Seat;
use super::store::{self, Outcome, Slot};
use super::{PlusError, Timing, abilities};
use crate::discover::Answerer;
use crate::dolly::client::{Size, Store};
use crate::dolly::net::{self, Listeners};

/// How often a client says that it waits.
const SAY: Duration = Duration::from_secs(15);
/// How often the main thread looks around.
const LOOK: Duration = Duration::from_millis(100);
/// How long the golden node may look at the verdicts on its plan.
const DECIDE: Duration = Duration::from_secs(120);

/// How a client takes part.
#[derive(Debug, Clone)]
pub struct Options {
    /// The address to listen on; `0.0.0.0` is all.
    pub bind: Ipv4Addr,
    /// What this node is called, when a golden node that looks for nodes shall find it.
    pub announce: Option<String>,
    /// How long to wait for a ring; for ever without.
    pub wait: Option<Duration>,
    /// Waits for another ring after one whose targets are refused here.
    pub again: bool,
    /// How long things may take.
    pub timing: Timing,
    /// Unpacks zstd, where it is linked.
    pub codec: Option<Codec>,
}

/// A target that is wanted.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Where it goes.
    pub output: &'a str,
    /// How it is unpacked.
    pub cook: Cook,
    /// Its bytes as they travel, when that is known.
    pub size: Option<u64>,
    /// Nothing will be written: only look.
    pub dry: bool,
}

/// Opens a target. The error is one line that says what to do.
pub type OpenTarget<'a> = &'a mut dyn FnMut(Wanted<'_>) -> Result<Store, String>;

/// What a finished client did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// How many bytes came.
    pub bytes: u64,
    /// From the first to the last.
    pub elapsed: Duration,
    /// They were compared with the golden node's digest on the way.
    pub checked: bool,
    /// The outputs.
    pub outputs: Vec<String>,
    /// Nothing was written.
    pub dry: bool,
}

/// A ring that has called already, while something else was waited for.
#[derive(Debug)]
pub struct Call {
    listeners: Listeners,
    stream: TcpStream,
    /// What it has said.
    said: Vec<u8>,
}

impl Call {
    pub(crate) fn new(listeners: Listeners, stream: TcpStream, said: Vec<u8>) -> Self {
        Self {
            listeners,
            stream,
            said,
        }
    }
}

/// Takes part in one ring: that of `call`, or the next one that calls.
///
/// # Errors
/// Nobody came, or the ring ended before everything was stored here.
pub fn clone(
    options: &Options,
    call: Option<Call>,
    open: OpenTarget<'_>,
    report: &mut dyn Reporter,
) -> Result<Done, PlusError> {
    let address = options.bind;
    let listen = |source| PlusError::Listen { address, source };
    let mut callers = Callers::default();
    let Listeners { data, control } = match call {
        Some(call) => {
            callers.add(call.stream, call.said);
            call.listeners
        }
        None => net::listeners(address).map_err(listen)?,
    };
    let (events, heard) = mpsc::channel();
    let seat = Arc::new(Seat::new(abilities(options.codec), events.clone()));
    let answers: Arc<dyn Answer> = Arc::clone(&seat) as Arc<dyn Answer>;
    let _desk = Desk::open(control, answers).map_err(listen)?;
    let deadline = options.wait.map(|wait| Instant::now() + wait);
    let client = Client {
        options,
        seat: &seat,
        listener: &data,
        events,
        heard,
    };
    let answerer = client.answerer(report);
    let (member, slots) = client.wait((callers, answerer), deadline, open, report)?;
    client.run(member, slots, report)
}

struct Client<'a> {
    options: &'a Options,
    seat: &'a Arc<Seat>,
    listener: &'a std::net::TcpListener,
    events: Sender<Event>,
    heard: Receiver<Event>,
}

impl Client<'_> {
    /// Answers a golden node that looks for nodes.
    fn answerer(&self, report: &mut dyn Reporter) -> Option<Answerer> {
        let name = self.options.announce.as_ref()?;
        let opened = Answerer::open(Program::DollyPlus, name, self.options.bind);
        match opened {
            Ok(answerer) => Some(answerer),
            Err(error) => {
                report.event(Event::Note(format!(
                    "a golden node with --nodes will not find this one (UDP port {DISCOVER_PORT}: {error})"
                )));
                None
            }
        }
    }

    /// Waits until it is a member of a ring whose targets are open here.
    fn wait(
        &self,
        (mut callers, mut answerer): (Callers, Option<Answerer>),
        deadline: Option<Instant>,
        open: OpenTarget<'_>,
        report: &mut dyn Reporter,
    ) -> Result<(Member, Vec<Slot>), PlusError> {
        let mut say = Instant::now();
        loop {
            let now = Instant::now();
            if now >= say {
                say = now + SAY;
                let left = deadline.map(|at| at.saturating_duration_since(now));
                report.event(Event::Waiting { left });
            }
            if deadline.is_some_and(|at| now >= at) {
                let seconds = self.options.wait.map_or(0, |wait| wait.as_secs());
                return Err(PlusError::NoServer(seconds));
            }
            self.heard.try_iter().for_each(|event| report.event(event));
            if let Some(answerer) = &mut answerer {
                answerer.look();
            }
            let called = match callers.look(self.listener, self.options.timing.stall) {
                None => continue,
                Some(Ok((up, list, from))) => Ring::called(list)
                    .map(|ring| (up, ring))
                    .map_err(|strange| (from, strange.into())),
                Some(Err(trouble)) => Err::<_, (_, Trouble)>(trouble),
            };
            let (up, ring) = match called {
                Ok(found) => found,
                Err((from, trouble)) => {
                    let (peer, why) = (from.to_string(), trouble.to_string());
                    report.event(Event::Dropped { peer, why });
                    continue;
                }
            };
            report.event(Event::Called {
                server: ring.server().to_owned(),
                name: ring.name().to_owned(),
            });
            let mut tell = |event| report.event(event);
            let joined = join::join(up, ring, self.options.timing, &mut tell);
            let ready = joined.map(|mut member| {
                let slots = prepare(&mut member, open, &mut tell);
                slots.map(|slots| (member, slots))
            });
            let why = match ready {
                Ok(Ok(found)) => return Ok(found),
                Ok(Err(Unready::Refused(why))) if !self.options.again => {
                    return Err(PlusError::Here(why));
                }
                Ok(Err(Unready::Refused(why) | Unready::Broken(why))) | Err(why) => why,
            };
            report.event(Event::Note(format!("{why}; waiting for the next ring")));
            say = Instant::now();
        }
    }

    /// The ring, from its first chunk to the farewell.
    fn run(
        &self,
        member: Member,
        slots: Vec<Slot>,
        report: &mut dyn Reporter,
    ) -> Result<Done, PlusError> {
        let Member {
            ring,
            up,
            down,
            next,
            what,
        } = member;
        let (mode, limits) = match &what {
            What::Old(_) => (Mode::Old, Limits::PARTS),
            What::Own(_) => (Mode::Own, Limits::OWN),
        };
        let (total, dry) = totals(&what);
        let outputs: Vec<String> = slots.iter().map(|slot| slot.name.clone()).collect();
        report.event(Event::Files(entries(&what)));
        let bank = Arc::new(Bank::new(limits, true, 0));
        self.sit_down(&ring, &bank, &up)?;
        let (me, server) = (ring.name().to_owned(), ring.server().to_owned());
        let outcome = Outcome::default();
        let inward = Inward {
            seat: self.seat,
            listener: self.listener,
            bank: &bank,
            outcome: &outcome,
            mode,
            timing: self.options.timing,
            me: &me,
            server: &server,
            files: outputs.len(),
            pool: Arc::default(),
            events: self.events.clone(),
            server_is: Presence::default(),
        };
        let onward = Onward {
            ring,
            next,
            link: Some(down),
            bank: &bank,
            mode,
            timing: self.options.timing,
            events: self.events.clone(),
            file: None,
            missed: 0,
            told: None,
            calls: 0,
        };
        let mut clock = Clock::new(total, mode == Mode::Own);
        let (taken, last) = self.work((inward, up, onward, slots), &mut clock, report);
        if mode == Mode::Old && last && taken.is_ok() {
            // An old golden node that has left already does not mind.
            let _ = ask(&server, &Command::Stop(last_finished(&me)));
        }
        let done = Done {
            bytes: bank.level().stored,
            elapsed: clock.elapsed(),
            checked: mode == Mode::Own,
            outputs,
            dry,
        };
        match (taken, outcome.get()) {
            (Ok(()), _) if dry => Ok(done),
            (_, Some(Verdict::Failed(why))) => Err(PlusError::Here(why)),
            (_, Some(_)) => Ok(done),
            (Err(why), None) => Err(PlusError::Ring(why)),
            (Ok(()), None) => Err(PlusError::Ring("the data ended too early".to_owned())),
        }
    }

    /// From now on the desk knows what this client is doing, and who may call it.
    fn sit_down(&self, ring: &Ring, bank: &Arc<Bank>, up: &Link) -> Result<(), PlusError> {
        self.seat.take(bank);
        // A name service that is slow must not stop the ring.
        // Only those before it have anything for it.
        let before = ring.hosts().iter().take(ring.own());
        let (seat, hosts) = (Arc::clone(self.seat), before.cloned().collect::<Vec<_>>());
        thread::spawn(move || {
            let names: Vec<String> = hosts.into_iter().map(|host| host.name).collect();
            seat.allow(addresses_of(&names));
        });
        let fed = self.seat.fed_by(up);
        fed.map_err(|trouble| PlusError::Ring(trouble.to_string()))
    }

    /// Takes, sends on and writes at the same time, until all three are through. Gives how
    /// the taking ended, and whether this client was the last one.
    fn work(
        &self,
        (inward, up, onward, slots): (Inward<'_>, Link, Onward<'_>, Vec<Slot>),
        clock: &mut Clock,
        report: &mut dyn Reporter,
    ) -> (Result<(), String>, bool) {
        let (bank, outcome) = (inward.bank, inward.outcome);
        let ended = thread::scope(|scope| {
            let (codec, events) = (self.options.codec, self.events.clone());
            let crew = Crew::of_this_thread();
            let writer = crew.spawn(scope, move || {
                store::run(bank, slots, codec, outcome, &events)
            });
            let sender = crew.spawn(scope, || onward.run());
            let reader = crew.spawn(scope, move || {
                let taken = inward.run(up);
                if taken.is_err() {
                    // What is here still goes on.
                    bank.close();
                }
                taken
            });
            while !(writer.is_finished() && sender.is_finished() && reader.is_finished()) {
                crew::rest(LOOK);
                self.heard.try_iter().for_each(|event| report.event(event));
                clock.tick(bank, report);
            }
            let last = sender.join().is_ok_and(|next| next == 0);
            let crashed = || Err("a thread crashed".to_owned());
            (reader.join().unwrap_or_else(|_| crashed()), last)
        });
        self.heard.try_iter().for_each(|event| report.event(event));
        ended
    }
}

/// Why a member cannot start.
enum Unready {
    /// This computer refuses what is planned.
    Refused(String),
    /// The ring broke.
    Broken(String),
}

/// Opens the targets; in a ring of goldring, tells everybody whether that went well and
/// waits for the golden node's decision.
fn prepare(
    member: &mut Member,
    open: OpenTarget<'_>,
    tell: &mut dyn FnMut(Event),
) -> Result<Vec<Slot>, Unready> {
    let plan = match &member.what {
        What::Old(list) => {
            return old_targets(list.entries.as_slice(), open).map_err(Unready::Refused);
        }
        What::Own(plan) => plan.clone(),
    };
    let broken = |who: &str, trouble: Trouble| {
        Unready::Broken(format!("the computer {who} this one {trouble}"))
    };
    let opened = own_targets(&plan, open);
    let mut patience = at_most(DECIDE, "said whether all are willing");
    let body = member.up.own(Kind::Verdicts, &mut patience);
    let body = body.map_err(|trouble| broken("before", trouble))?;
    let verdicts = Verdicts::decode(&body);
    let mut verdicts = verdicts.map_err(|strange| broken("before", strange.into()))?;
    verdicts.add(
        member.ring.name(),
        match &opened {
            Ok(_) => Verdict::Willing,
            Err(why) => Verdict::Failed(why.clone()),
        },
    );
    let packet = Kind::Verdicts.packet(verdicts.encode().as_bytes());
    let sent = member.down.send(&packet, &[], &mut patience);
    sent.map_err(|trouble| broken("behind", trouble))?;
    match opened {
        // It was asked, and has answered; the others still need it to say farewell.
        Err(why) if plan.dry => {
            tell(Event::Note(why));
            Ok(Vec::new())
        }
        opened => opened.map_err(Unready::Refused),
    }
}

fn own_targets(plan: &Plan, open: OpenTarget<'_>) -> Result<Vec<Slot>, String> {
    let mut slots = Vec::new();
    for file in &plan.files {
        slots.push(slot(
            Wanted {
                output: &file.output,
                cook: file.cook,
                size: file.size,
                dry: plan.dry,
            },
            open,
        )?);
    }
    Ok(slots)
}

fn old_targets(files: &[Entry], open: OpenTarget<'_>) -> Result<Vec<Slot>, String> {
    let mut slots = Vec::new();
    for file in files {
        let cook = Cook::from_flag(file.flag).ok_or_else(|| {
            format!(
                "{} is to be unpacked in a way that is unknown here",
                file.name
            )
        })?;
        let output = &file.name;
        let (size, dry) = (None, false);
        slots.push(slot(
            Wanted {
                output,
                cook,
                size,
                dry,
            },
            open,
        )?);
    }
    Ok(slots)
}

fn slot(wanted: Wanted<'_>, open: OpenTarget<'_>) -> Result<Slot, String> {
    let store = open(wanted)?;
    if let Some(size) = wanted.size.filter(|_| wanted.cook == Cook::PLAIN) {
        (store.fits)(Size::Total(size))?;
    }
    Ok(Slot {
        name: store.name,
        sink: Some(store.sink),
    })
}

fn totals(what: &What) -> (Option<u64>, bool) {
    match what {
        What::Old(_) => (None, false),
        What::Own(plan) => (plan.files.iter().map(|file| file.size).sum(), plan.dry),
    }
}

fn entries(what: &What) -> Vec<Entry> {
    match what {
        What::Old(list) => list.entries.clone(),
        What::Own(plan) => plan
            .files
            .iter()
            .map(|file| Entry {
                flag: file.cook.flag(),
                name: file.output.clone(),
            })
            .collect(),
    }
}
