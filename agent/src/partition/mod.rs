//! `partition`: disks made as their desc files say. A plan is computed and shown first;
//! nothing is destroyed that does not fit, and no disk that somebody uses.

pub(crate) mod apply;
mod disk;
pub(crate) mod fdisk_to_desc;
mod nodes;
mod plan;
mod stack;
pub(crate) mod survey;
#[cfg(test)]
mod tests;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use goldring_contract::Root;
use goldring_disk::desc::Desc;

use crate::fault::Usage;
use crate::tools::run::Programs;
pub(crate) use disk::Disk;
pub(crate) use plan::Plan;

const EXAMPLES: &str = "\
Examples:
  partition --desc desc --dry-run /dev/sda   show what would be, and what is lost
  partition --desc desc --yes /dev/sda       do it: everything on it is lost
  partition --desc a --desc b --yes /dev/sda /dev/sdb
                                             two disks, perhaps with a RAID on both

fdisk_to_desc prints the desc of a disk. An example:
  linux 3500 fs=ext4
  extended fill
  logical swap 500
  logical linux fill fs=xfs label=var";

/// Options of `partition`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
#[command(group = clap::ArgGroup::new("decision").required(true))]
pub(crate) struct Args {
    /// The desc file, one for each disk, in the same order
    #[arg(short, long, required = true, value_name = "FILE")]
    desc: Vec<PathBuf>,
    /// Show what would be done, and write nothing
    #[arg(short = 'n', long, group = "decision")]
    dry_run: bool,
    /// Do it. Everything on the disks is lost
    #[arg(long, group = "decision")]
    yes: bool,
    /// Bytes of a sector of a disk that is a file: 512 or 4096
    #[arg(long, default_value = "512", value_name = "BYTES", value_parser = ["512", "4096"])]
    #[arg(hide_default_value = true, hide_possible_values = true)]
    sector_size: String,
    /// The disks, or files that are images of disks
    #[arg(required = true, value_name = "DISK")]
    disks: Vec<PathBuf>,
}

/// Shows the plan, or carries it out.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let root = Root::system();
    let plans = plans(&root, args)?;
    for plan in &plans {
        print!("{}", plan.text());
    }
    let stack = stack::of(&plans)?;
    stack.notes.iter().for_each(|note| println!("note: {note}"));
    if args.dry_run {
        return plans
            .iter()
            .try_for_each(|plan| plan.disk.refuse_users(&root));
    }
    apply::apply(&root, &mut Programs, &plans, &mut |line| {
        eprintln!("{line}")
    })
}

fn plans(root: &Root, args: &Args) -> anyhow::Result<Vec<Plan>> {
    if args.desc.len() != args.disks.len() {
        return Err(Usage(format!(
            "there are {} desc files for {} disks; write --desc once for each disk",
            args.desc.len(),
            args.disks.len()
        ))
        .into());
    }
    let sector_size = args.sector_size.parse().unwrap_or(512);
    let pairs = args.desc.iter().zip(&args.disks);
    let plan = |(desc, disk): (&PathBuf, &PathBuf)| -> anyhow::Result<Plan> {
        let desc_of = read(desc)?;
        let disk = Disk::open(root, disk, sector_size)?;
        Plan::new(disk, desc_of).with_context(|| desc.display().to_string())
    };
    pairs.map(plan).collect()
}

/// The longest file that is taken for a desc.
const LONGEST_DESC: u64 = 4 << 20;

/// Reads a desc file.
///
/// # Errors
/// It cannot be read, is too long, or has a mistake, with its line.
pub(crate) fn read(path: &Path) -> anyhow::Result<Desc> {
    let shown = path.display();
    let length = fs::metadata(path)
        .with_context(|| format!("looking at {shown}"))?
        .len();
    if length > LONGEST_DESC {
        anyhow::bail!(
            "{shown} has {length} bytes, which is no desc; name the file that fdisk_to_desc printed"
        );
    }
    let bytes = fs::read(path).with_context(|| format!("reading {shown}"))?;
    let text = String::from_utf8(bytes).map_err(|_| {
        anyhow::anyhow!("{shown} is no text in UTF-8; name the file that fdisk_to_desc printed")
    })?;
    Desc::parse(&text).with_context(|| shown.to_string())
}
