//! Rings that break: everybody ends, and says why.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use goldring_host_tests::program::Program;
use goldring_host_tests::program::Signal;
use goldring_host_tests::ring::{LONG, Ring};

use crate::Story;

pub(crate) const STORIES: &[Story] = &[
    (
        "a_killed_client_ends_everybody_within_two_seconds",
        killed_client,
    ),
    (
        "a_killed_golden_node_ends_everybody_within_two_seconds",
        killed_golden,
    ),
    (
        "a_killed_client_is_noticed_while_the_ring_forms",
        killed_early,
    ),
    ("a_frozen_client_is_named", frozen),
    ("a_pulled_cable_is_named", unplugged),
    ("a_missing_client_is_named_and_given_up", missing),
    ("nobody_comes", nobody),
    ("bad_configurations_are_one_line", bad_configurations),
    ("dry_run_connects_to_nobody", dry_run),
];

/// A ring in the middle of its data.
fn moving(goldring: &Path, clients: usize, more: &[&str]) -> Result<(Ring, Vec<Program>)> {
    let ring = Ring::new(goldring, clients, 120_000_000)?;
    for computer in 0..=clients {
        ring.net.slow(computer, "100mbit")?;
    }
    let programs = ring.start_all(more)?;
    for program in &programs {
        program.expect("the ring is complete", LONG)?;
    }
    thread::sleep(Duration::from_millis(1500));
    Ok((ring, programs))
}

/// All but one end with failure in time, and name one of the computers.
fn all_name(programs: &mut [Program], but: usize, names: &[&str], limit: Duration) -> Result<()> {
    let start = Instant::now();
    for (computer, program) in programs.iter_mut().enumerate() {
        if computer == but {
            continue;
        }
        let left = limit.saturating_sub(start.elapsed());
        program.ends_with(1, left)?;
        let said = program.said();
        let last = said.lines().last().unwrap_or_default().to_owned();
        let named = names.iter().any(|name| last.contains(name));
        ensure!(named, "{} does not name {names:?}:\n{said}", program.name);
        ensure!(last.starts_with("goldring: "), "{said}");
    }
    Ok(())
}

fn killed_client(goldring: &Path) -> Result<()> {
    let (_ring, mut programs) = moving(goldring, 5, &[])?;
    programs[3].signal(Signal::KILL)?;
    all_name(&mut programs, 3, &["n3 "], Duration::from_secs(2))
}

fn killed_golden(goldring: &Path) -> Result<()> {
    let (_ring, mut programs) = moving(goldring, 4, &[])?;
    programs[0].signal(Signal::KILL)?;
    all_name(&mut programs, 0, &["n0 "], Duration::from_secs(2))
}

fn killed_early(goldring: &Path) -> Result<()> {
    let ring = Ring::new(goldring, 3, 1000)?;
    // The third is never started: the ring cannot form.
    let mut programs = vec![
        ring.start(0, &[])?,
        ring.start(1, &[])?,
        ring.start(2, &[])?,
    ];
    programs[1].expect("in the ring", LONG)?;
    programs[1].signal(Signal::KILL)?;
    all_name(&mut programs, 1, &["n1 "], Duration::from_secs(2))
}

fn frozen(goldring: &Path) -> Result<()> {
    let (_ring, mut programs) = moving(goldring, 4, &["--stall-timeout", "3"])?;
    programs[2].signal(Signal::STOP)?;
    all_name(&mut programs, 2, &["n2 "], Duration::from_secs(12))?;
    let said = programs[1].said();
    ensure!(said.contains("n2 has taken no data for 3 s"), "{said}");
    programs[2].signal(Signal::CONT)?;
    programs[2].ends_with(1, Duration::from_secs(8))
}

fn unplugged(goldring: &Path) -> Result<()> {
    let (ring, mut programs) = moving(goldring, 3, &["--stall-timeout", "3"])?;
    ring.net.cut(2)?;
    // The one without a cable sees both neighbours vanish.
    programs[2].name = "n2".to_owned();
    all_name(&mut programs, 2, &["n2 "], Duration::from_secs(15))?;
    programs[2].ends_with(1, Duration::from_secs(15))
}

fn missing(goldring: &Path) -> Result<()> {
    let ring = Ring::new(goldring, 3, 1000)?;
    // One listens nowhere, one has no cable at all.
    ring.net.cut(3)?;
    let mut one = ring.start(1, &[])?;
    let mut golden = ring.start(0, &["-a", "13"])?;
    golden.expect("still waiting for n2, n3", LONG)?;
    golden.ends_with(1, LONG)?;
    let said = golden.said();
    ensure!(said.contains("gave up after 13 s without n2, n3"), "{said}");
    one.ends_with(1, Duration::from_secs(2))
}

fn nobody(goldring: &Path) -> Result<()> {
    let ring = Ring::new(goldring, 1, 1000)?;
    let mut client = ring.start(1, &["--wait", "1"])?;
    client.ends_with(1, Duration::from_secs(5))?;
    let said = client.said();
    ensure!(said.contains("no server in 1 s"), "{said}");
    Ok(())
}

fn bad_configurations(goldring: &Path) -> Result<()> {
    let ring = Ring::new(goldring, 2, 1000)?;
    let good = std::fs::read_to_string(ring.home(0).join("dolly.cfg"))?;
    let table = [
        ("clients 2", "clients 3", "line 6: clients 3, but the list"),
        ("lastclient n2", "lastclient n0", "line 5: lastclient n0"),
        ("server n0", "fanout 0\nserver n0", "line 3: fanout 0"),
        ("endconfig", "", "without an endconfig line"),
        ("server n0", "server n7", "server n7, this computer is n0"),
        ("infile in", "infile absent", "absent: No such file"),
        (
            "server n0",
            "fanout 2\nadd 1:x\nserver n0",
            "line 4: add and fanout (line 3) exclude each other",
        ),
        ("infile in", "infile in split", "opening the infile"),
        (good.as_str(), "\u{0}\u{1}\u{2}", "no keyword of dolly"),
    ];
    for (right, wrong, expected) in table {
        ring.configure_as(&good.replace(right, wrong))?;
        let mut golden = ring.start(0, &[])?;
        golden.ends_with(1, Duration::from_secs(8))?;
        let said = golden.said();
        ensure!(said.contains(expected), "{expected}: {said}");
        ensure!(said.lines().count() == 1, "more than a line: {said}");
    }
    ring.configure_as(&good)?;
    let mut golden = ring.start(0, &["-o", "/no/such/folder/log"])?;
    golden.ends_with(1, Duration::from_secs(8))?;
    let said = golden.said();
    ensure!(said.contains("figures of -o: No such file"), "{said}");
    let mut golden = ring.start(0, &["--no-such-option"])?;
    golden.ends_with(2, LONG)
}

fn dry_run(goldring: &Path) -> Result<()> {
    let ring = Ring::new(goldring, 5, 1000)?;
    ring.configure("fanout 2\n", "/dev/sda")?;
    let mut golden = ring.start(0, &["--dry-run"])?;
    golden.ends_with(0, Duration::from_secs(5))?;
    let said = golden.said();
    for line in [
        "n0               reads in, feeds n1, n2",
        "n2               writes /dev/sda, feeds n5",
    ] {
        if !said.contains(line) {
            bail!("no {line:?} in:\n{said}");
        }
    }
    Ok(())
}
