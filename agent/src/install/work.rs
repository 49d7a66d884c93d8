//! What a node does with what comes: a function for each session.

use std::fs::{self, File, OpenOptions};
use std::io::{self, PipeReader, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use goldring_contract::Root;
use goldring_files::deployment::{DEPLOYMENT_FILE, Deployment, MANIFEST_FILE, PARCEL_MAX};
use goldring_files::manifest::Manifest;
use goldring_files::trailer::Form;
use goldring_transfer::ka::Sink;

use super::{disks, room, veil};
use crate::bootable::{self, Clone, Wish};
use crate::files::target::{self, Target};
use crate::files::{make_folders, read_list, stream};
use crate::killpoint::killpoint;
use crate::partition::Plan;
use crate::partition::apply::apply;
use crate::tools::guessmounts::World;
use crate::tools::run::{Programs, Runner};
use crate::tools::volumes;

/// Where what travels first is kept, and where the clone is mounted.
const PARCEL: &str = "/run/goldring/deployment";
const CLONE: &str = "/mnt/disk";

/// This computer, and what is known of it.
#[derive(Debug, Clone)]
pub(super) struct Here {
    /// Where its files are.
    pub(super) root: Root,
    /// What DHCP called it.
    pub(super) hostname: Option<String>,
    /// Disks of the golden node and those that stand for them, where a person said so.
    pub(super) disks: Vec<(String, String)>,
}

/// A clone in the making.
#[derive(Debug)]
pub(super) struct Work {
    here: Here,
    /// What is to be done.
    pub(super) deployment: Deployment,
    manifest: Manifest,
    plans: Vec<Plan>,
    disks: disks::Pairs,
    devices: disks::Pairs,
    target: Target,
}

/// What is built upon the disks is stopped: nobody has any use of it but this clone.
fn stop_idle(root: &Root) {
    volumes::stop_idle(&mut World {
        root,
        runner: &mut Programs,
    });
}

fn say(line: &str) {
    eprintln!("ka: {line}");
}

/// The first session: reads what is to be done, makes partitions and file systems, and
/// mounts them.
///
/// # Errors
/// What comes is no deployment; no disk fits, and then nothing is written; a tool fails.
pub(super) fn prepare(here: Here, input: PipeReader) -> anyhow::Result<Work> {
    let folder = unpack(&here.root, input)?;
    let deployment = read(&folder.join(DEPLOYMENT_FILE))?;
    let deployment = Deployment::parse(&deployment).context("what the golden node sent")?;
    let manifest = read_list(&folder.join(MANIFEST_FILE))?;
    stop_idle(&here.root);
    let plans = disks::assign(&here.root, &folder, &deployment.disks, &here.disks)?;
    disks::said(&deployment.disks, &plans)
        .iter()
        .for_each(|line| say(line));
    let pairs = disks::pairs(&deployment.disks, &plans);
    let devices = disks::devices(&manifest, &plans);
    let names = disks::names(&pairs, &devices);
    disks::all_have_a_place(&plans, &manifest)?;
    room::check(&plans, &manifest, &devices)?;
    room::check_raw(&plans, &deployment.raw, &names)?;
    killpoint("partition");
    apply(&here.root, &mut Programs, &plans, &mut |line| say(&line))?;
    veil::hide(&here.root, &plans)?;
    killpoint("mount");
    let wish = target::Wish {
        root: &here.root,
        folder: Path::new(CLONE),
        devices: &devices,
    };
    let target = Target::mount(wish, &mut Programs, &manifest).context("mounting")?;
    Ok(Work {
        disks: pairs,
        here,
        deployment,
        manifest,
        plans,
        devices,
        target,
    })
}

/// Unpacks the tar; no more of it than there may be.
fn unpack(root: &Root, input: PipeReader) -> anyhow::Result<PathBuf> {
    let folder = root.join(PARCEL);
    match fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => fs::create_dir_all(&folder),
    }
    .with_context(|| format!("making {}", folder.display()))?;
    let mut tar = Command::new("tar");
    tar.args(["--extract", "--file", "-", "--directory"])
        .arg(&folder);
    let mut child = tar.stdin(Stdio::piped()).spawn().context("starting tar")?;
    let mut input = input.take(PARCEL_MAX + 1);
    let fed = match child.stdin.take() {
        Some(mut stdin) => io::copy(&mut input, &mut stdin),
        None => Ok(0),
    };
    // tar goes when it has seen the end of the archive; zeros may stand behind it.
    let fed = match fed {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(0),
        fed => fed,
    };
    let rest = io::copy(&mut input, &mut io::sink());
    let status = child.wait().context("waiting for tar")?;
    ensure!(
        status.success(),
        "unpacking what the golden node sent first: tar: {status}"
    );
    fed.and(rest)
        .context("unpacking what the golden node sent first")?;
    ensure!(input.limit() > 0, "the golden node sent far too much first");
    Ok(folder)
}

fn read(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| {
        format!(
            "reading {}; is the golden node one of goldring?",
            path.display()
        )
    })
}

impl Work {
    /// The second session: the files. When nothing else comes, the clone is finished. `keep`
    /// gets what follows.
    ///
    /// # Errors
    /// There is no tar here. What the sink tells: the stream is cut or changed; the disk is
    /// full; a step fails.
    pub(super) fn files(self, keep: impl FnOnce(Self) + Send + 'static) -> Result<Sink, String> {
        killpoint("files");
        let folder = self.here.root.join(CLONE);
        let place = folder.clone();
        stream::sink(&place, Form::Agreed, say, move |_| {
            make_folders(&self.manifest, &folder)?;
            keep(match self.deployment.raw.is_empty() {
                true => self.finish()?,
                false => self,
            });
            Ok(())
        })
    }

    /// The session of a raw partition, by its number from 0. The clone is finished after the
    /// last one.
    ///
    /// # Errors
    /// It has no place here or is too small; a step fails.
    pub(super) fn raw(self, number: usize, mut input: PipeReader) -> anyhow::Result<Self> {
        killpoint("raw partition");
        let there = &self.deployment.raw[number].device;
        let here = disks::names(&self.disks, &self.devices).translate(there);
        let context = || format!("writing {there} to {here}");
        // For this program alone.
        let exclusive = rustix::fs::OFlags::EXCL.bits().cast_signed();
        let mut file = OpenOptions::new()
            .write(true)
            .custom_flags(exclusive)
            .open(self.here.root.join(&here))
            .with_context(context)?;
        io::copy(&mut input, &mut file).with_context(context)?;
        file.sync_all().with_context(context)?;
        match number + 1 == self.deployment.raw.len() {
            true => self.finish(),
            false => Ok(self),
        }
    }

    /// Makes the clone start here and unmounts it. If that fails, nothing starts from it.
    fn finish(mut self) -> anyhow::Result<Self> {
        let done = self.bootable();
        let unmounted = std::mem::take(&mut self.target).undo(&mut Programs);
        stop_idle(&self.here.root);
        let all = done.and(unmounted).and_then(|()| {
            Programs
                .run("sync", &[])
                .context("writing everything to the disks")
        });
        if all.is_err() {
            // The first error is the one to tell.
            let _ = veil::hide(&self.here.root, &self.plans);
        }
        all?;
        Ok(self)
    }

    fn bootable(&self) -> anyhow::Result<()> {
        let root = &self.here.root;
        let mut wish = Wish {
            names: disks::names(&self.disks, &self.devices),
            keep_identity: self.deployment.keep_identity,
            hostname: self.here.hostname.clone(),
            ..Wish::default()
        }
        .with_manifest(&self.manifest);
        if !self.deployment.loader.is_empty() {
            let loader = wish.with_loader(&self.deployment.loader);
            wish = loader.map_err(anyhow::Error::msg)?;
        }
        let (mut runner, mut tell) = (Programs, |line: &str| say(&format!("  {line}")));
        let mut clone = Clone::new(root, Path::new(CLONE), &mut runner, &wish, &mut tell);
        let mut revealed = Ok(());
        let made = bootable::make(&mut clone, &mut |step| {
            say(&format!("step: {step}"));
            if step == bootable::LAST_STEP {
                revealed = self.reveal();
            }
        });
        revealed.and(made)
    }

    /// Everything else is on the disks before anything can start from them.
    fn reveal(&self) -> anyhow::Result<()> {
        for mount in &self.manifest.mounts {
            let place = mount.place.trim_start_matches('/');
            let place = self.here.root.join(CLONE).join(place);
            File::open(&place)
                .and_then(|file| Ok(rustix::fs::syncfs(file)?))
                .with_context(|| format!("writing the files of {} to its disk", place.display()))?;
        }
        let folder = self.here.root.join(PARCEL);
        for (order, plan) in self.deployment.disks.iter().zip(&self.plans) {
            let boot = match order.boot.is_empty() {
                true => None,
                false => Some(fs::read(folder.join(&order.boot)).context("reading boot code")?),
            };
            let boot = boot.map(|mut code| {
                code.truncate(crate::deploy::BOOT_CODE);
                code
            });
            veil::reveal(&self.here.root, plan, boot.as_deref())?;
        }
        Ok(())
    }

    /// What became of which disk.
    pub(super) fn summary(&self) -> String {
        let here: Vec<&str> = self.disks.iter().map(|(_, here)| here.as_str()).collect();
        format!("{} is cloned and bootable", here.join(", "))
    }
}
