//! An ISO 9660 image with Rock Ridge, as the old tools packed a tree: read in this process.

use std::ffi::OsStr;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use hadris_iso::read::{DirEntry, IsoImage};
use hadris_iso::read::{Extent, RripDateTime, RripMetadata};

use super::tree::{Entry, Kind, Tree, child};

/// Everything begins at a multiple of this (ECMA-119).
const SECTOR: u64 = 2048;
/// Folders inside folders; a link that goes round is none.
const DEPTH_MAX: usize = 64;
/// The kind of a file in the mode of Rock Ridge, as in `st_mode`.
const KIND: u32 = 0o170_000;

/// One that is open.
pub(super) struct Iso<R> {
    bytes: R,
    entries: Vec<Entry>,
    extents: Vec<Vec<Extent>>,
}

impl<R: Read + Seek> Iso<R> {
    /// Reads all its folders from `folders`; files are read from `bytes`, the same image.
    ///
    /// # Errors
    /// It is broken or cut off, or has no Rock Ridge.
    pub(super) fn open(folders: impl Read + Seek, bytes: R) -> anyhow::Result<Self> {
        let image = IsoImage::open(folders).context("its beginning is damaged")?;
        ensure!(
            image.supports_rrip(),
            "it has no Rock Ridge, which keeps names, rights and links: it was not made from a \
             tree of Linux (mkisofs -R)"
        );
        let top = image
            .root_dirs()
            .iter()
            .next()
            .context("it has no folder")?;
        let mut iso = Self {
            bytes,
            entries: vec![Entry::new(PathBuf::new(), 0o755, Kind::Folder)],
            extents: vec![Vec::new()],
        };
        let mut folders = vec![(PathBuf::new(), top.dir_ref())];
        while let Some((folder, place)) = folders.pop() {
            ensure!(
                folder.components().count() < DEPTH_MAX,
                "{} is too deep, its folders go round",
                folder.display()
            );
            let context = || format!("reading its folder /{}", folder.display());
            for entry in image.open_dir(place).read_entries().with_context(context)? {
                if entry.is_special() {
                    continue;
                }
                let rrip = entry.rrip.as_ref();
                // A folder that lies elsewhere stands in its true place, too.
                if rrip.is_some_and(|rrip| rrip.is_relocated) {
                    continue;
                }
                let (found, extents) = iso.entry(&folder, &entry)?;
                if found.kind == Kind::Folder {
                    let place = entry.as_dir_ref(&image).with_context(context)?;
                    folders.push((found.path.clone(), place));
                }
                iso.entries.push(found);
                iso.extents.push(extents);
            }
        }
        Ok(iso)
    }

    fn entry(&self, folder: &Path, entry: &DirEntry) -> anyhow::Result<(Entry, Vec<Extent>)> {
        let name = entry.display_name();
        ensure!(
            !name.contains('\u{fffd}'),
            "a name in /{} is not UTF-8: {name}",
            folder.display()
        );
        let path = child(folder, OsStr::new(&*name))?;
        let rrip = entry.rrip.clone().unwrap_or_default();
        let Some(posix) = rrip.posix_attributes else {
            bail!("/{} has no rights", path.display());
        };
        let mode = posix.file_mode.read();
        let kind = kind(mode, entry, &rrip).with_context(|| format!("/{}", path.display()))?;
        let extents = match kind {
            Kind::File(_) => entry.extents().collect(),
            _ => Vec::new(),
        };
        let mut found = Entry::new(path, mode, kind);
        found.uid = posix.file_uid.read();
        found.gid = posix.file_gid.read();
        let changed = rrip.timestamps.and_then(|times| times.modify);
        found.changed = changed.map_or(0, seconds);
        Ok((found, extents))
    }
}

fn kind(mode: u32, entry: &DirEntry, rrip: &RripMetadata) -> anyhow::Result<Kind> {
    let device = || -> anyhow::Result<(u32, u32)> {
        let device = rrip.device_number.context("a device without numbers")?;
        let (high, low) = (device.dev_high.read(), device.dev_low.read());
        // mkisofs writes the whole number into the lower half, in the kernel's old form.
        Ok(match high {
            0 => ((low >> 8) & 0xfff, (low & 0xff) | ((low >> 12) & 0xf_ff00)),
            _ => (high, low),
        })
    };
    Ok(match mode & KIND {
        0o040_000 => Kind::Folder,
        0o100_000 => Kind::File(entry.total_size()),
        0o120_000 => {
            let target = rrip.symlink_target.as_ref().context("a link to nothing")?;
            Kind::Link(target.into())
        }
        0o020_000 => device().map(|(major, minor)| Kind::Char(major, minor))?,
        0o060_000 => device().map(|(major, minor)| Kind::Block(major, minor))?,
        0o010_000 => Kind::Pipe,
        0o140_000 => Kind::Socket,
        other => bail!("its kind {other:o} is none"),
    })
}

/// Seconds since 1970 (Howard Hinnant, "chrono-compatible low-level date algorithms").
fn seconds(time: RripDateTime) -> i64 {
    let (month, day) = (i64::from(time.month), i64::from(time.day));
    let year = i64::from(time.year) - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    let zone = i64::from(time.gmt_offset) * 15 * 60;
    let clock = i64::from(time.hour) * 3600 + i64::from(time.minute) * 60;
    days * 86_400 + clock + i64::from(time.second) - zone
}

impl<R: Read + Seek> Tree for Iso<R> {
    fn entries(&self) -> &[Entry] {
        &self.entries
    }

    fn copy(&mut self, number: usize, out: &mut dyn Write) -> io::Result<()> {
        for extent in &self.extents[number] {
            let place = extent.sector.0 as u64 * SECTOR;
            self.bytes.seek(SeekFrom::Start(place))?;
            let wanted = u64::from(extent.length);
            let copied = io::copy(&mut (&mut self.bytes).take(wanted), out)?;
            if copied < wanted {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "the image is cut off",
                ));
            }
        }
        Ok(())
    }

    fn place(&self, number: usize) -> Option<u64> {
        match self.extents[number].as_slice() {
            [only] => Some(only.sector.0 as u64 * SECTOR),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_date() {
        let time = |year, month, day, hour, zone| {
            seconds(RripDateTime {
                year,
                month,
                day,
                hour,
                minute: 30,
                second: 5,
                gmt_offset: zone,
            })
        };
        // date -u -d '…' +%s
        assert_eq!(time(1970, 1, 1, 0, 0), 1805);
        assert_eq!(time(2000, 2, 29, 12, 0), 951_827_405);
        assert_eq!(time(2006, 10, 1, 14, 8), 1_159_705_805);
        assert_eq!(time(2026, 12, 31, 23, 0), 1_798_759_805);
    }
}
