//! An old client as far as a server sees it, with what it dies of.

use std::net::Ipv4Addr;

use goldring_wire::ka::message::{Layout, Report, ToClient, ToServer};
use goldring_wire::ka::reader::{OfServer, ServerSaid};
use goldring_wire::ka::server::DataId;
use goldring_wire::ka::{OLD_CHILDREN, OLD_HISTORY, REPORT_EVERY};

/// What it dies of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Death {
    /// It shall serve this computer, which is not connected.
    NotHere(Ipv4Addr),
    /// The parent that it was told does not listen.
    Refused(Ipv4Addr),
    /// Anything else.
    Other(String),
}

/// What it wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wants {
    Say(Vec<u8>),
    LeaveParent,
    Connect(Ipv4Addr),
    Serve(DataId, u64),
    Drop(DataId),
    EndOfData,
    Leave,
    Die(Death),
}

#[derive(Debug)]
pub(crate) struct Old {
    layout: Layout,
    reader: OfServer,
    wait: bool,
    dad: Option<Ipv4Addr>,
    pub(crate) came: u64,
    reported: u64,
    reports: bool,
    children: Vec<(DataId, Ipv4Addr, bool)>,
    pub(crate) flowed: bool,
    finished: bool,
    pub(crate) wants: Vec<Wants>,
}

impl Old {
    pub(crate) fn new(layout: Layout, wait: bool) -> Self {
        let mut old = Self {
            layout,
            reader: OfServer::new(layout),
            wait,
            dad: None,
            came: 0,
            reported: 0,
            reports: false,
            children: Vec::new(),
            flowed: false,
            finished: false,
            wants: Vec::new(),
        };
        old.say(ToServer::Hello { own: false });
        old.say(ToServer::Options { wait });
        old.say(ToServer::AcceptsData);
        old
    }

    fn say(&mut self, message: ToServer) {
        self.wants.push(Wants::Say(message.emit(self.layout)));
    }

    pub(crate) fn die(&mut self, why: impl Into<String>) {
        self.wants.push(Wants::Die(Death::Other(why.into())));
    }

    pub(crate) fn received(&mut self, mut bytes: &[u8]) {
        while let Ok(Some(said)) = self.reader.next(&mut bytes) {
            match said {
                ServerSaid::Own(word) => self.die(format!("unknown: {word:?}")),
                ServerSaid::Plain(message) => self.said(message),
            }
        }
    }

    fn said(&mut self, message: ToClient) {
        match message {
            ToClient::Go => {}
            ToClient::Own(_) => self.die("an unknown message"),
            ToClient::EndOfFlow => {
                self.flowed = true;
                self.wants.push(Wants::EndOfData);
            }
            ToClient::Finish => {
                self.wait = false;
                if self.finished {
                    self.wants.push(Wants::Leave);
                }
            }
            ToClient::Parent(dad) => {
                self.dad = Some(dad);
                self.wants.push(Wants::Connect(dad));
            }
            ToClient::AuthChild { child, offset } => self.authorise(child, offset),
            ToClient::DropChild(child) => {
                if let Some(place) = self.children.iter().position(|c| c.1 == child) {
                    self.drop_child(place);
                }
            }
            ToClient::ReportPosition(Report::Once) => self.say(ToServer::Position(self.came)),
            ToClient::ReportPosition(report) => self.reports = report == Report::Regularly,
            ToClient::Ping => self.say(ToServer::Pong),
        }
    }

    fn authorise(&mut self, child: Ipv4Addr, offset: u64) {
        let Some(place) = self.children.iter().position(|c| c.1 == child) else {
            return self.wants.push(Wants::Die(Death::NotHere(child)));
        };
        if offset > self.came || offset + OLD_HISTORY < self.came {
            let came = self.came;
            return self.die(format!("{child} wants {offset}, and {came} have come"));
        }
        self.children[place].2 = true;
        self.wants
            .push(Wants::Serve(self.children[place].0, offset));
        self.say(ToServer::GotClient(child));
    }

    fn drop_child(&mut self, place: usize) {
        let (data, child, served) = self.children.remove(place);
        if !served {
            // It takes the pipe of its command for that child.
            return self.die(format!("dropped {child}, which it did not serve"));
        }
        self.wants.push(Wants::Drop(data));
    }

    pub(crate) fn refused(&mut self) {
        match self.dad {
            Some(dad) => self.wants.push(Wants::Die(Death::Refused(dad))),
            None => self.die("a parent that nobody has named refused"),
        }
    }

    pub(crate) fn called(&mut self, data: DataId, from: Ipv4Addr) {
        if self.children.len() >= OLD_CHILDREN {
            return self.die("it has four children already");
        }
        self.children.push((data, from, false));
        self.say(ToServer::GotClient(from));
    }

    pub(crate) fn hung_up(&mut self, data: DataId) {
        if let Some(place) = self.children.iter().position(|c| c.0 == data) {
            self.children.remove(place);
        }
    }

    pub(crate) fn came(&mut self, bytes: u64) {
        self.came = bytes;
        if self.came - self.reported > REPORT_EVERY {
            self.reported = self.came;
            if self.reports {
                self.say(ToServer::Position(self.came));
            }
        }
    }

    pub(crate) fn parent_ended(&mut self) {
        if let Some(parent) = self.dad.filter(|_| !self.flowed) {
            let received = self.came;
            self.say(ToServer::ParentLost { parent, received });
        }
    }

    pub(crate) fn done(&mut self) {
        self.finished = true;
        self.say(ToServer::Finished);
        if !self.wait {
            self.wants.push(Wants::Leave);
        }
    }
}
