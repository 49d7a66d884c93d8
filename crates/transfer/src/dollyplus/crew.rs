//! The threads that work beside a main thread, and how it learns at once that one of them
//! is through: a main thread that looks every few milliseconds costs each computer of a
//! ring that long at its end, one after the other.

use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Scope, ScopedJoinHandle, Thread};
use std::time::Duration;

/// Wakes the main thread.
#[derive(Debug, Clone)]
pub(super) struct Crew {
    main: Thread,
}

impl Crew {
    /// One that wakes this thread.
    pub(super) fn of_this_thread() -> Self {
        let main = thread::current();
        Self { main }
    }

    /// Somebody works, and wakes the main thread at the end.
    pub(super) fn spawn<'scope, T: Send + 'scope>(
        &self,
        scope: &'scope Scope<'scope, '_>,
        work: impl FnOnce() -> T + Send + 'scope,
    ) -> Worker<'scope, T> {
        let ended = Arc::new(AtomicBool::new(false));
        let end = End {
            ended: Arc::clone(&ended),
            crew: self.clone(),
        };
        let work = move || {
            let _end = end;
            work()
        };
        Worker {
            handle: scope.spawn(work),
            ended,
        }
    }

    /// There is something for the main thread.
    pub(super) fn wake(&self) {
        self.main.unpark();
    }
}

/// The main thread waits: until somebody wakes it, at most so long.
pub(super) fn rest(most: Duration) {
    thread::park_timeout(most);
}

/// Says that a thread is through, even if it crashed.
struct End {
    ended: Arc<AtomicBool>,
    crew: Crew,
}

impl Drop for End {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        self.crew.wake();
    }
}

/// A thread of the crew.
#[derive(Debug)]
pub(super) struct Worker<'scope, T> {
    handle: ScopedJoinHandle<'scope, T>,
    ended: Arc<AtomicBool>,
}

impl<T> Worker<'_, T> {
    /// Whether it is through.
    pub(super) fn is_finished(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// What it has to give; the error is that it crashed.
    pub(super) fn join(self) -> thread::Result<T> {
        self.handle.join()
    }

    /// Wakes it, when it rests.
    pub(super) fn wake(&self) {
        self.handle.thread().unpark();
    }
}

/// A descriptor that can be read once the other half is gone: it ends a wait for
/// connections.
#[derive(Debug)]
pub(super) struct Closing(PipeReader);

impl Closing {
    /// The descriptor, and what must be kept until the wait shall end.
    ///
    /// # Errors
    /// Too many files are open.
    pub(super) fn new() -> io::Result<(Self, PipeWriter)> {
        let (reader, open) = io::pipe()?;
        Ok((Self(reader), open))
    }
}

impl AsFd for Closing {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::dolly::net::readable;

    /// No test takes so long.
    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn the_end_of_a_thread_is_known_at_once_and_a_crash_is_one() {
        let start = Instant::now();
        for crashes in [false, true] {
            let crew = Crew::of_this_thread();
            thread::scope(|scope| {
                let worker = crew.spawn(scope, move || {
                    thread::sleep(Duration::from_millis(20));
                    assert!(!crashes, "as it should");
                });
                while !worker.is_finished() {
                    rest(LONG);
                }
                assert_eq!(worker.join().is_err(), crashes);
            });
        }
        assert!(start.elapsed() < LONG);
    }

    #[test]
    fn a_wait_ends_when_the_other_half_is_dropped() {
        let (closing, open) = Closing::new().unwrap();
        let soon = Duration::from_millis(1);
        assert_eq!(readable(&[closing.as_fd()], soon), [false]);
        drop(open);
        assert_eq!(readable(&[closing.as_fd()], LONG), [true]);
    }
}
