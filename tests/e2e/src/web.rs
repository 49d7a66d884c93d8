//! A web server on loopback that serves one file, well or badly.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Result;

/// How the server treats a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Serves the file.
    Honest,
    /// 404.
    NotFound,
    /// Announces the whole file, sends half of it and closes.
    Cut,
    /// Sends the file with one byte changed.
    Changed,
    /// The first request is cut, the next ones are served.
    CutOnce,
}

/// A server that lives as long as the test process.
#[derive(Debug)]
pub struct Web {
    /// Its port on loopback.
    pub port: u16,
    /// How many requests came.
    pub requests: Arc<AtomicUsize>,
}

impl Web {
    /// Starts to serve `file` for every path.
    ///
    /// # Errors
    /// No port is free.
    pub fn start(file: Vec<u8>, manner: Manner) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        let requests = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&requests);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let number = counter.fetch_add(1, Ordering::SeqCst);
                // A client that hangs up early is its own affair.
                let _ = answer(stream, &file, manner, number);
            }
        });
        Ok(Self { port, requests })
    }
}

fn answer(mut stream: TcpStream, file: &[u8], manner: Manner, number: usize) -> Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    while lines
        .next()
        .transpose()?
        .is_some_and(|line| !line.is_empty())
    {}
    if manner == Manner::NotFound {
        stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")?;
        return Ok(());
    }
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
        file.len()
    )?;
    let half = file.len() / 2;
    stream.write_all(&file[..half])?;
    match manner {
        Manner::Cut => {}
        Manner::CutOnce if number == 0 => {}
        Manner::Changed => {
            stream.write_all(&[file[half] ^ 1])?;
            stream.write_all(&file[half + 1..])?;
        }
        _ => stream.write_all(&file[half..])?,
    }
    stream.shutdown(Shutdown::Write)?;
    Ok(())
}
