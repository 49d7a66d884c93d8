//! Paths on a foreign file system, whose links must not lead out of it.

use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};

/// What `path` means on the tree at `root` for programs whose `/` that is: an absolute
/// link, as an installed system has them, stays inside. The result has no links.
///
/// # Errors
/// What the kernel says, `ENOENT` for one; `ENOSYS` before Linux 5.6; no `/proc`.
pub fn resolve(root: &Path, path: &Path) -> io::Result<PathBuf> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let folder = openat(CWD, root, flags | OFlags::DIRECTORY, Mode::empty())?;
    let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let path = path.strip_prefix("/").unwrap_or(path);
    let path = if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    };
    let found = openat2(&folder, path, flags, Mode::empty(), inside)?;
    fs::read_link(format!("/proc/self/fd/{}", found.as_raw_fd()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_stay_inside() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("etc/deep")).unwrap();
        fs::write(root.join("etc/file"), "x").unwrap();
        symlink("/etc/file", root.join("absolute")).unwrap();
        symlink("../../../../etc/file", root.join("etc/deep/up")).unwrap();
        symlink("/proc/self/mem", root.join("out")).unwrap();
        symlink("round", root.join("round")).unwrap();
        let file = root.join("etc/file");
        for path in [
            "etc/file",
            "/etc/file",
            "absolute",
            "etc/deep/up",
            "../etc/file",
        ] {
            assert_eq!(resolve(&root, Path::new(path)).unwrap(), file, "{path}");
        }
        for path in ["", "/", "."] {
            assert_eq!(resolve(&root, Path::new(path)).unwrap(), root, "{path:?}");
        }
        for path in ["out", "round", "none", "etc/file/below"] {
            assert!(resolve(&root, Path::new(path)).is_err(), "{path}");
        }
    }
}
