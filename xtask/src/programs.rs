//! Builds goldring's own static programs, `init` and `goldring`.
//!
//! Static for the GNU target: see docs/adr/0002-static-programs.md.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use goldring_builder::image::Programs;

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

/// Builds both, with https or without, and says where they are. Cargo itself sees when
/// there is nothing to do.
///
/// # Errors
/// They do not compile.
pub(crate) fn build(root: &Path, https: Https) -> Result<Programs> {
    let folder = root.join("target/static");
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
    let folder = folder.join(TARGET).join(PROFILE);
    Ok(Programs {
        init: folder.join("init"),
        agent: folder.join("goldring"),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    })
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
