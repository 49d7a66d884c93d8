//! Dry runs of dolly and dolly+: all nodes look at their targets, and nothing is written.

use std::fs;
use std::path::Path;

use anyhow::{Result, ensure};
use goldring_host_tests::program::Program;
use goldring_host_tests::ring::{LONG, Ring};
use goldring_host_tests::target::{Loop, Mounted};

use crate::Story;

pub(crate) const STORIES: &[Story] = &[
    ("dolly_dry_run_lets_all_nodes_look", fine),
    ("dolly_dry_run_names_a_target_that_is_too_small", small),
    ("dolly_dry_run_names_a_target_that_is_in_use", in_use),
    ("dolly_dry_run_names_a_node_that_is_absent", absent),
    ("dolly_dry_run_leaves_an_old_node_in_peace", old),
    ("dolly_dry_run_of_a_ring_that_cannot_be_asked", plain),
    ("dolly_dry_run_of_nodes_that_are_found", found),
    ("dolly_plus_dry_run_leaves_an_old_node_in_peace", old_plus),
    (
        "dolly_plus_dry_run_names_a_node_that_is_absent",
        absent_plus,
    ),
];

const DRY: [&str; 4] = ["-s", "-f", "dolly.cfg", "--dry-run"];
const AGAIN: &str = "that was a dry run, nothing is written; waiting again";

/// Nodes that wait for dolly.
fn nodes(ring: &Ring, which: &[usize]) -> Result<Vec<Program>> {
    let nodes: Result<Vec<Program>> = which.iter().map(|i| ring.start(*i, &[])).collect();
    let nodes = nodes?;
    for node in &nodes {
        node.expect("waiting for the golden node", LONG)?;
    }
    Ok(nodes)
}

/// A dry run that ends like this and says all of these.
fn says(ring: &Ring, words: &[&str], code: i32, sentences: &[&str]) -> Result<()> {
    let mut golden = ring.start_with(0, words)?;
    golden.ends_with(code, LONG)?;
    let said = golden.said();
    for sentence in sentences {
        ensure!(said.contains(sentence), "no {sentence:?} in:\n{said}");
    }
    Ok(())
}

fn fine(goldring: &Path) -> Result<()> {
    let ring = Ring::new(goldring, 3, 1_000_001)?;
    fs::create_dir_all(ring.home(1))?;
    fs::write(ring.home(1).join("out"), "what was there")?;
    let mut programs = nodes(&ring, &[1, 2, 3])?;
    let sentences = [
        "n1               writes out, feeds n2",
        "n1               willing",
        "n3               willing",
        "nothing was written: a dry run, 3 of 3 clients are willing",
    ];
    for _ in 0..2 {
        says(&ring, &DRY, 0, &sentences)?;
        for program in &programs {
            program.expect(AGAIN, LONG)?;
        }
    }
    let kept = fs::read_to_string(ring.home(1).join("out"))?;
    ensure!(kept == "what was there", "{kept}");
    for computer in [2, 3] {
        ensure!(!ring.home(computer).join("out").exists());
    }
    // The same nodes take the clone.
    programs.insert(0, ring.start_with(0, &["-s", "-f", "dolly.cfg"])?);
    ring.succeeds(&mut programs)
}

fn small(goldring: &Path) -> Result<()> {
    let ring = Ring::new(goldring, 2, 2 << 20)?;
    fs::create_dir_all(ring.home(2))?;
    let disk = ring.home(2).join("disk");
    let device = Loop::new(&disk, 1 << 20)?;
    std::os::unix::fs::symlink(&device.device, ring.home(2).join("out"))?;
    let programs = nodes(&ring, &[1, 2])?;
    let sentences = [
        "n1               willing",
        "n2               FAILED: ",
        "has 1048576 bytes, 1048576 too few",
        "1 of 2 clients are not ready for this: n2",
    ];
    says(&ring, &DRY, 1, &sentences)?;
    ensure!(fs::read(&disk)?.iter().all(|b| *b == 0));
    // Whoever refuses waits for the next ring as well.
    for program in &programs {
        program.expect(AGAIN, LONG)?;
    }
    says(&ring, &DRY, 1, &sentences)
}

fn in_use(goldring: &Path) -> Result<()> {
    let ring = Ring::new(goldring, 2, 1 << 20)?;
    fs::create_dir_all(ring.home(1))?;
    let device = Loop::new(&ring.home(1).join("disk"), 8 << 20)?;
    let _mounted = Mounted::new(&device.device, &ring.home(1).join("mnt"))?;
    std::os::unix::fs::symlink(&device.device, ring.home(1).join("out"))?;
    let _programs = nodes(&ring, &[1, 2])?;
    let sentences = [
        "n1               FAILED: ",
        "is mounted on",
        "n2               willing",
    ];
    says(&ring, &DRY, 1, &sentences)
}

fn absent(goldring: &Path) -> Result<()> {
    let ring = Ring::new(goldring, 4, 1000)?;
    let _programs = nodes(&ring, &[1, 3])?;
    // One is off, on the other nothing runs.
    ring.net.cut(4)?;
    let sentences = [
        "n1               willing",
        "n2               FAILED: no goldring waits there",
        "n3               willing",
        "n4               FAILED: it does not answer; is it off?",
        "2 of 4 clients are not ready for this: n2, n4",
    ];
    says(&ring, &DRY, 1, &sentences)
}

fn old(goldring: &Path) -> Result<()> {
    for old in 1..=3 {
        let ring = Ring::new(goldring, 3, 1_000_001)?;
        let mut programs = Vec::new();
        for computer in 1..=3 {
            programs.push(match computer == old {
                true => ring.start_classic(computer)?,
                false => nodes(&ring, &[computer])?.remove(0),
            });
        }
        let sentence = format!(
            "n{old}               FAILED: no goldring waits there for dolly; an old dolly cannot be asked"
        );
        says(&ring, &DRY, 1, &[&sentence, "2 of 3 clients are willing"])?;
        ensure!(
            !ring.home(old).join("out").exists()
                || fs::read(ring.home(old).join("out"))?.is_empty()
        );
        // It has noticed nothing, and takes the clone.
        programs.insert(0, ring.start_with(0, &["-s", "-f", "dolly.cfg"])?);
        ring.succeeds(&mut programs)?;
    }
    Ok(())
}

fn plain(goldring: &Path) -> Result<()> {
    let ring = Ring::new(goldring, 2, 1000)?;
    let _programs = nodes(&ring, &[1, 2])?;
    let not = "the nodes were not asked whether they can write that: ";
    let plan = "n1               writes out, feeds n2";
    let words = [&DRY[..], &["--plain"]].concat();
    says(&ring, &words, 0, &[plan, not, "--plain says"])?;
    ring.configure("hyphennormal\nadd 1:-b\n", "out")?;
    says(&ring, &DRY, 0, &[not, "add is only in dolly"])?;
    ring.configure("", "/dev/ram3")?;
    says(&ring, &DRY, 0, &[not, "their stage 2"])?;
    // dolly+ has nothing else to do in a dry run.
    ring.configure_plus(&["in > out"])?;
    let mut golden = ring.start_plus(0, &["--plain", "--dry-run"])?;
    golden.ends_with(2, LONG)?;
    let said = golden.said();
    ensure!(said.contains("which cannot be asked"), "{said}");
    Ok(())
}

fn found(goldring: &Path) -> Result<()> {
    let ring = Ring::new(goldring, 3, 1000)?;
    let words = |count| {
        [
            "-s",
            "--in",
            "in",
            "--out",
            "out",
            "--dry-run",
            "--nodes",
            count,
        ]
    };
    let mut programs = nodes(&ring, &[1, 3])?;
    let sentences = [
        "found 2 of 3 nodes: 10.77.0.11 (n1), 10.77.0.13 (n3)",
        "10.77.0.13       willing",
        "2 of 3 nodes wait; switch the others on",
    ];
    says(&ring, &words("3"), 1, &sentences)?;
    programs.extend(nodes(&ring, &[2])?);
    says(&ring, &words("3"), 0, &["3 of 3 clients are willing"])
}

fn old_plus(goldring: &Path) -> Result<()> {
    let ring = Ring::new(goldring, 3, 1_000_001)?;
    ring.configure_plus(&["in > out"])?;
    let mut programs = vec![
        ring.start_plus(1, &[])?,
        ring.start_old_plus(2)?,
        ring.start_plus(3, &[])?,
    ];
    for program in [&programs[0], &programs[2]] {
        program.expect("waiting for the golden node", LONG)?;
    }
    let mut golden = ring.start_plus(0, &["--dry-run"])?;
    golden.ends_with(1, LONG)?;
    let said = golden.said();
    for sentence in [
        "n2               FAILED: an old dolly+ cannot be asked; look at its screen",
        "n3               willing",
    ] {
        ensure!(said.contains(sentence), "{said}");
    }
    programs.insert(0, ring.start_plus(0, &[])?);
    ring.succeeds(&mut programs)
}

fn absent_plus(goldring: &Path) -> Result<()> {
    let ring = Ring::new(goldring, 2, 1000)?;
    ring.configure_plus(&["in > out"])?;
    let node = ring.start_plus(2, &[])?;
    node.expect("waiting for the golden node", LONG)?;
    let mut golden = ring.start_plus(0, &["--dry-run", "--wait", "2"])?;
    golden.ends_with(1, LONG)?;
    let said = golden.said();
    for sentence in [
        "n1               FAILED: it has not answered",
        "n2               willing",
        "nothing was written: a dry run, 1 of 2 clients are willing",
        "1 of 2 clients are not ready for this: n1",
    ] {
        ensure!(said.contains(sentence), "{said}");
    }
    node.expect(AGAIN, LONG)
}
