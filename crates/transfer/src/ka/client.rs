//! A node of a ka session.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddrV4, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use goldring_contract::Root;
use goldring_wire::ka::client::{Action, Client, Failure, HOLD, Input, Outcome, Setup};
use goldring_wire::ka::message::Layout;
use goldring_wire::ka::own::{Compared, Stream};

use super::feed::{FeedEvent, Feeds, spawn};
use super::find::FindError;
use super::net::{self, Over};
use super::report::Stop;
use super::ring::{KEPT, LEAD, Reader, Ring, Step};
use super::{BEAT, Event, Ports, QUEUE, Reporter, Sink};

mod dial;
mod intake;

use dial::{call, dial, peer};
use intake::Intake;

/// Starts what takes a stream, and is told who compares it with what was sent.
pub type Open<'a> = dyn FnMut(Compared) -> Result<Sink, String> + 'a;

/// Which server.
#[derive(Debug, Clone)]
pub enum Where {
    /// `-s`: whoever serves this session in this network.
    Session(String),
    /// `-h`: this computer.
    Host(String),
}

/// How a node takes part.
#[derive(Debug, Clone)]
pub struct Options {
    /// Which server.
    pub server: Where,
    /// What this computer is called.
    pub name: String,
    /// `-w`: wait until the server lets it go.
    pub wait: bool,
    /// How long the server is looked for.
    pub find: Duration,
    /// How long the start is waited for.
    pub patience: Duration,
    /// Listen on this address only.
    pub bind: Ipv4Addr,
    /// `-p`, `-P`.
    pub ports: Ports,
    /// Where `/proc` and `/sys` are.
    pub root: Root,
}

/// Why nothing, or not all, was received.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The data port.
    #[error("listening on port {0}: {1}; does another ka client run here?")]
    Listen(u16, io::Error),
    /// No server.
    #[error("{0}")]
    Find(#[from] FindError),
    /// It is not there.
    #[error("connecting to the ka server {0}: {1}; is it running, and not yet sending?")]
    Connect(String, io::Error),
    /// The session.
    #[error("{0}")]
    Failed(Failure),
    /// Nobody started it.
    #[error(
        "the session has not started within {0} s; are all nodes there? ka-d-client -g starts it without the others"
    )]
    NotStarted(u64),
}

/// A stream that was received whole.
#[derive(Debug, Clone)]
pub struct Summary {
    /// What came.
    pub stream: Stream,
    /// From the start until the command had ended.
    pub elapsed: Duration,
    /// Everything is here, but afterwards something happened.
    pub trouble: Option<String>,
}

enum Message {
    Said(Vec<u8>),
    Closed,
    Feed(FeedEvent),
    /// The parent of this number could not be connected to.
    Refused(u64, String),
    /// The data connection to it has ended, after so much.
    ParentEnded(u64, Stream),
    /// So much has come.
    Came(u64),
    /// The command has ended.
    Stored(Result<(), String>),
}

/// Tells a server to start without waiting for more nodes (`-g`).
///
/// # Errors
/// There is none, or it takes the word in neither layout.
pub fn go_now(options: &Options) -> Result<Ipv4Addr, ClientError> {
    for layout in Layout::ALL {
        let control = dial(options, &mut |_: Event| {})?;
        let server = peer(&control);
        let words = Client::go_now(layout);
        let said = net::limit(&control).and_then(|()| net::say(&control, &words));
        let said = said.and_then(|()| control.shutdown(Shutdown::Write));
        let heard = said.and_then(|()| hear_out(&control));
        match heard {
            Ok(()) => return Ok(server),
            // An old server of the other layout reads the first message only, and closes
            // with the rest unread, which resets the connection.
            Err(error) if is_reset(&error) => {}
            Err(error) => return Err(ClientError::Connect(server.to_string(), error)),
        }
    }
    Err(ClientError::Failed(Failure::TurnedAway))
}

fn is_reset(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, NotConnected};
    matches!(error.kind(), ConnectionReset | BrokenPipe | NotConnected)
}

/// Reads until the other end closes: a connection that is closed here with something
/// unread is one that never was.
fn hear_out(mut control: &TcpStream) -> io::Result<()> {
    let mut answer = [0; 64];
    loop {
        match control.read(&mut answer) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            // It has the word, and goes on with other things.
            Err(error) if net::is_only_late(&error) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// Takes part in one session; `open` starts the command when this node has a parent.
///
/// # Errors
/// Not everything was received and stored.
pub fn receive(
    options: &Options,
    open: &mut Open<'_>,
    reporter: &mut dyn Reporter,
) -> Result<Summary, ClientError> {
    let (tell, told) = mpsc::sync_channel(QUEUE);
    let over = Over::default();
    let to = tell.clone();
    // Children may come before this node knows of them.
    let calls = net::accept(
        (options.bind, options.ports.data),
        &over,
        move |stream, from| {
            let _ = to.send(Message::Feed(FeedEvent::Called(stream, from)));
        },
    );
    let calls = calls.map_err(|error| ClientError::Listen(options.ports.data, error))?;
    let mut result = Err(ClientError::Failed(Failure::TurnedAway));
    for layout in Layout::ALL {
        result = attempt(options, layout, (&tell, &told), (open, reporter));
        // An old server of the other layout closes without a word.
        if !matches!(result, Err(ClientError::Failed(Failure::TurnedAway))) {
            break;
        }
    }
    over.say();
    drop(told);
    // A panic there was reported by its own message.
    let _ = calls.join();
    result
}

fn attempt(
    options: &Options,
    layout: Layout,
    (tell, told): (&SyncSender<Message>, &Receiver<Message>),
    (open, reporter): (&mut Open<'_>, &mut dyn Reporter),
) -> Result<Summary, ClientError> {
    let control = dial(options, reporter)?;
    let server = peer(&control);
    reporter.event(Event::Found(server));
    let failed = |error| ClientError::Connect(server.to_string(), error);
    net::limit(&control).map_err(failed)?;
    let (reading, closed) = (control.try_clone().map_err(failed)?, Over::default());
    let (to, over) = (tell.clone(), closed.clone());
    spawn("control", move || read(&reading, &over, &to)).map_err(failed)?;
    let setup = Setup {
        layout,
        name: options.name.clone(),
        wait: options.wait,
        keeps: KEPT - LEAD,
        hold: HOLD,
    };
    let mut session = Session {
        client: Client::new(setup, Instant::now()),
        reporter,
        feeds: Feeds::new(tell.clone(), Message::Feed),
        tell: tell.clone(),
        ring: Ring::new(),
        intake: Arc::default(),
        control,
        data_port: options.ports.data,
        parent: None,
        stop: None,
        started: None,
        stored: None,
        flowing_out: false,
        came: 0,
    };
    let result = session.run(told, options.patience, open);
    session.close();
    closed.say();
    result
}

struct Session<'a> {
    client: Client,
    reporter: &'a mut dyn Reporter,
    tell: SyncSender<Message>,
    ring: Arc<Ring>,
    feeds: Feeds<Message>,
    intake: Arc<Intake>,
    control: TcpStream,
    data_port: u16,
    /// Its data connection, once it stands.
    parent: Option<Arc<net::Slot>>,
    stop: Option<Stop>,
    started: Option<Instant>,
    /// What became of the command.
    stored: Option<Result<(), String>>,
    /// Everything has come.
    flowing_out: bool,
    came: u64,
}

impl Session<'_> {
    fn run(
        &mut self,
        told: &Receiver<Message>,
        patience: Duration,
        open: &mut Open<'_>,
    ) -> Result<Summary, ClientError> {
        let start = Instant::now();
        let mut beat = Instant::now();
        self.act(open);
        loop {
            let now = Instant::now();
            let due = self.client.deadline();
            let wait = due.map_or(BEAT, |due| due.saturating_duration_since(now).min(BEAT));
            match told.recv_timeout(wait) {
                Ok(message) => self.take(message),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    self.input(Input::Tick);
                }
            }
            self.act(open);
            self.flow_out();
            self.act(open);
            if self.started.is_some() && beat.elapsed() >= BEAT {
                beat = Instant::now();
                self.reporter.event(Event::Progress(self.intake.bytes()));
            }
            if let Some(outcome) = self.client.outcome() {
                return self.end(outcome.clone());
            }
            if self.started.is_none() && start.elapsed() >= patience {
                return Err(ClientError::NotStarted(patience.as_secs()));
            }
        }
    }

    fn end(&self, outcome: Outcome) -> Result<Summary, ClientError> {
        match outcome {
            Outcome::Failed(failure) => Err(ClientError::Failed(failure)),
            Outcome::Complete(stream, trouble) => Ok(Summary {
                stream,
                elapsed: self.started.map_or(Duration::ZERO, |at| at.elapsed()),
                trouble,
            }),
        }
    }

    fn input(&mut self, input: Input<'_>) {
        self.client.handle(Instant::now(), input);
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Said(bytes) => {
                // What it answers about its position must be true now.
                let came = self.intake.bytes();
                self.input(Input::Came(came));
                self.input(Input::Received(&bytes));
            }
            Message::Closed => self.input(Input::Closed),
            Message::Feed(FeedEvent::Called(stream, from)) => {
                let data = self.feeds.add(stream);
                self.input(Input::Called(data, from));
            }
            Message::Feed(FeedEvent::Ended(data)) => {
                if self.feeds.ended(data).is_some() {
                    self.input(Input::HungUp(data));
                }
            }
            // Of a parent that is no longer the parent nothing is of interest.
            Message::Refused(number, why) if self.intake.is_current(number) => {
                let line = format!("connecting to the parent: {why}");
                self.reporter.event(Event::Note(line));
                self.input(Input::Refused(why));
            }
            Message::ParentEnded(number, stream) if self.intake.is_current(number) => {
                self.parent = None;
                self.input(Input::ParentEnded(stream));
            }
            Message::Refused(..) | Message::ParentEnded(..) => {}
            Message::Came(bytes) => {
                // Words of two parents may overtake each other.
                self.came = self.came.max(bytes);
                let came = self.came;
                self.input(Input::Came(came));
            }
            Message::Stored(result) => self.stored = Some(result),
        }
    }

    /// Does what the machine wants, and tells what it tells.
    fn act(&mut self, open: &mut Open<'_>) {
        while let Some(action) = self.client.poll_action() {
            match action {
                Action::Send(bytes) => {
                    if net::say(&self.control, &bytes).is_err() {
                        // Whoever reads there sees the end and tells it.
                        let _ = self.control.shutdown(Shutdown::Both);
                    }
                }
                Action::Leave => self.leave(),
                Action::Connect(parent) => self.connect(parent),
                Action::Run(compared) => self.start(compared, open),
                Action::Serve(data, offset) => {
                    if !self.feeds.serve(data, offset, &self.ring) {
                        self.input(Input::Forgotten(data));
                    }
                }
                Action::Drop(data) => self.feeds.drop(data),
                Action::EndOfData => {
                    self.flowing_out = true;
                    self.ring.end();
                }
            }
        }
        while let Some(event) = self.client.poll_event() {
            self.reporter.event(Event::Client(event));
        }
    }

    /// Looks whether the command and the children have everything.
    fn flow_out(&mut self) {
        match self.stored.take() {
            Some(Err(why)) => self.input(Input::Failed(why)),
            Some(Ok(())) if !self.flowing_out => {
                let why = "the command ended before all data had come".to_owned();
                self.input(Input::Failed(why));
            }
            Some(Ok(())) if self.feeds.is_busy() => self.stored = Some(Ok(())),
            Some(Ok(())) => self.input(Input::Done),
            None => {}
        }
    }

    fn start(&mut self, compared: Compared, open: &mut Open<'_>) {
        self.started = Some(Instant::now());
        let sink = match open(compared) {
            Ok(sink) => sink,
            Err(why) => return self.input(Input::Failed(why)),
        };
        // Nothing has come yet, so this is there.
        let Some(reader) = self.ring.reader(0) else {
            return;
        };
        self.stop = Some(Arc::clone(&sink.stop));
        let tell = self.tell.clone();
        let work = move || {
            if let Some(result) = store(sink, reader) {
                let _ = tell.send(Message::Stored(result));
            }
        };
        if let Err(error) = spawn("command", work) {
            self.input(Input::Failed(format!("starting a thread: {error}")));
        }
    }

    fn connect(&mut self, parent: Ipv4Addr) {
        let number = self.intake.next();
        let slot = Arc::new(net::Slot::default());
        self.parent = Some(Arc::clone(&slot));
        let address = SocketAddrV4::new(parent, self.data_port);
        let (ring, intake) = (Arc::clone(&self.ring), Arc::clone(&self.intake));
        let tell = self.tell.clone();
        let work = move || {
            let stream = match call(address, &slot) {
                Ok(stream) => stream,
                Err(error) => {
                    let _ = tell.send(Message::Refused(number, error.to_string()));
                    return;
                }
            };
            let came = |bytes| {
                let _ = tell.send(Message::Came(bytes));
            };
            if let Some(all) = intake.take(number, &stream, &ring, &came) {
                let _ = tell.send(Message::ParentEnded(number, all));
            }
        };
        if let Err(error) = spawn("parent", work) {
            self.input(Input::Failed(format!("starting a thread: {error}")));
        }
    }

    /// Nothing that the parent still sends counts any more.
    fn leave(&mut self) {
        self.intake.next();
        self.leave_parent();
        let came = self.intake.bytes();
        self.came = came;
        self.input(Input::Came(came));
    }

    fn leave_parent(&mut self) {
        if let Some(slot) = self.parent.take() {
            slot.close();
        }
    }

    fn close(&mut self) {
        self.intake.next();
        self.leave_parent();
        // Before it sees an end of its input that is none.
        if let Some(stop) = self.stop.take() {
            stop();
        }
        self.ring.stop();
        self.feeds.close();
        // The last word must arrive, so only this half; then until the server is through.
        let _ = self.control.shutdown(Shutdown::Write);
    }
}

/// Gives the command everything. `None`: the session is over, and nobody asks.
fn store(sink: Sink, mut reader: Reader) -> Option<Result<(), String>> {
    let Sink {
        mut writer, check, ..
    } = sink;
    loop {
        match reader.next() {
            Step::Bytes(chunk, from) => {
                let bytes = &chunk[from..];
                if let Err(error) = writer.write_all(bytes) {
                    drop(writer);
                    // Its own words say more than that it takes nothing.
                    let why = match check() {
                        Ok(()) if error.kind() == io::ErrorKind::BrokenPipe => {
                            "the command ended before it had taken all data".to_owned()
                        }
                        Ok(()) => format!("storing what came: {error}"),
                        Err(why) => why,
                    };
                    return Some(Err(why));
                }
                reader.advance(bytes.len());
            }
            Step::End => {
                if let Err(error) = writer.flush() {
                    return Some(Err(format!("storing what came: {error}")));
                }
                drop(writer);
                return Some(check());
            }
            Step::Stopped => return None,
        }
    }
}

/// Reads the control connection to its end.
fn read(mut stream: &TcpStream, over: &Over, tell: &SyncSender<Message>) {
    let mut bytes = [0; 4096];
    loop {
        let message = match stream.read(&mut bytes) {
            Ok(n) if n > 0 => Message::Said(bytes[..n].to_vec()),
            Err(error) if net::is_only_late(&error) && !over.is_said() => continue,
            _ => Message::Closed,
        };
        // Words of a connection that was given up belong to no other.
        if over.is_said() {
            return;
        }
        let is_end = matches!(message, Message::Closed);
        if tell.send(message).is_err() || is_end {
            return;
        }
    }
}
