//! Whole sessions: many nodes, both kinds, and what happens to them.

use std::time::Duration;

use goldring_wire::ka::server::{Event, Late, Lead, Outcome, Setup};
use proptest::prelude::*;

use crate::old::Death;
use crate::world::{KEPT, State, World};

fn setup(nodes: usize, arity: usize) -> Setup {
    Setup {
        wanted: nodes,
        expected: None,
        patience: Duration::from_secs(60),
        late: Late::GiveUp,
        arity,
        lead: Lead::WhenFew,
        release: None,
        history: KEPT,
        silence: Duration::from_secs(10),
    }
}

const LONG: Duration = Duration::from_secs(600);

/// Everybody but those has everything, and the server says so.
fn check(world: &mut World, hurt: &[usize]) {
    let outcome = world.run(LONG);
    let reports = world.server.reports();
    let say = |world: &World| {
        let peers: Vec<String> = world
            .peers
            .iter()
            .map(|p| format!("{} {:?} {} {:?}", p.address, p.state, p.came, p.died_of))
            .collect();
        format!("{}\n{:#?}\n{:?}", peers.join("\n"), reports, world.events)
    };
    assert!(outcome.is_some(), "it does not end:\n{}", say(world));
    for (i, peer) in world.peers.iter().enumerate() {
        let report = reports.iter().find(|r| r.address == peer.address);
        if hurt.contains(&i) || died_of_somebody(world, hurt, i) {
            continue;
        }
        assert_eq!(
            peer.state,
            State::Left(true),
            "{}\n{}",
            peer.address,
            say(world)
        );
        assert_eq!(peer.came, world.total, "{}", say(world));
        assert!(report.is_some_and(|r| r.fate.is_good()), "{}", say(world));
    }
    if world
        .peers
        .iter()
        .any(|peer| peer.state == State::Left(true))
    {
        assert!(matches!(outcome, Some(Outcome::Sent(_))), "{outcome:?}");
    }
}

/// An old node that was told to connect to somebody, or to serve somebody, who went while that
/// word was on its way; and so on, for whoever was told to connect to such a node. Nobody but
/// the old program could mend that.
fn died_of_somebody(world: &World, hurt: &[usize], who: usize) -> bool {
    let Some(Death::Refused(named) | Death::NotHere(named)) = world.peers[who].died_of else {
        return false;
    };
    let named = world.peers.iter().position(|peer| peer.address == named);
    named.is_some_and(|named| {
        let killed = hurt.contains(&named) && world.peers[named].state == State::Dead;
        killed || died_of_somebody(world, hurt, named)
    })
}

fn run(nodes: usize, arity: usize, old: impl Fn(usize) -> bool, total: u64) {
    let olds: Vec<bool> = (0..nodes).map(old).collect();
    let mut world = World::new(setup(nodes, arity), &olds, total, nodes as u64);
    check(&mut world, &[]);
}

#[test]
fn sessions_of_one_to_a_hundred_nodes() {
    for nodes in [1, 2, 3, 10, 100] {
        run(nodes, 1, |_| false, 20_000_000);
        run(nodes, 1, |_| true, 20_000_000);
        run(nodes, 1, |i| i % 3 == 1, 20_000_000);
    }
    for arity in 2..=4 {
        run(60, arity, |i| i % 2 == 1, 5_000_000);
    }
    run(3, 1, |_| false, 0);
    run(3, 1, |_| true, 1);
}

/// In the middle of the data.
fn hurt(nodes: usize, arity: usize, olds: &[bool], who: &[usize], freeze: bool) {
    let mut world = World::new(setup(nodes, arity), olds, 150_000_000, 7);
    for _ in 0..400 {
        world.step();
    }
    assert!(world.head > 10_000_000, "{}", world.head);
    for i in who {
        if freeze {
            world.freeze(*i);
        } else {
            world.kill(*i);
        }
    }
    check(&mut world, who);
    let lost = |event: &&Event| matches!(event, Event::Lost(..));
    assert_eq!(world.events.iter().filter(lost).count(), who.len());
}

#[test]
fn whoever_dies_or_freezes_the_others_have_everything() {
    for freeze in [false, true] {
        for old in [false, true] {
            for who in [
                &[0][..],
                &[1],
                &[4],
                &[1, 2],
                &[0, 1, 2, 3],
                &[2, 4],
                &[0, 2],
            ] {
                hurt(5, 1, &[old; 5], who, freeze);
            }
            for who in [&[0][..], &[0, 1], &[0, 2, 3], &[5], &[1, 4]] {
                hurt(9, 2, &[old; 9], who, freeze);
                hurt(9, 4, &[old; 9], who, freeze);
            }
        }
    }
}

#[test]
fn everybody_dies_and_it_ends() {
    let mut world = World::new(setup(3, 1), &[false; 3], 100_000_000, 3);
    for _ in 0..200 {
        world.step();
    }
    (0..3).for_each(|i| world.kill(i));
    let outcome = world.run(LONG);
    assert!(matches!(outcome, Some(Outcome::Failed(_))), "{outcome:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// Nodes of any kind die or freeze at any moment: from the first connection to after
    /// the last byte.
    #[test]
    fn whatever_happens_when(
        seed in any::<u64>(),
        olds in prop::collection::vec(any::<bool>(), 1..9),
        arity in 1usize..4,
        total in 0u64..60_000_000,
        faults in prop::collection::vec((0usize..9, 0usize..700, any::<bool>()), 0..4),
    ) {
        let nodes = olds.len();
        let mut setup = setup(nodes, arity);
        // Whoever dies before the start would be waited for.
        setup.patience = Duration::from_secs(1);
        setup.late = Late::GoOn;
        let mut world = World::new(setup, &olds, total, seed);
        let mut hurt = Vec::new();
        for step in 0..700 {
            for (who, when, freeze) in &faults {
                let who = who % nodes;
                if *when == step && world.peers[who].state == State::Up {
                    hurt.push(who);
                    if *freeze { world.freeze(who) } else { world.kill(who) }
                }
            }
            world.step();
        }
        check(&mut world, &hurt);
    }
}
