//! What travels first: a folder with the deployment, the manifest, descs and boot codes.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::old::Files;
use super::plan::Plan;

/// What statfs(2) calls a file system in memory.
const TMPFS_MAGIC: rustix::fs::FsWord = 0x0102_1994;

/// The folder; gone when dropped.
#[derive(Debug)]
pub(super) struct Parcel(PathBuf);

impl Parcel {
    /// Writes it, where nobody else can put anything, with what `old` nodes read.
    ///
    /// # Errors
    /// The kernel's, with the path.
    pub(super) fn write(plan: &Plan, old: &Files) -> anyhow::Result<Self> {
        let folder = place().join(format!("goldring-ka-d-{}", std::process::id()));
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

/// In memory, which is not sent: elsewhere it would be one of the files of each clone.
/// `TMPDIR` is obeyed.
fn place() -> PathBuf {
    let in_memory =
        |path: &PathBuf| rustix::fs::statfs(path).is_ok_and(|it| it.f_type == TMPFS_MAGIC);
    let wish = std::env::var_os("TMPDIR").map(PathBuf::from);
    wish.or_else(|| {
        ["/run", "/dev/shm"]
            .map(PathBuf::from)
            .into_iter()
            .find(in_memory)
    })
    .unwrap_or_else(std::env::temp_dir)
}

impl Drop for Parcel {
    fn drop(&mut self) {
        // What stays of it harms nobody.
        let _ = fs::remove_dir_all(&self.0);
    }
}
