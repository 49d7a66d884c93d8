//! What is sent, and whether it arrived: files in a tmpfs of their own.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::tree;
use crate::host;

/// Half of the data alternates in pieces of so many bytes.
const PIECE: usize = 4 << 20;
/// Memory that must stay free for everything else.
const SPARE: u64 = 1 << 30;

/// What the bytes are like.
#[derive(clap::ValueEnum, Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::bench) enum Data {
    /// Nothing in it repeats
    Random,
    /// 4 MiB of random bytes, 4 MiB of zeros, and so on
    Half,
    /// A tree of files; `bench files` sends it
    #[value(skip)]
    Tree,
}

/// How much is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::bench) struct Amount {
    /// Bytes of content.
    pub(in crate::bench) bytes: u64,
    /// Empty files besides; in a tree only.
    pub(in crate::bench) files: u64,
}

impl Amount {
    /// Memory that it takes, in bytes: half a page of each small file is of no use, and an
    /// empty one is an inode and a name.
    pub(super) fn memory(self) -> u64 {
        match self.files {
            0 => self.bytes,
            files => self.bytes + (files << 10),
        }
    }
}

impl Data {
    /// As reports call it.
    pub(in crate::bench) fn name(self) -> &'static str {
        match self {
            Self::Random => "random bytes",
            Self::Half => "half zeros",
            Self::Tree => "a tree of files",
        }
    }

    fn file(self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::Half => "half",
            Self::Tree => "tree",
        }
    }
}

/// A tmpfs; unmounted when dropped.
#[derive(Debug)]
pub(in crate::bench) struct Memory {
    folder: PathBuf,
}

impl Memory {
    /// Mounts one with room for `bytes` in `folder`.
    ///
    /// # Errors
    /// This machine has less memory.
    pub(in crate::bench) fn mount(folder: &Path, bytes: u64) -> Result<Self> {
        let text = fs::read_to_string("/proc/meminfo").context("reading /proc/meminfo")?;
        let available = available(&text).context("no MemAvailable in /proc/meminfo")?;
        if available < bytes + SPARE {
            bail!(
                "the files and what else runs need {} MiB of memory, {} MiB are available; \
                 give a smaller --size or fewer --nodes",
                (bytes + SPARE) >> 20,
                available >> 20
            );
        }
        fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        // Files are rounded up to pages.
        let room = bytes + bytes / 4 + (64 << 20);
        host::run(
            Command::new("mount")
                .args(["-t", "tmpfs", "-o"])
                .args([&format!("size={room},nr_inodes=0"), "bench"])
                .arg(folder),
        )?;
        Ok(Self {
            folder: folder.to_owned(),
        })
    }

    /// Where a kind's source is.
    pub(in crate::bench) fn source(&self, data: Data) -> PathBuf {
        self.folder.join(data.file())
    }

    /// Makes a kind's source; tells what it is.
    ///
    /// # Errors
    /// It cannot be written.
    pub(in crate::bench) fn make(&self, data: Data, amount: &Amount) -> Result<String> {
        let path = self.source(data);
        let told = match data {
            Data::Tree => {
                tree::make(&path, amount.bytes, amount.files).map(|made| made.to_string())
            }
            _ => write(&path, data, amount.bytes)
                .map(|()| format!("{} bytes, {}", amount.bytes, data.name())),
        };
        told.with_context(|| format!("writing {}", path.display()))
    }

    /// An empty folder for the files of one transfer.
    ///
    /// # Errors
    /// It cannot be made.
    pub(in crate::bench) fn fresh(&self) -> Result<PathBuf> {
        let folder = self.folder.join("hosts");
        if folder.exists() {
            fs::remove_dir_all(&folder)
                .with_context(|| format!("emptying {}", folder.display()))?;
        }
        fs::create_dir(&folder).with_context(|| format!("making {}", folder.display()))?;
        Ok(folder)
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // A lazy unmount waits for nobody; there is nothing to do about a failure.
        let _ = host::run(Command::new("umount").arg("-l").arg(&self.folder));
    }
}

/// The bytes of `MemAvailable` in `/proc/meminfo`.
fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find(|line| line.starts_with("MemAvailable:"))?;
    let kilobytes: u64 = line.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes * 1024)
}

fn write(path: &Path, data: Data, size: u64) -> io::Result<()> {
    let mut random = File::open("/dev/urandom")?;
    let mut out = BufWriter::new(File::create(path)?);
    let mut piece = vec![0; PIECE];
    let mut left = size;
    let mut zeros = false;
    while left > 0 {
        let n = usize::try_from(left).map_or(PIECE, |left| left.min(PIECE));
        if data == Data::Half && zeros {
            piece.fill(0);
        } else {
            random.read_exact(&mut piece[..n])?;
        }
        out.write_all(&piece[..n])?;
        left -= n as u64;
        zeros = !zeros;
    }
    out.flush()
}

/// Where one tree differs from another: a sentence, or nothing when it does not.
///
/// # Errors
/// goldring does not start.
pub(in crate::bench) fn trees_differ(
    goldring: &Path,
    source: &Path,
    copy: &Path,
) -> Result<Option<String>> {
    let output = Command::new(goldring)
        .args(["files", "compare"])
        .args([source, copy])
        .output()
        .context("starting goldring files compare")?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let first = said.lines().next().unwrap_or("it said nothing");
    Ok((!output.status.success()).then(|| first.to_owned()))
}

/// Where `copy` differs from `source`: a sentence, or nothing when it does not.
///
/// # Errors
/// The source cannot be read.
pub(in crate::bench) fn difference(source: &Path, copy: &Path) -> Result<Option<String>> {
    let doing = || format!("reading {}", source.display());
    let mut source = File::open(source).with_context(doing)?;
    let mut copy = match File::open(copy) {
        Ok(file) => file,
        Err(error) => return Ok(Some(format!("there is no copy: {error}"))),
    };
    let sizes = [&source, &copy].map(|file| file.metadata().map_or(0, |meta| meta.len()));
    if sizes[0] != sizes[1] {
        return Ok(Some(format!(
            "the copy has {} bytes instead of {}",
            sizes[1], sizes[0]
        )));
    }
    let (mut left, mut right) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    let mut at = 0;
    while at < sizes[0] {
        let n = usize::try_from(sizes[0] - at).map_or(left.len(), |n| n.min(left.len()));
        source.read_exact(&mut left[..n]).with_context(doing)?;
        copy.read_exact(&mut right[..n]).context("reading a copy")?;
        if left[..n] != right[..n] {
            let first = left.iter().zip(&right).position(|(a, b)| a != b);
            let at = at + first.unwrap_or(0) as u64;
            return Ok(Some(format!("the copy differs at byte {at}")));
        }
        at += n as u64;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_it_is_zeros_and_a_wrong_copy_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let (source, copy) = (folder.path().join("s"), folder.path().join("c"));
        let size = 3 * PIECE as u64 + 5;
        write(&source, Data::Half, size).unwrap();
        let mut bytes = fs::read(&source).unwrap();
        assert_eq!(bytes.len() as u64, size);
        assert!(bytes[PIECE..2 * PIECE].iter().all(|b| *b == 0));
        assert!(bytes[..PIECE].iter().any(|b| *b != 0));
        let told = |bytes: &[u8]| {
            fs::write(&copy, bytes).unwrap();
            difference(&source, &copy).unwrap()
        };
        assert_eq!(told(&bytes), None);
        bytes[2_000_000] ^= 1;
        assert_eq!(
            told(&bytes).as_deref(),
            Some("the copy differs at byte 2000000")
        );
        assert!(told(&bytes[1..]).unwrap().contains("12582916 bytes"));
        fs::remove_file(&copy).unwrap();
        assert!(difference(&source, &copy).unwrap().is_some());
        write(&source, Data::Random, 100).unwrap();
        assert_ne!(fs::read(&source).unwrap(), [0; 100]);
    }

    #[test]
    fn memory_is_counted_in_bytes() {
        let text = "MemTotal: 9 kB\nMemAvailable:    2048 kB\n";
        assert_eq!(available(text), Some(2 << 20));
        assert_eq!(available("MemTotal: 9 kB\n"), None);
    }
}
