//! File systems of a desc: which, and how they are to be made.

use std::fmt;

use crate::guid::Guid;

/// A kind of file system, or swap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// ext2.
    Ext2,
    /// ext3.
    Ext3,
    /// ext4.
    Ext4,
    /// XFS.
    Xfs,
    /// btrfs.
    Btrfs,
    /// ReiserFS 3.
    Reiserfs,
    /// JFS.
    Jfs,
    /// FAT, as wide as the size asks for.
    Vfat,
    /// FAT12.
    Fat12,
    /// FAT16.
    Fat16,
    /// FAT32, as an EFI system partition should be.
    Fat32,
    /// NTFS.
    Ntfs,
    /// Swap space.
    Swap,
}

/// How the identifier of a file system is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Identifier {
    Uuid,
    /// 8 hexadecimal digits, `ABCD-1234`.
    Fat,
    /// 16 hexadecimal digits.
    Ntfs,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Ext2,
        Self::Ext3,
        Self::Ext4,
        Self::Xfs,
        Self::Btrfs,
        Self::Reiserfs,
        Self::Jfs,
        Self::Vfat,
        Self::Fat12,
        Self::Fat16,
        Self::Fat32,
        Self::Ntfs,
        Self::Swap,
    ];

    /// The word of a desc.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ext2 => "ext2",
            Self::Ext3 => "ext3",
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
            Self::Btrfs => "btrfs",
            Self::Reiserfs => "reiserfs",
            Self::Jfs => "jfs",
            Self::Vfat => "vfat",
            Self::Fat12 => "fat12",
            Self::Fat16 => "fat16",
            Self::Fat32 => "fat32",
            Self::Ntfs => "ntfs",
            Self::Swap => "swap",
        }
    }

    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|format| format.word() == text);
        found.ok_or_else(|| {
            let words = Self::ALL.map(Self::word).join(", ");
            format!("fs={text} is not known; write one of {words}, or fs=none")
        })
    }

    /// FAT of any width.
    pub fn is_fat(self) -> bool {
        matches!(self, Self::Vfat | Self::Fat12 | Self::Fat16 | Self::Fat32)
    }

    /// ext2 to ext4.
    pub fn is_ext(self) -> bool {
        matches!(self, Self::Ext2 | Self::Ext3 | Self::Ext4)
    }

    /// How many bytes a label may have (for NTFS: UTF-16 units), as the super block of
    /// each has room.
    pub fn longest_label(self) -> usize {
        match self {
            Self::Ext2 | Self::Ext3 | Self::Ext4 | Self::Reiserfs | Self::Jfs => 16,
            Self::Xfs => 12,
            Self::Btrfs => 255,
            Self::Vfat | Self::Fat12 | Self::Fat16 | Self::Fat32 => 11,
            Self::Ntfs => 128,
            Self::Swap => 15,
        }
    }

    pub(super) fn check_label(self, label: &str) -> Result<(), String> {
        let length = if self == Self::Ntfs {
            label.encode_utf16().count()
        } else {
            label.len()
        };
        let longest = self.longest_label();
        if length > longest {
            return Err(format!(
                "the label {label:?} has {length} bytes, and {} has room for {longest}; write a shorter one",
                self.word()
            ));
        }
        if self.is_fat() && !label.is_ascii() {
            return Err(format!(
                "the label {label:?} has letters that FAT does not have; write ASCII"
            ));
        }
        Ok(())
    }

    /// An identifier as blkid prints it, or what is wrong with it.
    pub(super) fn identifier(self, text: &str) -> Result<String, String> {
        let hex = |digits: &str, length| {
            digits.len() == length && digits.chars().all(|c| c.is_ascii_hexdigit())
        };
        let (good, example) = match self.identified_by() {
            Identifier::Uuid => {
                return text
                    .parse::<Guid>()
                    .map(|guid| guid.to_string())
                    .map_err(|error| format!("uuid={text}: {error}"));
            }
            Identifier::Fat => (
                text.split_once('-')
                    .is_some_and(|(high, low)| hex(high, 4) && hex(low, 4)),
                "8 hexadecimal digits, such as 1A2B-3C4D",
            ),
            Identifier::Ntfs => (
                hex(text, 16),
                "16 hexadecimal digits, such as 5E2AB1C02AB19A01",
            ),
        };
        if good {
            Ok(text.to_ascii_uppercase())
        } else {
            Err(format!("uuid={text}: {} has {example}", self.word()))
        }
    }

    fn identified_by(self) -> Identifier {
        match self {
            Self::Ntfs => Identifier::Ntfs,
            _ if self.is_fat() => Identifier::Fat,
            _ => Identifier::Uuid,
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A file system as it is to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSystem {
    /// Which.
    pub format: Format,
    /// Its label; never empty.
    pub label: Option<String>,
    /// Its identifier as blkid prints it; the tool makes a new one without it.
    pub uuid: Option<String>,
    /// Bytes of a block (cluster, sector of btrfs); the tool decides without it.
    pub block: Option<u32>,
    /// Bytes of an inode (of a node for btrfs).
    pub inode: Option<u32>,
    /// The features that it has, and no others; the tool decides when there are none.
    pub features: Vec<String>,
    /// The subvolumes of a btrfs that others rely on, such as `@home`.
    pub subvolumes: Vec<String>,
    /// Where it is mounted in the installed system.
    pub mount: Option<String>,
}

impl FileSystem {
    /// One of which everything but the kind is left to the tool.
    pub fn plain(format: Format) -> Self {
        Self {
            format,
            label: None,
            uuid: None,
            block: None,
            inode: None,
            features: Vec::new(),
            subvolumes: Vec::new(),
            mount: None,
        }
    }
}
