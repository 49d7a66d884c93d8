//! Where a tree comes to lie: made aside, then put in its place at once, so that nobody ever
//! sees half of it; and what tells later that it is ours, and of which image.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use goldring_contract::paths::PREPARED;
use goldring_files::text::{Line, Pairs};
use rustix::fs::{CWD, FlockOperation, RenameFlags, flock, renameat_with};

use super::folder::Folder;
use super::tree::{Entry, Kind, Tree};

/// In the top of a tree that was made here.
pub(super) const MARKER: &str = PREPARED;
const FIRST: &str = "goldring-prepare 1";
const LAST: &str = "end";

/// What a tree was made of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Marker {
    /// SHA-256 of the image; of a folder's names and sizes.
    pub(super) source: String,
    /// What the tree was when it was made: see [`shape`].
    pub(super) shape: String,
    /// It lies there packed.
    pub(super) packed: bool,
    /// Everything belongs to root in the image, and here to whoever made it.
    pub(super) as_root: bool,
}

impl Marker {
    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let mut marker = Self::default();
        if lines.next() != Some(FIRST) {
            return None;
        }
        for line in lines {
            let pairs = Pairs::parse(line);
            match pairs.keyword {
                LAST => return Some(marker),
                "source" => marker.source = pairs.text("sha256"),
                "tree" => {
                    marker.shape = pairs.text("shape");
                    marker.packed = pairs.text("is") == "packed";
                }
                "owners" => marker.as_root = pairs.text("are") == "root",
                // Of a later version that an earlier one may do without.
                _ => {}
            }
        }
        None
    }
}

impl fmt::Display for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = Line::new("source").with("sha256", &self.source);
        let packed = if self.packed { "packed" } else { "unpacked" };
        let tree = Line::new("tree")
            .with("shape", &self.shape)
            .with("is", packed);
        write!(f, "{FIRST}\n{}{}", source.end(), tree.end())?;
        if self.as_root {
            f.write_str(&Line::new("owners").with("are", "root").end())?;
        }
        writeln!(f, "{LAST}")
    }
}

/// Whether what is in `folder` was prepared by somebody who could not give it to root, whose
/// it is in the image.
pub(crate) fn sends_as_root(folder: &Path) -> bool {
    let text = fs::read_to_string(folder.join(MARKER)).unwrap_or_default();
    Marker::parse(&text).is_some_and(|marker| marker.as_root)
}

/// A digest of names, kinds, rights, sizes, times and targets: another one when somebody
/// has changed something.
pub(super) fn shape(entries: &[Entry]) -> String {
    let mut all: Vec<&Entry> = entries.iter().collect();
    all.sort_by(|a, b| a.path.cmp(&b.path));
    let mut sum = goldring_transfer::digest::Sha256::default();
    for entry in all {
        let kind = format!("{:?}", entry.kind);
        // A change of what is in a folder changes its time; what is in it is summed up anyhow.
        let changed = match entry.kind {
            Kind::Folder => 0,
            _ => entry.changed,
        };
        let line = format!("{:?} {kind} {:o} {changed}\n", entry.path, entry.rights);
        sum.add(line.as_bytes());
    }
    sum.hex()
}

/// What lies where the tree is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Here {
    /// Nothing, or an empty folder.
    Nothing,
    /// A tree of ours as it was made.
    Ours(Marker),
    /// A tree of ours that somebody has changed.
    Changed,
    /// Something else.
    Foreign,
}

/// Looks.
///
/// # Errors
/// It cannot be looked at, or cannot be replaced at all.
pub(super) fn look(place: &Path) -> anyhow::Result<Here> {
    let meta = match fs::symlink_metadata(place) {
        Ok(meta) => meta,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Here::Nothing),
        Err(error) => return Err(error).with_context(|| format!("looking at {}", place.display())),
    };
    let shown = place.display();
    ensure!(
        meta.is_dir(),
        "{shown} is no folder; say another place with --into"
    );
    let parent = place
        .parent()
        .map_or_else(|| Path::new("/").metadata(), Path::metadata);
    ensure!(
        parent.is_ok_and(|parent| parent.dev() == meta.dev()),
        "something is mounted on {shown}; if it is an unpacked stage 2, ka-d-session can send it \
         as it is; otherwise unmount it or say --into {shown}/ka"
    );
    if fs::read_dir(place)
        .with_context(|| format!("looking into {shown}"))?
        .next()
        .is_none()
    {
        return Ok(Here::Nothing);
    }
    let Ok(text) = fs::read_to_string(place.join(MARKER)) else {
        return Ok(Here::Foreign);
    };
    let Some(marker) = Marker::parse(&text) else {
        return Ok(Here::Foreign);
    };
    // What cannot be read is not as it was made.
    let same = Folder::open(place).is_ok_and(|folder| shape(folder.entries()) == marker.shape);
    Ok(if same {
        Here::Ours(marker)
    } else {
        Here::Changed
    })
}

/// A folder beside the place. What is in it is gone when it is dropped before [`Aside::put`].
#[derive(Debug)]
pub(super) struct Aside {
    path: PathBuf,
    place: PathBuf,
    /// Keeps others from working in the same folder.
    _lock: File,
}

impl Aside {
    /// Makes it; what a run before has left there, which was ended by force, is removed.
    ///
    /// # Errors
    /// It cannot be made; another run works there.
    pub(super) fn new(place: &Path) -> anyhow::Result<Self> {
        let name = place.file_name().context("--into names no folder")?;
        let parent = place.parent().context("--into names no folder")?;
        let parent = match parent.as_os_str().is_empty() {
            true => Path::new("."),
            false => parent,
        };
        fs::create_dir_all(parent).with_context(|| format!("making {}", parent.display()))?;
        let with = |end: &str| {
            let mut hidden = std::ffi::OsString::from(".");
            hidden.push(name);
            hidden.push(end);
            parent.join(hidden)
        };
        let lock = File::open(parent).with_context(|| format!("opening {}", parent.display()))?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            bail!(
                "another goldring prepare works in {}; wait for it",
                parent.display()
            );
        }
        let aside = Self {
            path: with(".goldring-new"),
            place: place.to_owned(),
            _lock: lock,
        };
        remove(&aside.path)?;
        let mut builder = fs::DirBuilder::new();
        let made = builder.mode(0o700).create(&aside.path);
        made.with_context(|| format!("making {}", aside.path.display()))?;
        Ok(aside)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Puts it in its place. What was there is removed afterwards.
    ///
    /// # Errors
    /// It cannot be put there; then what was there still is.
    pub(super) fn put(self) -> anyhow::Result<()> {
        let context = || format!("putting the tree in its place, {}", self.place.display());
        let there = self.place.symlink_metadata().is_ok();
        if !there {
            return fs::rename(&self.path, &self.place).with_context(context);
        }
        match renameat_with(CWD, &self.path, CWD, &self.place, RenameFlags::EXCHANGE) {
            Ok(()) => {}
            // A file system that cannot exchange: for a moment nothing is there.
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
                let mut old = self.path.clone().into_os_string();
                old.push("-old");
                let old = PathBuf::from(old);
                remove(&old)?;
                fs::rename(&self.place, &old).with_context(context)?;
                if let Err(error) = fs::rename(&self.path, &self.place) {
                    let back = fs::rename(&old, &self.place);
                    back.with_context(|| format!("the old tree is now {}", old.display()))?;
                    return Err(error).with_context(context);
                }
                return remove(&old);
            }
            Err(error) => return Err(error).with_context(context),
        }
        remove(&self.path)
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        // After `put` there is nothing; otherwise half a tree, which the next run removes
        // if this fails.
        let _ = remove(&self.path);
    }
}

/// Removes a tree, also one whose folders nobody may write to.
fn remove(path: &Path) -> anyhow::Result<()> {
    let gone = |result: io::Result<()>| match result {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    };
    if gone(fs::remove_dir_all(path)).is_ok() {
        return Ok(());
    }
    if let Ok(folder) = Folder::open(path) {
        let is_folder = |entry: &&Entry| entry.kind == Kind::Folder;
        for entry in folder.entries().iter().filter(is_folder) {
            let rights = fs::Permissions::from_mode(entry.rights | 0o700);
            // What is refused is told by the removal.
            let _ = fs::set_permissions(path.join(&entry.path), rights);
        }
    }
    gone(fs::remove_dir_all(path)).with_context(|| format!("removing {}", path.display()))
}

/// Why something may not be replaced, if so.
pub(super) fn refusal(here: &Here, place: &Path) -> Option<String> {
    let why = match here {
        Here::Nothing | Here::Ours(_) => return None,
        Here::Changed => "was made by goldring prepare and changed since",
        Here::Foreign => "was not made by goldring prepare",
    };
    Some(format!(
        "what is in {} {why}; move it away, say another place with --into, or --force to lose it",
        place.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_is_read_as_it_was_written() {
        let marker = Marker {
            source: "ab".repeat(32),
            shape: "cd".repeat(32),
            packed: true,
            as_root: true,
        };
        for marker in [marker, Marker::default()] {
            let text = marker.to_string();
            assert_eq!(Marker::parse(&text), Some(marker));
            for cut in 0..text.len() - 1 {
                assert_eq!(Marker::parse(&text[..cut]), None, "{cut}");
            }
        }
        assert_eq!(Marker::parse("x\nend\n"), None);
    }

    /// A tree with a marker that is true of it.
    fn ours(place: &Path, file: &str) {
        fs::create_dir_all(place.join("etc")).unwrap();
        fs::write(place.join("etc/file"), file).unwrap();
        let shape = shape(Folder::open(place).unwrap().entries());
        let marker = Marker {
            shape,
            ..Marker::default()
        };
        fs::write(place.join(MARKER), marker.to_string()).unwrap();
    }

    #[test]
    fn what_is_there_is_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("ka");
        assert_eq!(look(&place).unwrap(), Here::Nothing);
        fs::create_dir(&place).unwrap();
        assert_eq!(look(&place).unwrap(), Here::Nothing);
        fs::write(place.join("x"), "").unwrap();
        assert_eq!(look(&place).unwrap(), Here::Foreign);
        assert!(refusal(&Here::Foreign, &place).unwrap().contains("--force"));
        fs::write(place.join(MARKER), "goldring-prepare 1\n").unwrap();
        assert_eq!(look(&place).unwrap(), Here::Foreign);
        fs::remove_dir_all(&place).unwrap();
        ours(&place, "x");
        assert!(matches!(look(&place).unwrap(), Here::Ours(_)));
        let touched = fs::File::options()
            .write(true)
            .open(place.join("etc/file"))
            .unwrap();
        touched.set_modified(std::time::UNIX_EPOCH).unwrap();
        assert_eq!(look(&place).unwrap(), Here::Changed);
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(look(&file).is_err());
        assert!(
            look(Path::new("/proc"))
                .unwrap_err()
                .to_string()
                .contains("mounted")
        );
    }

    #[test]
    fn half_a_tree_never_stays() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("deep/ka");
        let names = |path: &Path| {
            let mut all: Vec<_> = fs::read_dir(path)
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            all.sort();
            all
        };
        let aside = Aside::new(&place).unwrap();
        fs::write(aside.path().join("half"), "").unwrap();
        let error = Aside::new(&place).unwrap_err().to_string();
        assert!(error.contains("another goldring prepare"), "{error}");
        drop(aside);
        assert!(names(place.parent().unwrap()).is_empty());

        let first = Aside::new(&place).unwrap();
        fs::write(first.path().join("one"), "").unwrap();
        first.put().unwrap();
        assert_eq!(names(&place), ["one"]);
        // What was killed has left something.
        let left = place.parent().unwrap().join(".ka.goldring-new");
        fs::create_dir_all(left.join("old")).unwrap();
        fs::set_permissions(&left, fs::Permissions::from_mode(0o500)).unwrap();
        let second = Aside::new(&place).unwrap();
        fs::write(second.path().join("two"), "").unwrap();
        second.put().unwrap();
        assert_eq!(names(&place), ["two"]);
        assert_eq!(names(place.parent().unwrap()), ["ka"]);
    }
}
