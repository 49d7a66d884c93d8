//! `goldring files`: the files of an installed system, listed, sent, received, compared.
//! What ka-d and the image store run, and what a person may run by hand.

pub(crate) mod stream;
pub(crate) mod target;

use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use goldring_contract::Root;
use goldring_files::compare::{Wish as Comparison, compare};
use goldring_files::golden::{self, GoldenError, nested_subvolumes};
use goldring_files::manifest::Manifest;
use goldring_files::partfiles::{Orders, complaint, partfiles};
use goldring_files::receive::receive;
use goldring_files::send::{Sending, send};
use goldring_files::tar::Source;
use goldring_files::text::shown;
use goldring_files::trailer::Form;
use regex_lite::Regex;

use self::target::Target;
use crate::bootable::Names;
use crate::fault::Usage;
use crate::tools::disks;
use crate::tools::run::{Programs, Runner};

const EXAMPLES: &str = "\
Examples:
  goldring files list -x /scratch            what would be cloned of this system
  goldring files send | ssh node goldring files receive /mnt/disk
  goldring files compare / /mnt/disk --one-file-system";

/// Options of `goldring files`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum What {
    /// Print what is cloned of this system, what stays behind, and why
    List(ListArgs),
    /// Send the files to stdout: a tar, and behind it count, digest and sockets
    Send(SendArgs),
    /// Mount this computer's new file systems as the golden node has them
    Mount(MountArgs),
    /// Receive files from stdin into a folder, with everything they have
    Receive(ReceiveArgs),
    /// Compare two trees: contents, owners, rights, times, links, attributes
    Compare(CompareArgs),
}

#[derive(Debug, Clone, clap::Args)]
struct ListArgs {
    #[command(flatten)]
    selection: Selection,
    /// Also write the small files for nodes with an old ka into this folder
    #[arg(long, value_name = "DIR")]
    partfiles: Option<PathBuf>,
}

/// What stays behind, as people write it for `ka-d`.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Selection {
    /// Do not send what is in this folder, only the folder itself; repeat it for several
    #[arg(short = 'x', long = "exclude", value_name = "DIR")]
    pub(crate) excluded: Vec<PathBuf>,
    /// Leave out disks and partitions that this expression matches, such as sdb
    #[arg(short = 'X', long = "without-disk", value_name = "DISK")]
    pub(crate) without: Vec<String>,
}

#[derive(Debug, Clone, clap::Args)]
struct SendArgs {
    #[command(flatten)]
    selection: Selection,
    /// Send what this list says, as `goldring files list` printed it
    #[arg(long, value_name = "FILE", conflicts_with_all = ["excluded", "without"])]
    list: Option<PathBuf>,
    /// Send this folder and nothing else, on one file system
    #[arg(long, value_name = "DIR", conflicts_with_all = ["list", "without"])]
    tree: Option<PathBuf>,
    /// Compress by zstd; nodes with an old ka cannot read that
    #[arg(long, value_name = "LEVEL", num_args = 0..=1, default_missing_value = "1",
          value_parser = clap::value_parser!(i32).range(1..=19))]
    zstd: Option<i32>,
    /// Send what an old tar reads, and nothing behind it that would be compared
    #[arg(long, conflicts_with = "zstd")]
    plain: bool,
}

#[derive(Debug, Clone, clap::Args)]
struct ReceiveArgs {
    /// Where to; the file systems are mounted there already
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// The golden node's list: make the folders again whose content stayed behind
    #[arg(long, value_name = "FILE")]
    list: Option<PathBuf>,
    /// It comes from an old golden node: a tar with nothing behind it, which cannot be checked
    #[arg(long)]
    plain: bool,
}

#[derive(Debug, Clone, clap::Args)]
struct MountArgs {
    /// Where to
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// The golden node's list
    #[arg(long, value_name = "FILE")]
    list: PathBuf,
    /// What the golden node calls OLD is NEW here; else a UUID tells. Repeat it for several
    #[arg(long, value_name = "OLD=NEW", value_parser = Names::parse)]
    device: Vec<(String, String)>,
}

#[derive(Debug, Clone, clap::Args)]
struct CompareArgs {
    /// A tree
    a: PathBuf,
    /// Another one
    b: PathBuf,
    /// Leave out this path, seen from both trees; repeat it for several
    #[arg(long, value_name = "PATH")]
    ignore: Vec<PathBuf>,
    /// Do not compare times
    #[arg(long)]
    without_times: bool,
    /// Do not enter what is mounted below
    #[arg(long)]
    one_file_system: bool,
}

/// Does it.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    match &args.what {
        What::List(args) => list(args),
        What::Send(args) => send_files(args),
        What::Mount(args) => mount(args),
        What::Receive(args) => receive_files(args),
        What::Compare(args) => compare_trees(args),
    }
}

/// What is cloned of this system. What may be missing in the clone is told.
///
/// # Errors
/// A wish that is none (exit code 2); a system that cannot be cloned by its files.
pub(crate) fn manifest(
    root: &Root,
    runner: &mut dyn Runner,
    selection: &Selection,
) -> anyhow::Result<Manifest> {
    let expression =
        |text: &String| Regex::new(text).map_err(|error| Usage(format!("-X {text}: {error}")));
    let without: Vec<Regex> = selection
        .without
        .iter()
        .map(expression)
        .collect::<Result<_, _>>()?;
    let devices = disks::list(runner)?;
    let wish = golden::Wish {
        excluded: &selection.excluded,
        unwanted: &|name| without.iter().any(|regex| regex.is_match(name)),
    };
    let (mut manifest, warnings) = match golden::look(root, &devices, &wish) {
        Err(error @ GoldenError::Excluded(..)) => bail!(Usage(error.to_string())),
        looked => looked?,
    };
    for warning in warnings {
        eprintln!("{warning}");
    }
    for mount in &manifest.mounts {
        if manifest.of(mount).is_some_and(|one| one.kind == "btrfs") {
            let mut ask = |options: &[&str]| {
                let arguments = [&["subvolume", "list"], options, &[&mount.place]].concat();
                runner.run("btrfs", &arguments)
            };
            let (all, snapshots) = (ask(&["-o"])?, ask(&["-o", "-s"])?);
            let places = nested_subvolumes(&mount.place, &mount.subvolume, &all, &snapshots);
            manifest.nested.extend(places);
        }
    }
    let mounts = &manifest.mounts;
    let excluded = &manifest.excluded;
    manifest.nested.retain(|path| {
        let mounted = mounts.iter().any(|mount| Path::new(&mount.place) == path);
        !mounted && !excluded.iter().any(|top| path.starts_with(top))
    });
    Ok(manifest)
}

fn list(args: &ListArgs) -> anyhow::Result<()> {
    let manifest = manifest(&Root::system(), &mut Programs, &args.selection)?;
    if let Some(folder) = &args.partfiles {
        for (name, text) in partfiles(&manifest, &Orders::default()) {
            let path = folder.join(name);
            fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        }
        if let Some(why) = complaint(&manifest) {
            eprintln!("old nodes cannot be cloned from these: {why}");
        }
    }
    print_all(&manifest.to_string())
}

/// To stdout; a reader that has read enough is no error.
fn print_all(text: &str) -> anyhow::Result<()> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("writing to stdout"),
    }
}

fn send_files(args: &SendArgs) -> anyhow::Result<()> {
    if io::stdout().is_terminal() {
        bail!(Usage(
            "files go to stdout, which is a terminal; pipe them: goldring files send | …"
                .to_owned()
        ));
    }
    let source = match (&args.tree, &args.list) {
        (Some(tree), _) => Source {
            excluded: args.selection.excluded.clone(),
            ..Source::tree(tree)
        },
        (None, Some(path)) => read_list(path)?.source(Path::new("/")),
        (None, None) => {
            let root = Root::system();
            manifest(&root, &mut Programs, &args.selection)?.source(root.as_path())
        }
    };
    let sending = Sending {
        source,
        level: args.zstd,
        form: form(args.plain),
    };
    // Not std's stdout, which looks for the ends of lines in what it is given.
    let out = io::stdout().lock();
    let out = fs::File::from(std::os::fd::AsFd::as_fd(&out).try_clone_to_owned()?);
    let sent = send(&sending, out, |said: &str| eprintln!("{said}"))?;
    eprintln!(
        "sent {} files, {} bytes, {} sockets; {} changed while they were read",
        sent.contents.entries, sent.contents.bytes, sent.sockets, sent.changed
    );
    Ok(())
}

/// A list that `goldring files list` printed.
///
/// # Errors
/// It cannot be read, or is none.
pub(crate) fn read_list(path: &Path) -> anyhow::Result<Manifest> {
    let context = || format!("reading {}", path.display());
    let text = fs::read_to_string(path).with_context(context)?;
    Manifest::parse(&text).with_context(context)
}

fn mount(args: &MountArgs) -> anyhow::Result<()> {
    let manifest = read_list(&args.list)?;
    let root = Root::system();
    let wish = target::Wish {
        root: &root,
        folder: &args.folder,
        devices: &args.device,
    };
    let target = Target::mount(wish, &mut Programs, &manifest)?;
    target.keep();
    println!(
        "{0} is ready for files; umount --recursive {0} takes it down",
        args.folder.display()
    );
    Ok(())
}

/// Makes the folders again whose content stayed on the golden node, when all files are here.
///
/// # Errors
/// The kernel's, with the path.
pub(crate) fn make_folders(manifest: &Manifest, folder: &Path) -> anyhow::Result<()> {
    for made in &manifest.made {
        made.make(folder)
            .with_context(|| format!("making {} again", shown(&made.path)))?;
    }
    Ok(())
}

fn receive_files(args: &ReceiveArgs) -> anyhow::Result<()> {
    let list = args.list.as_deref().map(read_list).transpose()?;
    let input = io::stdin().lock();
    let input = fs::File::from(std::os::fd::AsFd::as_fd(&input).try_clone_to_owned()?);
    let received = receive(&args.folder, form(args.plain), input, |said: &str| {
        eprintln!("{said}")
    })
    .with_context(|| format!("receiving files into {}", args.folder.display()))?;
    if let Some(manifest) = &list {
        make_folders(manifest, &args.folder)?;
    }
    eprintln!(
        "received {} files, {} bytes, {} sockets{}",
        received.contents.entries,
        received.contents.bytes,
        received.sockets,
        match (args.plain, received.is_compared) {
            (true, _) => "; an old golden node, so nobody can tell whether this is all",
            (false, true) => ", as they were sent",
            (false, false) => ", as many as were sent; only the ka session compares the rest",
        }
    );
    Ok(())
}

/// A stream that nobody but its two ends knows of.
fn form(plain: bool) -> Form {
    if plain { Form::Plain } else { Form::Checked }
}

fn compare_trees(args: &CompareArgs) -> anyhow::Result<()> {
    let wish = Comparison {
        ignored: args.ignore.clone(),
        without_times: args.without_times,
        one_file_system: args.one_file_system,
    };
    let mut broken = None;
    let mut say = |line: &str| {
        if broken.is_none() {
            broken = writeln!(io::stdout(), "{line}").err();
        }
    };
    let verdict = compare(&args.a, &args.b, &wish, &mut say).context("comparing")?;
    match verdict.differences {
        0 => eprintln!("{} files, no difference", verdict.files),
        number => bail!("{number} differences in {} files", verdict.files),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::run::testing::Recorder;

    #[test]
    fn a_wish_that_is_no_wish_is_a_mistake_in_the_call() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::at(folder.path());
        for (path, text) in [
            (
                "proc/self/mountinfo",
                "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n",
            ),
            ("etc/fstab", "/dev/sda1 / ext4\n"),
        ] {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let lsblk = "NAME=\"/dev/sda1\" KNAME=\"/dev/sda1\" TYPE=\"part\" SIZE=\"9\"\n";
        let look = |selection: &Selection| {
            let answer = |line: &str| Ok(if line.starts_with("lsblk") { lsblk } else { "" }.into());
            manifest(&root, &mut Recorder::new(answer), selection)
        };
        assert_eq!(look(&Selection::default()).unwrap().mounts[0].place, "/");
        for (excluded, without) in [(vec!["srv".into()], vec![]), (vec![], vec!["sd(".into()])] {
            let error = look(&Selection { excluded, without }).unwrap_err();
            assert!(error.downcast_ref::<Usage>().is_some(), "{error}");
        }
        let without = vec!["sda".to_owned()];
        let error = look(&Selection {
            excluded: vec![],
            without,
        })
        .unwrap_err();
        assert!(error.to_string().contains("left out by -X"), "{error}");
    }

    #[test]
    fn subvolumes_of_btrfs_are_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::at(folder.path());
        let mounts = "22 1 0:25 /@ / rw - btrfs /dev/sda1 rw,subvol=/@\n\
                      23 1 0:25 /@var /var rw - btrfs /dev/sda1 rw,subvol=/@var\n";
        for (path, text) in [
            ("proc/self/mountinfo", mounts),
            ("etc/fstab", "/dev/sda1 / btrfs subvol=@\n"),
            ("var/x", ""),
        ] {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let answer = |line: &str| {
            Ok(match line {
                line if line.starts_with("lsblk") => {
                    "NAME=\"/dev/sda1\" KNAME=\"/dev/sda1\" TYPE=\"part\" SIZE=\"9\"\n"
                }
                line if line.starts_with("blkid") => "ID_FS_TYPE=btrfs\n",
                "btrfs subvolume list -o /" => "ID 1 gen 8 top level 256 path @/srv/a\n",
                _ => "",
            }
            .to_owned())
        };
        let selection = Selection::default();
        let manifest = manifest(&root, &mut Recorder::new(answer), &selection).unwrap();
        assert_eq!(manifest.nested, [Path::new("/srv/a")]);
        assert_eq!(manifest.mounts.len(), 2);
    }
}
