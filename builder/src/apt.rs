//! Packages from the distribution, without root and without installing anything.
//!
//! apt runs with its state, its cache and its list of installed packages in a folder
//! of ours, and with the machine's own sources and keys, so signatures are checked as
//! always. Each package is unpacked into a folder of its own, once.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, anyhow, bail};

use crate::lock;
use crate::progress::Progress;
use crate::sysroot::{Package, Part};

/// The architecture of the images.
const ARCHITECTURE: &str = "amd64";

/// What is asked of apt.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Packages that must be there, with all that they depend on.
    pub packages: BTreeSet<String>,
    /// Packages that are taken, with all that they depend on, where apt knows them.
    pub optional: BTreeSet<String>,
    /// Alternatives, the first that apt knows is taken: a kernel, its source, or the meta
    /// package of one. Of what it depends on, only other parts of the kernel are taken.
    pub kernel: Vec<String>,
}

/// A package that was chosen.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Chosen {
    name: String,
    version: String,
    architecture: String,
}

impl Chosen {
    /// apt's name for its file: a colon (of an epoch) becomes `%3a`.
    fn file(&self) -> String {
        let version = self.version.replace(':', "%3a");
        format!("{}_{version}_{}.deb", self.name, self.architecture)
    }
}

/// What apt chose, as folders of unpacked packages.
#[derive(Debug, Clone, Default)]
pub struct Unpacked {
    /// The packages of `packages` and `optional` and what they depend on.
    pub tools: Vec<Part>,
    /// The kernel's.
    pub kernel: Vec<Part>,
    /// Optional packages that apt does not know.
    pub unknown: Vec<String>,
}

/// A private root for apt.
#[derive(Debug)]
pub struct Apt {
    folder: PathBuf,
}

impl Apt {
    /// Prepares a private root in `folder`, which may have been one before.
    ///
    /// # Errors
    /// There is no apt on this machine, or the folder cannot be written.
    pub fn open(folder: &Path) -> Result<Self> {
        for program in ["apt-get", "apt-cache", "dpkg-deb"] {
            let found = Command::new(program)
                .arg("--version")
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
            if !found.is_ok_and(|status| status.success()) {
                bail!(
                    "no {program} on this machine; give the kernel with --kernel-dir DIR (vmlinuz* \
                     and lib/modules/RELEASE) and the tools of stage 2 with --sysroot DIR"
                );
            }
        }
        let folder = std::path::absolute(folder)?;
        for below in [
            "state/lists/partial",
            "cache/archives/partial",
            "unpacked",
            "log",
        ] {
            let path = folder.join(below);
            fs::create_dir_all(&path).with_context(|| format!("making {}", path.display()))?;
        }
        let apt = Self { folder };
        fs::write(apt.folder.join("status"), "")?;
        fs::write(apt.folder.join("apt.conf"), apt.configuration()?)?;
        Ok(apt)
    }

    /// Read with `-c`, after the machine's own configuration.
    fn configuration(&self) -> Result<String> {
        let folder = self.folder.to_str().context("a path that is no text")?;
        Ok(format!(
            r#"Dir::State "{folder}/state";
Dir::State::lists "{folder}/state/lists";
Dir::State::status "{folder}/status";
Dir::Cache "{folder}/cache";
Dir::Cache::archives "{folder}/cache/archives";
Dir::Cache::pkgcache "pkgcache.bin";
Dir::Cache::srcpkgcache "srcpkgcache.bin";
Dir::Log "{folder}/log";
// As root, apt would become a user who cannot write here.
APT::Sandbox::User "root";
APT::Architecture "{ARCHITECTURE}";
APT::Install-Recommends "false";
APT::Keep-Downloaded-Packages "true";
APT::Get::Assume-Yes "true";
Acquire::Languages "none";
Acquire::Retries "3";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled "false";
// Hooks are for the machine's own packages, and want root.
#clear APT::Architectures;
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Pre-Invoke;
#clear DPkg::Pre-Install-Pkgs;
#clear DPkg::Post-Invoke;
APT::Architectures {{ "{ARCHITECTURE}"; }};
"#
        ))
    }

    /// Gets what is wanted. What was got before for the same wish is taken again
    /// without asking the network, unless `refresh`.
    ///
    /// # Errors
    /// apt cannot find or get something, or a package does not unpack.
    pub fn get(&self, wanted: &Wanted, refresh: bool, progress: &Progress) -> Result<Unpacked> {
        // Two that download and unpack into one folder would take each other's half files.
        let _lock = lock::hold(&self.folder, |first| {
            if first {
                let folder = self.folder.display();
                progress.step(&format!("waiting for another run that fills {folder}"));
            }
            Ok(())
        })?;
        let wish = format!("{wanted:#?}\n{}", release());
        let (wish_file, record) = (self.folder.join("wish"), self.folder.join("chosen"));
        let same = fs::read_to_string(&wish_file).is_ok_and(|text| text == wish);
        if same
            && !refresh
            && let Ok(text) = fs::read_to_string(&record)
            && let Ok(unpacked) = self.unpacked(&text)
        {
            return Ok(unpacked);
        }
        let _ = fs::remove_file(&record);
        progress.step("asking apt for its package lists");
        let update = self.run("apt-get", &["-q", "update"]);
        // One dead third-party source must not stop everything; if it mattered, what
        // follows fails and tells this as well.
        let chosen = self.choose(wanted).map_err(|error| match &update {
            Err(why) => error.context(format!("{why:#}")),
            Ok(_) => error,
        })?;
        self.download(&chosen, progress)?;
        self.unpack(&chosen, progress)?;
        let text = chosen.to_text();
        let unpacked = self.unpacked(&text)?;
        fs::write(&record, text)?;
        fs::write(&wish_file, wish)?;
        Ok(unpacked)
    }

    fn choose(&self, wanted: &Wanted) -> Result<Choice> {
        let mut choice = Choice::default();
        let mut names: Vec<&str> = wanted.packages.iter().map(String::as_str).collect();
        for name in &wanted.optional {
            if self.version(name)?.is_some() {
                names.push(name);
            } else {
                choice.unknown.push(name.clone());
            }
        }
        if !names.is_empty() {
            let mut arguments = vec!["-q", "--simulate", "install"];
            arguments.extend(&names);
            let text = self.run("apt-get", &arguments).with_context(|| {
                "apt cannot find the tools of stage 2; are the sources of this machine those of a \
                 whole Debian or Ubuntu? (--sysroot DIR takes them from another tree)"
            })?;
            choice.tools = parse_simulation(&text);
        }
        if !wanted.kernel.is_empty() {
            choice.kernel = self.choose_kernel(&wanted.kernel)?;
        }
        Ok(choice)
    }

    /// A kernel's packages: the first alternative that is known, and what it depends
    /// on as far as that is a part of the kernel. The rest of its dependencies (an
    /// initramfs generator, gigabytes of firmware) is for machines that install it.
    fn choose_kernel(&self, alternatives: &[String]) -> Result<Vec<Chosen>> {
        for first in alternatives {
            if self.version(first)?.is_none() {
                continue;
            }
            let mut chosen = Vec::new();
            let mut todo = vec![first.clone()];
            while let Some(name) = todo.pop() {
                let version = self.version(&name)?;
                let version = version.with_context(|| format!("apt does not know {name}"))?;
                let text = self.run("apt-cache", &["depends", &name])?;
                chosen.push(Chosen {
                    architecture: self.architecture(&name, &version)?,
                    name,
                    version,
                });
                for name in kernel_parts(&text) {
                    if !todo.contains(&name) && chosen.iter().all(|c| c.name != name) {
                        todo.push(name);
                    }
                }
            }
            chosen.sort();
            return Ok(chosen);
        }
        bail!(
            "apt knows none of the kernels {}; give another in images/stage1.toml, or one of your \
             own with --kernel-dir DIR",
            alternatives.join(", ")
        )
    }

    /// The version that apt would install.
    fn version(&self, name: &str) -> Result<Option<String>> {
        let text = self.run("apt-cache", &["policy", name])?;
        Ok(parse_candidate(&text))
    }

    /// `all` for a package that every machine can use, such as a kernel's source.
    fn architecture(&self, name: &str, version: &str) -> Result<String> {
        let text = self.run("apt-cache", &["show", &format!("{name}={version}")])?;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("Architecture: "));
        Ok(line.unwrap_or(ARCHITECTURE).trim().to_owned())
    }

    fn download(&self, choice: &Choice, progress: &Progress) -> Result<()> {
        let archives = self.folder.join("cache/archives");
        let missing: Vec<String> = choice
            .all()
            .filter(|c| !self.unpacked_folder(c).is_dir() && !archives.join(c.file()).is_file())
            .map(|c| format!("{}={}", c.name, c.version))
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        progress.step(&format!("downloading {} packages", missing.len()));
        let mut command = self.command("apt-get");
        command
            .args(["-q", "download"])
            .args(&missing)
            .current_dir(&archives);
        output(command).context("downloading packages")?;
        Ok(())
    }

    fn unpack(&self, choice: &Choice, progress: &Progress) -> Result<()> {
        let todo: Vec<&Chosen> = choice
            .all()
            .filter(|c| !self.unpacked_folder(c).is_dir())
            .collect();
        for (number, chosen) in todo.iter().enumerate() {
            progress.count("unpacking packages", number + 1, todo.len());
            let archive = self.folder.join("cache/archives").join(chosen.file());
            let folder = self.unpacked_folder(chosen);
            let temporary = folder.with_extension("part");
            if temporary.exists() {
                fs::remove_dir_all(&temporary)?;
            }
            let mut command = Command::new("dpkg-deb");
            command.arg("-x").arg(&archive).arg(&temporary);
            output(command).with_context(|| format!("unpacking {}", archive.display()))?;
            fs::rename(&temporary, &folder)?;
        }
        Ok(())
    }

    fn unpacked_folder(&self, chosen: &Chosen) -> PathBuf {
        let file = chosen.file();
        self.folder
            .join("unpacked")
            .join(file.trim_end_matches(".deb"))
    }

    /// The folders of a recorded choice.
    fn unpacked(&self, text: &str) -> Result<Unpacked> {
        let choice = Choice::parse(text)?;
        let parts = |list: &[Chosen]| {
            list.iter()
                .map(|chosen| {
                    let folder = self.unpacked_folder(chosen);
                    if !folder.is_dir() {
                        bail!("{} is not there", folder.display());
                    }
                    Ok(Part {
                        folder,
                        package: Some(Package {
                            name: chosen.name.clone(),
                            version: chosen.version.clone(),
                        }),
                    })
                })
                .collect::<Result<Vec<_>>>()
        };
        Ok(Unpacked {
            tools: parts(&choice.tools)?,
            kernel: parts(&choice.kernel)?,
            unknown: choice.unknown.clone(),
        })
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.arg("-c").arg(self.folder.join("apt.conf"));
        command
            .env("LC_ALL", "C")
            .env("DEBIAN_FRONTEND", "noninteractive");
        command
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Result<String> {
        let mut command = self.command(program);
        command.args(arguments);
        output(command)
    }
}

/// Runs a program silently; when it fails, its last lines are the error.
fn output(mut command: Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("starting {name}"))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        let lines: Vec<&str> = text
            .lines()
            .filter(|line| !line.trim().is_empty())
            .collect();
        let last = lines[lines.len().saturating_sub(8)..].join("; ");
        return Err(anyhow!("{name} failed ({}): {last}", output.status));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The machine's distribution: another one has other packages behind the same names.
fn release() -> String {
    fs::read_to_string("/etc/os-release").unwrap_or_default()
}

/// What apt chose, before it is unpacked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Choice {
    tools: Vec<Chosen>,
    kernel: Vec<Chosen>,
    unknown: Vec<String>,
}

impl Choice {
    fn all(&self) -> impl Iterator<Item = &Chosen> {
        self.tools.iter().chain(&self.kernel)
    }

    fn to_text(&self) -> String {
        let line = |kind: &str, c: &Chosen| {
            format!("{kind} {} {} {}\n", c.name, c.version, c.architecture)
        };
        let tools = self.tools.iter().map(|c| line("tool", c));
        let kernel = self.kernel.iter().map(|c| line("kernel", c));
        let unknown = self.unknown.iter().map(|name| format!("unknown {name}\n"));
        tools.chain(kernel).chain(unknown).collect()
    }

    fn parse(text: &str) -> Result<Self> {
        let mut choice = Self::default();
        for line in text.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            match words[..] {
                ["unknown", name] => choice.unknown.push(name.to_owned()),
                [kind @ ("tool" | "kernel"), name, version, architecture] => {
                    let list = if kind == "tool" {
                        &mut choice.tools
                    } else {
                        &mut choice.kernel
                    };
                    list.push(Chosen {
                        name: name.to_owned(),
                        version: version.to_owned(),
                        architecture: architecture.to_owned(),
                    });
                }
                _ => bail!("{line:?} is not understood"),
            }
        }
        Ok(choice)
    }
}

/// Reads the lines `Inst NAME (VERSION ORIGIN [ARCHITECTURE])` of `apt-get -s install`.
fn parse_simulation(text: &str) -> Vec<Chosen> {
    let mut chosen: Vec<Chosen> = text
        .lines()
        .filter_map(|line| {
            let (name, rest) = line.strip_prefix("Inst ")?.split_once(' ')?;
            // Behind the parenthesis may follow what is not yet configured: `[a b ]`.
            let (_, inside) = rest.split_once('(')?;
            let inside = inside.split(')').next()?;
            let version = inside.split(' ').next()?;
            let (_, architecture) = inside.rsplit_once('[')?;
            Some(Chosen {
                name: name.split(':').next()?.to_owned(),
                version: version.to_owned(),
                architecture: architecture.split(']').next()?.to_owned(),
            })
        })
        .collect();
    chosen.sort();
    chosen.dedup();
    chosen
}

/// Reads the line `Candidate: VERSION` of `apt-cache policy`.
fn parse_candidate(text: &str) -> Option<String> {
    text.lines()
        .find_map(|line| line.trim().strip_prefix("Candidate: "))
        .filter(|version| *version != "(none)")
        .map(str::to_owned)
}

/// Of `apt-cache depends`, the parts of a kernel: its image and its modules, or its
/// source.
fn kernel_parts(text: &str) -> Vec<String> {
    text.lines()
        .filter_map(|line| {
            line.trim()
                .trim_start_matches('|')
                .strip_prefix("Depends: ")
        })
        .filter(|name| {
            let parts = ["linux-image-", "linux-modules-", "linux-source-"];
            parts.iter().any(|part| name.starts_with(part))
        })
        .map(|name| name.split(':').next().unwrap_or(name).to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_apt_says_is_read() {
        let text = "Reading package lists...\nInst libc6 (2.36-9+deb12u10 Debian:12.11/stable [amd64]) []\nInst jfs:amd64 (1:1.1.15-5 X [amd64]) [udev:amd64 ]\nInst pci.ids (0.0~2023 Debian:12/stable [all])\nConf libc6 (2.36 X [amd64])\nInst broken\n";
        let files: Vec<_> = parse_simulation(text).iter().map(Chosen::file).collect();
        assert_eq!(
            files,
            [
                "jfs_1%3a1.1.15-5_amd64.deb",
                "libc6_2.36-9+deb12u10_amd64.deb",
                "pci.ids_0.0~2023_all.deb"
            ]
        );
        assert_eq!(
            parse_candidate("x:\n  Installed: (none)\n  Candidate: 6.1\n"),
            Some("6.1".into())
        );
        assert_eq!(parse_candidate("x:\n  Candidate: (none)\n"), None);
        assert_eq!(parse_candidate(""), None);
        let depends = "linux-image-generic\n  Depends: linux-image-6.8.0-31-generic\n |Depends: linux-modules-extra-6.8\n  Depends: linux-firmware\n  Suggests: linux-image-x\n";
        assert_eq!(
            kernel_parts(depends),
            ["linux-image-6.8.0-31-generic", "linux-modules-extra-6.8"]
        );
        let depends = "linux-source\n  Depends: linux-source-6.1\n  Depends: xz-utils\n";
        assert_eq!(kernel_parts(depends), ["linux-source-6.1"]);
    }

    #[test]
    fn a_choice_is_read_back_and_nonsense_is_not() {
        let choice = Choice {
            tools: parse_simulation("Inst a (1:2 X [amd64])"),
            kernel: parse_simulation("Inst k (3 X [amd64])"),
            unknown: vec!["u".into()],
        };
        assert_eq!(Choice::parse(&choice.to_text()).unwrap(), choice);
        for text in ["tool a", "other a b c", "\n"] {
            assert!(Choice::parse(text).is_err(), "{text:?}");
        }
    }
}
