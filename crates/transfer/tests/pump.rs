//! The pump with sinks that misbehave.

use std::io::{self, ErrorKind, Write};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use goldring_transfer::pump::{BUFFER, BUFFERS_MAX, Feeder, Lane, LaneState, Pump, Sink};
use proptest::prelude::{ProptestConfig, prop, prop_assert, proptest};

/// Keeps what it gets; writes short, is interrupted, is slow, fails at a byte.
#[derive(Clone, Default)]
struct Faulty {
    got: Arc<Mutex<Vec<u8>>>,
    most: usize,
    interrupt_every: usize,
    calls: usize,
    pause: Duration,
    fails_at: Option<usize>,
    fails_to_finish: bool,
}

impl Write for Faulty {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.calls += 1;
        if self.interrupt_every > 0 && self.calls.is_multiple_of(self.interrupt_every) {
            return Err(ErrorKind::Interrupted.into());
        }
        thread::sleep(self.pause);
        let mut got = self.got.lock().unwrap();
        let most = if self.most == 0 {
            bytes.len()
        } else {
            self.most
        };
        let mut n = bytes.len().min(most);
        if let Some(at) = self.fails_at {
            if got.len() >= at {
                return Err(ErrorKind::StorageFull.into());
            }
            n = n.min(at - got.len());
        }
        got.extend(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink for Faulty {
    fn finish(&mut self) -> io::Result<()> {
        if self.fails_to_finish {
            return Err(ErrorKind::BrokenPipe.into());
        }
        Ok(())
    }
}

fn lanes(sinks: &[Faulty]) -> Vec<Lane> {
    let lane = |(i, sink): (usize, &Faulty)| Lane {
        name: format!("sink {i}"),
        sink: Box::new(sink.clone()),
    };
    sinks.iter().enumerate().map(lane).collect()
}

fn pattern(n: usize) -> Vec<u8> {
    (0..n).map(|i| (i * 31 + i / 4093) as u8).collect()
}

/// Feeds everything in pieces of a size; `false` when the pump stopped.
fn feed(feeder: &mut Feeder, data: &[u8], piece: usize) -> bool {
    for bytes in data.chunks(piece.clamp(1, BUFFER)) {
        let Ok(mut buffer) = feeder.buffer() else {
            return false;
        };
        buffer.bytes()[..bytes.len()].copy_from_slice(bytes);
        if feeder.feed(buffer, bytes.len()).is_err() {
            return false;
        }
    }
    true
}

fn wait(pump: &Pump, until: impl Fn(&[LaneState]) -> bool) -> Vec<LaneState> {
    let limit = Instant::now() + Duration::from_secs(20);
    loop {
        let lanes = pump.status().lanes.into_iter();
        let states: Vec<_> = lanes.map(|lane| lane.state).collect();
        if until(&states) || Instant::now() > limit {
            return states;
        }
        thread::sleep(Duration::from_millis(2));
    }
}

fn all_ended(states: &[LaneState]) -> bool {
    !states.contains(&LaneState::Running)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn everybody_gets_every_byte_in_order(
        size in 0_usize..3_000_000,
        piece in 1_000_usize..BUFFER + 1,
        buffers in 2_usize..8,
        sinks in prop::collection::vec((0_usize..70_000, 0_usize..5), 1..4),
    ) {
        let sinks: Vec<Faulty> = sinks
            .into_iter()
            .map(|(most, every)| Faulty {
                most: if most < 3_000 { 0 } else { most },
                interrupt_every: if every < 2 { 0 } else { every },
                ..Faulty::default()
            })
            .collect();
        let data = pattern(size);
        let (pump, mut feeder) = Pump::start(lanes(&sinks), buffers).unwrap();
        prop_assert!(feed(&mut feeder, &data, piece));
        prop_assert!(feeder.buffers_made() <= buffers);
        feeder.complete();
        let states = wait(&pump, all_ended);
        prop_assert!(states.iter().all(|s| *s == LaneState::Finished), "{states:?}");
        prop_assert!(pump.status().is_finished());
        for sink in &sinks {
            prop_assert!(*sink.got.lock().unwrap() == data);
        }
    }
}

#[test]
fn a_full_disk_stops_everything_and_names_its_lane() {
    let full = Faulty {
        fails_at: Some(1_500_000),
        ..Faulty::default()
    };
    let sinks = [Faulty::default(), full];
    let (pump, mut feeder) = Pump::start(lanes(&sinks), 4).unwrap();
    assert!(!feed(&mut feeder, &pattern(40_000_000), BUFFER));
    let states = wait(&pump, |s| s[1] != LaneState::Running);
    let full = matches!(&states[1], LaneState::Failed(ErrorKind::StorageFull, _));
    assert!(full, "{states:?}");
    assert_eq!(sinks[1].got.lock().unwrap().len(), 1_500_000);
    drop(feeder);
    assert_eq!(wait(&pump, all_ended)[0], LaneState::Stopped);
}

#[test]
fn a_sync_that_fails_is_a_failure() {
    let sinks = [Faulty {
        fails_to_finish: true,
        ..Faulty::default()
    }];
    let (pump, mut feeder) = Pump::start(lanes(&sinks), 4).unwrap();
    assert!(feed(&mut feeder, &pattern(10_000), BUFFER));
    feeder.complete();
    let states = wait(&pump, all_ended);
    let failed = matches!(&states[0], LaneState::Failed(ErrorKind::BrokenPipe, _));
    assert!(failed, "{states:?}");
}

#[test]
fn the_slowest_sets_the_pace_and_memory_stays_bounded() {
    let slow = Faulty {
        pause: Duration::from_millis(1),
        ..Faulty::default()
    };
    let sinks = [Faulty::default(), slow];
    let (pump, mut feeder) = Pump::start(lanes(&sinks), 1000).unwrap();
    let data = pattern(60 * BUFFER);
    assert!(feed(&mut feeder, &data, BUFFER));
    assert!(feeder.buffers_made() <= BUFFERS_MAX);
    let status = pump.status();
    assert!(status.fed - status.lanes[1].bytes <= (BUFFERS_MAX * BUFFER) as u64);
    feeder.complete();
    let finished = [LaneState::Finished, LaneState::Finished];
    assert_eq!(wait(&pump, all_ended), finished);
    assert!(*sinks[1].got.lock().unwrap() == data);
}

#[test]
fn nobody_finishes_when_the_reader_gives_up() {
    let sinks = [Faulty::default()];
    let (pump, mut feeder) = Pump::start(lanes(&sinks), 4).unwrap();
    assert!(feed(&mut feeder, &pattern(10_000), BUFFER));
    drop(feeder);
    assert_eq!(wait(&pump, all_ended), [LaneState::Stopped]);
    let (pump, mut feeder) = Pump::start(lanes(&sinks), 4).unwrap();
    pump.stop();
    assert!(feeder.buffer().is_err());
}
