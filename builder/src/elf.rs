//! What programs need to start: their loader, their shared libraries and those of the
//! libraries, found in the ELF headers. Nothing of the tree is ever run.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use anyhow::{Context, Result, bail};
use goblin::elf::{Elf, header::EM_X86_64, header::ET_DYN, header::ET_EXEC};

use crate::sysroot::Sysroot;

/// Where the loader of Debian and Ubuntu looks (`ld.so --help`, `ld.so.conf.d`), and
/// the plain folders of others.
const DEFAULT_FOLDERS: [&str; 4] = [
    "usr/lib/x86_64-linux-gnu",
    "usr/local/lib",
    "usr/lib64",
    "usr/lib",
];

/// What one ELF file asks of the loader.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    /// The loader itself, an absolute path; libraries have none.
    pub interpreter: Option<String>,
    /// Libraries by their SONAME.
    pub libraries: Vec<String>,
    /// Folders to look in first, `$ORIGIN` unresolved.
    pub folders: Vec<String>,
}

impl Needs {
    /// Reads the headers; nothing when `bytes` is no program or library of x86-64 (a
    /// script, a GRUB module, a data file).
    ///
    /// # Errors
    /// An ELF file that is broken.
    pub fn of(bytes: &[u8]) -> Result<Option<Self>> {
        if !bytes.starts_with(b"\x7fELF") {
            return Ok(None);
        }
        let header = Elf::parse_header(bytes).context("broken ELF header")?;
        if header.e_machine != EM_X86_64 || !matches!(header.e_type, ET_DYN | ET_EXEC) {
            return Ok(None);
        }
        let elf = Elf::parse(bytes).context("broken ELF file")?;
        // RUNPATH replaces RPATH where both are there (ld.so(8)).
        let folders = if elf.runpaths.is_empty() {
            &elf.rpaths
        } else {
            &elf.runpaths
        };
        Ok(Some(Self {
            interpreter: elf.interpreter.map(str::to_owned),
            libraries: elf.libraries.iter().map(|&name| name.to_owned()).collect(),
            folders: folders
                .iter()
                .flat_map(|list| list.split(':'))
                .filter(|folder| !folder.is_empty())
                .map(str::to_owned)
                .collect(),
        }))
    }
}

/// Finds the closure of programs, step by step.
#[derive(Debug)]
pub struct Closure<'a> {
    sysroot: &'a Sysroot,
    /// Files by merged-usr path that are in the closure, and who wanted each.
    wanted_by: BTreeMap<String, String>,
    found: HashMap<(String, Vec<String>), String>,
    missing: BTreeMap<String, BTreeSet<String>>,
}

impl<'a> Closure<'a> {
    /// Nothing so far.
    pub fn new(sysroot: &'a Sysroot) -> Self {
        Self {
            sysroot,
            wanted_by: BTreeMap::new(),
            found: HashMap::new(),
            missing: BTreeMap::new(),
        }
    }

    /// Adds what the file at `path` needs, if it is a program or a library. `program` is
    /// whom an error blames.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn add(&mut self, path: &str, program: &str) -> Result<()> {
        let mut todo = vec![path.to_owned()];
        while let Some(path) = todo.pop() {
            let file = self.sysroot.follow(&path)?.file;
            let bytes = self.sysroot.read(&file)?;
            let Some(needs) = Needs::of(&bytes).with_context(|| format!("/{file}"))? else {
                continue;
            };
            let origin = file.rsplit_once('/').map_or("", |(folder, _)| folder);
            let folders: Vec<String> = needs
                .folders
                .iter()
                .map(|folder| {
                    folder
                        .replace("${ORIGIN}", "$ORIGIN")
                        .replace("$ORIGIN", &format!("/{origin}"))
                })
                .collect();
            let interpreter = needs.interpreter.map(|path| (path.clone(), Some(path)));
            let libraries = needs
                .libraries
                .iter()
                .map(|name| (name.clone(), self.find_library(name, &folders)));
            for (name, found) in libraries.chain(interpreter).collect::<Vec<_>>() {
                let found = found.filter(|path| self.sysroot.follow(path).is_ok());
                let Some(found) = found else {
                    self.missing
                        .entry(name)
                        .or_default()
                        .insert(program.to_owned());
                    continue;
                };
                if !self.wanted_by.contains_key(&found) {
                    self.wanted_by.insert(found.clone(), program.to_owned());
                    todo.push(found);
                }
            }
        }
        Ok(())
    }

    /// Adds a library by its SONAME, for what is loaded while a program runs.
    ///
    /// # Errors
    /// A file that cannot be read. A missing library shows in [`Closure::finish`].
    pub fn add_library(&mut self, name: &str) -> Result<()> {
        match self.find_library(name, &[]) {
            Some(path) => {
                self.wanted_by.insert(path.clone(), "the recipe".to_owned());
                self.add(&path, name)
            }
            None => {
                let by = BTreeSet::from(["the recipe".to_owned()]);
                self.missing.insert(name.to_owned(), by);
                Ok(())
            }
        }
    }

    fn find_library(&mut self, name: &str, folders: &[String]) -> Option<String> {
        let key = (name.to_owned(), folders.to_vec());
        if let Some(path) = self.found.get(&key) {
            return Some(path.clone());
        }
        let folders = folders
            .iter()
            .map(String::as_str)
            .chain(DEFAULT_FOLDERS.iter().copied());
        let path = folders
            .map(|folder| plain(&format!("{folder}/{name}")))
            .find(|path| self.sysroot.follow(path).is_ok())?;
        self.found.insert(key, path.clone());
        Some(path)
    }

    /// All libraries and loaders that were found, by path.
    ///
    /// # Errors
    /// Some were not; the message names them and the programs that want them.
    pub fn finish(self) -> Result<Vec<String>> {
        if !self.missing.is_empty() {
            let list: Vec<String> = self
                .missing
                .iter()
                .map(|(library, programs)| {
                    let programs: Vec<_> = programs.iter().map(String::as_str).collect();
                    format!("{library} (wanted by {})", programs.join(", "))
                })
                .collect();
            bail!(
                "libraries are not there: {}; add the package that has them to images/stage2.toml",
                list.join("; ")
            );
        }
        Ok(self.wanted_by.into_keys().collect())
    }
}

/// Without leading slash, `.` and `..`.
fn plain(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    crate::sysroot::merged(&parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_programs_and_libraries_have_needs() {
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let needs = Needs::of(&own).unwrap().unwrap();
        assert!(needs.interpreter.unwrap().contains("ld-linux"));
        assert!(needs.libraries.iter().any(|name| name == "libc.so.6"));
        assert_eq!(Needs::of(b"#!/bin/sh\n").unwrap(), None);
        assert!(Needs::of(&own[..80]).is_err());
        assert!(Needs::of(b"\x7fELF").is_err());
    }

    #[test]
    fn a_missing_library_is_blamed_on_its_program() {
        let dir = tempfile::tempdir().unwrap();
        let bin = dir.path().join("usr/bin");
        std::fs::create_dir_all(&bin).unwrap();
        std::fs::copy(std::env::current_exe().unwrap(), bin.join("tool")).unwrap();
        let sysroot = Sysroot::of_folder(dir.path()).unwrap();
        let mut closure = Closure::new(&sysroot);
        closure.add("usr/bin/tool", "tool").unwrap();
        closure.add_library("libnowhere.so.1").unwrap();
        let error = closure.finish().unwrap_err().to_string();
        assert!(error.contains("libc.so.6 (wanted by tool)"), "{error}");
        assert!(
            error.contains("libnowhere.so.1 (wanted by the recipe)"),
            "{error}"
        );
        assert!(error.contains("ld-linux"), "{error}");
    }

    #[test]
    fn libraries_are_found_where_the_loader_looks() {
        let dir = tempfile::tempdir().unwrap();
        let (bin, lib) = (
            dir.path().join("usr/bin"),
            dir.path().join("lib/x86_64-linux-gnu"),
        );
        std::fs::create_dir_all(&bin).unwrap();
        std::fs::create_dir_all(&lib).unwrap();
        let own = std::env::current_exe().unwrap();
        std::fs::copy(&own, bin.join("tool")).unwrap();
        let needs = Needs::of(&std::fs::read(&own).unwrap()).unwrap().unwrap();
        for name in &needs.libraries {
            std::fs::write(lib.join(name), "no ELF file, so it needs nothing").unwrap();
        }
        let loader = dir
            .path()
            .join(needs.interpreter.unwrap().trim_start_matches('/'));
        std::fs::create_dir_all(loader.parent().unwrap()).unwrap();
        std::fs::write(loader, "loader").unwrap();
        let sysroot = Sysroot::of_folder(dir.path()).unwrap();
        let mut closure = Closure::new(&sysroot);
        closure.add("bin/tool", "tool").unwrap();
        let found = closure.finish().unwrap();
        assert!(found.len() > needs.libraries.len().min(1));
        for name in &needs.libraries {
            assert!(
                found.iter().any(|path| path.ends_with(name.as_str())),
                "{name}"
            );
        }
    }

    #[test]
    fn paths_are_made_plain() {
        assert_eq!(plain("/usr/lib/x/../y/./lib.so"), "usr/lib/y/lib.so");
        assert_eq!(
            plain("/lib/x86_64-linux-gnu/libc.so.6"),
            "usr/lib/x86_64-linux-gnu/libc.so.6"
        );
    }
}
