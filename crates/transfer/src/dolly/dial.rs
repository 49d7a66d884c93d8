//! Connecting to children: data first, then control, again and again until both are
//! there. An old program gave up when a child was unreachable; a node that is still in
//! its BIOS is just that, so here it is only waited for.

use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use goldring_contract::limits::{DOLLY_CONTROL_PORT, DOLLY_DATA_PORT};

use super::net::{Pair, tune};

/// Between two tries (dolly 0.57: 1 s).
const PAUSE: Duration = Duration::from_secs(1);
/// A computer that is off does not answer at all.
const CONNECT: Duration = Duration::from_secs(3);

/// Connects to several children at the same time.
#[derive(Debug)]
pub(super) struct Dialer {
    names: Vec<String>,
    stall: Duration,
    stop: Arc<AtomicBool>,
    home: Sender<(usize, Pair)>,
    arrived: Receiver<(usize, Pair)>,
    reasons: Arc<Mutex<Vec<Option<String>>>>,
}

impl Dialer {
    /// Starts to connect to all of `names`.
    pub(super) fn start(names: Vec<String>, stall: Duration) -> Self {
        let (home, arrived) = mpsc::channel();
        let dialer = Self {
            reasons: Arc::new(Mutex::new(vec![None; names.len()])),
            names,
            stall,
            stop: Arc::new(AtomicBool::new(false)),
            home,
            arrived,
        };
        for child in 0..dialer.names.len() {
            dialer.dial(child);
        }
        dialer
    }

    /// Connects to a child (again).
    pub(super) fn dial(&self, child: usize) {
        let Some(name) = self.names.get(child).cloned() else {
            return;
        };
        let (home, stall) = (self.home.clone(), self.stall);
        let (stop, reasons) = (Arc::clone(&self.stop), Arc::clone(&self.reasons));
        let work = move || {
            while !stop.load(Ordering::Acquire) {
                match connect(&name, stall) {
                    Ok(pair) => {
                        // Nobody listens any more when the ring is over.
                        let _ = home.send((child, pair));
                        return;
                    }
                    Err(error) => {
                        let mut reasons = reasons.lock().unwrap_or_else(PoisonError::into_inner);
                        reasons[child] = Some(error.to_string());
                    }
                }
                thread::sleep(PAUSE);
            }
        };
        let spawned = thread::Builder::new().name("dial".to_owned()).spawn(work);
        if let Err(error) = spawned {
            let mut reasons = self.reasons.lock().unwrap_or_else(PoisonError::into_inner);
            reasons[child] = Some(error.to_string());
        }
    }

    /// A child that answered since the last call.
    pub(super) fn arrived(&self) -> Option<(usize, Pair)> {
        self.arrived.try_recv().ok()
    }

    /// Why the child of this name is not connected, as far as is known.
    pub(super) fn reason(&self, name: &str) -> Option<String> {
        let child = self.names.iter().position(|n| n == name)?;
        let reasons = self.reasons.lock().unwrap_or_else(PoisonError::into_inner);
        reasons.get(child).cloned().flatten()
    }
}

impl Drop for Dialer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
    }
}

/// One try. Half a pair is closed by leaving.
fn connect(name: &str, stall: Duration) -> io::Result<Pair> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no IPv4 address");
    let addresses = (name, DOLLY_DATA_PORT).to_socket_addrs()?;
    for address in addresses.filter(SocketAddr::is_ipv4) {
        match connect_both(address, stall) {
            Ok(pair) => return Ok(pair),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn connect_both(address: SocketAddr, stall: Duration) -> io::Result<Pair> {
    let data = TcpStream::connect_timeout(&address, CONNECT)?;
    let control = SocketAddr::new(address.ip(), DOLLY_CONTROL_PORT);
    let control = TcpStream::connect_timeout(&control, CONNECT)?;
    for stream in [&data, &control] {
        tune(stream, stall)?;
    }
    control.set_write_timeout(Some(CONNECT))?;
    Ok(Pair { data, control })
}
