//! The images themselves.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use anyhow::{Context, Result, anyhow, bail, ensure};
use goldring_vm_tests::{workspace, xtask};
use libtest_mimic::Trial;

use crate::trial;

/// The images of this checkout, made on first use; or those in `GOLDRING_IMAGES`, for
/// whoever works on one story and has made them with `--compress fast`.
pub(crate) fn images() -> Result<PathBuf> {
    if let Some(folder) = std::env::var_os("GOLDRING_IMAGES") {
        return Ok(PathBuf::from(folder));
    }
    static MADE: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    MADE.get_or_init(|| {
        xtask(&["image"]).map_err(|error| format!("{error:#}"))?;
        Ok(workspace().join("target/images"))
    })
    .clone()
    .map_err(|error| anyhow!("making the images: {error}"))
}

/// Images with https whose nodes trust `ca`, made when they are asked for: one story needs
/// them. The low levels, since a boot is all that they are for.
pub(crate) fn images_with_ca(ca: &Path) -> Result<PathBuf> {
    let out = workspace().join("target/images-https");
    let text = |path: &Path| path.to_str().map(str::to_owned);
    let (Some(ca), Some(folder)) = (text(ca), text(&out)) else {
        bail!("the workspace has an odd name");
    };
    xtask(&["image", "--compress", "fast", "--ca", &ca, "--out", &folder])
        .context("making the images with https")?;
    Ok(out)
}

/// The lab's golden disk, made on first use, so that no two trials make it at once; or the
/// one in `GOLDRING_GOLDEN`.
pub(crate) fn golden() -> Result<PathBuf> {
    if let Some(disk) = std::env::var_os("GOLDRING_GOLDEN") {
        return Ok(PathBuf::from(disk));
    }
    static MADE: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    MADE.get_or_init(|| {
        let said = xtask(&["golden"]).map_err(|error| format!("{error:#}"))?;
        Ok(PathBuf::from(said.lines().last().unwrap_or_default()))
    })
    .clone()
    .map_err(|error| anyhow!("making the golden disk: {error}"))
}

/// The disks of the lab's golden machine with this layout, made on first use, and the variables of its firmware
/// if that is UEFI; or those in the folder `GOLDRING_MACHINES`.
pub(crate) fn golden_machine(layout: &str) -> Result<Vec<PathBuf>> {
    if let Some(folder) = std::env::var_os("GOLDRING_MACHINES") {
        let begin = format!("{layout}.");
        let mut files: Vec<PathBuf> = std::fs::read_dir(folder)?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()?;
        files.retain(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with(&begin) && (name.ends_with(".img") || name.ends_with(".vars"))
        });
        files.sort();
        return Ok(files);
    }
    // One after the other: they are made by virtual machines.
    static MADE: Mutex<()> = Mutex::new(());
    let _one = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    let said = xtask(&["golden", "--layout", layout]).context("making a golden machine")?;
    Ok(said.lines().map(PathBuf::from).collect())
}

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("images::built_twice_they_are_the_same", None, built_twice),
        trial("images::a_second_run_changes_nothing", None, second_run),
        trial("images::inspect_lists_what_is_inside", None, inspect),
    ]
}

fn sums(folder: &Path) -> Result<String> {
    let path = folder.join("SHA256SUMS");
    std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
}

fn built_twice() -> Result<()> {
    let first = sums(&images()?)?;
    ensure!(
        ["vmlinuz", "all.rdz", "rescue.clp"]
            .iter()
            .all(|f| first.contains(f)),
        "{first}"
    );
    let again = tempfile::tempdir()?;
    let out = again
        .path()
        .to_str()
        .context("the temporary folder has an odd name")?;
    xtask(&["image", "--force", "--out", out])?;
    let second = sums(again.path())?;
    ensure!(first == second, "first:\n{first}\nsecond:\n{second}");
    Ok(())
}

fn second_run() -> Result<()> {
    let folder = images()?;
    let time = |file: &str| -> Result<_> { Ok(std::fs::metadata(folder.join(file))?.modified()?) };
    let before = (time("all.rdz")?, time("rescue.clp")?);
    xtask(&["image"])?;
    ensure!(
        before == (time("all.rdz")?, time("rescue.clp")?),
        "they were made again"
    );
    Ok(())
}

fn inspect() -> Result<()> {
    let archive = images()?.join("all.rdz");
    let archive = archive.to_str().context("the workspace has an odd name")?;
    let listing = xtask(&["image", "--inspect", archive])?;
    for file in ["etc/goldring/manifest", "virtio_net.ko", "init"] {
        ensure!(listing.contains(file), "no {file} in:\n{listing}");
    }
    Ok(())
}
