//! The `/etc/fstab` of an installed system: what is to be mounted, and from where, now
//! that disks may have other names than they had there (fstab(5)).

use crate::escape;
use crate::lsblk::{Device, join_partition, split_partition};

/// A line of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What: a device, a tag such as `UUID=…`, a server, or a word.
    pub spec: String,
    /// Where; `none` or `swap` for swap.
    pub place: String,
    /// The file system.
    pub kind: String,
    /// The options.
    pub options: Vec<String>,
}

impl Entry {
    /// Whether an option stands there.
    pub fn has(&self, option: &str) -> bool {
        self.options.iter().any(|other| other == option)
    }
}

/// What becomes of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan {
    /// A device is mounted.
    Mount {
        /// Which.
        device: Box<Device>,
        /// Where, seen from the installed system.
        place: String,
        /// With which options.
        options: Vec<String>,
        /// A sentence about it, when the device is not the one that stands there.
        note: Option<String>,
    },
    /// A folder shows another one.
    Bind {
        /// Which, seen from the installed system.
        from: String,
        /// Where, seen from there.
        place: String,
    },
    /// It is left out on purpose; the sentence says why.
    Left(String),
    /// It should be there and is not; the sentence says what.
    Missing {
        /// Where it would be mounted.
        place: String,
        /// What is wrong.
        why: String,
        /// The system starts without it (`nofail`).
        optional: bool,
    },
}

/// Reads the file. Comments and what has no two words are left out.
pub fn parse(text: &str) -> Vec<Entry> {
    let entry = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let spec = words.next().filter(|word| !word.starts_with('#'))?;
        let place = words.next()?;
        let kind = words.next().unwrap_or("auto");
        let options = words.next().unwrap_or("defaults");
        Some(Entry {
            spec: escape::octal(spec),
            place: escape::octal(place),
            kind: kind.to_owned(),
            options: options.split(',').map(str::to_owned).collect(),
        })
    };
    text.lines().filter_map(entry).collect()
}

/// The line for `/`.
pub fn root(entries: &[Entry]) -> Option<&Entry> {
    entries.iter().find(|entry| entry.place == "/")
}

/// File systems of the kernel, which have no disk, and those of other computers.
const KERNELS: [&str; 14] = [
    "proc",
    "sysfs",
    "devpts",
    "devtmpfs",
    "tmpfs",
    "ramfs",
    "usbfs",
    "usbdevfs",
    "debugfs",
    "securityfs",
    "cgroup",
    "cgroup2",
    "efivarfs",
    "configfs",
];
const NETWORKS: [&str; 13] = [
    "nfs",
    "nfs4",
    "cifs",
    "smbfs",
    "smb3",
    "ncpfs",
    "coda",
    "afs",
    "ceph",
    "glusterfs",
    "gfs2",
    "lustre",
    "9p",
];

/// Whether a file system is the kernel's own and has no disk.
pub fn is_kernels(kind: &str) -> bool {
    KERNELS.contains(&kind)
}

/// Whether a file system is that of another computer, or of a program.
pub fn is_foreign(kind: &str) -> bool {
    NETWORKS.contains(&kind) || (kind.starts_with("fuse") && kind != "fuseblk")
}

/// What is to be done below a root that is mounted from `root_device`, in this order.
/// `known` gives the device that a path of `/dev` leads to, if it is there.
pub fn plan(
    entries: &[Entry],
    all: &[Device],
    root_device: &Device,
    known: &dyn Fn(&str) -> Option<Device>,
) -> Vec<Plan> {
    let finder = Finder {
        all,
        known,
        renamed: renamed(entries, root_device),
    };
    let mut entries: Vec<&Entry> = entries.iter().filter(|e| e.place != "/").collect();
    // What is mounted on another one comes after it, however the lines stand.
    entries.sort_by_key(|entry| entry.place.trim_end_matches('/').matches('/').count());
    entries
        .into_iter()
        .filter_map(|entry| finder.plan(entry))
        .collect()
}

/// When the root's own line names a disk that has another name here: that disk, and what
/// it is called now.
fn renamed(entries: &[Entry], root_device: &Device) -> Option<(String, String)> {
    let (was, number) = split_partition(&root(entries)?.spec)?;
    let (is, same) = split_partition(&root_device.name)?;
    (number == same && was != is).then(|| (was.to_owned(), is.to_owned()))
}

struct Finder<'a> {
    all: &'a [Device],
    known: &'a dyn Fn(&str) -> Option<Device>,
    renamed: Option<(String, String)>,
}

impl Finder<'_> {
    fn plan(&self, entry: &Entry) -> Option<Plan> {
        let place = entry.place.clone();
        let left = |why: &str| {
            Some(Plan::Left(format!(
                "{place} ({}) is left out: {why}",
                entry.spec
            )))
        };
        let kind = entry.kind.as_str();
        if kind == "swap" || place == "none" || place == "swap" {
            return Some(Plan::Left(format!(
                "{} is swap, which is not turned on",
                entry.spec
            )));
        }
        if entry.has("bind") || entry.has("rbind") {
            let from = entry.spec.clone();
            return Some(Plan::Bind { from, place });
        }
        if is_kernels(kind) || !place.starts_with('/') {
            return None;
        }
        if is_foreign(kind) || entry.has("_netdev") || kind.starts_with("fuse") {
            return left("it comes over a network or from a program");
        }
        if entry.has("noauto") || kind == "supermount" || kind == "ignore" {
            return left("noauto");
        }
        Some(match self.find(&entry.spec) {
            Ok((device, note)) => Plan::Mount {
                device: Box::new(device),
                place,
                options: options(entry),
                note,
            },
            Err(why) => Plan::Missing {
                place,
                why,
                optional: entry.has("nofail"),
            },
        })
    }

    /// The device, and a remark when it is not called what stands there.
    fn find(&self, spec: &str) -> Result<(Device, Option<String>), String> {
        if let Some((tag, value)) = tag(spec) {
            let found = self.all.iter().find(|device| has_tag(device, tag, &value));
            return match found {
                Some(device) => Ok((device.clone(), None)),
                None => Err(format!("no device has the {tag} {value}")),
            };
        }
        if let Some((was, is)) = &self.renamed
            && let Some((disk, number)) = split_partition(spec)
            && disk == was
        {
            let name = join_partition(is, number);
            return match (self.known)(&name) {
                Some(device) => Ok((device, Some(format!("{spec} is {name} here")))),
                None => Err(format!("{spec} would be {name} here, which is not there")),
            };
        }
        let odd = ["/dev/disk/by-id/", "/dev/disk/by-path/"];
        match (self.known)(spec) {
            Some(device) => Ok((device, None)),
            None if odd.iter().any(|folder| spec.starts_with(folder)) => Err(format!(
                "{spec} needs udev, which does not run here; lsparts -v shows what there is"
            )),
            None => Err(format!(
                "{spec} is not here; lsparts -v shows what there is"
            )),
        }
    }
}

/// `UUID=…`, or the link that udev would make for it.
fn tag(spec: &str) -> Option<(&'static str, String)> {
    for (tag, folder) in [
        ("UUID", "by-uuid"),
        ("LABEL", "by-label"),
        ("PARTUUID", "by-partuuid"),
        ("PARTLABEL", "by-partlabel"),
    ] {
        if let Some(value) = spec.strip_prefix(tag).and_then(|v| v.strip_prefix('=')) {
            return Some((tag, value.trim_matches('"').to_owned()));
        }
        let rest = spec.strip_prefix("/dev/disk/");
        if let Some(value) = rest.and_then(|r| r.strip_prefix(folder)?.strip_prefix('/')) {
            return Some((tag, escape::hexadecimal(value)));
        }
    }
    None
}

fn has_tag(device: &Device, tag: &str, value: &str) -> bool {
    // A member of a RAID shows the number of the whole.
    let member = device.content.ends_with("_member");
    if value.is_empty() {
        return false;
    }
    match tag {
        "UUID" => device.uuid.eq_ignore_ascii_case(value) && !member,
        "LABEL" => device.label == value && !member,
        "PARTUUID" => device.part_uuid.eq_ignore_ascii_case(value),
        _ => device.part_label == value,
    }
}

/// What mount(8) is told: nothing that is for other programs.
pub fn options(entry: &Entry) -> Vec<String> {
    const DROPPED: [&str; 9] = [
        "auto", "nofail", "user", "users", "nouser", "owner", "defaults", "usrquota", "grpquota",
    ];
    entry
        .options
        .iter()
        .filter(|o| !DROPPED.contains(&o.as_str()) && !o.is_empty())
        .filter(|o| !o.starts_with("x-") && !o.starts_with("comment"))
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FSTAB: &str = "\
# /etc/fstab: static
/dev/hda1 / ext3 defaults 1 1
/dev/hda6 /home ext3 noatime,user 1 2
LABEL=\"my\\040data\" /data\\040sets auto x-systemd.automount,nofail

/dev/hda5 swap swap defaults 0 0
none /proc proc defaults
tmpfs /tmp tmpfs size=1g
server:/x /net nfs defaults
//s/share /smb cifs defaults
/dev/cdrom /media/cdrom iso9660 noauto,user
UUID=AB-CD /boot vfat umask=0077
/boot /srv/boot none bind
/dev/disk/by-uuid/ab-cd /boot/efi vfat
/dev/sdq7 /gone ext4 nofail
/dev/disk/by-id/ata-x /odd ext4
PARTUUID=none-such /no ext4
/dev/vg/lv-x /lvm xfs
lonely
";

    fn devices() -> Vec<Device> {
        let device = |name: &str, uuid: &str, label: &str| Device {
            name: name.into(),
            kernel_name: name.into(),
            uuid: uuid.into(),
            label: label.into(),
            ..Device::default()
        };
        vec![
            device("/dev/sda1", "1", ""),
            device("/dev/sda6", "6", ""),
            device("/dev/sdb1", "", "my data"),
            device("/dev/sdb2", "ab-cd", ""),
            device("/dev/mapper/vg-lv--x", "", ""),
        ]
    }

    fn told(plans: &[Plan]) -> Vec<String> {
        plans
            .iter()
            .map(|plan| match plan {
                Plan::Mount {
                    device,
                    place,
                    options,
                    note,
                } => format!(
                    "{} {place} {} {}",
                    device.name,
                    options.join(","),
                    note.clone().unwrap_or_default()
                ),
                Plan::Bind { from, place } => format!("bind {from} {place}"),
                Plan::Left(why) => format!("left: {why}"),
                Plan::Missing {
                    place,
                    why,
                    optional,
                } => format!(
                    "missing{}: {place}: {why}",
                    if *optional { "?" } else { "" }
                ),
            })
            .collect()
    }

    #[test]
    fn each_line_gets_its_plan() {
        let all = devices();
        let known = |path: &str| {
            let path = if path == "/dev/vg/lv-x" {
                "/dev/mapper/vg-lv--x"
            } else {
                path
            };
            all.iter().find(|device| device.name == path).cloned()
        };
        let plans = plan(&parse(FSTAB), &all, &all[0], &known);
        assert_eq!(
            told(&plans),
            [
                "left: /dev/hda5 is swap, which is not turned on",
                "/dev/sda6 /home noatime /dev/hda6 is /dev/sda6 here",
                "/dev/sdb1 /data sets  ",
                "left: /net (server:/x) is left out: it comes over a network or from a program",
                "left: /smb (//s/share) is left out: it comes over a network or from a program",
                "/dev/sdb2 /boot umask=0077 ",
                "missing?: /gone: /dev/sdq7 is not here; lsparts -v shows what there is",
                "missing: /odd: /dev/disk/by-id/ata-x needs udev, which does not run here; lsparts -v shows what there is",
                "missing: /no: no device has the PARTUUID none-such",
                "/dev/mapper/vg-lv--x /lvm  ",
                "left: /media/cdrom (/dev/cdrom) is left out: noauto",
                "bind /boot /srv/boot",
                "/dev/sdb2 /boot/efi  ",
            ]
        );
    }

    #[test]
    fn a_disk_with_another_name_takes_its_partitions_along() {
        let entries = parse("/dev/hda1 / ext3\n/dev/hda7 /x ext3\n/dev/hdb1 /y ext3\n");
        let all = devices();
        let known = |path: &str| all.iter().find(|device| device.name == path).cloned();
        let plans = plan(&entries, &all, &all[0], &known);
        assert_eq!(
            told(&plans),
            [
                "missing: /x: /dev/hda7 would be /dev/sda7 here, which is not there",
                "missing: /y: /dev/hdb1 is not here; lsparts -v shows what there is",
            ]
        );
    }

    #[test]
    fn ugly_files_are_read() {
        for ugly in [
            "",
            "\n\n",
            "#",
            "x",
            " \t ",
            "\\040 \\",
            "UUID= / ext4\nUUID= /x ext4",
            "/dev/ / \u{0}",
        ] {
            let all = devices();
            plan(&parse(ugly), &all, &all[0], &|_| None);
        }
        let empty = parse("UUID= /x ext4");
        let found = plan(&empty, &devices(), &Device::default(), &|_| None);
        assert!(matches!(&found[..], [Plan::Missing { .. }]), "{found:?}");
    }

    proptest::proptest! {
        #[test]
        fn any_fstab_gets_a_plan(text in "(UUID=|/dev/(sd|nvme0n1p)?|[ \\t\\n\\\\,=/a-z0-9\\PC]){0,80}") {
            let all = devices();
            let known = |path: &str| all.iter().find(|device| device.name == path).cloned();
            plan(&parse(&text), &all, &all[0], &known);
        }
    }
}
