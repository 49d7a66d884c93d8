//! Zeros that need not be written: on a file behind its old end, where nothing is stored
//! and everything reads as zero; on a disk whose driver can be told to make a range zero
//! (write zeroes, with a guarantee; a mere discard has none).

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::target::{Kind, Target};

/// Zeros are looked for in pieces of so many bytes.
const GRAIN: usize = 64 << 10;
/// So many zeros are told to a disk at once, so that progress is seen.
const MOST: u64 = 64 << 20;
/// A disk is told in whole blocks; none has larger ones.
const ALIGN: u64 = 4096;
static ZEROS: [u8; GRAIN] = [0; GRAIN];

/// How many bytes at the beginning of `bytes` belong together, and whether they are all
/// zeros. Zeros in less than a whole piece are none.
pub(crate) fn leading(bytes: &[u8]) -> (usize, bool) {
    let is_zero = |grain: &[u8]| grain == ZEROS;
    let mut grains = bytes.chunks_exact(GRAIN);
    let Some(first) = grains.next() else {
        return (bytes.len(), false);
    };
    let first = is_zero(first);
    match grains.position(|grain| is_zero(grain) != first) {
        Some(same) => ((same + 1) * GRAIN, first),
        None if first => (bytes.len() - bytes.len() % GRAIN, true),
        None => (bytes.len(), false),
    }
}

/// A run of zeros that came and is not on the target yet.
#[derive(Debug)]
pub(crate) struct Run {
    start: u64,
    len: u64,
    /// Behind this byte the target reads as zero, and nothing was written there yet.
    blank_from: u64,
    /// The target is a disk that has not refused yet.
    tell: bool,
}

impl Run {
    /// None yet, on this target.
    pub(crate) fn on(target: &Target) -> Self {
        let blank_from = match target.kind {
            Kind::File => target.file.metadata().map_or(u64::MAX, |meta| meta.len()),
            _ => u64::MAX,
        };
        Self {
            start: 0,
            len: 0,
            blank_from,
            tell: matches!(target.kind, Kind::Disk { .. } | Kind::Partition { .. }),
        }
    }

    /// So many more zeros at `position`, which follows the run.
    ///
    /// # Errors
    /// The target refuses those before them.
    pub(crate) fn add(&mut self, file: &File, position: u64, len: usize) -> io::Result<()> {
        if self.len == 0 {
            self.start = position;
        }
        self.len += len as u64;
        if self.len >= MOST {
            self.settle(file)?;
        }
        Ok(())
    }

    /// Makes sure that the target reads as zero there.
    ///
    /// # Errors
    /// The target refuses.
    pub(crate) fn settle(&mut self, file: &File) -> io::Result<()> {
        let (start, end) = (self.start, self.start + self.len);
        self.len = 0;
        let end = end.min(self.blank_from.max(start));
        // Whole blocks; what lies around them is written.
        let inner = (start.next_multiple_of(ALIGN), end - end % ALIGN);
        if self.tell && inner.0 < inner.1 {
            match goldring_sys::block::punch(file, inner.0, inner.1 - inner.0) {
                Ok(()) => {
                    write(file, start, inner.0)?;
                    return write(file, inner.1, end);
                }
                // Most disks cannot; a broken one will refuse the zeros, too.
                Err(_) => self.tell = false,
            }
        }
        write(file, start, end)
    }
}

fn write(file: &File, mut start: u64, end: u64) -> io::Result<()> {
    while start < end {
        let n = usize::try_from(end - start).map_or(GRAIN, |left| left.min(GRAIN));
        file.write_all_at(&ZEROS[..n], start)?;
        start += n as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_are_found_in_whole_pieces() {
        let g = GRAIN;
        let mut bytes = vec![0; 4 * g + 10];
        assert_eq!(leading(&bytes), (4 * g, true));
        assert_eq!(leading(&bytes[..g - 1]), (g - 1, false));
        assert_eq!(leading(&[]), (0, false));
        bytes[2 * g + 1] = 1;
        assert_eq!(leading(&bytes), (2 * g, true));
        assert_eq!(leading(&bytes[2 * g..]), (g, false));
        // An end that is no whole piece goes with what is before it, unless that is zero.
        assert_eq!(leading(&bytes[3 * g..]), (g, true));
        bytes[3 * g] = 1;
        assert_eq!(leading(&bytes[2 * g..]), (2 * g + 10, false));
    }

    #[test]
    fn what_is_blank_is_left_and_the_rest_is_written() {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&[9; 10_000], 0).unwrap();
        let mut run = Run {
            start: 0,
            len: 0,
            blank_from: 10_000,
            tell: false,
        };
        run.add(&file, 5_000, 4_000).unwrap();
        run.add(&file, 9_000, 4_000).unwrap();
        run.settle(&file).unwrap();
        run.add(&file, 20_000, 4_000).unwrap();
        run.settle(&file).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 10_000);
        let mut got = [0; 10_000];
        file.read_exact_at(&mut got, 0).unwrap();
        assert!(got[..5000].iter().all(|b| *b == 9));
        assert!(got[5000..].iter().all(|b| *b == 0));
    }
}
