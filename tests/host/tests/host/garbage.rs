//! Nonsense at every moment: while nodes wait, while the ring is built, while data moves, at
//! the end. From a stranger, and from a computer that is in the list.

use std::path::Path;

use anyhow::{Context, Result};
use goldring_host_tests::program::{Program, stranger};
use goldring_host_tests::ring::{LONG, Ring};

use crate::Story;

pub(crate) const STORIES: &[Story] = &[
    ("garbage_at_every_moment_of_dolly", dolly),
    ("garbage_at_every_moment_of_dolly_plus", plus),
    ("garbage_at_every_moment_of_an_old_ring", plain),
];

/// So many rings, one after the other: each is hit by something else at each moment.
const RINGS: usize = 4;
const NODES: usize = 3;

fn dolly(goldring: &Path) -> Result<()> {
    rings(goldring, |ring, computer| match computer {
        0 => ring.start_with(0, &["-s", "-f", "dolly.cfg"]),
        _ => ring.start(computer, &[]),
    })
}

fn plus(goldring: &Path) -> Result<()> {
    rings(goldring, |ring, computer| {
        if computer == 0 {
            let files = "iofiles 1\nin > out\n";
            ring.configure_as(&(files.to_owned() + &hosts()))?;
        }
        ring.start_plus(computer, &[])
    })
}

fn plain(goldring: &Path) -> Result<()> {
    rings(goldring, |ring, computer| ring.start(computer, &[]))
}

fn hosts() -> String {
    let names: String = (1..=NODES).map(|node| format!("n{node}\n")).collect();
    format!("server n0\nfirstclient n1\nlastclient n{NODES}\nclients {NODES}\n{names}endconfig\n")
}

/// Runs rings while others pester everybody; each comes to its end.
fn rings(goldring: &Path, start: impl Fn(&Ring, usize) -> Result<Program>) -> Result<()> {
    let ring = Ring::new(goldring, NODES + 1, 3 << 20)?;
    ring.configure_as(&format!("infile in\noutfile out\n{}", hosts()))?;
    // In dolly a node knows the one before it by its address, so what else that computer sends
    // cannot be told from it: the pest is the last one, who feeds nobody.
    let pests = [
        pest(&ring, NODES + 1, "--scan")?,
        pest(&ring, NODES, "--listed")?,
    ];
    for number in 0..RINGS {
        let mut programs = Vec::new();
        for node in 1..=NODES {
            programs.push(start(&ring, node)?);
        }
        programs.insert(0, start(&ring, 0)?);
        for computer in 0..=NODES {
            let ended = programs[computer].ends_with(0, LONG);
            ended.with_context(|| format!("ring {number}\n{}", all_said(&programs)))?;
        }
        for node in 1..=NODES {
            ring.same(node)?;
            std::fs::remove_file(ring.home(node).join("out"))?;
        }
    }
    drop(pests);
    Ok(())
}

/// What everybody has said of the ring.
fn all_said(programs: &[Program]) -> String {
    let mut all = String::new();
    for program in programs {
        let said = program.said();
        let lines = said.lines().filter(|line| !line.ends_with("it is dropped"));
        all += &format!(
            "--- {}:\n{}\n",
            program.name,
            lines.collect::<Vec<_>>().join("\n")
        );
    }
    all
}

fn pest(ring: &Ring, from: usize, option: &str) -> Result<Program> {
    let path = stranger().to_string_lossy().into_owned();
    let mut words = vec!["python3", path.as_str(), "--forever", option];
    let names: Vec<String> = (0..=NODES).map(|node| format!("n{node}")).collect();
    words.extend(names.iter().map(String::as_str));
    let folder = ring.home(from).join("stranger");
    let program = Program::start(&ring.net, from, &folder, &words)?;
    program.expect("pestering", LONG)?;
    Ok(program)
}
