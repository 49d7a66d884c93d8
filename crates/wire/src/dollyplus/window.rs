//! Which chunks a computer may take, must keep, and can give again.
//!
//! A chunk comes in, is written here, and is sent on. It is kept for a while after that:
//! when the next computer dies, the one behind it wants to go on where it was, and that
//! is at most so far back as the dead one was allowed to hold on to.

/// How much is held, in chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How far taking may be ahead of sending. Everybody keeps to it, so it says how
    /// much can be lost with a computer.
    pub ahead: u64,
    /// How far taking may be ahead of writing.
    pub unwritten: u64,
    /// How many are kept after they were sent.
    pub kept: u64,
}

impl Limits {
    /// Those of 0.93 with chunks of 4 MiB: ten ahead, ten kept.
    pub const OLD: Self = Self {
        ahead: 10,
        unwritten: 10,
        kept: 10,
    };
    /// Those of goldring's clients in a ring with old ones, in parts of 256 KiB, sixteen to a
    /// chunk. Old neighbours keep ten chunks, so little is held; an old neighbour may hold ten
    /// chunks, and begins again with a whole one, so much is kept.
    pub const PARTS: Self = Self {
        ahead: 32,
        unwritten: 96,
        kept: 14 * 16,
    };
    /// Those of goldring with chunks of 256 KiB: enough for four neighbours at once, the
    /// buffers of their sockets included.
    pub const OWN: Self = Self {
        ahead: 32,
        unwritten: 96,
        kept: 192,
    };
}

/// The state of the window. Chunks are counted over all files from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    limits: Limits,
    /// The next to come.
    wanted: u64,
    /// The next to be sent; without a neighbour it follows `wanted`.
    unsent: u64,
    /// The next to be written.
    unwritten: u64,
    /// The oldest that is here.
    oldest: u64,
    has_next: bool,
    writes: bool,
}

/// A chunk that is not here any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("chunk {wanted} is wanted, and the oldest that is still here is {oldest}")]
pub struct Forgotten {
    /// The chunk.
    pub wanted: u64,
    /// The oldest here.
    pub oldest: u64,
}

impl Window {
    /// An empty one. `has_next`: chunks are sent on; `writes`: and written here.
    pub fn new(limits: Limits, has_next: bool, writes: bool) -> Self {
        Self {
            limits,
            wanted: 0,
            unsent: 0,
            unwritten: 0,
            oldest: 0,
            has_next,
            writes,
        }
    }

    /// Starts at another chunk than 0, before anything came.
    pub fn starting_at(mut self, first: u64) -> Self {
        self.wanted = first;
        self.unsent = first;
        self.unwritten = first;
        self.oldest = first;
        self
    }

    /// The next chunk to come.
    pub fn wanted(&self) -> u64 {
        self.wanted
    }

    /// The next to be sent.
    pub fn unsent(&self) -> u64 {
        self.unsent
    }

    /// The next to be written.
    pub fn unwritten(&self) -> u64 {
        self.unwritten
    }

    /// The oldest that is kept; everything before it may go.
    pub fn oldest(&self) -> u64 {
        self.oldest
    }

    /// Whether one more may come in.
    pub fn has_room(&self) -> bool {
        let unsent = self.wanted.saturating_sub(self.unsent);
        let unwritten = self.wanted.saturating_sub(self.unwritten);
        (!self.has_next || unsent < self.limits.ahead)
            && (!self.writes || unwritten < self.limits.unwritten)
    }

    /// The next chunk came in.
    pub fn take(&mut self) {
        self.wanted += 1;
        self.settle();
    }

    /// The chunk to send now, if one is here.
    pub fn to_send(&self) -> Option<u64> {
        (self.has_next && self.unsent < self.wanted).then_some(self.unsent)
    }

    /// It was sent.
    pub fn sent(&mut self) {
        if self.to_send().is_some() {
            self.unsent += 1;
        }
        self.settle();
    }

    /// The chunk to write now, if one is here.
    pub fn to_write(&self) -> Option<u64> {
        (self.writes && self.unwritten < self.wanted).then_some(self.unwritten)
    }

    /// It was written.
    pub fn written(&mut self) {
        if self.to_write().is_some() {
            self.unwritten += 1;
        }
        self.settle();
    }

    /// A new neighbour wants to go on at `chunk`.
    ///
    /// # Errors
    /// It was thrown away already, or has never been here.
    pub fn rewind(&mut self, chunk: u64) -> Result<(), Forgotten> {
        if chunk < self.oldest || chunk > self.wanted {
            let (wanted, oldest) = (chunk, self.oldest);
            return Err(Forgotten { wanted, oldest });
        }
        self.unsent = chunk;
        self.has_next = true;
        Ok(())
    }

    fn settle(&mut self) {
        if !self.has_next {
            self.unsent = self.wanted;
        }
        if !self.writes {
            self.unwritten = self.wanted;
        }
        let keep_from = self.unsent.saturating_sub(self.limits.kept);
        let floor = keep_from.min(self.unwritten);
        self.oldest = self.oldest.max(floor);
    }
}
