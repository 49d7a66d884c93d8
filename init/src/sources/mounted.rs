//! What nfs, cdrom and disk have in common: a file system is mounted, stage 2 is looked
//! for in it, and copied into memory; where it does not fit it is used where it is.

pub(super) mod block;
mod find;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use goldring_contract::{Root, paths};
use goldring_sys::loopdev::LoopDevice;
use goldring_sys::mount::{Access, Mounted};

pub(super) use self::find::{Found, Miss, Wanted, find};
use crate::console::say;
use crate::ctx::Ctx;
use crate::fate::Fate;
use crate::store;

/// A mounted file system and the loop device below it, if there is one; dropped in this
/// order.
#[derive(Debug)]
pub(crate) struct Layer {
    mounted: Mounted,
    #[expect(dead_code, reason = "held for what its drop undoes")]
    device: Option<LoopDevice>,
}

/// The file systems that stage 2 lies in; dropped in this order.
#[derive(Debug)]
pub(crate) struct Source {
    /// The one in an ISO file.
    iso: Option<Layer>,
    /// The one of the server, the drive or the disk.
    outer: Layer,
}

impl Source {
    /// The tree that holds `install/stage2`.
    pub(crate) fn tree(&self) -> &Path {
        self.iso.as_ref().unwrap_or(&self.outer).target()
    }
}

impl Layer {
    /// Mounts a file system for reading, at a place of its own: what comes too late must
    /// not be in anybody's way.
    pub(super) fn mount(
        root: &Root,
        source: &Path,
        types: &[&str],
        options: &str,
    ) -> io::Result<Self> {
        Self::on(root, source, types, options, None)
    }

    fn on(
        root: &Root,
        source: &Path,
        types: &[&str],
        options: &str,
        device: Option<LoopDevice>,
    ) -> io::Result<Self> {
        static NUMBER: AtomicUsize = AtomicUsize::new(1);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let target = root.join(paths::SOURCES).join(number.to_string());
        let source = device.as_ref().map_or(source, LoopDevice::path);
        let mut result = Err(io::ErrorKind::Unsupported.into());
        for fs in types {
            result = Mounted::new(source, &target, fs, Access::ReadOnly, options);
            // Another driver may know it.
            if !matches!(&result, Err(error) if error.raw_os_error() == Some(ENODEV)) {
                break;
            }
        }
        match result {
            Ok(mounted) => Ok(Self { mounted, device }),
            Err(error) => {
                // Nothing is in it.
                let _ = std::fs::remove_dir(target);
                Err(error)
            }
        }
    }

    /// Mounts a file, or a device that nothing may write to, through a loop device.
    pub(super) fn mount_loop(
        root: &Root,
        file: &Path,
        types: &[&str],
        options: &str,
    ) -> io::Result<Self> {
        let device = LoopDevice::read_only(file, &root.join("/dev"))?;
        Self::on(root, file, types, options, Some(device))
    }

    pub(super) fn target(&self) -> &Path {
        self.mounted.target()
    }
}

/// The kernel does not know such a file system (mount(2)).
pub(super) const ENODEV: i32 = 19;

/// Does `work` in a thread, but does not wait for it longer than `limit`. What comes too
/// late is dropped there, and so unmounted. `None`: it is late.
pub(super) fn bounded<T: Send + 'static>(
    limit: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (done, wait) = mpsc::channel();
    let thread = thread::Builder::new()
        .name("mount".to_owned())
        .spawn(move || done.send(work()));
    thread.ok().and_then(|_| wait.recv_timeout(limit).ok())
}

/// What stage 2 has to be.
pub(super) fn wanted(ctx: &Ctx) -> Wanted {
    let manifest = ctx.manifest.as_ref().filter(|_| !ctx.args.any_stage2);
    Wanted {
        size: manifest.map(|manifest| manifest.stage2_size),
    }
}

/// Whether there is memory for a copy.
pub(super) fn fits(ctx: &Ctx, found: &Found) -> bool {
    store::enough(store::free(&ctx.root), found.size).is_ok()
}

/// Gets stage 2 into memory and lets go of what it lies on, or leaves it there.
pub(super) fn deliver(ctx: &mut Ctx, found: Found) -> Result<PathBuf, Fate> {
    say(&format!("stage 2: {}", found.place));
    let place = found.place.as_str();
    let mut file = File::open(&found.file)
        .map_err(|error| Fate::retry(format!("{place}: {error}; is it still connected?")))?;
    if fits(ctx, &found) {
        let copy = store::take(ctx, place, &mut file, found.size)?;
        drop(file);
        ctx.held = ctx.args.keepmounted.then_some(found.source);
        return Ok(copy);
    }
    let megabytes = |bytes: u64| bytes >> 20;
    say(&format!(
        "too little memory for a copy of {} MB, {} MB are free: stage 2 is used where it is; \
         leave that connected",
        megabytes(found.size),
        megabytes(store::free(&ctx.root).unwrap_or_default()),
    ));
    store::check(ctx, place, &mut file, found.size)?;
    ctx.held = Some(found.source);
    Ok(found.file)
}

/// What a source that found nothing means: another build's stage 2 stays what it is,
/// all else may come yet.
pub(super) fn nothing(miss: &Miss) -> Fate {
    match miss {
        Miss::OtherBuild(what) => Fate::reboot(format!("{what}; {}", store::SAME_BUILD)),
        Miss::Absent(what) => Fate::retry(what.clone()),
    }
}

/// What several devices have instead of stage 2, as one sentence. Another build's stage 2
/// comes first: it is the one that was meant.
pub(super) fn together(what: &str, misses: Vec<Miss>) -> Miss {
    let (other, absent): (Vec<Miss>, Vec<Miss>) = misses
        .into_iter()
        .partition(|miss| matches!(miss, Miss::OtherBuild(_)));
    if let Some(first) = other.into_iter().next() {
        return first;
    }
    let mut told: Vec<&str> = absent.iter().map(Miss::text).take(MISSES_TOLD).collect();
    let more = absent.len() - told.len();
    let more = format!("{more} more without it");
    if absent.len() > told.len() {
        told.push(&more);
    }
    Miss::Absent(format!("{what}: {}", told.join("; ")))
}

/// So many devices one sentence tells of.
const MISSES_TOLD: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hangs_is_left_alone() {
        assert_eq!(bounded(Duration::from_secs(5), || 7), Some(7));
        let forever = || thread::sleep(Duration::from_secs(3600));
        assert_eq!(bounded(Duration::from_millis(20), forever), None);
    }

    #[test]
    fn another_build_is_told_first_and_many_misses_fit_a_line() {
        let absent = |n: usize| Miss::Absent(format!("sd{n} is empty"));
        let few = together("no stage 2", vec![absent(1), absent(2)]);
        assert_eq!(few.text(), "no stage 2: sd1 is empty; sd2 is empty");
        let many = together("no stage 2", (0..20).map(absent).collect());
        assert!(many.text().ends_with("sd7 is empty; 12 more without it"));
        let other = Miss::OtherBuild("sd3 has another".to_owned());
        let told = together("no stage 2", vec![absent(1), other.clone()]);
        assert_eq!(told, other);
        assert!(matches!(nothing(&told), Fate::Reboot(_)));
        assert!(matches!(nothing(&absent(1)), Fate::Retry(_)));
    }
}
