//! What a person or a program sees of a dolly+ ring.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use goldring_contract::sentences::Milestone;
use goldring_transfer::dollyplus::client::Done;
use goldring_transfer::dollyplus::server::{Fate, Summary};
use goldring_transfer::dollyplus::{Event, Packed, Reporter};
use goldring_wire::dollyplus::config::Config;
use goldring_wire::dollyplus::packet::Entry;

use crate::dolly::screen::{Place, megabytes, progress_line, rate};
use table::Table;

mod json;
mod table;

/// Between two progress lines on a terminal, and elsewhere.
const BEATS: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(5));

/// Prints events.
#[derive(Debug)]
pub(crate) struct Screen {
    place: Place,
    verbose: bool,
    json: bool,
    terminal: bool,
    started: Option<Instant>,
    next: Instant,
    table: Table,
    /// How many lines of the table stand above the cursor.
    drawn: usize,
}

impl Screen {
    pub(crate) fn new(verbose: bool, json: bool) -> Self {
        Self {
            place: Place::Command,
            verbose,
            json,
            terminal: io::stderr().is_terminal() && !json,
            started: None,
            next: Instant::now(),
            table: Table::default(),
            drawn: 0,
        }
    }

    /// For the console of a node: milestones are marked, and all is said.
    pub(crate) fn of_console() -> Self {
        let mut screen = Self::new(true, false);
        screen.place = Place::Console;
        screen
    }

    /// A line for people.
    pub(crate) fn say(&mut self, line: &str) {
        self.clear();
        // A console that is gone must not stop a clone.
        let _ = writeln!(io::stderr(), "dolly+: {line}");
    }

    /// A line that comes again and again: on a terminal it overwrites itself.
    pub(crate) fn status(&mut self, line: &str) {
        self.say(line);
        self.drawn = usize::from(self.terminal);
    }

    fn talk(&mut self, line: &str) {
        if self.verbose {
            self.say(line);
        }
    }

    /// Says that a milestone was passed.
    pub(crate) fn mark(&mut self, milestone: Milestone) {
        if self.place == Place::Console {
            self.clear();
            crate::dolly::screen::print_mark(milestone);
        }
    }

    /// What the old program printed of its configuration.
    pub(crate) fn config(&mut self, config: &Config) {
        if !self.verbose {
            return;
        }
        self.say(&format!("server name is '{}'", config.server));
        self.list(
            "HOSTs",
            config.clients.iter().map(|name| (3, name.as_str())),
        );
        let files = config.files.iter();
        self.list(
            "FILEs",
            files.map(|file| (file.cook.flag(), file.output.as_str())),
        );
    }

    /// A list as dolly+ shows it: number, flag, name.
    fn list<'a>(&mut self, title: &str, items: impl ExactSizeIterator<Item = (u8, &'a str)>) {
        self.clear();
        let mut out = io::stderr();
        let _ = writeln!(out, "{title}\n-------------List---------------------");
        let _ = writeln!(out, "Items = {}\nNo.  flag  name", items.len());
        for (number, (flag, name)) in items.enumerate() {
            let _ = writeln!(out, "{:<4} {flag:<5o} {name}", number + 1);
        }
        let _ = writeln!(out, "--------------------------------------");
    }

    fn entries(&mut self, title: &str, entries: &[Entry]) {
        self.list(
            title,
            entries
                .iter()
                .map(|entry| (entry.flag, entry.name.as_str())),
        );
    }

    fn clear(&mut self) {
        if self.drawn > 0 {
            // Up to the table's first line, and away with all below it.
            let _ = write!(io::stderr(), "\x1b[{}F\x1b[J", self.drawn);
            self.drawn = 0;
        }
    }

    fn progress(&mut self, done: u64, total: Option<u64>) {
        let now = Instant::now();
        let Some(started) = self.started.filter(|_| now >= self.next) else {
            return;
        };
        self.next = now + if self.terminal { BEATS.0 } else { BEATS.1 };
        let whole = progress_line(done, total, now.duration_since(started));
        let lines = self.table.lines(done, now);
        if self.terminal {
            self.clear();
            let mut out = io::stderr();
            for line in &lines {
                let _ = writeln!(out, "  {line}");
            }
            let _ = writeln!(out, "dolly+: {whole}");
            self.drawn = lines.len() + 1;
        } else {
            self.say(&whole);
            for line in lines {
                self.talk(&line);
            }
        }
    }

    /// The end on a client.
    pub(crate) fn client_summary(&mut self, done: &Done) {
        self.clear();
        if self.json {
            return json::client(done);
        }
        let checked = if done.checked {
            "compared with the golden node's"
        } else {
            "not compared: an old dolly+ was in the ring"
        };
        let line = format!(
            "stored {} bytes in {:.1} s, {}, {checked}: {}",
            done.bytes,
            done.elapsed.as_secs_f64(),
            rate(done.bytes, done.elapsed),
            done.outputs.join(", ")
        );
        let _ = writeln!(io::stdout(), "{line}");
    }

    /// The end on the golden node.
    pub(crate) fn server_summary(&mut self, summary: &Summary) {
        self.clear();
        if self.json {
            return json::server(summary);
        }
        let mut out = io::stdout();
        for (name, fate) in &summary.fates {
            let line = match fate {
                Fate::Verified { late: false } => "verified".to_owned(),
                Fate::Verified { late: true } => "verified, later than the others".to_owned(),
                Fate::Sent => "sent; an old dolly+ cannot say more".to_owned(),
                Fate::Willing => "willing".to_owned(),
                Fate::Failed(why) => format!("FAILED: {why}"),
            };
            let _ = writeln!(out, "{name:<16} {line}");
        }
        let good = summary
            .fates
            .iter()
            .filter(|(_, fate)| fate.is_good())
            .count();
        let all = summary.fates.len();
        if summary.dry {
            let _ = writeln!(
                out,
                "nothing was written: a dry run, {good} of {all} clients are willing"
            );
            return;
        }
        if self.verbose {
            let _ = writeln!(
                out,
                "TotalTime={:.2}(sec) DiskRead={:.2}(sec)",
                summary.elapsed.as_secs_f64(),
                summary.reading.as_secs_f64()
            );
            let _ = writeln!(
                out,
                "Transfer Bytes={}MB. Transfer Speed={:.2}MB/s",
                megabytes(summary.bytes),
                summary.bytes as f64 / 1e6 / summary.elapsed.as_secs_f64().max(1e-6)
            );
        }
        if let Some(line) = packed_line(&summary.packed) {
            self.talk(&line);
        }
        let _ = writeln!(
            out,
            "{good} of {all} clones are complete: {} bytes in {:.1} s, {}",
            summary.bytes,
            summary.elapsed.as_secs_f64(),
            rate(summary.bytes, summary.elapsed)
        );
    }
}

/// `zstd: 800.0 MB became 210.5 MB; chunks packed at level 1: 12, 3: 700`.
fn packed_line(packed: &Packed) -> Option<String> {
    let levels = packed
        .levels
        .iter()
        .map(|(level, n)| format!("{level}: {n}"));
    let levels: Vec<String> = levels.collect();
    (!levels.is_empty()).then(|| {
        format!(
            "zstd: {} MB became {} MB; chunks packed at level {}",
            megabytes(packed.bytes),
            megabytes(packed.into),
            levels.join(", ")
        )
    })
}

impl Reporter for Screen {
    fn event(&mut self, event: Event) {
        self.table.note(&event);
        let progress = matches!(event, Event::Progress(..));
        if self.json && (!progress || Instant::now() >= self.next) {
            json::event(&event);
        }
        let line = event.to_string();
        match event {
            Event::Progress(done, total) => self.progress(done, total),
            Event::Host(..) => {}
            Event::Waiting { .. }
            | Event::Missing(_)
            | Event::Dropped { .. }
            | Event::Lost { .. }
            | Event::Orphaned(_)
            | Event::LeftBehind { .. }
            | Event::SteppedOut
            | Event::Late(..)
            | Event::Note(_) => self.say(&line),
            Event::Ring(hosts) => {
                self.mark(Milestone::RingJoined);
                if self.verbose {
                    self.entries("HOSTs", &hosts);
                }
                if hosts.iter().any(|host| host.flag != 1) {
                    self.say("* Host marked with flag=3 has a trouble. *");
                }
                self.say(&line);
            }
            Event::Files(files) => {
                if self.verbose {
                    self.entries("FILEs", &files);
                }
            }
            Event::Started { .. } => {
                self.started = Some(Instant::now());
                self.next = Instant::now() + BEATS.0;
                self.say(&line);
            }
            Event::Called { .. }
            | Event::Next(_)
            | Event::File(..)
            | Event::Resumed(..)
            | Event::Stored
            | Event::Verdict(..) => self.talk(&line),
        }
    }
}
