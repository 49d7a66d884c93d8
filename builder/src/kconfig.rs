//! What a kernel must have been configured with: fragments with reasons, and the check.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::kernel::Kernel;

/// One option that a kernel must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// Its name, `CONFIG_…`.
    pub option: String,
    /// What it must be.
    pub wanted: Wanted,
    /// Why.
    pub reason: String,
}

/// What an option must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Built in: it is needed before any module is there.
    BuiltIn,
    /// Built in or a module.
    Present,
    /// Not set.
    Unset,
}

/// Reads a fragment. A comment is the reason of the options below it, up to the next
/// comment; `=m` means that built in is fine as well.
///
/// # Errors
/// A line that is neither, or an option without a reason.
pub fn parse_fragment(text: &str) -> Result<Vec<Requirement>> {
    let mut requirements = Vec::new();
    let mut reason = String::new();
    let mut in_comment = false;
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if let Some(option) = unset(line) {
            in_comment = false;
            requirements.push(requirement(option, Wanted::Unset, &reason, number)?);
        } else if let Some(comment) = line.strip_prefix('#') {
            if !in_comment {
                reason.clear();
            }
            in_comment = true;
            let gap = if reason.is_empty() { "" } else { " " };
            reason = format!("{reason}{gap}{}", comment.trim());
        } else if !line.is_empty() {
            in_comment = false;
            let wanted = match line.split_once('=') {
                Some((option, "y")) => (option, Wanted::BuiltIn),
                Some((option, "m")) => (option, Wanted::Present),
                _ => bail!(
                    "line {}: {line:?} is not CONFIG_X=y, =m or \"# CONFIG_X is not set\"",
                    number + 1
                ),
            };
            requirements.push(requirement(wanted.0, wanted.1, &reason, number)?);
        }
    }
    Ok(requirements)
}

fn requirement(option: &str, wanted: Wanted, reason: &str, number: usize) -> Result<Requirement> {
    let name = option.strip_prefix("CONFIG_").unwrap_or_default();
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        bail!("line {}: {option:?} is no option", number + 1);
    }
    if reason.is_empty() {
        bail!(
            "line {}: {option} has no reason; write a comment above it",
            number + 1
        );
    }
    Ok(Requirement {
        option: option.to_owned(),
        wanted,
        reason: reason.to_owned(),
    })
}

/// `# CONFIG_X is not set`.
fn unset(line: &str) -> Option<&str> {
    line.strip_prefix("# ")?
        .strip_suffix(" is not set")
        .filter(|option| option.starts_with("CONFIG_"))
}

/// Reads a kernel's configuration: options that are set, with their values.
pub fn parse_config(text: &str) -> BTreeMap<&str, &str> {
    text.lines()
        .filter(|line| line.starts_with("CONFIG_"))
        .filter_map(|line| line.trim().split_once('='))
        .collect()
}

/// What a configuration lacks, one sentence each.
pub fn missing(requirements: &[Requirement], config: &BTreeMap<&str, &str>) -> Vec<String> {
    let mut sentences = Vec::new();
    for Requirement {
        option,
        wanted,
        reason,
    } in requirements
    {
        let value = config.get(option.as_str()).copied();
        let wanted = match (wanted, value) {
            (Wanted::BuiltIn, Some("y"))
            | (Wanted::Present, Some("y" | "m"))
            | (Wanted::Unset, None | Some("n")) => continue,
            (Wanted::BuiltIn, _) => "=y",
            (Wanted::Present, _) => "=y or =m",
            (Wanted::Unset, _) => " not set",
        };
        let value = value.map_or("not set".to_owned(), |value| format!("={value}"));
        sentences.push(format!(
            "{option} is {value} and must be {wanted} ({reason})"
        ));
    }
    sentences
}

/// Reads all fragments of a folder, in order of their names.
///
/// # Errors
/// The folder cannot be read, or a fragment is broken.
pub fn read_fragments(folder: &Path) -> Result<Vec<Requirement>> {
    let context = || format!("reading {}", folder.display());
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(context)? {
        let path = entry.with_context(context)?.path();
        if path.extension().is_some_and(|ending| ending == "config") {
            paths.push(path);
        }
    }
    paths.sort();
    let mut all = Vec::new();
    for path in paths {
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("reading {}", path.display()))?;
        all.extend(parse_fragment(&text).with_context(|| path.display().to_string())?);
    }
    Ok(all)
}

/// Checks a kernel against the fragments of a folder.
///
/// # Errors
/// Its configuration is not known, or lacks something.
pub fn check(fragments: &Path, kernel: &Kernel) -> Result<()> {
    let requirements = read_fragments(fragments)?;
    let Some(path) = &kernel.config else {
        bail!(
            "the configuration of Linux {} is not known: put it beside vmlinuz as config-{}, or \
             skip the check with --no-config-check",
            kernel.release,
            kernel.release
        );
    };
    let text =
        std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    let missing = missing(&requirements, &parse_config(&text));
    if !missing.is_empty() {
        bail!(
            "Linux {} cannot be used: {}; take another kernel, or skip the check with \
             --no-config-check",
            kernel.release,
            missing.join("; ")
        );
    }
    Ok(())
}
