//! Rings that work.

use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};
use goldring_host_tests::program::Program;
use goldring_host_tests::ring::{LONG, Ring};

use crate::Story;

pub(crate) const STORIES: &[Story] = &[
    ("a_ring_of_five_copies_an_odd_size", ring_of_five),
    ("a_tree_with_fanout_two_copies_too", tree),
    ("short_files_never_stand_still", short_files),
    ("the_server_may_start_first", server_first),
    (
        "a_node_that_starts_again_before_the_ring_is_built_is_called_again",
        comes_again,
    ),
    ("a_ring_of_forty", long_ring),
    ("an_empty_input_ends_at_once", empty),
    ("a_pipe_is_an_input", pipe),
    ("strangers_do_not_harm_a_waiting_client", strangers),
    ("a_node_does_what_the_kernel_command_line_says", node),
    ("memory_stays_bounded_behind_a_slow_link", bounded),
    ("a_slow_disk_above_a_quick_one_waits_in_peace", slow_disk),
];

fn ring_of_five(goldring: &Path) -> Result<()> {
    let ring = Ring::new(goldring, 5, 40_000_123)?;
    let mut programs = ring.start_all(&[])?;
    ring.succeeds(&mut programs)?;
    ensure!(
        programs[0]
            .said()
            .contains("5 clones are complete: 40000123 bytes in")
    );
    Ok(())
}

fn tree(goldring: &Path) -> Result<()> {
    let ring = Ring::new(goldring, 6, 9_000_001)?;
    ring.configure("fanout 2\nhyphennormal\nsegsize 1460\n", "out")?;
    ring.succeeds(&mut ring.start_all(&[])?)
}

fn short_files(goldring: &Path) -> Result<()> {
    for size in [100, (1 << 20) + 100] {
        let ring = Ring::new(goldring, 3, size)?;
        for _ in 0..20 {
            ring.succeeds(&mut ring.start_all(&[])?)?;
            for computer in 1..=3 {
                std::fs::remove_file(ring.home(computer).join("out"))?;
            }
        }
    }
    Ok(())
}

fn server_first(goldring: &Path) -> Result<()> {
    let ring = Ring::new(goldring, 3, 3_000_000)?;
    let mut programs = vec![ring.start(0, &[])?];
    thread::sleep(Duration::from_millis(1500));
    for computer in [2, 3, 1] {
        programs.push(ring.start(computer, &[])?);
        thread::sleep(Duration::from_millis(300));
    }
    ring.succeeds(&mut programs)
}

/// The golden node has connected to it, and waits for its other child.
fn comes_again(goldring: &Path) -> Result<()> {
    let ring = Ring::new(goldring, 2, 100_000)?;
    ring.configure("fanout 2\n", "out")?;
    let golden = ring.start(0, &[])?;
    let mut first = ring.start(1, &[])?;
    golden.expect("n1 answers", LONG)?;
    first.signal(goldring_host_tests::program::Signal::KILL)?;
    first.wait(LONG)?;
    let again = ring.start(1, &[])?;
    thread::sleep(Duration::from_millis(1500));
    let mut programs = vec![golden, again, ring.start(2, &[])?];
    ring.succeeds(&mut programs)
}

fn empty(goldring: &Path) -> Result<()> {
    let ring = Ring::new(goldring, 2, 0)?;
    ring.succeeds(&mut ring.start_all(&[])?)
}

fn pipe(goldring: &Path) -> Result<()> {
    let ring = Ring::new(goldring, 3, 5_000_100)?;
    let home = ring.home(0);
    goldring_host_tests::net::run("mkfifo", &[&home.join("fifo").to_string_lossy()])?;
    let text = std::fs::read_to_string(home.join("dolly.cfg"))?;
    ring.configure_as(&text.replace("infile in", "infile fifo"))?;
    let mut programs = ring.start_all(&[])?;
    let input = ring.input.clone();
    thread::spawn(move || std::fs::write(home.join("fifo"), input));
    ring.succeeds(&mut programs)
}

/// Connects like a port scanner and worse, from the last computer.
const SCAN: &str = r"
import os, socket, sys, time
host = sys.argv[1]
silent = [socket.create_connection((host, port)) for port in (9997, 9998) for _ in range(30)]
for junk in (b'', b'\0', b'\1' * 40, b'GET / HTTP/1.0\r\n\r\n', os.urandom(5000), b'infile x\nendconfig\n',
             b'infile /a\noutfile /b\nserver s\nfirstclient c\nlastclient c\nclients 1\nc\nendconfig\n',
             b'infile /a\n' * 20000):
    for port in (9997, 9998):
        s = socket.create_connection((host, port))
        try:
            s.sendall(junk)
        except OSError:
            pass
        if len(junk) % 2:
            s.close()
        else:
            silent.append(s)
print('scanned', flush=True)
time.sleep(60)
";

fn strangers(goldring: &Path) -> Result<()> {
    let ring = Ring::new(goldring, 3, 2_000_100)?;
    let clients = [ring.start(1, &[])?, ring.start(2, &[])?];
    for client in &clients {
        client.expect("waiting for the golden node", LONG)?;
    }
    let home = ring.home(3);
    let mut scans = Vec::new();
    for victim in [1, 2] {
        let words = ["python3", "-c", SCAN, &ring.net.address(victim)];
        let scan = Program::start(&ring.net, 3, &home.join(format!("scan{victim}")), &words)?;
        scan.expect("scanned", LONG)?;
        scans.push(scan);
    }
    let mut programs = vec![ring.start(3, &[])?, ring.start(0, &[])?];
    programs.extend(clients);
    ring.succeeds(&mut programs)?;
    let said = programs[2].said();
    ensure!(said.contains("asks for a password"), "{said}");
    ensure!(said.contains("without this computer"), "{said}");
    Ok(())
}

fn bounded(goldring: &Path) -> Result<()> {
    let ring = Ring::new(goldring, 2, 80_000_000)?;
    ring.net.slow(1, "200mbit")?;
    let mut programs = ring.start_all(&[])?;
    programs[1].expect("the ring is complete", LONG)?;
    thread::sleep(Duration::from_millis(1500));
    for program in &programs {
        let peak = program.peak_memory().unwrap_or(0);
        ensure!(peak < 64 << 20, "{} used {peak} bytes", program.name);
    }
    ring.succeeds(&mut programs)
}

/// The second has everything and leaves long before the first.
fn slow_disk(goldring: &Path) -> Result<()> {
    let ring = Ring::new(goldring, 2, 500_000)?;
    let home = ring.home(1);
    std::fs::create_dir_all(&home)?;
    let fifo = home.join("out");
    goldring_host_tests::net::run("mkfifo", &[&fifo.to_string_lossy()])?;
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let disk = thread::spawn(move || -> std::io::Result<Vec<u8>> {
        let mut file = std::fs::File::open(fifo)?;
        // An error is as good a sign: the story is over.
        let _ = wait.recv();
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut file, &mut bytes)?;
        Ok(bytes)
    });
    let mut programs = ring.start_all(&[])?;
    programs[2].ends_with(0, LONG)?;
    let before = programs[1].processor_time().unwrap_or_default();
    thread::sleep(Duration::from_secs(2));
    let after = programs[1].processor_time().unwrap_or_default();
    go.send(())?;
    for program in &mut programs[..2] {
        program.ends_with(0, LONG)?;
    }
    let copy = disk
        .join()
        .map_err(|_| anyhow::anyhow!("the disk is gone"))??;
    ensure!(copy == ring.input, "the copy differs");
    let used = after.saturating_sub(before);
    ensure!(used < Duration::from_millis(500), "it used {used:?} of 2 s");
    Ok(())
}

/// `rescue dollymethod`, with a folder in the place of `/`.
fn node(goldring: &Path) -> Result<()> {
    let ring = Ring::new(goldring, 1, 3_000_100)?;
    ring.configure_as(
        "infile in\noutfile /out\nserver n0\nfirstclient 10.77.0.11\nlastclient 10.77.0.11\n\
         clients 1\n10.77.0.11\nendconfig\n",
    )?;
    let home = ring.home(1);
    for folder in ["proc", "run/goldring"] {
        std::fs::create_dir_all(home.join(folder))?;
    }
    std::fs::write(
        home.join("proc/cmdline"),
        "initrd=all.rdz rescue dollymethod\n",
    )?;
    let network = "interface eth0\naddress 10.77.0.11\n";
    std::fs::write(home.join("run/goldring/network"), network)?;
    let words = [&goldring.to_string_lossy(), "node", "--root", "."];
    let mut node = Program::start(&ring.net, 1, &home, &words)?;
    node.expect(
        "waiting for the golden node (ports 9997 and 9998), 299 s left",
        LONG,
    )?;
    ring.start(0, &[])?.ends_with(0, LONG)?;
    node.ends_with(0, LONG)?;
    ring.same(1)?;
    let said = node.said();
    for mark in ["goldring: ring joined, ", "goldring: clone done, "] {
        ensure!(said.contains(mark), "{said}");
    }
    let outcome = std::fs::read_to_string(home.join("run/goldring/outcome"))?;
    ensure!(
        outcome.starts_with("done /out is cloned, 3000100 bytes"),
        "{outcome}"
    );
    Ok(())
}

/// A long chain; every computer is a real process.
fn long_ring(goldring: &Path) -> Result<()> {
    let ring = Ring::new(goldring, 40, 1_000_001)?;
    ring.succeeds(&mut ring.start_all(&[])?)
}
