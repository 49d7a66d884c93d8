//! What travels first: a folder with the deployment, the manifest, descs and boot codes.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use tempfile::TempDir;

use super::old::Files;
use super::plan::Plan;

/// What statfs(2) calls a file system in memory.
const TMPFS_MAGIC: rustix::fs::FsWord = 0x0102_1994;

/// The folder; gone when dropped.
#[derive(Debug)]
pub(super) struct Parcel(TempDir);

impl Parcel {
    /// Writes it, where nobody else can put anything, with what `old` nodes read.
    ///
    /// # Errors
    /// The kernel's, with the path.
    pub(super) fn write(plan: &Plan, old: &Files) -> anyhow::Result<Self> {
        let parcel = Self(folder_in(&place())?);
        for (name, bytes) in plan.files() {
            parcel.file(&name, &bytes)?;
        }
        for (name, bytes) in old {
            parcel.file(name, bytes)?;
        }
        Ok(parcel)
    }

    fn file(&self, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
        let path = self.0.path().join(name);
        fs::write(&path, bytes).with_context(|| format!("writing {}", path.display()))
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }
}

/// An empty folder under a name that nobody has: one that was killed left its own behind, and
/// one that exists may be somebody else's.
fn folder_in(place: &Path) -> anyhow::Result<TempDir> {
    tempfile::Builder::new()
        .prefix("goldring-ka-d-")
        .permissions(Permissions::from_mode(0o700))
        .tempdir_in(place)
        .with_context(|| format!("making a folder in {}", place.display()))
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A run that was killed has left its folder, and ours has the same number.
    #[test]
    fn what_a_killed_run_left_is_in_nobodys_way() {
        let place = tempfile::tempdir().unwrap();
        let old = format!("goldring-ka-d-{}", std::process::id());
        fs::create_dir(place.path().join(&old)).unwrap();
        let folder = folder_in(place.path()).unwrap();
        assert_ne!(folder.path(), place.path().join(old));
        let mode = fs::metadata(folder.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }
}
