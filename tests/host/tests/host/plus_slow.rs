//! Rings of dolly+ with a computer that is ten times slower than the others: they do not
//! wait for it, and it has everything at the end all the same.

use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use goldring_host_tests::net::run;
use goldring_host_tests::program::Program;
use goldring_host_tests::ring::{LONG, Ring};

use crate::Story;

pub(crate) const STORIES: &[Story] = &[
    ("dolly_plus_a_slow_disk_comes_first", disk_first),
    ("dolly_plus_a_slow_disk_in_the_middle", disk_middle),
    ("dolly_plus_a_slow_disk_comes_last", disk_last),
    ("dolly_plus_a_disk_that_is_stuck", stuck),
    ("dolly_plus_two_slow_disks_side_by_side", two),
    ("dolly_plus_a_slow_network_of_the_first", receives_first),
    ("dolly_plus_a_slow_network_in_the_middle", receives_middle),
    ("dolly_plus_one_that_sends_on_slowly", sends),
    ("dolly_plus_a_slow_golden_node_is_nobodys_fault", golden),
    ("dolly_plus_nobody_is_left_behind_when_that_is_said", never),
    ("dolly_that_went_over_leaves_a_slow_disk_behind", over),
];

/// At ten times the slow pace some six seconds, at the slow one a minute.
const SIZE: usize = 100 << 20;
const FAST: &str = "160mbit";

/// A disk that takes 1.5 MB in a second, or nothing more when there is a file `stuck`; until
/// there is a file `fast`.
const DISK: &str = r"
import os, time
source, copy = open('out', 'rb', 0), open('copy', 'wb')
print('a slow disk', flush=True)
begin = None
while True:
    piece = source.read(32768)
    if not piece and copy.tell() == 0:
        # Somebody only had a look.
        source = open('out', 'rb', 0)
        continue
    if not piece:
        break
    copy.write(piece)
    # By the clock: a processor that is busy elsewhere makes it no slower.
    begin = begin or time.monotonic()
    stuck = os.path.exists('stuck')
    while not os.path.exists('fast'):
        ready = time.monotonic() >= begin + copy.tell() / 1.5e6
        if (copy.tell() < 20e6) if stuck else ready:
            break
        time.sleep(0.02)
copy.close()
print('that was all', flush=True)
";

fn slow_disk(ring: &Ring, computer: usize) -> Result<Program> {
    let home = ring.home(computer);
    fs::create_dir_all(&home)?;
    run("mkfifo", &[&home.join("out").to_string_lossy()])?;
    // Its log is not the node's.
    let script = format!("cd '{}' && exec python3 -c \"$0\"", home.display());
    let words = ["sh", "-c", &script, DISK];
    Program::start(&ring.net, computer, &home.join("disk"), &words)
}

/// A ring of three with one slow disk.
fn with_disk(goldring: &Path, place: usize) -> Result<(Ring, Program)> {
    let ring = Ring::new(goldring, 3, SIZE)?;
    for computer in 0..=3 {
        ring.net.slow(computer, FAST)?;
    }
    ring.configure_plus(&["in > out"])?;
    let disk = slow_disk(&ring, place)?;
    Ok((ring, disk))
}

fn all_said(programs: &[Program]) -> String {
    let said = programs
        .iter()
        .map(|p| format!("--- {}:\n{}", p.name, p.said()));
    said.collect()
}

/// The others have everything before the slow one, which gets the rest then.
fn others_first(ring: &Ring, programs: &mut [Program], slow: usize, part: &str) -> Result<()> {
    let sentence = format!("n{slow} is left behind: its {part}");
    programs[0].expect(&sentence, LONG)?;
    let start = Instant::now();
    for computer in (1..programs.len()).filter(|computer| *computer != slow) {
        let ended = programs[computer].ends_with(0, LONG);
        ended.with_context(|| all_said(programs))?;
        ring.same(computer)?;
    }
    let time = start.elapsed();
    eprintln!("{sentence}: the others had the rest after {time:.1?}");
    // At the slow pace it would have been most of a minute.
    ensure!(time.as_secs() < 25, "{time:?}: {}", programs[0].said());
    let said = programs[0].said();
    let finished = format!("n{slow} has stored");
    ensure!(!said.contains(&finished), "{said}");
    Ok(())
}

/// The slow one ends well, too.
fn verified_later(programs: &mut [Program], slow: usize) -> Result<()> {
    programs[0].ends_with(0, LONG)?;
    programs[slow].ends_with(0, LONG)?;
    let said = programs[0].said();
    let line = format!("n{slow}               verified, later than the others");
    ensure!(said.contains(&line), "{said}");
    ensure!(said.contains("3 of 3 clones are complete"), "{said}");
    // Nobody else was, and nobody was taken for dead.
    ensure!(said.matches("is left behind").count() == 1, "{said}");
    ensure!(!said.contains("is left out"), "{said}");
    let said = programs[slow].said();
    ensure!(
        said.contains("the others go on without this computer"),
        "{said}"
    );
    Ok(())
}

fn disk(goldring: &Path, place: usize) -> Result<()> {
    let (ring, mut disk) = with_disk(goldring, place)?;
    let mut programs = ring.start_all_plus(&["--late", "0"])?;
    end_of_disk(&ring, (&mut programs, &mut disk), (place, "1."))
}

fn stuck(goldring: &Path) -> Result<()> {
    let (ring, mut disk) = with_disk(goldring, 1)?;
    fs::write(ring.home(1).join("stuck"), "")?;
    let mut programs = ring.start_all_plus(&["--late", "0"])?;
    end_of_disk(&ring, (&mut programs, &mut disk), (1, "0.0"))
}

fn end_of_disk(
    ring: &Ring,
    (programs, disk): (&mut [Program], &mut Program),
    (place, rate): (usize, &str),
) -> Result<()> {
    others_first(ring, programs, place, &format!("disk takes {rate}"))?;
    // The story need not take as long as such a disk does.
    fs::write(ring.home(place).join("fast"), "")?;
    verified_later(programs, place)?;
    disk.ends_with(0, LONG)?;
    ensure!(fs::read(ring.home(place).join("copy"))? == ring.input);
    Ok(())
}

/// One after the other is left behind, and they are served one after the other.
fn two(goldring: &Path) -> Result<()> {
    let ring = Ring::new(goldring, 4, SIZE * 3 / 2)?;
    for computer in 0..=4 {
        ring.net.slow(computer, FAST)?;
    }
    ring.configure_plus(&["in > out"])?;
    let mut disks = vec![slow_disk(&ring, 2)?, slow_disk(&ring, 3)?];
    let mut programs = ring.start_all_plus(&["--late", "0"])?;
    for place in [2, 3] {
        let sentence = format!("n{place} is left behind: its disk takes 1.");
        programs[0].expect(&sentence, LONG)?;
    }
    for place in [1, 4] {
        programs[place].ends_with(0, LONG)?;
        ring.same(place)?;
    }
    for place in [2, 3] {
        fs::write(ring.home(place).join("fast"), "")?;
    }
    for program in programs.iter_mut().chain(&mut disks) {
        program.ends_with(0, LONG)?;
    }
    let said = programs[0].said();
    ensure!(
        said.matches("verified, later than the others").count() == 2,
        "{said}"
    );
    for place in [2, 3] {
        ensure!(fs::read(ring.home(place).join("copy"))? == ring.input);
    }
    Ok(())
}

fn disk_first(goldring: &Path) -> Result<()> {
    disk(goldring, 1)
}

fn disk_middle(goldring: &Path) -> Result<()> {
    disk(goldring, 2)
}

fn disk_last(goldring: &Path) -> Result<()> {
    disk(goldring, 3)
}

/// A ring of three, in which this computer can `receive` (or send) 12 Mbit in a second.
fn with_network(goldring: &Path, place: usize, receives: bool) -> Result<(Ring, Vec<Program>)> {
    let ring = Ring::new(goldring, 3, SIZE)?;
    for computer in 0..=3 {
        let rate = match !receives && computer == place {
            true => "12mbit",
            false => FAST,
        };
        ring.net.slow(computer, rate)?;
    }
    if receives {
        ring.net.slow_towards(place, "12mbit")?;
    }
    ring.configure_plus(&["in > out"])?;
    let programs = ring.start_all_plus(&["--late", "0"])?;
    Ok((ring, programs))
}

fn network(goldring: &Path, place: usize, receives: bool, part: &str) -> Result<()> {
    let (ring, mut programs) = with_network(goldring, place, receives)?;
    others_first(&ring, &mut programs, place, part)?;
    if receives {
        ring.net.slow_towards(place, FAST)?;
    }
    verified_later(&mut programs, place)?;
    ring.same(place)
}

fn receives_first(goldring: &Path) -> Result<()> {
    network(goldring, 1, true, "network takes 1.")
}

fn receives_middle(goldring: &Path) -> Result<()> {
    network(goldring, 2, true, "network takes 1.")
}

fn sends(goldring: &Path) -> Result<()> {
    network(goldring, 1, false, "network sends on 1.")
}

/// Whoever is fed by it is not slow.
fn golden(goldring: &Path) -> Result<()> {
    let ring = Ring::new(goldring, 3, 60 << 20)?;
    for computer in 0..=3 {
        ring.net
            .slow(computer, if computer == 0 { "12mbit" } else { FAST })?;
    }
    ring.configure_plus(&["in > out"])?;
    let mut programs = ring.start_all_plus(&["--late", "0"])?;
    ring.succeeds(&mut programs)?;
    let said = programs[0].said();
    ensure!(
        said.contains("this computer's own network holds the ring up"),
        "{said}"
    );
    ensure!(!said.contains("left behind:"), "{said}");
    Ok(())
}

fn never(goldring: &Path) -> Result<()> {
    let (ring, _disk) = with_disk(goldring, 2)?;
    let mut programs = ring.start_all_plus(&["--leave-behind", "never"])?;
    std::thread::sleep(std::time::Duration::from_secs(20));
    fs::write(ring.home(2).join("fast"), "")?;
    for program in &mut programs {
        program.ends_with(0, LONG)?;
    }
    let said = programs[0].said();
    ensure!(said.contains("n2               verified\n"), "{said}");
    ensure!(!said.contains("left behind"), "{said}");
    Ok(())
}

fn over(goldring: &Path) -> Result<()> {
    let (ring, mut disk) = with_disk(goldring, 2)?;
    ring.configure("", "out")?;
    let mut programs = Vec::new();
    for computer in 1..=3 {
        programs.push(ring.start(computer, &[])?);
    }
    let golden = ["-s", "-f", "dolly.cfg", "--late", "0"];
    programs.insert(0, ring.start_with(0, &golden)?);
    end_of_disk(&ring, (&mut programs, &mut disk), (2, "1."))
}
