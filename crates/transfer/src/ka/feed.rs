//! Data connections to children: each has a thread that listens to what old ones say to
//! show that they live, and, once it is served, a thread that sends the stream.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::thread;

use goldring_wire::ka::server::DataId;

use super::ring::{Ring, Step};

/// What happens on a data connection.
#[derive(Debug)]
pub(super) enum FeedEvent {
    /// Somebody connects.
    Called(TcpStream, Ipv4Addr),
    /// The peer has closed it, or it broke.
    Ended(DataId),
}

/// What a connection that nobody has authorised may send in all, in bytes.
const CHATTER: usize = 64 << 10;

/// All data connections to children, served or not.
#[derive(Debug)]
pub(super) struct Feeds<M> {
    links: HashMap<DataId, Link>,
    next: u64,
    tell: SyncSender<M>,
    wrap: fn(FeedEvent) -> M,
}

#[derive(Debug)]
struct Link {
    stream: Arc<TcpStream>,
    is_served: bool,
    /// All was sent to its end.
    is_sent: Arc<AtomicBool>,
}

impl<M: Send + 'static> Feeds<M> {
    pub(super) fn new(tell: SyncSender<M>, wrap: fn(FeedEvent) -> M) -> Self {
        Self {
            links: HashMap::new(),
            next: 0,
            tell,
            wrap,
        }
    }

    /// A new connection.
    pub(super) fn add(&mut self, stream: TcpStream) -> DataId {
        self.next += 1;
        let id = DataId(self.next);
        let stream = Arc::new(stream);
        let listener = Arc::clone(&stream);
        let (tell, wrap) = (self.tell.clone(), self.wrap);
        let listen = move || {
            listen(&listener);
            // Nobody listens any more at the end of the session.
            let _ = tell.send(wrap(FeedEvent::Ended(id)));
        };
        // Without a thread it cannot be watched, so it ends at once.
        if spawn("listen", listen).is_err() {
            let _ = stream.shutdown(Shutdown::Both);
        }
        self.links.insert(
            id,
            Link {
                stream,
                is_served: false,
                is_sent: Arc::default(),
            },
        );
        id
    }

    /// Sends the stream from this byte on; false when that is no longer kept.
    pub(super) fn serve(&mut self, id: DataId, offset: u64, ring: &Arc<Ring>) -> bool {
        let Some(link) = self.links.get_mut(&id) else {
            return true;
        };
        let Some(reader) = ring.reader(offset) else {
            return false;
        };
        link.is_served = true;
        let stream = Arc::clone(&link.stream);
        let is_sent = Arc::clone(&link.is_sent);
        let work = move || {
            let mut reader = reader;
            loop {
                match reader.next() {
                    Step::Bytes(chunk, from) => {
                        let bytes = &chunk[from..];
                        if (&*stream).write_all(bytes).is_err() {
                            // Whoever listens there sees the end.
                            let _ = stream.shutdown(Shutdown::Both);
                            return;
                        }
                        reader.advance(bytes.len());
                    }
                    Step::End => {
                        // Half open: a late sign of life must not destroy what is on its way.
                        is_sent.store(true, Ordering::SeqCst);
                        let _ = stream.shutdown(Shutdown::Write);
                        return;
                    }
                    Step::Stopped => return,
                }
            }
        };
        if spawn("feed", work).is_err() {
            let _ = link.stream.shutdown(Shutdown::Both);
        }
        true
    }

    /// A connection has ended; whether its child had got everything.
    pub(super) fn ended(&mut self, id: DataId) -> Option<bool> {
        let link = self.links.remove(&id)?;
        let is_sent = link.is_sent.load(Ordering::SeqCst);
        if !is_sent {
            let _ = link.stream.shutdown(Shutdown::Both);
        }
        Some(is_sent)
    }

    /// Closes one.
    pub(super) fn drop(&mut self, id: DataId) {
        if let Some(link) = self.links.remove(&id) {
            let _ = link.stream.shutdown(Shutdown::Both);
        }
    }

    /// Whether somebody is still being served.
    pub(super) fn is_busy(&self) -> bool {
        self.links.values().any(|link| link.is_served)
    }

    /// Closes all.
    pub(super) fn close(&mut self) {
        for (_, link) in self.links.drain() {
            let _ = link.stream.shutdown(Shutdown::Both);
        }
    }
}

/// Reads what a child says until it ends. Only old ones say anything: four bytes in
/// fifty seconds.
fn listen(mut stream: &TcpStream) {
    let mut left = CHATTER;
    let mut bytes = [0; 512];
    while let Ok(n) = stream.read(&mut bytes) {
        if n == 0 || n > left {
            break;
        }
        left -= n;
    }
    let _ = stream.shutdown(Shutdown::Read);
}

/// A thread with little memory of its own; there may be hundreds.
pub(super) fn spawn(
    name: &str,
    work: impl FnOnce() + Send + 'static,
) -> std::io::Result<thread::JoinHandle<()>> {
    let builder = thread::Builder::new().name(name.into());
    builder.stack_size(256 << 10).spawn(work)
}
