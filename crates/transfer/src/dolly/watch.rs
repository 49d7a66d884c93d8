//! Who stands still: nothing breaks when a computer freezes, so somebody has to look.

use std::time::{Duration, Instant};

use crate::pump::{LaneState, Status};

/// Who is to blame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Culprit {
    /// Nothing comes in, and everything that came went out.
    Source,
    /// This lane takes nothing.
    Lane(usize),
}

/// How much longer than others this computer waits before it complains, so that the
/// neighbour of the frozen computer is the first to speak and names the right one.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Patience {
    /// When a lane stands still: whoever is further up waits longer.
    pub(super) blocked: Duration,
    /// When nothing comes in: whoever is further down waits longer.
    pub(super) starved: Duration,
}

impl Patience {
    /// Of the computer at `place` (the server is 0) among `all`.
    pub(super) fn of(place: usize, all: usize, limit: Duration) -> Self {
        let all = u32::try_from(all).unwrap_or(u32::MAX).max(1);
        let place = u32::try_from(place).unwrap_or(u32::MAX).min(all);
        let step = Duration::from_millis(200).min(limit / (4 * all));
        Self {
            blocked: step * (all - place),
            starved: step * place,
        }
    }
}

/// Remembers when something last moved.
#[derive(Debug)]
pub(super) struct Watch {
    limit: Duration,
    patience: Patience,
    seen: Vec<u64>,
    since: Instant,
}

impl Watch {
    pub(super) fn new(limit: Duration, patience: Patience, now: Instant) -> Self {
        Self {
            limit,
            patience,
            seen: Vec::new(),
            since: now,
        }
    }

    /// Looks. `received` bytes have come in; `ended`: nothing more has to.
    pub(super) fn look(
        &mut self,
        now: Instant,
        (received, ended): (u64, bool),
        status: &Status,
    ) -> Option<Culprit> {
        let mut seen = vec![received, status.fed];
        seen.extend(status.lanes.iter().map(|lane| lane.bytes));
        if seen != self.seen {
            self.seen = seen;
            self.since = now;
            return None;
        }
        let behind = status
            .lanes
            .iter()
            .enumerate()
            .filter(|(_, lane)| lane.state == LaneState::Running && lane.bytes < status.fed)
            .min_by_key(|(_, lane)| lane.bytes);
        let (culprit, extra) = match behind {
            Some((lane, _)) => (Culprit::Lane(lane), self.patience.blocked),
            None if ended => return None,
            None => (Culprit::Source, self.patience.starved),
        };
        (now.duration_since(self.since) >= self.limit + extra).then_some(culprit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pump::LaneStatus;

    fn status(fed: u64, lanes: &[u64]) -> Status {
        let lane = |bytes: &u64| LaneStatus {
            bytes: *bytes,
            state: LaneState::Running,
        };
        Status {
            fed,
            lanes: lanes.iter().map(lane).collect(),
        }
    }

    #[test]
    fn the_lane_that_is_behind_is_to_blame() {
        let start = Instant::now();
        let at = |s: u64| start + Duration::from_secs(s);
        let limit = Duration::from_secs(10);
        let mut watch = Watch::new(limit, Patience::default(), start);
        assert_eq!(watch.look(at(0), (9, false), &status(8, &[8, 8])), None);
        assert_eq!(watch.look(at(9), (9, false), &status(8, &[8, 8])), None);
        let starved = watch.look(at(10), (9, false), &status(8, &[8, 8]));
        assert_eq!(starved, Some(Culprit::Source));
        assert_eq!(watch.look(at(11), (9, false), &status(8, &[8, 4])), None);
        let blocked = watch.look(at(21), (9, false), &status(8, &[8, 4]));
        assert_eq!(blocked, Some(Culprit::Lane(1)));
        assert_eq!(watch.look(at(22), (9, true), &status(8, &[8, 8])), None);
        assert_eq!(watch.look(at(99), (9, true), &status(8, &[8, 8])), None);
    }

    #[test]
    fn the_nearest_neighbour_speaks_first() {
        let limit = Duration::from_secs(3);
        let of = |place| Patience::of(place, 5, limit);
        assert!(of(2).blocked < of(1).blocked && of(1).blocked < of(0).blocked);
        assert!(of(4).starved < of(5).starved);
        assert!(of(0).blocked <= limit / 2);
    }
}
