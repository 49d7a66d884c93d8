//! `goldring store save`.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail, ensure};
use goldring_contract::Root;
use goldring_disk::target::decimal;
use goldring_files::manifest::Manifest;
use goldring_files::send::{Sending, send};
use goldring_files::store::{
    Cut, Cutter, Draft, FILES, Index, PARTIAL, StoreError, Stream, place, raw_stream,
};
use goldring_files::text::shown;
use goldring_files::trailer::Form;

use super::{SaveArgs, kept, name, verify};
use crate::deploy::{Golden, Wanted, contents, look};
use crate::dolly::screen::{megabytes, rate};
use crate::ka::screen::Screen;
use crate::tools::run::Programs;

/// So many threads compress faster than any disk of a golden node reads; each takes memory.
const THREADS: usize = 8;

/// Keeps this system.
pub(super) fn run(args: &SaveArgs) -> anyhow::Result<()> {
    let root = Root::at(&args.root);
    let target = place(&args.image)?;
    let wanted = Wanted {
        selection: &args.selection,
        raw: &args.raw,
        described: &[],
    };
    let mut golden = look(&root, &mut Programs, &wanted)?;
    for disk in &golden.disks {
        for note in &disk.notes {
            eprintln!("{}: {note}", disk.device);
        }
    }
    without_images(&root, &mut golden.manifest, &target);
    if args.dry_run {
        return Ok(io::stdout().write_all(text(&golden, &target).as_bytes())?);
    }
    let mut index = index(&golden, args);
    let draft = Draft::begin(&target, &index)?;
    if draft.replaces {
        eprintln!(
            "what an interrupted save has left in {} is removed",
            shown(draft.folder())
        );
    }
    for (name, bytes) in kept::files(&golden) {
        index.files.push(draft.put(&name, &bytes)?);
    }
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let save = Save {
        root: &root,
        golden: &golden,
        draft: &draft,
        cut: Cut {
            piece: index.piece,
            level: args.level,
            threads: cores.min(THREADS) as u32,
        },
        screen: Arc::new(Mutex::new(Screen::named("store", false))),
    };
    let started = Instant::now();
    save.all(&mut index)?;
    let took = started.elapsed();
    save.read_again(&index)?;
    let place = draft.finish(&index)?;
    // A reader that is gone must not make it look as if nothing had been kept.
    let _ = io::stdout().write_all(kept_line(&index, &place, took).as_bytes());
    Ok(())
}

/// The index of an image that has nothing in it yet.
fn index(golden: &Golden, args: &SaveArgs) -> Index {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    Index {
        host: golden.manifest.host.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        saved: now.map_or(0, |since| since.as_secs()),
        description: args.description.clone(),
        piece: args.piece << 20,
        disks: kept::disks(golden),
        ..Index::default()
    }
}

/// For people: what was kept.
fn kept_line(index: &Index, place: &Path, took: Duration) -> String {
    format!(
        "{}: {} files, {} in {:.1} s, {}; {} kept in {}, read again and right\n",
        name(place),
        index.streams[0].entries,
        decimal(index.unpacked()),
        took.as_secs_f64(),
        rate(index.unpacked(), took),
        decimal(index.packed()),
        shown(place)
    )
}

/// The image does not hold itself, and none of the images beside it.
pub(super) fn without_images(root: &Root, manifest: &mut Manifest, target: &Path) {
    let top = root.as_path().canonicalize();
    let top = top.unwrap_or_else(|_| root.as_path().to_owned());
    let mut partial = target.as_os_str().to_owned();
    partial.push(PARTIAL);
    let mut all = vec![target.to_owned(), PathBuf::from(partial)];
    if let Some(above) = target.parent() {
        all.extend(super::images(above).unwrap_or_default());
    }
    for path in all {
        let Ok(inside) = path.strip_prefix(&top) else {
            continue;
        };
        let path = Path::new("/").join(inside);
        if travels(manifest, &path) && !manifest.excluded.contains(&path) {
            manifest.excluded.push(path);
        }
    }
}

/// Whether a path lies on a file system that is saved.
fn travels(manifest: &Manifest, path: &Path) -> bool {
    let longest = |places: &mut dyn Iterator<Item = &String>| {
        let above = places.filter(|place| path.starts_with(place));
        above.map(String::len).max()
    };
    let saved = longest(&mut manifest.mounts.iter().map(|mount| &mount.place));
    let left = longest(&mut manifest.left.iter().map(|left| &left.place));
    saved > left
}

/// For people: what would be kept.
fn text(golden: &Golden, target: &Path) -> String {
    let mut text = String::new();
    for disk in &golden.disks {
        text.push_str(&disk.text());
    }
    text.push_str(&contents(&golden.manifest, &golden.raw));
    let raw: u64 = golden.raw.iter().map(|raw| raw.size).sum();
    text.push_str(&format!(
        "kept in {}: at most {} before it is compressed{}\n",
        shown(target),
        decimal(golden.manifest.used() + raw),
        free(target).map_or_else(String::new, |free| format!(
            "; {} are free there",
            decimal(free)
        ))
    ));
    text
}

/// Bytes that are free where an image is to be.
fn free(target: &Path) -> Option<u64> {
    let room = rustix::fs::statvfs(target.parent()?).ok()?;
    Some(room.f_bavail * room.f_frsize)
}

struct Save<'a> {
    root: &'a Root,
    golden: &'a Golden,
    draft: &'a Draft,
    cut: Cut,
    /// The files' tar speaks there, too.
    screen: Arc<Mutex<Screen>>,
}

fn locked(screen: &Mutex<Screen>) -> MutexGuard<'_, Screen> {
    screen.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Save<'_> {
    fn screen(&self) -> MutexGuard<'_, Screen> {
        locked(&self.screen)
    }

    /// The files and each raw partition.
    fn all(&self, index: &mut Index) -> anyhow::Result<()> {
        let used = self.golden.manifest.used();
        // How much of it stays behind, nobody has counted.
        let total = Some(used).filter(|_| self.golden.manifest.excluded.is_empty());
        let (mut entries, mut changed) = (0, 0);
        let files = self.stream(FILES, total, &mut |cutter| {
            let sending = Sending {
                source: self.golden.manifest.source(self.root.as_path()),
                level: None,
                form: Form::Checked,
            };
            let screen = Arc::clone(&self.screen);
            let say = move |said: &str| locked(&screen).say(said);
            let sent = send(&sending, cutter, say)?;
            (entries, changed) = (sent.contents.entries, sent.changed);
            Ok(())
        })?;
        index.streams.push(Stream { entries, ..files });
        if changed > 0 {
            let line = format!("{changed} files changed while they were read");
            self.screen().say(&line);
        }
        for (number, raw) in self.golden.raw.iter().enumerate() {
            let context = || format!("reading {}", raw.device);
            let stream = self.stream(&raw_stream(number), Some(raw.size), &mut |cutter| {
                let file = File::open(self.root.join(&raw.device)).with_context(context)?;
                let copied = io::copy(&mut file.take(raw.size), cutter).with_context(context)?;
                ensure!(
                    copied == raw.size,
                    "{} has become shorter while it was read",
                    raw.device
                );
                Ok(())
            })?;
            index.streams.push(stream);
        }
        Ok(())
    }

    /// One stream, which `fill` writes.
    fn stream(
        &self,
        stream: &str,
        total: Option<u64>,
        fill: &mut dyn FnMut(&mut Cutter<'_>) -> anyhow::Result<()>,
    ) -> anyhow::Result<Stream> {
        self.screen().start();
        let done = std::cell::Cell::new((0, 0));
        let mut tell = |came, kept| {
            done.set((came, kept));
            let more = format!("; {} MB kept", megabytes(kept));
            self.screen().progress(came, total, &more);
        };
        let mut cutter = self.draft.cutter(stream, self.cut, &mut tell);
        let filled = fill(&mut cutter);
        let failure = cutter.failure();
        let written = match failure {
            // It caused the other error, if there is one.
            Some(failure) => Err(failure),
            None => {
                filled?;
                cutter.finish()
            }
        };
        written.map_err(|error| self.full(error, done.get()))
    }

    /// The error, and what to do about a disk that is full.
    fn full(&self, error: StoreError, (came, kept): (u64, u64)) -> anyhow::Error {
        let is_full = matches!(&error, StoreError::Io(_, why)
            if [ErrorKind::StorageFull, ErrorKind::QuotaExceeded].contains(&why.kind()));
        if !is_full {
            return error.into();
        }
        let sentence = crate::fault::one_line(error);
        anyhow::anyhow!(
            "{sentence}; {} of about {} were read and {} kept. Nothing of it stays: make room there, \
             leave something out (-x), or save elsewhere",
            decimal(came),
            decimal(self.golden.manifest.used()),
            decimal(kept)
        )
    }

    /// Whether the disk gives what it was given.
    fn read_again(&self, index: &Index) -> anyhow::Result<()> {
        self.screen().say("reading it again");
        self.screen().start();
        let mut tell = verify::teller(&self.screen, index.packed());
        let damages = self.draft.verify(index, &mut tell);
        if let Some(damage) = damages.first() {
            bail!(
                "what was written is not what is read again: {damage}. Nothing of it stays; look at that disk and at the memory of this computer"
            );
        }
        Ok(())
    }
}
