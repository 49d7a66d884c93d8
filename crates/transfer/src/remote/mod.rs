//! A file on a web or FTP server as a stream that survives a connection that breaks: the
//! rest is asked for again, from the byte that is missing.

mod ftp;
mod http;
mod problem;
mod proxied;
#[cfg(feature = "https")]
mod tls;
mod url;

use std::fmt;
use std::io::{self, Read};
use std::time::Duration;

use goldring_contract::sentences::chain;

pub use self::problem::RemoteError;
pub use self::url::{Scheme, Url, UrlError};

/// How often in a row the rest of a file is asked for before the fetch fails…
const RESUMPTIONS: u32 = 4;
/// … where a connection that brought this many bytes ends the row.
const PROGRESS: u64 = 64 * 1024;

/// How a file is fetched.
#[derive(Debug, Clone)]
pub struct Options {
    /// How long the server may send nothing, before the file and inside it.
    pub silence: Duration,
    /// How long to wait before the rest of a file is asked for; doubles with each time in
    /// a row.
    pub pause: Duration,
    /// Ask this computer instead.
    pub proxy: Option<Proxy>,
    /// Who may sign the certificates of https servers: PEM.
    pub roots: Option<Vec<u8>>,
    /// Told when a connection breaks and is made again, for a person.
    pub tell: fn(&str),
}

impl Options {
    /// No proxy, no https, nobody to tell.
    #[must_use]
    pub fn new(silence: Duration) -> Self {
        Self {
            silence,
            pause: Duration::from_secs(1),
            proxy: None,
            roots: None,
            tell: |_| {},
        }
    }
}

/// A proxy for http: it takes whole URLs, and CONNECT for https (RFC 9112, section 3.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    /// Name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
}

impl Proxy {
    /// `host` as a person writes it; an IPv6 address may have brackets.
    ///
    /// # Errors
    /// It is no host.
    pub fn new(host: &str, port: u16) -> Result<Self, UrlError> {
        let url = Url::on_server(Scheme::Http, host, "", "")?;
        Ok(Self {
            host: url.host,
            port,
        })
    }

    fn url(&self) -> Url {
        Url {
            scheme: Scheme::Http,
            host: self.host.clone(),
            port: self.port,
            path: "/".to_owned(),
            login: None,
        }
    }
}

/// What is missing of a file.
#[derive(Debug)]
struct Rest<'a> {
    /// Where it begins.
    from: u64,
    /// The length of the whole file.
    length: u64,
    /// What the server called this state of the file.
    tag: Option<&'a str>,
}

/// One connection that delivers a file or the rest of it.
struct Part {
    /// The length of the whole file, in bytes.
    length: Option<u64>,
    tag: Option<String>,
    stream: Box<dyn Read + Send>,
}

fn part(url: &Url, options: &Options, rest: Option<&Rest<'_>>) -> Result<Part, RemoteError> {
    match url.scheme {
        Scheme::Ftp if options.proxy.is_none() => ftp::part(url, options, rest),
        _ => http::part(url, options, rest),
    }
}

/// A file that is arriving.
pub struct Remote {
    url: Url,
    options: Options,
    part: Part,
    /// Bytes that arrived.
    at: u64,
    /// `at` when the connection was made.
    begun: u64,
    /// How often in a row it broke.
    breaks: u32,
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Remote({}, {} of {:?})",
            self.url, self.at, self.part.length
        )
    }
}

/// Whether this program can fetch from there at all; asks nobody.
///
/// # Errors
/// https, without somebody to trust.
pub fn check(url: &Url, options: &Options) -> Result<(), RemoteError> {
    let https = cfg!(feature = "https") && options.roots.is_some();
    if url.scheme == Scheme::Https && !https {
        return Err(RemoteError::NoTls(url.to_string()));
    }
    Ok(())
}

/// Asks for a file.
///
/// # Errors
/// See [`RemoteError`].
pub fn open(url: &Url, options: &Options) -> Result<Remote, RemoteError> {
    Ok(Remote {
        part: part(url, options, None)?,
        url: url.clone(),
        options: options.clone(),
        at: 0,
        begun: 0,
        breaks: 0,
    })
}

impl Remote {
    /// The file's length in bytes, when the server tells it.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        self.part.length
    }

    /// Asks for the rest after `broke` ended a connection.
    fn resume(&mut self, broke: io::Error) -> io::Result<()> {
        let Some(length) = self.part.length else {
            return Err(broke);
        };
        self.part.stream = Box::new(io::empty());
        if self.at - self.begun >= PROGRESS {
            self.breaks = 0;
        }
        self.begun = self.at;
        let mut cause = broke;
        while self.breaks < RESUMPTIONS {
            let pause = self.options.pause * 2u32.pow(self.breaks);
            self.breaks += 1;
            (self.options.tell)(&format!(
                "{}: broken off after {} of {length} bytes ({}); asking for the rest in {pause:?}",
                self.url,
                self.at,
                chain(&cause),
            ));
            std::thread::sleep(pause);
            let rest = Rest {
                from: self.at,
                length,
                tag: self.part.tag.as_deref(),
            };
            match part(&self.url, &self.options, Some(&rest)) {
                Ok(part) => {
                    self.part.stream = part.stream;
                    return Ok(());
                }
                Err(error) if error.ends_the_try() => return Err(io::Error::other(error)),
                Err(error) => cause = io::Error::other(error),
            }
        }
        Err(cause)
    }
}

impl Read for Remote {
    /// Fails when the connection broke and could not be made again in time; `TimedOut` is
    /// a server that fell silent.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let whole = self.part.length.is_none_or(|length| self.at >= length);
            let broke = match self.part.stream.read(buffer) {
                Ok(0) if whole || buffer.is_empty() => return Ok(0),
                Ok(0) => closed(),
                Ok(length) => {
                    self.at += length as u64;
                    return Ok(length);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => error,
            };
            self.resume(broke)?;
        }
    }
}

fn closed() -> io::Error {
    io::Error::new(
        io::ErrorKind::UnexpectedEof,
        "the server closed the connection",
    )
}

fn silent() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the server fell silent")
}

/// Calls what broke by its name: a read that timed out shows as `WouldBlock` on Linux.
fn named(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => silent(),
        io::ErrorKind::UnexpectedEof => closed(),
        _ => error,
    }
}
