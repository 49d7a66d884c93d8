//! Writes a [`Tree`] as a squashfs, in this process: no host tool, no root.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufWriter, Cursor, Read, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use anyhow::{Context, Result, bail};
use backhand::compression::{CompressionOptions, Compressor as Id, Zstd};
use backhand::{FilesystemCompressor, FilesystemWriter, NodeHeader};

use crate::recipe::{Compressor, Squashfs};
use crate::tree::{Content, Kind, Tree};

/// Told how many bytes are packed, of how many.
type Tick<'a> = &'a dyn Fn(u64, u64);

/// Opened when its first byte is wanted and closed after its last: a tree has more
/// files than a process may have open.
struct Lazy<'a> {
    path: PathBuf,
    file: Option<File>,
    ended: bool,
    counter: Counter<'a>,
}

impl Read for Lazy<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.ended {
            return Ok(0);
        }
        let mut file = match self.file.take() {
            Some(file) => file,
            None => File::open(&self.path)?,
        };
        let n = file.read(buffer)?;
        if n == 0 {
            self.ended = true;
        } else {
            self.file = Some(file);
            self.counter.add(n);
        }
        Ok(n)
    }
}

#[derive(Clone)]
struct Counter<'a> {
    done: Rc<Cell<u64>>,
    all: u64,
    tick: Tick<'a>,
}

impl Counter<'_> {
    fn add(&self, n: usize) {
        self.done.set(self.done.get() + n as u64);
        (self.tick)(self.done.get(), self.all);
    }
}

/// Writes the tree to `path`; everything belongs to root and all times are 0.
///
/// # Errors
/// A file of the tree cannot be read, `path` cannot be written, or the compressor does
/// not know the level.
pub fn write(tree: &Tree, options: &Squashfs, path: &Path, tick: Tick<'_>) -> Result<()> {
    let counter = Counter {
        done: Rc::new(Cell::new(0)),
        all: tree.size()?,
        tick,
    };
    let mut writer = FilesystemWriter::default();
    writer.set_compressor(compressor(options)?);
    writer.set_block_size(options.block_size);
    writer.set_only_root_id();
    writer.set_time(0);
    writer.set_root_mode(0o755);
    for (name, node) in tree.iter() {
        let header = NodeHeader::new(node.mode, 0, 0, 0);
        let name_in = format!("/{name}");
        match &node.kind {
            Kind::Folder => writer.push_dir(name_in, header),
            Kind::Link(target) => writer.push_symlink(target, name_in, header),
            Kind::File(Content::Bytes(bytes)) => {
                writer.push_file(Cursor::new(bytes.clone()), name_in, header)
            }
            Kind::File(Content::File(path)) => {
                let lazy = Lazy {
                    path: path.clone(),
                    file: None,
                    ended: false,
                    counter: counter.clone(),
                };
                writer.push_file(lazy, name_in, header)
            }
            Kind::Device { major, minor } => {
                writer.push_char_device(makedev(*major, *minor), name_in, header)
            }
        }
        .with_context(|| format!("adding /{name} to the squashfs"))?;
    }
    let context = || format!("writing {}", path.display());
    let mut out = BufWriter::new(File::create(path).with_context(context)?);
    writer.write(&mut out).with_context(context)?;
    out.flush().with_context(context)?;
    Ok(())
}

/// The kernel's old encoding, which squashfs stores (`new_encode_dev`).
fn makedev(major: u32, minor: u32) -> u32 {
    (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12)
}

fn compressor(options: &Squashfs) -> Result<FilesystemCompressor> {
    let level = options.level;
    match options.compressor {
        Compressor::Zstd if (1..=22).contains(&level) => Ok(FilesystemCompressor::new(
            Id::Zstd,
            Some(CompressionOptions::Zstd(Zstd {
                compression_level: level,
            })),
        )?),
        Compressor::Xz if level <= 9 => {
            let mut compressor = FilesystemCompressor::new(Id::Xz, None)?;
            let mut extra = backhand::ExtraXz::default();
            extra.level(level)?;
            compressor.extra(backhand::CompressionExtra::Xz(extra))?;
            Ok(compressor)
        }
        kind => bail!("squashfs.level {level} is not one of {kind:?}"),
    }
}
