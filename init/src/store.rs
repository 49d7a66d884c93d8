//! The memory that holds stage 2: whether it fits, and a stream into it with its length
//! and digest checked.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use goldring_contract::limits::FETCH_SILENCE;
use goldring_contract::{Root, paths};
use goldring_sys::mount::{Access, Mounted};
use goldring_transfer::fetch::{FetchError, digest_of, into_file};

use crate::console::say;
use crate::ctx::Ctx;
use crate::fate::{Fate, chain};
pub(crate) use crate::progress::Beat;

/// What the system needs beside stage 2, in bytes.
const ELBOW_ROOM: u64 = 48 << 20;

/// Takes `length` bytes from `stream` into memory and returns the file. `place` is where
/// they come from, for a person.
///
/// # Errors
/// Too long for this machine or for this image, cut off, or with another digest.
pub(crate) fn take(
    ctx: &mut Ctx,
    place: &str,
    stream: &mut dyn Read,
    length: u64,
) -> Result<PathBuf, Fate> {
    check_size(ctx, place, length)?;
    let file = ctx.root.join(paths::STAGE2_FILE);
    prepare(ctx, &file)?;
    let mut beat = Beat::new();
    let digest = into_file(stream, length, &file, FETCH_SILENCE, &mut |progress| {
        beat.progress(progress);
    })
    .map_err(|error| broken(place, &error))?;
    check_digest(ctx, place, &digest)?;
    Ok(file)
}

/// Checks the digest of `length` bytes that stay where they are.
///
/// # Errors
/// They cannot be read, or have another digest than the manifest says.
pub(crate) fn check(
    ctx: &Ctx,
    place: &str,
    stream: &mut dyn Read,
    length: u64,
) -> Result<(), Fate> {
    if ctx.manifest.is_none() || ctx.args.any_stage2 {
        return Ok(());
    }
    let mut beat = Beat::new();
    let digest = digest_of(stream, length, FETCH_SILENCE, &mut |progress| {
        beat.progress(progress);
    })
    .map_err(|error| broken(place, &error))?;
    check_digest(ctx, place, &digest)
}

fn broken(place: &str, error: &FetchError) -> Fate {
    let line = format!("{place}: {}", chain(error));
    match error {
        FetchError::Write { .. } => Fate::reboot(format!("{line}; give the node more memory")),
        _ => Fate::retry(line),
    }
}

/// Compares the announced length with the manifest and with the memory, before anything
/// is fetched in vain.
fn check_size(ctx: &Ctx, place: &str, length: u64) -> Result<(), Fate> {
    if let Some(manifest) = &ctx.manifest
        && !ctx.args.any_stage2
        && manifest.stage2_size != length
    {
        return Err(Fate::reboot(format!(
            "{place} is {length} bytes long, but this all.rdz was made with one of {} bytes; {}",
            manifest.stage2_size, SAME_BUILD
        )));
    }
    enough(free(&ctx.root), length).map_err(Fate::reboot)
}

/// How much memory is free, in bytes.
pub(crate) fn free(root: &Root) -> Option<u64> {
    let text = fs::read_to_string(root.join("/proc/meminfo")).unwrap_or_default();
    available(&text)
}

/// How much of `free` bytes stage 2 may take.
pub(crate) fn usable(free: u64) -> u64 {
    free.saturating_sub(ELBOW_ROOM)
}

/// Whether stage 2 with so many bytes fits into so much free memory.
///
/// # Errors
/// A sentence with how much is needed.
pub(crate) fn enough(free: Option<u64>, length: u64) -> Result<(), String> {
    match free {
        Some(free) if usable(free) < length => Err(refusal(free, length)),
        _ => Ok(()),
    }
}

fn refusal(free: u64, length: u64) -> String {
    let missing = length.saturating_sub(usable(free));
    // Of each page that is added the kernel takes 64 of 4096 bytes to describe it.
    let missing = missing.saturating_add(missing / 32);
    format!(
        "not enough memory: rescue.clp has {} MB and the system needs {} MB more, but only {} MB \
         are free; give the node {} MB more",
        length >> 20,
        ELBOW_ROOM >> 20,
        free >> 20,
        missing.div_ceil(1 << 20)
    )
}

pub(crate) const SAME_BUILD: &str = "copy both from the same build, or add stage2_digest=off";

/// Compares a digest with the manifest's.
///
/// # Errors
/// It is another, and `stage2_digest=off` was not said.
pub(crate) fn check_digest(ctx: &Ctx, place: &str, digest: &str) -> Result<(), Fate> {
    match &ctx.manifest {
        Some(manifest) if manifest.stage2_sha256 != digest => {
            if ctx.args.any_stage2 {
                say(&format!(
                    "stage2_digest=off: taking {}… as it is",
                    short(digest)
                ));
                return Ok(());
            }
            Err(Fate::reboot(format!(
                "{place} has the digest {}…, not {}…: this rescue.clp was not made with this \
                 all.rdz; {SAME_BUILD}",
                short(digest),
                short(&manifest.stage2_sha256)
            )))
        }
        _ => Ok(()),
    }
}

fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}

/// `MemAvailable` of `/proc/meminfo`, in bytes (proc_meminfo(5)).
fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|l| l.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib.saturating_mul(1024))
}

/// Mounts the memory that will hold stage 2 and what it writes.
///
/// # Errors
/// The kernel refuses.
pub(crate) fn prepare(ctx: &mut Ctx, file: &Path) -> Result<(), Fate> {
    if ctx.store.is_some() {
        return Ok(());
    }
    let folder = file.parent().unwrap_or(file);
    let source = Path::new("tmpfs");
    // What does not fit was refused by its size; half of the memory, the default, would
    // refuse too much.
    let mounted = Mounted::new(
        source,
        folder,
        "tmpfs",
        Access::ReadWrite,
        "size=95%,mode=0755",
    )
    .map_err(|error| Fate::reboot(format!("mounting {}: {error}", folder.display())))?;
    ctx.store = Some(mounted);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_told_with_how_much_is_missing() {
        assert_eq!(enough(Some(119 << 20), 71 << 20), Ok(()));
        assert_eq!(enough(None, u64::MAX), Ok(()));
        assert_eq!(
            enough(Some(90 << 20), 47 << 20).unwrap_err(),
            "not enough memory: rescue.clp has 47 MB and the system needs 48 MB more, but only \
             90 MB are free; give the node 6 MB more"
        );
        assert!(enough(Some(0), u64::MAX).is_err());
    }

    #[test]
    fn free_memory_is_read() {
        let text = "MemTotal:  1000 kB\nMemAvailable:    500 kB\n";
        assert_eq!(available(text), Some(512_000));
        assert_eq!(available("MemAvailable: many kB\n"), None);
        assert_eq!(available(""), None);
    }

    #[test]
    fn what_stays_where_it_is_is_checked_too() {
        let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let mut ctx = Ctx::laptop(crate::flags::Facts {
            root: Root::at("/nonexistent"),
            cmdline: None,
            kernel: None,
        });
        let manifest = |digest: &str| goldring_contract::image::Manifest {
            kernel: "6.1".into(),
            stage2_sha256: digest.to_owned(),
            stage2_size: 3,
            version: "0.1.0".into(),
        };
        ctx.manifest = Some(manifest(digest));
        assert_eq!(check(&ctx, "sda1", &mut &b"abc"[..], 3), Ok(()));
        let cut = check(&ctx, "sda1", &mut &b"ab"[..], 3).unwrap_err();
        assert!(matches!(cut, Fate::Retry(_)), "{cut:?}");
        let other = check(&ctx, "sda1", &mut &b"abd"[..], 3).unwrap_err();
        let Fate::Reboot(cause) = other else {
            panic!("reboot expected");
        };
        assert!(cause.why.contains("was not made with this all.rdz"));
        ctx.args.any_stage2 = true;
        assert_eq!(check(&ctx, "sda1", &mut &b""[..], 3), Ok(()));
    }
}
