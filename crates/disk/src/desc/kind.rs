//! Partition types: the words of a desc, the bytes of a DOS table and the GUIDs of a GPT.

use crate::guid::Guid;

/// What a partition is for, as its table says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A DOS table's extended partition, with its byte: 0x05, 0x0f or 0x85.
    Extended(u8),
    /// The byte of a DOS table.
    Dos(u8),
    /// The GUID of a GPT.
    Gpt(Guid),
}

/// The bytes of extended partitions: DOS, Windows 95 (LBA), Linux.
pub const EXTENDED: [u8; 3] = [0x05, 0x0F, 0x85];

struct Word {
    word: &'static str,
    byte: Option<u8>,
    guid: Guid,
    /// What people call it.
    name: &'static str,
}

const fn word(word: &'static str, byte: Option<u8>, guid: u128, name: &'static str) -> Word {
    let guid = Guid::constant(guid);
    Word {
        word,
        byte,
        guid,
        name,
    }
}

/// GUIDs: UEFI specification, 5.3.3; Discoverable Partitions Specification; Microsoft,
/// `PARTITION_INFORMATION_GPT`. Bytes: sgdisk's codes are these, times 256.
const WORDS: &[Word] = &[
    word(
        "linux",
        Some(0x83),
        0x0fc63daf_8483_4772_8e79_3d69d8477de4,
        "Linux",
    ),
    word(
        "swap",
        Some(0x82),
        0x0657fd6d_a4ab_43c4_84e5_0933c84b4f4f,
        "swap",
    ),
    word(
        "efi",
        Some(0xEF),
        0xc12a7328_f81f_11d2_ba4b_00a0c93ec93b,
        "EFI system partition",
    ),
    word(
        "raid",
        Some(0xFD),
        0xa19d880f_05fc_4d3b_a006_743f0f84911e,
        "RAID",
    ),
    word(
        "lvm",
        Some(0x8E),
        0xe6d6d379_f507_44c2_a23c_238f2a3df928,
        "LVM",
    ),
    word(
        "bios",
        None,
        0x21686148_6449_6e6f_744e_656564454649,
        "GRUB for BIOS",
    ),
    word(
        "xbootldr",
        Some(0xEA),
        0xbc13c2ff_59e6_4262_a352_b275fd6f7172,
        "extended boot loader",
    ),
    word(
        "root",
        None,
        0x4f68bce3_e8cd_4db1_96e7_fbcaf984b709,
        "Linux root (x86-64)",
    ),
    word(
        "home",
        None,
        0x933ac7e1_2eb4_4f13_b844_0e14e2aef915,
        "Linux home",
    ),
    word(
        "srv",
        None,
        0x3b8f8425_20e0_4f3b_907f_1a25a76f98e8,
        "Linux server data",
    ),
    word(
        "windows",
        Some(0x07),
        0xebd0a0a2_b9e5_4433_87c0_68b6b72699c7,
        "Windows",
    ),
    word(
        "msr",
        None,
        0xe3c9e316_0b5c_4db8_817d_f92df00215ae,
        "Windows, reserved",
    ),
    word(
        "recovery",
        Some(0x27),
        0xde94bba4_06d1_4d40_a16a_bfd50179d6ac,
        "Windows, recovery",
    ),
];

/// What is wrong with a type, and what to write.
pub(super) type Complaint = String;

impl Kind {
    /// Reads the word of a line.
    pub(super) fn parse(text: &str, gpt: bool) -> Result<Self, Complaint> {
        if text == "extended" {
            return if gpt {
                Err(
                    "gpt has no extended partitions; leave out this line and the words \"logical\""
                        .into(),
                )
            } else {
                Ok(Self::Extended(EXTENDED[0]))
            };
        }
        if let Some(known) = WORDS.iter().find(|known| known.word == text) {
            return match (gpt, known.byte) {
                (true, _) => Ok(Self::Gpt(known.guid)),
                (false, Some(byte)) => Ok(Self::Dos(byte)),
                (false, None) => Err(format!(
                    "{text} is a type of gpt only; write \"gpt\" on a line of its own above, or \"linux\" here"
                )),
            };
        }
        match text.strip_prefix("type") {
            Some(code) => Self::code(code, gpt),
            None => Err(format!(
                "{text:?} is no type; write linux, swap, extended, logical, efi, raid, lvm, windows or typeXX with a hexadecimal number"
            )),
        }
    }

    fn code(code: &str, gpt: bool) -> Result<Self, Complaint> {
        if let Ok(guid) = code.parse::<Guid>() {
            return match (gpt, guid.is_nil()) {
                (true, false) => Ok(Self::Gpt(guid)),
                (true, true) => Err("this GUID stands for no partition; write linux".into()),
                (false, _) => Err(
                    "a GUID is a type of gpt; write \"gpt\" on a line of its own above, or a byte such as type83".into(),
                ),
            };
        }
        let digits = (1..=2).contains(&code.len()) && code.chars().all(|c| c.is_ascii_hexdigit());
        let byte = u8::from_str_radix(code, 16).ok().filter(|_| digits);
        match byte {
            None => Err(format!(
                "type{code} is no type; write a hexadecimal number from 1 to ff without blank, such as type83 or type7"
            )),
            Some(0) => Err("type0 stands for no partition; write linux".into()),
            Some(byte) if EXTENDED.contains(&byte) => Err(if gpt {
                "gpt has no extended partitions; leave out this line".into()
            } else if byte == EXTENDED[0] {
                "an extended partition is written \"extended SIZE\"".into()
            } else {
                format!("an extended partition is written \"extended SIZE type={byte:x}\"")
            }),
            Some(0xEE) => Err("type ee is the mark of gpt; write \"gpt\" on a line of its own above".into()),
            Some(byte) if gpt => of_byte(byte).map(Self::Gpt).ok_or_else(|| format!(
                "type{code} has no counterpart in gpt; write type and a GUID, such as type0fc63daf-8483-4772-8e79-3d69d8477de4"
            )),
            Some(byte) => Ok(Self::Dos(byte)),
        }
    }

    /// The word that a desc has for it. For a DOS table those of old programs.
    pub fn word(self) -> String {
        match self {
            Self::Extended(_) => "extended".into(),
            Self::Dos(0x83) => "linux".into(),
            Self::Dos(0x82) => "swap".into(),
            Self::Dos(byte) => format!("type{byte:x}"),
            Self::Gpt(guid) => match WORDS.iter().find(|known| known.guid == guid) {
                Some(known) => known.word.into(),
                None => format!("type{guid}"),
            },
        }
    }

    /// What people call it.
    pub fn name(self) -> String {
        let known = match self {
            Self::Extended(_) => return "extended".into(),
            Self::Dos(byte) => WORDS.iter().find(|known| known.byte == Some(byte)),
            Self::Gpt(guid) => WORDS.iter().find(|known| known.guid == guid),
        };
        known.map_or_else(|| self.word(), |known| known.name.into())
    }

    /// The type of GPT that stands for it.
    pub fn in_gpt(self) -> Option<Self> {
        match self {
            Self::Extended(_) => None,
            Self::Dos(byte) => of_byte(byte).map(Self::Gpt),
            gpt @ Self::Gpt(_) => Some(gpt),
        }
    }

    /// Whether it holds logical partitions.
    pub fn is_extended(self) -> bool {
        matches!(self, Self::Extended(_))
    }

    /// Whether it is swap.
    pub fn is_swap(self) -> bool {
        self == Self::Dos(0x82) || self == Self::Gpt(WORDS[1].guid)
    }

    /// Whether firmware starts from it.
    pub fn is_efi(self) -> bool {
        self == Self::Dos(0xEF) || self == Self::Gpt(WORDS[2].guid)
    }
}

/// The GUID that stands for a byte. FAT of each kind and NTFS are one type there.
fn of_byte(byte: u8) -> Option<Guid> {
    let byte = match byte {
        0x01 | 0x04 | 0x06 | 0x0B | 0x0C | 0x0E => 0x07,
        other => other,
    };
    let known = WORDS.iter().find(|known| known.byte == Some(byte))?;
    Some(known.guid)
}
