//! Files as what goes into a ka session and comes out of one, with no program and no pipe
//! between tar and the session: each copy of everything costs as much as a tar does.

use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use goldring_files::receive::{Incoming, Received};
use goldring_files::send::{Outgoing, Sending, send};
use goldring_files::trailer::Form;
use goldring_sys::pipe::widen;
use goldring_transfer::ka::{Compared, Sink, Source};

use crate::deploy;
use crate::fault;
use crate::killpoint::{reading_within, writing_within};

/// In tests: more than the files of any system begin with, and less than those of a small one.
const HALF: u64 = 2 << 20;
/// There a program can be made to die.
const HALF_OF_THE_FILES: &str = "half of the files";

/// How the files of a session travel.
pub(crate) fn form(compared: Compared) -> Form {
    match compared {
        Compared::BySession => Form::Agreed,
        Compared::ByNobody => Form::Checked,
    }
}

/// These files.
///
/// # Errors
/// There is no tar.
pub(crate) fn source(files: Sending) -> Result<Source, String> {
    if files.level.is_some() {
        return packed(files);
    }
    let say = |said: &str| eprintln!("{said}");
    let files = Outgoing::start(&files.source, files.form, say).map_err(fault::one_line)?;
    let (files, again) = Shared::two(files);
    let check = move || match again.into_inner() {
        Some(files) => files.finish().map(drop).map_err(fault::one_line),
        None => Err("the files were sent twice".to_owned()),
    };
    Ok(source_of(files, check))
}

/// zstd works in a thread of its own, beside the one that sends.
fn packed(files: Sending) -> Result<Source, String> {
    let (reader, writer) = io::pipe().map_err(|error| format!("making a pipe: {error}"))?;
    widen(&writer);
    let work = move || send(&files, writer, |said: &str| eprintln!("{said}"));
    let thread = thread::Builder::new().name("files".into()).spawn(work);
    let thread = thread.map_err(|error| format!("starting a thread: {error}"))?;
    let check = move || match thread.join() {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(fault::one_line(error)),
        Err(_) => Err("sending the files failed".to_owned()),
    };
    Ok(source_of(reader, check))
}

/// A program can be made to die in the middle of it.
fn source_of(
    reader: impl Read + Send + 'static,
    check: impl FnOnce() -> Result<(), String> + Send + 'static,
) -> Source {
    deploy::source(reading_within(HALF_OF_THE_FILES, HALF, reader), check)
}

/// A folder that files come into; what tar says goes to `say`. When all are there, `then` has
/// its turn.
///
/// # Errors
/// There is no tar, or no folder.
pub(crate) fn sink(
    folder: &Path,
    form: Form,
    say: impl FnMut(&str) + Send + 'static,
    then: impl FnOnce(Received) -> anyhow::Result<()> + Send + 'static,
) -> Result<Sink, String> {
    let files = Incoming::start(folder, form, say).map_err(fault::one_line)?;
    let (files, again) = Shared::two(files);
    let check = move || {
        let files = again.into_inner().ok_or("the files came twice")?;
        let received = files.finish().map_err(fault::one_line)?;
        then(received).map_err(|error| fault::chain(&error))
    };
    Ok(Sink {
        writer: Box::new(writing_within(HALF_OF_THE_FILES, HALF, files)),
        check: Box::new(check),
        // tar is ended when both halves of this are dropped.
        stop: Arc::new(|| {}),
    })
}

/// Used by the session, and once more for the verdict.
struct Shared<T>(Arc<Mutex<Option<T>>>);

impl<T> Shared<T> {
    fn two(what: T) -> (Self, Self) {
        let both = Arc::new(Mutex::new(Some(what)));
        (Self(Arc::clone(&both)), Self(both))
    }

    fn lock(&self) -> MutexGuard<'_, Option<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn into_inner(self) -> Option<T> {
        self.lock().take()
    }
}

impl<T: Read> Read for Shared<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.lock().as_mut().map_or(Ok(0), |from| from.read(buffer))
    }
}

impl<T: Write> Write for Shared<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let gone = Err(io::ErrorKind::BrokenPipe.into());
        self.lock().as_mut().map_or(gone, |to| to.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.lock().as_mut().map_or(Ok(()), Write::flush)
    }
}
