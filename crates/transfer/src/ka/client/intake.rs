//! The data that comes from one parent after another, counted and hashed as one stream.

use std::hash::Hasher;
use std::io::{self, Read};
use std::net::{Shutdown, TcpStream};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use goldring_wire::ka::own::Stream;
use rustix::net::RecvFlags;
use twox_hash::XxHash3_64;

use crate::dolly::net::readable;
use crate::ka::net;
use crate::ka::ring::Ring;

/// How often a thread that waits for room looks whether it should stop.
const GLANCE: Duration = Duration::from_millis(100);
/// How long a read waits for more than a little; each node of a chain adds as much at most to
/// the time that a byte takes to its end.
const LOOK: Duration = Duration::from_millis(50);
/// So many bytes between two words about how much has come.
const WORD: u64 = 256 << 10;

#[derive(Default)]
pub(super) struct Intake {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The number of the parent whose bytes count.
    parent: u64,
    bytes: u64,
    digest: XxHash3_64,
}

impl Intake {
    /// Another parent: its number. Of the one before nothing counts from now on.
    pub(super) fn next(&self) -> u64 {
        let mut state = self.lock();
        state.parent += 1;
        state.parent
    }

    pub(super) fn is_current(&self, parent: u64) -> bool {
        self.lock().parent == parent
    }

    /// What has come so far.
    pub(super) fn so_far(&self) -> Stream {
        let state = self.lock();
        Stream {
            bytes: state.bytes,
            digest: state.digest.finish(),
        }
    }

    /// How much has come so far, in bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.lock().bytes
    }

    /// Reads a parent's data to the end of it; gives all that has come then, unless there
    /// is another parent by now.
    pub(super) fn take(
        &self,
        parent: u64,
        stream: &TcpStream,
        ring: &Ring,
        came: &dyn Fn(u64),
    ) -> Option<Stream> {
        let mut said = 0;
        let mut source = Parent { stream, low: 1 };
        while self.is_current(parent) {
            let room = ring.room(GLANCE);
            if ring.is_stopped() {
                return None;
            }
            if room == 0 {
                continue;
            }
            let mut buffer = ring.buffer();
            let n = match source.read(&mut buffer[..room]) {
                Ok(n) => n,
                Err(error) if net::is_only_late(&error) => {
                    ring.push(buffer, 0);
                    continue;
                }
                // What broke ends as what was closed: the server knows which it is.
                Err(_) => 0,
            };
            if n == 0 {
                // Closed here at once, so that the parent knows that all has arrived.
                let _ = stream.shutdown(Shutdown::Both);
                let all = self.so_far();
                return self.is_current(parent).then_some(all);
            }
            let mut state = self.lock();
            if state.parent != parent {
                return None;
            }
            state.digest.write(&buffer[..n]);
            state.bytes += n as u64;
            // Still locked: where it is is what the ring has.
            ring.push(buffer, n);
            let bytes = state.bytes;
            drop(state);
            if bytes >= said + WORD {
                said = bytes;
                came(bytes);
            }
        }
        None
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The connection to it. A read waits until as much has come as it may take, at most
/// [`LOOK`]: on a slow link each packet would wake up this thread, the command's and each
/// child's, and each of that costs as much as thousands of bytes.
struct Parent<'a> {
    stream: &'a TcpStream,
    /// For how much a read waits.
    low: usize,
}

impl Read for Parent<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let low = bytes.len().max(1);
        if low != self.low {
            goldring_sys::low_water::set(self.stream, low)?;
            self.low = low;
        }
        // A read that waits by itself would take what is here and then wait for all of `low`
        // again.
        readable(&[self.stream], LOOK);
        let (n, _) = rustix::net::recv(self.stream, bytes, RecvFlags::DONTWAIT)?;
        Ok(n)
    }
}
