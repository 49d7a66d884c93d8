//! What is built upon partitions: arrays, groups, volumes; put together from the desc
//! files of all disks, and the commands that make them. Nothing is run here.

mod commands;
#[cfg(test)]
mod tests;

use crate::desc::{Array, Content, Desc, Group, Line, Size, Volume, size::megabytes};
pub use commands::{lvcreate, mdadm, pvcreate, vgcreate};

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
                Size::Percent(share) => commands::of_share(share, all),
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
