//! Stage 2 as a root of its own: the image, the loop device of a file, the overlay, the
//! binds.

use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use goldring_contract::{Root, paths};
use goldring_disk::probe::FileSystem;
use goldring_sys::loopdev::LoopDevice;
use goldring_sys::mount::{Access, Mounted};

use crate::console::say;
use crate::content;
use crate::ctx::Ctx;
use crate::fate::Fate;
use crate::insert::{Kernel, by_name};

/// What a mounted stage 2 consists of; dropped in this order, which is the order in
/// which it can be undone.
#[derive(Debug)]
#[expect(dead_code, reason = "the fields are held for what their drop undoes")]
pub(crate) struct Stage2 {
    binds: Vec<Mounted>,
    root: Mounted,
    /// None when stage 2 is a tree in memory.
    lower: Option<Mounted>,
    /// None when there is no image, or it is a block device itself.
    device: Option<LoopDevice>,
}

/// The part of a mount that tells of the image.
const FILE_SYSTEM: &str = "file system";

/// Mounts it.
pub(super) fn run(ctx: &mut Ctx) -> Result<(), Fate> {
    if ctx.dry_run {
        say(&format!("would mount it on {}", paths::STAGE2_ROOT));
        return Ok(());
    }
    let image = ctx
        .image
        .clone()
        .ok_or_else(|| Fate::reboot("stage 2 was not fetched; please report it with this line"))?;
    let mut stage2 = if image.is_dir() {
        load_modules(ctx, &[]);
        over(&ctx.root, &image, None).map_err(|(what, error)| trouble(what, &error))?
    } else {
        let (image, fs) = content::open(ctx, image)?;
        load_modules(ctx, fs.kernel_types());
        mount(&ctx.root, &image, fs).map_err(|(what, error)| match what {
            FILE_SYSTEM => content::broken(&image, fs, &error),
            what => trouble(what, &error),
        })?
    };
    check_agent(&ctx.root)?;
    show_kept(ctx, &mut stage2);
    ctx.stage2 = Some(stage2);
    Ok(())
}

fn trouble(what: &str, error: &io::Error) -> Fate {
    Fate::reboot(format!("mounting stage 2, {what}: {error}"))
}

/// With `keepmounted` people see where stage 2 came from.
fn show_kept(ctx: &Ctx, stage2: &mut Stage2) {
    let Some(held) = ctx.held.as_ref().filter(|_| ctx.args.keepmounted) else {
        return;
    };
    let target = ctx
        .root
        .join(paths::STAGE2_ROOT)
        .join(paths::KEPT.trim_start_matches('/'));
    match Mounted::bind(held.tree(), &target) {
        Ok(bind) => stage2.binds.push(bind),
        Err(error) => say(&format!("keepmounted: {}: {error}", paths::KEPT)),
    }
}

/// What comes from an old boot server mounts well and has no agent in it.
fn check_agent(root: &Root) -> Result<(), Fate> {
    let agent = root
        .join(paths::STAGE2_ROOT)
        .join(paths::AGENT.trim_start_matches('/'));
    if agent.symlink_metadata().is_ok() {
        return Ok(());
    }
    Err(Fate::reboot(format!(
        "this stage 2 has no {}: it is the rescue system of something else, perhaps an old \
         rescue.clp; put the one that was made with this all.rdz there",
        paths::AGENT
    )))
}

/// Loads what mounting needs; what is built into the kernel is not in the tables.
fn load_modules(ctx: &Ctx, types: &[&'static str]) {
    let release = ctx.release();
    let mut kernel = Kernel {
        root: &ctx.root,
        release: &release,
        names: &ctx.tables.names,
        dry_run: false,
    };
    for name in ["loop", "overlay"].iter().chain(types) {
        by_name(&ctx.tables, name, &mut kernel);
    }
}

/// What went wrong, and how.
type Trouble = (&'static str, io::Error);

fn at<T>(what: &'static str, result: io::Result<T>) -> Result<T, Trouble> {
    result.map_err(|error| (what, error))
}

/// Loop device, the tree in the image, and what lies over it.
fn mount(root: &Root, file: &Path, fs: FileSystem) -> Result<Stage2, Trouble> {
    let metadata = at("image", file.metadata())?;
    let device = if metadata.file_type().is_block_device() {
        None
    } else {
        let dev = root.join("/dev");
        Some(at("loop device", LoopDevice::read_only(file, &dev))?)
    };
    let source = device.as_ref().map_or(file, LoopDevice::path);
    let lower_dir = root.join(paths::STAGE2_LOWER);
    let options = fs.untouched();
    let kernel_type = fs.kernel_types()[0];
    let lower = Mounted::new(source, &lower_dir, kernel_type, Access::ReadOnly, options);
    let lower = at(FILE_SYSTEM, lower)?;
    over(root, &lower_dir, Some((lower, device)))
}

/// The overlay over a tree, and the kernel's file systems inside.
fn over(
    root: &Root,
    lower_dir: &Path,
    image: Option<(Mounted, Option<LoopDevice>)>,
) -> Result<Stage2, Trouble> {
    let upper = root.join(paths::STAGE2_UPPER);
    for folder in ["data", "work"] {
        at("upper folders", std::fs::create_dir_all(upper.join(folder)))?;
    }
    let options = format!(
        "lowerdir={},upperdir={},workdir={}",
        lower_dir.display(),
        upper.join("data").display(),
        upper.join("work").display()
    );
    let top = root.join(paths::STAGE2_ROOT);
    let overlay = Mounted::new(
        Path::new("overlay"),
        &top,
        "overlay",
        Access::ReadWrite,
        &options,
    );
    let (lower, device) = image.map_or((None, None), |(lower, device)| (Some(lower), device));
    let mut stage2 = Stage2 {
        binds: Vec::new(),
        root: at("overlay", overlay)?,
        lower,
        device,
    };
    for folder in ["dev", "proc", "sys", "run"] {
        let bind = Mounted::bind(&root.join(folder), &top.join(folder));
        stage2.binds.push(at("binds", bind)?);
    }
    // In a merged-usr stage 2 /lib is a link; an absolute one would lead out of it.
    let merged = top.join("usr/lib").is_dir();
    let modules = top.join(if merged {
        "usr/lib/modules"
    } else {
        "lib/modules"
    });
    let bind = Mounted::bind(&root.join(paths::MODULE_TREE), &modules);
    stage2.binds.push(at("modules", bind)?);
    Ok(stage2)
}
