//! The source of a kernel: an unpacked tree, or the distribution's package.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use goldring_builder::apt::{Apt, Wanted};
use goldring_builder::progress::Progress;
use goldring_builder::sysroot::Part;

use crate::host;

/// The distribution's package; it depends on the one with the version in its name.
pub(super) const PACKAGE: &str = "linux-source";

/// A kernel's source.
#[derive(Debug, Clone)]
pub(super) struct Source {
    /// The top folder of the tree.
    pub(super) folder: PathBuf,
    /// `VERSION.PATCHLEVEL`, such as `6.1`.
    pub(super) version: String,
}

/// Looks at an unpacked tree.
///
/// # Errors
/// It is none.
pub(super) fn of_folder(folder: &Path) -> Result<Source> {
    let folder = std::path::absolute(folder)?;
    let makefile = folder.join("Makefile");
    let text = fs::read_to_string(&makefile).with_context(|| {
        format!(
            "reading {}; --source-dir wants the top folder of a kernel's source",
            makefile.display()
        )
    })?;
    let version = version(&text).with_context(|| {
        format!(
            "{} is not that of a kernel: no VERSION and PATCHLEVEL",
            makefile.display()
        )
    })?;
    Ok(Source { folder, version })
}

/// Reads `VERSION = 6` and `PATCHLEVEL = 1` at the head of a kernel's Makefile.
fn version(makefile: &str) -> Option<String> {
    let value = |name: &str| {
        let mut lines = makefile.lines().take(20);
        let value = lines.find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix('='));
        value
            .map(str::trim)
            .filter(|v| !v.is_empty() && v.bytes().all(|byte| byte.is_ascii_digit()))
    };
    Some(format!("{}.{}", value("VERSION")?, value("PATCHLEVEL")?))
}

/// Gets the distribution's package and unpacks it below `work`, once for each version.
///
/// # Errors
/// apt does not have it, or it does not unpack.
pub(super) fn of_package(work: &Path, progress: &Progress) -> Result<Source> {
    let parts = package(&work.join("apt"), PACKAGE, progress)
        .context("getting the kernel's source; --source-dir DIR takes an unpacked one")?;
    let Some((tar, package)) = parts.iter().find_map(|part| {
        let package = part.package.as_ref()?;
        let tar = tar_below(&part.folder.join("usr/src"), 2)?;
        Some((tar, format!("{} {}\n", package.name, package.version)))
    }) else {
        bail!("the package {PACKAGE} has no linux-source-*.tar.* in usr/src");
    };
    let folder = work.join("source");
    let mark = work.join("source.package");
    if fs::read_to_string(&mark).is_ok_and(|text| text == package) {
        return of_folder(&folder);
    }
    progress.step(&format!("unpacking {}", package.trim_end()));
    unpack(&tar, &folder)?;
    let source = of_folder(&folder)?;
    fs::write(&mark, package).with_context(|| format!("writing {}", mark.display()))?;
    Ok(source)
}

/// A package of a kernel, by apt in a private root.
pub(super) fn package(root: &Path, name: &str, progress: &Progress) -> Result<Vec<Part>> {
    let wanted = Wanted {
        kernel: vec![name.to_owned()],
        ..Wanted::default()
    };
    // A root for each package: apt's folder remembers one wish.
    let apt = Apt::open(&root.join(name))?;
    Ok(apt.get(&wanted, false, progress)?.kernel)
}

/// The archive in a package: Debian has it in `usr/src`, Ubuntu one folder further down.
fn tar_below(folder: &Path, depth: u32) -> Option<PathBuf> {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    paths.sort();
    let is_tar = |path: &&PathBuf| {
        let name = path.file_name().map(|name| name.to_string_lossy());
        name.is_some_and(|name| name.starts_with("linux-source-") && name.contains(".tar."))
            && path.is_file()
    };
    if let Some(tar) = paths.iter().find(is_tar) {
        return Some(tar.clone());
    }
    let deeper = |path: &PathBuf| tar_below(path, depth - 1);
    (depth > 1).then(|| paths.iter().find_map(deeper))?
}

/// Unpacks an archive; the folder appears only when all of it is there.
fn unpack(tar: &Path, folder: &Path) -> Result<()> {
    let part = folder.with_extension("part");
    for old in [&part, folder] {
        if old.exists() {
            fs::remove_dir_all(old).with_context(|| format!("removing {}", old.display()))?;
        }
    }
    fs::create_dir_all(&part).with_context(|| format!("making {}", part.display()))?;
    let mut command = Command::new("tar");
    command
        .arg("--extract")
        .arg("--strip-components=1")
        .arg("--directory")
        .arg(&part)
        .arg("--file")
        .arg(tar);
    host::run(&mut command)?;
    fs::rename(&part, folder).with_context(|| format!("making {}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trees_version_is_that_of_its_makefile() {
        let good = "# SPDX\nVERSION = 6\nPATCHLEVEL = 1\nSUBLEVEL = 192\nEXTRAVERSION =\n";
        assert_eq!(version(good).as_deref(), Some("6.1"));
        for ugly in [
            "",
            "VERSION = 6\n",
            "VERSION = 6\nPATCHLEVEL =\n",
            "VERSION = $(x)\nPATCHLEVEL = 1\n",
            "\u{fffd}",
        ] {
            assert_eq!(version(ugly), None, "{ugly:?}");
        }
        let dir = tempfile::tempdir().unwrap();
        let error = format!("{:#}", of_folder(dir.path()).unwrap_err());
        assert!(error.contains("top folder of a kernel's source"), "{error}");
        fs::write(dir.path().join("Makefile"), "all:\n").unwrap();
        let error = format!("{:#}", of_folder(dir.path()).unwrap_err());
        assert!(error.contains("not that of a kernel"), "{error}");
    }

    #[test]
    fn the_archive_is_found_where_the_distributions_have_it() {
        for place in [
            "linux-source-6.1.tar.xz",
            "linux-source-6.8.0/linux-source-6.8.0.tar.bz2",
        ] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join(place);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(dir.path().join("a.patch.xz"), "").unwrap();
            assert_eq!(tar_below(dir.path(), 2), None);
            fs::write(&path, "").unwrap();
            assert_eq!(tar_below(dir.path(), 2), Some(path));
        }
    }

    #[test]
    fn a_broken_archive_leaves_no_source() {
        let dir = tempfile::tempdir().unwrap();
        let (tar, folder) = (dir.path().join("x.tar.xz"), dir.path().join("source"));
        fs::write(&tar, "no archive").unwrap();
        assert!(unpack(&tar, &folder).is_err());
        assert!(!folder.exists());
    }
}
