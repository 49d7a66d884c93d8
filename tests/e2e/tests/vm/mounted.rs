//! Stage 2 on what is mounted: NFS, CDs, disks, USB sticks. The servers are real ones.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use goldring_host_tests::net::run;
use goldring_vm_tests::ganesha::Ganesha;
use goldring_vm_tests::guest::{Card, Guest, Machine};
use goldring_vm_tests::room::{BRIDGE, Room};
use libtest_mimic::Trial;

use crate::images::images;
use crate::stage1::LIMIT;
use crate::{no_lab, no_qemu, trial};

/// The manual's PXE entry, as it stands.
const MANUAL: &str = "initrd=images/all.rdz ramdisk_size=64000 vga=788 \
     automatic=method:nfs,interface:eth0,network:dhcp,server:10.0.1.253,directory:/cs4 \
     root=/dev/ram3 rescue rw";
const RUNNING: &str = "goldring: stage 2 running";
/// Where stage 2 is below a folder.
const PLACE: &str = "install/stage2/rescue.clp";
const MIB: u64 = 1 << 20;

pub(crate) fn trials() -> Vec<Trial> {
    type Story = (&'static str, fn() -> Result<()>);
    let nfs: [Story; 4] = [
        ("mounted::nfs_4_by_the_manuals_entry", nfs_four),
        ("mounted::nfs_3_at_another_port_and_an_iso_file", nfs_three),
        ("mounted::nfs_each_way_to_say_no", nfs_no),
        (
            "mounted::too_large_for_the_memory_is_used_in_place",
            in_place,
        ),
    ];
    let disks: [Story; 3] = [
        ("mounted::a_cd_without_any_network", cd),
        ("mounted::an_empty_drive_and_then_a_usb_stick", stick),
        ("mounted::disks_without_it_and_then_one_with_it", disks),
    ];
    let nfs = nfs.map(|(name, story)| trial(name, no_lab().or_else(no_nfs), story));
    let disks = disks.map(|(name, story)| trial(name, no_qemu().or_else(no_tools), story));
    nfs.into_iter().chain(disks).collect()
}

fn is_there(tool: &str) -> bool {
    let mut command = Command::new(tool);
    command.arg("--version").stdin(Stdio::null());
    command.output().is_ok()
}

fn no_nfs() -> Option<&'static str> {
    let there = ["ganesha.nfsd", "rpcbind", "xorriso", "mke2fs", "unsquashfs"];
    (!there.into_iter().all(is_there)).then_some(
        "needs nfs-ganesha, rpcbind, xorriso, e2fsprogs and squashfs-tools; as root, cargo xtask \
         test installs them",
    )
}

fn no_tools() -> Option<&'static str> {
    let there = ["xorriso", "sfdisk", "mke2fs", "mkfs.xfs", "mkfs.vfat"];
    (!there.into_iter().all(is_there)).then_some(
        "needs xorriso, fdisk, e2fsprogs, xfsprogs and dosfstools; as root, cargo xtask test \
         installs them",
    )
}

/// A folder that holds stage 2 as a boot server does.
fn tree(folder: &Path) -> Result<()> {
    let file = folder.join(PLACE);
    fs::create_dir_all(file.parent().context("it has one")?)?;
    fs::copy(images()?.join("rescue.clp"), file)?;
    Ok(())
}

/// A CD's image of a folder.
fn iso(folder: &Path, image: &Path) -> Result<()> {
    let (folder, image) = (folder.to_string_lossy(), image.to_string_lossy());
    let arguments = ["-as", "mkisofs", "-quiet", "-R", "-J", "-o"];
    run("xorriso", &[&arguments[..], &[&*image, &*folder]].concat())
}

fn node(room: &Room, words: &str) -> Result<Guest> {
    Machine::new(&images()?, words).in_room(room, 1).start()
}

/// The newest version that there is; nothing stays mounted.
fn nfs_four() -> Result<()> {
    let mut room = Room::new(1)?;
    room.dnsmasq("")?;
    let folder = room.folder().join("cs4");
    tree(&folder)?;
    let server = Ganesha {
        protocols: "3, 4",
        port: 2049,
        exports: Ganesha::export(&folder, "/cs4", "Access_Type = RO;"),
    };
    server.start(&mut room)?;
    let mut guest = node(&room, MANUAL)?;
    guest.expect("mounting 10.0.1.253:/cs4 by NFS", LIMIT)?;
    guest.expect("stage 2: 10.0.1.253:/cs4/install/stage2/rescue.clp", LIMIT)?;
    guest.expect(RUNNING, LIMIT)?;
    guest.expect("# ", LIMIT)?;
    guest.type_line("grep -c ' nfs' /proc/mounts; cat /run/goldring/network; echo end-$((6*7))")?;
    guest.expect("end-42", LIMIT)?;
    let console = guest.console();
    ensure!(console.contains("\n0\n"), "still mounted:\n{console}");
    ensure!(console.contains("server 10.0.1.253"), "{console}");
    Ok(())
}

/// A server without version 4, at a port of its own, and stage 2 in the second of two
/// ISO files. What people asked to keep is kept.
fn nfs_three() -> Result<()> {
    let mut room = Room::new(1)?;
    room.dnsmasq("")?;
    let (folder, content) = (room.folder().join("isos"), room.folder().join("content"));
    fs::create_dir_all(&folder)?;
    fs::create_dir_all(content.join("doc"))?;
    iso(&content, &folder.join("a.iso"))?;
    tree(&content)?;
    iso(&content, &folder.join("b.ISO"))?;
    let server = Ganesha {
        protocols: "3",
        port: 20490,
        exports: Ganesha::export(&folder, "/isos", "Access_Type = RO;"),
    };
    server.start(&mut room)?;
    let words = "automatic=method:nfs,network:dhcp,server:10.0.1.253:20490,directory:isos \
                 rescue keepmounted";
    let mut guest = node(&room, words)?;
    guest.expect(
        "stage 2: 10.0.1.253:/isos/b.ISO, in it install/stage2/rescue.clp",
        LIMIT,
    )?;
    guest.expect(RUNNING, LIMIT)?;
    guest.expect("# ", LIMIT)?;
    guest.type_line(
        "ls /tmp/image /tmp/image/install; grep -o 'nfs .*vers=3' /proc/mounts; echo end-$((6*7))",
    )?;
    guest.expect("end-42", LIMIT)?;
    let console = guest.console();
    for words in ["\ndoc  install\n", "\nstage2\n", "nfs ro,", "vers=3"] {
        ensure!(console.contains(words), "no {words:?}:\n{console}");
    }
    Ok(())
}

/// A server that drops packets, one that hangs, none, and one that lets nobody in.
fn nfs_no() -> Result<()> {
    let other = "10.0.1.250";
    let mut room = Room::new(1)?;
    room.dnsmasq("")?;
    room.ip(&["addr", "add", &format!("{other}/24"), "dev", BRIDGE])?;
    // What comes from this address is dropped.
    let rule = ["from", other, "blackhole"];
    room.ip(&[&["rule", "add"], &rule[..]].concat())?;
    let words = format!("automatic=method:nfs,network:dhcp,server:{other},directory:/cs4 rescue");
    let mut guest = node(&room, &words)?;
    guest.expect("10.0.1.250 does not answer", LIMIT)?;
    guest.expect("does a packet filter drop NFS, port 2049? (try 1/5)", LIMIT)?;
    // The kernel takes the connection, and nobody reads it.
    let deaf = room.command("python3");
    let deaf = listening(deaf, other)?;
    room.ip(&[&["rule", "del"], &rule[..]].concat())?;
    guest.expect(
        "10.0.1.250 took the connection and then said nothing; does its NFS server hang?",
        LIMIT,
    )?;
    drop(deaf);
    guest.expect("10.0.1.250: no NFS server answers there", LIMIT)?;
    let folder = room.folder().join("cs4");
    tree(&folder)?;
    let access = "Access_Type = NONE; CLIENT { Clients = 10.0.1.99; Access_Type = RO; }";
    let server = Ganesha {
        protocols: "3, 4",
        port: 2049,
        exports: Ganesha::export(&folder, "/cs4", access),
    };
    server.start(&mut room)?;
    guest.expect("10.0.1.250 denies /cs4 to this node, 10.0.1.", LIMIT)?;
    guest.expect("is that folder exported there, and to this address?", LIMIT)?;
    guest.expect("ebooting in 5 s", LIMIT)?;
    guest.expect_reboot(Duration::from_secs(90))
}

/// A program of the room that listens and never reads; it ends when it is dropped.
struct Listening(std::process::Child);

fn listening(mut command: Command, address: &str) -> Result<Listening> {
    let program = format!(
        "import socket,time\ns=socket.socket()\n\
         s.setsockopt(socket.SOL_SOCKET,socket.SO_REUSEADDR,1)\n\
         s.bind(('{address}',2049))\ns.listen(50)\nprint('on',flush=True)\ntime.sleep(3600)"
    );
    let mut child = command
        .args(["-c", &program])
        .stdout(Stdio::piped())
        .spawn()
        .context("starting python3")?;
    let mut on = [0; 3];
    let output = child.stdout.as_mut().context("it has an output")?;
    output
        .read_exact(&mut on)
        .context("python3 does not listen")?;
    Ok(Listening(child))
}

impl Drop for Listening {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The second of two drives, and no card in the computer.
fn cd() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (content, image) = (folder.path().join("content"), folder.path().join("cd.iso"));
    tree(&content.join("cs4"))?;
    iso(&content, &image)?;
    let words = "automatic=method:cdrom,network:dhcp,directory:/cs4 rescue";
    let mut guest = Machine::new(&images()?, words)
        .card(Card::None)
        .arguments(["-device", "ide-cd,bus=ide.0", "-device"])
        .arguments(["ide-cd,bus=ide.1,drive=cd", "-drive"])
        .arguments([format!(
            "if=none,id=cd,media=cdrom,format=raw,file={}",
            image.display()
        )])
        .start()?;
    guest.expect("going on without a network, since stage 2 is here", LIMIT)?;
    guest.expect("stage 2: sr1/cs4/install/stage2/rescue.clp", LIMIT)?;
    guest.expect(RUNNING, LIMIT)?;
    guest.expect("# ", LIMIT)?;
    guest.type_line("grep -c iso9660 /proc/mounts; echo end-$((6*7))")?;
    guest.expect("end-42", LIMIT)?;
    let console = guest.console();
    ensure!(console.contains("\n0\n"), "still mounted:\n{console}");
    Ok(())
}

/// A machine with a USB port into which something can be plugged later.
struct Plug {
    monitor: PathBuf,
    _folder: tempfile::TempDir,
}

impl Plug {
    fn new(stick: &Path) -> Result<(Self, Vec<String>)> {
        let folder = tempfile::tempdir()?;
        let monitor = folder.path().join("monitor");
        let arguments = [
            "-device",
            "qemu-xhci,id=xhci",
            "-drive",
            &format!("if=none,id=stick,format=raw,file={}", stick.display()),
            "-chardev",
            &format!(
                "socket,id=plug,path={},server=on,wait=off",
                monitor.display()
            ),
            "-mon",
            "chardev=plug,mode=readline",
        ];
        let arguments = arguments.map(str::to_owned).to_vec();
        let plug = Self {
            monitor,
            _folder: folder,
        };
        Ok((plug, arguments))
    }

    fn plug_in(&self) -> Result<()> {
        let mut stream = UnixStream::connect(&self.monitor).context("reaching the monitor")?;
        writeln!(stream, "device_add usb-storage,bus=xhci.0,drive=stick")?;
        // QEMU takes what was sent before it sees that the line was hung up.
        std::thread::sleep(Duration::from_millis(300));
        Ok(())
    }
}

/// An empty drive is told; a stick with a CD's image that comes later is taken.
fn stick() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (content, image) = (folder.path().join("content"), folder.path().join("cd.iso"));
    tree(&content)?;
    iso(&content, &image)?;
    let (plug, arguments) = Plug::new(&image)?;
    let words = "automatic=method:cdrom,network:dhcp rescue";
    let mut guest = Machine::new(&images()?, words)
        .card(Card::None)
        .arguments(["-device", "ide-cd,bus=ide.0"])
        .arguments(arguments)
        .start()?;
    guest.expect("no stage 2 on a CD: sr0 has no disc in it (try 1/5)", LIMIT)?;
    plug.plug_in()?;
    guest.expect("stage 2: sda/install/stage2/rescue.clp", LIMIT)?;
    guest.expect(RUNNING, LIMIT)
}

/// A disk with partitions; each is the file of a file system, or what it begins with.
fn disk(path: &Path, parts: &[Part<'_>]) -> Result<()> {
    let mut table = "label: gpt\n".to_owned();
    let mut start = MIB;
    for part in parts {
        let size = part.size()?.div_ceil(MIB) * MIB;
        table.push_str(&format!("start={}, size={}\n", start / 512, size / 512));
        start += size;
    }
    let mut file = File::create(path)?;
    file.set_len(start + MIB)?;
    let mut sfdisk = Command::new("sfdisk")
        .arg("--quiet")
        .arg(path)
        .stdin(Stdio::piped())
        .spawn()
        .context("starting sfdisk")?;
    let input = sfdisk.stdin.take();
    input
        .context("it has an input")?
        .write_all(table.as_bytes())?;
    ensure!(sfdisk.wait()?.success(), "sfdisk failed");
    start = MIB;
    for part in parts {
        match part {
            Part::File(source) => sparse(&mut File::open(source)?, &mut file, start)?,
            Part::Bytes(at, bytes) => {
                file.seek(SeekFrom::Start(start + at))?;
                file.write_all(bytes)?;
            }
        }
        start += part.size()?.div_ceil(MIB) * MIB;
    }
    Ok(())
}

enum Part<'a> {
    File(&'a Path),
    /// An empty partition of 1 MiB, with these bytes at this place.
    Bytes(u64, &'a [u8]),
}

impl Part<'_> {
    fn size(&self) -> Result<u64> {
        Ok(match self {
            Self::File(path) => path.metadata()?.len(),
            Self::Bytes(..) => MIB,
        })
    }
}

/// Copies what is not zero.
fn sparse(from: &mut File, to: &mut File, start: u64) -> io::Result<()> {
    let mut block = vec![0; 65536];
    let mut at = start;
    loop {
        let length = from.read(&mut block)?;
        if length == 0 {
            return Ok(());
        }
        if block[..length].iter().any(|byte| *byte != 0) {
            to.seek(SeekFrom::Start(at))?;
            to.write_all(&block[..length])?;
        }
        at += length as u64;
    }
}

/// ext4 with a folder in it.
fn ext4(folder: &Path, image: &Path, size: &str) -> Result<()> {
    let (folder, image) = (folder.to_string_lossy(), image.to_string_lossy());
    run(
        "mke2fs",
        &["-q", "-F", "-t", "ext4", "-d", &folder, &image, size],
    )
}

/// XFS with stage 2 in `/linux`; mkfs.xfs takes the files from a list.
fn xfs(folder: &Path, image: &Path) -> Result<()> {
    let list = folder.join("list");
    let text = format!(
        "/\n0 0\nd--755 0 0\nlinux d--755 0 0\ninstall d--755 0 0\nstage2 d--755 0 0\n\
         rescue.clp ---644 0 0 {}\n$\n$\n$\n$\n",
        images()?.join("rescue.clp").display()
    );
    fs::write(&list, text)?;
    File::create(image)?.set_len(320 * MIB)?;
    let (list, image) = (list.to_string_lossy(), image.to_string_lossy());
    run("mkfs.xfs", &["-q", "-p", &list, &image])
}

/// What each partition holds instead is said; nothing on any is changed; a stick with a
/// partition that has it comes later.
fn disks() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name);
    let content = path("content/linux");
    fs::create_dir_all(content.join("doc"))?;
    iso(&content, &content.join("old.iso"))?;
    fs::write(content.join("new.iso"), "no image")?;
    ext4(&path("content"), &path("ext4"), "16M")?;
    File::create(path("vfat"))?.set_len(16 * MIB)?;
    run("mkfs.vfat", &[&path("vfat").to_string_lossy()])?;
    disk(
        &path("disk"),
        &[
            Part::File(&path("ext4")),
            Part::File(&path("vfat")),
            Part::Bytes(536, b"LVM2 001"),
            Part::Bytes(4086, b"SWAPSPACE2"),
            Part::Bytes(0, b"XFSB"),
            Part::Bytes(0, b""),
        ],
    )?;
    xfs(folder.path(), &path("xfs"))?;
    disk(
        &path("stick"),
        &[Part::Bytes(0, b""), Part::File(&path("xfs"))],
    )?;
    let copy = |name: &str, to: &str| {
        let (from, to) = (path(name), path(to));
        let (from, to) = (from.to_string_lossy(), to.to_string_lossy());
        run("cp", &["--sparse=always", &from, &to])
    };
    copy("disk", "disk.before")?;
    copy("stick", "stick.before")?;
    let (plug, arguments) = Plug::new(&path("stick"))?;
    let words = "automatic=method:disk,network:dhcp,directory:linux rescue";
    let mut guest = Machine::new(&images()?, words)
        .card(Card::None)
        .arguments(arguments)
        .arguments(["-drive"])
        .arguments([format!(
            "if=virtio,format=raw,file={}",
            path("disk").display()
        )])
        .start()?;
    for words in [
        "no stage 2 on a disk: vda holds no known file system",
        "vdb1/linux has no install/stage2/rescue.clp",
        "vdb1/linux/new.iso is no CD image",
        "vdb1/linux/old.iso has no install/stage2/rescue.clp",
        "vdb2 has no linux",
        "vdb3 is a part of LVM, left out",
        "vdb4 is a part of the swap space, left out",
        "vdb5 holds a broken xfs",
        "vdb6 holds no known file system (try 1/5)",
    ] {
        guest.expect(words, LIMIT)?;
    }
    plug.plug_in()?;
    guest.expect("stage 2: sda2/linux/install/stage2/rescue.clp", LIMIT)?;
    guest.expect(RUNNING, LIMIT)?;
    drop(guest);
    // Nothing was written.
    for name in ["disk", "stick"] {
        let (now, before) = (path(name), path(&format!("{name}.before")));
        run("cmp", &[&now.to_string_lossy(), &before.to_string_lossy()])?;
    }
    Ok(())
}

/// An image larger than the memory is mounted where it lies, and read from there for as
/// long as the node runs.
fn in_place() -> Result<()> {
    let mut room = Room::new(1)?;
    room.dnsmasq("")?;
    let folder = room.folder().join("cs4");
    let tree = room.folder().join("tree");
    let rescue = images()?.join("rescue.clp");
    let (to, rescue) = (tree.to_string_lossy(), rescue.to_string_lossy());
    run("unsquashfs", &["-q", "-n", "-d", &to, &rescue])?;
    let place = folder.join(PLACE);
    fs::create_dir_all(place.parent().context("it has one")?)?;
    ext4(&tree, &place, "2G")?;
    let server = Ganesha {
        protocols: "3, 4",
        port: 2049,
        exports: Ganesha::export(&folder, "/cs4", "Access_Type = RO;"),
    };
    server.start(&mut room)?;
    let words = "automatic=method:nfs,network:dhcp,server:10.0.1.253,directory:/cs4 \
                 rescue stage2_digest=off";
    let mut guest = node(&room, words)?;
    guest.expect("too little memory for a copy of 2048 MB", LIMIT)?;
    guest.expect("stage 2 is used where it is", LIMIT)?;
    guest.expect(RUNNING, LIMIT)?;
    guest.expect("# ", LIMIT)?;
    guest.type_line("losetup -l; grep -o ' nfs4 .*' /proc/mounts; echo end-$((6*7))")?;
    guest.expect("end-42", LIMIT)?;
    let console = guest.console();
    for words in [PLACE, "vers=4.2", ",hard,"] {
        ensure!(console.contains(words), "no {words:?}:\n{console}");
    }
    Ok(())
}
