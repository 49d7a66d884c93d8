//! What may not be overwritten is not overwritten.

use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use goldring_host_tests::program::Signal;
use goldring_host_tests::ring::{LONG, Ring};
use goldring_host_tests::target::{Loop, Mounted};

use crate::Story;

pub(crate) const STORIES: &[Story] = &[
    ("a_disk_is_cloned", disk),
    ("zeros_take_no_room_and_replace_what_was_there", zeros),
    ("a_target_that_is_too_small_stays_untouched", too_small),
    ("a_mounted_target_stays_untouched", mounted),
    ("an_absent_target_is_one_line", absent),
    ("a_disk_that_is_not_whole_does_not_look_bootable", half),
];

/// A ring of one client that writes this.
fn ring_to(goldring: &Path, target: &str, size: usize) -> Result<Ring> {
    let ring = Ring::new(goldring, 1, size)?;
    ring.configure("", target)?;
    fs::create_dir_all(ring.home(1))?;
    Ok(ring)
}

fn disk(goldring: &Path) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let size = 24 << 20;
    let disk = Loop::new(&folder.path().join("disk"), size)?;
    let ring = ring_to(goldring, &disk.device, usize::try_from(size)?)?;
    for program in &mut ring.start_all(&[])? {
        program.ends_with(0, LONG)?;
    }
    ensure!(fs::read(folder.path().join("disk"))? == ring.input);
    Ok(())
}

/// The input has holes. A loop device can be told to have zeros, a file that is new has
/// them already, and an old one has something else.
fn zeros(goldring: &Path) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let size: usize = 24 << 20;
    let backing = folder.path().join("disk");
    let disk = Loop::new(&backing, size as u64)?;
    fs::write(&disk.device, vec![0x55; size])?;
    let ring = Ring::new(goldring, 1, 0)?;
    let home = ring.home(1);
    fs::create_dir_all(&home)?;
    fs::write(home.join("old"), vec![0x55; size / 2])?;
    let mut data = vec![0; size];
    let input = fs::File::create(ring.home(0).join("in"))?;
    input.set_len(size as u64)?;
    for (at, len) in [(0, 2 << 20), (8 << 20, 1 << 20), (20 << 20, 100)] {
        data[at..at + len].fill(7);
        input.write_all_at(&data[at..at + len], at as u64)?;
    }
    for target in [disk.device.as_str(), "new", "old"] {
        ring.configure("", target)?;
        for program in &mut ring.start_all(&[])? {
            program.ends_with(0, LONG)?;
        }
        let file = if target == disk.device {
            backing.clone()
        } else {
            home.join(target)
        };
        ensure!(fs::read(&file)? == data, "{target} differs");
        let stored = fs::metadata(&file)?.blocks() * 512;
        ensure!(
            target == "old" || stored < 8 << 20,
            "{target} takes {stored} bytes"
        );
    }
    Ok(())
}

/// Both ends fail, both say the sentence, and nothing was written.
fn refused(ring: &Ring, sentence: &str, disk: Option<&Path>) -> Result<()> {
    let before = disk.map(fs::read).transpose()?;
    for program in &mut ring.start_all(&[])? {
        program.ends_with(1, Duration::from_secs(20))?;
        let said = program.said();
        let last = said.lines().last().unwrap_or_default();
        ensure!(last.contains(sentence), "{}: {said}", program.name);
    }
    ensure!(
        disk.map(fs::read).transpose()? == before,
        "the disk was written"
    );
    Ok(())
}

fn too_small(goldring: &Path) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("disk");
    let disk = Loop::new(&file, 4 << 20)?;
    let ring = ring_to(goldring, &disk.device, 5 << 20)?;
    let sentence = format!("{} has 4194304 bytes, 1048576 too few", disk.device);
    refused(&ring, &sentence, Some(&file))
}

fn mounted(goldring: &Path) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let disk = Loop::new(&folder.path().join("disk"), 16 << 20)?;
    let place = folder.path().join("mnt");
    let _mounted = Mounted::new(&disk.device, &place)?;
    let ring = ring_to(goldring, &disk.device, 1 << 20)?;
    let sentence = format!("{} is mounted on {}", disk.device, place.display());
    refused(&ring, &sentence, None)
}

fn absent(goldring: &Path) -> Result<()> {
    let ring = ring_to(goldring, "/dev/no-such-disk", 1000)?;
    refused(
        &ring,
        "/dev/no-such-disk does not exist on this computer",
        None,
    )
}

fn half(goldring: &Path) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("disk");
    let disk = Loop::new(&file, 32 << 20)?;
    // The disk of before has something in its first sector.
    let mut old = vec![0x55; 32 << 20];
    old[510..512].copy_from_slice(&[0x55, 0xaa]);
    fs::write(&disk.device, &old)?;
    let ring = ring_to(goldring, &disk.device, 32 << 20)?;
    ring.net.slow(0, "50mbit")?;
    let mut programs = ring.start_all(&[])?;
    programs[1].expect("the ring is complete", LONG)?;
    std::thread::sleep(Duration::from_secs(2));
    programs[0].signal(Signal::KILL)?;
    programs[1].ends_with(1, Duration::from_secs(2))?;
    let now = fs::read(&disk.device)?;
    ensure!(
        now[..1 << 20].iter().all(|b| *b == 0),
        "the first MiB is not empty"
    );
    Ok(())
}
