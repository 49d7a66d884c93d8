//! Reading a desc.

use super::options::{Options, Word, words};
use super::size::{Size, units};
use super::{
    Array, Content, Desc, FileSystem, Format, Group, Kind, LEGACY_BOOT, Line, Partition, Problem,
    Problems, Table, Volume,
};
use crate::guid::Guid;

/// How many lines are looked at; a desc has few, another file given by mistake may not.
const MOST_LINES: usize = 10_000;

pub(super) fn parse(text: &str) -> Result<Desc, Problems> {
    let mut reader = Reader::default();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for (at, line) in text.lines().take(MOST_LINES).enumerate() {
        let number = at + 1;
        if let Err(text) = reader.line(line, number) {
            let line = number;
            reader.problems.push(Problem { line, text });
        }
    }
    if text.lines().nth(MOST_LINES).is_some() {
        reader.problems.push(Problem {
            line: MOST_LINES + 1,
            text: "this is too long for a desc; name the file that fdisk_to_desc printed".into(),
        });
    }
    reader.finish()
}

#[derive(Default)]
struct Reader {
    table: Option<Table>,
    partitions: Vec<Partition>,
    arrays: Vec<Array>,
    groups: Vec<Group>,
    volumes: Vec<Volume>,
    problems: Vec<Problem>,
}

impl Reader {
    fn line(&mut self, text: &str, number: usize) -> Result<(), String> {
        let mut words = words(text)?;
        if words.is_empty() {
            return Ok(());
        }
        let first = words.remove(0);
        if first.value.is_some() {
            return Err(format!(
                "a line begins with a type; write \"linux SIZE {}=…\"",
                first.key
            ));
        }
        let line = Line(number);
        match first.key.as_str() {
            "dos" | "gpt" => self.header(&first.key, words)?,
            "array" => self.arrays.push(array(line, words)?),
            "group" => self.groups.push(group(line, words)?),
            "volume" => self.volumes.push(volume(line, words)?),
            _ => {
                // What comes first without a header is of a DOS table, as ever.
                let gpt = self.table.get_or_insert(Table::Dos(None)).is_gpt();
                let partition = partition(line, first.key, words, gpt)?;
                self.partitions.push(partition);
            }
        }
        Ok(())
    }

    fn header(&mut self, word: &str, words: Vec<Word>) -> Result<(), String> {
        if self.table.is_some() {
            return Err(format!(
                "{word} must stand above all partitions, and once; move it to the first line"
            ));
        }
        let mut options = Options::new(words);
        let table = if word == "gpt" {
            Table::Gpt(options.read("id", guid)?)
        } else {
            Table::Dos(options.read("id", dos_id)?)
        };
        // Even with a mistake behind it, it tells what the lines below are of.
        self.table = Some(table);
        options.finish()
    }

    fn finish(mut self) -> Result<Desc, Problems> {
        let desc = Desc {
            table: self.table.unwrap_or(Table::Dos(None)),
            partitions: self.partitions,
            arrays: self.arrays,
            groups: self.groups,
            volumes: self.volumes,
        };
        // What is wrong with the whole follows from a line that is missing because it is
        // wrong itself; so that is said first, and alone.
        if self.problems.is_empty() {
            match desc.check() {
                Ok(()) => return Ok(desc),
                Err(Problems(problems)) => self.problems = problems,
            }
        }
        Err(Problems(self.problems))
    }
}

fn guid(text: &str) -> Result<Guid, String> {
    let guid = text
        .parse::<Guid>()
        .map_err(|error| format!("{text}: {error}"))?;
    if guid.is_nil() {
        return Err(format!("{text} stands for none; leave it out"));
    }
    Ok(guid)
}

fn dos_id(text: &str) -> Result<u32, String> {
    hexadecimal(text, 8)
        .and_then(|number| u32::try_from(number).ok())
        .ok_or_else(|| {
            format!("id={text} is none of a dos table; write 0x and up to 8 hexadecimal digits")
        })
}

fn hexadecimal(text: &str, most: usize) -> Option<u64> {
    let digits = text.strip_prefix("0x")?;
    let plain = (1..=most).contains(&digits.len()) && digits.chars().all(|c| c.is_ascii_hexdigit());
    u64::from_str_radix(digits, 16).ok().filter(|_| plain)
}

/// `[logical] TYPE SIZE`, as ever, and options.
fn partition(line: Line, first: String, words: Vec<Word>, gpt: bool) -> Result<Partition, String> {
    let mut words = words.into_iter().peekable();
    let mut word = || {
        let next = words.next_if(|word| word.value.is_none());
        next.map(|word| word.key)
    };
    let logical = first == "logical";
    let kind = if logical {
        word().ok_or("logical stands alone; write \"logical linux 500\"")?
    } else {
        first
    };
    if logical && gpt {
        return Err("gpt has no logical partitions; leave out the word logical".into());
    }
    if logical && kind == "extended" {
        return Err("an extended partition is not logical; leave out the word logical".into());
    }
    let mut kind = Kind::parse(&kind, gpt)?;
    let size = word()
        .ok_or("the size is missing; write megabytes (500), 20G, 25% or fill behind the type")?;
    let size = Size::parse(&size)?;
    let mut options = Options::new(words.collect());
    if kind.is_extended() {
        let byte = options.read("type", extended_type)?;
        kind = Kind::Extended(byte.unwrap_or(super::EXTENDED[0]));
    }
    let mut partition = Partition {
        line,
        logical,
        start: options.read("start", |text| place(text, "start"))?,
        spare: options.read("spare", |text| place(text, "spare"))?,
        boot: options.flag("boot")?,
        ..Partition::plain(kind, size)
    };
    if partition.spare.is_some() && size != Size::Fill {
        return Err("spare= belongs to fill: it says what fill leaves; leave it out".into());
    }
    if !logical {
        partition.number = options.read("number", small)?;
    }
    if gpt {
        partition.attributes = options.read("attributes", attributes)?.unwrap_or(0);
        partition.name = options.read("name", partition_name)?;
        partition.part_uuid = options.read("part-uuid", guid)?;
    }
    if !kind.is_extended() {
        partition.content = content(&mut options)?;
    }
    options.finish()?;
    Ok(partition)
}

fn place(text: &str, key: &str) -> Result<u64, String> {
    units(text, 2048).ok_or_else(|| {
        format!("{key}={text} is no place; write megabytes ({key}=1), or sectors of 512 bytes ({key}=2048s)")
    })
}

fn extended_type(text: &str) -> Result<u8, String> {
    let byte = u8::from_str_radix(text, 16).ok();
    byte.filter(|byte| super::EXTENDED.contains(byte) && text.len() == 1 + usize::from(*byte > 0xF))
        .ok_or_else(|| {
            format!("type={text} is no extended partition; write type=5, type=f or type=85")
        })
}

fn attributes(text: &str) -> Result<u64, String> {
    let number = hexadecimal(text, 16).ok_or_else(|| {
        format!("attributes={text} is no number; write 0x and hexadecimal digits")
    })?;
    if number & LEGACY_BOOT != 0 {
        return Err("attribute 0x4 is written \"boot\"; take it out of the number".into());
    }
    Ok(number)
}

fn partition_name(text: &str) -> Result<String, String> {
    let length = text.encode_utf16().count();
    if length > 36 {
        return Err(format!(
            "name={text:?} has {length} letters, and GPT has room for 36; write a shorter one"
        ));
    }
    Ok(text.to_owned())
}

fn small(text: &str) -> Result<u32, String> {
    let plain = text.len() <= 4 && text.chars().all(|c| c.is_ascii_digit());
    text.parse()
        .ok()
        .filter(|_| plain)
        .ok_or_else(|| format!("{text:?} is no number; write one from 0 to 9999"))
}

/// What is in it: at most one of a file system, a member and a part of a group.
fn content(options: &mut Options) -> Result<Content, String> {
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
    mount: Option<String>,
}

fn details(options: &mut Options) -> Result<Details, String> {
    Ok(Details {
        label: options.take("label")?,
        uuid: options.take("uuid")?,
        block: options.read("block", |text| power(text, "block", 512..=2 << 20))?,
        inode: options.read("inode", |text| power(text, "inode", 128..=65536))?,
        features: options.take("features")?,
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
    Ok(FileSystem {
        format,
        label: details.label,
        uuid,
        block: details.block,
        inode: details.inode,
        features,
        mount: details.mount,
    })
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

fn array(line: Line, words: Vec<Word>) -> Result<Array, String> {
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
fn device_name(text: &str, key: &str) -> Result<String, String> {
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
fn lvm_name(text: &str, key: &str) -> Result<String, String> {
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
fn lvm_uuid(text: &str) -> Result<String, String> {
    let pieces: Vec<usize> = text.split('-').map(str::len).collect();
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
    if pieces != [6, 4, 4, 4, 4, 4, 6] || !text.chars().all(plain) {
        return Err(format!(
            "pv={text} is no identifier of LVM; copy it from pvs -o pv_uuid"
        ));
    }
    Ok(text.to_owned())
}

fn group(line: Line, words: Vec<Word>) -> Result<Group, String> {
    let (name, mut options) = named(words, "group vg0 extent=4M")?;
    let name = lvm_name(&name, "group")?;
    let extent = options.read("extent", bytes)?;
    if extent.is_some_and(|extent| !extent.is_power_of_two() || extent < 1024) {
        return Err("an extent is a power of two from 1K; write extent=4M".into());
    }
    options.finish()?;
    Ok(Group { line, name, extent })
}

fn volume(line: Line, mut words: Vec<Word>) -> Result<Volume, String> {
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
