use std::os::unix::fs::FileExt;

use goldring_wire::dollyplus::own::{self, Encoding};

use super::*;
use crate::dollyplus::chunk::{Part, Payload, Pool};

fn limits() -> Limits {
    Limits {
        ahead: 2,
        unwritten: 3,
        kept: 2,
    }
}

fn chunk(bank: &Bank, length: u32) -> Chunk {
    let about = own::Chunk {
        sequence: 0,
        file: 0,
        last: false,
        encoding: Encoding::Raw,
        offset: bank.wanted() * u64::from(length),
        length,
        payload: length,
        checksum: 0,
    };
    let mut bytes = Arc::<Pool>::default().take(length as usize);
    bytes.as_mut(length as usize).fill(7);
    Chunk::new(about, Some(bytes))
}

fn items(next: Next) -> Vec<Arc<Item>> {
    match next {
        Next::Items(_, items) => items,
        other => panic!("{other:?}"),
    }
}

fn payload(item: &Item) -> &Payload {
    match item {
        Item::Chunk(chunk) => chunk.payload(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_stored_is_sent_from_there_and_sent_again_from_there() {
    let file = Arc::new(tempfile::tempfile().unwrap());
    let bank = Bank::new(Limits::OWN, true, 0);
    for _ in 0..3 {
        bank.put(Item::Chunk(chunk(&bank, 1000)), true);
    }
    assert_eq!(items(bank.next_to_write()).len(), 3);
    bank.written(Written {
        items: 2,
        bytes: 2000,
        stored: vec![(1, Arc::clone(&file))],
    });
    // The third one is written in a moment; the first two need not wait for it.
    let some = items(bank.next_to_send());
    assert_eq!(some.len(), 2);
    assert!(matches!(payload(&some[0]), Payload::Memory(_)), "held back");
    assert!(matches!(payload(&some[1]), Payload::Stored(range) if range.offset == 1000));
    bank.sent(2);
    // Nobody writes, and it goes from memory after a while.
    let some = items(bank.next_to_send());
    assert!(matches!(payload(&some[0]), Payload::Memory(_)));
    bank.sent(1);
    bank.rewind(1).unwrap();
    let some = items(bank.next_to_send());
    assert!(matches!(payload(&some[0]), Payload::Stored(_)));
    assert_eq!(bank.level().unsent, 2);
}

/// The last item came this long ago.
fn came_before(bank: &Bank, time: Duration) {
    bank.lock().came = Instant::now().checked_sub(time).unwrap();
}

#[test]
fn what_is_large_or_comes_slowly_is_passed_on_at_once() {
    let bank = Bank::new(Limits::OLD, false, 0);
    // A machine that has something else to do does not make this one slow.
    bank.lock().came = Instant::now() + Duration::from_secs(60);
    bank.put(Item::Chunk(chunk(&bank, 1000)), true);
    assert_eq!(bank.lock().uncalled, 1000, "more is at hand");
    came_before(&bank, SLOW);
    bank.put(Item::Chunk(chunk(&bank, 1000)), true);
    assert_eq!(bank.lock().uncalled, 0, "it took its time to come");
    bank.lock().came = Instant::now() + Duration::from_secs(60);
    let large = goldring_wire::dollyplus::CHUNK as u32;
    bank.put(Item::Chunk(chunk(&bank, large)), true);
    assert_eq!(bank.lock().uncalled, 0, "the others are called");
}

/// Puts a chunk of an old ring in, part by part.
fn put_old(bank: &Bank, file: u16, number: u32, (parts, all): (u32, u32), last: bool) {
    const LENGTH: u32 = 10;
    for part in 0..parts {
        let mut one = chunk(bank, LENGTH);
        one.about.file = file;
        one.about.last = last && part + 1 == all;
        one.part = Part {
            number,
            at: part * LENGTH,
            whole: all * LENGTH,
            last,
        };
        bank.put(Item::Chunk(one), true);
    }
}

#[test]
fn what_an_old_neighbour_means_with_a_number() {
    let limits = Limits {
        ahead: 100,
        unwritten: 100,
        kept: 100,
    };
    let bank = Bank::new(limits, true, 0);
    let number = |meant: Result<(u64, Option<u16>), _>| meant.map_err(|why: &str| why.len() > 9);
    // Nobody has been told anything yet.
    assert_eq!(number(bank.meant(None, 0)), Ok((0, None)));
    assert!(bank.meant(None, 1).is_err());
    // File 0: chunks 0 and 1 of two parts, 2 of one. File 1: 0 of two, and one part of 1.
    put_old(&bank, 0, 0, (2, 2), false);
    put_old(&bank, 0, 1, (2, 2), false);
    put_old(&bank, 0, 2, (1, 1), true);
    put_old(&bank, 1, 0, (2, 2), false);
    put_old(&bank, 1, 1, (1, 2), false);
    let table = [
        // So many parts were sent, of this file last; what is wanted; what that means.
        (0, None, 0, Some((0, 0))),
        (0, None, 1, None),
        (1, Some(0), 0, Some((0, 0))),
        (1, Some(0), 1, None),
        (2, Some(0), 1, Some((2, 0))),
        (4, Some(0), 1, Some((2, 0))),
        (4, Some(0), 2, Some((4, 0))),
        // The end of a file is behind its last chunk, and the next one is not begun.
        (5, Some(0), 3, Some((5, 0))),
        (5, Some(0), 0, Some((0, 0))),
        (6, Some(1), 3, Some((5, 0))),
        (6, Some(1), 2, Some((4, 0))),
        // It may have got all of file 1's first chunk, or be in file 0.
        (6, Some(1), 1, Some((2, 0))),
        (7, Some(1), 1, None),
        (8, Some(1), 1, None),
        (8, Some(1), 0, None),
        (8, Some(1), 4, None),
        // The one before it had not begun file 1 yet, and died as well: this one may not have
        // come to the end of file 0, or stand at it.
        (5, None, 2, Some((4, 0))),
        (5, None, 3, Some((5, 0))),
    ];
    for (sent, told, wanted, means) in table {
        bank.rewind(sent).unwrap();
        let meant = bank.meant(told, wanted);
        let place = means.map(|(number, file)| (number, Some(file)));
        assert_eq!(meant.ok(), place, "{sent} sent, {wanted} wanted: {meant:?}");
    }
}

#[test]
fn what_the_golden_node_sends_again_is_what_its_input_holds_now() {
    let file = Arc::new(tempfile::tempfile().unwrap());
    file.write_all_at(&[8; 1000], 0).unwrap();
    let bank = Bank::new(Limits::OWN, false, 0);
    let sent = chunk(&bank, 1000).read_from(Some(Arc::clone(&file)));
    bank.put(Item::Chunk(sent), false);
    assert!(matches!(
        payload(&items(bank.next_to_send())[0]),
        Payload::Memory(_)
    ));
    bank.sent(1);
    bank.rewind(0).unwrap();
    let some = items(bank.next_to_send());
    let Item::Chunk(old) = some[0].as_ref() else {
        panic!("{some:?}");
    };
    let Payload::Again(range) = old.payload() else {
        panic!("{old:?}");
    };
    let again = old.again(range).unwrap();
    assert!(again.is_intact());
    assert_eq!(again.bytes(), [8; 1000]);
    file.set_len(999).unwrap();
    assert!(old.again(range).is_err());
}

#[test]
fn nobody_waits_for_somebody_who_has_stopped() {
    let bank = Arc::new(Bank::new(limits(), true, 0));
    let waits = Arc::clone(&bank);
    let thread = std::thread::spawn(move || matches!(waits.next_to_write(), Next::Closed));
    bank.fail("the disk is broken".to_owned());
    assert!(thread.join().unwrap());
    assert!(!bank.has_room());
    assert_eq!(bank.failure().as_deref(), Some("the disk is broken"));
}

fn one() -> Written {
    Written {
        items: 1,
        ..Written::default()
    }
}

#[test]
fn what_two_threads_are_through_with_is_kept_for_a_while_and_goes() {
    let bank = Bank::new(limits(), true, 0);
    for _ in 0..2 {
        assert!(bank.has_room());
        bank.put(Item::End, false);
    }
    assert!(!bank.has_room(), "two are not sent");
    for _ in 0..2 {
        assert!(matches!(bank.next_to_send(), Next::Items(..)));
        bank.sent(1);
    }
    bank.put(Item::End, false);
    assert!(!bank.has_room(), "three are not written");
    for _ in 0..3 {
        bank.written(one());
    }
    bank.sent(1);
    assert_eq!(bank.rewind(0).unwrap_err().oldest, 1);
    bank.rewind(1).unwrap();
    assert!(matches!(bank.next_to_send(), Next::Items(..)));
    bank.close();
    bank.sent(1);
    bank.sent(1);
    assert!(matches!(bank.next_to_send(), Next::Closed));
    assert!(bank.level().drained);
}
