//! What a deployment shall be: the golden node's files and disks, and what its person wishes.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use goldring_disk::desc::{Content, Desc};
use goldring_disk::table::Geometry;
use goldring_disk::target::decimal;
use goldring_files::deployment::{DEPLOYMENT_FILE, Deployment, DiskOrder, MANIFEST_FILE, RawOrder};
use goldring_files::manifest::Manifest;
use goldring_files::text::shown;

use super::BOOT_CODE;
use super::adopt::adopt;
use super::golden::{Golden, GoldenDisk};
use super::options::{Course, Shape};
use crate::bootable;
use crate::fault::{self, Usage};
use crate::partition::{self, Disk};

/// A disk that is made again on each node.
#[derive(Debug)]
pub(crate) struct Drive {
    /// The golden node's name for it.
    pub(crate) device: String,
    /// What it is to be.
    pub(crate) desc: Desc,
    /// Boot code for its first sector.
    pub(crate) boot: Option<Vec<u8>>,
    /// How large the golden node's is.
    geometry: Option<Geometry>,
}

/// All of it.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The files.
    pub(crate) manifest: Manifest,
    /// The disks.
    pub(crate) drives: Vec<Drive>,
    /// The rest.
    pub(crate) deployment: Deployment,
}

/// What becomes of a golden node by a person's wishes.
///
/// # Errors
/// A wish that does not fit it.
pub(crate) fn plan(golden: Golden, shape: &Shape, course: &Course) -> anyhow::Result<Plan> {
    if let Some(text) = &shape.loader {
        bootable::Wish::default().with_loader(text).map_err(Usage)?;
    }
    all_are_known(&golden, shape)?;
    let drives = golden.disks.iter().map(|disk| {
        let desc = desc(disk, &golden.manifest, shape)
            .with_context(|| format!("the layout of {}", disk.device))?;
        Ok(Drive {
            desc: without_raw(desc, &disk.device, &golden.raw)?,
            boot: boot_code(disk, shape)?,
            device: disk.device.clone(),
            geometry: disk.geometry,
        })
    });
    let drives = drives.collect::<anyhow::Result<Vec<Drive>>>()?;
    all_are_made(&golden.manifest, &drives)?;
    let deployment = Deployment {
        disks: orders(&drives),
        raw: golden.raw,
        loader: shape.loader.clone().unwrap_or_default(),
        keep_identity: shape.keep_identity,
        barrier: course.delay.is_some(),
    };
    Ok(Plan {
        manifest: golden.manifest,
        drives,
        deployment,
    })
}

/// A drive with a wrong letter must not cost a node another disk.
fn all_are_known(golden: &Golden, shape: &Shape) -> anyhow::Result<()> {
    let descs = shape.descs().map(|(drive, _)| ("-p", drive));
    let files = shape.boot_files().map(|(drive, _)| ("-M", drive));
    let boots = shape.boots().map(|drive| ("-m", drive));
    let disks: Vec<&str> = golden.disks.iter().map(|disk| &*disk.device).collect();
    for (option, drive) in descs.chain(files).chain(boots) {
        ensure!(
            disks.contains(&&*drive),
            Usage(format!(
                "{option} {drive}: that is no disk of what is cloned; those are {}",
                disks.join(", ")
            ))
        );
    }
    Ok(())
}

/// The disks as a node reads of them, with the names of files that travel.
fn orders(drives: &[Drive]) -> Vec<DiskOrder> {
    let order = |(number, drive): (usize, &Drive)| DiskOrder {
        device: drive.device.clone(),
        desc: format!("desc.{number}"),
        boot: drive
            .boot
            .as_ref()
            .map(|_| format!("boot.{number}"))
            .unwrap_or_default(),
    };
    drives.iter().enumerate().map(order).collect()
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

fn desc(disk: &GoldenDisk, manifest: &Manifest, shape: &Shape) -> anyhow::Result<Desc> {
    let name = &disk.device;
    let Some((_, file)) = shape.descs().find(|(drive, _)| drive == name) else {
        for note in &disk.notes {
            eprintln!("{name}: {note}");
        }
        return disk
            .desc
            .clone()
            .context("nothing is known of it; say it with -p");
    };
    let mut desc = partition::read(Path::new(file))?;
    // What it does not say is as on the golden node, if anything is there.
    if let Some(there) = &disk.desc {
        adopt(&mut desc, name, there, manifest).with_context(|| format!("-p {name} {file}"))?;
    }
    Ok(desc)
}

/// In a partition that is sent as it is no file system is made.
fn without_raw(mut desc: Desc, name: &str, raw: &[RawOrder]) -> anyhow::Result<Desc> {
    for number in raw
        .iter()
        .filter_map(|raw| super::adopt::number_on(name, &raw.device))
    {
        let at = super::adopt::line_of(&desc, number)?;
        let Some(at) = at else {
            bail!("the desc of {name} has no partition {number}, which -D wants to send");
        };
        desc.partitions[at].content = Content::Nothing;
    }
    Ok(desc)
}

/// The boot code for a disk: its own (`-m`) or that of a file (`-M`).
fn boot_code(disk: &GoldenDisk, shape: &Shape) -> anyhow::Result<Option<Vec<u8>>> {
    let name = &disk.device;
    if let Some((_, file)) = shape.boot_files().find(|(drive, _)| drive == name) {
        let mut code = vec![0; BOOT_CODE];
        File::open(file)
            .and_then(|mut file| file.read_exact(&mut code))
            .with_context(|| format!("reading boot code from {file}"))?;
        return Ok(Some(code));
    }
    if !shape.boots().any(|drive| drive == *name) {
        return Ok(None);
    }
    let code = disk.boot.clone();
    let code = code.with_context(|| format!("-m {name}: its first sector cannot be read"))?;
    Ok(Some(code))
}

impl Plan {
    /// What travels first: names and bytes.
    pub(crate) fn files(&self) -> Vec<(String, Vec<u8>)> {
        let mut files = vec![
            (
                DEPLOYMENT_FILE.to_owned(),
                self.deployment.to_string().into_bytes(),
            ),
            (
                MANIFEST_FILE.to_owned(),
                self.manifest.to_string().into_bytes(),
            ),
        ];
        for (drive, order) in self.drives.iter().zip(&self.deployment.disks) {
            files.push((order.desc.clone(), drive.desc.to_string().into_bytes()));
            files.extend(drive.boot.clone().map(|code| (order.boot.clone(), code)));
        }
        files
    }

    /// For people: everything that will be done.
    pub(crate) fn text(&self) -> String {
        let mut text: String = self.drives.iter().map(Drive::text).collect();
        text.push_str(&contents(&self.manifest, &self.deployment.raw));
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

/// For people: what of the golden node travels, and what does not.
pub(crate) fn contents(manifest: &Manifest, raw: &[RawOrder]) -> String {
    let mut text = format!("files: {} of\n", decimal(manifest.used()));
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
    for raw in raw {
        let size = decimal(raw.size);
        text.push_str(&format!("sent as it is: {} ({size})\n", raw.device));
    }
    text
}

impl Drive {
    fn text(&self) -> String {
        let boot = match self.boot {
            Some(_) => ", and boot code in its first sector",
            None => "",
        };
        let laid = self.geometry.map(|geometry| {
            let disk = Disk::elsewhere(&self.device, geometry);
            partition::Plan::new(disk, self.desc.clone())
        });
        let why = match laid {
            Some(Ok(plan)) => {
                return format!(
                    "{}{boot}, on a disk as large as the golden node's: {}",
                    self.device,
                    plan.to_be()
                );
            }
            // It may fit on the nodes.
            Some(Err(error)) => fault::chain(&error),
            None => "the golden node has none that is known".to_owned(),
        };
        format!(
            "{}{boot}; not on a disk as the golden node's: {why}\n{}",
            self.device, self.desc
        )
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(clap::Parser)]
    struct Options {
        #[command(flatten)]
        course: Course,
        #[command(flatten)]
        shape: Shape,
    }

    fn planned(words: &[&str]) -> anyhow::Result<Plan> {
        let text = "linux 3500 fs=ext4\nlinux 500 fs=xfs\nswap fill fs=swap";
        let disk = GoldenDisk {
            device: "/dev/sda".into(),
            geometry: Some(Geometry::new(80 << 30, 512)),
            desc: Some(Desc::parse(text)?),
            notes: Vec::new(),
            boot: Some(vec![7; BOOT_CODE]),
        };
        let raw = RawOrder {
            device: "/dev/sda2".into(),
            size: 500 << 20,
        };
        let golden = Golden {
            manifest: Manifest::default(),
            disks: vec![disk],
            raw: vec![raw],
        };
        let options = Options::parse_from([&["x"], words].concat());
        plan(golden, &options.shape, &options.course)
    }

    fn names(plan: &Plan) -> Vec<String> {
        plan.files().into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn wishes_shape_what_travels_first() {
        let plain = planned(&[]).unwrap();
        assert_eq!(names(&plain), ["deployment", "manifest", "desc.0"]);
        // In the partition that is sent as it is nothing is made.
        assert_eq!(plain.drives[0].desc.partitions[1].content, Content::Nothing);
        assert!(!plain.deployment.barrier);
        let words = ["-m", "sda", "-r", "grub", "-d", "5", "--keep-identity"];
        let plan = planned(&words).unwrap();
        assert_eq!(names(&plan), ["deployment", "manifest", "desc.0", "boot.0"]);
        assert_eq!(plan.files()[3].1, [7; BOOT_CODE]);
        let parsed = Deployment::parse(&plan.deployment.to_string()).unwrap();
        assert_eq!(parsed, plan.deployment);
        assert!(parsed.barrier && parsed.keep_identity && parsed.loader == "grub");
        assert!(
            plan.text()
                .contains("as large as the golden node's: to be, with a dos table")
        );
    }

    #[test]
    fn a_drive_that_is_not_cloned_is_a_mistake_in_the_call() {
        for words in [
            ["-m", "sdb", "-d", "1"],
            ["-p", "sdb", "desc", "--partial"],
            ["-M", "vda", "x", "--partial"],
        ] {
            let error = planned(&words).unwrap_err();
            assert!(error.downcast_ref::<Usage>().is_some(), "{error}");
            assert!(error.to_string().ends_with("those are /dev/sda"), "{error}");
        }
    }
}
