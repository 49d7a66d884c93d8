//! Finding the nodes that wait: good datagrams, bad ones, and who is counted.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use goldring_wire::discover::{Answer, Finder, Program, Query};
use proptest::prelude::{any, prop, prop_assert, prop_assert_eq, proptest};

fn answer(node: u64, name: &str) -> Answer {
    Answer {
        number: 7,
        program: Program::Dolly,
        node,
        name: name.to_owned(),
    }
}

fn ip(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, last)
}

fn addresses(finder: &Finder, now: Instant) -> Vec<u8> {
    let found = finder.present(now);
    found
        .iter()
        .map(|found| found.address.octets()[3])
        .collect()
}

#[test]
fn a_query_is_longer_than_any_answer() {
    let query = Query {
        number: 7,
        program: Program::DollyPlus,
    };
    let bytes = query.emit();
    assert_eq!(Query::parse(&bytes), Ok(query));
    let longest = answer(u64::MAX, &"\u{e9}".repeat(500)).emit();
    assert!(longest.len() <= bytes.len(), "{}", longest.len());
    assert_eq!(Answer::parse(&longest).unwrap().name, "\u{e9}".repeat(31));
    // A short query is not answered: it would be a lever.
    for length in 0..bytes.len() {
        assert!(Query::parse(&bytes[..length]).is_err());
    }
}

#[test]
fn whatever_is_no_answer_is_nothing() {
    let good = answer(1, "node1").emit();
    assert_eq!(Answer::parse(&good), Ok(answer(1, "node1")));
    let with = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        bytes
    };
    let mut bad: Vec<Vec<u8>> = (0..good.len()).map(|n| good[..n].to_vec()).collect();
    bad.extend([
        with(0, b'G'),
        with(8, 2),
        with(9, 1),
        with(9, 3),
        with(14, 0),
        with(14, 4),
        with(23, 64),
        with(23, 6),
        b"GET / HTTP/1.0\r\n\r\n".to_vec(),
    ]);
    let now = Instant::now();
    let mut finder = Finder::new(&[Program::Dolly], 7);
    for bytes in bad {
        assert!(Answer::parse(&bytes).is_err(), "{bytes:?}");
        finder.answered(now, ip(1), &bytes);
    }
    // An answer to somebody else, and one of another program.
    finder.answered(now, ip(1), &with(13, 8));
    finder.answered(now, ip(1), &with(14, 2));
    finder.answered(now, ip(1), &with(14, 3));
    assert!(finder.present(now).is_empty());
    let cursor = answer(1, "a\x1b[2Jb").emit();
    assert_eq!(Answer::parse(&cursor).unwrap().name, "a?[2Jb");
}

#[test]
fn each_node_is_counted_once_and_only_while_it_answers() {
    let start = Instant::now();
    let at = |s: u64| start + Duration::from_secs(s);
    let mut finder = Finder::new(&[Program::Dolly], 7);
    let mut say = |last: u8, node: u64, when: Instant| {
        finder.answered(when, ip(last), &answer(node, "n").emit());
    };
    say(20, 1, at(0));
    say(3, 2, at(0));
    // Twice from one address; a node with two cards; a node that started again.
    say(3, 2, at(1));
    say(9, 1, at(1));
    say(3, 5, at(2));
    assert_eq!(addresses(&finder, at(2)), [3, 9]);
    // The first card of node 1 is silent, then node 1 is.
    assert_eq!(addresses(&finder, at(4)), [3, 9]);
    assert_eq!(addresses(&finder, at(5)), [3]);
    assert_eq!(addresses(&finder, at(6)), [] as [u8; 0]);
}

#[test]
fn several_programs_are_asked_for_at_once() {
    let now = Instant::now();
    let mut finder = Finder::new(&[Program::DollyPlus, Program::Dolly], 7);
    let asked: Vec<Program> = finder
        .queries()
        .map(|query| Query::parse(&query).unwrap().program)
        .collect();
    assert_eq!(asked, [Program::DollyPlus, Program::Dolly]);
    for (last, program) in [
        (1, Program::Dolly),
        (2, Program::DollyPlus),
        (3, Program::Stage2),
    ] {
        let mut answer = answer(last.into(), "n");
        answer.program = program;
        finder.answered(now, ip(last), &answer.emit());
    }
    assert_eq!(addresses(&finder, now), [1, 2]);
}

#[test]
fn nobody_can_fill_the_memory() {
    let now = Instant::now();
    let mut finder = Finder::new(&[Program::Dolly], 7);
    for i in 0..20_000_u32 {
        let from = Ipv4Addr::from(0x0a00_0000 + i);
        finder.answered(now, from, &answer(i.into(), "n").emit());
    }
    assert_eq!(finder.present(now).len(), 10_000);
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(number: u32, node: u64, name in "[a-z0-9.-]{0,63}", which in 0_usize..3) {
        let program = [Program::Dolly, Program::DollyPlus, Program::Stage2][which];
        let answer = Answer { number, program, node, name };
        prop_assert_eq!(Answer::parse(&answer.emit()), Ok(answer));
        let query = Query { number, program };
        prop_assert_eq!(Query::parse(&query.emit()), Ok(query));
    }

    #[test]
    fn bytes_never_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), head: bool) {
        let mut bytes = bytes;
        if head && bytes.len() > 9 {
            bytes[..9].copy_from_slice(b"goldring\x01");
        }
        if let Ok(answer) = Answer::parse(&bytes) {
            prop_assert!(answer.name.len() <= 63 * 3);
        }
        let _ = Query::parse(&bytes);
    }
}
