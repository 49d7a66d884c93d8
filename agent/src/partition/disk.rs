//! A disk, or a file that is the image of one: what it is, and what is on it.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use goldring_contract::Root;
use goldring_disk::identity::{self, Identity};
use goldring_disk::table::{Geometry, Part, PartitionTable};
use goldring_disk::target::{self, Kind, Target};
use goldring_disk::users::{self, DeviceNumber};
use goldring_disk::window::Window;

/// The disks that exist, as half a sentence.
fn here(root: &Root) -> String {
    let disks = users::disks(root);
    let disks = disks
        .iter()
        .map(|(name, size)| format!("/dev/{name} ({})", target::decimal(*size)));
    let disks: Vec<String> = disks.collect();
    if disks.is_empty() {
        return "there is no disk here; goldring drvinst STORAGE tells which drivers there are for it".into();
    }
    format!("the disks here are {}", disks.join(", "))
}

/// A disk that was looked at.
#[derive(Debug)]
pub(crate) struct Disk {
    /// As it was named.
    pub(crate) path: PathBuf,
    /// How large.
    pub(crate) geometry: Geometry,
    /// Not a plain file.
    pub(crate) is_device: bool,
    number: DeviceNumber,
}

impl Disk {
    /// Looks at a disk. `sector_size` is that of a file, which cannot tell.
    ///
    /// # Errors
    /// It is absent, a partition, or nothing that has partitions.
    pub(crate) fn open(root: &Root, path: &Path, sector_size: u32) -> anyhow::Result<Self> {
        let path = &std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let shown = path.display();
        let real = root.join(path);
        let meta = match fs::metadata(&real) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                bail!("{shown} does not exist on this computer; {}", here(root))
            }
            other => other.with_context(|| format!("looking at {shown}"))?,
        };
        let is_device = meta.file_type().is_block_device();
        if !is_device && !meta.is_file() {
            bail!("{shown} is neither a disk nor a file; name a disk such as /dev/sda");
        }
        let number = DeviceNumber::from_raw(meta.rdev());
        if is_device
            && root
                .join(format!("/sys/dev/block/{number}/partition"))
                .exists()
        {
            bail!("{shown} is a partition; name the disk on which it is");
        }
        let file = match File::open(&real) {
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                bail!("{shown} may be read by root only; run this as root")
            }
            other => other.with_context(|| format!("opening {shown}"))?,
        };
        let (bytes, sector_size) = if is_device {
            let asking = || format!("asking for the size of {shown}");
            let size = goldring_sys::block::size(&file).with_context(asking)?;
            (
                size,
                goldring_sys::block::sector_size(&file).with_context(asking)?,
            )
        } else {
            (meta.len(), sector_size)
        };
        Ok(Self {
            path: path.to_owned(),
            geometry: Geometry::new(bytes, sector_size),
            is_device,
            number,
        })
    }

    /// A disk that is not of this computer: only how large it is, to lay out a desc on it.
    pub(crate) fn elsewhere(name: &str, geometry: Geometry) -> Self {
        Self {
            path: name.into(),
            geometry,
            is_device: true,
            number: DeviceNumber::from_raw(0),
        }
    }

    /// Fails when somebody uses it.
    ///
    /// # Errors
    /// Who does, and what to do about it.
    pub(crate) fn refuse_users(&self, root: &Root) -> anyhow::Result<()> {
        if !self.is_device {
            return Ok(());
        }
        let path = self.path.display();
        let users = users::of_device(root, self.number)
            .with_context(|| format!("reading the mount table for {path}"))?;
        if users.is_empty() {
            return Ok(());
        }
        let users: Vec<String> = users.iter().map(ToString::to_string).collect();
        bail!(
            "{path} is in use: {}; free it, then start again",
            users.join(", ")
        )
    }

    /// Opens it for writing, exclusively if it is a device.
    ///
    /// # Errors
    /// It is in use, or cannot be written.
    pub(crate) fn claim(&self, root: &Root) -> anyhow::Result<File> {
        let target = Target::open(root, &self.path)?;
        if let Kind::Disk { .. } | Kind::Partition { .. } = target.kind {
            return Ok(target.file);
        }
        let shown = self.path.display();
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(root.join(&self.path));
        file.with_context(|| format!("opening {shown}"))
    }

    /// The partition table that it has.
    ///
    /// # Errors
    /// Reading fails, or the table is broken.
    pub(crate) fn table(&self, root: &Root) -> anyhow::Result<Option<PartitionTable>> {
        let mut file = self.reader(root)?;
        PartitionTable::read(&mut file, self.geometry)
            .with_context(|| self.path.display().to_string())
    }

    /// For reading.
    ///
    /// # Errors
    /// It cannot be opened.
    pub(crate) fn reader(&self, root: &Root) -> anyhow::Result<File> {
        let shown = self.path.display();
        File::open(root.join(&self.path)).with_context(|| format!("opening {shown}"))
    }

    /// The bytes of a partition, read through the disk.
    ///
    /// # Errors
    /// The disk cannot be opened.
    pub(crate) fn window(&self, root: &Root, part: &Part) -> anyhow::Result<Window<File>> {
        let size = u64::from(self.geometry.sector_size);
        Ok(Window::new(
            self.reader(root)?,
            part.start * size,
            part.sectors * size,
        ))
    }

    /// What is in a partition.
    ///
    /// # Errors
    /// Reading fails.
    pub(crate) fn content(&self, root: &Root, part: &Part) -> anyhow::Result<Option<Identity>> {
        let mut window = self.window(root, part)?;
        identity::identify(&mut window).with_context(|| {
            format!(
                "reading partition {} of {}",
                part.number,
                self.path.display()
            )
        })
    }
}
