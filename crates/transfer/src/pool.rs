//! The buffers of a [pump](crate::pump): a bounded number, given out again in the order
//! that keeps few of them in use.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Places for buffers. A place can be used without a buffer, too.
#[derive(Debug)]
pub(crate) struct Pool {
    state: Mutex<State>,
    given: Condvar,
    limit: usize,
}

#[derive(Debug, Default)]
struct State {
    /// What came back. The last one goes out first: the processor still has it at hand.
    free: Vec<Vec<u8>>,
    made: usize,
}

impl Pool {
    /// With `limit` places.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            state: Mutex::default(),
            given: Condvar::new(),
            limit,
        }
    }

    /// A place: the memory that came back last, an empty one when a place is used for
    /// the first time, or none when nothing came back within `limit`.
    pub(crate) fn take(&self, limit: Duration) -> Option<Vec<u8>> {
        let mut state = self.lock();
        if state.free.is_empty() && state.made < self.limit {
            state.made += 1;
            return Some(Vec::new());
        }
        if state.free.is_empty() {
            let waited = self.given.wait_timeout(state, limit);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.free.pop()
    }

    /// Gives a place back.
    pub(crate) fn give(&self, memory: Vec<u8>) {
        self.lock().free.push(memory);
        self.given.notify_one();
    }

    /// How many places were used so far.
    pub(crate) fn made(&self) -> usize {
        self.lock().made
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_one_back_goes_out_first_and_the_number_is_bounded() {
        let soon = Duration::from_millis(1);
        let pool = Pool::new(2);
        assert_eq!(pool.take(soon), Some(Vec::new()));
        assert_eq!(pool.take(soon), Some(Vec::new()));
        assert_eq!(pool.take(soon), None);
        pool.give(vec![1]);
        pool.give(vec![2]);
        assert_eq!(pool.take(soon), Some(vec![2]));
        assert_eq!(pool.take(soon), Some(vec![1]));
        assert_eq!(pool.made(), 2);
    }
}
