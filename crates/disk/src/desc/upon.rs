//! Reading the lines of what is built upon partitions: arrays, groups, volumes.

use super::content::{content, small};
use super::options::{Options, Word};
use super::size::{Size, units};
use super::{Array, Content, Group, Line, Volume};

pub(super) fn array(line: Line, words: Vec<Word>) -> Result<Array, String> {
    let (device, mut options) = named(words, "array md0 level=1 members=2")?;
    let device = device_name(&device, "array")?;
    let missing = |key: &str| format!("{key}= is missing; write \"array md0 level=1 members=2\"");
    let level = options
        .read("level", level)?
        .ok_or_else(|| missing("level"))?;
    let members = options
        .read("members", small)?
        .ok_or_else(|| missing("members"))?;
    if !(1..=384).contains(&members) {
        return Err(format!(
            "members={members} cannot be; write how many disks the array has"
        ));
    }
    let chunk = options
        .read("chunk", bytes)?
        .map(|bytes| u32::try_from(bytes).unwrap_or(0));
    if level == 1 && chunk.is_some() {
        return Err("level 1 has no chunks; leave out chunk=".into());
    }
    if chunk.is_some_and(|chunk| !chunk.is_power_of_two() || chunk < 4096) {
        return Err("a chunk is a power of two from 4K; write chunk=512K".into());
    }
    let layout = options.read("layout", layout)?;
    if level != 10 && layout.is_some() {
        return Err("only level 10 has a layout; leave out layout=".into());
    }
    let array = Array {
        line,
        device,
        level,
        members,
        metadata: options
            .read("metadata", metadata)?
            .unwrap_or_else(|| "1.2".into()),
        name: options.read("name", array_name)?,
        id: options.read("id", array_id)?,
        chunk,
        layout,
        content: content(&mut options)?,
    };
    options.finish()?;
    Ok(array)
}

/// The name behind the first word of a line.
fn named(mut words: Vec<Word>, example: &str) -> Result<(String, Options), String> {
    if words.first().is_none_or(|word| word.value.is_some()) {
        return Err(format!("the name is missing; write \"{example}\""));
    }
    let name = words.remove(0).key;
    Ok((name, Options::new(words)))
}

fn level(text: &str) -> Result<u8, String> {
    match text {
        "0" => Ok(0),
        "1" => Ok(1),
        "10" => Ok(10),
        _ => Err(format!(
            "level={text} is not made; write level=0, level=1 or level=10"
        )),
    }
}

fn metadata(text: &str) -> Result<String, String> {
    if !["0.90", "1.0", "1.1", "1.2"].contains(&text) {
        return Err(format!(
            "metadata={text} is not made; write 0.90, 1.0, 1.1 or 1.2"
        ));
    }
    Ok(text.to_owned())
}

fn layout(text: &str) -> Result<String, String> {
    let digits = text.strip_prefix(['n', 'f', 'o']).unwrap_or("");
    if digits.len() != 1 || !("2"..="9").contains(&digits) {
        return Err(format!(
            "layout={text} is none of level 10; write n2, f2 or o2"
        ));
    }
    Ok(text.to_owned())
}

fn array_name(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_graphic() && !"\"'\\/".contains(c);
    if text.len() > 32 || !text.chars().all(plain) {
        return Err(format!(
            "name={text:?} is no name of an array; write up to 32 letters and digits"
        ));
    }
    Ok(text.to_owned())
}

fn array_id(text: &str) -> Result<String, String> {
    let parts: Vec<&str> = text.split(':').collect();
    let hex = |part: &&str| part.len() == 8 && part.chars().all(|c| c.is_ascii_hexdigit());
    if parts.len() != 4 || !parts.iter().all(hex) {
        return Err(format!(
            "id={text} is none of an array; write four times 8 hexadecimal digits with colons"
        ));
    }
    Ok(text.to_ascii_lowercase())
}

/// Bytes with a letter: `512K`, `4M`.
fn bytes(text: &str) -> Result<u64, String> {
    units(text, 2048)
        .map(|units| units * 512)
        .filter(|bytes| (512..=16 << 30).contains(bytes))
        .ok_or_else(|| format!("{text:?} is no size; write 512K or 4M"))
}

/// The name of an array below `/dev`: `md0`, `md/root`.
pub(super) fn device_name(text: &str, key: &str) -> Result<String, String> {
    let tail = text.strip_prefix("md/").unwrap_or(text);
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    let numbered = text
        .strip_prefix("md")
        .is_some_and(|n| !n.is_empty() && n.chars().all(|c| c.is_ascii_digit()));
    let good = numbered || (tail != text && !tail.is_empty() && !tail.starts_with(['-', '.']));
    if !good || tail.len() > 32 || !tail.chars().all(plain) {
        return Err(format!(
            "{key} {text:?} is no name of an array; write md0, md1 or md/NAME"
        ));
    }
    Ok(text.to_owned())
}

/// A name of LVM (lvm(8), "VALID NAMES").
pub(super) fn lvm_name(text: &str, key: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "+_.-".contains(c);
    let special = matches!(text, "." | "..") || text.starts_with('-');
    if text.is_empty() || text.len() > 127 || special || !text.chars().all(plain) {
        return Err(format!(
            "{key} {text:?} is no name of LVM; write letters and digits"
        ));
    }
    Ok(text.to_owned())
}

/// An identifier of LVM: 32 letters and digits in seven pieces.
pub(super) fn lvm_uuid(text: &str) -> Result<String, String> {
    let pieces: Vec<usize> = text.split('-').map(str::len).collect();
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
    if pieces != [6, 4, 4, 4, 4, 4, 6] || !text.chars().all(plain) {
        return Err(format!(
            "pv={text} is no identifier of LVM; copy it from pvs -o pv_uuid"
        ));
    }
    Ok(text.to_owned())
}

pub(super) fn group(line: Line, words: Vec<Word>) -> Result<Group, String> {
    let (name, mut options) = named(words, "group vg0 extent=4M")?;
    let name = lvm_name(&name, "group")?;
    let extent = options.read("extent", bytes)?;
    if extent.is_some_and(|extent| !extent.is_power_of_two() || extent < 1024) {
        return Err("an extent is a power of two from 1K; write extent=4M".into());
    }
    options.finish()?;
    Ok(Group { line, name, extent })
}

pub(super) fn volume(line: Line, mut words: Vec<Word>) -> Result<Volume, String> {
    let example = "volume vg0/root 20G fs=ext4";
    if words.get(1).is_none_or(|word| word.value.is_some()) {
        return Err(format!(
            "a volume has a name and a size; write \"{example}\""
        ));
    }
    let size = Size::parse(&words.remove(1).key)?;
    let (name, mut options) = named(words, example)?;
    let (group, name) = name
        .split_once('/')
        .ok_or_else(|| format!("volume {name:?} has no group; write \"{example}\""))?;
    let volume = Volume {
        line,
        group: lvm_name(group, "group")?,
        name: lvm_name(name, "volume")?,
        size,
        stripes: options.read("stripes", small)?,
        stripe: options.read("stripe", |text| {
            bytes(text).map(|bytes| u32::try_from(bytes).unwrap_or(0))
        })?,
        content: content(&mut options)?,
    };
    if volume.stripes.is_some_and(|stripes| stripes < 2) {
        return Err("a volume is spread over two parts or more; leave out stripes=".into());
    }
    if volume.stripe.is_some_and(|stripe| {
        volume.stripes.is_none() || !stripe.is_power_of_two() || stripe < 4096
    }) {
        return Err(
            "stripe= belongs to stripes= and is a power of two from 4K; write stripes=2 stripe=64K"
                .into(),
        );
    }
    if matches!(
        volume.content,
        Content::Physical { .. } | Content::Member { .. }
    ) {
        return Err("a volume holds a file system; write fs=… instead of array= or group=".into());
    }
    options.finish()?;
    Ok(volume)
}
