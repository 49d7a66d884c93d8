//! The ramdisk as the pump's sink.

use std::fs::File;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use goldring_contract::limits::DISK_HELD;
use goldring_sys::block;
use goldring_transfer::digest::Sha256;
use goldring_transfer::pump;

use crate::ramdisk::Ramdisks;

/// How much may be in memory twice: as cached pages and on the ramdisk.
const STEP: u64 = 8 << 20;

/// What the thread that writes and the one that listens tell each other.
#[derive(Debug, Default)]
pub(super) struct Shared {
    total: Mutex<Option<u64>>,
    digest: Mutex<String>,
}

impl Shared {
    /// So much will come.
    pub(super) fn announce(&self, total: u64) {
        *lock(&self.total) = Some(total);
    }

    /// How much will come, when somebody has said it.
    pub(super) fn total(&self) -> Option<u64> {
        *lock(&self.total)
    }

    /// The digest of what came; empty until it is complete.
    pub(super) fn digest(&self) -> String {
        lock(&self.digest).clone()
    }
}

fn lock<T>(value: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes a ramdisk from its beginning to its end. The beginning is kept until more
/// comes: by then the total is known, or never will be before the end, and the ramdisk
/// can still be made larger than it is.
#[derive(Debug)]
pub(super) struct Sink {
    ramdisks: Ramdisks,
    number: u8,
    /// Its size, and how large it may become, in bytes.
    size: (u64, u64),
    shared: Arc<Shared>,
    held: Vec<u8>,
    file: Option<File>,
    position: u64,
    settled: u64,
    digest: Sha256,
}

impl Sink {
    pub(super) fn new(
        ramdisks: Ramdisks,
        number: u8,
        size: (u64, u64),
        shared: Arc<Shared>,
    ) -> Self {
        Self {
            ramdisks,
            number,
            size,
            shared,
            held: Vec::new(),
            file: None,
            position: 0,
            settled: 0,
            digest: Sha256::default(),
        }
    }

    /// The ramdisk, from the first byte that is not held back.
    fn file(&mut self) -> io::Result<&mut File> {
        if self.file.is_none() {
            let (size, most) = self.size;
            let needed = self.shared.total().unwrap_or(most);
            if needed > size {
                // `ramdisk_size=64000` of an old PXE entry, say: a limit, and too low.
                self.ramdisks.make(most)?;
            }
            let (mut file, _) = self.ramdisks.open(self.number)?;
            file.write_all(&self.held)?;
            self.held = Vec::new();
            self.file = Some(file);
        }
        self.file.as_mut().ok_or(io::ErrorKind::NotFound.into())
    }

    fn settle(&mut self) -> io::Result<()> {
        let (from, to) = (self.settled, self.position);
        self.settled = to;
        block::settle(self.file()?, from, to - from)
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = if self.file.is_none() && self.held.len() < DISK_HELD {
            let room = DISK_HELD - self.held.len();
            let written = room.min(bytes.len());
            self.held.extend_from_slice(&bytes[..written]);
            written
        } else {
            self.file()?.write(bytes)?
        };
        self.digest.add(&bytes[..written]);
        self.position += written as u64;
        if self.file.is_some() && self.position - self.settled >= STEP {
            self.settle()?;
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl pump::Sink for Sink {
    fn finish(&mut self) -> io::Result<()> {
        self.file()?;
        self.settle()?;
        // Closed before the count goes up: whoever hears of it mounts the ramdisk.
        self.file = None;
        *lock(&self.shared.digest) = std::mem::take(&mut self.digest).hex();
        Ok(())
    }
}
