//! `goldring prepare`: the golden node made ready to give its nodes their stage 2: the image
//! unpacked for ka, and as an ext2 image for dolly. What `setup_ka_deploy.pl` and
//! `clone_script -c` did, and a person by hand.

mod ext2;
mod folder;
mod image;
mod iso;
mod place;
mod pxe;
mod ready;
mod squash;
mod tree;
mod write;

use std::fs;
use std::io::{self, IsTerminal, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use goldring_contract::Root;
use goldring_contract::paths::STAGE2_FOR_NODES;
use goldring_disk::target::decimal;

pub(crate) use self::place::sends_as_root;

use self::image::Stage2;
use self::place::{Aside, Here, MARKER, Marker, shape};
use self::pxe::Boot;
use self::tree::Sizes;
use self::write::Lacking;
use crate::fault::Usage;
use crate::killpoint::killpoint;
use crate::tools::run::{Programs, Runner};

const EXAMPLES: &str = "\
Examples:
  goldring prepare rescue.clp            unpack it into /mnt/ka, make /mnt/stage2.img
  goldring prepare rescue.clp --dry-run  show what would be made, and make nothing
  goldring prepare rescue.clp --packed   leave it packed: nodes of goldring check its
                                         digest and need less memory
  goldring prepare rescue.clp --tftp /var/lib/tftpboot/X86PC/linux
                                         also put vmlinuz and all.rdz there, and a menu
  goldring prepare /mnt/cd/install/stage2/rescue.clp --into /srv/ka --no-img
  goldring prepare --check               only see whether ka can work here
  Then: goldring ka-d-session -n NODES, or goldring ka-d -n NODES

Exit status: 0 it is ready, 1 it is not, 2 wrong options.";

/// Options of `goldring prepare`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Stage 2: rescue.clp of today or of old, rescue.sqfs, the ISO image of the CD that it is
    /// on, or a folder where it is unpacked
    #[arg(value_name = "IMAGE", required_unless_present = "check")]
    image: Option<PathBuf>,
    /// Where the nodes' stage 2 is to lie
    #[arg(long, value_name = "FOLDER", default_value = STAGE2_FOR_NODES)]
    into: PathBuf,
    /// Where the ext2 image for dolly is to lie (without it: stage2.img beside the folder)
    #[arg(long, value_name = "FILE", conflicts_with_all = ["no_img", "packed"])]
    img: Option<PathBuf>,
    /// Make no ext2 image
    #[arg(long)]
    no_img: bool,
    /// Put the image there as it is, not unpacked
    #[arg(long)]
    packed: bool,
    /// Put kernel and stage 1 there, and an entry for the nodes: where pxelinux's files are
    #[arg(long, value_name = "FOLDER")]
    tftp: Option<PathBuf>,
    /// Where vmlinuz and all.rdz are (without it: beside the image)
    #[arg(long, value_name = "FOLDER", requires = "tftp")]
    boot_files: Option<PathBuf>,
    /// What kaopt= of these nodes is to say
    #[arg(short = 's', long, value_name = "NAME", requires = "tftp")]
    name: Option<String>,
    /// Replace what is there, whoever made it
    #[arg(long)]
    force: bool,
    /// Show what would be made, and make nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Only look whether this computer can be the golden node of ka
    #[arg(long, conflicts_with = "image")]
    check: bool,
}

/// Prepares this computer.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let mut out = io::stdout();
    if let Some(image) = &args.image {
        let work = Work::plan(args, image)?;
        if args.dry_run {
            // A reader that is gone must not hide how it ended.
            let _ = out.write_all(work.text().as_bytes());
            return work.refused();
        }
        work.refused()?;
        let said = work.run(&mut Programs)?;
        let _ = out.write_all(said.as_bytes());
    }
    let findings = ready::look(&Root::system());
    let mut wrong = 0;
    for finding in &findings {
        let line = match &finding.wrong {
            None => format!("ready: {}", finding.what),
            Some(why) => {
                wrong += 1;
                format!("not ready: {}: {why}", finding.what)
            }
        };
        let _ = writeln!(out, "{line}");
    }
    // The tree is there whatever the network says; only who asks for it gets an error.
    ensure!(
        !args.check || wrong == 0,
        "{wrong} of {} things are not ready for ka here",
        findings.len()
    );
    Ok(())
}

/// All that is to be made.
struct Work<'a> {
    args: &'a Args,
    stage2: Stage2,
    sizes: Sizes,
    into: PathBuf,
    here: Here,
    /// The ext2 image, and how large it will be.
    img: Option<(PathBuf, u64)>,
    boot: Option<Boot>,
    /// Everything is as it would be made.
    done: bool,
}

impl<'a> Work<'a> {
    fn plan(args: &'a Args, image: &Path) -> anyhow::Result<Self> {
        let stage2 = image::open(image)?;
        if args.packed && stage2.image.is_none() {
            bail!(Usage(format!(
                "--packed is for rescue.clp of goldring; {} must be unpacked",
                image.display()
            )));
        }
        let sizes = Sizes::of(stage2.tree.entries());
        let into = absolute(&args.into)?;
        let here = place::look(&into)?;
        let free = if stage2.whose.is_old() {
            ext2::FREE_FOR_OLD
        } else {
            0
        };
        let img = match (args.no_img || args.packed, &args.img) {
            (true, _) => None,
            (false, Some(path)) => Some(absolute(path)?),
            (false, None) => Some(into.with_file_name("stage2.img")),
        };
        let img = img.map(|path| (path, ext2::size(stage2.tree.entries(), free)));
        let done = match &here {
            Here::Ours(marker) => {
                let there = img.as_ref().is_none_or(|(path, _)| path.is_file());
                marker.source == stage2.sha256 && marker.packed == args.packed && there
            }
            _ => false,
        };
        let mut work = Self {
            args,
            sizes,
            into,
            here,
            img,
            boot: None,
            done: done && !args.force,
            stage2,
        };
        if let Some(tftp) = &args.tftp {
            let from = args.boot_files.as_deref().or_else(|| image.parent());
            let ramdisk = work.ramdisk().filter(|_| work.stage2.whose.is_old());
            let more = (work.stage2.whose, ramdisk, args.name.as_deref());
            work.boot = Some(Boot::plan(tftp, from.unwrap_or(Path::new(".")), more)?);
        }
        Ok(work)
    }

    /// KiB of a ramdisk that holds the ext2 image.
    fn ramdisk(&self) -> Option<u64> {
        self.img.as_ref().map(|(_, bytes)| bytes.div_ceil(1024))
    }

    /// Why it is not done, if so.
    fn refused(&self) -> anyhow::Result<()> {
        if self.done {
            return Ok(());
        }
        if let Some(why) = place::refusal(&self.here, &self.into)
            && !self.args.force
        {
            bail!("{why}");
        }
        let ours = matches!(self.here, Here::Ours(_));
        if let Some((path, _)) = &self.img
            && path.symlink_metadata().is_ok()
            && !ours
            && !self.args.force
        {
            bail!(
                "{} is there already; move it away, say another place with --img, or --force to \
                 lose it",
                path.display()
            );
        }
        self.room()
    }

    /// Whether everything fits, before anything is written.
    fn room(&self) -> anyhow::Result<()> {
        let tree = match self.args.packed {
            true => self.stage2.length,
            false => self.sizes.room,
        };
        let mut needs = vec![(self.into.clone(), tree)];
        if let Some((path, bytes)) = &self.img {
            needs.push((path.clone(), *bytes));
        }
        let mut devices: Vec<(u64, PathBuf, u64)> = Vec::new();
        for (path, bytes) in needs {
            let there = path.ancestors().find(|path| path.is_dir());
            let there = there.unwrap_or(Path::new("/")).to_owned();
            use std::os::unix::fs::MetadataExt;
            let device = fs::metadata(&there).map_or(0, |meta| meta.dev());
            match devices.iter_mut().find(|one| one.0 == device) {
                Some(one) => one.2 += bytes,
                None => devices.push((device, there, bytes)),
            }
        }
        for (_, place, bytes) in devices {
            let found = rustix::fs::statvfs(&place)
                .with_context(|| format!("asking how much room is in {}", place.display()))?;
            let free = found.f_bavail.saturating_mul(found.f_frsize);
            ensure!(
                free >= bytes,
                "{} has {} left, and {} are needed; say another place with --into and --img, or \
                 --no-img",
                place.display(),
                decimal(free),
                decimal(bytes)
            );
        }
        Ok(())
    }

    /// For people: what it is, and what would be made of it.
    fn text(&self) -> String {
        let mut text = self.found();
        if self.done {
            text.push_str(&self.nothing());
        } else {
            let how = if self.args.packed {
                "packed"
            } else {
                "unpacked"
            };
            let lies = match &self.here {
                Here::Nothing => "",
                _ => ", instead of what is there",
            };
            text.push_str(&format!(
                "would lie {how} in {}{lies}\n",
                self.into.display()
            ));
            if let Some((path, bytes)) = &self.img {
                let (path, size) = (path.display(), decimal(*bytes));
                text.push_str(&format!(
                    "would make {path}, an ext2 image of about {size}\n"
                ));
            }
        }
        if let Some(boot) = &self.boot {
            for line in boot.text().lines() {
                text.push_str(&format!("would put {line}\n"));
            }
            text.extend(boot.advice());
        }
        text
    }

    fn found(&self) -> String {
        let sizes = &self.sizes;
        format!(
            "{}: {}, {} names, {}\n",
            self.stage2.layers.join(" with "),
            self.stage2.whose,
            sizes.entries,
            decimal(sizes.bytes)
        )
    }

    fn nothing(&self) -> String {
        format!(
            "{} is made of it already; nothing to do\n",
            self.into.display()
        )
    }

    /// Makes everything; what to tell.
    fn run(mut self, runner: &mut dyn Runner) -> anyhow::Result<String> {
        let mut said = self.found();
        if self.done {
            said.push_str(&self.nothing());
        } else {
            said.push_str(&self.make(runner)?);
        }
        if let Some(boot) = &self.boot {
            boot.write()?;
            said.push_str(&boot.text());
            said.extend(boot.advice());
        }
        Ok(said)
    }

    fn make(&mut self, runner: &mut dyn Runner) -> anyhow::Result<String> {
        let aside = Aside::new(&self.into)?;
        let lacking = self.fill(aside.path())?;
        let img = self.image(runner, aside.path(), lacking)?;
        let marker = Marker {
            source: self.stage2.sha256.clone(),
            shape: shape(tree::Tree::entries(&folder::Folder::open(aside.path())?)),
            packed: self.args.packed,
            as_root: lacking.owners > 0 && self.is_all_roots(),
        };
        let text = marker.to_string();
        fs::write(aside.path().join(MARKER), text).context("writing what it is made of")?;
        killpoint("prepare: before it is put in its place");
        // The tree last: what it says of itself holds for the image beside it, too.
        if let Some((new, path, _)) = &img {
            let context = || format!("putting {} in its place", path.display());
            fs::rename(new, path).with_context(context)?;
        }
        killpoint("prepare: with the image, without the tree");
        aside.put()?;
        Ok(self.report(lacking, img.map(|(_, path, bytes)| (path, bytes))))
    }

    /// Puts the tree, or the image as it is, into an empty folder.
    fn fill(&mut self, folder: &Path) -> anyhow::Result<Lacking> {
        if let (true, Some(image)) = (self.args.packed, &self.stage2.image) {
            let to = folder.join("rescue.clp");
            fs::copy(image, &to).with_context(|| format!("copying {}", image.display()))?;
            use std::os::unix::fs::PermissionsExt;
            fs::set_permissions(folder, fs::Permissions::from_mode(0o755))
                .with_context(|| format!("writing {}", folder.display()))?;
            return Ok(Lacking::default());
        }
        let mut progress = Progress::new(self.sizes.bytes);
        let lacking = write::write(&mut *self.stage2.tree, folder, &mut |done| {
            progress.tick(done)
        });
        progress.end();
        lacking
    }

    /// The ext2 image, aside: where it is, where it belongs, how large it became.
    fn image(
        &self,
        runner: &mut dyn Runner,
        folder: &Path,
        lacking: Lacking,
    ) -> anyhow::Result<Option<(PathBuf, PathBuf, u64)>> {
        let Some((path, _)) = &self.img else {
            return Ok(None);
        };
        let mut new = path.clone().into_os_string();
        new.push(".goldring-new");
        let new = PathBuf::from(new);
        let free = if self.stage2.whose.is_old() {
            ext2::FREE_FOR_OLD
        } else {
            0
        };
        let entries = self.stage2.tree.entries();
        let made = ext2::make(runner, (folder, &new), entries, (free, lacking));
        if made.is_err() {
            // What stays of it is told by its name.
            let _ = fs::remove_file(&new);
        }
        let bytes = made.context(
            "mke2fs and debugfs are of e2fsprogs; install it, or say --no-img if dolly is not to \
             bring stage 2",
        )?;
        Ok(Some((new, path.clone(), bytes)))
    }

    fn is_all_roots(&self) -> bool {
        let mut all = self.stage2.tree.entries().iter();
        all.all(|entry| entry.uid == 0 && entry.gid == 0)
    }

    /// What was made, what is missing in it and what that means.
    fn report(&self, lacking: Lacking, img: Option<(PathBuf, u64)>) -> String {
        let into = self.into.display();
        let mut text = match self.args.packed {
            true => format!("{into} has it packed; for dolly: infile {into}/rescue.clp\n"),
            false => format!("{into} has it unpacked\n"),
        };
        if let Some((path, bytes)) = img {
            let (path, size, kib) = (path.display(), decimal(bytes), bytes.div_ceil(1024));
            text.push_str(&format!(
                "{path} is for dolly ({size}): infile {path}, outfile /dev/ram3, and \
                 ramdisk_size={kib} for old nodes\n"
            ));
        }
        if lacking.devices > 0 {
            let means = match self.stage2.whose.is_old() {
                true => "old nodes get none by ka and will not start: run it again as root",
                false => "nodes of goldring need none",
            };
            text.push_str(&format!(
                "not root: {} device nodes are missing in {into}; {means}\n",
                lacking.devices
            ));
        }
        if lacking.owners > 0 {
            let means = match self.is_all_roots() {
                true => "ka-d-session and ka-d send them as root's",
                false => "nodes get them as they are here: run it again as root",
            };
            text.push_str(&format!(
                "not root: {} files in {into} are not their owners'; {means}\n",
                lacking.owners
            ));
        }
        text
    }
}

/// Seen from `/`, without links in its folder, so that its neighbours are where it is.
fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    let whole = std::path::absolute(path).with_context(|| format!("{}", path.display()))?;
    // A link that is there leads to the place that is meant.
    if let Ok(real) = whole.canonicalize() {
        return Ok(real);
    }
    let (Some(parent), Some(name)) = (whole.parent(), whole.file_name()) else {
        bail!(Usage(format!("{} names no place for it", path.display())));
    };
    Ok(parent
        .canonicalize()
        .unwrap_or(parent.to_owned())
        .join(name))
}

/// A line that is written over and over, for a person.
struct Progress {
    all: u64,
    shown: Option<Instant>,
    seen: bool,
}

impl Progress {
    fn new(all: u64) -> Self {
        let is_seen = io::stderr().is_terminal();
        Self {
            all,
            shown: is_seen.then(Instant::now),
            seen: false,
        }
    }

    fn tick(&mut self, done: u64) {
        const STEP: Duration = Duration::from_millis(200);
        if self.shown.is_some_and(|shown| shown.elapsed() >= STEP) {
            self.shown = Some(Instant::now());
            self.seen = true;
            let percent = done.saturating_mul(100) / self.all.max(1);
            eprint!(
                "\runpacking {percent} %, {} of {}  ",
                decimal(done),
                decimal(self.all)
            );
        }
    }

    fn end(&self) {
        if self.seen {
            eprintln!();
        }
    }
}
