//! Who uses a block device: mounts, swap, and devices that are built upon it.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use goldring_contract::Root;

use crate::escape;

/// A device number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DeviceNumber {
    /// The driver.
    pub major: u32,
    /// The device.
    pub minor: u32,
}

impl DeviceNumber {
    /// From the form that `stat` gives.
    pub fn from_raw(raw: u64) -> Self {
        Self {
            major: rustix::fs::major(raw),
            minor: rustix::fs::minor(raw),
        }
    }

    /// Reads `8:1`.
    pub fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.trim().split_once(':')?;
        Some(Self {
            major: major.parse().ok()?,
            minor: minor.parse().ok()?,
        })
    }
}

impl fmt::Display for DeviceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.major, self.minor)
    }
}

/// Somebody who uses a device, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum User {
    /// A mounted file system.
    Mount {
        /// The device, such as `/dev/sda1`.
        device: String,
        /// Where it is mounted.
        place: String,
    },
    /// A swap area.
    Swap {
        /// The device, such as `/dev/sda2`.
        device: String,
    },
    /// A device built upon it: LVM, RAID, encryption.
    Holder {
        /// The device, such as `/dev/sda3`.
        device: String,
        /// The one above it, such as `dm-0`.
        holder: String,
    },
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mount { device, place } => {
                write!(f, "{device} is mounted on {place} (umount {place})")
            }
            Self::Swap { device } => write!(f, "{device} is used as swap (swapoff {device})"),
            Self::Holder { device, holder } => write!(
                f,
                "{device} carries {holder} (stop it: vgchange -an, mdadm --stop or cryptsetup close)"
            ),
        }
    }
}

/// A line of `/proc/self/mountinfo`, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// The device number; not the real one for btrfs.
    pub number: DeviceNumber,
    /// Where.
    pub place: String,
    /// What, as it was given to `mount`.
    pub source: String,
    /// The folder of the file system that is shown there: `/`, or another one for a bind
    /// mount or a subvolume.
    pub top: String,
    /// The file system, as the kernel calls it.
    pub kind: String,
    /// The options of this mount.
    pub options: String,
    /// The options of the file system, such as `rw,subvol=/@`.
    pub file_system_options: String,
}

/// Reads `/proc/self/mountinfo` (proc(5)). Lines that are not understood are left out.
pub fn parse_mountinfo(text: &str) -> Vec<Mount> {
    let line = |line: &str| {
        let (left, right) = line.split_once(" - ")?;
        let mut left = left.split(' ');
        let number = DeviceNumber::parse(left.nth(2)?)?;
        let top = escape::octal(left.next()?);
        let place = escape::octal(left.next()?);
        let options = escape::octal(left.next().unwrap_or_default());
        let mut right = right.split(' ');
        let kind = right.next()?.to_owned();
        Some(Mount {
            number,
            place,
            source: escape::octal(right.next()?),
            top,
            kind,
            options,
            file_system_options: escape::octal(right.next().unwrap_or_default()),
        })
    };
    text.lines().filter_map(line).collect()
}

/// Reads `/proc/swaps`: the paths.
pub fn parse_swaps(text: &str) -> Vec<String> {
    text.lines()
        .skip(1)
        .filter_map(|line| line.split_ascii_whitespace().next())
        .map(escape::octal)
        .collect()
}

/// The device and its partitions: number and name.
fn family(root: &Root, number: DeviceNumber) -> Vec<(DeviceNumber, String)> {
    let folder = root.join(format!("/sys/dev/block/{number}"));
    let mut family = vec![(number, name_of(&folder, number))];
    let Ok(entries) = fs::read_dir(&folder) else {
        return family;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        if !path.join("partition").exists() {
            continue;
        }
        let dev = fs::read_to_string(path.join("dev")).unwrap_or_default();
        if let Some(number) = DeviceNumber::parse(&dev) {
            let name = entry.file_name().to_string_lossy().into_owned();
            family.push((number, name));
        }
    }
    family
}

fn name_of(folder: &Path, number: DeviceNumber) -> String {
    fs::canonicalize(folder)
        .ok()
        .and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()))
        .unwrap_or_else(|| number.to_string())
}

/// Everybody who uses the device with this number or one of its partitions.
///
/// # Errors
/// The mount table cannot be read; without it nobody can say that a disk is free.
pub fn of_device(root: &Root, number: DeviceNumber) -> io::Result<Vec<User>> {
    let family = family(root, number);
    let member = |number: DeviceNumber| {
        let (_, name) = family.iter().find(|(member, _)| *member == number)?;
        Some(format!("/dev/{name}"))
    };
    let by_path = |path: &str| {
        let meta = fs::metadata(root.join(path)).ok()?;
        member(DeviceNumber::from_raw(meta.rdev())).filter(|_| meta.rdev() != 0)
    };
    let mut users = Vec::new();
    let mounts = fs::read_to_string(root.join("/proc/self/mountinfo"))?;
    for mount in parse_mountinfo(&mounts) {
        // btrfs shows a number of its own; there the source tells.
        let device = member(mount.number).or_else(|| by_path(&mount.source));
        if let Some(device) = device {
            let place = mount.place;
            users.push(User::Mount { device, place });
        }
    }
    let swaps = fs::read_to_string(root.join("/proc/swaps")).unwrap_or_default();
    for path in parse_swaps(&swaps) {
        if let Some(device) = by_path(&path) {
            users.push(User::Swap { device });
        }
    }
    for (number, name) in &family {
        let holders = root.join(format!("/sys/dev/block/{number}/holders"));
        for holder in fs::read_dir(holders).into_iter().flatten().flatten() {
            users.push(User::Holder {
                device: format!("/dev/{name}"),
                holder: holder.file_name().to_string_lossy().into_owned(),
            });
        }
    }
    Ok(users)
}

/// The disks of this computer with their sizes, for a message such as "the disks here
/// are sda (500.1 GB), sdb (8.0 GB)". Memory disks and empty loop devices are left out.
pub fn disks(root: &Root) -> Vec<(String, u64)> {
    let mut disks = Vec::new();
    for entry in fs::read_dir(root.join("/sys/class/block"))
        .into_iter()
        .flatten()
        .flatten()
    {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        let sectors = fs::read_to_string(path.join("size")).unwrap_or_default();
        let size = sectors.trim().parse::<u64>().unwrap_or(0) * 512;
        let real = size > 0 && !path.join("partition").exists();
        if real && !name.starts_with("ram") && !name.starts_with("loop") {
            disks.push((name, size));
        }
    }
    disks.sort();
    disks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mountinfo_with_blanks_in_names() {
        let text = "36 35 8:1 / /mnt/my\\040disk rw,noatime master:1 - ext4 /dev/sda1 rw\n\
                    nonsense\n\
                    37 35 0:45 / / rw - btrfs /dev/sda2 rw,subvol=/\n";
        let mounts = parse_mountinfo(text);
        assert_eq!(mounts.len(), 2);
        assert_eq!(mounts[0].place, "/mnt/my disk");
        assert_eq!(mounts[0].number, DeviceNumber { major: 8, minor: 1 });
        assert_eq!(mounts[1].source, "/dev/sda2");
        assert_eq!(
            (mounts[1].top.as_str(), mounts[1].kind.as_str()),
            ("/", "btrfs")
        );
        assert_eq!(mounts[1].file_system_options, "rw,subvol=/");
    }

    #[test]
    fn users_of_a_disk_include_those_of_its_partitions() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::at(dir.path());
        let put = |path: &str, text: &str| {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        put("/sys/devices/sda/dev", "8:0\n");
        put("/sys/devices/sda/sda1/dev", "8:1\n");
        put("/sys/devices/sda/sda1/partition", "1\n");
        put("/sys/devices/sda/sda2/dev", "8:2\n");
        put("/sys/devices/sda/sda2/partition", "2\n");
        put("/sys/devices/sda/sda2/holders/dm-0", "");
        fs::create_dir_all(root.join("/sys/dev/block")).unwrap();
        for (number, place) in [("8:0", "sda"), ("8:2", "sda/sda2")] {
            let link = root.join(format!("/sys/dev/block/{number}"));
            std::os::unix::fs::symlink(format!("../../devices/{place}"), link).unwrap();
        }
        put(
            "/proc/self/mountinfo",
            "36 35 8:1 / /home rw - ext4 /dev/sda1 rw\n37 35 8:17 / /x rw - ext4 /dev/sdb1 rw\n",
        );
        let number = DeviceNumber { major: 8, minor: 0 };
        let users = of_device(&root, number).unwrap();
        let said: Vec<String> = users.iter().map(User::to_string).collect();
        assert_eq!(said.len(), 2, "{said:?}");
        assert_eq!(said[0], "/dev/sda1 is mounted on /home (umount /home)");
        assert!(said[1].starts_with("/dev/sda2 carries dm-0"), "{said:?}");
    }

    #[test]
    fn swaps() {
        let text = "Filename\t\t\tType\t\tSize\tUsed\tPriority\n/dev/sda2  partition 1 0 -2\n";
        assert_eq!(parse_swaps(text), ["/dev/sda2"]);
    }
}
