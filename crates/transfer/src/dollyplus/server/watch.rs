//! The golden node asks its clients now and then how far they are, and leaves behind who
//! holds all others up ([`goldring_wire::dollyplus::pace`]).

use std::io::Write;
use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use goldring_contract::limits::DOLLY_CONTROL_PORT;
use goldring_wire::dollyplus::pace::{self, Holdup, Judge, Pace, Part};
use goldring_wire::dollyplus::packet::Command;
use goldring_wire::dollyplus::status::State;
use rustix::net::sockopt;

use super::counter::Counter;
use crate::dollyplus::bank::Bank;
use crate::dollyplus::crew;
use crate::dollyplus::link::{Trouble, ask, connect, read_command};
use crate::dollyplus::ping;
use crate::dollyplus::report::{Event, Slow, SlowPart};
use crate::zeros::zeros;

/// How often the clients are asked.
const ASK: Duration = Duration::from_secs(2);
/// For how long somebody must have held all others up.
pub(super) const HOLD: Duration = Duration::from_secs(10);
/// How long it is tried how fast a computer can be reached, and with how much in between.
const PROBE: Duration = Duration::from_millis(700);
const PROBE_BUFFER: usize = 256 << 10;
/// How long the other side may take to have taken all of that.
const PROBED: Duration = Duration::from_secs(6);

/// The golden node's eye on the others.
pub(super) struct Watch<'a> {
    pub(super) server: &'a str,
    pub(super) members: &'a [String],
    pub(super) bank: &'a Bank,
    pub(super) counter: &'a Counter,
    pub(super) over: &'a AtomicBool,
    pub(super) events: Sender<Event>,
    /// How much there is to send, when that is known.
    pub(super) total: Option<u64>,
    /// What had travelled at the last look, and when that was.
    pub(super) travelled: (Instant, u64),
    /// Decides who is left behind, where that may be.
    pub(super) judge: Option<Judge>,
}

impl Watch<'_> {
    /// Looks until all is over.
    pub(super) fn run(mut self) {
        let mut next = Instant::now() + ASK;
        while !self.is_over() {
            let now = Instant::now();
            if now < next {
                // It is woken when all is over.
                crew::rest(next.duration_since(now));
                continue;
            }
            next = Instant::now() + ASK;
            let chain = self.ask();
            let traffic = self.traffic();
            if let Some((chain, reached)) = chain
                && let Some(holdup) = self.look(&chain, reached)
            {
                self.mend(&chain, &holdup, traffic);
            }
        }
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// How everybody's threads have spent their time, and how many bytes have come in
    /// everywhere; nothing when somebody of the chain does not say so.
    fn ask(&self) -> Option<(Vec<(String, Pace)>, u64)> {
        let mut chain = vec![(self.server.to_owned(), self.bank.pace())];
        let (mut complete, mut reached) = (true, u64::MAX);
        for name in self.members {
            if self.is_over() {
                return None;
            }
            let status = ping(name).ok().map(|(_, status)| status);
            if let Some(status) = status {
                let _ = self.events.send(Event::Host(name.clone(), status.state));
            }
            if self.counter.lost(name).is_some() {
                continue;
            }
            match status.and_then(|status| Some((status.pace?, status.state))) {
                Some((pace, state)) => {
                    chain.push((name.clone(), pace));
                    reached = reached.min(match state {
                        State::Waiting => 0,
                        State::Busy { received, .. } => received,
                        State::Done => u64::MAX,
                    });
                }
                None => complete = false,
            }
        }
        complete.then_some((chain, reached))
    }

    /// How many bytes in a second have gone over a link since this was last asked.
    fn traffic(&mut self) -> f64 {
        let (now, travelled) = (Instant::now(), self.bank.level().travelled);
        let (then, before) = std::mem::replace(&mut self.travelled, (now, travelled));
        let seconds = now.duration_since(then).as_secs_f64().max(0.001);
        travelled.saturating_sub(before) as f64 / seconds
    }

    /// Who has held the ring up for long enough, if anybody. What is on its way, in everybody's
    /// bank and between them, passes the slow part as well, so what counts is what has
    /// `reached` them all.
    fn look(&mut self, chain: &[(String, Pace)], reached: u64) -> Option<Holdup> {
        let level = self.bank.level();
        let judge = self.judge.as_mut()?;
        if level.unsent == 0 {
            // It is the golden node that is waited for.
            return None;
        }
        let left = self.total.map(|total| total.saturating_sub(reached));
        judge.look(Instant::now(), chain, (reached, left))
    }

    /// Takes whoever is at fault out of the chain.
    fn mend(&mut self, chain: &[(String, Pace)], holdup: &Holdup, traffic: f64) {
        let (name, part) = match &holdup.part {
            Part::Input => return,
            Part::Disk(name) => (name.as_str(), SlowPart::Disk),
            Part::Link { from, to } => match self.at_fault(chain, (from, to), traffic) {
                Ok(Some(name)) if name == to => (name, SlowPart::Receives),
                Ok(Some(name)) => (name, SlowPart::Sends),
                Ok(None) => {
                    if let Some(judge) = &mut self.judge {
                        judge.excuse();
                    }
                    let line = "this computer's own network holds the ring up; nobody is left behind for that";
                    let _ = self.events.send(Event::Note(line.to_owned()));
                    return;
                }
                // It is tried again at the next look.
                Err(_) => return,
            },
        };
        let slow = Slow {
            part,
            rate: holdup.rate as u64,
            others: holdup.others as u64,
        };
        // Before its neighbour says that it is gone.
        self.counter.leave_behind(name, &slow.to_string());
        if ask(name, &Command::StepOut).is_err() {
            // If it is dead its neighbour will find out.
            self.counter.take_back(name);
            return;
        }
        let name = name.to_owned();
        let _ = self.events.send(Event::LeftBehind { name, slow });
        if let Some(judge) = &mut self.judge {
            judge.left_behind();
        }
    }

    /// Which end of a slow link is at fault; nobody, when it is the golden node's own.
    fn at_fault<'n>(
        &self,
        chain: &[(String, Pace)],
        (from, to): (&'n str, &'n str),
        traffic: f64,
    ) -> Result<Option<&'n str>, Trouble> {
        let is_golden = from == self.server;
        let beside = if is_golden {
            let others = chain.iter().skip(1).map(|(name, _)| name);
            let other = others.into_iter().find(|name| *name != to);
            probe(other.ok_or(Trouble::End)?)?
        } else {
            probe(to)?
        };
        Ok(pace::at_fault((from, to), is_golden, (traffic, beside)))
    }
}

/// How many bytes in a second get through to a computer, beside everything else.
fn probe(host: &str) -> Result<f64, Trouble> {
    let mut stream = connect(host, DOLLY_CONTROL_PORT)?;
    // What waits in a buffer has not got through.
    let _ = sockopt::set_socket_send_buffer_size(&stream, PROBE_BUFFER);
    stream.set_write_timeout(Some(PROBED))?;
    stream.set_read_timeout(Some(PROBED))?;
    stream.write_all(&Command::Probe.encode())?;
    let (start, mut bytes) = (Instant::now(), 0);
    while start.elapsed() < PROBE {
        bytes += stream.write(zeros(PROBE_BUFFER))?;
    }
    stream.shutdown(Shutdown::Write)?;
    read_command(&mut stream)?;
    Ok(bytes as f64 / start.elapsed().as_secs_f64())
}
