//! A tar, unpacked while it comes: files, folders and links, with their owners and modes.
//!
//! The formats are those that GNU tar writes (`gnu`, `ustar`, `pax` names). Devices and
//! pipes are left out: stage 2 gets those of the kernel. Nothing is written outside of
//! the folder, whatever a name says.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, lchown, symlink};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Everything in a tar begins at a multiple of this.
const BLOCK: usize = 512;
/// The longest name that comes apart from its header (Linux: `PATH_MAX`).
const TEXT_MAX: u64 = 64 << 10;

/// What the thread that unpacks tells the one that waits.
#[derive(Debug, Default)]
pub(super) struct Shared(Mutex<Told>);

#[derive(Debug, Default)]
struct Told {
    ended: bool,
    error: Option<String>,
    refused: Option<String>,
}

impl Shared {
    /// Whether the tar had an end.
    pub(super) fn verdict(&self) -> Result<(), String> {
        let told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &told.error {
            Some(error) => Err(error.clone()),
            None if told.ended => Ok(()),
            None => Err("what came is no whole tar: its end is missing".to_owned()),
        }
    }

    /// Why this machine cannot take it, whatever is tried.
    pub(super) fn refused(&self) -> Option<String> {
        let told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        told.refused.clone()
    }

    fn tell(&self, tell: impl FnOnce(&mut Told)) {
        tell(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Takes a tar in any pieces.
#[derive(Debug)]
pub(super) struct Unpacker {
    folder: PathBuf,
    /// How many bytes of files may still come.
    left: u64,
    shared: Arc<Shared>,
    header: Vec<u8>,
    state: State,
    /// Of the next entry, when it is too long for its header.
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
}

#[derive(Debug)]
enum State {
    Header,
    /// So many bytes of a file, then so many that fill the block.
    File(File, u64, u64),
    /// The same of a text that belongs to the next entry.
    Text(Text, Vec<u8>, u64, u64),
    /// The same of what is left out.
    Skip(u64),
    Ended,
}

#[derive(Debug, Clone, Copy)]
enum Text {
    Name,
    Link,
    Pax,
}

impl Unpacker {
    /// Into `folder`, which is made; at most `most` bytes of files.
    pub(super) fn new(folder: &Path, most: u64, shared: Arc<Shared>) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        Ok(Self {
            folder: folder.to_owned(),
            left: most,
            shared,
            header: Vec::with_capacity(BLOCK),
            state: State::Header,
            name: None,
            link: None,
        })
    }

    /// Takes some of `bytes`, at least one; how many.
    fn take(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let some = |left: u64| usize::try_from(left).map_or(bytes.len(), |n| n.min(bytes.len()));
        let (taken, next) = match &mut self.state {
            State::Ended => (bytes.len(), None),
            State::Header => {
                let n = (BLOCK - self.header.len()).min(bytes.len());
                self.header.extend_from_slice(&bytes[..n]);
                if self.header.len() == BLOCK {
                    let header = std::mem::take(&mut self.header);
                    self.state = self.entry(&header)?;
                }
                return Ok(n);
            }
            State::File(file, left, pad) => {
                let n = some(*left);
                file.write_all(&bytes[..n])?;
                *left -= n as u64;
                (n, (*left == 0).then_some(*pad))
            }
            State::Text(text, held, left, pad) => {
                let n = some(*left);
                held.extend_from_slice(&bytes[..n]);
                *left -= n as u64;
                let end = (*left == 0).then_some(*pad);
                if end.is_some() {
                    let (text, held) = (*text, std::mem::take(held));
                    self.text(text, &held);
                }
                (n, end)
            }
            State::Skip(left) => {
                let n = some(*left);
                *left -= n as u64;
                (n, (*left == 0).then_some(0))
            }
        };
        if let Some(pad) = next {
            self.state = skip(pad);
        }
        Ok(taken)
    }

    /// A text that was too long for a header.
    fn text(&mut self, text: Text, held: &[u8]) {
        match text {
            Text::Name => self.name = Some(until_zero(held).to_vec()),
            Text::Link => self.link = Some(until_zero(held).to_vec()),
            Text::Pax => {
                for (key, value) in pax(held) {
                    match key {
                        b"path" => self.name = Some(value.to_vec()),
                        b"linkpath" => self.link = Some(value.to_vec()),
                        _ => {}
                    }
                }
            }
        }
    }

    /// What a header announces.
    fn entry(&mut self, header: &[u8]) -> io::Result<State> {
        if header.iter().all(|byte| *byte == 0) {
            self.shared.tell(|told| told.ended = true);
            return Ok(State::Ended);
        }
        check(header)?;
        let size = number(&header[124..136])?;
        let pad = size.next_multiple_of(BLOCK as u64) - size;
        let text = match header[156] {
            b'L' => Some(Text::Name),
            b'K' => Some(Text::Link),
            b'x' => Some(Text::Pax),
            _ => None,
        };
        if let Some(text) = text {
            if size == 0 || size > TEXT_MAX {
                return Err(bad(format!("a name of {size} bytes")));
            }
            return Ok(State::Text(text, Vec::new(), size, pad));
        }
        let name = self.name.take().unwrap_or_else(|| full_name(header));
        let link = self.link.take();
        let link = link.unwrap_or_else(|| until_zero(&header[157..257]).to_vec());
        match header[156] {
            b'0' | b'\0' | b'7' => self.file(header, &name, (size, pad)),
            b'1' | b'2' | b'5' => {
                self.node(header, &name, &link)?;
                Ok(skip(size.saturating_add(pad)))
            }
            b'3' | b'4' | b'6' | b'g' => Ok(skip(size.saturating_add(pad))),
            other => Err(bad(format!(
                "an entry of type {:?}; make the tar without options such as --sparse",
                char::from(other)
            ))),
        }
    }

    fn file(&mut self, header: &[u8], name: &[u8], (size, pad): (u64, u64)) -> io::Result<State> {
        if size > self.left {
            let why = "stage 2 does not fit into memory; give the node more, or send rescue.clp \
                       instead of a tree";
            self.shared.tell(|told| told.refused = Some(why.to_owned()));
            return Err(bad(why));
        }
        self.left -= size;
        let path = self.place(name)?;
        let file = File::create_new(&path)?;
        own(&path, header)?;
        if size == 0 {
            return Ok(State::Header);
        }
        Ok(State::File(file, size, pad))
    }

    fn node(&self, header: &[u8], name: &[u8], link: &[u8]) -> io::Result<()> {
        let path = self.place(name)?;
        match header[156] {
            b'1' => {
                let target = self.inside(link)?;
                return fs::hard_link(target, path);
            }
            b'2' => symlink(OsStr::from_bytes(link), &path)?,
            _ if path.is_dir() => {}
            _ => fs::create_dir(&path)?,
        }
        own(&path, header)
    }

    /// Where an entry goes; nothing is there yet but a folder.
    fn place(&self, name: &[u8]) -> io::Result<PathBuf> {
        let path = self.inside(name)?;
        match path.symlink_metadata() {
            Ok(old) if !old.is_dir() => fs::remove_file(&path)?,
            _ => {}
        }
        if let Some(parent) = path.parent().filter(|_| path != self.folder) {
            fs::create_dir_all(parent)?;
        }
        Ok(path)
    }

    /// A name below the folder; no link on the way may lead out of it.
    fn inside(&self, name: &[u8]) -> io::Result<PathBuf> {
        let mut path = self.folder.clone();
        for component in Path::new(OsStr::from_bytes(name)).components() {
            match component {
                Component::CurDir | Component::RootDir => {}
                Component::Normal(part) => {
                    if path.symlink_metadata().is_ok_and(|meta| meta.is_symlink()) {
                        return Err(bad("a name behind a link"));
                    }
                    path.push(part);
                }
                _ => return Err(bad("a name with ..")),
            }
        }
        Ok(path)
    }
}

impl Write for Unpacker {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        self.take(bytes).inspect_err(|error| {
            let why = format!("unpacking stage 2: {error}");
            self.shared.tell(|told| told.error = Some(why));
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn skip(bytes: u64) -> State {
    match bytes {
        0 => State::Header,
        bytes => State::Skip(bytes),
    }
}

fn bad(what: impl std::fmt::Display) -> io::Error {
    io::Error::other(format!("what came is no tar that is understood: {what}"))
}

/// The sum of all bytes of a header, with blanks where the sum itself stands.
fn check(header: &[u8]) -> io::Result<()> {
    let sum: u64 = header.iter().map(|byte| u64::from(*byte)).sum();
    let own: u64 = header[148..156].iter().map(|byte| u64::from(*byte)).sum();
    if number(&header[148..156])? == sum - own + 8 * u64::from(b' ') {
        Ok(())
    } else {
        Err(bad("a wrong check sum"))
    }
}

/// Octal, or binary where that does not suffice.
fn number(field: &[u8]) -> io::Result<u64> {
    if field[0] & 0x80 != 0 {
        let (high, low) = field.split_at(field.len() - 8);
        let is_small = high[0] == 0x80 && high[1..].iter().all(|byte| *byte == 0);
        let low = low.try_into().map(u64::from_be_bytes);
        return low
            .ok()
            .filter(|n| is_small && *n < 1 << 60)
            .ok_or_else(|| bad("a number"));
    }
    let digits = until_zero(field).trim_ascii();
    let mut number = 0;
    for digit in digits {
        match digit {
            b'0'..=b'7' => number = number * 8 + u64::from(digit - b'0'),
            _ => return Err(bad("a number")),
        }
    }
    Ok(number)
}

fn until_zero(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or(field)
}

/// A name in a header; ustar has a second field for its beginning.
fn full_name(header: &[u8]) -> Vec<u8> {
    let name = until_zero(&header[..100]);
    let prefix = until_zero(&header[345..500]);
    // GNU's own format says "ustar" with a blank behind it, and has no such field.
    if &header[257..263] != b"ustar\0" || prefix.is_empty() {
        return name.to_vec();
    }
    [prefix, b"/", name].concat()
}

/// `LENGTH KEY=VALUE\n`, again and again.
fn pax(mut text: &[u8]) -> Vec<(&[u8], &[u8])> {
    let mut all = Vec::new();
    while let Some(blank) = text.iter().position(|byte| *byte == b' ') {
        let length = std::str::from_utf8(&text[..blank]).ok();
        let length = length.and_then(|n| n.parse::<usize>().ok());
        let Some(length) = length.filter(|n| *n > blank + 1 && *n <= text.len()) else {
            break;
        };
        let record = &text[blank + 1..length];
        let record = record.strip_suffix(b"\n").unwrap_or(record);
        if let Some(equals) = record.iter().position(|byte| *byte == b'=') {
            all.push((&record[..equals], &record[equals + 1..]));
        }
        text = &text[length..];
    }
    all
}

/// Owner and mode, in this order: changing the owner takes bits away.
fn own(path: &Path, header: &[u8]) -> io::Result<()> {
    let id = |field: &[u8]| number(field).map(|id| u32::try_from(id).ok());
    lchown(path, id(&header[108..116])?, id(&header[116..124])?)?;
    if header[156] == b'2' {
        return Ok(());
    }
    let mode = u32::try_from(number(&header[100..108])? & 0o7777).unwrap_or(0o700);
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;
    use std::process::Command;

    use super::*;

    fn unpack(tar: &[u8], piece: usize, most: u64) -> (tempfile::TempDir, Result<(), String>) {
        let folder = tempfile::tempdir().unwrap();
        let shared = Arc::new(Shared::default());
        let place = folder.path().join("tree");
        let mut unpacker = Unpacker::new(&place, most, Arc::clone(&shared)).unwrap();
        for piece in tar.chunks(piece) {
            if unpacker.write_all(piece).is_err() {
                break;
            }
        }
        (folder, shared.verdict())
    }

    fn tar(folder: &Path, format: &str) -> Vec<u8> {
        let mut tar = Command::new("tar");
        tar.args(["--create", "--numeric-owner", "--format", format]);
        tar.args(["--file", "-", "--directory"])
            .arg(folder)
            .arg(".");
        tar.output().unwrap().stdout
    }

    fn tree() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let long = format!("{}/{}", "a".repeat(90), "b".repeat(120));
        fs::create_dir_all(at(&long)).unwrap();
        fs::write(at(&long).join("file"), vec![7; 100_000]).unwrap();
        fs::write(at("empty"), "").unwrap();
        fs::write(at("block"), [1; 512]).unwrap();
        fs::hard_link(at("block"), at("same")).unwrap();
        symlink("/etc/passwd", at("absolute")).unwrap();
        symlink("c".repeat(150), at("long")).unwrap();
        fs::set_permissions(at("block"), fs::Permissions::from_mode(0o4751)).unwrap();
        folder
    }

    #[test]
    fn what_gnu_tar_writes_is_unpacked_in_any_pieces() {
        let tree = tree();
        for format in ["gnu", "pax"] {
            let tar = tar(tree.path(), format);
            for piece in [1, 100, 512, 10_000, usize::MAX] {
                let (folder, verdict) = unpack(&tar, piece, u64::MAX);
                assert_eq!(verdict, Ok(()), "{format}, {piece}");
                let same = Command::new("diff")
                    .args(["-r", "--no-dereference"])
                    .arg(tree.path())
                    .arg(folder.path().join("tree"))
                    .output()
                    .unwrap();
                assert!(same.status.success(), "{:?}", same);
                let meta = folder.path().join("tree/block").metadata().unwrap();
                assert_eq!((meta.mode() & 0o7777, meta.nlink()), (0o4751, 2));
            }
        }
    }

    #[test]
    fn what_is_no_whole_tar_is_refused() {
        let tree = tree();
        let good = tar(tree.path(), "gnu");
        for cut in [0, 1, 511, 512, 5000, 90_000] {
            let (_folder, verdict) = unpack(&good[..cut], 4096, u64::MAX);
            assert!(verdict.is_err(), "{cut}");
        }
        let (_folder, verdict) = unpack(&[b'x'; 2048], 2048, u64::MAX);
        assert!(verdict.unwrap_err().contains("no tar"));
        let (_folder, verdict) = unpack(&good, 4096, 1000);
        assert!(verdict.unwrap_err().contains("does not fit into memory"));
    }

    /// A header as tar makes it.
    fn header(name: &str, kind: u8, link: &str) -> Vec<u8> {
        let mut header = vec![0; BLOCK];
        header[..name.len()].copy_from_slice(name.as_bytes());
        for (at, text) in [
            (100, "0000755"),
            (108, "0000000"),
            (116, "0000000"),
            (124, "00000000000"),
        ] {
            header[at..at + text.len()].copy_from_slice(text.as_bytes());
        }
        header[156] = kind;
        header[157..157 + link.len()].copy_from_slice(link.as_bytes());
        header[257..263].copy_from_slice(b"ustar\0");
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        header
    }

    #[test]
    fn nothing_leads_out_of_the_folder() {
        let end = vec![0; 1024];
        for ugly in [
            vec![header("../out", b'0', "")],
            vec![header("a/../../out", b'5', "")],
            vec![header("up", b'2', ".."), header("up/out", b'0', "")],
            vec![header("out", b'1', "../../out")],
            vec![header("out", b'S', "")],
        ] {
            let tar = [ugly.concat(), end.clone()].concat();
            let (folder, verdict) = unpack(&tar, 512, u64::MAX);
            assert!(verdict.is_err());
            assert!(!folder.path().join("out").exists());
        }
        let (folder, verdict) = unpack(&[header("/out", b'0', ""), end].concat(), 512, 0);
        assert_eq!(verdict, Ok(()));
        assert!(folder.path().join("tree/out").exists());
    }

    proptest::proptest! {
        #[test]
        fn any_change_is_unpacked_or_refused(at in 0usize..20_000, byte in 0u8..) {
            static TAR: std::sync::LazyLock<Vec<u8>> =
                std::sync::LazyLock::new(|| tar(tree().path(), "gnu"));
            let mut tar = TAR.clone();
            let at = at % tar.len();
            tar[at] = byte;
            let (folder, _verdict) = unpack(&tar, 4096, 1 << 20);
            let outside = fs::read_dir(folder.path()).unwrap().count();
            proptest::prop_assert_eq!(outside, 1);
        }
    }
}
