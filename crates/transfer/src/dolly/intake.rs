//! The thread that reads: the input on the golden node, the parent's data connection
//! on the others.

use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use goldring_contract::limits::DISK_HELD;
use goldring_wire::dolly::flow::Intake;

use crate::pump::{BUFFER, Buffer, Feeder, Stopped};

/// A buffer with at least this much in it is handed on, so that a long chain does not
/// wait for a whole one at each of its members.
pub(super) const ENOUGH: u64 = 256 << 10;
/// A read from a socket returns after this long, to look whether the total came.
pub(super) const LOOK: Duration = Duration::from_millis(50);
/// Between two looks whether the total came.
pub(super) const PAUSE: Duration = Duration::from_millis(5);
/// So much may be handed to a disk before anybody knows whether all will fit: it is
/// held in memory, and nothing is overwritten ([`goldring_contract::limits::DISK_HELD`]).
const UNCHECKED: u64 = DISK_HELD as u64;
/// How long a node waits for the total before more than that. A server of ours sends
/// it before the first byte, but on another connection; an old one sends it last.
pub(super) const CAUTION: Duration = Duration::from_millis(500);

/// What the reading thread and the control thread tell each other.
#[derive(Debug)]
pub(super) struct Gate {
    total: AtomicU64,
    received: AtomicU64,
    ended: AtomicBool,
}

/// No total is as large.
const UNKNOWN: u64 = u64::MAX;

impl Gate {
    pub(super) fn new() -> Self {
        Self {
            total: AtomicU64::new(UNKNOWN),
            received: AtomicU64::new(0),
            ended: AtomicBool::new(false),
        }
    }

    /// The total is known, and the children have it.
    pub(super) fn open(&self, total: u64) {
        self.total.store(total, Ordering::Release);
    }

    pub(super) fn total(&self) -> Option<u64> {
        Some(self.total.load(Ordering::Acquire)).filter(|total| *total != UNKNOWN)
    }

    /// So many bytes have come in.
    pub(super) fn receive(&self, bytes: u64) {
        self.received.store(bytes, Ordering::Release);
    }

    pub(super) fn received(&self) -> u64 {
        self.received.load(Ordering::Acquire)
    }

    /// The source has ended, perhaps before the total is known.
    pub(super) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }
}

/// Why reading stopped.
#[derive(Debug, thiserror::Error)]
pub(super) enum IntakeError {
    /// The pump was stopped.
    #[error("stopped")]
    Stopped,
    /// The source ended before the total.
    #[error("ended after {received} of {total} bytes")]
    Short {
        /// What came.
        received: u64,
        /// What should have.
        total: u64,
    },
    /// More came than the total.
    #[error("brought {received} bytes where {total} were announced")]
    Long {
        /// What came.
        received: u64,
        /// What should have.
        total: u64,
    },
    /// The system said no.
    #[error("failed after {received} bytes: {error}")]
    Io {
        /// What came.
        received: u64,
        /// What the system said.
        error: io::Error,
    },
}

impl From<Stopped> for IntakeError {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

/// Reads `source` until the total and feeds the pump, which has so many links to each
/// child, with what an old child can take until the total is known. With `caution`, no more than the unchecked beginning until the total
/// is known or so much time has passed.
pub(super) fn run(
    source: &mut dyn Read,
    mut feeder: Feeder,
    gate: &Gate,
    (links, mut caution): (usize, Option<Duration>),
) -> Result<u64, IntakeError> {
    let mut until = None;
    let mut intake = Intake::new(links);
    let mut buffer = feeder.buffer()?;
    let mut filled = 0;
    loop {
        if feeder.is_stopped() {
            return Err(IntakeError::Stopped);
        }
        learn_total(&mut intake, gate)?;
        let ready = intake.sendable();
        let last = intake.room() == 0;
        if ready >= ENOUGH || (last && ready > 0) || filled == BUFFER {
            (buffer, filled) = hand_on(&mut feeder, (buffer, filled), ready)?;
            intake.pass(ready);
            continue;
        }
        if intake.is_complete() {
            feeder.complete();
            return Ok(intake.received());
        }
        let room = room(&intake, filled, caution.is_some());
        if room == 0 {
            // Everything that may come unchecked is here.
            let until = *until.get_or_insert_with(|| Instant::now() + caution.unwrap_or_default());
            if Instant::now() >= until {
                caution = None;
            } else {
                thread::sleep(PAUSE);
            }
            continue;
        }
        match source.read(&mut buffer.bytes()[filled..filled + room]) {
            Ok(0) => wait_for_total(&intake, gate, &feeder)?,
            Ok(n) => {
                filled += n;
                intake.add(n as u64);
                gate.receive(intake.received());
            }
            Err(error) => match error.kind() {
                io::ErrorKind::Interrupted => {}
                // Nothing more at the moment: what is here may as well move.
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                    let ready = intake.sendable();
                    if ready > 0 {
                        (buffer, filled) = hand_on(&mut feeder, (buffer, filled), ready)?;
                        intake.pass(ready);
                    }
                }
                _ => {
                    let received = intake.received();
                    return Err(IntakeError::Io { received, error });
                }
            },
        }
    }
}

/// How much may come in now, into a buffer with `filled` bytes.
fn room(intake: &Intake, filled: usize, cautious: bool) -> usize {
    let most = if cautious && intake.total().is_none() {
        UNCHECKED.saturating_sub(intake.received())
    } else {
        intake.room()
    };
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    most.min(BUFFER - filled)
}

fn learn_total(intake: &mut Intake, gate: &Gate) -> Result<(), IntakeError> {
    if intake.total().is_some() {
        return Ok(());
    }
    let Some(total) = gate.total() else {
        return Ok(());
    };
    if intake.set_total(total) {
        return Ok(());
    }
    let received = intake.received();
    Err(IntakeError::Long { received, total })
}

/// Feeds the first `ready` bytes; the rest begins a new buffer.
fn hand_on(
    feeder: &mut Feeder,
    (mut buffer, filled): (Buffer, usize),
    ready: u64,
) -> Result<(Buffer, usize), IntakeError> {
    let ready = usize::try_from(ready).unwrap_or(filled).min(filled);
    let mut next = feeder.buffer()?;
    let rest = filled - ready;
    next.bytes()[..rest].copy_from_slice(&buffer.bytes()[ready..filled]);
    feeder.feed(buffer, ready)?;
    Ok((next, rest))
}

/// The source has ended. With a total that is too early; without one, the control
/// thread will learn it.
fn wait_for_total(intake: &Intake, gate: &Gate, feeder: &Feeder) -> Result<(), IntakeError> {
    gate.ended.store(true, Ordering::Release);
    let received = intake.received();
    loop {
        if let Some(total) = gate.total() {
            if received < total {
                return Err(IntakeError::Short { received, total });
            }
            return Ok(());
        }
        if feeder.is_stopped() {
            return Err(IntakeError::Stopped);
        }
        thread::sleep(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::pump::{Lane, Pump, Sink};

    #[derive(Clone, Default)]
    struct Disk(Arc<Mutex<u64>>);

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            *self.0.lock().unwrap() += bytes.len() as u64;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Sink for Disk {}

    /// How much the disk got after a while without a total, and at the end.
    fn copy(caution: Option<Duration>) -> (u64, u64) {
        let size = 5 * UNCHECKED + 77;
        let disk = Disk::default();
        let name = "disk".to_owned();
        let sink = Box::new(disk.clone());
        let (pump, feeder) = Pump::start(vec![Lane { name, sink }], 24).unwrap();
        let gate = Arc::new(Gate::new());
        let shared = Arc::clone(&gate);
        let mut source = io::repeat(7).take(size);
        let reader = thread::spawn(move || run(&mut source, feeder, &shared, (1, caution)));
        thread::sleep(Duration::from_millis(300));
        let before = *disk.0.lock().unwrap();
        gate.open(size);
        assert_eq!(reader.join().unwrap().unwrap(), size);
        while !pump.status().is_finished() {
            thread::sleep(PAUSE);
        }
        let all = *disk.0.lock().unwrap();
        (before, all)
    }

    #[test]
    fn a_disk_gets_no_more_than_it_holds_back_before_the_total_is_checked() {
        let all = 5 * UNCHECKED + 77;
        let (before, after) = copy(Some(Duration::from_secs(60)));
        assert!(before <= UNCHECKED, "{before}");
        assert_eq!(after, all);
        // An old server says it at the end.
        for caution in [Some(Duration::from_millis(10)), None] {
            let (before, after) = copy(caution);
            assert!(before > UNCHECKED, "{before}");
            assert_eq!(after, all);
        }
    }
}
