//! What must be true after a fault: who ends how, what it says, what is on the disks.

use std::fmt;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::scene::{NODES, Scene};
use super::{Fault, Way};

/// What was seen in a cell.
#[derive(Debug)]
pub(super) struct Seen {
    /// From the fault until somebody spoke of it.
    noticed: Option<Duration>,
    /// From the fault until the others had everything, or had ended.
    over: Duration,
    /// What became of the others.
    what: &'static str,
    /// What was said of it.
    sentence: String,
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(noticed) = self.noticed {
            write!(f, "noticed after {:.1} s, ", noticed.as_secs_f64())?;
        }
        let over = self.over.as_secs_f64();
        write!(f, "{} after {over:.1} s: {}", self.what, self.sentence)
    }
}

/// Looks until it is over, and says what was wrong.
pub(super) fn judge(scene: &mut Scene, start: Instant) -> Result<Seen> {
    match (scene.way, scene.fault) {
        (_, Fault::Slow | Fault::Strangers) => nothing_is_lost(scene, start),
        (Way::Plain, _) => everybody_ends(scene, start),
        (_, Fault::Rebooted) => comes_back(scene, start),
        (_, fault) if fault.is_golden() => golden_is_lost(scene, start),
        _ => only_they_are_lost(scene, start),
    }
}

/// How long it may take until somebody speaks of it, and until it is over.
fn limits(scene: &Scene) -> (Duration, Duration) {
    let (noticed, over) = match (scene.way, scene.fault) {
        (_, Fault::Slow | Fault::Strangers) => (60, 90),
        (_, Fault::Killed) => (2, 6),
        (Way::Plain, Fault::GoldenKilled) => (2, 6),
        // That shows when the data comes by, or at the last sync.
        (Way::Plain, Fault::GoldenReadError | Fault::FullDisk | Fault::WriteError) => (5, 8),
        (Way::Plain, _) => (8, 12),
        (_, Fault::Rebooted) => (20, 60),
        (_, fault) if fault.is_golden() => (30, 60),
        _ => (15, 40),
    };
    (Duration::from_secs(noticed), Duration::from_secs(over))
}

/// Waits until these have ended. Gives when the golden node, or whoever is asked, had said
/// one of `words`, and when all had ended.
fn watch(
    scene: &mut Scene,
    start: Instant,
    (computers, speaks, words): (&[usize], &[usize], &[String]),
) -> Result<(Option<Duration>, Duration)> {
    let (soon, limit) = limits(scene);
    let mut noticed = None;
    loop {
        if noticed.is_none() && speaks.iter().any(|&i| says(scene, i, words).is_some()) {
            noticed = Some(start.elapsed());
        }
        let mut running = Vec::new();
        for &computer in computers {
            if scene.programs[computer].is_running()? {
                running.push(computer);
            }
        }
        let now = start.elapsed();
        if running.is_empty() {
            ensure!(
                noticed.is_none_or(|at| at < soon),
                "noticed after {noticed:?}"
            );
            return Ok((noticed, now));
        }
        if now > limit {
            let said: Vec<String> = running.iter().map(|&i| all_said(scene, i)).collect();
            anyhow::bail!(
                "{running:?} still run after {limit:?}:\n{}",
                said.join("\n")
            );
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// The first line of a computer with one of these.
fn says(scene: &Scene, computer: usize, words: &[String]) -> Option<String> {
    let said = scene.programs[computer].said();
    let line = said
        .lines()
        .find(|line| words.iter().any(|w| line.contains(w)));
    line.map(str::to_owned)
}

fn all_said(scene: &Scene, computer: usize) -> String {
    let program = &scene.programs[computer];
    format!("--- {}:\n{}", program.name, program.said())
}

fn nodes_but(victims: &[usize]) -> Vec<usize> {
    (1..=NODES).filter(|node| !victims.contains(node)).collect()
}

fn ended(scene: &mut Scene, computer: usize, code: i32) -> Result<()> {
    let said = all_said(scene, 0);
    let ended = scene.programs[computer].ends_with(code, Duration::ZERO);
    ended.with_context(|| said)
}

/// All have everything.
fn nothing_is_lost(scene: &mut Scene, start: Instant) -> Result<Seen> {
    let everybody: Vec<usize> = (0..=NODES).collect();
    let (_, over) = watch(scene, start, (&everybody, &[], &[]))?;
    for computer in everybody {
        ended(scene, computer, 0)?;
    }
    for node in 1..=NODES {
        scene.has_all(node)?;
    }
    let complete = ["clones are complete".to_owned()];
    Ok(Seen {
        noticed: None,
        over,
        what: "all have everything",
        sentence: says(scene, 0, &complete).context("no summary")?,
    })
}

/// All but the victims have everything, and the golden node names these.
fn only_they_are_lost(scene: &mut Scene, start: Instant) -> Result<Seen> {
    let others = nodes_but(scene.victims);
    let words: Vec<String> = scene.victims.iter().map(|v| trouble_of(*v)).collect();
    let own = matches!(scene.fault, Fault::FullDisk | Fault::WriteError);
    let speaks = if own { scene.victims } else { &[0] };
    let words = if own {
        vec!["ing out failed".to_owned()]
    } else {
        words
    };
    let waits = [&[0], &others[..]].concat();
    let (noticed, over) = watch(scene, start, (&waits, speaks, &words))?;
    let noticed = Some(noticed.with_context(|| all_said(scene, 0))?);
    ended(scene, 0, 1)?;
    for &node in &others {
        ended(scene, node, 0)?;
        scene.has_all(node)?;
    }
    fates(scene, "verified")?;
    let sentence = says(scene, speaks[0], &words).unwrap_or_default();
    victims_end(scene)?;
    Ok(Seen {
        noticed,
        over,
        what: "the others have everything",
        sentence,
    })
}

fn trouble_of(victim: usize) -> String {
    format!("n{victim} is left out by")
}

/// The golden node's last lines: who has not got everything, and what the others are.
fn fates(scene: &Scene, good: &str) -> Result<()> {
    let said = scene.programs[0].said();
    for node in 1..=NODES {
        let fate = match scene.victims.contains(&node) {
            true => "FAILED",
            false => good,
        };
        let line = format!("n{node:<15} {fate}");
        ensure!(said.contains(&line), "no {line:?}:\n{said}");
    }
    Ok(())
}

/// A victim that can move again ends by itself, and its disk does not look bootable. A
/// ring of dolly is one of dolly+ by now: once is enough for what lasts so long.
fn victims_end(scene: &mut Scene) -> Result<()> {
    let lasts = matches!(scene.fault, Fault::Frozen | Fault::Unplugged);
    if scene.fault != Fault::Killed && !(lasts && scene.way == Way::Dolly) {
        scene.relieve()?;
        for &victim in scene.victims {
            let ended = scene.programs[victim].ends_with(1, Duration::from_secs(60));
            ended.context("the victim, once it can move again")?;
        }
    }
    for &victim in scene.victims {
        scene.is_not_bootable(victim)?;
    }
    Ok(())
}

/// All have everything, the victims later.
fn comes_back(scene: &mut Scene, start: Instant) -> Result<Seen> {
    let everybody: Vec<usize> = (0..=NODES).collect();
    let words: Vec<String> = scene.victims.iter().map(|v| trouble_of(*v)).collect();
    let (noticed, over) = watch(scene, start, (&everybody, &[0], &words))?;
    for computer in everybody {
        ended(scene, computer, 0)?;
    }
    for node in 1..=NODES {
        scene.has_all(node)?;
    }
    let said = scene.programs[0].said();
    for victim in scene.victims {
        let line = format!("n{victim:<15} verified, later than the others");
        ensure!(said.contains(&line), "no {line:?}:\n{said}");
    }
    Ok(Seen {
        noticed,
        over,
        what: "all have everything",
        sentence: says(scene, 0, &words).unwrap_or_default(),
    })
}

/// Every node ends and says that the golden node is gone.
fn golden_is_lost(scene: &mut Scene, start: Instant) -> Result<Seen> {
    let nodes: Vec<usize> = (1..=NODES).collect();
    let words = ["n0".to_owned(), "10.77.0.10".to_owned()]
        .map(|name| format!("golden node, {name}, answers no more"));
    let gave_up = ["gave up: ".to_owned()];
    let words = match scene.fault {
        Fault::GoldenReadError => &gave_up[..],
        _ => &words,
    };
    let (noticed, over) = watch(scene, start, (&nodes, &nodes, words))?;
    for &node in &nodes {
        ended(scene, node, 1)?;
        scene.is_not_bootable(node)?;
        says(scene, node, words).with_context(|| all_said(scene, node))?;
    }
    let sentence = says(scene, NODES, words).unwrap_or_default();
    if scene.fault != Fault::GoldenKilled {
        scene.relieve()?;
        scene.programs[0].ends_with(1, Duration::from_secs(60))?;
    }
    if scene.fault == Fault::GoldenReadError {
        names_the_block(scene)?;
    }
    Ok(Seen {
        noticed: Some(noticed.with_context(|| all_said(scene, 1))?),
        over,
        what: "all have ended",
        sentence,
    })
}

/// The golden node's last line says what could not be read, and where.
fn names_the_block(scene: &Scene) -> Result<String> {
    let said = scene.programs[0].said();
    let last = said.lines().last().unwrap_or_default();
    let words = [
        "goldring: reading in failed",
        "block 3",
        "cannot be read, tried 3 times: Input/output error",
    ];
    ensure!(words.iter().all(|word| last.contains(word)), "{said}");
    Ok(last.to_owned())
}

/// Nobody can be replaced: everybody ends in time, names a victim, and no disk looks
/// bootable.
fn everybody_ends(scene: &mut Scene, start: Instant) -> Result<Seen> {
    let others: Vec<usize> = (0..=NODES).filter(|i| !scene.victims.contains(i)).collect();
    let names: Vec<String> = scene.victims.iter().map(|v| format!("n{v}")).collect();
    let words = ["goldring: ".to_owned()];
    let (noticed, over) = watch(scene, start, (&others, &others, &words))?;
    let (mut sentence, mut complete) = (String::new(), 0);
    for &computer in &others {
        if scene.programs[computer].wait(Duration::ZERO)? == Some(0) {
            has_all_and_says_so(scene, computer, &names)?;
            complete += 1;
            continue;
        }
        ended(scene, computer, 1)?;
        let said = scene.programs[computer].said();
        let last = said.lines().last().unwrap_or_default();
        ensure!(
            names_one(last, &names) && last.starts_with("goldring: "),
            "n{computer} does not name {names:?}:\n{said}"
        );
        if computer > 0 {
            scene.is_not_bootable(computer)?;
        }
        sentence = last.to_owned();
    }
    match scene.fault {
        Fault::Killed | Fault::GoldenKilled => {}
        // It waits for the next ring, and knows nothing of the last one.
        Fault::Rebooted => {
            for &victim in scene.victims {
                ensure!(
                    scene.programs[victim].is_running()?,
                    "{}",
                    all_said(scene, victim)
                );
                says(scene, victim, &["waiting for the golden node".to_owned()])
                    .context("it does not wait")?;
            }
        }
        _ => {
            scene.relieve()?;
            for &victim in scene.victims {
                let ended = scene.programs[victim].ends_with(1, Duration::from_secs(30));
                ended.context("the victim, once it can move again")?;
            }
        }
    }
    if scene.fault == Fault::GoldenReadError {
        sentence = names_the_block(scene)?;
    }
    for &victim in scene.victims.iter().filter(|victim| **victim > 0) {
        scene.is_not_bootable(victim)?;
    }
    Ok(Seen {
        noticed,
        over,
        what: if complete == 0 {
            "all have ended"
        } else {
            "some had everything before, the others have ended"
        },
        sentence,
    })
}

/// How a node with a whole copy begins to tell what became of the ring.
const BUT: &str = "this copy is complete, but then: ";

/// A node had its last byte before others broke the ring, and says what became of it.
fn has_all_and_says_so(scene: &Scene, node: usize, names: &[String]) -> Result<()> {
    ensure!(
        node > 0,
        "the golden node is content:\n{}",
        all_said(scene, 0)
    );
    scene.has_all(node)?;
    if let Some(line) = says(scene, node, &[BUT.to_owned()]) {
        ensure!(names_one(&line, names), "{line}");
        return Ok(());
    }
    // Its count went up before anything broke, and that is the last that it has to do with the
    // ring. So everybody who has trouble is before it, and everybody behind it had counted.
    let behind = node..=NODES;
    ensure!(
        scene.victims.iter().all(|victim| *victim < node)
            && behind.clone().all(|node| is_content(scene, node)),
        "n{node} does not name {names:?}:\n{}",
        behind
            .map(|node| all_said(scene, node))
            .collect::<Vec<_>>()
            .join("\n")
    );
    Ok(())
}

/// A node has everything and knows of no trouble.
fn is_content(scene: &Scene, node: usize) -> bool {
    let has = |words: &str| says(scene, node, &[words.to_owned()]).is_some();
    has("cloned: ") && !has(BUT)
}

fn names_one(line: &str, names: &[String]) -> bool {
    let mut words = line.split(|c: char| !c.is_alphanumeric());
    words.any(|word| names.iter().any(|name| name == word))
}
