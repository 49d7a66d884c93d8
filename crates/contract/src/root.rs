//! The world behind a prefix.

use std::path::{Path, PathBuf};

/// The folder that stands for `/`.
///
/// Every program that reads `/sys`, `/proc`, `/dev` or `/etc` reaches them through
/// one of these, so that a program of early boot runs in a temporary folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root(PathBuf);

impl Root {
    /// The machine's own root.
    pub fn system() -> Self {
        Self(PathBuf::from("/"))
    }

    /// Another folder as root, for tests.
    pub fn at(folder: impl Into<PathBuf>) -> Self {
        Self(folder.into())
    }

    /// The place of `path` (absolute or relative to the root) below this root.
    ///
    /// ```
    /// use goldring_contract::Root;
    /// assert_eq!(Root::at("/tmp/x").join("/proc/cmdline").to_str(), Some("/tmp/x/proc/cmdline"));
    /// assert_eq!(Root::system().join("/proc").to_str(), Some("/proc"));
    /// ```
    pub fn join(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.0.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// The prefix itself.
    pub fn as_path(&self) -> &Path {
        &self.0
    }
}
