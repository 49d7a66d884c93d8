//! Stage 2 by dolly+: a ring of goldring that went over to it, or one of dolly+ that
//! called this node while it waited for dolly.

use std::cell::RefCell;
use std::time::Duration;

use goldring_contract::limits::{DOLLY_ACK_WAIT, DOLLY_CLONE_WAIT, DOLLY_STALL};
use goldring_transfer::dolly::Summary;
use goldring_transfer::dolly::client::{Ending, Options};
use goldring_transfer::dollyplus::client::{self, Wanted};
use goldring_transfer::dollyplus::{Event, PlusError, Timing};
use goldring_transfer::fetch::Progress;
use goldring_wire::dollyplus::cook::Cook;
use goldring_wire::dollyplus::status::Abilities;

use super::{Lines, Part};
use crate::console::say;
use crate::fate::{Fate, chain};

/// How long the others of a ring may take to close dolly's and listen again.
const REGROUP: Duration = Duration::from_secs(60);
/// A ring of dolly+ keeps what a neighbour may want again: with less free memory than
/// this, stage 2 comes by dolly alone.
const MEMORY: u64 = 512 << 20;

/// What this node can do in such a ring. Nothing here unpacks zstd.
pub(super) fn abilities(free: Option<u64>) -> Option<Abilities> {
    let enough = free.is_some_and(|free| free >= MEMORY);
    enough.then_some(Abilities {
        own: true,
        zstd: false,
    })
}

/// Takes part in the ring.
pub(super) fn join(part: &mut Part, options: &Options, ending: Ending) -> Result<Summary, Fate> {
    let call = match ending {
        Ending::Called(call) => Some(call),
        _ => None,
    };
    let options = client::Options {
        bind: options.bind,
        announce: None,
        wait: Some(REGROUP),
        again: false,
        timing: Timing {
            stall: DOLLY_STALL,
            orphan: DOLLY_CLONE_WAIT,
            finish: DOLLY_ACK_WAIT,
        },
        codec: None,
    };
    let server = RefCell::new(String::new());
    let mut lines = Lines::new();
    let mut report = |event: Event| {
        if let Event::Called { server: name, .. } = &event {
            server.replace(name.clone());
        }
        lines.plus(&event);
    };
    let mut open = |wanted: Wanted<'_>| {
        if wanted.cook != Cook::PLAIN {
            return Err(super::not_as_it_is(">>"));
        }
        if wanted.dry {
            return Err("it waits for its stage 2, and a dry run brings none".to_owned());
        }
        part.open_ramdisk(&server.borrow(), wanted.output)
    };
    let done = client::clone(&options, call, &mut open, &mut report);
    match done {
        Ok(done) => Ok(Summary {
            bytes: done.bytes,
            elapsed: done.elapsed,
            trouble: None,
        }),
        Err(error) => Err(fate(part, &error)),
    }
}

/// What a ring that broke means.
fn fate(part: &Part, error: &PlusError) -> Fate {
    let own = part.refused.borrow_mut().take();
    own.unwrap_or_else(|| Fate::retry(format!("stage 2 by dolly+: {}", chain(error))))
}

impl Lines {
    fn plus(&mut self, event: &Event) {
        match event {
            Event::Progress(bytes, Some(total)) => self.beat.progress(Progress {
                bytes: *bytes,
                total: *total,
                elapsed: self.started.elapsed(),
            }),
            Event::Progress(_, None) => {}
            Event::Started { .. } => {
                self.started = std::time::Instant::now();
                say(&format!("dolly+: {event}"));
            }
            event => say(&format!("dolly+: {event}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_node_takes_stage_2_by_dolly_alone() {
        assert_eq!(abilities(Some(300 << 20)), None);
        assert_eq!(abilities(None), None);
        let large = abilities(Some(900 << 20)).unwrap();
        assert!(large.own && !large.zstd);
    }
}
