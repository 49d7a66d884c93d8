//! Who is let in, who is shown the door, and what is said between goldring.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use goldring_wire::ka::client::{self, Client};
use goldring_wire::ka::message::{Layout, ToClient, ToServer};
use goldring_wire::ka::own::{FromClient, FromServer, Stream};
use goldring_wire::ka::reader::{OfServer, ServerSaid};
use goldring_wire::ka::server::{
    self, Action, ConnId, DataId, Failure, GREET, Late, Lead, Outcome, Server, UNKNOWN_MAX,
};

const HERE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

fn setup(wanted: usize) -> server::Setup {
    server::Setup {
        wanted,
        expected: None,
        patience: Duration::from_secs(60),
        late: Late::GiveUp,
        arity: 1,
        lead: Lead::Unbounded,
        release: None,
        history: 64 << 20,
        silence: Duration::from_secs(10),
    }
}

struct Gate {
    now: Instant,
    server: Server,
}

impl Gate {
    fn new(setup: server::Setup) -> Self {
        let now = Instant::now();
        Self {
            now,
            server: Server::new(setup, now),
        }
    }

    fn input(&mut self, input: server::Input<'_>) {
        self.server.handle(self.now, input);
    }

    fn connect(&mut self, number: u8) -> ConnId {
        let conn = ConnId(number.into());
        self.input(server::Input::Accepted {
            conn,
            from: node(number),
            local: HERE,
        });
        conn
    }

    fn say(&mut self, number: u8, words: &[ToServer]) {
        let bytes: Vec<u8> = words.iter().flat_map(|w| w.emit(Layout::A32)).collect();
        self.input(server::Input::Received(ConnId(number.into()), &bytes));
    }

    fn join(&mut self, number: u8, own: bool) {
        self.connect(number);
        self.say(number, &joining(own));
    }

    fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.now += Duration::from_secs(1);
            self.input(server::Input::Tick);
        }
    }

    /// What was said to a connection, and whether it was closed.
    fn heard(&mut self, number: u8) -> (Vec<ServerSaid>, bool) {
        let (mut reader, mut said, mut closed) = (OfServer::new(Layout::A32), Vec::new(), false);
        while let Some(action) = self.server.poll_action() {
            match action {
                Action::Send(conn, bytes) if conn.0 == u64::from(number) => {
                    let mut rest = &bytes[..];
                    while let Some(word) = reader.next(&mut rest).unwrap() {
                        said.push(word);
                    }
                }
                Action::Close(conn) if conn.0 == u64::from(number) => closed = true,
                _ => {}
            }
        }
        (said, closed)
    }

    fn events(&mut self) -> String {
        let mut all = Vec::new();
        while let Some(event) = self.server.poll_event() {
            all.push(event.to_string());
        }
        all.join("\n")
    }
}

fn node(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, number)
}

fn joining(own: bool) -> [ToServer; 3] {
    [
        ToServer::Hello { own },
        ToServer::Options { wait: true },
        ToServer::AcceptsData,
    ]
}

#[test]
fn a_connection_that_does_not_behave_is_closed_and_the_session_goes_on() {
    let hello = ToServer::Hello { own: false };
    let ugly: &[&[ToServer]] = &[
        &[ToServer::AcceptsData],
        &[ToServer::GoNow],
        &[hello, hello],
        &[hello, ToServer::Finished],
        &[hello, ToServer::Position(1)],
        &[hello, ToServer::Pong],
        &[hello, ToServer::GoNow],
        &[hello, ToServer::AcceptsData, hello],
        &[hello, ToServer::AcceptsData, ToServer::Finished],
        &[hello, ToServer::AcceptsData, ToServer::AcceptsData],
        &[hello, ToServer::AcceptsData, ToServer::GoNow],
    ];
    for words in ugly {
        let mut gate = Gate::new(setup(2));
        gate.connect(7);
        gate.say(7, words);
        let (_, closed) = gate.heard(7);
        assert!(closed, "{words:?}");
        gate.join(8, false);
        gate.join(9, false);
        let (said, closed) = gate.heard(8);
        assert_eq!(
            said,
            [ServerSaid::Plain(ToClient::Parent(HERE))],
            "{words:?}"
        );
        assert!(!closed);
    }
    // Words of goldring from one that has not said that it is goldring.
    let mut gate = Gate::new(setup(1));
    gate.connect(7);
    gate.say(7, &[hello]);
    let word = FromClient::Name("x".into()).emit(Layout::A32);
    gate.input(server::Input::Received(ConnId(7), &word));
    assert!(gate.heard(7).1);
}

#[test]
fn silent_connections_go_and_too_many_are_not_taken() {
    let mut gate = Gate::new(setup(1));
    for i in 0..=UNKNOWN_MAX as u64 {
        let accepted = server::Input::Accepted {
            conn: ConnId(1000 + i),
            from: node(9),
            local: HERE,
        };
        gate.input(accepted);
    }
    let closed = |gate: &mut Gate| {
        let mut count = 0;
        while let Some(action) = gate.server.poll_action() {
            count += usize::from(matches!(action, Action::Close(_)));
        }
        count
    };
    assert_eq!(closed(&mut gate), 1);
    gate.pass(GREET.as_secs() + 1);
    assert_eq!(closed(&mut gate), UNKNOWN_MAX);
    gate.join(2, false);
    assert_eq!(gate.heard(2).0.len(), 1);
}

#[test]
fn who_is_missing_is_named() {
    let mut gate = Gate::new(setup(4));
    gate.join(2, false);
    gate.join(3, true);
    // It asks in all its networks, and one question came late.
    gate.input(server::Input::Asked(node(3)));
    gate.input(server::Input::Asked(node(4)));
    gate.join(5, false);
    gate.input(server::Input::Closed(ConnId(5)));
    // Whoever is there says so.
    for _ in 0..61 {
        gate.pass(1);
        gate.say(2, &[ToServer::Pong]);
        gate.say(3, &[ToServer::Pong]);
    }
    let Some(Outcome::Failed(Failure::Missing { here, missing, .. })) = gate.server.outcome()
    else {
        panic!("{:?}", gate.server.outcome());
    };
    assert_eq!(*here, 2);
    assert_eq!(
        missing,
        "10.0.0.4 asked for the session and did not connect, 10.0.0.5 was here and has left"
    );
    let (said, closed) = gate.heard(3);
    assert!(closed);
    assert!(
        matches!(said.last(), Some(ServerSaid::Own(FromServer::Reason(why))) if why.contains("2 of 4")),
        "{said:?}"
    );
}

#[test]
fn a_node_that_falls_silent_while_it_waits_is_not_counted() {
    let mut gate = Gate::new(setup(2));
    gate.join(2, false);
    gate.pass(13);
    assert!(gate.heard(2).1);
    gate.join(3, false);
    assert!(gate.server.answers());
    assert!(gate.events().contains("it has answered nothing for 10 s"));
    // Switched on again.
    gate.join(2, false);
    assert!(!gate.server.answers());
}

#[test]
fn only_those_who_are_expected_take_part() {
    let mut gate = Gate::new(server::Setup {
        expected: Some(vec![("node2".into(), node(2)), ("node3".into(), node(3))]),
        late: Late::GoOn,
        ..setup(1)
    });
    gate.join(9, true);
    let (said, closed) = gate.heard(9);
    assert!(closed);
    let why = "it is not one of the nodes of this session".to_owned();
    assert_eq!(said.last(), Some(&ServerSaid::Own(FromServer::Reason(why))));
    gate.join(3, false);
    assert_eq!(gate.server.absent(), ["node2 (10.0.0.2)"]);
    // The same address again is the same node, started again.
    gate.now += Duration::from_secs(1);
    let again = server::Input::Accepted {
        conn: ConnId(33),
        from: node(3),
        local: HERE,
    };
    gate.input(again);
    let words: Vec<u8> = joining(false)
        .iter()
        .flat_map(|w| w.emit(Layout::A64))
        .collect();
    gate.input(server::Input::Received(ConnId(33), &words));
    assert!(gate.heard(3).1);
    assert!(gate.server.answers());
    for _ in 0..61 {
        gate.pass(1);
        let pong = ToServer::Pong.emit(Layout::A64);
        gate.input(server::Input::Received(ConnId(33), &pong));
    }
    assert!(!gate.server.answers(), "it goes on with one");
    let reports = gate.server.reports();
    assert_eq!(reports[0].who, "node3 (10.0.0.3)");
    gate.join(2, true);
    let (said, closed) = gate.heard(2);
    assert!(closed);
    assert!(
        matches!(said.last(), Some(ServerSaid::Own(FromServer::Reason(why))) if why.starts_with("the transfer has begun")),
        "{said:?}"
    );
}

/// One node that is served and has seen the end, with its digest.
fn flowing(own: bool, got: Option<Stream>) -> (Gate, Stream) {
    let sent = Stream {
        bytes: 5,
        digest: 1234,
    };
    let mut gate = Gate::new(setup(1));
    gate.join(2, own);
    gate.input(server::Input::Called(DataId(1), node(2)));
    gate.say(2, &[ToServer::Position(0)]);
    gate.input(server::Input::Ended(sent));
    let parent = HERE;
    let received = 5;
    gate.say(2, &[ToServer::ParentLost { parent, received }]);
    if let Some(got) = got {
        let word = FromClient::Got(got).emit(Layout::A32);
        gate.input(server::Input::Received(ConnId(2), &word));
    }
    gate.say(2, &[ToServer::Finished]);
    (gate, sent)
}

#[test]
fn a_copy_that_differs_is_named_at_the_server() {
    let good = Stream {
        bytes: 5,
        digest: 1234,
    };
    let damaged = Stream { digest: 1, ..good };
    for (own, got, is_good) in [
        (false, None, true),
        (true, Some(good), true),
        (true, Some(damaged), false),
        (true, Some(Stream { bytes: 4, ..good }), false),
        (true, None, false),
    ] {
        let (mut gate, sent) = flowing(own, got);
        let (said, closed) = gate.heard(2);
        assert_eq!(closed, !is_good, "{got:?}");
        let ended = ServerSaid::Own(FromServer::Ended(sent));
        // To an old client nothing is said that it does not know.
        assert_eq!(said.contains(&ended), own);
        assert_eq!(said.iter().any(|s| matches!(s, ServerSaid::Own(_))), own);
        gate.input(server::Input::Closed(ConnId(2)));
        let report = gate.server.reports().remove(0);
        assert_eq!(report.fate.is_good(), is_good, "{report:?}");
        assert!(gate.server.outcome().is_some());
        let lost = gate.events();
        assert_eq!(lost.contains("clone it again"), !is_good, "{lost}");
    }
}

fn node_machine() -> (Client, Instant) {
    let now = Instant::now();
    let setup = client::Setup {
        layout: Layout::A32,
        name: "node2".into(),
        wait: false,
        keeps: 1 << 20,
        hold: client::HOLD,
    };
    (Client::new(setup, now), now)
}

#[test]
fn a_copy_that_differs_is_an_error_of_the_node() {
    let good = Stream {
        bytes: 5,
        digest: 1234,
    };
    for (is_own, promised, fails) in [
        // An old server says nothing; of one of ours the word must not be missing.
        (false, None, false),
        (true, None, true),
        (true, Some(good), false),
        (true, Some(Stream { digest: 1, ..good }), true),
        (true, Some(Stream { bytes: 6, ..good }), true),
    ] {
        let (mut client, now) = node_machine();
        let mut hear = |bytes: Vec<u8>| client.handle(now, client::Input::Received(&bytes));
        if is_own {
            hear(FromServer::Welcome.emit(Layout::A32));
        }
        hear(ToClient::Parent(HERE).emit(Layout::A32));
        client.handle(now, client::Input::ParentEnded(good));
        let mut hear = |bytes: Vec<u8>| client.handle(now, client::Input::Received(&bytes));
        if let Some(promised) = promised {
            hear(FromServer::Ended(promised).emit(Layout::A32));
        }
        hear(ToClient::EndOfFlow.emit(Layout::A32));
        client.handle(now, client::Input::Done);
        let outcome = client.outcome().unwrap().clone();
        let failed = client::Outcome::Complete(good, None) != outcome;
        assert_eq!(failed, fails, "{promised:?}: {outcome:?}");
    }
}

#[test]
fn whoever_has_everything_does_its_work_without_the_server() {
    let all = Stream {
        bytes: 5,
        digest: 1234,
    };
    let silent = client::SERVER_SILENCE;
    for (later, ending, why) in [
        (Duration::ZERO, client::Input::Closed, "the server is gone"),
        (silent, client::Input::Tick, "has said nothing for 30 s"),
    ] {
        let (mut client, now) = node_machine();
        let hear = |client: &mut Client, bytes: Vec<u8>| {
            client.handle(now, client::Input::Received(&bytes));
        };
        hear(&mut client, FromServer::Welcome.emit(Layout::A32));
        hear(&mut client, ToClient::Parent(HERE).emit(Layout::A32));
        client.handle(now, client::Input::ParentEnded(all));
        hear(&mut client, FromServer::Ended(all).emit(Layout::A32));
        hear(&mut client, ToClient::EndOfFlow.emit(Layout::A32));
        client.handle(now + later, ending);
        assert_eq!(client.outcome(), None, "it has everything and works");
        assert_eq!(client.deadline(), None);
        client.handle(now + later + silent, client::Input::Tick);
        client.handle(now + later + silent, client::Input::Done);
        let Some(client::Outcome::Complete(got, Some(trouble))) = client.outcome() else {
            panic!("{:?}", client.outcome());
        };
        assert_eq!(*got, all);
        assert!(trouble.contains(why), "{trouble}");
    }
    // Its work may fail all the same, and what a server says counts.
    let (mut client, now) = node_machine();
    for bytes in [
        FromServer::Welcome.emit(Layout::A32),
        ToClient::Parent(HERE).emit(Layout::A32),
    ] {
        client.handle(now, client::Input::Received(&bytes));
    }
    client.handle(now, client::Input::ParentEnded(all));
    for bytes in [
        FromServer::Ended(all).emit(Layout::A32),
        ToClient::EndOfFlow.emit(Layout::A32),
    ] {
        client.handle(now, client::Input::Received(&bytes));
    }
    client.handle(now, client::Input::Closed);
    client.handle(now, client::Input::Failed("no room".into()));
    let failed = client::Outcome::Failed(client::Failure::Here("no room".into()));
    assert_eq!(client.outcome(), Some(&failed));
}

#[test]
fn what_no_server_says_ends_a_node_with_a_sentence() {
    let end = ToClient::EndOfFlow.emit(Layout::A32);
    for (ugly, sentence) in [
        (&end[..], "the end, while data still comes"),
        (&[0xff; 16][..], "an unknown message"),
    ] {
        let (mut client, now) = node_machine();
        client.handle(now, client::Input::Received(ugly));
        let Some(client::Outcome::Failed(failure)) = client.outcome() else {
            panic!("{ugly:?}");
        };
        assert!(failure.to_string().contains(sentence), "{failure}");
    }
    // A server of the other layout closes at once.
    let (mut client, now) = node_machine();
    client.handle(now, client::Input::Closed);
    let turned = client::Outcome::Failed(client::Failure::TurnedAway);
    assert_eq!(client.outcome(), Some(&turned));
    // One of goldring that is frozen.
    let (mut client, now) = node_machine();
    client.handle(
        now,
        client::Input::Received(&FromServer::Welcome.emit(Layout::A32)),
    );
    client.handle(now + client::SERVER_SILENCE, client::Input::Tick);
    let silent = client::Outcome::Failed(client::Failure::Silent(30));
    assert_eq!(client.outcome(), Some(&silent));
}

/// An old server dies of a stranger, so it hears of nobody who does not stay.
#[test]
fn strangers_at_a_node_are_told_late_or_not_at_all() {
    let told = |client: &mut Client| {
        let mut count = 0;
        while let Some(action) = client.poll_action() {
            if let client::Action::Send(bytes) = action {
                let said = ToServer::parse(Layout::A32, &bytes);
                count += usize::from(matches!(said, Ok(ToServer::GotClient(_))));
            }
        }
        count
    };
    let (mut client, now) = node_machine();
    client.handle(now, client::Input::Called(DataId(1), node(66)));
    let mut at = now + Duration::from_secs(1);
    client.handle(at, client::Input::Tick);
    assert_eq!(told(&mut client), 0, "there is no tree yet");
    client.handle(at, client::Input::HungUp(DataId(1)));
    client.handle(
        at,
        client::Input::Received(&ToClient::Parent(HERE).emit(Layout::A32)),
    );
    client.handle(at, client::Input::Called(DataId(2), node(67)));
    assert_eq!(told(&mut client), 0);
    assert_eq!(client.deadline(), Some(at + client::HOLD));
    client.handle(at, client::Input::HungUp(DataId(2)));
    client.handle(at, client::Input::Called(DataId(3), node(3)));
    at += client::HOLD;
    client.handle(at, client::Input::Tick);
    assert_eq!(told(&mut client), 1);
    // Nobody authorises it.
    at += client::WORD;
    client.handle(at, client::Input::Tick);
    let mut dropped = false;
    while let Some(action) = client.poll_action() {
        dropped |= action == client::Action::Drop(DataId(3));
    }
    assert!(dropped);
    for i in 0..100 {
        client.handle(at, client::Input::Called(DataId(100 + i), node(i as u8)));
    }
    let mut closed = 0;
    while let Some(action) = client.poll_action() {
        closed += usize::from(matches!(action, client::Action::Drop(_)));
    }
    assert_eq!(closed, 100 - client::WAITING_MAX);
}

#[test]
fn a_source_that_fails_is_everybodys_failure() {
    let mut gate = Gate::new(setup(1));
    gate.join(2, true);
    gate.input(server::Input::Called(DataId(1), node(2)));
    gate.say(2, &[ToServer::Position(0)]);
    gate.input(server::Input::Failed("no more disk".into()));
    let (said, closed) = gate.heard(2);
    assert!(closed);
    assert!(!said.contains(&ServerSaid::Plain(ToClient::EndOfFlow)));
    assert!(
        matches!(said.last(), Some(ServerSaid::Own(FromServer::Reason(why))) if why.contains("no more disk"))
    );
    assert!(matches!(gate.server.outcome(), Some(Outcome::Failed(_))));
    assert!(!gate.events().contains("has everything"));
}

#[test]
fn whoever_waits_for_the_next_session_needs_nothing_of_this_one() {
    // All of them: there is nothing to send.
    let mut gate = Gate::new(setup(2));
    for number in [7, 7, 8, 9] {
        gate.input(server::Input::AskedNext(node(number)));
    }
    assert_eq!(gate.server.outcome(), Some(&Outcome::Needless));
    let told = "10.0.0.7 has this already and waits for what comes next\n\
                10.0.0.8 has this already and waits for what comes next";
    assert_eq!(gate.events(), told);
    let reports = gate.server.reports();
    assert!(
        reports
            .iter()
            .all(|node| node.fate.is_good() && node.checked)
    );
    assert_eq!(reports.len(), 2);

    // One of two, and it may be started again and come after all.
    for comes in [false, true] {
        let mut gate = Gate::new(setup(2));
        gate.input(server::Input::AskedNext(node(7)));
        if comes {
            gate.join(7, false);
        }
        assert!(gate.server.answers());
        gate.join(8, false);
        assert!(!gate.server.answers());
        assert_eq!(gate.server.reports().len(), 2);
    }

    // A stranger is nobody that is waited for.
    let mut gate = Gate::new(server::Setup {
        expected: Some(vec![("n8".to_owned(), node(8))]),
        ..setup(1)
    });
    gate.input(server::Input::AskedNext(node(7)));
    assert!(gate.server.answers());
}
