//! Recorded conversations of dolly 0.57: our machines take the place of each computer
//! in turn, get what it got, and must send what it sent. The one difference allowed is
//! that our server sends the total before the data.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use goldring_wire::dolly::config::Config;
use goldring_wire::dolly::identity::Own;
use goldring_wire::dolly::node::{self, Input, Link, Node};
use goldring_wire::dolly::opening::Opening;
use goldring_wire::dolly::server::{self, Server};
use goldring_wire::dolly::topology;

const CHAIN: &str = include_str!("../../../../fixtures/dolly/classic057_3c.wire");
const TREE: &str = include_str!("../../../../fixtures/dolly/classic057_fan2_6c.wire");

pub(crate) struct Message {
    pub(crate) parent: String,
    pub(crate) child: String,
    pub(crate) down: bool,
    /// Bytes of control, or how much data.
    pub(crate) what: Result<Vec<u8>, u64>,
}

pub(crate) fn read(text: &str) -> Vec<Message> {
    let message = |line: &str| {
        let mut words = line.split(' ');
        let link = words.next().unwrap();
        let down = link.contains('>');
        let (parent, child) = link.split_once(['>', '<']).unwrap();
        let what = match (words.next().unwrap(), words.next().unwrap()) {
            ("ctrl", hex) => Ok((0..hex.len() / 2)
                .map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap())
                .collect()),
            (_, length) => Err(length.parse().unwrap()),
        };
        Message {
            parent: parent.into(),
            child: child.into(),
            down,
            what,
        }
    };
    text.lines().map(message).collect()
}

/// All control bytes of one direction of one connection.
pub(crate) fn stream(messages: &[Message], parent: &str, child: &str, down: bool) -> Vec<u8> {
    let of = |m: &&Message| m.parent == parent && m.child == child && m.down == down;
    let bytes = messages
        .iter()
        .filter(of)
        .filter_map(|m| m.what.as_ref().ok());
    bytes.flatten().copied().collect()
}

fn config_of(messages: &[Message]) -> (Config, Vec<u8>) {
    let text = messages[0].what.clone().unwrap();
    (Config::parse_bytes(&text).unwrap(), text)
}

#[test]
fn our_server_sends_what_dolly_sent() {
    for capture in [CHAIN, TREE] {
        let messages = read(capture);
        let (config, text) = config_of(&messages);
        let now = Instant::now();
        let children = topology::of_server(config.clients.len(), config.fanout).len();
        let mut server = Server::new(
            server::Setup {
                offers: false,
                clients: config.clients.clone(),
                children,
                text: config.text().unwrap().bytes,
                total: Some(10_000),
                opening: Opening::default(),
                give_up: None,
                count_wait: Duration::from_secs(900),
            },
            now,
        );
        for child in 0..children {
            server.handle(now, server::Input::Connected(child)).unwrap();
        }
        let mut started = false;
        for m in messages.iter().filter(|m| m.parent == "n0" && !m.down) {
            let child = config.clients.iter().position(|c| *c == m.child).unwrap();
            let bytes = m.what.as_ref().unwrap();
            if bytes.len() == 8 && !started {
                started = true;
                server.handle(now, server::Input::Sent).unwrap();
            }
            server
                .handle(now, server::Input::Received(child, bytes))
                .unwrap();
        }
        assert!(server.is_done());
        let mut sent: HashMap<usize, Vec<u8>> = HashMap::new();
        while let Some(t) = server.poll_transmit() {
            sent.entry(t.to).or_default().extend(t.bytes);
        }
        for child in 0..children {
            let expected = stream(&messages, "n0", &config.clients[child], true);
            assert_eq!(sent[&child], expected);
            assert!(expected.starts_with(&text));
        }
    }
}

/// Lines of several children may pass a node in any order; dolly relays them as they
/// come. Here the order of the capture is kept, so the bytes must be the same.
#[test]
fn our_node_sends_what_each_dolly_sent() {
    for capture in [CHAIN, TREE] {
        let messages = read(capture);
        let (config, text) = config_of(&messages);
        for me in &config.clients {
            let sent = play_node(&messages, &config, &text, me);
            let index = config.clients.iter().position(|c| c == me).unwrap();
            for (k, child) in config.children_of(index).enumerate() {
                let expected = stream(&messages, me, &config.clients[child], true);
                assert_eq!(sent[&Link::Child(k)], expected, "{me} to {child}");
            }
            let parent = topology::parent(index, config.fanout)
                .map_or_else(|| config.server.clone(), |i| config.clients[i].clone());
            let expected = stream(&messages, &parent, me, false);
            assert_eq!(
                String::from_utf8_lossy(&sent[&Link::Parent]),
                String::from_utf8_lossy(&expected),
                "{me} upward"
            );
        }
    }
}

fn play_node(
    messages: &[Message],
    config: &Config,
    text: &[u8],
    me: &str,
) -> HashMap<Link, Vec<u8>> {
    let now = Instant::now();
    let own = Own {
        names: vec![me.to_owned()],
        addresses: vec![],
    };
    let place = own.find(config).unwrap();
    let children: Vec<String> = config
        .children_of(place.index)
        .map(|i| config.clients[i].clone())
        .collect();
    let mut node = Node::new(
        node::Setup {
            own: true,
            name: place.name,
            parent: "parent".into(),
            children: children.clone(),
            text: text.to_vec(),
            opening: Opening::default(),
            ring_wait: Duration::from_secs(1),
            count_wait: Duration::from_secs(1),
        },
        now,
    );
    let mut input = |input: Input<'_>| node.handle(now, input).unwrap();
    input(Input::Opened);
    for k in 0..children.len() {
        input(Input::Connected(k));
    }
    let mut stored = false;
    for m in messages {
        let Ok(bytes) = &m.what else { continue };
        let is_config = bytes.starts_with(b"infile");
        if m.child == me && m.down && !is_config {
            input(Input::Received(Link::Parent, bytes));
            stored = bytes.len() == 8;
            if children.is_empty() && stored {
                input(Input::Stored(10_000));
            }
        }
        if m.parent == me && !m.down {
            let k = children.iter().position(|c| *c == m.child).unwrap();
            if bytes.len() == 8 && stored {
                stored = false;
                input(Input::Stored(10_000));
            }
            input(Input::Received(Link::Child(k), bytes));
        }
    }
    assert!(node.is_done(), "{me}");
    let mut sent: HashMap<Link, Vec<u8>> = HashMap::new();
    while let Some(t) = node.poll_transmit() {
        sent.entry(t.to).or_default().extend(t.bytes);
    }
    sent
}
