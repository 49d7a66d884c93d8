//! What a client does with a file that `>>` names: decided by the golden node from the
//! *input's* name, sent as a flag in the FILE packet.

/// How a file is packed. The first four are those of 0.93 and can be combined as
/// archive and compression; the others only goldring understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cook(u8);

/// A compression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// gzip.
    Gzip,
    /// compress(1), `.Z`.
    Compress,
    /// bzip2.
    Bzip2,
    /// xz.
    Xz,
    /// Zstandard.
    Zstd,
}

/// An archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Archive {
    /// cpio.
    Cpio,
    /// tar.
    Tar,
}

const COMPRESSIONS: [(u8, Compression, &[&str]); 5] = [
    (0o01, Compression::Gzip, &[".gz", ".tgz"]),
    (0o02, Compression::Compress, &[".Z"]),
    (0o20, Compression::Bzip2, &[".bz2", ".tbz2"]),
    (0o40, Compression::Xz, &[".xz", ".txz"]),
    (0o100, Compression::Zstd, &[".zst"]),
];
const ARCHIVES: [(u8, Archive, &str); 2] =
    [(0o04, Archive::Cpio, ".cpio"), (0o10, Archive::Tar, ".tar")];
/// The flags that a 0.93 client knows.
const OLD: u8 = 0o17;

impl Cook {
    /// As it is.
    pub const PLAIN: Self = Self(0);

    /// What the ending of `name` says; [`Cook::PLAIN`] for any other ending.
    pub fn of_name(name: &str) -> Self {
        let mut flags = 0;
        let mut stem = name;
        for (flag, _, endings) in COMPRESSIONS {
            if let Some(ending) = endings.iter().find(|ending| name.ends_with(**ending)) {
                flags |= flag;
                // `.tgz` is a tar inside; `.gz` says nothing about the inside.
                if ending.starts_with(".t") {
                    flags |= 0o10;
                }
                stem = &name[..name.len() - ending.len()];
                break;
            }
        }
        for (flag, _, ending) in ARCHIVES {
            if stem.ends_with(ending) {
                flags |= flag;
            }
        }
        Self(flags)
    }

    /// From a packet.
    pub fn from_flag(flag: u8) -> Option<Self> {
        let cook = Self(flag);
        let known = COMPRESSIONS.iter().fold(0, |all, (flag, ..)| all | flag)
            | ARCHIVES.iter().fold(0, |all, (flag, ..)| all | flag);
        let several =
            |flags: &mut dyn Iterator<Item = u8>| flags.filter(|f| flag & f != 0).count() > 1;
        let twice = several(&mut COMPRESSIONS.iter().map(|c| c.0))
            || several(&mut ARCHIVES.iter().map(|a| a.0));
        (flag & !known == 0 && !twice).then_some(cook)
    }

    /// For a packet.
    pub fn flag(self) -> u8 {
        self.0
    }

    /// Whether a 0.93 client can do it.
    pub fn is_old(self) -> bool {
        self.0 & !OLD == 0
    }

    /// How it is compressed.
    pub fn compression(self) -> Option<Compression> {
        COMPRESSIONS
            .iter()
            .find(|(flag, ..)| self.0 & flag != 0)
            .map(|(_, compression, _)| *compression)
    }

    /// What kind of archive it is.
    pub fn archive(self) -> Option<Archive> {
        ARCHIVES
            .iter()
            .find(|(flag, ..)| self.0 & flag != 0)
            .map(|(_, archive, _)| *archive)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_ending_of_the_manual_and_ours() {
        let table = [
            ("a.gz", 0o01),
            ("a.Z", 0o02),
            ("a.cpio", 0o04),
            ("a.tar", 0o10),
            ("a.cpio.gz", 0o05),
            ("a.cpio.Z", 0o06),
            ("a.tar.gz", 0o11),
            ("a.tgz", 0o11),
            ("a.tar.Z", 0o12),
            ("a.tar.xz", 0o50),
            ("a.zst", 0o100),
            ("a.cpio.bz2", 0o24),
            ("/dev/sda", 0),
            ("tar", 0),
            ("gz", 0),
            ("a.zip", 0),
            ("", 0),
        ];
        for (name, flag) in table {
            assert_eq!(Cook::of_name(name).flag(), flag, "{name}");
            assert_eq!(Cook::from_flag(flag), Some(Cook(flag)), "{name}");
        }
        assert!(Cook::of_name("a.tar.gz").is_old());
        assert!(!Cook::of_name("a.tar.xz").is_old());
        assert_eq!(Cook::of_name("a.tar.gz").archive(), Some(Archive::Tar));
        assert_eq!(
            Cook::of_name("a.cpio.Z").compression(),
            Some(Compression::Compress)
        );
    }

    #[test]
    fn flags_that_contradict_themselves_are_refused() {
        for flag in [0o03, 0o14, 0o41, 0o200, 0o377] {
            assert_eq!(Cook::from_flag(flag), None, "{flag:o}");
        }
    }
}
