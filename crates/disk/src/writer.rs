//! Writing a target so that a disk that is not whole does not look bootable.
//!
//! The first MiB (boot code, partition table, super block) is kept in memory until
//! the last byte is on the disk. On a device its place is filled with zeros as soon as
//! anything behind it is written. Write-back is started every few MiB and waited for
//! a window later, so that memory does not fill and the last sync is short. Zeros are not
//! written where they are already, or where the disk can be told to have them.

use std::fs::File;
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::target::{Kind, Target};
use crate::zeros::{self, Run};

/// How much of the beginning is held back.
pub const HELD: usize = goldring_contract::limits::DISK_HELD;
/// How much is written between two starts of write-back.
const STEP: u64 = 8 << 20;
/// How much may be on its way to the disk.
const WINDOW: u64 = 64 << 20;
/// How often and how long the partition table is read again while the kernel says
/// that somebody looks at it (udev does).
const REREAD: (u32, Duration) = (20, Duration::from_millis(100));

/// Whether the last bytes are forced to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sync {
    /// Yes; anything else is for measurements.
    Always,
    /// No (`dolly -n`).
    Never,
}

/// Writes a target from its beginning to its end.
#[derive(Debug)]
pub struct Writer {
    target: Target,
    sync: Sync,
    held: Vec<u8>,
    /// How many bytes came, those in `held` included.
    position: u64,
    /// Up to here the target can be read, from behind what is held.
    solid: u64,
    /// The target once more, to read from it.
    readable: Option<Arc<File>>,
    /// Up to where write-back was started.
    started: u64,
    /// The zeros that came last and are not on the target yet.
    zeros: Run,
    finished: bool,
}

/// What is worth telling once a target is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// The kernel knows the new partition table.
    PartitionsRead,
    /// It does not: somebody holds the disk. It will after a reboot.
    PartitionsBusy,
}

impl Writer {
    /// Writes `target`.
    pub fn new(target: Target, sync: Sync) -> Self {
        let zeros = Run::on(&target);
        let can = target.kind != Kind::Stream;
        // Without a second handle it is not read from here, which only costs time.
        let readable = target.file.try_clone().ok().filter(|_| can);
        Self {
            target,
            zeros,
            solid: 0,
            readable: readable.map(Arc::new),
            sync,
            held: Vec::new(),
            position: 0,
            started: 0,
            finished: false,
        }
    }

    /// Where these bytes can be read again, once they are on the target.
    pub fn stored(&self, bytes: Range<u64>) -> Option<Arc<File>> {
        let there = bytes.start >= HELD as u64 && bytes.end <= self.solid;
        self.readable.clone().filter(|_| there)
    }

    /// Writes what was held back and syncs, in this order: the rest, then the
    /// beginning. Nothing may be written afterwards.
    ///
    /// # Errors
    /// The disk refuses; then its beginning is zeros, and it does not look bootable.
    pub fn finish(&mut self) -> io::Result<Option<Note>> {
        if self.finished {
            return Ok(None);
        }
        self.finished = true;
        if self.target.kind == Kind::Stream {
            self.target.file.flush()?;
            return Ok(None);
        }
        let beyond = self.position > self.held.len() as u64;
        self.zeros.settle(&self.target.file)?;
        if beyond {
            self.grow()?;
            self.sync()?;
        }
        self.target.file.write_all_at(&self.held, 0)?;
        self.sync()?;
        if let Kind::Disk { .. } = self.target.kind {
            // Not fatal: the data is on the disk.
            let _ = goldring_sys::block::flush_buffers(&self.target.file);
            return Ok(self.reread());
        }
        Ok(None)
    }

    /// A file that ends with zeros has none of them yet.
    fn grow(&self) -> io::Result<()> {
        let file = &self.target.file;
        if self.target.kind == Kind::File && file.metadata()?.len() < self.position {
            file.set_len(self.position)?;
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        match self.sync {
            Sync::Always => self.target.file.sync_all(),
            Sync::Never => Ok(()),
        }
    }

    fn reread(&self) -> Option<Note> {
        let (tries, pause) = REREAD;
        for _ in 0..tries {
            match goldring_sys::block::reread_partitions(&self.target.file) {
                Ok(()) => return Some(Note::PartitionsRead),
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => thread::sleep(pause),
                // A device that cannot have partitions, such as a plain loop device.
                Err(_) => return None,
            }
        }
        Some(Note::PartitionsBusy)
    }

    fn hold(&mut self, bytes: &[u8]) -> usize {
        let room = HELD.saturating_sub(self.held.len());
        let n = room.min(bytes.len());
        self.held.extend_from_slice(&bytes[..n]);
        n
    }

    /// Goes to the first byte behind the held ones, and on a device makes sure that
    /// what was there before cannot boot any more.
    fn begin_beyond(&mut self) -> io::Result<()> {
        if matches!(self.target.kind, Kind::Disk { .. } | Kind::Partition { .. }) {
            self.target.file.write_all_at(&vec![0; HELD], 0)?;
            self.sync()?;
        }
        self.started = HELD as u64;
        Ok(())
    }

    fn write_back(&mut self) -> io::Result<()> {
        if self.sync == Sync::Never || self.position < self.started + STEP {
            return Ok(());
        }
        let file = &self.target.file;
        let len = self.position - self.started;
        goldring_sys::block::start_writeback(file, self.started, len)?;
        if let Some(old) = self.started.checked_sub(WINDOW) {
            goldring_sys::block::wait_writeback(file, old, len)?;
            let len = std::num::NonZeroU64::new(len);
            // Advice only: a clone is not read again here.
            let _ = rustix::fs::fadvise(file, old, len, rustix::fs::Advice::DontNeed);
        }
        self.started = self.position;
        Ok(())
    }
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.target.kind == Kind::Stream {
            return self.target.file.write(bytes);
        }
        if self.held.len() < HELD {
            let n = self.hold(bytes);
            self.position += n as u64;
            return Ok(n);
        }
        if self.position == HELD as u64 && !bytes.is_empty() {
            self.begin_beyond()?;
        }
        let (n, zeros) = zeros::leading(bytes);
        let file = &self.target.file;
        let n = if zeros {
            self.zeros.add(file, self.position, n)?;
            n
        } else {
            self.zeros.settle(file)?;
            let n = file.write_at(&bytes[..n], self.position)?;
            self.solid = self.position + n as u64;
            n
        };
        self.position += n as u64;
        self.write_back()?;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use goldring_contract::Root;

    use super::*;

    fn write(old: usize, new: usize) -> Vec<u8> {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::at(dir.path());
        fs::write(root.join("/t"), vec![9; old]).unwrap();
        let target = Target::open(&root, Path::new("/t")).unwrap();
        let mut writer = Writer::new(target, Sync::Always);
        let data: Vec<u8> = (0..new).map(|i| (i % 251) as u8).collect();
        for piece in data.chunks(700_001) {
            writer.write_all(piece).unwrap();
        }
        if new > 0 {
            assert!(
                fs::read(root.join("/t"))
                    .unwrap()
                    .iter()
                    .take(HELD.min(old))
                    .all(|b| *b == 9)
            );
        }
        writer.finish().unwrap();
        let got = fs::read(root.join("/t")).unwrap();
        assert_eq!(got[..new], data[..]);
        got
    }

    #[test]
    fn the_beginning_comes_last_and_nothing_is_cut() {
        assert_eq!(write(0, 100).len(), 100);
        assert_eq!(write(5000, 100).len(), 5000);
        assert_eq!(write(0, HELD).len(), HELD);
        assert_eq!(write(HELD * 2, HELD + 1).len(), HELD * 2);
        assert_eq!(write(10, 3 * HELD + 77).len(), 3 * HELD + 77);
        assert_eq!(write(10, 0).len(), 10);
    }

    #[test]
    fn zeros_replace_what_was_there_and_are_not_stored_where_nothing_was() {
        use std::os::unix::fs::MetadataExt;

        let mut data = vec![0; 8 << 20];
        data[..HELD + 5].fill(1);
        data[3 << 20..(3 << 20) + 100].fill(2);
        for (old, piece) in [(0, 1 << 20), (0, 77_777), (5 << 20, 1 << 20), (9 << 20, 99)] {
            let dir = tempfile::tempdir().unwrap();
            let root = Root::at(dir.path());
            fs::write(root.join("/t"), vec![9; old]).unwrap();
            let target = Target::open(&root, Path::new("/t")).unwrap();
            let mut writer = Writer::new(target, Sync::Always);
            data.chunks(piece)
                .for_each(|p| writer.write_all(p).unwrap());
            writer.finish().unwrap();
            let got = fs::read(root.join("/t")).unwrap();
            assert!(got[..data.len()] == data[..], "{old} {piece}");
            assert!(got[data.len()..].iter().all(|b| *b == 9));
            if old == 0 {
                let stored = fs::metadata(root.join("/t")).unwrap().blocks() * 512;
                assert!(stored < 4 << 20, "{stored} with pieces of {piece}");
            }
        }
    }

    #[test]
    fn what_is_written_can_be_read_again_except_the_beginning_and_the_zeros_at_the_end() {
        const MIB: u64 = 1 << 20;
        let dir = tempfile::tempdir().unwrap();
        let root = Root::at(dir.path());
        fs::write(root.join("/t"), vec![9; 8 << 20]).unwrap();
        let target = Target::open(&root, Path::new("/t")).unwrap();
        let mut writer = Writer::new(target, Sync::Always);
        writer.write_all(&vec![1; 2 << 20]).unwrap();
        assert!(writer.stored(0..MIB).is_none(), "it is held back");
        assert!(writer.stored(MIB - 1..2 * MIB).is_none());
        let file = writer.stored(MIB..2 * MIB).unwrap();
        let mut got = vec![0; 1 << 20];
        file.read_exact_at(&mut got, MIB).unwrap();
        assert!(got.iter().all(|b| *b == 1));
        assert!(writer.stored(MIB..2 * MIB + 1).is_none(), "not here yet");
        // The file still has its nines where the zeros will be.
        writer.write_all(&vec![0; 1 << 20]).unwrap();
        assert!(writer.stored(2 * MIB..3 * MIB).is_none());
        writer.write_all(&vec![2; 1 << 20]).unwrap();
        let file = writer.stored(2 * MIB..4 * MIB).unwrap();
        let mut got = vec![7; 2 << 20];
        file.read_exact_at(&mut got, 2 * MIB).unwrap();
        assert!(got[..1 << 20].iter().all(|b| *b == 0));
        assert!(got[1 << 20..].iter().all(|b| *b == 2));
    }

    #[test]
    fn long_files_go_through_the_write_back_window() {
        assert_eq!(write(0, 90 << 20).len(), 90 << 20);
    }
}
