//! What is cloned by files, as a text that travels before them: file systems, where they
//! are mounted, what stays behind, and what is made again empty. The modern counterpart of
//! the old `pfstab`, `excluded` and `streams` ([`crate::partfiles`] still writes those).
//!
//! A line is a keyword with `key=value` pairs ([`crate::text`]). Keywords and keys that are
//! not known are left alone, so that an older node understands a newer golden node; what an
//! older one must not do without changes the number in the first line.

use std::fmt;
use std::path::{Component, Path, PathBuf};

use crate::made::Made;
use crate::tar::Source;
use crate::text::{Line, Pairs};

const FIRST: &str = "goldring-manifest 1";
const LAST: &str = "end";
/// A manifest is never longer; one folder that is left out takes some 100 bytes.
pub const MANIFEST_MAX: usize = 16 << 20;

/// The whole text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Manifest {
    /// What the golden node calls itself.
    pub host: String,
    /// Whether it was started by UEFI.
    pub efi: bool,
    /// What its disks hold.
    pub file_systems: Vec<FileSystem>,
    /// Its swap.
    pub swaps: Vec<Swap>,
    /// Where the file systems are, `/` first and what is mounted on another one after it.
    pub mounts: Vec<Mount>,
    /// Subvolumes of btrfs that are not mounted by themselves, seen from the system.
    pub nested: Vec<PathBuf>,
    /// What stays behind.
    pub left: Vec<Left>,
    /// Folders and files that stay behind by wish.
    pub excluded: Vec<PathBuf>,
    /// What is made again empty.
    pub made: Vec<Made>,
}

/// A file system with files.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FileSystem {
    /// The golden node's name for it, such as `/dev/sda1`; the other lines use it.
    pub device: String,
    /// The whole disks that carry it.
    pub disks: Vec<String>,
    /// `ext4`, `xfs`…, as libblkid calls it.
    pub kind: String,
    /// Of the file system.
    pub uuid: String,
    /// Of the file system.
    pub label: String,
    /// Of the partition.
    pub part_uuid: String,
    /// In bytes.
    pub size: u64,
    /// In bytes.
    pub used: u64,
    /// How many files it holds; 0 where it does not count them.
    pub files: u64,
}

/// Swap.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Swap {
    /// The device, or the file, seen from the system.
    pub place: String,
    /// The whole disks that carry it; none for a file.
    pub disks: Vec<String>,
    /// Of the swap.
    pub uuid: String,
    /// Of the swap.
    pub label: String,
    /// In bytes.
    pub size: u64,
}

impl Swap {
    /// Whether it is a file of a file system.
    pub fn is_file(&self) -> bool {
        !self.place.starts_with("/dev/")
    }
}

/// A place where a file system is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mount {
    /// Where.
    pub place: String,
    /// Which: [`FileSystem::device`].
    pub device: String,
    /// What `/etc/fstab` calls the device; empty: it does not.
    pub spec: String,
    /// The options of `/etc/fstab`, else those with which it is mounted.
    pub options: Vec<String>,
    /// The subvolume of btrfs, such as `/@home`; empty: the file system's own top.
    pub subvolume: String,
}

/// Something that stays behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// Where it is mounted.
    pub place: String,
    /// What it is.
    pub spec: String,
    /// Why, in words.
    pub why: String,
    /// Its disk has no counterpart on a node, so that the clone must not wait for it.
    pub without_disk: bool,
}

/// A text that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// Another first line.
    #[error("this is no list of what is cloned, or one of a later goldring")]
    First,
    /// A line that lacks something.
    #[error("line {0} of the list of what is cloned is not understood")]
    Line(usize),
    /// Nothing says that it is whole.
    #[error("the list of what is cloned is cut")]
    Short,
    /// Too much of it.
    #[error("the list of what is cloned is longer than {MANIFEST_MAX} bytes")]
    Long,
    /// A mount whose file system is not there, or no `/`.
    #[error("the list of what is cloned names no file system for {0}")]
    NoDevice(String),
}

impl Manifest {
    /// Reads the text.
    ///
    /// # Errors
    /// It is none, is cut, or does not say what is mounted on `/`. Paths that lead out of
    /// the system are none.
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        if text.len() > MANIFEST_MAX {
            return Err(ManifestError::Long);
        }
        let mut lines = text.lines().enumerate();
        if lines.next().map(|(_, line)| line) != Some(FIRST) {
            return Err(ManifestError::First);
        }
        let mut manifest = Self::default();
        for (number, line) in lines {
            if line == LAST {
                manifest.check()?;
                return Ok(manifest);
            }
            manifest
                .line(&Pairs::parse(line))
                .ok_or(ManifestError::Line(number + 1))?;
        }
        Err(ManifestError::Short)
    }

    fn line(&mut self, pairs: &Pairs<'_>) -> Option<()> {
        let path = |key| Some(pairs.path(key)).filter(|path| is_inside(path));
        let place = |key| path(key)?.into_os_string().into_string().ok();
        let texts = |key| -> Vec<String> {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            pairs.all(key).map(text).collect()
        };
        let number = |key| pairs.number(key, 10).unwrap_or(0);
        match pairs.keyword {
            "golden" => {
                self.host = pairs.text("host");
                self.efi = pairs.bytes("firmware") == b"uefi";
            }
            "file-system" => self.file_systems.push(FileSystem {
                device: place("device")?,
                disks: texts("disk"),
                kind: pairs.text("type"),
                uuid: pairs.text("uuid"),
                label: pairs.text("label"),
                part_uuid: pairs.text("partuuid"),
                size: number("size"),
                used: number("used"),
                files: number("files"),
            }),
            "swap" => self.swaps.push(Swap {
                place: place("place")?,
                disks: texts("disk"),
                uuid: pairs.text("uuid"),
                label: pairs.text("label"),
                size: number("size"),
            }),
            "mount" => self.mounts.push(Mount {
                place: place("place")?,
                device: pairs.text("device"),
                spec: pairs.text("spec"),
                options: texts("option"),
                subvolume: pairs.text("subvolume"),
            }),
            "subvolume" => self.nested.push(path("path")?),
            "left" => self.left.push(Left {
                place: place("place")?,
                spec: pairs.text("spec"),
                why: pairs.text("why"),
                without_disk: pairs.bytes("disk") == b"stays",
            }),
            "exclude" => self.excluded.push(path("path")?),
            "make" => self.made.push(Made::parse(pairs)?),
            // Of a later version that an earlier one may do without.
            _ => {}
        }
        Some(())
    }

    fn check(&self) -> Result<(), ManifestError> {
        if self.mounts.first().map(|mount| mount.place.as_str()) != Some("/") {
            return Err(ManifestError::NoDevice("/".to_owned()));
        }
        match self.mounts.iter().find(|mount| self.of(mount).is_none()) {
            Some(mount) => Err(ManifestError::NoDevice(mount.place.clone())),
            None => Ok(()),
        }
    }

    /// The file system of a mount.
    pub fn of(&self, mount: &Mount) -> Option<&FileSystem> {
        self.file_systems
            .iter()
            .find(|file_system| file_system.device == mount.device)
    }

    /// What a golden node whose `/` is `top` sends.
    pub fn source(&self, top: &Path) -> Source {
        let places = self.mounts.iter().map(|mount| PathBuf::from(&mount.place));
        let left = self.left.iter().map(|left| PathBuf::from(&left.place));
        let files = self.swaps.iter().filter(|swap| swap.is_file());
        let files = files.map(|swap| PathBuf::from(&swap.place));
        Source {
            top: top.to_owned(),
            places: places.chain(self.nested.iter().cloned()).collect(),
            excluded: self
                .excluded
                .iter()
                .cloned()
                .chain(left)
                .chain(files)
                .collect(),
        }
    }

    /// How many bytes of files the golden node has, without what is left out: those of all
    /// its file systems.
    pub fn used(&self) -> u64 {
        self.file_systems.iter().map(|one| one.used).sum()
    }
}

/// Whether a path is absolute and stays below what it begins with.
fn is_inside(path: &Path) -> bool {
    let inside = |part| matches!(part, Component::RootDir | Component::Normal(_));
    path.is_absolute() && path.components().all(inside)
}

impl fmt::Display for Manifest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{FIRST}")?;
        let firmware = if self.efi { "uefi" } else { "bios" };
        let line = Line::new("golden").with("host", &self.host);
        f.write_str(&line.with("firmware", firmware).end())?;
        for one in &self.file_systems {
            let line = Line::new("file-system")
                .with("device", &one.device)
                .with("type", &one.kind)
                .with("uuid", &one.uuid)
                .with("label", &one.label)
                .with("partuuid", &one.part_uuid)
                .number("size", one.size)
                .number("used", one.used)
                .number("files", one.files);
            f.write_str(&each(line, "disk", &one.disks).end())?;
        }
        for swap in &self.swaps {
            let line = Line::new("swap")
                .with("place", &swap.place)
                .with("uuid", &swap.uuid)
                .with("label", &swap.label)
                .number("size", swap.size);
            f.write_str(&each(line, "disk", &swap.disks).end())?;
        }
        for mount in &self.mounts {
            let line = Line::new("mount")
                .with("place", &mount.place)
                .with("device", &mount.device)
                .with("spec", &mount.spec)
                .with("subvolume", &mount.subvolume);
            f.write_str(&each(line, "option", &mount.options).end())?;
        }
        for path in &self.nested {
            f.write_str(&Line::new("subvolume").with("path", path).end())?;
        }
        for left in &self.left {
            let line = Line::new("left").with("place", &left.place);
            let line = line.with("spec", &left.spec).with("why", &left.why);
            let stays = if left.without_disk { "stays" } else { "" };
            f.write_str(&line.with("disk", stays).end())?;
        }
        for path in &self.excluded {
            f.write_str(&Line::new("exclude").with("path", path).end())?;
        }
        for made in &self.made {
            write!(f, "{made}")?;
        }
        writeln!(f, "{LAST}")
    }
}

fn each(line: Line, key: &str, values: &[String]) -> Line {
    values
        .iter()
        .fold(line, |line, value| line.with(key, value))
}

#[cfg(test)]
pub(crate) mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    pub(crate) fn example() -> Manifest {
        let disks = vec!["/dev/sda".to_owned()];
        Manifest {
            host: "golden".into(),
            efi: true,
            file_systems: vec![FileSystem {
                device: "/dev/sda1".into(),
                disks: disks.clone(),
                kind: "btrfs".into(),
                uuid: "1-2".into(),
                label: "my disk".into(),
                size: 100,
                used: 50,
                files: 7,
                ..FileSystem::default()
            }],
            swaps: vec![
                Swap {
                    place: "/dev/sda2".into(),
                    disks,
                    uuid: "3-4".into(),
                    size: 9,
                    ..Swap::default()
                },
                Swap {
                    place: "/swap.img".into(),
                    size: 5,
                    ..Swap::default()
                },
            ],
            mounts: vec![
                Mount {
                    place: "/".into(),
                    device: "/dev/sda1".into(),
                    spec: "UUID=1-2".into(),
                    options: vec!["noatime".into(), "subvol=@".into()],
                    subvolume: "/@".into(),
                },
                Mount {
                    place: "/srv/a b".into(),
                    device: "/dev/sda1".into(),
                    subvolume: "/@srv".into(),
                    ..Mount::default()
                },
            ],
            nested: vec!["/var/lib/machines".into()],
            left: vec![Left {
                place: "/proc".into(),
                spec: "proc".into(),
                why: "the kernel's".into(),
                without_disk: true,
            }],
            excluded: vec![OsStr::from_bytes(b"/var/cache/\xff*").into()],
            made: vec![Made::plain_folder("/proc")],
        }
    }

    #[test]
    fn it_is_read_as_it_was_written() {
        let manifest = example();
        let text = manifest.to_string();
        assert_eq!(Manifest::parse(&text), Ok(manifest));
        let later = text.replace("\nend", "\nsmell strength=5\nend");
        assert_eq!(Manifest::parse(&later), Ok(example()));
    }

    #[test]
    fn what_is_sent_follows_from_it() {
        let source = example().source(Path::new("/x"));
        let names = |paths: &[PathBuf]| {
            paths
                .iter()
                .map(|path| crate::text::shown(path))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            names(&source.places),
            ["/", "/srv/a b", "/var/lib/machines"]
        );
        assert_eq!(
            names(&source.excluded),
            ["/var/cache/\\377*", "/proc", "/swap.img"]
        );
    }

    #[test]
    fn ugly_texts_are_refused() {
        let text = example().to_string();
        for cut in 0..text.len() - 1 {
            let result = Manifest::parse(&text[..cut]);
            assert!(result.is_err(), "{cut}");
        }
        let table = [
            (
                "goldring-manifest 1",
                "goldring-manifest 2",
                ManifestError::First,
            ),
            ("place=/proc", "place=/../proc", ManifestError::Line(9)),
            (
                "device=/dev/sda1 type",
                "device=sda1 type",
                ManifestError::Line(3),
            ),
            (
                "device=/dev/sda1 type",
                "device=/dev/sdb1 type",
                ManifestError::NoDevice("/".into()),
            ),
            ("place=/ ", "place=/x ", ManifestError::NoDevice("/".into())),
            ("kind=folder", "kind=door", ManifestError::Line(11)),
        ];
        for (from, to, error) in table {
            assert_eq!(
                Manifest::parse(&text.replacen(from, to, 1)),
                Err(error),
                "{to}"
            );
        }
        assert_eq!(
            Manifest::parse(&" ".repeat(MANIFEST_MAX + 1)),
            Err(ManifestError::Long)
        );
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read(text in "(goldring-manifest 1\n)?((mount|make|left|swap|file-system) |(place|device|mode|uid)=|[/a-z0-9\\\\ .\n\\PC]){0,60}") {
            let _ = Manifest::parse(&text);
        }
    }
}
