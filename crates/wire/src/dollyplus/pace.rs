//! Who holds a ring up.
//!
//! In a chain everybody moves at the pace of the slowest part, so rates do not tell who
//! that is. How the threads spend their time does: the part that holds the ring up is at
//! work all the time, and all others wait for it. Each computer counts for how long its
//! threads had to wait ([`Pace`]); from that the golden node sees how much of its time
//! each part of the chain is needed ([`Judge`]):
//!
//! | part | at work while |
//! |---|---|
//! | the input | the reading thread has room for what it reads |
//! | a link | the one before it has something to send, and the one behind it room to take it |
//! | a disk | the writing thread has something to write |
//!
//! A part that is needed a tenth of its time could do ten times as much. A computer is
//! left behind when its part is needed all the time and all others could do a multiple,
//! for a while. A computer behind a slow one is starved, not slow: nothing of it is needed
//! much. When it is the input that everybody waits for, that is nobody's fault.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// For how long the threads of a computer have waited since it joined, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pace {
    /// The time since it joined.
    pub up: u32,
    /// The taking (on the golden node: reading) thread had no room for more.
    pub full: u32,
    /// The sending thread had nothing to send.
    pub idle: u32,
    /// The writing thread had nothing to write.
    pub dry: u32,
}

impl Pace {
    /// One word for a status: `t=up/full/idle/dry`.
    pub(super) fn word(self) -> String {
        let Self {
            up,
            full,
            idle,
            dry,
        } = self;
        format!("t={up}/{full}/{idle}/{dry}")
    }

    /// What stands behind `t=`.
    pub(super) fn of_word(value: &str) -> Option<Self> {
        let mut numbers = value.split('/').map(|number| number.parse().ok());
        let mut next = || numbers.next().flatten();
        Some(Self {
            up: next()?,
            full: next()?,
            idle: next()?,
            dry: next()?,
        })
    }

    /// Which shares of the time since `before` they have waited; nothing when no time has
    /// passed, or it has gone backwards: the computer has started again.
    fn since(self, before: Self) -> Option<Waits> {
        let up = self
            .up
            .checked_sub(before.up)
            .filter(|up| *up >= SHORTEST)?;
        let share = |now: u32, then: u32| {
            let waited = f64::from(now.checked_sub(then)?) / f64::from(up);
            Some(waited.min(1.0))
        };
        Some(Waits {
            full: share(self.full, before.full)?,
            idle: share(self.idle, before.idle)?,
            dry: share(self.dry, before.dry)?,
        })
    }
}

/// Two looks at a computer that are closer together say nothing (milliseconds).
const SHORTEST: u32 = 500;
/// A part that is at work for this share of the time holds the ring up.
const BUSY: f64 = 0.85;
/// What is measured of the others is not better than this.
const NOISE: f64 = 0.02;
/// A clone that ends so soon at the pace that it has needs no mending.
const SOON: Duration = Duration::from_secs(20);
/// A link is free when so many times the clone's bytes pass it beside the clone.
const FREE: f64 = 2.0;

/// Shares of the time.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Waits {
    full: f64,
    idle: f64,
    dry: f64,
}

/// A part of a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// What the golden node reads.
    Input,
    /// The way from one computer to the next.
    Link {
        /// Who sends.
        from: String,
        /// Who takes.
        to: String,
    },
    /// What a computer writes to.
    Disk(String),
}

/// The part that holds a ring up.
#[derive(Debug, Clone, PartialEq)]
pub struct Holdup {
    /// Which.
    pub part: Part,
    /// What everybody gets, in bytes in a second.
    pub rate: f64,
    /// What the others could take.
    pub others: f64,
}

/// Looks at a chain again and again.
#[derive(Debug)]
pub struct Judge {
    /// So many times more the others must be able to do.
    factor: f64,
    /// For so long it must have been the same part.
    hold: Duration,
    /// How many may still be left behind.
    allowed: usize,
    before: HashMap<String, Pace>,
    suspect: Option<Suspect>,
    /// The golden node's own link is the slow one.
    excused: bool,
}

/// A part that has held the ring up since then, when everybody had so many bytes.
#[derive(Debug)]
struct Suspect {
    part: Part,
    since: Instant,
    reached: u64,
}

impl Judge {
    /// For a ring with so many clients. At most half of them are ever left behind, so
    /// never the only one.
    pub fn new(clients: usize, factor: f64, hold: Duration) -> Self {
        Self {
            factor: factor.max(1.0),
            hold,
            allowed: clients / 2,
            before: HashMap::new(),
            suspect: None,
            excused: false,
        }
    }

    /// Looks at the chain: the golden node first, then its clients in order. All clients
    /// have `reached` so many bytes; `left` are still to come for the last of them, when that is
    /// known. Gives the part that has held the ring up for long enough to do something about it.
    pub fn look(
        &mut self,
        now: Instant,
        chain: &[(String, Pace)],
        (reached, left): (u64, Option<u64>),
    ) -> Option<Holdup> {
        let waits = self.waits(chain);
        let found = waits.and_then(|waits| self.holding(&parts(chain, &waits)));
        let Some((part, next)) = found else {
            self.suspect = None;
            return None;
        };
        let suspect = match self.suspect.take() {
            Some(known) if known.part == part => known,
            _ => Suspect {
                part,
                since: now,
                reached,
            },
        };
        let time = now.duration_since(suspect.since);
        let rate = reached.saturating_sub(suspect.reached) as f64 / time.as_secs_f64().max(0.001);
        let part = suspect.part.clone();
        self.suspect = Some(suspect);
        let soon = left.is_some_and(|left| left as f64 <= rate * SOON.as_secs_f64());
        let others = rate / next;
        (time >= self.hold && !soon).then_some(Holdup { part, rate, others })
    }

    /// A computer was left behind: everything is measured anew.
    pub fn left_behind(&mut self) {
        self.allowed = self.allowed.saturating_sub(1);
        self.before.clear();
        self.suspect = None;
    }

    /// The golden node's own link holds the ring up, and nobody is at fault for that.
    pub fn excuse(&mut self) {
        self.excused = true;
        self.suspect = None;
    }

    /// How everybody has waited since the last look; nothing when somebody is new.
    fn waits(&mut self, chain: &[(String, Pace)]) -> Option<Vec<Waits>> {
        let waits = |(name, pace): &(String, Pace)| pace.since(*self.before.get(name)?);
        let all = chain.iter().map(waits).collect();
        self.before = chain.iter().cloned().collect();
        all
    }

    /// The first part, along the chain, of those that hold it up, and how much of its time
    /// the most needed of all other parts is needed.
    fn holding(&self, parts: &[(Part, f64)]) -> Option<(Part, f64)> {
        let mut order: Vec<usize> = (0..parts.len()).collect();
        order.sort_by(|a, b| parts[*b].1.total_cmp(&parts[*a].1));
        let share = |rank: usize| order.get(rank).map_or(0.0, |at| parts[*at].1).max(NOISE);
        if share(0) < BUSY {
            return None;
        }
        let count = (1..=order.len()).find(|n| share(n - 1) >= self.factor * share(*n))?;
        let mut slow = order[..count].to_vec();
        slow.sort_unstable();
        let slow: Vec<&Part> = slow.iter().map(|at| &parts[*at].0).collect();
        let golden = |part: &&Part| match part {
            Part::Input => true,
            Part::Link { from, .. } => self.excused && is_first(parts, from),
            Part::Disk(_) => false,
        };
        if slow.iter().any(golden) || suspects(&slow) > self.allowed {
            return None;
        }
        Some(((*slow.first()?).clone(), share(count)))
    }
}

/// Whether this is the golden node.
fn is_first(parts: &[(Part, f64)], name: &str) -> bool {
    let first = parts.iter().find_map(|(part, _)| match part {
        Part::Link { from, .. } => Some(from),
        _ => None,
    });
    first.is_some_and(|first| first == name)
}

/// How many computers it takes to explain all of these parts, which are in the order of
/// the chain: a computer whose network is slow is slow both ways.
fn suspects(slow: &[&Part]) -> usize {
    let mut names: Vec<&str> = Vec::new();
    for part in slow {
        match part {
            Part::Input => {}
            Part::Link { from, to } => {
                if ![from, to].iter().any(|end| names.contains(&end.as_str())) {
                    names.push(to);
                }
            }
            Part::Disk(name) => {
                if !names.contains(&name.as_str()) {
                    names.push(name);
                }
            }
        }
    }
    names.len()
}

/// How much of its time each part was needed, in the order of the chain.
fn parts(chain: &[(String, Pace)], waits: &[Waits]) -> Vec<(Part, f64)> {
    let mut parts = Vec::new();
    let mut before: Option<(&String, &Waits)> = None;
    for ((name, _), waits) in chain.iter().zip(waits) {
        match before {
            None => parts.push((Part::Input, 1.0 - waits.full)),
            Some((from, theirs)) => {
                let (from, to) = (from.clone(), name.clone());
                let share = (1.0 - theirs.idle - waits.full).max(0.0);
                parts.push((Part::Link { from, to }, share));
                parts.push((Part::Disk(name.clone()), 1.0 - waits.dry));
            }
        }
        before = Some((name, waits));
    }
    parts
}

/// Whose fault a slow link is, once the golden node has tried how many bytes in a second
/// it gets through `beside` those of the clone: over its own link to another computer, or to
/// the computer at the end of a link between two others. `traffic` is what the clone sends
/// over a link meanwhile. `None`: it is the golden node's own.
pub fn at_fault<'a>(
    (from, to): (&'a str, &'a str),
    is_golden: bool,
    (traffic, beside): (f64, f64),
) -> Option<&'a str> {
    let free = beside >= FREE * traffic;
    match (is_golden, free) {
        // The sender can do more, so it is who takes.
        (true, true) => Some(to),
        (true, false) => None,
        // The taker can take more, so it is who sends.
        (false, true) => Some(from),
        (false, false) => Some(to),
    }
}
