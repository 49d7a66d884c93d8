//! What travels first: a folder with the deployment, the manifest, descs and boot codes.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::old::Files;
use super::plan::Plan;

/// The folder; gone when dropped.
#[derive(Debug)]
pub(super) struct Parcel(PathBuf);

impl Parcel {
    /// Writes it, where nobody else can put anything, with what `old` nodes read.
    ///
    /// # Errors
    /// The kernel's, with the path.
    pub(super) fn write(plan: &Plan, old: &Files) -> anyhow::Result<Self> {
        let folder = std::env::temp_dir().join(format!("goldring-ka-d-{}", std::process::id()));
        // One that exists is not taken: somebody else may have made it.
        DirBuilder::new()
            .mode(0o700)
            .create(&folder)
            .with_context(|| format!("making {}", folder.display()))?;
        let parcel = Self(folder);
        for (name, bytes) in plan.files() {
            parcel.file(&name, &bytes)?;
        }
        for (name, bytes) in old {
            parcel.file(name, bytes)?;
        }
        Ok(parcel)
    }

    fn file(&self, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
        let path = self.0.join(name);
        fs::write(&path, bytes).with_context(|| format!("writing {}", path.display()))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Parcel {
    fn drop(&mut self) {
        // What stays of it harms nobody.
        let _ = fs::remove_dir_all(&self.0);
    }
}
