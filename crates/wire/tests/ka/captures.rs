//! Sessions of the original programs, played again with one side replaced by ours: it must
//! say the same to each peer, in the same order.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use goldring_wire::ka::client::{self, Client};
use goldring_wire::ka::discover;
use goldring_wire::ka::message::{Layout, ToClient, ToServer};
use goldring_wire::ka::own::Stream;
use goldring_wire::ka::server::{self, Action, ConnId, DataId, Late, Lead, Outcome, Server};

const M32: &str = include_str!("../../../../fixtures/ka/m32.txt");
const H2005: &str = include_str!("../../../../fixtures/ka/h2005.txt");
const DELAY: &str = include_str!("../../../../fixtures/ka/delay.txt");
const LOPT: &str = include_str!("../../../../fixtures/ka/lopt.txt");
const KILL9: &str = include_str!("../../../../fixtures/ka/kill9.txt");
const MIX: &str = include_str!("../../../../fixtures/ka/mix.txt");
const ALL: [&str; 6] = [M32, H2005, DELAY, LOPT, KILL9, MIX];

const SERVER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);

#[derive(Debug, Clone)]
enum What {
    Request(Vec<u8>),
    Reply(Vec<u8>),
    /// A control connection, data connection, and its end.
    Connect,
    Leave,
    Call(Ipv4Addr),
    DataEnd,
    Up(Vec<u8>),
    Down(Vec<u8>),
}

#[derive(Debug, Clone)]
struct Line {
    at: Duration,
    /// The client.
    who: Ipv4Addr,
    what: What,
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len() / 2)
        .map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap())
        .collect()
}

fn address(text: &str) -> Ipv4Addr {
    text.split(':').next().unwrap().parse().unwrap()
}

fn quoted(text: &str) -> Vec<u8> {
    let inner = text.split("b'").nth(1).unwrap().trim_end_matches('\'');
    inner.replace("\\x00", "\0").into_bytes()
}

/// The lines of a fixture; see its README.
fn read(text: &str) -> Vec<Line> {
    text.lines().filter_map(line).collect()
}

fn line(line: &str) -> Option<Line> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let at = Duration::from_secs_f64(words[0].parse().ok()?);
    let raw = || hex(line.split("raw=").nth(1).unwrap());
    let (who, what) = match (words[1], words[2]) {
        ("UDP", from) if words[4].ends_with(":4957") => {
            (address(from), What::Request(quoted(line)))
        }
        ("UDP", _) => (address(words[4]), What::Reply(quoted(line))),
        ("CTRL", "SYN") if words[5].ends_with(":30765") => (address(words[3]), What::Connect),
        ("CTRL", "FIN") if words[5].ends_with(":30765") => (address(words[3]), What::Leave),
        ("CTRL", "C->S") => (address(words[3]), What::Up(raw())),
        ("CTRL", "S->C") => (address(words[3]), What::Down(raw())),
        ("DATA", "SYN") if words[5].ends_with(":30764") => {
            (address(words[3]), What::Call(address(words[5])))
        }
        ("DATA", "FIN") if address(words[3]) == SERVER => (address(words[5]), What::DataEnd),
        _ => return None,
    };
    Some(Line { at, who, what })
}

fn layout_of(up: &[u8]) -> Layout {
    match up.len() {
        32 => Layout::A32,
        _ => Layout::A64,
    }
}

#[test]
fn every_message_means_the_same_when_it_is_said_by_us() {
    let mut count = 0;
    for text in ALL {
        for line in read(text) {
            match &line.what {
                What::Up(raw) => {
                    let layout = layout_of(raw);
                    let message = ToServer::parse(layout, raw).unwrap();
                    let ours = message.emit(layout);
                    assert_eq!(ToServer::parse(layout, &ours), Ok(message));
                    // What ours says stands there in theirs; the rest of ours is zero.
                    let same = ours.iter().zip(raw).all(|(o, r)| o == r || *o == 0);
                    assert!(same, "{message:?}\n{ours:02x?}\n{raw:02x?}");
                }
                What::Down(raw) => {
                    let message = ToClient::parse(Layout::A32, raw).unwrap();
                    let ours = message.emit(Layout::A32);
                    let same = ours.iter().zip(raw).all(|(o, r)| o == r || *o == 0);
                    assert!(same, "{message:?}");
                }
                What::Request(raw) => {
                    let name = String::from_utf8(raw[..raw.len() - 1].to_vec()).unwrap();
                    assert_eq!(discover::request(&name).as_ref(), Ok(raw));
                }
                What::Reply(raw) => {
                    assert_eq!(&discover::reply(), raw);
                    assert!(discover::is_reply(raw));
                }
                _ => continue,
            }
            count += 1;
        }
    }
    assert!(count > 150, "{count}");
}

/// The number in the middle of a name of the protocol tells the bytes of a HELLO apart.
#[test]
fn both_layouts_are_known_by_their_first_bytes() {
    for (text, layout) in [(M32, Layout::A32), (H2005, Layout::A32), (MIX, Layout::A64)] {
        let lines = read(text);
        let hello = lines.iter().find_map(|line| match &line.what {
            What::Up(raw) => Some(raw.clone()),
            _ => None,
        });
        let hello = hello.unwrap();
        assert_eq!(hello.len(), layout.to_server());
        assert_eq!(Layout::detect(&hello), Ok(Some(layout)));
        assert_eq!(Layout::detect(&hello[..5]), Ok(None));
    }
}

fn setup(clients: usize) -> server::Setup {
    server::Setup {
        wanted: clients,
        expected: None,
        patience: Duration::from_secs(3600),
        late: Late::GiveUp,
        arity: 1,
        lead: Lead::Unbounded,
        release: None,
        history: 64 << 20,
        silence: Duration::from_secs(10),
    }
}

struct Replay {
    start: Instant,
    server: Server,
    /// What our server said to each client.
    said: BTreeMap<Ipv4Addr, Vec<ToClient>>,
    started: bool,
}

fn conn(who: Ipv4Addr) -> ConnId {
    ConnId(who.octets()[3].into())
}

impl Replay {
    fn new(setup: server::Setup) -> Self {
        let start = Instant::now();
        Self {
            start,
            server: Server::new(setup, start),
            said: BTreeMap::new(),
            started: false,
        }
    }

    fn input(&mut self, at: Duration, input: server::Input<'_>) {
        self.server.handle(self.start + at, input);
        while let Some(action) = self.server.poll_action() {
            match action {
                Action::Send(conn, bytes) => {
                    let who = Ipv4Addr::new(10, 77, 0, conn.0 as u8);
                    let message = ToClient::parse(Layout::A32, &bytes).unwrap();
                    self.said.entry(who).or_default().push(message);
                }
                Action::Start(_) => self.started = true,
                _ => {}
            }
        }
    }

    /// What an original program did to its server is done to ours.
    fn play(&mut self, lines: &[Line], total: Stream) {
        let mut data = 0;
        for line in lines {
            let conn = conn(line.who);
            match &line.what {
                What::Connect => self.input(
                    line.at,
                    server::Input::Accepted {
                        conn,
                        from: line.who,
                        local: SERVER,
                    },
                ),
                What::Up(raw) => self.input(line.at, server::Input::Received(conn, raw)),
                What::Leave => self.input(line.at, server::Input::Closed(conn)),
                What::Call(SERVER) => {
                    data += 1;
                    self.input(line.at, server::Input::Called(DataId(data), line.who));
                }
                What::DataEnd if self.started => {
                    self.input(line.at, server::Input::Ended(total));
                }
                _ => {}
            }
            self.input(line.at, server::Input::Tick);
        }
    }
}

fn theirs(lines: &[Line]) -> BTreeMap<Ipv4Addr, Vec<ToClient>> {
    let mut said: BTreeMap<Ipv4Addr, Vec<ToClient>> = BTreeMap::new();
    for line in lines {
        if let What::Down(raw) = &line.what {
            let message = ToClient::parse(Layout::A32, raw).unwrap();
            said.entry(line.who).or_default().push(message);
        }
    }
    said
}

fn bytes(bytes: u64) -> Stream {
    Stream { bytes, digest: 0 }
}

#[test]
fn our_server_says_what_the_old_one_said() {
    for (text, clients, total) in [(M32, 3, 3_010_560), (H2005, 3, 3_010_560)] {
        let lines = read(text);
        let mut replay = Replay::new(setup(clients));
        replay.play(&lines, bytes(total));
        assert_eq!(replay.said, theirs(&lines));
        let outcome = replay.server.outcome();
        assert_eq!(outcome, Some(&Outcome::Sent(bytes(total))));
        assert!(replay.server.reports().iter().all(|r| r.fate.is_good()));
    }
}

#[test]
fn our_server_bounds_the_lead_as_the_old_one_did() {
    let lines = read(LOPT);
    let mut replay = Replay::new(server::Setup {
        lead: Lead::Bounded,
        ..setup(2)
    });
    replay.play(&lines, bytes(3_500_000));
    assert_eq!(replay.said, theirs(&lines));
    assert!(replay.server.outcome().is_some());
}

/// The pauses are those of the capture: each node is let go a second after the one before.
#[test]
fn our_server_lets_nodes_go_one_after_the_other() {
    let lines = read(DELAY);
    let mut replay = Replay::new(server::Setup {
        release: Some(Duration::from_secs(1)),
        ..setup(3)
    });
    let mut order = Vec::new();
    for line in &lines {
        // The moments at which the old server spoke are when ours looks at the clock.
        let late = line.at + Duration::from_millis(3);
        let at = if matches!(line.what, What::Down(_)) {
            late
        } else {
            line.at
        };
        replay.play(&[Line { at, ..line.clone() }], bytes(6));
        for (who, said) in &replay.said {
            if said.contains(&ToClient::Finish) && !order.contains(who) {
                order.push(*who);
            }
        }
    }
    // Two seconds have passed, and ours pings all the time.
    for said in replay.said.values_mut() {
        said.retain(|message| *message != ToClient::Ping);
    }
    assert_eq!(replay.said, theirs(&lines));
    let last = order.iter().map(|who| who.octets()[3]).collect::<Vec<_>>();
    assert_eq!(last, [12, 13, 11]);
}

/// Ours asks the new parent where it is before it sends anybody there.
#[test]
fn our_server_mends_the_chain_as_the_old_one_did() {
    let lines = read(KILL9);
    let new_parent = Ipv4Addr::new(10, 77, 0, 11);
    let killed = Ipv4Addr::new(10, 77, 0, 12);
    let mut replay = Replay::new(setup(3));
    let lost = lines
        .iter()
        .position(|line| matches!(&line.what, What::Up(raw) if raw[0] == 3))
        .unwrap();
    replay.play(&lines[..=lost], bytes(400_000_000));
    let at = lines[lost].at;
    // The dead one's connection ends; in the capture the server was quicker.
    replay.input(at, server::Input::Closed(conn(killed)));
    let question = ToClient::ReportPosition(goldring_wire::ka::message::Report::Once);
    assert_eq!(replay.said[&new_parent].last(), Some(&question));
    replay.said.get_mut(&new_parent).unwrap().pop();
    let answer = ToServer::Position(30_000_000).emit(Layout::A32);
    replay.input(at, server::Input::Received(conn(new_parent), &answer));
    replay.play(&lines[lost + 1..], bytes(400_000_000));
    let mut theirs = theirs(&lines);
    for said in [&mut replay.said, &mut theirs] {
        said.remove(&killed);
        for messages in said.values_mut() {
            messages.retain(|message| *message != ToClient::Ping);
        }
    }
    assert_eq!(replay.said, theirs);
}

/// What each old client said to its server, our client says to it.
#[test]
fn our_client_says_what_each_old_one_said() {
    for (text, total) in [(M32, 3_010_560), (H2005, 3_010_560), (DELAY, 6)] {
        let lines = read(text);
        for last in 11..=13 {
            let me = Ipv4Addr::new(10, 77, 0, last);
            let (ours, outcome) = play_client(&lines, me, total);
            assert!(
                matches!(outcome, client::Outcome::Complete(..)),
                "{outcome:?}"
            );
            let theirs = lines.iter().filter(|line| line.who == me);
            let theirs = theirs.filter_map(|line| match &line.what {
                What::Up(raw) => Some(ToServer::parse(Layout::A32, raw).unwrap()),
                _ => None,
            });
            let mut theirs: Vec<ToServer> = theirs.collect();
            // The old ones do not say that they are goldring.
            theirs[0] = ToServer::Hello { own: true };
            assert_eq!(ours, theirs, "{me}");
        }
    }
}

fn play_client(lines: &[Line], me: Ipv4Addr, total: u64) -> (Vec<ToServer>, client::Outcome) {
    let now = Instant::now();
    let mut client = Client::new(
        client::Setup {
            layout: Layout::A32,
            name: "me".into(),
            wait: true,
            keeps: 64 << 20,
            hold: Duration::ZERO,
        },
        now,
    );
    let mut ours = Vec::new();
    let mut flow = |client: &mut Client| {
        let mut ended = false;
        while let Some(action) = client.poll_action() {
            match action {
                client::Action::Send(bytes) => {
                    ours.push(ToServer::parse(Layout::A32, &bytes).unwrap());
                }
                client::Action::EndOfData => ended = true,
                _ => {}
            }
        }
        ended
    };
    let mut data = 0;
    for line in lines {
        let is_lost = matches!(&line.what, What::Up(raw) if raw[0] == 3);
        let is_finished = matches!(&line.what, What::Up(raw) if raw[0] == 4);
        match &line.what {
            What::Down(raw) if line.who == me => {
                client.handle(now, client::Input::Received(raw));
            }
            What::Call(parent) if *parent == me => {
                data += 1;
                client.handle(now, client::Input::Called(DataId(data), line.who));
            }
            _ if line.who == me && is_lost => {
                client.handle(now, client::Input::ParentEnded(bytes(total)));
            }
            _ if line.who == me && is_finished => client.handle(now, client::Input::Done),
            _ => {}
        }
        flow(&mut client);
    }
    (ours, client.outcome().unwrap().clone())
}
