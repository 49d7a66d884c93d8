//! The node's end: what comes goes through a tar onto its disk, and both ends must agree
//! on what it was.

use std::fs::File;
use std::io::{BufReader, ErrorKind, Read, Write};
use std::path::Path;
use std::process::{Child, ExitStatus};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rustix::fs::FsWord;

use crate::made::from_member;
use crate::tar::{self, Abilities, FilesError, Heard, doing};
use crate::text::shown;
use crate::trailer::{Contents, Trailer, TrailerError, difference};
use crate::walk::Walk;

/// Bytes in one read.
const PIECE: usize = 256 << 10;
/// How a zstd stream begins (RFC 8878, section 3.1.1).
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// linux/magic.h, `fs/exfat/exfat_fs.h`, `fs/ntfs3/super.c`: file systems that know neither
/// owners nor rights as Linux does.
const WITHOUT_OWNERS: [FsWord; 3] = [0x4d44, 0x2011_bab0, 0x7366_746e];

/// How files are received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// From goldring: the end is checked.
    Checked,
    /// From goldring by ka, whose ends compare all that came before this end sees its end:
    /// with an old node among the others there is nothing behind the tar.
    Agreed,
    /// A tar without anything behind it, from an old golden node.
    Plain,
}

/// What came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// The tar.
    pub contents: Contents,
    /// Sockets that were made.
    pub sockets: usize,
}

/// Receives files from `input`, which may be compressed, into the folder `target`. What tar
/// says goes to `say`.
///
/// # Errors
/// No GNU tar; a target that is full or cannot take a file, with its name; a stream that is
/// cut or changed; what the other end says went wrong there.
pub fn receive(
    target: &Path,
    form: Form,
    input: impl Read,
    say: &mut (dyn FnMut(&str) + Send),
) -> Result<Received, FilesError> {
    let abilities = Abilities::ask()?;
    if let Some(lacks) = abilities.lacks() {
        say(&lacks);
    }
    if !target.is_dir() {
        let error = ErrorKind::NotADirectory.into();
        return Err(FilesError::Io(shown(target), error));
    }
    let (begin, input) = begin(input).map_err(doing("receiving files"))?;
    if begin.is_empty() {
        return Err(TrailerError::Short.into());
    }
    if begin != ZSTD {
        return stream(abilities, target, form, input, say);
    }
    let unpacked = zstd::stream::read::Decoder::with_buffer(BufReader::with_capacity(PIECE, input))
        .map_err(doing("starting zstd"))?;
    stream(abilities, target, form, unpacked, say)
}

/// The first bytes, and all of it.
fn begin(mut input: impl Read) -> std::io::Result<(Vec<u8>, impl Read)> {
    let mut begin = Vec::new();
    input.by_ref().take(4).read_to_end(&mut begin)?;
    Ok((begin.clone(), std::io::Cursor::new(begin).chain(input)))
}

fn stream(
    abilities: Abilities,
    target: &Path,
    form: Form,
    input: impl Read,
    say: &mut (dyn FnMut(&str) + Send),
) -> Result<Received, FilesError> {
    let mut child = tar::extract(abilities, target)
        .spawn()
        .map_err(doing("starting tar"))?;
    let (Some(stdin), Some(stderr)) = (child.stdin.take(), child.stderr.take()) else {
        tar::kill(child);
        return Err(FilesError::Tar("tar has no input".to_owned()));
    };
    tar::widen(&stdin);
    let mut pump = Pump {
        form,
        to: Some(stdin),
        walk: Walk::default(),
        is_lost: false,
    };
    let forgive = |name: &[u8]| has_no_owners(target, name);
    let full = AtomicBool::new(false);
    let (pumped, heard) = thread::scope(|scope| {
        let listener = scope.spawn(|| tar::listen(stderr, say, &forgive, &full));
        let pumped = pump.all(input, &full);
        pump.to = None;
        let pumped = finish(child, pumped);
        (pumped, listener.join().unwrap_or_default())
    });
    let trailer = agree(pumped, &heard, &pump)?;
    for made in &trailer.made {
        let doing = doing(format!("making the socket {}", shown(&made.path)));
        made.make(target).map_err(doing)?;
    }
    Ok(Received {
        contents: pump.walk.contents(),
        sockets: trailer.made.len(),
    })
}

/// Waits for tar, or ends it when it is of no use any more.
fn finish(mut child: Child, pumped: Result<(), FilesError>) -> Result<ExitStatus, FilesError> {
    match pumped {
        Ok(()) => child.wait().map_err(doing("waiting for tar")),
        Err(error) => {
            tar::kill(child);
            Err(error)
        }
    }
}

/// The verdict: tar's own troubles first, since they are why the stream stopped.
fn agree(
    pumped: Result<ExitStatus, FilesError>,
    heard: &Heard,
    pump: &Pump,
) -> Result<Trailer, FilesError> {
    if let Some(first) = heard.troubles.first()
        && matches!(&pumped, Err(FilesError::Tar(_)))
    {
        return Err(FilesError::Tar(first.clone()));
    }
    let ended = pumped?;
    let forgiven = ended.code() == Some(2) && !heard.any;
    if !ended.success() && !forgiven {
        return Err(FilesError::Tar(heard.sentence(ended)));
    }
    let bare = pump.form == Form::Agreed && pump.walk.trailer().is_none();
    if pump.form == Form::Plain || bare {
        return Ok(Trailer::default());
    }
    let trailer = Trailer::parse(pump.walk.trailer().ok_or(TrailerError::Absent)?)?;
    if !trailer.failed.is_empty() {
        return Err(FilesError::Golden(trailer.failed));
    }
    match difference(&trailer.contents, &pump.walk.contents()) {
        Some(difference) => Err(FilesError::Differ(difference)),
        None => Ok(trailer),
    }
}

/// From the other end to tar.
struct Pump {
    form: Form,
    to: Option<std::process::ChildStdin>,
    walk: Walk,
    /// An old tar has written what the walk does not understand.
    is_lost: bool,
}

impl Pump {
    fn all(&mut self, mut input: impl Read, full: &AtomicBool) -> Result<(), FilesError> {
        let mut buffer = vec![0; PIECE];
        loop {
            let piece = match input.read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => &buffer[..length],
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                // zstd says so when its input ends in the middle.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => break,
                Err(error) => return Err(FilesError::Io("receiving files".to_owned(), error)),
            };
            if full.load(Ordering::Relaxed) {
                return Err(FilesError::Tar("no space left".to_owned()));
            }
            self.piece(piece)?;
        }
        match self.form {
            Form::Checked | Form::Agreed if !self.walk.has_ended() => {
                Err(TrailerError::Short.into())
            }
            _ => Ok(()),
        }
    }

    fn piece(&mut self, piece: &[u8]) -> Result<(), FilesError> {
        // This tar leaves once it has seen the end, so it gets nothing from behind that.
        let own = match self.walk.feed(piece) {
            Ok(own) if !self.is_lost => own,
            Err(error) if self.form != Form::Plain => return Err(error.into()),
            // Whatever an old tar wrote, this one will read it.
            _ => {
                self.is_lost = true;
                piece.len()
            }
        };
        let Some(to) = &mut self.to else {
            return Ok(());
        };
        if to.write_all(&piece[..own]).is_err() {
            self.to = None;
            // Where nobody but tar knows the end, its exit status tells whether that was it.
            if !self.is_lost {
                // It says why itself.
                return Err(FilesError::Tar("tar has ended too early".to_owned()));
            }
        }
        Ok(())
    }
}

/// Whether a file lies where there are no owners and rights, so that a word about them is
/// no trouble.
fn has_no_owners(target: &Path, member: &[u8]) -> bool {
    let path = from_member(member);
    let there = target.join(path.strip_prefix("/").unwrap_or(&path));
    let kind = File::open(there).and_then(|file| Ok(rustix::fs::fstatfs(file)?.f_type));
    kind.is_ok_and(|kind| WITHOUT_OWNERS.contains(&kind))
}
