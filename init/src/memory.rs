//! Memory: how much there is, and the drivers that nobody here wants.

use std::fs;

use goldring_contract::image::Module;
use goldring_contract::{Root, paths};
use goldring_hw::probe::parse_loaded;
use goldring_hw::spare::spare;
use goldring_hw::tables::Tables;

use crate::console::say;
use crate::hardware::Hardware;

/// Below this the drivers that nobody wants go before stage 2 is fetched, even if that
/// means to wait for slow disks. 512 MB of memory show as 460 MiB.
const TIGHT: u64 = 700 << 20;

/// Whether drivers should go before anything is fetched.
pub(crate) fn is_tight(root: &Root) -> bool {
    let text = fs::read_to_string(root.join("/proc/meminfo")).unwrap_or_default();
    total(&text).is_some_and(|total| total < TIGHT)
}

/// `MemTotal` of `/proc/meminfo`, in bytes (proc_meminfo(5)).
fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|l| l.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib.saturating_mul(1024))
}

/// Removes the files of modules that no device of this machine wants, and says how much
/// that was. They lie in memory, as everything in an initramfs does.
pub(crate) fn free_modules(root: &Root, release: &str, tables: &Tables, hardware: &Hardware) {
    let text = fs::read_to_string(root.join("/proc/modules")).unwrap_or_default();
    let devices = hardware.devices();
    let spare = spare(tables, &devices, &parse_loaded(&text));
    let tree = root.join(paths::MODULE_TREE).join(release);
    // The list comes first: what is gone must never look like a broken image.
    let list: String = spare.iter().map(|m| format!("{}\n", m.name)).collect();
    let note = format!(
        "These drivers were removed to free memory, because no device of this computer \
         wants them.\nBoot with keepmodules to keep them.\n\n{list}"
    );
    let written = fs::write(root.join(paths::FREED), &list)
        .and_then(|()| fs::write(tree.join("FREED"), note));
    if let Err(error) = written {
        say(&format!(
            "keeping all drivers: writing {}: {error}",
            paths::FREED
        ));
        return;
    }
    let bytes: u64 = spare.iter().map(|module| remove(&tree, module)).sum();
    if bytes > 0 {
        say(&format!(
            "freed {} MB of drivers that no device here wants (keepmodules keeps them)",
            bytes / 1_000_000
        ));
    }
}

/// Removes one file and returns its size.
fn remove(tree: &std::path::Path, module: &Module) -> u64 {
    let file = tree.join(&module.path);
    let size = fs::metadata(&file).map_or(0, |metadata| metadata.len());
    match fs::remove_file(&file) {
        Ok(()) => size,
        Err(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn total_memory_is_read() {
        assert_eq!(
            total("MemTotal:  1000 kB\nMemFree: 1 kB\n"),
            Some(1_024_000)
        );
        assert_eq!(total("MemTotal: many kB\n"), None);
        assert_eq!(total(""), None);
    }
}
