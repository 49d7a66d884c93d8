//! Arrays, groups and volumes made upon new partitions.

use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use goldring_contract::Root;
use goldring_disk::desc::{Content, FileSystem};
use goldring_disk::mkfs::Place;
use goldring_disk::stack::{self, At, Pool, Stack};

use super::Plan;
use super::apply::{Report, make, tool};
use super::nodes::{Node, Nodes};
use crate::tools::drivers;
use crate::tools::run::Runner;

/// How long the device of an array or volume may take to appear.
const PATIENCE: Duration = Duration::from_secs(10);
const BEAT: Duration = Duration::from_millis(50);

/// Puts together what the plans say of them, and looks whether it can be.
///
/// # Errors
/// The desc files contradict each other, or a volume does not fit.
pub(crate) fn of(plans: &[Plan]) -> anyhow::Result<Stack> {
    let descs: Vec<_> = plans.iter().map(|plan| &plan.desc).collect();
    let stack = Stack::of(&descs)?;
    for pool in &stack.pools {
        let sizes = pool.parts.iter().map(|(at, _)| size(plans, *at));
        // How large an array will be only mdadm knows; then lvcreate has to complain.
        if let Some(sizes) = sizes.collect::<Option<Vec<u64>>>() {
            pool.fit(&sizes)?;
        }
    }
    Ok(stack)
}

fn size(plans: &[Plan], at: At) -> Option<u64> {
    let At::Partition(plan, part) = at else {
        return None;
    };
    let table = &plans.get(plan)?.layout.table;
    Some(table.parts.get(part)?.sectors * u64::from(table.disk.sector_size))
}

/// The makers' tools, the new partitions, and where to tell what happens.
pub(super) struct Builder<'a, 'r> {
    pub(super) root: &'a Root,
    pub(super) runner: &'a mut dyn Runner,
    pub(super) plans: &'a [Plan],
    pub(super) nodes: Vec<&'a Nodes>,
    pub(super) report: Report<'r>,
}

impl Builder<'_, '_> {
    /// Makes all of it, with the file systems in it.
    ///
    /// # Errors
    /// A tool is missing or fails.
    pub(super) fn build(&mut self, stack: &Stack) -> anyhow::Result<()> {
        for note in &stack.notes {
            (self.report)(format!("note: {note}"));
        }
        // A loop device must live as long as what is upon it.
        let mut held = Vec::new();
        for at in 0..stack.arrays.len() {
            self.array(stack, at, &mut held)?;
        }
        for pool in &stack.pools {
            self.pool(stack, pool, &mut held)?;
        }
        Ok(())
    }

    fn device(&self, stack: &Stack, at: At, held: &mut Vec<Node>) -> anyhow::Result<String> {
        match at {
            At::Array(at) => Ok(format!("/dev/{}", stack.arrays[at].array.device)),
            At::Partition(plan, part) => {
                let (plan, nodes) = (&self.plans[plan], self.nodes[plan]);
                let node = nodes.node(self.root, &plan.disk, &plan.layout.table.parts[part])?;
                let path = node.path.to_string_lossy().into_owned();
                held.push(node);
                Ok(path)
            }
        }
    }

    fn array(&mut self, stack: &Stack, at: usize, held: &mut Vec<Node>) -> anyhow::Result<()> {
        let assembled = &stack.arrays[at];
        let device = format!("/dev/{}", assembled.array.device);
        (self.report)(format!(
            "making {device}, RAID of level {}",
            assembled.array.level
        ));
        let mut members = Vec::new();
        for member in &assembled.members {
            let member = member.map(|at| self.device(stack, at, held)).transpose()?;
            members.push(member);
        }
        for module in ["md-mod", &format!("raid{}", assembled.array.level)] {
            drivers::need(self.root, module);
        }
        self.run("mdadm", stack::mdadm(&assembled.array, &members))
            .with_context(|| format!("making {device}"))?;
        appears(&self.root.join(&device))?;
        self.fill(&device, &assembled.array.content)
    }

    fn pool(&mut self, stack: &Stack, pool: &Pool, held: &mut Vec<Node>) -> anyhow::Result<()> {
        let name = &pool.group.name;
        (self.report)(format!("making the volume group {name}"));
        drivers::need(self.root, "dm-mod");
        let mut devices = Vec::new();
        for (at, uuid) in &pool.parts {
            let device = self.device(stack, *at, held)?;
            self.run("pvcreate", stack::pvcreate(&device, uuid.as_deref()))
                .with_context(|| format!("making {device} a part of {name}"))?;
            devices.push(device);
        }
        self.run("vgcreate", stack::vgcreate(&pool.group, &devices))
            .with_context(|| format!("making the volume group {name}"))?;
        let ask = ["--noheadings", "-o", "vg_extent_count", name].map(str::to_owned);
        let said = self.run("vgs", ask.to_vec())?;
        let extents = said
            .trim()
            .parse()
            .with_context(|| format!("vgs said {said:?} of {name}"))?;
        for volume in &pool.volumes {
            let device = format!("/dev/{name}/{}", volume.name);
            (self.report)(format!("making the volume {name}/{}", volume.name));
            self.run("lvcreate", stack::lvcreate(volume, extents))
                .with_context(|| format!("making {device}"))?;
            appears(&self.root.join(&device))?;
            self.fill(&device, &volume.content)?;
        }
        Ok(())
    }

    fn fill(&mut self, device: &str, content: &Content) -> anyhow::Result<()> {
        let Content::FileSystem(file_system) = content else {
            return Ok(());
        };
        self.file_system(file_system, device, None, device)
    }

    /// Makes a file system on a device that people know as `name`.
    pub(super) fn file_system(
        &mut self,
        file_system: &FileSystem,
        device: &str,
        start: Option<u64>,
        name: &str,
    ) -> anyhow::Result<()> {
        let doing = format!("making {} on {name}", file_system.format);
        (self.report)(doing.clone());
        let opened = std::fs::File::open(self.root.join(device));
        let sector_size = opened
            .and_then(goldring_sys::block::sector_size)
            .unwrap_or(512);
        let place = Place {
            device,
            sector_size,
            start,
        };
        let note = make(self.runner, file_system, place).context(doing)?;
        if let Some(note) = note {
            (self.report)(format!("note: {} on {name}: {note}", file_system.format));
        }
        Ok(())
    }

    fn run(&mut self, program: &str, arguments: Vec<String>) -> anyhow::Result<String> {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        tool(self.runner, program, &arguments)
    }
}

fn appears(path: &Path) -> anyhow::Result<()> {
    let start = Instant::now();
    while !path.exists() && start.elapsed() < PATIENCE {
        sleep(BEAT);
    }
    let shown: PathBuf = path.to_owned();
    ensure!(
        path.exists(),
        "{} did not appear; is devtmpfs mounted on /dev?",
        shown.display()
    );
    Ok(())
}
