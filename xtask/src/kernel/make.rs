//! Runs the kernel's own make: everything it says goes to a log, a person sees how far
//! it is, and an error has the lines that matter.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use goldring_builder::progress::Progress;

/// The log, in the folder of the build.
pub(super) const LOG: &str = "build.log";

/// How many lines of trouble an error shows.
const SHOWN: usize = 5;

/// `make` of one source into one folder.
#[derive(Debug)]
pub(super) struct Make {
    source: PathBuf,
    folder: PathBuf,
    jobs: usize,
}

impl Make {
    pub(super) fn new(source: &Path, folder: &Path, jobs: usize) -> Self {
        Self {
            source: source.to_owned(),
            folder: folder.to_owned(),
            jobs,
        }
    }

    fn command(&self) -> Command {
        let mut command = Command::new("make");
        command
            .arg("-C")
            .arg(&self.source)
            .arg(format!("O={}", self.folder.display()))
            .arg(format!("-j{}", self.jobs))
            .arg("LOCALVERSION=-goldring")
            // The same source gives the same kernel, whoever builds it and when.
            .env("KBUILD_BUILD_TIMESTAMP", "1970-01-01")
            .env("KBUILD_BUILD_USER", "goldring")
            .env("KBUILD_BUILD_HOST", "goldring")
            .env("LC_ALL", "C")
            .stdin(Stdio::null());
        // What cargo or a person set for another make is not for this one.
        for name in ["MAKEFLAGS", "MFLAGS", "MAKELEVEL", "KBUILD_OUTPUT", "ARCH"] {
            command.env_remove(name);
        }
        command
    }

    /// Makes targets.
    ///
    /// # Errors
    /// make fails; the error has the lines that tell why, and names the log.
    pub(super) fn run(&self, arguments: &[&str], progress: &Progress) -> Result<()> {
        let path = self.folder.join(LOG);
        let log = File::options().create(true).append(true).open(&path);
        let mut log = log.with_context(|| format!("opening {}", path.display()))?;
        let (reader, writer) = std::io::pipe().context("making a pipe")?;
        let mut command = self.command();
        command
            .args(arguments)
            .stdout(writer.try_clone().context("making a pipe")?)
            .stderr(writer);
        let mut child = command.spawn().context("starting make")?;
        // Its ends of the pipe must go, or it never ends for the reader.
        drop(command);
        let trouble = follow(reader, &mut log, progress)
            .with_context(|| format!("writing {}", path.display()));
        let status = child.wait().context("waiting for make")?;
        let trouble = trouble?;
        if !status.success() {
            bail!(
                "make {} failed ({status}): {}; all of it is in {}",
                arguments.join(" "),
                trouble.join(" / "),
                path.display()
            );
        }
        Ok(())
    }

    /// The kernel's release, as `uname -r` will print it.
    pub(super) fn release(&self) -> Result<String> {
        let mut command = self.command();
        command.args(["--silent", "--no-print-directory", "kernelrelease"]);
        let text = crate::host::run(&mut command)?;
        let release = text.lines().last().unwrap_or_default().trim().to_owned();
        if release.is_empty() || release.contains('/') {
            bail!("make kernelrelease said {text:?}, which is no release");
        }
        Ok(release)
    }
}

/// Copies what make says to the log. Returns the lines that look like the reason of a
/// failure, else the last ones.
fn follow(reader: impl Read, log: &mut impl Write, progress: &Progress) -> Result<Vec<String>> {
    let (mut errors, mut last) = (Vec::new(), Vec::new());
    let mut compiled = 0;
    let mut reader = BufReader::new(reader);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line)? > 0 {
        log.write_all(&line)?;
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        line.clear();
        if let Some(file) = compiles(&text) {
            compiled += 1;
            progress.tick(&format!("compiled {compiled} files, now {file}"));
        }
        let bad =
            text.contains("error:") || text.contains("*** ") || text.contains("No space left");
        if bad && errors.len() < SHOWN {
            errors.push(text.trim().to_owned());
        }
        if !text.is_empty() {
            last.push(text.trim().to_owned());
            last.drain(..last.len().saturating_sub(SHOWN));
        }
    }
    Ok(if errors.is_empty() { last } else { errors })
}

/// The file that `  CC [M]  drivers/ata/ahci.o` is about.
fn compiles(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("  CC ").or(line.strip_prefix("  AS "))?;
    rest.trim_start()
        .trim_start_matches("[M]")
        .split_whitespace()
        .next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_make_says_is_logged_and_its_reasons_are_kept() {
        let talk =
            b"  CC      init/main.o\n  CC [M]  fs/ext4/acl.o\nx.c:3:1: error: no such thing\n\
                    make[2]: *** [x.o] Error 1\nmake: *** [sub-make] Error 2\n\xff\n";
        let mut log = Vec::new();
        let trouble = follow(talk.as_slice(), &mut log, &Progress::silent()).unwrap();
        assert_eq!(log, talk);
        assert_eq!(trouble.len(), 3);
        assert_eq!(trouble[0], "x.c:3:1: error: no such thing");
        let silent = follow("a\n\nb".as_bytes(), &mut log, &Progress::silent()).unwrap();
        assert_eq!(silent, ["a", "b"]);
        assert_eq!(compiles("  CC [M]  fs/ext4/acl.o"), Some("fs/ext4/acl.o"));
        assert_eq!(compiles("  CC      init/main.o"), Some("init/main.o"));
        assert_eq!(compiles("  LD      vmlinux"), None);
        assert_eq!(compiles("  CC "), None);
    }
}
