//! Any bytes in any order on the control connections of a ka server and of a client: no
//! panic, and nothing that grows without bound.

#![no_main]

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use goldring_wire::ka::client::{self, Client};
use goldring_wire::ka::message::Layout;
use goldring_wire::ka::own::Stream;
use goldring_wire::ka::server::{self, ConnId, DataId, Late, Lead, Server};
use libfuzzer_sys::fuzz_target;

/// Who connects: few, so that addresses in messages mean somebody.
fn address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, 11 + number % 4)
}

fn server_input<'a>(op: u8, arg: u8, bytes: &'a [u8]) -> server::Input<'a> {
    let conn = ConnId((arg % 6).into());
    match op % 12 {
        0 | 1 => server::Input::Accepted {
            conn,
            from: address(arg),
            local: Ipv4Addr::new(10, 77, 0, 1),
        },
        2 => server::Input::Closed(conn),
        3 => server::Input::Called(DataId(arg.into()), address(arg)),
        4 => server::Input::Broke(DataId(arg.into())),
        5 => server::Input::Head(u64::from(arg) << 10, u64::from(arg) << 20),
        6 => server::Input::Ended(Stream {
            bytes: u64::from(arg) << 20,
            digest: 0,
        }),
        7 if arg == 0 => server::Input::Failed("no".into()),
        8 => server::Input::Asked(address(arg)),
        9 => server::Input::Tick,
        _ => server::Input::Received(conn, bytes),
    }
}

fn client_input<'a>(op: u8, arg: u8, bytes: &'a [u8]) -> client::Input<'a> {
    match op % 12 {
        0 => client::Input::Called(DataId(arg.into()), address(arg)),
        1 => client::Input::HungUp(DataId(arg.into())),
        2 if arg == 0 => client::Input::Closed,
        3 => client::Input::Refused("no".into()),
        4 => client::Input::ParentEnded(Stream {
            bytes: u64::from(arg) << 20,
            digest: 0,
        }),
        5 => client::Input::Came(u64::from(arg) << 20),
        6 => client::Input::Forgotten(DataId(arg.into())),
        7 => client::Input::Done,
        8 if arg == 0 => client::Input::Failed("no".into()),
        9 => client::Input::Tick,
        _ => client::Input::Received(bytes),
    }
}

fuzz_target!(|script: &[u8]| {
    let mut now = Instant::now();
    let mut server = Server::new(
        server::Setup {
            wanted: 3,
            expected: None,
            patience: Duration::from_secs(60),
            late: Late::GoOn,
            arity: 1 + usize::from(script.first().copied().unwrap_or(0) % 3),
            lead: Lead::WhenFew,
            release: Some(Duration::from_secs(1)),
            history: 64 << 20,
            silence: Duration::from_secs(10),
        },
        now,
    );
    let mut client = Client::new(
        client::Setup {
            layout: Layout::A32,
            name: "a".into(),
            wait: true,
            keeps: 48 << 20,
            hold: client::HOLD,
        },
        now,
    );
    let mut rest = script;
    while let [op, arg, length, tail @ ..] = rest {
        let (bytes, tail) = tail.split_at(usize::from(*length).min(tail.len()));
        rest = tail;
        now += Duration::from_millis(u64::from(*op) * 8);
        server.handle(now, server_input(*op, *arg, bytes));
        client.handle(now, client_input(*op, *arg, bytes));
        while server.poll_action().is_some() || server.poll_event().is_some() {}
        while client.poll_action().is_some() || client.poll_event().is_some() {}
        let _ = (server.deadline(), client.deadline(), server.reports());
    }
});
