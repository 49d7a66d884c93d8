//! Names of disks in the clone's own files: where the golden node had `/dev/sda`, this
//! computer may have `/dev/nvme0n1`. What is named by UUID or label stays, since the file
//! systems keep theirs.

use std::collections::BTreeSet;

use anyhow::Context;
use goldring_disk::fstab;
use goldring_disk::lsblk::{join_partition, split_partition};

use super::Wish;
use crate::tools::tree::Tree;

/// Which name became which.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Names(Vec<(String, String)>);

impl Names {
    /// The golden node's disk `from` is `to` here; its partitions follow it. Anything else
    /// that stands for a device, such as `/dev/disk/by-id/…` or `PARTUUID=…`, is replaced
    /// as it stands.
    pub(crate) fn add(&mut self, from: &str, to: &str) {
        self.0.push((from.to_owned(), to.to_owned()));
    }

    /// Reads `/dev/sda=/dev/vda`, for a command line.
    pub(crate) fn parse(text: &str) -> Result<(String, String), String> {
        // The left side may hold an equals sign itself: PARTUUID=…
        let (from, to) = text
            .rsplit_once("=/dev/")
            .ok_or("write it as /dev/sda=/dev/vda")?;
        Ok((from.to_owned(), format!("/dev/{to}")))
    }

    /// What a name is here; `None`: as it was.
    fn of(&self, name: &str) -> Option<String> {
        let exact = |name: &str| self.0.iter().find(|(from, _)| from == name);
        if let Some((_, to)) = exact(name) {
            return Some(to.clone());
        }
        let (disk, number) = split_partition(name)?;
        Some(join_partition(&exact(disk)?.1, number))
    }

    /// The text with the names of here, each replaced once.
    pub(crate) fn translate(&self, text: &str) -> String {
        let of_name = |c: char| c.is_ascii_alphanumeric() || "/_-.:".contains(c);
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        let mut before = ' ';
        while let Some(first) = rest.chars().next() {
            let begins = !of_name(before) && (first == '/' || first.is_ascii_alphabetic());
            let length = match begins {
                true => self.token(rest),
                false => 0,
            };
            let token = &rest[..length];
            match self.of(token.trim_end_matches(['.', ':'])) {
                Some(name) if length > 0 => {
                    let end = token.trim_end_matches(['.', ':']).len();
                    out.push_str(&name);
                    before = 'x';
                    rest = &rest[end..];
                }
                _ => {
                    out.push(first);
                    before = first;
                    rest = &rest[first.len_utf8()..];
                }
            }
        }
        out
    }

    /// How much of the text is one name: also `PARTUUID=…` when that is looked for.
    fn token(&self, text: &str) -> usize {
        let of_name = |c: char| c.is_ascii_alphanumeric() || "/_-.:".contains(c);
        let plain = text.find(|c| !of_name(c)).unwrap_or(text.len());
        let ends = |from: &&String| {
            text.starts_with(from.as_str())
                && !text[from.len()..].starts_with(|c: char| c.is_ascii_alphanumeric() || c == '-')
        };
        let with_tag = self
            .0
            .iter()
            .map(|(from, _)| from)
            .filter(|f| f.contains('='));
        with_tag
            .filter(ends)
            .map(String::len)
            .max()
            .unwrap_or(plain)
    }
}

/// Files that name disks and that a start of the system needs.
const FILES: [&str; 21] = [
    "/etc/fstab",
    "/etc/crypttab",
    "/etc/mdadm.conf",
    "/etc/mdadm/mdadm.conf",
    "/etc/lilo.conf",
    "/etc/default/grub",
    "/etc/kernel/cmdline",
    "/etc/mkinitcpio.conf",
    "/etc/initramfs-tools/conf.d/resume",
    "/etc/sysconfig/grub",
    "/boot/grub/grub.cfg",
    "/boot/grub/grub.conf",
    "/boot/grub/menu.lst",
    "/boot/grub/device.map",
    "/boot/grub/install.sh",
    "/boot/grub2/grub.cfg",
    "/boot/grub2/device.map",
    "/boot/extlinux/extlinux.conf",
    "/boot/syslinux/syslinux.cfg",
    "/etc/suspend.conf",
    "/etc/uswsusp.conf",
];
/// Folders of such files.
const FOLDERS: [&str; 5] = [
    "/etc/dracut.conf.d",
    "/etc/kernel/cmdline.d",
    "/boot/loader/entries",
    "/boot/efi/loader/entries",
    "/efi/loader/entries",
];
/// LVM looks only at the devices that are listed there, by their serial numbers; without
/// the file it looks at all (lvmdevices(8)).
const LVM_DEVICES: &str = "/etc/lvm/devices/system.devices";

/// Translates the names in the clone's files, and takes what is not here out of its fstab.
/// Gives the files that were changed.
///
/// # Errors
/// A file that cannot be written.
pub(crate) fn rewrite(tree: &Tree, wish: &Wish) -> anyhow::Result<Vec<String>> {
    let mut files: BTreeSet<String> = FILES.iter().map(|&path| path.to_owned()).collect();
    for folder in FOLDERS {
        let names = tree.names(folder);
        files.extend(names.iter().map(|name| format!("{folder}/{name}")));
    }
    for esp in ["/boot/efi", "/efi", "/boot"] {
        for id in tree.names(&format!("{esp}/EFI")) {
            files.insert(format!("{esp}/EFI/{id}/grub.cfg"));
        }
    }
    let mut changed = Vec::new();
    for path in files {
        let without = |text: &str| match path.as_str() {
            "/etc/fstab" => named_subvolumes(&left_out(text, &wish.gone), &wish.subvolumes),
            _ => text.to_owned(),
        };
        if tree.edit(&path, |text| wish.names.translate(&without(text)))? {
            changed.push(path);
        }
    }
    if tree
        .remove(LVM_DEVICES)
        .context("letting LVM look at all disks")?
    {
        changed.push(LVM_DEVICES.to_owned());
    }
    Ok(changed)
}

/// Makes comments of the lines for places whose disks stayed behind: a system that waits
/// for a disk that is not there does not start.
fn left_out(text: &str, gone: &[String]) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let is_gone = fstab::parse(line)
            .first()
            .is_some_and(|entry| gone.contains(&entry.place));
        if is_gone {
            out.push_str("# stayed on the golden node: ");
        }
        out.push_str(line);
    }
    out
}

/// Subvolumes of btrfs get other numbers here: those that are named by number are named by
/// name. mount refuses a number that is not that of the name.
fn named_subvolumes(text: &str, subvolumes: &[(String, String)]) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let entries = fstab::parse(line);
        let number = entries.first().and_then(|entry| {
            let options = entry.options.iter();
            let number = options
                .clone()
                .find(|option| option.starts_with("subvolid="))?;
            let named = options.clone().any(|option| option.starts_with("subvol="));
            let name = subvolumes.iter().find(|(place, _)| *place == entry.place);
            Some((number, named, name))
        });
        match number {
            Some((number, true, _)) => {
                let without = line.replacen(&format!("{number},"), "", 1);
                out.push_str(&without.replacen(&format!(",{number}"), "", 1));
            }
            Some((number, false, Some((_, name)))) => {
                out.push_str(&line.replacen(number, &format!("subvol={name}"), 1));
            }
            _ => out.push_str(line),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::tree::testing::tree;

    fn names() -> Names {
        let mut names = Names::default();
        for text in [
            "/dev/sda=/dev/nvme0n1",
            "/dev/sdb=/dev/sda",
            "/dev/mmcblk0=/dev/vda",
            "/dev/disk/by-id/ata-X_1-part2=/dev/nvme0n1p2",
            "PARTUUID=ab-01=/dev/nvme0n1p1",
        ] {
            let (from, to) = Names::parse(text).unwrap();
            names.add(&from, &to);
        }
        names
    }

    #[test]
    fn each_name_is_replaced_once_and_nothing_else() {
        let names = names();
        for (text, expected) in [
            ("/dev/sda1 / ext4", "/dev/nvme0n1p1 / ext4"),
            // sdb becomes sda, which stays sda.
            ("/dev/sdb3\t/home", "/dev/sda3\t/home"),
            ("boot=/dev/sda", "boot=/dev/nvme0n1"),
            (
                "root=/dev/sda5 resume=/dev/sdb2",
                "root=/dev/nvme0n1p5 resume=/dev/sda2",
            ),
            ("boot=\"/dev/mmcblk0p2\";", "boot=\"/dev/vda2\";"),
            ("(hd0) /dev/sda\n", "(hd0) /dev/nvme0n1\n"),
            (
                "on /dev/sda1, /dev/sda2.",
                "on /dev/nvme0n1p1, /dev/nvme0n1p2.",
            ),
            ("/dev/sda1:/dev/sdb1", "/dev/sda1:/dev/sdb1"),
            ("UUID=1-2 / ext4", "UUID=1-2 / ext4"),
            (
                "/dev/sdaa1 /dev/sdc1 /dev/sda /x/dev/sda1",
                "/dev/sdaa1 /dev/sdc1 /dev/nvme0n1 /x/dev/sda1",
            ),
            ("/dev/mapper/sda1 /dev/sda1x", "/dev/mapper/sda1 /dev/sda1x"),
            ("/dev/disk/by-id/ata-X_1-part2 /", "/dev/nvme0n1p2 /"),
            (
                "root=PARTUUID=ab-01 PARTUUID=ab-012",
                "root=/dev/nvme0n1p1 PARTUUID=ab-012",
            ),
            ("ä/dev/sda1 ö", "ä/dev/nvme0n1p1 ö"),
            ("", ""),
        ] {
            assert_eq!(names.translate(text), expected);
        }
        for ugly in ["", "x", "/dev/sda", "=/x"] {
            assert!(Names::parse(ugly).is_err(), "{ugly}");
        }
    }

    #[test]
    fn files_of_all_kinds_of_systems_are_changed() {
        let folder = tree(&[
            "etc/fstab=/dev/sda1 / ext4;/dev/sdq1 /data\\040x ext4;UUID=7 /home ext4;",
            "etc/crypttab=swap /dev/sda2 /dev/urandom swap;",
            "boot/grub/menu.lst=kernel /vmlinuz root=/dev/sda1;",
            "boot/grub2/grub.cfg=linux /vmlinuz root=UUID=7;",
            "boot/loader/entries/abc-6.1.conf=options root=/dev/sda1;",
            "boot/efi/EFI/fedora/grub.cfg=set root=/dev/sda1;",
            "etc/lvm/devices/system.devices=x",
            "etc/motd=/dev/sda1;",
        ]);
        let tree = Tree::new(folder.path());
        let wish = Wish {
            names: names(),
            gone: vec!["/data x".to_owned()],
            ..Wish::default()
        };
        let changed = rewrite(&tree, &wish).unwrap();
        assert_eq!(
            changed,
            [
                "/boot/efi/EFI/fedora/grub.cfg",
                "/boot/grub/menu.lst",
                "/boot/loader/entries/abc-6.1.conf",
                "/etc/crypttab",
                "/etc/fstab",
                "/etc/lvm/devices/system.devices",
            ]
        );
        assert_eq!(
            tree.text("/etc/fstab"),
            "/dev/nvme0n1p1 / ext4\n# stayed on the golden node: /dev/sdq1 /data\\040x ext4\nUUID=7 /home ext4\n"
        );
        // A second run finds nothing to do: here the first disk has its name already.
        let mut same = Names::default();
        same.add("/dev/sda", "/dev/sda");
        let wish = Wish {
            names: same,
            ..Wish::default()
        };
        assert_eq!(rewrite(&tree, &wish).unwrap(), [""; 0]);
    }

    #[test]
    fn subvolumes_are_named() {
        let subvolumes = [("/srv".to_owned(), "/@srv".to_owned())];
        for (line, expected) in [
            (
                "UUID=1 / btrfs rw,subvolid=256,subvol=/@ 0 0",
                "UUID=1 / btrfs rw,subvol=/@ 0 0",
            ),
            (
                "UUID=1 / btrfs subvol=/@,subvolid=256 0 0",
                "UUID=1 / btrfs subvol=/@ 0 0",
            ),
            (
                "UUID=1 /srv btrfs subvolid=257\n",
                "UUID=1 /srv btrfs subvol=/@srv\n",
            ),
            (
                "UUID=1 /x btrfs subvolid=258",
                "UUID=1 /x btrfs subvolid=258",
            ),
            ("# subvolid=1,subvol=x", "# subvolid=1,subvol=x"),
            ("", ""),
        ] {
            assert_eq!(named_subvolumes(line, &subvolumes), expected);
        }
    }
}
