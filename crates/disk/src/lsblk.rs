//! The block devices of a machine and what they hold, as `lsblk` and `blkid` tell it.
//!
//! Those of stage 2, not [`crate::probe`]: libblkid knows some eighty kinds of content with
//! labels and numbers, swap, LVM, RAID and LUKS among them, and is what `mount` itself
//! resolves `UUID=` with; lsblk follows what is built upon what. lsblk alone will not do:
//! what a device holds it asks udev, which does not run there.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use goldring_contract::Root;

use crate::escape;

/// The arguments with which lsblk tells what [`parse`] reads.
pub const LSBLK: [&str; 5] = [
    "--pairs",
    "--bytes",
    "--paths",
    "--output",
    "NAME,KNAME,TYPE,SIZE,MOUNTPOINT",
];
/// The arguments with which blkid tells what [`Device::learn`] reads, but for the device:
/// it looks at the device itself and asks no cache. Its exit code is 2 when it finds nothing.
pub const BLKID: [&str; 3] = ["--probe", "--output", "udev"];

/// A disk, a partition, or what is built upon them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Device {
    /// What people call it, such as `/dev/sda1` or `/dev/mapper/system-root`.
    pub name: String,
    /// What the kernel calls it, such as `/dev/dm-0`.
    pub kernel_name: String,
    /// `disk`, `part`, `lvm`, `raid1`, `crypt`, `rom`, `loop`…
    pub kind: String,
    /// In bytes.
    pub size: u64,
    /// As libblkid calls it: `ext4`, `swap`, `LVM2_member`… Empty: nothing known.
    pub content: String,
    /// Of the content.
    pub label: String,
    /// Of the content.
    pub uuid: String,
    /// Of the partition.
    pub part_uuid: String,
    /// Of the partition (GPT).
    pub part_label: String,
    /// Of the partition: `0x83`, or a GUID.
    pub part_type: String,
    /// Of the partition table: `dos`, `gpt`.
    pub table: String,
    /// Where it is mounted, `[SWAP]` for swap; empty when it is not.
    pub mounted: String,
}

impl Device {
    /// Takes over what `blkid --probe --output udev` printed of it: lines `KEY=value`, with
    /// `\\xNN` in those that may hold anything.
    pub fn learn(&mut self, text: &str) {
        for line in text.lines() {
            let Some((key, value)) = line.split_once('=') else {
                continue;
            };
            let field = match key {
                "ID_FS_TYPE" => &mut self.content,
                "ID_FS_LABEL_ENC" => &mut self.label,
                "ID_FS_UUID_ENC" => &mut self.uuid,
                "ID_PART_ENTRY_UUID" => &mut self.part_uuid,
                "ID_PART_ENTRY_NAME" => &mut self.part_label,
                "ID_PART_ENTRY_TYPE" => &mut self.part_type,
                "ID_PART_TABLE_TYPE" => &mut self.table,
                _ => continue,
            };
            *field = escape::hexadecimal(value);
        }
    }

    /// Whether a partition is one that EFI firmware starts from.
    pub fn is_esp(&self) -> bool {
        let guid = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b";
        self.part_type.eq_ignore_ascii_case(guid) || self.part_type == "0xef"
    }
}

/// Reads `lsblk --pairs`: a line is a device, `KEY="value"` with `\xNN` for what would
/// upset a shell. A device that stands upon several is listed several times there and
/// once here.
pub fn parse(text: &str) -> Vec<Device> {
    let mut devices: Vec<Device> = Vec::new();
    for line in text.lines() {
        let device = parse_line(line);
        let known = |other: &Device| other.kernel_name == device.kernel_name;
        if !device.kernel_name.is_empty() && device.size > 0 && !devices.iter().any(known) {
            devices.push(device);
        }
    }
    devices
}

fn parse_line(line: &str) -> Device {
    let mut device = Device::default();
    let mut rest = line;
    while let Some((key, tail)) = rest.split_once("=\"") {
        let Some((value, tail)) = tail.split_once('"') else {
            break;
        };
        let value = escape::hexadecimal(value);
        match key.trim() {
            "NAME" => device.name = value,
            "KNAME" => device.kernel_name = value,
            "TYPE" => device.kind = value,
            "SIZE" => device.size = value.parse().unwrap_or(0),
            "MOUNTPOINT" => device.mounted = value,
            _ => {}
        }
        rest = tail;
    }
    device
}

/// The whole disks that carry a device (`/dev/sda1`, `/dev/dm-0`): its own, or those of
/// everything that it is built upon (sysfs: `slaves`).
pub fn disks_below(root: &Root, device: &str) -> BTreeSet<String> {
    let mut disks = BTreeSet::new();
    let mut waiting = vec![device.trim_start_matches("/dev/").to_owned()];
    let mut seen = BTreeSet::new();
    while let Some(name) = waiting.pop() {
        // A loop in sysfs is impossible, but so were others.
        if !seen.insert(name.clone()) {
            continue;
        }
        let folder = root.join(format!("/sys/class/block/{name}"));
        let slaves = names(&folder.join("slaves"));
        if !slaves.is_empty() {
            waiting.extend(slaves);
            continue;
        }
        let parent = folder
            .canonicalize()
            .ok()
            .filter(|folder| folder.join("partition").exists())
            .and_then(|folder| Some(folder.parent()?.file_name()?.to_str()?.to_owned()));
        match parent {
            Some(parent) => waiting.push(parent),
            None => {
                disks.insert(format!("/dev/{name}"));
            }
        }
    }
    disks
}

fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}

/// Splits the name of a partition: `/dev/sda5` into `/dev/sda` and 5, `/dev/nvme0n1p5`
/// into `/dev/nvme0n1` and 5.
pub fn split_partition(name: &str) -> Option<(&str, u32)> {
    let disk = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let number = name[disk.len()..].parse().ok()?;
    match disk.strip_suffix('p') {
        Some(stem) if stem.ends_with(|c: char| c.is_ascii_digit()) => Some((stem, number)),
        // nvme0n1 is a disk, sdn1 is none.
        _ => ["/dev/sd", "/dev/hd", "/dev/vd", "/dev/xvd"]
            .iter()
            .filter_map(|stem| disk.strip_prefix(stem))
            .any(|letters| !letters.is_empty() && letters.chars().all(|c| c.is_ascii_lowercase()))
            .then_some((disk, number)),
    }
}

/// The name of a partition of a disk.
pub fn join_partition(disk: &str, number: u32) -> String {
    let p = if disk.ends_with(|c: char| c.is_ascii_digit()) {
        "p"
    } else {
        ""
    };
    format!("{disk}{p}{number}")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn lsblk_is_read() {
        let text = r#"NAME="/dev/sda" KNAME="/dev/sda" TYPE="disk" SIZE="8000" MOUNTPOINT=""
NAME="/dev/sda1" KNAME="/dev/sda1" TYPE="part" SIZE="500" MOUNTPOINT="/mnt/a\x20b"
NAME="/dev/md0" KNAME="/dev/md0" TYPE="raid1" SIZE="700"
NAME="/dev/md0" KNAME="/dev/md0" TYPE="raid1" SIZE="700"
NAME="/dev/sr0" KNAME="/dev/sr0" TYPE="rom" SIZE="0"
"#;
        let devices = parse(text);
        let names: Vec<&str> = devices.iter().map(|d| d.name.as_str()).collect();
        assert_eq!(names, ["/dev/sda", "/dev/sda1", "/dev/md0"]);
        assert_eq!(
            (devices[1].size, devices[1].mounted.as_str()),
            (500, "/mnt/a b")
        );
        for ugly in [
            "",
            "NAME",
            "NAME=\"",
            "NAME=\"/dev/sda\"",
            "KNAME=\"x\" SIZE=\"-1\"",
            "\u{0}=\"\"=\"\\x",
        ] {
            assert_eq!(parse(ugly), [], "{ugly:?}");
        }
    }

    #[test]
    fn blkid_is_read() {
        let mut esp = Device::default();
        esp.learn(
            "ID_FS_LABEL=my__disk_\nID_FS_LABEL_ENC=my\\x20\\x22disk\\x22\nID_FS_UUID=12AB-34CD\n\
             ID_FS_UUID_ENC=12AB-34CD\nID_FS_TYPE=vfat\nID_FS_USAGE=filesystem\n\
             ID_PART_ENTRY_SCHEME=gpt\nID_PART_ENTRY_NAME=EFI\\x20System\nID_PART_ENTRY_UUID=aa\n\
             ID_PART_ENTRY_TYPE=c12a7328-f81f-11d2-ba4b-00a0c93ec93b\n",
        );
        let expected = Device {
            content: "vfat".into(),
            label: "my \"disk\"".into(),
            uuid: "12AB-34CD".into(),
            part_uuid: "aa".into(),
            part_label: "EFI System".into(),
            part_type: "c12a7328-f81f-11d2-ba4b-00a0c93ec93b".into(),
            ..Device::default()
        };
        assert_eq!(esp, expected);
        assert!(esp.is_esp());
        esp.learn("");
        esp.learn("=\nx\nID_PART_TABLE_TYPE\n");
        assert_eq!(esp, expected);
        esp.learn("ID_PART_TABLE_TYPE=dos\nID_PART_ENTRY_TYPE=0xef\n");
        assert_eq!((esp.table.as_str(), esp.is_esp()), ("dos", true));
    }

    #[test]
    fn the_disks_below_raid_and_lvm_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::at(folder.path());
        let class = root.join("/sys/class/block");
        fs::create_dir_all(&class).unwrap();
        for (name, place) in [
            ("sda", "sda"),
            ("sda1", "sda/sda1"),
            ("sdb", "sdb"),
            ("sdb1", "sdb/sdb1"),
            ("md0", "md0"),
            ("dm-0", "dm-0"),
        ] {
            let place = root.join("/sys/devices").join(place);
            fs::create_dir_all(place.join("slaves")).unwrap();
            if name.ends_with('1') {
                fs::write(place.join("partition"), "1\n").unwrap();
            }
            symlink(&place, class.join(name)).unwrap();
        }
        for (above, below) in [("md0", "sda1"), ("md0", "sdb1"), ("dm-0", "md0")] {
            symlink("x", class.join(above).join("slaves").join(below)).unwrap();
        }
        let of = |device: &str| {
            disks_below(&root, device)
                .into_iter()
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(of("/dev/dm-0"), "/dev/sda /dev/sdb");
        assert_eq!(of("/dev/sdb1"), "/dev/sdb");
        assert_eq!(of("/dev/sda"), "/dev/sda");
        assert_eq!(of("/dev/gone"), "/dev/gone");
    }

    #[test]
    fn names_of_partitions_come_apart() {
        for (name, disk, number) in [
            ("/dev/sda5", "/dev/sda", 5),
            ("/dev/hdb12", "/dev/hdb", 12),
            ("/dev/vdn1", "/dev/vdn", 1),
            ("/dev/nvme0n1p3", "/dev/nvme0n1", 3),
            ("/dev/mmcblk0p2", "/dev/mmcblk0", 2),
        ] {
            assert_eq!(split_partition(name), Some((disk, number)));
            assert_eq!(join_partition(disk, number), name);
        }
        for name in [
            "/dev/sda",
            "",
            "5",
            "/dev/sdap",
            "/dev/nvme0n1",
            "/dev/md0",
            "/dev/dm-0",
            "/dev/sda99999999999",
        ] {
            assert_eq!(split_partition(name), None, "{name}");
        }
    }
}
