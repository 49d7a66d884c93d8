//! Reading a desc.

use super::content::{content, small};
use super::options::{Options, Word, words};
use super::size::{Size, units};
use super::upon::{array, group, volume};
use super::{
    Array, Desc, Group, Kind, LEGACY_BOOT, Line, Partition, Problem, Problems, Table, Volume,
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
