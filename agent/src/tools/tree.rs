//! The tree of an installed system: what is in it, and changes to it. Its links stay
//! inside, since it may be another computer's.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context;
use goldring_sys::beneath;

/// A file that is read whole is smaller.
const FILE_MAX: u64 = 16 << 20;

/// An installed system below a folder. Paths are seen from it.
#[derive(Debug, Clone)]
pub(crate) struct Tree {
    top: PathBuf,
    dry: bool,
}

impl Tree {
    /// The system whose `/` is `top`.
    pub(crate) fn new(top: impl Into<PathBuf>) -> Self {
        Self {
            top: top.into(),
            dry: false,
        }
    }

    /// The same, but nothing in it is changed.
    pub(crate) fn dry(mut self, dry: bool) -> Self {
        self.dry = dry;
        self
    }

    /// Where a path really is; its last part may be a link, which is followed.
    pub(crate) fn resolve(&self, path: &str) -> io::Result<PathBuf> {
        beneath::resolve(&self.top, Path::new(path))
    }

    /// Where a path is whose last part need not be there, and is not followed.
    fn place(&self, path: &str) -> io::Result<PathBuf> {
        let path = Path::new(path);
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        Ok(beneath::resolve(&self.top, folder)?.join(name))
    }

    /// Whether it is there.
    pub(crate) fn has(&self, path: &str) -> bool {
        self.resolve(path).is_ok()
    }

    /// The first of the paths that is there.
    pub(crate) fn first(&self, paths: &[&str]) -> Option<String> {
        let there = paths.iter().find(|path| self.has(path));
        there.map(|path| (*path).to_owned())
    }

    /// The first of the programs that it has.
    pub(crate) fn program(&self, names: &[&str]) -> Option<String> {
        let there = |name: &&&str| {
            ["usr/sbin", "sbin", "usr/bin", "bin"]
                .iter()
                .any(|folder| self.has(&format!("/{folder}/{name}")))
        };
        names.iter().find(there).map(|name| (*name).to_owned())
    }

    /// The names in a folder, sorted; none when it is not there.
    pub(crate) fn names(&self, folder: &str) -> Vec<String> {
        let folder = self.resolve(folder).ok();
        let entries = folder.and_then(|folder| fs::read_dir(folder).ok());
        let mut names: Vec<String> = entries
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        names.sort();
        names
    }

    /// The text of a small file; empty when there is none.
    pub(crate) fn text(&self, path: &str) -> String {
        self.bytes(path)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    fn bytes(&self, path: &str) -> Option<Vec<u8>> {
        let path = self.resolve(path).ok()?;
        let metadata = path.metadata().ok()?;
        if !metadata.is_file() || metadata.len() > FILE_MAX {
            return None;
        }
        fs::read(path).ok()
    }

    /// Writes into a file, in place: owner, rights and labels of one that is there stay.
    ///
    /// # Errors
    /// What the kernel says, with the path.
    pub(crate) fn write(&self, path: &str, text: &str) -> anyhow::Result<()> {
        if self.dry {
            return Ok(());
        }
        self.resolve(path)
            .or_else(|_| self.place(path))
            .and_then(|there| fs::write(there, text))
            .with_context(|| format!("writing {path} of the clone"))
    }

    /// Changes the text of a file that is there, when there is something to change. Says
    /// whether there was. A file that is no UTF-8 is left alone.
    ///
    /// # Errors
    /// What the kernel says, with the path.
    pub(crate) fn edit(
        &self,
        path: &str,
        change: impl FnOnce(&str) -> String,
    ) -> anyhow::Result<bool> {
        let Some(old) = self
            .bytes(path)
            .and_then(|bytes| String::from_utf8(bytes).ok())
        else {
            return Ok(false);
        };
        let new = change(&old);
        if new == old {
            return Ok(false);
        }
        self.write(path, &new)?;
        Ok(true)
    }

    /// Removes a file or link, and says whether it was there. A folder stays.
    ///
    /// # Errors
    /// What the kernel says, with the path.
    pub(crate) fn remove(&self, path: &str) -> anyhow::Result<bool> {
        let Ok(there) = self.place(path) else {
            return Ok(false);
        };
        match fs::symlink_metadata(&there) {
            Ok(metadata) if !metadata.is_dir() => {}
            _ => return Ok(false),
        }
        if !self.dry {
            fs::remove_file(there).with_context(|| format!("removing {path} of the clone"))?;
        }
        Ok(true)
    }

    /// Whether it is a file, not a link to one.
    pub(crate) fn is_plain_file(&self, path: &str) -> bool {
        let metadata = self.place(path).and_then(fs::symlink_metadata);
        metadata.is_ok_and(|metadata| metadata.is_file())
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use std::fs;
    use std::os::unix::fs::symlink;

    /// A tree of files `PATH=TEXT`, in which `;` is the end of a line; `PATH=->TARGET` is a
    /// link.
    pub(crate) fn tree(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let (name, text) = file.split_once('=').unwrap_or((file, ""));
            let path = folder.path().join(name.trim_start_matches('/'));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            match text.strip_prefix("->") {
                Some(target) => symlink(target, path).unwrap(),
                None => fs::write(path, text.replace(';', "\n")).unwrap(),
            }
        }
        folder
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::testing::tree;
    use super::*;

    #[test]
    fn changes_stay_in_the_tree_and_in_the_file() {
        let outside = tree(&["secret=x"]);
        let link = format!("etc/out=->{}/secret", outside.path().display());
        let folder = tree(&["etc/a=one", "etc/in=->/etc/a", "etc/empty=", &link]);
        let files = Tree::new(folder.path());
        let number = || fs::metadata(folder.path().join("etc/a")).unwrap().ino();
        let before = number();
        assert!(
            files
                .edit("/etc/in", |text| text.replace("one", "two"))
                .unwrap()
        );
        assert_eq!((files.text("/etc/a"), number()), ("two".to_owned(), before));
        assert!(!files.edit("/etc/a", str::to_owned).unwrap());
        assert!(!files.edit("/etc/none", |_| "x".to_owned()).unwrap());
        assert!(!files.edit("/etc/out", |_| "changed".to_owned()).unwrap());
        assert!(files.remove("/etc/out").unwrap());
        assert!(!files.remove("/etc/out").unwrap());
        assert!(!files.remove("/etc").unwrap());
        assert!(outside.path().join("secret").exists());
        assert!(files.is_plain_file("/etc/a") && !files.is_plain_file("/etc/in"));
        let dry = files.clone().dry(true);
        assert!(dry.remove("/etc/a").unwrap());
        dry.write("/etc/a", "three").unwrap();
        assert_eq!(files.text("/etc/a"), "two");
        assert!(files.write("/none/x", "").is_err());
    }
}
