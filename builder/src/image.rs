//! Makes the images: everything in order, and nothing that is there already.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use goldring_contract::image::{FORMAT, Manifest};

use crate::apt::{Apt, Wanted};
use crate::compress::Compression;
use crate::digest::{self, Running};
use crate::kconfig;
use crate::kernel::Kernel;
use crate::modules::Index;
use crate::progress::Progress;
use crate::recipe::{self, Squashfs, Stage1, Stage2};
use crate::report::{FileDigest, FileReport, KernelReport, Report, Row};
use crate::squash;
use crate::stage1::{self, Parts};
use crate::stage2;
use crate::sysroot::Sysroot;
use crate::tree::Kind;

/// The names of the images.
pub const VMLINUZ: &str = "vmlinuz";
/// The initramfs.
pub const ALL_RDZ: &str = "all.rdz";
/// Stage 2.
pub const RESCUE_CLP: &str = "rescue.clp";

/// What to make, of what, and where.
#[derive(Debug, Clone)]
pub struct Options {
    /// The folder with `stage1.toml` and `stage2.toml`.
    pub recipes: PathBuf,
    /// The folder with what a kernel must have.
    pub kernel_config: PathBuf,
    /// Where apt works and packages are kept.
    pub cache: PathBuf,
    /// Where the images go.
    pub out: PathBuf,
    /// Another kernel than the distribution's.
    pub kernel_dir: Option<PathBuf>,
    /// Another tree for stage 2's tools than the distribution's.
    pub sysroot: Option<PathBuf>,
    /// Who may sign the certificates of https servers: a PEM file. The programs must have
    /// https then.
    pub ca: Option<PathBuf>,
    /// How `all.rdz` is compressed.
    pub compression: Compression,
    /// Ask apt again.
    pub refresh: bool,
    /// Make everything again.
    pub force: bool,
    /// Whether the kernel's configuration is checked.
    pub check_config: bool,
    /// The static programs.
    pub programs: Programs,
    /// A digest of the sources of the builder itself.
    pub builder: String,
}

/// goldring's own static programs.
#[derive(Debug, Clone)]
pub struct Programs {
    /// PID 1.
    pub init: PathBuf,
    /// The agent.
    pub agent: PathBuf,
    /// Their version.
    pub version: String,
}

/// What was made.
#[derive(Debug, Clone)]
pub struct Made {
    /// The record.
    pub report: Report,
    /// Sizes and budgets.
    pub rows: Vec<Row>,
    /// Whether everything was there already.
    pub up_to_date: bool,
}

/// Makes what is missing or out of date.
///
/// # Errors
/// Everything that can go wrong, with what to do about it. Budgets are not judged here.
pub fn make(options: &Options, progress: &Progress) -> Result<Made> {
    Maker::prepare(options, progress)?.make()
}

struct Maker<'a> {
    options: &'a Options,
    progress: &'a Progress,
    stage1: Stage1,
    stage1_text: String,
    stage2: Stage2,
    stage2_text: String,
    sources: Sources,
    ca: Option<Vec<u8>>,
    init: FileDigest,
    agent: FileDigest,
    /// The record of the run before.
    before: Option<Report>,
}

/// Where everything comes from.
struct Sources {
    kernel: Kernel,
    kernel_id: String,
    tools: Sysroot,
    tools_id: String,
    unknown: Vec<String>,
}

impl<'a> Maker<'a> {
    fn prepare(options: &'a Options, progress: &'a Progress) -> Result<Self> {
        let recipes = &options.recipes;
        let (stage1, stage1_text) = recipe::read(&recipes.join("stage1.toml"), Stage1::parse)?;
        let (stage2, stage2_text) = recipe::read(&recipes.join("stage2.toml"), Stage2::parse)?;
        let sources = sources(options, &stage1, &stage2, progress)?;
        if options.check_config {
            for note in kconfig::check(&options.kernel_config, &sources.kernel)? {
                progress.note(&note);
            }
        }
        fs::create_dir_all(&options.out)
            .with_context(|| format!("making {}", options.out.display()))?;
        let before = Report::read(&options.out).filter(|_| !options.force);
        Ok(Self {
            ca: options.ca.as_deref().map(certificates).transpose()?,
            init: file_digest(&options.programs.init)?,
            agent: file_digest(&options.programs.agent)?,
            options,
            progress,
            stage1,
            stage1_text,
            stage2,
            stage2_text,
            sources,
            before,
        })
    }

    fn make(self) -> Result<Made> {
        let mut report = self.before.clone().unwrap_or_else(|| self.empty_report());
        let rescue_inputs = self.rescue_inputs();
        let rescue_kept = self.kept(RESCUE_CLP, &rescue_inputs)?;
        if !rescue_kept {
            // The old record speaks of files that are about to change.
            let _ = fs::remove_file(self.options.out.join(crate::report::IMAGE_JSON));
            self.make_rescue(&mut report, rescue_inputs)?;
        }
        let all_inputs = self.all_inputs(&report.files[RESCUE_CLP]);
        let all_kept =
            self.kept(ALL_RDZ, &all_inputs)? && self.kept(VMLINUZ, &self.sources.kernel_id)?;
        if !all_kept {
            let _ = fs::remove_file(self.options.out.join(crate::report::IMAGE_JSON));
            self.make_all(&mut report, all_inputs)?;
            self.copy_kernel(&mut report)?;
        }
        report.version.clone_from(&self.options.programs.version);
        report.compression = self.options.compression;
        report.programs = BTreeMap::from([
            ("init".to_owned(), self.init.clone()),
            ("goldring".to_owned(), self.agent.clone()),
        ]);
        let up_to_date = rescue_kept && all_kept;
        if !up_to_date {
            self.write(crate::report::SHA256SUMS, report.sums().as_bytes())?;
            self.write(crate::report::IMAGE_JSON, report.to_json()?.as_bytes())?;
        }
        let rows = self.rows(&report);
        Ok(Made {
            report,
            rows,
            up_to_date,
        })
    }

    fn empty_report(&self) -> Report {
        Report {
            version: String::new(),
            kernel: KernelReport {
                release: String::new(),
                packages: Vec::new(),
            },
            compression: self.options.compression,
            files: BTreeMap::new(),
            programs: BTreeMap::new(),
            modules: BTreeMap::new(),
            firmware: Vec::new(),
            tools: BTreeMap::new(),
            packages: BTreeMap::new(),
            notes: Vec::new(),
        }
    }

    fn rescue_inputs(&self) -> String {
        let mut digest = Running::new();
        digest.add("builder", self.options.builder.as_bytes());
        digest.add("recipe", self.stage2_text.as_bytes());
        digest.add("tools", self.sources.tools_id.as_bytes());
        digest.add("agent", self.agent.sha256.as_bytes());
        digest.add("squashfs", format!("{:?}", self.squashfs()).as_bytes());
        digest.finish()
    }

    /// How `rescue.clp` is packed: for development, nobody waits for the best level.
    fn squashfs(&self) -> Squashfs {
        let mut squashfs = self.stage2.squashfs;
        if self.options.compression == Compression::Fast {
            squashfs.level = squashfs.level.min(3);
        }
        squashfs
    }

    fn all_inputs(&self, rescue: &FileReport) -> String {
        let mut digest = Running::new();
        digest.add("builder", self.options.builder.as_bytes());
        digest.add("format", FORMAT.to_string().as_bytes());
        digest.add("version", self.options.programs.version.as_bytes());
        digest.add("recipe", self.stage1_text.as_bytes());
        digest.add("kernel", self.sources.kernel_id.as_bytes());
        // Names and firmware come from there.
        digest.add("tools", self.sources.tools_id.as_bytes());
        digest.add("init", self.init.sha256.as_bytes());
        digest.add("ca", self.ca.as_deref().unwrap_or_default());
        digest.add("rescue", rescue.sha256.as_bytes());
        digest.add(
            "compression",
            format!("{:?}", self.options.compression).as_bytes(),
        );
        digest.finish()
    }

    /// Whether a file is the one that these inputs made.
    fn kept(&self, name: &str, inputs: &str) -> Result<bool> {
        let Some(file) = self
            .before
            .as_ref()
            .and_then(|report| report.files.get(name))
        else {
            return Ok(false);
        };
        let path = self.options.out.join(name);
        if file.inputs != inputs || !path.is_file() {
            return Ok(false);
        }
        let (sha256, size) = digest::of_file(&path)?;
        Ok(sha256 == file.sha256 && size == file.size)
    }

    fn make_rescue(&self, report: &mut Report, inputs: String) -> Result<()> {
        self.progress
            .step("collecting the tools of stage 2 and their libraries");
        let Sources { tools, unknown, .. } = &self.sources;
        let agent = &self.options.programs.agent;
        let content = stage2::collect(&self.stage2, tools, agent, unknown)?;
        for note in &content.notes {
            self.progress.note(note);
        }
        self.progress.step(&format!(
            "packing {RESCUE_CLP}: {} names, {} MB",
            content.tree.len(),
            content.tree.size()? / 1_000_000
        ));
        let temporary = self.temporary(RESCUE_CLP);
        squash::write(&content.tree, &self.squashfs(), &temporary, &|done, all| {
            self.progress.count("packing", done as usize, all as usize);
        })?;
        self.rename(&temporary, RESCUE_CLP)?;
        report.tools = content.programs;
        report.packages = content
            .packages
            .iter()
            .filter_map(|text| text.split_once(' '))
            .map(|(name, version)| (name.to_owned(), version.to_owned()))
            .collect();
        report.notes = content.notes;
        self.record(report, RESCUE_CLP, inputs)
    }

    fn make_all(&self, report: &mut Report, inputs: String) -> Result<()> {
        let Sources { kernel, tools, .. } = &self.sources;
        self.progress
            .step(&format!("choosing modules of Linux {}", kernel.release));
        let count = |done, all| self.progress.count("reading modules", done, all);
        let index = Index::of_kernel(kernel, &count)?;
        let selection = index.select(&self.stage1.modules, &self.stage1.absent.paths)?;
        let manifest = Manifest {
            kernel: kernel.release.clone(),
            stage2_sha256: report.files[RESCUE_CLP].sha256.clone(),
            stage2_size: report.files[RESCUE_CLP].size,
            version: self.options.programs.version.clone(),
        };
        let names = stage1::filter_names(
            &pci_ids(tools)?,
            &selection.aliases,
            &self.stage1.names.containing,
        );
        let parts = Parts {
            init: &self.options.programs.init,
            selection: &selection,
            manifest: &manifest,
            names: &names,
            firmware: tools,
            ca: self.ca.as_deref(),
        };
        let tree = stage1::tree(&parts, &count)?;
        self.progress.step(&format!(
            "packing {ALL_RDZ}: {} modules, {} MB",
            selection.real.len(),
            tree.size()? / 1_000_000
        ));
        let bytes = stage1::pack(&tree, self.options.compression, &|done, all| {
            self.progress.count("packing", done as usize, all as usize);
        })?;
        self.write(ALL_RDZ, &bytes)?;
        report.modules = selection
            .modules
            .iter()
            .map(|module| (module.name.clone(), module.path.clone()))
            .collect();
        report.firmware = tree
            .iter()
            .filter(|(_, node)| matches!(node.kind, Kind::File(_)))
            .filter_map(|(path, _)| path.strip_prefix("lib/firmware/"))
            .map(str::to_owned)
            .collect();
        self.record(report, ALL_RDZ, inputs)
    }

    fn copy_kernel(&self, report: &mut Report) -> Result<()> {
        let kernel = &self.sources.kernel;
        let bytes = fs::read(&kernel.vmlinuz)
            .with_context(|| format!("reading {}", kernel.vmlinuz.display()))?;
        self.write(VMLINUZ, &bytes)?;
        report.kernel = KernelReport {
            release: kernel.release.clone(),
            packages: kernel.packages.clone(),
        };
        self.record(report, VMLINUZ, self.sources.kernel_id.clone())
    }

    fn record(&self, report: &mut Report, name: &str, inputs: String) -> Result<()> {
        let FileDigest { sha256, size } = file_digest(&self.options.out.join(name))?;
        let file = FileReport {
            sha256,
            size,
            inputs,
        };
        report.files.insert(name.to_owned(), file);
        Ok(())
    }

    fn rows(&self, report: &Report) -> Vec<Row> {
        let row = |name: &str, size, budget| Row {
            name: name.to_owned(),
            size,
            budget,
        };
        let size = |name: &str| report.files.get(name).map_or(0, |file| file.size);
        let budget = &self.stage1.budget;
        let init = match self.ca {
            Some(_) => budget.init_https.unwrap_or(budget.init),
            None => budget.init,
        };
        vec![
            row("init", self.init.size, Some(init)),
            row("goldring", self.agent.size, None),
            row(VMLINUZ, size(VMLINUZ), None),
            row(ALL_RDZ, size(ALL_RDZ), Some(budget.all_rdz)),
            row(
                RESCUE_CLP,
                size(RESCUE_CLP),
                Some(self.stage2.budget.rescue_clp),
            ),
        ]
    }

    fn temporary(&self, name: &str) -> PathBuf {
        self.options
            .out
            .join(format!(".{name}.{}", std::process::id()))
    }

    /// A server that offers the folder must never see half a file.
    fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let temporary = self.temporary(name);
        fs::write(&temporary, bytes).with_context(|| format!("writing {}", temporary.display()))?;
        self.rename(&temporary, name)
    }

    fn rename(&self, temporary: &Path, name: &str) -> Result<()> {
        let path = self.options.out.join(name);
        fs::rename(temporary, &path).with_context(|| format!("writing {}", path.display()))
    }
}

/// Reads a file that must hold at least one certificate.
fn certificates(file: &Path) -> Result<Vec<u8>> {
    let bytes = fs::read(file).with_context(|| format!("reading {}", file.display()))?;
    let text = String::from_utf8_lossy(&bytes);
    if text.contains("PRIVATE KEY-----") {
        bail!(
            "{} holds a private key, which must not get into an image; give only the certificate",
            file.display()
        );
    }
    if !text.contains("-----BEGIN CERTIFICATE-----") {
        bail!(
            "{} holds no certificate in PEM (-----BEGIN CERTIFICATE-----); `openssl x509 -inform \
             der -in FILE` makes PEM of DER",
            file.display()
        );
    }
    Ok(bytes)
}

fn sources(
    options: &Options,
    stage1: &Stage1,
    stage2: &Stage2,
    progress: &Progress,
) -> Result<Sources> {
    let mut wanted = Wanted::default();
    if options.sysroot.is_none() {
        (wanted.packages, wanted.optional) = stage2.packages();
        wanted.packages.insert(stage1.names.package.clone());
        wanted
            .optional
            .extend(stage1.kernel.firmware_packages.iter().cloned());
        let packages = &wanted.packages;
        wanted.optional.retain(|name| !packages.contains(name));
    }
    if options.kernel_dir.is_none() {
        wanted.kernel.clone_from(&stage1.kernel.packages);
    }
    let unpacked = if wanted == Wanted::default() {
        crate::apt::Unpacked::default()
    } else {
        Apt::open(&options.cache)?.get(&wanted, options.refresh, progress)?
    };
    let (kernel, kernel_id) = match &options.kernel_dir {
        Some(folder) => {
            let kernel = Kernel::in_folder(folder)?;
            let files = kernel
                .files
                .iter()
                .map(|(path, real)| (path.as_str(), real.as_path()));
            let vmlinuz = ("vmlinuz", kernel.vmlinuz.as_path());
            let id = listing(files.chain([vmlinuz]))?;
            (kernel, id)
        }
        None => {
            let kernel = Kernel::in_parts(&unpacked.kernel)?;
            let id = digest::of_bytes(kernel.packages.join("\n").as_bytes());
            (kernel, id)
        }
    };
    let (tools, tools_id) = match &options.sysroot {
        Some(folder) => {
            progress.step(&format!("looking through {}", folder.display()));
            let tools = Sysroot::of_folder(folder)?;
            let id = listing(tools.files())?;
            (tools, id)
        }
        None => {
            let tools = Sysroot::index(unpacked.tools)?;
            let packages: Vec<_> = tools.packages().iter().map(|p| format!("{p:?}")).collect();
            let id = digest::of_bytes(packages.join("\n").as_bytes());
            (tools, id)
        }
    };
    Ok(Sources {
        kernel,
        kernel_id,
        tools,
        tools_id,
        unknown: unpacked.unknown,
    })
}

/// A digest over names, sizes and times: reading all bytes of somebody's system to see
/// that nothing changed would take longer than making the image.
fn listing<'p>(files: impl Iterator<Item = (&'p str, &'p Path)>) -> Result<String> {
    let mut digest = Running::new();
    for (path, real) in files {
        let metadata =
            fs::metadata(real).with_context(|| format!("looking at {}", real.display()))?;
        let facts = [
            metadata.size() as i64,
            metadata.mtime(),
            metadata.mtime_nsec(),
        ];
        digest.add(path, format!("{facts:?}").as_bytes());
    }
    Ok(digest.finish())
}

fn pci_ids(tools: &Sysroot) -> Result<String> {
    for path in ["usr/share/misc/pci.ids", "usr/share/hwdata/pci.ids"] {
        if tools.follow(path).is_ok() {
            return Ok(String::from_utf8_lossy(&tools.read(path)?).into_owned());
        }
    }
    bail!("there is no /usr/share/misc/pci.ids in the sysroot; add the package that has it")
}

fn file_digest(path: &Path) -> Result<FileDigest> {
    let (sha256, size) = digest::of_file(path)?;
    Ok(FileDigest { sha256, size })
}
