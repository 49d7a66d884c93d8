//! The control port: single commands, answered while everything else goes on.

use std::net::{IpAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use std::io::{PipeWriter, Read, Write};
use std::os::fd::AsFd;

use goldring_wire::dollyplus::packet::Command;

use super::admission::Admission;
use super::crew::Closing;
use super::link::{Trouble, read_command};
use crate::dolly::net::readable;

/// A desk that nobody calls looks around after this.
const LOOK: Duration = Duration::from_secs(60);
/// How long a caller may take to say what it wants.
const HEAR: Duration = Duration::from_secs(3);
/// What is taken to see how fast that goes, at most, and for how long.
const PROBE: (u64, Duration) = (256 << 20, Duration::from_secs(10));

/// Understands commands.
pub(super) trait Answer: Send + Sync {
    /// The answer to a command, if it has one.
    fn answer(&self, command: Command, from: IpAddr) -> Option<Command>;
    /// Somebody sent something else.
    fn dropped(&self, from: IpAddr, why: &Trouble);
}

/// An open desk; closes when it is dropped, and then its port is free.
#[derive(Debug)]
pub(super) struct Desk {
    open: Option<PipeWriter>,
    clerk: Option<JoinHandle<()>>,
}

impl Desk {
    /// Answers callers in threads of its own.
    pub(super) fn open(listener: TcpListener, answers: Arc<dyn Answer>) -> std::io::Result<Self> {
        let (closing, open) = Closing::new()?;
        let door = Admission::default();
        let work = move || {
            loop {
                match readable(&[listener.as_fd(), closing.as_fd()], LOOK)[..] {
                    [_, true] => return,
                    [true, _] => {}
                    _ => continue,
                }
                let Ok((stream, from)) = listener.accept() else {
                    continue;
                };
                let Some(caller) = door.admit(from.ip()) else {
                    continue;
                };
                let answers = Arc::clone(&answers);
                let serve = move || {
                    let caller = caller;
                    serve(stream, caller.from, answers.as_ref());
                };
                // Without a thread there is no answer, and whoever asked asks again.
                let _ = thread::Builder::new()
                    .name("caller".to_owned())
                    .spawn(serve);
            }
        };
        let clerk = thread::Builder::new().name("desk".to_owned()).spawn(work)?;
        let clerk = Some(clerk);
        let open = Some(open);
        Ok(Self { open, clerk })
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        drop(self.open.take());
        if let Some(clerk) = self.clerk.take() {
            // One that crashed has let go of the port as well.
            let _ = clerk.join();
        }
    }
}

fn serve(mut stream: TcpStream, from: IpAddr, answers: &dyn Answer) {
    let ready = stream
        .set_nonblocking(false)
        .and_then(|()| stream.set_read_timeout(Some(HEAR)))
        .and_then(|()| stream.set_write_timeout(Some(HEAR)));
    if ready.is_err() {
        return;
    }
    match read_command(&mut stream) {
        Ok(command) => {
            let probe = command == Command::Probe;
            if let Some(answer) = answers.answer(command, from) {
                if probe && swallow(&mut stream).is_err() {
                    return;
                }
                // Whoever hung up does not want it.
                let _ = stream.write_all(&answer.encode());
            }
        }
        // A look whether somebody listens here is no reason for a line.
        Err(Trouble::End) => {}
        Err(why) => answers.dropped(from, &why),
    }
}

/// Takes what comes until its end.
fn swallow(stream: &mut TcpStream) -> std::io::Result<()> {
    let (most, limit) = PROBE;
    let (mut left, start) = (most, Instant::now());
    let mut bytes = vec![0; 128 << 10];
    loop {
        let n = stream.read(&mut bytes)? as u64;
        left = left.saturating_sub(n);
        if n == 0 {
            return Ok(());
        }
        if left == 0 || start.elapsed() >= limit {
            return Err(std::io::ErrorKind::TimedOut.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Pong;

    impl Answer for Pong {
        fn answer(&self, command: Command, _: IpAddr) -> Option<Command> {
            (command == Command::Ping).then(|| Command::Status("here".to_owned()))
        }

        fn dropped(&self, _: IpAddr, _: &Trouble) {}
    }

    #[test]
    fn somebody_who_holds_many_silent_connections_keeps_nobody_else_away() {
        let listener = TcpListener::bind("0.0.0.0:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let _desk = Desk::open(listener, Arc::new(Pong)).unwrap();
        let silent: Vec<TcpStream> = (0..200)
            .map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap())
            .collect();
        // The same computer by another address.
        let from = std::net::SocketAddr::from(([127, 0, 0, 2], 0));
        let socket = rustix::net::socket(
            rustix::net::AddressFamily::INET,
            rustix::net::SocketType::STREAM,
            None,
        )
        .unwrap();
        rustix::net::bind(&socket, &from).unwrap();
        let to = std::net::SocketAddr::from(([127, 0, 0, 1], port));
        rustix::net::connect(&socket, &to).unwrap();
        let mut other = TcpStream::from(socket);
        other.set_read_timeout(Some(HEAR / 2)).unwrap();
        other.write_all(&Command::Ping.encode()).unwrap();
        let mut answer = [0; 12];
        other.read_exact(&mut answer).unwrap();
        assert!(answer.ends_with(b"here"), "{answer:?}");
        drop(silent);
    }
}
