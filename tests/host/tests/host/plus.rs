//! Rings of dolly+ in which nothing goes wrong: among goldring, and with old peers.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use goldring_host_tests::net::run;
use goldring_host_tests::program::Program;
use goldring_host_tests::ring::{LONG, Ring};
use goldring_host_tests::target::Loop;

use crate::Story;

pub(crate) const STORIES: &[Story] = &[
    ("dolly_plus_files_of_all_sizes", sizes),
    ("dolly_plus_old_packets_among_goldring", plain),
    ("dolly_plus_holes_and_zeros", holes),
    ("dolly_plus_cooks", cooks),
    ("dolly_plus_old_clients_at_every_place", old_clients),
    ("dolly_plus_an_old_golden_node", old_server),
    ("dolly_plus_four_absent_in_a_row", absent),
    ("dolly_plus_a_dry_run_writes_nothing", dry),
    (
        "dolly_plus_a_refused_target_stops_before_the_first_byte",
        refused,
    ),
    ("dolly_plus_onto_disks", disks),
    ("dolly_plus_of_named_nodes_needs_no_file", named),
    ("dolly_plus_finds_its_nodes", found),
    ("dolly_plus_packs_harder_when_it_has_time", packs),
    ("dping_says_what_a_client_does", dping),
    ("dolly_plus_events_for_programs", json),
];

const MIB: usize = 1 << 20;

/// Ends well, and says that everybody is.
fn all_good(programs: &mut [Program]) -> Result<()> {
    for program in programs {
        program.ends_with(0, LONG)?;
    }
    Ok(())
}

/// Files of these sizes, to `out0`, `out1` and so on.
fn files(ring: &Ring, sizes: &[usize]) -> Result<Vec<Vec<u8>>> {
    let mut lines = Vec::new();
    let mut contents = Vec::new();
    for (number, size) in sizes.iter().enumerate() {
        let content = ring.input[..*size].to_vec();
        fs::write(ring.home(0).join(format!("in{number}")), &content)?;
        lines.push(format!("in{number} > out{number}"));
        contents.push(content);
    }
    ring.configure_plus(&lines.iter().map(String::as_str).collect::<Vec<_>>())?;
    Ok(contents)
}

fn compare(ring: &Ring, clients: usize, contents: &[Vec<u8>]) -> Result<()> {
    for computer in 1..=clients {
        for (number, content) in contents.iter().enumerate() {
            let copy = fs::read(ring.home(computer).join(format!("out{number}")))?;
            ensure!(
                copy == *content,
                "out{number} of n{computer} differs, {} bytes",
                copy.len()
            );
        }
    }
    Ok(())
}

fn sizes(goldring: &Path) -> Result<()> {
    let sizes = [0, 1, 4096, MIB, MIB + 1, 4 * MIB, 9 * MIB + 77];
    let ring = Ring::new(goldring, 3, 9 * MIB + 77)?;
    let contents = files(&ring, &sizes)?;
    // What was there before is gone.
    fs::create_dir_all(ring.home(2))?;
    fs::write(ring.home(2).join("out1"), "longer than one byte")?;
    let mut programs = ring.start_all_plus(&[])?;
    all_good(&mut programs)?;
    let said = programs[0].said();
    ensure!(said.contains("3 of 3 clones are complete"), "{said}");
    ensure!(
        said.matches("and they are the right ones").count() == 3,
        "{said}"
    );
    compare(&ring, 3, &contents)
}

fn plain(goldring: &Path) -> Result<()> {
    let sizes = [0, 4 * MIB, 9 * MIB + 77];
    let ring = Ring::new(goldring, 3, 9 * MIB + 77)?;
    let contents = files(&ring, &sizes)?;
    let mut programs = ring.start_all_plus(&["--plain"])?;
    all_good(&mut programs)?;
    ensure!(
        programs[0]
            .said()
            .contains("sent; an old dolly+ cannot say more")
    );
    compare(&ring, 3, &contents)
}

fn holes(goldring: &Path) -> Result<()> {
    let ring = Ring::new(goldring, 2, 3 * MIB)?;
    let content = [vec![0; 5 * MIB], ring.input.clone(), vec![0; 2 * MIB + 5]].concat();
    fs::write(ring.home(0).join("in0"), &content)?;
    let sparse = fs::File::create(ring.home(0).join("in1"))?;
    sparse.set_len(300 << 20)?;
    std::os::unix::fs::FileExt::write_all_at(&sparse, b"x", 200 << 20)?;
    ring.configure_plus(&["in0 > out0", "in1 > out1"])?;
    let mut programs = ring.start_all_plus(&["--json"])?;
    all_good(&mut programs)?;
    compare(&ring, 2, &[content])?;
    for computer in 1..=2 {
        let copy = fs::read(ring.home(computer).join("out1"))?;
        ensure!(copy.len() == 300 << 20 && copy[200 << 20] == b'x');
        ensure!(copy.iter().filter(|b| **b != 0).count() == 1);
    }
    Ok(())
}

fn shell(folder: &Path, script: &str) -> Result<()> {
    let script = format!("cd '{}' && {script}", folder.display());
    run("sh", &["-ec", &script])
}

fn cooks(goldring: &Path) -> Result<()> {
    let ring = Ring::new(goldring, 2, MIB)?;
    let lines = cookable(
        &ring,
        &["gz", "tar.gz", "tar", "zst", "tar.xz", "bz2", "cpio"],
    )?;
    ring.configure_plus(&lines.iter().map(String::as_str).collect::<Vec<_>>())?;
    let mut programs = ring.start_all_plus(&[])?;
    all_good(&mut programs)?;
    cooked(
        &ring,
        2,
        &["gz", "tar.gz", "tar", "zst", "tar.xz", "bz2", "cpio"],
    )
}

/// Makes inputs of these endings, and their lines.
fn cookable(ring: &Ring, endings: &[&str]) -> Result<Vec<String>> {
    let home = ring.home(0);
    fs::create_dir_all(home.join("tree/sub"))?;
    fs::write(home.join("tree/sub/file"), &ring.input)?;
    let mut lines = Vec::new();
    for ending in endings {
        let script = match *ending {
            "gz" => "gzip -nc in > x.gz",
            "zst" => "zstd -qf in -o x.zst",
            "bz2" => "bzip2 -c in > x.bz2",
            "tar" => "tar -cf x.tar tree",
            "tar.gz" => "tar -czf x.tar.gz tree",
            "tar.xz" => "tar -cJf x.tar.xz tree",
            _ => "find tree | cpio -o --quiet -H newc > x.cpio",
        };
        shell(&home, script)?;
        lines.push(format!("x.{ending} >> out.{}", ending.replace('.', "-")));
    }
    Ok(lines)
}

fn cooked(ring: &Ring, clients: usize, endings: &[&str]) -> Result<()> {
    for computer in 1..=clients {
        for ending in endings {
            let mut copy = ring
                .home(computer)
                .join(format!("out.{}", ending.replace('.', "-")));
            if ending.contains("tar") || ending.contains("cpio") {
                copy = copy.join("tree/sub/file");
            }
            let content = fs::read(&copy)?;
            ensure!(content == ring.input, "{} differs", copy.display());
        }
    }
    Ok(())
}

fn old_clients(goldring: &Path) -> Result<()> {
    for old in 1..=3 {
        let ring = Ring::new(goldring, 3, 9 * MIB + 77)?;
        let mut lines = cookable(&ring, &["gz", "tar.gz"])?;
        lines.insert(0, "in > out".to_owned());
        ring.configure_plus(&lines.iter().map(String::as_str).collect::<Vec<_>>())?;
        let mut programs = Vec::new();
        for computer in 1..=3 {
            fs::create_dir_all(ring.home(computer).join("out.tar-gz"))?;
            programs.push(if computer == old {
                ring.start_old_plus(computer)?
            } else {
                ring.start_plus(computer, &[])?
            });
        }
        std::thread::sleep(std::time::Duration::from_millis(500));
        programs.insert(0, ring.start_plus(0, &[])?);
        all_good(&mut programs)?;
        let said = programs[0].said();
        ensure!(said.contains("an old dolly+ is in the ring"), "{said}");
        for computer in 1..=3 {
            ring.same(computer)?;
        }
        cooked(&ring, 3, &["gz", "tar.gz"])?;
    }
    Ok(())
}

fn old_server(goldring: &Path) -> Result<()> {
    let ring = Ring::new(goldring, 3, 8 * MIB)?;
    ring.configure_plus(&["in > out"])?;
    let mut programs = vec![
        ring.start_plus(1, &[])?,
        ring.start_old_plus(2)?,
        ring.start_plus(3, &[])?,
    ];
    std::thread::sleep(std::time::Duration::from_millis(500));
    programs.insert(0, ring.start_old_plus(0)?);
    all_good(&mut programs)?;
    for computer in 1..=3 {
        ring.same(computer)?;
    }
    Ok(())
}

fn absent(goldring: &Path) -> Result<()> {
    let ring = Ring::new(goldring, 6, 5 * MIB)?;
    ring.configure_plus(&["in > out"])?;
    let mut clients = vec![ring.start_plus(1, &[])?, ring.start_plus(6, &[])?];
    let mut golden = ring.start_plus(0, &["--wait", "2", "--late", "0"])?;
    golden.ends_with(1, LONG)?;
    all_good(&mut clients)?;
    let said = golden.said();
    ensure!(
        said.contains("4 of 6 clients have not got everything: n2, n3, n4, n5"),
        "{said}"
    );
    ring.same(1)?;
    ring.same(6)
}

fn dry(goldring: &Path) -> Result<()> {
    let ring = Ring::new(goldring, 3, 2 * MIB)?;
    let small = ring.home(3).join("small");
    fs::create_dir_all(ring.home(3))?;
    let device = Loop::new(&small, 1 << 20)?;
    // The same name everywhere: a file on two of them, a small disk on the third.
    for computer in 1..=2 {
        fs::create_dir_all(ring.home(computer))?;
        fs::write(ring.home(computer).join("out"), "what was there")?;
    }
    std::os::unix::fs::symlink(&device.device, ring.home(3).join("out"))?;
    ring.configure_plus(&["in > out"])?;
    let mut programs = ring.start_all_plus(&["--dry-run"])?;
    programs[0].ends_with(1, LONG)?;
    let said = programs[0].said();
    ensure!(said.contains("n1               willing"), "{said}");
    ensure!(
        said.contains("n3               FAILED: ") && said.contains("too few"),
        "{said}"
    );
    for node in &programs[1..3] {
        node.expect(
            "that was a dry run, nothing is written; waiting again",
            LONG,
        )?;
    }
    for computer in 1..=2 {
        let content = fs::read_to_string(ring.home(computer).join("out"))?;
        ensure!(content == "what was there", "{content}");
    }
    Ok(())
}

fn refused(goldring: &Path) -> Result<()> {
    let ring = Ring::new(goldring, 2, 2 * MIB)?;
    fs::create_dir_all(ring.home(2))?;
    let device = Loop::new(&ring.home(2).join("small"), 1 << 20)?;
    std::os::unix::fs::symlink(&device.device, ring.home(2).join("out"))?;
    ring.configure_plus(&["in > out"])?;
    let mut programs = ring.start_all_plus(&[])?;
    programs[0].ends_with(1, LONG)?;
    let said = programs[0].said();
    ensure!(
        said.contains("nothing was written: n2 refuses: ") && said.contains("too few"),
        "{said}"
    );
    programs[1].ends_with(1, LONG)?;
    ensure!(
        fs::read(ring.home(1).join("out"))?.is_empty(),
        "nothing was written"
    );
    // The one that refused waits for the next ring.
    programs[2].expect("waiting for the next ring", LONG)
}

fn disks(goldring: &Path) -> Result<()> {
    let ring = Ring::new(goldring, 2, 12 * MIB)?;
    let mut devices = Vec::new();
    for computer in 1..=2 {
        fs::create_dir_all(ring.home(computer))?;
        let device = Loop::new(&ring.home(computer).join("disk"), 16 << 20)?;
        std::os::unix::fs::symlink(&device.device, ring.home(computer).join("out"))?;
        devices.push(device);
    }
    ring.configure_plus(&["in > out"])?;
    let mut programs = ring.start_all_plus(&[])?;
    all_good(&mut programs)?;
    for computer in 1..=2 {
        let disk = fs::read(ring.home(computer).join("disk"))?;
        ensure!(
            disk[..ring.input.len()] == ring.input,
            "the disk of n{computer} differs"
        );
    }
    Ok(())
}

const WORDS: [&str; 6] = ["dollyS", "-v", "--in", "in", "--out", "out"];

/// The golden node without a configuration.
fn golden(ring: &Ring, goldring: &Path, more: &[&str]) -> Result<Program> {
    let goldring = goldring.to_string_lossy();
    let words = [&[&*goldring], &WORDS[..], more].concat();
    Program::start(&ring.net, 0, &ring.home(0), &words)
}

fn named(goldring: &Path) -> Result<()> {
    let ring = Ring::new(goldring, 3, 1_000_100)?;
    let mut programs = Vec::new();
    for computer in 1..=3 {
        programs.push(ring.start_plus(computer, &[])?);
    }
    for program in &programs {
        program.expect("waiting for the golden node", LONG)?;
    }
    // In the order that is given, by names or addresses.
    programs.push(golden(&ring, goldring, &["n3", "10.77.0.11", "n2"])?);
    ring.succeeds(&mut programs)?;
    let said = programs[3].said();
    ensure!(said.contains("n3 is the next adjacent host"), "{said}");
    let table: &[(&[&str], i32, &str)] = &[
        (&[], 2, "--in and --out need the nodes"),
        (&["n1", "n1"], 2, "n1 is in the list twice"),
        (&["n1", "--nodes", "2"], 2, "cannot be used with"),
        (&["-f", "dolly.cfg"], 2, "cannot be used with"),
        (
            &["--nodes", "2", "-a", "2"],
            1,
            "only 0 of 2 nodes are there after 2 s",
        ),
    ];
    for (words, code, sentence) in table {
        let mut program = golden(&ring, goldring, words)?;
        program.ends_with(*code, LONG)?;
        let said = program.said();
        ensure!(said.contains(sentence), "{words:?}: {said}");
    }
    Ok(())
}

fn found(goldring: &Path) -> Result<()> {
    let ring = Ring::new(goldring, 4, 1_000_100)?;
    let early = golden(&ring, goldring, &["--nodes", "4"])?;
    early.expect("found 0 of 4 nodes", LONG)?;
    // One that waits for dolly is as good.
    let mut programs = vec![ring.start_plus(4, &[])?, ring.start(2, &[])?];
    early.expect("found 2 of 4 nodes: 10.77.0.12 (n2), 10.77.0.14 (n4)", LONG)?;
    programs.push(ring.start_plus(1, &["--bind", "10.77.0.11"])?);
    programs.push(ring.start_plus(3, &[])?);
    programs.push(early);
    ring.succeeds(&mut programs)?;
    let said = programs[4].said();
    ensure!(said.contains("4 of 4 clones are complete"), "{said}");
    Ok(())
}

fn packs(goldring: &Path) -> Result<()> {
    const SIZE: usize = 64 * MIB;
    let ring = Ring::new(goldring, 2, 0)?;
    // Lines that are alike, and not the same.
    let mut text = String::new();
    let mut number = 1_u64;
    while text.len() < SIZE {
        number = number
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(9);
        let (user, group) = (number >> 40, number >> 52);
        text.push_str(&format!(
            "user{user:x}:x:{group}:100:/home/user{user:x}:/bin/sh\n"
        ));
    }
    fs::write(ring.home(0).join("in"), &text)?;
    for computer in 0..=2 {
        ring.net.slow(computer, "20mbit")?;
    }
    ring.configure_plus(&["in > out"])?;
    let mut programs = ring.start_all_plus(&[])?;
    all_good(&mut programs)?;
    compare_text(&ring, &text)?;
    let said = programs[0].said();
    let line = said.lines().find(|line| line.contains("zstd: "));
    let line = line.unwrap_or_default();
    eprintln!("{line}");
    ensure!(line.contains(" 3: ") || line.contains(" 6: "), "{said}");
    Ok(())
}

fn compare_text(ring: &Ring, text: &str) -> Result<()> {
    for computer in 1..=2 {
        let copy = fs::read(ring.home(computer).join("out"))?;
        ensure!(copy == text.as_bytes(), "the copy of n{computer} differs");
    }
    Ok(())
}

fn dping(goldring: &Path) -> Result<()> {
    let ring = Ring::new(goldring, 2, 1000)?;
    let client = ring.start_plus(1, &[])?;
    client.expect("waiting for the golden node", LONG)?;
    let _old = ring.start_old_plus(2)?;
    let namespace = ring.net.namespace(0);
    let ask = |hosts: &[&str]| -> Result<(bool, String)> {
        let output = Command::new("ip")
            .args(["netns", "exec", &namespace])
            .arg(goldring)
            .arg("dping")
            .args(hosts)
            .output()?;
        let said = [output.stdout, output.stderr].concat();
        Ok((
            output.status.success(),
            String::from_utf8_lossy(&said).into_owned(),
        ))
    };
    // The old one does not say when it listens.
    let start = std::time::Instant::now();
    while !ask(&["n2"])?.0 && start.elapsed() < LONG {
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let (good, said) = ask(&["-h", "n1", "n2"])?;
    ensure!(good, "{said}");
    ensure!(
        said.contains("n1 waits for a ring: I am ready to connect.[0-0-0] (-1--1) goldring/1 zstd"),
        "{said}"
    );
    ensure!(
        said.contains("n2 waits for a ring: I am ready to connect.[0-0-0] (-1--1)\n"),
        "{said}"
    );
    let (good, said) = ask(&["n1", "n0"])?;
    ensure!(!good && said.contains("n0 cannot be reached"), "{said}");
    // An old one understands ours, too.
    let path = goldring_host_tests::program::plus();
    let output = Command::new("ip")
        .args(["netns", "exec", &namespace, "python3"])
        .arg(path)
        .args(["ping", "n1"])
        .output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(said.starts_with("I am ready to connect."), "{said}");
    Ok(())
}

fn json(goldring: &Path) -> Result<()> {
    let ring = Ring::new(goldring, 2, 3 * MIB)?;
    ring.configure_plus(&["in > out"])?;
    let mut programs = ring.start_all_plus(&["--json"])?;
    all_good(&mut programs)?;
    let said = programs[0].said();
    let last = said
        .lines()
        .rfind(|line| line.starts_with('{'))
        .unwrap_or_default();
    ensure!(
        last.contains(r#""event":"end""#) && last.contains(r#""ok":true"#),
        "{said}"
    );
    ensure!(
        last.contains(r#"{"node":"n2","state":"verified","why":null}"#),
        "{said}"
    );
    Ok(())
}
