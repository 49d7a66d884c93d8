//! A ring of goldring goes over to dolly+; with anybody else in it, it stays what it is.

use std::time::{Duration, Instant};

use goldring_wire::dolly::config::Config;
use goldring_wire::dolly::hearing::{Heard, Hearing};
use goldring_wire::dolly::node::{self, Link, Node};
use goldring_wire::dolly::opening::Opening;
use goldring_wire::dolly::own;
use goldring_wire::dolly::server::{self, Server};
use goldring_wire::dollyplus::packet::Command;
use goldring_wire::dollyplus::status::{Abilities, State, Status};

const CLIENTS: usize = 3;

/// The golden node's and the nodes' last events in a chain in which `able` says who can
/// go over.
fn ring(offers: bool, able: [bool; CLIENTS]) -> (Vec<server::Event>, Vec<Vec<node::Event>>) {
    let now = Instant::now();
    let text = "infile /i\noutfile /o\nserver n0\nfirstclient n1\nlastclient n3\nclients 3\nn1\nn2\nn3\nendconfig\n";
    let mut text = Config::parse(text).unwrap().text().unwrap().bytes;
    if offers {
        own::offer(&mut text);
    }
    // An old reader still understands it.
    assert_eq!(Config::received(&text).unwrap().clients.len(), CLIENTS);
    let names: Vec<String> = (1..=CLIENTS).map(|i| format!("n{i}")).collect();
    let mut golden = Server::new(
        server::Setup {
            clients: names.clone(),
            children: 1,
            text: text.clone(),
            offers,
            opening: Opening::default(),
            total: Some(1000),
            give_up: None,
            count_wait: Duration::from_secs(9),
        },
        now,
    );
    golden.handle(now, server::Input::Connected(0)).unwrap();
    let mut nodes: Vec<Node> = (0..CLIENTS)
        .map(|i| {
            let setup = node::Setup {
                name: names[i].clone(),
                parent: "n0".into(),
                children: names.get(i + 1).cloned().into_iter().collect(),
                text: text.clone(),
                own: able[i],
                opening: Opening::default(),
                ring_wait: Duration::from_secs(9),
                count_wait: Duration::from_secs(9),
            };
            let mut node = Node::new(setup, now);
            node.handle(now, node::Input::Opened).unwrap();
            if i + 1 < CLIENTS {
                node.handle(now, node::Input::Connected(0)).unwrap();
            }
            node
        })
        .collect();
    let mut moved = true;
    while moved {
        moved = false;
        while let Some(message) = golden.poll_transmit() {
            // The configuration is what the nodes have already.
            if message.bytes != text {
                nodes[0]
                    .handle(now, node::Input::Received(Link::Parent, &message.bytes))
                    .unwrap();
            }
            moved = true;
        }
        for i in 0..CLIENTS {
            while let Some(message) = nodes[i].poll_transmit() {
                moved = true;
                match message.to {
                    Link::Parent if i == 0 => golden
                        .handle(now, server::Input::Received(0, &message.bytes))
                        .unwrap(),
                    Link::Parent => nodes[i - 1]
                        .handle(now, node::Input::Received(Link::Child(0), &message.bytes))
                        .unwrap(),
                    Link::Child(_) if message.bytes == text => {}
                    Link::Child(_) => nodes[i + 1]
                        .handle(now, node::Input::Received(Link::Parent, &message.bytes))
                        .unwrap(),
                }
            }
        }
    }
    let golden = std::iter::from_fn(|| golden.poll_event()).collect();
    let nodes = nodes
        .iter_mut()
        .map(|node| std::iter::from_fn(|| node.poll_event()).collect())
        .collect();
    (golden, nodes)
}

#[test]
fn a_ring_of_goldring_goes_over() {
    let (golden, nodes) = ring(true, [true; CLIENTS]);
    assert_eq!(golden.last(), Some(&server::Event::Switch));
    for events in nodes {
        assert_eq!(events.last(), Some(&node::Event::Switch));
    }
}

#[test]
fn with_anybody_else_in_it_or_without_an_offer_it_stays() {
    for (offers, able) in [
        (true, [true, false, true]),
        (true, [false, true, true]),
        (true, [true, true, false]),
        (false, [true; CLIENTS]),
    ] {
        let (golden, nodes) = ring(offers, able);
        assert!(golden.contains(&server::Event::Start), "{able:?}");
        assert!(!golden.contains(&server::Event::Switch), "{able:?}");
        for events in nodes {
            assert!(
                events.contains(&node::Event::Total(1000)),
                "{able:?}: {events:?}"
            );
        }
    }
}

#[test]
fn a_node_that_waits_for_dolly_answers_dping() {
    let abilities = Abilities {
        own: true,
        zstd: true,
    };
    let ping = Command::Ping.encode();
    for cut in 1..ping.len() {
        let mut hearing = Hearing::new(None, Some(abilities));
        assert_eq!(hearing.push(&ping[..cut]), Ok(Heard::Nothing), "{cut}");
        let Ok(Heard::Plus(answer)) = hearing.push(&ping[cut..]) else {
            panic!("{cut}");
        };
        let Ok(Command::Status(text)) = Command::decode(7, &answer[8..]) else {
            panic!();
        };
        let (state, pace) = (State::Waiting, None);
        let status = Status {
            abilities,
            state,
            pace,
        };
        assert_eq!(Status::decode(&text), status);
    }
    // One that has not learnt it takes it for garbage, and so is any other command.
    assert!(
        Hearing::new(None, None)
            .push(&[&ping[..], b"\0\0\n"].concat())
            .is_err()
    );
    let stop = Command::Stop("x".into()).encode();
    assert!(Hearing::new(None, Some(abilities)).push(&stop).is_err());
    assert!(Hearing::new(None, Some(abilities)).push(b"CMNX").is_err());
}
