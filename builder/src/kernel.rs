//! A kernel to boot: `vmlinuz`, its release, its configuration and its modules.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::sysroot::{Found, Part, Sysroot};

/// A kernel, found in unpacked packages or in a folder.
#[derive(Debug, Clone)]
pub struct Kernel {
    /// What `uname -r` will print.
    pub release: String,
    /// The image that a boot loader loads.
    pub vmlinuz: PathBuf,
    /// Its configuration, if it came along.
    pub config: Option<PathBuf>,
    /// Files below `lib/modules/RELEASE`: path relative to it, and where it is.
    pub files: Vec<(String, PathBuf)>,
    /// Packages that it came from, `NAME VERSION`.
    pub packages: Vec<String>,
}

impl Kernel {
    /// Finds the kernel in the parts of one (unpacked packages).
    ///
    /// # Errors
    /// There is none, or more than one.
    pub fn in_parts(parts: &[Part]) -> Result<Self> {
        let sysroot = Sysroot::index(parts.to_vec())?;
        let packages = sysroot
            .packages()
            .iter()
            .map(|p| format!("{} {}", p.name, p.version))
            .collect();
        let files = |folder: &str| -> Vec<(String, PathBuf)> {
            sysroot
                .below(folder)
                .filter_map(|(path, found)| match found {
                    Found::File { real, .. } => Some((path.to_owned(), real.clone())),
                    _ => None,
                })
                .collect()
        };
        let prefix = "usr/lib/modules/";
        let release = one_release(&files(prefix), prefix)?;
        let boot = files("boot");
        Self::assemble(release, boot, files, packages)
    }

    /// Finds the kernel in a folder: `vmlinuz*` in it or in its `boot`, and
    /// `lib/modules/RELEASE` (or `usr/lib/modules/RELEASE`).
    ///
    /// # Errors
    /// There is none, or several and no way to choose.
    pub fn in_folder(folder: &Path) -> Result<Self> {
        let what = || format!("looking for a kernel in {}", folder.display());
        let sysroot = Sysroot::of_folder(folder).with_context(what)?;
        let files = |below: &str| -> Vec<(String, PathBuf)> {
            sysroot
                .below(below)
                .filter_map(|(path, found)| match found {
                    Found::File { real, .. } => Some((path.to_owned(), real.clone())),
                    _ => None,
                })
                .collect()
        };
        let mut boot = files("boot");
        for entry in std::fs::read_dir(folder).with_context(what)? {
            let entry = entry.with_context(what)?;
            if let (Some(name), true) = (entry.file_name().to_str(), entry.path().is_file()) {
                boot.push((format!("boot/{name}"), entry.path()));
            }
        }
        boot.sort();
        let prefix = "usr/lib/modules/";
        let release = one_release(&files(prefix), prefix).with_context(what)?;
        Self::assemble(release, boot, files, Vec::new()).with_context(what)
    }

    fn assemble(
        release: String,
        boot: Vec<(String, PathBuf)>,
        files: impl Fn(&str) -> Vec<(String, PathBuf)>,
        packages: Vec<String>,
    ) -> Result<Self> {
        let folder = format!("usr/lib/modules/{release}");
        let modules: Vec<_> = files(&folder)
            .into_iter()
            .filter_map(|(path, real)| {
                let path = path.strip_prefix(&folder)?.trim_start_matches('/');
                Some((path.to_owned(), real))
            })
            .collect();
        // Ubuntu and Debian have them in /boot, Fedora beside the modules.
        let find = |start: &str, beside: &str| {
            let exact = format!("boot/{start}-{release}");
            let mut some = boot.iter().filter(|(path, _)| {
                path.strip_prefix("boot/")
                    .is_some_and(|name| name.starts_with(start))
            });
            boot.iter()
                .find(|(path, _)| *path == exact)
                .or_else(|| modules.iter().find(|(path, _)| path == beside))
                .map(|(_, real)| real.clone())
                .or_else(|| match (some.next(), some.next()) {
                    (Some((_, real)), None) => Some(real.clone()),
                    _ => None,
                })
        };
        let vmlinuz = find("vmlinuz", "vmlinuz")
            .with_context(|| format!("there is no vmlinuz-{release} (nor just one vmlinuz*)"))?;
        Ok(Self {
            config: find("config", "config"),
            vmlinuz,
            release,
            files: modules,
            packages,
        })
    }

    /// A file of `lib/modules/RELEASE` as text; nothing if it is not there.
    ///
    /// # Errors
    /// It is there and cannot be read.
    pub fn text(&self, name: &str) -> Result<Option<String>> {
        let Some((_, real)) = self.files.iter().find(|(path, _)| path == name) else {
            return Ok(None);
        };
        let bytes = std::fs::read(real).with_context(|| format!("reading {}", real.display()))?;
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }
}

/// The one release that has modules. A folder without `kernel/` (left behind by an
/// uninstalled kernel, or holding only somebody's own modules) is none.
fn one_release(files: &[(String, PathBuf)], prefix: &str) -> Result<String> {
    let mut releases: Vec<&str> = files
        .iter()
        .filter_map(|(path, _)| path.strip_prefix(prefix)?.split_once("/kernel/"))
        .map(|(release, _)| release)
        .filter(|release| !release.contains('/'))
        .collect();
    releases.dedup();
    match releases[..] {
        [release] => Ok(release.to_owned()),
        [] => bail!("there is no lib/modules/RELEASE with modules in kernel/"),
        _ => bail!(
            "there are several kernels ({}); keep one, or point to a folder with one",
            releases.join(", ")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            let path = dir.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, file).unwrap();
        }
        dir
    }

    #[test]
    fn a_kernel_is_found_where_distributions_and_people_put_it() {
        let module = "lib/modules/6.1/kernel/a.ko";
        for (files, vmlinuz, config) in [
            (
                vec!["boot/vmlinuz-6.1", "boot/config-6.1", module],
                "vmlinuz-6.1",
                true,
            ),
            (vec!["vmlinuz", module], "vmlinuz", false),
            (
                vec!["vmlinuz-6.1", "vmlinuz-5.0", "config-6.1", module],
                "vmlinuz-6.1",
                true,
            ),
            (
                vec![
                    "usr/lib/modules/6.1/vmlinuz",
                    "usr/lib/modules/6.1/kernel/a.ko",
                ],
                "vmlinuz",
                false,
            ),
        ] {
            let dir = folder(&files);
            let kernel = Kernel::in_folder(dir.path()).unwrap();
            assert_eq!(kernel.release, "6.1");
            assert!(kernel.vmlinuz.ends_with(vmlinuz), "{files:?}");
            assert_eq!(kernel.config.is_some(), config, "{files:?}");
            assert!(kernel.files.iter().any(|(path, _)| path == "kernel/a.ko"));
        }
    }

    #[test]
    fn a_folder_without_one_kernel_says_what_is_wrong() {
        for (files, problem) in [
            (vec!["vmlinuz"], "no lib/modules"),
            (vec!["lib/modules/6.1/kernel/a.ko"], "no vmlinuz-6.1"),
            (
                vec![
                    "vmlinuz",
                    "lib/modules/1/kernel/a.ko",
                    "lib/modules/2/kernel/a.ko",
                ],
                "several kernels (1, 2)",
            ),
            (
                vec!["vmlinuz-1", "vmlinuz-2", "lib/modules/3/kernel/a.ko"],
                "no vmlinuz-3",
            ),
        ] {
            let error = Kernel::in_folder(folder(&files).path()).unwrap_err();
            let text = format!("{error:#}");
            assert!(text.contains(problem), "{files:?}: {text}");
        }
    }
}
