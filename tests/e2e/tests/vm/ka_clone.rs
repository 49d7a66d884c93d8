//! A golden machine, started from its disk, clones itself with `ka-d` onto computers with
//! other disks; they start from these.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use goldring_files::compare::{self, compare};
use goldring_host_tests::net::run;
use goldring_host_tests::target::{Loop, Mounted};
use goldring_vm_tests::guest::{Bus, Card, Guest, Machine};
use goldring_vm_tests::room::{Room, SERVER, mac};
use goldring_vm_tests::trees::{self, Part};
use libtest_mimic::Trial;

use crate::images::{golden_machine, images};
use crate::stage1::LIMIT;
use crate::{no_lab, not_long, trial};

/// How long a clone may take, with four machines on two processors.
const CLONE: Duration = Duration::from_secs(5400);
/// How long a disk that must not start is given to start all the same.
const BOOT: Duration = Duration::from_secs(60);
/// The manual's desc, with other sizes: `/`, swap, `/var`, and the rest for `/home`.
const DESC: &str =
    "linux 1300\nextended fill\nlogical swap 300\nlogical linux 800\nlogical linux fill\n";
/// The nodes' disks are larger than the golden one.
const DISK: u64 = 4 << 30;
/// The tree has more files than that; fewer would mean that something was not mounted.
const FILES: u64 = 5_000;
/// The golden machine's file systems, as `layouts/several.sh` of xtask makes them.
const PARTS: [Part<'_>; 3] = [
    Part {
        number: 1,
        place: "/",
        kind: "ext4",
    },
    Part {
        number: 6,
        place: "/var",
        kind: "xfs",
    },
    Part {
        number: 7,
        place: "/home",
        kind: "btrfs",
    },
];

pub(crate) fn trials() -> Vec<Trial> {
    let missing = || no_lab().or_else(not_long).or_else(no_file_systems);
    vec![
        trial(
            "ka_clone::a_debian_onto_ide_nvme_and_virtio_at_once",
            missing(),
            three_buses,
        ),
        trial(
            "ka_clone::the_manuals_steps_and_a_node_that_is_unplugged",
            missing(),
            unplugged,
        ),
        trial(
            "ka_clone::an_image_of_a_store_while_the_golden_machine_is_off",
            missing(),
            out_of_the_store,
        ),
    ]
}

fn no_file_systems() -> Option<&'static str> {
    trees::unknown(&PARTS)
        .map(|_| "this kernel does not know xfs or btrfs, so nobody can compare the files")
}

/// A room with the golden machine and nodes; the golden one has the number behind theirs.
struct Scene {
    room: Room,
    golden: Guest,
    golden_disk: PathBuf,
    nodes: Vec<Node>,
}

struct Node {
    number: usize,
    bus: Bus,
    disk: PathBuf,
}

impl Scene {
    /// Starts the golden machine, logs in there, and puts `goldring`, stage 2 (`/mnt/ka`) and
    /// the desc there.
    fn new(buses: &[Bus]) -> Result<Self> {
        let count = buses.len() + 1;
        let mut room = Room::new(count)?;
        let name = |number| match number {
            number if number == count => "golden".to_owned(),
            number => format!("node{number}"),
        };
        let hosts: String = (1..=count)
            .map(|n| format!("dhcp-host={},10.0.1.{},{}\n", mac(n), 30 + n, name(n)))
            .collect();
        room.dnsmasq(&hosts)?;
        let folder = room.folder().to_owned();
        let golden_disk = folder.join("golden");
        let made = golden_machine("several")?;
        let made = made.first().context("a golden machine without a disk")?;
        run(
            "cp",
            &["--sparse=always", &text(made)?, &text(&golden_disk)?],
        )?;
        let mut nodes = Vec::new();
        for (number, bus) in (1..).zip(buses) {
            let disk = folder.join(format!("disk{number}"));
            File::create(&disk)?.set_len(DISK)?;
            let bus = *bus;
            nodes.push(Node { number, bus, disk });
        }
        let tools = tools(&folder, &images()?)?;
        let mut golden = Machine::of_disks()
            .in_room(&room, count)
            .disk(&golden_disk, Bus::Ide)
            .disk(&tools, Bus::Virtio)
            .start()?;
        golden.log_in("root", "golden", LIMIT * 3)?;
        golden.run(
            "mount /dev/vda /media && cp /media/goldring /usr/local/bin && cp -r /media/ka /mnt \
             && cp /media/desc . && umount /media",
            LIMIT,
        )?;
        golden.run(
            "until ip address | grep 'inet 10.0.1'; do sleep 1; done",
            LIMIT,
        )?;
        Ok(Self {
            room,
            golden,
            golden_disk,
            nodes,
        })
    }

    /// A web server with stage 2.
    fn web(&mut self) -> Result<()> {
        let www = self.room.folder().join("www");
        let place = www.join("cs4/install/stage2");
        fs::create_dir_all(&place)?;
        fs::copy(images()?.join("rescue.clp"), place.join("rescue.clp"))?;
        let mut web = self.room.command("python3");
        web.args(["-m", "http.server", "80", "--bind", SERVER, "--directory"]);
        web.arg(&www);
        self.room.serve("web", web, None)
    }

    /// Switches a node on.
    fn power(&self, node: &Node, words: &str) -> Result<Guest> {
        Machine::new(&images()?, words)
            .without_disk()
            .in_room(&self.room, node.number)
            .disk(&node.disk, node.bus)
            .start()
    }

    /// Switches the golden machine off, so that its files can be looked at.
    fn golden_off(&mut self) -> Result<()> {
        self.golden.type_line("poweroff")?;
        self.golden.expect_reboot(LIMIT * 3)?;
        trees::with_other_uuids(&self.golden_disk, &PARTS)
    }

    /// The node's files are those of the golden machine but for [`EXPECTED`].
    fn same_files(&self, node: &Node) -> Result<()> {
        let golden = trees::mounted(&self.golden_disk, &PARTS)?;
        let clone = trees::mounted(&node.disk, &PARTS)?;
        let mut differences = Vec::new();
        let wish = compare::Wish::default();
        let (a, b) = (golden.folder.path(), clone.folder.path());
        let verdict = compare(a, b, &wish, &mut |said| {
            if !EXPECTED.iter().any(|expected| expected.is(said)) {
                differences.push(said.to_owned());
            }
        })?;
        ensure!(verdict.files > FILES, "only {} files", verdict.files);
        ensure!(
            differences.is_empty(),
            "node{} differs:\n{}",
            node.number,
            differences.join("\n")
        );
        Ok(())
    }

    /// The node starts from its disk, knows its name, and has everything mounted.
    fn starts(&self, node: &Node, disk: &str) -> Result<()> {
        let mut guest = Machine::of_disks()
            .in_room(&self.room, node.number)
            .disk(&node.disk, node.bus)
            .start()?;
        guest.log_in("root", "golden", LIMIT * 3)?;
        let said = guest.run(
            "hostname; swapon --show=NAME --noheadings; findmnt -rno TARGET,SOURCE,FSTYPE; \
             systemctl --failed --no-legend",
            LIMIT,
        )?;
        for words in [
            &format!("node{}\n", node.number),
            &format!("{disk}5\n"),
            &format!("/ {disk}1 ext4\n"),
            &format!("/var {disk}6 xfs\n"),
            &format!("/home {disk}7 btrfs\n"),
        ] {
            ensure!(said.contains(words), "no {words:?} in:\n{said}");
        }
        ensure!(!said.contains("loaded failed"), "{said}");
        Ok(())
    }
}

/// The command line of a node that gets stage 2 from the web server.
fn http() -> String {
    format!(
        "automatic=method:http,interface:auto,network:dhcp,server:{SERVER},directory:/cs4 \
         rescue kamethod"
    )
}

fn text(path: &Path) -> Result<String> {
    path.to_str().map(str::to_owned).context("an odd name")
}

/// A disk with `goldring` as it is in stage 2, stage 2 itself, the desc, and room.
fn tools(folder: &Path, images: &Path) -> Result<PathBuf> {
    let (tree, disk) = (folder.join("tools"), folder.join("tools.img"));
    let unpacked = folder.join("stage2");
    let stage2 = images.join("rescue.clp");
    run(
        "unsquashfs",
        &[
            "-q",
            "-n",
            "-d",
            &text(&unpacked)?,
            &text(&stage2)?,
            "usr/bin/goldring",
        ],
    )?;
    fs::create_dir_all(tree.join("ka"))?;
    fs::copy(unpacked.join("usr/bin/goldring"), tree.join("goldring"))?;
    fs::copy(&stage2, tree.join("ka/rescue.clp"))?;
    fs::write(tree.join("desc"), DESC)?;
    run(
        "mke2fs",
        &[
            "-q",
            "-t",
            "ext4",
            "-d",
            &text(&tree)?,
            &text(&disk)?,
            "900M",
        ],
    )?;
    Ok(disk)
}

/// A difference that a clone must have, or that the golden machine makes while it runs on.
struct Expected {
    /// A path, or with a slash or a dash at its end all that begins so.
    path: &'static str,
    /// What differs; empty: anything.
    what: &'static str,
    /// Why.
    _why: &'static str,
}

impl Expected {
    fn is(&self, said: &str) -> bool {
        let Some((path, what)) = said.split_once(": ") else {
            return false;
        };
        let same = match self.path.ends_with(['/', '-']) {
            true => path.starts_with(self.path),
            false => path == self.path,
        };
        same && what.starts_with(self.what)
    }
}

const fn expected(path: &'static str, what: &'static str, why: &'static str) -> Expected {
    Expected {
        path,
        what,
        _why: why,
    }
}

const EXPECTED: [Expected; 28] = [
    expected("/dev", "changed", "of the mount"),
    expected("/media", "changed", "of the mount"),
    expected("/proc", "changed", "of the mount"),
    expected("/run", "changed", "of the mount"),
    expected("/sys", "changed", "of the mount"),
    expected("/mnt/ka/rescue.clp", "is missing", "-x"),
    expected("/etc", "changed", "of what follows"),
    expected("/etc/fstab", "", "names of disks"),
    expected("/etc/machine-id", "", "made fresh"),
    expected("/etc/hostname", "", "by DHCP"),
    expected("/etc/hosts", "", "by DHCP"),
    expected(
        "/etc/initramfs-tools/conf.d",
        "changed",
        "a setting for the run",
    ),
    expected("/boot", "changed", "of what follows"),
    expected("/boot/initrd.img-", "", "rebuilt"),
    expected("/boot/grub", "changed", "of what follows"),
    expected("/boot/grub/", "", "installed again"),
    expected(
        "/var/lib/initramfs-tools",
        "changed",
        "a checksum of the initramfs",
    ),
    expected(
        "/var/lib/initramfs-tools/",
        "",
        "a checksum of the initramfs",
    ),
    expected("/var/tmp", "changed", "where it was rebuilt"),
    expected("/tmp", "changed", "of what follows"),
    expected("/tmp/systemd-private-", "", "gone with its service"),
    expected("/var/tmp/systemd-private-", "", "gone with its service"),
    expected("/var/lib/systemd", "changed", "of what follows"),
    expected("/var/lib/systemd/random-seed", "", "made fresh"),
    expected("/var/log/", "", "the golden machine goes on"),
    expected("/var/lib/systemd/", "", "the golden machine goes on"),
    expected("/root", "changed", "of what follows"),
    expected("/root/.bash_history", "", "written at the logout"),
];

/// Three computers whose disks are larger than the golden one and on other buses.
fn three_buses() -> Result<()> {
    let mut scene = Scene::new(&[Bus::Ide, Bus::Nvme, Bus::Virtio])?;
    scene.web()?;
    let dry = scene
        .golden
        .run("goldring ka-d -n 3 -p sda desc --dry-run", LIMIT)?;
    println!("{dry}");
    let mut guests = Vec::new();
    for node in &scene.nodes {
        guests.push(scene.power(node, &http())?);
    }
    let said = scene.golden.run(
        "goldring ka-d -n 3 -p sda desc -x /mnt/ka --no-stage2 --stall-timeout 120",
        CLONE,
    )?;
    ensure!(
        said.contains("3 of 3 nodes are complete and bootable"),
        "{said}"
    );
    for guest in &mut guests {
        guest.expect("cloned and bootable", LIMIT)?;
        guest.expect_reboot(LIMIT)?;
    }
    scene.golden_off()?;
    let disks = ["/dev/sda", "/dev/nvme0n1p", "/dev/vda"];
    for (node, disk) in scene.nodes.iter().zip(disks) {
        scene.same_files(node)?;
        scene.starts(node, disk)?;
    }
    Ok(())
}

/// Stage 2 comes from the golden machine, too, and one of two nodes loses its cable while
/// the files come.
fn unplugged() -> Result<()> {
    let mut scene = Scene::new(&[Bus::Ide, Bus::Ide])?;
    let words = "automatic=method:ka,interface:eth0,network:dhcp rescue kamethod";
    let mut guests = Vec::new();
    for node in &scene.nodes {
        guests.push(scene.power(node, words)?);
    }
    scene
        .golden
        .run("DATA_PATH=/mnt/ka goldring ka-d-session -n 2", CLONE)?;
    scene.golden.type_line(
        "goldring ka-d -n 2 -p sda desc -x /mnt/ka -r grub --stall-timeout 60; echo ka-d=$?",
    )?;
    // Some of the files are there.
    guests[1].expect("session kainstall2", CLONE)?;
    guests[1].expect("ka: 5", CLONE)?;
    guests[1].unplug("tap2")?;
    scene.golden.expect("\nka-d=1", CLONE)?;
    let said = scene.golden.console();
    for words in [
        "node1 (10.0.1.31): complete and bootable",
        "node2 (10.0.1.32): not complete: files: ",
        "1 of 2 nodes are complete and bootable",
    ] {
        ensure!(said.contains(words), "no {words:?} in:\n{said}");
    }
    guests[0].expect("cloned and bootable", LIMIT)?;
    guests[0].expect_reboot(LIMIT)?;
    drop(guests);
    scene.golden_off()?;
    let (whole, half) = (&scene.nodes[0], &scene.nodes[1]);
    scene.same_files(whole)?;
    scene.starts(whole, "/dev/sda")?;
    // Firmware finds nothing to start in the first sector of the other one.
    let mut first = [1; 440];
    File::open(&half.disk)?.read_exact(&mut first)?;
    ensure!(first == [0; 440], "half a clone has boot code");
    let mut guest = Machine::of_disks()
        .card(Card::None)
        .disk(&half.disk, half.bus)
        .start()?;
    ensure!(guest.expect("login:", BOOT).is_err(), "half a clone starts");
    Ok(())
}

/// The golden machine keeps itself on its second disk and is switched off. Somebody else has
/// that disk, looks at the image, and deploys it.
fn out_of_the_store() -> Result<()> {
    let mut scene = Scene::new(&[Bus::Virtio])?;
    scene.web()?;
    scene.golden.run(
        "mount /dev/vda /media && goldring store save /media/lab --level 1 -x /mnt/ka \
         --description 'the lab' && umount /media",
        CLONE,
    )?;
    scene.golden_off()?;
    let folder = scene.room.folder().to_owned();
    let (tools, place) = (Loop::of(&folder.join("tools.img"))?, folder.join("media"));
    fs::create_dir(&place)?;
    let _mounted = Mounted::with(&tools.device, "ro", &place)?;
    let goldring = folder.join("tools/goldring");
    let mut guest = scene.power(&scene.nodes[0], &http())?;
    let image = text(&place.join("lab"))?;
    for (words, wanted) in [
        (&["list", &image][..], "the lab"),
        (&["verify", &image], "whole"),
        (
            &[
                "send",
                &image,
                "--no-stage2",
                "--stall-timeout",
                "120",
                "--timeout",
                "600",
            ],
            "node1 (10.0.1.31): complete and bootable",
        ),
    ] {
        let output = scene
            .room
            .command(&goldring)
            .arg("store")
            .args(words)
            .output()?;
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        ensure!(output.status.success() && said.contains(wanted), "{said}");
    }
    guest.expect("cloned and bootable", LIMIT)?;
    guest.expect_reboot(LIMIT)?;
    drop(guest);
    scene.same_files(&scene.nodes[0])?;
    scene.starts(&scene.nodes[0], "/dev/vda")
}
