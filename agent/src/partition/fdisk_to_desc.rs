//! `fdisk_to_desc`: the desc of a disk as it is.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use goldring_contract::Root;
use goldring_disk::describe::{to_gpt, to_old};
use goldring_disk::target::decimal;
use goldring_disk::users;

use super::Disk;
use super::survey::survey;

const EXAMPLES: &str = "\
Examples:
  fdisk_to_desc > desc             the only disk of this computer
  fdisk_to_desc /dev/sda > desc    one of several
  fdisk_to_desc -o descs           all disks: descs/sda.desc, descs/sdb.desc
  fdisk_to_desc --old /dev/sda     words that programs before goldring read
  fdisk_to_desc --gpt /dev/sda     for a gpt table, though this disk has none

The desc makes the same partitions on the same disk; on a larger one the last
of them fills the rest. goldring partition --dry-run shows what comes of it.";

/// Options of `fdisk_to_desc`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Write one file for each disk into this folder
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Write only what programs before goldring read; the rest in comments
    #[arg(long, conflicts_with = "gpt")]
    old: bool,
    /// Describe a gpt table, also where the disk has another
    #[arg(long)]
    gpt: bool,
    /// Bytes of a sector of a disk that is a file: 512 or 4096
    #[arg(long, default_value = "512", value_name = "BYTES", value_parser = ["512", "4096"])]
    #[arg(hide_default_value = true, hide_possible_values = true)]
    sector_size: String,
    /// The disks; all when there are none
    #[arg(value_name = "DISK")]
    disks: Vec<PathBuf>,
}

/// Prints the desc, or writes one file for each disk.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let root = Root::system();
    let disks = disks(&root, args)?;
    let names: Vec<String> = disks
        .iter()
        .map(|disk| disk.path.display().to_string())
        .collect();
    if let ([_, _, ..], None) = (&disks[..], &args.output) {
        bail!(
            "there are several disks: {}; name one, or write -o DIR for a file each",
            names.join(", ")
        );
    }
    let mut texts = Vec::new();
    for disk in &disks {
        let text = text(&root, disk, args).with_context(|| disk.path.display().to_string())?;
        texts.push((disk, text));
    }
    match &args.output {
        None => texts.iter().for_each(|(_, text)| print!("{text}")),
        Some(folder) => {
            fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
            for (disk, text) in texts {
                save(folder, disk, &text)?;
            }
        }
    }
    Ok(())
}

/// Those that were named, or all that have a partition table.
fn disks(root: &Root, args: &Args) -> anyhow::Result<Vec<Disk>> {
    let sector_size = args.sector_size.parse().unwrap_or(512);
    if !args.disks.is_empty() {
        let disks = args.disks.iter();
        return disks
            .map(|disk| Disk::open(root, disk, sector_size))
            .collect();
    }
    let mut found = Vec::new();
    for (name, _) in users::disks(root) {
        let path = PathBuf::from(format!("/dev/{name}"));
        // A drive without a disk, or one that only answers to other programs.
        let Ok(disk) = Disk::open(root, &path, sector_size) else {
            continue;
        };
        if matches!(disk.table(root), Ok(None)) {
            eprintln!("{} has no partition table and is left out", path.display());
        } else {
            found.push(disk);
        }
    }
    if found.is_empty() {
        bail!("no disk with a partition table is here; name one, such as fdisk_to_desc /dev/sda");
    }
    Ok(found)
}

fn save(folder: &Path, disk: &Disk, text: &str) -> anyhow::Result<()> {
    let name = disk.path.file_name().unwrap_or(disk.path.as_os_str());
    let path = folder.join(format!("{}.desc", name.to_string_lossy()));
    let shown = path.display();
    let file = OpenOptions::new().write(true).create_new(true).open(&path);
    let mut file = match file {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            bail!("{shown} exists and is not overwritten; remove it, or write another -o")
        }
        other => other.with_context(|| format!("making {shown}"))?,
    };
    file.write_all(text.as_bytes())
        .with_context(|| format!("writing {shown}"))?;
    eprintln!("{} is described in {shown}", disk.path.display());
    Ok(())
}

fn text(root: &Root, disk: &Disk, args: &Args) -> anyhow::Result<String> {
    let described = survey(root, disk)?;
    let geometry = disk.geometry;
    let mut text = format!(
        "# {}: {}, sectors of {} bytes\n",
        disk.path.display(),
        decimal(geometry.sectors * u64::from(geometry.sector_size)),
        geometry.sector_size
    );
    for note in &described.notes {
        eprintln!("{}: {note}", disk.path.display());
        text.push_str(&format!("# {note}\n"));
    }
    let desc = &described.desc;
    text.push_str(&match (args.old, args.gpt) {
        (true, _) => to_old(desc)?,
        (_, true) => to_gpt(desc)?.to_string(),
        _ => desc.to_string(),
    });
    Ok(text)
}
