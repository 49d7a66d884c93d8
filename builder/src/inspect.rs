//! What is inside an initramfs: ours, or any other.
//!
//! An initramfs is a row of archives, each plain or compressed, with zeros between
//! them: the early one with a processor's microcode, then the real one.

use std::fmt::Write as _;

use anyhow::{Context, Result, bail};

use crate::compress::Format;
use crate::newc::{self, Entry};

/// No sensible initramfs is larger than this when it is unpacked.
const UNPACKED_MAX: u64 = 4 << 30;

/// One archive of an initramfs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archive {
    /// Where it starts, in bytes from the start of the file.
    pub offset: usize,
    /// What it is compressed with.
    pub format: Option<&'static str>,
    /// What is in it.
    pub entries: Vec<Entry>,
}

/// Reads all archives of an initramfs.
///
/// # Errors
/// Bytes that are neither an archive nor something compressed that is known.
pub fn read(bytes: &[u8]) -> Result<Vec<Archive>> {
    let mut archives = Vec::new();
    let mut offset = skip_zeros(bytes, 0);
    while offset < bytes.len() {
        let rest = &bytes[offset..];
        let at = || format!("at byte {offset}");
        if newc::is_archive(rest) {
            let (entries, used) = newc::read(rest).with_context(at)?;
            archives.push(Archive {
                offset,
                format: None,
                entries,
            });
            offset = skip_zeros(bytes, offset + used);
        } else if let Some(format) = Format::of(rest) {
            let (plain, end) = unpack_row(bytes, offset, format).with_context(at)?;
            let inside = read_plain(&plain).with_context(|| {
                format!("in what is compressed with {}, {}", format.name(), at())
            })?;
            for entries in inside {
                archives.push(Archive {
                    offset,
                    format: Some(format.name()),
                    entries,
                });
            }
            offset = end;
        } else {
            bail!("{}: neither a cpio archive nor gzip, xz or zstd", at());
        }
    }
    if archives.is_empty() {
        bail!("there is nothing in it");
    }
    Ok(archives)
}

/// Unpacks streams of one format that follow each other. They are one row of bytes: an
/// archive may go on from one stream to the next (`pzstd`, `pigz`).
fn unpack_row(bytes: &[u8], start: usize, format: Format) -> Result<(Vec<u8>, usize)> {
    let mut plain = Vec::new();
    let mut at = start;
    while Format::of(&bytes[at..]) == Some(format) {
        let limit = UNPACKED_MAX.saturating_sub(plain.len() as u64);
        let (part, used) = format.unpack(&bytes[at..], limit)?;
        plain.extend(part);
        at = skip_zeros(bytes, at + used);
    }
    Ok((plain, at))
}

fn read_plain(bytes: &[u8]) -> Result<Vec<Vec<Entry>>> {
    let mut all = Vec::new();
    let mut at = skip_zeros(bytes, 0);
    while at < bytes.len() {
        let (entries, used) = newc::read(&bytes[at..])?;
        all.push(entries);
        at = skip_zeros(bytes, at + used);
    }
    Ok(all)
}

fn skip_zeros(bytes: &[u8], start: usize) -> usize {
    let zeros = bytes[start..].iter().take_while(|&&byte| byte == 0).count();
    start + zeros
}

/// A list like that of `ls -l`: a line for each archive, and one for each name in it.
pub fn list(archives: &[Archive]) -> String {
    let mut text = String::new();
    for archive in archives {
        let size: usize = archive.entries.iter().map(|entry| entry.data.len()).sum();
        let _ = writeln!(
            text,
            "archive at byte {}, {}, {} names, {size} bytes",
            archive.offset,
            archive.format.unwrap_or("not compressed"),
            archive.entries.len(),
        );
        for entry in &archive.entries {
            let _ = writeln!(text, "{}", line(entry));
        }
    }
    text
}

fn line(entry: &Entry) -> String {
    let letter = entry.letter();
    let (uid, gid) = entry.owner;
    let size = match letter {
        'b' | 'c' => format!("{},{}", entry.device.0, entry.device.1),
        _ => entry.data.len().to_string(),
    };
    let target = match letter {
        'l' => format!(" -> {}", String::from_utf8_lossy(&entry.data)),
        _ => String::new(),
    };
    // Names come from somebody's file: they must not move the cursor of a terminal.
    let name = entry.name.escape_debug();
    format!(
        "{letter}{} {uid}:{gid} {size:>9} {name}{}",
        permissions(entry.mode),
        target.escape_debug()
    )
}

fn permissions(mode: u32) -> String {
    const LETTERS: [char; 9] = ['r', 'w', 'x', 'r', 'w', 'x', 'r', 'w', 'x'];
    let mut text: Vec<char> = (0..9)
        .map(|n| {
            if mode & (0o400 >> n) == 0 {
                '-'
            } else {
                LETTERS[n]
            }
        })
        .collect();
    for (bit, place, letter) in [(0o4000, 2, 's'), (0o2000, 5, 's'), (0o1000, 8, 't')] {
        if mode & bit != 0 {
            let upper = text[place] == '-';
            text[place] = if upper {
                letter.to_ascii_uppercase()
            } else {
                letter
            };
        }
    }
    text.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::compress::Compression;
    use crate::tree::Tree;

    fn archive(name: &str) -> Vec<u8> {
        let mut tree = Tree::new();
        tree.text(name, "x").unwrap();
        tree.device("console", 0o600, 5, 1).unwrap();
        tree.link("link", "to\u{1b}[2J").unwrap();
        newc::write(&tree, Vec::new()).unwrap()
    }

    fn compressed(bytes: &[u8], compression: Compression) -> Vec<u8> {
        compression
            .compress(|out| Ok(out.write_all(bytes)?))
            .unwrap()
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        writer.write_all(bytes).unwrap();
        writer.finish().unwrap()
    }

    #[test]
    fn any_row_of_archives_is_read() {
        let (early, main) = (archive("early"), archive("main"));
        let (half, other) = main.split_at(100);
        for (last, format) in [
            (main.clone(), None),
            (gzip(&main), Some("gzip")),
            ([gzip(half), gzip(other)].concat(), Some("gzip")),
            (compressed(&main, Compression::Xz), Some("xz")),
            (compressed(&main, Compression::Zstd), Some("zstd")),
            (
                [
                    compressed(half, Compression::Fast),
                    compressed(other, Compression::Fast),
                ]
                .concat(),
                Some("zstd"),
            ),
        ] {
            let zeros = vec![0; 300];
            let bytes = [&early[..], &zeros, &last, &zeros[..8]].concat();
            let archives = read(&bytes).unwrap();
            assert_eq!(archives.len(), 2, "{format:?}");
            assert_eq!(archives[1].format, format);
            assert_eq!(archives[1].offset, early.len() + 300);
            assert!(archives[1].entries.iter().any(|entry| entry.name == "main"));
        }
    }

    #[test]
    fn a_list_is_like_that_of_ls() {
        let text = list(&read(&archive("main")).unwrap());
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[0].starts_with("archive at byte 0, not compressed, 3 names"));
        assert_eq!(lines[1], "crw------- 0:0       5,1 console");
        assert_eq!(lines[2], "lrwxrwxrwx 0:0         6 link -> to\\u{1b}[2J");
        assert_eq!(lines[3], "-rw-r--r-- 0:0         1 main");
        assert_eq!(permissions(0o1777), "rwxrwxrwt");
        assert_eq!(permissions(0o4644), "rwSr--r--");
    }

    #[test]
    fn what_is_no_initramfs_says_so() {
        let good = archive("x");
        let broken = [&good[..], b"rubbish"].concat();
        let xz = compressed(&good, Compression::Xz);
        for (bytes, problem) in [
            (&b""[..], "nothing in it"),
            (&[0; 9], "nothing in it"),
            (b"hello", "neither a cpio"),
            (&broken, "neither a cpio"),
            (&good[..good.len() - 20], "cpio archive"),
            (&xz[..xz.len() / 2], "unpacking xz"),
            (b"\x02\x21\x4c\x18....", "lz4"),
            (
                &compressed(b"no archive", Compression::Fast),
                "compressed with zstd",
            ),
        ] {
            let error = format!("{:#}", read(bytes).unwrap_err());
            assert!(error.contains(problem), "{problem}: {error}");
        }
    }
}
