//! The golden node: builds the ring, feeds it, collects the counts.

use std::io::Read;
use std::net::IpAddr;
use std::time::Instant;

use goldring_wire::dolly::Failure;
use goldring_wire::dolly::server::{self, Event as Said, Input, Server};

use super::children::Children;
use super::dial::Manner;
use super::flowing::{Blame, Flowing, Origin};
use super::net::Got;
use super::report::{Event, Reporter, Summary};
use super::watch::Patience;
use super::whole::Whole;
use super::{is_due, tick};

/// What the golden node sends, and to whom.
pub struct Options {
    /// The conversation: clients, configuration, total.
    pub talk: server::Setup,
    /// What is sent.
    pub input: Box<dyn Read + Send>,
    /// The same as a file, when all of it is sent as it is.
    pub whole: Option<Whole>,
    /// Its name, for messages.
    pub input_name: String,
    /// How children are connected to, and how long data may stand still.
    pub manner: Manner,
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Options({})", self.input_name)
    }
}

struct Golden<'a> {
    clients: usize,
    machine: Server,
    children: Children,
    input: Option<Origin>,
    input_name: String,
    manner: Manner,
    total: Option<u64>,
    flow: Option<Flowing>,
    started: Option<Instant>,
    sent: Option<u64>,
    switched: bool,
    report: &'a mut dyn Reporter,
}

/// How a ring ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// Everybody has everything.
    Cloned(Summary),
    /// Everybody is goldring and waits for dolly+; this is the golden node's address as
    /// they see it.
    Switched(IpAddr),
}

/// Runs one ring from its first connection to its last count.
///
/// # Errors
/// The ring broke, or a count was wrong.
pub fn serve(options: Options, report: &mut dyn Reporter) -> Result<Ending, Failure> {
    let names: Vec<String> = options.talk.clients[..options.talk.children].to_vec();
    let mut golden = Golden {
        clients: options.talk.clients.len(),
        children: Children::start(names, options.manner.clone()),
        total: options.talk.total,
        machine: Server::new(options.talk, Instant::now()),
        input: Some(match options.whole {
            Some(whole) => Origin::Whole(whole),
            None => Origin::Stream(options.input),
        }),
        input_name: options.input_name,
        manner: options.manner,
        flow: None,
        started: None,
        sent: None,
        switched: false,
        report,
    };
    let result = golden.work();
    golden.end(result)
}

impl Golden<'_> {
    fn work(&mut self) -> Result<(), Failure> {
        while !self.machine.is_done() {
            self.hear()?;
            while let Some(child) = self.children.arrived() {
                self.handle(Input::Connected(child))?;
            }
            if is_due(self.machine.poll_timeout()) {
                self.handle(Input::Tick)?;
            }
            self.look_at_flow()?;
        }
        Ok(())
    }

    /// Reads every control connection that has something.
    fn hear(&mut self) -> Result<(), Failure> {
        for (child, got) in self.children.hear(None, tick(self.flow.as_ref())) {
            let Some(child) = child else { continue };
            match got {
                Got::Nothing => {}
                Got::Bytes(bytes) => self.handle(Input::Received(child, &bytes))?,
                Got::End => {
                    self.handle(Input::Closed(child))?;
                    // It counted and left, or is called again.
                    self.children.forget(child);
                }
            }
        }
        Ok(())
    }

    fn handle(&mut self, input: Input<'_>) -> Result<(), Failure> {
        let result = self.machine.handle(Instant::now(), input);
        while let Some(message) = self.machine.poll_transmit() {
            self.children.say(message.to, &message.bytes)?;
        }
        result?;
        while let Some(event) = self.machine.poll_event() {
            self.obey(event)?;
        }
        Ok(())
    }

    fn obey(&mut self, event: Said) -> Result<(), Failure> {
        match event {
            Said::Connected(name) => self.report.event(Event::Connected(name)),
            Said::Reconnect(child) => self.children.redial(child),
            Said::Got(name) => self.report.event(Event::Got(name)),
            Said::Ready(name, n, of) => self.report.event(Event::Ready(name, n, of)),
            Said::Missing(names) => {
                let why = self.children.reason(&names);
                self.report.event(Event::Missing(names, why));
            }
            Said::Line(line) => self.report.event(Event::Note(line)),
            Said::Start => self.start_flow()?,
            Said::TotalSent => {
                if let (Some(flow), Some(total)) = (&self.flow, self.total) {
                    flow.gate.open(total);
                }
            }
            Said::Counted(name, n) => self.report.event(Event::Counted(name, n)),
            Said::Done => {}
            Said::Switch => self.switched = true,
        }
        Ok(())
    }

    fn start_flow(&mut self) -> Result<(), Failure> {
        let Some(input) = self.input.take() else {
            return Ok(());
        };
        let lanes = self.children.lanes()?;
        let patience = Patience::of(0, self.clients, self.manner.stall);
        let flow = Flowing::start(
            lanes,
            input,
            (self.manner.stall, patience),
            (self.manner.links(), None),
        )?;
        self.flow = Some(flow.of_golden(self.input_name.clone()));
        self.started = Some(Instant::now());
        self.report.event(Event::Started(self.total));
        Ok(())
    }

    fn look_at_flow(&mut self) -> Result<(), Failure> {
        let Some(flow) = &mut self.flow else {
            return Ok(());
        };
        let look = flow.look(true);
        let ended = (flow.gate.has_ended() && self.total.is_none()).then(|| flow.gate.received());
        if self.sent.is_none() {
            self.report
                .event(Event::Progress(flow.slowest(), self.total));
        }
        match look {
            Err(Blame::Here(what)) => return Err(Failure::Here(what)),
            Err(Blame::Neighbour(failure)) => return Err(failure),
            Ok(Some(bytes)) if self.sent.is_none() => {
                self.sent = Some(bytes);
                self.report.event(Event::Progress(bytes, self.total));
                self.report.event(Event::Stored);
                self.handle(Input::Sent)?;
            }
            Ok(_) => {}
        }
        if let Some(total) = ended {
            self.total = Some(total);
            self.handle(Input::Total(total))?;
        }
        Ok(())
    }

    fn end(mut self, result: Result<(), Failure>) -> Result<Ending, Failure> {
        if let Some(flow) = self.flow.take() {
            flow.stop();
        }
        let address = self.children.own_address();
        self.children.shut();
        result?;
        match address.filter(|_| self.switched) {
            Some(address) => Ok(Ending::Switched(address)),
            None => Ok(Ending::Cloned(Summary {
                bytes: self.sent.unwrap_or_default(),
                elapsed: self.started.map(|at| at.elapsed()).unwrap_or_default(),
                trouble: None,
            })),
        }
    }
}
