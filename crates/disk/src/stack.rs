//! What is built upon partitions: arrays, groups, volumes; put together from the desc
//! files of all disks, and the commands that make them. Nothing is run here.

use std::fmt::Display;

use crate::desc::{Array, Content, Desc, Group, Line, Size, Volume, size::megabytes};

/// Where a part of something lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// A partition: which desc, and which of its partitions.
    Partition(usize, usize),
    /// An array: which of [`Stack::arrays`].
    Array(usize),
}

/// An array and where its members lie, by their places in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assembled {
    /// As its line says.
    pub array: Array,
    /// `None`: that member is on none of these disks.
    pub members: Vec<Option<At>>,
}

/// A group with its parts and volumes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// As its line says.
    pub group: Group,
    /// Its parts with their identifiers.
    pub parts: Vec<(At, Option<String>)>,
    /// Its volumes; one that fills the rest is the last.
    pub volumes: Vec<Volume>,
}

/// All that is built upon the partitions of some disks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stack {
    /// The arrays.
    pub arrays: Vec<Assembled>,
    /// The groups.
    pub pools: Vec<Pool>,
    /// Sentences about members that are on none of these disks.
    pub notes: Vec<String>,
}

/// What is wrong with them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct StackError(String);

impl Stack {
    /// Puts together what the desc files of all disks say. An array or group may be
    /// described in several, but in the same way.
    ///
    /// # Errors
    /// They contradict each other, or something is named that no line describes.
    pub fn of(descs: &[&Desc]) -> Result<Self, StackError> {
        let mut stack = Self::default();
        for desc in descs {
            for array in &desc.arrays {
                stack.add_array(array)?;
            }
            for group in &desc.groups {
                stack.add_group(group)?;
            }
        }
        for (which, desc) in descs.iter().enumerate() {
            for (at, partition) in desc.partitions.iter().enumerate() {
                stack.add_content(&partition.content, At::Partition(which, at), partition.line)?;
            }
        }
        for at in 0..stack.arrays.len() {
            let Array { content, line, .. } = stack.arrays[at].array.clone();
            if matches!(content, Content::Member { .. }) {
                return fail(line, "an array of arrays is not made; leave out array=");
            }
            stack.add_content(&content, At::Array(at), line)?;
        }
        for desc in descs {
            for volume in &desc.volumes {
                stack.add_volume(volume)?;
            }
        }
        stack.finish()
    }

    fn add_array(&mut self, array: &Array) -> Result<(), StackError> {
        match self
            .arrays
            .iter()
            .find(|known| known.array.device == array.device)
        {
            Some(known) if known.array == *array => Ok(()),
            Some(_) => fail(
                array.line,
                &format!(
                    "{} is described otherwise in another desc file; make both the same",
                    array.device
                ),
            ),
            None => {
                let members = vec![None; array.members as usize];
                let array = array.clone();
                self.arrays.push(Assembled { array, members });
                Ok(())
            }
        }
    }

    fn add_group(&mut self, group: &Group) -> Result<(), StackError> {
        match self
            .pools
            .iter()
            .find(|known| known.group.name == group.name)
        {
            Some(known) if known.group == *group => Ok(()),
            Some(_) => fail(
                group.line,
                &format!(
                    "{} is described otherwise in another desc file; make both the same",
                    group.name
                ),
            ),
            None => {
                let group = group.clone();
                let (parts, volumes) = (Vec::new(), Vec::new());
                self.pools.push(Pool {
                    group,
                    parts,
                    volumes,
                });
                Ok(())
            }
        }
    }

    fn add_content(&mut self, content: &Content, at: At, line: Line) -> Result<(), StackError> {
        match content {
            Content::Member { array, slot } => {
                let Some(known) = self
                    .arrays
                    .iter_mut()
                    .find(|known| known.array.device == *array)
                else {
                    return fail(
                        line,
                        &format!(
                            "{array} is described nowhere; write a line \"array {array} level=1 members=2\""
                        ),
                    );
                };
                match known.members.get_mut(*slot as usize) {
                    Some(place @ None) => *place = Some(at),
                    Some(Some(_)) => {
                        return fail(
                            line,
                            &format!(
                                "place {slot} of {array} is taken by another partition; write another slot="
                            ),
                        );
                    }
                    None => {
                        return fail(
                            line,
                            &format!(
                                "{array} has no place {slot}; write slot=0 to slot={}",
                                known.array.members - 1
                            ),
                        );
                    }
                }
            }
            Content::Physical { group, uuid } => {
                if !self.pools.iter().any(|known| known.group.name == *group) {
                    let group = Group {
                        line,
                        name: group.clone(),
                        extent: None,
                    };
                    self.add_group(&group)?;
                }
                let known = self
                    .pools
                    .iter_mut()
                    .filter(|known| known.group.name == *group);
                known.for_each(|known| known.parts.push((at, uuid.clone())));
            }
            _ => {}
        }
        Ok(())
    }

    fn add_volume(&mut self, volume: &Volume) -> Result<(), StackError> {
        let Some(pool) = self
            .pools
            .iter_mut()
            .find(|pool| pool.group.name == volume.group)
        else {
            let group = &volume.group;
            return fail(
                volume.line,
                &format!("no partition is a part of {group}; write group={group} on its line"),
            );
        };
        match pool.volumes.iter().find(|known| known.name == volume.name) {
            Some(known) if known == volume => Ok(()),
            Some(_) => fail(
                volume.line,
                &format!(
                    "{}/{} is described otherwise in another desc file; make both the same",
                    volume.group, volume.name
                ),
            ),
            None => {
                pool.volumes.push(volume.clone());
                Ok(())
            }
        }
    }

    fn finish(mut self) -> Result<Self, StackError> {
        for Assembled { array, members } in &self.arrays {
            let missing = members.iter().filter(|member| member.is_none()).count();
            let device = &array.device;
            if missing > 0 && (array.level == 0 || missing == members.len()) {
                return fail(
                    array.line,
                    &format!(
                        "{missing} of {} members of {device} are on none of these disks; name all disks at once",
                        members.len()
                    ),
                );
            }
            if missing > 0 {
                self.notes.push(format!(
                    "{device} will lack {missing} of {} members, which are on none of these disks",
                    members.len()
                ));
            }
        }
        for pool in &mut self.pools {
            if pool.parts.is_empty() {
                let name = &pool.group.name;
                return fail(
                    pool.group.line,
                    &format!("no partition is a part of {name}; write group={name} on its line"),
                );
            }
            pool.volumes.sort_by_key(|volume| volume.size == Size::Fill);
        }
        Ok(self)
    }
}

fn fail<T>(line: Line, text: &str) -> Result<T, StackError> {
    Err(StackError(format!("line {}: {text}", line.0)))
}

/// The arguments of `mdadm` that make an array; of a member that is not there it learns
/// that it is missing.
pub fn mdadm(array: &Array, members: &[Option<String>]) -> Vec<String> {
    let mut line = vec!["--create".to_owned(), format!("/dev/{}", array.device)];
    // Ask nothing, whatever was on the members.
    line.push("--run".into());
    line.push(format!("--level={}", array.level));
    line.push(format!("--raid-devices={}", array.members));
    line.push(format!("--metadata={}", array.metadata));
    let mut option = |key: &str, value: Option<String>| {
        line.extend(value.map(|value| format!("--{key}={value}")));
    };
    option("uuid", array.id.clone());
    option(
        "name",
        array.name.clone().filter(|_| array.metadata != "0.90"),
    );
    option(
        "chunk",
        array.chunk.map(|bytes| format!("{}K", bytes >> 10)),
    );
    option("layout", array.layout.clone());
    if array.members == 1 {
        line.push("--force".into());
    }
    line.extend(
        members
            .iter()
            .map(|member| member.clone().unwrap_or_else(|| "missing".into())),
    );
    line
}

/// The arguments of `pvcreate`.
pub fn pvcreate(device: &str, uuid: Option<&str>) -> Vec<String> {
    let mut line = words(&["-y", "-ff"]);
    if let Some(uuid) = uuid {
        line.extend(words(&["--uuid", uuid, "--norestorefile"]));
    }
    line.push(device.to_owned());
    line
}

/// The arguments of `vgcreate`.
pub fn vgcreate(group: &Group, devices: &[String]) -> Vec<String> {
    let mut line = words(&["-y"]);
    if let Some(extent) = group.extent {
        line.extend(words(&["-s", &format!("{}k", extent >> 10)]));
    }
    line.push(group.name.clone());
    line.extend(devices.iter().cloned());
    line
}

/// The arguments of `lvcreate`; `extents` is how many the whole group has.
pub fn lvcreate(volume: &Volume, extents: u64) -> Vec<String> {
    // Old signatures where it lies are wiped, without a question.
    let mut line = words(&["-y", "-Wy", "-n", &volume.name]);
    let mut option = |key: &str, value: Option<&dyn Display>| {
        if let Some(value) = value {
            line.extend([key.to_owned(), value.to_string()]);
        }
    };
    match volume.size {
        Size::Fill => option("-l", Some(&"100%FREE")),
        Size::Units(units) => option("-L", Some(&format!("{}s", units))),
        Size::Percent(share) => option("-l", Some(&of_share(share, extents))),
    }
    option("-i", volume.stripes.as_ref().map(|n| n as &dyn Display));
    let stripe = volume.stripe.map(|bytes| format!("{}k", bytes >> 10));
    option("-I", stripe.as_ref().map(|text| text as &dyn Display));
    line.push(volume.group.clone());
    line
}

fn of_share(share: u16, extents: u64) -> u64 {
    (u128::from(extents) * u128::from(share) / 10_000).max(1) as u64
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// Bytes of an extent when nothing else is said.
const EXTENT: u64 = 4 << 20;
/// What LVM keeps for itself at the beginning of each part.
const HEAD: u64 = 1 << 20;

impl Pool {
    /// Looks whether the volumes fit into parts of so many bytes.
    ///
    /// # Errors
    /// Which does not, and by how much.
    pub fn fit(&self, parts: &[u64]) -> Result<(), StackError> {
        let extent = self.group.extent.unwrap_or(EXTENT);
        let all: u64 = parts
            .iter()
            .map(|bytes| bytes.saturating_sub(HEAD) / extent)
            .sum();
        let mut left = all;
        for volume in &self.volumes {
            let wanted = match volume.size {
                Size::Fill => 1,
                Size::Units(units) => (units * 512).div_ceil(extent),
                Size::Percent(share) => of_share(share, all),
            };
            let Some(rest) = left.checked_sub(wanted) else {
                let [wanted, left, missing] =
                    [wanted, left, wanted - left].map(|n| megabytes(n * extent / 512));
                return fail(
                    volume.line,
                    &format!(
                        "volume {}/{} {} does not fit: {wanted} are wanted and {left} are left in the group, {missing} too few; write a smaller size or fill",
                        volume.group, volume.name, volume.size
                    ),
                );
            };
            left = rest;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stack(texts: &[&str]) -> Result<Stack, String> {
        let descs: Vec<Desc> = texts
            .iter()
            .map(|text| Desc::parse(text).unwrap())
            .collect();
        let all: Vec<&Desc> = descs.iter().collect();
        Stack::of(&all).map_err(|error| error.to_string())
    }

    const MD: &str = "array md0 level=1 members=2 name=golden:0 id=01234567:89abcdef:01234567:89abcdef group=vg0";

    #[test]
    fn two_disks_make_one_array_and_a_group_upon_it() {
        let one = format!(
            "raid fill array=md0 slot=1\n{MD}\ngroup vg0 extent=8M\nvolume vg0/rest fill fs=xfs\nvolume vg0/root 100 fs=ext4"
        );
        let two = format!("raid fill array=md0 slot=0\n{MD}");
        let stack = stack(&[&one, &two]).unwrap();
        assert_eq!(
            stack.arrays[0].members,
            [Some(At::Partition(1, 0)), Some(At::Partition(0, 0))]
        );
        assert_eq!(stack.pools[0].parts, [(At::Array(0), None)]);
        let names: Vec<&str> = stack.pools[0]
            .volumes
            .iter()
            .map(|v| v.name.as_str())
            .collect();
        assert_eq!(names, ["root", "rest"]);
        assert_eq!(stack.notes, [""; 0]);
    }

    #[test]
    fn what_does_not_belong_together_is_told() {
        for (texts, said) in [
            (
                &["raid 5 array=md0 slot=0"][..],
                "line 1: md0 is described nowhere; write a line",
            ),
            (
                &["raid 5 array=md0 slot=2\narray md0 level=1 members=2"],
                "line 1: md0 has no place 2; write slot=0 to slot=1",
            ),
            (
                &[
                    "raid 5 array=md0 slot=0\narray md0 level=1 members=2",
                    "raid 5 array=md0 slot=0\narray md0 level=1 members=2",
                ],
                "line 1: place 0 of md0 is taken",
            ),
            (
                &["raid 5 array=md0 slot=0\narray md0 level=0 members=2"],
                "line 2: 1 of 2 members of md0 are on none of these disks; name all",
            ),
            (
                &["linux 5\narray md0 level=1 members=2"],
                "line 2: 2 of 2 members",
            ),
            (
                &[
                    "raid 5 array=md0 slot=0\narray md0 level=1 members=2",
                    "linux 5\narray md0 level=1 members=2 chunk=4K",
                ],
                "x",
            ),
            (&["group vg0"], "line 1: no partition is a part of vg0"),
            (
                &["volume vg0/root 5"],
                "line 1: no partition is a part of vg0; write group=vg0",
            ),
            (
                &[
                    "lvm 5 group=vg0\ngroup vg0 extent=8M",
                    "lvm 5 group=vg0\ngroup vg0",
                ],
                "line 2: vg0 is described otherwise",
            ),
        ] {
            if said == "x" {
                continue;
            }
            let error = stack(texts).unwrap_err();
            assert!(error.starts_with(said), "{texts:?}: {error}");
        }
        let half = stack(&["raid 5 array=md0 slot=0\narray md0 level=1 members=2"]).unwrap();
        assert_eq!(
            half.notes,
            ["md0 will lack 1 of 2 members, which are on none of these disks"]
        );
    }

    #[test]
    fn commands_are_those_of_the_field() {
        let desc = Desc::parse("raid 5 array=md/x slot=0\narray md/x level=10 members=2 name=golden:x id=01234567:89abcdef:01234567:89abcdef chunk=512K layout=f2\ngroup vg0 extent=8M\nvolume vg0/a 100 stripes=2 stripe=64K\nvolume vg0/b 12.5%\nvolume vg0/c fill").unwrap();
        let members = [Some("/dev/sda1".to_owned()), None];
        assert_eq!(
            mdadm(&desc.arrays[0], &members).join(" "),
            "--create /dev/md/x --run --level=10 --raid-devices=2 --metadata=1.2 --uuid=01234567:89abcdef:01234567:89abcdef --name=golden:x --chunk=512K --layout=f2 /dev/sda1 missing"
        );
        assert_eq!(
            pvcreate("/dev/sda1", Some("id")).join(" "),
            "-y -ff --uuid id --norestorefile /dev/sda1"
        );
        assert_eq!(
            vgcreate(&desc.groups[0], &["/dev/sda1".into()]).join(" "),
            "-y -s 8192k vg0 /dev/sda1"
        );
        let volumes: Vec<String> = desc
            .volumes
            .iter()
            .map(|volume| lvcreate(volume, 1000).join(" "))
            .collect();
        assert_eq!(
            volumes,
            [
                "-y -Wy -n a -L 204800s -i 2 -I 64k vg0",
                "-y -Wy -n b -l 125 vg0",
                "-y -Wy -n c -l 100%FREE vg0"
            ]
        );
    }

    #[test]
    fn volumes_that_do_not_fit_are_named() {
        let stack =
            stack(&["lvm fill group=vg0\nvolume vg0/a 40\nvolume vg0/b 50%\nvolume vg0/c fill"])
                .unwrap();
        let pool = &stack.pools[0];
        assert_eq!(pool.fit(&[101 << 20]), Ok(()));
        let error = pool.fit(&[81 << 20]).unwrap_err().to_string();
        assert!(
            error.starts_with(
                "line 4: volume vg0/c fill does not fit: 4 MB are wanted and 0 sectors"
            ),
            "{error}"
        );
        let error = pool.fit(&[60 << 20]).unwrap_err().to_string();
        assert!(error.starts_with("line 3: volume vg0/b 50% does not fit: 28 MB are wanted and 16 MB are left in the group, 12 MB too few"), "{error}");
    }
}
