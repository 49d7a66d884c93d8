//! The stream in memory: one writer, several readers, and what they have left behind, for
//! a reader that comes later and begins further back.
//!
//! The slowest reader sets the pace: the writer is at most [`LEAD`] ahead of it. What is
//! kept in all is bounded by [`CAPACITY`], and [`KEPT`] of it is stream, so at least the
//! difference between that and the lead is kept behind the slowest one.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Deref;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How much is kept, in bytes.
pub const CAPACITY: usize = 64 << 20;
/// Of that so much is stream at least; the rest may be memory that is not quite full.
pub const KEPT: u64 = CAPACITY as u64 / 8 * 7;
/// How far the writer may be ahead of the slowest reader.
pub const LEAD: u64 = 16 << 20;
/// How much is written at once, at most.
pub(super) const CHUNK: usize = 256 << 10;
/// Memory that waits to be used again.
const SPARE: usize = 4;
/// Smaller pieces are put together: memory that is not full would count as full.
const SMALL: usize = CHUNK / 8 * 7;

/// A piece of the stream: so many bytes of its memory, which keeps its length. Cutting it off
/// would mean to fill it with zeros when it is used again.
#[derive(Debug)]
pub(super) struct Piece {
    memory: Vec<u8>,
    length: usize,
}

impl Deref for Piece {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.memory[..self.length]
    }
}

/// A piece that several readers may hold.
type Chunk = Arc<Piece>;

#[derive(Debug)]
pub(super) struct Ring {
    state: Mutex<State>,
    /// There is more to read, or an end.
    more: Condvar,
    /// There is more room to write.
    room: Condvar,
}

#[derive(Debug)]
struct State {
    /// With the stream position of each.
    chunks: VecDeque<(u64, Chunk)>,
    head: u64,
    /// Memory in `chunks`, in bytes.
    cost: usize,
    spare: Vec<Vec<u8>>,
    readers: BTreeMap<u64, u64>,
    next_reader: u64,
    /// The writer may not go beyond.
    limit: u64,
    ended: bool,
    stopped: bool,
}

/// What a reader gets.
#[derive(Debug)]
pub(super) enum Step {
    /// Bytes from its position on: those of the chunk from this index on.
    Bytes(Chunk, usize),
    /// All was read.
    End,
    /// Nobody wants this any more.
    Stopped,
}

impl Ring {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                chunks: VecDeque::new(),
                head: 0,
                cost: 0,
                spare: Vec::new(),
                readers: BTreeMap::new(),
                next_reader: 0,
                limit: u64::MAX,
                ended: false,
                stopped: false,
            }),
            more: Condvar::new(),
            room: Condvar::new(),
        })
    }

    /// How much may be written now; waits for room, at most so long. Zero: there is none
    /// yet, or it is stopped.
    pub(super) fn room(&self, limit: Duration) -> usize {
        let end = Instant::now() + limit;
        let mut state = self.lock();
        loop {
            let room = state.room();
            let left = end.saturating_duration_since(Instant::now());
            if room > 0 || state.stopped || left.is_zero() {
                return if state.stopped { 0 } else { room };
            }
            let waited = self.room.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Memory to read into: [`CHUNK`] bytes.
    pub(super) fn buffer(&self) -> Vec<u8> {
        let spare = self.lock().spare.pop();
        spare.unwrap_or_else(|| vec![0; CHUNK])
    }

    /// Adds the first `length` bytes of what [`Ring::buffer`] gave.
    pub(super) fn push(&self, buffer: Vec<u8>, length: usize) {
        let mut state = self.lock();
        if length == 0 || state.stopped || state.ended {
            state.keep(buffer);
            return;
        }
        let at = state.head;
        state.head += length as u64;
        if length >= SMALL {
            state.add(at, buffer, length);
        } else {
            state.append(at, &buffer[..length]);
            state.keep(buffer);
        }
        state.forget();
        drop(state);
        self.more.notify_all();
    }

    /// No more comes.
    pub(super) fn end(&self) {
        self.lock().ended = true;
        self.more.notify_all();
    }

    /// Whoever waits here is to leave.
    pub(super) fn stop(&self) {
        self.lock().stopped = true;
        self.more.notify_all();
        self.room.notify_all();
    }

    /// Whether whoever waits here is to leave.
    pub(super) fn is_stopped(&self) -> bool {
        self.lock().stopped
    }

    /// The writer may go so far.
    pub(super) fn set_limit(&self, limit: u64) {
        self.lock().limit = limit;
        self.room.notify_all();
    }

    /// What is kept: from the first position to the second.
    pub(super) fn kept(&self) -> (u64, u64) {
        let state = self.lock();
        (state.oldest(), state.head)
    }

    /// A reader that begins here; `None` when that is not kept.
    pub(super) fn reader(self: &Arc<Self>, position: u64) -> Option<Reader> {
        let mut state = self.lock();
        if position < state.oldest() || position > state.head {
            return None;
        }
        let id = state.next_reader;
        state.next_reader += 1;
        state.readers.insert(id, position);
        drop(state);
        Some(Reader {
            ring: Arc::clone(self),
            id,
            position,
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn oldest(&self) -> u64 {
        self.chunks.front().map_or(self.head, |(at, _)| *at)
    }

    fn slowest(&self) -> u64 {
        self.readers.values().copied().min().unwrap_or(self.head)
    }

    fn room(&self) -> usize {
        // Whoever reads next is still on its way; it must not be too late.
        if self.readers.is_empty() {
            return 0;
        }
        let slowest = self.slowest();
        let behind = self.head - slowest;
        // Not for each little that a slow reader takes: that wakes up a thread.
        let lead = LEAD.saturating_sub(behind);
        let lead = if lead < CHUNK as u64 { 0 } else { lead };
        let room = lead.min(self.limit.saturating_sub(self.head));
        // Only tiny pieces cost so much more than they hold.
        if self.cost >= CAPACITY && self.is_needed(slowest) {
            return 0;
        }
        usize::try_from(room).unwrap_or(usize::MAX).min(CHUNK)
    }

    /// Whether somebody still reads the oldest piece.
    fn is_needed(&self, slowest: u64) -> bool {
        let front = self.chunks.front();
        front.is_some_and(|(at, chunk)| at + chunk.len() as u64 > slowest)
    }

    fn add(&mut self, at: u64, memory: Vec<u8>, length: usize) {
        self.cost += cost(&memory);
        let piece = Piece { memory, length };
        self.chunks.push_back((at, Arc::new(piece)));
    }

    /// Puts a small piece behind the last one, as far as there is room and nobody is reading
    /// that just now.
    fn append(&mut self, mut at: u64, mut bytes: &[u8]) {
        if let Some((_, last)) = self.chunks.back_mut()
            && let Some(last) = Arc::get_mut(last)
        {
            let room = &mut last.memory[last.length..];
            let length = room.len().min(bytes.len());
            room[..length].copy_from_slice(&bytes[..length]);
            last.length += length;
            at += length as u64;
            bytes = &bytes[length..];
        }
        if !bytes.is_empty() {
            let mut memory = vec![0; (2 * bytes.len()).clamp(4096, CHUNK)];
            memory[..bytes.len()].copy_from_slice(bytes);
            self.add(at, memory, bytes.len());
        }
    }

    /// Forgets what is too much and what nobody reads.
    fn forget(&mut self) {
        while self.cost > CAPACITY {
            if self.is_needed(self.slowest()) {
                return;
            }
            let Some((_, chunk)) = self.chunks.pop_front() else {
                return;
            };
            self.cost -= cost(&chunk.memory);
            if let Ok(piece) = Arc::try_unwrap(chunk) {
                self.keep(piece.memory);
            }
        }
    }

    fn keep(&mut self, memory: Vec<u8>) {
        if memory.len() == CHUNK && self.spare.len() < SPARE {
            self.spare.push(memory);
        }
    }
}

/// What a chunk takes, with what describes it.
fn cost(memory: &[u8]) -> usize {
    memory.len() + 64
}

/// One reader; forgotten when dropped.
#[derive(Debug)]
pub(super) struct Reader {
    ring: Arc<Ring>,
    id: u64,
    position: u64,
}

impl Reader {
    /// The next bytes; waits for them.
    pub(super) fn next(&self) -> Step {
        let mut state = self.ring.lock();
        loop {
            if state.stopped {
                return Step::Stopped;
            }
            if self.position < state.head {
                // The last chunk that begins at or before the position has it.
                let place = state.chunks.partition_point(|(at, _)| *at <= self.position);
                let found = place.checked_sub(1).and_then(|i| state.chunks.get(i));
                let Some((at, chunk)) = found else {
                    return Step::Stopped;
                };
                let from = usize::try_from(self.position - at).unwrap_or(usize::MAX);
                return Step::Bytes(Arc::clone(chunk), from);
            }
            if state.ended {
                return Step::End;
            }
            let waited = self.ring.more.wait(state);
            state = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// So many bytes are through.
    pub(super) fn advance(&mut self, bytes: usize) {
        self.position += bytes as u64;
        let mut state = self.ring.lock();
        state.readers.insert(self.id, self.position);
        let room = state.room();
        drop(state);
        if room > 0 {
            self.ring.room.notify_all();
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.ring.lock().readers.remove(&self.id);
        self.ring.room.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SOON: Duration = Duration::from_millis(1);

    fn write(ring: &Ring, bytes: &[u8]) {
        let mut buffer = ring.buffer();
        buffer[..bytes.len()].copy_from_slice(bytes);
        ring.push(buffer, bytes.len());
    }

    fn read(reader: &mut Reader) -> Vec<u8> {
        let mut all = Vec::new();
        while let Step::Bytes(chunk, from) = reader.next() {
            all.extend_from_slice(&chunk[from..]);
            reader.advance(chunk.len() - from);
        }
        all
    }

    #[test]
    fn a_late_reader_gets_what_is_kept_and_no_other() {
        let ring = Ring::new();
        for i in 0..500u64 {
            write(&ring, &vec![i as u8; CHUNK]);
        }
        let (oldest, head) = ring.kept();
        assert_eq!(head, 500 * CHUNK as u64);
        let kept = head - oldest;
        assert!(
            kept <= CAPACITY as u64 && kept >= CAPACITY as u64 * 9 / 10,
            "{kept}"
        );
        assert!(ring.reader(oldest - 1).is_none());
        assert!(ring.reader(head + 1).is_none());
        ring.end();
        let mut late = ring.reader(oldest + 5).unwrap();
        assert_eq!(read(&mut late).len() as u64, kept - 5);
    }

    /// A tar writes records of 64 KiB, so that is what a read of a pipe may give.
    #[test]
    fn as_much_is_kept_however_it_comes() {
        for size in [10_000, 65_536, 130_000, SMALL - 1, SMALL, CHUNK] {
            let ring = Ring::new();
            for _ in 0..2 * CAPACITY / size {
                write(&ring, &vec![1; size]);
            }
            let (oldest, head) = ring.kept();
            let kept = head - oldest;
            assert!(
                kept + 2 * CHUNK as u64 >= KEPT,
                "{kept} of pieces of {size}"
            );
            assert!(ring.lock().cost <= CAPACITY + 2 * CHUNK);
        }
    }

    #[test]
    fn the_slowest_reader_and_the_limit_stop_the_writer() {
        let ring = Ring::new();
        let mut reader = ring.reader(0).unwrap();
        let mut written = 0;
        while ring.room(SOON) > 0 {
            write(&ring, &[1; CHUNK]);
            written += CHUNK as u64;
        }
        assert_eq!(written, LEAD);
        let Step::Bytes(chunk, 0) = reader.next() else {
            panic!("bytes expected");
        };
        reader.advance(chunk.len() - 1);
        assert_eq!(ring.room(SOON), 0, "a little");
        reader.advance(1);
        assert_eq!(ring.room(SOON), CHUNK);
        ring.set_limit(written + 10);
        assert_eq!(ring.room(SOON), 10);
        drop(reader);
        assert_eq!(ring.room(SOON), 0, "nobody reads");
        ring.stop();
        assert_eq!(ring.room(Duration::from_secs(60)), 0);
    }

    #[test]
    fn tiny_pieces_do_not_cost_more_than_there_is() {
        let ring = Ring::new();
        let reader = ring.reader(0).unwrap();
        // A reader that holds each piece keeps the next from being put behind it.
        let mut held = Vec::new();
        let mut written = 0u64;
        while written < 40_000 && ring.room(SOON) > 0 {
            write(&ring, &[7]);
            written += 1;
            if let Step::Bytes(chunk, _) = reader.next() {
                held.push(chunk);
            }
            let last = ring
                .lock()
                .chunks
                .back()
                .map(|(_, chunk)| Arc::clone(chunk));
            held.extend(last);
        }
        assert!(
            ring.lock().cost <= CAPACITY + 2 * CHUNK,
            "{}",
            ring.lock().cost
        );
    }

    proptest! {
        #[test]
        fn every_reader_gets_the_stream_from_where_it_begins(
            pieces in prop::collection::vec(1usize..70_000, 1..12),
            begin in 0.0f64..1.0,
        ) {
            let ring = Ring::new();
            let mut all = Vec::new();
            for (i, size) in pieces.iter().enumerate() {
                let bytes: Vec<u8> = (0..*size).map(|k| (k * 7 + i) as u8).collect();
                write(&ring, &bytes);
                all.extend(bytes);
            }
            ring.end();
            let from = (all.len() as f64 * begin) as usize;
            let mut reader = ring.reader(from as u64).unwrap();
            prop_assert!(read(&mut reader) == all[from..]);
        }
    }
}
