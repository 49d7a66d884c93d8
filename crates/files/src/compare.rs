//! Whether two trees are the same: contents, owners, rights, times, links, devices and
//! extended attributes. It keeps the names of one folder, and the numbers of files with
//! several names; a tree of any size fits.

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::SeekFrom;
use rustix::io::Errno;

use crate::made::xattrs;
use crate::text::{escaped, shown};

/// Bytes in one read.
const PIECE: usize = 128 << 10;

/// What is compared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wish {
    /// Paths, seen from both trees, that are left out with all that is in them.
    pub ignored: Vec<PathBuf>,
    /// Times are not compared; for file systems that have none that fine.
    pub without_times: bool,
    /// What is mounted below the trees is not entered.
    pub one_file_system: bool,
}

/// What two trees have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Files, folders, links and devices that both have.
    pub files: u64,
    /// Sentences that were said.
    pub differences: u64,
}

/// Compares two trees; each difference is a sentence for `say`.
///
/// # Errors
/// What the kernel says about a file that is there and cannot be read.
pub fn compare(a: &Path, b: &Path, wish: &Wish, say: &mut dyn FnMut(&str)) -> io::Result<Verdict> {
    let mut comparison = Comparison {
        trees: (a, b),
        wish,
        say,
        verdict: Verdict::default(),
        twins: HashMap::new(),
        devices: (fs::metadata(a)?.dev(), fs::metadata(b)?.dev()),
        buffers: (vec![0; PIECE], vec![0; PIECE]),
    };
    comparison.both(Path::new("/"))?;
    Ok(comparison.verdict)
}

struct Comparison<'a> {
    trees: (&'a Path, &'a Path),
    wish: &'a Wish,
    say: &'a mut dyn FnMut(&str),
    verdict: Verdict,
    /// Files with several names: which of one tree is which of the other.
    twins: HashMap<(u64, u64), (u64, u64)>,
    devices: (u64, u64),
    /// What is read of both files.
    buffers: (Vec<u8>, Vec<u8>),
}

impl Comparison<'_> {
    fn differ(&mut self, path: &Path, what: &str) {
        self.verdict.differences += 1;
        (self.say)(&format!("{}: {what}", shown(path)));
    }

    fn both(&mut self, path: &Path) -> io::Result<()> {
        if self.wish.ignored.iter().any(|ignored| ignored == path) {
            return Ok(());
        }
        let below = path.strip_prefix("/").unwrap_or(path);
        let there = (self.trees.0.join(below), self.trees.1.join(below));
        let (a, b) = match (look(&there.0)?, look(&there.1)?) {
            (Some(a), Some(b)) => (a, b),
            (None, None) => return Ok(()),
            (Some(_), None) => {
                self.differ(path, "is missing in the second");
                return Ok(());
            }
            (None, Some(_)) => {
                self.differ(path, "is only in the second");
                return Ok(());
            }
        };
        self.verdict.files += 1;
        if kind(&a) != kind(&b) {
            self.differ(path, &format!("{} against {}", kind(&a), kind(&b)));
            return Ok(());
        }
        self.attributes(path, (&there.0, &a), (&there.1, &b))?;
        if a.is_dir() {
            let away = (a.dev(), b.dev()) != self.devices;
            return match self.wish.one_file_system && away {
                true => Ok(()),
                false => self.folder(path, &there),
            };
        }
        if a.is_file() {
            if a.len() != b.len() {
                self.differ(path, &format!("{} bytes against {}", a.len(), b.len()));
            } else if let Some(place) = first_difference(&there.0, &there.1, &mut self.buffers)? {
                self.differ(path, &format!("other content at byte {place}"));
            }
        }
        if a.is_symlink() && fs::read_link(&there.0)? != fs::read_link(&there.1)? {
            self.differ(path, "leads elsewhere");
        }
        Ok(())
    }

    fn attributes(
        &mut self,
        path: &Path,
        (path_a, a): (&Path, &Metadata),
        (path_b, b): (&Path, &Metadata),
    ) -> io::Result<()> {
        let numbers = [
            ("mode", a.mode() & 0o7777, b.mode() & 0o7777),
            ("owner", a.uid(), b.uid()),
            ("group", a.gid(), b.gid()),
        ];
        for (what, a, b) in numbers {
            if a != b {
                let text = match what {
                    "mode" => format!("mode {a:o} against {b:o}"),
                    _ => format!("{what} {a} against {b}"),
                };
                self.differ(path, &text);
            }
        }
        if a.rdev() != b.rdev() {
            self.differ(path, "another device");
        }
        let times = ((a.mtime(), a.mtime_nsec()), (b.mtime(), b.mtime_nsec()));
        if times.0 != times.1 && !self.wish.without_times {
            let ((a, an), (b, bn)) = times;
            self.differ(path, &format!("changed at {a}.{an:09} against {b}.{bn:09}"));
        }
        let attributes = (xattrs(path_a)?, xattrs(path_b)?);
        if attributes.0 != attributes.1 {
            let names = |all: &[(std::ffi::CString, Vec<u8>)]| {
                let name = |(name, value): &(std::ffi::CString, Vec<u8>)| {
                    format!("{}={}", name.to_string_lossy(), escaped(value))
                };
                all.iter().map(name).collect::<Vec<_>>().join(",")
            };
            let text = format!(
                "attributes {} against {}",
                names(&attributes.0),
                names(&attributes.1)
            );
            self.differ(path, &text);
        }
        self.links(path, a, b);
        Ok(())
    }

    /// Two names of one file there are two names of one file here.
    fn links(&mut self, path: &Path, a: &Metadata, b: &Metadata) {
        if a.is_dir() {
            return;
        }
        if a.nlink() != b.nlink() {
            self.differ(path, &format!("{} names against {}", a.nlink(), b.nlink()));
        } else if a.nlink() > 1 {
            let twin = (b.dev(), b.ino());
            let known = *self.twins.entry((a.dev(), a.ino())).or_insert(twin);
            if known != twin {
                self.differ(path, "is not the same file as under its other names");
            }
        }
    }

    fn folder(&mut self, path: &Path, there: &(PathBuf, PathBuf)) -> io::Result<()> {
        let mut names = names(&there.0)?;
        names.append(&mut self::names(&there.1)?);
        for name in names {
            self.both(&path.join(name))?;
        }
        Ok(())
    }
}

fn look(path: &Path) -> io::Result<Option<Metadata>> {
    match fs::symlink_metadata(path) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn names(folder: &Path) -> io::Result<BTreeSet<OsString>> {
    fs::read_dir(folder)?
        .map(|entry| Ok(entry?.file_name()))
        .collect()
}

fn kind(metadata: &Metadata) -> &'static str {
    match metadata.file_type() {
        kind if kind.is_dir() => "a folder",
        kind if kind.is_file() => "a file",
        kind if kind.is_symlink() => "a link",
        kind if kind.is_socket() => "a socket",
        kind if kind.is_fifo() => "a pipe",
        kind if kind.is_char_device() => "a character device",
        _ => "a block device",
    }
}

/// Where two files of the same length differ first. What is a hole in both is not read.
fn first_difference(
    a: &Path,
    b: &Path,
    buffers: &mut (Vec<u8>, Vec<u8>),
) -> io::Result<Option<u64>> {
    let files = (File::open(a)?, File::open(b)?);
    let mut place = 0;
    loop {
        let (data_a, data_b) = (next_data(&files.0, place)?, next_data(&files.1, place)?);
        let Some(data) = [data_a, data_b].into_iter().flatten().min() else {
            return Ok(None);
        };
        place = data;
        let length = files.0.read_at(&mut buffers.0, place)?;
        if length == 0 {
            return Ok(None);
        }
        let (one, other) = (&buffers.0[..length], &mut buffers.1[..length]);
        match files.1.read_exact_at(other, place) {
            // It became shorter.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(Some(place)),
            read => read?,
        }
        if one != other {
            let same = one.iter().zip(other.iter()).take_while(|(a, b)| a == b);
            return Ok(Some(place + same.count() as u64));
        }
        place += length as u64;
    }
}

/// Where data begins at or behind `place`; `None`: there is only a hole up to the end. A file
/// system that knows no holes has data everywhere.
fn next_data(file: &File, place: u64) -> io::Result<Option<u64>> {
    match rustix::fs::seek(file, SeekFrom::Data(place)) {
        Ok(data) => Ok(Some(data)),
        Err(Errno::NXIO) => Ok(None),
        Err(Errno::INVAL) => Ok((place < file.metadata()?.len()).then_some(place)),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn told(change: impl FnOnce(&Path)) -> Vec<String> {
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for tree in [a.path(), b.path()] {
            fs::create_dir(tree.join("etc")).unwrap();
            fs::write(tree.join("etc/one"), "same").unwrap();
            fs::hard_link(tree.join("etc/one"), tree.join("etc/two")).unwrap();
            symlink("one", tree.join("etc/link")).unwrap();
        }
        change(b.path());
        let wish = Wish {
            without_times: true,
            ignored: vec!["/ignored".into()],
            ..Wish::default()
        };
        let mut said = Vec::new();
        let mut say = |text: &str| said.push(text.to_owned());
        let verdict = compare(a.path(), b.path(), &wish, &mut say).unwrap();
        assert_eq!(verdict.differences, said.len() as u64);
        said
    }

    #[test]
    fn each_difference_is_a_sentence() {
        assert_eq!(told(|_| {}), [""; 0]);
        type Change = fn(&Path);
        let table: [(Change, &[&str]); 7] = [
            (
                |tree| fs::write(tree.join("etc/one"), "sane").unwrap(),
                &[
                    "/etc/one: other content at byte 2",
                    "/etc/two: other content at byte 2",
                ],
            ),
            (
                |tree| fs::write(tree.join("new"), "").unwrap(),
                &["/new: is only in the second"],
            ),
            (|tree| fs::write(tree.join("ignored"), "").unwrap(), &[]),
            (
                |tree| {
                    fs::remove_file(tree.join("etc/link")).unwrap();
                    symlink("two", tree.join("etc/link")).unwrap();
                },
                &["/etc/link: leads elsewhere"],
            ),
            (
                |tree| {
                    fs::set_permissions(tree.join("etc"), fs::Permissions::from_mode(0o1755))
                        .unwrap();
                },
                &["/etc: mode 755 against 1755"],
            ),
            (
                |tree| {
                    fs::remove_file(tree.join("etc/link")).unwrap();
                    fs::create_dir(tree.join("etc/link")).unwrap();
                },
                &["/etc/link: a link against a folder"],
            ),
            (
                |tree| {
                    fs::remove_file(tree.join("etc/two")).unwrap();
                    fs::write(tree.join("etc/two"), "same").unwrap();
                },
                &["/etc/one: 2 names against 1", "/etc/two: 2 names against 1"],
            ),
        ];
        for (change, expected) in table {
            assert_eq!(told(change), expected);
        }
    }

    #[test]
    fn times_count_to_the_nanosecond() {
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for (tree, nanoseconds) in [(a.path(), 5), (b.path(), 6)] {
            let time = std::time::UNIX_EPOCH + std::time::Duration::from_nanos(nanoseconds);
            File::open(tree).unwrap().set_modified(time).unwrap();
        }
        let mut said = Vec::new();
        let mut say = |text: &str| said.push(text.to_owned());
        compare(a.path(), b.path(), &Wish::default(), &mut say).unwrap();
        assert_eq!(said, ["/: changed at 0.000000005 against 0.000000006"]);
    }
}
