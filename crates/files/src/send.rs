//! The golden node's end: a tar, and before its end what it held.

use std::io::{self, Cursor, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::Arc;
use std::thread::JoinHandle;

use goldring_sys::pipe::{self, Filled};

use crate::made::{Made, from_member};
use crate::said::{Heard, listen};
use crate::tar::{self, Abilities, FilesError, Source, doing};
use crate::text::shown;
use crate::trailer::{Contents, END, Form, Trailer};
use crate::walk::{BLOCK, Walk};

/// Bytes in one read.
const PIECE: usize = 256 << 10;

/// How files are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sending {
    /// Which.
    pub source: Source,
    /// Compressed by zstd with this level; an old node cannot read that.
    pub level: Option<i32>,
    /// What stands behind them.
    pub form: Form,
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
    say: impl FnMut(&str) + Send + 'static,
) -> Result<Sent, FilesError> {
    let files = Outgoing::start(&wish.source, wish.form, say)?;
    let Some(level) = wish.level else {
        return pump(files, out).map(|(sent, _)| sent);
    };
    let packed = zstd::stream::write::Encoder::new(out, level).map_err(doing("starting zstd"))?;
    // Dropping it after an error writes no end: the other end sees that it is cut.
    let (sent, packed) = pump(files, packed)?;
    packed.finish().map_err(doing("sending files"))?;
    Ok(sent)
}

fn pump<W: Write>(mut files: Outgoing, mut out: W) -> Result<(Sent, W), FilesError> {
    let mut buffer = vec![0; PIECE];
    loop {
        match files.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => out
                .write_all(&buffer[..length])
                .map_err(|error| sending(error, files.walk.name()))?,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(FilesError::Io("reading from tar".to_owned(), error)),
        }
    }
    let flushed = out.flush();
    let sent = files.finish()?;
    flushed.map_err(doing("sending files"))?;
    Ok((sent, out))
}

/// Files as a stream that is read, not compressed. tar is ended when this is dropped.
#[derive(Debug)]
pub struct Outgoing {
    top: PathBuf,
    form: Form,
    tar: Option<Child>,
    /// `None`: all of the tar has passed.
    stdout: Option<Filled<UnixStream>>,
    listener: Option<JoinHandle<Heard>>,
    walk: Walk,
    /// Bytes that may become a header, and may become the end, which tar does not send.
    kept: Vec<u8>,
    /// Bytes that go next.
    ready: Cursor<Vec<u8>>,
    /// How it ended, once it has.
    end: Option<Result<Sent, FilesError>>,
}

impl Outgoing {
    /// Starts tar. What it says goes to `say`; `form` as in [`Sending`].
    ///
    /// # Errors
    /// No GNU tar.
    pub fn start(
        source: &Source,
        form: Form,
        mut say: impl FnMut(&str) + Send + 'static,
    ) -> Result<Self, FilesError> {
        let abilities = Abilities::ask()?;
        if let Some(lacks) = abilities.lacks() {
            say(&lacks);
        }
        let (from, theirs) = pipe::pair().map_err(doing("starting tar"))?;
        let mut child = tar::create(abilities, source, form == Form::Plain)
            .stdout(theirs)
            .spawn()
            .map_err(doing("starting tar"))?;
        let Some(stderr) = child.stderr.take() else {
            tar::kill(child);
            return Err(FilesError::Tar("tar says nothing".to_owned()));
        };
        let full = Arc::default();
        let listener = listen(stderr, say, |_| false, &full);
        Ok(Self {
            top: source.top.clone(),
            form,
            tar: Some(child),
            stdout: Some(Filled::new(from)),
            listener: Some(listener.map_err(doing("listening to tar"))?),
            walk: Walk::new(form),
            kept: Vec::new(),
            ready: Cursor::default(),
            end: None,
        })
    }

    /// What was sent, when all of it was read.
    ///
    /// # Errors
    /// A file could not be read, which the other end knows; nobody has read to the end.
    pub fn finish(mut self) -> Result<Sent, FilesError> {
        match self.end.take() {
            Some(end) => end,
            None => Err(sending(ErrorKind::BrokenPipe.into(), self.walk.name())),
        }
    }

    /// The files have passed: what is told behind them, and the end.
    fn close(&mut self) -> Result<Sent, FilesError> {
        let ended = match self.tar.take() {
            Some(mut child) => child.wait().map_err(doing("waiting for tar"))?,
            None => return Err(FilesError::Tar("tar has ended twice".to_owned())),
        };
        let heard = self.listener.take().map(JoinHandle::join);
        let heard = heard.and_then(Result::ok).unwrap_or_default();
        if !self.walk.has_ended() {
            // Behind half a tar nobody would look for a trailer.
            return Err(FilesError::Tar(heard.sentence(ended)));
        }
        let mut trailer = Trailer {
            contents: self.walk.contents(),
            made: sockets(&self.top, &heard),
            failed: String::new(),
        };
        if ended.code().is_none_or(|code| code > 1) {
            trailer.failed = heard.sentence(ended);
        }
        let mut behind = match self.form {
            Form::Plain => Vec::new(),
            Form::Checked | Form::Agreed => trailer.to_bytes(),
        };
        behind.extend(END);
        self.ready = Cursor::new(behind);
        if !trailer.failed.is_empty() {
            return Err(FilesError::Tar(trailer.failed));
        }
        Ok(Sent {
            contents: trailer.contents,
            sockets: trailer.made.len(),
            changed: heard.changed,
        })
    }

    /// Takes what tar writes next. So many bytes of `buffer` go on; what else does is ready.
    fn pass(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(stdout) = &mut self.stdout else {
            return Ok(0);
        };
        let before = self.walk.bytes();
        // Nothing but tar writes there, so all of it is tar's. Whole blocks, so that headers
        // are hardly ever cut.
        let blocks = buffer.len() - buffer.len() % BLOCK;
        let is_direct = self.kept.is_empty() && blocks > 0;
        let mut block = [0; BLOCK];
        let piece = match is_direct {
            true => &mut buffer[..blocks],
            false => &mut block[self.kept.len()..],
        };
        let length = stdout.read(piece)?;
        let piece = &piece[..length];
        let walked = self.walk.feed(piece);
        if length == 0 || walked.is_err() {
            self.stdout = None;
            self.end = Some(match walked {
                Ok(_) => self.close(),
                Err(error) => Err(error.into()),
            });
            return Ok(0);
        }
        let files = usize::try_from(self.walk.bytes() - before).unwrap_or(usize::MAX);
        if is_direct {
            self.keep(&piece[files..]);
            return Ok(files);
        }
        let mut all = std::mem::take(&mut self.kept);
        all.extend_from_slice(piece);
        self.keep(&all[files..]);
        all.truncate(files);
        self.ready = Cursor::new(all);
        Ok(0)
    }

    /// A header counts when all of it is here; a whole block that does not is the end.
    fn keep(&mut self, rest: &[u8]) {
        if rest.len() < BLOCK {
            self.kept.extend_from_slice(rest);
        }
    }
}

impl Read for Outgoing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let length = self.ready.read(buffer)?;
            if length > 0 || buffer.is_empty() || self.stdout.is_none() {
                return Ok(length);
            }
            let length = self.pass(buffer)?;
            if length > 0 {
                return Ok(length);
            }
        }
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        if let Some(child) = self.tar.take() {
            tar::kill(child);
        }
    }
}

fn sending(error: io::Error, name: &[u8]) -> FilesError {
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
