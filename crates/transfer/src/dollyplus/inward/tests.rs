//! What the computer before this one may say wrongly while data moves: the connection is of
//! no use then, nothing of it is kept, and another neighbour may go on.

use std::io::Write;
use std::net::TcpStream;
use std::sync::mpsc;

use goldring_wire::dollyplus::packet::{chunk_head, file_number};
use goldring_wire::dollyplus::status::Abilities;
use goldring_wire::dollyplus::window::Limits;
use twox_hash::XxHash3_64;

use super::super::bank::{Next, Written};
use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// Everything that a neighbour says, until it is enough: how that ended, and which chunk is
/// wanted next.
fn hear(mode: Mode, said: &[u8]) -> (String, u64) {
    let (mut ends, bank) = hear_in_turn(mode, 1, &[said.to_vec()]);
    (ends.remove(0), bank.wanted())
}

/// What several neighbours say, one after the other: how each of them ended, and what is here.
fn hear_in_turn(mode: Mode, files: usize, neighbours: &[Vec<u8>]) -> (Vec<String>, Bank) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (events, _heard) = mpsc::channel();
    let abilities = Abilities {
        own: true,
        zstd: false,
    };
    let (seat, bank) = (
        Seat::new(abilities, events.clone()),
        Bank::new(Limits::OWN, true, 0),
    );
    let outcome = Outcome::default();
    let inward = Inward {
        seat: &seat,
        listener: &listener,
        bank: &bank,
        outcome: &outcome,
        mode,
        timing: Timing {
            stall: SECOND,
            orphan: SECOND,
            finish: SECOND,
        },
        me: "n1",
        server: "127.0.0.9",
        files,
        pool: Arc::default(),
        events,
        server_is: Presence::default(),
    };
    let mut place = Place::default();
    let mut ends = Vec::new();
    for said in neighbours {
        let mut there = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let here = listener.accept().unwrap().0;
        std::thread::scope(|scope| {
            // Nobody may listen to the end.
            scope.spawn(move || there.write_all(said));
            let mut link = Link::new(here, SECOND).unwrap();
            ends.push(loop {
                match inward.take(&mut link, &mut place) {
                    Ok(true) => break "everything is here".to_owned(),
                    Ok(false) => {}
                    Err(End::Trouble(trouble)) => break trouble.to_string(),
                    Err(End::Over(why)) => break why,
                }
            });
        });
    }
    (ends, bank)
}

fn chunk(sequence: u32, wrong: impl Fn(&mut own::Chunk)) -> Vec<u8> {
    let data = [sequence as u8; 1000];
    let mut about = own::Chunk {
        sequence,
        file: 0,
        last: false,
        encoding: Encoding::Raw,
        offset: 0,
        length: 1000,
        payload: 1000,
        checksum: XxHash3_64::oneshot(&data),
    };
    wrong(&mut about);
    [about.packet(), data.to_vec()].concat()
}

fn right(sequence: u32) -> Vec<u8> {
    chunk(sequence, |_| {})
}

#[test]
fn ugly_packets_among_goldring() {
    let table: [(Vec<u8>, &str); 15] = [
        (b"GRE".to_vec(), "closed the connection"),
        (right(1)[..500].to_vec(), "closed the connection"),
        (
            b"\xff\xff\xff\xff\xff\xff\xff\xff".to_vec(),
            "where a dolly+ packet begins",
        ),
        (b"GRXX\0\0\0\0".to_vec(), "where a dolly+ packet begins"),
        (b"GRCH\x7f\xff\xff\xff".to_vec(), "the most is"),
        (
            b"GRCH\0\0\0\x04head".to_vec(),
            "a chunk without its description",
        ),
        (right(2), "sent chunk 2 where 1 was due"),
        (right(0), "sent chunk 0 where 1 was due"),
        (right(u32::MAX), "sent chunk 4294967295 where 1 was due"),
        (
            chunk(1, |c| c.checksum ^= 1),
            "chunk 1 with a wrong checksum",
        ),
        (chunk(1, |c| c.length = 999), "its lengths are impossible"),
        (
            chunk(1, |c| (c.length, c.payload) = (u32::MAX, u32::MAX)),
            "its lengths are impossible",
        ),
        (chunk(1, |c| c.offset = u64::MAX), "its place is impossible"),
        (chunk_head(false, 1000, 1).to_vec(), "where data was due"),
        (b"GRPL\0\0\0\0".to_vec(), "a second plan where data was due"),
    ];
    for (ugly, sentence) in table {
        let (end, wanted) = hear(Mode::Own, &[right(0), ugly].concat());
        assert!(end.contains(sentence), "{end}, not {sentence}");
        assert_eq!(wanted, 1, "{sentence}");
    }
}

#[test]
fn ugly_packets_of_an_old_ring() {
    let begin = || {
        let head = chunk_head(false, 4, 0);
        [&file_number(0)[..], &head, b"data"].concat()
    };
    let table: [(Vec<u8>, &str); 8] = [
        (b"SEQN\0".to_vec(), "closed the connection"),
        (chunk_head(false, 9, 1).to_vec(), "closed the connection"),
        (
            chunk_head(false, 4, 0).to_vec(),
            "sent chunk 0 where 1 was due",
        ),
        (
            chunk_head(false, 4, 7).to_vec(),
            "sent chunk 7 where 1 was due",
        ),
        (chunk_head(true, u32::MAX, 1).to_vec(), "the most is"),
        (file_number(1).to_vec(), "a file that was not announced"),
        (b"ROPN\0\x08\0\x02".to_vec(), "where data was due"),
        (right(1), "where data was due"),
    ];
    for (ugly, sentence) in table {
        let (end, wanted) = hear(Mode::Old, &[begin(), ugly].concat());
        assert!(end.contains(sentence), "{end}, not {sentence}");
        assert_eq!(wanted, 1, "{sentence}");
    }
}

#[test]
fn why_a_ring_is_given_up_is_told_as_it_came() {
    let abort = |why: &str| hear(Mode::Own, &own::Kind::Abort.packet(why.as_bytes())).0;
    assert_eq!(abort("no disk"), "127.0.0.9 gave up: no disk");
    let gone = "the golden node, n0, answers no more";
    assert_eq!(abort(gone), format!("{gone}; start the ring again"));
    assert!(!abort("\x1b[2J\nmore").contains(['\x1b', '\n']));
}

/// A chunk of old programs, with bytes that tell where they belong.
fn large(number: u32, last: bool, length: usize) -> Vec<u8> {
    let head = chunk_head(last, u32::try_from(length).unwrap(), number);
    let data = (0..length).map(|at| (at / 1000) as u8 ^ number as u8);
    head.into_iter().chain(data).collect()
}

/// What the bank holds of a file, and the parts that it is in.
fn held(bank: &Bank) -> (Vec<u8>, Vec<Part>) {
    let (mut data, mut parts) = (Vec::new(), Vec::new());
    loop {
        let items = match bank.next_to_write() {
            Next::Items(_, items) => items,
            Next::Nothing | Next::Closed => return (data, parts),
        };
        for item in &items {
            let Item::Chunk(chunk) = item.as_ref() else {
                panic!("{item:?}");
            };
            assert_eq!(chunk.about.offset, data.len() as u64);
            data.extend(chunk.bytes());
            parts.push(chunk.part);
        }
        bank.written(Written {
            items: items.len() as u64,
            ..Written::default()
        });
    }
}

/// Where a neighbour dies in the middle of a chunk, and what is here then in whole parts.
const CUTS: [(usize, u64); 5] = [
    (0, 0),
    (own::CHUNK - 1, 0),
    (own::CHUNK, 1),
    (own::CHUNK + 1, 1),
    (3 << 20, 12),
];

#[test]
fn half_a_chunk_of_an_old_neighbour_is_here_and_its_successor_sends_all_of_it_again() {
    const SIZE: usize = 4 << 20;
    for (cut, parts) in CUTS {
        for first in [0, 1] {
            // A chunk that stands before it, or none; it is said which file comes, if the
            // new one thinks that nothing of it is here.
            let (begin, before) = match first {
                0 => (file_number(0).to_vec(), vec![]),
                _ => (vec![], large(0, false, 8)),
            };
            let number = first as u32;
            let whole = large(number, false, SIZE);
            let dying = [&file_number(0), &before[..], &whole[..12 + cut]].concat();
            let (ends, bank) = hear_in_turn(Mode::Old, 1, std::slice::from_ref(&dying));
            assert_eq!(ends, ["closed the connection"], "{cut}");
            assert_eq!(bank.wanted(), first as u64 + parts, "{cut}: not passed on");

            let rest = large(number + 1, true, 3);
            let next = [&begin[..], &whole, &rest].concat();
            let (ends, bank) = hear_in_turn(Mode::Old, 1, &[dying, next]);
            assert_eq!(ends[1], "everything is here", "{cut}");
            let (data, parts) = held(&bank);
            let sent = [&before, &whole, &rest].map(|chunk| chunk.get(12..).unwrap_or_default());
            assert!(data == sent.concat(), "{cut}: other bytes");
            let heads = parts.iter().filter(|part| part.at == 0);
            let told: Vec<_> = heads.map(|p| (p.number, p.whole, p.last)).collect();
            assert_eq!(
                told[first..],
                [(number, SIZE as u32, false), (number + 1, 3, true)]
            );
        }
    }
}

#[test]
fn a_chunk_that_came_in_part_does_not_change_its_length() {
    let whole = large(0, false, 1 << 20);
    let dying = [&file_number(0), &whole[..(512 << 10)]].concat();
    for other in [large(0, true, 1 << 20), large(0, false, 1 << 19)] {
        let (ends, bank) = hear_in_turn(Mode::Old, 1, &[dying.clone(), other]);
        assert!(ends[1].contains("another length"), "{ends:?}");
        assert_eq!(bank.wanted(), 1);
    }
}

/// The next file begins, although the one before has not come to its end: that one will lack
/// its end, and nothing of it gets into the next one.
#[test]
fn what_came_of_a_chunk_does_not_get_into_another_file() {
    let whole = large(0, false, 1 << 20);
    let dying = [&file_number(0), &whole[..(512 << 10)]].concat();
    let next = [&file_number(1)[..], &large(0, true, 5)].concat();
    let (ends, bank) = hear_in_turn(Mode::Old, 2, &[dying, next]);
    assert_eq!(ends[1], "everything is here");
    let Next::Items(_, items) = bank.next_to_write() else {
        panic!("nothing is here");
    };
    let places: Vec<_> = items
        .iter()
        .map(|item| match item.as_ref() {
            Item::Chunk(chunk) => (chunk.about.file, chunk.about.offset, chunk.about.length),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(places, [(0, 0, own::CHUNK as u32), (1, 0, 5)]);
}
