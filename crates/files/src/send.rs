//! The golden node's end: a tar, and before its end what it held.

use std::io::{ErrorKind, Read, Write};
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::thread;

use crate::made::{Made, from_member};
use crate::tar::{self, Abilities, FilesError, Heard, Source, doing};
use crate::text::shown;
use crate::trailer::{Contents, END, Trailer};
use crate::walk::Walk;

/// Bytes in one read.
const PIECE: usize = 256 << 10;

/// How files are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sending {
    /// Which.
    pub source: Source,
    /// Compressed by zstd with this level; an old node cannot read that.
    pub level: Option<i32>,
    /// A tar of the kind that old nodes read, and nothing but files in it.
    pub plain: bool,
}

/// What was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// The tar.
    pub contents: Contents,
    /// Sockets, which are told behind the files.
    pub sockets: usize,
    /// Files that changed or went while they were read.
    pub changed: u64,
}

/// Sends files to `out`. What tar says goes to `say`. A file that changes or vanishes is
/// told and does no harm; an error makes the stream end with a word that the other end
/// understands, and is returned.
///
/// # Errors
/// No GNU tar; a file that cannot be read; the other end has gone.
pub fn send(
    wish: &Sending,
    out: impl Write,
    say: &mut (dyn FnMut(&str) + Send),
) -> Result<Sent, FilesError> {
    let abilities = Abilities::ask()?;
    if let Some(lacks) = abilities.lacks() {
        say(&lacks);
    }
    let Some(level) = wish.level else {
        return stream(abilities, wish, out, say).map(|(sent, _)| sent);
    };
    let packed = zstd::stream::write::Encoder::new(out, level).map_err(doing("starting zstd"))?;
    // Dropping it after an error writes no end: the other end sees that it is cut.
    let (sent, packed) = stream(abilities, wish, packed, say)?;
    packed.finish().map_err(doing("sending files"))?;
    Ok(sent)
}

fn stream<W: Write>(
    abilities: Abilities,
    wish: &Sending,
    mut out: W,
    say: &mut (dyn FnMut(&str) + Send),
) -> Result<(Sent, W), FilesError> {
    let source = &wish.source;
    let mut child = tar::create(abilities, source, wish.plain)
        .spawn()
        .map_err(doing("starting tar"))?;
    let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
        tar::kill(child);
        return Err(FilesError::Tar("tar has no output".to_owned()));
    };
    let full = AtomicBool::new(false);
    let (pumped, heard) = thread::scope(|scope| {
        let listener = scope.spawn(|| tar::listen(stderr, say, &|_| false, &full));
        // stdout is dropped in there, so that a tar whose reader has failed ends.
        let pumped = pump(stdout, &mut out);
        (pumped, listener.join().unwrap_or_default())
    });
    let walk = match pumped {
        Ok(walk) => walk,
        Err(error) => {
            tar::kill(child);
            return Err(error);
        }
    };
    let ended = child.wait().map_err(doing("waiting for tar"))?;
    if !walk.has_ended() {
        // Behind half a tar nobody would look for a trailer.
        return Err(FilesError::Tar(heard.sentence(ended)));
    }
    let mut trailer = Trailer {
        contents: walk.contents(),
        made: sockets(&source.top, &heard),
        failed: String::new(),
    };
    if ended.code().is_none_or(|code| code > 1) {
        trailer.failed = heard.sentence(ended);
    }
    let told = match wish.plain {
        true => Vec::new(),
        false => trailer.to_bytes(),
    };
    let last = out
        .write_all(&told)
        .and_then(|()| out.write_all(&END))
        .and_then(|()| out.flush());
    if !trailer.failed.is_empty() {
        return Err(FilesError::Tar(trailer.failed));
    }
    last.map_err(doing("sending files"))?;
    let sent = Sent {
        contents: trailer.contents,
        sockets: trailer.made.len(),
        changed: heard.changed,
    };
    Ok((sent, out))
}

/// From tar to the other end: all files, and not the end, which comes behind the trailer.
fn pump(mut from: std::process::ChildStdout, to: &mut impl Write) -> Result<Walk, FilesError> {
    tar::widen(&from);
    let mut walk = Walk::default();
    let (mut buffer, mut kept, mut sent) = (vec![0; PIECE], 0, 0);
    loop {
        let length = match from.read(&mut buffer[kept..]) {
            Ok(0) => return Ok(walk),
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(FilesError::Io("reading from tar".to_owned(), error)),
        };
        // Nothing but tar writes here, so all of it is tar's.
        walk.feed(&buffer[kept..kept + length])?;
        let here = kept + length;
        // A header counts when all of it is here.
        let files = usize::try_from(walk.bytes() - sent)
            .unwrap_or(here)
            .min(here);
        to.write_all(&buffer[..files])
            .map_err(|error| sending(error, walk.name()))?;
        sent += files as u64;
        kept = match walk.has_ended() {
            true => 0,
            false => here - files,
        };
        buffer.copy_within(files..files + kept, 0);
    }
}

fn sending(error: std::io::Error, name: &[u8]) -> FilesError {
    let place = shown(&from_member(name));
    FilesError::Io(
        format!("sending files, at {place}; the other end has gone"),
        error,
    )
}

/// The sockets that tar has met; one that went in the meantime is none.
fn sockets(top: &Path, heard: &Heard) -> Vec<Made> {
    let look = |name: &Vec<u8>| Made::look(top, &from_member(name)).ok().flatten();
    heard.sockets.iter().filter_map(look).collect()
}
