//! The golden node's desk: who was left out, who came back, who is at the end.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::mpsc::Sender;
use std::sync::{Mutex, MutexGuard, PoisonError};

use goldring_wire::dollyplus::packet::Command;
use goldring_wire::dollyplus::status::{Abilities, State, Status};

use crate::dollyplus::desk::Answer;
use crate::dollyplus::link::{Trouble, addresses_of};
use crate::dollyplus::report::Event;

#[derive(Debug, Default)]
struct Inner {
    lost: HashMap<String, String>,
    /// Those of them that the others could not wait for.
    behind: Vec<String>,
    back: HashSet<String>,
    finished: bool,
}

/// The desk.
#[derive(Debug)]
pub(in crate::dollyplus) struct Counter {
    clients: Vec<String>,
    members: HashSet<IpAddr>,
    inner: Mutex<Inner>,
    events: Mutex<Sender<Event>>,
}

impl Counter {
    pub(super) fn new(clients: &[String], events: Sender<Event>) -> Self {
        Self {
            clients: clients.to_vec(),
            members: addresses_of(clients).into_iter().collect(),
            inner: Mutex::default(),
            events: Mutex::new(events),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new round: what was known of the last one is over, but for who is back.
    pub(super) fn begin(&self) {
        let mut inner = self.lock();
        inner.lost.clear();
        inner.behind.clear();
        inner.finished = false;
    }

    /// Somebody was left out.
    pub(super) fn lose(&self, name: &str, why: &str) {
        let mut inner = self.lock();
        inner
            .lost
            .entry(name.to_owned())
            .or_insert_with(|| why.to_owned());
    }

    /// The others cannot wait for a client.
    pub(super) fn leave_behind(&self, name: &str, why: &str) {
        self.lose(name, why);
        self.lock().behind.push(name.to_owned());
    }

    /// It did not come to that.
    pub(super) fn take_back(&self, name: &str) {
        let mut inner = self.lock();
        inner.behind.retain(|behind| behind != name);
        inner.lost.remove(name);
    }

    /// Those that the others could not wait for.
    pub(super) fn behind(&self) -> Vec<String> {
        self.lock().behind.clone()
    }

    /// Why a client was left out, if it was.
    pub(super) fn lost(&self, name: &str) -> Option<String> {
        self.lock().lost.get(name).cloned()
    }

    /// The last client has said that it has everything.
    pub(super) fn is_finished(&self) -> bool {
        self.lock().finished
    }

    /// Whether a client has said that it is back, since this was last asked.
    pub(super) fn is_back(&self, name: &str) -> bool {
        self.lock().back.remove(name)
    }

    fn tell(&self, event: Event) {
        let events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        // Nobody listens any more when the run is over.
        let _ = events.send(event);
    }

    /// `(<n1): Stop to sending to n2.`
    fn reported(&self, text: &str) {
        let words = text
            .strip_prefix("(<")
            .and_then(|rest| rest.split_once("): Stop to sending to "));
        match words {
            Some((by, name)) => {
                let name = name.trim_end_matches('.').to_owned();
                // One that was left out itself knows nothing of the others any more.
                if !self.clients.contains(&name) || self.lost(by).is_some() {
                    return;
                }
                // Its neighbour sees only that it is gone.
                if self.behind().contains(&name) {
                    return;
                }
                let why = format!("could not be reached by {by}");
                self.lose(&name, &why);
                let by = by.to_owned();
                self.tell(Event::Lost { name, by, why });
            }
            None => self.tell(Event::Note(text.to_owned())),
        }
    }
}

impl Answer for Counter {
    fn answer(&self, command: Command, from: IpAddr) -> Option<Command> {
        let status = Status {
            abilities: Abilities {
                own: true,
                zstd: false,
            },
            state: State::Busy {
                received: 0,
                stored: 0,
            },
            pace: None,
        };
        let answer = Some(Command::Status(status.encode()));
        if command == Command::Ping {
            return answer;
        }
        if !self.members.contains(&from) {
            let peer = from.to_string();
            let why = "sent a command and is not in the list of clients".to_owned();
            self.tell(Event::Dropped { peer, why });
            return None;
        }
        match command {
            Command::Report(text) => {
                self.reported(&text);
                None
            }
            Command::Stop(_) => {
                self.lock().finished = true;
                None
            }
            Command::Back { name, .. } => {
                // The others have gone on without it, and it must not disturb them.
                let lost = self.lost(&name).is_some();
                if self.clients.contains(&name) {
                    self.lock().back.insert(name);
                }
                if lost { Some(Command::StepOut) } else { answer }
            }
            _ => None,
        }
    }

    fn dropped(&self, from: IpAddr, why: &Trouble) {
        let (peer, why) = (from.to_string(), why.to_string());
        self.tell(Event::Dropped { peer, why });
    }
}
