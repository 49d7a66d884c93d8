//! What was made: `image.json`, `SHA256SUMS`, and the table of sizes.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::compress::Compression;
use crate::recipe::Size;

/// The name of the record beside the images.
pub const IMAGE_JSON: &str = "image.json";
/// The name of the list of digests, as `sha256sum --check` reads it.
pub const SHA256SUMS: &str = "SHA256SUMS";

/// `image.json`: what is inside the images.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Report {
    /// The version of goldring.
    pub version: String,
    /// The kernel.
    pub kernel: KernelReport,
    /// How `all.rdz` is compressed.
    pub compression: Compression,
    /// `vmlinuz`, `all.rdz`, `rescue.clp`: digest, size, and the digest of all that
    /// went into it.
    pub files: BTreeMap<String, FileReport>,
    /// The programs of goldring inside.
    pub programs: BTreeMap<String, FileDigest>,
    /// Modules in `all.rdz`: path below `lib/modules/RELEASE`, by name.
    pub modules: BTreeMap<String, String>,
    /// Firmware in `all.rdz`.
    pub firmware: Vec<String>,
    /// Tools in `rescue.clp`, each with its package and version.
    pub tools: BTreeMap<String, String>,
    /// All packages that `rescue.clp` has something of, each with its version.
    pub packages: BTreeMap<String, String>,
    /// What was left out and why.
    pub notes: Vec<String>,
}

/// The kernel in `image.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct KernelReport {
    /// What `uname -r` prints.
    pub release: String,
    /// The packages that it came from, if any.
    pub packages: Vec<String>,
}

/// Digest and size of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct FileDigest {
    /// SHA-256.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
}

/// An image in `image.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct FileReport {
    /// SHA-256.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
    /// A digest over everything that went into it; the same inputs need no new file.
    pub inputs: String,
}

impl Report {
    /// Reads `image.json` of a folder; nothing when there is none, or when another
    /// version wrote it.
    pub fn read(folder: &Path) -> Option<Self> {
        let text = std::fs::read_to_string(folder.join(IMAGE_JSON)).ok()?;
        serde_json::from_str(&text).ok()
    }

    /// The text of `image.json`.
    ///
    /// # Errors
    /// None that can happen with these types.
    pub fn to_json(&self) -> Result<String> {
        let mut text = serde_json::to_string_pretty(self).context("writing image.json")?;
        text.push('\n');
        Ok(text)
    }

    /// The text of `SHA256SUMS`.
    pub fn sums(&self) -> String {
        self.files
            .iter()
            .map(|(name, file)| format!("{}  {name}\n", file.sha256))
            .collect()
    }
}

/// A line of the table of sizes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// What it is.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// The most it may have.
    pub budget: Option<Size>,
}

impl Row {
    /// Whether it is larger than it may be.
    pub fn over(&self) -> bool {
        self.budget.is_some_and(|budget| self.size > budget.0)
    }
}

/// The table of sizes against their budgets.
pub fn table(rows: &[Row]) -> String {
    let mut text = String::from("file               size      budget   used\n");
    for row in rows {
        let size = megabytes(row.size);
        let (budget, used) = match row.budget {
            Some(budget) => (
                megabytes(budget.0),
                format!("{:3} %", row.size * 100 / budget.0.max(1)),
            ),
            None => ("-".to_owned(), String::new()),
        };
        let over = if row.over() { "  too large" } else { "" };
        let line = format!("{:<12} {size:>10}  {budget:>10}  {used}{over}", row.name);
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

fn megabytes(bytes: u64) -> String {
    format!("{}.{:02} MB", bytes / 1_000_000, bytes % 1_000_000 / 10_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_shows_what_is_too_large() {
        let rows = [
            Row {
                name: "init".into(),
                size: 1_612_345,
                budget: Some(Size(2_000_000)),
            },
            Row {
                name: "all.rdz".into(),
                size: 18_000_001,
                budget: Some(Size(18_000_000)),
            },
            Row {
                name: "vmlinuz".into(),
                size: 8_000_000,
                budget: None,
            },
        ];
        assert_eq!(
            table(&rows),
            "file               size      budget   used\n\
             init            1.61 MB     2.00 MB   80 %\n\
             all.rdz        18.00 MB    18.00 MB  100 %  too large\n\
             vmlinuz         8.00 MB           -\n"
        );
        assert!(rows[1].over() && !rows[0].over());
    }
}
