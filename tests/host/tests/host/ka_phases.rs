//! `goldring ka-d` and its nodes, killed in each phase, and tools that hang: the others
//! finish, nothing starts from the disk of the dead one, and the golden node says who and
//! why. Each story prints what it saw; `docs/guide/faults.md` is written from that.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use goldring_host_tests::program::{Program, Signal};

use crate::Story;
use crate::ka_deploy::{GOLDEN, Lab, WORK};

pub(crate) const STORIES: &[Story] = &[
    ("ka_d_nodes_die_while_disks_are_made", making),
    ("ka_d_nodes_die_while_data_comes", copying),
    ("ka_d_nodes_die_while_clones_are_made_bootable", finishing),
    ("ka_d_golden_dies_before_disks_are_made", before_disks),
    ("ka_d_golden_dies_before_files", before_files),
    ("ka_d_golden_dies_in_the_middle_of_files", amid_files),
    ("ka_d_golden_dies_before_a_partition", before_partition),
    ("ka_d_golden_dies_while_nodes_finish", while_finishing),
    ("ka_d_golden_dies_at_the_end", at_the_end),
    ("ka_d_tools_that_hang_are_ended_and_named", hanging),
];

/// So many bytes of the first sector are code.
const CODE: usize = 440;
/// A small file system's worth.
const FILE: usize = 3 << 20;

/// Where a node dies, in which session the golden node misses it, and what its disk is then.
#[derive(Debug, Clone, Copy)]
struct Death(&'static str, Session, Left);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Session {
    Disks,
    Files,
    Partition,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    /// Nothing was written to it.
    AsItWas,
    /// Nothing starts from it.
    Dead,
}

fn making(goldring: &Path) -> Result<()> {
    let deaths = [
        Death("partition", Session::Disks, Left::AsItWas),
        Death("mkfs", Session::Disks, Left::Dead),
        Death("mount", Session::Disks, Left::Dead),
    ];
    nodes_die(goldring, &deaths, false)
}

fn copying(goldring: &Path) -> Result<()> {
    let deaths = [
        Death("files", Session::Files, Left::Dead),
        Death("half of the files", Session::Files, Left::Dead),
        Death("raw partition", Session::Partition, Left::Dead),
    ];
    nodes_die(goldring, &deaths, true)
}

fn finishing(goldring: &Path) -> Result<()> {
    let deaths = [
        Death("device names", Session::Files, Left::Dead),
        Death("identity", Session::Files, Left::Dead),
        Death("initramfs", Session::Files, Left::Dead),
        Death("boot loader", Session::Files, Left::Dead),
    ];
    nodes_die(goldring, &deaths, false)
}

/// Node 1 lives; each of the others dies somewhere else, all in one run.
fn nodes_die(goldring: &Path, deaths: &[Death], with_partition: bool) -> Result<()> {
    let count = deaths.len() + 1;
    let mut lab = Lab::new(goldring, &vec![GOLDEN; count], FILE)?;
    let old = bootable_before(&lab)?;
    let (raw, wanted) = (lab.raw_partition(), count.to_string());
    let mut options = vec!["-n", &wanted, "--name", "lab", "--no-stage2"];
    if with_partition {
        options.extend(["-D", &raw]);
    }
    let mut golden = lab.deploy(&options)?;
    let places = deaths
        .iter()
        .map(|death| format!("export GOLDRING_KILL='{}'", death.0));
    for (number, before) in std::iter::once(String::new()).chain(places).enumerate() {
        let node = lab.node(number + 1, &before)?;
        lab.programs.push(node);
    }
    golden.ends_with(1, WORK)?;
    let said = golden.said();
    let sum = format!("1 of {count} nodes are complete and bootable");
    ensure!(said.contains(&sum), "{said}");
    lab.programs[0].ends_with(0, WORK)?;
    match with_partition {
        true => lab.is_whole(1)?,
        false => lab.has_files(1)?,
    }
    for (number, Death(place, session, left)) in (2..).zip(deaths) {
        lab.programs[number - 1].expect(&format!("killed at {place:?}"), WORK)?;
        let session = match session {
            Session::Disks => "partitions and file systems",
            Session::Files => "files",
            Session::Partition => &raw,
        };
        let why = fate(&said, number)?;
        let begin = format!("not complete: {session}: ");
        ensure!(why.starts_with(&begin), "{place}: {why}");
        let first: [u8; CODE] = lab.first(number)?;
        let expected = match left {
            Left::AsItWas => old,
            Left::Dead => [0; CODE],
        };
        ensure!(first == expected, "{place}: something starts from its disk");
        eprintln!("a node dies at {place:?}: {why}; its disk: {left:?}");
    }
    Ok(())
}

/// Gives each node's disk something that starts.
fn bootable_before(lab: &Lab) -> Result<[u8; CODE]> {
    let code = [0x90; CODE];
    for disk in &lab.nodes {
        let file = OpenOptions::new().write(true).open(&disk.device)?;
        file.write_all_at(&code, 0)?;
        file.sync_all()?;
    }
    Ok(code)
}

/// What the golden node says of a node in the end.
fn fate(said: &str, number: usize) -> Result<String> {
    let begin = format!("n{number} (10.77.0.{}): ", number + 10);
    let line = said.lines().find_map(|line| line.strip_prefix(&begin));
    Ok(line.with_context(|| format!("{begin}? {said}"))?.to_owned())
}

/// Two nodes, and a golden node that dies where `place` says; it has ended.
fn golden_dies(goldring: &Path, place: &str, options: &[&str]) -> Result<(Lab, [u8; CODE])> {
    let mut lab = Lab::new(goldring, &[GOLDEN; 2], FILE)?;
    let old = bootable_before(&lab)?;
    let place = place.replace("RAW", &lab.raw_partition());
    let options: Vec<String> = options
        .iter()
        .map(|option| option.replace("RAW", &lab.raw_partition()))
        .collect();
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let usual = ["-n", "2", "--name", "lab", "--no-stage2"];
    let before = format!("export GOLDRING_KILL='{place}'");
    let mut golden = lab.deploy_with(&before, &[&usual[..], &options].concat())?;
    for number in [1, 2] {
        let node = lab.node(number, "")?;
        lab.programs.push(node);
    }
    let ended = golden.wait(WORK)?;
    ensure!(ended.is_none(), "{ended:?}: {}", golden.said());
    Ok((lab, old))
}

/// Both nodes wait for a session that nobody opens, with disks from which this starts.
fn both_wait(lab: &mut Lab, session: &str, code: [u8; CODE]) -> Result<()> {
    for number in [1, 2] {
        let program = &mut lab.programs[number - 1];
        let looks = format!("looking for the ka server of session {session}");
        program.expect(&looks, WORK)?;
        ensure!(program.is_running()?, "{}", program.said());
        let first: [u8; CODE] = lab.first(number)?;
        ensure!(
            first == code,
            "n{number}: something else starts from its disk"
        );
    }
    eprintln!("both nodes look for session {session}");
    Ok(())
}

fn before_disks(goldring: &Path) -> Result<()> {
    // It dies before it can be found, so the nodes' disks are never touched.
    let (mut lab, old) = golden_dies(goldring, "partitions and file systems", &[])?;
    both_wait(&mut lab, "lab1", old)
}

fn before_files(goldring: &Path) -> Result<()> {
    let (mut lab, _) = golden_dies(goldring, "files", &[])?;
    both_wait(&mut lab, "lab2", [0; CODE])
}

fn amid_files(goldring: &Path) -> Result<()> {
    let (lab, _) = golden_dies(goldring, "half of the files", &[])?;
    let begin = Instant::now();
    for number in [1, 2] {
        let program = &lab.programs[number - 1];
        program.expect("goldring: this try failed: ", WORK)?;
        let said = program.said();
        let why = said.lines().rfind(|line| line.contains("this try failed"));
        eprintln!(
            "n{number} after {:.1?}: {}",
            begin.elapsed(),
            why.unwrap_or_default()
        );
        let first: [u8; CODE] = lab.first(number)?;
        ensure!(first == [0; CODE], "n{number}: half a clone looks bootable");
    }
    Ok(())
}

fn before_partition(goldring: &Path) -> Result<()> {
    let (mut lab, _) = golden_dies(goldring, "RAW", &["-D", "RAW"])?;
    both_wait(&mut lab, "lab3", [0; CODE])
}

/// The nodes have all files and only their own work is left: they do it.
fn while_finishing(goldring: &Path) -> Result<()> {
    let mut lab = Lab::new(goldring, &[GOLDEN; 2], FILE)?;
    bootable_before(&lab)?;
    // It waits until the story lets it go on.
    let tool = lab.system().join("usr/sbin/update-initramfs");
    let script = fs::read_to_string(&tool)?;
    let gate = "read go < /dev/disk/go";
    fs::write(
        &tool,
        script.replace("set -e\n", &format!("set -e\n{gate}\n")),
    )?;
    let mut golden = lab.deploy(&["-n", "2", "--name", "lab", "--no-stage2"])?;
    for number in [1, 2] {
        let go = lab.home(number).join("go");
        // In a folder of the node that its clone sees, too.
        let before = format!(
            "mkfifo /dev/disk/go\n\
             (while ! [ -e {} ]; do sleep 0.1; done; echo > /dev/disk/go) > /dev/null 2>&1 &",
            go.display()
        );
        let node = lab.node(number, &before)?;
        lab.programs.push(node);
    }
    for program in &lab.programs {
        program.expect("step: initramfs", WORK)?;
    }
    golden.signal(Signal::KILL)?;
    golden.wait(WORK)?;
    // They notice, and are not stopped by it.
    thread::sleep(Duration::from_secs(1));
    for number in [1, 2] {
        ensure!(lab.programs[number - 1].is_running()?);
        fs::write(lab.home(number).join("go"), "")?;
    }
    for number in [1, 2] {
        let program = &mut lab.programs[number - 1];
        program.ends_with(0, WORK)?;
        program.expect("goldring: done: ", Duration::ZERO)?;
        program.expect("but then: the server is gone", Duration::ZERO)?;
        lab.has_files(number)?;
    }
    eprintln!("both nodes are complete and bootable without the golden node");
    Ok(())
}

fn at_the_end(goldring: &Path) -> Result<()> {
    let (mut lab, _) = golden_dies(goldring, "the end", &["-d", "1"])?;
    let mut code = [0; CODE];
    code[..5].copy_from_slice(b"GRUB\n");
    both_wait(&mut lab, "lab3", code)?;
    (1..=2).try_for_each(|number| lab.has_files(number))
}

/// One node whose mkfs hangs, and one whose boot loader does.
fn hanging(goldring: &Path) -> Result<()> {
    let mut lab = Lab::new(goldring, &[GOLDEN; 3], FILE)?;
    bootable_before(&lab)?;
    let pipe = lab.system().join("pipe");
    ensure!(Command::new("mkfifo").arg(&pipe).status()?.success());
    let grub = lab.system().join("usr/sbin/grub-install");
    let script = fs::read_to_string(&grub)?;
    let hang = "[ -z \"$HANGS\" ] || { echo looking at the disk; read x < /pipe; }";
    fs::write(
        &grub,
        script.replace("set -e\n", &format!("set -e\n{hang}\n")),
    )?;
    let mut golden = lab.deploy(&["-n", "3", "--name", "lab", "--no-stage2"])?;
    let mkfs = "echo '#!/bin/sh' > /run/mkfs; echo 'exec sleep 1000' >> /run/mkfs; chmod +x /run/mkfs\n\
                mount --bind /run/mkfs \"$(readlink -f \"$(command -v mkfs.ext4)\")\"";
    let limit = "export GOLDRING_TOOL_LIMIT=20";
    for (number, before) in [
        (1, String::new()),
        (2, format!("{limit}\n{mkfs}")),
        (3, format!("{limit} HANGS=yes")),
    ] {
        let node = lab.node(number, &before)?;
        lab.programs.push(node);
    }
    golden.ends_with(1, WORK)?;
    let said = golden.said();
    for (number, parts) in [
        (1, &["complete and bootable"][..]),
        (
            2,
            &[
                "partitions and file systems: ",
                "mke2fs ",
                " did not end within 20 s",
            ],
        ),
        (
            3,
            &[
                "files: step: boot loader: chroot ",
                "grub-install",
                " did not end within 20 s",
                "looking at the disk",
            ],
        ),
    ] {
        let why = fate(&said, number)?;
        for part in parts {
            ensure!(why.contains(part), "{part}: {why}");
        }
        eprintln!("n{number}: {why}");
    }
    for (number, tool) in [(2, "mke2fs "), (3, "chroot ")] {
        let program: &Program = &lab.programs[number - 1];
        program.expect(&format!("still running after 10 s: {tool}"), Duration::ZERO)?;
        let first: [u8; CODE] = lab.first(number)?;
        if first != [0; CODE] {
            bail!("n{number}: something starts from its disk");
        }
    }
    lab.programs[0].ends_with(0, WORK)?;
    lab.has_files(1)
}
