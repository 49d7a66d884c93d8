//! How much is moved at once: more on a quick link, where every call and every thread
//! that wakes up costs, less on a slow one, where progress must be seen and a long chain
//! must not wait.

use std::time::Duration;

/// So much is moved at once as takes so long.
const AT_ONCE: f64 = 0.012;
/// How much of what was seen before counts when something new is seen: one pause must
/// not make a link slow.
const MEMORY: f64 = 0.9;

/// How much to move next, in bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    least: usize,
    most: usize,
    /// What was moved, and in how many seconds; what is long ago counts less.
    bytes: f64,
    seconds: f64,
}

impl Pace {
    /// Begins with the least.
    pub(crate) fn new(least: usize, most: usize) -> Self {
        Self {
            least,
            most,
            bytes: 0.0,
            seconds: 0.0,
        }
    }

    /// So much, or what there is.
    pub(crate) fn bytes(&self) -> usize {
        if self.seconds <= 0.0 {
            return self.least;
        }
        // A float becomes the nearest number there is.
        ((self.bytes / self.seconds * AT_ONCE) as usize).clamp(self.least, self.most)
    }

    /// So many bytes took so long.
    pub(crate) fn took(&mut self, bytes: usize, time: Duration) {
        self.bytes = self.bytes * MEMORY + bytes as f64;
        self.seconds = self.seconds * MEMORY + time.as_secs_f64();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_follows_the_rate_and_one_pause_changes_little() {
        let ms = Duration::from_millis;
        let mut pace = Pace::new(100_000, 1_000_000);
        assert_eq!(pace.bytes(), 100_000);
        // 500 MB/s, 50 MB/s, 1 MB/s.
        (0..50).for_each(|_| pace.took(500_000, ms(1)));
        assert_eq!(pace.bytes(), 1_000_000);
        (0..99).for_each(|_| pace.took(500_000, ms(10)));
        assert!(
            (599_000..602_000).contains(&pace.bytes()),
            "{}",
            pace.bytes()
        );
        pace.took(500_000, ms(40));
        assert!(pace.bytes() > 400_000, "{}", pace.bytes());
        (0..99).for_each(|_| pace.took(1_000, ms(1)));
        assert_eq!(pace.bytes(), 100_000);
    }
}
