//! Builds goldring's own static programs, `init` and `goldring`.
//!
//! Static for the GNU target: see docs/adr/0002-static-programs.md.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use goldring_builder::image::Programs;

use crate::host;

/// Named always, so that rustflags do not reach build scripts and procedural macros.
const TARGET: &str = "x86_64-unknown-linux-gnu";
const PROFILE: &str = "image";

/// What gives both https.
const HTTPS: [&str; 2] = ["--features", "goldring-init/https,goldring-agent/https"];

/// Whether the programs speak https.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Https {
    /// Yes; they are larger by it.
    With,
    /// No.
    Without,
}

impl Https {
    /// The folder of the programs of this kind, below the one that cargo works in.
    fn folder(self) -> &'static str {
        match self {
            Self::With => "https",
            Self::Without => "plain",
        }
    }
}

/// Builds both, with https or without, and says where they are. Cargo itself sees when
/// there is nothing to do.
///
/// Cargo puts both kinds into the same place. Here each has its own, so that images with
/// https and without can be made at the same time.
///
/// # Errors
/// They do not compile.
pub(crate) fn build(root: &Path, https: Https) -> Result<Programs> {
    let folder = root.join("target/static");
    // Until the copies are made.
    let _lock = host::lock(&folder, "build of init and goldring")?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .current_dir(root)
        .args([
            "build",
            "--quiet",
            "--locked",
            "--profile",
            PROFILE,
            "--target",
            TARGET,
        ])
        .arg("--target-dir")
        .arg(&folder)
        .args(["--package", "goldring-init", "--package", "goldring-agent"])
        .args(HTTPS.iter().filter(|_| https == Https::With))
        .env("CARGO_ENCODED_RUSTFLAGS", flags(root)?.join("\x1f"))
        .env_remove("RUSTFLAGS")
        .status()
        .context("starting cargo")?;
    if !status.success() {
        bail!("init and goldring do not build ({status}); the compiler's messages are above");
    }
    let built = folder.join(TARGET).join(PROFILE);
    let own = folder.join(https.folder());
    fs::create_dir_all(&own).with_context(|| format!("making {}", own.display()))?;
    Ok(Programs {
        init: keep(&built, &own, "init")?,
        agent: keep(&built, &own, "goldring")?,
        version: env!("CARGO_PKG_VERSION").to_owned(),
    })
}

/// Copies a program from the folder `built` to the folder `own`, whole or not at all:
/// somebody may be running the one of the build before.
fn keep(built: &Path, own: &Path, name: &str) -> Result<PathBuf> {
    let (path, new) = (own.join(name), own.join(format!(".{name}.new")));
    fs::copy(built.join(name), &new)
        .and_then(|_| fs::rename(&new, &path))
        .with_context(|| format!("copying {name} to {}", path.display()))?;
    Ok(path)
}

/// The compiler's flags. No path of this machine gets into the programs, so two
/// checkouts in different places give the same bytes.
fn flags(root: &Path) -> Result<Vec<String>> {
    let mut flags: Vec<String> = [
        "-Ctarget-feature=+crt-static",
        // getrandom would look for the system call's wrapper with dlsym, which a static
        // program does not have, and then for /dev/urandom, which PID 1 does not have.
        "--cfg=getrandom_backend=\"linux_getrandom\"",
    ]
    .map(str::to_owned)
    .to_vec();
    let home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo")));
    let places = [
        (Some(root.to_owned()), "/goldring"),
        (home, "/cargo"),
        (Some(sysroot()?), "/rust"),
    ];
    for (path, name) in places {
        let path = path.as_deref().and_then(Path::to_str);
        if let Some(path) = path {
            flags.push(format!("--remap-path-prefix={path}={name}"));
        }
    }
    Ok(flags)
}

/// Where the compiler and its libraries are.
fn sysroot() -> Result<PathBuf> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc)
        .args(["--print", "sysroot"])
        .output()
        .context("asking rustc for its folder")?;
    let text = String::from_utf8(output.stdout).context("a path that is no text")?;
    Ok(PathBuf::from(text.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_are_kept_beside_each_other() {
        let folder = tempfile::tempdir().unwrap();
        let built = folder.path().join("built");
        fs::create_dir_all(&built).unwrap();
        let mut kept = Vec::new();
        for https in [Https::Without, Https::With] {
            let own = folder.path().join(https.folder());
            fs::create_dir_all(&own).unwrap();
            for text in ["older", https.folder()] {
                fs::write(built.join("init"), text).unwrap();
                kept.push((keep(&built, &own, "init").unwrap(), https.folder()));
            }
        }
        for (path, text) in kept {
            assert_eq!(fs::read_to_string(path).unwrap(), text);
        }
        assert!(keep(&built, &built.join("nowhere"), "init").is_err());
    }
}
