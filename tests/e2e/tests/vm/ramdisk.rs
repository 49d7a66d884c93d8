//! Stage 2 by dolly: what a golden node may send to `/dev/ram3`, and what goes wrong.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use goldring_host_tests::net::run;
use goldring_host_tests::program::{self, goldring};
use goldring_vm_tests::guest::{Guest, Machine};
use goldring_vm_tests::room::{Room, SERVER, mac};
use libtest_mimic::Trial;

use crate::images::images;
use crate::stage1::LIMIT;
use crate::{no_lab, trial};

/// The manual's PXE entries, as they stand.
const MANUAL: &str = "initrd=images/all.rdz ramdisk_size=64000 vga=788 \
     automatic=method:dolly,dolly_timeout:100,interface:eth0,network:dhcp rescue dollymethod";
const MANUAL_KA: &str = "initrd=images/all.rdz ramdisk_size=64000 vga=788 \
     automatic=method:dolly,interface:eth0,network:dhcp root=/dev/ram3 rw rescue kamethod";
const MANUAL_PLUS: &str = "initrd=images/all.rdz ramdisk_size=64000 vga=788 \
     automatic=method:dolly,interface:eth0,network:dhcp root=/dev/ram3 rw rescue dollyCmethod";
/// A rescue shell, and a golden node that is given up soon.
const RESCUE: &str = "ramdisk_size=64000 automatic=method:dolly,network:dhcp rescue";
const RUNNING: &str = "goldring: stage 2 running";

pub(crate) fn trials() -> Vec<Trial> {
    type Story = (&'static str, fn() -> Result<()>);
    let stories: [Story; 10] = [
        (
            "ramdisk::two_nodes_get_stage_2_and_then_a_disk_by_dolly",
            two_rings,
        ),
        (
            "ramdisk::entries_for_ka_and_dolly_plus_reach_stage_2",
            other_methods,
        ),
        ("ramdisk::an_old_server_sends_an_ext2_image", old_server),
        ("ramdisk::a_compressed_loop_image_is_expanded", compressed),
        ("ramdisk::nobody_comes", nobody),
        ("ramdisk::a_server_that_means_a_disk_is_refused", disk_meant),
        ("ramdisk::a_server_that_dies_is_waited_for_again", dies),
        ("ramdisk::too_large_for_the_memory", too_large),
        ("ramdisk::a_broken_super_block", broken),
        ("ramdisk::an_old_rescue_system_has_no_agent", no_agent),
    ];
    stories
        .map(|(name, story)| trial(name, no_lab().or_else(no_tools), story))
        .into()
}

/// Why no image of the old days can be made here, if so.
fn no_tools() -> Option<&'static str> {
    let tools = ["unsquashfs", "mke2fs", "xorriso", "create_compressed_fs"];
    let there = |tool| {
        let command = Command::new(tool).stdin(Stdio::null()).output();
        command.is_ok()
    };
    (!tools.into_iter().all(there)).then_some(
        "needs squashfs-tools, e2fsprogs, xorriso and cloop-utils; as root, cargo xtask test \
         installs them",
    )
}

/// A room in which node 1 has 10.0.1.31, node 2 10.0.1.32.
fn room(nodes: usize) -> Result<Room> {
    let mut room = Room::new(nodes)?;
    let host = |node| format!("dhcp-host={},{}\n", mac(node), address(node));
    room.dnsmasq(&(1..=nodes).map(host).collect::<String>())?;
    Ok(room)
}

fn address(node: usize) -> String {
    format!("10.0.1.{}", 30 + node)
}

fn node(room: &Room, number: usize, words: &str) -> Result<Guest> {
    Machine::new(&images()?, words)
        .in_room(room, number)
        .start()
}

/// The golden node's program; it ends with the story.
struct Golden {
    child: Child,
    log: PathBuf,
}

impl Golden {
    /// Sends `input` to `output` on so many nodes, with goldring or the old program.
    fn start(room: &Room, (input, output): (&Path, &str), nodes: usize, old: bool) -> Result<Self> {
        let config = room.folder().join("dolly.cfg");
        let names: String = (1..=nodes).map(|node| address(node) + "\n").collect();
        fs::write(
            &config,
            format!(
                "infile {}\noutfile {output}\nserver {SERVER}\nfirstclient {}\nlastclient {}\n\
                 clients {nodes}\n{names}endconfig\n",
                input.display(),
                address(1),
                address(nodes)
            ),
        )?;
        let mut command = if old {
            let mut command = room.command("python3");
            command.arg(program::classic()).arg("server").arg(&config);
            command
        } else {
            let mut command = room.command(goldring()?);
            command.args(["dolly", "-s", "-v", "-f"]).arg(&config);
            command
        };
        let log = room.folder().join("golden.log");
        let file = File::create(&log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .context("starting the golden node")?;
        Ok(Self { child, log })
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits for its end, which must be a good one or not.
    fn ends(&mut self, well: bool) -> Result<()> {
        let start = Instant::now();
        while start.elapsed() < LIMIT {
            if let Some(status) = self.child.try_wait()? {
                ensure!(status.success() == well, "{status}:\n{}", self.said());
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        bail!("the golden node never ends:\n{}", self.said())
    }
}

impl Drop for Golden {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One node that gets `input` as stage 2 from goldring and is switched on first.
fn one(input: &Path) -> Result<(Room, Guest, Golden)> {
    let room = room(1)?;
    let guest = node(&room, 1, RESCUE)?;
    let golden = Golden::start(&room, (input, "/dev/ram3"), 1, false)?;
    Ok((room, guest, golden))
}

/// The files of stage 2 in a folder, as the old manual mounts them.
fn tree(folder: &Path) -> Result<String> {
    let tree = folder.join("tree").to_string_lossy().into_owned();
    let image = images()?.join("rescue.clp");
    run(
        "unsquashfs",
        &["-q", "-n", "-d", &tree, &image.to_string_lossy()],
    )?;
    Ok(tree)
}

/// Stage 2 in a ring of two, then a disk in a second ring over the same ports.
fn two_rings() -> Result<()> {
    let room = room(2)?;
    let rescue = images()?.join("rescue.clp");
    let mut golden = Golden::start(&room, (&rescue, "/dev/ram3"), 2, false)?;
    let mut guests = [node(&room, 1, MANUAL)?, node(&room, 2, MANUAL)?];
    golden.ends(true)?;
    let disk = room.folder().join("golden.img");
    let bytes: Vec<u8> = (0..12_000_000u32)
        .flat_map(|n| (n ^ n >> 7).to_le_bytes())
        .collect();
    fs::write(&disk, &bytes)?;
    let mut golden = Golden::start(&room, (&disk, "/dev/vda"), 2, false)?;
    for guest in &mut guests {
        guest.expect(RUNNING, LIMIT)?;
        guest.expect("goldring: clone done", LIMIT)?;
    }
    golden.ends(true)?;
    for guest in &mut guests {
        guest.expect_reboot(Duration::from_secs(60))?;
        let copy = fs::read(guest.disk())?;
        ensure!(copy[..bytes.len()] == bytes, "the clone differs");
    }
    Ok(())
}

/// One looks for a golden node of ka, the other waits for dolly+.
fn other_methods() -> Result<()> {
    let room = room(2)?;
    let rescue = images()?.join("rescue.clp");
    let _golden = Golden::start(&room, (&rescue, "/dev/ram3"), 2, false)?;
    let mut guests = [node(&room, 1, MANUAL_KA)?, node(&room, 2, MANUAL_PLUS)?];
    let [ka, plus] = &mut guests;
    for guest in [&mut *ka, &mut *plus] {
        guest.expect(RUNNING, LIMIT)?;
    }
    ka.expect("looking for the ka server of session kainstall1", LIMIT)?;
    plus.expect("I am a dolly+ client", LIMIT)?;
    plus.expect("dolly+: waiting for the golden node", LIMIT)
}

/// The image of the old manual: larger than its `ramdisk_size`, which is no reason to
/// fail, from a server that tells the size last.
fn old_server() -> Result<()> {
    let room = room(1)?;
    let mut guest = node(&room, 1, RESCUE)?;
    let image = room.folder().join("stage2.img");
    let path = image.to_string_lossy();
    let tree = tree(room.folder())?;
    run("mke2fs", &["-q", "-t", "ext2", "-d", &tree, &path, "180M"])?;
    // The old program ends when a node is not there yet.
    guest.expect("dolly: waiting for the golden node", LIMIT)?;
    let mut golden = Golden::start(&room, (&image, "/dev/ram3"), 1, true)?;
    guest.expect("so not the rescue.clp of this all.rdz", LIMIT)?;
    guest.expect(RUNNING, LIMIT)?;
    golden.ends(true)?;
    guest.expect("# ", LIMIT)?;
    guest.type_line("grep ' /run/stage2/lower ' /proc/mounts; cat /run/goldring/network")?;
    guest.expect("/dev/ram3 /run/stage2/lower ext", LIMIT)?;
    guest.expect(&format!("server {SERVER}"), LIMIT)
}

/// ISO 9660 in a compressed loop image, from the tools that made them in 2006.
fn compressed() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let tree = tree(folder.path())?;
    let iso = folder.path().join("rescue.iso");
    let image = folder.path().join("rescue.clp");
    let (iso, clp) = (iso.to_string_lossy(), image.to_string_lossy());
    run(
        "xorriso",
        &["-as", "mkisofs", "-quiet", "-R", "-o", &iso, &tree],
    )?;
    run(
        "create_compressed_fs",
        &["-q", "-L", "1", "-B", "65536", &iso, &clp],
    )?;
    let (_room, mut guest, mut golden) = one(&image)?;
    guest.expect("rescue.clp is a compressed loop image", LIMIT)?;
    guest.expect(RUNNING, LIMIT)?;
    golden.ends(true)?;
    guest.expect("# ", LIMIT)?;
    // The memory of the packed one is free again.
    guest
        .type_line("grep ' /run/stage2/lower ' /proc/mounts; ls /dev/ram3 || echo gone-$((6*7))")?;
    guest.expect("/run/stage2/lower iso9660", LIMIT)?;
    guest.expect("gone-42", LIMIT)
}

fn nobody() -> Result<()> {
    let room = room(1)?;
    let words = "automatic=method:dolly,dolly_timeout:5,network:dhcp rescue dolly_timeout=300";
    let mut guest = node(&room, 1, words)?;
    for number in ["(try 1/3)", "(try 2/3)", "(try 3/3, the last)"] {
        guest.expect("Can't reach a valid Dolly server", LIMIT)?;
        guest.expect(number, LIMIT)?;
    }
    guest.expect("ebooting in 5 s", LIMIT)?;
    guest.expect_reboot(Duration::from_secs(60))
}

/// The disk stays as it is, both sides hear why, and the mended configuration works.
fn disk_meant() -> Result<()> {
    let room = room(1)?;
    let mut guest = node(&room, 1, RESCUE)?;
    let rescue = images()?.join("rescue.clp");
    let mut golden = Golden::start(&room, (&rescue, "/dev/vda"), 1, false)?;
    let sentence = "the dolly server wants to write to /dev/vda, but stage 2 goes to /dev/ram3: \
                    write outfile /dev/ram3 in its configuration";
    guest.expect(&format!("{sentence} (try 1/3)"), LIMIT)?;
    golden.ends(false)?;
    ensure!(golden.said().contains(sentence), "{}", golden.said());
    let _golden = Golden::start(&room, (&rescue, "/dev/ram3"), 1, false)?;
    guest.expect(RUNNING, LIMIT)?;
    ensure!(
        fs::read(guest.disk())?.iter().all(|byte| *byte == 0),
        "the disk was written"
    );
    Ok(())
}

fn dies() -> Result<()> {
    let rescue = images()?.join("rescue.clp");
    let (room, mut guest, golden) = one(&rescue)?;
    guest.expect("bytes to come", LIMIT)?;
    drop(golden);
    guest.expect("(try 1/3)", LIMIT)?;
    let mut golden = Golden::start(&room, (&rescue, "/dev/ram3"), 1, false)?;
    guest.expect(RUNNING, LIMIT)?;
    golden.ends(true)
}

fn too_large() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let image = folder.path().join("huge.img");
    File::create(&image)?.set_len(2 << 30)?;
    let (_room, mut guest, mut golden) = one(&image)?;
    let sentence = "not enough memory: rescue.clp has 2048 MB and the system needs 48 MB more";
    guest.expect(sentence, LIMIT)?;
    guest.expect("ebooting in 30 s", LIMIT)?;
    golden.ends(false)?;
    ensure!(golden.said().contains(sentence), "{}", golden.said());
    guest.expect_reboot(Duration::from_secs(90))
}

fn broken() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let image = folder.path().join("rescue.clp");
    let mut bytes = fs::read(images()?.join("rescue.clp"))?;
    bytes.truncate(3 << 20);
    bytes[28] = 9;
    fs::write(&image, bytes)?;
    let (_room, mut guest, _golden) = one(&image)?;
    guest.expect(
        "rescue.clp is a broken squashfs image: it says squashfs 9.0",
        LIMIT,
    )?;
    guest.expect("copy it to the server again", LIMIT)?;
    guest.expect_reboot(Duration::from_secs(90))
}

fn no_agent() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let tree = folder.path().join("tree");
    fs::create_dir_all(tree.join("ka"))?;
    let image = folder.path().join("stage2.img");
    let (tree, path) = (tree.to_string_lossy(), image.to_string_lossy());
    run("mke2fs", &["-q", "-t", "ext2", "-d", &tree, &path, "4M"])?;
    let (_room, mut guest, _golden) = one(&image)?;
    guest.expect("this stage 2 has no /usr/bin/goldring", LIMIT)?;
    guest.expect_reboot(Duration::from_secs(90))
}
