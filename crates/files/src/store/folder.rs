//! The folder of an image: saved under another name, opened, removed.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::index::{INDEX_MAX, MARK};
use super::join::{Damage, Packed, small, verify};
use super::{
    Cut, Cutter, DRAFT_FILE, INDEX_FILE, Index, IndexError, KeptFile, PARTIAL, Stamp, StoreError,
    at, is_own,
};
use crate::text::shown;
use crate::trailer::Sum;

/// How often a lock is tried, and the pause between.
const GLANCES: u32 = 10;
const GLANCE: Duration = Duration::from_millis(20);

/// What a folder is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An image.
    Image,
    /// One that is being saved or removed, or would be if that had not been interrupted.
    Partial,
    /// Anything else.
    Other,
}

/// What this folder is.
pub fn kind(folder: &Path) -> Kind {
    let has = |name| fs::symlink_metadata(folder.join(name)).is_ok_and(|meta| meta.is_file());
    match (has(DRAFT_FILE), has(INDEX_FILE)) {
        (true, _) => Kind::Partial,
        (_, true) => Kind::Image,
        _ => Kind::Other,
    }
}

/// Takes a file for oneself, or for all who only read. Where locks do not exist there are
/// none.
fn locked(file: &File, operation: FlockOperation, folder: &Path) -> Result<(), StoreError> {
    for _ in 0..GLANCES {
        match flock(file, operation) {
            // Whoever lists images holds it for a moment.
            Err(Errno::WOULDBLOCK) => thread::sleep(GLANCE),
            _ => return Ok(()),
        }
    }
    Err(StoreError::Busy(shown(folder)))
}

/// Whether somebody saves, sends or removes it just now, as far as locks tell.
pub fn is_busy(folder: &Path) -> bool {
    let marker = match kind(folder) {
        Kind::Image => INDEX_FILE,
        Kind::Partial => DRAFT_FILE,
        Kind::Other => return false,
    };
    let file = File::open(folder.join(marker));
    // Whoever only looks takes nothing from those who are at work.
    let taken = |file| locked(&file, FlockOperation::NonBlockingLockShared, folder).is_err();
    file.is_ok_and(taken)
}

/// An image that can be sent. Nobody removes it as long as this lives.
#[derive(Debug)]
pub struct Image {
    folder: PathBuf,
    /// What it holds.
    pub index: Index,
    _lock: File,
}

impl Image {
    /// Opens it. Its pieces are not looked at.
    ///
    /// # Errors
    /// It is none, is not whole, or its index is broken.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        match kind(folder) {
            Kind::Image => {}
            Kind::Partial => return Err(StoreError::Partial(shown(folder))),
            Kind::Other => return Err(StoreError::NotAnImage(shown(folder))),
        }
        let path = folder.join(INDEX_FILE);
        let file = File::open(&path).map_err(at("opening", &path))?;
        locked(&file, FlockOperation::NonBlockingLockShared, folder)?;
        let mut text = Vec::new();
        let read = (&file).take(INDEX_MAX + 1).read_to_end(&mut text);
        read.map_err(at("reading", &path))?;
        // A letter that is none has changed.
        let parsed = String::from_utf8(text).map_err(|_| IndexError::Changed);
        let parsed = parsed.and_then(|text| Index::parse(&text));
        Ok(Self {
            folder: folder.to_owned(),
            index: parsed.map_err(|error| StoreError::Index(shown(&path), error))?,
            _lock: file,
        })
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A small file; `None` if it has none of this name.
    ///
    /// # Errors
    /// It is damaged.
    pub fn file(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let stamp = self.index.stamp(name);
        let read = stamp.map(|stamp| small(self.folder.join(name), stamp));
        Ok(read.transpose()?)
    }

    /// A stream as it lies there, by its number: the files first.
    pub fn packed(&self, number: usize) -> Option<Packed> {
        let stream = self.index.streams.get(number)?;
        Some(Packed::new(&self.folder, stream))
    }

    /// Reads every file of the image and unpacks every piece; gives what is wrong, nothing
    /// if all is well. `tell` hears of the bytes that were read since the last time.
    pub fn verify(&self, tell: &mut dyn FnMut(u64)) -> Vec<Damage> {
        verify(&self.folder, &self.index, tell)
    }
}

/// An image that is being saved. When it is dropped before its end nothing stays of it.
#[derive(Debug)]
pub struct Draft {
    /// Where it lies until its end.
    folder: PathBuf,
    /// Where it will be.
    target: PathBuf,
    /// An interrupted save had left something there.
    pub replaces: bool,
    _lock: File,
    is_whole: bool,
}

impl Draft {
    /// Begins an image that will be the folder `target`. What an interrupted save to the
    /// same place has left is removed.
    ///
    /// # Errors
    /// Something is there; the folder around it is not; somebody saves to the same place.
    pub fn begin(target: &Path, index: &Index) -> Result<Self, StoreError> {
        let target = place(target)?;
        let mut partial = target.clone().into_os_string();
        partial.push(PARTIAL);
        let folder = PathBuf::from(partial);
        let found = kind(&folder);
        match found {
            Kind::Partial => remove(&folder)?,
            // It may have died before its first file.
            _ if fs::symlink_metadata(&folder).is_ok() => {
                fs::remove_dir(&folder).map_err(|_| StoreError::Exists(shown(&folder)))?;
            }
            _ => {}
        }
        // With the keys and passwords of a whole system in it.
        let made = DirBuilder::new().mode(0o700).create(&folder);
        made.map_err(at("making", &folder))?;
        let path = folder.join(DRAFT_FILE);
        let draft = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path);
        let begun = draft.and_then(|mut draft| {
            draft.write_all(index.begun().as_bytes())?;
            draft.sync_all()?;
            Ok(draft)
        });
        let lock = match begun {
            Ok(lock) => lock,
            Err(error) => {
                let _ = clear(&folder);
                return Err(at("writing", &path)(error));
            }
        };
        // Somebody else has it only if two begin at the same moment; then it is theirs.
        locked(&lock, FlockOperation::NonBlockingLockExclusive, &folder)?;
        Ok(Self {
            folder,
            target,
            replaces: found == Kind::Partial,
            _lock: lock,
            is_whole: false,
        })
    }

    /// Where its files lie until its end.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where it will be.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Puts a small file into it.
    ///
    /// # Errors
    /// The kernel's, with the path.
    pub fn put(&self, name: &str, bytes: &[u8]) -> Result<KeptFile, StoreError> {
        write(&self.folder.join(name), bytes)?;
        let mut sum = Sum::default();
        sum.add(bytes);
        Ok(KeptFile {
            name: name.to_owned(),
            stamp: Stamp {
                bytes: bytes.len() as u64,
                digest: sum.digest(),
            },
        })
    }

    /// Takes a stream.
    pub fn cutter<'a>(&self, stream: &str, cut: Cut, tell: super::cut::Tell<'a>) -> Cutter<'a> {
        Cutter::new(&self.folder, stream, cut, tell)
    }

    /// Reads all of it, as [`Image::verify`] does.
    pub fn verify(&self, index: &Index, tell: &mut dyn FnMut(u64)) -> Vec<Damage> {
        verify(&self.folder, index, tell)
    }

    /// Makes it an image.
    ///
    /// # Errors
    /// The kernel's, with the path; then nothing stays of it.
    pub fn finish(mut self, index: &Index) -> Result<PathBuf, StoreError> {
        write(&self.folder.join(INDEX_FILE), index.to_string().as_bytes())?;
        let draft = self.folder.join(DRAFT_FILE);
        fs::remove_file(&draft).map_err(at("removing", &draft))?;
        synced(&self.folder)?;
        // An empty folder of this name is replaced.
        fs::rename(&self.folder, &self.target).map_err(at("making", &self.target))?;
        self.is_whole = true;
        synced(self.target.parent().unwrap_or(Path::new("/")))?;
        Ok(self.target.clone())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.is_whole {
            // The error that led here is the one to tell.
            let _ = clear(&self.folder);
        }
    }
}

/// The whole path of an image to be, without links.
///
/// # Errors
/// Something is there, or the folder around it is not.
pub fn place(target: &Path) -> Result<PathBuf, StoreError> {
    let whole = std::path::absolute(target).map_err(at("looking for", target))?;
    let (Some(above), Some(name)) = (whole.parent(), whole.file_name()) else {
        return Err(StoreError::MountPoint(shown(target)));
    };
    if name.as_encoded_bytes().ends_with(PARTIAL.as_bytes()) {
        return Err(StoreError::Name(shown(target)));
    }
    let above = above
        .canonicalize()
        .map_err(at("looking for the folder", above))?;
    let place = above.join(name);
    let meta = match fs::symlink_metadata(&place) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(place),
        meta => meta.map_err(at("looking at", &place))?,
    };
    let outside = fs::metadata(&above).map_err(at("looking at", &above))?;
    if meta.is_dir() && meta.dev() != outside.dev() {
        return Err(StoreError::MountPoint(shown(target)));
    }
    let is_empty =
        meta.is_dir() && fs::read_dir(&place).is_ok_and(|mut inside| inside.next().is_none());
    is_empty
        .then_some(place)
        .ok_or_else(|| StoreError::Exists(shown(target)))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let written = File::create_new(path).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written.map_err(at("writing", path))
}

/// Brings the names in a folder to the disk.
fn synced(folder: &Path) -> Result<(), StoreError> {
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    match synced {
        // Some file systems of a network have no such thing.
        Err(error) if error.kind() != ErrorKind::InvalidInput => Err(at("syncing", folder)(error)),
        _ => Ok(()),
    }
}

/// Removes an image, or what an interrupted save has left. From its first step on it is no
/// image any more.
///
/// # Errors
/// It is no image; it holds something else; it is being saved or sent. Nothing is removed
/// then.
pub fn remove(folder: &Path) -> Result<(), StoreError> {
    // A link leads to it; it is the folder that goes.
    let folder = &folder.canonicalize().map_err(at("looking for", folder))?;
    let marker = match kind(folder) {
        Kind::Image => folder.join(INDEX_FILE),
        Kind::Partial => folder.join(DRAFT_FILE),
        Kind::Other => return Err(StoreError::NotAnImage(shown(folder))),
    };
    let opened = OpenOptions::new().read(true).write(true).open(&marker);
    let file = opened.map_err(at("opening", &marker))?;
    locked(&file, FlockOperation::NonBlockingLockExclusive, folder)?;
    let mut mark = Vec::new();
    let read = (&file).take(MARK.len() as u64).read_to_end(&mut mark);
    read.map_err(at("reading", &marker))?;
    // A save may have died before its first word.
    if mark != MARK.as_bytes() && !(mark.is_empty() && marker.ends_with(DRAFT_FILE)) {
        return Err(StoreError::NotAnImage(shown(folder)));
    }
    own_files(folder)?;
    let draft = folder.join(DRAFT_FILE);
    if marker != draft {
        fs::rename(&marker, &draft).map_err(at("removing", &marker))?;
        synced(folder)?;
    }
    clear(folder)
}

/// The files in the folder, all of them ours.
fn own_files(folder: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let entries = fs::read_dir(folder).and_then(|entries| entries.collect::<io::Result<Vec<_>>>());
    let mut files = Vec::new();
    for entry in entries.map_err(at("looking into", folder))? {
        let path = entry.path();
        let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
        if !is_file || !entry.file_name().to_str().is_some_and(is_own) {
            return Err(StoreError::Foreign(shown(&path)));
        }
        files.push(path);
    }
    Ok(files)
}

/// Removes the files, the one that tells what this was as the last, and the folder.
fn clear(folder: &Path) -> Result<(), StoreError> {
    let mut files = own_files(folder)?;
    files.sort_by_key(|path| path.ends_with(DRAFT_FILE));
    for path in &files {
        fs::remove_file(path).map_err(at("removing", path))?;
    }
    fs::remove_dir(folder).map_err(at("removing", folder))
}

/// Bytes of all files in the folder of an image or of what is left of one.
pub fn size_on_disk(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| entry.metadata().map_or(0, |meta| meta.len()));
    sizes.sum()
}

#[cfg(test)]
mod tests;
