//! Data on its way: the reading thread, the pump and the watch as one thing, for the
//! golden node and the others alike.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use goldring_wire::dolly::Failure;
use rustix::net::RecvFlags;

use super::GRACE;
use super::intake::{self, Gate, IntakeError};
use super::links::{Deal, Gather};
use super::watch::{Culprit, Patience, Watch};
use super::whole::{self, Whole};
use crate::pace::Pace;
use crate::pump::{BUFFER, Lane, LaneState, Pump, Sink, Status};
use crate::range::{self, RangeError};

/// Buffers of one pump: enough to even out a pause, and few enough that the processor
/// still has most of what it reads at hand; a disk's longer pauses are evened out by
/// the window of the disk's writer.
const BUFFERS: usize = 12;

/// How long a lane may take to stop.
const SETTLE: Duration = Duration::from_secs(2);

/// Who or what is to blame when data stops.
#[derive(Debug)]
pub(super) enum Blame {
    /// This computer; the sentence names the file or disk.
    Here(String),
    /// Somebody else.
    Neighbour(Failure),
}

/// Where data comes from.
pub(super) enum Origin {
    /// Something that is read.
    Stream(Box<dyn Read + Send>),
    /// A file of which parts are handed on.
    Whole(Whole),
}

impl From<Box<dyn Read + Send>> for Origin {
    fn from(source: Box<dyn Read + Send>) -> Self {
        Self::Stream(source)
    }
}

/// Data on its way.
#[derive(Debug)]
pub(super) struct Flowing {
    pub(super) gate: Arc<Gate>,
    pump: Pump,
    reader: Option<JoinHandle<Result<u64, IntakeError>>>,
    received: Option<u64>,
    watch: Option<Watch>,
    stall: (Duration, Patience),
    /// The name of the source, when it is a neighbour; else the input's.
    source: String,
    source_is_neighbour: bool,
    /// The first lane is this computer's disk.
    own_lane: bool,
    names: Vec<String>,
    /// What broke, and since when a better explanation is waited for.
    broken: Option<(Instant, Failure)>,
}

impl Flowing {
    /// Starts the threads; for the number of links and `caution` see [`intake::run`].
    pub(super) fn start(
        lanes: Vec<Lane>,
        origin: impl Into<Origin>,
        stall: (Duration, Patience),
        manner: (usize, Option<Duration>),
    ) -> Result<Self, Failure> {
        let failed = |error: io::Error| Failure::Here(format!("starting a thread: {error}"));
        let names = lanes.iter().map(|lane| lane.name.clone()).collect();
        let (pump, feeder) = Pump::start(lanes, BUFFERS).map_err(failed)?;
        let gate = Arc::new(Gate::new());
        let shared = Arc::clone(&gate);
        let origin = origin.into();
        let reader = thread::Builder::new()
            .name("read".to_owned())
            .spawn(move || match origin {
                Origin::Stream(mut source) => intake::run(source.as_mut(), feeder, &shared, manner),
                Origin::Whole(whole) => whole::run(whole, feeder, &shared),
            })
            .map_err(failed)?;
        Ok(Self {
            gate,
            pump,
            reader: Some(reader),
            received: None,
            watch: None,
            stall,
            source: String::new(),
            source_is_neighbour: false,
            own_lane: false,
            names,
            broken: None,
        })
    }

    /// On a node: the source is the parent, and the first lane the own disk.
    pub(super) fn of_node(mut self, parent: String) -> Self {
        self.source = parent;
        self.source_is_neighbour = true;
        self.own_lane = true;
        self
    }

    /// On the golden node: the source is the input.
    pub(super) fn of_golden(mut self, input: String) -> Self {
        self.source = input;
        self
    }

    /// Looks at everything. `Some(n)`: all `n` bytes are where they belong.
    pub(super) fn look(&mut self, started: bool) -> Result<Option<u64>, Blame> {
        let now = Instant::now();
        let status = self.pump.status();
        if let Some((since, failure)) = &self.broken {
            if now.duration_since(*since) >= GRACE {
                return Err(Blame::Neighbour(failure.clone()));
            }
            return Ok(None);
        }
        self.look_at_lanes(&status, now)?;
        self.look_at_reader(now)?;
        if self.broken.is_none() && started {
            self.look_at_watch(&status, now)?;
        }
        Ok(self.received.filter(|_| status.is_finished()))
    }

    /// How many bytes a lane took.
    pub(super) fn lane_bytes(&self, lane: usize) -> Option<u64> {
        self.pump.status().lanes.get(lane).map(|lane| lane.bytes)
    }

    /// The own disk has everything, and how much that is, whatever became of the others.
    pub(super) fn stored(&self) -> Option<u64> {
        let lane = self.pump.status().lanes.into_iter().next()?;
        (self.own_lane && lane.state == LaneState::Finished).then_some(lane.bytes)
    }

    /// How many bytes the slowest lane took.
    pub(super) fn slowest(&self) -> u64 {
        let lanes = self.pump.status().lanes;
        lanes.iter().map(|lane| lane.bytes).min().unwrap_or(0)
    }

    /// Makes the threads stop.
    pub(super) fn stop(&self) {
        self.pump.stop();
    }

    /// Waits until the own disk's lane has stopped, so that what must not stay is removed
    /// before the program ends; but not for a disk that hangs.
    pub(super) fn settle(&self) {
        let until = Instant::now() + SETTLE;
        let running = || {
            let lanes = self.pump.status().lanes;
            lanes
                .first()
                .is_some_and(|lane| lane.state == LaneState::Running)
        };
        while running() && Instant::now() < until {
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn look_at_lanes(&mut self, status: &Status, now: Instant) -> Result<(), Blame> {
        for (index, lane) in status.lanes.iter().enumerate() {
            let (kind, text) = match &lane.state {
                LaneState::Failed(kind, text) => (kind, text),
                LaneState::Unreadable(text) => {
                    let why = format!("failed: {text}");
                    return Err(Blame::Here(unreadable(&self.source, &why)));
                }
                _ => continue,
            };
            let name = &self.names[index];
            if self.own_lane && index == 0 {
                let at = lane.bytes;
                return Err(Blame::Here(format!(
                    "writing {name} failed after {at} bytes: {text}; check the disk, then start again"
                )));
            }
            self.broken = Some((now, gone(name, *kind)));
            return Ok(());
        }
        Ok(())
    }

    fn look_at_reader(&mut self, now: Instant) -> Result<(), Blame> {
        if !self.reader.as_ref().is_some_and(JoinHandle::is_finished) {
            return Ok(());
        }
        let Some(reader) = self.reader.take() else {
            return Ok(());
        };
        let error = match reader.join() {
            Ok(Ok(received)) => {
                self.received = Some(received);
                return Ok(());
            }
            Ok(Err(error)) => error,
            Err(_) => return Err(Blame::Here("the reading thread crashed".to_owned())),
        };
        if matches!(error, IntakeError::Stopped) {
            return Ok(());
        }
        if !self.source_is_neighbour {
            return Err(Blame::Here(unreadable(&self.source, &error)));
        }
        let failure = match &error {
            IntakeError::Io { error, .. } => gone(&self.source, error.kind()),
            IntakeError::Long { .. } => Failure::Nonsense {
                neighbour: self.source.clone(),
                what: "more data than it announced",
            },
            _ => gone(&self.source, io::ErrorKind::UnexpectedEof),
        };
        self.broken = Some((now, failure));
        Ok(())
    }

    fn look_at_watch(&mut self, status: &Status, now: Instant) -> Result<(), Blame> {
        let (limit, patience) = self.stall;
        let watch = self
            .watch
            .get_or_insert_with(|| Watch::new(limit, patience, now));
        let ended = self.received.is_some();
        let Some(culprit) = watch.look(now, (self.gate.received(), ended), status) else {
            return Ok(());
        };
        let seconds = limit.as_secs();
        let silent = |neighbour: &String, silence| {
            Err(Blame::Neighbour(Failure::Silent {
                neighbour: neighbour.clone(),
                silence,
                seconds,
            }))
        };
        match culprit {
            Culprit::Source if self.source_is_neighbour => {
                silent(&self.source, "(or a computer before it) has sent nothing")
            }
            Culprit::Source => silent(&self.source, "has delivered nothing"),
            Culprit::Lane(0) if self.own_lane => Err(Blame::Here(format!(
                "{} has taken nothing for {seconds} s; check the disk, then start again",
                self.names[0]
            ))),
            Culprit::Lane(lane) => silent(&self.names[lane], "has taken no data"),
        }
    }
}

fn unreadable(input: &str, why: &dyn std::fmt::Display) -> String {
    format!("reading {input} {why}; check it, then start the ring again")
}

/// What a broken data connection says about its peer.
fn gone(name: &str, kind: io::ErrorKind) -> Failure {
    let neighbour = name.to_owned();
    if kind == io::ErrorKind::TimedOut {
        let when = "by answering no more (is it off, or its cable pulled?)";
        return Failure::Lost { neighbour, when };
    }
    let when = "while data was moving";
    Failure::Lost { neighbour, when }
}

/// Sends a control message.
pub(super) fn say(mut stream: &TcpStream, name: &str, bytes: &[u8]) -> Result<(), Failure> {
    stream.write_all(bytes).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => Failure::Silent {
            neighbour: name.to_owned(),
            silence: "has taken no message",
            seconds: 3,
        },
        kind => gone(name, kind),
    })
}

/// The lane to a child.
pub(super) fn lane(data: &[TcpStream], name: &str) -> Result<Lane, Failure> {
    let links: io::Result<Vec<TcpStream>> = data.iter().map(TcpStream::try_clone).collect();
    let links = links
        .map_err(|error| Failure::Here(format!("setting up the connection to {name}: {error}")))?;
    Ok(Lane {
        name: name.to_owned(),
        sink: Box::new(Child(Deal::new(links))),
    })
}

/// A parent's data connections as a source that looks around now and then.
pub(super) fn from_sockets(data: &[TcpStream]) -> Result<Box<dyn Read + Send>, Failure> {
    let links: io::Result<Vec<TcpStream>> = data.iter().map(TcpStream::try_clone).collect();
    let source = links.and_then(|mut links| -> io::Result<Box<dyn Read + Send>> {
        if links.len() == 1 {
            return Ok(Box::new(Parent {
                stream: links.remove(0),
                low: 1,
                pace: Pace::new(intake::ENOUGH as usize, BUFFER),
                last: Instant::now(),
            }));
        }
        for link in &links {
            link.set_read_timeout(Some(intake::LOOK))?;
        }
        Ok(Box::new(Gather::new(links)))
    });
    source.map_err(|error| Failure::Here(format!("setting up a connection: {error}")))
}

/// A parent's data connection. A read waits for a good piece of data, at most
/// [`intake::LOOK`], because every time that this thread wakes up costs as much as
/// thousands of bytes.
struct Parent {
    stream: TcpStream,
    /// For how much a read waits.
    low: usize,
    pace: Pace,
    /// When the last read ended.
    last: Instant,
}

impl Read for Parent {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        // What is still to come may be less, and its sender may not end the connection.
        let low = bytes.len().clamp(1, self.pace.bytes());
        if low != self.low {
            goldring_sys::low_water::set(&self.stream, low)?;
            self.low = low;
        }
        // A read that waits would take what is here and then wait for all of `low` again.
        super::net::readable(&[&self.stream], intake::LOOK);
        let (n, _) = rustix::net::recv(&self.stream, bytes, RecvFlags::DONTWAIT)?;
        // With the time that this thread waited for buffers: a slow child is a slow link.
        let now = Instant::now();
        self.pace.took(n, now.duration_since(self.last));
        self.last = now;
        Ok(n)
    }
}

/// A child's data connections; half-closed after the last byte, because an old child
/// does not mind and a new one is certain that nothing more comes.
struct Child(Deal<TcpStream>);

impl Write for Child {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink for Child {
    fn finish(&mut self) -> io::Result<()> {
        for link in self.0.links() {
            // A child that has everything may have left; its count tells whether it has.
            let _ = link.shutdown(Shutdown::Write);
        }
        Ok(())
    }

    fn take(&mut self, file: &File, offset: u64, len: usize) -> Result<(), RangeError> {
        match self.0.only_one() {
            Some(link) => range::send(file, offset, len, link),
            None => range::copy(file, offset, len, &mut self.0),
        }
    }
}
