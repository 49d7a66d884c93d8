//! What a person gives as stage 2, told by its content: an image of today, an old one, the
//! CD that it lies on, or a folder.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use goldring_contract::paths::{AGENT, STAGE2_IN_TREE};
use goldring_disk::cloop::{Cloop, Expanded, MARK};
use goldring_disk::probe::{FileSystem, probe};
use goldring_disk::superblock::complaint;
use goldring_disk::window::Window;
use goldring_transfer::digest::Sha256;

use super::folder::Folder;
use super::iso::Iso;
use super::place::shape;
use super::squash::{self, Squash};
use super::tree::{self, Tree, file_at};

/// An image on a CD in a CD is none.
const LAYERS: usize = 4;

/// Bytes that can be read at any place.
trait Bytes: BufRead + Seek + Send {}
impl<T: BufRead + Seek + Send> Bytes for T {}

/// Whose stage 2 it is, by the program that clones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    /// goldring's.
    Ours,
    /// One with the scripts of 2007 to 2010.
    Old2010,
    /// One with the script of 2002 to 2006.
    Old2005,
}

impl Whose {
    /// Its programs need what the kernel has given goldring's since: device nodes, and room
    /// to write.
    pub(super) fn is_old(self) -> bool {
        self != Self::Ours
    }
}

impl fmt::Display for Whose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ours => "a stage 2 of goldring",
            Self::Old2010 => "an old stage 2, with the scripts of ka-deploy 0.9x",
            Self::Old2005 => "an old stage 2, with the script of 2005",
        })
    }
}

/// A stage 2 that is open.
pub(super) struct Stage2 {
    /// What it turned out to be, layer by layer, for people.
    pub(super) layers: Vec<String>,
    /// What is in it.
    pub(super) tree: Box<dyn Tree>,
    /// Whose it is.
    pub(super) whose: Whose,
    /// SHA-256 of the image; of a folder's names, sizes and times.
    pub(super) sha256: String,
    /// The image, if it may be sent as it is: a squashfs that no other image holds.
    pub(super) image: Option<PathBuf>,
    /// How long the image is, in bytes.
    pub(super) length: u64,
}

/// Opens what lies at `path`.
///
/// # Errors
/// It cannot be read, or is no stage 2: what it is instead, and what to do.
pub(super) fn open(path: &Path) -> anyhow::Result<Stage2> {
    let context = || format!("reading {}", path.display());
    let meta = std::fs::metadata(path).with_context(context)?;
    let stage2 = if meta.is_dir() {
        open_folder(path)
    } else {
        let sha256 = digest(path).with_context(context)?;
        beside(path, &sha256)?;
        let source: Source = {
            let path = path.to_owned();
            Box::new(move || {
                Ok(Box::new(BufReader::with_capacity(
                    1 << 16,
                    File::open(&path)?,
                )))
            })
        };
        let mut layers = Vec::new();
        layer(&source, &mut layers).and_then(|tree| {
            let whose = whose(&*tree)?;
            let plain = layers.len() == 1 && layers[0].contains("squashfs");
            Ok(Stage2 {
                layers,
                tree,
                whose,
                sha256,
                image: (plain && whose == Whose::Ours).then(|| path.to_owned()),
                length: meta.len(),
            })
        })
    };
    stage2.with_context(|| format!("{} cannot be used", path.display()))
}

fn open_folder(path: &Path) -> anyhow::Result<Stage2> {
    for inside in STAGE2_IN_TREE {
        let image = path.join(inside);
        ensure!(
            !image.is_file(),
            "stage 2 is the file {}; say that",
            image.display()
        );
    }
    let folder = Folder::open(path)?;
    tree::check(folder.entries())?;
    Ok(Stage2 {
        layers: vec!["a folder".to_owned()],
        whose: whose(&folder)?,
        sha256: shape(folder.entries()),
        tree: Box::new(folder),
        image: None,
        length: 0,
    })
}

/// Opens the same bytes again from their beginning.
type Source = Box<dyn Fn() -> anyhow::Result<Box<dyn Bytes>>>;

/// What lies in `source`, and in that, until a tree comes.
fn layer(source: &Source, layers: &mut Vec<String>) -> anyhow::Result<Box<dyn Tree>> {
    ensure!(
        layers.len() < LAYERS,
        "it is an image in an image, over and over"
    );
    let mut bytes = source()?;
    let mut begin = Vec::new();
    bytes.by_ref().take(96).read_to_end(&mut begin)?;
    if begin.starts_with(MARK) {
        return cloop(bytes, layers);
    }
    bytes.rewind()?;
    let found = probe(&mut bytes)?;
    let found = match found {
        Some(known @ (FileSystem::Squashfs | FileSystem::Iso9660)) => known,
        other => bail!("{}", unfit(other, &begin)),
    };
    if found == FileSystem::Squashfs {
        squash::check(&begin)?;
    }
    if let Some(wrong) = complaint(&mut bytes, found)? {
        bail!("{wrong}; get it again");
    }
    bytes.rewind()?;
    layers.push(found.to_string());
    if found == FileSystem::Squashfs {
        let tree = Squash::open(bytes)?;
        tree::check(tree.entries())?;
        return Ok(Box::new(tree));
    }
    let tree = Iso::open(bytes, source()?)?;
    tree::check(tree.entries())?;
    // A whole CD: the image lies on it.
    let on_it = STAGE2_IN_TREE.iter().find_map(|path| {
        let number = file_at(tree.entries(), path)?;
        Some((*path, number, tree.place(number)?))
    });
    let Some((path, number, place)) = on_it else {
        return Ok(Box::new(tree));
    };
    let length = match tree.entries()[number].kind {
        tree::Kind::File(length) => length,
        _ => 0,
    };
    layers.push(format!("a CD with {path}"));
    let mut piece = Window::new(source()?, place, length);
    let mut all = Vec::new();
    // It is small, and read at many places.
    piece
        .read_to_end(&mut all)
        .with_context(|| format!("reading {path} on it"))?;
    ensure!(all.len() as u64 == length, "the CD is cut off in {path}");
    let all: std::sync::Arc<[u8]> = all.into();
    let inner: Source = Box::new(move || Ok(Box::new(io::Cursor::new(all.clone()))));
    layer(&inner, layers)
}

/// An old compressed loop image: what it holds is read without expanding it to a file.
fn cloop(bytes: Box<dyn Bytes>, layers: &mut Vec<String>) -> anyhow::Result<Box<dyn Tree>> {
    let image = Cloop::open(bytes).context("it is a broken compressed loop image, get it again")?;
    layers.push("a compressed loop image".to_owned());
    let shared = std::sync::Arc::new(std::sync::Mutex::new(Expanded::new(image)));
    let inner: Source = Box::new(move || {
        Ok(Box::new(BufReader::new(Shared {
            inner: shared.clone(),
            at: 0,
        })))
    });
    layer(&inner, layers)
}

/// One reader of several of the same bytes.
struct Shared {
    inner: std::sync::Arc<std::sync::Mutex<Expanded<Box<dyn Bytes>>>>,
    at: u64,
}

impl Read for Shared {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let mut inner = self
            .inner
            .lock()
            .map_err(|_| io::Error::other("poisoned"))?;
        inner.seek(io::SeekFrom::Start(self.at))?;
        let n = inner.read(out)?;
        self.at += n as u64;
        Ok(n)
    }
}

impl Seek for Shared {
    fn seek(&mut self, to: io::SeekFrom) -> io::Result<u64> {
        let mut inner = self
            .inner
            .lock()
            .map_err(|_| io::Error::other("poisoned"))?;
        let to = match to {
            io::SeekFrom::Current(by) => {
                let at = self.at.checked_add_signed(by);
                io::SeekFrom::Start(at.ok_or(io::ErrorKind::InvalidInput)?)
            }
            other => other,
        };
        self.at = inner.seek(to)?;
        Ok(self.at)
    }
}

/// What it is instead of a stage 2, as far as that shows.
fn unfit(found: Option<FileSystem>, begin: &[u8]) -> String {
    let is = |mark: &[u8]| begin.starts_with(mark);
    match found {
        Some(FileSystem::Ext) => "it is an ext image, such as a stage2.img, which dolly can send \
             as it is; to unpack it, mount it and prepare from that folder"
            .to_owned(),
        Some(other) => format!("it is {other} and no stage 2"),
        None if begin.is_empty() => "it is empty; get it again".to_owned(),
        None if is(b"sqsh") => "it is a squashfs for other processors (big-endian), as before 2009; \
             unpack it with `unsquashfs -d DIR FILE` and prepare from DIR"
            .to_owned(),
        None if is(b"#!/bin/sh\n#V") => {
            "it is a compressed loop image of another version than 2, which `extract_compressed_fs` \
             (cloop-utils) may read; prepare from what that writes"
                .to_owned()
        }
        None if is(b"\x1f\x8b") || is(b"\xfd7zXZ") || is(b"\x28\xb5\x2f\xfd") || is(b"BZh") => {
            "it is compressed once more, as all.rdz is; stage 2 is the file rescue.clp".to_owned()
        }
        None if is(b"<") || is(b"\n<") => {
            "it is a page of a web server, which had no such file; get it again".to_owned()
        }
        None => "it is neither a squashfs, nor a compressed loop image, nor an ISO image; stage 2 is \
             install/stage2/rescue.clp of the images or the CD"
            .to_owned(),
    }
}

fn whose(tree: &dyn Tree) -> anyhow::Result<Whose> {
    let has = |path: &str| file_at(tree.entries(), path).is_some();
    let agent = AGENT.trim_start_matches('/');
    let all = [
        (agent, Whose::Ours),
        ("ka/ka_replication.sh", Whose::Old2010),
        ("ka/install.sh", Whose::Old2005),
    ];
    let Some((_, whose)) = all.into_iter().find(|(path, _)| has(path)) else {
        bail!(
            "nothing in it can clone: neither /{agent}, nor /ka/ka_replication.sh or /ka/install.sh \
             of an old stage 2"
        );
    };
    ensure!(
        whose == Whose::Ours || has("ka/ka-d-client"),
        "it is {whose}, and /ka/ka-d-client is missing in it"
    );
    Ok(whose)
}

fn digest(path: &Path) -> io::Result<String> {
    let (mut file, mut sum) = (File::open(path)?, Sha256::default());
    let mut piece = vec![0; 1 << 20];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(sum.hex()),
            n => sum.add(&piece[..n]),
        }
    }
}

/// The list that was made with the images says the same, if it lies beside them.
fn beside(path: &Path, sha256: &str) -> anyhow::Result<()> {
    let list = path.with_file_name("SHA256SUMS");
    let (Ok(text), Some(name)) = (std::fs::read_to_string(&list), path.file_name()) else {
        return Ok(());
    };
    let line = text.lines().filter_map(|line| line.split_once([' ', '\t']));
    let mut known = line.filter(|(_, file)| Path::new(file.trim_start_matches([' ', '*'])) == name);
    match known.next() {
        Some((wanted, _)) if wanted != sha256 => bail!(
            "{} is not what {} says; get it again",
            path.display(),
            list.display()
        ),
        _ => Ok(()),
    }
}
