//! Golden machines whose disks are mirrored, have LVM, or are started by UEFI, cloned by
//! `ka-d` onto disks of another size on another controller. The golden machine is one that a
//! distribution's own programs installed, and runs; the clones are compared with it, then they
//! start from their own disks.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use goldring_host_tests::net::run;
use goldring_vm_tests::guest::{Guest, Machine};
use goldring_vm_tests::room::{Room, SERVER, mac};
use libtest_mimic::Trial;

use crate::images::{golden_machine, images};
use crate::rescue::{Ssh, serve_keys};
use crate::stage1::LIMIT;
use crate::{no_lab, not_long, trial};

/// How long a clone by files may take: the initramfs is made by an emulated processor.
const CLONE: Duration = Duration::from_secs(3600);
/// The start of a system from its disk, up to the login.
const START: Duration = Duration::from_secs(1200);

/// What a story is about.
struct Stack {
    /// The golden machine, see `xtask/src/lab/layouts`.
    layout: &'static str,
    /// Started by UEFI, the golden machine and its clones.
    uefi: bool,
    /// The disks of each clone, in MiB, larger than those of the golden machine.
    disks: &'static [u64],
    bus: Bus,
    /// Started by a BIOS while they are cloned, though by UEFI afterwards.
    by_bios: &'static [bool],
    /// Mounts the golden machine's disks (`$G1`, …) on /tmp/golden and the clone's (`$C1`, …)
    /// on /tmp/clone.
    mounts: &'static str,
    /// What is asked on each clone that has started, and what it must say.
    asked: &'static [(&'static str, &'static str)],
}

/// What the disks of clones hang on.
#[derive(Clone, Copy)]
enum Bus {
    Nvme,
    Virtio,
}

impl Bus {
    fn arguments(self, number: usize, disk: &Path) -> Vec<String> {
        let file = format!("file={},format=raw,cache=unsafe", disk.display());
        match self {
            Self::Virtio => vec!["-drive".into(), format!("{file},if=virtio")],
            Self::Nvme => vec![
                "-drive".into(),
                format!("{file},if=none,id=own{number}"),
                "-device".into(),
                format!("nvme,drive=own{number},serial=own{number}"),
            ],
        }
    }
}

const STORIES: [(&str, Stack); 3] = [
    (
        "ka_stacks::a_mirror_is_made_again_on_two_larger_disks",
        Stack {
            layout: "raid",
            uefi: false,
            disks: &[2300, 2400],
            bus: Bus::Nvme,
            by_bios: &[true],
            // Of the golden machine's mirror one side is looked at, where its file system
            // begins: two arrays of the same number cannot run beside each other.
            mounts:
                "begin=$(mdadm --examine ${G1}2 | sed -n 's/ *Data Offset : \\([0-9]*\\) .*/\\1/p')
                mount -o loop,offset=$((begin * 512)) ${G1}2 /tmp/golden
                mdadm --quiet --assemble --run /dev/md0 ${C1}p2 ${C2}p2
                mount -o ro /dev/md0 /tmp/clone",
            asked: &[
                ("findmnt -no SOURCE /", "/dev/md0"),
                ("swapon --noheadings --show=NAME", "/dev/md1"),
                ("grep -c 'raid1 nvme.*nvme' /proc/mdstat", "2"),
                ("grep -c 'UU\\|resync\\|recover' /proc/mdstat", "2"),
            ],
        },
    ),
    (
        "ka_stacks::volumes_of_lvm_are_made_again_and_the_last_one_grows",
        Stack {
            layout: "lvm",
            uefi: false,
            disks: &[2600],
            bus: Bus::Virtio,
            by_bios: &[true],
            // Two groups of one name cannot run beside each other.
            mounts: "vgrename -q -q --devices ${G1}5 golden-vg old
                vgchange -q -q --devices ${G1}5 -ay old
                vgchange -q -q --devices ${C1}5 -ay golden-vg
                mount /dev/old/root /tmp/golden
                mount ${G1}1 /tmp/golden/boot
                mount -o nouuid /dev/old/home /tmp/golden/home
                mount -o ro /dev/golden-vg/root /tmp/clone
                mount -o ro ${C1}1 /tmp/clone/boot
                mount -o ro,nouuid /dev/golden-vg/home /tmp/clone/home",
            asked: &[
                ("findmnt -no SOURCE /", "/dev/mapper/golden--vg-root"),
                ("findmnt -no SOURCE /home", "/dev/mapper/golden--vg-home"),
                ("swapon --noheadings --show=TYPE", "partition"),
                (
                    "vgs --noheadings -o vg_free_count golden-vg | tr -d ' '",
                    "0",
                ),
                (
                    "[ $(df -m --output=size /home | tail -n 1) -gt 700 ] && echo large",
                    "large",
                ),
            ],
        },
    ),
    (
        "ka_stacks::uefi_starts_clones_that_were_made_under_bios_and_uefi",
        Stack {
            layout: "uefi",
            uefi: true,
            disks: &[2600],
            bus: Bus::Nvme,
            by_bios: &[true, false],
            mounts: "mount ${G1}3 /tmp/golden
                mount ${G1}1 /tmp/golden/boot/efi
                mount -o ro ${C1}p3 /tmp/clone
                mount -o ro ${C1}p1 /tmp/clone/boot/efi",
            asked: &[
                ("findmnt -no SOURCE /boot/efi", "/dev/nvme0n1p1"),
                ("swapon --noheadings --show=NAME", "/dev/nvme0n1p2"),
                ("ls -d /sys/firmware/efi", "/sys/firmware/efi"),
                ("lsblk -no PARTTYPENAME /dev/nvme0n1p1", "EFI System"),
            ],
        },
    ),
];

pub(crate) fn trials() -> Vec<Trial> {
    STORIES
        .map(|(name, stack)| {
            trial(name, no_lab().or_else(not_long), move || {
                Scene::new(stack)?.play()
            })
        })
        .into()
}

/// What a clone has otherwise on purpose: its identity, what is made for its hardware, the
/// folders in which that lies, and those that something was mounted on.
const OTHERWISE: &[&str] = &[
    "/boot",
    "/dev",
    "/etc",
    "/etc/fstab",
    "/etc/hostname",
    "/etc/hosts",
    "/etc/initramfs-tools/conf.d",
    "/etc/machine-id",
    "/mnt",
    "/proc",
    "/run",
    "/sys",
    "/tmp",
    "/var/tmp",
];
/// Where everything may be otherwise: boot loaders are installed, the golden machine writes
/// while it is cloned, and under what it mounts lies what its installer left.
const OTHERWISE_BELOW: &[&str] = &[
    "/boot/efi",
    "/boot/grub",
    "/boot/initrd.img-",
    "/dev/",
    "/proc/",
    "/run/",
    "/sys/",
    "/tmp/systemd-private-",
    "/var/log",
    "/var/lib/systemd",
    "/var/tmp/systemd-private-",
];

fn is_otherwise(difference: &str) -> bool {
    let path = difference
        .split_once(": ")
        .map_or(difference, |(path, _)| path);
    OTHERWISE.contains(&path) || OTHERWISE_BELOW.iter().any(|below| path.starts_with(below))
}

struct Scene {
    stack: Stack,
    room: Room,
    images: PathBuf,
    /// The golden machine's disks.
    golden: Vec<PathBuf>,
    variables: Option<PathBuf>,
}

impl Scene {
    /// Taps: 1 the golden machine, 2 and following the clones, the last one a person who
    /// looks at disks.
    fn new(stack: Stack) -> Result<Self> {
        let nodes = stack.by_bios.len();
        let mut room = Room::new(nodes + 2)?;
        let hosts = (2..=nodes + 1).map(|tap| {
            format!(
                "dhcp-host={},10.0.1.{},node{}\n",
                mac(tap),
                30 + tap,
                tap - 1
            )
        });
        let person = format!("dhcp-host={},10.0.1.31\n", mac(nodes + 2));
        room.dnsmasq(&(hosts.collect::<String>() + &person))?;
        let machine = golden_machine(stack.layout)?;
        let mut golden = Vec::new();
        let mut variables = None;
        for from in machine {
            let name = from.file_name().context("an odd name")?;
            let to = room.folder().join(name);
            let both = [&from, &to].map(|path| path.to_string_lossy().into_owned());
            run("cp", &["--sparse=always", &both[0], &both[1]])?;
            match name.to_string_lossy().ends_with("vars") {
                true => variables = Some(to),
                false => golden.push(to),
            }
        }
        Ok(Self {
            stack,
            room,
            images: images()?,
            golden,
            variables,
        })
    }

    fn play(mut self) -> Result<()> {
        let keys = serve_keys(&mut self.room)?;
        fs::copy(keys.right.with_extension("pub"), &keys.served)?;
        let disks = self.blank_disks()?;
        self.clone(&disks)?;
        let person = Ssh {
            room: &self.room,
            key: keys.right.clone(),
        };
        for (node, disks) in disks.iter().enumerate() {
            let node = node + 1;
            self.compare(&person, disks)
                .with_context(|| format!("node{node}"))?;
            self.starts(node, disks)
                .with_context(|| format!("node{node}"))?;
        }
        Ok(())
    }

    fn blank_disks(&self) -> Result<Vec<Vec<PathBuf>>> {
        let mut all = Vec::new();
        for node in 1..=self.stack.by_bios.len() {
            let mut disks = Vec::new();
            for (number, size) in self.stack.disks.iter().enumerate() {
                let disk = self.room.folder().join(format!("node{node}.disk{number}"));
                File::create(&disk)?.set_len(size << 20)?;
                disks.push(disk);
            }
            all.push(disks);
        }
        Ok(all)
    }

    fn own_disks(&self, disks: &[PathBuf]) -> Vec<String> {
        let own = |(number, disk): (usize, &PathBuf)| self.stack.bus.arguments(number, disk);
        disks.iter().enumerate().flat_map(own).collect()
    }

    fn variables_of(&self, node: usize) -> PathBuf {
        self.room.folder().join(format!("node{node}.vars"))
    }

    /// The golden machine and its clones, switched on; at the end all of them are off.
    fn clone(&self, disks: &[Vec<PathBuf>]) -> Result<()> {
        let mut golden = self.golden_machine()?;
        let mut nodes = Vec::new();
        let words = format!(
            "automatic=method:http,interface:auto,network:dhcp,server:{SERVER},directory:/cs4 \
             rescue kamethod"
        );
        for (at, (own, by_bios)) in disks.iter().zip(self.stack.by_bios).enumerate() {
            let mut machine = Machine::new(&self.images, &words)
                .in_room(&self.room, at + 2)
                .arguments(self.own_disks(own));
            if !by_bios {
                machine = machine.uefi(&self.variables_of(at + 1))?;
            }
            nodes.push(machine.start()?);
        }
        for node in &mut nodes {
            node.expect("kainstall1", LIMIT * 4)?;
        }
        let count = nodes.len();
        let line =
            format!("/mnt/goldring ka-d --no-stage2 --verbose --stall-timeout 120 -n {count}");
        // The first try breaks off in the middle; the second finds disks with half a clone.
        golden.type_line(&line)?;
        for node in &mut nodes {
            files_come(node)?;
        }
        golden.type_line("\u{3}")?;
        for node in &mut nodes {
            node.expect("this try failed", LIMIT)?;
        }
        golden.type_line(&format!("{line}; echo ended-$?-"))?;
        golden.expect("\nended-", CLONE)?;
        let said = golden.console();
        let whole = format!("{count} of {count} nodes are complete and bootable");
        let consoles = || nodes.iter().map(Guest::console).collect::<String>();
        ensure!(
            said.contains("\nended-0-") && said.contains(&whole),
            "{said}\n{}",
            consoles()
        );
        for node in &mut nodes {
            node.expect("cloned and bootable", LIMIT)?;
            node.expect_reboot(LIMIT)?;
        }
        golden.type_line("sync; mount -o remount,ro / ; echo o > /proc/sysrq-trigger")?;
        golden.expect_reboot(LIMIT)
    }

    /// The golden machine, with somebody logged in and the program in its memory.
    fn golden_machine(&self) -> Result<Guest> {
        let mut arguments = Vec::new();
        for disk in &self.golden {
            let file = disk.display();
            arguments.push("-drive".to_owned());
            arguments.push(format!("file={file},if=ide,format=raw,cache=unsafe"));
        }
        let program = self.program()?;
        arguments.push("-drive".to_owned());
        arguments.push(format!(
            "file={},if=virtio,format=raw,readonly=on",
            program.display()
        ));
        let mut machine = Machine::of_disks()
            .in_room(&self.room, 1)
            .arguments(arguments);
        if let Some(variables) = &self.variables {
            machine = machine.uefi(variables)?;
        }
        let mut golden = machine.start()?;
        log_in(&mut golden, "golden")?;
        golden.type_line(
            "mount -t tmpfs none /mnt; tar -x -C /mnt -f /dev/vda && echo unpacked-$((6*7))",
        )?;
        golden.expect("unpacked-42", LIMIT)?;
        Ok(golden)
    }

    /// The program of stage 2 as a tar, which a disk can be: the one that is built for tests
    /// is many times slower on an emulated processor.
    fn program(&self) -> Result<PathBuf> {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let (tree, tar) = (
            self.room.folder().join("stage2"),
            self.room.folder().join("tar"),
        );
        let image = text(&self.images.join("rescue.clp"));
        let tree = text(&tree);
        run(
            "unsquashfs",
            &["-q", "-n", "-d", &tree, &image, "usr/bin/goldring"],
        )?;
        let folder = format!("{tree}/usr/bin");
        // A disk has whole sectors only, and tar's records are some.
        run("tar", &["-c", "-C", &folder, "-f", &text(&tar), "goldring"])?;
        Ok(tar)
    }

    /// A person boots a rescue system with the disks of both, and compares.
    fn compare(&self, person: &Ssh<'_>, disks: &[PathBuf]) -> Result<()> {
        let words = format!(
            "automatic=method:http,interface:auto,network:dhcp,server:{SERVER},directory:/cs4 \
             rescue ssh_key=http://{SERVER}/key.pub"
        );
        let mut arguments = Vec::new();
        let mut names = String::new();
        for (number, disk) in self.golden.iter().enumerate() {
            arguments.extend(Bus::Virtio.arguments(10 + number, disk));
            names.push_str(&format!("G{}=/dev/vd{}\n", number + 1, ["b", "c"][number]));
        }
        arguments.extend(self.own_disks(disks));
        for number in 0..disks.len() {
            let name = match self.stack.bus {
                Bus::Nvme => format!("nvme{number}n1"),
                Bus::Virtio => format!("vd{}", ["c", "d"][number]),
            };
            names.push_str(&format!("C{}=/dev/{name}\n", number + 1));
        }
        let mut guest = Machine::new(&self.images, &words)
            .in_room(&self.room, self.stack.by_bios.len() + 2)
            .arguments(arguments)
            .start()?;
        guest.expect("ssh: ssh root@", LIMIT * 4)?;
        // Each rescue system has another key.
        let _ = fs::remove_file(self.room.folder().join("known_hosts"));
        let mounts = self.stack.mounts;
        person.run(&format!(
            "set -e; mkdir /tmp/golden /tmp/clone; {names}{mounts}"
        ))?;
        let said = person.run("goldring files compare /tmp/golden /tmp/clone 2>&1 || :")?;
        let (last, differences) = said
            .trim_end()
            .rsplit_once('\n')
            .map_or((said.as_str(), ""), |(differences, last)| {
                (last, differences)
            });
        let unexpected: Vec<&str> = differences
            .lines()
            .filter(|line| !is_otherwise(line))
            .collect();
        ensure!(unexpected.is_empty(), "{}", unexpected.join("\n"));
        // The whole tree was looked at: "… differences in 12345 files".
        let files = last.split(" files").next().unwrap_or_default();
        let files = files.rsplit(' ').next().and_then(|n| n.parse().ok());
        ensure!(files.is_some_and(|files: u64| files > 5000), "{last}");
        Ok(())
    }

    /// The clone starts from its own disks alone.
    fn starts(&self, node: usize, disks: &[PathBuf]) -> Result<()> {
        let mut machine = Machine::of_disks()
            .in_room(&self.room, node + 1)
            .arguments(self.own_disks(disks));
        if self.stack.uefi {
            machine = machine.uefi(&self.variables_of(node))?;
        }
        let mut clone = machine.start()?;
        let name = format!("node{node}");
        log_in(&mut clone, &name)?;
        for (number, (question, answer)) in self.stack.asked.iter().enumerate() {
            clone.type_line(&format!("echo answer-$(({number}))-$({question})-"))?;
            clone.expect(&format!("answer-{number}-"), LIMIT)?;
            let wanted = format!("answer-{number}-{answer}-");
            if let Err(error) = clone.expect(&wanted, Duration::from_secs(5)) {
                bail!("{question}: not {answer:?}: {error:#}");
            }
        }
        Ok(())
    }
}

/// Waits until a node has partitions and file systems, and gets files.
fn files_come(node: &mut Guest) -> Result<()> {
    node.expect("session kainstall2", CLONE)?;
    let start = Instant::now();
    loop {
        let console = node.console();
        let after = console.split_once("session kainstall2");
        if after.is_some_and(|(_, after)| after.contains("data comes from")) {
            return Ok(());
        }
        ensure!(start.elapsed() < CLONE, "no files come:\n{console}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Waits for the login of `host`, and logs in on the serial line.
fn log_in(guest: &mut Guest, host: &str) -> Result<()> {
    guest.expect(&format!("{host} login: "), START)?;
    guest.type_line("root")?;
    guest.expect("Password: ", LIMIT)?;
    guest.type_line("golden")?;
    guest.expect(&format!("root@{host}:~# "), LIMIT)
}
