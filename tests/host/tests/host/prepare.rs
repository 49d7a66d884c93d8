//! `goldring prepare`: images of every kind laid out on the golden node, and what its nodes
//! get of them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use goldring_host_tests::bench::noise;
use goldring_host_tests::ka::Session;
use goldring_host_tests::ka::Who::Ours;
use goldring_host_tests::net::run;
use goldring_host_tests::program::Program;
use goldring_host_tests::ring::LONG;

use crate::Story;

mod images;

use images::{Images, said};

pub(crate) const STORIES: &[Story] = &[
    ("prepare_unpacks_images_of_every_kind_alike", kinds),
    ("prepare_without_root_and_a_node_gets_it_as_root_s", nobody),
    ("prepare_leaves_it_packed_and_a_node_gets_the_image", packed),
    ("prepare_fetches_an_image_by_http", fetched),
    ("prepare_loses_nothing_that_it_did_not_make", foreign),
    ("prepare_says_what_is_wrong_and_leaves_nothing", wrong),
];

/// Why images cannot be made here, if so.
pub(crate) fn unavailable() -> Option<String> {
    let tools = [
        "mksquashfs",
        "xorriso",
        "create_compressed_fs",
        "mke2fs",
        "setpriv",
    ];
    let lacks = tools.into_iter().find(|tool| {
        let started = Command::new(tool)
            .arg("--version")
            .stdin(Stdio::null())
            .output();
        started.is_err()
    });
    lacks.map(|tool| format!("{tool} is not installed; as root, cargo xtask test installs it"))
}

const OLD: &[&str] = &["ka/ka_replication.sh", "ka/ka-d-client"];
const NEW: &[&str] = &["usr/bin/goldring"];

fn kinds(goldring: &Path) -> Result<()> {
    let images = Images::new(goldring, OLD)?;
    for compressor in ["gzip", "xz", "zstd"] {
        images.squash(&format!("{compressor}.sqfs"), compressor)?;
    }
    images.iso("tree", "plain.iso")?;
    images.cloop("plain.iso", "rescue.clp")?;
    // A whole CD, with the old image where it was on it.
    fs::create_dir_all(images.path("cd/install/stage2"))?;
    fs::copy(
        images.path("rescue.clp"),
        images.path("cd/install/stage2/rescue.clp"),
    )?;
    images.iso("cd", "cd.iso")?;
    let (clp, iso) = ("a compressed loop image with iso9660", "iso9660");
    for (image, what) in [
        ("gzip.sqfs", "squashfs"),
        ("xz.sqfs", "squashfs"),
        ("zstd.sqfs", "squashfs"),
        ("plain.iso", iso),
        ("rescue.clp", clp),
        (
            "cd.iso",
            "iso9660 with a CD with install/stage2/rescue.clp with a compressed loop",
        ),
        ("tree", "a folder"),
    ] {
        let place = format!("made-{image}/ka");
        let words = [&*images.shown(image), "--into", &images.shown(&place)];
        let (code, said) = images.prepare(&words)?;
        ensure!(
            code == Some(0) && said.starts_with(what),
            "{image}: {code:?} {said}"
        );
        ensure!(
            said.contains("an old stage 2, with the scripts of ka-deploy"),
            "{said}"
        );
        images
            .is_the_tree(&place)
            .with_context(|| image.to_owned())?;
        let img = images.shown(&format!("made-{image}/stage2.img"));
        run("e2fsck", &["-fn", &img])?;
        let debugfs = Command::new("debugfs")
            .args(["-R", "stat /dev/sda9", &img])
            .output()?;
        let text = String::from_utf8_lossy(&debugfs.stdout).into_owned();
        ensure!(
            text.contains("Type: block special") && text.contains("08:09"),
            "{text}"
        );
    }
    Ok(())
}

/// Neither the tree nor the image needs root; a node cannot tell.
fn nobody(goldring: &Path) -> Result<()> {
    let images = Images::new(goldring, NEW)?;
    images.squash("rescue.clp", "zstd")?;
    fs::create_dir(images.path("home"))?;
    fs::set_permissions(images.path("home"), fs::Permissions::from_mode(0o777))?;
    let program = images.path("goldring");
    fs::copy(goldring, &program)?;
    let place = images.shown("home/ka");
    let nobody = [
        "setpriv",
        "--reuid",
        "65534",
        "--regid",
        "65534",
        "--clear-groups",
    ];
    let own = program.to_string_lossy();
    let words = [
        &nobody[1..],
        &[
            &own,
            "prepare",
            &images.shown("rescue.clp"),
            "--into",
            &place,
        ],
    ];
    let output = Command::new(nobody[0]).args(words.concat()).output()?;
    let (code, text) = said(&output)?;
    ensure!(code == Some(0), "{code:?} {text}");
    for part in [
        "not root: 2 device nodes are missing in",
        "nodes of goldring need none",
        "ka-d-session and ka-d send them as root's",
        "not ready: root, for ka-d",
    ] {
        ensure!(text.contains(part), "{part}: {text}");
    }
    let img = images.shown("home/stage2.img");
    run("e2fsck", &["-fn", &img])?;
    let inside = |what: &str| -> Result<String> {
        let words = format!("stat {what}");
        let debugfs = Command::new("debugfs")
            .args(["-R", &words, &img])
            .output()?;
        Ok(String::from_utf8_lossy(&debugfs.stdout)
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" "))
    };
    for (what, parts) in [
        (
            "/dev/console",
            ["Type: character special", "User: 0 Group: 0"],
        ),
        ("/secret", ["Mode: 0400", "User: 0 Group: 0"]),
        ("\"/a b/ü\"", ["Type: directory", "User: 0 Group: 0"]),
    ] {
        let text = inside(what)?;
        ensure!(
            parts.iter().all(|part| text.contains(part)),
            "{what}: {text}"
        );
    }
    let session = Session::new(goldring, 1, 0)?;
    let words = [
        &nobody[..],
        &[&own, "ka-d-session", "-n", "1", "--data-path", &place],
    ]
    .concat();
    // The log is root's, as whoever started it.
    let mut server = Program::start(&session.net, 0, &session.home(0), &words)?;
    let command = "mkdir got; cd got; tar x";
    let mut node = session.start(1, Ours, &["-w", "-s", "getstage2", "-e", command])?;
    server.ends_with(0, LONG)?;
    node.ends_with(0, LONG)?;
    let got = session.home(1).join("got");
    let owner = Command::new("find")
        .arg(&got)
        .args(["!", "-uid", "0", "-o", "!", "-gid", "0"])
        .output()?;
    let strangers = String::from_utf8(owner.stdout)?;
    ensure!(strangers.is_empty(), "not root's: {strangers}");
    ensure!(
        !got.join(".goldring-prepare").exists(),
        "what is ours alone has travelled"
    );
    ensure!(fs::read(got.join("big"))? == fs::read(images.path("tree/big"))?);
    let mode = fs::metadata(got.join("secret"))?.permissions().mode();
    ensure!(mode & 0o7777 == 0o400, "{mode:o}");
    Ok(())
}

fn packed(goldring: &Path) -> Result<()> {
    let images = Images::new(goldring, NEW)?;
    images.squash("rescue.clp", "zstd")?;
    images.iso("tree", "plain.iso")?;
    let place = images.shown("home/ka");
    let (code, said) =
        images.prepare(&[&images.shown("plain.iso"), "--packed", "--into", &place])?;
    ensure!(
        code == Some(2) && said.contains("must be unpacked"),
        "{said}"
    );
    fs::write(images.path("vmlinuz"), "kernel")?;
    fs::write(images.path("all.rdz"), "stage 1")?;
    fs::create_dir(images.path("tftp"))?;
    let (clp, tftp) = (images.shown("rescue.clp"), images.shown("tftp"));
    let words = [
        &*clp, "--packed", "--into", &place, "--tftp", &tftp, "--name", "lab",
    ];
    let (code, said) = images.prepare(&words)?;
    ensure!(
        code == Some(0) && said.contains("for dolly: infile "),
        "{said}"
    );
    ensure!(
        images.names("home")? == ["ka"],
        "{:?}",
        images.names("home")?
    );
    ensure!(fs::read(images.path("tftp/images/all.rdz"))? == b"stage 1");
    let menu = fs::read_to_string(images.path("tftp/pxelinux.cfg/default"))?;
    ensure!(menu.contains("rescue kamethod kaopt=lab\n"), "{menu}");
    let session = Session::new(goldring, 1, 0)?;
    let server = [
        &*goldring.to_string_lossy(),
        "ka-d-session",
        "--data-path",
        &place,
    ];
    let server = [&server[..], &["--name", "lab"]].concat();
    let mut server = Program::start(&session.net, 0, &session.home(0), &server)?;
    let command = "mkdir got; cd got; tar x";
    let mut node = session.start(1, Ours, &["-w", "-s", "lab", "-e", command])?;
    server.ends_with(0, LONG)?;
    node.ends_with(0, LONG)?;
    let got = fs::read(session.home(1).join("got/rescue.clp"))?;
    ensure!(
        got == fs::read(images.path("rescue.clp"))?,
        "the image differs"
    );
    Ok(())
}

fn fetched(goldring: &Path) -> Result<()> {
    let images = Images::new(goldring, NEW)?;
    images.squash("rescue.clp", "zstd")?;
    let session = Session::new(goldring, 1, 0)?;
    let top = images.shown("");
    let serve = [
        "python3",
        "-u",
        "-m",
        "http.server",
        "8000",
        "--directory",
        &top,
    ];
    let server = Program::start(&session.net, 0, &session.home(0), &serve)?;
    server.expect("Serving HTTP", LONG)?;
    let (own, place) = (goldring.to_string_lossy(), images.shown("home/ka"));
    let prepare = |name: &str, more: &[&str]| {
        let url = format!("http://10.77.0.10:8000/{name}");
        let words = [&own, "prepare", &url, "--into", &place, "--no-img"];
        let words = [&words[..], more].concat();
        Program::start(&session.net, 1, &session.home(1), &words)
    };
    let mut dry = prepare("rescue.clp", &["--dry-run"])?;
    dry.ends_with(0, LONG)?;
    dry.expect("would fetch http://10.77.0.10:8000/rescue.clp (", LONG)?;
    ensure!(!images.path("home").exists(), "a dry run writes");
    prepare("rescue.clp", &[])?.ends_with(0, LONG)?;
    images.is_the_tree("home/ka")?;
    ensure!(
        images.names("home")? == ["ka"],
        "{:?}",
        images.names("home")?
    );
    let mut none = prepare("none.clp", &["--force"])?;
    none.ends_with(1, LONG)?;
    none.expect("fetching http://10.77.0.10:8000/none.clp", LONG)?;
    images.is_the_tree("home/ka")
}

fn foreign(goldring: &Path) -> Result<()> {
    let images = Images::new(goldring, NEW)?;
    images.squash("one.clp", "zstd")?;
    fs::write(images.path("tree/more"), "more")?;
    images.squash("two.clp", "gzip")?;
    let place = images.shown("home/ka");
    let (one, two) = (images.shown("one.clp"), images.shown("two.clp"));
    let of =
        |image: &str, more: &[&str]| images.prepare(&[&[image, "--into", &place], more].concat());
    fs::create_dir_all(images.path("home/ka"))?;
    fs::write(images.path("home/ka/mine"), "mine")?;
    let (code, said) = of(&one, &["--dry-run"])?;
    ensure!(
        code == Some(1) && said.contains("was not made by goldring prepare"),
        "{said}"
    );
    ensure!(of(&one, &[])?.0 == Some(1));
    ensure!(images.names("home")? == ["ka"] && images.names("home/ka")? == ["mine"]);
    ensure!(of(&one, &["--force"])?.0 == Some(0));
    ensure!(images.names("home")? == ["ka", "stage2.img"]);
    // Again: nothing is written.
    let before = fs::metadata(images.path("home/ka/big"))?.modified()?;
    let (code, said) = of(&one, &[])?;
    ensure!(code == Some(0) && said.contains("nothing to do"), "{said}");
    ensure!(fs::metadata(images.path("home/ka/big"))?.modified()? == before);
    // Another image takes the place of ours, but not of what a person has changed there.
    let (code, said) = of(&two, &["--dry-run"])?;
    ensure!(
        code == Some(0) && said.contains("instead of what is there"),
        "{said}"
    );
    ensure!(of(&two, &[])?.0 == Some(0) && images.path("home/ka/more").exists());
    fs::write(images.path("home/ka/more"), "changed by hand")?;
    let (code, said) = of(&one, &[])?;
    ensure!(
        code == Some(1) && said.contains("and changed since"),
        "{said}"
    );
    ensure!(fs::read(images.path("home/ka/more"))? == b"changed by hand");
    // An image for dolly that is somebody's.
    fs::write(images.path("x.img"), "mine")?;
    let other = images.shown("other/ka");
    let words = [&*one, "--into", &other, "--img", &images.shown("x.img")];
    let (code, said) = images.prepare(&words)?;
    ensure!(
        code == Some(1) && said.contains("is there already"),
        "{said}"
    );
    ensure!(!images.path("other").exists() && fs::read(images.path("x.img"))? == b"mine");
    Ok(())
}

fn wrong(goldring: &Path) -> Result<()> {
    let images = Images::new(goldring, NEW)?;
    images.squash("good.clp", "zstd")?;
    images.squash("lzo.sqfs", "lzo")?;
    let good = fs::read(images.path("good.clp"))?;
    fs::write(images.path("cut.clp"), &good[..good.len() / 2])?;
    let mut bad = good.clone();
    // Its table of inodes begins where the superblock says (fs/squashfs/squashfs_fs.h).
    let inodes = u64::from_le_bytes(*bad[64..].first_chunk().context("no superblock")?);
    let inodes = usize::try_from(inodes)?;
    bad[inodes + 10..inodes + 60].fill(0x55);
    fs::write(images.path("damaged.clp"), bad)?;
    let mut old = good;
    old[28] = 3;
    fs::write(images.path("v3.sqfs"), old)?;
    fs::write(images.path("empty"), "")?;
    fs::write(images.path("page"), "<html>404</html>")?;
    fs::write(images.path("all.rdz"), b"\xfd7zXZ\0")?;
    fs::write(images.path("noise"), noise(100_000))?;
    fs::write(images.path("cloop3"), "#!/bin/sh\n#V3.0 Format\n")?;
    let mut cloop =
        fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/cloop/numbers.cloop"))?;
    fs::write(images.path("numbers.clp"), &cloop)?;
    cloop.truncate(9000);
    fs::write(images.path("cut.cloop"), cloop)?;
    let ext = images.shown("ext.img");
    fs::write(images.path("ext.img"), vec![0; 1 << 20])?;
    run("mke2fs", &["-q", "-F", &ext])?;
    fs::create_dir_all(images.path("other/etc"))?;
    images.iso("other", "other.iso")?;
    let to = images.shown("plain.iso");
    run(
        "xorriso",
        &[
            "-as",
            "mkisofs",
            "-quiet",
            "--norock",
            "-o",
            &to,
            &images.shown("tree"),
        ],
    )?;
    for (image, part) in [
        ("none", "No such file"),
        ("empty", "it is empty"),
        ("page", "it is a page of a web server"),
        ("all.rdz", "stage 2 is the file rescue.clp"),
        ("noise", "neither a squashfs, nor a compressed loop image"),
        ("cut.clp", "it is cut off"),
        ("damaged.clp", "get it again"),
        ("lzo.sqfs", "lzo, which is not known here; unpack it with"),
        ("v3.sqfs", "squashfs 3.0, as before 2009; unpack it with"),
        ("cloop3", "of another version than 2"),
        ("numbers.clp", "neither a squashfs, nor"),
        (
            "cut.cloop",
            "broken compressed loop image, get it again: it is cut off",
        ),
        ("ext.img", "dolly can send as it is"),
        ("other.iso", "nothing in it can clone"),
        ("other", "nothing in it can clone"),
        ("plain.iso", "it has no Rock Ridge"),
    ] {
        let words = [&*images.shown(image), "--into", &images.shown("home/ka")];
        let (code, said) = images.prepare(&words)?;
        ensure!(
            code == Some(1) && said.contains(part),
            "{image}: {code:?} {said}"
        );
        ensure!(!images.path("home/ka").exists(), "{image}: a tree stays");
        if images.path("home").exists() {
            ensure!(
                images.names("home")?.is_empty(),
                "{image}: {:?}",
                images.names("home")?
            );
        }
    }
    // A list that knows better, and a disk that is too small.
    fs::write(
        images.path("SHA256SUMS"),
        format!("{}  good.clp\n", "0".repeat(64)),
    )?;
    let good = images.shown("good.clp");
    let words = [&*good, "--into", &images.shown("home/ka")];
    let (code, said) = images.prepare(&words)?;
    ensure!(code == Some(1) && said.contains("is not what"), "{said}");
    fs::remove_file(images.path("SHA256SUMS"))?;
    let small = images.shown("small");
    fs::create_dir(&small)?;
    run("mount", &["-t", "tmpfs", "-o", "size=2m", "none", &small])?;
    let words = [&*good, "--into", &images.shown("small/ka"), "--no-img"];
    let said = images.prepare(&words);
    let names = images.names("small");
    let itself = images.prepare(&[&*good, "--into", &small, "--no-img"]);
    run("umount", &[&small])?;
    let (code, said) = said?;
    ensure!(
        code == Some(1) && said.contains("are needed; say another place"),
        "{said}"
    );
    ensure!(names?.is_empty(), "something stays");
    let (code, said) = itself?;
    ensure!(
        code == Some(1) && said.contains("something is mounted on"),
        "{said}"
    );
    Ok(())
}
