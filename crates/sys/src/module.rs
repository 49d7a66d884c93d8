//! Kernel modules.

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::io::Errno;

/// What became of a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loaded {
    /// It was loaded now.
    Now,
    /// It was there already.
    Before,
}

/// Loads an uncompressed module file (finit_module(2)).
///
/// # Errors
/// What the kernel says; `ENOENT` from an existing file means an unknown symbol, so
/// a module that should have been loaded before.
pub fn load(file: &Path) -> io::Result<Loaded> {
    let file = File::open(file)?;
    match rustix::system::finit_module(&file, c"", 0) {
        Ok(()) => Ok(Loaded::Now),
        Err(Errno::EXIST) => Ok(Loaded::Before),
        Err(error) => Err(error.into()),
    }
}

/// The kernel's release, as `uname -r` prints it.
pub fn kernel_release() -> String {
    rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned()
}
