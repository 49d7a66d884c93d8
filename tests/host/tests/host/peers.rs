//! Together with an independent old dolly at every place.

use std::path::Path;

use anyhow::Result;
use goldring_host_tests::ring::Ring;

use crate::Story;

pub(crate) const STORIES: &[Story] = &[
    ("an_old_client_first_middle_and_last", old_clients),
    ("an_old_server_feeds_our_nodes", old_server),
    ("an_old_server_and_old_clients_among_ours", mixed),
    (
        "a_short_file_with_old_clients_never_stands_still",
        short_files,
    ),
];

fn with_old(goldring: &Path, old: &[usize], (clients, size): (usize, usize)) -> Result<()> {
    let ring = Ring::new(goldring, clients, size)?;
    let start = |computer: usize| {
        if old.contains(&computer) {
            ring.start_classic(computer)
        } else {
            ring.start(computer, &[])
        }
    };
    let mut programs = (1..=clients).map(start).collect::<Result<Vec<_>>>()?;
    programs.push(start(0)?);
    ring.succeeds(&mut programs)
}

fn old_clients(goldring: &Path) -> Result<()> {
    for place in 1..=3 {
        with_old(goldring, &[place], (3, 4_000_100))?;
    }
    Ok(())
}

fn old_server(goldring: &Path) -> Result<()> {
    for size in [100, 4096, 5_000_100] {
        with_old(goldring, &[0], (3, size))?;
    }
    Ok(())
}

fn mixed(goldring: &Path) -> Result<()> {
    with_old(goldring, &[0, 2], (3, 4_000_000))?;
    with_old(goldring, &[0, 1, 3], (4, 4_096_000))
}

/// Old clients behind our server or our nodes; an old one directly behind an old one
/// may stand still, which nobody but them can cure.
fn short_files(goldring: &Path) -> Result<()> {
    for _ in 0..10 {
        with_old(goldring, &[1, 3], (3, 100))?;
        with_old(goldring, &[2], (3, 5000))?;
    }
    Ok(())
}
