use super::*;
use crate::tools::tree::testing::tree;

/// What is found in a tree, and the commands for the first, with the answer of the
/// firmware's kind.
fn told(files: &[&str], mounted: &[&str], efi: bool) -> Vec<String> {
    let tree = tree(files);
    let found = find(tree.path(), mounted, efi);
    let disks = ["/dev/sda".to_owned(), "/dev/sdb".to_owned()];
    let place = Place {
        folder: "/mnt",
        disks: &disks,
        esp: Some(("/dev/sda".into(), 1)),
        efi,
        is_here: &|device| device == "/dev/sda",
        purpose: Purpose::Repair,
    };
    let mut lines: Vec<String> = found.iter().map(|l| l.word().to_owned()).collect();
    if let Some(first) = found.first() {
        match commands(first, &place) {
            Ok(commands) => lines.extend(commands.iter().map(|c| c.join(" "))),
            Err(why) => lines.push(why),
        }
    }
    lines
}

const DEBIAN: [&str; 3] = [
    "/boot/grub/grub.cfg",
    "/usr/lib/grub/i386-pc/boot.img",
    "/usr/sbin/grub-install",
];

#[test]
fn each_loader_is_known_by_its_files() {
    assert_eq!(
        told(&DEBIAN, &["/"], false),
        [
            "grub",
            "chroot /mnt grub-install --target=i386-pc /dev/sda",
            "chroot /mnt grub-install --target=i386-pc /dev/sdb",
        ]
    );
    let fedora = [
        "/boot/grub2/grub.cfg",
        "/usr/lib/grub/i386-pc/x",
        "/usr/bin/grub2-install",
    ];
    assert_eq!(
        told(&fedora, &["/"], false)[1],
        "chroot /mnt grub2-install --target=i386-pc /dev/sda"
    );
    // A system that has GRUB's modules but not the program, as a small one may.
    assert_eq!(
        told(&DEBIAN[..2], &["/"], false)[1],
        "grub-install --target=i386-pc --boot-directory=/mnt/boot /dev/sda"
    );
    let legacy = ["/boot/grub/menu.lst", "/sbin/grub-install"];
    assert_eq!(
        told(&legacy, &["/"], false)[..2],
        ["grub-legacy", "chroot /mnt grub-install /dev/sda"]
    );
    let lilo = |boot: &str| {
        let conf = format!("/etc/lilo.conf=prompt; boot = \"{boot}\";");
        told(&[&conf, "/sbin/lilo"], &["/"], false)
    };
    assert_eq!(lilo("/dev/sda"), ["lilo", "chroot /mnt lilo"]);
    assert_eq!(lilo("/dev/hda")[1], "chroot /mnt lilo -b /dev/sda");
    let extlinux = ["/boot/extlinux/extlinux.conf", "/usr/bin/extlinux"];
    assert!(told(&extlinux, &["/"], false)[1].contains("no mbr.bin"));
    let whole = [extlinux[0], extlinux[1], "/usr/lib/syslinux/mbr/mbr.bin"];
    assert_eq!(
        told(&whole, &["/"], false),
        [
            "extlinux",
            "chroot /mnt extlinux --install /boot/extlinux",
            "dd bs=440 count=1 conv=notrunc,fsync if=/mnt/usr/lib/syslinux/mbr/mbr.bin of=/dev/sda",
            "dd bs=440 count=1 conv=notrunc,fsync if=/mnt/usr/lib/syslinux/mbr/mbr.bin of=/dev/sdb",
        ]
    );
    assert_eq!(told(&[], &["/"], false), [""; 0]);
}

#[test]
fn uefi_systems_are_told_apart() {
    let grub = [
        "/boot/grub/grub.cfg",
        "/usr/sbin/grub-install",
        "/usr/lib/grub/x86_64-efi/x",
        "/boot/efi/EFI/debian/grubx64.efi",
        "/boot/efi/EFI/BOOT/grubx64.efi",
    ];
    let mounted = ["/", "/boot/efi"];
    assert_eq!(
        told(&grub, &mounted, true),
        [
            "grub-efi",
            "chroot /mnt grub-install --target=x86_64-efi --efi-directory=/boot/efi --bootloader-id=debian",
        ]
    );
    // Started by BIOS: the firmware cannot be told.
    assert!(told(&grub, &mounted, false)[1].ends_with("--bootloader-id=debian --no-nvram"));
    // Without its EFI partition it is none.
    assert_eq!(told(&grub, &["/"], true), [""; 0]);
    let empty = [
        "/boot/grub/grub.cfg",
        "/usr/lib/grub/x86_64-efi/x",
        "/boot/efi/EFI/x",
        "/etc/os-release=NAME=y;ID=my-os;",
    ];
    assert_eq!(
        told(&empty, &mounted, true)[1],
        "grub-install --boot-directory=/mnt/boot --target=x86_64-efi --efi-directory=/mnt/boot/efi --bootloader-id=my-os"
    );
    let signed = [
        "/boot/grub2/grub.cfg",
        "/usr/sbin/grub2-install",
        "/boot/efi/EFI/fedora/grubx64.efi",
        "/boot/efi/EFI/fedora/shimx64.efi",
    ];
    assert_eq!(
        told(&signed, &mounted, true)[1],
        r"efibootmgr --create --disk /dev/sda --part 1 --label fedora --loader \EFI\fedora\shimx64.efi"
    );
    assert!(told(&signed, &mounted, false)[1].contains("boot this rescue system by UEFI"));
    let systemd = [
        "/boot/EFI/x",
        "/boot/loader/loader.conf",
        "/usr/bin/bootctl",
    ];
    assert_eq!(
        told(&systemd, &["/", "/boot"], true),
        [
            "systemd-boot",
            "chroot /mnt bootctl --esp-path=/boot install"
        ]
    );
}

#[test]
fn firmware_that_has_never_seen_a_clone_finds_it() {
    let efi = Loader::GrubEfi {
        program: Some("grub-install".into()),
        esp: "/boot/efi".into(),
        id: "debian".into(),
    };
    let told = |loader: &Loader, efi| {
        let disks = ["/dev/sda".to_owned()];
        let place = Place {
            folder: "/mnt",
            disks: &disks,
            esp: Some(("/dev/sda".into(), 1)),
            efi,
            is_here: &|_| true,
            purpose: Purpose::Clone,
        };
        let commands = commands(loader, &place).unwrap();
        commands
            .iter()
            .map(|c| c[2..].join(" "))
            .collect::<Vec<_>>()
    };
    let plain = "grub-install --target=x86_64-efi --efi-directory=/boot/efi --bootloader-id=debian";
    assert_eq!(told(&efi, true), [plain]);
    assert_eq!(
        told(&efi, false),
        [
            format!("{plain} --no-nvram"),
            format!("{plain} --no-nvram --removable")
        ]
    );
    let signed = Loader::Shim {
        id: "fedora".into(),
    };
    assert_eq!(told(&signed, false), [""; 0]);
    assert_eq!(told(&signed, true).len(), 1);
}

#[test]
fn what_fits_the_firmware_comes_first() {
    let mut both = DEBIAN.to_vec();
    both.push("/boot/efi/EFI/debian/grubx64.efi");
    let words = |files: &[&str], efi| told(files, &["/", "/boot/efi"], efi)[..2].to_vec();
    // A package for a BIOS is not yet a system that a BIOS starts.
    assert_eq!(words(&both, false), ["grub-efi", "grub"]);
    both.push("/boot/grub/i386-pc/core.img");
    assert_eq!(words(&both, false), ["grub", "grub-efi"]);
    assert_eq!(words(&both, true), ["grub-efi", "grub"]);
}
