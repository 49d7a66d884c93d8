//! Where a node puts what it gets: a disk, a partition, a file, parts of a file, unpacked
//! on the way or not, or nowhere.

use std::fs::{self, File};
use std::io::{self, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use goldring_contract::Root;
use goldring_disk::gzip::Unpacker;
use goldring_disk::parts::Parts;
use goldring_disk::target::{Room, Target, TargetError};
use goldring_disk::writer::{Sync, Writer};
use goldring_transfer::dolly::client::Store;
use goldring_transfer::pump::Sink;
use goldring_wire::dolly::config::{Config, Output, Payload, Source};

use crate::fault;

/// How long a disk may take to appear: its driver was loaded a moment ago.
const APPEAR: Duration = Duration::from_secs(10);

/// Opens what the configuration names, once it is there.
pub(crate) fn open(root: &Root, config: &Config, sync: Sync) -> Result<Store, String> {
    let Payload::File { input, output } = &config.payload else {
        return Ok(nowhere("nothing"));
    };
    let place = place(root, (input, output), sync).map_err(fault::one_line)?;
    let room = place.room();
    let name = output.path.clone();
    if input.compressed {
        // What comes says nothing about what it becomes, so that is counted.
        let counted = Counted {
            place,
            room,
            written: 0,
        };
        return Ok(Store {
            name,
            sink: Box::new(Unpacking(Unpacker::new(counted))),
            fits: Box::new(|_| Ok(())),
        });
    }
    Ok(Store {
        name,
        sink: Box::new(place),
        fits: Box::new(move |size| room.check(size.bytes()).map_err(fault::one_line)),
    })
}

fn place(
    root: &Root,
    (input, output): (&Source, &Output),
    sync: Sync,
) -> Result<Place, TargetError> {
    // As a shell would take it: relative to where this program was started.
    let path = std::path::absolute(&output.path).map_err(|source| TargetError::Io {
        doing: "finding",
        path: output.path.clone(),
        source,
    })?;
    if let Some(size) = output.split {
        return Ok(Place::Parts(Parts::create(root, &path, size, sync)?));
    }
    // What is unpacked again goes to what exists, as with dolly 0.57.
    if output.compressed && !input.compressed {
        let target = Target::create_new(root, &path)?;
        let unfinished = Unfinished(Some(root.join(&path)));
        let room = target.room();
        return Ok(Place::New(room, Writer::new(target, sync), unfinished));
    }
    let target = existing(root, &path)?;
    Ok(Place::Old(target.room(), Writer::new(target, sync)))
}

/// Opens what may be overwritten; a disk may appear a little later than the node.
pub(crate) fn existing(root: &Root, path: &Path) -> Result<Target, TargetError> {
    let limit = Instant::now() + APPEAR;
    loop {
        match Target::open(root, path) {
            Err(TargetError::Absent { .. }) if Instant::now() < limit => {
                thread::sleep(Duration::from_millis(250));
            }
            other => return other,
        }
    }
}

/// An open target as a ring's store.
pub(crate) fn of_target(target: Target, name: &str, sync: Sync) -> Store {
    let room = target.room();
    Store {
        name: name.to_owned(),
        sink: Box::new(Place::Old(room.clone(), Writer::new(target, sync))),
        fits: Box::new(move |size| room.check(size.bytes()).map_err(fault::one_line)),
    }
}

/// A store of this name that takes everything and keeps nothing.
pub(crate) fn nowhere(name: &str) -> Store {
    Store {
        name: name.to_owned(),
        sink: Box::new(Nowhere),
        fits: Box::new(|_| Ok(())),
    }
}

/// A place on this computer that takes bytes.
enum Place {
    /// What may be overwritten.
    Old(Room, Writer),
    /// A file that was made for this.
    New(Room, Writer, Unfinished),
    /// Several such files.
    Parts(Parts),
}

impl Place {
    fn room(&self) -> Room {
        match self {
            Self::Old(room, _) | Self::New(room, ..) => room.clone(),
            Self::Parts(parts) => parts.room(),
        }
    }
}

impl Write for Place {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Old(_, writer) | Self::New(_, writer, _) => writer.write(bytes),
            Self::Parts(parts) => parts.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink for Place {
    fn stored(&self, bytes: Range<u64>) -> Option<Arc<File>> {
        match self {
            Self::Old(_, writer) | Self::New(_, writer, _) => writer.stored(bytes),
            Self::Parts(_) => None,
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        // Whether the kernel could read the new table matters to nobody who reboots.
        match self {
            Self::Old(_, writer) => writer.finish().map(|_| ()),
            Self::New(_, writer, unfinished) => {
                writer.finish()?;
                unfinished.0 = None;
                Ok(())
            }
            Self::Parts(parts) => parts.finish(),
        }
    }
}

/// A new file that is removed unless it gets finished: it must not be in the way of the
/// next try.
struct Unfinished(Option<PathBuf>);

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            // Somebody else may have removed it.
            let _ = fs::remove_file(path);
        }
    }
}

/// Takes no more than fits.
struct Counted {
    place: Place,
    room: Room,
    written: u64,
}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let all = self.written + bytes.len() as u64;
        self.room.check(all).map_err(|error| {
            io::Error::new(io::ErrorKind::StorageFull, format!("unpacked, {error}"))
        })?;
        let n = self.place.write(bytes)?;
        self.written += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Unpacks on the way to its place; finished when the last byte is there.
struct Unpacking(Unpacker<Counted>);

impl Write for Unpacking {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink for Unpacking {
    fn finish(&mut self) -> io::Result<()> {
        self.0.finish()?.place.finish()
    }
}

/// Where dummy data goes, and nothing in a dry run.
struct Nowhere;

impl Write for Nowhere {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink for Nowhere {}
