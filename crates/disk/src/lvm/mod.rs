//! LVM as it lies on a physical volume: its own identifier, and the text in which the
//! group describes itself, which every one of its parts has.
//!
//! Layout: lvm2, `lib/format_text/layout.h`; the text is what vgcfgbackup(8) writes.

mod text;

use std::io::{self, Read, Seek, SeekFrom};

use text::Section;

/// A part of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Physical {
    /// Its identifier, as pvs prints it.
    pub uuid: String,
    /// The group, as it describes itself; none for a part that is in no group.
    pub group: Option<Group>,
}

/// A volume group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Bytes of an extent.
    pub extent: u64,
    /// How many extents its parts have.
    pub extents: u64,
    /// Its logical volumes.
    pub volumes: Vec<Volume>,
}

/// A logical volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Its name.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
    /// `linear`, `striped`, or what it is that we do not make: `raid1`, `thin`…
    pub kind: String,
    /// Over how many parts it is spread.
    pub stripes: u32,
    /// Bytes of a stripe, if it is spread.
    pub stripe: u32,
    /// Where its beginning lies: the identifier of the part, and bytes from its beginning;
    /// only for linear ones.
    pub begin: Option<(String, u64)>,
    /// How many bytes lie there in one piece.
    pub piece: u64,
}

const SECTOR: u64 = 512;
const LABEL: &[u8; 8] = b"LABELONE";
const KIND: &[u8; 8] = b"LVM2 001";
const MAGIC: &[u8; 16] = b" LVM2 x[5A%r0N*>";
/// The label is in one of so many sectors.
const LABEL_SECTORS: usize = 4;
/// The longest text that is read; that of a hundred volumes has 60 KB.
const LONGEST: u64 = 4 << 20;

/// Reads the label and the group. `None`: it is no physical volume.
///
/// # Errors
/// What reading says.
pub fn read(device: &mut (impl Read + Seek)) -> io::Result<Option<Physical>> {
    let mut begin = [0; LABEL_SECTORS * SECTOR as usize];
    if !read_at(device, 0, &mut begin)? {
        return Ok(None);
    }
    let sectors = begin.chunks_exact(SECTOR as usize);
    let is_label = |sector: &&[u8]| sector.starts_with(LABEL) && sector[24..32] == *KIND;
    let Some(label) = { sectors }.find(is_label) else {
        return Ok(None);
    };
    let header = number(label, 20) as u32 as usize;
    let Some(header) = label.get(header..) else {
        return Ok(None);
    };
    let Some(uuid) = header.get(..32).and_then(dashed) else {
        return Ok(None);
    };
    let group = match metadata_area(header) {
        Some(area) => group(device, area)?,
        None => None,
    };
    Ok(Some(Physical { uuid, group }))
}

/// Behind the areas of data, a list that ends with zeros, comes that of metadata.
fn metadata_area(header: &[u8]) -> Option<u64> {
    let mut entries = header
        .get(40..)?
        .chunks_exact(16)
        .map(|entry| number(entry, 0));
    entries.by_ref().find(|offset| *offset == 0)?;
    entries.next().filter(|offset| *offset != 0)
}

fn group(device: &mut (impl Read + Seek), area: u64) -> io::Result<Option<Group>> {
    let mut header = [0; SECTOR as usize];
    if !read_at(device, area, &mut header)? || header[4..20] != *MAGIC {
        return Ok(None);
    }
    let size = number(&header, 32);
    let [offset, length] = [number(&header, 40), number(&header, 48)];
    if length > LONGEST || offset < SECTOR || offset >= size || length >= size {
        return Ok(None);
    }
    // The text goes round: what has no room at the end is behind the header.
    let first = length.min(size - offset);
    let mut text = vec![0; length as usize];
    let (front, back) = text.split_at_mut(first as usize);
    if !read_at(device, area + offset, front)? || !read_at(device, area + SECTOR, back)? {
        return Ok(None);
    }
    let text = String::from_utf8_lossy(&text);
    Ok(text::parse(&text).and_then(|all| describe(&all)))
}

fn describe(all: &Section) -> Option<Group> {
    let (name, group) = all.sections.first()?;
    let extent = group.number("extent_size")?.checked_mul(SECTOR)?;
    let mut volumes = Vec::new();
    if let Some(section) = group.section("logical_volumes") {
        for (name, volume) in &section.sections {
            // Parts of others, such as the mirrors of a raid1, are not to be seen.
            if volume.list("status").iter().any(|word| word == "VISIBLE") {
                volumes.push(describe_volume(name, volume, extent, group)?);
            }
        }
    }
    let parts = group
        .section("physical_volumes")
        .map_or(&[][..], |parts| &parts.sections);
    let counts = parts.iter().filter_map(|(_, part)| part.number("pe_count"));
    Some(Group {
        name: name.clone(),
        extent,
        extents: counts.fold(0, u64::saturating_add),
        volumes,
    })
}

fn describe_volume(name: &str, volume: &Section, extent: u64, group: &Section) -> Option<Volume> {
    let segments = || volume.sections.iter().map(|(_, segment)| segment);
    let count = |segment: &Section| segment.number("extent_count");
    let extents = segments().try_fold(0u64, |sum, segment| sum.checked_add(count(segment)?))?;
    let first = segments().next()?;
    let stripes = u32::try_from(first.number("stripe_count").unwrap_or(1)).ok()?;
    let kind = first.text("type").unwrap_or_default();
    let same = |segment: &Section| {
        segment.text("type") == Some(kind)
            && segment.number("stripe_count").unwrap_or(1) == u64::from(stripes)
    };
    let kind = match (kind, stripes) {
        ("striped", _) if !segments().all(same) => "linear and striped",
        ("striped", 1) => "linear",
        (kind, _) => kind,
    };
    let begin = (kind == "linear")
        .then(|| begin(first, extent, group))
        .flatten();
    Some(Volume {
        name: name.to_owned(),
        size: extents.checked_mul(extent)?,
        kind: kind.to_owned(),
        stripes,
        stripe: u32::try_from(
            first
                .number("stripe_size")
                .unwrap_or(0)
                .checked_mul(SECTOR)?,
        )
        .ok()?,
        begin,
        piece: count(first)?.checked_mul(extent)?,
    })
}

fn begin(segment: &Section, extent: u64, group: &Section) -> Option<(String, u64)> {
    let stripes = segment.list("stripes");
    let part = group
        .section("physical_volumes")?
        .section(stripes.first()?)?;
    let at = stripes.get(1)?.parse::<u64>().ok()?.checked_mul(extent)?;
    let start = part.number("pe_start")?.checked_mul(SECTOR)?;
    Some((part.text("id")?.to_owned(), start.checked_add(at)?))
}

/// `n83moUAyFQ…` as `n83moU-AyFQ-uB2K-HEHW-NSz6-Ztui-x3euNP`.
fn dashed(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?;
    if !text.chars().all(|c| c.is_ascii_alphanumeric()) {
        return None;
    }
    let mut rest = text;
    let mut pieces = Vec::new();
    for length in [6, 4, 4, 4, 4, 4, 6] {
        let (piece, tail) = rest.split_at_checked(length)?;
        pieces.push(piece);
        rest = tail;
    }
    Some(pieces.join("-"))
}

fn number(bytes: &[u8], at: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(number)
}

fn read_at(device: &mut (impl Read + Seek), at: u64, bytes: &mut [u8]) -> io::Result<bool> {
    if i64::try_from(at).is_err() {
        return Ok(false);
    }
    device.seek(SeekFrom::Start(at))?;
    match device.read_exact(bytes) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    /// What pvcreate, vgcreate and lvcreate 2.03.16 wrote; see fuzz/seeds/make.sh.
    const REAL: &[u8] = include_bytes!("../../../../fuzz/seeds/desc/lvm");

    #[test]
    fn a_real_group_is_read() {
        let physical = read(&mut Cursor::new(REAL)).unwrap().unwrap();
        assert_eq!(physical.uuid, "n83moU-AyFQ-uB2K-HEHW-NSz6-Ztui-x3euNP");
        let group = physical.group.unwrap();
        assert_eq!(
            (group.name.as_str(), group.extent, group.extents),
            ("vg0", 4 << 20, 48)
        );
        let volumes: Vec<String> = group
            .volumes
            .iter()
            .map(|volume| {
                let Volume {
                    name,
                    size,
                    kind,
                    stripes,
                    stripe,
                    piece,
                    ..
                } = volume;
                format!(
                    "{name} {}M {kind} {stripes} {stripe} {}M",
                    size >> 20,
                    piece >> 20
                )
            })
            .collect();
        assert_eq!(
            volumes,
            [
                "root 40M linear 1 0 40M",
                "striped 40M striped 2 65536 40M",
                "rest 112M linear 1 0 76M"
            ]
        );
        assert_eq!(group.volumes[0].begin, Some((physical.uuid, 1 << 20)));
        let (other, at) = group.volumes[2].begin.clone().unwrap();
        assert_eq!(
            (other.as_str(), at),
            ("lUxzUg-yony-Avhp-QxpQ-Bpee-HgEY-YCQTpu", 21 << 20)
        );
    }

    #[test]
    fn broken_ones_are_read_as_far_as_it_goes() {
        assert_eq!(read(&mut Cursor::new([0; 4096])).unwrap(), None);
        assert_eq!(read(&mut Cursor::new(&REAL[..600])).unwrap(), None);
        let physical = |change: (usize, &[u8])| {
            let mut bytes = REAL.to_vec();
            bytes[change.0..change.0 + change.1.len()].copy_from_slice(change.1);
            read(&mut Cursor::new(bytes))
                .unwrap()
                .map(|physical| physical.group.is_some())
        };
        for (change, expected) in [
            ((512 + 20, &[0xFF, 0xFF][..]), None),
            ((512 + 32, b"\xFF"), None),
            ((512 + 32 + 72, &[0xFF; 8]), Some(false)),
            ((512 + 32 + 40, &[0; 48]), Some(false)),
            ((4096 + 4, b"x"), Some(false)),
            ((4096 + 40, &[0xFF; 8]), Some(false)),
            ((4096 + 48, &[0xFF; 8]), Some(false)),
            ((4096 + 0x1600, b"}}}}"), Some(false)),
        ] {
            assert_eq!(physical(change), expected, "{change:?}");
        }
    }

    #[test]
    fn a_text_that_goes_round_is_read() {
        let mut bytes = REAL[..8192].to_vec();
        let text = b"vg { extent_size = 8 }";
        bytes[4096 + 32..4096 + 40].copy_from_slice(&2048u64.to_le_bytes());
        bytes[4096 + 40..4096 + 48].copy_from_slice(&2040u64.to_le_bytes());
        bytes[4096 + 48..4096 + 56].copy_from_slice(&(text.len() as u64).to_le_bytes());
        bytes[4096 + 2040..4096 + 2048].copy_from_slice(&text[..8]);
        bytes[4096 + 512..4096 + 512 + text.len() - 8].copy_from_slice(&text[8..]);
        let group = read(&mut Cursor::new(bytes))
            .unwrap()
            .unwrap()
            .group
            .unwrap();
        assert_eq!((group.name.as_str(), group.extent), ("vg", 4096));
    }
}
