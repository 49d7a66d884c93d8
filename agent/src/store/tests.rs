use std::io::Write;

use goldring_contract::Root;
use goldring_disk::desc::Desc;
use goldring_disk::table::Geometry;
use goldring_files::deployment::RawOrder;
use goldring_files::manifest::{FileSystem, Left, Manifest, Mount};
use goldring_files::store::{Cut, DRAFT_FILE, Draft, FILES, INDEX_FILE, Index, raw_stream};

use super::*;
use crate::deploy::{Golden, GoldenDisk};
use crate::fault::chain;

fn golden() -> Golden {
    let mut manifest = Manifest::default();
    for (place, device) in [("/", "/dev/sda1"), ("/srv", "/dev/sda2")] {
        manifest.mounts.push(Mount {
            place: place.into(),
            device: device.into(),
            ..Mount::default()
        });
        manifest.file_systems.push(FileSystem {
            device: device.into(),
            ..FileSystem::default()
        });
    }
    manifest.left.push(Left {
        place: "/srv/net".into(),
        spec: "s:/x".into(),
        why: "far away".into(),
        without_disk: false,
    });
    let disk = |device: &str, text: &str, boot: Option<u8>| GoldenDisk {
        device: device.into(),
        geometry: Some(Geometry::new(80 << 30, 4096)),
        desc: Some(Desc::parse(text).unwrap()),
        notes: Vec::new(),
        boot: boot.map(|byte| vec![byte; 440]),
    };
    Golden {
        manifest,
        disks: vec![
            disk(
                "/dev/sda",
                "linux 500 fs=ext4 mount=/\nlinux fill fs=xfs mount=/srv",
                Some(7),
            ),
            disk("/dev/sdb", "gpt\nlinux 5 number=3\ntypeb fill", None),
        ],
        raw: vec![RawOrder {
            device: "/dev/sdb4".into(),
            size: 5,
        }],
    }
}

/// An image with so many streams.
fn image(place: &Path, golden: &Golden, streams: usize) -> Image {
    let mut index = Index {
        host: "max5".into(),
        saved: 951_782_400,
        piece: 1 << 20,
        description: "one\nline".into(),
        disks: kept::disks(golden),
        ..Index::default()
    };
    let draft = Draft::begin(place, &index).unwrap();
    for (name, bytes) in kept::files(golden) {
        index.files.push(draft.put(&name, &bytes).unwrap());
    }
    let cut = Cut {
        piece: index.piece,
        level: 1,
        threads: 1,
    };
    let names = [FILES.to_owned(), raw_stream(0)];
    for name in &names[..streams] {
        let mut tell = |_, _| {};
        let mut cutter = draft.cutter(name, cut, &mut tell);
        cutter.write_all(b"12345").unwrap();
        index.streams.push(cutter.finish().unwrap());
    }
    Image::open(&draft.finish(&index).unwrap()).unwrap()
}

#[test]
fn a_golden_node_is_kept_whole() {
    let folder = tempfile::tempdir().unwrap();
    let before = golden();
    let image = image(&folder.path().join("lab"), &before, 2);
    let after = kept::golden(&image).unwrap();
    assert_eq!(after.manifest, before.manifest);
    assert_eq!(after.raw, before.raw);
    assert_eq!(after.disks.len(), 2);
    for (after, before) in after.disks.iter().zip(&before.disks) {
        assert_eq!(after.device, before.device);
        assert_eq!(after.geometry, before.geometry);
        assert_eq!(after.boot, before.boot);
        let text = |disk: &GoldenDisk| disk.desc.as_ref().unwrap().to_string();
        assert_eq!(text(after), text(before));
    }
    assert_eq!(
        heading(&image),
        "lab, saved 2000-02-29 00:00 (UTC) of max5: one line"
    );
}

#[test]
fn an_image_that_lacks_a_partition_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let image = image(&folder.path().join("lab"), &golden(), 1);
    let error = chain(&kept::golden(&image).unwrap_err());
    assert_eq!(error, "the image has 1 streams, and its deployment wants 2");
}

#[test]
fn an_image_holds_no_image() {
    let folder = tempfile::tempdir().unwrap();
    let top = folder.path().canonicalize().unwrap();
    let root = Root::at(&top);
    for place in ["srv/net", "srv/images"] {
        fs::create_dir_all(top.join(place)).unwrap();
        image(&top.join(place).join("old"), &golden(), 2);
        fs::create_dir(top.join(place).join("other")).unwrap();
    }
    let left_out = |root: &Root, target: &Path| {
        let mut manifest = golden().manifest;
        save::without_images(root, &mut manifest, target);
        manifest.excluded
    };
    let target = top.join("srv/images/new");
    assert_eq!(
        left_out(&root, &target),
        [
            "/srv/images/new",
            "/srv/images/new.partial",
            "/srv/images/old"
        ]
        .map(PathBuf::from)
    );
    // What does not travel need not be left out.
    assert!(left_out(&root, &top.join("srv/net/new")).is_empty());
    assert!(left_out(&Root::at("/none"), &target).is_empty());
}

#[test]
fn what_lies_in_a_folder_is_listed() {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name);
    image(&place("b"), &golden(), 2);
    image(&place("a"), &golden(), 2);
    image(&place("c"), &golden(), 2);
    fs::create_dir(place("other")).unwrap();
    fs::write(place("a").join(INDEX_FILE), "goldring-image 9\n").unwrap();
    fs::rename(place("c").join(INDEX_FILE), place("c").join(DRAFT_FILE)).unwrap();
    let found = images(folder.path()).unwrap();
    assert_eq!(found, ["a", "b", "c"].map(place));
    assert_eq!(images(&place("b")).unwrap(), [place("b")]);
    assert!(images(&place("none")).is_err());
    let text = list::text(&found, false);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 4, "{text}");
    assert!(
        lines[1].contains("broken: this is no index of an image"),
        "{text}"
    );
    assert!(
        lines[2].ends_with("one line") && lines[2].contains("max5"),
        "{text}"
    );
    assert!(lines[3].contains("not whole"), "{text}");
    let json: serde_json::Value = serde_json::from_str(&list::text(&found, true)).unwrap();
    let states: Vec<&str> = json
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["state"].as_str().unwrap())
        .collect();
    assert_eq!(states, ["broken", "whole", "partial"]);
    assert_eq!(json[1]["description"], "one\nline");
    assert_eq!(json[1]["disks"][1]["bytes"], 80_u64 << 30);
    assert_eq!(list::text(&[], true), "[]\n");
}

#[test]
fn all_are_looked_at_before_one_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let lab = folder.path().join("lab");
    image(&lab, &golden(), 2);
    let rm = |images: Vec<PathBuf>, dry_run| {
        remove::run(&RemoveArgs {
            images,
            yes: true,
            dry_run,
        })
    };
    let error = rm(vec![lab.clone(), folder.path().to_owned()], false).unwrap_err();
    assert!(chain(&error).contains("is no image"), "{error}");
    rm(vec![lab.clone()], true).unwrap();
    assert!(Image::open(&lab).is_ok());
    rm(vec![lab.clone()], false).unwrap();
    assert!(!lab.exists());
}
