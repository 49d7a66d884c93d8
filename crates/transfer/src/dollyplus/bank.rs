//! The chunks that are here: one thread puts them in, one sends them on, one writes
//! them. [`Window`] decides what may come, what must stay and what can go.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use goldring_wire::dollyplus::pace::Pace;
use goldring_wire::dollyplus::window::{Forgotten, Limits, Window};

use super::chunk::{Chunk, Item};

/// How often a thread that waits looks around.
const GLANCE: Duration = Duration::from_millis(200);

#[derive(Debug)]
struct State {
    window: Window,
    items: VecDeque<Arc<Item>>,
    /// The number of the first of `items`.
    first: u64,
    /// Nothing more comes.
    closed: bool,
    stopped: bool,
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
    moved: Condvar,
}

/// What there is to do for a thread that takes.
#[derive(Debug, Clone)]
pub(super) enum Next {
    /// This.
    Item(Arc<Item>),
    /// Nothing at the moment.
    Nothing,
    /// Nothing ever again.
    Closed,
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
                closed: false,
                stopped: false,
                received: 0,
                sent: 0,
                stored: 0,
                travelled: 0,
                since: Instant::now(),
                waited: Waited::default(),
                behind: false,
            }),
            moved: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let waited = self.moved.wait_timeout(state, GLANCE);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Waits a moment for room; whether there is some.
    pub(super) fn has_room(&self) -> bool {
        let mut state = self.lock();
        if !state.window.has_room() && !state.stopped {
            let since = Instant::now();
            state = self.wait(state);
            state.waited.full += since.elapsed();
        }
        state.window.has_room() && !state.stopped
    }

    /// The number of the next item to come.
    pub(super) fn wanted(&self) -> u64 {
        self.lock().window.wanted()
    }

    /// The next item is here. There must be room for it.
    pub(super) fn put(&self, item: Item) {
        let mut state = self.lock();
        if let Item::Chunk(chunk) = &item {
            state.received += u64::from(chunk.about.length);
        }
        state.items.push_back(Arc::new(item));
        state.window.take();
        state.settle();
        self.moved.notify_all();
    }

    /// Nothing more will come.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.moved.notify_all();
    }

    /// All threads are to end.
    pub(super) fn stop(&self) {
        self.lock().stopped = true;
        self.moved.notify_all();
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.lock().stopped
    }

    /// Waits a moment for something to send.
    pub(super) fn next_to_send(&self) -> Next {
        self.next(Window::to_send, |waited| &mut waited.idle)
    }

    /// Waits a moment for something to write.
    pub(super) fn next_to_write(&self) -> Next {
        self.next(Window::to_write, |waited| &mut waited.dry)
    }

    fn next(
        &self,
        which: fn(&Window) -> Option<u64>,
        waited: fn(&mut Waited) -> &mut Duration,
    ) -> Next {
        let mut state = self.lock();
        if which(&state.window).is_none() && !state.stopped && !state.closed {
            let since = Instant::now();
            state = self.wait(state);
            *waited(&mut state.waited) += since.elapsed();
        }
        if state.stopped {
            return Next::Closed;
        }
        match which(&state.window).and_then(|number| state.item(number)) {
            Some(item) => Next::Item(item),
            None if state.closed => Next::Closed,
            None => Next::Nothing,
        }
    }

    /// The item that was to send is sent.
    pub(super) fn sent(&self) {
        let mut state = self.lock();
        let item = state.window.to_send().and_then(|n| state.item(n));
        if let Some(Item::Chunk(chunk)) = item.as_deref() {
            state.sent += u64::from(chunk.about.length);
            state.travelled += u64::from(chunk.about.payload);
        }
        state.window.sent();
        state.settle();
        self.moved.notify_all();
    }

    /// The item that was to write is written.
    pub(super) fn written(&self, bytes: u64) {
        let mut state = self.lock();
        state.window.written();
        state.stored += bytes;
        state.settle();
        self.moved.notify_all();
    }

    /// The number of the next item to be sent.
    pub(super) fn unsent(&self) -> u64 {
        self.lock().window.unsent()
    }

    /// A new neighbour wants to go on here.
    pub(super) fn rewind(&self, number: u64) -> Result<(), Forgotten> {
        self.lock().window.rewind(number)
    }

    /// The number of the chunk that an old neighbour calls `in_file`: it counts within
    /// the file, and means the one that is just being sent.
    pub(super) fn number_of(&self, in_file: u32) -> Option<u64> {
        let state = self.lock();
        let chunks = || {
            let numbered = (state.first..).zip(&state.items);
            numbered.filter_map(|(number, item)| match item.as_ref() {
                Item::Chunk(chunk) => Some((number, chunk)),
                _ => None,
            })
        };
        let unsent = state.window.unsent();
        let current = chunks().rfind_file(unsent)?;
        let mut last = None;
        for (number, chunk) in chunks().filter(|(_, chunk)| chunk.about.file == current) {
            if chunk.in_file == in_file {
                return Some(number);
            }
            last = Some((number, chunk.in_file));
        }
        let (number, highest) = last?;
        (in_file == highest + 1).then_some(number + 1)
    }

    /// The file of the chunk with this number.
    pub(super) fn file_of(&self, number: u64) -> Option<u16> {
        match self.lock().item(number).as_deref() {
            Some(Item::Chunk(chunk)) => Some(chunk.about.file),
            _ => None,
        }
    }

    /// The others go on without this computer.
    pub(super) fn leave_behind(&self) {
        self.lock().behind = true;
        self.moved.notify_all();
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
    fn item(&self, number: u64) -> Option<Arc<Item>> {
        let at = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.items.get(at).cloned()
    }

    fn settle(&mut self) {
        while self.first < self.window.oldest() && !self.items.is_empty() {
            self.items.pop_front();
            self.first += 1;
        }
    }
}

/// The file of the chunk at a number, or of the last one before it.
trait FindFile {
    fn rfind_file(self, number: u64) -> Option<u16>;
}

impl<'a, I: Iterator<Item = (u64, &'a Chunk)>> FindFile for I {
    fn rfind_file(self, number: u64) -> Option<u16> {
        self.take_while(|(at, _)| *at <= number)
            .last()
            .map(|(_, chunk)| chunk.about.file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits {
            ahead: 2,
            unwritten: 3,
            kept: 2,
        }
    }

    #[test]
    fn what_two_threads_are_through_with_is_kept_for_a_while_and_goes() {
        let bank = Bank::new(limits(), true, 0);
        for _ in 0..2 {
            assert!(bank.has_room());
            bank.put(Item::End);
        }
        assert!(!bank.has_room(), "two are not sent");
        for _ in 0..2 {
            assert!(matches!(bank.next_to_send(), Next::Item(_)));
            bank.sent();
        }
        bank.put(Item::End);
        assert!(!bank.has_room(), "three are not written");
        for _ in 0..3 {
            bank.written(0);
        }
        bank.sent();
        assert_eq!(bank.rewind(0).unwrap_err().oldest, 1);
        bank.rewind(1).unwrap();
        assert!(matches!(bank.next_to_send(), Next::Item(_)));
        bank.close();
        bank.sent();
        bank.sent();
        assert!(matches!(bank.next_to_send(), Next::Closed));
        assert!(bank.level().drained);
    }
}
