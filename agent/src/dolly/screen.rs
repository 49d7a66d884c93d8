//! Events as lines, progress as one line that overwrites itself on a terminal and as
//! a line every few seconds elsewhere.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use goldring_contract::sentences::{Milestone, mark};
use goldring_transfer::dolly::{Event, Reporter, Summary};

/// Between two progress lines on a terminal, and elsewhere.
const BEATS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5));

/// Who looks at the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// A person started the command.
    Command,
    /// The console of a node: milestones are marked.
    Console,
}

/// Prints events.
#[derive(Debug)]
pub(crate) struct Screen {
    place: Place,
    verbose: bool,
    terminal: bool,
    /// The start of the data, and how much had moved at the last line.
    started: Option<Instant>,
    next: Option<Instant>,
    open_line: bool,
}

impl Screen {
    pub(crate) fn new(place: Place, verbose: bool) -> Self {
        Self {
            place,
            verbose,
            terminal: io::stderr().is_terminal(),
            started: None,
            next: None,
            open_line: false,
        }
    }

    /// A line for people.
    pub(crate) fn say(&mut self, line: &str) {
        self.end_line();
        // A console that is gone must not stop a clone.
        let _ = writeln!(io::stderr(), "dolly: {line}");
    }

    /// A line that comes again and again: on a terminal it overwrites itself.
    pub(crate) fn status(&mut self, line: &str) {
        if !self.terminal {
            return self.say(line);
        }
        let mut out = io::stderr();
        // \x1b[K clears what a longer line left.
        let _ = write!(out, "\rdolly: {line}\x1b[K");
        let _ = out.flush();
        self.open_line = true;
    }

    /// A line for those who asked for all.
    pub(crate) fn talk(&mut self, line: &str) {
        if self.verbose {
            self.say(line);
        }
    }

    /// The last line of a ring. `unpacked` is what the bytes become, as the operator says.
    pub(crate) fn summary(&mut self, what: &str, summary: &Summary, unpacked: Option<u64>) {
        self.end_line();
        let seconds = summary.elapsed.as_secs_f64();
        let mut line = format!(
            "{what}: {} bytes in {seconds:.1} s, {}",
            summary.bytes,
            rate(summary.bytes, summary.elapsed)
        );
        if let Some(bytes) = unpacked {
            line += &format!("; unpacked {bytes} bytes, {}", rate(bytes, summary.elapsed));
        }
        let _ = writeln!(io::stdout(), "{line}");
        if let Some(trouble) = &summary.trouble {
            self.say(&format!("this copy is complete, but then: {trouble}"));
        }
    }

    /// Says that a milestone was passed.
    pub(crate) fn mark(&mut self, milestone: Milestone) {
        if self.place == Place::Console {
            self.end_line();
            print_mark(milestone);
        }
    }

    fn end_line(&mut self) {
        if std::mem::take(&mut self.open_line) {
            let _ = writeln!(io::stderr());
        }
    }

    fn progress(&mut self, done: u64, total: Option<u64>) {
        let (Some(started), Some(next)) = (self.started, self.next) else {
            return;
        };
        let now = Instant::now();
        if now < next {
            return;
        }
        let beat = if self.terminal { BEATS.0 } else { BEATS.1 };
        self.next = Some(now + beat);
        let line = progress_line(done, total, now.duration_since(started));
        self.status(&line);
    }
}

impl Reporter for Screen {
    fn event(&mut self, event: Event) {
        let line = event.to_string();
        match event {
            Event::Waiting { .. }
            | Event::Dropped { .. }
            | Event::Config { .. }
            | Event::Missing(..) => self.say(&line),
            Event::Connected(_)
            | Event::Got(_)
            | Event::Ready(..)
            | Event::Counted(..)
            | Event::Note(_) => self.talk(&line),
            Event::Joined => {
                self.mark(Milestone::RingJoined);
                self.say(&line);
            }
            Event::Started(_) => {
                self.started = Some(Instant::now());
                self.next = Some(Instant::now() + BEATS.0);
                self.say(&line);
            }
            Event::Progress(done, total) => self.progress(done, total),
            Event::Stored => {
                self.next = None;
                self.talk(&line);
            }
        }
    }
}

/// The line for whoever reads a node's console: a milestone and the kernel's clock.
pub(crate) fn print_mark(milestone: Milestone) {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = Duration::new(
        now.tv_sec.try_into().unwrap_or(0),
        now.tv_nsec.try_into().unwrap_or(0),
    );
    // A console that is gone must not stop a clone.
    let _ = writeln!(io::stdout(), "{}", mark(milestone, seconds.as_secs_f64()));
}

/// `1234.5 of 80000.0 MB, 110.2 MB/s, 0:11:55 left`.
pub(crate) fn progress_line(done: u64, total: Option<u64>, elapsed: Duration) -> String {
    let rate = rate(done, elapsed);
    let Some(total) = total else {
        return format!("{} MB, {rate}", megabytes(done));
    };
    let left = if done == 0 {
        "unknown time".to_owned()
    } else {
        let rest = elapsed.as_secs_f64() * (total.saturating_sub(done) as f64) / (done as f64);
        let rest = rest.ceil() as u64;
        format!("{}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60)
    };
    format!(
        "{} of {} MB, {rate}, {left} left",
        megabytes(done),
        megabytes(total)
    )
}

pub(crate) fn megabytes(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / 1e6)
}

/// 10^6 bytes per second.
pub(crate) fn rate(bytes: u64, elapsed: Duration) -> String {
    format!(
        "{:.1} MB/s",
        bytes as f64 / 1e6 / elapsed.as_secs_f64().max(1e-6)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_lines() {
        let ten = Duration::from_secs(10);
        assert_eq!(
            progress_line(1_000_000_000, Some(37_000_000_000), ten),
            "1000.0 of 37000.0 MB, 100.0 MB/s, 0:06:00 left"
        );
        assert_eq!(progress_line(5_000_000, None, ten), "5.0 MB, 0.5 MB/s");
        assert_eq!(
            progress_line(0, Some(1), ten),
            "0.0 of 0.0 MB, 0.0 MB/s, unknown time left"
        );
    }
}
