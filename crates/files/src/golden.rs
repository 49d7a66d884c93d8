//! The golden node looks at itself: what the [`Manifest`] says of it.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use goldring_contract::Root;
use goldring_disk::fstab;
use goldring_disk::lsblk::{Device, disks_below};
use goldring_disk::users::{self, DeviceNumber, parse_mountinfo};

use crate::made::Made;
use crate::manifest::{FileSystem, Manifest, Swap};
use crate::select::{Chosen, Seen, select};
use crate::text::shown;

/// What people wish to be left out.
pub struct Wish<'a> {
    /// Folders and files, as `-x` names them.
    pub excluded: &'a [PathBuf],
    /// Whether a disk or partition such as `/dev/sdb` stays behind (`-X`).
    pub unwanted: &'a dyn Fn(&str) -> bool,
}

impl std::fmt::Debug for Wish<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wish")
            .field("excluded", &self.excluded)
            .finish_non_exhaustive()
    }
}

/// Why nothing can be cloned.
#[derive(Debug, thiserror::Error)]
pub enum GoldenError {
    /// A system call.
    #[error("{0}")]
    Io(String, #[source] io::Error),
    /// The root is no file system of a disk.
    #[error("{0}; clone its disk with dolly instead")]
    Root(String),
    /// `-x` with something that is no place.
    #[error("-x {0}: {1}")]
    Excluded(String, &'static str),
}

/// Looks at the system at `root`, whose devices are `devices`. Gives the manifest, and
/// sentences for people: what may be missing in the clone.
///
/// # Errors
/// Its root cannot be cloned by files; a wish that is none; a file system that does not
/// tell what it holds.
pub fn look(
    root: &Root,
    devices: &[Device],
    wish: &Wish<'_>,
) -> Result<(Manifest, Vec<String>), GoldenError> {
    let read = |path: &str| {
        fs::read_to_string(root.join(path))
            .map_err(|error| GoldenError::Io(format!("reading {path}"), error))
    };
    let mounts = parse_mountinfo(&read("/proc/self/mountinfo")?);
    let fstab = fstab::parse(&read("/etc/fstab")?);
    let disks = |device: &Device| -> Vec<String> {
        disks_below(root, &device.kernel_name).into_iter().collect()
    };
    let mut chosen = select(&Seen {
        mounts: &mounts,
        fstab: &fstab,
        device: &|mount| device_of(root, devices, mount),
        disks: &disks,
        unwanted: wish.unwanted,
    })
    .map_err(GoldenError::Root)?;
    let mut warnings = std::mem::take(&mut chosen.warnings);
    let excluded = excluded(root, wish.excluded, &mut warnings)?;
    let nameless = chosen
        .mounts
        .iter()
        .filter(|(_, device)| device.uuid.is_empty());
    warnings.extend(nameless.map(|(mount, device)| {
        format!(
            "{} ({}) has no UUID: a node is told which of its own it is (files mount --device)",
            mount.place, device.name
        )
    }));
    let swaps = swaps(root, devices, wish, &disks);
    let manifest = Manifest {
        host: host(root),
        efi: root.join("/sys/firmware/efi").exists(),
        file_systems: file_systems(root, &chosen, &disks)?,
        made: made(root, &chosen, &excluded, &mounts),
        swaps,
        mounts: chosen.mounts.into_iter().map(|(mount, _)| mount).collect(),
        nested: Vec::new(),
        left: chosen.left,
        excluded,
    };
    Ok((manifest, warnings))
}

/// The device that a mount is on: by its name, by what a link leads to, by its number. The
/// number of btrfs is none, and `/dev/root` is no name.
fn device_of(root: &Root, devices: &[Device], mount: &users::Mount) -> Option<Device> {
    let named = |name: &str| {
        let same = |device: &&Device| device.name == name || device.kernel_name == name;
        devices.iter().find(same).cloned()
    };
    let linked = || {
        if !mount.source.starts_with("/dev/") {
            return None;
        }
        let target = root.join(&mount.source).canonicalize().ok()?;
        let top = root.as_path().canonicalize().ok()?;
        named(&format!("/{}", target.strip_prefix(top).ok()?.display()))
    };
    let numbered = |number: DeviceNumber| {
        let folder = root.join(format!("/sys/dev/block/{number}"));
        let name = folder
            .canonicalize()
            .ok()?
            .file_name()?
            .to_str()?
            .to_owned();
        named(&format!("/dev/{name}"))
    };
    named(&mount.source)
        .or_else(linked)
        .or_else(|| numbered(mount.number))
}

/// `-x`, checked: absolute, straight, no link.
fn excluded(
    root: &Root,
    wished: &[PathBuf],
    warnings: &mut Vec<String>,
) -> Result<Vec<PathBuf>, GoldenError> {
    let mut excluded = Vec::new();
    for path in wished {
        let wrong = |why| Err(GoldenError::Excluded(shown(path), why));
        if !path.is_absolute() {
            return wrong("write the whole path, from / on");
        }
        if path.components().any(|part| part == Component::ParentDir) {
            return wrong("write the path without ..");
        }
        // Without a slash at the end and dots in the middle.
        let path: PathBuf = path.components().collect();
        if path == Path::new("/") {
            return wrong("without / nothing is left to clone");
        }
        match fs::symlink_metadata(root.join(&path)) {
            Ok(metadata) if metadata.is_symlink() => {
                return wrong("it is a link, which has nothing in it; name what it leads to");
            }
            Ok(_) => {}
            Err(error) => warnings.push(format!("-x {}: {error}", shown(&path))),
        }
        excluded.push(path);
    }
    excluded.sort();
    excluded.dedup();
    Ok(excluded)
}

fn host(root: &Root) -> String {
    let text = fs::read_to_string(root.join("/proc/sys/kernel/hostname")).unwrap_or_default();
    text.trim().to_owned()
}

type DisksOf<'a> = &'a dyn Fn(&Device) -> Vec<String>;

fn file_systems(
    root: &Root,
    chosen: &Chosen,
    disks: DisksOf<'_>,
) -> Result<Vec<FileSystem>, GoldenError> {
    let mut all: Vec<FileSystem> = Vec::new();
    for (mount, device) in &chosen.mounts {
        if all.iter().any(|one| one.device == device.name) {
            continue;
        }
        let place = root.join(&mount.place);
        let room = rustix::fs::statvfs(&place).map_err(|error| {
            GoldenError::Io(
                format!("asking {} what it holds", mount.place),
                error.into(),
            )
        })?;
        all.push(FileSystem {
            device: device.name.clone(),
            disks: disks(device),
            kind: device.content.clone(),
            uuid: device.uuid.clone(),
            label: device.label.clone(),
            part_uuid: device.part_uuid.clone(),
            size: device.size,
            used: room.f_blocks.saturating_sub(room.f_bfree) * room.f_frsize,
            files: room.f_files.saturating_sub(room.f_ffree),
        });
    }
    Ok(all)
}

/// Swap that is used. That of compressed memory has no disk.
fn swaps(root: &Root, devices: &[Device], wish: &Wish<'_>, disks: DisksOf<'_>) -> Vec<Swap> {
    let text = fs::read_to_string(root.join("/proc/swaps")).unwrap_or_default();
    let swap = |path: String| {
        let metadata = fs::metadata(root.join(&path)).ok();
        if !path.starts_with("/dev/") {
            return Some(Swap {
                place: path,
                size: metadata.map_or(0, |metadata| metadata.len()),
                ..Swap::default()
            });
        }
        let device = devices
            .iter()
            .find(|device| device.name == path || device.kernel_name == path)?;
        let disks = disks(device);
        let names = disks.iter().chain([&device.name]);
        let memory = device.kernel_name.starts_with("/dev/zram");
        if memory || names.into_iter().any(|name| (wish.unwanted)(name)) {
            return None;
        }
        Some(Swap {
            place: device.name.clone(),
            disks,
            uuid: device.uuid.clone(),
            label: device.label.clone(),
            size: device.size,
        })
    };
    users::parse_swaps(&text)
        .into_iter()
        .filter_map(swap)
        .collect()
}

/// The folders whose content stays behind. A server that does not answer is not asked for
/// the rights of its folder.
fn made(root: &Root, chosen: &Chosen, excluded: &[PathBuf], mounts: &[users::Mount]) -> Vec<Made> {
    let is_foreign = |place: &str| {
        let here = |mount: &&users::Mount| mount.place == place;
        mounts
            .iter()
            .filter(here)
            .any(|mount| fstab::is_foreign(&mount.kind))
    };
    let left = chosen.left.iter().map(|left| {
        let path = PathBuf::from(&left.place);
        match is_foreign(&left.place) {
            true => Some(Made::plain_folder(path)),
            false => Made::look(root.as_path(), &path).ok().flatten(),
        }
    });
    let wished = excluded
        .iter()
        .map(|path| Made::look(root.as_path(), path).ok().flatten());
    let mut all: Vec<Made> = left.chain(wished).flatten().collect();
    // What is in another one that stays behind as well has nobody who made its folder.
    all.sort_by(|a, b| a.path.cmp(&b.path));
    let tops: Vec<PathBuf> = all.iter().map(|made| made.path.clone()).collect();
    all.retain(|made| {
        let above = |top: &PathBuf| *top != made.path && made.path.starts_with(top);
        !tops.iter().any(above)
    });
    all.dedup_by(|a, b| a.path == b.path);
    all
}

/// What `btrfs subvolume list -o PLACE` and the same with `-s` print, as paths of the system:
/// the subvolumes in the one that is mounted at `place`, without snapshots, which would
/// travel as whole copies.
pub fn nested_subvolumes(place: &str, subvolume: &str, all: &str, snapshots: &str) -> Vec<PathBuf> {
    let paths = |text: &str| -> Vec<String> {
        let path = |line: &str| line.split_once(" path ").map(|(_, path)| path.to_owned());
        text.lines().filter_map(path).collect()
    };
    let snapshots = paths(snapshots);
    let top = subvolume.trim_start_matches('/');
    let inside = |path: &String| {
        let below = match top {
            "" => path,
            top => path.strip_prefix(top)?.strip_prefix('/')?,
        };
        Some(Path::new(place).join(below))
    };
    paths(all)
        .iter()
        .filter(|path| !snapshots.contains(path))
        .filter_map(inside)
        .collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::manifest::Left;

    fn machine() -> (tempfile::TempDir, Root, Vec<Device>) {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::at(folder.path().canonicalize().unwrap());
        for (path, text) in [
            (
                "/proc/self/mountinfo",
                "22 1 8:1 / / rw - ext4 /dev/root rw\n23 22 0:5 / /proc rw - proc proc rw\n\
                 24 22 253:0 / /home rw - xfs /dev/vg/home rw\n25 22 0:9 / /net rw - nfs s:/x rw\n\
                 26 25 0:10 / /srv/spool/tmp rw - tmpfs x rw\n",
            ),
            ("/etc/fstab", "UUID=1 / ext4\n/dev/vg/home /home xfs\n"),
            (
                "/proc/swaps",
                "Filename Type\n/dev/sda2 partition\n/dev/zram0 partition\n/swap.img file\n",
            ),
            ("/proc/sys/kernel/hostname", "golden\n"),
            ("/swap.img", "12345"),
            ("/sys/devices/sda/sda1/partition", "1"),
            ("/home/x", ""),
            ("/net/x", ""),
            ("/srv/spool/tmp/x", ""),
            ("/dev/dm-0", ""),
        ] {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        fs::create_dir_all(root.join("/sys/dev/block")).unwrap();
        fs::create_dir_all(root.join("/dev/vg")).unwrap();
        symlink("../../devices/sda/sda1", root.join("/sys/dev/block/8:1")).unwrap();
        symlink("../dm-0", root.join("/dev/vg/home")).unwrap();
        let device = |name: &str, kernel: &str, uuid: &str| Device {
            name: name.into(),
            kernel_name: kernel.into(),
            uuid: uuid.into(),
            content: "ext4".into(),
            ..Device::default()
        };
        let devices = vec![
            device("/dev/sda1", "/dev/sda1", "1"),
            device("/dev/sda2", "/dev/sda2", "2"),
            device("/dev/zram0", "/dev/zram0", ""),
            device("/dev/mapper/vg-home", "/dev/dm-0", "3"),
        ];
        (folder, root, devices)
    }

    fn looked(excluded: &[&str]) -> Result<(Manifest, Vec<String>), GoldenError> {
        let (_folder, root, devices) = machine();
        let excluded: Vec<PathBuf> = excluded.iter().map(PathBuf::from).collect();
        look(
            &root,
            &devices,
            &Wish {
                excluded: &excluded,
                unwanted: &|_| false,
            },
        )
    }

    #[test]
    fn a_machine_is_written_down() {
        let (manifest, warnings) = looked(&["/srv/spool/", "/none"]).unwrap();
        assert_eq!(
            warnings,
            ["-x /none: No such file or directory (os error 2)"]
        );
        let devices: Vec<&str> = manifest.mounts.iter().map(|m| m.device.as_str()).collect();
        assert_eq!(devices, ["/dev/sda1", "/dev/mapper/vg-home"]);
        let swaps: Vec<(&str, u64)> = manifest
            .swaps
            .iter()
            .map(|s| (s.place.as_str(), s.size))
            .collect();
        assert_eq!(swaps, [("/dev/sda2", 0), ("/swap.img", 5)]);
        let made: Vec<&Path> = manifest
            .made
            .iter()
            .map(|made| made.path.as_path())
            .collect();
        // /srv/spool/tmp stays behind within /srv/spool.
        assert_eq!(
            made,
            [
                Path::new("/net"),
                Path::new("/proc"),
                Path::new("/srv/spool")
            ]
        );
        assert_eq!((manifest.host.as_str(), manifest.efi), ("golden", false));
        let left: Vec<&str> = manifest
            .left
            .iter()
            .map(|l: &Left| l.place.as_str())
            .collect();
        assert_eq!(left, ["/proc", "/net", "/srv/spool/tmp"]);
        assert_eq!(Manifest::parse(&manifest.to_string()), Ok(manifest));
    }

    #[test]
    fn a_wish_that_is_none_is_said() {
        for (path, why) in [
            ("srv", "from / on"),
            ("/srv/../etc", "without .."),
            ("/", "nothing is left"),
            ("/dev/vg/home", "it is a link"),
        ] {
            let error = looked(&[path]).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn subvolumes_that_nobody_mounts_are_found() {
        let all = "ID 258 gen 8 top level 256 path @/var/lib/machines\n\
                   ID 259 gen 8 top level 256 path @/.snapshots/1/snapshot\n\
                   ID 260 gen 8 top level 5 path @other/x\nnonsense\n";
        let snapshots = "ID 259 gen 8 cgen 8 top level 256 otime 2026-01-01 00:00:00 path @/.snapshots/1/snapshot\n";
        assert_eq!(
            nested_subvolumes("/", "/@", all, snapshots),
            [Path::new("/var/lib/machines")]
        );
        let all = "ID 258 gen 8 top level 5 path a b\n";
        assert_eq!(
            nested_subvolumes("/srv", "", all, ""),
            [Path::new("/srv/a b")]
        );
    }
}
