//! What a person sees of a long step: on a terminal one line that overwrites itself,
//! elsewhere a whole line for each step and now and then one in between.

use std::cell::Cell;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// Between two lines in a log.
const LOG_BEAT: Duration = Duration::from_secs(10);
/// Between two changes on a terminal.
const TERMINAL_BEAT: Duration = Duration::from_millis(100);

/// Talks on standard error.
#[derive(Debug)]
pub struct Progress {
    start: Instant,
    terminal: bool,
    quiet: bool,
    last: Cell<Option<Instant>>,
    pending: Cell<bool>,
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

impl Progress {
    /// Starts the clock.
    pub fn new() -> Self {
        Self {
            start: Instant::now(),
            terminal: std::io::stderr().is_terminal(),
            quiet: false,
            last: Cell::new(None),
            pending: Cell::new(false),
        }
    }

    /// Says nothing, for tests.
    pub fn silent() -> Self {
        let mut progress = Self::new();
        progress.quiet = true;
        progress
    }

    /// A new step begins.
    pub fn step(&self, what: &str) {
        self.clear();
        self.say(&format!(
            "[{:5.1} s] {what}",
            self.start.elapsed().as_secs_f64()
        ));
        self.last.set(Some(Instant::now()));
    }

    /// Something worth knowing that is no step.
    pub fn note(&self, what: &str) {
        self.clear();
        self.say(&format!("  note: {what}"));
    }

    /// `done` of `all` parts of a step; cheap enough to be called for each part.
    pub fn count(&self, what: &str, done: usize, all: usize) {
        let beat = if self.terminal {
            TERMINAL_BEAT
        } else {
            LOG_BEAT
        };
        let due = self.last.get().is_none_or(|last| last.elapsed() >= beat);
        if !due || all == 0 {
            return;
        }
        self.last.set(Some(Instant::now()));
        let percent = done * 100 / all;
        if self.terminal && !self.quiet {
            eprint!("\r\x1b[K  {what}: {percent} %");
            let _ = std::io::stderr().flush();
            self.pending.set(true);
        } else {
            self.say(&format!("  {what}: {percent} %"));
        }
    }

    /// A step of unknown length goes on; cheap enough to be called for each line of a
    /// program's talk.
    pub fn tick(&self, what: &str) {
        let beat = if self.terminal {
            TERMINAL_BEAT
        } else {
            LOG_BEAT
        };
        if self.last.get().is_some_and(|last| last.elapsed() < beat) {
            return;
        }
        self.last.set(Some(Instant::now()));
        let line = format!("[{:5.1} s] {what}", self.start.elapsed().as_secs_f64());
        if self.terminal && !self.quiet {
            eprint!("\r\x1b[K{line}");
            let _ = std::io::stderr().flush();
            self.pending.set(true);
        } else {
            self.say(&line);
        }
    }

    /// How long it took until now.
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    fn clear(&self) {
        if self.pending.replace(false) {
            eprint!("\r\x1b[K");
        }
    }

    fn say(&self, line: &str) {
        if !self.quiet {
            eprintln!("{line}");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}
