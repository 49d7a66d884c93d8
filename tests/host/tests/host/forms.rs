//! What a configuration can ask for besides a plain copy: parts, packing, several
//! networks, small segments, dummy data; each with old programs at every place.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use goldring_host_tests::net::ip;
use goldring_host_tests::program::Program;
use goldring_host_tests::ring::{LONG, Ring};

use crate::Story;

pub(crate) const STORIES: &[Story] = &[
    ("parts_are_put_together_and_made", parts),
    ("a_packed_input_is_unpacked_by_everybody", packed_input),
    (
        "the_size_of_what_is_unpacked_is_for_the_figures",
        unpacked_size,
    ),
    ("a_packed_output_is_packed_once", packed_output),
    ("two_networks_share_the_data", two_networks),
    ("two_networks_and_a_size_that_nobody_knows", unknown_size),
    ("a_link_that_cannot_be_made_is_named", no_such_link),
    ("three_links_also_with_names_renamed", three_links),
    ("small_segments_are_small", segments),
    ("dummy_data_measures_and_writes_nothing", dummy),
    ("what_exists_is_not_overwritten", existing),
    ("a_broken_packed_input_is_no_clone", broken_input),
    ("what_does_not_fit_when_unpacked_is_refused", too_large),
];

/// Everybody ours, then an old program at each place, then all clients old.
const PLACES: [&[usize]; 6] = [&[], &[0], &[1], &[2], &[3], &[1, 2, 3]];

fn run(ring: &Ring, old: &[usize], clients: usize) -> Result<Vec<Program>> {
    let start = |computer: usize| {
        if old.contains(&computer) {
            ring.start_classic(computer)
        } else {
            ring.start(computer, &[])
        }
    };
    let mut programs = (1..=clients).map(start).collect::<Result<Vec<_>>>()?;
    programs.insert(0, start(0)?);
    for program in &mut programs {
        program
            .ends_with(0, LONG)
            .with_context(|| format!("old programs: {old:?}"))?;
    }
    Ok(programs)
}

/// Runs a ring of three clients with an old program at each place, and looks at each copy.
fn everywhere(ring: &Ring, config: &str, copy: impl Fn(&Path) -> Result<Vec<u8>>) -> Result<()> {
    let list = "server n0\nfirstclient n1\nlastclient n3\nclients 3\nn1\nn2\nn3\nendconfig\n";
    ring.configure_as(&format!("{config}{list}"))?;
    for old in PLACES {
        run(ring, old, 3)?;
        for computer in 1..=3 {
            let home = ring.home(computer);
            let got = copy(&home)?;
            ensure!(
                got == ring.input,
                "n{computer} of old {old:?}: {} bytes",
                got.len()
            );
            fs::remove_dir_all(home)?;
        }
    }
    Ok(())
}

/// The parts of `out` that are there, which must have this size but for the last.
fn joined(home: &Path, size: usize) -> Result<Vec<u8>> {
    let parts: Vec<Vec<u8>> = (0..)
        .map_while(|i| fs::read(home.join(format!("out_{i}"))).ok())
        .collect();
    let (last, whole) = parts.split_last().context("there are no parts")?;
    ensure!(whole.iter().all(|part| part.len() == size));
    ensure!(!last.is_empty() && last.len() <= size);
    Ok(parts.concat())
}

/// `gzip` or `gunzip`, the real ones.
fn filter(program: &str, input: &[u8]) -> Result<Vec<u8>> {
    let mut child = Command::new(program)
        .arg("-c")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut stdin = child.stdin.take().context("no pipe")?;
    let input = input.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "{program} failed");
    writer
        .join()
        .map_err(|_| anyhow::anyhow!("the pipe broke"))??;
    Ok(output.stdout)
}

fn parts(goldring: &Path) -> Result<()> {
    let ring = Ring::new(goldring, 3, 2_500_100)?;
    for (number, part) in ring.input.chunks(1_000_000).enumerate() {
        fs::write(ring.home(0).join(format!("in_{number}")), part)?;
    }
    let config = "infile in split\noutfile out split 700K\n";
    everywhere(&ring, config, |home| joined(home, 700 << 10))
}

fn packed_input(goldring: &Path) -> Result<()> {
    let mut ring = Ring::new(goldring, 3, 1_000_000)?;
    // A disk that packs well: most of it is empty.
    ring.input.extend(vec![0; 3_000_000]);
    fs::write(ring.home(0).join("in.gz"), filter("gzip", &ring.input)?)?;
    everywhere_with_target(&ring, "compressed infile in.gz\noutfile out\n")?;
    // Its parts, into parts.
    let packed = fs::read(ring.home(0).join("in.gz"))?;
    for (number, part) in packed.chunks(400_000).enumerate() {
        fs::write(ring.home(0).join(format!("in_{number}")), part)?;
    }
    ring.configure_as(
        "compressed infile in split\noutfile out split 1M\nserver n0\nfirstclient n1\n\
         lastclient n3\nclients 3\nn1\nn2\nn3\nendconfig\n",
    )?;
    run(&ring, &[], 3)?;
    for computer in 1..=3 {
        ensure!(joined(&ring.home(computer), 1 << 20)? == ring.input);
    }
    Ok(())
}

/// `-c` tells the rate of what is written, too.
fn unpacked_size(goldring: &Path) -> Result<()> {
    let ring = Ring::new(goldring, 1, 0)?;
    let list = "server n0\nfirstclient n1\nlastclient n1\nclients 1\nn1\nendconfig\n";
    fs::write(ring.home(0).join("in"), filter("gzip", &vec![1; 4 << 20])?)?;
    ring.configure_as(&format!("compressed infile in\noutfile out\n{list}"))?;
    let mut one = ring.start(1, &[])?;
    let mut golden = ring.start(0, &["-c", "4M"])?;
    golden.ends_with(0, LONG)?;
    one.ends_with(0, LONG)?;
    let said = golden.said();
    ensure!(said.contains("; unpacked 4194304 bytes, "), "{said}");
    ensure!(fs::read(ring.home(1).join("out"))? == vec![1; 4 << 20]);
    Ok(())
}

fn everywhere_with_target(ring: &Ring, config: &str) -> Result<()> {
    everywhere(ring, config, |home| Ok(fs::read(home.join("out"))?))
}

fn packed_output(goldring: &Path) -> Result<()> {
    let mut ring = Ring::new(goldring, 3, 700_000)?;
    ring.input.extend(vec![7; 2_000_000]);
    fs::write(ring.home(0).join("in"), &ring.input)?;
    everywhere(&ring, "infile in\ncompressed outfile out\n", |home| {
        let packed = fs::read(home.join("out"))?;
        ensure!(packed.len() < 1_000_000, "{} bytes", packed.len());
        filter("gunzip", &packed)
    })
}

fn two_networks(goldring: &Path) -> Result<()> {
    let ring = Ring::new(goldring, 3, 4_000_100)?;
    ring.net.second_network()?;
    everywhere_with_target(&ring, "infile in\noutfile out\nadd 1:-b\n")?;
    // Each network carried about the half of it.
    let runs = PLACES.len() as u64;
    for card in ["eth0", "eth1"] {
        let traffic = ring.net.traffic(3, card)?;
        let half = runs * ring.input.len() as u64 / 2;
        ensure!((half..2 * half).contains(&traffic), "{card}: {traffic}");
    }
    Ok(())
}

/// An old client reads a block from every link before it looks for the total, which here
/// is known last.
fn unknown_size(goldring: &Path) -> Result<()> {
    let ring = Ring::new(goldring, 3, 3 * 4096 * 20 + 100)?;
    ring.net.second_network()?;
    everywhere(
        &ring,
        "infile in\ncompressed outfile out\nadd 1:-b\n",
        |home| filter("gunzip", &fs::read(home.join("out"))?),
    )
}

/// The name of a link that nobody knows.
fn no_such_link(goldring: &Path) -> Result<()> {
    let ring = Ring::new(goldring, 1, 1000)?;
    ring.configure("add 1:-nowhere\n", "out")?;
    let mut one = ring.start(1, &[])?;
    let mut golden = ring.start(0, &["-a", "12"])?;
    golden.ends_with(1, LONG)?;
    let said = golden.said();
    ensure!(
        said.contains("still waiting for n1 (failed to lookup address"),
        "{said}"
    );
    ensure!(said.contains("gave up after 12 s without n1"), "{said}");
    one.expect("sent a configuration and left; still waiting", LONG)?;
    one.signal(goldring_host_tests::program::Signal::TERM)?;
    one.wait(LONG).map(|_| ())
}

fn three_links(goldring: &Path) -> Result<()> {
    let ring = Ring::new(goldring, 3, 1_000_100)?;
    ring.net.second_network()?;
    // The old program has no room for a third link before it has read its
    // configuration, so an old one above an old one would wait for ever.
    for (config, old) in [
        ("add 2:-b:-c\n", &[][..]),
        ("add 2:-b:-c\n", &[1]),
        ("add 2:-b:-c\n", &[3]),
        ("add 2:-b:-c\n", &[0]),
        ("add2 1:x\n", &[2]),
        ("add 0:-b\n", &[]),
    ] {
        ring.configure(config, "out")?;
        run(&ring, old, 3).with_context(|| config.to_owned())?;
        for computer in 1..=3 {
            ring.same(computer)?;
            fs::remove_dir_all(ring.home(computer))?;
        }
    }
    Ok(())
}

fn segments(goldring: &Path) -> Result<()> {
    let ring = Ring::new(goldring, 3, 1_000_100)?;
    // The kernel hands several segments to a card in one piece, unless it is told not to.
    for computer in 0..=3 {
        let name = ring.net.namespace(computer);
        ip(&["-n", &name, "link", "set", "eth0", "gso_max_segs", "1"])?;
    }
    everywhere_with_target(&ring, "infile in\noutfile out\nsegsize 500\n")?;
    // Segments of 500 bytes have headers of 66, so what is on the wire is 13 % more.
    let runs = PLACES.len() as u64;
    let least = runs * ring.input.len() as u64 * 110 / 100;
    let traffic = ring.net.traffic(3, "eth0")?;
    ensure!(traffic > least, "{traffic}, less than {least}");
    Ok(())
}

fn dummy(goldring: &Path) -> Result<()> {
    let ring = Ring::new(goldring, 3, 0)?;
    let list = "server n0\nfirstclient n1\nlastclient n3\nclients 3\nn1\nn2\nn3\nendconfig\n";
    ring.configure_as(&format!("dummy 5\n{list}"))?;
    for old in PLACES {
        run(&ring, old, 3)?;
    }
    // By time, and a node that was told that it is one.
    ring.configure_as(&format!("dummy\n{list}"))?;
    let clients = [
        ring.start(1, &["-d", "--wait", "4"])?,
        ring.start(2, &[])?,
        ring.start_classic(3)?,
    ];
    let mut golden = ring.start(0, &["-d", "-t", "1", "-o", "log.txt"])?;
    golden.ends_with(0, LONG)?;
    // The node that was told waits again, as with dolly 0.57, until nobody comes.
    for mut client in clients {
        client.ends_with(0, LONG)?;
    }
    let figures = fs::read_to_string(ring.home(0).join("log.txt"))?;
    let seconds: f64 = figures.split(' ').nth(3).context("no seconds")?.parse()?;
    ensure!((1.0..10.0).contains(&seconds), "{figures}");
    // A dummy run without an end, and a node for dummy data that gets other data.
    ring.start(0, &[])?.ends_with(2, LONG)?;
    ring.configure("", "out")?;
    let mut one = ring.start(1, &["-d"])?;
    let others = [ring.start(2, &[])?, ring.start(3, &[])?];
    ring.start(0, &[])?.ends_with(1, LONG)?;
    one.ends_with(1, LONG)?;
    ensure!(
        one.said().contains("start the node without -d"),
        "{}",
        one.said()
    );
    ensure!(!ring.home(1).join("out").exists());
    drop(others);
    Ok(())
}

/// Everybody stops, and the last line of the golden node has this.
fn refused(ring: &Ring, sentence: &str) -> Result<()> {
    for program in &mut ring.start_all(&[])? {
        program.ends_with(1, Duration::from_secs(20))?;
        let said = program.said();
        let last = said.lines().last().unwrap_or_default();
        ensure!(last.contains(sentence), "{}: {said}", program.name);
    }
    Ok(())
}

fn existing(goldring: &Path) -> Result<()> {
    let ring = Ring::new(goldring, 2, 100_000)?;
    let old = |name: &str| fs::write(ring.home(2).join(name), "precious");
    fs::create_dir_all(ring.home(2))?;
    old("out_3")?;
    ring.configure("", "out split 10K")?;
    refused(&ring, "out_3 exists and is not overwritten")?;
    old("out")?;
    let text = fs::read_to_string(ring.home(0).join("dolly.cfg"))?;
    let text = text.replace("outfile out split 10K", "compressed outfile out");
    ring.configure_as(&text)?;
    refused(&ring, "out exists and is not overwritten")?;
    for name in ["out_3", "out"] {
        ensure!(fs::read(ring.home(2).join(name))? == b"precious");
    }
    // What the first had begun is not in the way of the next try.
    ensure!(!ring.home(1).join("out").exists() && !ring.home(1).join("out_0").exists());
    Ok(())
}

fn broken_input(goldring: &Path) -> Result<()> {
    let ring = Ring::new(goldring, 2, 300_000)?;
    let packed = filter("gzip", &ring.input)?;
    let text = fs::read_to_string(ring.home(0).join("dolly.cfg"))?;
    ring.configure_as(&text.replace("infile in", "compressed infile in"))?;
    // Cut, and not packed at all.
    for bad in [&packed[..packed.len() - 3], &ring.input[..]] {
        fs::write(ring.home(0).join("in"), bad)?;
        refused(&ring, "unpacking it: ")?;
    }
    Ok(())
}

fn too_large(goldring: &Path) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("disk");
    let disk = goldring_host_tests::target::Loop::new(&file, 4 << 20)?;
    let ring = Ring::new(goldring, 1, 0)?;
    fs::create_dir_all(ring.home(1))?;
    fs::write(ring.home(0).join("in"), filter("gzip", &vec![9; 5 << 20])?)?;
    ring.configure("", &disk.device)?;
    let text = fs::read_to_string(ring.home(0).join("dolly.cfg"))?;
    ring.configure_as(&text.replace("infile in", "compressed infile in"))?;
    refused(
        &ring,
        &format!("unpacked, {} has 4194304 bytes", disk.device),
    )?;
    // It does not look bootable.
    ensure!(fs::read(&file)?[..1 << 20].iter().all(|b| *b == 0));
    Ok(())
}
