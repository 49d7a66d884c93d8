//! The short report at the end of a run.

use std::collections::BTreeMap;
use std::time::Duration;

use goldring_contract::sentences::{Milestone, parse_mark};

/// Times of phases (this machine's clock) and of milestones (each node's kernel
/// clock).
#[derive(Debug, Default)]
pub(super) struct Report {
    phases: Vec<(&'static str, Duration)>,
    nodes: BTreeMap<String, Vec<(Milestone, f64)>>,
}

impl Report {
    /// Notes how long a phase took.
    pub(super) fn phase(&mut self, name: &'static str, time: Duration) {
        self.phases.push((name, time));
    }

    /// Notes the milestones that stand on `node`'s console.
    pub(super) fn marks(&mut self, node: &str, console: &str) {
        let marks = console.lines().filter_map(parse_mark).collect();
        self.nodes.insert(node.to_owned(), marks);
    }

    /// When the last node passed a milestone, in seconds after kernel start.
    pub(super) fn slowest(&self, milestone: Milestone) -> Option<f64> {
        let times = self.nodes.values().flatten();
        times
            .filter(|(m, _)| *m == milestone)
            .map(|(_, seconds)| *seconds)
            .reduce(f64::max)
    }

    /// Prints both tables.
    pub(super) fn print(&self) {
        println!("\nphase                                             seconds");
        for (name, time) in &self.phases {
            println!("{name:<48} {:>8.1}", time.as_secs_f64());
        }
        print!("\nseconds after kernel start");
        for node in self.nodes.keys() {
            print!(" {node:>8}");
        }
        println!();
        for milestone in Milestone::ALL {
            print!("{:<26}", milestone.to_string());
            for marks in self.nodes.values() {
                match marks.iter().find(|(m, _)| *m == milestone) {
                    Some((_, seconds)) => print!(" {seconds:>8.2}"),
                    None => print!(" {:>8}", "-"),
                }
            }
            println!();
        }
    }
}
