//! The kernel's helper for `request_module`: `/sbin/modprobe -q -- fs-xfs`.
//!
//! The kernel calls it in stage 1's root, whoever asked, so `mount -t xfs` works inside
//! stage 2 as well. The caller hears of a failure by its exit code.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;

use goldring_contract::Root;
use goldring_hw::insert::{is_freed, was_freed};
use goldring_hw::tables::Tables;

use crate::insert::{Kernel, by_name};

/// Whether this program was called as `modprobe`.
pub(crate) fn is_meant() -> bool {
    std::env::args_os()
        .next()
        .is_some_and(|name| Path::new(&name).file_name() == Some(OsStr::new("modprobe")))
}

/// Loads what is named and exits with 0, or with 1 when something could not be loaded.
pub(crate) fn run(args: impl Iterator<Item = OsString>) -> ExitCode {
    let root = Root::system();
    let Ok(tables) = Tables::read(&root) else {
        return ExitCode::FAILURE;
    };
    let release = goldring_sys::module::kernel_release();
    let mut insert = Kernel {
        root: &root,
        release: &release,
        names: &tables.names,
        dry_run: false,
    };
    let mut all = true;
    for name in names(args) {
        all &= by_name(&tables, &name, &mut insert);
        tell_freed(&root, &tables, &name);
    }
    if all {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Nobody reads what this program prints, but a person looks into the kernel's log.
fn tell_freed(root: &Root, tables: &Tables, name: &str) {
    let freed = tables.resolve(name).into_iter().find(|m| is_freed(root, m));
    if let Some(module) = freed {
        let line = format!("<4>init: {}", was_freed(module));
        let _ = std::fs::write(root.join("/dev/kmsg"), line);
    }
}

/// The arguments that are no flags; after `--` none is.
fn names(args: impl Iterator<Item = OsString>) -> Vec<String> {
    let mut flags = true;
    let mut names = Vec::new();
    for arg in args.filter_map(|arg| arg.into_string().ok()) {
        if flags && arg == "--" {
            flags = false;
        } else if !flags || !arg.starts_with('-') {
            names.push(arg);
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_way_of_calling_is_understood() {
        let parse = |line: &str| names(line.split(' ').map(OsString::from));
        assert_eq!(parse("-q -- fs-xfs"), ["fs-xfs"]);
        assert_eq!(parse("-q -- -odd"), ["-odd"]);
        assert_eq!(parse("-v loop squashfs"), ["loop", "squashfs"]);
    }
}
