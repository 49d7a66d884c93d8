//! The thread that writes here. When a target fails, the data still goes on to the
//! others: a full disk is its own computer's trouble.

use std::fs::File;
use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use goldring_wire::dollyplus::own::{Encoding, Verdict};

use super::bank::{Bank, Next, Written};
use super::chunk::{Chunk, Item};
use super::packing::{Codec, Unpacker};
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
pub(super) struct Outcome {
    verdict: Mutex<Option<Verdict>>,
    known: Condvar,
}

impl Outcome {
    pub(super) fn get(&self) -> Option<Verdict> {
        self.lock().clone()
    }

    /// The same, when it is known within this time.
    pub(super) fn wait(&self, most: Duration) -> Option<Verdict> {
        let unknown = |verdict: &mut Option<Verdict>| verdict.is_none();
        let waited = self.known.wait_timeout_while(self.lock(), most, unknown);
        waited.unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    fn set(&self, verdict: Verdict) {
        *self.lock() = Some(verdict);
        self.known.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Option<Verdict>> {
        self.verdict.lock().unwrap_or_else(PoisonError::into_inner)
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
    let mut unstored = Unstored::default();
    while !ended {
        let (first, items) = match bank.next_to_write() {
            Next::Items(first, items) => (first, items),
            Next::Nothing => continue,
            Next::Closed if bank.is_stopped() => return,
            Next::Closed => break,
        };
        let mut written = Written::default();
        for (number, item) in (first..).zip(&items) {
            written.items += 1;
            match item.as_ref() {
                Item::Chunk(chunk) => {
                    let length = u64::from(chunk.about.length);
                    if chunk.about.last {
                        // The disk may take long over this one, and others wait for those
                        // before it.
                        written.items -= 1;
                        bank.written(std::mem::take(&mut written));
                        written.items = 1;
                    }
                    written.bytes += length;
                    if failed.is_some() {
                        continue;
                    }
                    match write(&mut slots, &mut unpacker, chunk, events) {
                        Ok(()) => {
                            bytes += length;
                            let slot = slots.get(usize::from(chunk.about.file));
                            unstored.look((number, chunk), slot, &mut written.stored);
                        }
                        Err(why) => {
                            let _ = events.send(Event::Note(why.clone()));
                            failed = Some(why);
                        }
                    }
                }
                // The verdict is wanted before the verdicts come.
                Item::End => ended = true,
                Item::Verdicts(_) | Item::Bye | Item::Abort(_) => {}
            }
        }
        bank.written(written);
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

/// What is written and cannot be read from the target yet: its end are zeros which the
/// disk gets together with those that follow.
#[derive(Debug, Default)]
struct Unstored {
    last: Option<(u64, Range<u64>)>,
}

impl Unstored {
    /// A chunk was written, and with it perhaps what the one before it lacked.
    fn look(
        &mut self,
        (number, chunk): (u64, &Chunk),
        slot: Option<&Slot>,
        stored: &mut Vec<(u64, Arc<File>)>,
    ) {
        let about = &chunk.about;
        if about.encoding == Encoding::Zeros {
            return;
        }
        let before = self.last.take().filter(|_| about.offset > 0);
        let raw = about.encoding == Encoding::Raw;
        let bytes = about.offset..about.offset + u64::from(about.length);
        let this = raw.then_some((number, bytes));
        let Some(sink) = slot.and_then(|slot| slot.sink.as_ref()) else {
            return;
        };
        for (number, bytes) in before.into_iter().chain(this) {
            match sink.stored(bytes.clone()) {
                Some(file) => stored.push((number, file)),
                None => self.last = Some((number, bytes)),
            }
        }
    }
}

fn drain(bank: &Bank) {
    loop {
        match bank.next_to_write() {
            Next::Items(_, items) => bank.written(Written {
                items: items.len() as u64,
                ..Written::default()
            }),
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
