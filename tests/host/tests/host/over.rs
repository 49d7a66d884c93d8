//! `goldring dolly` in which all computers are goldring: the ring goes over to dolly+.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};
use goldring_host_tests::program::{Program, Signal};
use goldring_host_tests::ring::{LONG, Ring};

use crate::Story;

pub(crate) const STORIES: &[Story] = &[
    ("dolly_goes_over_when_all_are_goldring", goes_over),
    ("dolly_stays_with_an_old_client", stays),
    (
        "dolly_goes_over_and_survives_a_death_and_a_return",
        survives,
    ),
    ("dolly_nodes_take_part_in_dolly_plus", universal),
    ("dolly_plus_is_refused_what_dolly_refuses", refuses),
];

/// Nodes that wait for dolly, then the golden node.
fn start(ring: &Ring, clients: usize, more: &[&str]) -> Result<Vec<Program>> {
    let mut programs = Vec::new();
    for computer in 1..=clients {
        programs.push(ring.start(computer, &[])?);
    }
    let golden = [&["-s", "-f", "dolly.cfg"][..], more].concat();
    programs.insert(0, ring.start_with(0, &golden)?);
    Ok(programs)
}

fn goes_over(goldring: &Path) -> Result<()> {
    let ring = Ring::new(goldring, 3, 7_000_001)?;
    // dolly leaves what is behind the last byte.
    fs::create_dir_all(ring.home(2))?;
    fs::write(ring.home(2).join("out"), vec![9; 8_000_000])?;
    let mut programs = start(&ring, 3, &["-o", "figures"])?;
    for program in &mut programs {
        program.ends_with(0, LONG)?;
    }
    let said = programs[0].said();
    ensure!(said.contains("n3               verified"), "{said}");
    for computer in [1, 3] {
        ring.same(computer)?;
    }
    let kept = fs::read(ring.home(2).join("out"))?;
    ensure!(kept.len() == 8_000_000 && kept[..7_000_001] == ring.input);
    let figures = fs::read_to_string(ring.home(0).join("figures"))?;
    ensure!(figures.starts_with("7.000 0 3 "), "{figures}");
    Ok(())
}

fn stays(goldring: &Path) -> Result<()> {
    for old in 1..=3 {
        let ring = Ring::new(goldring, 3, 1_000_001)?;
        let mut programs = Vec::new();
        for computer in 1..=3 {
            programs.push(match computer == old {
                true => ring.start_classic(computer)?,
                false => ring.start(computer, &[])?,
            });
        }
        programs.insert(0, ring.start_with(0, &["-s", "-f", "dolly.cfg"])?);
        ring.succeeds(&mut programs)?;
        ensure!(programs[0].said().contains("3 clones are complete"));
    }
    Ok(())
}

fn survives(goldring: &Path) -> Result<()> {
    let ring = Ring::new(goldring, 3, 60 << 20)?;
    for computer in 0..=3 {
        ring.net.slow(computer, "80mbit")?;
    }
    let mut programs = start(&ring, 3, &["--late", "60"])?;
    programs[0].expect("bytes to come, with checksums", LONG)?;
    thread::sleep(Duration::from_millis(1500));
    programs[2].signal(Signal::KILL)?;
    programs[0].expect("for n2 to come back", LONG)?;
    // Started again it waits for dolly, as `rescue dollymethod` does.
    programs[2] = ring.start(2, &[])?;
    for program in &mut programs {
        program.ends_with(0, LONG)?;
    }
    let said = programs[0].said();
    ensure!(
        said.contains("n2               verified, later than the others"),
        "{said}"
    );
    for computer in 1..=3 {
        ring.same(computer)?;
    }
    Ok(())
}

fn universal(goldring: &Path) -> Result<()> {
    let ring = Ring::new(goldring, 3, 5_000_000)?;
    ring.configure_plus(&["in > out"])?;
    let mut programs = vec![
        ring.start(1, &[])?,
        ring.start_plus(2, &[])?,
        ring.start(3, &[])?,
    ];
    for program in &programs {
        program.expect("waiting for the golden node", LONG)?;
    }
    programs.insert(0, ring.start_plus(0, &[])?);
    ring.succeeds(&mut programs)?;
    ensure!(programs[0].said().contains("3 of 3 clones are complete"));
    Ok(())
}

fn refuses(goldring: &Path) -> Result<()> {
    let ring = Ring::new(goldring, 1, 1000)?;
    ring.configure_plus(&["in > out"])?;
    let dummy = ring.start(1, &["-d"])?;
    dummy.expect("waiting for the golden node", LONG)?;
    let mut golden = ring.start_plus(0, &["--late", "0"])?;
    golden.ends_with(1, LONG)?;
    let said = golden.said();
    ensure!(
        said.contains("n1 refuses: this node waits for dummy data (-d)"),
        "{said}"
    );
    ensure!(!ring.home(1).join("out").exists());
    Ok(())
}
