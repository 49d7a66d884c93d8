//! What a deployment knows of a golden node: one that runs here, or one that was kept.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use anyhow::{Context, ensure};
use goldring_contract::Root;
use goldring_disk::desc::Desc;
use goldring_disk::lsblk::disks_below;
use goldring_disk::table::Geometry;
use goldring_disk::target::decimal;
use goldring_files::deployment::RawOrder;
use goldring_files::manifest::Manifest;

use super::BOOT_CODE;
use super::options::device;
use crate::fault::Usage;
use crate::files::{self, Selection};
use crate::partition::Disk;
use crate::partition::survey::survey;
use crate::tools::run::Runner;

/// A golden node.
#[derive(Debug)]
pub(crate) struct Golden {
    /// Its files.
    pub(crate) manifest: Manifest,
    /// Its disks.
    pub(crate) disks: Vec<GoldenDisk>,
    /// Partitions that are sent as they are.
    pub(crate) raw: Vec<RawOrder>,
}

/// One of its disks.
#[derive(Debug)]
pub(crate) struct GoldenDisk {
    /// Its name there.
    pub(crate) device: String,
    /// How large it is.
    pub(crate) geometry: Option<Geometry>,
    /// What is on it; `None` for one that is known by a desc of the person only.
    pub(crate) desc: Option<Desc>,
    /// What the desc cannot say.
    pub(crate) notes: Vec<String>,
    /// The boot code in its first sector.
    pub(crate) boot: Option<Vec<u8>>,
}

/// What a person wants of the golden node that runs here.
#[derive(Debug)]
pub(crate) struct Wanted<'a> {
    /// What stays behind.
    pub(crate) selection: &'a Selection,
    /// Partitions that are sent as they are.
    pub(crate) raw: &'a [String],
    /// Disks for which there is a desc, whatever is on them.
    pub(crate) described: &'a [String],
}

/// Looks at this computer.
///
/// # Errors
/// It cannot be cloned by its files; a wish that does not fit it.
pub(crate) fn look(
    root: &Root,
    runner: &mut dyn Runner,
    wanted: &Wanted<'_>,
) -> anyhow::Result<Golden> {
    let manifest = files::manifest(root, runner, wanted.selection)?;
    let raw = wanted.raw.iter().map(|name| raw_order(root, &device(name)));
    let raw = raw.collect::<anyhow::Result<Vec<RawOrder>>>()?;
    let mut disks = Vec::new();
    for name in names(root, &manifest, &raw, wanted.described) {
        // Through the disk the kernel may show what was there before a partition was written.
        runner.run("blockdev", &["--flushbufs", &name])?;
        let looked = disk(root, &name);
        disks.push(match wanted.described.contains(&name) {
            true => looked.unwrap_or_else(|_| GoldenDisk::unknown(name)),
            false => looked.with_context(|| format!("the layout of {name}"))?,
        });
    }
    Ok(Golden {
        manifest,
        disks,
        raw,
    })
}

impl GoldenDisk {
    /// For people: what it is, and its desc.
    pub(crate) fn text(&self) -> String {
        let size = |geometry: Geometry| {
            let bytes = geometry.sectors * u64::from(geometry.sector_size);
            format!(" ({})", decimal(bytes))
        };
        let desc = self.desc.as_ref().map(ToString::to_string);
        format!(
            "{}{}:\n{}",
            self.device,
            self.geometry.map(size).unwrap_or_default(),
            desc.unwrap_or_default()
        )
    }

    /// One of which nothing is known.
    pub(super) fn unknown(device: String) -> Self {
        Self {
            device,
            geometry: None,
            desc: None,
            notes: Vec::new(),
            boot: None,
        }
    }
}

fn disk(root: &Root, name: &str) -> anyhow::Result<GoldenDisk> {
    let disk = Disk::open(root, Path::new(name), 512)?;
    let described = survey(root, &disk)?;
    let mut boot = vec![0; BOOT_CODE];
    disk.reader(root)?
        .read_exact(&mut boot)
        .with_context(|| format!("reading the first sector of {name}"))?;
    Ok(GoldenDisk {
        device: name.to_owned(),
        geometry: Some(disk.geometry),
        desc: Some(described.desc),
        notes: described.notes,
        boot: Some(boot),
    })
}

fn raw_order(root: &Root, name: &str) -> anyhow::Result<RawOrder> {
    let context = || format!("-D {name}");
    let path = root.join(name);
    let meta = fs::metadata(&path).with_context(context)?;
    ensure!(
        meta.file_type().is_block_device(),
        Usage(format!(
            "-D {name} is no partition; name one such as /dev/sda3"
        ))
    );
    let size = File::open(&path).and_then(goldring_sys::block::size);
    Ok(RawOrder {
        device: name.to_owned(),
        size: size.with_context(context)?,
    })
}

/// The disks of the installed system, and those that were named.
fn names(root: &Root, manifest: &Manifest, raw: &[RawOrder], described: &[String]) -> Vec<String> {
    let of_files = manifest.file_systems.iter().flat_map(|one| &one.disks);
    let of_swap = manifest.swaps.iter().flat_map(|one| &one.disks);
    let of_raw = raw.iter().flat_map(|raw| disks_below(root, &raw.device));
    let mut names: Vec<String> = Vec::new();
    let all = of_files.chain(of_swap).cloned();
    for name in all.chain(of_raw).chain(described.iter().cloned()) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}
