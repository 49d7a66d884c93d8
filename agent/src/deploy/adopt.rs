//! What a desc that was written by hand does not say, taken from the golden node: file
//! systems where it names none, and the identifiers by which fstab and boot loader know them.

use anyhow::{bail, ensure};
use goldring_disk::desc::{Content, Desc, FileSystem, Partition};
use goldring_disk::layout::layout;
use goldring_disk::lsblk::split_partition;
use goldring_disk::table::Geometry;
use goldring_files::manifest::Manifest;

/// Large enough for any desc that is laid out for its numbers only.
const VAST: Geometry = Geometry {
    sectors: 1 << 41,
    sector_size: 512,
};

/// The number of a partition if it is one of this disk.
pub(super) fn number_on(disk: &str, partition: &str) -> Option<u32> {
    split_partition(partition)
        .filter(|(whole, _)| *whole == disk)
        .map(|(_, number)| number)
}

/// The line of the partition with this number.
///
/// # Errors
/// The desc is none.
pub(super) fn line_of(desc: &Desc, number: u32) -> anyhow::Result<Option<usize>> {
    let parts = layout(desc, VAST)?.table.parts;
    Ok(parts.iter().position(|part| part.number == number))
}

/// Completes `desc`, which is for the disk `name`, by what is on the golden node's.
///
/// # Errors
/// It has no place for a file system that is to be cloned, or another kind of it than fstab
/// says.
pub(super) fn adopt(
    desc: &mut Desc,
    name: &str,
    here: &Desc,
    manifest: &Manifest,
) -> anyhow::Result<()> {
    let numbers: Vec<u32> = layout(desc, VAST)?
        .table
        .parts
        .iter()
        .map(|part| part.number)
        .collect();
    let there = here.numbers();
    let known = |number: u32| {
        let at = there.iter().position(|other| *other == number)?;
        here.partitions.get(at)
    };
    let mut missing: Vec<(u32, FileSystem, String)> = wanted(name, manifest)
        .filter_map(|(number, place)| Some((number, known(number)?.file_system()?, place)))
        .collect();
    for (line, number) in desc.partitions.iter_mut().zip(&numbers) {
        let mount = mount_of(line);
        let same = |(other, _, place): &(u32, FileSystem, String)| match &mount {
            Some(mount) => place == mount,
            None => other == number,
        };
        if let Some(at) = missing.iter().position(same) {
            let (_, file_system, place) = missing.remove(at);
            take_over(line, file_system, &place)?;
        }
    }
    if let Some((number, _, place)) = missing.first() {
        bail!(
            "there is no partition for {place}, which is number {number} here; add a line for it, \
             or leave it out with -X"
        );
    }
    adopt_above(desc, here)
}

/// The same for arrays and volumes, which are known by their names.
fn adopt_above(desc: &mut Desc, here: &Desc) -> anyhow::Result<()> {
    for array in &mut desc.arrays {
        let mut known = here.arrays.iter();
        if let Some(known) = known.find(|known| known.device == array.device) {
            array.id = array.id.take().or_else(|| known.id.clone());
            array.name = array.name.take().or_else(|| known.name.clone());
            let name = format!("/dev/{}", array.device);
            take_over_above(&mut array.content, &known.content, &name)?;
        }
    }
    for volume in &mut desc.volumes {
        let mut known = here.volumes.iter();
        let same = known.find(|known| (&known.group, &known.name) == (&volume.group, &volume.name));
        if let Some(known) = same {
            let name = format!("/dev/{}/{}", volume.group, volume.name);
            take_over_above(&mut volume.content, &known.content, &name)?;
        }
    }
    Ok(())
}

fn take_over_above(content: &mut Content, here: &Content, name: &str) -> anyhow::Result<()> {
    let place = |here: &FileSystem| here.mount.clone().unwrap_or_else(|| name.to_owned());
    match (&*content, here) {
        (Content::FileSystem(wished), Content::FileSystem(here)) => {
            *content = Content::FileSystem(named(wished.clone(), here.clone(), &place(here))?);
        }
        (Content::Unsaid, here) => *content = here.clone(),
        _ => {}
    }
    Ok(())
}

/// What is cloned from this disk: partitions and where they are mounted.
fn wanted<'a>(name: &'a str, manifest: &'a Manifest) -> impl Iterator<Item = (u32, String)> + 'a {
    let files = manifest.file_systems.iter().map(|one| {
        let mut mounts = manifest.mounts.iter();
        let place = mounts.find(|mount| mount.device == one.device);
        (
            one.device.as_str(),
            place.map_or("", |mount| mount.place.as_str()),
        )
    });
    let swaps = manifest
        .swaps
        .iter()
        .map(|swap| (swap.place.as_str(), "swap"));
    let on_it =
        move |(device, place): (&str, &str)| Some((number_on(name, device)?, place.to_owned()));
    files.chain(swaps).filter_map(on_it)
}

fn mount_of(line: &Partition) -> Option<String> {
    match &line.content {
        Content::FileSystem(file_system) => file_system.mount.clone(),
        _ => None,
    }
}

/// Gives a line the file system, or only its names if the line has one.
fn take_over(line: &mut Partition, here: FileSystem, place: &str) -> anyhow::Result<()> {
    let Some(wished) = line.file_system() else {
        ensure!(
            matches!(line.content, Content::Unsaid) && !line.kind.is_extended(),
            "the partition for {place} can hold no file system"
        );
        line.content = Content::FileSystem(here);
        return Ok(());
    };
    line.content = Content::FileSystem(named(wished, here, place)?);
    Ok(())
}

/// The file system that is wished with the names of the one that is here.
fn named(mut wished: FileSystem, here: FileSystem, place: &str) -> anyhow::Result<FileSystem> {
    let same = wished.format == here.format || (wished.format.is_fat() && here.format.is_fat());
    ensure!(
        same,
        "{place} is {} here, and its fstab says so; write fs={} instead of fs={}",
        here.format,
        here.format,
        wished.format
    );
    wished.uuid = wished.uuid.or(here.uuid);
    wished.label = wished.label.or(here.label);
    if wished.subvolumes.is_empty() {
        wished.subvolumes = here.subvolumes;
    }
    Ok(wished)
}

#[cfg(test)]
mod tests {
    use goldring_files::manifest;

    use super::*;
    use crate::fault::chain;

    const HERE: &str = "linux 3500 fs=ext4 uuid=5a1bd16f-0000-4000-8000-000000000001 label=r\n\
        extended fill\nlogical swap 500 fs=swap uuid=5a1bd16f-0000-4000-8000-000000000005\n\
        logical linux fill fs=xfs uuid=5a1bd16f-0000-4000-8000-000000000006";

    fn adopted(text: &str) -> anyhow::Result<String> {
        let here = Desc::parse(HERE)?;
        let mut manifest = Manifest::default();
        for (device, place) in [
            ("/dev/sda1", "/"),
            ("/dev/sda6", "/home"),
            ("/dev/sdb1", "/x"),
        ] {
            manifest.file_systems.push(manifest::FileSystem {
                device: device.into(),
                ..Default::default()
            });
            manifest.mounts.push(manifest::Mount {
                place: place.into(),
                device: device.into(),
                ..Default::default()
            });
        }
        manifest.swaps.push(manifest::Swap {
            place: "/dev/sda5".into(),
            ..Default::default()
        });
        let mut desc = Desc::parse(text)?;
        adopt(&mut desc, "/dev/sda", &here, &manifest)?;
        Ok(desc.to_string())
    }

    #[test]
    fn the_manuals_desc_gets_file_systems_and_names() {
        let text =
            adopted("linux 9000\nextended fill\nlogical swap 700\nlogical linux fill").unwrap();
        for part in [
            "linux 9000 fs=ext4 label=r uuid=5a1bd16f-0000-4000-8000-000000000001",
            "swap 700 fs=swap uuid=5a1bd16f-0000-4000-8000-000000000005",
            "linux fill fs=xfs uuid=5a1bd16f-0000-4000-8000-000000000006",
        ] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn a_place_tells_more_than_a_number() {
        let text = adopted(
            "gpt\nlinux 100 fs=xfs mount=/home\nlinux fill fs=ext4 mount=/\nlinux 9\nlinux 9\nswap 100",
        )
        .unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert!(
            lines[1].contains("uuid=5a1bd16f-0000-4000-8000-000000000006"),
            "{text}"
        );
        assert!(
            lines[2].contains("uuid=5a1bd16f-0000-4000-8000-000000000001"),
            "{text}"
        );
        assert!(
            lines[5].contains("uuid=5a1bd16f-0000-4000-8000-000000000005"),
            "{text}"
        );
    }

    #[test]
    fn arrays_and_volumes_get_them_too() {
        const ID: &str = "01234567:89abcdef:01234567:89abcdef";
        let here = Desc::parse(&format!(
            "raid fill array=md0 slot=0\n\
             array md0 level=1 members=2 name=golden:0 id={ID} group=vg0\ngroup vg0\n\
             volume vg0/root 20G fs=ext4 uuid=5a1bd16f-0000-4000-8000-000000000001 mount=/\n\
             volume vg0/home fill fs=xfs uuid=5a1bd16f-0000-4000-8000-000000000006 mount=/home"
        ))
        .unwrap();
        let adopted = |volumes: &str| {
            let text = "gpt\nbios 1\nraid fill array=md0 slot=0\narray md0 level=1 members=2";
            let mut desc = Desc::parse(&format!("{text}{volumes}")).unwrap();
            let manifest = Manifest::default();
            adopt(&mut desc, "/dev/sda", &here, &manifest).map(|()| desc)
        };
        let volumes = " group=vg0\nvolume vg0/root 30% fs=ext4\nvolume vg0/home fill";
        let desc = adopted(volumes).unwrap();
        for part in [ID, "name=golden:0", "volume vg0/home fill fs=xfs "] {
            assert!(desc.to_string().contains(part), "{desc}");
        }
        for number in ["1", "6"] {
            assert!(desc.makes(&format!("5a1bd16f-0000-4000-8000-00000000000{number}")));
        }
        let error = adopted(" group=vg0\nvolume vg0/root 30% fs=xfs").unwrap_err();
        assert!(chain(&error).contains("/ is ext4 here"), "{error:#}");
    }

    #[test]
    fn what_would_not_start_is_refused() {
        let error = |text| chain(&adopted(text).unwrap_err());
        let none = error("linux fill");
        assert!(
            none.contains("no partition for /home, which is number 6 here"),
            "{none}"
        );
        let other = error("linux 50 fs=xfs\nextended fill\nlogical swap 7\nlogical linux fill");
        assert!(other.contains("/ is ext4 here"), "{other}");
        let none = error("linux 50\nextended fill\nlogical swap 7\nlogical linux fill fs=none");
        assert!(none.contains("for /home can hold no file system"), "{none}");
    }

    #[test]
    fn numbers_are_those_of_the_disk() {
        assert_eq!(number_on("/dev/sda", "/dev/sda5"), Some(5));
        assert_eq!(number_on("/dev/nvme0n1", "/dev/nvme0n1p2"), Some(2));
        assert_eq!(number_on("/dev/sda", "/dev/sdb1"), None);
        let desc = Desc::parse("linux 9\nextended fill\nlogical linux fill").unwrap();
        assert_eq!(line_of(&desc, 5).unwrap(), Some(2));
        assert_eq!(line_of(&desc, 3).unwrap(), None);
    }
}
