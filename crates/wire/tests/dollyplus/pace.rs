//! Who holds a ring up, and who does not.

use std::time::{Duration, Instant};

use goldring_wire::dollyplus::pace::{Holdup, Judge, Pace, Part, at_fault};
use proptest::prelude::{any, proptest};

const HOLD: Duration = Duration::from_secs(10);
/// Bytes in a second.
const RATE: u64 = 4_000_000;

/// A computer's shares of the time, in percent: no room, nothing to send, nothing to write.
type Shares = (u32, u32, u32);

fn chain(computers: &[Shares], second: u32) -> Vec<(String, Pace)> {
    let pace = |(place, (full, idle, dry)): (usize, &Shares)| {
        let (up, share) = (second * 1000, |percent: u32| percent * 10 * second);
        let (full, idle, dry) = (share(*full), share(*idle), share(*dry));
        (
            format!("n{place}"),
            Pace {
                up,
                full,
                idle,
                dry,
            },
        )
    };
    computers.iter().enumerate().map(pace).collect()
}

/// Looks every two seconds at a chain that stays as it is; the first finding, and when.
fn look(judge: &mut Judge, computers: &[Shares], left: Option<u64>) -> Option<(u32, Holdup)> {
    let start = Instant::now();
    (0..=30).step_by(2).find_map(|second| {
        let now = start + Duration::from_secs(second.into());
        let reached = u64::from(second) * RATE;
        let found = judge.look(now, &chain(computers, second), (reached, left));
        found.map(|found| (second, found))
    })
}

fn link(from: usize, to: usize) -> Part {
    let (from, to) = (format!("n{from}"), format!("n{to}"));
    Part::Link { from, to }
}

fn disk(place: usize) -> Part {
    Part::Disk(format!("n{place}"))
}

/// The golden node when somebody behind it is slow, and when it is starved itself.
const GOLD: Shares = (95, 0, 100);
/// A client before the slow part, and one behind it.
const BEFORE: Shares = (92, 2, 93);
const BEHIND: Shares = (0, 92, 93);
/// One whose disk is slow, one with a slow link to the next, and one at the end of a slow link.
const DISK: Shares = (95, 92, 1);
const SENDS: Shares = (92, 1, 93);
const TAKES: Shares = (0, 92, 93);

#[test]
fn the_part_that_all_wait_for_is_found() {
    let table: &[(&str, &[Shares], Option<Part>)] = &[
        ("disk first", &[GOLD, DISK, BEHIND, BEHIND], Some(disk(1))),
        (
            "disk in the middle",
            &[GOLD, BEFORE, DISK, BEHIND],
            Some(disk(2)),
        ),
        ("disk last", &[GOLD, BEFORE, BEFORE, DISK], Some(disk(3))),
        (
            "link first",
            &[GOLD, TAKES, BEHIND, BEHIND],
            Some(link(0, 1)),
        ),
        (
            "link in the middle",
            &[GOLD, SENDS, TAKES, BEHIND],
            Some(link(1, 2)),
        ),
        ("link last", &[GOLD, BEFORE, SENDS, TAKES], Some(link(2, 3))),
        // A computer whose network is slow both ways: the first slow link is the one to it.
        (
            "network",
            &[GOLD, SENDS, (8, 3, 93), BEHIND],
            Some(link(1, 2)),
        ),
        // A disk that takes nothing any more.
        (
            "stuck",
            &[(100, 0, 100), (100, 0, 100), (100, 100, 0), (0, 100, 100)],
            Some(disk(2)),
        ),
        // The input: everybody is starved.
        ("input", &[(1, 92, 100), BEHIND, BEHIND, BEHIND], None),
        // All links are as slow as each other; so are all disks.
        ("links", &[GOLD, (4, 3, 93), (3, 3, 93), (2, 90, 93)], None),
        ("disks", &[GOLD, (90, 0, 3), (80, 5, 4), (10, 90, 2)], None),
        // Slow, but no four times.
        ("half", &[GOLD, (60, 5, 50), (95, 40, 1), (0, 60, 52)], None),
        // Nobody is at work all the time.
        (
            "nobody",
            &[(50, 50, 100), (40, 40, 50), (40, 40, 50), (0, 40, 50)],
            None,
        ),
        // Two of three are slow: that would be most of them.
        ("most", &[GOLD, DISK, (80, 90, 12), BEHIND], None),
        // The only one.
        ("only", &[GOLD, (95, 100, 0)], None),
        ("one of two", &[GOLD, (95, 92, 0), BEHIND], Some(disk(1))),
        // Two of four: one after the other, the first one first.
        (
            "two",
            &[GOLD, BEFORE, (85, 90, 10), (10, 90, 1), BEHIND],
            Some(disk(2)),
        ),
    ];
    for (what, computers, part) in table {
        let mut judge = Judge::new(computers.len() - 1, 4.0, HOLD);
        let found = look(&mut judge, computers, None);
        assert_eq!(
            found.as_ref().map(|(_, found)| &found.part),
            part.as_ref(),
            "{what}"
        );
        if let Some((second, found)) = found {
            // The first look has nothing to compare with, the second begins the count.
            assert_eq!(second, 12, "{what}");
            assert!((found.rate - RATE as f64).abs() < 1.0, "{what}: {found:?}");
            assert!(found.others >= 4.0 * found.rate, "{what}: {found:?}");
        }
    }
}

#[test]
fn a_moment_is_not_long_enough_and_the_end_is_near_enough() {
    let slow = &[GOLD, BEFORE, DISK, BEHIND];
    let fine = &[GOLD, (90, 5, 50), (60, 20, 50), (0, 60, 50)];
    let start = Instant::now();
    let mut judge = Judge::new(3, 4.0, HOLD);
    // Eight seconds slow, two fine, and again.
    let (mut ups, mut all) = (0, chain(slow, 0));
    for second in (2..60).step_by(2) {
        let now_slow: &[Shares] = if second % 10 == 0 { fine } else { slow };
        for (one, more) in all.iter_mut().zip(chain(now_slow, 2)) {
            one.1.up += more.1.up;
            one.1.full += more.1.full;
            one.1.idle += more.1.idle;
            one.1.dry += more.1.dry;
        }
        ups += 1;
        let now = start + Duration::from_secs(second);
        assert_eq!(
            judge.look(now, &all, (second * RATE, None)),
            None,
            "{second}"
        );
    }
    assert!(ups > 20);
    // It is over in ten seconds.
    assert_eq!(
        look(&mut Judge::new(3, 4.0, HOLD), slow, Some(10 * RATE)),
        None
    );
    assert!(look(&mut Judge::new(3, 4.0, HOLD), slow, Some(100 * RATE)).is_some());
    // A disk that is stuck is never over.
    let mut judge = Judge::new(3, 4.0, HOLD);
    let stuck = (0..20).step_by(2).find_map(|second| {
        let now = start + Duration::from_secs(second.into());
        judge.look(now, &chain(slow, second), (5, Some(1)))
    });
    assert_eq!(stuck.map(|found| found.part), Some(disk(2)));
}

#[test]
fn half_of_the_clients_stay_in_any_case() {
    let mut judge = Judge::new(4, 4.0, HOLD);
    let slow = &[GOLD, DISK, BEHIND, BEHIND];
    for _ in 0..2 {
        assert!(look(&mut judge, slow, None).is_some());
        judge.left_behind();
    }
    assert_eq!(look(&mut judge, slow, None), None);
}

#[test]
fn the_golden_nodes_own_link_is_excused_once_it_is_known() {
    let slow = &[GOLD, TAKES, BEHIND, BEHIND];
    let mut judge = Judge::new(3, 4.0, HOLD);
    assert!(look(&mut judge, slow, None).is_some());
    judge.excuse();
    assert_eq!(look(&mut judge, slow, None), None);
    // Others are not.
    assert!(look(&mut judge, &[GOLD, BEFORE, DISK, BEHIND], None).is_some());
}

#[test]
fn who_is_at_fault_for_a_link() {
    let who = |golden, rate, beside| at_fault(("a", "b"), golden, (rate, beside));
    assert_eq!(
        who(true, 1e6, 8e6),
        Some("b"),
        "the golden node can send more to others"
    );
    assert_eq!(who(true, 1e6, 0.6e6), None, "it cannot");
    assert_eq!(
        who(false, 1e6, 8e6),
        Some("a"),
        "who takes it can take more"
    );
    assert_eq!(who(false, 1e6, 0.6e6), Some("b"), "it cannot");
}

#[test]
fn a_computer_that_starts_again_or_says_too_little_is_not_judged() {
    let slow = &[GOLD, BEFORE, DISK, BEHIND];
    let start = Instant::now();
    let mut judge = Judge::new(3, 4.0, HOLD);
    for second in (0..60_u32).step_by(2) {
        let mut chain = chain(slow, second);
        // It has started again each ten seconds.
        chain[3].1 = Pace::default();
        chain[3].1.up = second % 10 * 1000;
        let now = start + Duration::from_secs(second.into());
        assert_eq!(judge.look(now, &chain, (0, None)), None);
    }
}

proptest! {
    #[test]
    fn nothing_that_computers_say_makes_it_panic(
        all in proptest::collection::vec(proptest::collection::vec(any::<[u32; 4]>(), 0..5), 0..8),
        factor: f64,
    ) {
        let start = Instant::now();
        let mut judge = Judge::new(4, factor, Duration::ZERO);
        for (second, computers) in all.iter().enumerate() {
            let pace = |(place, [up, full, idle, dry]): (usize, &[u32; 4])| {
                let (up, full, idle, dry) = (*up, *full, *idle, *dry);
                (format!("n{place}"), Pace { up, full, idle, dry })
            };
            let chain: Vec<_> = computers.iter().enumerate().map(pace).collect();
            let now = start + Duration::from_secs(second as u64);
            if let Some(found) = judge.look(now, &chain, (second as u64, None)) {
                assert_ne!(found.part, Part::Input);
            }
        }
    }
}
