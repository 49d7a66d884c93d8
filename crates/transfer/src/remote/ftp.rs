//! FTP by `suppaftp`: passive (RFC 2428, RFC 959), binary, the rest of a file by REST
//! (RFC 3659).

use std::io::{self, Read};
use std::net::{Shutdown, SocketAddr, TcpStream, ToSocketAddrs as _};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use suppaftp::types::{FileType, Response};
use suppaftp::{FtpError, FtpStream, Mode, Status};

use super::problem::RemoteError;
use super::url::{Url, printable};
use super::{Options, Part, Rest, named};

/// How long one address may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(10);
/// Who logs in when nobody was named, and with what (old stage 1).
const NOBODY: (&str, &str) = ("anonymous", "-drakx@");

pub(super) fn part(
    url: &Url,
    options: &Options,
    rest: Option<&Rest<'_>>,
) -> Result<Part, RemoteError> {
    let talk = Talk::new(url, options);
    let path = url.decoded_path();
    let mut ftp = talk.connect()?;
    // Only the talk before the file: the file may take its time.
    let _watch = Watch::new(&ftp, options.silence * 3);
    talk.log_in(&mut ftp)?;
    ftp.transfer_type(FileType::Binary)
        .map_err(|error| talk.failed("binary files", error))?;
    let length = match ftp.size(&path) {
        Ok(length) => length as u64,
        Err(FtpError::UnexpectedResponse(reply)) if is_unknown(&reply) => {
            let error = FtpError::UnexpectedResponse(reply);
            return Err(talk.failed("the file's length", error));
        }
        Err(error) => return Err(talk.no_file(&mut ftp, &path, error)),
    };
    if rest.is_some_and(|rest| rest.length != length) {
        return Err(RemoteError::Changed(url.to_string()));
    }
    let from = rest.map_or(0, |rest| rest.from);
    let data = talk.retrieve(&mut ftp, &path, from)?;
    Ok(Part {
        length: Some(length),
        tag: None,
        stream: Box::new(Stream { ftp, data }),
    })
}

/// Whether the server does not know the command at all.
fn is_unknown(reply: &Response) -> bool {
    matches!(
        reply.status,
        Status::BadCommand
            | Status::BadArguments
            | Status::NotImplemented
            | Status::NotImplementedParameter
    )
}

/// The talk about one file.
struct Talk<'a> {
    url: &'a Url,
    silence: Duration,
    user: &'a str,
    pass: &'a str,
}

impl<'a> Talk<'a> {
    fn new(url: &'a Url, options: &Options) -> Self {
        let login = url.login.as_ref();
        let (user, pass) = login.map_or(NOBODY, |(user, pass)| (user, pass));
        Self {
            url,
            silence: options.silence,
            user,
            pass,
        }
    }

    fn connect(&self) -> Result<FtpStream, RemoteError> {
        let host = self.url.host.as_str();
        let addresses = (host, self.url.port).to_socket_addrs();
        let addresses = addresses.map_err(|source| RemoteError::Resolve {
            host: host.to_owned(),
            source,
        })?;
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for address in addresses.take(4) {
            match dial(address, self.silence) {
                Ok(stream) => return self.greet(stream),
                Err(error) => last = error,
            }
        }
        Err(RemoteError::Connect {
            url: self.url.to_string(),
            source: last,
        })
    }

    fn greet(&self, stream: TcpStream) -> Result<FtpStream, RemoteError> {
        let _watch = Watch::on(stream.try_clone().ok(), self.silence * 2);
        let ftp = FtpStream::connect_with_stream(stream);
        let mut ftp = ftp.map_err(|error| self.failed("to talk", error))?;
        // The reply to PASV may name an address that only the server's side knows.
        ftp.set_passive_nat_workaround(true);
        ftp.set_mode(Mode::ExtendedPassive);
        let silence = self.silence;
        Ok(ftp.passive_stream_builder(move |address| {
            dial(address, silence).map_err(FtpError::ConnectionError)
        }))
    }

    fn log_in(&self, ftp: &mut FtpStream) -> Result<(), RemoteError> {
        match ftp.login(self.user, self.pass) {
            Err(FtpError::UnexpectedResponse(reply)) if reply.status == Status::NotLoggedIn => {
                Err(RemoteError::Login {
                    url: self.url.to_string(),
                    user: self.user.to_owned(),
                    reply: words(&reply),
                })
            }
            result => result.map_err(|error| self.failed("the login", error)),
        }
    }

    /// Asks for the file in the extended passive mode, and in the old one if the server
    /// knows no other.
    fn retrieve(
        &self,
        ftp: &mut FtpStream,
        path: &str,
        from: u64,
    ) -> Result<Box<dyn Read + Send>, RemoteError> {
        let from = usize::try_from(from).unwrap_or(usize::MAX);
        let mut last = None;
        for mode in [Mode::ExtendedPassive, Mode::Passive] {
            ftp.set_mode(mode);
            // It never fails here: the offset is sent right before the file is asked for.
            let _ = ftp.resume_transfer(from);
            match ftp.retr_as_stream(path) {
                Ok(stream) => return Ok(Box::new(stream)),
                Err(FtpError::UnexpectedResponse(reply)) if is_unknown(&reply) => {
                    last = Some(FtpError::UnexpectedResponse(reply));
                }
                Err(error) => return Err(self.no_file(ftp, path, error)),
            }
        }
        if from > 0 {
            return Err(RemoteError::NoRest(self.url.to_string()));
        }
        let error = last.unwrap_or(FtpError::BadResponse);
        Err(self.failed("passive mode", error))
    }

    /// What it means that the server does not give the file: perhaps a folder above it is
    /// missing.
    fn no_file(&self, ftp: &mut FtpStream, path: &str, error: FtpError) -> RemoteError {
        let reply = match error {
            FtpError::UnexpectedResponse(reply) if reply.status == Status::FileUnavailable => reply,
            error => return self.failed("the file", error),
        };
        let mut reply = words(&reply);
        for (slash, _) in path.match_indices('/').filter(|(slash, _)| *slash > 0) {
            let folder = &path[..slash];
            if let Err(FtpError::UnexpectedResponse(answer)) = ftp.cwd(folder) {
                reply = format!("there is no folder {folder}: {}", words(&answer));
                break;
            }
        }
        RemoteError::NoFile {
            url: self.url.to_string(),
            user: self.user.to_owned(),
            reply,
        }
    }

    fn failed(&self, what: &'static str, error: FtpError) -> RemoteError {
        let url = self.url.to_string();
        match error {
            FtpError::ConnectionError(error) => RemoteError::Talk {
                url,
                source: named(error),
            },
            FtpError::UnexpectedResponse(reply) => RemoteError::Refused {
                url,
                what,
                reply: words(&reply),
            },
            error => RemoteError::Babble {
                url,
                protocol: "FTP",
                problem: error.to_string(),
            },
        }
    }
}

/// The server's words on one line, with its code.
fn words(reply: &Response) -> String {
    let text = String::from_utf8_lossy(&reply.body);
    printable(text.lines().next_back().unwrap_or_default(), 120)
}

fn dial(address: SocketAddr, silence: Duration) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, CONNECT.min(silence))?;
    stream.set_read_timeout(Some(silence))?;
    stream.set_write_timeout(Some(silence))?;
    Ok(stream)
}

/// Ends a talk that takes too long with a server that says one letter now and then.
struct Watch {
    _end: Option<Sender<()>>,
}

impl Watch {
    fn new(ftp: &FtpStream, most: Duration) -> Self {
        Self::on(ftp.get_ref().try_clone().ok(), most)
    }

    fn on(stream: Option<TcpStream>, most: Duration) -> Self {
        let guard = |stream: TcpStream| {
            let (end, ended) = channel::<()>();
            std::thread::spawn(move || {
                // Nothing is ever sent; the end of the watch ends the wait.
                if ended.recv_timeout(most) == Err(RecvTimeoutError::Timeout) {
                    let _ = stream.shutdown(Shutdown::Both);
                }
            });
            end
        };
        Self {
            _end: stream.map(guard),
        }
    }
}

/// The file, and the control connection that goes with it.
struct Stream {
    ftp: FtpStream,
    data: Box<dyn Read + Send>,
}

impl Read for Stream {
    /// The server's last word is not asked for: the length tells whether that was all.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.data.read(buffer).map_err(named)
    }
}

impl Drop for Stream {
    /// A transfer that is dropped would wait for that last word.
    fn drop(&mut self) {
        let _ = self.ftp.get_ref().shutdown(Shutdown::Both);
    }
}
