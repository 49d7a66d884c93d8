//! Stage 2 by ka: what `ka-d-session` sends, and what a node says when nobody does.

use std::fs::{self, File};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use goldring_host_tests::net::run;
use goldring_host_tests::program::goldring;
use goldring_vm_tests::guest::{Guest, Machine};
use goldring_vm_tests::room::{Room, mac};
use libtest_mimic::Trial;

use crate::images::images;
use crate::stage1::LIMIT;
use crate::turns::while_others_work;
use crate::{no_lab, trial};

/// The manual's PXE entry, with a rescue shell at its end.
const MANUAL: &str = "initrd=images/all.rdz ramdisk_size=64000 vga=788 \
     automatic=method:ka,interface:eth0,network:dhcp root=/dev/ram3 rw rescue";
const PRIVATE: &str = "automatic=method:ka,interface:eth0,network:dhcp kaopt=lab rescue";
const RUNNING: &str = "goldring: stage 2 running";

pub(crate) fn trials() -> Vec<Trial> {
    type Story = (&'static str, fn() -> Result<()>);
    let stories: [Story; 3] = [
        ("ka::two_nodes_get_an_unpacked_stage_2", unpacked),
        ("ka::a_private_session_brings_the_image", image),
        ("ka::no_ka_server_answers", nobody),
    ];
    stories
        .map(|(name, story)| trial(name, no_lab(), story))
        .into()
}

fn room(nodes: usize) -> Result<Room> {
    let mut room = Room::new(nodes)?;
    let host = |node| format!("dhcp-host={},10.0.1.{}\n", mac(node), 30 + node);
    room.dnsmasq(&(1..=nodes).map(host).collect::<String>())?;
    Ok(room)
}

fn node(room: &Room, number: usize, words: &str) -> Result<Guest> {
    Machine::new(&images()?, words)
        .in_room(room, number)
        .start()
}

/// Runs `ka-d-session` while the nodes do what `meanwhile` says; it must end well.
fn session(room: &Room, words: &[&str], meanwhile: impl FnOnce() -> Result<()>) -> Result<()> {
    let log = room.folder().join("session.log");
    let file = File::create(&log)?;
    let mut command = room.command(goldring()?);
    command.arg("ka-d-session").args(words);
    command.stdin(Stdio::null()).stdout(file.try_clone()?);
    let mut child = command.stderr(file).spawn().context("ka-d-session")?;
    let result = meanwhile();
    let said = || fs::read_to_string(&log).unwrap_or_default();
    let start = Instant::now();
    while result.is_ok() && start.elapsed() < LIMIT {
        if let Some(status) = child.try_wait()? {
            ensure!(status.success(), "{status}:\n{}", said());
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    // It may have ended.
    let _ = child.kill();
    let _ = child.wait();
    match result {
        Ok(()) => bail!("ka-d-session never ends:\n{}", said()),
        Err(error) => Err(error.context(said())),
    }
}

/// The tree is the root of stage 2, and both nodes can work in it.
fn unpacked() -> Result<()> {
    let room = room(2)?;
    let tree = room.folder().join("tree").to_string_lossy().into_owned();
    let image = images()?.join("rescue.clp");
    let image = image.to_string_lossy();
    let prepare = ["prepare", &image, "--into", &tree, "--no-img"];
    run(&goldring()?.to_string_lossy(), &prepare)?;
    let mut guests = [node(&room, 1, MANUAL)?, node(&room, 2, MANUAL)?];
    session(&room, &["-n", "2", "--data-path", &tree], || {
        for guest in &mut guests {
            guest.expect(RUNNING, LIMIT * 2)?;
        }
        Ok(())
    })?;
    for guest in &mut guests {
        guest.expect("# ", LIMIT)?;
        guest.type_line("goldring --version && sfdisk --version && echo both-there")?;
        guest.expect("\nboth-there", LIMIT)?;
    }
    Ok(())
}

/// A folder with `rescue.clp` in it; another session of the same network is another one.
fn image() -> Result<()> {
    let room = room(1)?;
    let folder = room.folder().join("ka");
    fs::create_dir(&folder)?;
    fs::copy(images()?.join("rescue.clp"), folder.join("rescue.clp"))?;
    let folder = folder.to_string_lossy().into_owned();
    let mut guest = node(&room, 1, PRIVATE)?;
    let words = ["-n", "1", "--name", "lab", "--data-path", &folder];
    session(&room, &words, || guest.expect(RUNNING, LIMIT * 2))
}

/// Five tries, the manual's sentence, and a reboot.
fn nobody() -> Result<()> {
    let room = room(1)?;
    let mut guest = node(&room, 1, PRIVATE)?;
    guest.expect(" stage 1, kernel ", LIMIT)?;
    while_others_work(|| guest.expect("Can't reach a valid KA server", LIMIT * 3))?;
    guest.expect_reboot(Duration::from_secs(90))
}
