//! A node: waits for its parent, stores what it gets, passes it on.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use goldring_contract::Root;
use goldring_contract::handover::Network;
use goldring_contract::limits::{DISCOVER_PORT, DOLLY_ACK_WAIT, DOLLY_RING_WAIT, DOLLY_STALL};
use goldring_wire::discover::Program;
use goldring_wire::dolly::Failure;
use goldring_wire::dolly::config::Config;
use goldring_wire::dolly::identity::Own;
use goldring_wire::dolly::opening::Opening;
use goldring_wire::dolly::password::Password;
use goldring_wire::dollyplus::status::Abilities;

use super::dial::Manner;
use super::member::{self, Setup};
use super::report::{Event, Reporter, Summary};
use super::waiting::{Found, await_parent};
use super::{net, waiting};
use crate::discover::Answerer;
use crate::dollyplus::client::Call;
use crate::pump::Sink;

/// How a node takes part in a ring.
#[derive(Debug, Clone)]
pub struct Options {
    /// What this computer is called.
    pub own: Own,
    /// The address to listen on; `0.0.0.0` is all.
    pub bind: Ipv4Addr,
    /// What this node says that it waits for, when a golden node asks.
    pub program: Program,
    /// The password that a parent must ask for; with one, only such a parent is followed.
    pub password: Option<Password>,
    /// This node can take part in dolly+ as well, whoever calls with that; with so much
    /// of it.
    pub plus: Option<Abilities>,
    /// How long to wait for a parent; for ever without.
    pub wait: Option<Duration>,
    /// How long data may stand still.
    pub stall: Duration,
    /// How long the children may take to come, and after this node's `ready` the data.
    pub ring_wait: Duration,
    /// How long the children may take to store everything after the last byte.
    pub count_wait: Duration,
}

impl Options {
    /// Those of a node that booted from the network and waits so long for a parent of this
    /// kind.
    ///
    /// # Errors
    /// A node that has only IPv6, which dolly does not speak, as a sentence.
    pub fn of_node(
        root: &Root,
        network: &Network,
        (program, wait): (Program, Duration),
    ) -> Result<Self, String> {
        let names: Vec<String> = network.hostname.iter().cloned().collect();
        let mut own = super::own(root, &names);
        let address = match network.address {
            None => None,
            Some(IpAddr::V4(address)) => Some(address),
            Some(IpAddr::V6(address)) => {
                return Err(format!(
                    "dolly needs IPv4, and this node has only {address}; give it an IPv4 address \
                     by DHCP or network:static"
                ));
            }
        };
        if let Some(address) = address.filter(|a| !own.addresses.contains(a)) {
            own.addresses.push(address);
        }
        Ok(Self {
            own,
            bind: address.unwrap_or(Ipv4Addr::UNSPECIFIED),
            program,
            password: None,
            plus: None,
            wait: Some(wait),
            stall: DOLLY_STALL,
            ring_wait: DOLLY_RING_WAIT,
            count_wait: DOLLY_ACK_WAIT,
        })
    }
}

/// How much is to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// So much: the golden node has said it.
    Total(u64),
    /// No less than so much, which is here already: an old golden node says the total
    /// at the end.
    AtLeast(u64),
}

impl Size {
    /// In bytes, as far as it is known.
    pub fn bytes(self) -> u64 {
        match self {
            Self::Total(bytes) | Self::AtLeast(bytes) => bytes,
        }
    }
}

/// Says whether so much fits, and if not, why and what to do.
pub type Fits = Box<dyn Fn(Size) -> Result<(), String>>;

/// Where the data goes, opened.
pub struct Store {
    /// Its name, for messages.
    pub name: String,
    /// Takes the bytes; its `finish` syncs.
    pub sink: Box<dyn Sink>,
    /// How much fits.
    pub fits: Fits,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Store({})", self.name)
    }
}

/// Opens what a configuration names. The error is one line that says what to do.
pub type OpenStore<'a> = &'a mut dyn FnMut(&Config) -> Result<Store, String>;

/// Why there is no clone.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The sockets cannot be had.
    #[error("listening on {address}, ports 9997 and 9998 (is another dolly running here?)")]
    Listen {
        /// The address.
        address: Ipv4Addr,
        /// What the system said.
        source: std::io::Error,
    },
    /// Nobody came in time.
    #[error("no server in {0} s")]
    NoServer(u64),
    /// The ring broke.
    #[error(transparent)]
    Ring(#[from] Failure),
}

/// How a ring ended.
#[derive(Debug)]
pub enum Ending {
    /// Everything is stored here.
    Stored(Summary),
    /// The ring goes over to dolly+: it will call on the same ports.
    Switched,
    /// A ring of dolly+ called.
    Called(Call),
}

/// Takes part in one ring.
///
/// # Errors
/// Nobody came, or the ring broke before everything was stored here.
pub fn clone(
    options: &Options,
    open: OpenStore<'_>,
    report: &mut dyn Reporter,
) -> Result<Ending, ClientError> {
    let address = options.bind;
    let listeners =
        net::listeners(address).map_err(|source| ClientError::Listen { address, source })?;
    let name = options.own.name();
    let answerer = Answerer::open(options.program, name, address);
    if let Err(error) = &answerer {
        report.event(Event::Note(format!(
            "a golden node with --nodes will not find this one (UDP port {DISCOVER_PORT}: {error})"
        )));
    }
    let deadline = options.wait.map(|wait| Instant::now() + wait);
    let parent = await_parent(
        listeners,
        (&options.own, options.password.as_ref(), options.plus),
        answerer.ok(),
        deadline,
        report,
    );
    let parent = match parent {
        Some(Found::Parent(parent)) => *parent,
        Some(Found::Plus(call)) => return Ok(Ending::Called(call)),
        None => {
            return Err(ClientError::NoServer(
                options.wait.map_or(0, |w| w.as_secs()),
            ));
        }
    };
    let setup = setup(options, &parent);
    announce(&parent, &setup, report);
    let control = std::iter::once(&parent.pair.control);
    for stream in parent.pair.data.iter().chain(control) {
        net::tune(stream, options.stall).map_err(here)?;
    }
    let write_limit = Some(Duration::from_secs(3));
    parent
        .pair
        .control
        .set_write_timeout(write_limit)
        .map_err(here)?;
    Ok(member::run(setup, parent, open, report)?)
}

fn here(error: std::io::Error) -> Failure {
    Failure::Here(format!("setting up a connection: {error}"))
}

fn setup(options: &Options, parent: &waiting::Parent) -> Setup {
    let config = &parent.config;
    let index = parent.place.index;
    let above = goldring_wire::dolly::topology::parent(index, config.fanout);
    let children = config.children_of(index).map(|i| config.clients[i].clone());
    let mut text = parent.text.clone();
    goldring_wire::dolly::config::pad(&mut text);
    Setup {
        talk: goldring_wire::dolly::node::Setup {
            name: parent.place.name.clone(),
            parent: match above {
                Some(above) => config.clients[above].clone(),
                None if config.server.is_empty() => parent.peer.to_string(),
                None => config.server.clone(),
            },
            children: children.collect(),
            text,
            own: options.plus.is_some(),
            opening: Opening {
                dialect: config.dialect,
                password: options.password.clone(),
                seed: goldring_sys::random::bytes(),
            },
            ring_wait: options.ring_wait,
            count_wait: options.count_wait,
        },
        manner: Manner::of(config, options.stall),
        place: index + 1,
        clients: config.clients.len(),
    }
}

fn announce(parent: &waiting::Parent, setup: &Setup, report: &mut dyn Reporter) {
    let output = match &parent.config.payload {
        goldring_wire::dolly::config::Payload::File { output, .. } => output.path.clone(),
        goldring_wire::dolly::config::Payload::Dummy { .. } => "nothing".to_owned(),
    };
    report.event(Event::Config {
        peer: parent.peer.to_string(),
        output,
        place: setup.place,
        of: setup.clients,
        children: setup.talk.children.clone(),
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_with_only_ipv6_is_told_that_dolly_needs_ipv4() {
        let of = |address: &str| {
            let network = Network {
                address: Some(address.parse().unwrap()),
                ..Network::default()
            };
            let waits = (Program::Dolly, DOLLY_STALL);
            Options::of_node(&Root::at("/nonexistent"), &network, waits)
        };
        assert_eq!(of("10.0.0.7").unwrap().bind, Ipv4Addr::new(10, 0, 0, 7));
        let said = of("2001:db8::7").unwrap_err();
        assert!(
            said.starts_with("dolly needs IPv4, and this node has only 2001:db8::7; give it"),
            "{said}"
        );
    }
}
