//! A ring of a hundred computers with a virtual clock: the time for all of them is the
//! time for one, and a little for each hop.

use std::collections::VecDeque;

use goldring_wire::dollyplus::own::CHUNK;
use goldring_wire::dollyplus::window::{Limits, Window};

/// Microseconds that a chunk takes on a link and on a disk.
struct Times {
    link: u64,
    disk: u64,
}

/// One computer: its window, and when what it does now will be done.
struct Computer {
    window: Window,
    sending: Option<u64>,
    writing: Option<u64>,
    /// Chunks that have arrived in its sockets.
    arrived: VecDeque<u64>,
}

/// The virtual time until everybody has written `chunks`, in microseconds. The computer
/// `dead` (if any) is gone after half of them, and its neighbour goes on with the next.
fn run(clients: usize, chunks: u64, times: &Times, dead: Option<usize>) -> u64 {
    let mut ring: Vec<Computer> = (0..=clients)
        .map(|place| Computer {
            window: Window::new(Limits::OWN, place < clients, place > 0),
            sending: None,
            writing: None,
            arrived: VecDeque::new(),
        })
        .collect();
    let (mut now, mut read, mut dead) = (0, 0, dead);
    loop {
        if let Some(place) = dead.filter(|place| ring[*place].window.wanted() >= chunks / 2) {
            dead = None;
            ring.remove(place);
            ring[place - 1].sending = None;
            let next = ring.get(place);
            if let Some(wanted) = next.map(|next| next.window.wanted() + next.arrived.len() as u64)
            {
                ring[place - 1].window.rewind(wanted).unwrap();
            }
        }
        step(&mut ring, now, chunks, times, &mut read);
        let done = |computer: &Computer| computer.window.unwritten() == chunks;
        if ring[1..].iter().all(done) {
            return now;
        }
        let due = ring.iter().flat_map(|c| [c.sending, c.writing]).flatten();
        now = due
            .filter(|at| *at > now)
            .min()
            .expect("everybody waits for everybody");
    }
}

fn step(ring: &mut [Computer], now: u64, chunks: u64, times: &Times, read: &mut u64) {
    let mut moved = true;
    while moved {
        moved = false;
        // The golden node's disk is as fast as it has to be.
        if *read < chunks && ring[0].window.has_room() {
            ring[0].window.take();
            *read += 1;
            moved = true;
        }
        for place in 0..ring.len() {
            let last = place + 1 == ring.len();
            if ring[place].sending.is_some_and(|at| at <= now) {
                ring[place].sending = None;
                ring[place].window.sent();
                ring[place + 1].arrived.push_back(now);
                moved = true;
            }
            if ring[place].writing.is_some_and(|at| at <= now) {
                ring[place].writing = None;
                ring[place].window.written();
                moved = true;
            }
            if !ring[place].arrived.is_empty() && ring[place].window.has_room() {
                ring[place].arrived.pop_front();
                ring[place].window.take();
                moved = true;
            }
            // Two chunks fit into the sockets in between.
            let taken = last || ring[place + 1].arrived.len() < 2;
            let computer = &mut ring[place];
            // The last one has nobody to send to: what came is as good as sent.
            while last && computer.window.to_send().is_some() {
                computer.window.sent();
            }
            if computer.sending.is_none() && taken && !last && computer.window.to_send().is_some() {
                computer.sending = Some(now + times.link);
                moved = true;
            }
            if computer.writing.is_none() && computer.window.to_write().is_some() {
                computer.writing = Some(now + times.disk);
                moved = true;
            }
        }
    }
}

/// A gigabit for each link, 200 MB/s for each disk, 2 GiB.
const GIGABIT: Times = Times {
    link: CHUNK as u64 * 8 / 1000,
    disk: CHUNK as u64 / 200,
};
const CHUNKS: u64 = 2048;

#[test]
fn a_hundred_take_hardly_longer_than_one() {
    let one = run(1, CHUNKS, &GIGABIT, None);
    let seven = run(7, CHUNKS, &GIGABIT, None);
    let hundred = run(100, CHUNKS, &GIGABIT, None);
    assert!(seven * 100 <= one * 105, "{one} {seven}");
    assert!(hundred * 100 <= one * 106, "{one} {hundred}");
    // Each hop costs the time of one chunk, not more.
    let hop = (hundred - one) / 99;
    assert!(hop <= GIGABIT.link + GIGABIT.disk, "{hop}");
}

#[test]
fn a_death_costs_the_others_next_to_nothing() {
    let quiet = run(20, CHUNKS, &GIGABIT, None);
    for dead in [1, 10, 19, 20] {
        let time = run(20, CHUNKS, &GIGABIT, Some(dead));
        let cost = time.saturating_sub(quiet);
        assert!(cost < 2_000_000, "{dead}: {cost} microseconds");
    }
}
