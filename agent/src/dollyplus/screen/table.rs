//! One line for each client: its state, its rate, how far it is behind.

use std::collections::BTreeMap;
use std::time::Instant;

use goldring_transfer::dollyplus::Event;
use goldring_wire::dollyplus::own::{CHUNK, Verdict};
use goldring_wire::dollyplus::status::State;

use crate::dolly::screen::{megabytes, rate};

/// What is known of a client.
#[derive(Debug, Clone)]
struct Row {
    state: String,
    stored: u64,
    /// When `stored` was first above nothing, and what it was then.
    since: Option<(Instant, u64)>,
    over: bool,
}

/// All clients that were heard of.
#[derive(Debug, Default)]
pub(super) struct Table {
    rows: BTreeMap<String, Row>,
    /// What the one that gets the rest had before.
    before: u64,
}

impl Table {
    /// Takes what an event says of a client.
    pub(super) fn note(&mut self, event: &Event) {
        match event {
            Event::Host(name, State::Busy { stored, .. }) => {
                let row = self.row(name);
                if row.over {
                    return;
                }
                row.stored = *stored;
                row.state = "writes".to_owned();
                if row.since.is_none() {
                    row.since = Some((Instant::now(), *stored));
                }
            }
            Event::Host(name, State::Done) => {
                let row = self.row(name);
                row.state = "has everything".to_owned();
                row.over = true;
            }
            Event::Host(name, State::Waiting) => self.row(name).state = "waits".to_owned(),
            Event::Lost { name, why, .. } => {
                let row = self.row(name);
                row.state = format!("LEFT OUT: {why}");
                row.over = true;
            }
            Event::LeftBehind { name, slow } => {
                let row = self.row(name);
                row.state = format!("LEFT BEHIND: {slow}");
                row.over = true;
            }
            Event::Ring(_) => self.before = 0,
            Event::Resumed(name, chunk) => {
                // It has a part again; its pace is measured from there.
                let row = self.row(name);
                if row.over {
                    row.over = false;
                    row.since = None;
                    row.state = "goes on from".to_owned();
                    self.before = chunk * CHUNK as u64;
                }
            }
            Event::Verdict(name, verdict) => {
                let row = self.row(name);
                row.over = true;
                row.state = match verdict {
                    Verdict::Failed(why) => format!("FAILED: {why}"),
                    _ => "verified".to_owned(),
                };
            }
            _ => {}
        }
    }

    fn row(&mut self, name: &str) -> &mut Row {
        self.rows.entry(name.to_owned()).or_insert_with(|| Row {
            state: String::new(),
            stored: 0,
            since: None,
            over: false,
        })
    }

    /// The lines, when the golden node has sent `sent` in this round.
    pub(super) fn lines(&self, sent: u64, now: Instant) -> Vec<String> {
        let line = |(name, row): (&String, &Row)| {
            if row.over {
                return format!("{name:<16} {}", row.state);
            }
            let pace = row.since.map_or_else(String::new, |(since, from)| {
                let stored = row.stored.saturating_sub(from);
                format!(", {}", rate(stored, now.duration_since(since)))
            });
            let behind = megabytes((self.before + sent).saturating_sub(row.stored));
            let stored = megabytes(row.stored);
            format!(
                "{name:<16} {} {stored} MB{pace}, {behind} MB behind",
                row.state
            )
        };
        self.rows.iter().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use goldring_transfer::dollyplus::report::{Slow, SlowPart};

    use super::*;

    #[test]
    fn rows_say_what_was_heard_last() {
        let mut table = Table::default();
        let busy = |stored| State::Busy {
            received: 0,
            stored,
        };
        table.note(&Event::Host("n1".into(), busy(10_000_000)));
        table.note(&Event::Lost {
            name: "n2".into(),
            by: "n1".into(),
            why: "closed the connection".into(),
        });
        let lines = table.lines(12_000_000, Instant::now());
        assert!(
            lines[0].starts_with("n1               writes 10.0 MB"),
            "{lines:?}"
        );
        assert!(lines[0].ends_with("2.0 MB behind"), "{lines:?}");
        assert_eq!(lines[1], "n2               LEFT OUT: closed the connection");
        table.note(&Event::Host("n2".into(), busy(7)));
        assert_eq!(table.lines(0, Instant::now())[1], lines[1], "it is out");
        let slow = Slow {
            part: SlowPart::Disk,
            rate: 1_500_000,
            others: 30_000_000,
        };
        let name = "n1".to_owned();
        table.note(&Event::LeftBehind { name, slow });
        table.note(&Event::Host("n1".into(), busy(11_000_000)));
        let lines = table.lines(12_000_000, Instant::now());
        assert_eq!(
            lines[0],
            "n1               LEFT BEHIND: its disk takes 1.5 MB/s, the others could have 30.0"
        );
        // Where 10 MiB end.
        let chunk = (10 << 20) / CHUNK as u64;
        table.note(&Event::Resumed("n1".into(), chunk));
        let lines = table.lines(500_000, Instant::now());
        assert_eq!(
            lines[0],
            "n1               goes on from 10.0 MB, 1.0 MB behind"
        );
        table.note(&Event::Host("n1".into(), State::Done));
        assert_eq!(
            table.lines(0, Instant::now())[0],
            "n1               has everything"
        );
    }
}
