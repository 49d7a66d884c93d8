//! `cargo xtask kernel-config`: what a kernel must have, and whether one has it.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use goldring_builder::kconfig::{self, Wanted};

use crate::image::show;
use crate::workspace;

/// Lists what a kernel must have and why, or checks a kernel's configuration.
#[derive(clap::Args, Debug)]
pub(crate) struct Options {
    /// A kernel's configuration, such as /boot/config-6.1.0-56-amd64
    config: Option<PathBuf>,
}

/// Runs the verb.
pub(crate) fn run(options: &Options) -> Result<()> {
    let requirements = kconfig::read_fragments(&workspace::root().join("kernel-config"))?;
    let mut out = String::new();
    let Some(path) = &options.config else {
        for requirement in &requirements {
            let wanted = match requirement.wanted {
                Wanted::BuiltIn => "=y",
                Wanted::Present => "=m or =y",
                Wanted::Unset => " not set",
            };
            let may = if requirement.may_be_missing {
                "may be missing: "
            } else {
                ""
            };
            let line = format!(
                "{}{wanted}: {may}{}",
                requirement.option, requirement.reason
            );
            writeln!(out, "{line}")?;
        }
        return show(&out);
    };
    let text =
        std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
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
        bail!("{}: {needed} options are missing", path.display());
    }
    Ok(())
}
