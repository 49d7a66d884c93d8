//! Software RAID as it lies on a member: what array it belongs to, and as which member.
//!
//! Layout: Linux, `include/uapi/linux/raid/md_p.h`; words as mdadm prints them.

use std::fmt::Write;
use std::io::{self, Read, Seek, SeekFrom};

/// A member of an array.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// 0, 1, 4, 5, 6, 10; -1 for linear.
    pub level: i32,
    /// How many members the array has.
    pub members: u32,
    /// `0.90`, `1.0`, `1.1` or `1.2`.
    pub metadata: &'static str,
    /// The name in the super block; version 0.90 has none, but a number.
    pub name: Option<String>,
    /// The number of the device, for version 0.90.
    pub minor: Option<u32>,
    /// Its identifier, as mdadm writes it.
    pub id: String,
    /// Bytes of a chunk; 0 where there are none.
    pub chunk: u32,
    /// For level 10: `n2`, `f2`, `o2`.
    pub layout: Option<String>,
    /// Its place, from 0; none for a spare one.
    pub slot: Option<u32>,
    /// Where its data begin, in bytes.
    pub data: u64,
}

const MAGIC: u32 = 0xA92B_4EFC;
const KIB: u64 = 1 << 10;

/// Reads the super block. `None`: it is no member.
///
/// # Errors
/// What reading says.
pub fn read(device: &mut (impl Read + Seek)) -> io::Result<Option<Member>> {
    let size = device.seek(SeekFrom::End(0))?;
    // mdadm looks for the version that it writes by itself first.
    let places = [
        (Some(4 * KIB), "1.2"),
        (Some(0), "1.1"),
        ((size / (4 * KIB) * 4 * KIB).checked_sub(8 * KIB), "1.0"),
    ];
    for (place, metadata) in places {
        let Some(place) = place else {
            continue;
        };
        if let Some(block) = block(device, place)?
            && let Some(member) = version_1(&block, metadata, place)
        {
            return Ok(Some(member));
        }
    }
    let place = (size / (64 * KIB) * 64 * KIB).checked_sub(64 * KIB);
    Ok(match place {
        Some(place) => block(device, place)?.and_then(|block| version_0(&block)),
        None => None,
    })
}

type Block = [u8; 4096];

fn block(device: &mut (impl Read + Seek), at: u64) -> io::Result<Option<Block>> {
    let mut block = [0; 4096];
    device.seek(SeekFrom::Start(at))?;
    match device.read_exact(&mut block) {
        Ok(()) => Ok(Some(block)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

/// `struct mdp_superblock_1`.
fn version_1(block: &Block, metadata: &'static str, place: u64) -> Option<Member> {
    let word =
        |at: usize| u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]]);
    let long = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
    // It says itself where it lies, in sectors.
    let here = long(144).checked_mul(512) == Some(place);
    if word(0) != MAGIC || word(4) != 1 || !here {
        return None;
    }
    let name = block[32..64].split(|byte| *byte == 0).next().unwrap_or(&[]);
    let name = std::str::from_utf8(name)
        .ok()
        .filter(|name| !name.is_empty());
    let level = word(72).cast_signed();
    // An array of two bytes for each device; 0xFFFF is a spare one, 0xFFFE a broken one.
    let role = 256 + word(160) as usize * 2;
    let role = block
        .get(role..role + 2)
        .map(|role| u16::from_le_bytes([role[0], role[1]]));
    Some(Member {
        level,
        members: word(92),
        metadata,
        name: name.map(str::to_owned),
        minor: None,
        id: identifier(&block[16..32]),
        chunk: word(88).checked_mul(512)?,
        layout: layout(level, word(76)),
        slot: role.filter(|role| *role < 0xFFFE).map(u32::from),
        data: long(128).checked_mul(512)?,
    })
}

/// `mdp_super_t`: all words, in the order of the processor, which is ours.
fn version_0(block: &Block) -> Option<Member> {
    let word = |at: usize| {
        let at = at * 4;
        u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]])
    };
    if word(0) != MAGIC || word(1) != 0 {
        return None;
    }
    let id = [word(5), word(13), word(14), word(15)]
        .map(u32::to_be_bytes)
        .concat();
    let level = word(7).cast_signed();
    // The descriptor of this very disk is the last of 32 words each.
    let (slot, state) = (word(992 + 3), word(992 + 4));
    // MD_DISK_ACTIVE.
    let active = state & 2 != 0 && slot < word(10);
    Some(Member {
        level,
        members: word(10),
        metadata: "0.90",
        name: None,
        minor: Some(word(11)),
        id: identifier(&id),
        chunk: word(65),
        layout: layout(level, word(64)),
        slot: active.then_some(slot),
        data: 0,
    })
}

/// Four times 8 digits with colons between them.
fn identifier(bytes: &[u8]) -> String {
    let mut text = String::new();
    for (at, byte) in bytes.iter().enumerate() {
        if at > 0 && at % 4 == 0 {
            text.push(':');
        }
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Level 10: how many copies near each other, how many far, and whether those are only
/// shifted by a chunk (md(4)).
fn layout(level: i32, layout: u32) -> Option<String> {
    let (near, far, offset) = (layout & 0xFF, layout >> 8 & 0xFF, layout & 1 << 16 != 0);
    match (level, far) {
        (10, 0 | 1) => Some(format!("n{near}")),
        (10, far) if offset => Some(format!("o{far}")),
        (10, far) => Some(format!("f{far}")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn image(size: usize, fields: &[(usize, &[u8])]) -> Vec<u8> {
        let mut image = vec![0; size];
        for (at, field) in fields {
            image[*at..*at + field.len()].copy_from_slice(field);
        }
        image
    }

    /// A super block of version 1 at a place, of the second of two.
    fn version_1_at(place: usize, size: usize, level: u8) -> Vec<u8> {
        image(
            size,
            &[
                (place, b"\xfc\x4e\x2b\xa9\x01"),
                (
                    place + 16,
                    b"\x01\x23\x45\x67\x89\xab\xcd\xef\x01\x23\x45\x67\x89\xab\xcd\xef",
                ),
                (place + 32, b"golden:0"),
                (place + 72, &[level]),
                (place + 76, &[2, 1]),
                (place + 88, &[0, 4]),
                (place + 92, &[2]),
                (place + 128, &[0, 8]),
                (place + 144, &(place as u64 / 512).to_le_bytes()),
                (place + 160, &[1]),
                (place + 256, &[0, 0, 1, 0]),
            ],
        )
    }

    #[test]
    fn each_version_is_found_at_its_place() {
        let size = 200_000;
        for (place, metadata) in [
            (4096, "1.2"),
            (0, "1.1"),
            (200_000 / 4096 * 4096 - 8192, "1.0"),
        ] {
            let member = read(&mut Cursor::new(version_1_at(place, size, 10)))
                .unwrap()
                .unwrap();
            let expected = Member {
                level: 10,
                members: 2,
                metadata,
                name: Some("golden:0".into()),
                minor: None,
                id: "01234567:89abcdef:01234567:89abcdef".into(),
                chunk: 512 << 10,
                layout: Some("n2".into()),
                slot: Some(1),
                data: 1 << 20,
            };
            assert_eq!(member, expected);
            // Elsewhere it is an old one that shows through.
            let mut moved = version_1_at(place, size, 1);
            moved[place + 144] ^= 8;
            assert_eq!(read(&mut Cursor::new(moved)).unwrap(), None);
        }
        let mut spare = version_1_at(4096, size, 1);
        spare[4096 + 258..4096 + 260].fill(0xFF);
        let member = read(&mut Cursor::new(spare)).unwrap().unwrap();
        assert_eq!((member.slot, member.layout), (None, None));
    }

    #[test]
    fn the_oldest_version_is_read() {
        let at = 131_072;
        let word = |number: usize| at + number * 4;
        let image = image(
            200_000,
            &[
                (at, b"\xfc\x4e\x2b\xa9\0\0\0\0\x5a"),
                (word(5), b"\x67\x45\x23\x01"),
                (word(7), &[1]),
                (word(10), &[2]),
                (word(11), &[3]),
                (
                    word(13),
                    b"\xef\xcd\xab\x89\x67\x45\x23\x01\xef\xcd\xab\x89",
                ),
                (word(992 + 3), &[1]),
                (word(992 + 4), &[6]),
            ],
        );
        let member = read(&mut Cursor::new(image)).unwrap().unwrap();
        assert_eq!(member.id, "01234567:89abcdef:01234567:89abcdef");
        assert_eq!(
            (member.metadata, member.minor, member.slot, member.members),
            ("0.90", Some(3), Some(1), 2)
        );
    }

    /// What mdadm 4.2 wrote on a Linux of 6.1, of the second of two.
    #[test]
    fn real_ones_are_read() {
        let newest: &[u8] = include_bytes!("../../../fuzz/seeds/desc/md12");
        let member = read(&mut Cursor::new(newest)).unwrap().unwrap();
        assert_eq!(member.id, "c82218e5:88c17789:815fbd5f:c666c53a");
        assert_eq!(member.name.as_deref(), Some("golden:0"));
        let what = (member.level, member.members, member.metadata, member.slot);
        assert_eq!(what, (1, 2, "1.2", Some(1)));
        // The oldest lies in the last 64 KiB, which is here all.
        let mut oldest = include_bytes!("../../../fuzz/seeds/desc/md090").to_vec();
        oldest.resize(65_536, 0);
        let member = read(&mut Cursor::new(oldest)).unwrap().unwrap();
        assert_eq!(member.id, "22e86a21:ca99c4bc:3d186b3c:53958f34");
        let what = (member.level, member.members, member.minor, member.slot);
        assert_eq!(what, (1, 2, Some(2), Some(1)));
    }

    #[test]
    fn layouts_have_the_names_of_mdadm() {
        let names = [
            (10, 0x102, Some("n2")),
            (10, 0x201, Some("f2")),
            (10, 0x1_0201, Some("o2")),
            (1, 0, None),
        ];
        for (level, number, name) in names {
            assert_eq!(layout(level, number).as_deref(), name);
        }
        for size in [0, 1, 4096, 9000, 70_000] {
            assert_eq!(read(&mut Cursor::new(vec![0; size])).unwrap(), None);
        }
    }
}
