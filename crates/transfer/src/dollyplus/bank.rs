//! The chunks that are here: one thread puts them in, one sends them on, one writes
//! them. [`Window`] decides what may come, what must stay and what can go.

use std::collections::VecDeque;
use std::fs::File;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use goldring_wire::dollyplus::own;
use goldring_wire::dollyplus::pace::Pace;
use goldring_wire::dollyplus::window::{Forgotten, Limits, Window};

use super::chunk::{Chunk, Item};

/// How often a thread that waits looks around.
const GLANCE: Duration = Duration::from_millis(200);
/// As long as no more chunks than this are not written, sending waits for the writing
/// (but never longer than a [`GLANCE`]): what is stored is sent without a copy, and its
/// memory is free for what comes next while it is still in the processor's caches.
const KEEPS_UP: u64 = 12;
/// Nobody is woken for fewer bytes while more are at hand. A golden node's chunk for old programs
/// is more than that alone.
const CALL: u64 = 4 * own::CHUNK as u64;
/// What took as long as this to come does not wait for more: on a slow network each computer
/// that did would put off all behind it, and a link that has nothing to send for a moment never
/// makes up for it.
const SLOW: Duration = Duration::from_millis(2);
/// No thread takes more chunks at once.
const BATCH: u64 = 4;

#[derive(Debug)]
struct State {
    window: Window,
    items: VecDeque<Arc<Item>>,
    /// The number of the first of `items`.
    first: u64,
    /// So many bytes came since somebody was woken for them.
    uncalled: u64,
    /// When the last item came.
    came: Instant,
    /// Nothing more comes.
    closed: bool,
    stopped: bool,
    /// Why it was stopped, when something here is broken.
    failure: Option<String>,
    /// Bytes of data that came, were sent and were written.
    received: u64,
    sent: u64,
    stored: u64,
    /// As they travelled: packed, without zeros.
    travelled: u64,
    since: Instant,
    waited: Waited,
    /// The others went on without this computer.
    behind: bool,
}

/// For how long each thread has waited.
#[derive(Debug, Clone, Copy, Default)]
struct Waited {
    full: Duration,
    idle: Duration,
    dry: Duration,
}

/// The bank.
#[derive(Debug)]
pub(super) struct Bank {
    state: Mutex<State>,
    /// There is more to write.
    arrived: Bell,
    /// There is more to send, or it is sent better now.
    ready: Bell,
    /// There may be room.
    room: Bell,
}

/// One thread waits, others wake it: only if it does wait, because a call for nothing costs
/// as much as moving thousands of bytes.
#[derive(Debug, Default)]
struct Bell {
    bell: Condvar,
    waits: AtomicBool,
}

impl Bell {
    /// Waits for a while, at most as long as `idle` is true of the state.
    fn wait<'a>(
        &self,
        state: MutexGuard<'a, State>,
        idle: impl Fn(&State) -> bool,
    ) -> MutexGuard<'a, State> {
        let idle = |state: &mut State| !state.stopped && idle(state);
        // It is set and read under the lock.
        self.waits.store(true, Ordering::Relaxed);
        let waited = self.bell.wait_timeout_while(state, GLANCE, idle);
        self.waits.store(false, Ordering::Relaxed);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn ring(&self) {
        if self.waits.load(Ordering::Relaxed) {
            self.bell.notify_one();
        }
    }
}

/// What there is to do for a thread that takes.
#[derive(Debug, Clone)]
pub(super) enum Next {
    /// These, the first one of which has this number.
    Items(u64, Vec<Arc<Item>>),
    /// Nothing at the moment.
    Nothing,
    /// Nothing ever again.
    Closed,
}

/// What was written.
#[derive(Debug, Default)]
pub(super) struct Written {
    /// So many items.
    pub(super) items: u64,
    /// So many bytes.
    pub(super) bytes: u64,
    /// The chunks whose data can be read from these files now.
    pub(super) stored: Vec<(u64, Arc<File>)>,
}

/// A look at a bank.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Level {
    pub(super) received: u64,
    pub(super) sent: u64,
    pub(super) stored: u64,
    /// What was sent as it travelled: packed, without zeros.
    pub(super) travelled: u64,
    /// How many chunks wait to be sent.
    pub(super) unsent: u64,
    /// Everything has been sent.
    pub(super) drained: bool,
}

impl Bank {
    pub(super) fn new(limits: Limits, writes: bool, first: u64) -> Self {
        Self {
            state: Mutex::new(State {
                window: Window::new(limits, true, writes).starting_at(first),
                items: VecDeque::new(),
                first,
                uncalled: 0,
                came: Instant::now(),
                closed: false,
                stopped: false,
                failure: None,
                received: 0,
                sent: 0,
                stored: 0,
                travelled: 0,
                since: Instant::now(),
                waited: Waited::default(),
                behind: false,
            }),
            arrived: Bell::default(),
            ready: Bell::default(),
            room: Bell::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits a moment for room; whether there is some.
    pub(super) fn has_room(&self) -> bool {
        let mut state = self.lock();
        if !state.window.has_room() {
            self.call(&mut state);
            let since = Instant::now();
            state = self.room.wait(state, |state| !state.window.has_room());
            state.waited.full += since.elapsed();
        }
        state.window.has_room() && !state.stopped
    }

    /// The number of the next item to come.
    pub(super) fn wanted(&self) -> u64 {
        self.lock().window.wanted()
    }

    /// The next item is here, and `more` at hand already. There must be room for it.
    pub(super) fn put(&self, item: Item, more: bool) {
        let mut state = self.lock();
        if let Item::Chunk(chunk) = &item {
            state.received += u64::from(chunk.about.length);
            state.uncalled += u64::from(chunk.about.length);
        }
        state.items.push_back(Arc::new(item));
        state.window.take();
        state.settle();
        let now = Instant::now();
        let took = now.duration_since(std::mem::replace(&mut state.came, now));
        if !more || state.uncalled >= CALL || took >= SLOW {
            self.call(&mut state);
        }
    }

    /// Whatever is here should be looked after: no more comes for now.
    pub(super) fn pause(&self) {
        self.call(&mut self.lock());
    }

    fn call(&self, state: &mut State) {
        state.uncalled = 0;
        self.arrived.ring();
        if !state.is_stored_soon() {
            self.ready.ring();
        }
    }

    /// Nothing more will come.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.wake();
    }

    /// All threads are to end.
    pub(super) fn stop(&self) {
        self.lock().stopped = true;
        self.wake();
    }

    /// All threads are to end: something here is broken, and this says what.
    pub(super) fn fail(&self, why: String) {
        self.lock().failure = Some(why);
        self.stop();
    }

    /// What is broken, once [`Bank::fail`] was called.
    pub(super) fn failure(&self) -> Option<String> {
        self.lock().failure.clone()
    }

    fn wake(&self) {
        for bell in [&self.arrived, &self.ready, &self.room] {
            bell.bell.notify_all();
        }
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.lock().stopped
    }

    /// Waits a moment for something to send.
    pub(super) fn next_to_send(&self) -> Next {
        let since = Instant::now();
        let soon = |state: &State| state.is_stored_soon();
        let mut state = self.ready.wait(self.lock(), soon);
        state.waited.idle += since.elapsed();
        let unwritten = state.window.unwritten();
        let next = self.next((state, &self.ready), Window::to_send, |waited| {
            &mut waited.idle
        });
        match next {
            // What is not stored yet will be in a moment, when something else was sent.
            Next::Items(number, mut items) if number < unwritten => {
                items.truncate(usize::try_from(unwritten - number).unwrap_or(usize::MAX));
                Next::Items(number, items)
            }
            other => other,
        }
    }

    /// Waits a moment for something to write.
    pub(super) fn next_to_write(&self) -> Next {
        let state = (self.lock(), &self.arrived);
        self.next(state, Window::to_write, |waited| &mut waited.dry)
    }

    fn next(
        &self,
        (mut state, more): (MutexGuard<'_, State>, &Bell),
        which: fn(&Window) -> Option<u64>,
        waited: fn(&mut Waited) -> &mut Duration,
    ) -> Next {
        let idle = |state: &State| which(&state.window).is_none() && !state.closed;
        if idle(&state) {
            let since = Instant::now();
            state = more.wait(state, idle);
            *waited(&mut state.waited) += since.elapsed();
        }
        if state.stopped {
            return Next::Closed;
        }
        let some = which(&state.window).map(|number| (number, state.from(number)));
        match some {
            Some((number, items)) if !items.is_empty() => Next::Items(number, items),
            _ if state.closed => Next::Closed,
            _ => Next::Nothing,
        }
    }

    /// So many of the items that were to send are sent. What the golden node can read again
    /// is not kept in memory.
    pub(super) fn sent(&self, items: u64) {
        let mut state = self.lock();
        for _ in 0..items {
            let item = state.window.to_send().and_then(|n| state.item(n));
            if let Some(Item::Chunk(chunk)) = item.as_deref() {
                state.sent += u64::from(chunk.about.length);
                state.travelled += u64::from(chunk.about.payload);
                let number = state.window.unsent();
                if let Some(chunk) = chunk.to_be_read_again() {
                    state.replace(number, chunk);
                }
            }
            state.window.sent();
        }
        state.settle();
        self.room.ring();
    }

    /// Items that were to write are written. The memory of what can be read from the
    /// target is free as soon as nobody uses it any more.
    pub(super) fn written(&self, written: Written) {
        let mut state = self.lock();
        for _ in 0..written.items {
            state.window.written();
        }
        state.stored += written.bytes;
        for (number, file) in written.stored {
            if let Some(Item::Chunk(chunk)) = state.item(number).as_deref() {
                state.replace(number, chunk.stored(file));
            }
        }
        state.settle();
        if !state.is_stored_soon() {
            self.ready.ring();
        }
        self.room.ring();
    }

    /// A new neighbour wants to go on here.
    pub(super) fn rewind(&self, number: u64) -> Result<(), Forgotten> {
        self.lock().window.rewind(number)
    }

    /// What a new old neighbour means with the number of the chunk that it wants: they count
    /// within a file and do not say in which one they are. `told`: the file that was begun
    /// with the neighbour before it; without one it is that of what is to be sent. Gives the
    /// number of the item to go on with, and the file that the neighbour is in.
    ///
    /// # Errors
    /// It is not here any more, or could be in several small files.
    pub(super) fn meant(
        &self,
        told: Option<u16>,
        wanted: u32,
    ) -> Result<(u64, Option<u16>), &'static str> {
        let state = self.lock();
        let unsent = state.window.unsent();
        let due = match state.item(unsent).as_deref() {
            Some(Item::Chunk(chunk)) => Some(chunk.about.file),
            _ => None,
        };
        let Some(told) = told.or(due) else {
            // Nobody has got anything.
            return (wanted == 0)
                .then_some((unsent, None))
                .ok_or("and nothing was sent yet");
        };
        let mut places = Vec::new();
        for (number, item) in (state.first..).zip(&state.items) {
            let Item::Chunk(chunk) = item.as_ref() else {
                continue;
            };
            let file = chunk.about.file;
            if chunk.part.at == 0 && chunk.part.number == wanted && file <= told {
                places.push((number, Some(file)));
            }
            if chunk.ends_whole() && chunk.part.number.checked_add(1) == Some(wanted) {
                places.push((number + 1, Some(file)));
            }
        }
        // It cannot be further than the one before it.
        places.retain(|(number, _)| *number <= unsent);
        places.dedup();
        match places[..] {
            [place] => Ok(place),
            [] => Err("which is not here any more"),
            _ => Err("and old programs do not say of which file"),
        }
    }

    /// The others go on without this computer.
    pub(super) fn leave_behind(&self) {
        self.lock().behind = true;
        self.wake();
    }

    /// Whether they do.
    pub(super) fn is_behind(&self) -> bool {
        self.lock().behind
    }

    /// How its threads have spent their time.
    pub(super) fn pace(&self) -> Pace {
        let state = self.lock();
        let millis = |time: Duration| u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
        Pace {
            up: millis(state.since.elapsed()),
            full: millis(state.waited.full),
            idle: millis(state.waited.idle),
            dry: millis(state.waited.dry),
        }
    }

    pub(super) fn level(&self) -> Level {
        let state = self.lock();
        let unsent = state.window.wanted() - state.window.unsent();
        Level {
            received: state.received,
            sent: state.sent,
            stored: state.stored,
            travelled: state.travelled,
            unsent,
            drained: state.closed && unsent == 0,
        }
    }
}

impl State {
    /// Whether the chunk that is to be sent will most likely be stored in a moment. The
    /// last one of a file is not: first the disk gets everything that is on its way there.
    fn is_stored_soon(&self) -> bool {
        let Some(next) = self.window.to_send() else {
            return false;
        };
        let unwritten = self.window.unwritten();
        let behind = self.window.wanted() - unwritten;
        match self.item(next).as_deref() {
            Some(Item::Chunk(chunk)) => next >= unwritten && chunk.is_plain() && behind <= KEEPS_UP,
            _ => false,
        }
    }

    fn item(&self, number: u64) -> Option<Arc<Item>> {
        let at = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.items.get(at).cloned()
    }

    /// What is here from a number on, no more than is taken at once.
    fn from(&self, number: u64) -> Vec<Arc<Item>> {
        let items = (number..number + BATCH).map_while(|number| self.item(number));
        items.collect()
    }

    fn replace(&mut self, number: u64, chunk: Chunk) {
        let at = number.checked_sub(self.first);
        let at = at.and_then(|at| usize::try_from(at).ok());
        if let Some(item) = at.and_then(|at| self.items.get_mut(at)) {
            *item = Arc::new(Item::Chunk(chunk));
        }
    }

    fn settle(&mut self) {
        while self.first < self.window.oldest() && !self.items.is_empty() {
            self.items.pop_front();
            self.first += 1;
        }
    }
}

#[cfg(test)]
mod tests;
