//! `cargo xtask kernel`: a kernel of the distribution's source, with the options of
//! `kernel-config/`.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use goldring_builder::progress::Progress;

use crate::host::{self, Need, need};
use crate::workspace;
use build::{Base, Build, Built};

mod build;
mod make;
mod source;

const EXAMPLES: &str = "\
Examples:
  cargo xtask kernel
      a small kernel in target/kernel, from Debian's source package
  cargo xtask image --kernel-dir target/kernel
      images with it
  cargo xtask kernel --dry-run
      what would be done, and what is missing on this machine
  cargo xtask kernel --config-only --source-dir ~/linux
      only the configuration, for a source of your own; prints where it is
  cargo xtask kernel --base debian --out /srv/kernel
      with all of Debian's drivers; takes hours and 20 GB";

/// How the kernel is made.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// Where the kernel goes instead of target/kernel: vmlinuz, config, lib/modules/RELEASE
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// What is configured where the fragments say nothing: small, debian, or a kernel's
    /// configuration such as /boot/config-6.1.0-9-amd64
    #[arg(long, value_name = "small|debian|FILE", default_value = "small")]
    base: Base,
    /// An unpacked kernel source instead of the distribution's package
    #[arg(long, value_name = "DIR")]
    source_dir: Option<PathBuf>,
    /// How many compilers run at once; as many as there are processors without it
    #[arg(long, value_name = "N")]
    jobs: Option<NonZeroUsize>,
    /// Make and check the configuration, print where it is, and compile nothing
    #[arg(long, conflicts_with = "out")]
    config_only: bool,
    /// Install the tools that are missing (root)
    #[arg(long)]
    install: bool,
    /// Say what would be done and do nothing
    #[arg(long)]
    dry_run: bool,
}

/// What a kernel is built with.
const TOOLS: &[Need] = &[
    need("gcc", "gcc"),
    need("/usr/include/stdio.h", "libc6-dev"),
    need("ld", "binutils"),
    need("make", "make"),
    need("flex", "flex"),
    need("bison", "bison"),
    need("bc", "bc"),
    need("perl", "perl"),
    need("tar", "tar"),
    need("xz", "xz-utils"),
    need("/usr/include/libelf.h", "libelf-dev"),
    need("/usr/include/openssl/opensslv.h", "libssl-dev"),
];

/// Makes the kernel.
pub(crate) fn run(options: &Options) -> Result<()> {
    let work = workspace::target().join("kernel-build");
    let out = match &options.out {
        Some(folder) => std::path::absolute(folder)?,
        None => workspace::target().join("kernel"),
    };
    if options.dry_run {
        print!("{}", plan(options, &work, &out));
        return Ok(());
    }
    tools(options.install)?;
    let progress = Progress::new();
    room(&work, options.base.room(options.config_only))?;
    let source = match &options.source_dir {
        Some(folder) => source::of_folder(folder)?,
        None => source::of_package(&work, &progress)?,
    };
    let build = Build {
        source,
        folder: work.join(options.base.name()),
        fragments: workspace::root().join("kernel-config"),
        base: options.base.clone(),
        packages: work.join("apt"),
        jobs: jobs(options),
    };
    let config = build.configure(&progress)?;
    if options.config_only {
        println!("{}", config.display());
        return Ok(());
    }
    let built = build.build(&out, &progress)?;
    progress.step("done");
    print!("{}", summary(&built, &out, &progress));
    Ok(())
}

fn jobs(options: &Options) -> usize {
    let all = || std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    options.jobs.map_or_else(all, NonZeroUsize::get)
}

/// Checks the tools, and installs them when that is wanted.
fn tools(install: bool) -> Result<()> {
    let missing = host::missing(TOOLS);
    if missing.is_empty() {
        return Ok(());
    }
    if install {
        return host::install(TOOLS);
    }
    bail!(
        "missing tools; run as root: apt-get install --no-install-recommends {} (or run this with \
         --install)",
        missing.join(" ")
    )
}

/// An error when the file system of `folder` has less than `wanted` GB left.
fn room(folder: &Path, wanted: u64) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    let stat = rustix::fs::statvfs(folder)
        .with_context(|| format!("asking how full {} is", folder.display()))?;
    let free = stat.f_bavail * stat.f_frsize / 1_000_000_000;
    if free < wanted {
        bail!(
            "{} has {free} GB left, the build needs {wanted} GB; make room, or move target/ to a \
             larger disk (CARGO_TARGET_DIR does not move it, a symbolic link does)",
            folder.display()
        );
    }
    Ok(())
}

fn plan(options: &Options, work: &Path, out: &Path) -> String {
    let missing = host::missing(TOOLS);
    let tools = match (missing.is_empty(), options.install) {
        (true, _) => "all there".to_owned(),
        (false, true) => format!("would install {}", missing.join(" ")),
        (false, false) => format!(
            "missing: apt-get install --no-install-recommends {}",
            missing.join(" ")
        ),
    };
    let source = match &options.source_dir {
        Some(folder) => folder.display().to_string(),
        None => format!(
            "the package {}, unpacked in {}",
            source::PACKAGE,
            work.join("source").display()
        ),
    };
    let mut text = format!(
        "tools    {tools}\nspace    {} GB in {}\nsource   {source}\nconfig   {} and the fragments in kernel-config/\n",
        options.base.room(options.config_only),
        work.display(),
        options.base.shown(),
    );
    if !options.config_only {
        text.push_str(&format!(
            "compile  {} at once, log in {}\nkernel   {}\n",
            jobs(options),
            work.join(options.base.name()).join(make::LOG).display(),
            out.display()
        ));
    }
    text
}

fn summary(built: &Built, out: &Path, progress: &Progress) -> String {
    let mb = |bytes: u64| bytes as f64 / 1e6;
    let seconds = progress.elapsed().as_secs();
    format!(
        "kernel    {}\nvmlinuz   {:.2} MB\nmodules   {}, {:.1} MB\ntime      {} min {} s\n\
         images    cargo xtask image --kernel-dir {}\n",
        built.release,
        mb(built.vmlinuz),
        built.modules,
        mb(built.modules_size),
        seconds / 60,
        seconds % 60,
        out.display()
    )
}
