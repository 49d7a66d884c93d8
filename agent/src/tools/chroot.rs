//! What programs in an installed system want to see of the machine: devices, processes, the
//! firmware's variables. Mounted while they run.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::Context;
use goldring_contract::Root;
use goldring_sys::beneath;

use super::disks;
use super::run::Runner;

/// Where UEFI's variables are.
const VARIABLES: &str = "/sys/firmware/efi/efivars";

/// The mounts below one system. Dropping it takes away what [`ChrootMounts::undo`] has not.
#[derive(Debug)]
#[must_use = "dropping it unmounts"]
pub(crate) struct ChrootMounts {
    root: Root,
    places: Vec<PathBuf>,
    links: Vec<PathBuf>,
}

impl ChrootMounts {
    /// Mounts `/dev`, `/proc`, `/sys` and, on a machine with UEFI, its variables. Without
    /// the latter only a word is said: boot loaders know a way without.
    ///
    /// # Errors
    /// A system that lacks one of the folders; mount fails.
    pub(crate) fn new(root: &Root, runner: &mut dyn Runner, folder: &Path) -> anyhow::Result<Self> {
        let mut mounts = Self {
            root: root.clone(),
            places: Vec::new(),
            links: Vec::new(),
        };
        for name in ["dev", "proc", "sys"] {
            let source = format!("/{name}");
            let target = inside(root, folder, &source)?;
            // What is unmounted there later stays mounted here, also where systemd shares
            // all.
            let arguments = ["--rbind", "--make-rslave", &source, &text(&target)];
            runner.run("mount", &arguments)?;
            mounts.places.push(target);
        }
        mounts.variables(runner, folder);
        Ok(mounts)
    }

    fn variables(&mut self, runner: &mut dyn Runner, folder: &Path) {
        let variables = self.root.join(VARIABLES);
        let known = fs::read_dir(&variables).is_ok_and(|mut entries| entries.next().is_some());
        if !variables.exists() || known {
            return;
        }
        let target = folder.join(&VARIABLES[1..]);
        let arguments = ["-t", "efivarfs", "efivarfs", &text(&target)];
        match runner.run("mount", &arguments) {
            Ok(_) => self.places.push(target),
            Err(error) => eprintln!("without the firmware's variables: {error:#}"),
        }
    }

    /// A `/run` of its own in memory: the clone must not keep what programs leave there. A
    /// system from before it has none.
    ///
    /// # Errors
    /// mount fails.
    pub(crate) fn with_run(
        mut self,
        runner: &mut dyn Runner,
        folder: &Path,
    ) -> anyhow::Result<Self> {
        if let Ok(target) = inside(&self.root, folder, "/run") {
            let arguments = ["-t", "tmpfs", "-o", "mode=755", "tmpfs", &text(&target)];
            runner.run("mount", &arguments)?;
            self.places.push(target);
        }
        Ok(self)
    }

    /// Makes the links of `/dev/disk` that udev would make, where it does not run: without
    /// them programs take names of disks for what should be UUIDs (`grub-mkconfig` does).
    ///
    /// # Errors
    /// lsblk fails, or a link cannot be made.
    pub(crate) fn with_links(mut self, runner: &mut dyn Runner) -> anyhow::Result<Self> {
        if self.root.join("/run/udev/control").exists() {
            return Ok(self);
        }
        for device in disks::list(runner)? {
            for (folder, name) in [
                ("by-uuid", &device.uuid),
                ("by-partuuid", &device.part_uuid),
            ] {
                let is_number =
                    |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
                // A member of a RAID shows the number of the whole.
                let is_member = device.content.ends_with("_member") && folder == "by-uuid";
                if name.is_empty() || !is_number(name) || is_member {
                    continue;
                }
                let folder = self.root.join("/dev/disk").join(folder);
                let target = device.kernel_name.trim_start_matches("/dev/");
                let link = folder.join(name);
                // One of an earlier run may lead to a disk that was called so then.
                let _ = fs::remove_file(&link);
                fs::create_dir_all(&folder)
                    .and_then(|()| symlink(format!("../../{target}"), &link))
                    .with_context(|| format!("linking {}", link.display()))?;
                self.links.push(link);
            }
        }
        Ok(self)
    }

    /// Leaves all mounted, for people who want to work there.
    pub(crate) fn keep(mut self) {
        self.places.clear();
        self.links.clear();
    }

    /// Unmounts all, the last first.
    ///
    /// # Errors
    /// Something still runs there.
    pub(crate) fn undo(mut self, runner: &mut dyn Runner) -> anyhow::Result<()> {
        self.unlink();
        while let Some(place) = self.places.pop() {
            runner
                .run("umount", &["--recursive", &text(&place)])
                .with_context(|| {
                    format!(
                        "unmounting {0}; does a program run from it (fuser -vm {0})?",
                        place.display()
                    )
                })?;
        }
        Ok(())
    }
}

impl ChrootMounts {
    /// Links that nobody keeps up to date are worse than none.
    fn unlink(&mut self) {
        for link in self.links.drain(..) {
            // They are of no use any more, whether they go or not; folders go when empty.
            let _ = fs::remove_file(&link);
            for folder in link.ancestors().skip(1).take(2) {
                let _ = fs::remove_dir(folder);
            }
        }
    }
}

impl Drop for ChrootMounts {
    fn drop(&mut self) {
        self.unlink();
        while let Some(place) = self.places.pop() {
            // Nobody is left to hear of an error here.
            let _ = goldring_sys::mount::detach(&self.root.join(place));
        }
    }
}

/// The folder that the installed system calls `place`. Its links stay inside.
///
/// # Errors
/// It has none.
pub(crate) fn inside(root: &Root, folder: &Path, place: &str) -> anyhow::Result<PathBuf> {
    let top = root.join(folder);
    let found = beneath::resolve(&top, Path::new(place))
        .with_context(|| format!("the system has no folder {place}"))?;
    let top = top.canonicalize()?;
    let below = found.strip_prefix(&top).context("a folder outside")?;
    Ok(folder.join(below))
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::run::testing::Recorder;

    fn machine(folders: &[&str]) -> (tempfile::TempDir, Root) {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::at(folder.path().canonicalize().unwrap());
        for path in folders {
            fs::create_dir_all(root.join(path)).unwrap();
        }
        (folder, root)
    }

    #[test]
    fn what_is_mounted_is_unmounted_the_last_first() {
        let (_folder, root) =
            machine(&["mnt/dev", "mnt/proc", "mnt/sys", "mnt/run", &VARIABLES[1..]]);
        let mut runner = Recorder::new(|_: &str| Ok(String::new()));
        let mounts = ChrootMounts::new(&root, &mut runner, Path::new("/mnt")).unwrap();
        let mounts = mounts.with_run(&mut runner, Path::new("/mnt")).unwrap();
        mounts.undo(&mut runner).unwrap();
        assert_eq!(
            runner.lines,
            [
                "mount --rbind --make-rslave /dev /mnt/dev",
                "mount --rbind --make-rslave /proc /mnt/proc",
                "mount --rbind --make-rslave /sys /mnt/sys",
                "mount -t efivarfs efivarfs /mnt/sys/firmware/efi/efivars",
                "mount -t tmpfs -o mode=755 tmpfs /mnt/run",
                "umount --recursive /mnt/run",
                "umount --recursive /mnt/sys/firmware/efi/efivars",
                "umount --recursive /mnt/sys",
                "umount --recursive /mnt/proc",
                "umount --recursive /mnt/dev",
            ]
        );
    }

    #[test]
    fn links_stand_in_for_udev() {
        let (_folder, root) = machine(&["mnt/dev", "mnt/proc", "mnt/sys", "dev"]);
        let mut runner = Recorder::new(|line: &str| {
            Ok(match line.split(' ').next() {
                Some("lsblk") => "NAME=\"/dev/vda1\" KNAME=\"/dev/vda1\" SIZE=\"9\"\n",
                Some("blkid") => {
                    "ID_FS_TYPE=ext4\nID_FS_UUID_ENC=12-ab\nID_PART_ENTRY_UUID=..\\x2fx\n"
                }
                _ => "",
            }
            .to_owned())
        });
        for _ in 0..2 {
            let mounts = ChrootMounts::new(&root, &mut runner, Path::new("/mnt")).unwrap();
            mounts.with_links(&mut runner).unwrap().keep();
        }
        let link = root.join("/dev/disk/by-uuid/12-ab");
        assert_eq!(fs::read_link(link).unwrap(), Path::new("../../vda1"));
        assert!(!root.join("/dev/disk/by-partuuid").exists());
        let mounts = ChrootMounts::new(&root, &mut runner, Path::new("/mnt")).unwrap();
        let mounts = mounts.with_links(&mut runner).unwrap();
        mounts.undo(&mut runner).unwrap();
        assert!(!root.join("/dev/disk").exists() && root.join("/dev").exists());
    }

    #[test]
    fn half_a_system_is_said() {
        let (_folder, root) = machine(&["mnt/dev"]);
        let mut runner = Recorder::new(|_: &str| Ok(String::new()));
        let error = ChrootMounts::new(&root, &mut runner, Path::new("/mnt")).unwrap_err();
        assert!(error.to_string().contains("no folder /proc"), "{error}");
        let (_folder, root) = machine(&["mnt/dev", "mnt/proc", "mnt/sys"]);
        let mounts = ChrootMounts::new(&root, &mut runner, Path::new("/mnt")).unwrap();
        let mut busy = Recorder::new(|_: &str| anyhow::bail!("target is busy"));
        let error = format!("{:#}", mounts.undo(&mut busy).unwrap_err());
        assert!(error.contains("fuser -vm /mnt/sys"), "{error}");
    }
}
