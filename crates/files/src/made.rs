//! Files that a stream of tar does not carry and that are made again by hand: sockets,
//! which have no content, and the folders whose content stays behind.

use std::ffi::{CString, OsString};
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Component, Path, PathBuf};

use goldring_sys::beneath;
use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags};

use crate::text::{Line, Pairs};

/// The longest list of names, and the longest value, of extended attributes that Linux
/// gives (linux/limits.h: `XATTR_LIST_MAX`, `XATTR_SIZE_MAX`).
const XATTR_MAX: usize = 64 << 10;

/// What is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A folder.
    Folder,
    /// A socket.
    Socket,
}

/// A file without content, and all else that it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// What it is.
    pub kind: Kind,
    /// Where, seen from the installed system.
    pub path: PathBuf,
    /// Rights, with the bits for set-user-id, set-group-id and sticky.
    pub mode: u32,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// When it was changed: seconds and nanoseconds.
    pub changed: (i64, u32),
    /// Names and values; access control lists, capabilities and labels of SELinux are such,
    /// too.
    pub xattrs: Vec<(CString, Vec<u8>)>,
}

impl Made {
    /// A folder of root that everybody may enter.
    pub fn plain_folder(path: impl Into<PathBuf>) -> Self {
        Self {
            kind: Kind::Folder,
            path: path.into(),
            mode: 0o755,
            uid: 0,
            gid: 0,
            changed: (0, 0),
            xattrs: Vec::new(),
        }
    }

    /// Looks at `path` of the tree at `top`. `None`: it is neither folder nor socket.
    ///
    /// # Errors
    /// What the kernel says; it may be gone.
    pub fn look(top: &Path, path: &Path) -> io::Result<Option<Self>> {
        let there = top.join(path.strip_prefix("/").unwrap_or(path));
        let metadata = fs::symlink_metadata(&there)?;
        let kind = match metadata.file_type() {
            kind if kind.is_dir() => Kind::Folder,
            kind if kind.is_socket() => Kind::Socket,
            _ => return Ok(None),
        };
        Ok(Some(Self {
            kind,
            path: path.to_owned(),
            mode: metadata.mode() & 0o7777,
            uid: metadata.uid(),
            gid: metadata.gid(),
            changed: (metadata.mtime(), metadata.mtime_nsec() as u32),
            xattrs: xattrs(&there)?,
        }))
    }

    /// Reads what `Display` wrote. `None`: the line is not understood, or its path leads out
    /// of the tree.
    pub fn parse(pairs: &Pairs<'_>) -> Option<Self> {
        let kind = match pairs.bytes("kind") {
            b"folder" => Kind::Folder,
            b"socket" => Kind::Socket,
            _ => return None,
        };
        let path = pairs.path("path");
        let inside = |part| matches!(part, Component::RootDir | Component::Normal(_));
        if !path.is_absolute() || !path.components().all(inside) {
            return None;
        }
        let small = |key, radix| u32::try_from(pairs.number(key, radix)?).ok();
        let seconds = pairs.text("changed");
        let (seconds, nanoseconds) = seconds.split_once('.')?;
        let xattr = |bytes: &[u8]| {
            let cut = bytes.iter().position(|&byte| byte == b'=')?;
            let name = CString::new(&bytes[..cut]).ok()?;
            Some((name, bytes[cut + 1..].to_vec()))
        };
        Some(Self {
            kind,
            path,
            mode: small("mode", 8)? & 0o7777,
            uid: small("uid", 10)?,
            gid: small("gid", 10)?,
            changed: (
                seconds.parse().ok()?,
                nanoseconds.parse().ok().filter(|n| *n < 1_000_000_000)?,
            ),
            xattrs: pairs.all("xattr").filter_map(xattr).collect(),
        })
    }

    /// Makes it in the tree at `top`; a folder that is there already gets the attributes.
    /// The time of the folder that holds it stays.
    ///
    /// # Errors
    /// What the kernel says; something else is there.
    pub fn make(&self, top: &Path) -> io::Result<()> {
        let (Some(parent), Some(name)) = (self.path.parent(), self.path.file_name()) else {
            return self.dress(&beneath::resolve(top, &self.path)?);
        };
        let parent = beneath::resolve(top, parent)?;
        let before = fs::metadata(&parent)?;
        let there = parent.join(name);
        match (fs::symlink_metadata(&there), self.kind) {
            (Ok(old), Kind::Folder) if old.is_dir() => {}
            (Ok(old), Kind::Socket) if old.file_type().is_socket() => {}
            (Ok(_), _) => return Err(io::ErrorKind::AlreadyExists.into()),
            (Err(_), Kind::Folder) => fs::create_dir(&there)?,
            (Err(_), Kind::Socket) => {
                let mode = Mode::from_raw_mode(self.mode);
                rustix::fs::mknodat(CWD, &there, FileType::Socket, mode, 0)?;
            }
        }
        self.dress(&there)?;
        set_changed(&parent, (before.mtime(), before.mtime_nsec() as u32))
    }

    fn dress(&self, there: &Path) -> io::Result<()> {
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        let link = AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::chownat(CWD, there, Some(uid), Some(gid), link)?;
        // There is no link here: `make` has looked.
        rustix::fs::chmod(there, Mode::from_raw_mode(self.mode))?;
        for (name, value) in &self.xattrs {
            rustix::fs::lsetxattr(there, name.as_c_str(), value, XattrFlags::empty())?;
        }
        set_changed(there, self.changed)
    }
}

impl fmt::Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Folder => "folder",
            Kind::Socket => "socket",
        };
        let (seconds, nanoseconds) = self.changed;
        let mut line = Line::new("make")
            .with("kind", kind)
            .with("mode", format!("{:o}", self.mode))
            .number("uid", self.uid)
            .number("gid", self.gid)
            .with("changed", format!("{seconds}.{nanoseconds:09}"))
            .with("path", self.path.as_os_str());
        for (name, value) in &self.xattrs {
            let both = [name.as_bytes(), b"=", value].concat();
            line = line.with("xattr", OsString::from_vec(both));
        }
        f.write_str(&line.end())
    }
}

fn set_changed(path: &Path, (seconds, nanoseconds): (i64, u32)) -> io::Result<()> {
    let time = Timespec {
        tv_sec: seconds,
        tv_nsec: nanoseconds.into(),
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    Ok(rustix::fs::utimensat(
        CWD,
        path,
        &times,
        AtFlags::SYMLINK_NOFOLLOW,
    )?)
}

/// The extended attributes of a file, not of what a link leads to; none where the file
/// system knows none.
///
/// # Errors
/// What the kernel says.
pub fn xattrs(path: &Path) -> io::Result<Vec<(CString, Vec<u8>)>> {
    let mut names = vec![0; XATTR_MAX];
    let length = match rustix::fs::llistxattr(path, &mut names[..]) {
        Ok(length) => length,
        Err(rustix::io::Errno::NOTSUP) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let mut found = Vec::new();
    if length == 0 {
        return Ok(found);
    }
    let mut value = vec![0; XATTR_MAX];
    for name in names[..length].split(|&byte| byte == 0) {
        // xfs shows its access control lists a second time.
        if name.is_empty() || name.starts_with(b"trusted.SGI_ACL_") {
            continue;
        }
        let name = CString::new(name)?;
        match rustix::fs::lgetxattr(path, name.as_c_str(), &mut value[..]) {
            Ok(length) => found.push((name, value[..length].to_vec())),
            // It went in between, or the kernel lists what it does not show.
            Err(rustix::io::Errno::NODATA | rustix::io::Errno::NOTSUP) => {}
            Err(error) => return Err(error.into()),
        }
    }
    found.sort();
    Ok(found)
}

/// A path as it stands in a stream of tar, `./etc`, as the installed system calls it.
pub fn from_member(member: &[u8]) -> PathBuf {
    let member = member.strip_prefix(b".").unwrap_or(member);
    let member = member.strip_prefix(b"/").unwrap_or(member);
    Path::new("/").join(Path::new(std::ffi::OsStr::from_bytes(member)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn again(made: &Made) -> Option<Made> {
        let line = made.to_string();
        Made::parse(&Pairs::parse(&line))
    }

    #[test]
    fn a_line_is_read_as_it_was_written() {
        let mut made = Made::plain_folder("/srv/a b\n");
        made.mode = 0o7711;
        made.changed = (-5, 7);
        made.xattrs = vec![(c"user.x".to_owned(), b"\0=\xff".to_vec())];
        assert_eq!(again(&made), Some(made.clone()));
        made.kind = Kind::Socket;
        assert_eq!(again(&made), Some(made));
    }

    #[test]
    fn what_leads_out_or_is_half_a_line_is_nothing() {
        let good = "make kind=folder mode=755 uid=0 gid=0 changed=1.0 path=/x";
        assert!(Made::parse(&Pairs::parse(good)).is_some());
        for (from, to) in [
            ("/x", "/../x"),
            ("/x", "x"),
            ("path=/x", ""),
            ("folder", "device"),
            ("755", "9"),
            ("uid=0", "uid=-1"),
            ("1.0", "1"),
            ("1.0", "1.1000000000"),
        ] {
            let line = good.replace(from, to);
            assert_eq!(Made::parse(&Pairs::parse(&line)), None, "{line}");
        }
    }

    #[test]
    fn folders_and_sockets_are_made_with_all_they_have() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::create_dir(from.path().join("spool")).unwrap();
        let socket = from.path().join("spool/s");
        rustix::fs::mknodat(
            CWD,
            &socket,
            FileType::Socket,
            Mode::from_raw_mode(0o640),
            0,
        )
        .unwrap();
        rustix::fs::chmod(&socket, Mode::from_raw_mode(0o620)).unwrap();
        let folder = from.path().join("spool");
        rustix::fs::chmod(&folder, Mode::from_raw_mode(0o3770)).unwrap();
        set_changed(&folder, (1_000_000_000, 123_456_789)).unwrap();
        for path in ["/spool", "/spool/s"] {
            let made = Made::look(from.path(), Path::new(path)).unwrap().unwrap();
            made.make(to.path()).unwrap();
            // A second time changes nothing.
            made.make(to.path()).unwrap();
            let there = Made::look(to.path(), Path::new(path)).unwrap().unwrap();
            assert_eq!(there, made);
        }
        let kept = fs::metadata(to.path().join("spool")).unwrap();
        assert_eq!(
            kept.mtime(),
            1_000_000_000,
            "a new socket leaves the folder's time"
        );
    }

    #[test]
    fn a_link_in_the_tree_does_not_lead_out_of_it() {
        let (tree, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::os::unix::fs::symlink(outside.path(), tree.path().join("var")).unwrap();
        let error = Made::plain_folder("/var/x").make(tree.path()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(!outside.path().join("x").exists());
        fs::write(tree.path().join("file"), "").unwrap();
        let error = Made::plain_folder("/file").make(tree.path()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
    }

    #[test]
    fn members_of_a_tar_have_a_place_in_the_system() {
        for (member, path) in [
            (&b"./a/b"[..], "/a/b"),
            (b".", "/"),
            (b"./", "/"),
            (b"x", "/x"),
        ] {
            assert_eq!(from_member(member), Path::new(path));
        }
    }
}
