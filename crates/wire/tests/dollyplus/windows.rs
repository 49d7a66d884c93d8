//! Whatever happens in whatever order, nothing is lost that somebody needs, and memory
//! stays bounded.

use goldring_wire::dollyplus::CHUNK;
use goldring_wire::dollyplus::own;
use goldring_wire::dollyplus::window::{Limits, Window};
use proptest::prelude::{ProptestConfig, any, proptest};

/// What the sockets between two computers hold at most, in pieces of 256 KiB.
const SOCKETS: u64 = 12;

fn held(window: &Window) -> u64 {
    window.wanted() - window.oldest()
}

#[test]
fn a_neighbour_can_go_back_as_far_as_was_kept() {
    let mut window = Window::new(Limits::OLD, true, true);
    for _ in 0..100 {
        assert!(window.has_room());
        window.take();
        window.sent();
        window.written();
    }
    assert_eq!(window.oldest(), 90);
    window.rewind(90).unwrap();
    assert!(!window.has_room(), "ten are not sent");
    assert_eq!(window.to_send(), Some(90));
    assert_eq!(window.rewind(89).unwrap_err().oldest, 90);
    assert!(window.rewind(101).is_err(), "that one has never been here");
    window.rewind(100).unwrap();
    assert_eq!(window.to_send(), None);
}

#[test]
fn the_last_one_waits_for_its_disk_only() {
    let mut window = Window::new(Limits::OWN, false, true);
    for _ in 0..5 {
        window.take();
    }
    assert_eq!(window.to_send(), None);
    for _ in 0..Limits::OWN.unwritten {
        if window.has_room() {
            window.take();
        }
    }
    assert!(!window.has_room());
    window.written();
    assert!(window.has_room());
}

/// What is lost with a neighbour that was as far ahead as it may be is still here, for
/// as many neighbours at once as the limits promise.
#[test]
fn four_neighbours_may_die_at_once() {
    let lost = 4 * (Limits::OWN.ahead + SOCKETS);
    assert!(lost <= Limits::OWN.kept, "{lost}");
}

/// An old one may hold ten chunks and throw away most of one more, and whoever comes after it
/// begins with a whole chunk.
#[test]
fn an_old_neighbour_may_die_behind_one_of_goldring() {
    let chunk = (CHUNK / own::CHUNK) as u64;
    let lost = 10 * chunk + SOCKETS + 2 * chunk;
    assert!(lost <= Limits::PARTS.kept, "{lost}");
    // And one of goldring behind an old one, which keeps ten chunks.
    let lost = Limits::PARTS.ahead + SOCKETS + 2 * chunk;
    assert!(lost <= 10 * chunk, "{lost}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn bounded_and_complete(steps in proptest::collection::vec(any::<u8>(), 0..2000)) {
        let limits = Limits { ahead: 3, unwritten: 4, kept: 5 };
        let mut window = Window::new(limits, true, true);
        for step in steps {
            match step % 8 {
                0..=2 if window.has_room() => window.take(),
                3 | 4 => window.sent(),
                5 | 6 => window.written(),
                7 => {
                    let back = window.oldest() + u64::from(step / 8) % (held(&window) + 1);
                    window.rewind(back).unwrap();
                }
                _ => {}
            }
            // What is to be sent or written is here.
            assert!(window.oldest() <= window.unsent());
            assert!(window.oldest() <= window.unwritten());
            assert!(window.unsent() <= window.wanted() && window.unwritten() <= window.wanted());
            // The most that waits for somebody, and what is kept behind it.
            assert!(held(&window) <= limits.kept + limits.ahead.max(limits.unwritten) + limits.kept);
        }
    }
}
