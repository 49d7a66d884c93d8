//! The golden node's input when it is sent as it is: parts of a file go to the children,
//! and nothing is copied or, where the file has holes, even read.

use std::fs::File;
use std::sync::Arc;
use std::thread;

use goldring_wire::dolly::BLOCK;

use super::intake::{Gate, IntakeError, PAUSE};
use crate::pump::{BUFFER, Feeder};
use crate::range::{self, Range};

/// Looks for a hole at a byte: where it ends, if there is one.
pub type HoleAt = Box<dyn FnMut(u64) -> Option<u64> + Send>;

/// A file, a partition or a disk that is sent from its beginning to its end.
pub struct Whole {
    /// Open for reading.
    pub file: File,
    /// Its size in bytes.
    pub size: u64,
    /// When nothing is stored at this byte (it reads as zero): where something is again,
    /// or the end. Must be cheap.
    pub hole_at: HoleAt,
}

impl std::fmt::Debug for Whole {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Whole({} bytes)", self.size)
    }
}

/// Feeds the pump with all of it; what is no whole block waits until the children know
/// the total ([`goldring_wire::dolly::flow`]).
pub(super) fn run(mut whole: Whole, feeder: Feeder, gate: &Gate) -> Result<u64, IntakeError> {
    let file = Arc::new(whole.file);
    let blocks = whole.size - whole.size % BLOCK;
    let mut at = 0;
    while at < whole.size {
        if at == blocks {
            wait_for_total(&feeder, gate)?;
        }
        let end = if at < blocks { blocks } else { whole.size };
        let hole = (whole.hole_at)(at).map(|hole| hole.min(end));
        let most = hole.unwrap_or(end) - at;
        let len = usize::try_from(most).map_or(BUFFER, |most| most.min(BUFFER));
        if hole.is_some() {
            feeder.feed_zeros(len)?;
        } else {
            let range = Range {
                file: Arc::clone(&file),
                offset: at,
            };
            range.announce(len);
            // So this thread waits for the disk, not a child's.
            let last = at + len as u64 - 1;
            range::read_at(&file, &mut [0], last).map_err(|error| IntakeError::Io {
                received: at,
                error,
            })?;
            feeder.feed_range(range, len)?;
        }
        at += len as u64;
        gate.receive(at);
    }
    // Without a total nobody knows that this is the end.
    wait_for_total(&feeder, gate)?;
    feeder.complete();
    Ok(at)
}

fn wait_for_total(feeder: &Feeder, gate: &Gate) -> Result<(), IntakeError> {
    while gate.total().is_none() {
        if feeder.is_stopped() {
            return Err(IntakeError::Stopped);
        }
        thread::sleep(PAUSE);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::Mutex;

    use super::*;
    use crate::pump::{Lane, LaneState, Pump, Sink};

    #[derive(Clone, Default)]
    struct Keeps(Arc<Mutex<Vec<u8>>>);

    impl Write for Keeps {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Sink for Keeps {}

    /// What two children got before the total was told, and at the end.
    fn send(bytes: &[u8], size: u64) -> (usize, Vec<Vec<u8>>, Vec<LaneState>) {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        let sinks = [Keeps::default(), Keeps::default()];
        let lane = |sink: &Keeps| Lane {
            name: "child".to_owned(),
            sink: Box::new(sink.clone()),
        };
        let (pump, feeder) = Pump::start(sinks.iter().map(lane).collect(), 4).unwrap();
        let gate = Arc::new(Gate::new());
        let shared = Arc::clone(&gate);
        let whole = Whole {
            file,
            size,
            // The second MiB is one.
            hole_at: Box::new(|at| (1 << 20..2 << 20).contains(&at).then_some(2 << 20)),
        };
        let reader = thread::spawn(move || run(whole, feeder, &shared));
        thread::sleep(std::time::Duration::from_millis(200));
        let before = sinks[0].0.lock().unwrap().len();
        gate.open(size);
        let _ = reader.join().unwrap();
        let running = |pump: &Pump| {
            let lanes = pump.status().lanes;
            lanes.iter().any(|lane| lane.state == LaneState::Running)
        };
        while running(&pump) {
            thread::sleep(PAUSE);
        }
        let states = pump.status().lanes.into_iter().map(|lane| lane.state);
        let got = sinks.iter().map(|sink| sink.0.lock().unwrap().clone());
        (before, got.collect(), states.collect())
    }

    #[test]
    fn everybody_gets_all_of_it_and_holes_are_zeros() {
        let size = (9 << 20) + 100;
        let mut bytes: Vec<u8> = (0..size).map(|i| (i % 251) as u8 | 1).collect();
        let (before, got, states) = send(&bytes, size as u64);
        assert_eq!(before, 9 << 20, "an odd end waits for the total");
        bytes[1 << 20..2 << 20].fill(0);
        assert!(got.iter().all(|got| *got == bytes));
        assert_eq!(states, [LaneState::Finished, LaneState::Finished]);
        assert_eq!(send(&[], 0).1, [vec![], vec![]]);
    }

    #[test]
    fn a_file_that_became_shorter_is_no_clone() {
        let (_, _, states) = send(&[1; 5000], 3 << 20);
        assert!(!states.contains(&LaneState::Finished), "{states:?}");
    }
}
