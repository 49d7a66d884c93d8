//! A web client for one thing: GET a file whose length the server must tell.
//!
//! Own code instead of minreq, which has one deadline for a whole request: a slow but
//! living download of a large file would be cut, and without the deadline a dead one
//! would wait for ever. Here silence is what counts (RFC 9112 for the message format,
//! RFC 9110 for the status codes).

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

/// The longest header that is read, in bytes.
const HEAD_MAX: usize = 16 * 1024;
/// How often a server may send us elsewhere.
const REDIRECTS: u32 = 5;
/// How long one address may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(10);

/// Where a file is: `http://HOST:PORT/PATH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    /// Name or address.
    pub host: String,
    /// 80 when none was written.
    pub port: u16,
    /// Begins with a slash.
    pub path: String,
}

impl Url {
    /// The place of `file` on `server` (`HOST`, `HOST:PORT`, with or without
    /// `http://`) below `directory` (with or without slashes around it).
    ///
    /// # Errors
    /// [`HttpError::Server`] for a port that is none, or an empty host.
    pub fn new(server: &str, directory: &str, file: &str) -> Result<Self, HttpError> {
        let (host, port) = authority(server.strip_prefix("http://").unwrap_or(server))
            .ok_or_else(|| HttpError::Server(server.to_owned()))?;
        let folder = directory.trim_matches('/');
        let slash = if folder.is_empty() { "" } else { "/" };
        Ok(Self {
            host,
            port,
            path: format!("{slash}{folder}/{}", file.trim_start_matches('/')),
        })
    }

    /// Where a `Location` header points to, seen from here.
    fn redirected(&self, location: &str) -> Option<Self> {
        if let Some(rest) = location.strip_prefix("http://") {
            let (server, path) = match rest.find('/') {
                Some(slash) => rest.split_at(slash),
                None => (rest, "/"),
            };
            let (host, port) = authority(server)?;
            let path = path.to_owned();
            return Some(Self { host, port, path });
        }
        location.starts_with('/').then(|| Self {
            path: location.to_owned(),
            ..self.clone()
        })
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            80 => write!(f, "http://{}{}", self.host, self.path),
            port => write!(f, "http://{}:{port}{}", self.host, self.path),
        }
    }
}

/// Splits `HOST` or `HOST:PORT`.
fn authority(text: &str) -> Option<(String, u16)> {
    let text = text.trim_end_matches('/');
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, port.parse().ok().filter(|port| *port != 0)?),
        None => (text, 80),
    };
    let plausible = !host.is_empty() && !host.contains(|c: char| c == '/' || c.is_whitespace());
    plausible.then(|| (host.to_owned(), port))
}

/// Why there is no file. No variant repeats its source in its own words.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// `server:` makes no sense.
    #[error("server:{0} makes no sense; write server:HOST or server:HOST:PORT")]
    Server(String),
    /// The name has no address.
    #[error("{host} has no address; write the server's address instead of its name")]
    Resolve {
        /// The name.
        host: String,
        /// Why.
        source: io::Error,
    },
    /// Nobody answers there.
    #[error("{url}: no connection; is the web server running, and is its port open?")]
    Connect {
        /// What was wanted.
        url: Url,
        /// Why.
        source: io::Error,
    },
    /// The conversation broke off before the file began.
    #[error("{url}: no answer")]
    Talk {
        /// What was wanted.
        url: Url,
        /// Why.
        source: io::Error,
    },
    /// What answers is no web server.
    #[error("{url}: the answer is not HTTP ({problem})")]
    NotHttp {
        /// What was wanted.
        url: Url,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The server said no.
    #[error("{url}: {code} {reason}; {}", advice(*code))]
    Status {
        /// What was wanted.
        url: Url,
        /// The status code.
        code: u16,
        /// The server's words.
        reason: String,
    },
    /// The server does not say how long the file is, so a cut could not be noticed.
    #[error("{0}: the server tells no length; serve it as a plain file")]
    NoLength(Url),
    /// The server sends us elsewhere, to no place that we can reach.
    #[error("{url}: sent on to {location:?}, which this program cannot follow")]
    Redirect {
        /// What was wanted.
        url: Url,
        /// The `Location` header.
        location: String,
    },
}

fn advice(code: u16) -> &'static str {
    match code {
        404 | 410 => "put the file there",
        401 | 403 => "let everybody read the file",
        500..=599 => "look into the web server's log",
        _ => "the server does not want to send it",
    }
}

/// A file that is arriving.
#[derive(Debug)]
pub struct Body {
    /// Its length, in bytes, as the server said.
    pub length: u64,
    begun: io::Cursor<Vec<u8>>,
    stream: TcpStream,
}

impl Read for Body {
    /// Fails with `TimedOut` after the silence that [`get`] was given.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.begun.read(buffer)? {
            0 => self.stream.read(buffer).map_err(silent),
            length => Ok(length),
        }
    }
}

/// A read timeout shows as `WouldBlock` on Linux; call it by its name.
fn silent(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => {
            io::Error::new(io::ErrorKind::TimedOut, "the server fell silent")
        }
        io::ErrorKind::UnexpectedEof => {
            io::Error::new(error.kind(), "the server closed the connection")
        }
        _ => error,
    }
}

/// Asks for the file and reads the header. `silence` is how long the server may send
/// nothing, now and later.
///
/// # Errors
/// See [`HttpError`].
pub fn get(url: &Url, silence: Duration) -> Result<Body, HttpError> {
    let mut url = url.clone();
    for _ in 0..=REDIRECTS {
        let (head, body) = ask(&url, silence)?;
        match head.code {
            200 => {
                let length = head
                    .length
                    .ok_or_else(|| HttpError::NoLength(url.clone()))?;
                return Ok(Body { length, ..body });
            }
            301 | 302 | 303 | 307 | 308 => {
                let location = head.location.unwrap_or_default();
                match url.redirected(&location) {
                    Some(next) => url = next,
                    None => return Err(HttpError::Redirect { url, location }),
                }
            }
            code => {
                let reason = head.reason;
                return Err(HttpError::Status { url, code, reason });
            }
        }
    }
    let location = format!("{REDIRECTS} other places in turn");
    Err(HttpError::Redirect { url, location })
}

fn ask(url: &Url, silence: Duration) -> Result<(Head, Body), HttpError> {
    let mut stream = connect(url)?;
    let talk = |source| HttpError::Talk {
        url: url.clone(),
        source: silent(source),
    };
    stream.set_read_timeout(Some(silence)).map_err(talk)?;
    stream.set_write_timeout(Some(silence)).map_err(talk)?;
    let port = match url.port {
        80 => String::new(),
        port => format!(":{port}"),
    };
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: {}{port}\r\nUser-Agent: goldring\r\nConnection: close\r\n\r\n",
        url.path, url.host
    );
    stream.write_all(request.as_bytes()).map_err(talk)?;

    let deadline = Instant::now() + silence * 2;
    let mut bytes = Vec::new();
    let mut part = [0; 4096];
    let end = loop {
        let length = stream.read(&mut part).map_err(talk)?;
        bytes.extend(&part[..length]);
        if let Some(end) = end_of_head(&bytes) {
            break end;
        }
        let problem = match length {
            0 if bytes.is_empty() => return Err(talk(io::ErrorKind::UnexpectedEof.into())),
            _ if !begins_like_http(&bytes) => "no status line",
            0 => "it ends within its header",
            _ if bytes.len() > HEAD_MAX || Instant::now() > deadline => "its header has no end",
            _ => continue,
        };
        let url = url.clone();
        return Err(HttpError::NotHttp { url, problem });
    };
    let head = Head::parse(&bytes[..end]).map_err(|problem| HttpError::NotHttp {
        url: url.clone(),
        problem,
    })?;
    let begun = io::Cursor::new(bytes.split_off(end));
    let length = 0;
    Ok((
        head,
        Body {
            length,
            begun,
            stream,
        },
    ))
}

fn connect(url: &Url) -> Result<TcpStream, HttpError> {
    let resolve = |source| HttpError::Resolve {
        host: url.host.clone(),
        source,
    };
    let addresses = (url.host.as_str(), url.port)
        .to_socket_addrs()
        .map_err(resolve)?;
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses.take(4) {
        match TcpStream::connect_timeout(&address, CONNECT) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(HttpError::Connect {
        url: url.clone(),
        source: last,
    })
}

/// Whether these bytes may become `HTTP/…`.
fn begins_like_http(bytes: &[u8]) -> bool {
    bytes.iter().zip(b"HTTP/").all(|(a, b)| a == b)
}

/// Where the empty line ends that ends the header.
fn end_of_head(bytes: &[u8]) -> Option<usize> {
    let crlf = bytes
        .windows(4)
        .position(|w| w == b"\r\n\r\n")
        .map(|at| at + 4);
    let lf = bytes.windows(2).position(|w| w == b"\n\n").map(|at| at + 2);
    [crlf, lf].into_iter().flatten().min()
}

/// What matters of a response's header.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    code: u16,
    reason: String,
    length: Option<u64>,
    location: Option<String>,
}

impl Head {
    fn parse(bytes: &[u8]) -> Result<Self, &'static str> {
        let text = String::from_utf8_lossy(bytes);
        let mut lines = text.lines();
        let status = lines.next().unwrap_or_default();
        let mut words = status.splitn(3, ' ');
        if !words.next().unwrap_or_default().starts_with("HTTP/") {
            return Err("no status line");
        }
        let code = words
            .next()
            .filter(|code| code.len() == 3)
            .and_then(|code| code.parse().ok())
            .ok_or("no status code")?;
        let reason = words.next().unwrap_or_default();
        let mut head = Self {
            code,
            reason: printable(reason, 60),
            length: None,
            location: None,
        };
        let mut chunked = false;
        for line in lines {
            let Some((name, value)) = line.split_once(':') else {
                continue;
            };
            let value = value.trim();
            match name.to_ascii_lowercase().as_str() {
                "content-length" => {
                    let length = value.parse().map_err(|_| "its length is no number")?;
                    if head.length.is_some_and(|other| other != length) {
                        return Err("it has two lengths");
                    }
                    head.length = Some(length);
                }
                "transfer-encoding" => chunked = true,
                "location" => head.location = Some(printable(value, 500)),
                _ => {}
            }
        }
        if chunked {
            // RFC 9112, section 6.3: the encoding wins over the length.
            head.length = None;
        }
        Ok(head)
    }
}

/// What a server wrote, cut and without what would upset a console.
fn printable(text: &str, most: usize) -> String {
    text.chars()
        .filter(|c| !c.is_control())
        .take(most)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_and_folders_as_people_write_them() {
        let file = "install/stage2/rescue.clp";
        let table = [
            (
                "10.0.1.1",
                "/cs4",
                "http://10.0.1.1/cs4/install/stage2/rescue.clp",
            ),
            (
                "10.0.1.1:8080",
                "cs4/",
                "http://10.0.1.1:8080/cs4/install/stage2/rescue.clp",
            ),
            (
                "http://boot.lan/",
                "",
                "http://boot.lan/install/stage2/rescue.clp",
            ),
            ("boot:80", "/", "http://boot/install/stage2/rescue.clp"),
        ];
        for (server, directory, expected) in table {
            let url = Url::new(server, directory, file).unwrap();
            assert_eq!(url.to_string(), expected);
        }
        for server in ["", ":80", "h:0", "h:99999", "h:port", "a b", "h/x"] {
            let error = Url::new(server, "", file).unwrap_err().to_string();
            assert!(error.contains("makes no sense"), "{server}: {error}");
        }
    }

    #[test]
    fn redirects_are_followed_where_that_is_possible() {
        let url = Url::new("h:8080", "a", "b").unwrap();
        let to = |location| url.redirected(location).map(|url| url.to_string());
        assert_eq!(to("/x").as_deref(), Some("http://h:8080/x"));
        assert_eq!(to("http://k/x").as_deref(), Some("http://k/x"));
        assert_eq!(to("http://k").as_deref(), Some("http://k/"));
        assert_eq!(to("https://k/x"), None);
        assert_eq!(to(""), None);
    }

    #[test]
    fn headers_are_read() {
        let head = Head::parse(b"HTTP/1.0 200 OK\r\ncontent-LENGTH: 17 \r\nX: y\r\n\r\n").unwrap();
        assert_eq!((head.code, head.length), (200, Some(17)));
        let head = Head::parse(b"HTTP/1.1 302\nLocation: /x\n\n").unwrap();
        assert_eq!(head.location.as_deref(), Some("/x"));
        let chunked = Head::parse(
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        );
        assert_eq!(chunked.unwrap().length, None);
        for ugly in [
            &b"220 ftp ready\r\n\r\n"[..],
            b"HTTP/1.1 OK\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            b"\xff\xfe\r\n\r\n",
            b"",
        ] {
            assert!(Head::parse(ugly).is_err(), "{ugly:?}");
        }
    }
}
