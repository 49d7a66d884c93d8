//! A tree of files that is still to be written: what an archive or a squashfs will
//! hold. Both writers walk it in the same order, so the same tree gives the same bytes.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

/// Where a file's bytes come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// From memory.
    Bytes(Vec<u8>),
    /// From a file of this machine, read when the tree is written.
    File(PathBuf),
}

impl Content {
    /// The bytes.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read(&self) -> Result<Vec<u8>> {
        match self {
            Self::Bytes(bytes) => Ok(bytes.clone()),
            Self::File(path) => {
                std::fs::read(path).with_context(|| format!("reading {}", path.display()))
            }
        }
    }

    /// How many bytes there are.
    ///
    /// # Errors
    /// The file cannot be looked at.
    pub fn size(&self) -> Result<u64> {
        match self {
            Self::Bytes(bytes) => Ok(bytes.len() as u64),
            Self::File(path) => Ok(std::fs::metadata(path)
                .with_context(|| format!("looking at {}", path.display()))?
                .len()),
        }
    }
}

/// What one name of the tree is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A folder.
    Folder,
    /// A regular file.
    File(Content),
    /// A symbolic link to this target.
    Link(String),
    /// A character device.
    Device {
        /// Its major number.
        major: u32,
        /// Its minor number.
        minor: u32,
    },
}

/// One name of the tree. Owner and group are always root and the time is always 0:
/// an image must not depend on who made it, or when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// The permission bits, without the type: `0o755`.
    pub mode: u16,
    /// What it is.
    pub kind: Kind,
}

/// Files by path; a path has no leading slash, and `""` (the root) is not in it.
///
/// The order is that of the paths' bytes, so a folder always comes before what is in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree(BTreeMap<String, Node>);

impl Tree {
    /// An empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// Names and nodes, a folder before what is in it.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.0.iter().map(|(path, node)| (path.as_str(), node))
    }

    /// What is at `path`, with or without leading slash.
    pub fn get(&self, path: &str) -> Option<&Node> {
        self.0.get(path.trim_matches('/'))
    }

    /// How many names there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The bytes of all files together.
    ///
    /// # Errors
    /// A file cannot be looked at.
    pub fn size(&self) -> Result<u64> {
        self.0.values().try_fold(0, |sum, node| match &node.kind {
            Kind::File(content) => Ok(sum + content.size()?),
            _ => Ok(sum),
        })
    }

    /// Adds a folder; one that is there already takes the new mode.
    ///
    /// # Errors
    /// See [`Tree::put`].
    pub fn folder(&mut self, path: &str, mode: u16) -> Result<()> {
        self.put(path, mode, Kind::Folder)
    }

    /// Adds a file.
    ///
    /// # Errors
    /// See [`Tree::put`].
    pub fn file(&mut self, path: &str, mode: u16, content: Content) -> Result<()> {
        self.put(path, mode, Kind::File(content))
    }

    /// Adds a file with this text.
    ///
    /// # Errors
    /// See [`Tree::put`].
    pub fn text(&mut self, path: &str, text: impl Into<String>) -> Result<()> {
        self.file(path, 0o644, Content::Bytes(text.into().into_bytes()))
    }

    /// Adds a symbolic link.
    ///
    /// # Errors
    /// See [`Tree::put`].
    pub fn link(&mut self, path: &str, target: &str) -> Result<()> {
        self.put(path, 0o777, Kind::Link(target.to_owned()))
    }

    /// Adds a character device.
    ///
    /// # Errors
    /// See [`Tree::put`].
    pub fn device(&mut self, path: &str, mode: u16, major: u32, minor: u32) -> Result<()> {
        self.put(path, mode, Kind::Device { major, minor })
    }

    /// Adds `kind` at `path`; missing folders above it are made with mode 755. Adding
    /// the same thing twice is fine.
    ///
    /// # Errors
    /// The path is not plain (empty, `..`, a doubled slash), something else is there
    /// already, or what should be a folder above is none.
    pub fn put(&mut self, path: &str, mode: u16, kind: Kind) -> Result<()> {
        let path = path.trim_matches('/');
        let plain = path.split('/').all(|part| !matches!(part, "" | "." | ".."));
        if !plain || path.contains('\0') {
            bail!("{path:?} is no plain path inside an image");
        }
        let mut end = 0;
        while let Some(slash) = path[end..].find('/') {
            let above = &path[..end + slash];
            let node = self.0.entry(above.to_owned()).or_insert(Node {
                mode: 0o755,
                kind: Kind::Folder,
            });
            if node.kind != Kind::Folder {
                bail!("/{path} cannot be added: /{above} is not a folder");
            }
            end += slash + 1;
        }
        if let Some(there) = self.0.get_mut(path) {
            if there.kind != kind {
                bail!("/{path} is there twice, with different content");
            }
            there.mode = mode;
        } else {
            self.0.insert(path.to_owned(), Node { mode, kind });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_come_before_what_is_in_them() {
        let mut tree = Tree::new();
        tree.text("/a/b/c", "x").unwrap();
        tree.text("a-b", "y").unwrap();
        tree.folder("/a", 0o700).unwrap();
        let names: Vec<_> = tree.iter().map(|(path, node)| (path, node.mode)).collect();
        assert_eq!(
            names,
            [
                ("a", 0o700),
                ("a-b", 0o644),
                ("a/b", 0o755),
                ("a/b/c", 0o644)
            ]
        );
    }

    #[test]
    fn what_cannot_be_in_a_tree_is_refused() {
        let mut tree = Tree::new();
        tree.text("a", "x").unwrap();
        tree.text("a", "x").unwrap();
        for (path, problem) in [
            ("", "no plain path"),
            ("x/../y", "no plain path"),
            ("x//y", "no plain path"),
            ("a", "twice"),
            ("a/b", "not a folder"),
        ] {
            let error = tree.text(path, "other").unwrap_err().to_string();
            assert!(error.contains(problem), "{path:?}: {error}");
        }
    }
}
