//! `goldring ka-d`: an installed system cloned by its files onto many nodes, whose disks are
//! partitioned for it: a session of ka after the other.

mod adopt;
mod golden;
mod old;
mod options;
mod parcel;
mod plan;
mod sessions;
mod tally;

pub(crate) use golden::{Golden, GoldenDisk, Wanted, look};
pub(crate) use old::Files;
pub(crate) use options::{Course, Shape};
pub(crate) use plan::{Plan, contents, plan};
pub(crate) use sessions::{Streams, source};

use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::bail;
use goldring_contract::Root;

use self::sessions::Live;
use crate::files::Selection;
use crate::tools::run::Programs;

/// Bytes of boot code in a first sector: what is before the disk's identifier, which the
/// partition table needs. Old programs copied 446 and the identifier with it.
pub(crate) const BOOT_CODE: usize = 440;

const EXAMPLES: &str = "\
Examples:
  goldring ka-d -n 3                     this system onto 3 nodes, partitioned as here
  goldring ka-d -n 3 --dry-run           show what would become of each
  goldring ka-d -n 3 -p sda desc         partitioned as the file desc says
  goldring ka-d -n 3 -x /scratch -X sdb  without a folder's content and a disk
  goldring ka-d -n 3 -D sda1 -r lilo -d 20
                                         with a raw partition and lilo; nodes
                                         restart 2 s apart
  Nodes boot with rescue kamethod, and with method:ka if stage 2 comes from here.

Exit status: 0 every node is complete and bootable, 1 it failed, 2 wrong options.";

/// Options of `goldring ka-d`; the letters are those of ka-deploy.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    course: Course,
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    shape: Shape,
    /// Also send this partition as it is, such as one of Windows; repeat it for several
    #[arg(short = 'D', long = "raw", value_name = "PARTITION")]
    raw: Vec<String>,
    /// Compress the files by zstd
    #[arg(long, value_name = "LEVEL", num_args = 0..=1, default_missing_value = "1",
          require_equals = true, value_parser = clap::value_parser!(i32).range(1..=19))]
    zstd: Option<i32>,
    /// Show what would be done, and send nothing
    #[arg(long)]
    dry_run: bool,
    /// Stands for / (for tests)
    #[arg(long, default_value = "/", hide = true)]
    root: PathBuf,
}

/// Clones this system.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let root = Root::at(&args.root);
    let described: Vec<String> = args.shape.descs().map(|(drive, _)| drive).collect();
    let wanted = Wanted {
        selection: &args.selection,
        raw: &args.raw,
        described: &described,
    };
    let golden = look(&root, &mut Programs, &wanted)?;
    let plan = plan(golden, &args.shape, &args.course)?;
    let old = old::files(&root, &plan, (&args.shape, &args.raw));
    if args.dry_run {
        let mut out = io::stdout();
        out.write_all(plan.text().as_bytes())?;
        let line = match &old {
            Ok(_) => "can be cloned, too".to_owned(),
            Err(why) => format!("cannot be cloned: {why}"),
        };
        return Ok(writeln!(out, "nodes with an old stage 2: {line}")?);
    }
    let live = Live {
        root: &root,
        plan: &plan,
        level: args.zstd,
    };
    deploy(&plan, old, &args.course, &live)
}

/// Sends a plan and its streams to the nodes, and tells how each fared. `old` is what old
/// nodes read, or why they cannot take part.
///
/// # Errors
/// A node has no clone; which, and what to do.
pub(crate) fn deploy(
    plan: &Plan,
    old: Result<Files, String>,
    course: &Course,
    streams: &dyn Streams,
) -> anyhow::Result<()> {
    let tally = sessions::run(plan, old, course, streams)?;
    // A reader that is gone must not hide how it ended.
    let _ = io::stdout().write_all(tally.text().as_bytes());
    let mut lost: Vec<String> = tally.lost().into_iter().map(str::to_owned).collect();
    let never = usize::try_from(course.nodes)?.saturating_sub(tally.len());
    if never > 0 {
        lost.push(format!("{never} never came"));
    }
    if !lost.is_empty() {
        bail!(
            "not every node is complete: {}; look at their screens, then start again with them alone",
            lost.join(", ")
        );
    }
    Ok(())
}
