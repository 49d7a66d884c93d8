//! What a person sees of a ka session.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use goldring_transfer::ka::{Event, Reporter};
use goldring_wire::ka::{client, server};

use crate::dolly::screen::progress_line;

/// Between two progress lines on a terminal, and elsewhere.
const BEATS: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(5));

/// Prints events.
#[derive(Debug)]
pub(crate) struct Screen {
    /// What stands before each line.
    name: &'static str,
    verbose: bool,
    terminal: bool,
    started: Option<Instant>,
    next: Instant,
    /// What the last progress line told.
    told: u64,
    open_line: bool,
    /// Said when all of a session's data has been read.
    at_end: Option<&'static str>,
}

impl Screen {
    pub(crate) fn new(verbose: bool) -> Self {
        Self::named("ka", verbose)
    }

    /// For work that is no session.
    pub(crate) fn named(name: &'static str, verbose: bool) -> Self {
        Self {
            name,
            verbose,
            terminal: io::stderr().is_terminal(),
            started: None,
            next: Instant::now(),
            told: u64::MAX,
            open_line: false,
            at_end: None,
        }
    }

    /// What is said when all of a session's data has been read, if the nodes work on then.
    pub(crate) fn at_the_end(&mut self, line: Option<&'static str>) {
        self.at_end = line;
    }

    /// A line for people.
    pub(crate) fn say(&mut self, line: &str) {
        if std::mem::take(&mut self.open_line) {
            let _ = writeln!(io::stderr());
        }
        // A console that is gone must not stop a session.
        let _ = writeln!(io::stderr(), "{}: {line}", self.name);
    }

    /// A line for those who asked for all.
    fn talk(&mut self, line: &str) {
        if self.verbose {
            self.say(line);
        }
    }

    /// Something long begins, whose progress is to be seen.
    pub(crate) fn start(&mut self) {
        self.started = Some(Instant::now());
        self.told = u64::MAX;
        self.next = Instant::now() + BEATS.0;
    }

    /// So many bytes of all are done, if it is known how many there are. `more` stands behind
    /// it.
    pub(crate) fn progress(&mut self, bytes: u64, total: Option<u64>, more: &str) {
        let now = Instant::now();
        // While nothing comes, a line that grows old would fill a serial console.
        let Some(started) = self
            .started
            .filter(|_| now >= self.next && bytes != self.told)
        else {
            return;
        };
        self.told = bytes;
        let line = progress_line(bytes, total, now.duration_since(started));
        let line = format!("{line}{more}");
        if !self.terminal {
            self.next = now + BEATS.1;
            return self.say(&line);
        }
        self.next = now + BEATS.0;
        let mut out = io::stderr();
        // \x1b[K clears what a longer line left.
        let _ = write!(out, "\r{}: {line}\x1b[K", self.name);
        let _ = out.flush();
        self.open_line = true;
    }
}

impl Reporter for Screen {
    fn event(&mut self, event: Event) {
        let line = event.to_string();
        match &event {
            Event::Progress(bytes) => {
                // A node may have waited for the others for an hour.
                if self.started.is_none() && *bytes > 0 {
                    self.start();
                }
                self.progress(*bytes, None, "");
            }
            Event::Server(server::Event::Complete) => {
                self.start();
                self.say(&line);
            }
            // A session after another one.
            Event::Found(_) => {
                self.started = None;
                self.say(&line);
            }
            Event::Server(server::Event::Ended(_)) => {
                self.talk(&line);
                if let Some(line) = self.at_end.take() {
                    self.say(line);
                }
            }
            Event::Server(server::Event::Tree(_))
            | Event::Client(client::Event::Welcome | client::Event::Child(..)) => self.talk(&line),
            _ => self.say(&line),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn the_rate_of_a_session_begins_with_its_first_byte() {
        let mut screen = Screen::new(false);
        screen.event(Event::Client(client::Event::Parent(Ipv4Addr::LOCALHOST)));
        screen.event(Event::Progress(0));
        assert_eq!(screen.started, None);
        screen.event(Event::Progress(1));
        assert!(screen.started.is_some());
        // Making file systems is not counted either.
        screen.event(Event::Found(Ipv4Addr::LOCALHOST));
        assert_eq!(screen.started, None);
    }

    #[test]
    fn what_follows_is_said_at_the_end_of_one_session() {
        let mut screen = Screen::new(false);
        let ended = || {
            Event::Server(server::Event::Ended(goldring_wire::ka::own::Stream {
                bytes: 1,
                digest: 2,
            }))
        };
        screen.at_the_end(Some("the nodes work on"));
        screen.event(ended());
        assert_eq!(screen.at_end, None);
    }
}
