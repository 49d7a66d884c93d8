//! How hard the golden node packs: as hard as it has time for.
//!
//! One thread reads and packs, another one sends. When the reading thread has to wait for
//! room it has time to spare, and packing harder gives the network less to do; when the
//! sending thread has nothing to send, packing is what it waits for.

use std::time::Duration;

use goldring_wire::dollyplus::pace::Pace;

/// Levels of zstd, and how many times longer the next one takes, about.
const LEVELS: [(i32, u32); 4] = [(-3, 2), (1, 2), (3, 3), (6, 1)];
/// The level to begin with.
const FIRST: usize = 1;
/// How long a level is tried before it is looked at (milliseconds).
const TRIAL: u32 = 1000;
/// Of the time to spare, so many percent may be used.
const USABLE: u32 = 70;
/// When there was nothing to send for more than so many percent of the time, it was too hard.
const IDLE: u32 = 5;

/// What packing has done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Packed {
    /// Each level of zstd that was used, and how many chunks were packed with it.
    pub levels: Vec<(i32, u64)>,
    /// The bytes that were packed.
    pub bytes: u64,
    /// What became of them.
    pub into: u64,
}

/// Chooses the level.
#[derive(Debug, Default)]
pub(super) struct Effort {
    /// How far it is above [`FIRST`], or below.
    step: Step,
    /// How the threads stood when this level began.
    before: Option<Pace>,
    /// For how long it has been packed since then.
    packing: Duration,
    packed: Packed,
}

/// A place in [`LEVELS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Step(usize);

impl Default for Step {
    fn default() -> Self {
        Self(FIRST)
    }
}

impl Effort {
    /// The level at the moment.
    pub(super) fn level(&self) -> i32 {
        LEVELS[self.step.0].0
    }

    /// The lowest level.
    pub(super) fn least() -> i32 {
        LEVELS[0].0
    }

    /// A chunk was tried at a level for so long. `packed`: its bytes, and what became of
    /// them, unless it did not get smaller.
    pub(super) fn tried(&mut self, level: i32, time: Duration, packed: Option<(usize, usize)>) {
        self.packing += time;
        let Some((bytes, into)) = packed else { return };
        self.packed.bytes += bytes as u64;
        self.packed.into += into as u64;
        let levels = &mut self.packed.levels;
        match levels.iter_mut().find(|(known, _)| *known == level) {
            Some((_, chunks)) => *chunks += 1,
            None => levels.push((level, 1)),
        }
    }

    /// Looks at how the threads have spent their time.
    pub(super) fn look(&mut self, now: Pace) {
        let Some(before) = self.before else {
            self.before = Some(now);
            return;
        };
        let time = now.up.saturating_sub(before.up);
        if time < TRIAL {
            return;
        }
        let spent = Spent {
            time,
            full: now.full.saturating_sub(before.full),
            idle: now.idle.saturating_sub(before.idle),
            packing: u32::try_from(self.packing.as_millis()).unwrap_or(u32::MAX),
        };
        self.step = next(self.step, spent);
        self.before = Some(now);
        self.packing = Duration::ZERO;
    }

    /// What it has done.
    pub(super) fn packed(&self) -> Packed {
        let mut packed = self.packed.clone();
        packed.levels.sort_unstable();
        packed
    }
}

/// How a trial's time was spent, in milliseconds.
#[derive(Debug, Clone, Copy)]
struct Spent {
    time: u32,
    /// The reading thread waited for room.
    full: u32,
    /// The sending thread waited for data.
    idle: u32,
    /// The reading thread packed.
    packing: u32,
}

/// The level for the next trial.
fn next(step: Step, spent: Spent) -> Step {
    let Spent {
        time,
        full,
        idle,
        packing,
    } = spent;
    if u64::from(idle) * 100 > u64::from(time) * u64::from(IDLE) {
        return Step(step.0.saturating_sub(1));
    }
    let longer = LEVELS[step.0].1 - 1;
    let more = u64::from(packing) * u64::from(longer);
    let room = u64::from(full) * u64::from(USABLE) / 100;
    // What was not packed at all says nothing.
    if packing > 0 && more <= room && step.0 + 1 < LEVELS.len() {
        return Step(step.0 + 1);
    }
    step
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_packs_as_hard_as_there_is_time() {
        // The level before; milliseconds of 1000 without room, without data, packing; the
        // level after.
        let table = [
            // All the time in the world.
            (-3, 900, 0, 50, 1),
            (1, 900, 0, 50, 3),
            (3, 900, 0, 50, 6),
            (6, 900, 0, 50, 6),
            // Twice as long would not fit in any more, or just so.
            (1, 300, 0, 400, 1),
            (1, 500, 0, 350, 3),
            (1, 500, 0, 351, 1),
            // From 3 to 6 it takes three times as long.
            (3, 500, 0, 175, 6),
            (3, 500, 0, 176, 3),
            // The network waits: less hard, whatever else there is.
            (6, 0, 100, 900, 3),
            (3, 0, 51, 900, 1),
            (1, 800, 51, 100, -3),
            (-3, 0, 900, 50, -3),
            // Not worth a change.
            (3, 0, 50, 900, 3),
            // Nothing was packed: zeros, or what cannot be packed.
            (1, 900, 0, 0, 1),
        ];
        for (level, full, idle, packing, wanted) in table {
            let at = LEVELS.iter().position(|(known, _)| *known == level);
            let spent = Spent {
                time: 1000,
                full,
                idle,
                packing,
            };
            let after = next(Step(at.unwrap()), spent);
            assert_eq!(
                LEVELS[after.0].0, wanted,
                "from {level}: {full} {idle} {packing}"
            );
        }
    }

    #[test]
    fn a_level_is_tried_for_a_second() {
        let mut effort = Effort::default();
        assert_eq!(effort.level(), 1);
        let mut pace = Pace::default();
        let mut seen = Vec::new();
        for _ in 0..50 {
            pace.up += 100;
            pace.full += 90;
            let level = effort.level();
            effort.tried(level, Duration::from_millis(5), Some((100, 40)));
            effort.look(pace);
            seen.push(level);
        }
        assert_eq!(seen.iter().filter(|level| **level == 1).count(), 11);
        assert_eq!(seen.iter().filter(|level| **level == 3).count(), 10);
        assert_eq!(effort.level(), 6);
        effort.tried(6, Duration::from_millis(5), None);
        let packed = effort.packed();
        assert_eq!(packed.levels, [(1, 11), (3, 10), (6, 29)]);
        assert_eq!((packed.bytes, packed.into), (5000, 2000));
    }
}
