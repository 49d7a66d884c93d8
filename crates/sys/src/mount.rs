//! Mounts that undo themselves.

use std::ffi::CString;
use std::io;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};
use rustix::thread::UnshareFlags;

/// Whether a mount may be written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// `ro`.
    ReadOnly,
    /// `rw`.
    ReadWrite,
}

/// A mounted file system; dropping it unmounts it, detached when it is busy.
#[derive(Debug)]
#[must_use = "dropping a mount unmounts it"]
pub struct Mounted {
    target: PathBuf,
    kept: bool,
}

impl Mounted {
    /// Mounts `source` of type `fs` on `target`, which is created when missing;
    /// `options` as in mount(2)'s data.
    ///
    /// # Errors
    /// What the kernel says; `ENODEV` means that it does not know the file system.
    pub fn new(
        source: &Path,
        target: &Path,
        fs: &str,
        access: Access,
        options: &str,
    ) -> io::Result<Self> {
        std::fs::create_dir_all(target)?;
        let flags = match access {
            Access::ReadOnly => MountFlags::RDONLY,
            Access::ReadWrite => MountFlags::empty(),
        };
        let options = CString::new(options)?;
        rustix::mount::mount(source, target, fs, flags, options.as_c_str())?;
        Ok(Self::at(target))
    }

    /// Shows the tree at `source` at `target` as well, with all that is mounted in it.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn bind(source: &Path, target: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(target)?;
        rustix::mount::mount_bind_recursive(source, target)?;
        Ok(Self::at(target))
    }

    fn at(target: &Path) -> Self {
        Self {
            target: target.to_owned(),
            kept: false,
        }
    }

    /// Where it is mounted.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Leaves it mounted for as long as the machine runs.
    pub fn keep(mut self) {
        self.kept = true;
    }

    /// Unmounts it and says whether that worked, unlike a drop.
    ///
    /// # Errors
    /// `EBUSY` when somebody uses it.
    pub fn finish(mut self) -> io::Result<()> {
        self.kept = true;
        Ok(rustix::mount::unmount(&self.target, UnmountFlags::empty())?)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if !self.kept {
            // Nobody is left to hear of an error here.
            let _ = rustix::mount::unmount(&self.target, UnmountFlags::DETACH);
        }
    }
}

/// From now on this thread, and the programs that it starts, have mounts of their own, which
/// nobody else sees and which go when the last of them ends, however it ends. What others
/// mount and unmount is still seen.
///
/// # Errors
/// A caller who may not.
pub fn of_our_own() -> io::Result<()> {
    // SAFETY: rustix calls it unsafe because of CLONE_FILES, with which threads would see
    // other file descriptors than those they know; only mounts and the current folder are
    // set apart here. Neither std nor rustix has a safe call for it.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS)? };
    let below = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    Ok(rustix::mount::mount_change("/", below)?)
}

/// Changes the options of the file system that is mounted on `target`, as in mount(2)'s
/// data.
///
/// # Errors
/// What the kernel says.
pub fn remount(target: &Path, options: &str) -> io::Result<()> {
    let options = CString::new(options)?;
    Ok(rustix::mount::mount_remount(
        target,
        MountFlags::empty(),
        options.as_c_str(),
    )?)
}

/// Unmounts what is on `target`; for the last moments of a machine.
///
/// # Errors
/// `EBUSY` when somebody uses it.
pub fn unmount(target: &Path) -> io::Result<()> {
    Ok(rustix::mount::unmount(target, UnmountFlags::empty())?)
}

/// Unmounts whatever is on `target` now and frees it once nobody uses it; for the
/// last moments of a machine.
///
/// # Errors
/// What the kernel says.
pub fn detach(target: &Path) -> io::Result<()> {
    Ok(rustix::mount::unmount(target, UnmountFlags::DETACH)?)
}
