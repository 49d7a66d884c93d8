//! A squashfs, read in this process: neither a mount nor root nor a tool is needed.

use std::io::{self, BufRead, Seek, Write};

use anyhow::{Context, bail};
use backhand::{BackhandError, FilesystemReader, InnerNode, Node, SquashfsFileReader};

use super::tree::{Entry, Kind, Tree};

/// One that is open.
pub(super) struct Squash {
    image: FilesystemReader<'static>,
    entries: Vec<Entry>,
}

/// What unpacks others than ours does.
const BY_HAND: &str =
    "unpack it with `unsquashfs -d DIR FILE` (squashfs-tools) and prepare from DIR";

impl Squash {
    /// Reads its tables.
    ///
    /// # Errors
    /// It is broken, cut off, of an older version, or compressed by what is not known here.
    pub(super) fn open(file: impl BufRead + Seek + Send + 'static) -> anyhow::Result<Self> {
        let image = FilesystemReader::from_reader(file).map_err(words)?;
        let entries = image.files().map(entry).collect::<anyhow::Result<_>>()?;
        Ok(Self { image, entries })
    }
}

/// Its number of version and its compressor, told before anything else is read.
///
/// # Errors
/// One that is not read here: what to do instead.
pub(super) fn check(superblock: &[u8]) -> anyhow::Result<()> {
    let word = |at: usize| match superblock.get(at..at + 2) {
        Some(bytes) => Ok(u16::from_le_bytes([bytes[0], bytes[1]])),
        None => Err(anyhow::anyhow!(
            "it is cut off: not even its beginning is there"
        )),
    };
    // Linux, fs/squashfs/squashfs_fs.h: compression at 20, version at 28 and 30.
    let (compressor, major, minor) = (word(20)?, word(28)?, word(30)?);
    if major < 4 {
        bail!("it is a squashfs {major}.{minor}, as before 2009; {BY_HAND}");
    }
    match compressor {
        1 | 4 | 6 => Ok(()),
        2 => bail!("it is compressed with lzma, which is not known here; {BY_HAND}"),
        3 => bail!("it is compressed with lzo, which is not known here; {BY_HAND}"),
        5 => bail!("it is compressed with lz4, which is not known here; {BY_HAND}"),
        other => bail!("its compression number {other} is none"),
    }
}

/// Backhand's sentences are for programmers.
fn words(error: BackhandError) -> anyhow::Error {
    match error {
        BackhandError::StdIo(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            anyhow::anyhow!("it is cut off, or its tables are damaged; get it again")
        }
        BackhandError::StdIo(error) => {
            anyhow::Error::new(error).context("its tables are damaged, get it again")
        }
        other => anyhow::anyhow!("its tables are damaged ({other}); get it again"),
    }
}

fn entry(node: &Node<SquashfsFileReader>) -> anyhow::Result<Entry> {
    let path = node
        .fullpath
        .strip_prefix("/")
        .context("a name without a place")?;
    let kind = match &node.inner {
        InnerNode::File(file) => Kind::File(file.file_len() as u64),
        InnerNode::Symlink(link) => Kind::Link(link.link.clone()),
        InnerNode::Dir(_) => Kind::Folder,
        InnerNode::CharacterDevice(device) => {
            let (major, minor) = numbers(device.device_number);
            Kind::Char(major, minor)
        }
        InnerNode::BlockDevice(device) => {
            let (major, minor) = numbers(device.device_number);
            Kind::Block(major, minor)
        }
        InnerNode::NamedPipe => Kind::Pipe,
        InnerNode::Socket => Kind::Socket,
    };
    let mut entry = Entry::new(path.to_owned(), node.header.permissions.into(), kind);
    entry.uid = node.header.uid;
    entry.gid = node.header.gid;
    entry.changed = node.header.mtime.into();
    Ok(entry)
}

/// The kernel's encoding of a device (`new_decode_dev`).
fn numbers(device: u32) -> (u32, u32) {
    (
        (device & 0xf_ff00) >> 8,
        (device & 0xff) | ((device >> 12) & 0xf_ff00),
    )
}

impl Tree for Squash {
    fn entries(&self) -> &[Entry] {
        &self.entries
    }

    fn copy(&mut self, number: usize, out: &mut dyn Write) -> io::Result<()> {
        let node = self.image.root.nodes.get(number);
        let Some(InnerNode::File(file)) = node.map(|node| &node.inner) else {
            return Err(io::Error::other("it is no file"));
        };
        io::copy(&mut self.image.file(file).reader(), out)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_read_here_says_what_to_do() {
        let with = |compressor: u8, major: u8| {
            let mut block = vec![0; 96];
            (block[20], block[28]) = (compressor, major);
            check(&block).map_err(|error| error.to_string())
        };
        for good in [1, 4, 6] {
            assert_eq!(with(good, 4), Ok(()));
        }
        for (compressor, major, part) in [
            (
                1,
                3,
                "squashfs 3.0, as before 2009; unpack it with `unsquashfs",
            ),
            (2, 4, "lzma, which is not known here; unpack it"),
            (3, 4, "lzo"),
            (5, 4, "lz4"),
            (9, 4, "compression number 9 is none"),
        ] {
            let error = with(compressor, major).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
        let cut = check(b"hsqs").unwrap_err().to_string();
        assert!(cut.contains("cut off"), "{cut}");
    }

    #[test]
    fn devices_have_their_numbers() {
        assert_eq!(numbers(0x0501), (5, 1));
        assert_eq!(numbers(0x0010_0302), (3, 0x102));
    }
}
