//! Kernel modules.

use std::ffi::CString;
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
    load_with(file, "")
}

/// As [`load`], with parameters such as `rd_nr=16 rd_size=64000`; a module that was
/// there before keeps its own.
///
/// # Errors
/// As [`load`]; `EINVAL` for a parameter that the module does not take.
pub fn load_with(file: &Path, parameters: &str) -> io::Result<Loaded> {
    let file = File::open(file)?;
    let parameters = CString::new(parameters)?;
    match rustix::system::finit_module(&file, &parameters, 0) {
        Ok(()) => Ok(Loaded::Now),
        Err(Errno::EXIST) => Ok(Loaded::Before),
        Err(error) => Err(error.into()),
    }
}

/// Removes a module (delete_module(2)), without waiting for whoever uses it.
///
/// # Errors
/// `ENOENT` when it is not loaded or built in, `EWOULDBLOCK` while it is in use.
pub fn unload(name: &str) -> io::Result<()> {
    let name = CString::new(name)?;
    // The kernel's O_NONBLOCK is the flag that means "do not wait".
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    Ok(rustix::system::delete_module(&name, flags)?)
}

/// The kernel's release, as `uname -r` prints it.
pub fn kernel_release() -> String {
    rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned()
}
