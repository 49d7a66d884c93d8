//! When a run began and ended, and how far it is.

use std::time::{Duration, Instant};

use super::bank::Bank;
use super::report::{Event, Reporter};

/// When it began, and what there is to tell of it.
#[derive(Debug)]
pub(super) struct Clock {
    total: Option<u64>,
    own: bool,
    started: Option<Instant>,
    ended: Option<Instant>,
    told: Option<Instant>,
}

/// How often it is told how far it is.
const TELL: Duration = Duration::from_millis(200);

impl Clock {
    pub(super) fn new(total: Option<u64>, own: bool) -> Self {
        Self {
            total,
            own,
            started: None,
            ended: None,
            told: None,
        }
    }

    /// Tells how far a client is.
    pub(super) fn tick(&mut self, bank: &Bank, report: &mut dyn Reporter) {
        let level = bank.level();
        self.look(level.received, level.stored, report);
    }

    /// It begins now, unless it has already.
    pub(super) fn start(&mut self, report: &mut dyn Reporter) {
        if self.started.is_none() {
            self.started = Some(Instant::now());
            let (total, own) = (self.total, self.own);
            report.event(Event::Started { total, own });
        }
    }

    /// `moved` bytes have come, `done` of them are where they belong.
    pub(super) fn look(&mut self, moved: u64, done: u64, report: &mut dyn Reporter) {
        if moved == 0 {
            return;
        }
        self.start(report);
        if self.total != Some(done) {
            self.ended = None;
        } else if self.ended.is_none() {
            self.ended = Some(Instant::now());
        }
        if self.told.is_none_or(|at| at.elapsed() >= TELL) {
            self.told = Some(Instant::now());
            report.event(Event::Progress(done, self.total));
        }
    }

    /// Somebody has said that it has everything: until now it has lasted.
    pub(super) fn end(&mut self) {
        self.ended = Some(Instant::now());
    }

    pub(super) fn elapsed(&self) -> Duration {
        let end = self.ended.unwrap_or_else(Instant::now);
        self.started
            .map(|at| end.duration_since(at))
            .unwrap_or_default()
    }
}
