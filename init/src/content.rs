//! What stage 2 turned out to be, told by its content and never by its name.

use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use goldring_contract::paths;
use goldring_disk::cloop::{Cloop, CloopError, MARK};
use goldring_disk::probe::{FileSystem, probe};
use goldring_disk::superblock;
use goldring_sys::block;

use crate::console::say;
use crate::ctx::Ctx;
use crate::fate::{Fate, chain};
use crate::ramdisk::Ramdisks;
use crate::store;

/// How much of a compressed image is kept although it is expanded, in bytes.
const STEP: u64 = 4 << 20;

/// What a person can do about an image that is no good.
const AGAIN: &str = "copy it to the server again, or make it again with `cargo xtask image`";

/// The image and what is in it. A compressed loop image is expanded into memory first;
/// the image is then another file.
///
/// # Errors
/// It is nothing that stage 2 can be.
pub(crate) fn open(ctx: &mut Ctx, image: PathBuf) -> Result<(PathBuf, FileSystem), Fate> {
    let mut file = opened(&image)?;
    if !is_cloop(&mut file).map_err(|error| unreadable(&image, &error))? {
        return Ok((image.clone(), file_system(&mut file, &image)?));
    }
    // A ramdisk that is open cannot be given back.
    drop(file);
    let expanded = expand(ctx, &image)?;
    let fs = file_system(&mut opened(&expanded)?, &expanded)?;
    Ok((expanded, fs))
}

/// What it means that the kernel did not mount an image with the marks of `fs`.
pub(crate) fn broken(image: &Path, fs: FileSystem, error: &io::Error) -> Fate {
    let complaint = File::open(image).and_then(|mut file| superblock::complaint(&mut file, fs));
    Fate::reboot(match complaint {
        Ok(Some(complaint)) => format!("rescue.clp is a broken {fs} image: {complaint}; {AGAIN}"),
        _ if error.raw_os_error() == Some(ENODEV) => format!(
            "rescue.clp is a {fs} image, and neither this kernel nor this all.rdz has a driver \
             for it; make the images again with `cargo xtask image`"
        ),
        _ => format!("rescue.clp is a broken {fs} image ({error}); {AGAIN}"),
    })
}

/// The kernel does not know such a file system (mount(2)).
const ENODEV: i32 = 19;

fn opened(image: &Path) -> Result<File, Fate> {
    File::open(image).map_err(|error| unreadable(image, &error))
}

fn unreadable(image: &Path, error: &io::Error) -> Fate {
    Fate::reboot(format!("reading {}: {error}", image.display()))
}

fn file_system(file: &mut (impl Read + Seek), image: &Path) -> Result<FileSystem, Fate> {
    match probe(file).map_err(|error| unreadable(image, &error))? {
        Some(fs @ (FileSystem::Squashfs | FileSystem::Ext | FileSystem::Iso9660)) => Ok(fs),
        _ => Err(Fate::reboot(format!(
            "rescue.clp is neither squashfs nor iso9660 nor ext; {AGAIN}"
        ))),
    }
}

fn is_cloop(file: &mut (impl Read + Seek)) -> io::Result<bool> {
    file.rewind()?;
    let mut begin = Vec::new();
    file.take(MARK.len() as u64).read_to_end(&mut begin)?;
    Ok(begin == MARK)
}

/// Expands a compressed loop image. What was read of a file that is in memory is freed
/// on the way, a ramdisk at the end: the memory need not hold both.
fn expand(ctx: &mut Ctx, image: &Path) -> Result<PathBuf, Fate> {
    let bad = |error: CloopError| {
        Fate::reboot(format!(
            "rescue.clp is a broken compressed loop image: {}; {AGAIN}",
            chain(&error)
        ))
    };
    let own = image == ctx.root.join(paths::STAGE2_FILE);
    let file = File::options().read(true).write(own).open(image);
    let file = file.map_err(|error| unreadable(image, &error))?;
    let mut cloop = Cloop::open(&file).map_err(bad)?;
    let length = cloop.expanded();
    let given_back = if own { cloop.end() } else { 0 };
    let free = store::free(&ctx.root).map(|free| free.saturating_add(given_back));
    store::enough(free, length).map_err(Fate::reboot)?;
    let target = ctx.root.join(paths::STAGE2_EXPANDED);
    store::prepare(ctx, &target)?;
    say(&format!(
        "rescue.clp is a compressed loop image; expanding it to {} MB",
        length >> 20
    ));
    let full = |error: io::Error| {
        Fate::reboot(format!(
            "writing {}: {error}; give the node more memory",
            target.display()
        ))
    };
    let mut out = File::create(&target).map_err(full)?;
    let (mut block, mut freed) = (Vec::new(), 0);
    for number in 0..cloop.blocks() {
        cloop.read_block(number, &mut block).map_err(bad)?;
        out.write_all(&block).map_err(full)?;
        let done = cloop.end_of(number);
        if own && done - freed >= STEP {
            // A matter of thrift; what stays is removed below.
            let _ = block::punch(&file, freed, done - freed);
            freed = done;
        }
    }
    drop(file);
    give_back(ctx, image, own);
    Ok(target)
}

/// Frees the memory of an image that is not needed any more. What cannot be freed is
/// only memory.
fn give_back(ctx: &Ctx, image: &Path, own: bool) {
    let result = if own {
        fs::remove_file(image)
    } else if image
        .metadata()
        .is_ok_and(|m| m.file_type().is_block_device())
    {
        // When it is another device, no ramdisk is there to be dropped.
        Ramdisks::of(ctx).drop_all()
    } else {
        Ok(())
    };
    if let Err(error) = result {
        say(&format!("{} stays in memory: {error}", image.display()));
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::flags::Facts;
    use goldring_contract::Root;

    #[test]
    fn content_is_recognised() {
        let holds = |offset: usize, mark: &[u8]| {
            let mut bytes = vec![0; offset];
            bytes.extend(mark);
            file_system(&mut Cursor::new(bytes), Path::new("x")).ok()
        };
        assert_eq!(holds(0, b"hsqs...."), Some(FileSystem::Squashfs));
        assert_eq!(holds(1080, b"\x53\xef"), Some(FileSystem::Ext));
        assert_eq!(holds(32769, b"CD001"), Some(FileSystem::Iso9660));
        // Known, but nothing that stage 2 comes in.
        assert_eq!(holds(0, b"XFSB"), None);
        assert_eq!(holds(0, b"<html>"), None);
        assert_eq!(holds(0, b""), None);
    }

    /// A world with `image` as the fetched stage 2; nothing is mounted there.
    fn expanded(image: &[u8]) -> (tempfile::TempDir, Result<(PathBuf, FileSystem), Fate>) {
        let world = tempfile::tempdir().unwrap();
        let path = world.path().join("run/stage2/image");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, image).unwrap();
        let mut ctx = Ctx::laptop(Facts {
            root: Root::at(world.path()),
            cmdline: None,
            kernel: None,
        });
        let result = open(&mut ctx, path);
        (world, result)
    }

    #[test]
    fn a_broken_compressed_image_says_what_is_broken() {
        let mut image = include_bytes!("../../fixtures/cloop/numbers.cloop").to_vec();
        image.truncate(9000);
        let (_world, result) = expanded(&image);
        let Err(Fate::Reboot(cause)) = result else {
            panic!("{result:?}");
        };
        assert!(
            cause.why.starts_with(
                "rescue.clp is a broken compressed loop image: it is cut off: 9000 of"
            ),
            "{}",
            cause.why
        );
    }

    #[test]
    fn a_broken_super_block_says_what_is_broken() {
        let (world, result) = expanded(b"hsqs");
        let (path, fs) = result.unwrap();
        assert!(path.starts_with(world.path()));
        let einval = io::Error::from_raw_os_error(22);
        let Fate::Reboot(cause) = broken(&path, fs, &einval) else {
            panic!("reboot expected");
        };
        assert_eq!(
            cause.why,
            "rescue.clp is a broken squashfs image: it says squashfs 0.0, and Linux reads 4.0; \
             copy it to the server again, or make it again with `cargo xtask image`"
        );
    }
}
