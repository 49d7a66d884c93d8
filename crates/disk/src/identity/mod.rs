//! What a device or an image holds, with all that it takes to make the same again: label,
//! identifier, block size, features. Read from the super blocks; no program is run, and
//! nothing is mounted.
//!
//! Places of the fields: libblkid, `libblkid/src/superblocks/*.c` (util-linux), and what
//! each file names.

mod ext;
mod fat;
mod linux;
mod ntfs;
#[cfg(test)]
mod tests;

use std::io::{self, Read, Seek, SeekFrom};

use crate::desc::{FileSystem, Format};
use crate::guid::Guid;
use crate::member;
use crate::probe;

/// What is in a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// A file system or swap that we can make.
    FileSystem(FileSystem),
    /// One device of several of the same btrfs.
    OneOfSeveral(FileSystem),
    /// A part of something: `LVM`, `a RAID`, `an encrypted disk`.
    Member(&'static str),
    /// A file system that we cannot make, as Linux calls it.
    Other(String),
}

/// Looks at what is there. `None`: nothing known.
///
/// # Errors
/// What reading says.
pub fn identify(device: &mut (impl Read + Seek)) -> io::Result<Option<Identity>> {
    // What a device is a part of comes first: the file system of a mirror shows through.
    match member::member(device)? {
        Some("the swap space") => return linux::swap(device).map(found),
        Some(what) => return Ok(Some(Identity::Member(what))),
        None => {}
    }
    let Some(kind) = probe::probe(device)? else {
        return Ok(None);
    };
    Ok(match kind {
        probe::FileSystem::Ext => found(ext::read(device)?),
        probe::FileSystem::Xfs => found(linux::xfs(device)?),
        probe::FileSystem::Btrfs => linux::btrfs(device)?,
        probe::FileSystem::Reiserfs => found(linux::reiserfs(device)?),
        probe::FileSystem::Jfs => found(linux::jfs(device)?),
        probe::FileSystem::Vfat => found(fat::read(device)?),
        probe::FileSystem::Ntfs => found(ntfs::read(device)?),
        other => Some(Identity::Other(other.to_string())),
    })
}

fn found(file_system: Option<FileSystem>) -> Option<Identity> {
    file_system.map(Identity::FileSystem)
}

/// `N` bytes from a place; `None` when the device ends before.
fn bytes<const N: usize>(device: &mut (impl Read + Seek), at: u64) -> io::Result<Option<[u8; N]>> {
    let mut bytes = [0; N];
    device.seek(SeekFrom::Start(at))?;
    match device.read_exact(&mut bytes) {
        Ok(()) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

fn le16(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn le32(bytes: &[u8], at: usize) -> u32 {
    u32::from(le16(bytes, at)) | u32::from(le16(bytes, at + 2)) << 16
}

fn le64(bytes: &[u8], at: usize) -> u64 {
    u64::from(le32(bytes, at)) | u64::from(le32(bytes, at + 4)) << 32
}

fn uuid(bytes: &[u8], at: usize) -> Option<String> {
    let bytes: [u8; 16] = bytes[at..at + 16].try_into().ok()?;
    let guid = Guid(bytes);
    (!guid.is_nil()).then(|| guid.to_string())
}

/// Text up to a NUL. A label that is no UTF-8 cannot be written into a desc, so it is as
/// if there were none.
fn text(bytes: &[u8]) -> Option<String> {
    let end = bytes
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(bytes.len());
    let text = std::str::from_utf8(&bytes[..end]).ok()?;
    (!text.is_empty()).then(|| text.to_owned())
}

/// The names of the bits that are set.
fn names(bits: u64, table: &[(u64, &str)]) -> Vec<String> {
    let set = table.iter().filter(|(bit, _)| bits & bit != 0);
    set.map(|(_, name)| (*name).to_owned()).collect()
}

/// A power of two that a desc may hold.
fn power(number: u64) -> Option<u32> {
    let number = u32::try_from(number).ok()?;
    (number.is_power_of_two() && number >= 128).then_some(number)
}

/// What all of them have.
fn of(format: Format, label: Option<String>, uuid: Option<String>) -> FileSystem {
    FileSystem {
        label,
        uuid,
        ..FileSystem::plain(format)
    }
}
