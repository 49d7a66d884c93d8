//! `goldring ka-d` and nodes with `kamethod`: small systems on loop devices, cloned onto
//! others of other sizes.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use goldring_host_tests::bench::noise;
use goldring_host_tests::net::{Net, run};
use goldring_host_tests::program::{Program, Signal};
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
    ("ka_d_says_what_is_wrong_with_each_node", unfit_nodes),
];

/// Partitions of the golden node's disk: swap, one that is sent as it is, and `/`.
const TABLE: &str = "label: dos\nsize=8MiB, type=82\nsize=4MiB, type=b\ntype=83\n";
/// A deployment ends within this time; each node waits for this machine's disk.
pub(crate) const WORK: Duration = Duration::from_secs(300);
pub(crate) const GOLDEN: u64 = 120 << 20;

/// Computer 0 is the golden node.
pub(crate) struct Lab {
    /// Of nodes, once they are started.
    pub(crate) programs: Vec<Program>,
    pub(crate) net: Net,
    // Unmounted before its disk goes, and that before its file.
    _system: Mounted,
    pub(crate) golden: Loop,
    pub(crate) nodes: Vec<Loop>,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) goldring: PathBuf,
    pub(crate) raw: Vec<u8>,
    pub(crate) file: Vec<u8>,
}

impl Lab {
    /// Nodes have disks of so many bytes.
    pub(crate) fn new(goldring: &Path, disks: &[u64], file: usize) -> Result<Self> {
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

    /// Where the golden node's system is.
    pub(crate) fn system(&self) -> PathBuf {
        self.folder.path().join("system")
    }

    /// The partition that is sent as it is with `-D`.
    pub(crate) fn raw_partition(&self) -> String {
        format!("{}p2", self.golden.device)
    }

    /// Starts `goldring ka-d` with these options.
    pub(crate) fn deploy(&self, options: &[&str]) -> Result<Program> {
        self.deploy_with("", options)
    }

    /// The same with something before it, such as a variable.
    pub(crate) fn deploy_with(&self, before: &str, options: &[&str]) -> Result<Program> {
        self.run_on_golden(before, &[&["ka-d", "--verbose"], options].concat())
    }

    /// Starts goldring on the golden node, whose disk is its only one.
    pub(crate) fn on_golden(&self, words: &[&str]) -> Result<Program> {
        self.run_on_golden("", words)
    }

    fn run_on_golden(&self, before: &str, words: &[&str]) -> Result<Program> {
        let place = self.system();
        let place = place.display();
        let disk = &self.golden.device;
        let script = format!(
            "set -e\nmount -t tmpfs none {place}/proc\nmkdir {place}/proc/self\n\
             printf '22 1 259:0 / / rw - ext4 {disk}p3 rw\\n23 22 0:5 / /proc rw - proc proc rw\\n\
             24 22 0:6 / /sys rw - sysfs sysfs rw\\n25 22 0:7 / /dev rw - devtmpfs dev rw\\n' \
             > {place}/proc/self/mountinfo\n\
             mount --rbind /sys {place}/sys\nmount --rbind /dev {place}/dev\n\
             {before}\nexec {} \"$@\" --root {place}",
            self.goldring.display()
        );
        let shell = ["sh", "-c", &script, "sh"];
        Program::start(&self.net, 0, &self.home(0), &[&shell, words].concat())
    }

    /// Starts a node whose kernel command line says `kamethod`; it runs `before` first.
    pub(crate) fn node(&self, number: usize, before: &str) -> Result<Program> {
        self.node_of(number, before, "kaopt=lab")
    }

    /// The same with these words behind `kamethod`.
    pub(crate) fn node_of(&self, number: usize, before: &str, words: &str) -> Result<Program> {
        self.start_node(number, before, (words, &self.nodes[number - 1].device))
    }

    /// The same with another disk.
    fn node_with(&self, number: usize, before: &str, disk: &str) -> Result<Program> {
        self.start_node(number, before, ("kaopt=lab", disk))
    }

    fn start_node(
        &self,
        number: usize,
        before: &str,
        (words, disk): (&str, &str),
    ) -> Result<Program> {
        let home = self.home(number);
        fs::create_dir_all(&home)?;
        let cmdline = home.join("cmdline");
        fs::write(&cmdline, format!("rescue kamethod {words}\n"))?;
        let script = format!(
            "set -e\nmount --bind {} /proc/cmdline\nmount -t tmpfs none /run\n\
             mount -t tmpfs none /mnt\nmkdir -p /dev/disk\nmount -t tmpfs none /dev/disk\n{before}\nexec {} node --disk {}={}",
            cmdline.display(),
            self.goldring.display(),
            self.golden.device,
            disk
        );
        Program::start(&self.net, number, &home, &["sh", "-c", &script])
    }

    pub(crate) fn home(&self, computer: usize) -> PathBuf {
        self.folder.path().join(format!("n{computer}"))
    }

    /// A node's clone is whole, with the partition that is sent as it is, has the names of
    /// its own disk, and its disk starts.
    pub(crate) fn is_whole(&self, number: usize) -> Result<()> {
        self.has_files(number)?;
        let mut raw = vec![0; self.raw.len()];
        let disk = &self.nodes[number - 1].device;
        File::open(format!("{disk}p2"))?.read_exact(&mut raw)?;
        ensure!(raw == self.raw, "n{number}: the raw partition differs");
        Ok(())
    }

    /// A node has all files, with the names of its own disk, and its disk starts.
    pub(crate) fn has_files(&self, number: usize) -> Result<()> {
        let disk = &self.nodes[number - 1].device;
        let first: [u8; 5] = self.first(number)?;
        ensure!(
            first == *b"GRUB\n",
            "n{number}: no boot loader on {disk}, but {first:?}:\n{}",
            fs::read_to_string(self.home(number).join("log"))?
        );
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
    pub(crate) fn first<const N: usize>(&self, number: usize) -> Result<[u8; N]> {
        let mut first = [0; N];
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
    dry.ends_with(0, WORK)?;
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
    golden.ends_with(0, WORK)?;
    for program in &mut lab.programs {
        program.ends_with(0, WORK)?;
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
    // It gives up when nobody answers for 10 s.
    golden.expect("session lab: stage 2", WORK)?;
    let mut node = lab.node(1, &before)?;
    golden.ends_with(0, WORK)?;
    node.ends_with(0, WORK)?;
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
    session.ends_with(0, WORK)?;
    let raw = lab.raw_partition();
    let mut golden = lab.deploy(&["-D", &raw, "--name", "lab", "--data-path", &stage2])?;
    golden.ends_with(0, WORK)?;
    let said = golden.said();
    for part in ["has this already", "1 of 1 nodes are complete and bootable"] {
        ensure!(said.contains(part), "{part}: {said}");
    }
    node.ends_with(0, WORK)?;
    lab.is_whole(1)
}

pub(crate) fn size(device: &str) -> Result<u64> {
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
    let end = Instant::now() + WORK;
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
    golden.ends_with(1, WORK)?;
    let said = golden.said();
    for part in [
        "1 of 3 nodes are complete and bootable",
        "n2 (10.77.0.12): not complete: files: ",
        "n3 (10.77.0.13): not complete: partitions and file systems: ",
        " has no room for it",
    ] {
        ensure!(said.contains(part), "{part}: {said}");
    }
    lab.programs[0].ends_with(0, WORK)?;
    lab.programs[2].expect("goldring: this try failed: ", WORK)?;
    lab.is_whole(1)?;
    ensure!(lab.first(2)? == [0; 5], "half a clone looks bootable");
    Ok(())
}

/// Each of these nodes lacks something else; the first one lacks nothing.
fn unfit_nodes(goldring: &Path) -> Result<()> {
    const MKFS: &str = "\"$(readlink -f \"$(command -v mkfs.ext4)\")\"";
    let mut lab = Lab::new(goldring, &[GOLDEN; 5], 3 << 20)?;
    let device = |number: usize| lab.nodes[number - 1].device.clone();
    let instead = |script: &str| {
        format!(
            "cp {MKFS} /run/real\nprintf '#!/bin/sh\\n%s\\n' '{script}' > /run/mkfs\n\
             chmod +x /run/mkfs\nmount --bind /run/mkfs {MKFS}"
        )
    };
    let used = format!(
        "mkfs.ext2 -q {0}\nmkdir /mnt/used\nmount {0} /mnt/used",
        device(3)
    );
    let nodes = [
        (String::new(), device(1)),
        (String::new(), "/dev/sdzz".to_owned()),
        (used, device(3)),
        (instead("echo bad blocks everywhere >&2; exit 5"), device(4)),
        // A file system that has less room than its partition.
        (instead("exec /run/real \"$@\" 5000"), device(5)),
    ];
    let mut golden = lab.deploy(&["-n", "5", "--name", "lab", "--no-stage2"])?;
    for (number, (before, disk)) in (1..).zip(&nodes) {
        let node = lab.node_with(number, before, disk)?;
        lab.programs.push(node);
    }
    golden.ends_with(1, WORK)?;
    let said = golden.said();
    for part in [
        "1 of 5 nodes are complete and bootable",
        "n2 (10.77.0.12): not complete: partitions and file systems: /dev/sdzz does not exist on this computer",
        &format!(
            "n3 (10.77.0.13): not complete: partitions and file systems: {0} is in use: {0} is mounted on",
            device(3)
        ),
        "n4 (10.77.0.14): not complete: partitions and file systems: ",
        "exit status: 5: bad blocks everywhere",
        "n5 (10.77.0.15): not complete: files: tar: ./",
    ] {
        ensure!(said.contains(part), "{part}: {said}");
    }
    let full = said.contains("No space left on device") || said.contains(": Wrote only ");
    ensure!(full, "{said}");
    lab.programs[0].ends_with(0, WORK)?;
    lab.has_files(1)
}
