//! `goldring files` and `goldring bootable`, with what only root may give to files, on disks
//! of several kinds.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context, Result, ensure};
use goldring_host_tests::net::run;
use goldring_host_tests::target::{Loop, Mounted};
use rustix::fs::{CWD, FileType, Mode, XattrFlags, makedev};

use crate::Story;

pub(crate) const STORIES: &[Story] = &[
    ("files_arrive_with_all_that_root_may_give_them", everything),
    ("access_control_lists_travel_by_number", lists),
    ("a_full_disk_is_an_error_with_the_name_of_a_file", full),
    (
        "files_that_change_and_go_while_they_are_read_do_no_harm",
        busy,
    ),
    ("a_clone_is_made_bootable_by_its_own_programs", bootable),
];

pub(crate) const OTHERS: &[Story] = &[
    ("files_arrive_on_xfs_and_btrfs_as_on_ext4", others),
    (
        "a_node_gets_the_mounts_and_subvolumes_of_the_golden_node",
        mounts,
    ),
];

pub(crate) const FAT: &[Story] = &[("rights_that_fat_does_not_have_are_no_error", fat)];

/// Why stories of file systems of these kinds cannot run here.
pub(crate) fn unavailable(kinds: &[&str]) -> Option<String> {
    for kind in kinds {
        let program = format!("mkfs.{kind}");
        if Command::new(&program).arg("-V").output().is_err() {
            return Some(format!("there is no {program}"));
        }
        // The kernel may know it once its module is in.
        let _ = Command::new("modprobe").arg(kind).output();
        let known = fs::read_to_string("/proc/filesystems").unwrap_or_default();
        if !known.lines().any(|line| line.trim() == *kind) {
            return Some(format!("the kernel does not know {kind}"));
        }
    }
    None
}

/// A disk with a file system.
struct Disk {
    // Unmounted before the loop device goes.
    _mounted: Mounted,
    device: Loop,
    place: PathBuf,
}

impl Disk {
    fn new(folder: &Path, name: &str, mkfs: &[&str], size: u64) -> Result<Self> {
        let device = Loop::new(&folder.join(format!("{name}.disk")), size)?;
        let place = folder.join(name);
        let mounted = Mounted::made_by(mkfs, &device.device, &place)?;
        Ok(Self {
            _mounted: mounted,
            device,
            place,
        })
    }
}

const EXT4: [&str; 2] = ["mkfs.ext4", "-q"];

/// Sends `from` and receives it at `to`.
fn copied(goldring: &Path, from: &Path, to: &Path, options: &[&str]) -> Result<(Output, Output)> {
    let mut sender = Command::new(goldring)
        .args(["files", "send", "--tree"])
        .arg(from)
        .args(options)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let stream = sender.stdout.take().context("no stream")?;
    let receiver = Command::new(goldring)
        .args(["files", "receive"])
        .arg(to)
        .stdin(stream)
        .output()?;
    Ok((sender.wait_with_output()?, receiver))
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Both ends end well.
fn well((sender, receiver): (Output, Output)) -> Result<(String, String)> {
    ensure!(sender.status.success(), "sender: {}", said(&sender));
    ensure!(receiver.status.success(), "receiver: {}", said(&receiver));
    Ok((said(&sender), said(&receiver)))
}

fn same(goldring: &Path, a: &Path, b: &Path, options: &[&str]) -> Result<()> {
    let output = Command::new(goldring)
        .args(["files", "compare"])
        .args([a, b])
        .args(["--ignore", "/lost+found"])
        .args(options)
        .output()?;
    let differences = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "{differences}{}", said(&output));
    Ok(())
}

/// A tree with what only root may make.
fn fill(tree: &Path) -> Result<()> {
    let at = |name: &str| tree.join(name);
    for name in [
        "owned", "setuid", "capable", "listed", "labelled", "trusted",
    ] {
        fs::write(at(name), name)?;
    }
    chown(at("owned"), Some(12345), Some(54321))?;
    chown(at("setuid"), Some(33), Some(44))?;
    fs::set_permissions(at("setuid"), fs::Permissions::from_mode(0o6755))?;
    let set = |name: &str, key: &std::ffi::CStr, value: &[u8]| {
        rustix::fs::setxattr(at(name), key, value, XattrFlags::empty())
    };
    // linux/capability.h: version 2 and effective, bit 10 (CAP_NET_BIND_SERVICE).
    let mut capability = [0u8; 20];
    capability[..8].copy_from_slice(&[1, 0, 0, 2, 0, 4, 0, 0]);
    set("capable", c"security.capability", &capability)?;
    let list = list_for(1234);
    set("listed", c"system.posix_acl_access", &list)?;
    set(
        "labelled",
        c"security.selinux",
        b"system_u:object_r:etc_t:s0\0",
    )?;
    set("trusted", c"trusted.overlay.opaque", b"y")?;
    for (name, kind, device) in [
        ("null", FileType::CharacterDevice, makedev(1, 3)),
        ("disk", FileType::BlockDevice, makedev(8, 17)),
        ("pipe", FileType::Fifo, 0),
        ("socket", FileType::Socket, 0),
    ] {
        rustix::fs::mknodat(CWD, at(name), kind, Mode::from_raw_mode(0o640), device)?;
    }
    chown(at("socket"), Some(7), Some(8))?;
    fs::hard_link(at("owned"), at("owned too"))?;
    fs::create_dir(at("spool"))?;
    set("spool", c"system.posix_acl_default", &list)?;
    fs::set_permissions(at("spool"), fs::Permissions::from_mode(0o3777))?;
    let sparse = File::create(at("sparse"))?;
    sparse.set_len(3 << 30)?;
    Ok(())
}

/// An access control list (linux/posix_acl_xattr.h): version 2; owner, this user, group, mask,
/// others.
fn list_for(user: u32) -> Vec<u8> {
    let mut list = vec![2, 0, 0, 0];
    for (tag, rights, id) in [
        (1u16, 6u16, !0),
        (2, 4, user),
        (4, 4, !0),
        (16, 4, !0),
        (32, 0, !0),
    ] {
        list.extend(tag.to_le_bytes());
        list.extend(rights.to_le_bytes());
        list.extend(id.to_le_bytes());
    }
    list
}

/// Who is called so on the golden node may have another number in the rescue system, or be
/// nobody there. A default list of a mounted folder is not for what was in it before.
fn lists(goldring: &Path) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let golden = Disk::new(folder.path(), "golden", &EXT4, 64 << 20)?;
    let inner = folder.path().join("golden/srv");
    let device = Loop::new(&folder.path().join("srv.disk"), 32 << 20)?;
    let _inner = Mounted::made_by(&EXT4, &device.device, &inner)?;
    let set = |path: &Path, key: &std::ffi::CStr, user: u32| {
        rustix::fs::setxattr(path, key, &list_for(user), XattrFlags::empty())
    };
    // They are called daemon and bin.
    for (name, user) in [("for daemon", 1), ("for bin", 2)] {
        let path = golden.place.join(name);
        fs::write(&path, name)?;
        set(&path, c"system.posix_acl_access", user)?;
    }
    fs::write(inner.join("plain"), "no list")?;
    set(&inner, c"system.posix_acl_default", 1)?;
    fs::write(
        golden.place.join("list"),
        "goldring-manifest 1\nfile-system device=/dev/sda1 type=ext4\n\
         file-system device=/dev/sda2 type=ext4\nmount place=/ device=/dev/sda1\n\
         mount place=/srv device=/dev/sda2\nend\n",
    )?;
    let users = folder.path().join("passwd");
    fs::write(&users, "root:x:0:0::/:/bin/sh\ndaemon:x:77:77::/:/bin/sh\n")?;
    let node = Disk::new(folder.path(), "node", &EXT4, 64 << 20)?;
    // This computer's programs for the golden node, and the users of another one for the node.
    let script = format!(
        "set -e; cd {golden}; mkdir usr run etc dev; cp /etc/passwd etc; mount --bind /usr usr; mount --bind /dev dev; \
         mount --bind {programs} run; \
         for name in bin sbin lib lib64; do \
             if [ -L /$name ]; then ln -s usr/$name; else mkdir $name; mount --bind /$name $name; fi; \
         done; \
         chroot . /run/{name} files send --list /list > {stream}; \
         mount --bind {users} /etc/passwd; {goldring} files receive {node} < {stream}",
        golden = golden.place.display(),
        programs = goldring
            .parent()
            .context("a program without a folder")?
            .display(),
        name = goldring
            .file_name()
            .context("a program without a name")?
            .display(),
        goldring = goldring.display(),
        stream = folder.path().join("stream").display(),
        users = users.display(),
        node = node.place.display(),
    );
    run("unshare", &["-m", "sh", "-c", &script])?;
    let ignored = [
        "bin",
        "sbin",
        "lib",
        "lib64",
        "usr",
        "run",
        "dev",
        "srv/lost+found",
    ];
    let ignored = ignored
        .map(|name| ["--ignore".to_owned(), format!("/{name}")])
        .concat();
    let ignored: Vec<&str> = ignored.iter().map(String::as_str).collect();
    same(goldring, &golden.place, &node.place, &ignored)
}

fn everything(goldring: &Path) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let golden = Disk::new(folder.path(), "golden", &EXT4, 64 << 20)?;
    fill(&golden.place)?;
    for options in [&[][..], &["--zstd"]] {
        let node = Disk::new(folder.path(), "node", &EXT4, 48 << 20)?;
        let (sent, received) = well(copied(goldring, &golden.place, &node.place, options)?)?;
        ensure!(sent.contains("1 sockets"), "{sent}");
        ensure!(received.contains("as they were sent"), "{received}");
        same(goldring, &golden.place, &node.place, &[])?;
        // The comparison sees what it is for.
        chown(node.place.join("socket"), Some(0), Some(0))?;
        let differs = same(goldring, &golden.place, &node.place, &[]);
        ensure!(differs.is_err_and(|why| why.to_string().contains("/socket: owner 7 against 0")));
        ensure!(fs::metadata(node.place.join("sparse"))?.blocks() < 100);
    }
    Ok(())
}

fn others(goldring: &Path) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let golden = Disk::new(folder.path(), "golden", &EXT4, 64 << 20)?;
    fill(&golden.place)?;
    for (name, mkfs, size) in [
        ("xfs", &["mkfs.xfs", "-q"][..], 400 << 20),
        ("btrfs", &["mkfs.btrfs", "-q"], 200 << 20),
    ] {
        let node = Disk::new(folder.path(), name, mkfs, size)?;
        well(copied(goldring, &golden.place, &node.place, &[])?)?;
        same(goldring, &golden.place, &node.place, &[]).context(name)?;
        // And from there to ext4, as little as it was.
        let back = Disk::new(folder.path(), "back", &EXT4, 48 << 20)?;
        well(copied(goldring, &node.place, &back.place, &[])?)?;
        same(goldring, &golden.place, &back.place, &[]).context(name)?;
    }
    Ok(())
}

/// A list says what there is; the node's own file systems have the same UUIDs.
fn mounts(goldring: &Path) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let uuid = ["11111111", "22222222"].map(|begin| format!("{begin}-1234-4234-8234-123456789abc"));
    let disks = [
        Loop::new(&folder.path().join("a"), 200 << 20)?,
        Loop::new(&folder.path().join("b"), 64 << 20)?,
    ];
    run("mkfs.btrfs", &["-q", "-U", &uuid[0], &disks[0].device])?;
    run("mkfs.ext4", &["-q", "-U", &uuid[1], &disks[1].device])?;
    let list = format!(
        "goldring-manifest 1\n\
         file-system device=/dev/sda1 type=btrfs uuid={}\nfile-system device=/dev/sda2 type=ext4 uuid={}\n\
         mount place=/ device=/dev/sda1 option=subvol=@ subvolume=/@\n\
         mount place=/home device=/dev/sda1 option=subvol=@home subvolume=/@home\n\
         mount place=/srv/a\\040b device=/dev/sda2\nsubvolume path=/var/lib/machines\n\
         make kind=folder mode=1777 uid=5 gid=6 changed=1.000000002 path=/tmp\nend\n",
        uuid[0], uuid[1]
    );
    let (file, target) = (folder.path().join("list"), folder.path().join("disk"));
    fs::write(&file, list)?;
    let output = Command::new(goldring)
        .args(["files", "mount", "--list"])
        .args([&file, &target])
        .output()?;
    let taken_down = taken_down_later(&target);
    ensure!(output.status.success(), "{}", said(&output));
    let golden = folder.path().join("golden");
    fs::create_dir_all(golden.join("var/lib/machines"))?;
    fs::create_dir_all(golden.join("srv/a b"))?;
    fs::write(golden.join("srv/a b/file"), "x")?;
    let mut sender = Command::new(goldring)
        .args(["files", "send", "--tree"])
        .arg(&golden)
        .stdout(Stdio::piped())
        .spawn()?;
    let stream = sender.stdout.take().context("no stream")?;
    let receiver = Command::new(goldring)
        .args(["files", "receive", "--list"])
        .args([&file, &target])
        .stdin(stream)
        .output()?;
    ensure!(
        receiver.status.success() && sender.wait()?.success(),
        "{}",
        said(&receiver)
    );
    let tmp = fs::metadata(target.join("tmp"))?;
    ensure!(
        (tmp.mode() & 0o7777, tmp.uid(), tmp.mtime_nsec()) == (0o1777, 5, 2),
        "{tmp:?}"
    );
    // 256 is the number of the root of every subvolume (btrfs(5)).
    for place in ["", "home", "var/lib/machines"] {
        ensure!(fs::metadata(target.join(place))?.ino() == 256, "{place}");
    }
    drop(taken_down);
    ensure!(!target.join("tmp").exists(), "something stays mounted");
    Ok(())
}

/// Takes down what `goldring files mount` left, also when the story fails.
fn taken_down_later(target: &Path) -> impl Drop {
    struct TakenDown(String);
    impl Drop for TakenDown {
        fn drop(&mut self) {
            // It may be gone.
            let _ = run("umount", &["--recursive", &self.0]);
        }
    }
    TakenDown(target.display().to_string())
}

fn full(goldring: &Path) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let golden = folder.path().join("golden");
    fs::create_dir(&golden)?;
    for number in 0..40 {
        fs::write(
            golden.join(format!("file{number:02}")),
            vec![number; 1 << 20],
        )?;
    }
    let node = Disk::new(folder.path(), "node", &EXT4, 16 << 20)?;
    let (_, receiver) = copied(goldring, &golden, &node.place, &[])?;
    let said = said(&receiver);
    ensure!(receiver.status.code() == Some(1), "{said}");
    let last = said.lines().last().unwrap_or_default();
    let full = last.contains("No space left on device") || last.contains("Wrote only");
    ensure!(full && last.contains("./file"), "{said}");
    Ok(())
}

/// Files grow, shrink, come and go; what arrives is whole all the same.
fn busy(goldring: &Path) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (golden, node) = (folder.path().join("golden"), folder.path().join("node"));
    fs::create_dir(&golden)?;
    fs::create_dir(&node)?;
    for number in 0..200 {
        fs::create_dir(golden.join(format!("{number}")))?;
        fs::write(golden.join(format!("{number}/file")), vec![7; 100_000])?;
    }
    fs::write(golden.join("still"), "x")?;
    let stop = AtomicBool::new(false);
    let result = thread::scope(|scope| {
        let busy = scope.spawn(|| -> Result<()> {
            let mut round = 0u32;
            while !stop.load(Ordering::Relaxed) {
                let number = round % 200;
                round = round.wrapping_add(7);
                let file = golden.join(format!("{number}/file"));
                match round % 3 {
                    0 => fs::remove_file(&file).or_else(|_| fs::write(&file, "new"))?,
                    1 => File::options()
                        .append(true)
                        .create(true)
                        .open(&file)?
                        .write_all(&[1; 5000])?,
                    _ => File::options()
                        .write(true)
                        .create(true)
                        .truncate(false)
                        .open(&file)?
                        .set_len(10)?,
                }
            }
            Ok(())
        });
        let mut results = Vec::new();
        for _ in 0..5 {
            results.push(copied(goldring, &golden, &node, &[]).and_then(well));
        }
        stop.store(true, Ordering::Relaxed);
        let busy = busy
            .join()
            .map_err(|_| anyhow::anyhow!("the busy thread panicked"));
        busy.and_then(|busy| busy).map(|()| results)
    });
    for result in result? {
        result?;
    }
    ensure!(fs::read_to_string(node.join("still"))? == "x");
    Ok(())
}

fn fat(goldring: &Path) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let golden = folder.path().join("golden");
    fs::create_dir_all(golden.join("EFI/debian"))?;
    fs::write(golden.join("EFI/debian/grubx64.efi"), "x")?;
    // As a golden node has it whose fstab says umask=0077.
    for name in ["EFI", "EFI/debian", "EFI/debian/grubx64.efi"] {
        fs::set_permissions(golden.join(name), fs::Permissions::from_mode(0o700))?;
    }
    let node = Disk::new(folder.path(), "node", &["mkfs.vfat"], 32 << 20)?;
    well(copied(goldring, &golden, &node.place, &[])?)?;
    ensure!(fs::read_to_string(node.place.join("EFI/debian/grubx64.efi"))? == "x");
    // A file that is not there is an error on FAT as anywhere: its name has a colon.
    fs::write(golden.join("a:b"), "x")?;
    let (_, receiver) = copied(goldring, &golden, &node.place, &[])?;
    ensure!(
        !receiver.status.success() && said(&receiver).contains("a:b"),
        "{}",
        said(&receiver)
    );
    Ok(())
}

/// A system that has a shell and programs of its own which look at where they are.
pub(crate) fn small_system(tree: &Path) -> Result<()> {
    for folder in [
        "bin",
        "dev",
        "proc",
        "sys",
        "run",
        "etc",
        "boot/grub",
        "usr/sbin",
        "usr/bin",
        "lib/modules/6.1.0",
    ] {
        fs::create_dir_all(tree.join(folder))?;
    }
    let shell = Path::new("/bin/sh").canonicalize()?;
    fs::copy(&shell, tree.join("bin/sh"))?;
    let libraries = Command::new("ldd").arg(&shell).output()?;
    let libraries = String::from_utf8_lossy(&libraries.stdout).into_owned();
    for word in libraries
        .split_ascii_whitespace()
        .filter(|word| word.starts_with('/'))
    {
        let place = tree.join(&word[1..]);
        fs::create_dir_all(place.parent().context("a library at /")?)?;
        fs::copy(word, place)?;
    }
    let script = |name: &str, text: &str| -> Result<()> {
        let path = tree.join(name);
        fs::write(&path, format!("#!/bin/sh\nset -e\n{text}\n"))?;
        Ok(fs::set_permissions(
            path,
            fs::Permissions::from_mode(0o755),
        )?)
    };
    let world = "[ -e /proc/self/status ] && [ -c /dev/null ] && [ -d /sys/class/block ] && echo x > /run/x";
    script("usr/sbin/mkinitramfs", "exit 1")?;
    script(
        "usr/sbin/update-initramfs",
        &format!(
            "{world}\n[ -e /etc/initramfs-tools/conf.d/goldring ]\necho made > /boot/initrd.img-$3"
        ),
    )?;
    script(
        "usr/sbin/grub-install",
        &format!("{world}\necho GRUB > \"$2\""),
    )?;
    script("usr/bin/ssh-keygen", "echo new > /etc/ssh/ssh_host_rsa_key")?;
    script("usr/bin/env", "shift; exec \"$@\"")?;
    for (name, text) in [
        ("etc/fstab", "/dev/sda1 / ext4 defaults 0 1\n"),
        ("etc/hostname", "golden\n"),
        ("etc/machine-id", "0123\n"),
        ("etc/ssh/ssh_host_rsa_key", "old"),
        ("etc/initramfs-tools/conf.d/x", ""),
        ("boot/grub/grub.cfg", ""),
        ("usr/lib/grub/i386-pc/x", ""),
        ("boot/vmlinuz-6.1.0", ""),
        ("lib/modules/6.1.0/modules.dep", ""),
    ] {
        let path = tree.join(name);
        fs::create_dir_all(path.parent().context("a file at /")?)?;
        fs::write(path, text)?;
    }
    Ok(())
}

fn bootable(goldring: &Path) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let disk = Disk::new(folder.path(), "node", &EXT4, 64 << 20)?;
    small_system(&disk.place)?;
    let mounts = || -> Result<usize> {
        let place = disk.place.display().to_string();
        let text = fs::read_to_string("/proc/self/mountinfo")?;
        Ok(text.lines().filter(|line| line.contains(&place)).count())
    };
    let make = || {
        let mut command = Command::new(goldring);
        let command = command.arg("bootable").arg(&disk.place);
        command
            .args(["--hostname", "node7", "--rename", "/dev/sda=/dev/vda"])
            .output()
    };
    // A loader that fails is a step with a name, and leaves nothing mounted.
    let grub = disk.place.join("usr/sbin/grub-install");
    let good = fs::read(&grub)?;
    fs::write(&grub, "#!/bin/sh\necho no room >&2; exit 3\n")?;
    let output = make()?;
    let told = said(&output);
    ensure!(output.status.code() == Some(1), "{told}");
    ensure!(
        told.contains("step: boot loader: chroot") && told.contains("no room"),
        "{told}"
    );
    ensure!(mounts()? == 1, "its mounts are seen by others");
    fs::write(&grub, good)?;
    let output = make()?;
    ensure!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        said(&output)
    );
    ensure!(mounts()? == 1, "something stays mounted");
    let text = |name: &str| fs::read_to_string(disk.place.join(name));
    ensure!(text("etc/fstab")? == "/dev/vda1 / ext4 defaults 0 1\n");
    ensure!(text("etc/hostname")? == "node7\n" && text("etc/machine-id")?.is_empty());
    ensure!(text("etc/ssh/ssh_host_rsa_key")? == "new\n");
    ensure!(text("boot/initrd.img-6.1.0")? == "made\n");
    ensure!(
        !disk.place.join("run/x").exists(),
        "the clone keeps what was in /run"
    );
    ensure!(fs::metadata("/dev/null")?.file_type().is_char_device());
    let mut sector = [0; 5];
    std::io::Read::read_exact(&mut File::open(&disk.device.device)?, &mut sector)?;
    ensure!(&sector == b"GRUB\n", "the loader wrote to another disk");
    Ok(())
}
