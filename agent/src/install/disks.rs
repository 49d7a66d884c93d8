//! Which disk of this computer stands for which of the golden node, and what its partitions
//! are called here.

use std::fs;
use std::path::Path;

use anyhow::{Context, bail};
use goldring_contract::Root;
use goldring_disk::lsblk::join_partition;
use goldring_disk::target::decimal;
use goldring_disk::users;
use goldring_files::deployment::DiskOrder;
use goldring_files::manifest::Manifest;

use crate::bootable::Names;
use crate::fault;
use crate::partition::{self, Disk, Plan};

/// The golden node's names of disks and those of here.
pub(super) type Pairs = Vec<(String, String)>;

/// Finds a disk for each: the one that `given` says, one of the same name, else the first
/// that nobody uses and that has room for it. What is plugged in for a moment is none.
///
/// # Errors
/// There is none; with what is wrong with each that is here.
pub(super) fn assign(
    root: &Root,
    parcel: &Path,
    orders: &[DiskOrder],
    given: &[(String, String)],
) -> anyhow::Result<Vec<Plan>> {
    let here: Vec<String> = users::disks(root)
        .into_iter()
        .map(|(name, _)| name)
        .filter(|name| is_fixed_disk(root, name))
        .map(|name| format!("/dev/{name}"))
        .collect();
    let fixed = |order: &DiskOrder| {
        let said = given.iter().find(|(from, _)| *from == order.device);
        let same = || here.contains(&order.device).then(|| order.device.clone());
        said.map(|(_, to)| to.clone()).or_else(same)
    };
    let mut taken: Vec<String> = orders.iter().filter_map(fixed).collect();
    let mut plans = Vec::new();
    for order in orders {
        let path = parcel.join(&order.desc);
        let plan = match fixed(order) {
            Some(name) => plan(root, &path, &name)?,
            None => {
                let free = here.iter().filter(|name| !taken.contains(name));
                let plan = first(root, &path, free)
                    .with_context(|| format!("no disk here can be {}", order.device))?;
                taken.push(plan.disk.path.display().to_string());
                plan
            }
        };
        plans.push(plan);
    }
    Ok(plans)
}

/// The first that will do.
fn first<'a>(
    root: &Root,
    desc: &Path,
    names: impl Iterator<Item = &'a String>,
) -> anyhow::Result<Plan> {
    let mut whys = Vec::new();
    for name in names {
        match plan(root, desc, name) {
            Ok(plan) => return Ok(plan),
            Err(error) => whys.push(fault::chain(&error)),
        }
    }
    if whys.is_empty() {
        bail!(
            "there is none that is not taken; goldring drvinst STORAGE tells which drivers there are"
        );
    }
    bail!("{}", whys.join("; "))
}

/// A disk that nobody uses, with the desc laid out on it.
fn plan(root: &Root, desc: &Path, name: &str) -> anyhow::Result<Plan> {
    let disk = Disk::open(root, Path::new(name), 512)?;
    disk.refuse_users(root)?;
    Plan::new(disk, partition::read(desc)?)
}

/// Not a disc, a mapping, an array, memory, the boot area of a card, or a stick.
fn is_fixed_disk(root: &Root, name: &str) -> bool {
    let known = ["sd", "hd", "vd", "xvd", "nvme", "mmcblk", "cciss"];
    let part = name.contains("boot") || name.contains("rpmb");
    let removable = root.join(format!("/sys/class/block/{name}/removable"));
    let stick = fs::read_to_string(removable).is_ok_and(|text| text.trim() == "1");
    known.iter().any(|start| name.starts_with(start)) && !part && !stick
}

/// The golden node's disks and those of here.
pub(super) fn pairs(orders: &[DiskOrder], plans: &[Plan]) -> Pairs {
    let pair = |(order, plan): (&DiskOrder, &Plan)| {
        (order.device.clone(), plan.disk.path.display().to_string())
    };
    orders.iter().zip(plans).map(pair).collect()
}

/// Where the golden node's file systems and swaps are here, as far as they lie in plain
/// partitions: the desc gives the partition the same UUID.
pub(super) fn devices(manifest: &Manifest, plans: &[Plan]) -> Pairs {
    let files = manifest
        .file_systems
        .iter()
        .map(|one| (&one.device, &one.uuid));
    let swaps = manifest.swaps.iter().map(|swap| (&swap.place, &swap.uuid));
    let here = |(device, uuid): (&String, &String)| {
        let place = place_of(plans, uuid)?;
        Some((device.clone(), place))
    };
    files.chain(swaps).filter_map(here).collect()
}

/// A file system must have a partition, array or volume here: another disk with the same UUID,
/// such as that of an older clone, is not to be written to.
///
/// # Errors
/// Which has none.
pub(super) fn all_have_a_place(plans: &[Plan], manifest: &Manifest) -> anyhow::Result<()> {
    for one in &manifest.file_systems {
        if !plans.iter().any(|plan| plan.desc.makes(&one.uuid)) {
            bail!(
                "nothing is to be made for {}; look at goldring ka-d --dry-run on the golden node",
                one.device
            );
        }
    }
    Ok(())
}

fn place_of(plans: &[Plan], uuid: &str) -> Option<String> {
    plans.iter().find_map(|plan| {
        let same = |uuid_here: Option<String>| {
            uuid_here.is_some_and(|here| here.eq_ignore_ascii_case(uuid))
        };
        let mut parts = plan.parts();
        let (part, _) =
            parts.find(|(_, line)| same(line.file_system().and_then(|one| one.uuid)))?;
        let disk = plan.disk.path.display().to_string();
        Some(join_partition(&disk, part.number))
    })
}

/// For the clone's own files: partitions whose number is another one first, then disks.
pub(super) fn names(disks: &Pairs, devices: &Pairs) -> Names {
    let mut names = Names::default();
    let differ = |pair: &&(String, String)| pair.0 != pair.1;
    for (from, to) in devices.iter().chain(disks).filter(differ) {
        names.add(from, to);
    }
    names
}

/// A line for each disk.
pub(super) fn said(orders: &[DiskOrder], plans: &[Plan]) -> Vec<String> {
    let line = |(order, plan): (&DiskOrder, &Plan)| {
        let geometry = plan.disk.geometry;
        let size = decimal(geometry.sectors * u64::from(geometry.sector_size));
        let path = plan.disk.path.display();
        format!(
            "{path} ({size}) becomes {} of the golden node",
            order.device
        )
    };
    orders.iter().zip(plans).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Disks below a root with these sizes in MiB, and descs with these texts.
    fn computer(disks: &[(&str, u64)], descs: &[&str]) -> (tempfile::TempDir, Root) {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::at(folder.path());
        fs::create_dir_all(root.join("/dev")).unwrap();
        for (name, size) in disks {
            let file = fs::File::create(root.join(format!("/dev/{name}"))).unwrap();
            file.set_len(size << 20).unwrap();
            let sys = root.join(format!("/sys/class/block/{name}"));
            fs::create_dir_all(&sys).unwrap();
            fs::write(sys.join("size"), (size << 11).to_string()).unwrap();
            let removable = name.starts_with("sdu");
            fs::write(sys.join("removable"), u8::from(removable).to_string()).unwrap();
        }
        for (number, text) in descs.iter().enumerate() {
            fs::write(folder.path().join(format!("desc.{number}")), text).unwrap();
        }
        (folder, root)
    }

    fn orders(names: &[&str]) -> Vec<DiskOrder> {
        let order = |(number, name): (usize, &&str)| DiskOrder {
            device: (*name).to_owned(),
            desc: format!("desc.{number}"),
            boot: String::new(),
        };
        names.iter().enumerate().map(order).collect()
    }

    fn assigned(
        disks: &[(&str, u64)],
        descs: &[&str],
        names: &[&str],
        given: &[(String, String)],
    ) -> anyhow::Result<Vec<String>> {
        let (folder, root) = computer(disks, descs);
        let plans = assign(&root, folder.path(), &orders(names), given)?;
        let name = |plan: &Plan| plan.disk.path.display().to_string();
        Ok(plans.iter().map(name).collect())
    }

    #[test]
    fn each_disk_of_the_golden_node_gets_one_of_here() {
        let two = ["linux 40", "linux 90"];
        // Its own name, then what has room; a stick and a mapping are none.
        let disks = [("sda", 50), ("sdu", 500), ("dm-0", 500), ("nvme0n1", 100)];
        let both = assigned(&disks, &two, &["/dev/sda", "/dev/sdb"], &[]).unwrap();
        assert_eq!(both, ["/dev/sda", "/dev/nvme0n1"]);
        // A name that a later one has is not taken before.
        let disks = [("sda", 100), ("vda", 100)];
        let both = assigned(&disks, &two, &["/dev/sdb", "/dev/sda"], &[]).unwrap();
        assert_eq!(both, ["/dev/vda", "/dev/sda"]);
        let given = [("/dev/sdb".to_owned(), "/dev/dm-0".to_owned())];
        let disks = [("dm-0", 100), ("sda", 100)];
        assert_eq!(
            assigned(&disks, &two[..1], &["/dev/sdb"], &given).unwrap(),
            ["/dev/dm-0"]
        );
    }

    #[test]
    fn a_computer_without_room_says_what_is_wrong_with_each_disk() {
        let error = |disks: &[(&str, u64)]| {
            let result = assigned(disks, &["linux 90"], &["/dev/sdb"], &[]);
            fault::chain(&result.unwrap_err())
        };
        let small = error(&[("sda", 50), ("vda", 60)]);
        assert!(
            small.starts_with("no disk here can be /dev/sdb: /dev/sda has no room"),
            "{small}"
        );
        assert!(small.contains("; /dev/vda has no room"), "{small}");
        assert!(error(&[("sdu", 500)]).contains("there is none"));
    }

    #[test]
    fn partitions_are_found_by_what_they_will_hold() {
        let uuid = "5a1bd16f-0000-4000-8000-000000000001";
        let desc = format!("linux 9\nlinux 40 fs=ext4 uuid={uuid}");
        let (folder, root) = computer(&[("nvme0n1", 100)], &[&desc]);
        let orders = orders(&["/dev/sda"]);
        let plans = assign(&root, folder.path(), &orders, &[]).unwrap();
        let mut manifest = Manifest::default();
        for (device, uuid) in [("/dev/sda5", uuid), ("/dev/mapper/a-b", "1-2")] {
            manifest
                .file_systems
                .push(goldring_files::manifest::FileSystem {
                    device: device.into(),
                    uuid: uuid.to_uppercase(),
                    ..Default::default()
                });
        }
        let devices = devices(&manifest, &plans);
        assert_eq!(
            devices,
            [("/dev/sda5".to_owned(), "/dev/nvme0n1p2".to_owned())]
        );
        // A volume of a kind that is not made, such as an encrypted one, has no place.
        let none = all_have_a_place(&plans, &manifest).unwrap_err();
        assert!(
            none.to_string().contains("made for /dev/mapper/a-b"),
            "{none}"
        );
        manifest.file_systems.pop();
        all_have_a_place(&plans, &manifest).unwrap();
        let none = all_have_a_place(&plans[1..], &manifest).unwrap_err();
        assert!(none.to_string().contains("made for /dev/sda5"), "{none}");
        let names = names(&pairs(&orders, &plans), &devices);
        assert_eq!(
            names.translate("/dev/sda5 /dev/sda1 /dev/sda"),
            "/dev/nvme0n1p2 /dev/nvme0n1p1 /dev/nvme0n1"
        );
    }
}
