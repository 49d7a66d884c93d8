//! A plan carried out: tables first, then what lies in the partitions.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use anyhow::{Context, bail, ensure};
use goldring_contract::Root;
use goldring_disk::desc::FileSystem;
use goldring_disk::identity;
use goldring_disk::mkfs::{self, NTFS_SERIAL_AT, Place, Step};
use goldring_disk::table::wipe;

use super::nodes::Nodes;
use super::stack::{self, Builder};
use super::{Disk, Plan};
use crate::killpoint::killpoint;
use crate::tools::run::Runner;

/// Where what happens is told, a line each.
pub(crate) type Report<'a> = &'a mut dyn FnMut(String);

/// Partitions the disks and makes everything in them. Everything on them is lost.
///
/// # Errors
/// A disk is in use (then nothing is written), or something fails on the way.
pub(crate) fn apply(
    root: &Root,
    runner: &mut dyn Runner,
    plans: &[Plan],
    report: Report<'_>,
) -> anyhow::Result<()> {
    let stack = stack::of(plans)?;
    for plan in plans {
        plan.disk.refuse_users(root)?;
    }
    let mut done = Vec::new();
    for plan in plans {
        done.push(write_table(root, plan, report)?);
    }
    killpoint("mkfs");
    let nodes = done.iter().map(|(nodes, _)| nodes).collect();
    let mut builder = Builder {
        root,
        runner,
        plans,
        nodes,
        report,
    };
    for (plan, (nodes, _)) in plans.iter().zip(&done) {
        for (part, line) in plan.parts() {
            if let Some(file_system) = line.file_system() {
                let node = nodes.node(root, &plan.disk, part)?;
                let name = format!("partition {} of {}", part.number, plan.disk.path.display());
                let device = node.path.to_string_lossy();
                builder.file_system(&file_system, &device, Some(part.start), &name)?;
            }
        }
    }
    builder.build(&stack)?;
    report("done".to_owned());
    Ok(())
}

/// Writes the table of a disk. The file that comes back keeps udev away from the disk,
/// which otherwise would make the kernel forget its partitions for a moment.
fn write_table(
    root: &Root,
    plan: &Plan,
    report: Report<'_>,
) -> anyhow::Result<(Nodes, Option<File>)> {
    let shown = plan.disk.path.display().to_string();
    report(format!("{shown}: writing the partition table"));
    let mut disk = plan.disk.claim(root)?;
    let lock = lock(root, &plan.disk);
    let table = &plan.layout.table;
    wipe(table, &mut disk).with_context(|| format!("wiping {shown}"))?;
    disk.sync_all().with_context(|| format!("wiping {shown}"))?;
    table.write(&mut disk).with_context(|| shown.clone())?;
    disk.sync_all()
        .with_context(|| format!("writing {shown}"))?;
    let again = plan.disk.table(root)?;
    let same = again.as_ref().is_some_and(|again| {
        again.parts.len() == table.parts.len()
            && table.parts.iter().all(|part| again.parts.contains(part))
    });
    ensure!(
        same,
        "{shown} does not hold what was written to it; is it broken, or write-protected?"
    );
    Ok((Nodes::of(root, plan, &disk)?, lock))
}

/// udev leaves a disk alone that is locked (systemd, "Locking Block Device Access").
fn lock(root: &Root, disk: &Disk) -> Option<File> {
    let file = disk.reader(root).ok()?;
    let operation = rustix::fs::FlockOperation::NonBlockingLockExclusive;
    rustix::fs::flock(&file, operation).ok().map(|()| file)
}

/// Makes a file system and looks whether it is the one that was wanted. What differs
/// without doing harm comes back as a sentence.
///
/// # Errors
/// The tool is missing or fails, or made something else.
pub(crate) fn make(
    runner: &mut dyn Runner,
    file_system: &FileSystem,
    place: Place<'_>,
) -> anyhow::Result<Option<String>> {
    for step in mkfs::steps(file_system, place) {
        match step {
            Step::Run { program, arguments } => {
                let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
                tool(runner, program, &arguments)?;
            }
            Step::NtfsSerial(serial) => {
                set_ntfs_serial(Path::new(place.device), serial)
                    .context("setting the serial number")?;
            }
            Step::Subvolumes(names) => subvolumes(runner, place.device, &names)?,
        }
    }
    let mut device =
        File::open(place.device).with_context(|| format!("opening {}", place.device))?;
    let found =
        identity::identify(&mut device).with_context(|| format!("reading {}", place.device))?;
    if let Some(difference) = mkfs::difference(file_system, found.as_ref()) {
        bail!(
            "the tool said that all is well, and {difference}; look at {}",
            place.device
        );
    }
    Ok(mkfs::note(file_system, found.as_ref()))
}

/// Runs a tool; when it is not there, says where it comes from.
pub(crate) fn tool(
    runner: &mut dyn Runner,
    program: &str,
    arguments: &[&str],
) -> anyhow::Result<String> {
    runner.run(program, arguments).map_err(|error| {
        let cause = error.downcast_ref::<std::io::Error>();
        if cause.is_some_and(|cause| cause.kind() == std::io::ErrorKind::NotFound) {
            return anyhow::anyhow!(
                "{program} is not here; install {}, or make stage 2 again with it (images/stage2.toml)",
                mkfs::package(program)
            );
        }
        error
    })
}

/// Mounts a btrfs for as long as its subvolumes are made.
fn subvolumes(runner: &mut dyn Runner, device: &str, names: &[String]) -> anyhow::Result<()> {
    let folder = tempfile::Builder::new()
        .prefix("goldring-")
        .tempdir()
        .context("making a folder to mount at")?
        // It is not removed with what is in it: that may be the file system.
        .keep();
    let place = folder.to_string_lossy();
    let made = tool(runner, "mount", &["-t", "btrfs", device, &place]).and_then(|_| {
        let all = names.iter().try_for_each(|name| {
            let path = folder.join(name);
            if let Some(above) = path.parent() {
                fs::create_dir_all(above).with_context(|| format!("making {}", above.display()))?;
            }
            let path = path.to_string_lossy();
            tool(runner, "btrfs", &["subvolume", "create", &path]).map(drop)
        });
        all.and(tool(runner, "umount", &[&place]).map(drop))
    });
    // Only if nothing is mounted there any more.
    let removed = fs::remove_dir(&folder);
    made?;
    removed.with_context(|| format!("removing {place}"))
}

/// The serial number stands in the first sector and in its copy, the last.
fn set_ntfs_serial(device: &Path, serial: u64) -> anyhow::Result<()> {
    let mut file = OpenOptions::new().read(true).write(true).open(device)?;
    let end = file.seek(SeekFrom::End(0))?;
    let size = {
        let mut boot = [0; 13];
        file.seek(SeekFrom::Start(0))?;
        file.read_exact(&mut boot)?;
        u64::from(u16::from_le_bytes([boot[11], boot[12]]))
    };
    for sector in [0, end.saturating_sub(size)] {
        let mut mark = [0; 11];
        file.seek(SeekFrom::Start(sector))?;
        file.read_exact(&mut mark)?;
        if mark[3..] == *b"NTFS    " {
            file.seek(SeekFrom::Start(sector + NTFS_SERIAL_AT))?;
            file.write_all(&serial.to_le_bytes())?;
        }
    }
    file.sync_all()?;
    Ok(())
}
