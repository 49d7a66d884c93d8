//! `cargo xtask kernel-config`: what a kernel must have, and whether one has it.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::{Result, bail};
use goldring_builder::kconfig;

use crate::image::show;
use crate::workspace;

const EXAMPLES: &str = "\
Examples:
  cargo xtask kernel-config
      what a kernel must have, and why
  cargo xtask kernel-config --check /boot/config-6.1.0-9-amd64
      what this one lacks; exit status 1 when it cannot be used
  cargo xtask kernel-config --check /proc/config.gz
      the running kernel, where it tells its configuration
  cargo xtask kernel-config --check target/kernel
      a folder with a kernel, as image --kernel-dir takes it";

/// Lists what a kernel must have and why, or checks a kernel's configuration.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// A kernel's configuration, plain or packed, or a folder with a kernel
    #[arg(long, value_name = "CONFIG")]
    check: Option<PathBuf>,
    /// The same
    #[arg(conflicts_with = "check")]
    config: Option<PathBuf>,
}

/// Runs the verb.
pub(crate) fn run(options: &Options) -> Result<()> {
    let requirements = kconfig::read_fragments(&workspace::root().join("kernel-config"))?;
    let mut out = String::new();
    let Some(path) = options.check.as_ref().or(options.config.as_ref()) else {
        for requirement in &requirements {
            let may = if requirement.may_be_missing {
                "may be missing: "
            } else {
                ""
            };
            let (option, reason) = (&requirement.option, &requirement.reason);
            writeln!(
                out,
                "{option} {}: {may}{reason}",
                requirement.wanted.shown()
            )?;
        }
        return show(&out);
    };
    let text = kconfig::read_config(path)?;
    let missing = kconfig::missing(&requirements, &kconfig::parse_config(&text));
    for (requirement, sentence) in &missing {
        let kind = if requirement.may_be_missing {
            "note"
        } else {
            "missing"
        };
        writeln!(out, "{kind}: {sentence}")?;
    }
    show(&out)?;
    let needed = missing.iter().filter(|(r, _)| !r.may_be_missing).count();
    if needed > 0 {
        bail!(
            "{}: a kernel with this configuration cannot be used, {needed} options are missing",
            path.display()
        );
    }
    Ok(())
}
