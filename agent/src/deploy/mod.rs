//! `goldring ka-d`: an installed system cloned by its files onto many nodes, whose disks are
//! partitioned for it: a session of ka after the other.

mod adopt;
mod old;
mod parcel;
mod plan;
mod sessions;
mod tally;

use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::path::PathBuf;

use anyhow::bail;
use goldring_contract::Root;
use goldring_contract::limits::{KA_SILENCE, KA_WAIT};

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
    /// So many nodes are waited for
    #[arg(short = 'n', long = "nodes", value_name = "NUMBER", default_value_t = 1,
          value_parser = clap::value_parser!(u32).range(1..=4000))]
    nodes: u32,
    #[command(flatten)]
    selection: Selection,
    /// Partition DRIVE as the desc FILE says, not as it is here; repeat it for several
    #[arg(short = 'p', long = "desc", num_args = 2, value_names = ["DRIVE", "FILE"])]
    desc: Vec<String>,
    /// Also write the boot code of DRIVE, as it is here; repeat it for several
    #[arg(short = 'm', long = "boot", value_name = "DRIVE")]
    boot: Vec<String>,
    /// Also write the boot code of FILE to DRIVE; repeat it for several
    #[arg(short = 'M', long = "boot-file", num_args = 2, value_names = ["DRIVE", "FILE"])]
    boot_file: Vec<String>,
    /// Also send this partition as it is, such as one of Windows; repeat it for several
    #[arg(short = 'D', long = "raw", value_name = "PARTITION")]
    raw: Vec<String>,
    /// The boot loader (lilo, grub, systemd-boot, extlinux), and options for mkinitrd; else
    /// the one that is here
    #[arg(short = 'r', long = "loader", value_name = "LOADER")]
    loader: Option<String>,
    /// Let the nodes go one by one at the end, so many tenths of a second apart
    #[arg(short = 'd', long, value_name = "TENTHS")]
    delay: Option<u32>,
    /// What kaopt= of these nodes says
    #[arg(short = 's', long, value_name = "NAME")]
    name: Option<String>,
    /// Clones keep machine-id, ssh host keys, leases and names of cards
    #[arg(long)]
    keep_identity: bool,
    /// Send this folder as stage 2 first, if it is there
    #[arg(long, value_name = "FOLDER", default_value = goldring_contract::paths::STAGE2_FOR_NODES)]
    data_path: PathBuf,
    /// Nodes have their stage 2 already
    #[arg(long)]
    no_stage2: bool,
    /// Wait for the nodes so long
    #[arg(long, value_name = "SECONDS", default_value_t = KA_WAIT.as_secs(),
          value_parser = clap::value_parser!(u64).range(1..))]
    timeout: u64,
    /// When the time is over, go on with those who are there
    #[arg(long)]
    partial: bool,
    /// Compress the files by zstd
    #[arg(long, value_name = "LEVEL", num_args = 0..=1, default_missing_value = "1",
          require_equals = true, value_parser = clap::value_parser!(i32).range(1..=19))]
    zstd: Option<i32>,
    /// Listen on this address only
    #[arg(long, value_name = "ADDRESS", default_value_t = Ipv4Addr::UNSPECIFIED)]
    bind: Ipv4Addr,
    /// A node that has answered nothing for so long is dead
    #[arg(long, value_name = "SECONDS", default_value_t = KA_SILENCE.as_secs(),
          value_parser = clap::value_parser!(u64).range(5..))]
    stall_timeout: u64,
    /// Show what would be done, and send nothing
    #[arg(long)]
    dry_run: bool,
    /// Say everything that happens
    #[arg(long)]
    verbose: bool,
    /// Stands for / (for tests)
    #[arg(long, default_value = "/", hide = true)]
    root: PathBuf,
}

impl Args {
    fn descs(&self) -> impl Iterator<Item = (&str, &str)> {
        pairs(&self.desc)
    }

    fn boot_files(&self) -> impl Iterator<Item = (&str, &str)> {
        pairs(&self.boot_file)
    }
}

/// Options with two values each, as clap gives them: one after the other.
fn pairs(values: &[String]) -> impl Iterator<Item = (&str, &str)> {
    values
        .chunks_exact(2)
        .map(|pair| (pair[0].as_str(), pair[1].as_str()))
}

/// Clones this system.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let root = Root::at(&args.root);
    let plan = plan::plan(&root, &mut Programs, args)?;
    let mut out = io::stdout();
    let old = old::files(&root, &plan, args);
    if args.dry_run {
        out.write_all(plan.text(&root).as_bytes())?;
        let line = match &old {
            Ok(_) => "can be cloned, too".to_owned(),
            Err(why) => format!("cannot be cloned: {why}"),
        };
        return Ok(writeln!(out, "nodes with an old stage 2: {line}")?);
    }
    let tally = sessions::run(&root, &plan, old, args)?;
    // A reader that is gone must not hide how it ended.
    let _ = out.write_all(tally.text().as_bytes());
    let mut lost: Vec<String> = tally.lost().into_iter().map(str::to_owned).collect();
    let never = usize::try_from(args.nodes)?.saturating_sub(tally.len());
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
