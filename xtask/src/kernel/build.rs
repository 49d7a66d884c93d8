//! The steps of a build: configuration, compilation, the folder for the images.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use goldring_builder::kconfig::{self, Requirement};
use goldring_builder::kernel::Kernel;
use goldring_builder::progress::Progress;

use super::make::{LOG, Make};
use super::source::{self, Source};

/// What is configured where the fragments say nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Base {
    /// The kernel's own `x86_64_defconfig` with the fragments of `kernel-config/small`.
    Small,
    /// Debian's configuration.
    Debian,
    /// The configuration in this file.
    File(PathBuf),
}

impl FromStr for Base {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text {
            "small" => Self::Small,
            "debian" => Self::Debian,
            file => Self::File(file.into()),
        })
    }
}

impl Base {
    /// The name of its folder, so that two bases do not undo each other's work.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Debian => "debian",
            Self::File(_) => "file",
        }
    }

    /// GB that a build needs: the source and what is compiled of it.
    pub(super) fn room(&self, config_only: bool) -> u64 {
        match self {
            _ if config_only => 2,
            Self::Small => 4,
            // Somebody's configuration is most often a distribution's.
            Self::Debian | Self::File(_) => 20,
        }
    }

    /// For a person.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Small => "x86_64_defconfig".to_owned(),
            Self::Debian => "Debian's configuration".to_owned(),
            Self::File(path) => path.display().to_string(),
        }
    }
}

/// A kernel to be built.
#[derive(Debug)]
pub(super) struct Build {
    pub(super) source: Source,
    /// What is compiled goes there.
    pub(super) folder: PathBuf,
    /// `kernel-config/`.
    pub(super) fragments: PathBuf,
    pub(super) base: Base,
    /// Where apt keeps packages that are needed.
    pub(super) packages: PathBuf,
    pub(super) jobs: usize,
}

/// A kernel that was built.
#[derive(Debug)]
pub(super) struct Built {
    pub(super) release: String,
    /// Bytes of `vmlinuz`.
    pub(super) vmlinuz: u64,
    /// How many modules there are.
    pub(super) modules: usize,
    /// Bytes of all of them.
    pub(super) modules_size: u64,
}

impl Build {
    /// Makes the configuration and checks it. Returns the file.
    ///
    /// # Errors
    /// The kernel's own rules do not let an option live that a kernel must have.
    pub(super) fn configure(&self, progress: &Progress) -> Result<PathBuf> {
        progress.step(&format!(
            "configuring Linux {}: {} and kernel-config/",
            self.source.version,
            self.base.shown()
        ));
        fs::create_dir_all(&self.folder)
            .with_context(|| format!("making {}", self.folder.display()))?;
        let _ = fs::remove_file(self.folder.join(LOG));
        let file = self.folder.join(".config");
        let base = self.base_text(&file, progress)?;
        let must = kconfig::read_fragments(&self.fragments)?;
        let mut wanted = kconfig::read_fragments(&self.fragments.join("build"))?;
        if self.base == Base::Small {
            wanted.extend(kconfig::read_fragments(&self.fragments.join("small"))?);
        }
        // What a kernel must have comes last, so it wins.
        let text = kconfig::merge(&kconfig::merge(&base, &wanted), &must);
        fs::write(&file, text).with_context(|| format!("writing {}", file.display()))?;
        self.make().run(&["olddefconfig"], progress)?;
        self.survivors(&file, &must, &wanted, progress)?;
        Ok(file)
    }

    /// The text that the fragments are put into.
    fn base_text(&self, file: &Path, progress: &Progress) -> Result<String> {
        match &self.base {
            Base::Small => {
                self.make().run(&["x86_64_defconfig"], progress)?;
                kconfig::read_config(file)
            }
            Base::Debian => {
                let name = format!("linux-config-{}", self.source.version);
                let parts =
                    source::package(&self.packages, &name, progress).with_context(|| {
                        format!(
                            "getting Debian's configuration of Linux {}",
                            self.source.version
                        )
                    })?;
                let below = format!("usr/src/{name}/config.amd64_none_amd64.xz");
                let found = parts.iter().map(|part| part.folder.join(&below));
                let Some(path) = found.into_iter().find(|path| path.is_file()) else {
                    bail!(
                        "the package {name} has no {below}; give a configuration with --base FILE"
                    );
                };
                kconfig::read_config(&path)
            }
            Base::File(path) => kconfig::read_config(path)
                .context("--base is neither small nor debian, so it is the name of a file"),
        }
    }

    /// Names every option that the kernel's rules changed, with the reason for wanting it.
    fn survivors(
        &self,
        file: &Path,
        must: &[Requirement],
        wanted: &[Requirement],
        progress: &Progress,
    ) -> Result<()> {
        let text = kconfig::read_config(file)?;
        let config = kconfig::parse_config(&text);
        let mut lost = kconfig::missing(must, &config);
        // What a kernel must have has overruled the rest of the fragments.
        let overruled = |option: &str| must.iter().any(|r| r.option == option);
        let others = kconfig::missing(wanted, &config);
        lost.extend(others.into_iter().filter(|(r, _)| !overruled(&r.option)));
        if lost.is_empty() {
            return Ok(());
        }
        let known = known_options(&self.source.folder);
        let mut fatal = Vec::new();
        for (requirement, sentence) in lost {
            let name = requirement.option.trim_start_matches("CONFIG_");
            let why = if known.contains(name) {
                "other options do not let it be so"
            } else {
                "this source has no such option"
            };
            let line = format!("{sentence}: {why}");
            if must.contains(requirement) && !requirement.may_be_missing {
                fatal.push(line);
            } else {
                progress.note(&line);
            }
        }
        if fatal.is_empty() {
            return Ok(());
        }
        bail!(
            "this kernel cannot be configured as the images need it: {}; take another source or \
             another --base",
            fatal.join("; ")
        )
    }

    /// Compiles, and puts the kernel into `out`.
    ///
    /// # Errors
    /// It does not compile, or `out` is something else than a kernel's folder.
    pub(super) fn build(&self, out: &Path, progress: &Progress) -> Result<Built> {
        replaceable(out)?;
        let make = self.make();
        progress.step(&format!(
            "compiling with {} at once; everything make says is in {}",
            self.jobs,
            self.folder.join(LOG).display()
        ));
        make.run(&["bzImage", "modules"], progress)?;
        progress.step("installing modules");
        let part = out.with_extension("part");
        remove(&part)?;
        fs::create_dir_all(&part).with_context(|| format!("making {}", part.display()))?;
        let path = format!("INSTALL_MOD_PATH={}", part.display());
        make.run(&["modules_install", &path, "INSTALL_MOD_STRIP=1"], progress)?;
        self.finish(&part, &make.release()?)?;
        remove(out)?;
        fs::rename(&part, out).with_context(|| format!("making {}", out.display()))?;
        measure(out)
    }

    /// The files beside the modules.
    fn finish(&self, part: &Path, release: &str) -> Result<()> {
        for (from, to) in [
            ("arch/x86/boot/bzImage", "vmlinuz"),
            (".config", "config"),
            ("System.map", "System.map"),
        ] {
            let from = self.folder.join(from);
            fs::copy(&from, part.join(to))
                .with_context(|| format!("copying {}", from.display()))?;
        }
        // These point into the folders of this build.
        for link in ["build", "source"] {
            let _ = fs::remove_file(part.join("lib/modules").join(release).join(link));
        }
        let kernel = Kernel::in_folder(part)?;
        if kernel.release != release {
            bail!(
                "the modules are those of {}, but the kernel is {release}; remove {} and build again",
                kernel.release,
                self.folder.display()
            );
        }
        Ok(())
    }

    fn make(&self) -> Make {
        Make::new(&self.source.folder, &self.folder, self.jobs)
    }
}

/// An error unless `out` is absent, empty, or a kernel that was built before.
fn replaceable(out: &Path) -> Result<()> {
    let Ok(mut entries) = fs::read_dir(out) else {
        return Ok(());
    };
    if entries.next().is_none() || Kernel::in_folder(out).is_ok() {
        return Ok(());
    }
    bail!(
        "{} has something else in it than a kernel; give another folder with --out",
        out.display()
    )
}

fn remove(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("removing {}", folder.display()))?;
    }
    Ok(())
}

fn measure(out: &Path) -> Result<Built> {
    let kernel = Kernel::in_folder(out)?;
    let size = |path: &Path| -> Result<u64> {
        Ok(fs::metadata(path)
            .with_context(|| format!("reading {}", path.display()))?
            .len())
    };
    let is_module = |(path, _): &&(String, PathBuf)| path.contains(".ko");
    let modules: Vec<_> = kernel.files.iter().filter(is_module).collect();
    let mut modules_size = 0;
    for (_, path) in &modules {
        modules_size += size(path)?;
    }
    Ok(Built {
        vmlinuz: size(&kernel.vmlinuz)?,
        modules: modules.len(),
        modules_size,
        release: kernel.release,
    })
}

/// The options that a source knows: `config X` and `menuconfig X` in its Kconfig files.
fn known_options(source: &Path) -> BTreeSet<String> {
    let mut known = BTreeSet::new();
    let mut folders = vec![source.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(path);
            } else if entry.file_name().to_string_lossy().starts_with("Kconfig") {
                let text = fs::read(&path).unwrap_or_default();
                known.extend(defined(&String::from_utf8_lossy(&text)));
            }
        }
    }
    known
}

fn defined(kconfig: &str) -> impl Iterator<Item = String> + '_ {
    kconfig.lines().filter_map(|line| {
        let (word, name) = line.trim().split_once(char::is_whitespace)?;
        matches!(word, "config" | "menuconfig").then(|| name.trim().to_owned())
    })
}

#[cfg(test)]
mod tests;
