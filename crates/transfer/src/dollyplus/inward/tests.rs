//! What the computer before this one may say wrongly while data moves: the connection is of
//! no use then, nothing of it is kept, and another neighbour may go on.

use std::io::Write;
use std::net::TcpStream;
use std::sync::mpsc;

use goldring_wire::dollyplus::packet::{chunk_head, file_number};
use goldring_wire::dollyplus::status::Abilities;
use goldring_wire::dollyplus::window::Limits;
use twox_hash::XxHash3_64;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// Everything that a neighbour says, until it is enough: how that ended, and which chunk is
/// wanted next.
fn hear(mode: Mode, said: &[u8]) -> (String, u64) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut there = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let here = listener.accept().unwrap().0;
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
        files: 1,
        pool: Arc::default(),
        events,
        server_is: Presence::default(),
    };
    there.write_all(said).unwrap();
    drop(there);
    let mut link = Link::new(here, SECOND).unwrap();
    let mut place = Place::default();
    let end = loop {
        match inward.take(&mut link, &mut place) {
            Ok(true) => break "everything is here".to_owned(),
            Ok(false) => {}
            Err(End::Trouble(trouble)) => break trouble.to_string(),
            Err(End::Over(why)) => break why,
        }
    };
    (end, bank.wanted())
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
