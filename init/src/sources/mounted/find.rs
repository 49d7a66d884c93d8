//! Stage 2 in a tree: a file at its place, or an ISO file that has one.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use goldring_contract::{Root, paths};
use goldring_disk::probe::{FileSystem, probe};
use goldring_sys::beneath;

use super::{Layer, Source};

/// So many ISO files of one folder are looked into.
const ISOS_MAX: usize = 32;
/// So many names of a folder are told to a person.
const NAMES_TOLD: usize = 6;

/// What is looked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Its size in bytes; any without.
    pub(super) size: Option<u64>,
}

/// Stage 2 in a mounted tree.
#[derive(Debug)]
pub(crate) struct Found {
    /// What keeps it mounted.
    pub(super) source: Source,
    /// The file.
    pub(super) file: PathBuf,
    /// Its size, in bytes.
    pub(super) size: u64,
    /// Where it is, for a person.
    pub(super) place: String,
}

/// Why there is none; a piece of a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Miss {
    /// There is nothing of the kind.
    Absent(String),
    /// There is one, of another build.
    OtherBuild(String),
}

impl Miss {
    /// In words.
    pub(crate) fn text(&self) -> &str {
        let (Self::Absent(text) | Self::OtherBuild(text)) = self;
        text
    }
}

/// Looks for stage 2 in `directory` of a mounted tree, which may also be an ISO file.
/// `name` is what people call the tree, such as `sda1` or `10.0.1.253:`.
pub(crate) fn find(
    root: &Root,
    outer: Layer,
    directory: &str,
    name: &str,
    wanted: Wanted,
) -> Result<Found, Miss> {
    let place = join(name, directory);
    let absent = |error: io::Error| Miss::Absent(format!("{place}: {error}"));
    let folder = beneath::resolve(outer.target(), Path::new(directory));
    let folder = folder.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            Miss::Absent(format!("{name} has no {}", directory.trim_matches('/')))
        }
        _ => absent(error),
    })?;
    if folder.is_file() {
        return in_iso(root, outer, &folder, &place, wanted).map_err(|(_, miss)| miss);
    }
    match in_tree(outer.target(), Path::new(directory), wanted) {
        Ok(Some((file, size, path))) => {
            return Ok(Found {
                source: Source { iso: None, outer },
                file,
                size,
                place: join(&place, path),
            });
        }
        Ok(None) => {}
        Err(wrong) => return Err(Miss::OtherBuild(join(&place, &wrong))),
    }
    let names = names(&folder).map_err(absent)?;
    let isos: Vec<&String> = names.iter().filter(|name| is_iso(name)).collect();
    let mut outer = outer;
    let mut misses = Vec::new();
    for iso in isos.iter().take(ISOS_MAX) {
        let result = beneath::resolve(outer.target(), &Path::new(directory).join(iso));
        let Ok(file) = result else {
            continue;
        };
        match in_iso(root, outer, &file, &join(&place, iso), wanted) {
            Ok(found) => return Ok(found),
            Err((back, miss)) => {
                outer = back;
                misses.push(miss);
            }
        }
    }
    Err(none(&place, &names, misses))
}

/// What to say when neither the folder nor an ISO file in it has stage 2.
fn none(place: &str, names: &[String], mut misses: Vec<Miss>) -> Miss {
    let other = |miss: &Miss| matches!(miss, Miss::OtherBuild(_));
    if let Some(at) = misses.iter().position(other) {
        return misses.swap_remove(at);
    }
    let mut text = format!("{place} has no {}", paths::STAGE2_ON_SERVER);
    if misses.is_empty() {
        let told = match names {
            [] => "is empty".to_owned(),
            names if names.len() <= NAMES_TOLD => format!("holds {}", names.join(", ")),
            names => format!("holds {}, …", names[..NAMES_TOLD].join(", ")),
        };
        text.push_str(&format!(" and no ISO file; it {told}"));
    } else {
        let told: Vec<&str> = misses.iter().map(Miss::text).take(NAMES_TOLD).collect();
        text.push_str(&format!("; {}", told.join(", ")));
    }
    Miss::Absent(text)
}

/// A file that may be stage 2: itself, its size, and its path in the tree. `Err`: one
/// that is none of this build, in words.
type InTree = Result<Option<(PathBuf, u64, &'static str)>, String>;

fn in_tree(tree: &Path, directory: &Path, wanted: Wanted) -> InTree {
    for path in paths::STAGE2_IN_TREE {
        let Ok(file) = beneath::resolve(tree, &directory.join(path)) else {
            continue;
        };
        let Ok(metadata) = file.metadata() else {
            continue;
        };
        // A device or a pipe on a foreign file system is not to be opened.
        if !metadata.is_file() {
            continue;
        }
        let size = metadata.len();
        return match wanted.size {
            Some(right) if right != size => Err(format!(
                "{path} is {size} bytes long, but this all.rdz was made with one of {right} bytes"
            )),
            _ => Ok(Some((file, size, path))),
        };
    }
    Ok(None)
}

/// Looks into an ISO file. A miss gives the tree back that the file is in.
fn in_iso(
    root: &Root,
    outer: Layer,
    file: &Path,
    place: &str,
    wanted: Wanted,
) -> Result<Found, (Layer, Miss)> {
    let iso = match mount_iso(root, file) {
        Ok(iso) => iso,
        Err(why) => return Err((outer, Miss::Absent(format!("{place} {why}")))),
    };
    match in_tree(iso.target(), Path::new(""), wanted) {
        Ok(Some((file, size, path))) => Ok(Found {
            source: Source {
                iso: Some(iso),
                outer,
            },
            file,
            size,
            place: format!("{place}, in it {path}"),
        }),
        Ok(None) => {
            let what = format!("{place} has no {}", paths::STAGE2_ON_SERVER);
            Err((outer, Miss::Absent(what)))
        }
        Err(wrong) => Err((outer, Miss::OtherBuild(format!("{place}, in it {wrong}")))),
    }
}

/// Mounts an ISO file, or says how it is none.
fn mount_iso(root: &Root, file: &Path) -> Result<Layer, String> {
    let read = |error: io::Error| format!("cannot be read: {error}");
    let fs = probe(&mut File::open(file).map_err(read)?).map_err(read)?;
    match fs {
        Some(fs @ (FileSystem::Iso9660 | FileSystem::Udf)) => {
            Layer::mount_loop(root, file, fs.kernel_types(), fs.untouched())
                .map_err(|error| format!("is a broken CD image ({error})"))
        }
        _ => Err("is no CD image".to_owned()),
    }
}

/// The names in a folder, sorted.
fn names(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

fn is_iso(name: &str) -> bool {
    let end = name.len().checked_sub(4).and_then(|at| name.get(at..));
    end.is_some_and(|end| end.eq_ignore_ascii_case(".iso"))
}

/// `sda1` and `/cs4` make `sda1/cs4`; `10.0.1.253:` and `/` make `10.0.1.253:/`.
fn join(name: &str, path: &str) -> String {
    let path = path.trim_matches('/');
    match (name.strip_suffix('/').unwrap_or(name), path) {
        (name, "") if name.ends_with(':') => format!("{name}/"),
        (name, "") => name.to_owned(),
        (name, path) => format!("{name}/{path}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    const PLACE: &str = paths::STAGE2_ON_SERVER;

    fn put(tree: &Path, path: &str, text: &str) {
        let file = tree.join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }

    fn looked(tree: &Path, directory: &str, size: Option<u64>) -> Result<Option<String>, String> {
        let found = in_tree(tree, Path::new(directory), Wanted { size })?;
        Ok(found.map(|(file, size, path)| {
            assert_eq!(size, file.metadata().unwrap().len());
            path.to_owned()
        }))
    }

    #[test]
    fn stage_2_is_a_plain_file_at_its_place_and_of_this_build() {
        let folder = tempfile::tempdir().unwrap();
        let tree = folder.path();
        assert_eq!(looked(tree, "", None), Ok(None));
        put(tree, "cs4/install/stage2/rescue.sqfs", "0123456789");
        let later = Ok(Some("install/stage2/rescue.sqfs".to_owned()));
        assert_eq!(looked(tree, "/cs4", None), later);
        // The usual name comes first.
        put(tree, &format!("cs4/{PLACE}"), "12345");
        let usual = Ok(Some(PLACE.to_owned()));
        assert_eq!(looked(tree, "cs4/", Some(5)), usual);
        assert_eq!(looked(tree, "../cs4", None), usual);
        assert_eq!(
            looked(tree, "/cs4", Some(7)),
            Err(
                "install/stage2/rescue.clp is 5 bytes long, but this all.rdz was made with one of 7 bytes"
                    .to_owned()
            )
        );
        // An installed system has absolute links, which stay inside…
        fs::create_dir(tree.join("srv")).unwrap();
        symlink("/cs4/install", tree.join("srv/install")).unwrap();
        assert_eq!(looked(tree, "/srv", None), usual);
        // … and what leads out, or is no file, is none.
        for (directory, target) in [("null", "/dev/null"), ("folder", "/cs4"), ("gone", "/x")] {
            put(tree, &format!("{directory}/install/stage2/readme"), "");
            symlink(target, tree.join(directory).join(PLACE)).unwrap();
            assert_eq!(looked(tree, directory, None), Ok(None), "{directory}");
        }
    }

    #[test]
    fn what_is_there_instead_is_told() {
        let names = |names: &[&str]| -> Vec<String> { names.iter().map(|n| (*n).into()).collect() };
        let miss = |text: &str| Miss::Absent(text.to_owned());
        let none = |all: &[&str], misses| none("h:/cs4", &names(all), misses);
        assert_eq!(
            none(&[], vec![]).text(),
            "h:/cs4 has no install/stage2/rescue.clp and no ISO file; it is empty"
        );
        let many = ["a", "b", "c", "d", "e", "f", "g"];
        assert!(none(&many[..2], vec![]).text().ends_with("it holds a, b"));
        let all = none(&many, vec![]);
        assert!(
            all.text().ends_with("a, b, c, d, e, f, …"),
            "{}",
            all.text()
        );
        let isos = none(&["x.iso"], vec![miss("x.iso is no CD image")]);
        assert!(isos.text().ends_with("rescue.clp; x.iso is no CD image"));
        let other = Miss::OtherBuild("y.iso has another".to_owned());
        let told = none(&["x.iso"], vec![miss("x"), other.clone()]);
        assert_eq!(told, other);
    }

    #[test]
    fn places_and_iso_files_have_names() {
        assert_eq!(join("sda1", "/cs4/"), "sda1/cs4");
        assert_eq!(join("sda1", ""), "sda1");
        assert_eq!(join("h:/", ""), "h:/");
        assert_eq!(join("h:/", "x.iso"), "h:/x.iso");
        for (name, yes) in [
            ("a.iso", true),
            ("B.ISO", true),
            (".iso", true),
            ("iso", false),
        ] {
            assert_eq!(is_iso(name), yes, "{name}");
        }
        assert!(!is_iso("ä.is") && !is_iso("a.iso.part") && !is_iso("\u{10ffff}"));
    }
}
