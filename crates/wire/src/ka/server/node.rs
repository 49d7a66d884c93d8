//! What a server knows of one node.

use std::net::Ipv4Addr;
use std::time::Instant;

use super::{ATTACH, ConnId, DataId, PROBE, named};
use crate::ka::message::Layout;
use crate::ka::own::Stream;
use crate::ka::{OLD_CHILDREN, OLD_HISTORY};

/// The most children that a goldring gets when the tree is mended.
const OWN_CHILDREN: usize = 16;
/// An old parent moves on while a child is on its way to it; what is so close to the end
/// of its memory may be gone by then.
const OLD_MARGIN: u64 = 1 << 20;

/// How a node fared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It is at work.
    Working,
    /// It has everything.
    Finished,
    /// It has everything and has closed its connection.
    Gone,
    /// It has not, or not all.
    Lost(String),
}

impl Fate {
    /// Whether the copy is complete there.
    pub fn is_good(&self) -> bool {
        matches!(self, Self::Finished | Self::Gone)
    }
}

/// What a summary says of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Name and address.
    pub who: String,
    /// Its address.
    pub address: Ipv4Addr,
    /// How it fared.
    pub fate: Fate,
    /// It is goldring: its count, its digest and its command were checked.
    pub checked: bool,
    /// The last position that is known, in bytes.
    pub position: u64,
}

/// Who feeds a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seat {
    Server,
    Node(usize),
}

/// Where a node stands with its parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Link {
    /// There is no tree yet.
    None,
    /// It lost its parent. Needed are its own answer of this number, where it is now, and
    /// that of the ancestor which was `asked` then.
    Cut {
        own: u64,
        asked: Option<(Instant, u64)>,
    },
    /// It was told its parent.
    Told(Instant),
    /// It is connected there and was asked for its position. With a number, its answer is
    /// the last position before so many pongs.
    Arrived(Instant, Option<u64>),
    /// Its parent was told to serve it.
    Authorised(Instant),
    /// It is served.
    Served,
    /// It was told that it has seen the end.
    Ended,
}

#[derive(Debug)]
pub(super) struct Node {
    pub(super) conn: ConnId,
    pub(super) address: Ipv4Addr,
    /// The server's address, as this node knows it.
    pub(super) server: Ipv4Addr,
    pub(super) layout: Layout,
    pub(super) own: bool,
    pub(super) wait: bool,
    pub(super) name: String,
    /// How many bytes behind its position it still has.
    pub(super) keeps: u64,
    pub(super) parent: Seat,
    pub(super) link: Link,
    /// The connection by which the server feeds it.
    pub(super) data: Option<DataId>,
    pub(super) position: u64,
    /// It reports its position regularly.
    pub(super) reports: bool,
    /// Single reports asked for, and given.
    pub(super) asked: u64,
    pub(super) answered: u64,
    pub(super) pings: u64,
    pub(super) pongs: u64,
    pub(super) heard: Instant,
    /// How often it lost a parent that lives, and where it was then.
    pub(super) stumbles: (u32, u64),
    pub(super) got: Option<Stream>,
    /// Why it leaves, in its own words.
    pub(super) reason: Option<String>,
    pub(super) fate: Fate,
    /// The how-manieth it was to finish.
    pub(super) finished: u64,
    pub(super) released: bool,
}

impl Node {
    pub(super) fn who(&self) -> String {
        named(&self.name, self.address)
    }

    /// It takes part.
    pub(super) fn is_here(&self) -> bool {
        matches!(self.fate, Fate::Working | Fate::Finished)
    }

    pub(super) fn is_working(&self) -> bool {
        self.fate == Fate::Working
    }

    /// It can take children: an old client that has seen the end does not close the
    /// connection of one that comes then.
    pub(super) fn can_feed(&self) -> bool {
        self.is_working() && (self.own || self.link != Link::Ended)
    }

    /// It has everything and waits for FINISH.
    pub(super) fn waits_for_leave(&self) -> bool {
        self.fate == Fate::Finished && self.wait && !self.released
    }

    /// Its parent has it as a child.
    pub(super) fn is_attached(&self) -> bool {
        matches!(self.link, Link::Authorised(_) | Link::Served)
    }

    /// How many children it may have.
    pub(super) fn room(&self) -> usize {
        if self.own { OWN_CHILDREN } else { OLD_CHILDREN }
    }

    /// Whether it still has the stream from here on.
    pub(super) fn covers(&self, offset: u64) -> bool {
        let margin = if self.own || self.position == 0 {
            0
        } else {
            OLD_MARGIN
        };
        self.position + margin <= offset.saturating_add(self.keeps)
    }

    /// When something that it waits for is due.
    pub(super) fn due(&self) -> Option<Instant> {
        match self.link {
            Link::Cut {
                asked: Some((at, _)),
                ..
            } if self.is_working() => Some(at + PROBE),
            Link::Told(at) | Link::Arrived(at, _) | Link::Authorised(at) if self.is_working() => {
                Some(at + ATTACH)
            }
            _ => None,
        }
    }

    pub(super) fn report(&self) -> Report {
        Report {
            who: self.who(),
            address: self.address,
            fate: self.fate.clone(),
            checked: self.own,
            position: self.position,
        }
    }

    pub(super) fn new(
        (conn, now): (ConnId, Instant),
        (address, server): (Ipv4Addr, Ipv4Addr),
        layout: Layout,
    ) -> Self {
        Self {
            conn,
            address,
            server,
            layout,
            own: false,
            wait: false,
            name: String::new(),
            keeps: OLD_HISTORY,
            parent: Seat::Server,
            link: Link::None,
            data: None,
            position: 0,
            reports: false,
            asked: 0,
            answered: 0,
            pings: 0,
            pongs: 0,
            heard: now,
            stumbles: (0, 0),
            got: None,
            reason: None,
            fate: Fate::Working,
            finished: 0,
            released: false,
        }
    }
}
