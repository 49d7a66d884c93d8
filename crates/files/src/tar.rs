//! GNU tar as a program: what it can, and how it is called. What it says then is in [`crate::said`].
//!
//! Options: GNU tar, `doc/tar.texi`.

use std::cmp::Reverse;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::trailer::TrailerError;
use crate::walk::WalkError;

/// Bytes in one read or write of tar, in blocks of 512.
const BLOCKING: &str = "--blocking-factor=128";
/// xfs shows its access control lists a second time under names of its own, which mean
/// nothing to any other file system (`fs/xfs/xfs_xattr.c`).
const XFS_ACLS: &str = "--xattrs-exclude=trusted.SGI_ACL_*";
/// Why files did not arrive.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// A system call.
    #[error("{0}")]
    Io(String, #[source] io::Error),
    /// There is no tar, or another one.
    #[error("{0}; the files are read and written by GNU tar, install it (package tar)")]
    NoTar(String),
    /// The files could not be read or written.
    #[error("{0}")]
    Tar(String),
    /// The other end says that its files are not all there.
    #[error("the golden node could not read all of its files: {0}")]
    Golden(String),
    /// No tar comes.
    #[error(transparent)]
    Walk(#[from] WalkError),
    /// It ends wrongly.
    #[error(transparent)]
    Trailer(#[from] TrailerError),
    /// What came is not what was sent.
    #[error("what came is not what was sent: {0}; the network or a disk changes bytes")]
    Differ(String),
}

/// A closure for `map_err`: what was being done.
pub(crate) fn doing(what: impl Into<String>) -> impl FnOnce(io::Error) -> FilesError {
    let what = what.into();
    move |error| FilesError::Io(what, error)
}

/// What the tar of this machine can carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Abilities {
    xattrs: bool,
    acls: bool,
    selinux: bool,
    warning: bool,
}

impl Abilities {
    /// Reads `tar --help`.
    pub fn parse(help: &str) -> Self {
        let has = |word: &str| help.contains(word);
        Self {
            xattrs: has("--xattrs-include"),
            acls: has("--acls"),
            selinux: has("--selinux"),
            warning: has("--warning="),
        }
    }

    /// Asks the tar of this machine.
    ///
    /// # Errors
    /// There is none, or it is not GNU tar.
    pub fn ask() -> Result<Self, FilesError> {
        let said = |option: &str| -> Result<String, FilesError> {
            let output = plain("tar").arg(option).stderr(Stdio::null()).output();
            let output = output.map_err(|error| FilesError::NoTar(format!("tar: {error}")))?;
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        };
        let version = said("--version")?;
        if !version.contains("GNU tar") {
            let line = version.lines().next().unwrap_or("nothing");
            return Err(FilesError::NoTar(format!("tar --version says {line:?}")));
        }
        Ok(Self::parse(&said("--help")?))
    }

    /// What stays behind, in words; `None` when nothing does.
    pub fn lacks(&self) -> Option<String> {
        let all = [
            (self.xattrs, "extended attributes and capabilities"),
            (self.acls || self.xattrs, "access control lists"),
            (self.selinux, "labels of SELinux"),
        ];
        let lacks: Vec<&str> = all
            .iter()
            .filter(|(can, _)| !can)
            .map(|(_, what)| *what)
            .collect();
        (!lacks.is_empty())
            .then(|| format!("the tar here is too old to carry {}", lacks.join(" and ")))
    }

    fn options(self) -> Vec<&'static str> {
        let mut options = vec!["--numeric-owner", "--quoting-style=escape", BLOCKING];
        for (can, words) in [
            (
                self.xattrs,
                &["--xattrs", "--xattrs-include=*", XFS_ACLS][..],
            ),
            // As attributes they travel with numbers. `--acls` writes names, also with
            // `--numeric-owner`, and a rescue system has other numbers for these, or none.
            (self.acls && !self.xattrs, &["--acls"]),
            (self.selinux, &["--selinux"]),
            // The clocks of two computers differ.
            (self.warning, &["--warning=no-timestamp"]),
        ] {
            if can {
                options.extend(words);
            }
        }
        options
    }
}

/// Which files are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The folder that stands for `/`.
    pub top: PathBuf,
    /// Where the file systems are mounted whose files are read, seen from there; `/` first.
    /// What else is mounted below them is not entered.
    pub places: Vec<PathBuf>,
    /// Folders and files that are left out with all that is in them.
    pub excluded: Vec<PathBuf>,
}

impl Source {
    /// Everything in a folder, on one file system.
    pub fn tree(top: impl Into<PathBuf>) -> Self {
        Self {
            top: top.into(),
            places: vec!["/".into()],
            excluded: Vec::new(),
        }
    }
}

/// What a tar of 2005 reads: holes in the way that is older than `GNU.sparse.major`, and
/// blocks of the usual size, so that it has taken all when it has seen the end.
const FOR_OLD: [&str; 2] = ["--sparse-version=0.0", "--blocking-factor=20"];

/// The tar that reads `source` and writes to the stdout that it is given; `old`: for old nodes.
pub fn create(abilities: Abilities, source: &Source, old: bool) -> Command {
    let mut command = plain("tar");
    command
        .args(["--create", "--file=-", "--format=pax", "--sparse"])
        .args([
            "--one-file-system",
            "--pax-option=delete=atime,delete=ctime",
        ])
        .args(abilities.options())
        .args(if old { &FOR_OLD[..] } else { &[] })
        .args(["--anchored", "--wildcards", "--wildcards-match-slash"]);
    for path in &source.excluded {
        let mut option = OsString::from("--exclude=");
        option.push(pattern(path));
        command.arg(option);
    }
    command.arg("--directory").arg(&source.top).arg("--");
    // The deepest first. What is mounted in a folder stands in the stream with this folder, and
    // there it must be full already: what comes into a folder with a default list inherits it.
    let mut places: Vec<&PathBuf> = source.places.iter().collect();
    places.sort_by_key(|place| Reverse(place.components().count()));
    command.args(places.into_iter().map(|place| member(place)));
    command.stdin(Stdio::null());
    command
}

/// The tar that takes a stream at the stdin that it is given and writes it below `target`.
pub fn extract(abilities: Abilities, target: &Path) -> Command {
    let mut command = plain("tar");
    command
        .args([
            "--extract",
            "--file=-",
            "--same-owner",
            "--same-permissions",
        ])
        .args(abilities.options())
        .arg("--directory")
        .arg(target);
    command.stdout(Stdio::null());
    command
}

/// Its sentences are read, so they are always the same; nobody's settings change it.
fn plain(program: &str) -> Command {
    let mut command = Command::new(program);
    command
        .env("LC_ALL", "C")
        .env_remove("TAR_OPTIONS")
        .env_remove("POSIXLY_CORRECT")
        .stdin(Stdio::null())
        .stderr(Stdio::piped());
    command
}

/// `/var` as it stands in the stream.
fn member(path: &Path) -> OsString {
    let path = path.strip_prefix("/").unwrap_or(path);
    if path.as_os_str().is_empty() {
        return ".".into();
    }
    [OsStr::new("./"), path.as_os_str()].into_iter().collect()
}

/// The same as a pattern that stands for itself only.
fn pattern(path: &Path) -> OsString {
    let mut pattern = Vec::new();
    for &byte in member(path).as_bytes() {
        if matches!(byte, b'*' | b'?' | b'[' | b']' | b'\\') {
            pattern.push(b'\\');
        }
        pattern.push(byte);
    }
    OsString::from_vec(pattern)
}

/// Ends tar and forgets it; it may have ended by itself.
pub(crate) fn kill(mut child: Child) {
    let _ = child.kill();
    let _ = child.wait();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_tar_is_asked_for_less() {
        let old = Abilities::parse("  -c, --create   create a new archive\n");
        let source = Source::tree("/x");
        let line = format!("{:?}", create(old, &source, false));
        assert!(
            !line.contains("xattrs") && !line.contains("warning"),
            "{line}"
        );
        assert_eq!(
            old.lacks().unwrap(),
            "the tar here is too old to carry extended attributes and capabilities and access \
             control lists and labels of SELinux"
        );
        let new = Abilities::ask().unwrap();
        assert_eq!(new.lacks(), None);
    }

    #[test]
    fn a_pattern_means_one_name() {
        for (path, expected) in [
            ("/srv", "./srv"),
            ("/a*b?[c]\\", r"./a\*b\?\[c\]\\"),
            ("/", "."),
            ("/-x", "./-x"),
        ] {
            assert_eq!(pattern(Path::new(path)), expected);
        }
    }
}
