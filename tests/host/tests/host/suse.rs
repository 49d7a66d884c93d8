//! The dialect of dolly 0.70 to 0.72, with an independent old program at every place.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use goldring_host_tests::program::{self, Program};
use goldring_host_tests::ring::{LONG, Ring};

use crate::Story;

pub(crate) const STORIES: &[Story] = &[
    ("suse_programs_stand_at_every_place", every_place),
    ("a_suse_ring_with_a_password", with_password),
    ("a_wrong_password_is_named", wrong_password),
    ("a_node_with_a_password_follows_nobody_without", no_password),
    ("a_folder_is_refused_with_a_sentence", folder),
    ("the_suse_dialect_has_no_word_for_some_things", no_word),
    ("names_alone_make_a_classic_ring_too", short_file),
];

/// In the SUSE dialect a path is absolute, and each computer has a folder of its own.
const FILES: &str = "infile in\noutfile /proc/self/cwd/out\n";

fn ring(goldring: &Path, clients: usize, size: usize) -> Result<Ring> {
    let ring = Ring::new(goldring, clients, size)?;
    let list: Vec<String> = (1..=clients).map(|i| ring.net.address(i)).collect();
    ring.configure_as(&format!("{FILES}{}\nendconfig\n", list.join("\n")))?;
    Ok(ring)
}

fn start(ring: &Ring, computer: usize, is_old: bool, secret: Option<&str>) -> Result<Program> {
    if is_old {
        if computer > 0 {
            ring.make_target(computer)?;
        }
        let name = ring.net.address(computer);
        let more: Vec<&str> = secret.into_iter().collect();
        return ring.start_old(computer, &program::suse(), &name, &more);
    }
    let mut more = secret.map_or_else(Vec::new, |secret| vec!["-P", secret]);
    if computer == 0 {
        more.extend(["--dialect", "suse"]);
    }
    ring.start(computer, &more)
}

fn run(ring: &Ring, old: &[usize], secret: Option<&str>) -> Result<()> {
    let of = |computer: usize| start(ring, computer, old.contains(&computer), secret);
    let mut programs = (1..=3).map(of).collect::<Result<Vec<_>>>()?;
    programs.push(of(0)?);
    ring.succeeds(&mut programs)
        .with_context(|| format!("old programs: {old:?}"))?;
    for computer in 1..=3 {
        fs::remove_file(ring.home(computer).join("out"))?;
    }
    Ok(())
}

const PLACES: [&[usize]; 7] = [&[], &[0], &[1], &[2], &[3], &[0, 2], &[1, 2, 3]];

fn every_place(goldring: &Path) -> Result<()> {
    let ring = ring(goldring, 3, 3_000_000 / 4096 * 4096)?;
    for old in PLACES {
        run(&ring, old, None)?;
    }
    let short = self::ring(goldring, 3, 5000)?;
    for old in [&[][..], &[1], &[3]] {
        run(&short, old, None)?;
    }
    Ok(())
}

fn with_password(goldring: &Path) -> Result<()> {
    let ring = ring(goldring, 3, 1_024_000)?;
    for old in PLACES {
        run(&ring, old, Some("secret"))?;
    }
    Ok(())
}

fn wrong_password(goldring: &Path) -> Result<()> {
    let ring = ring(goldring, 2, 1000)?;
    let mut one = ring.start(1, &["-P", "right"])?;
    let two = ring.start(2, &["-P", "wrong"])?;
    let mut golden = ring.start(0, &["--dialect", "suse", "-P", "right"])?;
    golden.ends_with(1, LONG)?;
    one.ends_with(1, LONG)?;
    let address = ring.net.address(2);
    let sentence = format!("{address} does not know the password; give it the same -P");
    ensure!(one.said().contains(&sentence), "{}", one.said());
    ensure!(golden.said().contains(&address), "{}", golden.said());
    two.expect(
        "says that the password is wrong; give the same -P on both sides",
        LONG,
    )
}

fn no_password(goldring: &Path) -> Result<()> {
    let ring = ring(goldring, 1, 1000)?;
    let mut one = ring.start(1, &["-P", "secret"])?;
    let mut golden = ring.start(0, &["--dialect", "suse", "-a", "3"])?;
    one.expect(
        "asks for no password, and this node was started with -P",
        LONG,
    )?;
    golden.ends_with(1, LONG)?;
    let said = golden.said();
    ensure!(
        said.contains("does it know the same password, or none?"),
        "{said}"
    );
    // A classic golden node has none at all.
    let mut classic = ring.start(0, &["-a", "3"])?;
    classic.ends_with(1, LONG)?;
    // It waits on for one that has.
    let mut golden = ring.start(0, &["--dialect", "suse", "-P", "secret"])?;
    golden.ends_with(0, LONG)?;
    one.ends_with(0, LONG)?;
    ring.same(1)
}

fn folder(goldring: &Path) -> Result<()> {
    let ring = ring(goldring, 2, 1000)?;
    let one = ring.start(1, &["--wait", "20"])?;
    one.expect("waiting for the golden node", LONG)?;
    let path = program::suse().to_string_lossy().into_owned();
    let words = ["python3", &path, "folder", &ring.net.address(1)];
    let mut parent = Program::start(&ring.net, 2, &ring.home(2), &words)?;
    one.expect(
        "10.77.0.12 sends a folder as a tar stream, which goldring does not take; name a disk",
        LONG,
    )?;
    parent.ends_with(0, LONG)?;
    ensure!(
        parent.said().contains("the node said b''"),
        "{}",
        parent.said()
    );
    // A golden node of ours does not begin with one.
    ring.configure_as(&format!(
        "infile /etc\noutfile /out\n{}\nendconfig\n",
        ring.net.address(1)
    ))?;
    let mut golden = ring.start(0, &["--dialect", "suse"])?;
    golden.ends_with(1, LONG)?;
    ensure!(
        golden.said().contains("/etc is a folder"),
        "{}",
        golden.said()
    );
    Ok(())
}

fn no_word(goldring: &Path) -> Result<()> {
    let ring = Ring::new(goldring, 2, 1000)?;
    for (more, word) in [
        ("fanout 2\n", "fanout"),
        ("segsize 500\n", "segsize"),
        ("add 1:x\n", "add"),
    ] {
        ring.configure(more, "out")?;
        let mut golden = ring.start(0, &["--dialect", "suse"])?;
        golden.ends_with(2, Duration::from_secs(8))?;
        let said = golden.said();
        let sentence = format!("dolly 0.70 and later has no {word}; remove it");
        ensure!(said.contains(&sentence), "{said}");
    }
    ring.configure("", "out")?;
    // Names become addresses, which is how those programs know themselves.
    let mut golden = ring.start(0, &["--dialect", "suse", "--dry-run"])?;
    golden.ends_with(0, LONG)?;
    let said = golden.said();
    ensure!(
        said.contains("10.77.0.12       writes out, feeds nobody"),
        "{said}"
    );
    // The password is the SUSE dialect's.
    ring.start(0, &["-P", "secret"])?.ends_with(2, LONG)
}

fn short_file(goldring: &Path) -> Result<()> {
    let ring = Ring::new(goldring, 3, 100_000)?;
    ring.configure_as("infile in\noutfile out\nn1\nn2\nn3\nendconfig\n")?;
    let mut programs = vec![
        ring.start(1, &[])?,
        ring.start_classic(2)?,
        ring.start(3, &[])?,
    ];
    programs.push(ring.start(0, &[])?);
    ring.succeeds(&mut programs)
}
