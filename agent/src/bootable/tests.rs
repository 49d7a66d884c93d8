use std::fs;

use super::*;
use crate::tools::run::testing::Recorder;
use crate::tools::tree::testing::tree;

/// An IDE controller, a card, and a disk of its own.
const MACHINE: [&str; 7] = [
    "proc/self/mountinfo=30 1 8:1 / /mnt rw - ext4 /dev/vda1 rw;",
    "sys/bus/pci/devices/0000:00:01.0/modalias=pci:v00008086d00007010sv0sd0bc01sc01i80;",
    "sys/bus/pci/devices/0000:00:03.0/modalias=pci:v00008086d0000100Esv0sd0bc02sc00i00;",
    "dev/vda=",
    "sys/devices/vda/vda1/partition=1",
    "sys/class/block/vda1=->../../devices/vda/vda1",
    "mnt/run/x=",
];

/// Every system has them.
const SYSTEM: [&str; 4] = [
    "mnt/dev/x=",
    "mnt/proc/x=",
    "mnt/sys/x=",
    "mnt/etc/machine-id=0123abcd;",
];

const ALIASES: &str = "alias pci:v00008086d00007010sv*sd*bc*sc*i* ata_piix;alias pci:v00008086d0000100Esv*sd*bc*sc*i* e1000;";

const LSBLK: &str = "NAME=\"/dev/vda\" KNAME=\"/dev/vda\" TYPE=\"disk\" SIZE=\"9\" MOUNTPOINT=\"\"\n\
    NAME=\"/dev/vda1\" KNAME=\"/dev/vda1\" TYPE=\"part\" SIZE=\"9\" MOUNTPOINT=\"/mnt\"\n";
/// The same with an EFI partition on /boot/efi.
const LSBLK_ESP: &str = "NAME=\"/dev/vda1\" KNAME=\"/dev/vda1\" TYPE=\"part\" SIZE=\"9\" MOUNTPOINT=\"/mnt\"\n\
    NAME=\"/dev/vda2\" KNAME=\"/dev/vda2\" TYPE=\"part\" SIZE=\"9\" MOUNTPOINT=\"/mnt/boot/efi\"\n";

/// What became of a clone.
struct Done {
    folder: tempfile::TempDir,
    /// Programs that were run in it or for it, without the mounts.
    ran: Vec<String>,
    steps: Vec<String>,
    said: Vec<String>,
    result: anyhow::Result<()>,
}

impl Done {
    fn text(&self, path: &str) -> String {
        Tree::new(self.folder.path().join("mnt")).text(path)
    }

    fn has(&self, path: &str) -> bool {
        Tree::new(self.folder.path().join("mnt")).has(path)
    }
}

fn wish() -> Wish {
    let mut wish = Wish {
        hostname: Some("node7".to_owned()),
        ..Wish::default()
    };
    wish.names.add("/dev/sda", "/dev/vda");
    wish
}

fn made(files: &[&str], lsblk: &str, wish: &Wish) -> Done {
    made_with(files, lsblk, wish, |_| Ok(String::new()))
}

fn made_with(
    files: &[&str],
    lsblk: &str,
    wish: &Wish,
    answer: impl Fn(&str) -> anyhow::Result<String>,
) -> Done {
    let all: Vec<&str> = MACHINE
        .iter()
        .chain(&SYSTEM)
        .chain(files)
        .copied()
        .collect();
    let folder = tree(&all);
    let root = Root::at(folder.path().canonicalize().unwrap());
    let mut runner = Recorder::new(|line: &str| match line.split(' ').next() {
        Some("lsblk") => Ok(lsblk.to_owned()),
        Some("blkid") if line.ends_with("/dev/vda2") => Ok("ID_PART_ENTRY_TYPE=0xef\n".to_owned()),
        _ => answer(line),
    });
    let (mut said, mut steps) = (Vec::new(), Vec::new());
    let mut say = |what: &str| said.push(what.to_owned());
    let mut clone = Clone::new(&root, Path::new("/mnt"), &mut runner, wish, &mut say);
    let result = make(&mut clone, &mut |step| steps.push(step.to_owned()));
    let mut ran = runner.lines;
    assert_eq!(
        ran.iter().filter(|line| line.starts_with("mount ")).count(),
        ran.iter()
            .filter(|line| line.starts_with("umount "))
            .count(),
        "{ran:?}"
    );
    ran.retain(|line| {
        !["mount", "umount", "lsblk", "blkid"].contains(&line.split(' ').next().unwrap())
    });
    Done {
        folder,
        ran,
        steps,
        said,
        result,
    }
}

fn debian() -> Vec<&'static str> {
    vec![
        "mnt/etc/fstab=/dev/sda1 / ext4 defaults;UUID=7 /home ext4 defaults;",
        "mnt/etc/hostname=golden;",
        "mnt/etc/hosts=127.0.1.1 golden.lan golden;",
        "mnt/etc/ssh/ssh_host_rsa_key=secret",
        "mnt/etc/ssh/ssh_host_rsa_key.pub=public",
        "mnt/etc/ssh/sshd_config=x",
        "mnt/etc/udev/rules.d/70-persistent-net.rules=x",
        "mnt/etc/initramfs-tools/conf.d/resume=RESUME=/dev/sda5;",
        "mnt/var/lib/dhcp/dhclient.eth0.leases=x",
        "mnt/var/lib/dhcp/dhcpd.leases=x",
        "mnt/var/lib/systemd/random-seed=x",
        "mnt/var/lib/dbus/machine-id=->/etc/machine-id",
        "mnt/usr/sbin/update-initramfs=",
        "mnt/usr/sbin/mkinitramfs=",
        "mnt/usr/sbin/grub-install=",
        "mnt/usr/sbin/grub-mkconfig=",
        "mnt/usr/lib/grub/i386-pc/x=",
        "mnt/boot/grub/grub.cfg=linux /vmlinuz root=/dev/sda1;",
        "mnt/boot/vmlinuz-6.1.0-25-amd64=",
        "mnt/boot/vmlinuz-6.1.0-26-amd64=",
        "mnt/boot/initrd.img-6.1.0-25-amd64=x",
        "mnt/boot/initrd.img-6.1.0-26-amd64=x",
        "mnt/lib/modules/6.1.0-25-amd64/modules.dep=",
        "mnt/lib/modules/6.1.0-26-amd64/modules.dep=",
        "mnt/lib/modules/6.1.0-99-amd64/modules.dep=",
    ]
}

#[test]
fn debian_becomes_a_computer_of_its_own() {
    let done = made(&debian(), LSBLK, &wish());
    done.result.as_ref().unwrap();
    assert_eq!(
        done.ran,
        [
            "chroot /mnt ssh-keygen -A",
            "chroot /mnt update-initramfs -u -k 6.1.0-25-amd64",
            "chroot /mnt update-initramfs -u -k 6.1.0-26-amd64",
            "chroot /mnt env GRUB_DISABLE_OS_PROBER=true grub-mkconfig -o /boot/grub/grub.cfg",
            "chroot /mnt grub-install --target=i386-pc /dev/vda",
        ]
    );
    assert_eq!(
        done.steps,
        [
            "device names",
            "swap files",
            "identity",
            "host name",
            "drivers",
            "initramfs",
            "boot loader"
        ]
    );
    for (path, text) in [
        (
            "/etc/fstab",
            "/dev/vda1 / ext4 defaults\nUUID=7 /home ext4 defaults\n",
        ),
        ("/etc/hostname", "node7\n"),
        ("/etc/hosts", "127.0.1.1 node7.lan node7\n"),
        ("/etc/machine-id", ""),
        ("/etc/initramfs-tools/conf.d/resume", "RESUME=/dev/vda5\n"),
        ("/boot/grub/grub.cfg", "linux /vmlinuz root=/dev/vda1\n"),
    ] {
        assert_eq!(done.text(path), text, "{path}");
    }
    for path in [
        "/etc/ssh/ssh_host_rsa_key",
        "/etc/ssh/ssh_host_rsa_key.pub",
        "/etc/udev/rules.d/70-persistent-net.rules",
        "/var/lib/dhcp/dhclient.eth0.leases",
        "/var/lib/systemd/random-seed",
        "/etc/initramfs-tools/conf.d/goldring",
        "/etc/kernel/entry-token",
    ] {
        assert!(!done.has(path), "{path}");
    }
    for path in [
        "/etc/ssh/sshd_config",
        "/var/lib/dbus/machine-id",
        "/var/lib/dhcp/dhcpd.leases",
    ] {
        assert!(done.has(path), "{path}");
    }
    // No module table of these kernels knows the controller.
    assert!(
        done.said
            .iter()
            .any(|line| line.contains("no driver for 8086:7010")),
        "{:?}",
        done.said
    );
}

#[test]
fn keep_identity_keeps_it_and_nothing_else() {
    let wish = Wish {
        keep_identity: true,
        ..wish()
    };
    let done = made(&debian(), LSBLK, &wish);
    done.result.as_ref().unwrap();
    assert!(!done.ran[0].contains("ssh-keygen"), "{:?}", done.ran);
    assert_eq!(done.text("/etc/machine-id"), "0123abcd\n");
    assert!(done.has("/etc/ssh/ssh_host_rsa_key"));
    assert!(done.has("/etc/udev/rules.d/70-persistent-net.rules"));
    assert_eq!(done.text("/etc/hostname"), "node7\n");
}

#[test]
fn a_dry_run_changes_nothing() {
    let wish = Wish {
        dry: true,
        ..wish()
    };
    let done = made(&debian(), LSBLK, &wish);
    done.result.as_ref().unwrap();
    assert_eq!(done.text("/etc/hostname"), "golden\n");
    assert_eq!(done.text("/etc/machine-id"), "0123abcd\n");
    assert!(done.has("/etc/ssh/ssh_host_rsa_key"));
}

#[test]
fn fedora_gets_dracut_and_its_signed_loader() {
    let aliases = format!("mnt/lib/modules/6.5.6-300.fc39/modules.alias={ALIASES}");
    let mut files = vec![
        "mnt/etc/fstab=UUID=7 / btrfs subvol=root;",
        "mnt/etc/os-release=ID=fedora;",
        "mnt/etc/ssh/ssh_host_ed25519_key=x",
        "mnt/usr/lib/systemd/system/sshd-keygen@.service=",
        "mnt/usr/bin/dracut=",
        "mnt/usr/lib/dracut/dracut-init.sh=",
        "mnt/usr/bin/mkinitrd=",
        "mnt/usr/sbin/grub2-install=",
        "mnt/usr/sbin/grub2-mkconfig=",
        "mnt/etc/kernel/x=",
        "mnt/etc/lvm/devices/system.devices=IDTYPE=sys_serial;",
        "mnt/etc/NetworkManager/system-connections/lan.nmconnection=[ethernet];mac-address=52:54:00:00:00:01;[ipv4];",
        "mnt/var/lib/NetworkManager/secret_key=x",
        "mnt/var/lib/NetworkManager/NetworkManager.state=x",
        "mnt/boot/loader/entries/0123abcd-6.5.6-300.fc39.conf=options root=UUID=7;",
        "mnt/boot/vmlinuz-6.5.6-300.fc39=",
        "mnt/boot/initramfs-6.5.6-300.fc39.img=x",
        "mnt/lib/modules/6.5.6-300.fc39/modules.dep=",
        "mnt/boot/grub2/grub.cfg=",
        "mnt/boot/efi/EFI/fedora/grubx64.efi=",
        "mnt/boot/efi/EFI/fedora/shimx64.efi=",
        &aliases,
    ];
    let done = made(&files, LSBLK_ESP, &wish());
    done.result.as_ref().unwrap();
    // Started by BIOS: firmware will find EFI/BOOT, which came along.
    assert_eq!(
        done.ran,
        [
            "chroot /mnt dracut --force --no-hostonly --add-drivers ata_piix /boot/initramfs-6.5.6-300.fc39.img 6.5.6-300.fc39"
        ]
    );
    assert_eq!(done.text("/etc/kernel/entry-token"), "0123abcd\n");
    assert!(!done.has("/etc/lvm/devices/system.devices"));
    assert!(!done.has("/etc/ssh/ssh_host_ed25519_key"));
    assert!(!done.has("/var/lib/NetworkManager/secret_key"));
    assert!(done.has("/var/lib/NetworkManager/NetworkManager.state"));
    assert_eq!(
        done.text("/etc/NetworkManager/system-connections/lan.nmconnection"),
        "[ethernet]\n[ipv4]\n"
    );
    assert!(
        !done.said.iter().any(|line| line.contains("no driver")),
        "{:?}",
        done.said
    );
    files.push("sys/firmware/efi/efivars/x=");
    let done = made(&files, LSBLK_ESP, &wish());
    done.result.as_ref().unwrap();
    assert!(
        done.ran[1].starts_with("efibootmgr --create --disk /dev/vda --part 2"),
        "{:?}",
        done.ran
    );
}

#[test]
fn arch_gets_its_presets_and_systemd_boot() {
    let files = [
        "mnt/etc/fstab=UUID=7 / ext4;",
        "mnt/usr/bin/mkinitcpio=",
        "mnt/usr/bin/bootctl=",
        "mnt/boot/EFI/systemd/systemd-bootx64.efi=",
        "mnt/boot/loader/loader.conf=",
        "mnt/boot/loader/random-seed=x",
        "mnt/boot/loader/entries/arch.conf=options root=/dev/sda2 rw;",
        "mnt/boot/vmlinuz-linux=",
        "mnt/usr/lib/modules/6.6.1-arch1-1/modules.dep=",
        "mnt/usr/lib/modules/6.6.1-arch1-1/vmlinuz=",
        "mnt/lib=->usr/lib",
    ];
    let lsblk = LSBLK_ESP.replace("/boot/efi", "/boot");
    let done = made(&files, &lsblk, &wish());
    done.result.as_ref().unwrap();
    assert_eq!(
        done.ran,
        [
            "chroot /mnt mkinitcpio -P",
            "chroot /mnt bootctl --esp-path=/boot --no-variables install",
        ]
    );
    assert_eq!(
        done.text("/boot/loader/entries/arch.conf"),
        "options root=/dev/vda2 rw\n"
    );
    assert!(!done.has("/boot/loader/random-seed"));
    // It had no file with a name.
    assert_eq!(done.text("/etc/hostname"), "node7\n");
}

#[test]
fn mandriva_gets_modprobe_conf_mkinitrd_and_lilo() {
    let aliases = format!("mnt/lib/modules/2.6.17-5mdv/modules.alias={ALIASES}");
    let files = [
        "mnt/etc/fstab=/dev/sda1 / ext3 defaults 1 1;/dev/sda5 swap swap defaults 0 0;",
        "mnt/etc/modprobe.conf=alias eth0 8139too;alias sound-slot-0 snd-intel8x0;",
        "mnt/etc/sysconfig/network=NETWORKING=yes;HOSTNAME=golden;",
        "mnt/etc/sysconfig/network-scripts/ifcfg-eth0=DEVICE=eth0;HWADDR=00:11:22:33:44:55;ONBOOT=yes;",
        "mnt/etc/lilo.conf=boot=/dev/sda;root=/dev/sda1;append=\"resume=/dev/sda5\";",
        "mnt/etc/dhcpc/dhcpcd-eth0.cache=x",
        "mnt/etc/rc.d/init.d/sshd=",
        "mnt/etc/ssh/ssh_host_dsa_key=x",
        "mnt/sbin/mkinitrd=",
        "mnt/sbin/lilo=",
        "mnt/boot/grub/menu.lst=",
        "mnt/sbin/grub-install=",
        "mnt/boot/vmlinuz-2.6.17-5mdv=",
        "mnt/boot/initrd-2.6.17-5mdv.img=x",
        "mnt/lib/modules/2.6.17-5mdv/modules.dep=",
        &aliases,
    ];
    let wish = wish()
        .with_loader("lilo --with=ext3 --with=ata_piix")
        .unwrap();
    let done = made(&files, LSBLK, &wish);
    done.result.as_ref().unwrap();
    assert_eq!(
        done.ran,
        [
            "chroot /mnt mkinitrd -v -f --with=ext3 --with=ata_piix /boot/initrd-2.6.17-5mdv.img 2.6.17-5mdv",
            "chroot /mnt lilo",
        ]
    );
    for (path, text) in [
        (
            "/etc/modprobe.conf",
            "alias sound-slot-0 snd-intel8x0\nalias eth0 e1000\ninstall scsi_hostadapter /sbin/modprobe ata_piix; /bin/true\n",
        ),
        ("/etc/sysconfig/network", "NETWORKING=yes\nHOSTNAME=node7\n"),
        (
            "/etc/sysconfig/network-scripts/ifcfg-eth0",
            "DEVICE=eth0\nONBOOT=yes\n",
        ),
        (
            "/etc/lilo.conf",
            "boot=/dev/vda\nroot=/dev/vda1\nappend=\"resume=/dev/vda5\"\n",
        ),
    ] {
        assert_eq!(done.text(path), text, "{path}");
    }
    assert!(!done.has("/etc/hostname") && !done.has("/etc/dhcpc/dhcpcd-eth0.cache"));
    let wish = self::wish().with_loader("grub").unwrap();
    let done = made(&files, LSBLK, &wish);
    assert_eq!(
        done.ran.last().unwrap(),
        "chroot /mnt grub-install /dev/vda"
    );
}

#[test]
fn what_fails_is_a_step_with_a_name_and_nothing_stays_mounted() {
    let fail = |program: &'static str| {
        move |line: &str| {
            anyhow::ensure!(!line.contains(program), "exit status: 1: no room");
            Ok(String::new())
        }
    };
    for (program, steps, expected) in [
        (
            "update-initramfs",
            6,
            "step: initramfs: exit status: 1: no room",
        ),
        (
            "grub-mkconfig",
            7,
            "step: boot loader: writing GRUB's menu: exit status: 1: no room",
        ),
        (
            "grub-install",
            7,
            "step: boot loader: exit status: 1: no room",
        ),
    ] {
        let done = made_with(&debian(), LSBLK, &wish(), fail(program));
        assert_eq!(format!("{:#}", done.result.as_ref().unwrap_err()), expected);
        assert_eq!(done.steps.len(), steps);
        assert!(!done.has("/etc/initramfs-tools/conf.d/goldring"));
    }
    // Keys that cannot be made are told, the rest goes on.
    let done = made_with(&debian(), LSBLK, &wish(), fail("ssh-keygen"));
    done.result.as_ref().unwrap();
    assert!(
        done.said
            .iter()
            .any(|line| line.contains("make them there: ssh-keygen -A")),
        "{:?}",
        done.said
    );
}

#[test]
fn a_clone_that_would_not_start_is_an_error() {
    let error =
        |files: &[&str], wish: &Wish| format!("{:#}", made(files, LSBLK, wish).result.unwrap_err());
    let mut empty = debian();
    empty.retain(|file| !file.starts_with("mnt/boot/initrd.img-6.1.0-26"));
    assert!(error(&empty, &wish()).contains("no initramfs for 6.1.0-26-amd64"));
    empty.push("mnt/boot/initrd.img-6.1.0-26-amd64=");
    assert!(error(&empty, &wish()).contains("is empty; is /boot full?"));
    let wished = wish().with_loader("lilo").unwrap();
    assert!(error(&debian(), &wished).contains("-r lilo: the clone does not have it; it has grub"));
    let mut none = debian();
    none.retain(|file| !file.contains("grub"));
    assert!(error(&none, &wish()).contains("the clone has no boot loader"));
    assert!(error(&[], &wish()).contains("no system is mounted there"));
    assert!(Wish::default().with_loader(" ").is_err());
    assert!(Wish::default().with_loader("--with=x").is_err());
}

#[test]
fn the_golden_nodes_list_tells_of_swap_files_and_of_what_stayed() {
    let text = "goldring-manifest 1\ngolden host=golden\nfile-system device=/dev/sda1 type=ext4\n\
                mount place=/ device=/dev/sda1\nswap place=/swap\\040file size=4096\n\
                left place=/home spec=/dev/sdb1 why=x disk=stays\nleft place=/proc why=x\nend\n";
    let wish = wish().with_manifest(&Manifest::parse(text).unwrap());
    let done = made(&debian(), LSBLK, &wish);
    done.result.as_ref().unwrap();
    assert_eq!(
        done.ran[..3],
        [
            "chattr +C '/mnt/swap file'",
            "fallocate --length 4096 '/mnt/swap file'",
            "mkswap '/mnt/swap file'",
        ]
    );
    let fstab = done.text("/etc/fstab");
    assert!(
        fstab.contains("# stayed on the golden node: UUID=7 /home ext4"),
        "{fstab}"
    );
    // Whoever may read it could read what was swapped out.
    let file = done.folder.path().join("mnt/swap file");
    let mode = std::os::unix::fs::MetadataExt::mode(&fs::metadata(file).unwrap());
    assert_eq!(mode & 0o777, 0o600);
}
