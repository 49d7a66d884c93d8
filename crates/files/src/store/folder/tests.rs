use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::store::join::Wrong;
use crate::store::{FILES, piece_file};

const CUT: Cut = Cut {
    piece: 1000,
    level: 1,
    threads: 1,
};

/// Bytes that do not become much less.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 7_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    (0..length).map(|_| next()).collect()
}

/// An image that lacks its end.
fn draft(target: &Path) -> Result<(Draft, Index), StoreError> {
    let mut index = Index {
        host: "golden".into(),
        saved: 5,
        piece: CUT.piece,
        ..Index::default()
    };
    let draft = Draft::begin(target, &index)?;
    for (name, bytes) in [("deployment", "d"), ("manifest", "m"), ("desc.0", "swap 5")] {
        index.files.push(draft.put(name, bytes.as_bytes())?);
    }
    let mut tell = |_, _| {};
    let mut cutter = draft.cutter(FILES, CUT, &mut tell);
    let written = cutter.write_all(&noise(2500));
    if let Some(failure) = cutter.failure() {
        return Err(failure);
    }
    written.unwrap();
    index.streams.push(cutter.finish()?);
    Ok((draft, index))
}

fn image(target: &Path) -> PathBuf {
    let (draft, index) = draft(target).unwrap();
    assert_eq!(draft.verify(&index, &mut |_| {}), []);
    draft.finish(&index).unwrap()
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn an_image_is_whole_when_it_has_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("lab");
    let (draft, index) = draft(&target).unwrap();
    assert_eq!(names(folder.path()), ["lab.partial"]);
    let mode = fs::metadata(draft.folder()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    let error = Image::open(draft.folder()).unwrap_err();
    assert!(matches!(error, StoreError::Partial(_)), "{error}");
    let place = draft.finish(&index).unwrap();
    assert_eq!(names(folder.path()), ["lab"]);
    assert_eq!(
        names(&place),
        [
            "deployment",
            "desc.0",
            "files.0000",
            "files.0001",
            "files.0002",
            "image",
            "manifest"
        ]
    );
    let image = Image::open(&target).unwrap();
    assert_eq!(image.index, index);
    assert_eq!(image.file("desc.0").unwrap().unwrap(), b"swap 5");
    assert_eq!(image.file("MBR.0").unwrap(), None);
    let mut read = 0;
    assert_eq!(image.verify(&mut |bytes| read += bytes), []);
    assert_eq!(read, index.streams[0].packed());
    let unpacked = zstd::stream::decode_all(image.packed(0).unwrap()).unwrap();
    assert_eq!(unpacked, noise(2500));
    assert!(image.packed(1).is_none());
}

#[test]
fn nothing_is_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("lab");
    image(&target);
    let refused = |path: &Path| draft(path).unwrap_err();
    assert!(matches!(refused(&target), StoreError::Exists(_)));
    fs::write(folder.path().join("file"), "").unwrap();
    assert!(matches!(
        refused(&folder.path().join("file")),
        StoreError::Exists(_)
    ));
    assert!(matches!(
        refused(&folder.path().join("x.partial")),
        StoreError::Name(_)
    ));
    assert!(matches!(
        refused(Path::new("/proc")),
        StoreError::MountPoint(_)
    ));
    assert!(matches!(refused(Path::new("/")), StoreError::MountPoint(_)));
    let none = refused(&folder.path().join("none/lab")).to_string();
    assert!(none.contains("looking for the folder"), "{none}");
    // What is no save of ours is left alone.
    let other = folder.path().join("other");
    fs::create_dir_all(folder.path().join("other.partial/x")).unwrap();
    assert!(matches!(refused(&other), StoreError::Exists(_)));
    // Somebody has made the folder, as people do.
    let empty = folder.path().join("empty");
    fs::create_dir(&empty).unwrap();
    image(&empty);
    assert!(Image::open(&empty).is_ok());
}

#[test]
fn an_interrupted_save_is_replaced_and_a_running_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("lab");
    let (running, _) = draft(&target).unwrap();
    assert!(matches!(draft(&target).unwrap_err(), StoreError::Busy(_)));
    assert!(matches!(
        remove(running.folder()).unwrap_err(),
        StoreError::Busy(_)
    ));
    // As a power cut leaves it: nobody cleans up, nobody has it any more.
    let partial = running.folder().to_owned();
    let copy = folder.path().join("copy");
    fs::create_dir(&copy).unwrap();
    for name in names(&partial) {
        fs::copy(partial.join(&name), copy.join(&name)).unwrap();
    }
    drop(running);
    assert!(!partial.exists(), "what failed by itself leaves nothing");
    fs::rename(&copy, &partial).unwrap();
    let (again, index) = draft(&target).unwrap();
    assert!(again.replaces);
    again.finish(&index).unwrap();
    assert_eq!(Image::open(&target).unwrap().verify(&mut |_| {}), []);
    // It died between the folder and its first file.
    let next = folder.path().join("next");
    fs::create_dir(folder.path().join("next.partial")).unwrap();
    image(&next);
}

#[test]
fn each_damage_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let lab = image(&folder.path().join("lab"));
    let piece = lab.join(piece_file(FILES, 1));
    let good = fs::read(&piece).unwrap();
    let damages = || Image::open(&lab).unwrap().verify(&mut |_| {});
    let wrong = |wrong| {
        let path = piece.clone();
        vec![Damage { path, wrong }]
    };
    for at in [0, 5, good.len() / 2, good.len() - 1] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        fs::write(&piece, bad).unwrap();
        assert_eq!(damages(), wrong(Wrong::Changed), "{at}");
    }
    let size = good.len() as u64;
    fs::write(&piece, &good[..good.len() - 1]).unwrap();
    assert_eq!(damages(), wrong(Wrong::Size(size - 1, size)));
    fs::write(&piece, [&good[..], b"x"].concat()).unwrap();
    assert_eq!(damages(), wrong(Wrong::Size(size + 1, size)));
    fs::remove_file(&piece).unwrap();
    assert_eq!(damages(), wrong(Wrong::Missing));
    // Who sends meets the same words.
    let mut packed = Image::open(&lab).unwrap().packed(0).unwrap();
    let error = io::copy(&mut packed, &mut io::sink()).unwrap_err();
    assert!(
        error.to_string().ends_with("files.0001 is missing"),
        "{error}"
    );
    // Several at once, and a small file.
    fs::write(lab.join("manifest"), "M").unwrap();
    let all: Vec<Wrong> = damages().into_iter().map(|damage| damage.wrong).collect();
    assert_eq!(all, [Wrong::Changed, Wrong::Missing]);
    let error = Image::open(&lab).unwrap().file("manifest").unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("manifest is damaged: its digest is another"),
        "{error}"
    );
    fs::write(&piece, good).unwrap();
    fs::write(lab.join("manifest"), "m").unwrap();
    assert_eq!(damages(), []);
}

#[test]
fn what_was_written_wrongly_is_found_too() {
    let folder = tempfile::tempdir().unwrap();
    let (draft, mut index) = draft(&folder.path().join("lab")).unwrap();
    for (bytes, part) in [
        (zstd::encode_all(&b"short"[..], 1).unwrap(), "5 bytes"),
        (vec![7; 99], ""),
    ] {
        let mut sum = Sum::default();
        sum.add(&bytes);
        fs::write(draft.folder().join("files.0000"), &bytes).unwrap();
        index.streams[0].pieces[0] = Stamp {
            bytes: bytes.len() as u64,
            digest: sum.digest(),
        };
        let all = draft.verify(&index, &mut |_| {});
        assert!(
            matches!(&all[..], [Damage { wrong: Wrong::Unpacks(why), .. }] if why.contains(part)),
            "{all:?}"
        );
    }
}

#[test]
fn only_what_is_all_ours_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let lab = image(&folder.path().join("lab"));
    fs::write(lab.join("notes"), "x").unwrap();
    assert!(matches!(remove(&lab).unwrap_err(), StoreError::Foreign(_)));
    fs::remove_file(lab.join("notes")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", lab.join("desc.7")).unwrap();
    assert!(matches!(remove(&lab).unwrap_err(), StoreError::Foreign(_)));
    fs::remove_file(lab.join("desc.7")).unwrap();
    assert!(Image::open(&lab).is_ok(), "a refusal has changed nothing");
    let sending = Image::open(&lab).unwrap();
    assert!(matches!(remove(&lab).unwrap_err(), StoreError::Busy(_)));
    drop(sending);
    // A folder of somebody who calls a file like our index.
    let other = folder.path().join("other");
    fs::create_dir(&other).unwrap();
    for text in ["", "something else"] {
        fs::write(other.join(INDEX_FILE), text).unwrap();
        assert!(matches!(
            remove(&other).unwrap_err(),
            StoreError::NotAnImage(_)
        ));
    }
    assert!(matches!(
        remove(folder.path()).unwrap_err(),
        StoreError::NotAnImage(_)
    ));
    // Through a link, as people keep a short name.
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&lab, &link).unwrap();
    remove(&link).unwrap();
    assert_eq!(names(folder.path()), ["link", "other"]);
}

#[test]
fn a_broken_index_is_told_and_can_be_removed() {
    let folder = tempfile::tempdir().unwrap();
    let lab = image(&folder.path().join("lab"));
    let index = lab.join(INDEX_FILE);
    let text = fs::read_to_string(&index).unwrap();
    for bytes in [
        text.replace("saved=5", "saved=6").into_bytes(),
        b"goldring-image \xff".to_vec(),
    ] {
        fs::write(&index, bytes).unwrap();
        let error = Image::open(&lab).unwrap_err();
        assert!(
            matches!(error, StoreError::Index(_, IndexError::Changed)),
            "{error}"
        );
    }
    remove(&lab).unwrap();
    assert!(!lab.exists());
}
