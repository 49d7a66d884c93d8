//! How the file systems of a desc are made: by the tools of each, with the label, the
//! identifier and the features of the golden node. Nothing is run here.

use crate::desc::{FileSystem, Format};
use crate::identity::Identity;

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A program to run.
    Run {
        /// Its name.
        program: &'static str,
        /// Its arguments.
        arguments: Vec<String>,
    },
    /// The serial number of an NTFS, which mkntfs cannot be told: 8 bytes in the boot
    /// sector and in its copy, the last sector.
    NtfsSerial(u64),
    /// Subvolumes of a btrfs, which must be mounted for that.
    Subvolumes(Vec<String>),
}

/// The place of the serial number in the boot sector of NTFS.
pub const NTFS_SERIAL_AT: u64 = 72;

/// Where a file system is made.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The device.
    pub device: &'a str,
    /// Bytes of its sectors.
    pub sector_size: u32,
    /// Its first sector on the disk, which Windows looks for in the boot sector.
    pub start: Option<u64>,
}

/// The steps that make a file system.
pub fn steps(file_system: &FileSystem, place: Place<'_>) -> Vec<Step> {
    let mut line = Line::default();
    let program = match file_system.format {
        Format::Ext2 | Format::Ext3 | Format::Ext4 => ext(file_system, &mut line),
        Format::Xfs => xfs(file_system, &mut line),
        Format::Btrfs => btrfs(file_system, &mut line),
        Format::Reiserfs => reiserfs(file_system, &mut line),
        Format::Jfs => jfs(file_system, &mut line),
        Format::Vfat | Format::Fat12 | Format::Fat16 | Format::Fat32 => {
            fat(file_system, place, &mut line)
        }
        Format::Ntfs => ntfs(file_system, place, &mut line),
        Format::Swap => swap(file_system, &mut line),
    };
    line.word(place.device);
    let arguments = line.0;
    let mut steps = vec![Step::Run { program, arguments }];
    steps.extend(afterwards(file_system, place));
    steps
}

/// What the tool cannot do by itself.
fn afterwards(file_system: &FileSystem, place: Place<'_>) -> Option<Step> {
    if !file_system.subvolumes.is_empty() {
        return Some(Step::Subvolumes(file_system.subvolumes.clone()));
    }
    let uuid = file_system.uuid.as_ref()?;
    match file_system.format {
        Format::Jfs => Some(Step::Run {
            program: "jfs_tune",
            arguments: vec!["-U".into(), uuid.clone(), place.device.into()],
        }),
        Format::Ntfs => u64::from_str_radix(uuid, 16).ok().map(Step::NtfsSerial),
        _ => None,
    }
}

/// The package of Debian that has a tool, for the sentence that it is missing.
pub fn package(program: &str) -> &'static str {
    match program {
        "mke2fs" => "e2fsprogs",
        "mkfs.xfs" => "xfsprogs",
        "mkfs.btrfs" => "btrfs-progs",
        "mkreiserfs" => "reiserfsprogs",
        "mkfs.jfs" | "jfs_tune" => "jfsutils",
        "mkfs.fat" => "dosfstools",
        "mkntfs" => "ntfs-3g",
        "mdadm" => "mdadm",
        "pvcreate" | "vgcreate" | "lvcreate" | "vgchange" => "lvm2",
        _ => "util-linux",
    }
}

/// Arguments.
#[derive(Default)]
struct Line(Vec<String>);

impl Line {
    fn word(&mut self, word: impl Into<String>) {
        self.0.push(word.into());
    }

    /// An option and its value, when there is one.
    fn option(&mut self, key: &str, value: Option<impl ToString>) {
        if let Some(value) = value {
            self.0.extend([key.to_owned(), value.to_string()]);
        }
    }

    fn words(&mut self, words: &[&str]) {
        self.0.extend(words.iter().map(|word| (*word).to_owned()));
    }
}

fn ext(wanted: &FileSystem, line: &mut Line) -> &'static str {
    line.words(&["-q", "-F", "-t", wanted.format.word()]);
    line.option("-U", wanted.uuid.as_ref());
    line.option("-L", wanted.label.as_ref());
    line.option("-b", wanted.block);
    line.option("-I", wanted.inode);
    if !wanted.features.is_empty() {
        line.option("-O", Some(format!("none,{}", wanted.features.join(","))));
    }
    "mke2fs"
}

/// Those that mkfs.xfs 6.1 knows, with the option that each belongs to. Others are said
/// only when they are wanted, so that an older tool is not asked for what it never heard of.
const XFS: &[(&str, &str)] = &[
    ("-m", "crc"),
    ("-m", "finobt"),
    ("-m", "rmapbt"),
    ("-m", "reflink"),
    ("-m", "inobtcount"),
    ("-m", "bigtime"),
    ("-i", "sparse"),
    ("-i", "nrext64"),
];
const NEWER_XFS: &[(&str, &str)] = &[("-i", "exchange"), ("-n", "parent")];

fn xfs(wanted: &FileSystem, line: &mut Line) -> &'static str {
    line.words(&["-q", "-f"]);
    line.option(
        "-m",
        wanted.uuid.as_ref().map(|uuid| format!("uuid={uuid}")),
    );
    line.option("-L", wanted.label.as_ref());
    line.option("-b", wanted.block.map(|size| format!("size={size}")));
    line.option("-i", wanted.inode.map(|size| format!("size={size}")));
    let has = |feature: &str| wanted.features.iter().any(|other| other == feature);
    let switch = |feature: &str| format!("{feature}={}", u8::from(has(feature)));
    if !wanted.features.is_empty() {
        for (option, feature) in XFS {
            line.option(option, Some(switch(feature)));
        }
        for (option, feature) in NEWER_XFS.iter().filter(|(_, feature)| has(feature)) {
            line.option(option, Some(switch(feature)));
        }
        if has("v4") {
            line.option("-n", Some(switch("ftype")));
        }
    }
    "mkfs.xfs"
}

/// Those that mkfs.btrfs 6.2 makes unless it is told not to.
const BTRFS: &[&str] = &["extref", "skinny-metadata", "no-holes"];
/// Those that it calls runtime features.
const BTRFS_RUNTIME: &[&str] = &["free-space-tree", "block-group-tree", "quota"];

fn btrfs(wanted: &FileSystem, line: &mut Line) -> &'static str {
    line.words(&["-q", "-f"]);
    line.option("-U", wanted.uuid.as_ref());
    line.option("-L", wanted.label.as_ref());
    line.option("-s", wanted.block);
    line.option("-n", wanted.inode);
    if !wanted.features.is_empty() {
        let has = |feature: &&&str| wanted.features.iter().any(|other| other == **feature);
        let runtime = |feature: &&String| BTRFS_RUNTIME.contains(&feature.as_str());
        let mut features: Vec<String> = wanted
            .features
            .iter()
            .filter(|f| !runtime(f))
            .cloned()
            .collect();
        let without = BTRFS.iter().filter(|feature| !has(feature));
        features.extend(without.map(|feature| format!("^{feature}")));
        line.option(
            "-O",
            Some(features.join(",")).filter(|words| !words.is_empty()),
        );
        let mut features: Vec<String> = wanted.features.iter().filter(runtime).cloned().collect();
        if !has(&&"free-space-tree") {
            features.push("^free-space-tree".to_owned());
        }
        line.option("-R", Some(features.join(",")));
    }
    "mkfs.btrfs"
}

fn reiserfs(wanted: &FileSystem, line: &mut Line) -> &'static str {
    // Twice: ask nothing.
    line.words(&["-q", "-f", "-f"]);
    line.option("-u", wanted.uuid.as_ref());
    line.option("-l", wanted.label.as_ref());
    line.option("-b", wanted.block);
    "mkreiserfs"
}

fn jfs(wanted: &FileSystem, line: &mut Line) -> &'static str {
    line.word("-q");
    line.option("-L", wanted.label.as_ref());
    "mkfs.jfs"
}

fn fat(wanted: &FileSystem, place: Place<'_>, line: &mut Line) -> &'static str {
    let width = match wanted.format {
        Format::Fat12 => Some("12"),
        Format::Fat16 => Some("16"),
        Format::Fat32 => Some("32"),
        _ => None,
    };
    // It refuses what it takes for a whole disk, such as a loop device.
    line.word("-I");
    line.option("-F", width);
    line.option("-i", wanted.uuid.as_ref().map(|uuid| uuid.replace('-', "")));
    line.option("-n", wanted.label.as_ref());
    let sectors = wanted.block.map(|block| block / place.sector_size.max(1));
    line.option("-s", sectors.filter(|sectors| *sectors > 0));
    "mkfs.fat"
}

fn ntfs(wanted: &FileSystem, place: Place<'_>, line: &mut Line) -> &'static str {
    line.words(&["-q", "-Q", "-F"]);
    line.option("-L", wanted.label.as_ref());
    line.option("-c", wanted.block);
    if let Some(start) = place.start.filter(|start| u32::try_from(*start).is_ok()) {
        // What Windows would boot from has the geometry that every BIOS gives.
        line.option("-p", Some(start));
        line.words(&["-H", "255", "-S", "63"]);
    }
    "mkntfs"
}

fn swap(wanted: &FileSystem, line: &mut Line) -> &'static str {
    line.word("-q");
    line.option("-U", wanted.uuid.as_ref());
    line.option("-L", wanted.label.as_ref());
    "mkswap"
}

/// What is not as it was wanted. `None`: all is.
pub fn difference(wanted: &FileSystem, found: Option<&Identity>) -> Option<String> {
    let Some(Identity::FileSystem(found)) = found else {
        return Some(format!("no {} is there", wanted.format));
    };
    let (there, format) = (found.format, wanted.format);
    if there != format && !(format == Format::Vfat && there.is_fat()) {
        return Some(format!("it is {there} and not {format}"));
    }
    let compare = [
        ("UUID", &wanted.uuid, &found.uuid),
        ("label", &wanted.label, &found.label),
    ];
    for (what, wanted, found) in compare {
        if wanted.is_some() && wanted != found {
            let [wanted, found] = [wanted, found].map(|text| text.as_deref().unwrap_or("none"));
            return Some(format!("its {what} is {found} and not {wanted}"));
        }
    }
    None
}

/// The features that differ, as a sentence. They are no reason to stop: a tool adds what
/// others need, and an older one knows fewer.
pub fn note(wanted: &FileSystem, found: Option<&Identity>) -> Option<String> {
    let Some(Identity::FileSystem(found)) = found else {
        return None;
    };
    let without = |these: &[String], others: &[String]| -> String {
        let missing = these.iter().filter(|feature| !others.contains(feature));
        missing.cloned().collect::<Vec<_>>().join(",")
    };
    let lost = without(&wanted.features, &found.features);
    let new = without(&found.features, &wanted.features);
    match (wanted.features.is_empty(), lost.as_str(), new.as_str()) {
        (true, ..) | (_, "", "") => None,
        (_, lost, "") => Some(format!("without {lost}")),
        (_, "", new) => Some(format!("with {new} as well")),
        (_, lost, new) => Some(format!("without {lost}, with {new} as well")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desc::{Content, Desc};

    fn line(text: &str) -> String {
        let desc = Desc::parse(&format!("linux fill {text}")).unwrap();
        let Content::FileSystem(file_system) = &desc.partitions[0].content else {
            panic!("{text}")
        };
        let place = Place {
            device: "/dev/sda1",
            sector_size: 512,
            start: Some(2048),
        };
        let words = |step: &Step| match step {
            Step::Run { program, arguments } => format!("{program} {}", arguments.join(" ")),
            Step::NtfsSerial(serial) => format!("serial {serial:016X}"),
            Step::Subvolumes(names) => format!("subvolumes {}", names.join(" ")),
        };
        steps(file_system, place)
            .iter()
            .map(words)
            .collect::<Vec<_>>()
            .join("; ")
    }

    #[test]
    fn each_tool_is_told_in_its_own_way() {
        let uuid = "uuid=6d1b0c1e-0000-4000-8000-676f6c647201";
        let id = &uuid[5..];
        for (text, expected) in [
            ("fs=ext3", "mke2fs -q -F -t ext3 /dev/sda1".to_owned()),
            (&format!("fs=ext4 {uuid} label=root block=1024 inode=256 features=has_journal,extent"),
                format!("mke2fs -q -F -t ext4 -U {id} -L root -b 1024 -I 256 -O none,has_journal,extent /dev/sda1")),
            (&format!("fs=xfs {uuid} label=var"), format!("mkfs.xfs -q -f -m uuid={id} -L var /dev/sda1")),
            ("fs=btrfs subvolumes=@,@home", "mkfs.btrfs -q -f /dev/sda1; subvolumes @ @home".to_owned()),
            ("fs=xfs features=crc,finobt,parent", "mkfs.xfs -q -f -m crc=1 -m finobt=1 -m rmapbt=0 -m reflink=0 -m inobtcount=0 -m bigtime=0 -i sparse=0 -i nrext64=0 -n parent=1 /dev/sda1".to_owned()),
            (&format!("fs=btrfs {uuid} block=4096 inode=16384 features=extref,free-space-tree"),
                format!("mkfs.btrfs -q -f -U {id} -s 4096 -n 16384 -O extref,^skinny-metadata,^no-holes -R free-space-tree /dev/sda1")),
            (&format!("fs=reiserfs {uuid} label=x"), format!("mkreiserfs -q -f -f -u {id} -l x /dev/sda1")),
            (&format!("fs=jfs {uuid} label=x"), format!("mkfs.jfs -q -L x /dev/sda1; jfs_tune -U {id} /dev/sda1")),
            ("fs=fat32 uuid=1a2b-3c4d label=ESP block=4096", "mkfs.fat -I -F 32 -i 1A2B3C4D -n ESP -s 8 /dev/sda1".to_owned()),
            ("fs=ntfs uuid=5E2AB1C02AB19A01 label=\"Windows 10\" block=4096",
                "mkntfs -q -Q -F -L Windows 10 -c 4096 -p 2048 -H 255 -S 63 /dev/sda1; serial 5E2AB1C02AB19A01".to_owned()),
            (&format!("fs=swap {uuid} label=swap"), format!("mkswap -q -U {id} -L swap /dev/sda1")),
        ] {
            assert_eq!(line(text), expected);
        }
    }

    #[test]
    fn what_is_not_as_it_should_be_is_said() {
        let wanted = FileSystem {
            label: Some("root".into()),
            features: vec!["a".into(), "b".into()],
            ..FileSystem::plain(Format::Vfat)
        };
        let found = FileSystem {
            format: Format::Fat16,
            features: vec!["b".into(), "c".into()],
            ..wanted.clone()
        };
        let say =
            |found: &FileSystem| difference(&wanted, Some(&Identity::FileSystem(found.clone())));
        assert_eq!(say(&found), None);
        let other = FileSystem {
            label: None,
            ..found.clone()
        };
        assert_eq!(say(&other).unwrap(), "its label is none and not root");
        assert_eq!(
            say(&FileSystem::plain(Format::Xfs)).unwrap(),
            "it is xfs and not vfat"
        );
        assert_eq!(difference(&wanted, None).unwrap(), "no vfat is there");
        let note = note(&wanted, Some(&Identity::FileSystem(found)));
        assert_eq!(note.unwrap(), "without a, with c as well");
    }
}
