//! `goldring ka-d` and nodes with `kamethod`: small systems on loop devices, cloned onto
//! others of other sizes.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use goldring_host_tests::net::{Net, run};
use goldring_host_tests::program::{Program, Signal};
use goldring_host_tests::ring::{LONG, noise};
use goldring_host_tests::target::{Loop, Mounted};

use crate::Story;
use crate::files::small_system;

pub(crate) const STORIES: &[Story] = &[
    ("ka_d_makes_bootable_clones_on_other_disks", clones),
    (
        "ka_d_sends_stage_2_first_and_partitions_by_a_desc",
        from_stage_2,
    ),
    ("ka_d_after_ka_d_session_sends_no_stage_2_again", manual),
    ("ka_d_drops_who_fails_and_finishes_the_others", faults),
];

/// Partitions of the golden node's disk: swap, one that is sent as it is, and `/`.
const TABLE: &str = "label: dos\nsize=8MiB, type=82\nsize=4MiB, type=b\ntype=83\n";
const GOLDEN: u64 = 120 << 20;

/// Computer 0 is the golden node.
struct Lab {
    programs: Vec<Program>,
    net: Net,
    // Unmounted before its disk goes, and that before its file.
    _system: Mounted,
    golden: Loop,
    nodes: Vec<Loop>,
    folder: tempfile::TempDir,
    goldring: PathBuf,
    raw: Vec<u8>,
    file: Vec<u8>,
}

impl Lab {
    /// Nodes have disks of so many bytes.
    fn new(goldring: &Path, disks: &[u64], file: usize) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let disk = |number: usize, size: u64| {
            Loop::new(&folder.path().join(format!("disk{number}")), size)
        };
        let golden = disk(0, GOLDEN)?;
        partitioned(&golden.device)?;
        let part = |number: u32| format!("{}p{number}", golden.device);
        run("mkswap", &[&part(1)])?;
        let (raw, file) = (noise(4 << 20), noise(file));
        fs::OpenOptions::new()
            .write(true)
            .open(part(2))?
            .write_all_at(&raw, 0)?;
        let place = folder.path().join("system");
        let system = Mounted::new(&part(3), &place)?;
        small_system(&place)?;
        fs::write(place.join("file"), &file)?;
        fs::write(
            place.join("etc/fstab"),
            format!(
                "{} / ext4 defaults 0 1\n{} none swap sw 0 0\n",
                part(3),
                part(1)
            ),
        )?;
        let nodes = disks.iter().enumerate().map(|(n, size)| disk(n + 1, *size));
        let nodes = nodes.collect::<Result<_>>()?;
        Ok(Self {
            programs: Vec::new(),
            net: Net::new(disks.len() + 1)?,
            _system: system,
            golden,
            nodes,
            folder,
            goldring: goldring.to_owned(),
            raw,
            file,
        })
    }

    /// Starts `goldring ka-d` with these options; the system's disk is its only one.
    fn deploy(&self, options: &[&str]) -> Result<Program> {
        let place = self.folder.path().join("system");
        let place = place.display();
        let disk = &self.golden.device;
        let script = format!(
            "set -e\nmount -t tmpfs none {place}/proc\nmkdir {place}/proc/self\n\
             printf '22 1 259:0 / / rw - ext4 {disk}p3 rw\\n23 22 0:5 / /proc rw - proc proc rw\\n\
             24 22 0:6 / /sys rw - sysfs sysfs rw\\n25 22 0:7 / /dev rw - devtmpfs dev rw\\n' \
             > {place}/proc/self/mountinfo\n\
             mount --rbind /sys {place}/sys\nmount --rbind /dev {place}/dev\n\
             exec {} ka-d --root {place} --verbose \"$@\"",
            self.goldring.display()
        );
        let words = ["sh", "-c", &script, "sh"];
        Program::start(&self.net, 0, &self.home(0), &[&words, options].concat())
    }

    /// Starts a node whose kernel command line says `kamethod`; it runs `before` first.
    fn node(&self, number: usize, before: &str) -> Result<Program> {
        let home = self.home(number);
        fs::create_dir_all(&home)?;
        let cmdline = home.join("cmdline");
        fs::write(&cmdline, "rescue kamethod kaopt=lab\n")?;
        let script = format!(
            "set -e\nmount --bind {} /proc/cmdline\nmount -t tmpfs none /run\n\
             mount -t tmpfs none /mnt\nmkdir -p /dev/disk\nmount -t tmpfs none /dev/disk\n{before}\nexec {} node --disk {}={}",
            cmdline.display(),
            self.goldring.display(),
            self.golden.device,
            self.nodes[number - 1].device
        );
        Program::start(&self.net, number, &home, &["sh", "-c", &script])
    }

    fn home(&self, computer: usize) -> PathBuf {
        self.folder.path().join(format!("n{computer}"))
    }

    /// A node's clone is whole, has the names of its own disk, and its disk starts.
    fn is_whole(&self, number: usize) -> Result<()> {
        let disk = &self.nodes[number - 1].device;
        let first = self.first(number)?;
        ensure!(
            first == *b"GRUB\n",
            "n{number}: no boot loader on {disk}, but {first:?}:\n{}",
            fs::read_to_string(self.home(number).join("log"))?
        );
        let mut raw = vec![0; self.raw.len()];
        File::open(format!("{disk}p2"))?.read_exact(&mut raw)?;
        ensure!(raw == self.raw, "n{number}: the raw partition differs");
        let place = self.folder.path().join(format!("clone{number}"));
        fs::create_dir_all(&place)?;
        let shown = place.display().to_string();
        run("mount", &["-o", "ro,noload", &format!("{disk}p3"), &shown])?;
        let file = fs::read(place.join("file"));
        let fstab = fs::read_to_string(place.join("etc/fstab"));
        let machine = fs::read_to_string(place.join("etc/machine-id"));
        run("umount", &[&shown])?;
        ensure!(file? == self.file, "n{number}: a file differs");
        let fstab = fstab?;
        ensure!(
            fstab == format!("{disk}p3 / ext4 defaults 0 1\n{disk}p1 none swap sw 0 0\n"),
            "n{number}: {fstab}"
        );
        ensure!(
            machine?.is_empty(),
            "n{number}: it keeps the golden node's identity"
        );
        Ok(())
    }

    /// The beginning of a node's disk.
    fn first(&self, number: usize) -> Result<[u8; 5]> {
        let mut first = [0; 5];
        File::open(&self.nodes[number - 1].device)?.read_exact(&mut first)?;
        Ok(first)
    }
}

fn partitioned(disk: &str) -> Result<()> {
    let mut sfdisk = Command::new("sfdisk")
        .args(["--quiet", "--no-tell-kernel", disk])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()?;
    let mut stdin = sfdisk.stdin.take().context("no stdin")?;
    stdin.write_all(TABLE.as_bytes())?;
    drop(stdin);
    ensure!(sfdisk.wait()?.success(), "sfdisk fails");
    run("partx", &["-u", disk])
}

fn clones(goldring: &Path) -> Result<()> {
    let mut lab = Lab::new(goldring, &[GOLDEN, 2 * GOLDEN], 3 << 20)?;
    let raw = format!("{}p2", lab.golden.device);
    let mut dry = lab.deploy(&["-n", "2", "-D", &raw, "--dry-run", "--no-stage2"])?;
    dry.ends_with(0, LONG)?;
    for part in [
        "to be, with a dos table:",
        &format!("sent as it is: {raw}"),
        "put right on each node: device names, ",
    ] {
        ensure!(dry.said().contains(part), "{part}: {}", dry.said());
    }
    let options = [
        "-n",
        "2",
        "-D",
        &raw,
        "-d",
        "5",
        "-r",
        "grub",
        "--no-stage2",
        "--name",
        "lab",
    ];
    let mut golden = lab.deploy(&options)?;
    for number in [1, 2] {
        let node = lab.node(number, "")?;
        lab.programs.push(node);
    }
    golden.ends_with(0, LONG)?;
    for program in &mut lab.programs {
        program.ends_with(0, LONG)?;
        program.expect("goldring: done: ", Duration::ZERO)?;
    }
    let said = golden.said();
    ensure!(
        said.contains("2 of 2 nodes are complete and bootable"),
        "{said}"
    );
    // The last partition takes what a larger disk has more.
    let sizes: Vec<u64> = [0, 1]
        .iter()
        .map(|n| size(&format!("{}p3", lab.nodes[*n].device)))
        .collect::<Result<_>>()?;
    ensure!(sizes[1] >= sizes[0] + GOLDEN, "{sizes:?}");
    (1..=2).try_for_each(|number| lab.is_whole(number))
}

/// A node that gets its stage 2 from the golden node, and then a disk as the manual writes
/// it, without a word about file systems.
fn from_stage_2(goldring: &Path) -> Result<()> {
    let lab = Lab::new(goldring, &[2 * GOLDEN], 3 << 20)?;
    let (raw, disk) = (format!("{}p2", lab.golden.device), &lab.golden.device);
    let stage2 = lab.folder.path().join("ka");
    fs::create_dir_all(&stage2)?;
    fs::write(stage2.join("init"), "stage 2")?;
    let desc = lab.folder.path().join("desc");
    fs::write(&desc, "swap 16\ntypeb 6\nlinux fill\n")?;
    let (stage2, desc) = (stage2.to_string_lossy(), desc.to_string_lossy());
    let (raw, drive) = (["-D", &raw], ["-p", disk, &desc]);
    let rest = ["--zstd", "--name", "lab", "--data-path", &stage2];
    let mut golden = lab.deploy(&[&raw[..], &drive, &rest].concat())?;
    let before = format!(
        "mkdir /mnt/stage2\n{} ka-d-client -w -s lab -e 'tar x -C /mnt/stage2'\n\
         [ \"$(cat /mnt/stage2/init)\" = 'stage 2' ]",
        goldring.display()
    );
    let mut node = lab.node(1, &before)?;
    golden.ends_with(0, LONG)?;
    node.ends_with(0, LONG)?;
    let swap = size(&format!("{}p1", lab.nodes[0].device))?;
    ensure!(swap == 16 << 20, "{swap}");
    lab.is_whole(1)
}

/// As the manual has it: `ka-d-session` sends stage 2, and then comes `ka-d`, which finds the
/// folder of stage 2, too.
fn manual(goldring: &Path) -> Result<()> {
    let lab = Lab::new(goldring, &[GOLDEN], 3 << 20)?;
    let stage2 = lab.folder.path().join("ka");
    fs::create_dir_all(&stage2)?;
    fs::write(stage2.join("init"), "stage 2")?;
    let stage2 = stage2.to_string_lossy();
    let words = ["ka-d-session", "-n", "1", "--data-path", &stage2];
    let command = [&[lab.goldring.to_str().context("an odd name")?], &words[..]].concat();
    let mut session = Program::start(
        &lab.net,
        0,
        &lab.home(0),
        &[&command[..], &["--name", "lab"]].concat(),
    )?;
    let before = format!(
        "mkdir /mnt/stage2\n{} ka-d-client -w -s lab -e 'tar x -C /mnt/stage2'",
        goldring.display()
    );
    let mut node = lab.node(1, &before)?;
    session.ends_with(0, LONG)?;
    let raw = format!("{}p2", lab.golden.device);
    let mut golden = lab.deploy(&["-D", &raw, "--name", "lab", "--data-path", &stage2])?;
    golden.ends_with(0, LONG)?;
    let said = golden.said();
    for part in ["has this already", "1 of 1 nodes are complete and bootable"] {
        ensure!(said.contains(part), "{part}: {said}");
    }
    node.ends_with(0, LONG)?;
    lab.is_whole(1)
}

fn size(device: &str) -> Result<u64> {
    use std::io::{Seek, SeekFrom};
    Ok(File::open(device)?.seek(SeekFrom::End(0))?)
}

fn faults(goldring: &Path) -> Result<()> {
    let mut lab = Lab::new(goldring, &[GOLDEN, GOLDEN, 12 << 20], 60 << 20)?;
    // The files take some seconds.
    lab.net.slow(0, "80mbit")?;
    let raw = format!("{}p2", lab.golden.device);
    let mut golden = lab.deploy(&["-n", "3", "-D", &raw, "--name", "lab", "--no-stage2"])?;
    for number in 1..=3 {
        let node = lab.node(number, "")?;
        lab.programs.push(node);
    }
    let end = Instant::now() + LONG;
    let flows = |program: &Program| {
        let said = program.said();
        said.split_once("session lab2")
            .is_some_and(|(_, rest)| rest.contains("data comes from"))
    };
    while !flows(&lab.programs[1]) {
        if Instant::now() > end {
            bail!("no files come: {}{}", golden.said(), lab.programs[1].said());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    lab.programs[1].signal(Signal::KILL)?;
    golden.ends_with(1, LONG)?;
    let said = golden.said();
    for part in [
        "1 of 3 nodes are complete and bootable",
        "n2 (10.77.0.12): not complete: files: ",
        "n3 (10.77.0.13): not complete: partitions and file systems: ",
        " has no room for it",
    ] {
        ensure!(said.contains(part), "{part}: {said}");
    }
    lab.programs[0].ends_with(0, LONG)?;
    lab.programs[2].expect("goldring: this try failed: ", LONG)?;
    lab.is_whole(1)?;
    ensure!(lab.first(2)? == [0; 5], "half a clone looks bootable");
    Ok(())
}
