//! Which of the mounted file systems are the installed system: those of disks, that its
//! fstab names. The rest is left out, each with a reason for people.

use std::path::Path;

use goldring_disk::fstab::{self, Entry};
use goldring_disk::lsblk::Device;
use goldring_disk::users;

use crate::manifest::{Left, Mount};

/// What a machine shows.
pub struct Seen<'a> {
    /// `/proc/self/mountinfo`.
    pub mounts: &'a [users::Mount],
    /// `/etc/fstab`.
    pub fstab: &'a [Entry],
    /// The device of a mount, `None` when it has none.
    pub device: &'a dyn Fn(&users::Mount) -> Option<Device>,
    /// The whole disks that carry a device.
    pub disks: &'a dyn Fn(&Device) -> Vec<String>,
    /// Whether a disk or partition stays behind by wish (`-X`).
    pub unwanted: &'a dyn Fn(&str) -> bool,
}

impl std::fmt::Debug for Seen<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seen")
            .field("mounts", &self.mounts)
            .field("fstab", &self.fstab)
            .finish_non_exhaustive()
    }
}

/// What is cloned, and what is not.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Chosen {
    /// `/` first; what is mounted on another one after it.
    pub mounts: Vec<(Mount, Device)>,
    /// Also those that nobody has asked for.
    pub left: Vec<Left>,
    /// Sentences: what may be missing in the clone.
    pub warnings: Vec<String>,
}

/// Places that systemd mounts without an fstab (systemd-gpt-auto-generator(8)).
const WITHOUT_FSTAB: [&str; 8] = [
    "/",
    "/boot",
    "/boot/efi",
    "/efi",
    "/home",
    "/srv",
    "/usr",
    "/var",
];

/// Divides the mounts.
///
/// # Errors
/// A sentence: what is mounted on `/` cannot be cloned by files.
pub fn select(seen: &Seen<'_>) -> Result<Chosen, String> {
    let mut chosen = Chosen::default();
    let mut mounts: Vec<&users::Mount> = Vec::new();
    for mount in seen.mounts {
        // What is mounted over another one hides it.
        mounts.retain(|other| other.place != mount.place);
        mounts.push(mount);
    }
    mounts.sort_by_key(|mount| (mount.place != "/", depth(&mount.place)));
    for mount in mounts {
        let left = |why: String| Left {
            place: mount.place.clone(),
            spec: mount.source.clone(),
            why,
            without_disk: seen.is_unwanted(mount),
        };
        match seen.decide(mount, &chosen) {
            Ok((one, device)) => chosen.mounts.push((one, device)),
            Err(why) if mount.place == "/" => {
                return Err(format!(
                    "/ ({}) cannot be cloned by its files: {why}",
                    mount.source
                ));
            }
            // Below what is left out only disks need a word.
            Err(_) if chosen.covers(&mount.place) && (seen.device)(mount).is_none() => {}
            Err(why) => chosen.left.push(left(why)),
        }
    }
    if chosen.mounts.is_empty() {
        return Err("nothing is mounted on /, as /proc/self/mountinfo has it".to_owned());
    }
    chosen.warnings = seen.not_mounted(&chosen);
    Ok(chosen)
}

fn depth(place: &str) -> usize {
    place.trim_end_matches('/').matches('/').count()
}

fn is_below(place: &str, top: &str) -> bool {
    place != top && Path::new(place).starts_with(top)
}

impl Chosen {
    /// Whether a place lies in one that is left out.
    fn covers(&self, place: &str) -> bool {
        self.left.iter().any(|left| is_below(place, &left.place))
    }
}

impl Seen<'_> {
    fn is_unwanted(&self, mount: &users::Mount) -> bool {
        (self.device)(mount).is_some_and(|device| self.unwanted_name(&device).is_some())
    }

    /// The name by which `-X` leaves a device out.
    fn unwanted_name(&self, device: &Device) -> Option<String> {
        let names = (self.disks)(device)
            .into_iter()
            .chain([device.name.clone()]);
        names.into_iter().find(|name| (self.unwanted)(name))
    }

    /// The mount as it is cloned, or why it is not.
    fn decide(&self, mount: &users::Mount, chosen: &Chosen) -> Result<(Mount, Device), String> {
        let kind = mount.kind.as_str();
        let is_above = |left: &&Left| is_below(&mount.place, &left.place);
        if let Some(left) = chosen.left.iter().find(is_above) {
            return Err(format!("it lies in {}, which stays behind", left.place));
        }
        if mount.place.contains(char::REPLACEMENT_CHARACTER) {
            return Err("its name is no UTF-8, which goldring cannot mount".to_owned());
        }
        if fstab::is_foreign(kind) {
            return Err("it comes over a network or from a program".to_owned());
        }
        let mut device = (self.device)(mount).ok_or("it has no disk")?;
        if device.content.is_empty() {
            // libblkid sees two things there, or none; the kernel has decided.
            device.content = kind.to_owned();
        }
        match device.kind.as_str() {
            "loop" => return Err("it is a file that is shown as a disk".to_owned()),
            "rom" => return Err("it is a disc".to_owned()),
            _ => {}
        }
        if ["fuseblk", "ntfs3", "ntfs", "iso9660", "udf", "squashfs"].contains(&kind) {
            return Err(format!(
                "files of {kind} do not travel by tar; send the partition (-D)"
            ));
        }
        if let Some(name) = self.unwanted_name(&device) {
            return Err(format!("{name} is left out by -X"));
        }
        let subvolume = subvolume(mount);
        let shown = |(other, same): &&(Mount, Device)| {
            same.kernel_name == device.kernel_name
                && (kind != "btrfs" || other.subvolume == subvolume)
        };
        if let Some((other, _)) = chosen.mounts.iter().find(shown) {
            return Err(format!("it shows what is in {} again", other.place));
        }
        let entry = self
            .fstab
            .iter()
            .rev()
            .find(|entry| entry.place == mount.place);
        let is_bind = entry.is_some_and(|entry| entry.has("bind") || entry.has("rbind"));
        if is_bind || subvolume != mount.top {
            return Err("it shows a folder of another place again".to_owned());
        }
        if entry.is_none() && !WITHOUT_FSTAB.contains(&mount.place.as_str()) {
            return Err("/etc/fstab does not have it".to_owned());
        }
        let options = entry.map(|entry| entry.options.clone());
        let one = Mount {
            place: mount.place.clone(),
            device: device.name.clone(),
            spec: entry.map(|entry| entry.spec.clone()).unwrap_or_default(),
            options: options
                .unwrap_or_else(|| mount.options.split(',').map(str::to_owned).collect()),
            subvolume: match subvolume.as_str() {
                "/" => String::new(),
                other => other.to_owned(),
            },
        };
        Ok((one, device))
    }

    /// Lines of the fstab that a clone needs and whose files are not to be seen.
    fn not_mounted(&self, chosen: &Chosen) -> Vec<String> {
        let mut warnings = Vec::new();
        for entry in self.fstab {
            let there = chosen
                .mounts
                .iter()
                .any(|(mount, _)| mount.place == entry.place)
                || chosen.left.iter().any(|left| left.place == entry.place);
            let needless = entry.kind == "swap"
                || fstab::is_kernels(&entry.kind)
                || fstab::is_foreign(&entry.kind)
                || ["noauto", "bind", "rbind", "_netdev"]
                    .iter()
                    .any(|word| entry.has(word))
                || !entry.place.starts_with('/')
                || (self.unwanted)(&entry.spec);
            if !there && !needless {
                warnings.push(format!(
                    "{} ({}) is in /etc/fstab and not mounted: its files stay behind; mount it first",
                    entry.place, entry.spec
                ));
            }
        }
        warnings
    }
}

/// The subvolume that a mount of btrfs shows, `/` for any other file system.
fn subvolume(mount: &users::Mount) -> String {
    let options = mount.file_system_options.split(',');
    let named = |option: &str| option.strip_prefix("subvol=").map(str::to_owned);
    match mount.kind.as_str() {
        "btrfs" => options
            .filter_map(named)
            .next()
            .unwrap_or_else(|| mount.top.clone()),
        _ => "/".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FSTAB: &str = "\
UUID=1 / ext4 defaults 0 1
/dev/sda2 /home xfs noatime 0 2
/dev/sdb1 /data ext4 defaults 0 2
/dev/sda7 /var/log ext4 defaults 0 2
/dev/sda8 /backup ext4 noauto 0 2
server:/x /net nfs defaults
/srv /export none bind
/data /b none bind
tmpfs /tmp tmpfs defaults
/dev/sda3 none swap sw 0 0
";

    const MOUNTS: &str = "\
22 1 8:1 / / rw - ext4 /dev/sda1 rw
23 22 0:5 / /proc rw - proc proc rw
24 23 0:35 / /proc/sys/fs/binfmt_misc rw - binfmt_misc x rw
25 22 8:2 / /home rw,noatime - xfs /dev/sda2 rw
26 22 8:17 / /data rw - ext4 /dev/sdb1 rw
27 22 8:18 / /mnt/stick rw - vfat /dev/sdc1 rw
28 22 7:0 / /snap/x ro - squashfs /dev/loop0 ro
29 22 0:50 / /net rw - nfs4 server:/x rw
30 22 8:1 /srv /export rw - ext4 /dev/sda1 rw
31 22 0:40 / /tmp rw - tmpfs tmpfs rw
32 22 8:5 / /boot/efi rw - vfat /dev/sda5 rw
34 22 8:17 / /b rw - ext4 /dev/sdb1 rw
35 22 8:6 / /tmp/disk rw - ext4 /dev/sda6 rw
33 22 0:60 / /var/lib/docker/overlay2/m rw - overlay overlay rw
";

    fn told(mounts: &str, fstab: &str, unwanted: &str) -> Result<Vec<String>, String> {
        let mounts = users::parse_mountinfo(mounts);
        let fstab = fstab::parse(fstab);
        let device = |mount: &users::Mount| {
            mount.source.starts_with("/dev/").then(|| Device {
                name: mount.source.clone(),
                kernel_name: mount.source.clone(),
                kind: if mount.source.contains("loop") {
                    "loop"
                } else {
                    "part"
                }
                .into(),
                ..Device::default()
            })
        };
        let chosen = select(&Seen {
            mounts: &mounts,
            fstab: &fstab,
            device: &device,
            disks: &|device| vec![device.name.trim_end_matches(char::is_numeric).to_owned()],
            unwanted: &|name| !unwanted.is_empty() && name.contains(unwanted),
        })?;
        let mount = |(mount, device): &(Mount, Device)| {
            assert!(!device.content.is_empty(), "{device:?}");
            format!(
                "{} {} {} {}",
                mount.place,
                mount.spec,
                mount.options.join(","),
                mount.subvolume
            )
        };
        let left = |left: &Left| format!("left {}: {}", left.place, left.why);
        let mounts = chosen.mounts.iter().map(mount);
        Ok(mounts
            .chain(chosen.left.iter().map(left))
            .chain(chosen.warnings)
            .collect())
    }

    #[test]
    fn the_installed_system_is_told_from_the_rest() {
        assert_eq!(
            told(MOUNTS, FSTAB, "").unwrap(),
            [
                "/ UUID=1 defaults ",
                "/home /dev/sda2 noatime ",
                "/data /dev/sdb1 defaults ",
                "/boot/efi  rw ",
                "left /proc: it has no disk",
                "left /net: it comes over a network or from a program",
                "left /export: it shows what is in / again",
                "left /tmp: it has no disk",
                "left /b: it shows what is in /data again",
                "left /mnt/stick: /etc/fstab does not have it",
                "left /snap/x: it is a file that is shown as a disk",
                "left /tmp/disk: it lies in /tmp, which stays behind",
                "left /var/lib/docker/overlay2/m: it has no disk",
                "/var/log (/dev/sda7) is in /etc/fstab and not mounted: its files stay behind; mount it first",
            ]
        );
        let without = told(MOUNTS, FSTAB, "sdb").unwrap();
        assert!(
            without.contains(&"left /data: /dev/sdb is left out by -X".to_owned()),
            "{without:?}"
        );
    }

    #[test]
    fn subvolumes_are_file_systems_and_folders_of_them_are_not() {
        let mounts = "\
22 1 0:25 /@ / rw - btrfs /dev/sda1 rw,subvolid=256,subvol=/@
23 22 0:25 /@home /home rw - btrfs /dev/sda1 rw,subvolid=257,subvol=/@home
24 22 0:25 /@/srv/x /export rw - btrfs /dev/sda1 rw,subvolid=256,subvol=/@
25 22 0:25 /@home /home2 rw - btrfs /dev/sda1 rw,subvolid=257,subvol=/@home
26 22 0:25 / /.top rw - btrfs /dev/sda1 rw,subvolid=5,subvol=/
";
        let fstab = "UUID=1 / btrfs subvol=@\nUUID=1 /home btrfs subvol=@home\n";
        assert_eq!(
            told(mounts, fstab, "").unwrap(),
            [
                "/ UUID=1 subvol=@ /@",
                "/home UUID=1 subvol=@home /@home",
                "left /export: it shows what is in / again",
                "left /home2: it shows what is in /home again",
                "left /.top: /etc/fstab does not have it",
            ]
        );
    }

    #[test]
    fn a_root_that_cannot_be_cloned_is_said() {
        for (mounts, why) in [
            ("", "nothing is mounted on /"),
            ("22 1 0:9 / / rw - overlay overlay rw", "it has no disk"),
            ("22 1 0:9 / / rw - nfs s:/x rw", "over a network"),
            (
                "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n23 1 0:9 / / rw - tmpfs x rw",
                "no disk",
            ),
            ("22 1 8:1 / / rw - ntfs3 /dev/sda1 rw", "-D"),
            ("nonsense", "nothing"),
        ] {
            let said = told(mounts, FSTAB, "").unwrap_err();
            assert!(said.contains(why), "{said}");
        }
        assert!(
            told(MOUNTS, FSTAB, "sda")
                .unwrap_err()
                .contains("left out by -X")
        );
    }

    #[test]
    fn the_last_mount_of_a_place_counts() {
        let mounts = format!("{MOUNTS}40 25 8:9 / /home rw - ext4 /dev/sda9 rw\n");
        let said = told(&mounts, FSTAB, "").unwrap();
        assert_eq!(
            said.iter().filter(|line| line.starts_with("/home")).count(),
            1
        );
    }
}
