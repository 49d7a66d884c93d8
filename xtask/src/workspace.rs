//! Where the workspace lies.

use std::path::{Path, PathBuf};

/// The folder of the workspace.
pub(crate) fn root() -> PathBuf {
    // CARGO_MANIFEST_DIR is set by `cargo run`, which is how xtask is started; the
    // compiled-in path would be wrong after the folder was moved.
    let here = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    here.parent().map_or(here.clone(), Path::to_owned)
}

/// The folder of everything that is made.
pub(crate) fn target() -> PathBuf {
    root().join("target")
}
