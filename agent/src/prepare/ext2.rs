//! `stage2.img`: the tree as an ext2 image, which dolly writes into a ramdisk of the nodes. No
//! mount and no root: mke2fs fills it from the folder, and what only root could have made
//! there is put right inside the image.

use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context, bail};

use super::tree::{Entry, Kind};
use super::write::Lacking;
use crate::tools::run::Runner;

/// Small blocks: a stage 2 is many small files.
const BLOCK: u64 = 1024;
/// Bytes of an inode, as in an old ext2.
const INODE: u64 = 128;
/// How often it is made larger when something does not fit.
const TRIES: u32 = 6;
/// Room for what old programs write; goldring's write elsewhere.
pub(super) const FREE_FOR_OLD: u64 = 8 << 20;

/// How large an image is that holds these, with `free` bytes left. In whole MiB.
pub(super) fn size(entries: &[Entry], free: u64) -> u64 {
    let mut blocks = 0u64;
    for entry in entries {
        blocks += match &entry.kind {
            // Each block of 256 numbers of blocks is one more.
            Kind::File(length) => {
                let own = length.div_ceil(BLOCK);
                own + own / 256 + 2 * u64::from(own > 12)
            }
            Kind::Folder => 2,
            // A short one lies in its inode.
            Kind::Link(target) if target.as_os_str().len() >= 60 => 1,
            _ => 0,
        };
    }
    let inodes = inodes(entries) * INODE / BLOCK;
    // Bitmaps and copies of the superblock; folders with many names.
    let all = (blocks + inodes) * BLOCK + free;
    (all + all / 50 + (1 << 20)).next_multiple_of(1 << 20)
}

fn inodes(entries: &[Entry]) -> u64 {
    // 11 are taken, and some are left for what is written later.
    entries.len() as u64 * 11 / 10 + 256
}

/// Makes `image` of what is in `folder`, where `lacking` is not as in the image it came from.
///
/// # Errors
/// mke2fs or debugfs fails, or the disk is full.
pub(super) fn make(
    runner: &mut dyn Runner,
    (folder, image): (&Path, &Path),
    entries: &[Entry],
    (free, lacking): (u64, Lacking),
) -> anyhow::Result<u64> {
    let (shown, from) = (image.to_string_lossy(), folder.to_string_lossy());
    let count = inodes(entries).to_string();
    let mut bytes = size(entries, free);
    for again in 1.. {
        let context = || format!("making {shown}");
        // Holes until something is written.
        File::create(image)
            .and_then(|file| file.set_len(bytes))
            .with_context(context)?;
        let options = [
            "-q",
            "-F",
            "-t",
            "ext2",
            "-b",
            "1024",
            "-I",
            "128",
            "-m",
            "0",
            "-N",
            &count,
            "-L",
            "stage2",
            "-O",
            "^resize_inode,^dir_index",
            "-E",
            "root_owner=0:0",
            "-d",
            &from,
            &shown,
        ];
        match runner.run("mke2fs", &options) {
            Ok(_) => break,
            Err(error) if again < TRIES && is_full(&error.to_string()) => bytes += bytes / 8,
            Err(error) => return Err(error).with_context(context),
        }
    }
    if lacking != Lacking::default() {
        complete(runner, image, entries)?;
    }
    Ok(bytes)
}

fn is_full(said: &str) -> bool {
    [
        "allocate block",
        "allocate inode",
        "No space",
        "no space",
        "disk full",
    ]
    .iter()
    .any(|words| said.contains(words))
}

/// Gives everything its owner, and makes the devices.
fn complete(runner: &mut dyn Runner, image: &Path, entries: &[Entry]) -> anyhow::Result<()> {
    let script = image.with_extension("debugfs");
    fs::write(&script, commands(entries))
        .with_context(|| format!("writing {}", script.display()))?;
    // What it complains of goes to stderr.
    let line = "exec debugfs -w -f \"$1\" \"$2\" 2>&1";
    let (from, to) = (script.to_string_lossy(), image.to_string_lossy());
    let said = runner.run("sh", &["-c", line, "sh", &from, &to]);
    let _ = fs::remove_file(&script);
    // It ends with 0 whatever happens; each command is repeated behind this word.
    let said = said.with_context(|| format!("owners and devices in {}", image.display()))?;
    match said.lines().find(|line| !is_usual(line)) {
        Some(line) => bail!(
            "owners and devices in {}: debugfs says: {line}",
            image.display()
        ),
        None => Ok(()),
    }
}

/// What debugfs says when all is well: its version, its commands, the inodes that it took.
fn is_usual(line: &str) -> bool {
    let usual = ["debugfs 1", "debugfs:", "Allocated inode: "];
    line.trim().is_empty() || usual.iter().any(|word| line.starts_with(word))
}

/// What debugfs reads. A name that its language cannot say keeps the owner it has.
fn commands(entries: &[Entry]) -> String {
    let mut text = String::new();
    for entry in entries {
        let path = format!("/{}", entry.path.display());
        let plain = |c: char| !c.is_control() && !"\"\\".contains(c) && c != '\u{fffd}';
        if !path.chars().all(plain) {
            continue;
        }
        let device = match entry.kind {
            Kind::Char(major, minor) => Some(('c', 0o020_000, major, minor)),
            Kind::Block(major, minor) => Some(('b', 0o060_000, major, minor)),
            _ => None,
        };
        if let Some((letter, kind, major, minor)) = device {
            let (folder, name) = path.rsplit_once('/').unwrap_or(("", &path));
            let rights = kind | entry.rights;
            text.push_str(&format!(
                "cd \"{folder}/\"\nmknod \"{name}\" {letter} {major} {minor}\ncd /\n\
                 sif \"{path}\" mode 0{rights:o}\n"
            ));
        }
        let (uid, gid) = (entry.uid, entry.gid);
        text.push_str(&format!(
            "sif \"{path}\" uid {uid}\nsif \"{path}\" gid {gid}\n"
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::run::testing::Recorder;

    fn entry(path: &str, kind: Kind) -> Entry {
        Entry::new(path.into(), 0o100_640, kind)
    }

    #[test]
    fn owners_and_devices_are_put_right_inside() {
        let all = [
            entry("", Kind::Folder),
            entry("dev/tty 1", Kind::Char(4, 1)),
            entry("a\"b", Kind::File(1)),
        ];
        assert_eq!(
            commands(&all),
            "sif \"/\" uid 0\nsif \"/\" gid 0\n\
             cd \"/dev/\"\nmknod \"tty 1\" c 4 1\ncd /\nsif \"/dev/tty 1\" mode 020640\n\
             sif \"/dev/tty 1\" uid 0\nsif \"/dev/tty 1\" gid 0\n"
        );
    }

    #[test]
    fn it_grows_until_everything_fits() {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("stage2.img");
        let mut tries = 0;
        let mut runner = Recorder::new(|_| {
            tries += 1;
            match tries {
                1 => anyhow::bail!("mke2fs: Could not allocate block in ext2 filesystem"),
                _ => Ok(String::new()),
            }
        });
        let entries = [entry("", Kind::Folder), entry("a", Kind::File(5 << 20))];
        let place = (folder.path(), &*image);
        let bytes = make(&mut runner, place, &entries, (0, Lacking::default())).unwrap();
        let first = size(&entries, 0);
        assert!((6 << 20..8 << 20).contains(&first), "{first}");
        assert_eq!(bytes, first + first / 8);
        assert_eq!(image.metadata().unwrap().len(), bytes);
        drop(runner);
        let mut runner = Recorder::new(|_| anyhow::bail!("mke2fs: bad magic"));
        let error = make(&mut runner, place, &entries, (0, Lacking::default())).unwrap_err();
        assert!(format!("{error:#}").contains("bad magic"));
        assert_eq!(runner.lines.len(), 1);
    }

    #[test]
    fn what_debugfs_refuses_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("stage2.img");
        let lacking = Lacking {
            owners: 1,
            devices: 0,
        };
        let entries = [entry("", Kind::Folder)];
        let place = (folder.path(), &*image);
        let mut runner = Recorder::new(|line| {
            match line.starts_with("sh ") {
            true => Ok("debugfs 1.47.0 (5-Feb-2023)\ndebugfs: sif / uid 0\nsif: File not found by ext2_lookup\n".to_owned()),
            false => Ok(String::new()),
        }
        });
        let error = make(&mut runner, place, &entries, (0, lacking)).unwrap_err();
        assert!(error.to_string().contains("File not found"), "{error}");
        let mut runner = Recorder::new(|_| Ok("debugfs: x\nAllocated inode: 12\n".to_owned()));
        make(&mut runner, place, &entries, (0, lacking)).unwrap();
        assert!(!image.with_extension("debugfs").exists());
    }
}
