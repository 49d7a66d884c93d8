//! Three nodes are cloned, one of them loses its power in the middle and comes back; at
//! the end the disks of all three are the golden disk, and a computer starts from it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, ensure};
use goldring_host_tests::net::run;
use goldring_host_tests::program;
use goldring_vm_tests::guest::{Guest, Machine, boot_from};
use goldring_vm_tests::room::{Room, SERVER, mac};
use libtest_mimic::Trial;

use crate::images::{golden, images};
use crate::stage1::LIMIT;
use crate::{no_lab, not_long, trial};

/// How long the clone of a disk may take, with three machines on two processors.
const CLONE: Duration = Duration::from_secs(900);
const NODES: usize = 3;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial(
            "losses::rescue_dolly_c_method_and_a_node_without_power",
            no_lab().or_else(not_long),
            dolly_plus,
        ),
        trial(
            "losses::rescue_dollymethod_and_a_node_without_power",
            no_lab().or_else(not_long),
            dolly,
        ),
    ]
}

/// Nodes, their disks, and a web server with stage 2.
struct Scene {
    room: Room,
    images: PathBuf,
    words: String,
    disks: Vec<PathBuf>,
}

impl Scene {
    fn new(word: &str) -> Result<Self> {
        let mut room = Room::new(NODES)?;
        let hosts: String = (1..=NODES)
            .map(|node| format!("dhcp-host={},10.0.1.{}\n", mac(node), 30 + node))
            .collect();
        room.dnsmasq(&hosts)?;
        let images = images()?;
        let www = room.folder().join("www");
        let place = www.join("cs4/install/stage2");
        std::fs::create_dir_all(&place)?;
        std::fs::copy(images.join("rescue.clp"), place.join("rescue.clp"))?;
        let mut web = room.command("python3");
        web.args(["-m", "http.server", "80", "--bind", SERVER, "--directory"]);
        web.arg(&www);
        room.serve("web", web, None)?;
        let size = std::fs::metadata(golden()?)?.len();
        let mut disks = Vec::new();
        for node in 1..=NODES {
            let disk = room.folder().join(format!("disk{node}"));
            File::create(&disk)?.set_len(size)?;
            disks.push(disk);
        }
        let words = format!(
            "automatic=method:http,interface:auto,network:dhcp,server:{SERVER},directory:/cs4 rescue {word}"
        );
        Ok(Self {
            room,
            images,
            words,
            disks,
        })
    }

    /// Switches a node on; its disk is `/dev/vdb`.
    fn power(&self, node: usize) -> Result<Guest> {
        let disk = self.disks[node - 1].display();
        Machine::new(&self.images, &self.words)
            .in_room(&self.room, node)
            .arguments([
                "-drive".to_owned(),
                format!("file={disk},if=virtio,format=raw,cache=unsafe"),
            ])
            .start()
    }

    /// Starts the golden node with this configuration above the hosts.
    fn golden(&mut self, words: &[&str], files: &str) -> Result<()> {
        let mut text = format!("{files}server {SERVER}\nfirstclient 10.0.1.31\n");
        text.push_str(&format!(
            "lastclient 10.0.1.{}\nclients {NODES}\n",
            30 + NODES
        ));
        for node in 1..=NODES {
            text.push_str(&format!("10.0.1.{}\n", 30 + node));
        }
        text.push_str("endconfig\n");
        let config = self.room.folder().join("dolly.cfg");
        std::fs::write(&config, text)?;
        let mut command = self.room.command(program::goldring()?);
        command.args(words).arg(&config);
        self.room.serve("golden", command, None)
    }

    fn expect_golden(&self, words: &str, limit: Duration) -> Result<()> {
        let start = std::time::Instant::now();
        while !self.room.said("golden").contains(words) {
            ensure!(
                start.elapsed() < limit,
                "the golden node never said {words:?}:\n{}",
                self.room.said("golden")
            );
            std::thread::sleep(Duration::from_millis(200));
        }
        Ok(())
    }
}

fn dolly_plus() -> Result<()> {
    let mut scene = Scene::new("dollyCmethod")?;
    let mut nodes = Vec::new();
    for node in 1..=NODES {
        nodes.push(scene.power(node)?);
    }
    for node in &mut nodes {
        node.expect("I am a dolly+ client", LIMIT * 3)?;
        node.expect("waiting for the golden node", LIMIT)?;
    }
    let files = format!("iofiles 1\n{} > /dev/vdb\n", golden()?.display());
    scene.golden(&["dollyS", "-v", "--late", "900", "-f"], &files)?;
    lose_one(&mut scene, nodes)
}

/// The ring goes over to dolly+, because all are goldring.
fn dolly() -> Result<()> {
    let mut scene = Scene::new("dollymethod")?;
    let mut nodes = Vec::new();
    for node in 1..=NODES {
        nodes.push(scene.power(node)?);
    }
    let files = format!("infile {}\noutfile /dev/vdb\n", golden()?.display());
    scene.golden(&["dolly", "-S", "-v", "--late", "900", "-f"], &files)?;
    for node in &mut nodes {
        node.expect("dolly+: ", LIMIT * 3)?;
    }
    lose_one(&mut scene, nodes)
}

/// Node 2 loses its power in the middle and gets it back; everybody has everything at
/// the end.
fn lose_one(scene: &mut Scene, mut nodes: Vec<Guest>) -> Result<()> {
    // Not a line of the download of stage 2.
    let size = std::fs::metadata(golden()?)?.len() as f64 / 1e6;
    nodes[1].expect(&format!(" of {size:.1} MB"), CLONE)?;
    let lost = nodes.remove(1);
    drop(lost);
    scene.expect_golden("10.0.1.32 is left out", LIMIT)?;
    let mut back = scene.power(2)?;
    for node in &mut nodes {
        node.expect("is cloned", CLONE)?;
        node.expect_reboot(LIMIT)?;
    }
    // On a machine that is busy with other things it may not be the only one.
    scene.expect_golden(" to come back", CLONE)?;
    back.expect("is cloned", CLONE)?;
    back.expect_reboot(LIMIT)?;
    scene.expect_golden("3 of 3 clones are complete", LIMIT)?;
    let said = scene.room.said("golden");
    ensure!(
        said.contains("10.0.1.32        verified, later than the others"),
        "{said}"
    );
    for disk in &scene.disks {
        same(&golden()?, disk)?;
    }
    // All three are the golden disk now; the one that came last stands for all.
    boot_from(&scene.disks[1])?.expect("login:", LIMIT * 2)
}

fn same(golden: &Path, disk: &Path) -> Result<()> {
    run("cmp", &[&golden.to_string_lossy(), &disk.to_string_lossy()])
}
