//! The golden node of a ka session.

use std::collections::HashMap;
use std::hash::Hasher;
use std::io::{self, Read};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use goldring_wire::ka::own::{Compared, Stream};
use goldring_wire::ka::server::{
    Action, ConnId, Failure, Input, Late, Lead, Outcome, Report, Server, Setup,
};
use twox_hash::XxHash3_64;

use super::feed::{FeedEvent, Feeds, spawn};
use super::find::{self, FindError, Wanted};
use super::net::{self, Over};
use super::report::Stop;
use super::ring::{KEPT, Ring};
use super::{BEAT, Event, Ports, QUEUE, Reporter, Source};

/// How often the source looks whether it should stop.
const GLANCE: Duration = Duration::from_millis(100);
/// So many bytes between two words about how far the source is.
const WORD: u64 = 1 << 20;

/// Starts the source of a session, and is told who compares what it gives.
pub type Open<'a> = dyn FnMut(Compared) -> Result<Source, String> + 'a;

/// How a session shall be.
#[derive(Debug, Clone)]
pub struct Options {
    /// `-s`: the name by which clients find it; without one they have to know its address.
    pub session: Option<String>,
    /// The session that follows: who asks for that one needs nothing of this one.
    pub next: Option<String>,
    /// `-n`.
    pub wanted: usize,
    /// Who may take part, if that is limited: a name and an address for each.
    pub expected: Option<Vec<(String, Ipv4Addr)>>,
    /// How long the nodes are waited for.
    pub patience: Duration,
    /// And then.
    pub late: Late,
    /// `-a`.
    pub arity: usize,
    /// `-l`.
    pub lead: Lead,
    /// `-d`.
    pub release: Option<Duration>,
    /// A node that has answered nothing for so long is dead.
    pub silence: Duration,
    /// Listen on this address only.
    pub bind: Ipv4Addr,
    /// `-p`, `-P`.
    pub ports: Ports,
}

/// Why a session failed as a whole.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The control or data port.
    #[error("listening on port {0}: {1}; does another ka session run here?")]
    Listen(u16, io::Error),
    /// The port by which clients find it.
    #[error("{0}")]
    Find(#[from] FindError),
    /// Nobody got the stream.
    #[error("{0}")]
    Failed(Failure),
}

/// A session that sent its stream.
#[derive(Debug, Clone)]
pub struct Summary {
    /// What was sent.
    pub stream: Stream,
    /// From the first byte until everybody had finished or was lost.
    pub elapsed: Duration,
    /// How each node fared.
    pub nodes: Vec<Report>,
    /// Those who were expected and never came.
    pub absent: Vec<String>,
}

enum Message {
    Asked(Wanted, Ipv4Addr),
    Accepted(TcpStream, Ipv4Addr),
    Received(ConnId, Vec<u8>),
    Closed(ConnId),
    Feed(FeedEvent),
    /// The source has given more.
    Read,
    Ended(Stream),
    Failed(String),
}

/// Serves one session; `open` starts the source when everybody is connected.
///
/// # Errors
/// Nobody got the stream. Nodes that are lost on the way are in the summary.
pub fn serve(
    options: &Options,
    open: &mut Open<'_>,
    reporter: &mut dyn Reporter,
) -> Result<Summary, ServerError> {
    let (tell, told) = mpsc::sync_channel(QUEUE);
    let over = Over::default();
    let threads = listen(options, &tell, &over);
    let result = threads.and_then(|(threads, quiet)| {
        let mut session = Session::new(options, (tell, quiet), reporter);
        let result = session.run(&told, open);
        session.close();
        over.say();
        // Nobody may be left waiting to tell something.
        drop(told);
        for thread in threads {
            // A panic there was reported by its own message.
            let _ = thread.join();
        }
        result
    });
    over.say();
    result
}

fn listen(
    options: &Options,
    tell: &SyncSender<Message>,
    over: &Over,
) -> Result<(Vec<JoinHandle<()>>, Over), ServerError> {
    let Ports { control, data } = options.ports;
    let to = tell.clone();
    let calls = net::accept((options.bind, data), over, move |stream, from| {
        let _ = to.send(Message::Feed(FeedEvent::Called(stream, from)));
    });
    let calls = calls.map_err(|error| ServerError::Listen(data, error))?;
    let to = tell.clone();
    let words = net::accept((options.bind, control), over, move |stream, from| {
        let _ = to.send(Message::Accepted(stream, from));
    });
    let words = words.map_err(|error| ServerError::Listen(control, error))?;
    let mut threads = vec![calls, words];
    let quiet = Over::default();
    if let Some(session) = &options.session {
        let (to, quiet) = (tell.clone(), quiet.clone());
        let asked = move |what, who| !quiet.is_said() && to.send(Message::Asked(what, who)).is_ok();
        let names = (session.as_str(), options.next.as_deref());
        threads.push(find::answer(names, options.bind, over, asked)?);
    }
    Ok((threads, quiet))
}

/// A control connection.
struct Conn {
    stream: TcpStream,
    /// Tells the thread that reads it that nobody listens any more.
    closed: Over,
}

struct Session<'a> {
    server: Server,
    reporter: &'a mut dyn Reporter,
    tell: SyncSender<Message>,
    /// Nobody is answered by UDP any more.
    quiet: Over,
    ring: Arc<Ring>,
    feeds: Feeds<Message>,
    conns: HashMap<ConnId, Conn>,
    next_conn: u64,
    /// Ends the source.
    stop: Option<Stop>,
    started: Option<Instant>,
}

impl<'a> Session<'a> {
    fn new(
        options: &Options,
        (tell, quiet): (SyncSender<Message>, Over),
        reporter: &'a mut dyn Reporter,
    ) -> Self {
        let setup = Setup {
            wanted: options.wanted,
            expected: options.expected.clone(),
            patience: options.patience,
            late: options.late,
            arity: options.arity,
            lead: options.lead,
            release: options.release,
            history: KEPT,
            silence: options.silence,
        };
        Self {
            server: Server::new(setup, Instant::now()),
            reporter,
            feeds: Feeds::new(tell.clone(), Message::Feed),
            tell,
            quiet,
            ring: Ring::new(),
            conns: HashMap::new(),
            next_conn: 0,
            stop: None,
            started: None,
        }
    }

    fn run(
        &mut self,
        told: &Receiver<Message>,
        open: &mut Open<'_>,
    ) -> Result<Summary, ServerError> {
        let mut beat = Instant::now();
        loop {
            let wait = self
                .server
                .deadline()
                .saturating_duration_since(Instant::now());
            match told.recv_timeout(wait.min(BEAT)) {
                Ok(message) => self.take(message),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    self.input(Input::Tick);
                }
            }
            self.act(open);
            if self.started.is_some() && beat.elapsed() >= BEAT {
                beat = Instant::now();
                self.reporter.event(Event::Progress(self.ring.kept().1));
            }
            if let Some(outcome) = self.server.outcome() {
                let stream = match outcome {
                    Outcome::Failed(failure) => return Err(ServerError::Failed(failure.clone())),
                    Outcome::Sent(stream) => *stream,
                    Outcome::Needless => Stream {
                        bytes: 0,
                        digest: 0,
                    },
                };
                return Ok(Summary {
                    stream,
                    elapsed: self.started.map_or(Duration::ZERO, |at| at.elapsed()),
                    nodes: self.server.reports(),
                    absent: self.server.absent(),
                });
            }
        }
    }

    fn input(&mut self, input: Input<'_>) {
        self.server.handle(Instant::now(), input);
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Asked(Wanted::This, who) => self.input(Input::Asked(who)),
            Message::Asked(Wanted::Next, who) => self.input(Input::AskedNext(who)),
            Message::Accepted(stream, from) => self.accepted(stream, from),
            Message::Received(conn, bytes) => {
                let (oldest, newest) = self.ring.kept();
                self.input(Input::Head(oldest, newest));
                self.input(Input::Received(conn, &bytes));
            }
            Message::Closed(conn) => {
                self.conns.remove(&conn);
                self.input(Input::Closed(conn));
            }
            Message::Feed(FeedEvent::Called(stream, from)) => {
                let data = self.feeds.add(stream);
                self.input(Input::Called(data, from));
            }
            Message::Feed(FeedEvent::Ended(data)) => {
                if self.feeds.ended(data) == Some(false) {
                    self.input(Input::Broke(data));
                }
            }
            Message::Read => {
                let (oldest, newest) = self.ring.kept();
                self.input(Input::Head(oldest, newest));
            }
            Message::Ended(stream) => {
                self.stop = None;
                self.input(Input::Ended(stream));
                // Now that it is known that this is the end, children may see it.
                self.ring.end();
            }
            Message::Failed(why) => {
                self.stop = None;
                self.input(Input::Failed(why));
            }
        }
    }

    fn accepted(&mut self, stream: TcpStream, from: Ipv4Addr) {
        self.next_conn += 1;
        let conn = ConnId(self.next_conn);
        let local = net::local(&stream);
        let (tell, closed) = (self.tell.clone(), Over::default());
        let over = closed.clone();
        let reading = net::limit(&stream).and_then(|()| stream.try_clone());
        let read =
            reading.and_then(|stream| spawn("control", move || read(&stream, (conn, over), &tell)));
        // Without a thread that reads it, it is no connection.
        if read.is_ok() {
            self.conns.insert(conn, Conn { stream, closed });
            self.input(Input::Accepted { conn, from, local });
        }
    }

    /// Does what the machine wants, and tells what it tells.
    fn act(&mut self, open: &mut Open<'_>) {
        if !self.server.answers() {
            self.quiet.say();
        }
        while let Some(action) = self.server.poll_action() {
            match action {
                Action::Send(conn, bytes) => self.send(conn, &bytes),
                Action::Close(conn) => {
                    if let Some(conn) = self.conns.remove(&conn) {
                        conn.close();
                    }
                }
                Action::Start(compared) => self.start(compared, open),
                Action::Limit(limit) => self.ring.set_limit(limit),
                Action::Serve(data, offset) => {
                    if !self.feeds.serve(data, offset, &self.ring) {
                        self.feeds.drop(data);
                    }
                }
                Action::Drop(data) => self.feeds.drop(data),
            }
        }
        while let Some(event) = self.server.poll_event() {
            self.reporter.event(Event::Server(event));
        }
    }

    fn send(&mut self, conn: ConnId, bytes: &[u8]) {
        let Some(conn) = self.conns.get(&conn) else {
            return;
        };
        if net::say(&conn.stream, bytes).is_err() {
            // Whoever reads there sees the end and tells it.
            let _ = conn.stream.shutdown(Shutdown::Both);
        }
    }

    fn start(&mut self, compared: Compared, open: &mut Open<'_>) {
        self.started = Some(Instant::now());
        let source = match open(compared) {
            Ok(source) => source,
            Err(why) => return self.input(Input::Failed(why)),
        };
        self.stop = Some(Arc::clone(&source.stop));
        let (ring, tell) = (Arc::clone(&self.ring), self.tell.clone());
        let work = move || {
            // Nobody listens any more when the session has failed.
            let _ = tell.send(pull(source, &ring, &tell));
        };
        if let Err(error) = spawn("source", work) {
            self.input(Input::Failed(format!("starting a thread: {error}")));
        }
    }

    fn close(&mut self) {
        self.ring.stop();
        if let Some(stop) = self.stop.take() {
            stop();
        }
        self.feeds.close();
        for (_, conn) in self.conns.drain() {
            conn.close();
        }
    }
}

impl Conn {
    fn close(&self) {
        self.closed.say();
        // The last word must arrive, so only this half.
        let _ = self.stream.shutdown(Shutdown::Write);
    }
}

/// Reads a control connection to its end.
fn read(mut stream: &TcpStream, (conn, closed): (ConnId, Over), tell: &SyncSender<Message>) {
    let mut bytes = [0; 4096];
    loop {
        let message = match stream.read(&mut bytes) {
            Ok(n) if n > 0 => Message::Received(conn, bytes[..n].to_vec()),
            Err(error) if net::is_only_late(&error) && !closed.is_said() => continue,
            _ => Message::Closed(conn),
        };
        let is_end = matches!(message, Message::Closed(_));
        if tell.send(message).is_err() || is_end {
            return;
        }
    }
}

/// Reads the source to its end.
fn pull(mut source: Source, ring: &Ring, tell: &SyncSender<Message>) -> Message {
    let mut digest = XxHash3_64::new();
    let (mut bytes, mut said) = (0u64, 0);
    while !ring.is_stopped() {
        let room = ring.room(GLANCE);
        if room == 0 {
            continue;
        }
        let mut buffer = ring.buffer();
        match source.reader.read(&mut buffer[..room]) {
            Ok(0) => break,
            Ok(n) => {
                digest.write(&buffer[..n]);
                bytes += n as u64;
                ring.push(buffer, n);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Message::Failed(format!("reading the data: {error}")),
        }
        if bytes >= said + WORD {
            said = bytes;
            // The end of the session is seen above.
            let _ = tell.send(Message::Read);
        }
    }
    drop(source.reader);
    match (source.check)() {
        Ok(()) => Message::Ended(Stream {
            bytes,
            digest: digest.finish(),
        }),
        Err(why) => Message::Failed(why),
    }
}
