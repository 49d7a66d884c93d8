//! Rings without a configuration: named nodes, and nodes that are found.

use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};
use goldring_host_tests::program::Program;
use goldring_host_tests::ring::{LONG, Ring};
use goldring_host_tests::target::Loop;

use crate::Story;

pub(crate) const STORIES: &[Story] = &[
    ("a_ring_of_named_nodes_needs_no_file", named),
    ("the_golden_node_finds_its_nodes", found),
    ("a_node_on_two_networks_is_one_node", two_networks),
    ("more_nodes_than_asked_for_are_not_guessed", too_many),
    ("fewer_nodes_are_given_up_by_number_and_name", too_few),
    ("a_dry_run_finds_nodes_and_starts_nothing", dry_run),
    ("rubbish_on_the_port_of_discovery_is_nothing", rubbish),
    ("a_caller_who_is_not_the_parent_is_dropped", not_the_parent),
    ("a_found_node_with_too_small_a_disk_stops_all", too_small),
    ("wrong_words_are_one_line", wrong_words),
];

const FILES: [&str; 5] = ["-s", "--in", "in", "--out", "out"];

/// The golden node with these nodes, or options.
fn golden(ring: &Ring, more: &[&str]) -> Result<Program> {
    ring.start_with(0, &[&FILES[..], more].concat())
}

fn nodes(ring: &Ring, count: usize) -> Result<Vec<Program>> {
    (1..=count).map(|i| ring.start(i, &[])).collect()
}

fn named(goldring: &Path) -> Result<()> {
    let ring = Ring::new(goldring, 3, 1_000_100)?;
    let mut programs = nodes(&ring, 3)?;
    // In the order that is given, by names or addresses.
    programs.push(golden(&ring, &["n3", "10.77.0.11", "n2"])?);
    ring.succeeds(&mut programs)?;
    let said = programs[2].said();
    ensure!(
        said.contains("this is node 1 of 3, it writes out and feeds 10.77.0.11"),
        "{said}"
    );
    Ok(())
}

fn found(goldring: &Path) -> Result<()> {
    let ring = Ring::new(goldring, 4, 1_000_100)?;
    let early = golden(&ring, &["--nodes", "4"])?;
    early.expect("found 0 of 4 nodes", LONG)?;
    let mut programs = vec![ring.start(4, &[])?, ring.start(2, &[])?];
    early.expect("found 2 of 4 nodes: 10.77.0.12 (n2), 10.77.0.14 (n4)", LONG)?;
    // One that listens on one address only, and one that goes and comes again.
    drop(ring.start(1, &["--bind", "10.77.0.11"])?);
    thread::sleep(Duration::from_millis(500));
    programs.push(ring.start(1, &["--bind", "10.77.0.11"])?);
    programs.push(ring.start(3, &[])?);
    programs.push(early);
    ring.succeeds(&mut programs)?;
    let said = programs[4].said();
    let all =
        "found 4 of 4 nodes: 10.77.0.11 (n1), 10.77.0.12 (n2), 10.77.0.13 (n3), 10.77.0.14 (n4)";
    ensure!(said.contains(all), "{said}");
    // The order is that of the addresses.
    let said = programs[2].said();
    ensure!(
        said.contains("this is node 1 of 4, it writes out and feeds 10.77.0.12"),
        "{said}"
    );
    Ok(())
}

fn two_networks(goldring: &Path) -> Result<()> {
    let ring = Ring::new(goldring, 2, 100_000)?;
    ring.net.second_network()?;
    let mut programs = nodes(&ring, 2)?;
    programs.push(golden(&ring, &["--nodes", "2"])?);
    ring.succeeds(&mut programs)
}

fn too_many(goldring: &Path) -> Result<()> {
    let ring = Ring::new(goldring, 3, 100_000)?;
    let nodes = nodes(&ring, 3)?;
    for node in &nodes {
        node.expect("waiting for the golden node", LONG)?;
    }
    let mut golden = golden(&ring, &["--nodes", "2"])?;
    golden.ends_with(1, LONG)?;
    let said = golden.said();
    let sentence =
        "3 nodes wait, not 2: 10.77.0.11 (n1), 10.77.0.12 (n2), 10.77.0.13 (n3); write --nodes 3";
    ensure!(said.contains(sentence), "{said}");
    for node in &nodes {
        ensure!(!node.said().contains("calls"), "{}", node.said());
    }
    Ok(())
}

fn too_few(goldring: &Path) -> Result<()> {
    let ring = Ring::new(goldring, 2, 100_000)?;
    let _node = ring.start(2, &[])?;
    let mut golden = golden(&ring, &["--nodes", "2", "-a", "3"])?;
    golden.ends_with(1, LONG)?;
    let said = golden.said();
    let sentence = "only 1 of 2 nodes are there after 3 s: 10.77.0.12 (n2); switch the others on";
    ensure!(said.contains(sentence), "{said}");
    Ok(())
}

fn dry_run(goldring: &Path) -> Result<()> {
    let ring = Ring::new(goldring, 3, 100_000)?;
    let node = ring.start(2, &[])?;
    node.expect("waiting for the golden node", LONG)?;
    let mut plan = golden(&ring, &["--nodes", "3", "--dry-run"])?;
    plan.ends_with(1, LONG)?;
    let said = plan.said();
    ensure!(
        said.contains("found 1 of 3 nodes: 10.77.0.12 (n2)"),
        "{said}"
    );
    ensure!(
        said.contains("n0               reads in, feeds 10.77.0.12"),
        "{said}"
    );
    ensure!(
        said.contains("10.77.0.12       writes out, feeds nobody"),
        "{said}"
    );
    let mut plan = golden(&ring, &["n1", "n2", "--dry-run"])?;
    plan.ends_with(1, LONG)?;
    let said = plan.said();
    ensure!(said.contains("input    in on n0, 100000 bytes"), "{said}");
    ensure!(
        said.contains("n1               writes out, feeds n2"),
        "{said}"
    );
    ensure!(!ring.home(2).join("out").exists());
    Ok(())
}

/// Sends what is no query to a node and what is no answer to everybody.
const RUBBISH: &str = r"
import os, socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(('0.0.0.0', 0))
head = b'goldring\1'
query = head + b'\1' + bytes(4) + b'\1'
for junk in (b'', b'x', os.urandom(300), head, query, query + bytes(64), head + b'\2' * 119,
             b'GOLDRING\1\1' + bytes(118), head + b'\1' + bytes(4) + b'\3' + bytes(113), bytes(60000)):
    for _ in range(20):
        s.sendto(junk, (sys.argv[1], 9996))
s.settimeout(1)
try:
    s.recv(1000)
    sys.exit('somebody answered')
except socket.timeout:
    pass
# A good query is answered, by less than was asked, and not without end.
good = query + bytes(128 - len(query))
for _ in range(500):
    s.sendto(good, (sys.argv[1], 9996))
answers = []
try:
    while True:
        answers.append(s.recv(1000))
except socket.timeout:
    print(len(answers), 'answers', flush=True)
assert 0 < len(answers) <= 150, len(answers)
assert all(len(a) <= len(good) and b'n1' in a for a in answers), answers
";

fn rubbish(goldring: &Path) -> Result<()> {
    let ring = Ring::new(goldring, 2, 100_000)?;
    let node = ring.start(1, &[])?;
    node.expect("waiting for the golden node", LONG)?;
    let words = ["python3", "-c", RUBBISH, &ring.net.address(1)];
    let mut stranger = Program::start(&ring.net, 2, &ring.home(2).join("rubbish"), &words)?;
    stranger.ends_with(0, LONG)?;
    let mut programs = vec![node, ring.start(2, &[])?];
    programs.push(golden(&ring, &["--nodes", "2"])?);
    ring.succeeds(&mut programs)
}

/// Somebody of the list who is not this node's parent, and who is none at all.
const INTRUDER: &str = r"
import socket, sys
text = b'infile in\noutfile out\nserver 10.77.0.10\nfirstclient 10.77.0.11\nlastclient 10.77.0.12\n' \
       b'clients 2\n10.77.0.11\n10.77.0.12\nendconfig\n'
data = socket.create_connection((sys.argv[1], 9998))
control = socket.create_connection((sys.argv[1], 9997))
control.sendall(text)
print('it said', control.recv(100), flush=True)
";

fn not_the_parent(goldring: &Path) -> Result<()> {
    let ring = Ring::new(goldring, 2, 100_000)?;
    let node = ring.start(2, &[])?;
    node.expect("waiting for the golden node", LONG)?;
    // The golden node itself is not the parent of the second.
    let words = ["python3", "-c", INTRUDER, &ring.net.address(2)];
    let mut intruder = Program::start(&ring.net, 0, &ring.home(0).join("intruder"), &words)?;
    intruder.ends_with(0, LONG)?;
    ensure!(
        intruder.said().contains("it said b''"),
        "{}",
        intruder.said()
    );
    let said = node.said();
    let sentence =
        "10.77.0.10 sent a configuration in which not it but 10.77.0.11 feeds this computer";
    ensure!(said.contains(sentence), "{said}");
    let mut programs = vec![node, ring.start(1, &[])?];
    programs.push(golden(&ring, &["10.77.0.11", "10.77.0.12"])?);
    ring.succeeds(&mut programs)
}

fn too_small(goldring: &Path) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("disk");
    let disk = Loop::new(&file, 1 << 20)?;
    let ring = Ring::new(goldring, 1, 2 << 20)?;
    let mut node = ring.start(1, &[])?;
    let words = ["-s", "--in", "in", "--out", &disk.device, "--nodes", "1"];
    let mut golden = ring.start_with(0, &words)?;
    golden.ends_with(1, LONG)?;
    node.ends_with(1, LONG)?;
    let sentence = format!("{} has 1048576 bytes, 1048576 too few", disk.device);
    ensure!(golden.said().contains(&sentence), "{}", golden.said());
    ensure!(std::fs::read(&file)?.iter().all(|b| *b == 0));
    Ok(())
}

fn wrong_words(goldring: &Path) -> Result<()> {
    let ring = Ring::new(goldring, 2, 1000)?;
    let table: &[(&[&str], i32, &str)] = &[
        (
            &["-s"],
            2,
            "there is no ring: write -f FILE, or --in PATH --out PATH and the nodes",
        ),
        (
            &["-s", "--in", "in", "--out", "out"],
            2,
            "--in and --out need the nodes",
        ),
        (
            &["-s", "--in", "in", "--out", "out", "n1", "n1"],
            2,
            "n1 is in the list twice",
        ),
        (
            &["-s", "--in", "in", "--out", "out", "n0"],
            2,
            "n0 is the server",
        ),
        (
            &["-s", "--in", "in", "--out", "out", "ready"],
            2,
            "which old servers count",
        ),
        (
            &["-s", "--in", "absent", "--out", "out", "n1"],
            1,
            "absent: No such file",
        ),
        (
            &["-s", "--in", "absent", "--out", "out", "--nodes", "2"],
            1,
            "absent: No such file",
        ),
        (
            &["-s", "--in", "in", "--out", "out", "n1", "-t", "5"],
            2,
            "-t is for dummy data, but",
        ),
        (
            &["--in", "in", "--out", "out", "n1"],
            2,
            "--in is for the golden node",
        ),
        (&["-t", "5"], 2, "-t is for the golden node"),
    ];
    for (words, code, sentence) in table {
        let mut program = ring.start_with(0, words)?;
        program.ends_with(*code, LONG)?;
        let said = program.said();
        ensure!(said.contains(sentence), "{words:?}: {said}");
        ensure!(said.lines().count() == 1, "more than a line: {said}");
    }
    Ok(())
}
