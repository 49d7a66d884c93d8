//! `goldring store`: a golden node kept as files, and deployed when it is no more.

mod kept;
mod list;
mod remove;
mod save;
mod send;
mod verify;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use goldring_contract::calendar;
use goldring_files::store::{Image, Kind, PIECE, kind};
use goldring_files::text::shown;

use crate::deploy::{Course, Shape};
use crate::files::Selection;

const EXAMPLES: &str = "\
Examples:
  goldring store save /srv/images/lab --description 'Debian 12, spring'
                                    keep this system as the image lab
  goldring store send /srv/images/lab -n 30
                                    onto 30 nodes, from wherever that folder is
  goldring store list /srv/images   which images are there
  goldring store verify /srv/images read all of them, name what is damaged
  goldring store rm /srv/images/lab";

/// Options of `goldring store`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum What {
    /// Keep this system as an image: a folder
    Save(SaveArgs),
    /// Deploy an image onto nodes, as ka-d does a running system
    Send(Box<SendArgs>),
    /// List the images in a folder, or tell all about one
    List(ListArgs),
    /// Read every byte of images; exit status 1 if one is damaged
    Verify(VerifyArgs),
    /// Remove images, and what an interrupted save has left
    Rm(RemoveArgs),
}

const SAVE_EXAMPLES: &str = "\
Examples:
  goldring store save /srv/images/lab --dry-run     what would be kept
  goldring store save /srv/images/lab -x /scratch   without a folder's content
  goldring store save /mnt/usb/lab -D sda1          with a raw partition of Windows

Exit status: 0 the image is whole and was read again, 1 it failed and nothing of
it stays, 2 wrong options.";

#[derive(Debug, Clone, clap::Args)]
#[command(after_help = SAVE_EXAMPLES)]
struct SaveArgs {
    /// The image: a folder that is not there yet, in one that is
    #[arg(value_name = "DIR")]
    image: PathBuf,
    /// What it is, for those who list it
    #[arg(long, value_name = "TEXT", default_value = "")]
    description: String,
    #[command(flatten)]
    selection: Selection,
    /// Also keep this partition as it is, such as one of Windows; repeat it for several
    #[arg(short = 'D', long = "raw", value_name = "PARTITION")]
    raw: Vec<String>,
    /// How hard zstd shall try: 1 is fast, 19 is small
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(i32).range(1..=19))]
    level: i32,
    /// Cut the streams into pieces of so many MiB, before they are compressed
    #[arg(long, value_name = "MIB", default_value_t = PIECE >> 20,
          value_parser = clap::value_parser!(u64).range(1..=1 << 20))]
    piece: u64,
    /// Show what would be kept, and write nothing
    #[arg(long)]
    dry_run: bool,
    /// Stands for / (for tests)
    #[arg(long, default_value = "/", hide = true)]
    root: PathBuf,
}

const SEND_EXAMPLES: &str = "\
Examples:
  goldring store send /srv/images/lab -n 30
  goldring store send /srv/images/lab -n 30 --dry-run   what would become of each
  goldring store send /srv/images/lab -p sda desc       on disks partitioned otherwise
  Nodes boot with rescue kamethod, as for ka-d.

Exit status: 0 every node is complete and bootable, 1 it failed, 2 wrong options.";

#[derive(Debug, Clone, clap::Args)]
#[command(after_help = SEND_EXAMPLES)]
struct SendArgs {
    /// The image
    #[arg(value_name = "DIR")]
    image: PathBuf,
    #[command(flatten)]
    course: Course,
    #[command(flatten)]
    shape: Shape,
    /// Do not read the whole image first; what is damaged is then met when the nodes'
    /// disks are written already
    #[arg(long)]
    unchecked: bool,
    /// Show what would be done, and send nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Clone, clap::Args)]
struct ListArgs {
    /// A folder with images, or one image
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// For programs: an array with an object for each image
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, clap::Args)]
struct VerifyArgs {
    /// Images, or folders with images
    #[arg(value_name = "DIR", required = true)]
    folders: Vec<PathBuf>,
}

#[derive(Debug, Clone, clap::Args)]
struct RemoveArgs {
    /// Images
    #[arg(value_name = "DIR", required = true)]
    images: Vec<PathBuf>,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Show what would be removed
    #[arg(long)]
    dry_run: bool,
}

/// Does it.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    match &args.what {
        What::Save(args) => save::run(args),
        What::Send(args) => send::run(args),
        What::List(args) => list::run(args),
        What::Verify(args) => verify::run(args),
        What::Rm(args) => remove::run(args),
    }
}

/// The folder itself if it is an image or the rest of one, else those in it that are, by name.
fn images(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if kind(folder) != Kind::Other {
        return Ok(vec![folder.to_owned()]);
    }
    let context = || format!("looking into {}", shown(folder));
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).with_context(context)? {
        let path = entry.with_context(context)?.path();
        if kind(&path) != Kind::Other {
            all.push(path);
        }
    }
    all.sort();
    Ok(all)
}

/// What people call an image: the name of its folder.
fn name(image: &Path) -> String {
    let whole = std::path::absolute(image).unwrap_or_else(|_| image.to_owned());
    whole
        .file_name()
        .map_or_else(|| shown(image), |name| shown(Path::new(name)))
}

/// An image in a line: its name, when it was saved, of whom, and what was said about it.
fn heading(image: &Image) -> String {
    let index = &image.index;
    let mut line = format!(
        "{}, saved {} (UTC)",
        name(image.folder()),
        calendar::minute(index.saved)
    );
    for (word, text) in [(" of ", &index.host), (": ", &index.description)] {
        if !text.is_empty() {
            line.push_str(&format!("{word}{}", plain(text)));
        }
    }
    line
}

/// On one line of a terminal, whatever somebody wrote.
fn plain(text: &str) -> String {
    text.chars()
        .map(|letter| if letter.is_control() { ' ' } else { letter })
        .collect()
}

#[cfg(test)]
mod tests;
