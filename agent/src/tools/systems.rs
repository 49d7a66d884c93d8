//! Looks for installed systems: which file system has an `/etc` with a release and an
//! fstab. Each is mounted for a moment, such that nothing is written to it.

use std::fs;
use std::path::Path;

use goldring_contract::Root;
use goldring_sys::beneath;

use super::run::Runner;
use goldring_disk::lsblk::Device;

/// Where a file system is mounted for a look.
pub(crate) const LOOK: &str = "/run/goldring/look";
/// A file that tells what a system is, or how it is mounted, is smaller.
const FILE_MAX: u64 = 1 << 20;

/// An installed system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// Where its root is.
    pub(crate) device: Device,
    /// The subvolume of btrfs that is the root, when it is not the one that is mounted
    /// without a word.
    pub(crate) subvolume: Option<String>,
    /// What it calls itself.
    pub(crate) name: String,
    /// Its `/etc/fstab`.
    pub(crate) fstab: String,
}

/// File systems that an installed system may have as its root, and the options with which
/// the kernel writes nothing to them, not even to replay a journal.
const ROOTS: [(&str, &str); 9] = [
    ("ext2", "noload"),
    ("ext3", "noload"),
    ("ext4", "noload"),
    ("xfs", "norecovery,nouuid"),
    ("btrfs", "rescue=nologreplay"),
    ("reiserfs", ""),
    ("jfs", ""),
    ("f2fs", "norecovery"),
    ("bcachefs", "norecovery"),
];
/// Subvolumes that installers make for the root: Debian, Ubuntu and SUSE, Fedora, Arch.
const SUBVOLUMES: [&str; 4] = ["@", "@rootfs", "root", "@root"];

/// The kernel's type for what libblkid calls it: ext4 drives all three.
pub(crate) fn kernel_type(content: &str) -> &str {
    match content {
        "ext2" | "ext3" | "ext4" => "ext4",
        "ntfs" => "ntfs3",
        other => other,
    }
}

/// The options for a mount that never writes, as `ro,noload`.
pub(crate) fn untouched(content: &str) -> String {
    let special = ROOTS.iter().find(|(name, _)| *name == content);
    match special.map(|(_, options)| *options) {
        None | Some("") => "ro".to_owned(),
        Some(options) => format!("ro,{options}"),
    }
}

/// Whether a root may be there.
pub(crate) fn may_be_root(device: &Device) -> bool {
    ROOTS.iter().any(|(name, _)| *name == device.content)
}

/// All systems on `devices`. What cannot be mounted is told to `say`.
pub(crate) fn search(
    root: &Root,
    runner: &mut dyn Runner,
    devices: &[Device],
    say: &mut dyn FnMut(String),
) -> Vec<Found> {
    let mut found = Vec::new();
    for device in devices.iter().filter(|device| may_be_root(device)) {
        match look(root, runner, device) {
            Ok(system) => found.extend(system),
            Err(error) => say(format!("{error:#}")),
        }
    }
    found
}

fn look(root: &Root, runner: &mut dyn Runner, device: &Device) -> anyhow::Result<Option<Found>> {
    let place = root.join(LOOK);
    fs::create_dir_all(&place)?;
    let quiet = untouched(&device.content);
    let system = with_mount(root, runner, device, &quiet, |tree| {
        (identify(tree), Vec::new())
    })?;
    if device.content != "btrfs" || system.0.is_some() {
        return Ok(system
            .0
            .map(|(name, fstab)| found(device, None, name, fstab)));
    }
    // The top may show nothing but subvolumes.
    let top = format!("{quiet},subvolid=5");
    let (_, there) = with_mount(root, runner, device, &top, |tree| {
        let there = |name: &&str| tree.join(name).is_dir();
        (None, SUBVOLUMES.into_iter().filter(there).collect())
    })?;
    for subvolume in there {
        let options = format!("{quiet},subvol={subvolume}");
        let looked = with_mount(root, runner, device, &options, |tree| {
            (identify(tree), Vec::new())
        })?;
        if let Some((name, fstab)) = looked.0 {
            return Ok(Some(found(device, Some(subvolume), name, fstab)));
        }
    }
    Ok(None)
}

fn found(device: &Device, subvolume: Option<&str>, name: String, fstab: String) -> Found {
    Found {
        device: device.clone(),
        subvolume: subvolume.map(str::to_owned),
        name,
        fstab,
    }
}

/// Name and fstab of a system, and folders that may be worth a look of their own.
type Seen = (Option<(String, String)>, Vec<&'static str>);

fn with_mount(
    root: &Root,
    runner: &mut dyn Runner,
    device: &Device,
    options: &str,
    see: impl FnOnce(&Path) -> Seen,
) -> anyhow::Result<Seen> {
    let kind = kernel_type(&device.content);
    runner.run("mount", &["-t", kind, "-o", options, &device.name, LOOK])?;
    let seen = see(&root.join(LOOK));
    runner.run("umount", &[LOOK])?;
    Ok(seen)
}

/// What the system at `tree` calls itself, and its fstab; `None` when it is no system.
pub(crate) fn identify(tree: &Path) -> Option<(String, String)> {
    let fstab = read(tree, "/etc/fstab")?;
    let pretty = read(tree, "/etc/os-release").and_then(|text| pretty_name(&text));
    let name = pretty.or_else(|| release(tree))?;
    let name: String = name.chars().filter(|c| !c.is_control()).take(60).collect();
    Some((name, fstab))
}

/// A small file of the tree; its links do not lead out of it.
fn read(tree: &Path, path: &str) -> Option<String> {
    let path = beneath::resolve(tree, Path::new(path)).ok()?;
    let metadata = path.metadata().ok()?;
    if !metadata.is_file() || metadata.len() > FILE_MAX {
        return None;
    }
    let bytes = fs::read(path).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// `PRETTY_NAME`, else `NAME` (os-release(5)).
fn pretty_name(text: &str) -> Option<String> {
    let value = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key))?;
        let value = line.trim().trim_matches(['"', '\'']);
        (!value.is_empty()).then(|| value.to_owned())
    };
    value("PRETTY_NAME=").or_else(|| value("NAME="))
}

/// Before os-release: a line in `/etc/mandriva-release`, `/etc/redhat-release`… and the
/// bare number in `/etc/debian_version`.
fn release(tree: &Path) -> Option<String> {
    let etc = beneath::resolve(tree, Path::new("/etc")).ok()?;
    let mut names: Vec<String> = fs::read_dir(etc)
        .ok()?
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.ends_with("-release"))
        .collect();
    names.sort();
    let line = |name: &String| {
        let text = read(tree, &format!("/etc/{name}"))?;
        let line = text.lines().find(|line| !line.trim().is_empty())?;
        Some(line.trim().to_owned())
    };
    // A link into another file system that is not mounted yet still tells what it is.
    let word = |name: &String| Some(name.strip_suffix("-release")?.to_owned());
    let debian = || {
        Some(format!(
            "Debian {}",
            read(tree, "/etc/debian_version")?.trim()
        ))
    };
    names
        .iter()
        .find_map(line)
        .or_else(debian)
        .or_else(|| names.iter().find_map(word))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            match text.strip_prefix("-> ") {
                Some(target) => symlink(target, path).unwrap(),
                None => fs::write(path, text).unwrap(),
            }
        }
        folder
    }

    #[test]
    fn a_system_says_what_it_is() {
        let fstab = ("etc/fstab", "x");
        type Row<'a> = (&'a [(&'a str, &'a str)], Option<&'a str>);
        let table: [Row; 9] = [
            (
                &[
                    (
                        "etc/os-release",
                        "NAME=x\nPRETTY_NAME=\"Mandriva Linux 2010\"\n",
                    ),
                    fstab,
                ],
                Some("Mandriva Linux 2010"),
            ),
            (
                &[("etc/os-release", "NAME='Small'\n"), fstab],
                Some("Small"),
            ),
            (
                &[
                    ("etc/os-release", "-> /usr/lib/os-release"),
                    ("usr/lib/os-release", "NAME=Inside"),
                    fstab,
                ],
                Some("Inside"),
            ),
            (
                &[
                    (
                        "etc/mandriva-release",
                        "\nMandriva Linux release 2010.1 (x)\n",
                    ),
                    fstab,
                ],
                Some("Mandriva Linux release 2010.1 (x)"),
            ),
            (
                &[("etc/debian_version", "12.1\n"), fstab],
                Some("Debian 12.1"),
            ),
            (
                &[("etc/os-release", "-> ../usr/lib/os-release"), fstab],
                Some("os"),
            ),
            (
                &[("etc/os-release", "NAME=\u{1b}[2Jred\n"), fstab],
                Some("[2Jred"),
            ),
            (&[("etc/os-release", "NAME=x")], None),
            (&[fstab], None),
        ];
        for (files, name) in table {
            let tree = tree(files);
            let found = identify(tree.path()).map(|(name, _)| name);
            assert_eq!(found.as_deref(), name, "{files:?}");
        }
    }

    #[test]
    fn a_link_does_not_lead_out_of_the_tree() {
        let outside = tree(&[("secret", "NAME=outside")]);
        let secret = outside.path().join("secret");
        let link = format!("-> {}", secret.display());
        let tree = tree(&[("etc/os-release", &link), ("etc/fstab", "")]);
        assert_eq!(identify(tree.path()), Some(("os".into(), String::new())));
    }

    #[test]
    fn a_look_writes_nothing() {
        for (content, options) in [
            ("ext3", "ro,noload"),
            ("xfs", "ro,norecovery,nouuid"),
            ("btrfs", "ro,rescue=nologreplay"),
            ("reiserfs", "ro"),
            ("vfat", "ro"),
        ] {
            assert_eq!(untouched(content), options);
        }
    }
}
