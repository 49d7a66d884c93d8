//! A server on loopback whose every connection is a story.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use goldring_transfer::fetch::{FetchError, into_file};
use goldring_transfer::remote::{Options, Remote, RemoteError, Scheme, Url, open};

/// How long a server may be silent here.
pub(crate) const SILENCE: Duration = Duration::from_millis(400);

/// What the server does with one connection, once the request is read.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    /// Sends this and closes.
    Send(Vec<u8>),
    /// Sends this, and then nothing, for so long.
    Hang(Vec<u8>, Duration),
    /// Sends this and resets the connection.
    Reset(Vec<u8>),
    /// Sends a little, again and again.
    Drip(&'static [u8]),
}

/// Acts on each connection in turn. Returns `HOST:PORT`, and the requests as they come.
pub(crate) fn server(acts: Vec<Act>) -> (String, Arc<Mutex<Vec<String>>>) {
    serve(TcpListener::bind("127.0.0.1:0").unwrap(), acts)
}

/// As [`server`], at an address of choice.
pub(crate) fn serve(listener: TcpListener, acts: Vec<Act>) -> (String, Arc<Mutex<Vec<String>>>) {
    let address = listener.local_addr().unwrap().to_string();
    let requests = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&requests);
    std::thread::spawn(move || {
        for act in acts {
            let (mut stream, _) = listener.accept().unwrap();
            let request = read_request(&mut stream);
            log.lock().unwrap().push(request);
            perform(stream, act);
        }
    });
    (address, requests)
}

fn perform(mut stream: TcpStream, act: Act) {
    match act {
        Act::Send(bytes) => drop(stream.write_all(&bytes)),
        Act::Hang(bytes, pause) => {
            let _ = stream.write_all(&bytes);
            std::thread::sleep(pause);
        }
        Act::Reset(bytes) => {
            let _ = stream.write_all(&bytes);
            // What was sent arrives first.
            std::thread::sleep(Duration::from_millis(100));
            let linger = rustix::net::sockopt::set_socket_linger;
            linger(&stream, Some(Duration::ZERO)).unwrap();
        }
        Act::Drip(bytes) => {
            while stream.write_all(bytes).is_ok() {
                std::thread::sleep(SILENCE / 4);
            }
        }
    }
    let _ = stream.shutdown(Shutdown::Both);
}

fn read_request(stream: &mut TcpStream) -> String {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).unwrap_or(0) == 0 {
            break;
        }
        request.push(byte[0]);
    }
    String::from_utf8(request).unwrap().to_ascii_lowercase()
}

pub(crate) fn options() -> Options {
    Options {
        pause: Duration::from_millis(10),
        ..Options::new(SILENCE)
    }
}

/// `http://SERVER/cs4/file`.
pub(crate) fn url(server: &str) -> Url {
    Url::on_server(Scheme::Http, server, "/cs4", "file").unwrap()
}

/// An answer with this header and body.
pub(crate) fn answer(head: &str, body: &[u8]) -> Vec<u8> {
    let head = head.replace('\n', "\r\n");
    [head.as_bytes(), b"\r\n\r\n", body].concat()
}

pub(crate) fn opened(acts: Vec<Act>) -> Result<Remote, RemoteError> {
    open(&url(&server(acts).0), &options())
}

/// The error, with all its sources on a line.
pub(crate) fn line(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", line(source)),
        None => error.to_string(),
    }
}

/// Takes a file with the length that its server told.
pub(crate) fn taken(mut remote: Remote) -> Result<Vec<u8>, FetchError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let length = remote.length().unwrap();
    let digest = into_file(&mut remote, length, &path, SILENCE * 5, &mut |_| {})?;
    let bytes = std::fs::read(&path).unwrap();
    let mut whole = goldring_transfer::digest::Sha256::default();
    whole.add(&bytes);
    assert_eq!(digest, whole.hex());
    Ok(bytes)
}
