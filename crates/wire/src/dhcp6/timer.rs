//! When a message is sent again (RFC 8415, section 15).

use std::time::Duration;

/// The messages of one exchange.
#[derive(Debug)]
pub(super) struct Timer {
    /// How many were sent.
    pub(super) sent: u32,
    /// When the next one is due.
    pub(super) next: Duration,
    pause: Duration,
}

impl Timer {
    /// Nothing was sent, and the first one is due at `next`.
    pub(super) fn new(next: Duration) -> Self {
        Self {
            sent: 0,
            next,
            pause: Duration::ZERO,
        }
    }

    /// One was sent. Each pause is about twice as long as the one before, give or take a
    /// tenth; the first one of an `unhurried` exchange is never shorter than told.
    pub(super) fn wind(
        &mut self,
        now: Duration,
        (first, most): (Duration, Duration),
        random: u32,
        unhurried: bool,
    ) {
        let random = random % 201;
        let share = if self.sent == 0 && unhurried {
            1000 + random / 2
        } else {
            900 + random
        };
        let base = match self.sent {
            0 => first,
            _ => (self.pause * 2).min(most),
        };
        self.pause = base * share / 1000;
        self.sent = self.sent.saturating_add(1);
        self.next = now + self.pause;
    }
}

/// A sequence of numbers that differs from node to node (the finalizer of MurmurHash3 over
/// a counter).
#[derive(Debug)]
pub(super) struct Random(pub(super) u32);

impl Random {
    pub(super) fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9);
        let mut n = self.0;
        for factor in [0x85eb_ca6b, 0xc2b2_ae35] {
            n = (n ^ n >> 15).wrapping_mul(factor);
        }
        n ^ n >> 16
    }
}
