//! `cargo xtask bench`: figures, beside what people use otherwise. Never a test: a figure
//! depends on the machine and on what else it does.

use std::num::NonZeroU8;
use std::path::PathBuf;

use anyhow::Result;

mod boot;
mod files;
mod ring;
mod stats;
mod transfer;

const EXAMPLES: &str = "\
Examples:
  cargo xtask bench boot
      kernel start to stage 2, beside a Debian initramfs (root); three runs of each
  cargo xtask bench boot --runs 7 --images target/fast
      more runs, of images that are there
  cargo xtask bench ring --nodes 3 --rates none --runs 3
      one file to three hosts, beside mbuffer, udpcast and nc (root)
  cargo xtask bench files --runs 3
      a tree of files by ka to all hosts, beside tar | mbuffer | tar (root)";

/// What is measured.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand, Debug)]
enum What {
    /// From kernel start to stage 2 running, with four cards and six disk controllers.
    Boot(Boot),
    /// One file to all hosts of a network of namespaces, by goldring and by others.
    Ring(ring::Ring),
    /// A tree of files to all hosts of a network of namespaces, by ka and by tar.
    Files(files::Files),
}

/// How the boot is measured.
#[derive(clap::Args, Debug)]
struct Boot {
    /// Runs of each side; they alternate
    #[arg(long, default_value = "3")]
    runs: NonZeroU8,
    /// Take the images from this folder instead of making them
    #[arg(long, value_name = "DIR")]
    images: Option<PathBuf>,
    /// Memory of the machine, in MiB
    #[arg(long, default_value_t = 1024, value_name = "MIB")]
    memory: u32,
    /// QEMU's accelerator
    #[arg(long, default_value = "tcg", value_parser = ["tcg", "kvm"])]
    accel: String,
    /// Install what is missing by apt
    #[arg(long)]
    install: bool,
}

/// Measures.
pub(crate) fn run(options: &Options) -> Result<()> {
    match &options.what {
        What::Boot(options) => boot::run(options),
        What::Ring(options) => ring::run(options),
        What::Files(options) => files::run(options),
    }
}
