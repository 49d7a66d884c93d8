use std::os::unix::fs::FileExt;

use goldring_wire::dollyplus::own::{self, Encoding};

use super::*;
use crate::dollyplus::chunk::{Payload, Pool};

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
    Chunk::new(about, 0, Some(bytes))
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

/// A chunk of old programs takes a tenth of a second on a slow link; each computer of the ring
/// that sat on it until the next one is here would take as long once more.
#[test]
fn a_large_chunk_is_passed_on_at_once() {
    let bank = Bank::new(Limits::OLD, true, 0);
    bank.put(Item::Chunk(chunk(&bank, 1000)), true);
    assert_eq!(bank.lock().uncalled, 1000, "more is at hand");
    let large = goldring_wire::dollyplus::CHUNK as u32;
    bank.put(Item::Chunk(chunk(&bank, large)), true);
    assert_eq!(bank.lock().uncalled, 0, "the others are called");
    bank.sent(1);
    // That it is stored first is worth waiting for, as long as the disk keeps up.
    bank.written(one());
    assert!(bank.lock().is_stored_soon());
    bank.put(Item::Chunk(chunk(&bank, large)), true);
    assert!(!bank.lock().is_stored_soon());
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
