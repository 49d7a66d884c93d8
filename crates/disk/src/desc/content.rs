//! Reading what is in a partition, an array or a volume.

use super::options::Options;
use super::upon::{device_name, lvm_name, lvm_uuid};
use super::{Content, FileSystem, Format};

pub(super) fn small(text: &str) -> Result<u32, String> {
    let plain = text.len() <= 4 && text.chars().all(|c| c.is_ascii_digit());
    text.parse()
        .ok()
        .filter(|_| plain)
        .ok_or_else(|| format!("{text:?} is no number; write one from 0 to 9999"))
}

/// What is in it: at most one of a file system, a member and a part of a group.
pub(super) fn content(options: &mut Options) -> Result<Content, String> {
    let array = options.read("array", |text| device_name(text, "array"))?;
    let slot = options.read("slot", small)?;
    let group = options.read("group", |text| lvm_name(text, "group"))?;
    let part = options.read("pv", lvm_uuid)?;
    let format = options.take("fs")?;
    let contents = [array.is_some(), group.is_some(), format.is_some()];
    if contents.iter().filter(|there| **there).count() > 1 {
        return Err("only one of fs=, array= and group= can be in it; leave out the others".into());
    }
    let details = details(options)?;
    match (array, group, format.as_deref()) {
        (Some(array), ..) => {
            let slot = slot.ok_or_else(|| {
                format!("the place in {array} is missing; write slot=0 for the first")
            })?;
            details.refuse("array=")?;
            Ok(Content::Member { array, slot })
        }
        _ if slot.is_some() => {
            Err("slot= belongs to array=; write array=md0, or leave it out".into())
        }
        (_, Some(group), _) => {
            details.refuse("group=")?;
            Ok(Content::Physical { group, uuid: part })
        }
        _ if part.is_some() => {
            Err("pv= belongs to group=; write group=NAME, or leave it out".into())
        }
        (.., None | Some("none")) => {
            details.refuse("a line without fs=")?;
            Ok(if format.is_some() {
                Content::Nothing
            } else {
                Content::Unsaid
            })
        }
        (.., Some(format)) => file_system(Format::parse(format)?, details).map(Content::FileSystem),
    }
}

/// The options of a file system as they are written.
struct Details {
    label: Option<String>,
    uuid: Option<String>,
    block: Option<u32>,
    inode: Option<u32>,
    features: Option<String>,
    subvolumes: Option<String>,
    mount: Option<String>,
}

fn details(options: &mut Options) -> Result<Details, String> {
    Ok(Details {
        label: options.take("label")?,
        uuid: options.take("uuid")?,
        block: options.read("block", |text| power(text, "block", 512..=2 << 20))?,
        inode: options.read("inode", |text| power(text, "inode", 128..=65536))?,
        features: options.take("features")?,
        subvolumes: options.take("subvolumes")?,
        mount: options.read("mount", mount)?,
    })
}

impl Details {
    fn refuse(&self, beside: &str) -> Result<(), String> {
        let there = [
            ("label", self.label.is_some()),
            ("uuid", self.uuid.is_some()),
            ("block", self.block.is_some()),
            ("inode", self.inode.is_some()),
            ("features", self.features.is_some()),
            ("subvolumes", self.subvolumes.is_some()),
            ("mount", self.mount.is_some()),
        ];
        match there.iter().find(|(_, there)| *there) {
            Some((key, _)) => Err(format!(
                "{key}= is of a file system, and {beside} has none; write fs=… too, or leave it out"
            )),
            None => Ok(()),
        }
    }
}

fn file_system(format: Format, details: Details) -> Result<FileSystem, String> {
    if let Some(label) = &details.label {
        format.check_label(label)?;
    }
    if format == Format::Swap && details.mount.is_some() {
        return Err("swap is not mounted; leave out mount=".into());
    }
    let uuid = details
        .uuid
        .map(|text| format.identifier(&text))
        .transpose()?;
    let features = details.features.unwrap_or_default();
    let features: Vec<String> = features
        .split(',')
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect();
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-:".contains(c);
    if let Some(wrong) = features.iter().find(|word| !word.chars().all(plain)) {
        return Err(format!(
            "{wrong:?} is no feature; write their names with commas and no blanks"
        ));
    }
    let choice = format.is_ext() || matches!(format, Format::Xfs | Format::Btrfs);
    if !choice && !features.is_empty() {
        return Err(format!(
            "{format} has no features to choose from; leave out features="
        ));
    }
    let subvolumes = details.subvolumes.as_deref().map(subvolumes).transpose()?;
    if format != Format::Btrfs && subvolumes.is_some() {
        return Err(format!("{format} has no subvolumes; leave out subvolumes="));
    }
    Ok(FileSystem {
        subvolumes: subvolumes.unwrap_or_default(),
        format,
        label: details.label,
        uuid,
        block: details.block,
        inode: details.inode,
        features,
        mount: details.mount,
    })
}

/// Names with commas between them, each a path from the top of the file system.
fn subvolumes(text: &str) -> Result<Vec<String>, String> {
    let good = |name: &str| name.split('/').all(|part| !matches!(part, "" | "." | ".."));
    let names: Vec<String> = text.split(',').map(str::to_owned).collect();
    match names.iter().find(|name| !good(name)) {
        Some(wrong) => Err(format!(
            "{wrong:?} is no subvolume; write names without / in front, such as subvolumes=@,@home"
        )),
        None => Ok(names),
    }
}

fn power(text: &str, key: &str, range: std::ops::RangeInclusive<u32>) -> Result<u32, String> {
    let (least, most) = (*range.start(), *range.end());
    let number = text.parse::<u32>().ok().filter(|_| !text.starts_with('+'));
    number
        .filter(|number| number.is_power_of_two() && range.contains(number))
        .ok_or_else(|| {
            format!("{key}={text} is no size in bytes; write a power of two from {least} to {most}")
        })
}

fn mount(text: &str) -> Result<String, String> {
    if !text.starts_with('/') || text.split('/').any(|part| part == "..") {
        return Err(format!(
            "mount={text:?} is no place; write an absolute path such as mount=/home"
        ));
    }
    Ok(text.to_owned())
}
