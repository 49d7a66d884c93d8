//! The dialect of dolly 0.70 to 0.72: recorded conversations, in which our machines take
//! each place, and everything that can be wrong before the configuration.

use std::time::{Duration, Instant};

use goldring_wire::dolly::Failure;
use goldring_wire::dolly::config::{Config, Dialect};
use goldring_wire::dolly::hearing::{Heard, Hearing};
use goldring_wire::dolly::lines::NotConfig;
use goldring_wire::dolly::node::{self, Link, Node};
use goldring_wire::dolly::opening::{Opening, PAUSE_AFTER_OK};
use goldring_wire::dolly::password::Password;
use goldring_wire::dolly::server::{self, Server};
use proptest::prelude::{any, prop, prop_assert_eq, proptest};

use crate::captures::{Message, read, stream};

const PLAIN: &str = include_str!("../../../../fixtures/dolly/suse072_3c.wire");
const SECRET: &str = include_str!("../../../../fixtures/dolly/suse072_P_2c.wire");
const LIMIT: Duration = Duration::from_secs(900);

fn captures() -> [(Vec<Message>, Option<Password>, usize); 2] {
    [
        (read(PLAIN), None, 3),
        (read(SECRET), Some(Password::new("secret")), 2),
    ]
}

/// n1 is 10.77.0.11.
fn address(computer: usize) -> String {
    format!("10.77.0.{}", 10 + computer)
}

fn computer(number: usize) -> String {
    format!("n{number}")
}

/// The configuration of a capture, as the first child heard it, with its text.
fn heard(messages: &[Message], password: Option<&Password>) -> (Config, Vec<u8>) {
    let mut hearing = Hearing::new(password.cloned(), None);
    let down = stream(messages, "n0", "n1", true);
    // All but the total at the end.
    let mut answers = Vec::new();
    for byte in &down[..down.len() - 8] {
        match hearing.push(&[*byte]).unwrap() {
            Heard::Answer(answer) => answers.extend(answer),
            Heard::Nothing | Heard::Plus(_) => {}
            Heard::Complete => {
                let up = stream(messages, "n0", "n1", false);
                assert!(up.starts_with(&answers));
                assert_eq!(answers.is_empty(), password.is_none());
                return (hearing.config().unwrap(), hearing.text().to_vec());
            }
        }
    }
    panic!("no configuration");
}

fn opening(password: Option<Password>) -> Opening {
    Opening {
        dialect: Dialect::Suse,
        password,
        seed: [3; 32],
    }
}

/// Without the flag, the challenge and its answer, which differ each time.
fn without_challenge(bytes: &[u8], down: bool) -> &[u8] {
    match (bytes.first(), down) {
        (Some(1), true) => &bytes[33..],
        (Some(0), true) => &bytes[1..],
        _ => bytes,
    }
}

#[test]
fn a_node_hears_what_dolly_072_says() {
    for (messages, password, clients) in captures() {
        let (config, text) = heard(&messages, password.as_ref());
        let expected: Vec<String> = (1..=clients).map(address).collect();
        assert_eq!(config.clients, expected);
        assert_eq!((config.dialect, config.fanout), (Dialect::Suse, 1));
        assert_eq!(config.to_string().as_bytes(), text);
        assert_eq!(config.children_of(0), 1..2);
        assert!(config.children_of(clients - 1).is_empty());
    }
}

#[test]
fn our_server_says_what_dolly_072_says() {
    for (messages, password, clients) in captures() {
        let (config, _) = heard(&messages, password.as_ref());
        let mut now = Instant::now();
        let mut server = Server::new(
            server::Setup {
                offers: false,
                clients: config.clients.clone(),
                children: 1,
                text: config.text().unwrap().bytes,
                opening: opening(password.clone()),
                total: Some(10_000),
                give_up: None,
                count_wait: LIMIT,
            },
            now,
        );
        server.handle(now, server::Input::Connected(0)).unwrap();
        let mut sent = drain_server(&mut server);
        if let Some(password) = &password {
            let challenge = sent[1..33].try_into().unwrap();
            let answer = password.answer(challenge);
            // In two pieces; nothing follows OK before the pause is over.
            for piece in [&answer[..5], &answer[5..]] {
                server
                    .handle(now, server::Input::Received(0, piece))
                    .unwrap();
            }
            assert!(drain_server(&mut server).ends_with(b"OK\0"));
            sent.extend(b"OK\0");
            assert_eq!(server.poll_timeout(), Some(now + PAUSE_AFTER_OK));
            assert!(PAUSE_AFTER_OK >= Duration::from_millis(100));
            server.handle(now, server::Input::Tick).unwrap();
            assert!(server.poll_transmit().is_none());
            now += PAUSE_AFTER_OK;
            server.handle(now, server::Input::Tick).unwrap();
            sent.extend(drain_server(&mut server));
        }
        let up = stream(&messages, "n0", "n1", false);
        let lines = if password.is_some() {
            &up[32..]
        } else {
            &up[..]
        };
        let (lines, count) = lines.split_at(lines.len() - 8);
        server
            .handle(now, server::Input::Received(0, lines))
            .unwrap();
        server.handle(now, server::Input::Sent).unwrap();
        server
            .handle(now, server::Input::Received(0, count))
            .unwrap();
        assert!(server.is_done(), "{clients} clients");
        sent.extend(drain_server(&mut server));
        let expected = stream(&messages, "n0", "n1", true);
        assert_eq!(sent[0], expected[0]);
        assert_eq!(
            without_challenge(&sent, true),
            without_challenge(&expected, true)
        );
    }
}

fn drain_server(server: &mut Server) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(t) = server.poll_transmit() {
        bytes.extend(t.bytes);
    }
    bytes
}

#[test]
fn our_node_says_what_each_dolly_072_says() {
    for (messages, password, clients) in captures() {
        let (_, text) = heard(&messages, password.as_ref());
        for me in 1..=clients {
            let children: Vec<String> = (me + 1..=clients).take(1).map(address).collect();
            let has_child = !children.is_empty();
            let mut now = Instant::now();
            let setup = node::Setup {
                own: true,
                name: address(me),
                parent: address(me - 1),
                children,
                text: text.clone(),
                opening: opening(password.clone()),
                ring_wait: LIMIT,
                count_wait: LIMIT,
            };
            let mut node = Node::new(setup, now);
            node.handle(now, node::Input::Opened).unwrap();
            let (mut up, mut down) = (Vec::new(), Vec::new());
            if has_child {
                node.handle(now, node::Input::Connected(0)).unwrap();
                drain_node(&mut node, &mut up, &mut down);
                if let Some(password) = &password {
                    let answer = password.answer(down[1..33].try_into().unwrap());
                    let input = node::Input::Received(Link::Child(0), &answer);
                    node.handle(now, input).unwrap();
                    now += PAUSE_AFTER_OK;
                    node.handle(now, node::Input::Tick).unwrap();
                }
                let said = stream(&messages, &computer(me), &computer(me + 1), false);
                let said = if password.is_some() {
                    &said[32..]
                } else {
                    &said[..]
                };
                let (lines, count) = said.split_at(said.len() - 8);
                let mut hear =
                    |bytes| node.handle(now, node::Input::Received(Link::Child(0), bytes));
                hear(lines).unwrap();
                let total = 10_000_u64.to_le_bytes();
                node.handle(now, node::Input::Received(Link::Parent, &total))
                    .unwrap();
                node.handle(now, node::Input::Received(Link::Child(0), count))
                    .unwrap();
            } else {
                let total = 10_000_u64.to_le_bytes();
                node.handle(now, node::Input::Received(Link::Parent, &total))
                    .unwrap();
            }
            node.handle(now, node::Input::Stored(10_000)).unwrap();
            assert!(node.is_done());
            drain_node(&mut node, &mut up, &mut down);
            let expected = stream(&messages, &computer(me - 1), &computer(me), false);
            let answer = if password.is_some() { 32 } else { 0 };
            assert_eq!(
                String::from_utf8_lossy(&up),
                String::from_utf8_lossy(&expected[answer..]),
                "n{me} upward"
            );
            let expected = stream(&messages, &computer(me), &computer(me + 1), true);
            assert_eq!(
                without_challenge(&down, true),
                without_challenge(&expected, true)
            );
        }
    }
}

fn drain_node(node: &mut Node, up: &mut Vec<u8>, down: &mut Vec<u8>) {
    while let Some(t) = node.poll_transmit() {
        match t.to {
            Link::Parent => up.extend(t.bytes),
            Link::Child(_) => down.extend(t.bytes),
        }
    }
}

const TEXT: &[u8] = b"infile /a\noutfile b\nhyphennormal\n\n10.0.0.2\n10.0.0.3\nendconfig\n";

fn with_text(before: &[u8]) -> Vec<u8> {
    [before, TEXT].concat()
}

/// What one connection says, and what a waiting node makes of it.
fn verdict(password: Option<&str>, said: &[u8]) -> Result<bool, NotConfig> {
    let mut hearing = Hearing::new(password.map(Password::new), None);
    let mut complete = false;
    for byte in said {
        complete |= hearing.push(&[*byte])? == Heard::Complete;
    }
    Ok(complete)
}

/// The node's password, what it hears, and whether that is a configuration.
type Row = (Option<&'static str>, Vec<u8>, Result<bool, NotConfig>);

#[test]
fn whoever_does_not_fit_is_dropped_with_the_reason() {
    let classic =
        b"infile /a\noutfile /b\nserver s\nfirstclient c\nlastclient c\nclients 1\nc\nendconfig\n";
    let challenge = [&[1][..], &[9; 32]].concat();
    let then = |more: &[u8]| [&challenge[..], more].concat();
    let table: &[Row] = &[
        (None, with_text(&[0, 0, 0, 0, 0]), Ok(true)),
        (None, classic.to_vec(), Ok(true)),
        (None, vec![0], Ok(false)),
        (None, vec![1], Err(NotConfig::PasswordNeeded)),
        (Some("x"), vec![0], Err(NotConfig::NoPassword)),
        (Some("x"), classic.to_vec(), Err(NotConfig::NoPassword)),
        (Some("x"), challenge.clone(), Ok(false)),
        (Some("x"), with_text(&then(b"OK\0\0\0\0\0")), Ok(true)),
        (
            Some("x"),
            then(b"AUTH_FAILED:n1\0"),
            Err(NotConfig::WrongPassword),
        ),
        (Some("x"), then(b"OKAY\0"), Err(NotConfig::WrongPassword)),
        (Some("x"), then(&[b'A'; 300]), Err(NotConfig::Garbage)),
        (None, vec![0, 1, 0, 0, 0], Err(NotConfig::Directory)),
        (None, vec![0, 2, 0, 0, 0], Err(NotConfig::Garbage)),
        (None, vec![0, 0, 0, 0, 1], Err(NotConfig::Garbage)),
        (None, vec![2], Err(NotConfig::Garbage)),
        (None, vec![0, 0, 0, 0, 0, 7], Err(NotConfig::Garbage)),
    ];
    for (password, said, expected) in table {
        assert_eq!(&verdict(*password, said), expected, "{password:?} {said:?}");
    }
    assert!(
        NotConfig::Directory
            .to_string()
            .contains("name a disk, a partition or a file")
    );
}

#[test]
fn a_parent_that_does_not_wait_for_the_answer_is_dropped() {
    let said = with_text(&[&[1][..], &[9; 32], b"OK\0\0\0\0\0"].concat());
    let mut hearing = Hearing::new(Some(Password::new("x")), None);
    assert_eq!(hearing.push(&said), Err(NotConfig::Garbage));
}

#[test]
fn a_child_that_does_not_know_the_password_is_told_and_named() {
    let now = Instant::now();
    let setup = server::Setup {
        offers: false,
        clients: vec!["10.0.0.2".into()],
        children: 1,
        text: TEXT.to_vec(),
        opening: opening(Some(Password::new("right"))),
        total: Some(1),
        give_up: None,
        count_wait: LIMIT,
    };
    let mut server = Server::new(setup, now);
    server.handle(now, server::Input::Connected(0)).unwrap();
    let sent = drain_server(&mut server);
    let wrong = Password::new("wrong").answer(sent[1..].try_into().unwrap());
    let failure = server.handle(now, server::Input::Received(0, &wrong));
    let neighbour = "10.0.0.2".to_owned();
    assert_eq!(failure, Err(Failure::WrongPassword { neighbour }));
    assert_eq!(drain_server(&mut server), b"AUTH_FAILED:10.0.0.2\0");
}

/// One row for each line of the grammar, and what is no line of it.
#[test]
fn the_short_file_has_names_and_nothing_else() {
    let good = "infile /a\noutfile /b\n10.0.0.2\n10.0.0.3\nendconfig\n";
    let config = Config::parse(good).unwrap();
    assert_eq!(config.to_string(), good);
    assert_eq!(config.clients, ["10.0.0.2", "10.0.0.3"]);
    let split = good
        .replace("infile /a", "infile /a split")
        .replace("/b", "/b split 2G");
    assert_eq!(Config::parse(&split).unwrap().to_string(), split);
    let comments = good.replace('\n', " # here\r\n\r\n");
    assert_eq!(Config::parse(&comments).unwrap().to_string(), good);
    // Relative names become absolute as there, on the nodes only.
    let received = Config::received_suse(TEXT).unwrap();
    assert!(
        received
            .to_string()
            .contains("outfile /b\nhyphennormal\n10.0.0.2\n")
    );
    let classic = config
        .clone()
        .into_dialect(Dialect::Classic, "gold")
        .unwrap();
    assert!(
        classic.to_string().contains(
            "server gold\nfirstclient 10.0.0.2\nlastclient 10.0.0.3\nclients 2\n10.0.0.2\n"
        )
    );
    assert_eq!(
        classic
            .into_dialect(Dialect::Suse, "gold")
            .unwrap()
            .to_string(),
        good
    );
    let table = [
        (
            "outfile /b\n",
            "",
            "line 4: endconfig, but there was no line outfile PATH",
        ),
        (
            "infile /a\n",
            "",
            "line 4: endconfig, but there was no line infile PATH",
        ),
        (
            "10.0.0.3",
            "10.0.0.2",
            "line 4: 10.0.0.2 is in the list twice, also in line 3",
        ),
        (
            "10.0.0.3",
            "10.0.0.3 x",
            "line 4: \"10.0.0.3 x\" is more than one name",
        ),
        ("10.0.0.3", "ready", "line 4: the name \"ready\" contains"),
        (
            "outfile",
            "fanout 2\noutfile",
            "line 2: fanout needs the lines server, firstclient",
        ),
        (
            "infile",
            "compressed infile",
            "line 1: compressed needs the lines server",
        ),
        (
            "endconfig\n",
            "",
            "line 4: the text ends here without an endconfig",
        ),
    ];
    for (from, to, expected) in table {
        let said = Config::parse(&good.replace(from, to))
            .unwrap_err()
            .to_string();
        assert!(said.starts_with(expected), "{said}, not {expected}");
    }
    // Nobody in the list.
    let said = Config::received_suse(b"infile /a\noutfile /b\nendconfig\n").unwrap_err();
    assert!(said.to_string().contains("there was no client"), "{said}");
    // A classic file sent by such a server is misread by its own clients; ours says so.
    assert!(Config::received_suse(b"infile /a\noutfile /b\nserver n0\nendconfig\n").is_err());
}

#[test]
fn what_the_suse_dialect_has_no_word_for_is_named() {
    let list = "server s\nfirstclient a\nlastclient a\nclients 1\na\nendconfig\n";
    for (first, word) in [
        ("dummy 5\n", "dummy"),
        ("compressed infile /a\noutfile /b\n", "compressed"),
        ("infile /a\ncompressed outfile /b\n", "compressed"),
        ("infile /a\noutfile /b\nsegsize 500\n", "segsize"),
        ("infile /a\noutfile /b\nadd 1:-b\n", "add"),
        ("infile /a\noutfile /b\nfanout 2\n", "fanout"),
    ] {
        let config = Config::parse(&format!("{first}{list}")).unwrap();
        assert_eq!(config.into_dialect(Dialect::Suse, "s"), Err(word));
    }
}

proptest! {
    #[test]
    fn any_cutting_is_heard_alike(
        cuts in prop::collection::vec(1_usize..40, 0..30), password: bool,
    ) {
        let said = if password {
            with_text(&[&[1][..], &[9; 32], b"OK\0\0\0\0\0"].concat())
        } else {
            with_text(&[0, 0, 0, 0, 0])
        };
        let secret = password.then(|| Password::new("x"));
        let mut hearing = Hearing::new(secret.clone(), None);
        let (mut at, mut answers, mut complete) = (0, Vec::new(), false);
        // Nobody says more before the answer.
        let mut stops: Vec<usize> = cuts.iter().scan(0, |end, cut| { *end += cut; Some(*end) }).collect();
        stops.extend(password.then_some(33));
        stops.push(said.len());
        stops.sort_unstable();
        for stop in stops.into_iter().filter(|stop| *stop <= said.len()) {
            match hearing.push(&said[at.min(stop)..stop]).unwrap() {
                Heard::Answer(answer) => answers.extend(answer),
                Heard::Complete => complete = true,
                Heard::Nothing | Heard::Plus(_) => {}
            }
            at = stop;
        }
        prop_assert_eq!(complete, true);
        prop_assert_eq!(hearing.text(), TEXT);
        let expected = secret.map(|secret| secret.answer(&[9; 32]).to_vec());
        prop_assert_eq!(answers, expected.unwrap_or_default());
    }

    #[test]
    fn bytes_never_make_it_panic(
        pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..400), 0..8),
        first: u8, password: bool,
    ) {
        let mut hearing = Hearing::new(password.then(|| Password::new("x")), None);
        let _ = hearing.push(&[first % 3]);
        for piece in &pieces {
            if hearing.push(piece).is_err() {
                break;
            }
        }
        let _ = hearing.config();
    }
}
