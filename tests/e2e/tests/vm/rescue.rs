//! `rescue` alone: a shell with tools that work, and a way in over the network.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use goldring_host_tests::net::run;
use goldring_vm_tests::disk::{self, NAME};
use goldring_vm_tests::guest::{Guest, Machine, boot_from};
use goldring_vm_tests::room::{Room, SERVER, mac};
use goldring_vm_tests::web::Manner;
use libtest_mimic::Trial;

use crate::images::{golden, images};
use crate::stage1::{LIMIT, serve, stage2};
use crate::{no_lab, no_qemu, trial};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial(
            "rescue::a_person_makes_and_mounts_file_systems",
            no_qemu(),
            file_systems,
        ),
        trial(
            "rescue::over_ssh_systems_are_mounted_and_made_to_boot",
            no_lab(),
            over_ssh,
        ),
    ]
}

/// Each file system is made by stage 2's tools; the kernel asks for its module by
/// itself when it is mounted.
fn file_systems() -> Result<()> {
    let (_web, server) = serve(Manner::Honest)?;
    let mut guest = stage2(&server, "")?;
    guest.expect("# ", LIMIT)?;
    guest.type_line("lsblk -nbo SIZE /dev/vda | sed s/^/disk:/")?;
    guest.expect("disk:134217728", LIMIT)?;
    for make in ["mkfs.ext4 -q -F", "mkfs.vfat", "mkfs.btrfs -q -f -M"] {
        // The answer is computed, so that the echo of the line is not taken for it.
        let name = make.split_whitespace().next().unwrap_or(make);
        guest.type_line(&format!(
            "{make} /dev/vda >/dev/null && mount /dev/vda /mnt && umount /mnt && echo {name}-$((6*7))"
        ))?;
        guest.expect(&format!("{name}-42"), LIMIT)?;
    }
    guest.type_line("grub-install --version; parted --version | head -n 1; goldring --version")?;
    guest.expect("grub-install (GRUB)", LIMIT)?;
    guest.expect("goldring 0.", LIMIT)?;
    guest.type_line("reboot")?;
    guest.expect_reboot(Duration::from_secs(90))
}

/// The guest's address.
const ADDRESS: &str = "10.0.1.31";

/// A room with a web server, and a guest in it with three disks: an empty one, one with an
/// old system, and a Debian whose boot loader is gone.
fn over_ssh() -> Result<()> {
    let mut room = Room::new(1)?;
    room.dnsmasq(&format!("dhcp-host={},{ADDRESS}", mac(1)))?;
    let keys = serve_keys(&mut room)?;
    let installed = disk::installed(room.folder())?;
    let debian = room.folder().join("debian.img");
    disk::without_loader(&golden()?, &debian)?;
    let drive = |disk: &Path| {
        let name = disk.display();
        [
            "-drive".to_owned(),
            format!("file={name},if=virtio,format=raw,cache=unsafe"),
        ]
    };
    let words = format!(
        "automatic=method:http,interface:auto,network:dhcp,server:{SERVER},directory:/cs4 rescue \
         ssh_key=http://{SERVER}/key.pub"
    );
    let mut guest = Machine::new(&images()?, &words)
        .in_room(&room, 1)
        .arguments(drive(&installed))
        .arguments(drive(&debian))
        .start()?;
    let ssh = only_the_key_lets_in(&room, &mut guest, keys)?;
    old_system(&ssh)?;
    raid_and_volumes(&ssh)?;
    drivers(&ssh)?;
    boot_loader(&ssh)?;
    // The word works from here, too.
    ssh.start_command("bash -lc reboot").status()?;
    guest.expect_reboot(LIMIT)?;
    drop(guest);
    boot_from(&debian)?.expect("golden login:", LIMIT * 2)
}

/// Two pairs of keys.
pub(crate) struct Keys {
    pub(crate) right: PathBuf,
    wrong: PathBuf,
    /// What the web server serves under the name on the kernel command line.
    pub(crate) served: PathBuf,
}

/// Serves stage 2, and first a web page where the key should be.
pub(crate) fn serve_keys(room: &mut Room) -> Result<Keys> {
    let www = room.folder().join("www");
    let stage2 = www.join("cs4/install/stage2");
    fs::create_dir_all(&stage2)?;
    symlink(
        fs::canonicalize(images()?)?.join("rescue.clp"),
        stage2.join("rescue.clp"),
    )?;
    let keys = Keys {
        right: room.folder().join("right"),
        wrong: room.folder().join("wrong"),
        served: www.join("key.pub"),
    };
    fs::write(&keys.served, "<html>no key yet</html>\n")?;
    for key in [&keys.right, &keys.wrong] {
        let name = key.to_str().context("an odd name")?;
        run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", name])?;
    }
    let mut web = room.command("python3");
    web.args(["-u", "-m", "http.server", "80", "--directory"])
        .arg(www);
    room.serve("web", web, Some("Serving HTTP"))?;
    Ok(keys)
}

/// A person at another computer of the room.
pub(crate) struct Ssh<'a> {
    pub(crate) room: &'a Room,
    pub(crate) key: PathBuf,
}

impl Ssh<'_> {
    fn options(&self, key: &Path) -> Vec<String> {
        let known = self.room.folder().join("known_hosts");
        let mut options = vec!["-i".to_owned(), key.display().to_string()];
        for option in [
            "StrictHostKeyChecking=accept-new".to_owned(),
            format!("UserKnownHostsFile={}", known.display()),
            "IdentitiesOnly=yes".to_owned(),
            "BatchMode=yes".to_owned(),
            "ConnectTimeout=120".to_owned(),
        ] {
            options.extend(["-o".to_owned(), option]);
        }
        options
    }

    fn start_command(&self, line: &str) -> std::process::Command {
        let mut command = self.room.command("ssh");
        command.args(self.options(&self.key));
        command.arg(format!("root@{ADDRESS}")).arg(line);
        command
    }

    /// What a command line printed, if it did well.
    pub(crate) fn run(&self, line: &str) -> Result<String> {
        let output = self.start_command(line).output().context("starting ssh")?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            let error = String::from_utf8_lossy(&output.stderr);
            bail!("{line}: {}:\n{said}{error}", output.status);
        }
        Ok(said)
    }

    /// As `run`, and each of these stands in what it printed.
    fn says(&self, line: &str, words: &[&str]) -> Result<String> {
        let said = self.run(line)?;
        for word in words {
            ensure!(said.contains(word), "{line}: no {word:?} in:\n{said}");
        }
        Ok(said)
    }
}

/// A web page is no key, and a key that is not the one gets nobody in.
fn only_the_key_lets_in<'a>(room: &'a Room, guest: &mut Guest, keys: Keys) -> Result<Ssh<'a>> {
    guest.expect("no public key, it begins with \"<html>no key yet", LIMIT)?;
    fs::copy(keys.right.with_extension("pub"), &keys.served)?;
    guest.expect(&format!("ssh: ssh root@{ADDRESS} (host key SHA256:"), LIMIT)?;
    let wrong = Ssh {
        room,
        key: keys.wrong,
    };
    let refused = wrong.run("true").unwrap_err().to_string();
    ensure!(
        refused.contains("Permission denied (publickey)"),
        "{refused}"
    );
    let ssh = Ssh {
        room,
        key: keys.right,
    };
    ssh.says(
        "whoami; cat /etc/os-release",
        &["root", "goldring rescue system"],
    )?;
    // The fingerprint on the console is the one that a person is asked about.
    let known = room.folder().join("known_hosts");
    let listed = std::process::Command::new("ssh-keygen")
        .arg("-lf")
        .arg(known)
        .output()?;
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let print = listed.split(' ').find(|word| word.starts_with("SHA256:"));
    let print = print.with_context(|| format!("no fingerprint in {listed}"))?;
    ensure!(
        guest.console().contains(print),
        "{print} is not on the console"
    );
    // Programs of today copy by sftp.
    let mut scp = room.command("scp");
    scp.args(ssh.options(&ssh.key))
        .arg(room.folder().join("right.pub"))
        .arg(format!("root@{ADDRESS}:/tmp/copied"));
    ensure!(scp.status()?.success(), "scp failed");
    ssh.says("cat /tmp/copied", &["ssh-ed25519"])?;
    Ok(ssh)
}

/// A system whose disk had another name is found and mounted whole, and taken down again.
fn old_system(ssh: &Ssh<'_>) -> Result<()> {
    let found = format!("=> found a {NAME} root partition on /dev/vdb2");
    ssh.says(
        "lsparts -v | tr -s ' '",
        &[
            "/dev/vda 134.2 MB disk, no partitions",
            "/dev/vdb2 67.1 MB ext3 label mandriva UUID",
            "/dev/vdb3 16.8 MB swap",
            "/dev/vdb4 134.2 MB btrfs label people",
            "/dev/vdc1",
        ],
    )?;
    ssh.says(
        "guessmounts && cat /mnt/boot/on-boot /mnt/home/on-home && ls /mnt/proc/1/exe",
        &[
            &found,
            "/dev/hda1 is /dev/vdb1 here",
            "guessmounts --root /dev/vdc1 takes that one",
            "/dev/hda3 is swap, which is not turned on",
            "/net (server:/export) is left out",
            "/media/cdrom (/dev/cdrom) is left out: noauto",
            "here\nhere\n",
        ],
    )?;
    ssh.says("lsparts -v", &["on /mnt/home"])?;
    let again = ssh.run("guessmounts").unwrap_err().to_string();
    ensure!(
        again.contains("guessmounts --umount /mnt takes it down"),
        "{again}"
    );
    ssh.says(
        "guessmounts --umount; ls -A /mnt | wc -l",
        &["/mnt is free\n0"],
    )?;
    Ok(())
}

/// LVM upon a RAID that lacks a disk, stopped before and after.
fn raid_and_volumes(ssh: &Ssh<'_>) -> Result<()> {
    ssh.run(
        "set -e; mdadm --create /dev/md0 --quiet --run --level=1 --raid-devices=2 --metadata=1.2 \
         /dev/vda missing; \
         vgcreate -q -q sys /dev/md0; lvcreate -q -q -W n -n root -L 64M sys; \
         mkfs.ext4 -q /dev/sys/root; \
         mount /dev/sys/root /mnt; mkdir /mnt/etc /mnt/dev /mnt/proc /mnt/sys; \
         echo NAME=Upon > /mnt/etc/os-release; echo /dev/sys/root / auto defaults > /mnt/etc/fstab; \
         umount /mnt; vgchange -q -q -an sys; mdadm --quiet --stop /dev/md0",
    )?;
    ssh.says(
        "guessmounts --root /dev/sys/root",
        &["=> found a Upon root partition on /dev/mapper/sys-root"],
    )?;
    ssh.says("lsparts", &["/dev/mapper/sys-root"])?;
    ssh.says(
        "guessmounts --umount; cat /proc/mdstat",
        &["/mnt is free", "unused devices"],
    )?;
    let left = ssh.run("lsparts")?;
    ensure!(
        !left.contains("sys-root") && !left.contains("/dev/md"),
        "{left}"
    );
    Ok(())
}

/// Stage 1 has loaded them all; what a person asks for is told all the same.
fn drivers(ssh: &Ssh<'_>) -> Result<()> {
    ssh.says("drvinst STORAGE network", &["nothing to do"])?;
    let none = ssh.run("drvinst FIREWIRE").unwrap_err().to_string();
    ensure!(none.contains("no device of that type"), "{none}");
    Ok(())
}

/// A dry run writes nothing; then the system's own boot loader is installed.
fn boot_loader(ssh: &Ssh<'_>) -> Result<()> {
    // Boot sector, loader and the first super block, which a mount would change.
    let sum = "head -c 4M /dev/vdc | sha256sum";
    let before = ssh.run(sum)?;
    ssh.says(
        "install_bootloader --dry-run --root /dev/vdc1",
        &["GRUB for BIOS, on /dev/vdc", "would run: ", "/mnt is free"],
    )?;
    ensure!(before == ssh.run(sum)?, "the dry run wrote to the disk");
    ssh.says(
        "install_bootloader --auto --root /dev/vdc1 && guessmounts --umount",
        &[
            "running: ",
            "grub-install --target=i386-pc",
            "the boot loader is installed",
            "/mnt is free",
        ],
    )?;
    Ok(())
}
