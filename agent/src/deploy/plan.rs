//! What a deployment shall be: the golden node's files and disks, and what its person wishes.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use goldring_contract::Root;
use goldring_disk::desc::Desc;
use goldring_disk::lsblk::disks_below;
use goldring_disk::target::decimal;
use goldring_files::deployment::{Deployment, DiskOrder, RawOrder};
use goldring_files::manifest::Manifest;
use goldring_files::text::shown;

use super::adopt::adopt;
use super::{Args, BOOT_CODE};
use crate::bootable;
use crate::fault::{self, Usage};
use crate::files;
use crate::partition::survey::survey;
use crate::partition::{self, Disk};
use crate::tools::run::Runner;

/// A disk that is made again on each node.
#[derive(Debug)]
pub(super) struct Drive {
    /// The golden node's name for it.
    pub(super) device: String,
    /// What it is to be.
    pub(super) desc: Desc,
    /// Boot code for its first sector.
    pub(super) boot: Option<Vec<u8>>,
}

/// All of it.
#[derive(Debug)]
pub(super) struct Plan {
    /// The files.
    pub(super) manifest: Manifest,
    /// The disks.
    pub(super) drives: Vec<Drive>,
    /// The rest.
    pub(super) deployment: Deployment,
}

/// Looks at this computer.
///
/// # Errors
/// It cannot be cloned by its files; a wish that does not fit it.
pub(super) fn plan(root: &Root, runner: &mut dyn Runner, args: &Args) -> anyhow::Result<Plan> {
    let manifest = files::manifest(root, runner, &args.selection)?;
    let raw: Vec<String> = args.raw.iter().map(|name| device(name)).collect();
    let orders = raw.iter().map(|name| raw_order(root, name));
    let orders = orders.collect::<anyhow::Result<Vec<RawOrder>>>()?;
    if let Some(text) = &args.loader {
        bootable::Wish::default().with_loader(text).map_err(Usage)?;
    }
    let mut drives = Vec::new();
    for name in names(root, &manifest, &raw, args) {
        // Through the disk the kernel may show what was there before a partition was written.
        runner.run("blockdev", &["--flushbufs", &name])?;
        let desc =
            desc(root, &manifest, &name, args).with_context(|| format!("the layout of {name}"))?;
        let desc = without_raw(desc, &name, &raw)?;
        drives.push(Drive {
            boot: boot_code(root, &name, args)?,
            device: name,
            desc,
        });
    }
    all_are_made(&manifest, &drives)?;
    let order = |(number, drive): (usize, &Drive)| DiskOrder {
        device: drive.device.clone(),
        desc: format!("desc.{number}"),
        boot: drive
            .boot
            .as_ref()
            .map(|_| format!("MBR.{number}"))
            .unwrap_or_default(),
    };
    let deployment = Deployment {
        disks: drives.iter().enumerate().map(order).collect(),
        raw: orders,
        loader: args.loader.clone().unwrap_or_default(),
        keep_identity: args.keep_identity,
        barrier: args.delay.is_some(),
    };
    Ok(Plan {
        manifest,
        drives,
        deployment,
    })
}

/// What is cloned must be made again on each node, by the desc of some disk. It would not be
/// if it lay in something that is not made, such as an encrypted partition.
///
/// # Errors
/// Which is made nowhere.
fn all_are_made(manifest: &Manifest, drives: &[Drive]) -> anyhow::Result<()> {
    let is_made = |uuid: &str| drives.iter().any(|drive| drive.desc.makes(uuid));
    // Where there is no identifier the nodes find it by the number of its partition.
    let known = |uuid: &str| !uuid.is_empty();
    for one in manifest.file_systems.iter().filter(|one| known(&one.uuid)) {
        if !is_made(&one.uuid) {
            let mut mounts = manifest.mounts.iter();
            let place = mounts.find(|mount| mount.device == one.device);
            bail!(
                "{} ({}) would not be made on a node, see above; leave it out with -X, give -p a desc \
                 that makes it, or clone the disk with dolly",
                place.map_or("", |mount| mount.place.as_str()),
                one.device
            );
        }
    }
    Ok(())
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

/// `sda` is `/dev/sda`.
fn device(name: &str) -> String {
    match name.starts_with('/') {
        true => name.to_owned(),
        false => format!("/dev/{name}"),
    }
}

/// The disks of the installed system, and those that were named.
fn names(root: &Root, manifest: &Manifest, raw: &[String], args: &Args) -> Vec<String> {
    let of_files = manifest.file_systems.iter().flat_map(|one| &one.disks);
    let of_swap = manifest.swaps.iter().flat_map(|one| &one.disks);
    let of_raw = raw.iter().flat_map(|name| disks_below(root, name));
    let wished = args.descs().map(|(drive, _)| device(drive));
    let mut names: Vec<String> = Vec::new();
    let all = of_files.chain(of_swap).cloned();
    for name in all.chain(of_raw).chain(wished) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn desc(root: &Root, manifest: &Manifest, name: &str, args: &Args) -> anyhow::Result<Desc> {
    let looked = Disk::open(root, Path::new(name), 512)
        .and_then(|disk| Ok((disk.table(root)?, survey(root, &disk)?)));
    let Some((_, file)) = args.descs().find(|(drive, _)| device(drive) == name) else {
        let (_, described) = looked?;
        for note in &described.notes {
            eprintln!("{name}: {note}");
        }
        return Ok(described.desc);
    };
    let mut desc = partition::read(Path::new(file))?;
    // What it does not say is as here, if here is anything.
    if let Ok((Some(table), described)) = looked {
        adopt(&mut desc, name, &table, &described.desc, manifest)
            .with_context(|| format!("-p {name} {file}"))?;
    }
    Ok(desc)
}

/// In a partition that is sent as it is no file system is made.
fn without_raw(mut desc: Desc, name: &str, raw: &[String]) -> anyhow::Result<Desc> {
    for number in raw
        .iter()
        .filter_map(|raw| super::adopt::number_on(name, raw))
    {
        let at = super::adopt::line_of(&desc, number)?;
        let Some(at) = at else {
            bail!("the desc of {name} has no partition {number}, which -D wants to send");
        };
        desc.partitions[at].content = goldring_disk::desc::Content::Nothing;
    }
    Ok(desc)
}

/// The boot code for a disk: its own (`-m`) or that of a file (`-M`).
fn boot_code(root: &Root, name: &str, args: &Args) -> anyhow::Result<Option<Vec<u8>>> {
    let from_file = args.boot_files().find(|(drive, _)| device(drive) == name);
    let path: PathBuf = match from_file {
        Some((_, file)) => file.into(),
        None if args.boot.iter().any(|drive| device(drive) == name) => root.join(name),
        None => return Ok(None),
    };
    let mut code = vec![0; BOOT_CODE];
    File::open(&path)
        .and_then(|mut file| file.read_exact(&mut code))
        .with_context(|| format!("reading boot code from {}", path.display()))?;
    Ok(Some(code))
}

impl Plan {
    /// For people: everything that will be done.
    pub(super) fn text(&self, root: &Root) -> String {
        let mut text = String::new();
        for drive in &self.drives {
            text.push_str(&drive.text(root));
        }
        let manifest = &self.manifest;
        text.push_str(&format!("files: {} of\n", decimal(manifest.used())));
        for mount in &manifest.mounts {
            let kind = manifest.of(mount).map_or("", |one| one.kind.as_str());
            text.push_str(&format!("  {} ({kind}, {})\n", mount.place, mount.device));
        }
        for left in &manifest.left {
            text.push_str(&format!("not sent: {}: {}\n", left.place, left.why));
        }
        for path in &manifest.excluded {
            text.push_str(&format!("not sent: {}: -x\n", shown(path)));
        }
        for raw in &self.deployment.raw {
            let size = decimal(raw.size);
            text.push_str(&format!("sent as it is: {} ({size})\n", raw.device));
        }
        let steps = bootable::step_names().join(", ");
        text.push_str(&format!("put right on each node: {steps}"));
        if self.deployment.keep_identity {
            text.push_str(" (its identity is kept)");
        }
        if !self.deployment.loader.is_empty() {
            text.push_str(&format!(" (with {})", self.deployment.loader));
        }
        text.push('\n');
        text
    }
}

impl Drive {
    fn text(&self, root: &Root) -> String {
        let boot = match self.boot {
            Some(_) => ", and boot code in its first sector",
            None => "",
        };
        let laid = Disk::open(root, Path::new(&self.device), 512)
            .and_then(|disk| partition::Plan::new(disk, self.desc.clone()));
        match laid {
            Ok(plan) => format!(
                "{}{boot}, on a disk as large as here: {}",
                self.device,
                plan.to_be()
            ),
            // It may fit on the nodes.
            Err(error) => {
                let why = fault::chain(&error);
                format!(
                    "{}{boot}; not on a disk as here: {why}\n{}",
                    self.device, self.desc
                )
            }
        }
    }
}
