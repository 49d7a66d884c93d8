//! A golden node that was kept as files, to be deployed when it is no more.
//!
//! An image is a folder. In it lie the small files that travel first in a deployment
//! ([`crate::deployment`]: the deployment, the manifest, descs, boot codes), streams cut
//! into pieces that are compressed each by itself (`files.0000`, `raw0.0000`), and the
//! [`Index`], which names all of it with sizes and digests. The index is written last, and the
//! folder has another name until then: an image that is not whole has none.
//!
//! Pieces joined are a stream of zstd that unpacks to the whole (RFC 8878, section 3: frames
//! follow each other), so that files travel as they lie there.

mod cut;
mod folder;
mod index;
mod join;

pub use cut::{Cut, Cutter, Tell};
pub use folder::{Draft, Image, Kind, is_busy, kind, place, remove, size_on_disk};
pub use index::{Index, IndexError, KeptDisk, KeptFile, Stamp, Stream};
pub use join::{Damage, Packed, Wrong};

use std::io;
use std::path::Path;

use crate::text::shown;

/// The index of an image.
pub const INDEX_FILE: &str = "image";
/// It stands for the index while an image is saved or removed.
pub const DRAFT_FILE: &str = "image.partial";
/// The tail of a folder's name while an image is saved in it.
pub const PARTIAL: &str = ".partial";
/// The stream of the files.
pub const FILES: &str = "files";
/// Unpacked bytes of a piece, if nobody wants it otherwise.
pub const PIECE: u64 = 256 << 20;
/// An image never has more pieces.
pub const PIECES_MAX: usize = 200_000;

/// The stream of the raw partition with this number in the deployment.
pub fn raw_stream(number: usize) -> String {
    format!("raw{number}")
}

/// The file with a piece of a stream, counted from 0.
pub fn piece_file(stream: &str, number: usize) -> String {
    format!("{stream}.{number:04}")
}

/// Whether a file of this name may lie in an image.
fn is_own(name: &str) -> bool {
    [INDEX_FILE, DRAFT_FILE].contains(&name) || is_small(name) || is_piece(name)
}

/// Whether a name is one of a small file.
fn is_small(name: &str) -> bool {
    use crate::deployment::{DEPLOYMENT_FILE, MANIFEST_FILE};
    let counted = |(stem, number)| ["desc", "MBR"].contains(&stem) && is_number(number);
    [DEPLOYMENT_FILE, MANIFEST_FILE].contains(&name) || name.split_once('.').is_some_and(counted)
}

fn is_piece(name: &str) -> bool {
    name.split_once('.').is_some_and(|(stem, number)| {
        is_number(number) && (stem == FILES || stem.strip_prefix("raw").is_some_and(is_number))
    })
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Why an image cannot be saved, read or removed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A system call.
    #[error("{0}")]
    Io(String, #[source] io::Error),
    /// An index that is none.
    #[error("{0}: {1}")]
    Index(String, #[source] IndexError),
    /// Something else lies there.
    #[error("{0} is no image; goldring store list tells which there are")]
    NotAnImage(String),
    /// Its saving, or its removal, was interrupted.
    #[error(
        "{0} is not whole, saving or removing it was interrupted; save it again, or goldring store rm {0}"
    )]
    Partial(String),
    /// Nothing is overwritten.
    #[error("{0} exists; save under another name, or remove it first")]
    Exists(String),
    /// A mount point cannot be renamed.
    #[error("something is mounted on {0}, and an image needs a folder of its own: name one in it")]
    MountPoint(String),
    /// The name of a folder that is never whole.
    #[error("{0} is no name for an image; one that ends in {PARTIAL} is not whole")]
    Name(String),
    /// Somebody is at work with it.
    #[error("{0} is being saved or sent just now; wait for the end of that")]
    Busy(String),
    /// What is removed must be all ours.
    #[error("{0} does not belong to the image; move it away first")]
    Foreign(String),
    /// Pieces without end.
    #[error("the image would have more than {PIECES_MAX} pieces; make them larger with --piece")]
    Pieces,
    /// A file that is not what was saved.
    #[error(transparent)]
    Damaged(#[from] Damage),
}

/// A closure for `map_err`: what was being done to which file.
fn at<'a>(doing: &'a str, path: &'a Path) -> impl FnOnce(io::Error) -> StoreError + 'a {
    move |error| StoreError::Io(format!("{doing} {}", shown(path)), error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_own_names_are_own() {
        for name in [
            "image",
            "image.partial",
            "deployment",
            "manifest",
            "desc.0",
            "MBR.12",
            "files.0000",
            "raw3.123456",
        ] {
            assert!(is_own(name), "{name}");
        }
        for name in [
            "",
            "image.old",
            "files",
            "files.",
            "files.0x",
            "raw.0000",
            "raw1x.0000",
            "desc.a",
            "..",
            "a.0000",
            "files.0000.bak",
        ] {
            assert!(!is_own(name), "{name}");
        }
    }
}
