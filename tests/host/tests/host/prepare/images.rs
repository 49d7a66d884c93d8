//! A small stage 2 as images of every kind, and `goldring prepare` run upon them.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, ensure};
use goldring_host_tests::bench::noise;
use goldring_host_tests::net::run;

/// A small stage 2, and images of it.
pub(super) struct Images {
    pub(super) folder: tempfile::TempDir,
    goldring: PathBuf,
}

impl Images {
    /// `agent` is what makes it one.
    pub(super) fn new(goldring: &Path, agent: &[&str]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        // Also for somebody who is not root.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777))?;
        let images = Self {
            folder,
            goldring: goldring.to_owned(),
        };
        let tree = images.path("tree");
        for place in agent {
            let place = tree.join(place);
            fs::create_dir_all(place.parent().context("no folder")?)?;
            fs::write(&place, "#!/bin/sh\n")?;
            fs::set_permissions(&place, fs::Permissions::from_mode(0o755))?;
        }
        fs::create_dir_all(tree.join("dev"))?;
        fs::create_dir_all(tree.join("a b/ü"))?;
        fs::create_dir(tree.join("tmp"))?;
        fs::set_permissions(tree.join("tmp"), fs::Permissions::from_mode(0o1777))?;
        let big = noise(3_000_000);
        fs::write(tree.join("big"), &big)?;
        fs::write(tree.join("sparse"), vec![0; 400_000])?;
        fs::write(tree.join("a b/ü/empty"), "")?;
        fs::write(tree.join("secret"), "x")?;
        fs::set_permissions(tree.join("secret"), fs::Permissions::from_mode(0o400))?;
        symlink("../big", tree.join("a b/link"))?;
        symlink("/", tree.join("root"))?;
        let shown = |name: &str| tree.join(name).to_string_lossy().into_owned();
        run("mknod", &[&shown("dev/console"), "c", "5", "1"])?;
        run("mknod", &[&shown("dev/sda9"), "b", "8", "9"])?;
        run("mkfifo", &[&shown("dev/pipe")])?;
        let old = ["-d", "2006-10-01T12:00:00Z"];
        run("touch", &[&old[..], &[&shown("big")]].concat())?;
        Ok(images)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn shown(&self, name: &str) -> String {
        self.path(name).to_string_lossy().into_owned()
    }

    pub(super) fn squash(&self, name: &str, compressor: &str) -> Result<()> {
        let (from, to) = (self.shown("tree"), self.shown(name));
        let options = ["-quiet", "-no-progress", "-noappend", "-comp", compressor];
        run("mksquashfs", &[&[&*from, &to], &options[..]].concat())
    }

    pub(super) fn iso(&self, of: &str, name: &str) -> Result<()> {
        let (from, to) = (self.shown(of), self.shown(name));
        run(
            "xorriso",
            &["-as", "mkisofs", "-quiet", "-R", "-o", &to, &from],
        )
    }

    pub(super) fn cloop(&self, of: &str, name: &str) -> Result<()> {
        let (from, to) = (self.shown(of), self.shown(name));
        run(
            "create_compressed_fs",
            &["-q", "-L", "1", "-B", "65536", &from, &to],
        )
    }

    /// Runs `goldring prepare` with these words; what it said.
    pub(super) fn prepare(&self, words: &[&str]) -> Result<(Option<i32>, String)> {
        let mut command = Command::new(&self.goldring);
        command.arg("prepare").args(words);
        said(&command.stdin(Stdio::null()).output()?)
    }

    /// The tree at `place` is what went into the images, down to times and numbers.
    pub(super) fn is_the_tree(&self, place: &str) -> Result<()> {
        let list = |folder: &Path| -> Result<Vec<String>> {
            let format = "%P|%y|%m|%U:%G|%s|%T@|%l\n";
            let find = Command::new("find")
                .arg(folder)
                .args(["-mindepth", "1", "-printf", format])
                .output()?;
            let text = String::from_utf8(find.stdout)?;
            let mut lines: Vec<String> = text
                .lines()
                .filter(|line| !line.starts_with(".goldring-prepare|"))
                // A folder's size is that of its file system, and its time is kept by seconds.
                .map(|line| {
                    let mut parts: Vec<&str> = line.split('|').collect();
                    if parts[1] == "d" {
                        parts[4] = "";
                    }
                    parts[5] = parts[5].split('.').next().unwrap_or_default();
                    parts.join("|")
                })
                .collect();
            lines.sort();
            Ok(lines)
        };
        let (made, wanted) = (self.path(place), self.path("tree"));
        ensure!(
            list(&made)? == list(&wanted)?,
            "{:#?}\n{:#?}",
            list(&made)?,
            list(&wanted)?
        );
        for file in ["big", "sparse", "secret"] {
            ensure!(
                fs::read(made.join(file))? == fs::read(wanted.join(file))?,
                "{file} differs"
            );
        }
        let numbers = |folder: &Path| -> Result<String> {
            let dev = folder.join("dev");
            let stat = Command::new("stat")
                .args(["-c", "%t:%T"])
                .args([dev.join("console"), dev.join("sda9")])
                .output()?;
            Ok(String::from_utf8(stat.stdout)?)
        };
        ensure!(numbers(&made)? == numbers(&wanted)?, "{}", numbers(&made)?);
        Ok(())
    }

    /// What is in this folder of ours, by name.
    pub(super) fn names(&self, place: &str) -> Result<Vec<String>> {
        let mut all = Vec::new();
        for entry in fs::read_dir(self.path(place))? {
            all.push(entry?.file_name().to_string_lossy().into_owned());
        }
        all.sort();
        Ok(all)
    }
}

pub(super) fn said(output: &Output) -> Result<(Option<i32>, String)> {
    let text = [&output.stdout[..], &output.stderr].concat();
    Ok((
        output.status.code(),
        String::from_utf8_lossy(&text).into_owned(),
    ))
}
