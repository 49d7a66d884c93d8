//! `goldring store`: a small system on a loop device is kept as files, and nodes are cloned
//! from them when it has become another.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use goldring_host_tests::net::run;
use goldring_host_tests::program::{Program, Signal};
use goldring_host_tests::target::Small;

use crate::Story;
use crate::ka_deploy::{GOLDEN, Lab, size};

/// A whole deployment on a machine that has other things to do.
const PATIENT: Duration = Duration::from_secs(240);

pub(crate) const STORIES: &[Story] = &[
    ("store_deploys_a_golden_node_that_is_no_more", deploys),
    ("store_partitions_nodes_by_another_desc", by_a_desc),
    ("store_takes_no_half_image_for_a_whole_one", interrupted),
    ("store_says_that_its_disk_is_full", full),
    ("store_touches_no_node_with_a_damaged_image", damaged),
];

impl Lab {
    /// Runs `goldring store save` on the golden node.
    fn save(&self, image: &Path, options: &[&str]) -> Result<Program> {
        let image = image.to_string_lossy();
        self.on_golden(&[&["store", "save", &image], options].concat())
    }

    /// Runs `goldring store` on a computer that has nothing but the image.
    fn store(&self, words: &[&str]) -> Result<Program> {
        let goldring = self.goldring.to_string_lossy();
        let words = [&[&*goldring, "store"], words].concat();
        // Not the golden node's log: both may run.
        Program::start(&self.net, 0, &self.home(9), &words)
    }

    /// The golden node becomes another.
    fn forget(&self) -> Result<()> {
        fs::write(self.system().join("file"), "another")?;
        fs::write(
            self.system().join("etc/fstab"),
            "none / ext4 defaults 0 1\n",
        )?;
        OpenOptions::new()
            .write(true)
            .open(format!("{}p2", self.golden.device))?
            .write_all_at(&[0; 4096], 0)?;
        Ok(())
    }

    fn raw(&self) -> String {
        format!("{}p2", self.golden.device)
    }

    /// All nodes end well.
    fn nodes_end(&mut self) -> Result<()> {
        for program in &mut self.programs {
            program.ends_with(0, PATIENT)?;
        }
        Ok(())
    }

    /// What lies in a folder of a node's clone.
    fn names_on(&self, number: usize, folder: &str) -> Result<Vec<String>> {
        let place = self.folder.path().join(format!("look{number}"));
        fs::create_dir_all(&place)?;
        let shown = place.display().to_string();
        let disk = format!("{}p3", self.nodes[number - 1].device);
        run("mount", &["-o", "ro,noload", &disk, &shown])?;
        let names = names(&place.join(folder));
        run("umount", &[&shown])?;
        names
    }
}

fn names(folder: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(folder)?.collect::<std::io::Result<Vec<_>>>()?;
    let names = entries.iter().map(|entry| entry.file_name());
    let mut names: Vec<String> = names.map(|name| name.to_string_lossy().into()).collect();
    names.sort();
    Ok(names)
}

fn says(program: &Program, parts: &[&str]) -> Result<()> {
    let said = program.said();
    for part in parts {
        ensure!(said.contains(part), "{part:?} is not said:\n{said}");
    }
    Ok(())
}

fn ended(mut program: Program, code: i32) -> Result<Program> {
    program.ends_with(code, PATIENT)?;
    Ok(program)
}

/// The images lie on the very file system that is saved.
fn deploys(goldring: &Path) -> Result<()> {
    let mut lab = Lab::new(goldring, &[GOLDEN, 2 * GOLDEN], 3 << 20)?;
    let images = lab.system().join("images");
    fs::create_dir_all(&images)?;
    let (first, second) = (images.join("first"), images.join("second"));
    let raw = lab.raw();
    let options = ["-D", &raw, "--piece", "1", "--description", "room 4"];
    let dry = ended(
        lab.save(&first, &[&options[..], &["--dry-run"]].concat())?,
        0,
    )?;
    says(&dry, &["kept in ", "sent as it is: ", " are free there"])?;
    ensure!(names(&images)?.is_empty(), "a dry run writes");
    let saved = ended(lab.save(&first, &options)?, 0)?;
    says(&saved, &["first: ", " MB/s; ", "read again and right"])?;
    // Nothing is overwritten, and the first image is not in the second.
    let again = ended(lab.save(&first, &options)?, 1)?;
    says(&again, &["first exists"])?;
    ended(lab.save(&second, &options)?, 0)?;
    let files = |image: &Path| -> Result<u64> {
        let text = fs::read_to_string(image.join("image"))?;
        let line = text
            .lines()
            .find(|line| line.starts_with("stream name=files"));
        let count = line.and_then(|line| line.split_once("entries=")?.1.parse().ok());
        count.ok_or_else(|| anyhow::anyhow!("{text}"))
    };
    ensure!(files(&first)? == files(&second)?, "an image holds another");
    let shown = images.to_string_lossy();
    let list = ended(lab.store(&["list", &shown])?, 0)?;
    says(&list, &["first ", "second ", "room 4"])?;
    let json = ended(lab.store(&["list", "--json", &shown])?, 0)?;
    says(
        &json,
        &["\"state\": \"whole\"", "\"description\": \"room 4\""],
    )?;
    ended(lab.store(&["verify", &shown])?, 0)?;
    // As people carry an image to another computer.
    let kept = lab.folder.path().join("kept");
    let kept = kept.to_string_lossy();
    run("cp", &["-a", &second.to_string_lossy(), &kept])?;
    lab.forget()?;
    let send = [
        "send",
        &kept,
        "-n",
        "2",
        "-d",
        "5",
        "-r",
        "grub",
        "--no-stage2",
    ];
    let dry = ended(lab.store(&[&send[..], &["--dry-run"]].concat())?, 0)?;
    says(
        &dry,
        &["to be, with a dos table:", "kept, saved ", "(with grub)"],
    )?;
    let mut golden = lab.store(&[&send[..], &["--name", "lab"]].concat())?;
    for number in [1, 2] {
        let node = lab.node(number, "")?;
        lab.programs.push(node);
    }
    golden.ends_with(0, PATIENT)?;
    says(&golden, &["2 of 2 nodes are complete and bootable"])?;
    lab.nodes_end()?;
    for number in [1, 2] {
        lab.is_whole(number)?;
        let images = lab.names_on(number, "images")?;
        ensure!(images.is_empty(), "n{number} has {images:?}");
    }
    let removed = ended(lab.store(&["rm", &kept])?, 2)?;
    says(&removed, &["--yes"])?;
    ended(lab.store(&["rm", &kept, "--yes"])?, 0)?;
    ensure!(!Path::new(&*kept).exists(), "it is still there");
    Ok(())
}

/// As the manual writes a desc, without a word about file systems.
fn by_a_desc(goldring: &Path) -> Result<()> {
    let mut lab = Lab::new(goldring, &[2 * GOLDEN], 3 << 20)?;
    let image = lab.folder.path().join("lab");
    let raw = lab.raw();
    ended(lab.save(&image, &["-D", &raw, "--level", "1"])?, 0)?;
    lab.forget()?;
    let desc = lab.folder.path().join("desc");
    fs::write(&desc, "swap 16\ntypeb 6\nlinux fill\n")?;
    let (image, desc) = (image.to_string_lossy(), desc.to_string_lossy());
    let disk = lab.golden.device.clone();
    let send = ["send", &image, "--name", "lab", "--no-stage2"];
    // Without a place for the system nothing begins.
    let bad = lab.folder.path().join("bad");
    fs::write(&bad, "swap 16\ntypeb 6\n")?;
    let bad = bad.to_string_lossy();
    let none = ended(lab.store(&[&send[..], &["-p", &disk, &bad]].concat())?, 1)?;
    says(&none, &["there is no partition for /"])?;
    let mut golden = lab.store(&[&send[..], &["-p", &disk, &desc, "-m", &disk]].concat())?;
    let node = lab.node(1, "")?;
    lab.programs.push(node);
    golden.ends_with(0, PATIENT)?;
    lab.nodes_end()?;
    let swap = size(&format!("{}p1", lab.nodes[0].device))?;
    ensure!(swap == 16 << 20, "{swap}");
    lab.is_whole(1)
}

fn interrupted(goldring: &Path) -> Result<()> {
    let lab = Lab::new(goldring, &[], 60 << 20)?;
    let images = lab.folder.path().join("images");
    fs::create_dir_all(&images)?;
    let (image, partial) = (images.join("lab"), images.join("lab.partial"));
    let mut save = lab.save(&image, &["--piece", "1"])?;
    arrives(&mut save, &partial.join("files.0003"))?;
    // It stays in the middle as long as it is looked at.
    save.signal(Signal::STOP)?;
    let shown = images.to_string_lossy();
    let list = ended(lab.store(&["list", &shown])?, 0)?;
    says(&list, &["it is being saved"])?;
    ended(lab.store(&["verify", &shown])?, 0)?;
    let part = partial.to_string_lossy();
    let busy = ended(lab.store(&["rm", "--yes", &part])?, 1)?;
    says(&busy, &["is being saved or sent just now"])?;
    save.signal(Signal::KILL)?;
    save.wait(PATIENT)?;
    ensure!(!image.exists(), "half an image has its name");
    let list = ended(lab.store(&["list", &shown])?, 0)?;
    says(&list, &["lab.partial ", "not whole"])?;
    ended(lab.store(&["verify", &shown])?, 1)?;
    for image in [&part[..], &image.to_string_lossy()] {
        ended(lab.store(&["send", image, "--no-stage2"])?, 1)?;
    }
    // The next save takes its place.
    let again = ended(lab.save(&image, &["--piece", "1"])?, 0)?;
    says(&again, &["what an interrupted save has left"])?;
    ensure!(names(&images)? == ["lab"], "{:?}", names(&images)?);
    ended(lab.store(&["verify", &shown])?, 0)?;
    // And what nobody repeats is removed.
    fs::rename(&image, &partial)?;
    fs::rename(partial.join("image"), partial.join("image.partial"))?;
    ended(lab.store(&["rm", "--yes", &part])?, 0)?;
    ensure!(names(&images)?.is_empty(), "{:?}", names(&images)?);
    Ok(())
}

fn arrives(program: &mut Program, path: &Path) -> Result<()> {
    let end = Instant::now() + PATIENT;
    while !path.exists() {
        if Instant::now() > end || !program.is_running()? {
            bail!("{} does not come: {}", path.display(), program.said());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

fn full(goldring: &Path) -> Result<()> {
    let lab = Lab::new(goldring, &[], 30 << 20)?;
    let images = lab.folder.path().join("images");
    let _small = Small::new(&images, "12m")?;
    let save = ended(lab.save(&images.join("lab"), &["--piece", "4"])?, 1)?;
    says(
        &save,
        &[
            "lab.partial/files.000",
            "No space left on device",
            "Nothing of it stays",
        ],
    )?;
    ensure!(names(&images)?.is_empty(), "{:?}", names(&images)?);
    // A mount point cannot be an image.
    let save = ended(lab.save(&images, &[])?, 1)?;
    says(&save, &["something is mounted on "])
}

fn damaged(goldring: &Path) -> Result<()> {
    let mut lab = Lab::new(goldring, &[GOLDEN], 20 << 20)?;
    let image = lab.folder.path().join("lab");
    ended(lab.save(&image, &["--piece", "4"])?, 0)?;
    let piece = image.join("files.0002");
    let good = fs::read(&piece)?;
    let mut bad = good.clone();
    let middle = bad.len() / 2;
    bad[middle] ^= 0x10;
    let shown = image.to_string_lossy().into_owned();
    let send = ["send", &shown, "--name", "lab", "--no-stage2"];
    for (bytes, why) in [
        (
            Some(&bad[..]),
            "files.0002 is damaged: its digest is another",
        ),
        (Some(&good[..middle]), "files.0002 is damaged: it has "),
        (None, "files.0002 is missing"),
    ] {
        match bytes {
            Some(bytes) => fs::write(&piece, bytes)?,
            None => fs::remove_file(&piece)?,
        }
        let verify = ended(lab.store(&["verify", &shown])?, 1)?;
        says(&verify, &[why])?;
        // No node is there, and nobody waits for one.
        let refused = ended(lab.store(&send)?, 1)?;
        says(&refused, &[why, "nothing was sent"])?;
    }
    // Whoever does not want to wait for that learns it later, and no disk looks whole.
    fs::write(&piece, &bad)?;
    let mut golden = lab.store(&[&send[..], &["--unchecked"]].concat())?;
    let node = lab.node(1, "")?;
    lab.programs.push(node);
    golden.ends_with(1, PATIENT)?;
    says(
        &golden,
        &["files.0002 is damaged", "0 of 1 nodes are complete"],
    )?;
    lab.programs[0].expect("goldring: this try failed: ", PATIENT)?;
    ensure!(lab.first(1)? == [0; 5], "half a clone looks bootable");
    fs::write(&piece, &good)?;
    ended(lab.store(&["verify", &shown])?, 0)?;
    // Its index is another matter.
    let index = image.join("image");
    let text = fs::read_to_string(&index)?;
    fs::write(&index, text.replace("entries=", "entries=1"))?;
    let refused = ended(lab.store(&send)?, 1)?;
    says(&refused, &["the index has changed since it was written"])?;
    let list = ended(lab.store(&["list", &shown])?, 0)?;
    says(&list, &["broken: the index has changed"])
}
