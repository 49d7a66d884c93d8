//! How much of the arriving data may be passed on: the cure of the deadlock that
//! every old version has (protocol description, section 7.1).

use super::BLOCK;

/// Counts what comes in and says what may go out.
///
/// An old child reads whole blocks until it knows the total. A computer that passes
/// on a short block before the child can know that it is the last one makes both
/// wait for ever. So only whole blocks go out until the total is known; the driver
/// passes the total on before it tells it to this type.
///
/// With several links (`add`) an old child reads a block from each of them in one go, so
/// there it is whole rounds. Worse, an old one in the middle passes on a whole block even
/// if it got less on a further link (dolly 0.57, `transmit`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intake {
    /// What an old child reads in one go, in bytes.
    round: u64,
    received: u64,
    passed: u64,
    total: Option<u64>,
}

impl Intake {
    /// Nothing received, total unknown; so many links to each child.
    pub fn new(links: usize) -> Self {
        Self {
            round: BLOCK * links.max(1) as u64,
            received: 0,
            passed: 0,
            total: None,
        }
    }

    /// How many bytes came in so far.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// How many bytes went out so far.
    pub fn passed(&self) -> u64 {
        self.passed
    }

    /// The total, once it is known.
    pub fn total(&self) -> Option<u64> {
        self.total
    }

    /// The total is known, and has been passed on. `false` when more has come in
    /// already.
    #[must_use]
    pub fn set_total(&mut self, total: u64) -> bool {
        self.total = Some(total);
        self.received <= total
    }

    /// How many more bytes may be read from the parent.
    pub fn room(&self) -> u64 {
        self.total
            .map_or(u64::MAX, |total| total.saturating_sub(self.received))
    }

    /// `n` bytes came in.
    pub fn add(&mut self, n: u64) {
        self.received += n;
    }

    /// How many of the bytes that came in and were not passed on may go out now.
    pub fn sendable(&self) -> u64 {
        let waiting = self.received - self.passed;
        match self.total {
            Some(total) if self.received >= total => waiting,
            _ => waiting - (self.received % self.round).min(waiting),
        }
    }

    /// `n` bytes went out.
    pub fn pass(&mut self, n: u64) {
        self.passed = (self.passed + n).min(self.received);
    }

    /// Everything has come in and gone out.
    pub fn is_complete(&self) -> bool {
        self.total == Some(self.passed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_block_waits_for_the_total() {
        let mut intake = Intake::new(1);
        intake.add(5000);
        assert_eq!(intake.sendable(), 4096);
        intake.pass(4096);
        assert_eq!(intake.sendable(), 0);
        assert!(intake.set_total(5000));
        assert_eq!(intake.room(), 0);
        assert_eq!(intake.sendable(), 904);
        intake.pass(904);
        assert!(intake.is_complete());
    }

    #[test]
    fn with_several_links_a_short_round_waits_too() {
        let mut intake = Intake::new(3);
        intake.add(5 * 4096);
        assert_eq!(intake.sendable(), 3 * 4096);
        intake.pass(3 * 4096);
        intake.add(4096);
        assert_eq!(intake.sendable(), 3 * 4096);
        intake.add(1);
        assert_eq!(intake.sendable(), 3 * 4096);
        assert!(intake.set_total(6 * 4096 + 1));
        assert_eq!(intake.sendable(), 3 * 4096 + 1);
    }

    #[test]
    fn nothing_at_all_is_complete_at_once() {
        let mut intake = Intake::new(1);
        assert!(!intake.is_complete());
        assert!(intake.set_total(0));
        assert!(intake.is_complete());
        assert!(!{
            let mut intake = Intake::new(1);
            intake.add(1);
            intake.set_total(0)
        });
    }
}
