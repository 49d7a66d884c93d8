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

impl Fault {
    /// The golden node's.
    fn is_golden(self) -> bool {
        matches!(
            self,
            Self::GoldenKilled | Self::GoldenFrozen | Self::GoldenUnplugged | Self::GoldenReadError
        )
    }
}

/// A cell: its column, what happens, and to whom.
#[derive(Debug, Clone, Copy)]
struct Cell(&'static str, Fault, &'static [usize]);

/// To one node at each place, and to two neighbours at once.
const fn everywhere(fault: Fault) -> [Cell; 4] {
    [
        Cell("first", fault, &[1]),
        Cell("middle", fault, &[2]),
        Cell("last", fault, &[4]),
        Cell("neighbours", fault, &[2, 3]),
    ]
}

const ROWS: [(&str, &[Cell]); 9] = [
    ("killed", &everywhere(Fault::Killed)),
    ("frozen", &everywhere(Fault::Frozen)),
    ("unplugged", &everywhere(Fault::Unplugged)),
    ("rebooted", &everywhere(Fault::Rebooted)),
    ("slow", &everywhere(Fault::Slow)),
    ("full_disk", &everywhere(Fault::FullDisk)),
    ("write_error", &everywhere(Fault::WriteError)),
    (
        "golden",
        &[
            Cell("killed", Fault::GoldenKilled, &[0]),
            Cell("frozen", Fault::GoldenFrozen, &[0]),
            Cell("unplugged", Fault::GoldenUnplugged, &[0]),
            Cell("read_error", Fault::GoldenReadError, &[0]),
        ],
    ),
    ("strangers", &[Cell("everywhere", Fault::Strangers, &[])]),
];

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
pub(crate) struct Row {
    way: Way,
    name: &'static str,
    cells: &'static [Cell],
}

/// All of them.
pub(crate) fn rows() -> impl Iterator<Item = Row> {
    ROWS.into_iter().flat_map(|(name, cells)| {
        let of = move |way| Row { way, name, cells };
        WAYS.into_iter().map(of)
    })
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "fault_table_{}_{}", self.way.name(), self.name)
    }
}

impl Row {
    /// `goldring dolly` goes over to dolly+: most of what it does is seen there, too. In the old
    /// dolly a node that is started again is one that is killed.
    pub(crate) fn is_long(self) -> bool {
        match self.way {
            Way::Dolly => !["killed", "golden"].contains(&self.name),
            Way::Plus => false,
            Way::Plain => self.name == "rebooted",
        }
    }

    /// Runs all cells at the same time: mostly they wait.
    pub(crate) fn run(self, goldring: &Path) -> Result<()> {
        let seen: Vec<(&str, Result<Seen>)> = thread::scope(|scope| {
            let start =
                |cell: &'static Cell| (cell.0, scope.spawn(move || self.cell(goldring, *cell)));
            let cells: Vec<_> = self.cells.iter().map(start).collect();
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

    fn cell(self, goldring: &Path, Cell(_, fault, victims): Cell) -> Result<Seen> {
        let mut scene = Scene::new(goldring, (self.way, fault), victims)?;
        let start = scene.strike()?;
        judge::judge(&mut scene, start)
    }
}
