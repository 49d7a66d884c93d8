//! The configuration files of the old manual, as they stand there (addresses adapted), with
//! its commands: each computer has a root of its own with the disks that they name.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use goldring_host_tests::net::run;
use goldring_host_tests::program::Program;
use goldring_host_tests::ring::{LONG, Ring};
use goldring_host_tests::target::Loop;

use crate::Story;

pub(crate) const STORIES: &[Story] = &[
    ("the_manuals_configuration_for_stage_2", stage2),
    ("the_manuals_configuration_for_a_disk", disk),
    ("the_manuals_configuration_for_dolly_plus", plus),
];

const SIZE: usize = 3 << 20;

/// A root of its own, with nothing in it but the system's programs, the program under test
/// by one of its names, and disks. Arguments: the program, its name here, what the computer
/// is called, disks as NAME=MINOR, `--`, and what the program is given.
const COMPUTER: &str = r#"
set -e
program=$1 name=$2 own=$3
shift 3
for part in bin sbin lib lib64 usr etc proc sys; do
    [ -e /$part ] || continue
    mkdir -p root/$part
    mount --rbind /$part root/$part
done
mkdir -p root/dev
mount -t tmpfs dev root/dev
mknod -m 666 root/dev/null c 1 3
mknod -m 666 root/dev/urandom c 1 9
while [ "$1" != -- ]; do
    mknod -m 660 "root/dev/${1%=*}" b 7 "${1#*=}"
    shift
done
shift
touch "root/$name"
mount --bind "$program" "root/$name"
MYNODENAME=$own exec chroot root "/$name" "$@"
"#;

/// The computers, and what the manual calls them.
struct Room<'a> {
    goldring: &'a Path,
    ring: Ring,
    names: &'a [&'a str],
    /// Each computer's disk.
    disks: Vec<Loop>,
}

impl<'a> Room<'a> {
    /// The first is the golden node; the other disks are empty.
    fn new(goldring: &'a Path, names: &'a [&'a str]) -> Result<Self> {
        let ring = Ring::new(goldring, names.len() - 1, SIZE)?;
        let known: Vec<(usize, &str)> = names.iter().copied().enumerate().collect();
        ring.net.add_names(&known)?;
        let mut disks = Vec::new();
        for computer in 0..names.len() {
            fs::create_dir_all(ring.home(computer).join("root"))?;
            let file = ring.home(computer).join("disk");
            disks.push(Loop::new(&file, SIZE as u64)?);
        }
        fs::write(&disks[0].device, &ring.input)?;
        Ok(Self {
            goldring,
            ring,
            names,
            disks,
        })
    }

    fn root(&self, computer: usize) -> std::path::PathBuf {
        self.ring.home(computer).join("root")
    }

    /// The manual's lines.
    fn configure(&self, lines: &[&str]) -> Result<()> {
        let text = lines.join("\n") + "\n";
        Ok(fs::write(self.root(0).join("dolly.cfg"), text)?)
    }

    fn start(&self, computer: usize, disk: &str, words: &[&str]) -> Result<Program> {
        let device = &self.disks[computer].device;
        let minor = device.strip_prefix("/dev/loop").context("no loop device")?;
        let program = self.goldring.to_string_lossy().into_owned();
        let disk = format!("{disk}={minor}");
        let (name, options) = words.split_first().context("no program")?;
        let mut all = vec!["sh", "-c", COMPUTER, "sh", &program, name];
        all.extend([self.names[computer], &disk, "--"]);
        all.extend(options);
        Program::start(&self.ring.net, computer, &self.ring.home(computer), &all)
    }

    /// Clients, then the golden node; all end well.
    fn clone(&self, disk: &str, client: &[&str], golden: &[&str]) -> Result<()> {
        let mut programs = Vec::new();
        for computer in 1..self.names.len() {
            programs.push(self.start(computer, disk, client)?);
        }
        for program in &programs {
            program.expect("waiting for the golden node", LONG)?;
        }
        programs.push(self.start(0, disk, golden)?);
        for program in &mut programs {
            program.ends_with(0, LONG)?;
        }
        Ok(())
    }

    fn disks_are_the_same(&self) -> Result<()> {
        for computer in 1..self.names.len() {
            let copy = fs::read(self.ring.home(computer).join("disk"))?;
            ensure!(copy == self.ring.input, "{} differs", self.names[computer]);
        }
        Ok(())
    }
}

const DOLLY: (&[&str], &[&str]) = (&["dolly", "-v"], &["dolly", "-s", "-v", "-f", "dolly.cfg"]);

fn stage2(goldring: &Path) -> Result<()> {
    let room = Room::new(goldring, &["servernode", "c1", "c2", "c3"])?;
    fs::write(room.root(0).join("stage2.img"), &room.ring.input)?;
    room.configure(&[
        "infile stage2.img",
        "outfile /dev/ram3",
        "server servernode",
        "firstclient 10.77.0.11",
        "lastclient 10.77.0.13",
        "clients 3",
        "10.77.0.11",
        "10.77.0.12",
        "10.77.0.13",
        "endconfig",
    ])?;
    room.clone("ram3", DOLLY.0, DOLLY.1)?;
    room.disks_are_the_same()
}

fn disk(goldring: &Path) -> Result<()> {
    let names = ["node1", "node2", "node3", "node4", "node5"];
    let room = Room::new(goldring, &names)?;
    room.configure(&[
        "infile /dev/sda",
        "outfile /dev/sda",
        "server node1",
        "firstclient node2",
        "lastclient node5",
        "clients 4",
        "node2",
        "node3",
        "node4",
        "node5",
        "endconfig",
    ])?;
    room.clone("sda", DOLLY.0, DOLLY.1)?;
    room.disks_are_the_same()
}

fn plus(goldring: &Path) -> Result<()> {
    let names = ["max5.paris", "max6.paris", "max7.paris", "max8.paris"];
    let room = Room::new(goldring, &names)?;
    for computer in 0..names.len() {
        for folder in ["data", "boot"] {
            fs::create_dir_all(room.root(computer).join(folder))?;
        }
    }
    let root = room.root(0);
    fs::write(root.join("data/file"), b"some data\n")?;
    fs::write(root.join("boot/vmlinuz"), &room.ring.input[..70_000])?;
    let place = root.to_string_lossy().into_owned();
    run("gzip", &[&root.join("data/file").to_string_lossy()])?;
    run(
        "tar",
        &["-C", &place, "-cf", &format!("{place}/boot.tar"), "boot"],
    )?;
    let archive = fs::read(root.join("boot.tar"))?;
    fs::write(root.join("boot.tar.Z"), compress(&archive))?;
    room.configure(&[
        "iofiles 3",
        "/dev/hda1 > /dev/hda1",
        "/data/file.gz >> /data/file",
        "boot.tar.Z >> /boot",
        "server max5.paris",
        "firstclient max6.paris",
        "lastclient max8.paris",
        "clients 3",
        "max6.paris",
        "max7.paris",
        "max8.paris",
        "endconfig",
    ])?;
    let golden = ["dollyS", "-v", "-f", "dolly.cfg"];
    room.clone("hda1", &["dollyC", "-v"], &golden)?;
    for computer in 1..names.len() {
        let root = room.root(computer);
        ensure!(fs::read(root.join("data/file"))? == b"some data\n");
        let kernel = fs::read(root.join("boot/boot/vmlinuz"))?;
        ensure!(kernel == room.ring.input[..70_000], "boot differs");
    }
    room.disks_are_the_same()
}

/// What compress(1) could have made, without compressing: codes of 9 bits, and a "clear" as
/// the last of every 248, before they would have to become longer. Codes come in groups of
/// eight, and a clear ends a group.
fn compress(bytes: &[u8]) -> Vec<u8> {
    const CLEAR: u32 = 256;
    let mut codes: Vec<u32> = Vec::new();
    for piece in bytes.chunks(247) {
        codes.extend(piece.iter().map(|byte| u32::from(*byte)));
        if piece.len() == 247 {
            codes.push(CLEAR);
        }
    }
    // Magic; blocks, codes of at most 16 bits.
    let mut out = vec![0x1f, 0x9d, 0x80 | 16];
    let (mut bits, mut count) = (0_u32, 0);
    for code in codes {
        bits |= code << count;
        count += 9;
        while count >= 8 {
            out.extend(&bits.to_le_bytes()[..1]);
            bits >>= 8;
            count -= 8;
        }
    }
    out.extend(&bits.to_le_bytes()[..1]);
    out
}
