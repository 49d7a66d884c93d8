//! Swap files, which are made again empty: what is in them is of no use to anybody.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use anyhow::Context;

use super::Clone;

/// A swap file of the golden node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SwapFile {
    /// Where, seen from the clone.
    pub(crate) path: String,
    /// In bytes.
    pub(crate) size: u64,
}

/// Makes those that did not come along.
///
/// # Errors
/// No room; a program that fails.
pub(crate) fn make(clone: &mut Clone<'_>) -> anyhow::Result<()> {
    for file in &clone.wish.swap_files {
        if clone.tree.has(&file.path) || file.size == 0 {
            continue;
        }
        clone.tree.write(&file.path, "")?;
        let size = file.size.to_string();
        if !clone.wish.dry {
            let place = clone.tree.resolve(&file.path)?;
            fs::set_permissions(&place, Permissions::from_mode(0o600))
                .with_context(|| format!("closing {} of the clone", file.path))?;
        }
        let place = format!(
            "{}{}",
            clone.folder.to_str().context("a folder with an odd name")?,
            file.path
        );
        // btrfs swaps to files that it does not copy on write only; others know no such flag.
        let _ = clone.runner.run("chattr", &["+C", &place]);
        clone
            .runner
            .run("fallocate", &["--length", &size, &place])?;
        clone.runner.run("mkswap", &[&place])?;
        clone.say(&format!("{} is swap again, {size} bytes", file.path));
    }
    Ok(())
}
