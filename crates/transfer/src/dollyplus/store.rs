//! The thread that writes here. When a target fails, the data still goes on to the
//! others: a full disk is its own computer's trouble.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::mpsc::Sender;

use goldring_wire::dollyplus::own::Verdict;

use super::bank::{Bank, Next};
use super::chunk::{Chunk, Codec, Item, Unpacker};
use super::report::Event;
use crate::pump::Sink;

/// A target: its name and whatever takes the bytes.
pub(super) struct Slot {
    pub(super) name: String,
    pub(super) sink: Option<Box<dyn Sink>>,
}

impl std::fmt::Debug for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Slot({})", self.name)
    }
}

/// How the writing ended, once it has.
#[derive(Debug, Default)]
pub(super) struct Outcome(Mutex<Option<Verdict>>);

impl Outcome {
    pub(super) fn get(&self) -> Option<Verdict> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn set(&self, verdict: Verdict) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(verdict);
    }
}

/// Writes until everything is written, synced and told, or until the bank stops.
pub(super) fn run(
    bank: &Bank,
    mut slots: Vec<Slot>,
    codec: Option<Codec>,
    outcome: &Outcome,
    events: &Sender<Event>,
) {
    let mut unpacker = Unpacker::new(codec);
    let (mut bytes, mut failed, mut ended) = (0, None, false);
    while !ended {
        let item = match bank.next_to_write() {
            Next::Item(item) => item,
            Next::Nothing => continue,
            Next::Closed if bank.is_stopped() => return,
            Next::Closed => break,
        };
        let mut length = 0;
        match item.as_ref() {
            Item::Chunk(chunk) => {
                length = u64::from(chunk.about.length);
                if failed.is_none() {
                    match write(&mut slots, &mut unpacker, chunk, events) {
                        Ok(()) => bytes += length,
                        Err(why) => {
                            let _ = events.send(Event::Note(why.clone()));
                            failed = Some(why);
                        }
                    }
                }
            }
            // The verdict is wanted before the verdicts come.
            Item::End => ended = true,
            Item::Verdicts(_) | Item::Bye | Item::Abort(_) => {}
        }
        bank.written(length);
    }
    let unfinished = slots.iter().find(|slot| slot.sink.is_some());
    let digest = unpacker.digest().hex();
    match (failed, unfinished) {
        (Some(why), _) => outcome.set(Verdict::Failed(why)),
        (None, None) => outcome.set(Verdict::Complete { bytes, digest }),
        (None, Some(slot)) if ended => {
            let why = format!("{} did not come to its end", slot.name);
            outcome.set(Verdict::Failed(why));
        }
        // The ring broke; that is no failure of this computer's.
        (None, Some(_)) => {}
    }
    // What comes behind the end needs no writing, but the window counts it.
    drain(bank);
}

fn drain(bank: &Bank) {
    loop {
        match bank.next_to_write() {
            Next::Item(_) => bank.written(0),
            Next::Nothing => {}
            Next::Closed => return,
        }
    }
}

fn write(
    slots: &mut [Slot],
    unpacker: &mut Unpacker,
    chunk: &Chunk,
    events: &Sender<Event>,
) -> Result<(), String> {
    let file = usize::from(chunk.about.file);
    let Some(slot) = slots.get_mut(file) else {
        return Err(format!(
            "data came for file {file}, which was never announced"
        ));
    };
    let failed = |name: &str, what: &str, error: std::io::Error| {
        let at = chunk.about.offset;
        format!(
            "{what} {name} failed after {at} bytes: {error}; check the disk, then clone this computer again"
        )
    };
    let data = unpacker
        .data(chunk)
        .map_err(|error| failed(&slot.name, "unpacking for", error))?;
    let Some(sink) = &mut slot.sink else {
        return Err(format!("more data came for {} than it has", slot.name));
    };
    if chunk.about.offset == 0 {
        let _ = events.send(Event::File(file, slot.name.clone()));
    }
    sink.write_all(data)
        .map_err(|error| failed(&slot.name, "writing", error))?;
    if chunk.about.last {
        sink.finish()
            .map_err(|error| failed(&slot.name, "finishing", error))?;
        slot.sink = None;
    }
    Ok(())
}
