//! Connecting to children: data first, then control, again and again until both are
//! there; then the links over other networks, if there are any. An old program gave up
//! when a child was unreachable; a node that is still in its BIOS is just that, so here
//! it is only waited for.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use goldring_contract::limits::{DOLLY_CONTROL_PORT, DOLLY_DATA_PORT};
use goldring_wire::dolly::config::{Config, Networks};

use super::net::{self, Pair, tune};

/// Between two tries (dolly 0.57: 1 s).
const PAUSE: Duration = Duration::from_secs(1);
/// A computer that is off does not answer at all.
const CONNECT: Duration = Duration::from_secs(3);

/// How children are connected to.
#[derive(Debug, Clone)]
pub struct Manner {
    /// How long a connection may stand still.
    pub stall: Duration,
    /// The largest TCP segment of a data connection, in bytes.
    pub segsize: Option<u32>,
    /// The other networks over which data goes.
    pub networks: Option<Networks>,
}

impl Manner {
    /// As the configuration says.
    pub fn of(config: &Config, stall: Duration) -> Self {
        Self {
            stall,
            segsize: config.segsize,
            networks: config.networks.clone(),
        }
    }

    /// How many data connections there are to each child.
    pub(super) fn links(&self) -> usize {
        self.networks.as_ref().map_or(1, Networks::links)
    }

    fn primary(&self, name: &str) -> String {
        match &self.networks {
            Some(networks) => networks.primary(name),
            None => name.to_owned(),
        }
    }

    fn further(&self, name: &str) -> Vec<String> {
        let networks = self.networks.as_ref();
        networks.map_or_else(Vec::new, |networks| networks.further(name))
    }
}

/// What came about.
#[derive(Debug)]
pub(super) enum Arrival {
    /// Control and the first data connection to this child.
    Pair(usize, Pair),
    /// Its next data connection.
    Link(usize, TcpStream),
}

/// Connects to several children at the same time.
#[derive(Debug)]
pub(super) struct Dialer {
    names: Vec<String>,
    shared: Arc<Shared>,
    home: Sender<(u64, Arrival)>,
    arrived: Receiver<(u64, Arrival)>,
}

#[derive(Debug)]
struct Shared {
    manner: Manner,
    stop: AtomicBool,
    /// Of each child: how often it was dialled. A thread of an earlier time ends.
    times: Vec<AtomicU64>,
    reasons: Mutex<Vec<Option<String>>>,
}

impl Shared {
    fn is_current(&self, child: usize, time: u64) -> bool {
        !self.stop.load(Ordering::Acquire) && self.times[child].load(Ordering::Acquire) == time
    }

    fn explain(&self, child: usize, error: &io::Error) {
        let mut reasons = self.reasons.lock().unwrap_or_else(PoisonError::into_inner);
        reasons[child] = Some(error.to_string());
    }

    /// Tries until it works or nobody wants it any more.
    fn until<T>(&self, (child, time): (usize, u64), once: impl Fn() -> io::Result<T>) -> Option<T> {
        while self.is_current(child, time) {
            match once() {
                Ok(done) => return Some(done),
                Err(error) => self.explain(child, &error),
            }
            thread::sleep(PAUSE);
        }
        None
    }
}

impl Dialer {
    /// Starts to connect to all of `names`.
    pub(super) fn start(names: Vec<String>, manner: Manner) -> Self {
        let (home, arrived) = mpsc::channel();
        let shared = Shared {
            manner,
            stop: AtomicBool::new(false),
            times: names.iter().map(|_| AtomicU64::new(0)).collect(),
            reasons: Mutex::new(vec![None; names.len()]),
        };
        let dialer = Self {
            names,
            shared: Arc::new(shared),
            home,
            arrived,
        };
        for child in 0..dialer.names.len() {
            dialer.dial(child);
        }
        dialer
    }

    /// Connects to a child (again). What is on its way from before is worthless.
    pub(super) fn dial(&self, child: usize) {
        let Some(name) = self.names.get(child).cloned() else {
            return;
        };
        let time = self.shared.times[child].fetch_add(1, Ordering::AcqRel) + 1;
        let (home, shared) = (self.home.clone(), Arc::clone(&self.shared));
        let work = move || call(&shared, &home, &name, (child, time));
        let spawned = thread::Builder::new().name("dial".to_owned()).spawn(work);
        if let Err(error) = spawned {
            self.shared.explain(child, &error);
        }
    }

    /// What came about since the last call.
    pub(super) fn arrived(&self) -> Option<Arrival> {
        loop {
            let (time, arrival) = self.arrived.try_recv().ok()?;
            let (Arrival::Pair(child, _) | Arrival::Link(child, _)) = &arrival;
            if self.shared.is_current(*child, time) {
                return Some(arrival);
            }
        }
    }

    /// Why the child of this name is not connected, as far as is known.
    pub(super) fn reason(&self, name: &str) -> Option<String> {
        let child = self.names.iter().position(|n| n == name)?;
        let reasons = &self.shared.reasons;
        let reasons = reasons.lock().unwrap_or_else(PoisonError::into_inner);
        reasons.get(child).cloned().flatten()
    }
}

impl Drop for Dialer {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
    }
}

/// All connections to one child. The further links come one after the other, because an
/// old child wants them in the order of their numbers, and after control, because it has
/// no room for more than two before it has read the configuration.
fn call(shared: &Shared, home: &Sender<(u64, Arrival)>, name: &str, who: (usize, u64)) {
    let (child, time) = who;
    let manner = &shared.manner;
    let primary = manner.primary(name);
    let further = manner.further(name);
    let number = (!further.is_empty()).then_some(0);
    let Some(pair) = shared.until(who, || connect_pair(&primary, manner, number)) else {
        return;
    };
    // Nobody listens any more when the ring is over; the same below.
    let _ = home.send((time, Arrival::Pair(child, pair)));
    for (number, name) in (1..).zip(further) {
        let once = || {
            first_that_works(&name, |address| {
                let data = connect_data(address, manner)?;
                introduce(&data, Some(number))?;
                Ok(data)
            })
        };
        let Some(link) = shared.until(who, once) else {
            return;
        };
        let _ = home.send((time, Arrival::Link(child, link)));
    }
}

/// Tries every IPv4 address of a name.
fn first_that_works<T>(name: &str, connect: impl Fn(SocketAddr) -> io::Result<T>) -> io::Result<T> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no IPv4 address");
    let addresses = (name, DOLLY_DATA_PORT).to_socket_addrs()?;
    for address in addresses.filter(SocketAddr::is_ipv4) {
        match connect(address) {
            Ok(done) => return Ok(done),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// One try. Half a pair is closed by leaving.
fn connect_pair(name: &str, manner: &Manner, number: Option<u32>) -> io::Result<Pair> {
    first_that_works(name, |address| {
        let data = connect_data(address, manner)?;
        let control = SocketAddr::new(address.ip(), DOLLY_CONTROL_PORT);
        let control = TcpStream::connect_timeout(&control, CONNECT)?;
        tune(&control, manner.stall)?;
        control.set_write_timeout(Some(CONNECT))?;
        introduce(&data, number)?;
        Ok(Pair {
            data: vec![data],
            control,
        })
    })
}

fn connect_data(address: SocketAddr, manner: &Manner) -> io::Result<TcpStream> {
    let data = match manner.segsize {
        None => TcpStream::connect_timeout(&address, CONNECT)?,
        Some(segsize) => net::connect_with_segments(address, CONNECT, segsize)?,
    };
    tune(&data, manner.stall)?;
    Ok(data)
}

/// With more than one link, each says first which one it is.
fn introduce(mut data: &TcpStream, number: Option<u32>) -> io::Result<()> {
    match number {
        Some(number) => data.write_all(&number.to_le_bytes()),
        None => Ok(()),
    }
}
