//! `goldring store list`.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use goldring_contract::calendar;
use goldring_disk::target::decimal;
use goldring_files::store::{Image, KeptDisk, Kind, StoreError, is_busy, kind, size_on_disk};
use goldring_files::text::shown;
use serde_json::{Value, json};

use super::{ListArgs, heading, images, kept, name, plain};
use crate::deploy::contents;
use crate::fault;

/// What there is to say of an image.
struct Row {
    path: PathBuf,
    /// Bytes of its files.
    stored: u64,
    state: State,
}

enum State {
    Image(Box<Image>),
    /// It is being saved.
    Busy,
    /// What an interrupted save has left.
    Partial,
    Broken(StoreError),
}

/// Lists what is in a folder.
pub(super) fn run(args: &ListArgs) -> anyhow::Result<()> {
    let found = images(&args.folder)?;
    let is_one = kind(&args.folder) != Kind::Other;
    let text = match &found[..] {
        [one] if is_one && !args.json => Row::of(one).details(),
        [] if !args.json => {
            eprintln!("there is no image in {}", shown(&args.folder));
            String::new()
        }
        all => text(all, args.json),
    };
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}

/// These images, for people or programs.
pub(super) fn text(images: &[PathBuf], is_json: bool) -> String {
    let rows: Vec<Row> = images.iter().map(|path| Row::of(path)).collect();
    if !is_json {
        return table(&rows);
    }
    let all: Value = rows.iter().map(Row::json).collect();
    format!("{all:#}\n")
}

impl Row {
    fn of(path: &Path) -> Self {
        let state = match kind(path) {
            Kind::Partial if is_busy(path) => State::Busy,
            Kind::Partial => State::Partial,
            _ => Image::open(path).map_or_else(State::Broken, |image| State::Image(image.into())),
        };
        Self {
            stored: size_on_disk(path),
            state,
            path: path.to_owned(),
        }
    }

    /// What is to be said of one that is no image.
    fn trouble(&self) -> String {
        match &self.state {
            State::Image(_) => String::new(),
            State::Busy => "it is being saved or removed".to_owned(),
            State::Partial => {
                "not whole: saving or removing it was interrupted; goldring store rm".to_owned()
            }
            State::Broken(error) => format!("broken: {}", why(error)),
        }
    }

    fn columns(&self) -> [String; 6] {
        let State::Image(image) = &self.state else {
            let stored = decimal(self.stored);
            return [
                name(&self.path),
                "-".into(),
                "-".into(),
                "-".into(),
                stored,
                self.trouble(),
            ];
        };
        let index = &image.index;
        [
            name(&self.path),
            calendar::minute(index.saved),
            index.host.clone(),
            decimal(index.unpacked()),
            decimal(self.stored),
            plain(&index.description),
        ]
    }

    fn details(&self) -> String {
        let State::Image(image) = &self.state else {
            return format!("{}: {}\n", name(&self.path), self.trouble());
        };
        let index = &image.index;
        let pieces: usize = index.streams.iter().map(|stream| stream.pieces.len()).sum();
        let mut text = format!(
            "{}\nsaved by goldring {}\n{} files, {}, kept in {} ({pieces} pieces)\n",
            heading(image),
            index.version,
            index.streams[0].entries,
            decimal(index.unpacked()),
            decimal(self.stored),
        );
        match kept::golden(image) {
            Ok(golden) => {
                golden
                    .disks
                    .iter()
                    .for_each(|disk| text.push_str(&disk.text()));
                text.push_str(&contents(&golden.manifest, &golden.raw));
            }
            Err(error) => text.push_str(&format!("broken: {}\n", fault::chain(&error))),
        }
        text
    }

    fn json(&self) -> Value {
        let state = match &self.state {
            State::Image(_) => "whole",
            State::Busy => "busy",
            State::Partial => "partial",
            State::Broken(_) => "broken",
        };
        let mut value = json!({
            "name": name(&self.path),
            "path": std::path::absolute(&self.path).unwrap_or_else(|_| self.path.clone()).to_string_lossy(),
            "state": state,
            "stored": self.stored,
        });
        match &self.state {
            State::Image(image) => {
                let index = &image.index;
                let disk = |disk: &KeptDisk| json!({ "device": disk.device, "bytes": disk.size });
                let disks: Value = index.disks.iter().map(disk).collect();
                value["saved"] = json!(index.saved);
                value["host"] = json!(index.host);
                value["goldring"] = json!(index.version);
                value["description"] = json!(index.description);
                value["files"] = json!(index.streams[0].entries);
                value["bytes"] = json!(index.unpacked());
                value["disks"] = disks;
            }
            _ => value["why"] = json!(self.trouble()),
        }
        value
    }
}

/// The whole chain of an error, without the path, which stands in another column.
fn why(error: &StoreError) -> String {
    match error {
        StoreError::Index(_, error) => error.to_string(),
        StoreError::Io(doing, error) => format!("{doing}: {error}"),
        other => other.to_string(),
    }
}

fn table(rows: &[Row]) -> String {
    let head = [
        "name",
        "saved (UTC)",
        "golden node",
        "system",
        "kept in",
        "description",
    ];
    let mut lines = vec![head.map(str::to_owned)];
    lines.extend(rows.iter().map(Row::columns));
    let width = |column: usize| {
        let cells = lines.iter().map(|line| line[column].chars().count());
        cells.max().unwrap_or(0)
    };
    let [a, b, c, d, e] = [0, 1, 2, 3, 4].map(width);
    let line = |[name, saved, host, system, stored, description]: &[String; 6]| {
        let line =
            format!("{name:a$}  {saved:b$}  {host:c$}  {system:>d$}  {stored:>e$}  {description}");
        format!("{}\n", line.trim_end())
    };
    lines.iter().map(line).collect()
}
