//! `goldring ka-d` and nodes with an old stage 2, alone and beside those of today.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use goldring_host_tests::net::run;
use goldring_host_tests::program::{Program, ka, ka_node};
use goldring_host_tests::ring::LONG;

use crate::Story;
use crate::ka_deploy::{GOLDEN, Lab, size};

pub(crate) const STORIES: &[Story] = &[
    ("ka_d_clones_old_nodes_beside_new_ones", beside_new_ones),
    ("ka_d_types_a_desc_for_old_nodes", by_a_desc),
    ("ka_d_says_why_old_nodes_cannot_be_cloned", refused),
];

/// Makes the system one that old scripts can start: with the old GRUB, and mkinitrd.
fn with_old_loader(lab: &Lab) -> Result<String> {
    let system = lab.system();
    let root = format!("{}p3", lab.golden.device);
    let blkid = Command::new("blkid")
        .args(["-p", "-o", "value", "-s", "UUID", &root])
        .output()?;
    let uuid = String::from_utf8(blkid.stdout)?.trim().to_owned();
    fs::create_dir_all(system.join("sbin"))?;
    fs::create_dir_all(system.join("var/scratch"))?;
    fs::write(system.join("var/scratch/lost"), "is not sent")?;
    run(
        "chmod",
        &["3775", &system.join("var/scratch").to_string_lossy()],
    )?;
    let menu = format!("kernel /boot/vmlinuz root=UUID={uuid}\n");
    fs::write(system.join("boot/grub/menu.lst"), menu)?;
    let mkinitrd = system.join("sbin/mkinitrd");
    fs::write(&mkinitrd, "#!/bin/sh\necho \"made for $3\" > \"$2\"\n")?;
    run("chmod", &["755", &mkinitrd.to_string_lossy()])?;
    let sparse = fs::File::create(system.join("sparse"))?;
    sparse.set_len(30 << 20)?;
    Ok(uuid)
}

/// Starts an old node, whose disk has the name that the golden node's has; it does `before`
/// first.
fn old_node(lab: &Lab, number: usize, before: &str) -> Result<Program> {
    let (there, here) = (&lab.golden.device, &lab.nodes[number - 1].device);
    let home = lab.home(number);
    fs::create_dir_all(&home)?;
    let settle = format!(
        "partx -u {here} && for n in 1 2 3; do mount --bind {here}p$n {there}p$n || exit 1; done"
    );
    let peer = ka_node();
    let script =
        format!("set -e\nmount --bind \"$1\" \"$2\"\n{before}\nexec python3 \"$3\" \"$4\" \"$5\"");
    let (peer, place) = (peer.to_string_lossy(), home.join("node"));
    let place = place.to_string_lossy();
    let words = [
        "sh", "-c", &script, "sh", here, there, &peer, &place, &settle,
    ];
    // Their clients look for the server on the way to the router.
    lab.net.default_route(number)?;
    Program::start(&lab.net, number, &home, &words)
}

/// The clone on an old node's disk, as its own scripts leave it.
fn is_clone(lab: &Lab, number: usize, uuid: &str) -> Result<()> {
    let disk = &lab.nodes[number - 1].device;
    ensure!(
        fs::read(format!("{disk}p2"))?[..lab.raw.len()] == lab.raw,
        "n{number}: the raw partition differs"
    );
    let place = lab.home(number).join("clone");
    fs::create_dir_all(&place)?;
    let shown = place.to_string_lossy().into_owned();
    run("mount", &["-o", "ro,noload", &format!("{disk}p3"), &shown])?;
    let read = |name: &str| fs::read_to_string(place.join(name));
    let found = (
        fs::read(place.join("file")),
        read("etc/fstab"),
        read("boot/grub/menu.lst"),
        read("boot/initrd.img"),
        Command::new("stat")
            .args(["-c", "%a %n", "var/scratch"])
            .current_dir(&place)
            .output(),
        fs::metadata(place.join("sparse")),
        place.join("var/scratch/lost").exists(),
    );
    run("umount", &[&shown])?;
    let (file, fstab, menu, initrd, scratch, sparse, lost) = found;
    ensure!(file? == lab.file, "n{number}: a file differs");
    let golden = &lab.golden.device;
    let wanted = format!(
        "{golden}p3 / ext4 defaults 1 1\n{golden}p1 swap swap defaults 0 0\n\
         none /proc proc defaults 0 0\n"
    );
    let fstab = fstab?;
    ensure!(fstab == wanted, "n{number}: {fstab}");
    let menu = menu?;
    ensure!(
        !menu.contains(uuid) && menu.contains("root=UUID="),
        "n{number}: {menu}"
    );
    ensure!(initrd? == "made for 6.1.0\n", "n{number}: no initramfs");
    let scratch = String::from_utf8(scratch?.stdout)?;
    ensure!(
        scratch == "3775 var/scratch\n" && !lost,
        "n{number}: {scratch}"
    );
    use std::os::unix::fs::MetadataExt;
    let sparse = sparse?;
    ensure!(
        sparse.len() == 30 << 20 && sparse.blocks() < 100,
        "n{number}: holes became {} blocks",
        sparse.blocks()
    );
    Ok(())
}

fn beside_new_ones(goldring: &Path) -> Result<()> {
    let mut lab = Lab::new(goldring, &[GOLDEN, GOLDEN, GOLDEN], 3 << 20)?;
    let uuid = with_old_loader(&lab)?;
    let raw = format!("{}p2", lab.golden.device);
    let options = [
        "-n",
        "3",
        "-D",
        &raw,
        "-x",
        "/var/scratch",
        "-r",
        "grub",
        "--no-stage2",
    ];
    let mut dry = lab.deploy(&[&options[..], &["--dry-run"]].concat())?;
    dry.ends_with(0, LONG)?;
    dry.expect("nodes with an old stage 2: can be cloned, too", LONG)?;
    let mut golden = lab.deploy(&[&options[..], &["--zstd"]].concat())?;
    // Old ones give up when nobody answers for 10 s.
    golden.expect("session kainstall1", LONG)?;
    for (number, is_old) in [(1, true), (2, false), (3, true)] {
        let node = match is_old {
            true => old_node(&lab, number, "")?,
            false => lab.node_of(number, "", "")?,
        };
        lab.programs.push(node);
    }
    golden.ends_with(0, LONG)?;
    for program in &mut lab.programs {
        program.ends_with(0, LONG)?;
    }
    let said = golden.said();
    for part in [
        "10.77.0.11: complete, as far as an old node tells",
        "n2 (10.77.0.12): complete and bootable",
        "10.77.0.13: complete, as far as an old node tells",
        "3 of 3 nodes are complete and bootable",
    ] {
        ensure!(said.contains(part), "{part}: {said}");
    }
    lab.is_whole(2)?;
    is_clone(&lab, 1, &uuid)?;
    is_clone(&lab, 3, &uuid)
}

fn by_a_desc(goldring: &Path) -> Result<()> {
    let lab = Lab::new(goldring, &[2 * GOLDEN], 3 << 20)?;
    let uuid = with_old_loader(&lab)?;
    let desc = lab.home(0).with_file_name("desc");
    fs::write(&desc, "swap 16\ntypeb 6\nlinux fill\n")?;
    let (desc, disk) = (desc.to_string_lossy(), &lab.golden.device);
    let raw = format!("{disk}p2");
    // Its stage 2 comes from here, too, by an old stage 1.
    let stage2 = lab.home(0).with_file_name("ka");
    fs::create_dir_all(&stage2)?;
    fs::write(stage2.join("init"), "stage 2")?;
    let stage2 = stage2.to_string_lossy();
    let options = [
        "-D",
        &raw,
        "-x",
        "/var/scratch",
        "--data-path",
        &stage2,
        "-d",
        "2",
    ];
    let mut golden = lab.deploy(&[&options[..], &["-p", disk, &desc]].concat())?;
    golden.expect("session getstage2", LONG)?;
    let stage1 = format!(
        "mkdir stage2\npython3 {} client -w -s getstage2 -e '(cd stage2; tar x -f -)'\n\
         [ \"$(cat stage2/init)\" = 'stage 2' ]",
        ka().display()
    );
    let mut node = old_node(&lab, 1, &stage1)?;
    golden.ends_with(0, LONG)?;
    node.ends_with(0, LONG)?;
    let swap = size(&format!("{}p1", lab.nodes[0].device))?;
    ensure!(swap == 16 << 20, "{swap}");
    is_clone(&lab, 1, &uuid)
}

/// The system has no loader that their scripts know: nothing on their disks is touched.
fn refused(goldring: &Path) -> Result<()> {
    let lab = Lab::new(goldring, &[GOLDEN], 1 << 20)?;
    let mut golden = lab.deploy(&["--no-stage2"])?;
    golden.expect("session kainstall1", LONG)?;
    let mut node = old_node(&lab, 1, "")?;
    golden.ends_with(1, LONG)?;
    let said = golden.said();
    for part in [
        "its stage 2 is old, and old nodes cannot be cloned from here: their scripts know LILO",
        "0 of 1 nodes are complete and bootable",
    ] {
        ensure!(said.contains(part), "{part}: {said}");
    }
    node.ends_with(1, LONG)?;
    ensure!(lab.first(1)? == [0; 5], "something was written");
    Ok(())
}
