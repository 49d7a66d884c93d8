//! One program at a time in a folder.

use std::fs::{self, File, TryLockError};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

/// Between two looks whether the other one has ended.
const PAUSE: Duration = Duration::from_millis(500);

/// Waits until no other program holds the file `lock` in `folder`, and holds it until the
/// file is dropped. `waiting` is called before each pause: the first time it may say so,
/// and its error ends the wait.
///
/// # Errors
/// The file cannot be made or locked, or that of `waiting`.
pub fn hold(folder: &Path, mut waiting: impl FnMut(bool) -> Result<()>) -> Result<File> {
    let path = folder.join("lock");
    let file = fs::create_dir_all(folder)
        .and_then(|()| File::create(&path))
        .with_context(|| format!("making {}", path.display()))?;
    let mut first = true;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => waiting(std::mem::replace(&mut first, false))?,
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("locking {}", path.display()));
            }
        }
        std::thread::sleep(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::bail;

    #[test]
    fn a_folder_is_held_until_the_file_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let below = folder.path().join("below");
        let mut held = Some(hold(&below, |_| bail!("nobody holds it")).unwrap());
        let mut firsts = Vec::new();
        let error = hold(&below, |first| {
            firsts.push(first);
            if firsts.len() == 2 {
                bail!("enough")
            } else {
                Ok(())
            }
        });
        assert_eq!(error.unwrap_err().to_string(), "enough");
        assert_eq!(firsts, [true, false]);
        hold(&below, |_| {
            held = None;
            Ok(())
        })
        .unwrap();
    }
}
