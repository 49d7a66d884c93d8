//! The pump: one source, several sinks, all at work at the same time.
//!
//! A thread reads into large buffers from a bounded pool; each sink (the disk, each
//! child) has a thread of its own and gets every buffer in order. A buffer goes back to
//! the pool when its last sink is through with it, so the slowest sink sets the pace and
//! memory stays bounded. A part of a file can be handed on instead of a buffer, and no
//! data at all where a file has a hole. Nothing here knows sockets.

use std::fs::File;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::pace::Pace;
use crate::pool::Pool;
use crate::range::{Range, RangeError};
use crate::zeros::zeros;

/// The size of a buffer in bytes.
pub const BUFFER: usize = 1 << 20;
/// The most buffers of one pump.
pub const BUFFERS_MAX: usize = 32;
/// Buffers begin at a multiple of this.
const ALIGN: usize = 4096;
/// A slow sink gets so many bytes at once, so that progress is seen.
const SLICE: usize = 128 << 10;
/// How often a thread that waits looks whether it should stop.
const GLANCE: Duration = Duration::from_millis(100);

/// Where data goes.
pub trait Sink: Write + Send {
    /// Called once, after the last byte.
    ///
    /// # Errors
    /// The data is not where it should be.
    fn finish(&mut self) -> io::Result<()> {
        self.flush()
    }

    /// Where these bytes, counted from the first one that was ever written, can be read
    /// again by now; `None` while, or if, they cannot.
    fn stored(&self, _bytes: std::ops::Range<u64>) -> Option<Arc<File>> {
        None
    }

    /// Takes a part of a file; a sink that can do so without copying it does.
    ///
    /// # Errors
    /// The file cannot be read, or the sink takes no more.
    fn take(&mut self, file: &File, offset: u64, len: usize) -> Result<(), RangeError> {
        crate::range::copy(file, offset, len, self)
    }
}

/// A sink and its name, as errors and reports call it.
pub struct Lane {
    /// The name.
    pub name: String,
    /// The sink.
    pub sink: Box<dyn Sink>,
}

impl std::fmt::Debug for Lane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Lane({})", self.name)
    }
}

/// How a lane is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LaneState {
    /// At work.
    Running,
    /// It has everything, and its sink finished.
    Finished,
    /// It stopped because somebody else failed.
    Stopped,
    /// It failed, with what the system said.
    Failed(io::ErrorKind, String),
    /// The file from which it was fed cannot be read, with what the system said.
    Unreadable(String),
}

/// A look at a lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneStatus {
    /// How many bytes its sink took.
    pub bytes: u64,
    /// How it is.
    pub state: LaneState,
}

/// A look at a pump.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// How many bytes were handed to the lanes.
    pub fed: u64,
    /// The lanes, in the order in which they were given.
    pub lanes: Vec<LaneStatus>,
}

impl Status {
    /// Whether every lane finished.
    pub fn is_finished(&self) -> bool {
        self.lanes
            .iter()
            .all(|lane| lane.state == LaneState::Finished)
    }
}

#[derive(Debug, Default)]
struct Shared {
    fed: AtomicU64,
    stop: AtomicBool,
    /// Everything was fed; without it, closed queues mean that somebody gave up.
    complete: AtomicBool,
}

#[derive(Debug)]
struct LaneShared {
    bytes: AtomicU64,
    state: Mutex<LaneState>,
}

/// A running pump, for whoever watches it.
#[derive(Debug)]
pub struct Pump {
    shared: Arc<Shared>,
    lanes: Vec<Arc<LaneShared>>,
}

/// The end of the pump into which data is put; goes to the thread that reads.
#[derive(Debug)]
pub struct Feeder {
    shared: Arc<Shared>,
    queues: Vec<Sender<Piece>>,
    pool: Arc<Pool>,
}

/// A buffer that belongs to the reader.
#[derive(Debug)]
pub struct Buffer {
    memory: Vec<u8>,
    start: usize,
}

impl Buffer {
    /// Its bytes, [`BUFFER`] of them.
    pub fn bytes(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + BUFFER]
    }
}

/// Data on its way; its place in the pool is free again when the last lane drops it.
#[derive(Debug)]
struct Filled {
    content: Content,
    len: usize,
    pool: Arc<Pool>,
}

#[derive(Debug)]
enum Content {
    Memory { memory: Vec<u8>, start: usize },
    File(Range),
    Zeros,
}

type Piece = Arc<Filled>;

impl Drop for Filled {
    fn drop(&mut self) {
        let memory = match &mut self.content {
            Content::Memory { memory, .. } => std::mem::take(memory),
            Content::File(range) => {
                range.forget(self.len);
                Vec::new()
            }
            Content::Zeros => Vec::new(),
        };
        self.pool.give(memory);
    }
}

/// Somebody stopped the pump.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("stopped")]
pub struct Stopped;

impl Pump {
    /// Starts a thread for each lane. At most `buffers` (up to [`BUFFERS_MAX`]) are
    /// ever made.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(lanes: Vec<Lane>, buffers: usize) -> io::Result<(Self, Feeder)> {
        let shared = Arc::new(Shared::default());
        let mut queues = Vec::new();
        let mut watched = Vec::new();
        for lane in lanes {
            let (queue, pieces) = mpsc::channel();
            let own = Arc::new(LaneShared {
                bytes: AtomicU64::new(0),
                state: Mutex::new(LaneState::Running),
            });
            let (all, mine) = (Arc::clone(&shared), Arc::clone(&own));
            thread::Builder::new()
                .name(format!("to {}", lane.name))
                .spawn(move || run_lane(lane.sink, &pieces, &all, &mine))?;
            queues.push(queue);
            watched.push(own);
        }
        let feeder = Feeder {
            shared: Arc::clone(&shared),
            queues,
            pool: Arc::new(Pool::new(buffers.clamp(2, BUFFERS_MAX))),
        };
        let lanes = watched;
        Ok((Self { shared, lanes }, feeder))
    }

    /// How it goes.
    pub fn status(&self) -> Status {
        // First the lanes: so nobody seems to have taken more than was fed.
        let lanes = self
            .lanes
            .iter()
            .map(|lane| LaneStatus {
                bytes: lane.bytes.load(Ordering::Acquire),
                state: lock(&lane.state).clone(),
            })
            .collect();
        Status {
            fed: self.shared.fed.load(Ordering::Acquire),
            lanes,
        }
    }

    /// Makes all threads stop as soon as they can. A thread inside a system call is
    /// not waited for; whoever owns its socket shuts it down.
    pub fn stop(&self) {
        self.shared.stop.store(true, Ordering::Release);
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Feeder {
    /// A free buffer; waits until a lane gives one back.
    ///
    /// # Errors
    /// The pump was stopped, or a lane failed.
    pub fn buffer(&mut self) -> Result<Buffer, Stopped> {
        let mut memory = self.place()?;
        if memory.is_empty() {
            memory = vec![0; BUFFER + ALIGN];
        }
        Ok(aligned(memory))
    }

    /// A place in the pool, with a used buffer or with none.
    fn place(&self) -> Result<Vec<u8>, Stopped> {
        loop {
            if self.is_stopped() {
                return Err(Stopped);
            }
            if let Some(memory) = self.pool.take(GLANCE) {
                return Ok(memory);
            }
        }
    }

    /// Hands the first `len` bytes of a buffer to every lane. Never blocks.
    ///
    /// # Errors
    /// A lane is gone.
    pub fn feed(&self, buffer: Buffer, len: usize) -> Result<(), Stopped> {
        let Buffer { memory, start } = buffer;
        self.hand_on(Content::Memory { memory, start }, len)
    }

    /// Hands `len` bytes of a file, at most [`BUFFER`], to every lane; waits until that
    /// many are on their way as buffers would be.
    ///
    /// # Errors
    /// The pump was stopped, or a lane is gone.
    pub fn feed_range(&self, range: Range, len: usize) -> Result<(), Stopped> {
        self.place()?;
        self.hand_on(Content::File(range), len)
    }

    /// Hands `len` zeros, at most [`BUFFER`], to every lane; waits as
    /// [`Self::feed_range`].
    ///
    /// # Errors
    /// The pump was stopped, or a lane is gone.
    pub fn feed_zeros(&self, len: usize) -> Result<(), Stopped> {
        self.place()?;
        self.hand_on(Content::Zeros, len)
    }

    fn hand_on(&self, content: Content, len: usize) -> Result<(), Stopped> {
        let piece = Arc::new(Filled {
            content,
            len: len.min(BUFFER),
            pool: Arc::clone(&self.pool),
        });
        self.shared
            .fed
            .fetch_add(piece.len as u64, Ordering::AcqRel);
        for queue in &self.queues {
            queue.send(Arc::clone(&piece)).map_err(|_| Stopped)?;
        }
        Ok(())
    }

    /// Everything was fed: the lanes finish once their queues are empty.
    pub fn complete(self) {
        self.shared.complete.store(true, Ordering::Release);
    }

    /// Whether somebody stopped the pump.
    pub fn is_stopped(&self) -> bool {
        self.shared.stop.load(Ordering::Acquire)
    }

    /// How many buffers were made so far.
    pub fn buffers_made(&self) -> usize {
        self.pool.made()
    }
}

fn aligned(memory: Vec<u8>) -> Buffer {
    let start = memory.as_ptr().align_offset(ALIGN).min(ALIGN);
    Buffer { memory, start }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn run_lane(mut sink: Box<dyn Sink>, pieces: &Receiver<Piece>, all: &Shared, own: &LaneShared) {
    let result = drain(sink.as_mut(), pieces, all, own);
    let state = match result {
        Ok(true) => LaneState::Finished,
        Ok(false) => LaneState::Stopped,
        Err(RangeError::Sink(error)) => LaneState::Failed(error.kind(), error.to_string()),
        Err(RangeError::File(error)) => LaneState::Unreadable(error.to_string()),
    };
    // Whoever sees the new state may end the program, and a sink may have to tidy up.
    drop(sink);
    *lock(&own.state) = state;
}

/// `Ok(false)`: somebody else gave up.
fn drain(
    sink: &mut dyn Sink,
    pieces: &Receiver<Piece>,
    all: &Shared,
    own: &LaneShared,
) -> Result<bool, RangeError> {
    let mut pace = Pace::new(SLICE, BUFFER);
    for piece in pieces {
        let mut done = 0;
        while done < piece.len {
            if all.stop.load(Ordering::Acquire) {
                return Ok(false);
            }
            let n = pace.bytes().min(piece.len - done);
            let begin = Instant::now();
            give(sink, &piece.content, done, n)?;
            done += n;
            own.bytes.fetch_add(n as u64, Ordering::AcqRel);
            pace.took(n, begin.elapsed());
        }
    }
    if !all.complete.load(Ordering::Acquire) {
        return Ok(false);
    }
    sink.finish().map_err(RangeError::Sink)?;
    Ok(true)
}

/// Gives a sink the `n` bytes from `done` on.
fn give(sink: &mut dyn Sink, content: &Content, done: usize, n: usize) -> Result<(), RangeError> {
    match content {
        // Short writes and EINTR are dealt with in write_all.
        Content::Memory { memory, start } => sink
            .write_all(&memory[start + done..start + done + n])
            .map_err(RangeError::Sink),
        Content::Zeros => sink.write_all(zeros(n)).map_err(RangeError::Sink),
        Content::File(range) => sink.take(&range.file, range.offset + done as u64, n),
    }
}
