//! A node's new file systems, mounted as the golden node has them, before the files come.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use goldring_contract::Root;
use goldring_disk::lsblk::{Device, disks_below};
use goldring_files::manifest::{FileSystem, Manifest, Mount};
use goldring_sys::beneath;

use crate::tools::disks;
use crate::tools::run::Runner;
use crate::tools::systems::kernel_type;

/// Where the top of a btrfs is shown while its subvolumes are made.
const TOP: &str = "/run/goldring/top";
/// Options that change what is stored, or with which rights it is seen; all others are for
/// the running system.
const KEPT: [&str; 12] = [
    "umask",
    "fmask",
    "dmask",
    "uid",
    "gid",
    "codepage",
    "iocharset",
    "shortname",
    "utf8",
    "compress",
    "subvol",
    "inode64",
];

/// File systems that are mounted; [`Target::undo`] unmounts them.
#[derive(Debug, Default)]
#[must_use = "undo unmounts, keep leaves all mounted"]
pub(crate) struct Target {
    places: Vec<PathBuf>,
}

/// Where to, on which computer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wish<'a> {
    /// The node.
    pub(crate) root: &'a Root,
    /// Below this folder.
    pub(crate) folder: &'a Path,
    /// The golden node's names of devices and those of here, where no UUID tells.
    pub(crate) devices: &'a [(String, String)],
}

impl Target {
    /// Mounts what the list names, `/` first, and makes subvolumes of btrfs. The file systems
    /// are found by their UUIDs, which they share with the golden node, or by
    /// [`Wish::devices`].
    ///
    /// # Errors
    /// A file system that is not here, or twice; mount fails. What was mounted is unmounted.
    pub(crate) fn mount(
        wish: Wish<'_>,
        runner: &mut dyn Runner,
        manifest: &Manifest,
    ) -> anyhow::Result<Self> {
        let mut target = Self::default();
        match target.mount_all(wish, runner, manifest) {
            Ok(()) => Ok(target),
            Err(error) => {
                // The first error is the one to tell.
                let _ = target.undo(runner);
                Err(error)
            }
        }
    }

    fn mount_all(
        &mut self,
        wish: Wish<'_>,
        runner: &mut dyn Runner,
        manifest: &Manifest,
    ) -> anyhow::Result<()> {
        let (root, folder) = (wish.root, wish.folder);
        let all = disks::list(runner)?;
        fs::create_dir_all(root.join(folder))
            .with_context(|| format!("making {}", folder.display()))?;
        let find = |one: &FileSystem| device_of(wish, one, &all);
        for one in &manifest.file_systems {
            subvolumes(root, runner, manifest, one, &find(one)?)?;
        }
        for mount in &manifest.mounts {
            let one = manifest.of(mount).context("a mount without a device")?;
            let place = place(root, folder, Path::new(&mount.place))?;
            let options = options(mount);
            let (kind, device) = (kernel_type(&one.kind), find(one)?);
            let target = place.display().to_string();
            runner.run("mount", &["-t", kind, "-o", &options, &device, &target])?;
            self.places.push(place);
        }
        for path in &manifest.nested {
            let parent = path.parent().unwrap_or(Path::new("/"));
            let parent = place(root, folder, parent)?;
            let name = path.file_name().context("a subvolume without a name")?;
            let path = parent.join(name).display().to_string();
            runner.run("btrfs", &["subvolume", "create", &path])?;
        }
        Ok(())
    }

    /// Leaves all mounted.
    pub(crate) fn keep(mut self) {
        self.places.clear();
    }

    /// Unmounts all, the last first, so that everything is on the disks.
    ///
    /// # Errors
    /// Somebody uses one.
    pub(crate) fn undo(mut self, runner: &mut dyn Runner) -> anyhow::Result<()> {
        while let Some(place) = self.places.pop() {
            let place = place.display().to_string();
            runner
                .run("umount", &[&place])
                .with_context(|| format!("unmounting {place}; who uses it: fuser -vm {place}"))?;
        }
        Ok(())
    }
}

/// The device here of a file system there.
fn device_of(wish: Wish<'_>, one: &FileSystem, all: &[Device]) -> anyhow::Result<String> {
    if let Some((_, here)) = wish.devices.iter().find(|(there, _)| *there == one.device) {
        return Ok(here.clone());
    }
    let same = |device: &&Device| {
        !one.uuid.is_empty() && device.uuid == one.uuid && !device.content.ends_with("_member")
    };
    let mut found = all.iter().filter(same);
    let Some(first) = found.next() else {
        bail!(
            "no file system here has the UUID {} of {}; make the partitions first, or say which \
             one it is (--device {}=/dev/…)",
            one.uuid,
            one.device,
            one.device
        );
    };
    // A btrfs of several disks shows each of them.
    if let Some(second) = found.next().filter(|_| one.kind != "btrfs") {
        let disks = |device: &Device| {
            let disks: Vec<String> = disks_below(wish.root, &device.kernel_name)
                .into_iter()
                .collect();
            disks.join(" and ")
        };
        bail!(
            "{} on {} and {} on {} both have the UUID of {}; unplug the disk that is not meant, \
             or say --device {}=/dev/…",
            first.name,
            disks(first),
            second.name,
            disks(second),
            one.device,
            one.device
        );
    }
    Ok(first.name.clone())
}

/// The folder for a place; it is made when it is not there.
fn place(root: &Root, folder: &Path, place: &Path) -> anyhow::Result<PathBuf> {
    let top = root.join(folder).canonicalize()?;
    let mut there = top.clone();
    for part in place.strip_prefix("/").unwrap_or(place) {
        let below = there.strip_prefix(&top).unwrap_or(Path::new("")).join(part);
        // What is mounted already may have a link there, which stays inside.
        there = match beneath::resolve(&top, &below) {
            Ok(there) => there,
            Err(_) => {
                let new = top.join(below);
                fs::create_dir(&new).with_context(|| format!("making {}", new.display()))?;
                new
            }
        };
    }
    let below = there.strip_prefix(&top).context("a folder outside")?;
    // Joined with nothing it would end in a slash.
    Ok(match below.as_os_str().is_empty() {
        true => folder.to_owned(),
        false => folder.join(below),
    })
}

fn options(mount: &Mount) -> String {
    let name = |option: &str| option.split('=').next().unwrap_or_default().to_owned();
    let mut options = vec!["rw".to_owned()];
    for option in &mount.options {
        // compress-force counts as compress does; numbers of subvolumes are others here.
        let name = name(option);
        let kept = KEPT
            .iter()
            .any(|kept| name == *kept || name == format!("{kept}-force"));
        if kept && !name.starts_with("subvol") {
            options.push(option.clone());
        }
    }
    if !mount.subvolume.is_empty() {
        options.push(format!("subvol={}", mount.subvolume));
    }
    options.join(",")
}

/// Makes the subvolumes of one btrfs that are mounted by themselves.
fn subvolumes(
    root: &Root,
    runner: &mut dyn Runner,
    manifest: &Manifest,
    one: &FileSystem,
    device: &str,
) -> anyhow::Result<()> {
    let of_it = |mount: &&Mount| mount.device == one.device && !mount.subvolume.is_empty();
    let mut wanted: Vec<&Mount> = manifest.mounts.iter().filter(of_it).collect();
    if one.kind != "btrfs" || wanted.is_empty() {
        return Ok(());
    }
    // One that lies in another comes after it.
    wanted.sort_by_key(|mount| mount.subvolume.matches('/').count());
    fs::create_dir_all(root.join(TOP))?;
    runner.run("mount", &["-t", "btrfs", "-o", "subvolid=5", device, TOP])?;
    let done = wanted
        .into_iter()
        .try_for_each(|mount| subvolume(root, runner, mount));
    let unmounted = runner.run("umount", &[TOP]).map(drop);
    done.and(unmounted)
}

fn subvolume(root: &Root, runner: &mut dyn Runner, mount: &Mount) -> anyhow::Result<()> {
    let subvolume = Path::new(&mount.subvolume);
    let name = subvolume
        .file_name()
        .context("a subvolume without a name")?;
    let parent = place(
        root,
        Path::new(TOP),
        subvolume.parent().unwrap_or(Path::new("/")),
    )?;
    let path = parent.join(name);
    let text = path.display().to_string();
    if !root.join(&path).exists() {
        runner.run("btrfs", &["subvolume", "create", &text])?;
    }
    let is_named = mount
        .options
        .iter()
        .any(|option| option.starts_with("subvol"));
    if mount.place == "/" && !is_named {
        // The boot loader and the fstab take the one that is mounted without a word.
        runner.run("btrfs", &["subvolume", "set-default", &text])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::run::testing::Recorder;

    const LSBLK: &str = "NAME=\"/dev/vda1\" KNAME=\"/dev/vda1\" SIZE=\"9\"\n\
        NAME=\"/dev/vda2\" KNAME=\"/dev/vda2\" SIZE=\"9\"\n\
        NAME=\"/dev/vda3\" KNAME=\"/dev/vda3\" SIZE=\"9\"\n";

    const LIST: &str = "goldring-manifest 1
file-system device=/dev/sda1 type=btrfs uuid=1
file-system device=/dev/sda2 type=vfat uuid=2
mount place=/ device=/dev/sda1 option=noatime option=compress=zstd:1 option=subvolid=256 subvolume=/@
mount place=/home device=/dev/sda1 option=subvol=@home subvolume=/@home
mount place=/boot/efi device=/dev/sda2 option=umask=0077 option=ro
subvolume path=/var/lib/machines
end
";

    fn mounted(
        list: &str,
        devices: &[(String, String)],
        uuids: [&str; 3],
    ) -> anyhow::Result<Vec<String>> {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::at(folder.path().canonicalize().unwrap());
        let answer = |line: &str| {
            anyhow::ensure!(!line.contains("/boot/efi"), "wrong fs type");
            Ok(match line.split_once("/dev/vda") {
                Some((_, number)) if line.starts_with("blkid") => {
                    let number: usize = number.parse().unwrap();
                    format!("ID_FS_UUID_ENC={}\n", uuids[number - 1])
                }
                _ if line.starts_with("lsblk") => LSBLK.to_owned(),
                _ => String::new(),
            })
        };
        let manifest = Manifest::parse(list).unwrap();
        let mut runner = Recorder::new(answer);
        let wish = Wish {
            root: &root,
            folder: Path::new("/mnt/disk"),
            devices,
        };
        let target = Target::mount(wish, &mut runner, &manifest);
        let result = target.and_then(|target| target.undo(&mut runner));
        let lines = runner.lines.into_iter();
        let lines = lines.filter(|line| !line.starts_with("lsblk") && !line.starts_with("blkid"));
        result.map(|()| lines.collect())
    }

    #[test]
    fn file_systems_are_mounted_as_there_and_subvolumes_made() {
        let list = LIST.replace("/boot/efi", "/efi");
        assert_eq!(
            mounted(&list, &[], ["1", "2", ""]).unwrap(),
            [
                "mount -t btrfs -o subvolid=5 /dev/vda1 /run/goldring/top",
                "btrfs subvolume create /run/goldring/top/@",
                "btrfs subvolume create /run/goldring/top/@home",
                "umount /run/goldring/top",
                "mount -t btrfs -o rw,compress=zstd:1,subvol=/@ /dev/vda1 /mnt/disk",
                "mount -t btrfs -o rw,subvol=/@home /dev/vda1 /mnt/disk/home",
                "mount -t vfat -o rw,umask=0077 /dev/vda2 /mnt/disk/efi",
                "btrfs subvolume create /mnt/disk/var/lib/machines",
                "umount /mnt/disk/efi",
                "umount /mnt/disk/home",
                "umount /mnt/disk",
            ]
        );
        // SUSE's way: the default subvolume.
        let list = list.replace(" option=subvolid=256", "");
        let lines = mounted(&list, &[], ["1", "2", ""]).unwrap();
        assert_eq!(lines[2], "btrfs subvolume set-default /run/goldring/top/@");
    }

    #[test]
    fn what_is_missing_or_twice_is_said() {
        let error = |uuids| format!("{:#}", mounted(LIST, &[], uuids).unwrap_err());
        let none = error(["1", "", ""]);
        assert!(none.contains("has the UUID 2 of /dev/sda2"), "{none}");
        let twice = error(["1", "2", "2"]);
        assert!(
            twice.contains("/dev/vda2 on /dev/vda2 and /dev/vda3"),
            "{twice}"
        );
        // Mount's own trouble; what was mounted before is unmounted.
        assert_eq!(error(["1", "2", ""]), "wrong fs type");
        let list = LIST.replace("/boot/efi", "/efi");
        let named = [("/dev/sda2".to_owned(), "/dev/vda3".to_owned())];
        let lines = mounted(&list, &named, ["1", "2", "2"]).unwrap();
        assert!(
            lines
                .iter()
                .any(|line| line.ends_with("/dev/vda3 /mnt/disk/efi")),
            "{lines:?}"
        );
    }
}
