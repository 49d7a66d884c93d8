//! Rings of dolly+ in which computers die, freeze, lose their cable, come back: the
//! others have everything at the end, and the golden node knows who has not.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use goldring_host_tests::program::{Program, Signal, stranger};
use goldring_host_tests::ring::{LONG, Ring};
use goldring_host_tests::target::Small;

use crate::Story;

pub(crate) const STORIES: &[Story] = &[
    ("dolly_plus_a_killed_computer_at_every_place", killed),
    ("dolly_plus_two_neighbours_killed_at_once", two_killed),
    ("dolly_plus_a_frozen_computer", frozen),
    ("dolly_plus_a_pulled_cable", unplugged),
    ("dolly_plus_a_thawed_computer_gets_the_rest", thawed),
    (
        "dolly_plus_a_thawed_computer_disturbs_nobody",
        thawed_among_many,
    ),
    ("dolly_plus_a_computer_that_is_started_again", restarted),
    ("dolly_plus_the_only_client_is_started_again", only_one),
    ("dolly_plus_the_input_becomes_shorter", shorter),
    ("dolly_plus_a_slow_computer", slow),
    ("dolly_plus_a_full_disk_is_its_own_trouble", full),
    ("dolly_plus_the_golden_node_is_killed", golden_killed),
    (
        "dolly_plus_an_old_golden_node_and_a_dead_client",
        old_golden,
    ),
    ("dolly_plus_old_packets_and_dead_clients", old_packets),
    ("dolly_plus_strangers_at_every_port", strangers),
];

const SIZE: usize = 40 << 20;

/// A ring whose data takes some four seconds.
fn slow_ring(goldring: &Path, clients: usize) -> Result<Ring> {
    let ring = Ring::new(goldring, clients, SIZE)?;
    for computer in 0..=clients {
        ring.net.slow(computer, "80mbit")?;
    }
    ring.configure_plus(&["in > out"])?;
    Ok(ring)
}

/// A ring of goldring in the middle of its data.
fn moving(goldring: &Path, clients: usize, more: &[&str]) -> Result<(Ring, Vec<Program>)> {
    let ring = slow_ring(goldring, clients)?;
    let programs = ring.start_all_plus(more)?;
    programs[0].expect("bytes to come, with checksums", LONG)?;
    thread::sleep(Duration::from_millis(1500));
    Ok((ring, programs))
}

/// Everybody but `lost` has everything; the golden node says that these have not.
fn others_have_all(ring: &Ring, programs: &mut [Program], lost: &[usize]) -> Result<()> {
    others_end_well(ring, programs, lost)?;
    let said = programs[0].said();
    for computer in 1..programs.len() {
        let state = match lost.contains(&computer) {
            true => "FAILED",
            false => "verified",
        };
        let line = format!("n{computer:<15} {state}");
        ensure!(said.contains(&line), "{said}");
    }
    Ok(())
}

/// Everybody but `lost` has everything and knows it; the golden node's status tells of them.
fn others_end_well(ring: &Ring, programs: &mut [Program], lost: &[usize]) -> Result<()> {
    programs[0].ends_with(i32::from(!lost.is_empty()), LONG)?;
    for (computer, program) in programs.iter_mut().enumerate().skip(1) {
        if !lost.contains(&computer) {
            program.ends_with(0, LONG)?;
            ring.same(computer)?;
        }
    }
    Ok(())
}

fn killed(goldring: &Path) -> Result<()> {
    for victim in 1..=3 {
        let (ring, mut programs) = moving(goldring, 3, &["--late", "0"])?;
        programs[victim].signal(Signal::KILL)?;
        others_have_all(&ring, &mut programs, &[victim])?;
    }
    Ok(())
}

fn two_killed(goldring: &Path) -> Result<()> {
    for victims in [[1, 2], [2, 3], [3, 4]] {
        let (ring, mut programs) = moving(goldring, 4, &["--late", "0"])?;
        for victim in victims {
            programs[victim].signal(Signal::KILL)?;
        }
        others_have_all(&ring, &mut programs, &victims)?;
    }
    Ok(())
}

fn frozen(goldring: &Path) -> Result<()> {
    for victim in [1, 3] {
        let (ring, mut programs) = moving(goldring, 3, &["--late", "0"])?;
        programs[victim].signal(Signal::STOP)?;
        others_have_all(&ring, &mut programs, &[victim])?;
    }
    Ok(())
}

fn unplugged(goldring: &Path) -> Result<()> {
    let (ring, mut programs) = moving(goldring, 3, &["--late", "0"])?;
    ring.net.cut(2)?;
    others_have_all(&ring, &mut programs, &[2])
}

fn thawed(goldring: &Path) -> Result<()> {
    let (ring, mut programs) = moving(goldring, 3, &["--late", "60"])?;
    programs[2].signal(Signal::STOP)?;
    programs[0].expect("n2 is left out by n1", LONG)?;
    programs[2].signal(Signal::CONT)?;
    others_have_all(&ring, &mut programs, &[])?;
    let said = programs[0].said();
    ensure!(
        said.contains("n2               verified, later than the others"),
        "{said}"
    );
    // It went on where it was.
    let resumed = said
        .lines()
        .rfind(|line| line.contains("n2 goes on at chunk"));
    let chunk = resumed.and_then(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
    ensure!(chunk.is_some_and(|chunk| chunk > 3), "{said}");
    Ok(())
}

/// It still has something for those behind it, who have long gone on without it.
fn thawed_among_many(goldring: &Path) -> Result<()> {
    let (ring, mut programs) = moving(goldring, 5, &["--late", "60"])?;
    programs[2].signal(Signal::STOP)?;
    programs[0].expect("n2 is left out by n1", LONG)?;
    programs[2].signal(Signal::CONT)?;
    others_have_all(&ring, &mut programs, &[])?;
    let said = programs[0].said();
    ensure!(said.matches("is left out by").count() == 1, "{said}");
    Ok(())
}

fn restarted(goldring: &Path) -> Result<()> {
    let (ring, mut programs) = moving(goldring, 3, &["--late", "60"])?;
    programs[3].signal(Signal::KILL)?;
    programs[0].expect("for n3 to come back", LONG)?;
    programs[3] = ring.start_plus(3, &[])?;
    others_have_all(&ring, &mut programs, &[])?;
    let said = programs[0].said();
    ensure!(
        said.contains("n3               verified, later than the others"),
        "{said}"
    );
    Ok(())
}

fn only_one(goldring: &Path) -> Result<()> {
    let (ring, mut programs) = moving(goldring, 1, &["--late", "60"])?;
    programs[1].signal(Signal::KILL)?;
    programs[0].expect("for n1 to come back", LONG)?;
    programs[1] = ring.start_plus(1, &[])?;
    others_have_all(&ring, &mut programs, &[])
}

fn shorter(goldring: &Path) -> Result<()> {
    let (ring, mut programs) = moving(goldring, 2, &["--late", "0"])?;
    let input = fs::OpenOptions::new()
        .write(true)
        .open(ring.home(0).join("in"))?;
    input.set_len((SIZE / 2) as u64)?;
    programs[0].ends_with(1, LONG)?;
    let said = programs[0].said();
    ensure!(said.contains("it became shorter meanwhile"), "{said}");
    for program in &mut programs[1..] {
        program.ends_with(1, LONG)?;
        let said = program.said();
        ensure!(said.contains("n0 gave up: reading in failed"), "{said}");
    }
    Ok(())
}

fn slow(goldring: &Path) -> Result<()> {
    let ring = Ring::new(goldring, 3, 8 << 20)?;
    ring.net.slow(2, "8mbit")?;
    ring.configure_plus(&["in > out"])?;
    let mut programs = ring.start_all_plus(&[])?;
    // Slow is not dead.
    others_have_all(&ring, &mut programs, &[])
}

fn full(goldring: &Path) -> Result<()> {
    let ring = Ring::new(goldring, 3, 20 << 20)?;
    let _small = Small::new(&ring.home(2).join("small"), "24m")?;
    fill(&ring)
}

/// There was room enough when the ring began, and then somebody else took it.
fn fill(ring: &Ring) -> Result<()> {
    std::os::unix::fs::symlink("small/out", ring.home(2).join("out"))?;
    fs::write(ring.home(2).join("small/out"), "")?;
    ring.configure_plus(&["in > out"])?;
    for computer in 0..=3 {
        ring.net.slow(computer, "80mbit")?;
    }
    let mut programs = ring.start_all_plus(&["--late", "0"])?;
    programs[0].expect("bytes to come, with checksums", LONG)?;
    fs::write(ring.home(2).join("small/other"), vec![1; 15 << 20])?;
    programs[0].ends_with(1, LONG)?;
    let said = programs[0].said();
    ensure!(
        said.contains("n2               FAILED: writing out failed after"),
        "{said}"
    );
    ensure!(said.contains("No space left"), "{said}");
    programs[2].ends_with(1, LONG)?;
    for computer in [1, 3] {
        programs[computer].ends_with(0, LONG)?;
        ring.same(computer)?;
    }
    Ok(())
}

fn golden_killed(goldring: &Path) -> Result<()> {
    let (_ring, mut programs) = moving(goldring, 3, &[])?;
    programs[0].signal(Signal::KILL)?;
    for program in &mut programs[1..] {
        program.ends_with(1, LONG)?;
        let said = program.said();
        ensure!(
            said.contains("the golden node, n0, answers no more"),
            "{said}"
        );
    }
    Ok(())
}

/// An old golden node replaces its first client only when that is the last but one, but
/// a goldring in the middle replaces its neighbour, whoever sends.
fn old_golden(goldring: &Path) -> Result<()> {
    let ring = slow_ring(goldring, 4)?;
    let mut programs = Vec::new();
    for computer in 1..=4 {
        programs.push(ring.start_plus(computer, &[])?);
    }
    for program in &programs {
        program.expect("waiting for the golden node", LONG)?;
    }
    programs.insert(0, ring.start_old_plus(0)?);
    programs[1].expect("data to come", LONG)?;
    thread::sleep(Duration::from_millis(2500));
    programs[3].signal(Signal::KILL)?;
    programs[0].ends_with(0, LONG)?;
    for computer in [1, 2, 4] {
        programs[computer].ends_with(0, LONG)?;
        ring.same(computer)?;
    }
    let said = programs[2].said();
    ensure!(said.contains("n3 is left out by n2"), "{said}");
    Ok(())
}

/// A chunk of old packets has come in part when its sender dies: behind one of goldring that
/// dies stands an old one, or the other way round, or two neighbours die at once.
fn old_packets(goldring: &Path) -> Result<()> {
    const OLD: usize = 3;
    for victims in [&[2][..], &[OLD], &[1, 2]] {
        let ring = slow_ring(goldring, 4)?;
        let mut programs = Vec::new();
        for computer in 1..=4 {
            programs.push(match computer {
                OLD => ring.start_old_plus(computer)?,
                _ => ring.start_plus(computer, &[])?,
            });
        }
        for computer in [1, 2, 4] {
            programs[computer - 1].expect("waiting for the golden node", LONG)?;
        }
        programs.insert(0, ring.start_plus(0, &["--plain", "--late", "0"])?);
        programs[1].expect("data to come", LONG)?;
        thread::sleep(Duration::from_millis(1500));
        for victim in victims {
            programs[*victim].signal(Signal::KILL)?;
        }
        others_end_well(&ring, &mut programs, victims)?;
        let said = programs[0].said();
        for victim in victims {
            let line = format!("n{victim} is left out by ");
            ensure!(said.contains(&line), "{victims:?}: {said}");
        }
    }
    Ok(())
}

/// Somebody scans every port, talks nonsense, and wants to take a place in the ring.
fn strangers(goldring: &Path) -> Result<()> {
    let ring = Ring::new(goldring, 4, SIZE)?;
    // n4 is not in the list: it is the stranger.
    let text = "iofiles 1\nin > out\nserver n0\nfirstclient n1\nlastclient n3\nclients 3\nn1\nn2\nn3\nendconfig\n";
    ring.configure_as(text)?;
    for computer in 0..=3 {
        ring.net.slow(computer, "80mbit")?;
    }
    let mut programs = Vec::new();
    for computer in 1..=3 {
        programs.push(ring.start_plus(computer, &[])?);
    }
    for program in &programs {
        program.expect("waiting for the golden node", LONG)?;
    }
    pester(&ring, "before the ring")?;
    programs.insert(0, ring.start_plus(0, &["--late", "0"])?);
    programs[0].expect("bytes to come", LONG)?;
    thread::sleep(Duration::from_secs(1));
    pester(&ring, "during the ring")?;
    others_have_all(&ring, &mut programs, &[])
}

fn pester(ring: &Ring, when: &str) -> Result<()> {
    let start = Instant::now();
    let status = Command::new("ip")
        .args(["netns", "exec", &ring.net.namespace(4), "python3"])
        .arg(stranger())
        .args(["n0", "n1", "n2", "n3"])
        .status()?;
    ensure!(
        status.success(),
        "{when}: the stranger failed after {:?}",
        start.elapsed()
    );
    Ok(())
}
