//! What is in the partitions of a disk, down to the file systems in arrays and volumes.

use std::fs::{self, File};
use std::path::PathBuf;

use anyhow::{Context, bail};
use goldring_contract::Root;
use goldring_disk::desc::{
    Array, Content, Desc, FileSystem, Format, Group, Kind, Line, Size, Volume,
};
use goldring_disk::describe::describe;
use goldring_disk::fstab;
use goldring_disk::identity::{self, Identity};
use goldring_disk::lsblk::join_partition;
use goldring_disk::table::Part;
use goldring_disk::window::Window;
use goldring_disk::{lvm, raid};

use super::Disk;

/// A disk's desc, and sentences about what it cannot say.
#[derive(Debug)]
pub(crate) struct Described {
    /// The desc.
    pub(crate) desc: Desc,
    /// What is not in it.
    pub(crate) notes: Vec<String>,
}

/// The desc of a disk: its table, what is in its partitions, and where that is mounted.
///
/// # Errors
/// It has no table, or one that cannot be said.
pub(crate) fn survey(root: &Root, disk: &Disk) -> anyhow::Result<Described> {
    let Some(table) = disk.table(root)? else {
        bail!("there is no partition table; goldring lsparts shows what is there");
    };
    let text = fs::read_to_string(root.join("/etc/fstab")).unwrap_or_default();
    let mut survey = Survey {
        root,
        disk,
        fstab: fstab::parse(&text),
        mounted: Vec::new(),
        notes: Vec::new(),
        arrays: Vec::new(),
        groups: Vec::new(),
        volumes: Vec::new(),
    };
    let contents = table.parts.iter().map(|part| survey.partition(part));
    let contents = contents.collect::<anyhow::Result<Vec<Content>>>()?;
    let desc = Desc {
        arrays: survey.arrays,
        groups: survey.groups,
        volumes: survey.volumes,
        ..describe(&table, &contents)?
    };
    let notes = survey.notes;
    Ok(Described { desc, notes })
}

struct Survey<'a> {
    root: &'a Root,
    disk: &'a Disk,
    fstab: Vec<fstab::Entry>,
    /// The places that are taken.
    mounted: Vec<String>,
    notes: Vec<String>,
    arrays: Vec<Array>,
    groups: Vec<Group>,
    volumes: Vec<Volume>,
}

/// A piece of a file or device.
#[derive(Debug, Clone)]
struct Source {
    path: PathBuf,
    begin: u64,
    length: u64,
    /// What people call it, and what fstab may.
    names: Vec<String>,
}

impl Source {
    fn open(&self) -> anyhow::Result<Window<File>> {
        let file =
            File::open(&self.path).with_context(|| format!("opening {}", self.path.display()))?;
        Ok(Window::new(file, self.begin, self.length))
    }

    /// A piece of it, under another name.
    fn inner(&self, begin: u64, length: u64, names: Vec<String>) -> Option<Self> {
        let fits = begin.checked_add(length)? <= self.length;
        fits.then(|| Self {
            path: self.path.clone(),
            begin: self.begin + begin,
            length,
            names,
        })
    }

    fn name(&self) -> &str {
        self.names.first().map_or("it", String::as_str)
    }
}

impl Survey<'_> {
    fn partition(&mut self, part: &Part) -> anyhow::Result<Content> {
        // Of these the desc says nothing.
        if part.kind.is_extended() {
            return Ok(Content::Unsaid);
        }
        let size = u64::from(self.disk.geometry.sector_size);
        let device = join_partition(&self.disk.path.to_string_lossy(), part.number);
        let mut names = vec![device];
        names.extend(part.uuid.map(|uuid| format!("PARTUUID={uuid}")));
        names.extend(part.name.as_ref().map(|name| format!("PARTLABEL={name}")));
        let source = Source {
            path: self.root.join(&self.disk.path),
            begin: part.start * size,
            length: part.sectors * size,
            names,
        };
        let content = self.content(&source)?;
        // Swap that is nothing of the kind is not made to be one.
        Ok(match content {
            Content::Nothing if is_plain(part.kind) => Content::Unsaid,
            content => content,
        })
    }

    fn content(&mut self, source: &Source) -> anyhow::Result<Content> {
        let reading = || format!("reading {}", source.name());
        let mut reader = source.open()?;
        let found = identity::identify(&mut reader).with_context(reading)?;
        let what = match found {
            None => return Ok(Content::Nothing),
            Some(Identity::FileSystem(file_system)) => {
                return Ok(self.mounted_at(source, file_system));
            }
            Some(Identity::Member("a RAID")) => {
                if let Some(member) = raid::read(&mut reader).with_context(reading)? {
                    return self.member(source, member);
                }
                "a part of a RAID".to_owned()
            }
            Some(Identity::Member("LVM")) => {
                if let Some(physical) = lvm::read(&mut reader).with_context(reading)? {
                    return self.physical(source, physical);
                }
                "a part of LVM".to_owned()
            }
            Some(Identity::Member(what)) => format!("a part of {what}"),
            Some(Identity::OneOfSeveral(_)) => "one device of several of a btrfs".to_owned(),
            Some(Identity::Other(what)) => what,
        };
        self.not_made(source.name(), &what);
        Ok(Content::Nothing)
    }

    fn not_made(&mut self, name: &str, what: &str) {
        self.notes
            .push(format!("{name} is {what}, which is not made again"));
    }

    /// With the place where fstab mounts it, and of a btrfs the subvolumes that it names;
    /// their first place is the one that the others lie below.
    fn mounted_at(&mut self, source: &Source, file_system: FileSystem) -> Content {
        let mut names = source.names.clone();
        names.extend(file_system.uuid.as_ref().map(|uuid| format!("UUID={uuid}")));
        names.extend(
            file_system
                .label
                .as_ref()
                .map(|label| format!("LABEL={label}")),
        );
        let is = |entry: &&fstab::Entry| {
            let spec = entry.spec.replace('"', "");
            names.iter().any(|name| name.eq_ignore_ascii_case(&spec))
                && entry.place.starts_with('/')
                && !self.mounted.contains(&entry.place)
        };
        let entries: Vec<&fstab::Entry> = self.fstab.iter().filter(is).collect();
        let mount = entries.first().map(|entry| entry.place.clone());
        let mut subvolumes = Vec::new();
        if file_system.format == Format::Btrfs {
            let options = entries.iter().flat_map(|entry| &entry.options);
            let named = options.filter_map(|option| option.strip_prefix("subvol="));
            subvolumes.extend(named.map(|name| name.trim_matches('/').to_owned()));
            subvolumes.retain(|name| !name.is_empty());
            // What lies in another comes behind it.
            subvolumes.sort();
            subvolumes.dedup();
        }
        let places: Vec<String> = entries.iter().map(|entry| entry.place.clone()).collect();
        self.mounted.extend(places);
        Content::FileSystem(FileSystem {
            subvolumes,
            mount,
            ..file_system
        })
    }

    fn member(&mut self, source: &Source, member: raid::Member) -> anyhow::Result<Content> {
        let level = u8::try_from(member.level)
            .ok()
            .filter(|level| [0, 1, 10].contains(level));
        let (Some(level), Some(slot)) = (level, member.slot) else {
            let what = match member.slot {
                None => "a spare member of a RAID".to_owned(),
                Some(_) => format!("a part of a RAID of level {}", member.level),
            };
            self.not_made(source.name(), &what);
            return Ok(Content::Nothing);
        };
        let device = device_of(&member);
        let known = self.arrays.iter().any(|array| array.device == device);
        if !known {
            let content = self.in_array(source, &member, &device)?;
            self.arrays.push(Array {
                line: Line::default(),
                device: device.clone(),
                level,
                members: member.members,
                metadata: member.metadata.to_owned(),
                name: member.name,
                id: Some(member.id),
                chunk: Some(member.chunk).filter(|chunk| level != 1 && *chunk > 0),
                layout: member.layout,
                content,
            });
        }
        Ok(Content::Member {
            array: device,
            slot,
        })
    }

    /// A running array is looked into as a whole; of a mirror one member will do.
    fn in_array(
        &mut self,
        source: &Source,
        member: &raid::Member,
        device: &str,
    ) -> anyhow::Result<Content> {
        let name = format!("/dev/{device}");
        let running = self.array_above(source);
        let inner = match running {
            Some(path) => whole(path, vec![name.clone()]),
            None if member.level == 1 => source.inner(
                member.data,
                source.length.saturating_sub(member.data),
                vec![name.clone()],
            ),
            None => None,
        };
        match inner {
            Some(inner) => self.content(&inner),
            None => {
                self.notes.push(format!(
                    "what is in {name} is not known while it does not run; start it (mdadm --assemble --scan) and try again"
                ));
                Ok(Content::Nothing)
            }
        }
    }

    /// The running array of which a partition is a member (sysfs: `holders`).
    fn array_above(&self, source: &Source) -> Option<PathBuf> {
        let name = source.name().strip_prefix("/dev/")?;
        let holders = self.root.join(format!("/sys/class/block/{name}/holders"));
        let names = fs::read_dir(holders)
            .ok()?
            .flatten()
            .map(|entry| entry.file_name());
        let array = names
            .filter_map(|name| name.into_string().ok())
            .find(|name| name.starts_with("md"))?;
        Some(self.root.join(format!("/dev/{array}")))
    }

    fn physical(&mut self, source: &Source, physical: lvm::Physical) -> anyhow::Result<Content> {
        let Some(group) = physical.group else {
            self.not_made(source.name(), "a part of LVM in no group that it describes");
            return Ok(Content::Nothing);
        };
        let name = group.name.clone();
        if !self.groups.iter().any(|known| known.name == name) {
            self.groups.push(Group {
                line: Line::default(),
                name: name.clone(),
                extent: Some(group.extent),
            });
            let used: u64 = group
                .volumes
                .iter()
                .map(|volume| volume.size / group.extent.max(1))
                .sum();
            let full = used == group.extents;
            for volume in &group.volumes {
                self.volume(source, &group, volume, &physical.uuid)?;
            }
            if full {
                self.fill(&name);
            }
        }
        let uuid = Some(physical.uuid);
        Ok(Content::Physical { group: name, uuid })
    }

    fn volume(
        &mut self,
        source: &Source,
        group: &lvm::Group,
        volume: &lvm::Volume,
        part: &str,
    ) -> anyhow::Result<()> {
        let name = format!("{}/{}", group.name, volume.name);
        let stripes = match (volume.kind.as_str(), volume.stripes) {
            ("striped", stripes) => Some(stripes),
            ("linear", _) => None,
            ("linear and striped", _) => {
                self.notes.push(format!(
                    "{name} is spread in some of its pieces only; it will be in none"
                ));
                None
            }
            (kind, _) => {
                self.not_made(&name, &format!("a volume of type {kind}"));
                return Ok(());
            }
        };
        let dashed = |text: &str| text.replace('-', "--");
        let mapped = format!(
            "/dev/mapper/{}-{}",
            dashed(&group.name),
            dashed(&volume.name)
        );
        let names = vec![format!("/dev/{name}"), mapped.clone()];
        let here = volume.begin.as_ref().filter(|(uuid, _)| uuid == part);
        let inner = whole(self.root.join(&mapped), names.clone())
            .or_else(|| here.and_then(|(_, begin)| source.inner(*begin, volume.piece, names)));
        let content = match inner {
            Some(inner) => self.content(&inner)?,
            None => {
                self.notes.push(format!(
                    "what is in {name} is not known while it does not run; start it (vgchange -ay {}) and try again",
                    group.name
                ));
                Content::Nothing
            }
        };
        self.volumes.push(Volume {
            line: Line::default(),
            group: group.name.clone(),
            name: volume.name.clone(),
            size: Size::Units(volume.size / 512),
            stripes,
            stripe: stripes.and(Some(volume.stripe).filter(|stripe| *stripe >= 4096)),
            content,
        });
        Ok(())
    }

    /// In a group that is full the last volume that may grow does so on a larger disk.
    fn fill(&mut self, group: &str) {
        let swap = |volume: &Volume| match &volume.content {
            Content::FileSystem(file_system) => file_system.format.word() == "swap",
            _ => false,
        };
        let mut volumes = self
            .volumes
            .iter_mut()
            .filter(|volume| volume.group == group);
        if let Some(volume) = volumes.rfind(|volume| !swap(volume)) {
            volume.size = Size::Fill;
        }
    }
}

/// A partition about which old files say nothing either, and of which nothing is made.
fn is_plain(kind: Kind) -> bool {
    !kind.is_swap() && !kind.is_efi()
}

/// A device as a whole, if it is there.
fn whole(path: PathBuf, names: Vec<String>) -> Option<Source> {
    let length = goldring_sys::block::size(File::open(&path).ok()?).ok()?;
    Some(Source {
        path,
        begin: 0,
        length,
        names,
    })
}

/// What mdadm calls its device: by the number of old ones, or by the name without the host.
fn device_of(member: &raid::Member) -> String {
    let name = member.name.as_deref().unwrap_or("");
    let name = name.rsplit_once(':').map_or(name, |(_, name)| name);
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    let number =
        |text: &str| !text.is_empty() && text.len() < 4 && text.chars().all(|c| c.is_ascii_digit());
    match member.minor {
        Some(minor) => format!("md{minor}"),
        None if number(name) => format!("md{name}"),
        None if !name.is_empty() && !name.starts_with(['-', '.']) && name.chars().all(plain) => {
            format!("md/{name}")
        }
        None => format!("md/{}", &member.id[..8]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_have_the_names_of_mdadm() {
        let member = |name: &str, minor: Option<u32>| raid::Member {
            level: 1,
            members: 2,
            metadata: "1.2",
            name: Some(name.to_owned()).filter(|name| !name.is_empty()),
            minor,
            id: "01234567:89abcdef:01234567:89abcdef".into(),
            chunk: 0,
            layout: None,
            slot: Some(0),
            data: 0,
        };
        for (name, minor, device) in [
            ("golden:0", None, "md0"),
            ("golden:root", None, "md/root"),
            ("127", None, "md127"),
            ("", Some(3), "md3"),
            ("", None, "md/01234567"),
            ("x:a/b", None, "md/01234567"),
        ] {
            assert_eq!(device_of(&member(name, minor)), device);
        }
    }
}
