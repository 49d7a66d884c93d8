//! Any bytes in any order on the control connections of a server and of a node: no
//! panic, and nothing that grows without bound.

#![no_main]

use std::time::{Duration, Instant};

use goldring_wire::dolly::config::Dialect;
use goldring_wire::dolly::node::{self, Link, Node};
use goldring_wire::dolly::opening::Opening;
use goldring_wire::dolly::password::Password;
use goldring_wire::dolly::server::{self, Server};
use libfuzzer_sys::fuzz_target;

const LIMIT: Duration = Duration::from_secs(60);

fn names() -> Vec<String> {
    ["a", "b", "c"].map(str::to_owned).to_vec()
}

/// The first byte of a script chooses the dialect and a password.
fn opening(choice: u8) -> Opening {
    let dialect = match choice % 3 {
        0 => Dialect::Classic,
        _ => Dialect::Suse,
    };
    Opening {
        dialect,
        password: (choice % 3 == 2).then(|| Password::new("x")),
        seed: [0; 32],
    }
}

fuzz_target!(|script: &[u8]| {
    let (choice, script) = script.split_first().unwrap_or((&0, &[]));
    let now = Instant::now();
    let mut server = Server::new(
        server::Setup {
offers: false,
            clients: names(),
            children: 2,
            text: b"endconfig\n".to_vec(),
            total: Some(10),
            opening: opening(*choice),
            give_up: Some(LIMIT),
            count_wait: LIMIT,
        },
        now,
    );
    let mut node = Node::new(
        node::Setup {
own: true,
            name: "a".into(),
            parent: "s".into(),
            children: vec!["b".into(), "c".into()],
            text: b"endconfig\n".to_vec(),
            opening: opening(*choice),
            ring_wait: LIMIT,
            count_wait: LIMIT,
        },
        now,
    );
    let (mut server_ok, mut node_ok) = (true, true);
    let mut rest = script;
    while let [op, len, tail @ ..] = rest {
        let (bytes, tail) = tail.split_at(usize::from(*len).min(tail.len()));
        rest = tail;
        let child = usize::from(op >> 4) % 3;
        let link = if child == 2 {
            Link::Parent
        } else {
            Link::Child(child)
        };
        let at = now + Duration::from_secs(u64::from(*len));
        if server_ok {
            let input = match op % 8 {
                0 => server::Input::Connected(child),
                1 => server::Input::Closed(child),
                2 => server::Input::Sent,
                3 => server::Input::Tick,
                4 => server::Input::Total(u64::from(*len)),
                _ => server::Input::Received(child, bytes),
            };
            server_ok = server.handle(at, input).is_ok();
        }
        if node_ok {
            let input = match op % 8 {
                0 => node::Input::Connected(child),
                1 => node::Input::Closed(link),
                2 => node::Input::Opened,
                3 => node::Input::Tick,
                4 => node::Input::Stored(u64::from(*len)),
                5 => node::Input::Data,
                _ => node::Input::Received(link, bytes),
            };
            let result = node.handle(at, input);
            if let Err(failure) = &result {
                node.last_words(failure);
            }
            node_ok = result.is_ok();
        }
        while server.poll_transmit().is_some() || server.poll_event().is_some() {}
        while node.poll_transmit().is_some() || node.poll_event().is_some() {}
    }
});
