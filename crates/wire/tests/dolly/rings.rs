//! Rings of every length and shape, with old programs among ours, and with the dead.

use std::time::{Duration, Instant};

use goldring_wire::dolly::Failure;
use goldring_wire::dolly::config::Dialect;
use goldring_wire::dolly::node::{Input, Node, Setup};
use goldring_wire::dolly::opening::Opening;
use goldring_wire::dolly::password::Password;
use proptest::prelude::{Just, Strategy, any, prop, prop_assert, prop_oneof, proptest};

use crate::ring::{Program, Ring, Story};

fn story(n: usize, size: usize) -> Story {
    Story {
        server: Program::Ours,
        clients: vec![Program::Ours; n],
        fanout: 1,
        size,
        pipe: false,
        opening: Opening::default(),
        dies: None,
        ill: None,
        seed: 1,
    }
}

fn complete(story: &Story) -> Result<(), String> {
    let mut ring = Ring::new(story.clone());
    ring.run();
    if ring.golden_done && ring.all_copied() {
        return Ok(());
    }
    Err(format!(
        "{story:?}: done {}, copied {}, {:?} {:?}",
        ring.golden_done,
        ring.all_copied(),
        ring.golden_failure,
        ring.failures
    ))
}

#[test]
fn a_ring_of_a_hundred() {
    for seed in 1..6 {
        complete(&Story {
            seed,
            ..story(100, 12_345)
        })
        .unwrap();
    }
}

#[test]
fn an_empty_input_is_copied_too() {
    complete(&story(3, 0)).unwrap();
    complete(&Story {
        pipe: true,
        ..story(3, 0)
    })
    .unwrap();
}

/// The model is worth something only if it shows the fault of the original.
#[test]
fn old_programs_among_themselves_do_stand_still() {
    let stuck = (1..200)
        .filter(|seed| {
            let story = Story {
                server: Program::Classic,
                clients: vec![Program::Classic; 3],
                seed: *seed,
                ..story(3, 100)
            };
            complete(&story).is_err()
        })
        .count();
    assert!((10..190).contains(&stuck), "{stuck} of 199");
}

#[test]
fn whoever_dies_is_named_by_its_neighbours_and_nobody_waits() {
    for (dead, seed) in (0..5).flat_map(|d| (1..30).map(move |s| (d, s * 7919))) {
        let story = Story {
            dies: Some((dead, 20_000)),
            seed,
            ..story(5, 60_000)
        };
        let mut ring = Ring::new(story);
        ring.run();
        let name = format!("n{}", dead + 1);
        assert!(!ring.golden_done);
        assert_eq!(ring.elapsed(), Duration::ZERO, "no clock was needed");
        let said = ring
            .golden_failure
            .as_ref()
            .map(Failure::to_string)
            .unwrap();
        assert!(said.contains(&name), "golden: {said}");
        for (i, failure) in ring.failures.iter().enumerate() {
            if i == dead {
                continue;
            }
            let said = failure.as_ref().map(Failure::to_string).unwrap();
            // Further down a line about the dead one may come too late: then the
            // neighbour above is named.
            let late = i > dead + 1 && said.starts_with(&format!("n{i} "));
            assert!(
                said.contains(&name) || late,
                "n{} of dead {name}: {said}",
                i + 1
            );
        }
    }
}

/// A disk fails at its last sync, when everybody may have everything. Whoever is before it, or has not
/// reported, is told. Nothing follows a report in the old protocol: its sender is content, and
/// so is everybody behind it.
#[test]
fn whoever_has_reported_is_content_and_all_others_hear_of_a_disk_that_fails() {
    let mut content = [0; 5];
    for (ill, seed) in (0..5).flat_map(|i| (1..60).map(move |s| (i, s * 7919))) {
        let story = Story {
            ill: Some(ill),
            seed,
            ..story(5, 20_000)
        };
        let mut ring = Ring::new(story);
        ring.run();
        let name = format!("n{} says: ", ill + 1);
        assert!(!ring.golden_done);
        assert_eq!(ring.elapsed(), Duration::ZERO, "no clock was needed");
        let said = |failure: &Option<Failure>| failure.as_ref().map(Failure::to_string);
        let golden = said(&ring.golden_failure).unwrap();
        assert!(golden.contains(&name), "golden: {golden}");
        assert!(matches!(ring.failures[ill], Some(Failure::Here(_))));
        for (i, failure) in ring.failures.iter().enumerate() {
            match said(failure) {
                _ if i == ill => {}
                Some(said) => assert!(said.contains(&name), "n{} of {name}{said}", i + 1),
                None => {
                    assert!(i > ill, "n{} has reported, and n{} has not", i + 1, ill + 1);
                    assert_eq!(ring.disks[i], ring.input);
                    assert!(ring.failures[i..].iter().all(Option::is_none));
                    content[i] += 1;
                }
            }
        }
    }
    // Both happen to a node at the end.
    assert!((1..4 * 59).contains(&content[4]), "{content:?}");
}

#[test]
fn a_node_does_not_wait_for_a_child_for_ever() {
    let begin = Instant::now();
    let setup = Setup {
        own: true,
        name: "n1".into(),
        parent: "n0".into(),
        children: vec!["n2".into(), "n3".into()],
        text: b"endconfig\n".to_vec(),
        opening: Opening::default(),
        ring_wait: Duration::from_secs(3600),
        count_wait: Duration::from_secs(900),
    };
    let mut node = Node::new(setup, begin);
    node.handle(begin, Input::Opened).unwrap();
    node.handle(begin, Input::Connected(0)).unwrap();
    let mut notices = 0;
    let failure = loop {
        assert!(notices < 1000, "it waits and waits");
        let now = node.poll_timeout().unwrap();
        if let Err(failure) = node.handle(now, Input::Tick) {
            assert_eq!(now - begin, Duration::from_secs(3600));
            break failure;
        }
        notices += 1;
    };
    assert_eq!(
        failure.to_string(),
        "gave up after 3600 s without n3; start it, or take it out of the list"
    );
}

fn programs() -> impl Strategy<Value = Vec<Program>> {
    let one = prop_oneof![Just(Program::Ours), Just(Program::Classic)];
    prop::collection::vec(one, 1..10)
}

proptest! {
    #[test]
    fn every_ring_completes(
        n in 1_usize..14, fanout in 1_usize..5, size in 0_usize..40_000, pipe: bool, seed: u64,
    ) {
        let story = Story { fanout, pipe, seed, ..story(n, size) };
        prop_assert!(complete(&story).is_ok(), "{:?}", complete(&story));
    }

    /// Whatever old clients are in it: with our server no ring stands still.
    #[test]
    fn our_server_cures_old_clients_behind_our_nodes_or_itself(
        clients in programs(), fanout in 1_usize..4, size in 0_usize..20_000, seed: u64,
    ) {
        let story = Story { clients, fanout, seed, ..story(1, size) };
        // An old client in the middle may still harm an old one below it: that is
        // between the two of them.
        let harmless = (0..story.clients.len()).all(|i| {
            story.clients[i] == Program::Ours || size.is_multiple_of(4096) || {
                let mut below = goldring_wire::dolly::topology::of_client(i, story.clients.len(), fanout);
                below.all(|c| story.clients[c] == Program::Ours)
            }
        });
        if harmless {
            prop_assert!(complete(&story).is_ok(), "{:?}", complete(&story));
        }
    }

    #[test]
    fn a_ring_of_the_suse_dialect_completes(
        n in 1_usize..9, size in 0_usize..20_000, password: bool, pipe: bool, seed: u64,
    ) {
        let opening = Opening {
            dialect: Dialect::Suse,
            password: password.then(|| Password::new("secret")),
            seed: [7; 32],
        };
        let story = Story { opening, pipe, seed, ..story(n, size) };
        prop_assert!(complete(&story).is_ok(), "{:?}", complete(&story));
    }

    #[test]
    fn our_nodes_follow_an_old_server(
        n in 1_usize..8, size in 0_usize..20_000, seed in any::<u64>(),
    ) {
        let story = Story { server: Program::Classic, seed, ..story(n, size) };
        prop_assert!(complete(&story).is_ok(), "{:?}", complete(&story));
    }
}
