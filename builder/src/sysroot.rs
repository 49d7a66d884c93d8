//! A tree to take files from: unpacked packages, or any folder that looks like a root.
//!
//! Packages spread their files over `/bin` and `/usr/bin`; here every path is the one
//! of a merged-usr system (`/usr/bin/…`), wherever the file really lies. Symbolic links
//! are followed inside the tree, never on the machine that builds.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// Folders of the root that a merged-usr system has as links into `/usr`.
pub const MERGED: [&str; 5] = ["bin", "sbin", "lib", "lib32", "lib64"];
/// The folders of a root that hold software; nothing else is looked at.
const SOFTWARE: [&str; 9] = [
    "bin", "sbin", "lib", "lib32", "lib64", "usr", "etc", "boot", "opt",
];
/// No real path crosses more links (the kernel's own limit, `MAXSYMLINKS`).
const LINKS_MAX: usize = 40;

/// What a path of the sysroot is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A folder.
    Folder,
    /// A regular file, here.
    File {
        /// Where its bytes are on this machine.
        real: PathBuf,
        /// Whether anybody may run it.
        executable: bool,
    },
    /// A symbolic link to this target, as written.
    Link(String),
}

/// A part of a sysroot: a folder, and the package that it was unpacked from.
#[derive(Debug, Clone)]
pub struct Part {
    /// The folder.
    pub folder: PathBuf,
    /// The package, if it is one.
    pub package: Option<Package>,
}

/// A package, for the record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// An index of files by merged-usr path without leading slash.
#[derive(Debug, Clone, Default)]
pub struct Sysroot {
    files: BTreeMap<String, (Found, usize)>,
    parts: Vec<Part>,
}

impl Sysroot {
    /// Looks through all parts. When two have the same file, the first one wins.
    ///
    /// # Errors
    /// A folder cannot be read.
    pub fn index(parts: Vec<Part>) -> Result<Self> {
        let mut sysroot = Self::default();
        for (number, part) in parts.iter().enumerate() {
            for top in SOFTWARE {
                let folder = part.folder.join(top);
                if folder.symlink_metadata().is_ok() {
                    sysroot.add(&folder, top, number)?;
                }
            }
        }
        sysroot.parts = parts;
        Ok(sysroot)
    }

    /// One part without a package, and all of it.
    ///
    /// # Errors
    /// See [`Sysroot::index`].
    pub fn of_folder(folder: &Path) -> Result<Self> {
        Self::index(vec![Part {
            folder: folder.to_owned(),
            package: None,
        }])
    }

    fn add(&mut self, real: &Path, path: &str, part: usize) -> Result<()> {
        let context = || format!("looking at {}", real.display());
        let metadata = real.symlink_metadata().with_context(context)?;
        let key = merged(path);
        if metadata.is_dir() {
            self.files.entry(key).or_insert((Found::Folder, part));
            let entries = match std::fs::read_dir(real) {
                Ok(entries) => entries,
                // Somebody's own system (`--sysroot /`) has folders that are for root only.
                Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => return Ok(()),
                Err(error) => return Err(error).with_context(context),
            };
            for entry in entries {
                let entry = entry.with_context(context)?;
                // A name that is no text cannot stand in a recipe.
                if let Some(name) = entry.file_name().to_str() {
                    self.add(&entry.path(), &format!("{path}/{name}"), part)?;
                }
            }
            return Ok(());
        }
        let found = if metadata.is_symlink() {
            let target = std::fs::read_link(real).with_context(context)?;
            // The links that make a system merged-usr are implied.
            if MERGED.contains(&path) {
                return Ok(());
            }
            match target.to_str() {
                Some(target) => Found::Link(target.to_owned()),
                None => return Ok(()),
            }
        } else if metadata.is_file() {
            use std::os::unix::fs::PermissionsExt as _;
            Found::File {
                real: real.to_owned(),
                executable: metadata.permissions().mode() & 0o111 != 0,
            }
        } else {
            return Ok(());
        };
        self.files.entry(key).or_insert((found, part));
        Ok(())
    }

    /// What is at `path` itself; a link is not followed, but links above it are.
    pub fn look(&self, path: &str) -> Option<&Found> {
        self.files
            .get(&merged(path.trim_start_matches('/')))
            .map(|(found, _)| found)
    }

    /// The package of what is at `path`.
    pub fn package(&self, path: &str) -> Option<&Package> {
        let (_, part) = self.files.get(&merged(path.trim_start_matches('/')))?;
        self.parts[*part].package.as_ref()
    }

    /// All packages, in order of their names.
    pub fn packages(&self) -> Vec<&Package> {
        let mut packages: Vec<_> = self
            .parts
            .iter()
            .filter_map(|p| p.package.as_ref())
            .collect();
        packages.sort();
        packages
    }

    /// Every file: path, and where it is on this machine.
    pub fn files(&self) -> impl Iterator<Item = (&str, &Path)> {
        self.files
            .iter()
            .filter_map(|(path, (found, _))| match found {
                Found::File { real, .. } => Some((path.as_str(), real.as_path())),
                _ => None,
            })
    }

    /// Names and kinds of everything below a folder, in order.
    pub fn below<'a>(
        &'a self,
        folder: &str,
    ) -> impl Iterator<Item = (&'a str, &'a Found)> + use<'a> {
        let prefix = format!("{}/", merged(folder.trim_matches('/')));
        let start = prefix.clone();
        self.files
            .range(start..)
            .take_while(move |(path, _)| path.starts_with(&prefix))
            .map(|(path, (found, _))| (path.as_str(), found))
    }

    /// Follows `path` to a file. Returns every link on the way with its target (all as
    /// merged-usr paths) and the path of the file itself.
    ///
    /// # Errors
    /// Nothing is there, the links lead nowhere or in a circle, or to a folder.
    pub fn follow(&self, path: &str) -> Result<Followed> {
        let mut links = Vec::new();
        let mut at = merged(path.trim_start_matches('/'));
        for _ in 0..LINKS_MAX {
            match self.files.get(&at) {
                Some((Found::File { .. }, _)) => return Ok(Followed { links, file: at }),
                Some((Found::Link(target), _)) => {
                    let target = beside(&at, target);
                    links.push((at, target.clone()));
                    at = target;
                }
                Some((Found::Folder, _)) => bail!("/{path} is a folder"),
                None => match self.through_folder_link(&at) {
                    Some((link, target, next)) => {
                        links.push((link, target));
                        at = next;
                    }
                    None if links.is_empty() => bail!("/{path} is not there"),
                    None => bail!("/{path} is a link that leads to /{at}, which is not there"),
                },
            }
        }
        bail!("/{path} is a link that leads in a circle")
    }

    /// When a folder above `path` is a link: the link, its target, and where `path`
    /// really is.
    fn through_folder_link(&self, path: &str) -> Option<(String, String, String)> {
        path.match_indices('/').find_map(|(end, _)| {
            let (Found::Link(target), _) = self.files.get(&path[..end])? else {
                return None;
            };
            let target = beside(&path[..end], target);
            let next = format!("{target}{}", &path[end..]);
            Some((path[..end].to_owned(), target, next))
        })
    }

    /// Where the bytes of a file are on this machine.
    ///
    /// # Errors
    /// There is no file at `path`.
    pub fn real(&self, path: &str) -> Result<&Path> {
        match self.look(path) {
            Some(Found::File { real, .. }) => Ok(real),
            _ => bail!("/{path} is no file"),
        }
    }

    /// The bytes of a file.
    ///
    /// # Errors
    /// It is not there or cannot be read.
    pub fn read(&self, path: &str) -> Result<Vec<u8>> {
        let real = self.real(&self.follow(path)?.file)?;
        std::fs::read(real).with_context(|| format!("reading {}", real.display()))
    }
}

/// The way to a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Followed {
    /// Links on the way, each with its target; merged-usr paths without leading slash.
    pub links: Vec<(String, String)>,
    /// The file at the end.
    pub file: String,
}

/// `path` (without leading slash) as a merged-usr system has it.
pub fn merged(path: &str) -> String {
    let top = path.split('/').next().unwrap_or_default();
    if MERGED.contains(&top) {
        format!("usr/{path}")
    } else {
        path.to_owned()
    }
}

/// Where a link at `path` with this target leads.
fn beside(path: &str, target: &str) -> String {
    let mut parts: Vec<&str> = if target.starts_with('/') {
        Vec::new()
    } else {
        let mut above: Vec<&str> = path.split('/').collect();
        above.pop();
        above
    };
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    merged(&parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn sample() -> (tempfile::TempDir, Sysroot) {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        for folder in [
            "bin",
            "usr/bin",
            "lib/x86",
            "usr/lib/x86",
            "etc/alternatives",
            "home/me",
        ] {
            std::fs::create_dir_all(root.join(folder)).unwrap();
        }
        std::fs::write(root.join("bin/dash"), "dash").unwrap();
        std::fs::write(root.join("usr/bin/mawk"), "mawk").unwrap();
        std::fs::write(root.join("home/me/secret"), "no").unwrap();
        std::fs::write(root.join("lib/x86/libc.so.6"), "libc").unwrap();
        symlink("dash", root.join("bin/sh")).unwrap();
        symlink("/etc/alternatives/awk", root.join("usr/bin/awk")).unwrap();
        symlink("/usr/bin/mawk", root.join("etc/alternatives/awk")).unwrap();
        symlink(
            "../../../lib/x86/libc.so.6",
            root.join("usr/lib/x86/libc.so"),
        )
        .unwrap();
        symlink("round", root.join("bin/round")).unwrap();
        symlink("nowhere", root.join("bin/broken")).unwrap();
        symlink("x86", root.join("usr/lib/arch")).unwrap();
        let sysroot = Sysroot::of_folder(root).unwrap();
        (dir, sysroot)
    }

    #[test]
    fn split_and_merged_trees_look_alike() {
        let (_dir, sysroot) = sample();
        for (path, file, links) in [
            ("usr/bin/dash", "usr/bin/dash", 0),
            ("bin/sh", "usr/bin/dash", 1),
            ("/usr/bin/awk", "usr/bin/mawk", 2),
            ("usr/lib/x86/libc.so", "usr/lib/x86/libc.so.6", 1),
            ("lib/arch/libc.so.6", "usr/lib/x86/libc.so.6", 1),
        ] {
            let followed = sysroot.follow(path).unwrap();
            assert_eq!(
                (followed.file.as_str(), followed.links.len()),
                (file, links)
            );
            assert!(sysroot.read(path).is_ok());
        }
        let names: Vec<_> = sysroot.below("lib/x86").map(|(path, _)| path).collect();
        assert_eq!(names, ["usr/lib/x86/libc.so", "usr/lib/x86/libc.so.6"]);
    }

    #[test]
    fn what_is_not_there_says_so() {
        let (_dir, sysroot) = sample();
        for (path, problem) in [
            ("usr/bin/ls", "not there"),
            ("usr/bin/round", "circle"),
            ("usr/bin/broken", "leads to /usr/bin/nowhere"),
            ("usr/bin", "is a folder"),
            ("home/me/secret", "not there"),
        ] {
            let error = sysroot.follow(path).unwrap_err().to_string();
            assert!(error.contains(problem), "{path}: {error}");
        }
    }
}
