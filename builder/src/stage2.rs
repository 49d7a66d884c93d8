//! What is in `rescue.clp`: the agent, tools with their libraries, and the few files
//! that no package has.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result, bail};
use goldring_contract::paths;

use crate::elf::Closure;
use crate::recipe::{Stage2, ToolSet};
use crate::sysroot::{Found, Sysroot};
use crate::tree::{Content, Kind, Tree};

/// Where programs are looked for, in the order of root's own `PATH`.
const PROGRAM_FOLDERS: [&str; 4] = ["usr/sbin", "usr/bin", "usr/local/sbin", "usr/local/bin"];
/// Documentation and translations, which nobody reads on a node.
const NEVER: [&str; 6] = [
    "usr/share/doc",
    "usr/share/man",
    "usr/share/info",
    "usr/share/locale",
    "usr/share/lintian",
    "usr/share/bash-completion",
];

/// The tree of stage 2 and what is worth saying about it.
#[derive(Debug, Default)]
pub struct Content2 {
    /// Everything that goes in.
    pub tree: Tree,
    /// Programs by path, and the package of each (`NAME VERSION`).
    pub programs: BTreeMap<String, String>,
    /// Packages that something was taken from, `NAME VERSION`.
    pub packages: BTreeSet<String>,
    /// What was left out and why.
    pub notes: Vec<String>,
}

/// Collects stage 2 from a sysroot.
///
/// `unknown` are optional packages that the distribution does not have.
///
/// # Errors
/// A program, a file, a library or a script's interpreter that is not there.
pub fn collect(
    recipe: &Stage2,
    sysroot: &Sysroot,
    agent: &Path,
    unknown: &[String],
) -> Result<Content2> {
    let mut collector = Collector {
        sysroot,
        except: &recipe.except,
        out: Content2::default(),
        taken: BTreeMap::new(),
        missing: Vec::new(),
    };
    for set in &recipe.tools {
        collector.set(set, unknown)?;
    }
    if !collector.missing.is_empty() {
        bail!(
            "not there: {}; see images/stage2.toml",
            collector.missing.join("; ")
        );
    }
    collector.libraries(&recipe.libraries)?;
    let mut out = collector.out;
    let own = Content::File(agent.to_owned());
    out.tree.file(paths::AGENT, 0o755, own)?;
    for folder in &recipe.folder {
        out.tree.folder(&folder.path, folder.mode.0)?;
    }
    for file in &recipe.file {
        let text = file.text.strip_prefix('\n').unwrap_or(&file.text);
        let content = Content::Bytes(text.as_bytes().to_vec());
        out.tree.file(&file.path, file.mode.0, content)?;
    }
    for link in &recipe.link {
        out.tree.link(&link.path, &link.target)?;
    }
    check_interpreters(&out.tree)?;
    Ok(out)
}

struct Collector<'a> {
    sysroot: &'a Sysroot,
    except: &'a [String],
    out: Content2,
    /// Files that were taken, and what for.
    taken: BTreeMap<String, String>,
    /// What should be there and is not.
    missing: Vec<String>,
}

impl Collector<'_> {
    fn set(&mut self, set: &ToolSet, unknown: &[String]) -> Result<()> {
        let gone: Vec<&str> = set
            .packages
            .iter()
            .filter(|name| unknown.contains(name))
            .map(String::as_str)
            .collect();
        if set.optional && gone.len() == set.packages.len() && !gone.is_empty() {
            let note = format!(
                "without {}: {} ({})",
                gone.join(", "),
                set.why,
                "no such package"
            );
            self.out.notes.push(note);
            return Ok(());
        }
        for name in set.programs.iter().chain(&set.wanted) {
            if let Some(path) = self.program(name) {
                let package = self.take(&path, name)?;
                self.out.programs.insert(format!("/{path}"), package);
            } else if set.programs.contains(name) && !set.optional {
                self.missing.push(format!(
                    "program {name} of {} ({})",
                    set.packages.join(" or "),
                    set.why
                ));
            }
        }
        for path in &set.files {
            self.files(path, set)?;
        }
        Ok(())
    }

    fn program(&self, name: &str) -> Option<String> {
        PROGRAM_FOLDERS
            .iter()
            .map(|folder| format!("{folder}/{name}"))
            .find(|path| self.sysroot.follow(path).is_ok())
    }

    /// Takes a file and the links on the way to it; returns its package.
    fn take(&mut self, path: &str, what_for: &str) -> Result<String> {
        let followed = self.sysroot.follow(path)?;
        for (link, target) in &followed.links {
            if !self
                .out
                .tree
                .get(link)
                .is_some_and(|n| matches!(n.kind, Kind::Link(_)))
            {
                self.out.tree.link(link, &link_text(link, target))?;
            }
        }
        let Some(Found::File { real, executable }) = self.sysroot.look(&followed.file) else {
            bail!("/{path} is no file");
        };
        let library = followed.file.contains(".so");
        let mode = if *executable && !library {
            0o755
        } else {
            0o644
        };
        // Loaders and libraries that can be run have their bit as well; it does no harm.
        let mode = if library && *executable { 0o755 } else { mode };
        let content = Content::File(real.clone());
        self.out.tree.file(&followed.file, mode, content)?;
        self.taken
            .entry(followed.file.clone())
            .or_insert_with(|| what_for.to_owned());
        let package = self.sysroot.package(&followed.file);
        let package = package.map(|p| format!("{} {}", p.name, p.version));
        if let Some(package) = &package {
            self.out.packages.insert(package.clone());
        }
        Ok(package.unwrap_or_default())
    }

    fn files(&mut self, path: &str, set: &ToolSet) -> Result<()> {
        let below: Vec<(String, Found)> = self
            .sysroot
            .below(path)
            .map(|(path, found)| (path.to_owned(), found.clone()))
            .collect();
        if below.is_empty() {
            return match self.sysroot.follow(path.trim_start_matches('/')) {
                Ok(_) => self.take(path.trim_start_matches('/'), path).map(drop),
                Err(_) if set.optional => Ok(()),
                Err(_) => {
                    self.missing.push(format!(
                        "{path} of {} ({})",
                        set.packages.join(" or "),
                        set.why
                    ));
                    Ok(())
                }
            };
        }
        for (path, found) in below {
            let left_out = |list: &[String]| {
                list.iter().any(|place| {
                    path.strip_prefix(place.trim_matches('/'))
                        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
                })
            };
            if left_out(self.except) || NEVER.iter().any(|place| path.starts_with(place)) {
                continue;
            }
            match found {
                Found::Folder => self.out.tree.folder(&path, 0o755)?,
                // A link inside a folder may lead out of what is taken, or nowhere.
                Found::Link(_) if self.sysroot.follow(&path).is_err() => {}
                _ => drop(self.take(&path, &path)?),
            }
        }
        Ok(())
    }

    fn libraries(&mut self, loaded_at_run: &[String]) -> Result<()> {
        let mut closure = Closure::new(self.sysroot);
        for (path, what_for) in &self.taken {
            closure.add(path, what_for)?;
        }
        for name in loaded_at_run {
            closure.add_library(name)?;
        }
        for path in closure.finish()? {
            self.take(&path, "library")?;
        }
        Ok(())
    }
}

/// A link in the same folder is written as a plain name, any other absolute.
fn link_text(link: &str, target: &str) -> String {
    let folder = |path: &str| path.rsplit_once('/').map(|(folder, _)| folder.to_owned());
    if folder(link) == folder(target) {
        target.rsplit('/').next().unwrap_or(target).to_owned()
    } else {
        format!("/{target}")
    }
}

/// Every script must find its interpreter inside.
fn check_interpreters(tree: &Tree) -> Result<()> {
    for (path, node) in tree.iter() {
        let Kind::File(content) = &node.kind else {
            continue;
        };
        if node.mode & 0o111 == 0 {
            continue;
        }
        let Some(interpreter) = interpreter(content)? else {
            continue;
        };
        let merged = crate::sysroot::merged(interpreter.trim_start_matches('/'));
        if tree.get(&merged).is_none() {
            bail!(
                "/{path} is a script for {interpreter}, which is not in stage 2; add it or leave \
                 the script out, in images/stage2.toml"
            );
        }
    }
    Ok(())
}

fn interpreter(content: &Content) -> Result<Option<String>> {
    use std::io::Read as _;
    let mut start = Vec::new();
    match content {
        Content::Bytes(bytes) => start.extend(bytes.iter().take(256)),
        Content::File(path) => {
            let file = std::fs::File::open(path);
            let file = file.with_context(|| format!("reading {}", path.display()))?;
            file.take(256).read_to_end(&mut start)?;
        }
    }
    Ok(shebang(&start))
}

/// The program of a first line `#!/bin/sh -e`.
fn shebang(start: &[u8]) -> Option<String> {
    let line = start
        .strip_prefix(b"#!")?
        .split(|&byte| byte == b'\n')
        .next()?;
    let line = std::str::from_utf8(line).ok()?;
    line.split_ascii_whitespace().next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_lines_of_scripts() {
        for (text, program) in [
            (&b"#!/bin/sh -e\nexit"[..], Some("/bin/sh")),
            (b"#! /usr/bin/env python3", Some("/usr/bin/env")),
            (b"#!\n/bin/sh", None),
            (b"\x7fELF", None),
            (b"#!/bin/\xff\n", None),
            (b"", None),
        ] {
            assert_eq!(shebang(text).as_deref(), program);
        }
    }

    #[test]
    fn links_are_short_where_they_can_be() {
        assert_eq!(link_text("usr/sbin/mkfs.ext2", "usr/sbin/mke2fs"), "mke2fs");
        assert_eq!(
            link_text("usr/bin/awk", "etc/alternatives/awk"),
            "/etc/alternatives/awk"
        );
    }
}
