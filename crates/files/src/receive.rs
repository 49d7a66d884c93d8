//! The node's end: what comes goes through a tar onto its disk, and both ends must agree
//! on what it was.

use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use goldring_sys::pipe;
use rustix::fs::FsWord;
use zstd::stream::write::Decoder;

use crate::made::from_member;
use crate::said::{Heard, listen};
use crate::tar::{self, Abilities, FilesError, doing};
use crate::text::shown;
use crate::trailer::{Contents, Form, Trailer, TrailerError, difference};
use crate::walk::Walk;

/// Bytes in one read.
const PIECE: usize = 256 << 10;
/// How a zstd stream begins (RFC 8878, section 3.1.1).
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// linux/magic.h, `fs/exfat/exfat_fs.h`, `fs/ntfs3/super.c`: file systems that know neither
/// owners nor rights as Linux does.
const WITHOUT_OWNERS: [FsWord; 3] = [0x4d44, 0x2011_bab0, 0x7366_746e];

/// What came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// The tar.
    pub contents: Contents,
    /// Sockets that were made.
    pub sockets: usize,
    /// Digests were compared, not only counts.
    pub is_compared: bool,
    /// Nothing behind the files told what they were.
    pub is_bare: bool,
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
    mut input: impl Read,
    say: impl FnMut(&str) + Send + 'static,
) -> Result<Received, FilesError> {
    let mut files = Incoming::start(target, form, say)?;
    let mut buffer = vec![0; PIECE];
    loop {
        match input.read(&mut buffer) {
            Ok(0) => break,
            // It keeps why it takes no more.
            Ok(length) if files.write_all(&buffer[..length]).is_err() => break,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(FilesError::Io("receiving files".to_owned(), error)),
        }
    }
    files.finish()
}

/// Files as a stream that is written to, compressed or not. tar is ended when this is dropped
/// before it has finished.
#[derive(Debug)]
pub struct Incoming(Stage);

#[derive(Debug)]
enum Stage {
    /// The first bytes, which tell whether it is compressed.
    Begin(Vec<u8>, Unpacking),
    Plain(Unpacking),
    Packed(Packed),
    /// Changing from one to the next failed.
    Gone,
}

/// With what went wrong in it.
struct Packed(Decoder<'static, Unpacking>, Option<io::Error>);

impl fmt::Debug for Packed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Packed")
    }
}

impl Incoming {
    /// Starts tar, which writes into the folder `target`. What it says goes to `say`.
    ///
    /// # Errors
    /// No GNU tar; no folder.
    pub fn start(
        target: &Path,
        form: Form,
        say: impl FnMut(&str) + Send + 'static,
    ) -> Result<Self, FilesError> {
        let unpacking = Unpacking::start(target, form, say)?;
        Ok(Self(Stage::Begin(Vec::new(), unpacking)))
    }

    /// What came, when all of it was written.
    ///
    /// # Errors
    /// As [`receive`].
    pub fn finish(self) -> Result<Received, FilesError> {
        match self.0 {
            Stage::Begin(begin, _) if begin.is_empty() => Err(TrailerError::Short.into()),
            Stage::Begin(begin, mut files) => {
                // It keeps why it does not take them.
                let _ = files.write_all(&begin);
                files.finish()
            }
            Stage::Plain(files) => files.finish(),
            Stage::Packed(Packed(mut decoder, error)) => {
                let flushed = decoder.flush();
                let mut files = decoder.into_inner();
                if let Some(error) = error.or(flushed.err()) {
                    files.fail(FilesError::Io("receiving files".to_owned(), error));
                }
                files.finish()
            }
            Stage::Gone => Err(FilesError::Tar("zstd did not start".to_owned())),
        }
    }
}

impl Write for Incoming {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            Stage::Begin(begin, _) if begin.len() < ZSTD.len() => {
                let taken = bytes.len().min(ZSTD.len() - begin.len());
                begin.extend_from_slice(&bytes[..taken]);
                Ok(taken)
            }
            Stage::Begin(..) => {
                if let Stage::Begin(begin, files) = std::mem::replace(&mut self.0, Stage::Gone) {
                    self.0 = match *begin == ZSTD {
                        true => Stage::Packed(Packed(Decoder::new(files)?, None)),
                        false => Stage::Plain(files),
                    };
                    self.write_all(&begin)?;
                }
                self.write(bytes)
            }
            Stage::Plain(files) => files.write(bytes),
            Stage::Packed(Packed(decoder, failed)) => decoder.write(bytes).inspect_err(|error| {
                failed.get_or_insert_with(|| io::Error::new(error.kind(), error.to_string()));
            }),
            Stage::Gone => Err(ErrorKind::BrokenPipe.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// From the other end to tar.
#[derive(Debug)]
struct Unpacking {
    target: PathBuf,
    form: Form,
    tar: Option<Child>,
    to: Option<UnixStream>,
    listener: Option<JoinHandle<Heard>>,
    full: Arc<AtomicBool>,
    walk: Walk,
    /// An old tar has written what the walk does not understand.
    is_lost: bool,
    /// Why it takes no more.
    failed: Option<FilesError>,
}

impl Unpacking {
    fn start(
        target: &Path,
        form: Form,
        mut say: impl FnMut(&str) + Send + 'static,
    ) -> Result<Self, FilesError> {
        let abilities = Abilities::ask()?;
        if let Some(lacks) = abilities.lacks() {
            say(&lacks);
        }
        if !target.is_dir() {
            let error = ErrorKind::NotADirectory.into();
            return Err(FilesError::Io(shown(target), error));
        }
        let (to, theirs) = pipe::pair().map_err(doing("starting tar"))?;
        let mut child = tar::extract(abilities, target)
            .stdin(theirs)
            .spawn()
            .map_err(doing("starting tar"))?;
        let Some(stderr) = child.stderr.take() else {
            tar::kill(child);
            return Err(FilesError::Tar("tar says nothing".to_owned()));
        };
        let full = Arc::default();
        let place = target.to_owned();
        let forgive = move |name: &[u8]| has_no_owners(&place, name);
        let listener = listen(stderr, say, forgive, &full);
        Ok(Self {
            target: target.to_owned(),
            form,
            tar: Some(child),
            to: Some(to),
            listener: Some(listener.map_err(doing("listening to tar"))?),
            full,
            walk: Walk::new(form),
            is_lost: false,
            failed: None,
        })
    }

    /// The first failure is the one that counts.
    fn fail(&mut self, error: FilesError) {
        self.failed.get_or_insert(error);
    }

    fn piece(&mut self, piece: &[u8]) -> Result<(), FilesError> {
        if self.full.load(Ordering::Relaxed) {
            return Err(FilesError::Tar("no space left".to_owned()));
        }
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

    fn finish(mut self) -> Result<Received, FilesError> {
        if self.form != Form::Plain && !self.walk.has_ended() {
            self.fail(TrailerError::Short.into());
        }
        self.to = None;
        let ended = match (self.failed.take(), self.tar.take()) {
            (Some(error), child) => {
                // tar is of no use any more.
                child.into_iter().for_each(tar::kill);
                Err(error)
            }
            (None, Some(mut child)) => child.wait().map_err(doing("waiting for tar")),
            (None, None) => Err(FilesError::Tar("tar has ended twice".to_owned())),
        };
        let heard = self.listener.take().map(JoinHandle::join);
        let heard = heard.and_then(Result::ok).unwrap_or_default();
        let trailer = agree(ended, &heard, &self)?;
        for made in &trailer.made {
            let doing = doing(format!("making the socket {}", shown(&made.path)));
            made.make(&self.target).map_err(doing)?;
        }
        let contents = self.walk.contents();
        Ok(Received {
            is_bare: self.walk.trailer().is_none(),
            sockets: trailer.made.len(),
            is_compared: trailer.contents.digest.is_some() && contents.digest.is_some(),
            contents,
        })
    }
}

impl Write for Unpacking {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.piece(bytes) {
            Ok(()) => Ok(bytes.len()),
            Err(error) => {
                self.fail(error);
                Err(ErrorKind::BrokenPipe.into())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Unpacking {
    fn drop(&mut self) {
        if let Some(child) = self.tar.take() {
            tar::kill(child);
        }
    }
}

/// The verdict: tar's own troubles first, since they are why the stream stopped.
fn agree(
    pumped: Result<ExitStatus, FilesError>,
    heard: &Heard,
    files: &Unpacking,
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
    let bare = files.form == Form::Agreed && files.walk.trailer().is_none();
    if files.form == Form::Plain || bare {
        return Ok(Trailer::default());
    }
    let trailer = Trailer::parse(files.walk.trailer().ok_or(TrailerError::Absent)?)?;
    if !trailer.failed.is_empty() {
        return Err(FilesError::Golden(trailer.failed));
    }
    match difference(&trailer.contents, &files.walk.contents()) {
        Some(difference) => Err(FilesError::Differ(difference)),
        None => Ok(trailer),
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
