//! The fault table: every fault at every place of a ring, for each way of cloning. A row
//! is a trial; its cells run side by side, each in a network of its own, and each prints
//! what it saw. `docs/guide/faults.md` is written from that.

mod judge;
mod scene;

use std::fmt;
use std::path::Path;
use std::thread;

use anyhow::{Result, bail};

use judge::Seen;
use scene::Scene;

/// How the ring clones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// `goldring dolly`, which goes over to dolly+ among goldring.
    Dolly,
    /// `goldring dollyS` and `dollyC`.
    Plus,
    /// `goldring dolly --plain`: what old dolly speaks, in which nobody can be replaced.
    Plain,
}

const WAYS: [Way; 3] = [Way::Dolly, Way::Plus, Way::Plain];

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Killed,
    Frozen,
    Unplugged,
    Rebooted,
    Slow,
    FullDisk,
    WriteError,
    GoldenKilled,
    GoldenFrozen,
    GoldenUnplugged,
    GoldenReadError,
    Strangers,
}

const FAULTS: [Fault; 12] = [
    Fault::Killed,
    Fault::Frozen,
    Fault::Unplugged,
    Fault::Rebooted,
    Fault::Slow,
    Fault::FullDisk,
    Fault::WriteError,
    Fault::GoldenKilled,
    Fault::GoldenFrozen,
    Fault::GoldenUnplugged,
    Fault::GoldenReadError,
    Fault::Strangers,
];

/// The columns: a name, and the computers that it happens to.
type Column = (&'static str, &'static [usize]);

const NODES: [Column; 4] = [
    ("first", &[1]),
    ("middle", &[2]),
    ("last", &[4]),
    ("neighbours", &[2, 3]),
];
const GOLDEN: [Column; 1] = [("golden", &[0])];
const EVERYBODY: [Column; 1] = [("everybody", &[])];

impl Fault {
    fn columns(self) -> &'static [Column] {
        match self {
            Self::GoldenKilled
            | Self::GoldenFrozen
            | Self::GoldenUnplugged
            | Self::GoldenReadError => &GOLDEN,
            Self::Strangers => &EVERYBODY,
            _ => &NODES,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Killed => "killed",
            Self::Frozen => "frozen",
            Self::Unplugged => "unplugged",
            Self::Rebooted => "rebooted",
            Self::Slow => "slow",
            Self::FullDisk => "full_disk",
            Self::WriteError => "write_error",
            Self::GoldenKilled => "golden_killed",
            Self::GoldenFrozen => "golden_frozen",
            Self::GoldenUnplugged => "golden_unplugged",
            Self::GoldenReadError => "golden_read_error",
            Self::Strangers => "strangers",
        }
    }
}

impl Way {
    fn name(self) -> &'static str {
        match self {
            Self::Dolly => "dolly",
            Self::Plus => "dolly_plus",
            Self::Plain => "plain",
        }
    }
}

/// A row of one way's table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row(Way, Fault);

/// All of them.
pub(crate) fn rows() -> impl Iterator<Item = Row> {
    let of = |fault| WAYS.into_iter().map(move |way| Row(way, fault));
    FAULTS.into_iter().flat_map(of)
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "fault_table_{}_{}", self.0.name(), self.1.name())
    }
}

impl Row {
    /// Runs all cells at the same time: mostly they wait.
    pub(crate) fn run(self, goldring: &Path) -> Result<()> {
        let seen: Vec<(&str, Result<Seen>)> = thread::scope(|scope| {
            let cells = self.1.columns().iter();
            let cells: Vec<_> = cells
                .map(|column| (column.0, scope.spawn(|| self.cell(goldring, column.1))))
                .collect();
            let crashed = |_| Err(anyhow::anyhow!("the cell crashed"));
            let ended = cells
                .into_iter()
                .map(|(name, cell)| (name, cell.join().unwrap_or_else(crashed)));
            ended.collect()
        });
        let mut wrong = Vec::new();
        for (column, result) in seen {
            match result {
                Ok(seen) => eprintln!("{self}_{column}: {seen}"),
                Err(error) => wrong.push(format!("{column}: {error:#}")),
            }
        }
        if wrong.is_empty() {
            return Ok(());
        }
        bail!("{}", wrong.join("\n"));
    }

    fn cell(self, goldring: &Path, victims: &'static [usize]) -> Result<Seen> {
        let Self(way, fault) = self;
        let mut scene = Scene::new(goldring, (way, fault), victims)?;
        let start = scene.strike()?;
        judge::judge(&mut scene, start)
    }
}
