//! How long each story takes: all of them together have an hour, so a new one should know
//! which of the others to look at.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Why what takes many minutes is not run, if so.
#[must_use]
pub fn not_long() -> Option<&'static str> {
    std::env::var_os("GOLDRING_LONG")
        .is_none()
        .then_some("takes many minutes; GOLDRING_LONG=1 cargo xtask test runs it")
}

/// What has been measured.
static TIMES: Mutex<Vec<(Duration, String)>> = Mutex::new(Vec::new());
/// So many are shown.
const SHOWN: usize = 12;

/// Runs a story and notes how long it took.
pub fn timed<T>(name: &str, story: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = story();
    let mut times = TIMES.lock().unwrap_or_else(PoisonError::into_inner);
    times.push((start.elapsed(), name.to_owned()));
    result
}

/// Says which stories took longest; nothing when only a few ran.
pub fn print_slowest() {
    let mut times = TIMES.lock().unwrap_or_else(PoisonError::into_inner);
    if times.len() <= SHOWN {
        return;
    }
    times.sort_by_key(|(time, _)| std::cmp::Reverse(*time));
    let all: Duration = times.iter().map(|(time, _)| *time).sum();
    eprintln!(
        "\n{} s in {} stories; the slowest:",
        all.as_secs(),
        times.len()
    );
    for (time, name) in times.iter().take(SHOWN) {
        eprintln!("{:>6} s  {name}", time.as_secs());
    }
}
