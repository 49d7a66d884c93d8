//! Helpers of the stories in virtual machines: a guest that boots the images directly,
//! with QEMU's own user-mode network, and a web server that misbehaves on request.
//!
//! Neither needs root. A room does: a network namespace with a bridge, where guests stand
//! on taps and real servers answer them. The whole path with PXE is `cargo xtask lab`.

pub mod disk;
pub mod ganesha;
pub mod guest;
pub mod room;
pub mod trees;
pub mod web;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// The folder of the workspace.
pub fn workspace() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_owned()
}

/// Runs `cargo xtask …` and gives what it printed on stdout.
///
/// # Errors
/// Its status and the last lines that it printed on stderr.
pub fn xtask(arguments: &[&str]) -> Result<String> {
    let output = Command::new(env!("CARGO"))
        .args(["run", "--quiet", "--locked", "--package", "xtask", "--"])
        .args(arguments)
        .current_dir(workspace())
        .output()
        .context("starting cargo xtask")?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(stdout);
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    let tail: Vec<_> = stderr.lines().rev().take(10).collect();
    let tail: Vec<_> = tail.into_iter().rev().collect();
    bail!(
        "cargo xtask {}: {}:\n{stdout}\n{}",
        arguments.join(" "),
        output.status,
        tail.join("\n")
    )
}
