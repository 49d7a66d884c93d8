//! Stage 2 as a root of its own: the image, the loop device of a file, the overlay, the
//! binds.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use goldring_contract::{Root, paths};
use goldring_sys::loopdev::LoopDevice;
use goldring_sys::mount::{Access, Mounted};

use crate::console::say;
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
    lower: Mounted,
    /// None when the image is a block device itself.
    device: Option<LoopDevice>,
}

/// Mounts it.
pub(super) fn run(ctx: &mut Ctx) -> Result<(), Fate> {
    if ctx.dry_run {
        say(&format!("would mount it on {}", paths::STAGE2_ROOT));
        return Ok(());
    }
    let file = ctx
        .image
        .clone()
        .ok_or_else(|| Fate::reboot("stage 2 was not fetched; please report it with this line"))?;
    let kind = File::open(&file).and_then(|mut file| recognise(&mut file));
    let fs = match kind {
        Ok(Content::FileSystem(fs)) => fs,
        Ok(Content::Cloop) => {
            return Err(Fate::reboot(
                "rescue.clp is an old compressed loop image; make a new one with `cargo xtask image`",
            ));
        }
        Ok(Content::Unknown) => {
            return Err(Fate::reboot(
                "rescue.clp is neither squashfs nor iso9660 nor ext; \
                 make a new one with `cargo xtask image`",
            ));
        }
        Err(error) => return Err(Fate::reboot(format!("reading {}: {error}", file.display()))),
    };
    load_modules(ctx, fs);
    let stage2 = mount(&ctx.root, &file, fs)
        .map_err(|(what, error)| Fate::reboot(format!("mounting stage 2, {what}: {error}")))?;
    ctx.stage2 = Some(stage2);
    Ok(())
}

/// Loads what mounting needs; what is built into the kernel is not in the tables.
fn load_modules(ctx: &Ctx, fs: &str) {
    let release = ctx.release();
    let mut kernel = Kernel {
        root: &ctx.root,
        release: &release,
        names: &ctx.tables.names,
        dry_run: false,
    };
    for name in ["loop", fs, "overlay"] {
        by_name(&ctx.tables, name, &mut kernel);
    }
}

/// What a file holds.
#[derive(Debug, PartialEq, Eq)]
enum Content {
    FileSystem(&'static str),
    /// "compressed loop", as rescue.clp was until 2007.
    Cloop,
    Unknown,
}

/// Looks at the marks that file systems have: squashfs at 0, ext at 1080 (ext4 drives
/// 2 and 3 as well), ISO 9660 at 32769.
fn recognise(file: &mut (impl Read + Seek)) -> io::Result<Content> {
    const MARKS: [(u64, &[u8], Content); 4] = [
        (0, b"hsqs", Content::FileSystem("squashfs")),
        (1080, b"\x53\xef", Content::FileSystem("ext4")),
        (32769, b"CD001", Content::FileSystem("iso9660")),
        (0, b"#!/bin/sh\n#V2.0 Format\n", Content::Cloop),
    ];
    for (offset, mark, content) in MARKS {
        let mut found = vec![0; mark.len()];
        file.seek(SeekFrom::Start(offset))?;
        match file.read_exact(&mut found) {
            Ok(()) if found == mark => return Ok(content),
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Content::Unknown)
}

/// Loop device, lower tree, overlay, and the kernel's file systems inside.
fn mount(root: &Root, file: &Path, fs: &str) -> Result<Stage2, (&'static str, io::Error)> {
    fn at<T>(what: &'static str, result: io::Result<T>) -> Result<T, (&'static str, io::Error)> {
        result.map_err(|error| (what, error))
    }
    let metadata = at("image", file.metadata())?;
    let device = if metadata.file_type().is_block_device() {
        None
    } else {
        let dev = root.join("/dev");
        Some(at("loop device", LoopDevice::read_only(file, &dev))?)
    };
    let source = device.as_ref().map_or(file, LoopDevice::path);
    let lower_dir = root.join(paths::STAGE2_LOWER);
    let lower = Mounted::new(source, &lower_dir, fs, Access::ReadOnly, "");
    let lower = at("file system", lower)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    #[test]
    fn content_is_recognised() {
        let file = |offset: usize, mark: &[u8]| {
            let mut bytes = vec![0; offset];
            bytes.extend(mark);
            recognise(&mut Cursor::new(bytes)).unwrap()
        };
        assert_eq!(file(0, b"hsqs...."), Content::FileSystem("squashfs"));
        assert_eq!(file(1080, b"\x53\xef"), Content::FileSystem("ext4"));
        assert_eq!(file(32769, b"CD001"), Content::FileSystem("iso9660"));
        assert_eq!(file(0, b"#!/bin/sh\n#V2.0 Format\n"), Content::Cloop);
        assert_eq!(file(0, b"<html>"), Content::Unknown);
        assert_eq!(file(0, b""), Content::Unknown);
    }
}
