//! Whose turn it is. Two stories at once keep two cores busy, because a virtual machine
//! without KVM takes one; more of them only run into their time-outs. A story that waits until
//! a node has lost its patience lets another one go on meanwhile.

use std::cell::RefCell;
use std::sync::{Condvar, Mutex, PoisonError};

/// So many may work at the same time.
const AT_ONCE: usize = 2;

static WORKING: Mutex<usize> = Mutex::new(0);
static GIVEN_BACK: Condvar = Condvar::new();

thread_local! {
    /// The turn of this thread's story.
    static OWN: RefCell<Option<Turn>> = const { RefCell::new(None) };
}

/// A turn, given back when dropped.
#[derive(Debug)]
struct Turn;

impl Turn {
    fn take() -> Self {
        let working = WORKING.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = GIVEN_BACK.wait_while(working, |working| *working >= AT_ONCE);
        *waited.unwrap_or_else(PoisonError::into_inner) += 1;
        Self
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *WORKING.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        GIVEN_BACK.notify_one();
    }
}

/// Works when it is this story's turn.
pub(crate) fn in_turn<T>(work: impl FnOnce() -> T) -> T {
    // One that panicked has left its turn here.
    OWN.take();
    OWN.set(Some(Turn::take()));
    let result = work();
    OWN.take();
    result
}

/// Waits for something that takes minutes and nothing of the processors.
pub(crate) fn while_others_work<T>(wait: impl FnOnce() -> T) -> T {
    OWN.take();
    let result = wait();
    OWN.set(Some(Turn::take()));
    result
}
