//! Whether everything that comes has room here, before anything is destroyed.

use anyhow::{bail, ensure};
use goldring_disk::desc::Content;
use goldring_disk::lsblk::join_partition;
use goldring_disk::target::decimal;
use goldring_files::deployment::RawOrder;
use goldring_files::manifest::Manifest;

use super::disks::Pairs;
use crate::bootable::Names;
use crate::partition::Plan;

/// Looks whether each file system that lies in a plain partition can hold what the golden
/// node has in it.
///
/// # Errors
/// Which is too small.
pub(super) fn check(plans: &[Plan], manifest: &Manifest, devices: &Pairs) -> anyhow::Result<()> {
    // How much of it does not come, nobody has counted.
    if !manifest.excluded.is_empty() {
        return Ok(());
    }
    for one in &manifest.file_systems {
        let here = devices.iter().find(|(there, _)| *there == one.device);
        let size = here.and_then(|(_, here)| size_of(plans, here));
        if let (Some((_, here)), Some(size)) = (here, size) {
            ensure!(
                one.used <= size,
                "{} of the golden node holds {}, and {here} would have {}; a larger disk, or ka-d -x",
                one.device,
                decimal(one.used),
                decimal(size)
            );
        }
    }
    Ok(())
}

/// Looks whether each raw partition goes into one that is made for it and is large enough.
///
/// # Errors
/// Which does not.
pub(super) fn check_raw(plans: &[Plan], raw: &[RawOrder], names: &Names) -> anyhow::Result<()> {
    for order in raw {
        let here = names.translate(&order.device);
        let made = parts(plans).find(|(name, ..)| *name == here);
        let Some((_, size, true)) = made else {
            bail!("{} would be {here}, which is not made for it", order.device);
        };
        ensure!(
            order.size <= size,
            "{} has {}, and {here} would have {}; make it larger in the desc (ka-d -p)",
            order.device,
            decimal(order.size),
            decimal(size)
        );
    }
    Ok(())
}

fn size_of(plans: &[Plan], device: &str) -> Option<u64> {
    let found = parts(plans).find(|(name, ..)| name == device);
    found.map(|(_, size, _)| size)
}

/// Partitions that will be: their names, how many bytes they have, and whether nothing is
/// made in them.
fn parts(plans: &[Plan]) -> impl Iterator<Item = (String, u64, bool)> {
    plans.iter().flat_map(|plan| {
        let disk = plan.disk.path.display().to_string();
        let sector = u64::from(plan.disk.geometry.sector_size);
        plan.parts().map(move |(part, line)| {
            let is_empty = line.content == Content::Nothing;
            (
                join_partition(&disk, part.number),
                part.sectors * sector,
                is_empty,
            )
        })
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use goldring_contract::Root;
    use goldring_disk::desc::Desc;
    use goldring_files::manifest::FileSystem;

    use super::*;
    use crate::fault::chain;
    use crate::partition::Disk;

    /// A disk of 100 MiB at this name, which is below a folder.
    fn plans(folder: &Path) -> Vec<Plan> {
        let root = Root::at(folder);
        fs::create_dir_all(root.join("/dev")).unwrap();
        let file = fs::File::create(root.join("/dev/vda")).unwrap();
        file.set_len(100 << 20).unwrap();
        let disk = Disk::open(&root, Path::new("/dev/vda"), 512).unwrap();
        let desc = Desc::parse("typeb 8 fs=none\nlinux fill fs=ext4").unwrap();
        vec![Plan::new(disk, desc).unwrap()]
    }

    #[test]
    fn what_has_no_room_is_told_before_anything_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let plans = plans(folder.path());
        let devices = vec![("/dev/sda2".to_owned(), "/dev/vda2".to_owned())];
        let mut manifest = Manifest::default();
        manifest.file_systems.push(FileSystem {
            device: "/dev/sda2".into(),
            used: 80 << 20,
            ..FileSystem::default()
        });
        check(&plans, &manifest, &devices).unwrap();
        manifest.file_systems[0].used = 95 << 20;
        let error = chain(&check(&plans, &manifest, &devices).unwrap_err());
        let begin = "/dev/sda2 of the golden node holds 99.6 MB, and /dev/vda2 would have ";
        assert!(error.starts_with(begin), "{error}");
        manifest.excluded.push("/srv".into());
        check(&plans, &manifest, &devices).unwrap();
    }

    #[test]
    fn a_raw_partition_overwrites_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let plans = plans(folder.path());
        let mut names = Names::default();
        names.add("/dev/sda", "/dev/vda");
        let checked = |device: &str, size: u64| {
            let device = device.to_owned();
            check_raw(&plans, &[RawOrder { device, size }], &names)
        };
        checked("/dev/sda1", 8 << 20).unwrap();
        for (device, size, why) in [
            ("/dev/sda1", (8 << 20) + 1, "make it larger"),
            ("/dev/sda2", 1, "which is not made for it"),
            ("/dev/sda7", 1, "which is not made for it"),
            ("/dev/sdb1", 1, "which is not made for it"),
        ] {
            let error = chain(&checked(device, size).unwrap_err());
            assert!(error.contains(why), "{error}");
        }
    }
}
