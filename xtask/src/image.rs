//! `cargo xtask image`: makes the images.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use goldring_builder::compress::Compression;
use goldring_builder::image::{self, Options as Build};
use goldring_builder::progress::Progress;
use goldring_builder::report;

use crate::programs::{self, Https};
use crate::workspace;

/// What the images are made of.
#[derive(clap::Args, Debug)]
pub(crate) struct Options {
    /// Where the images go instead of target/images
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Another kernel than the distribution's: a folder with vmlinuz* and lib/modules/RELEASE
    #[arg(long, value_name = "DIR")]
    kernel_dir: Option<PathBuf>,
    /// Another tree than the distribution's packages to take stage 2's tools from
    #[arg(long, value_name = "DIR")]
    sysroot: Option<PathBuf>,
    /// Who signs the certificates of https servers (PEM): gives the nodes https
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// How the images are compressed
    #[arg(long, value_enum, default_value_t = Kind::Xz)]
    compress: Kind,
    /// Ask apt for newer packages
    #[arg(long)]
    refresh: bool,
    /// Make everything again, even if nothing changed
    #[arg(long)]
    force: bool,
    /// List what is inside an initramfs, this one or any other, and make nothing
    #[arg(long, value_name = "FILE", exclusive = true)]
    inspect: Option<PathBuf>,
    /// Do not check the kernel's configuration against kernel-config/
    #[arg(long)]
    no_config_check: bool,
}

/// [`Compression`] as a word of the command line.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    /// Smallest
    Xz,
    /// A tenth larger, unpacked three times as fast
    Zstd,
    /// zstd at a low level for both images, for development; budgets are not judged
    Fast,
}

impl From<Kind> for Compression {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Xz => Self::Xz,
            Kind::Zstd => Self::Zstd,
            Kind::Fast => Self::Fast,
        }
    }
}

/// Makes the images.
pub(crate) fn run(options: &Options) -> Result<()> {
    if let Some(file) = &options.inspect {
        return inspect(file);
    }
    let root = workspace::root();
    let progress = Progress::new();
    progress.step("building init and goldring");
    let https = match &options.ca {
        Some(_) => Https::With,
        None => Https::Without,
    };
    let programs = programs::build(&root, https)?;
    let out = match &options.out {
        Some(folder) => std::path::absolute(folder)?,
        None => workspace::target().join("images"),
    };
    let build = Build {
        recipes: root.join("images"),
        kernel_config: root.join("kernel-config"),
        cache: workspace::target().join("apt"),
        out,
        kernel_dir: options.kernel_dir.clone(),
        sysroot: options.sysroot.clone(),
        ca: options.ca.clone(),
        compression: options.compress.into(),
        refresh: options.refresh,
        force: options.force,
        check_config: !options.no_config_check,
        programs,
        builder: builder_digest(&root)?,
    };
    let made = image::make(&build, &progress)?;
    progress.step(if made.up_to_date {
        "up to date"
    } else {
        "done"
    });
    print!("{}", report::table(&made.rows));
    // Whoever asks for speed does not ask for size.
    let judged = !matches!(options.compress, Kind::Fast);
    if let Some(row) = made.rows.iter().find(|row| judged && row.over()) {
        bail!(
            "{} is larger than its budget; put less into images/*.toml, or raise the budget there",
            row.name
        );
    }
    Ok(())
}

fn inspect(file: &Path) -> Result<()> {
    let bytes = std::fs::read(file).with_context(|| format!("reading {}", file.display()))?;
    let archives =
        goldring_builder::inspect::read(&bytes).with_context(|| file.display().to_string())?;
    show(&goldring_builder::inspect::list(&archives))
}

/// Prints a long result.
pub(crate) fn show(text: &str) -> Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        // `… | head` has seen enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}

/// A digest of the sources that decide how an image is made: another builder makes
/// other images of the same inputs.
fn builder_digest(root: &Path) -> Result<String> {
    let mut files = vec![
        root.join("crates/contract/src/image.rs"),
        root.join("Cargo.lock"),
    ];
    let folder = root.join("builder/src");
    for entry in
        std::fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))?
    {
        files.push(entry?.path());
    }
    files.sort();
    let mut digest = goldring_builder::digest::Running::new();
    for file in files.iter().filter(|file| file.is_file()) {
        let name = file.strip_prefix(root).unwrap_or(file);
        let bytes = std::fs::read(file).with_context(|| format!("reading {}", file.display()))?;
        digest.add(&name.to_string_lossy(), &bytes);
    }
    Ok(digest.finish())
}
