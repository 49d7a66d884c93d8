//! Memory: how much there is, and the drivers that nobody here wants.

use std::fs;

use goldring_contract::image::Module;
use goldring_contract::limits::MEMORY_PROMISED;
use goldring_contract::{Root, paths};
use goldring_hw::probe::parse_loaded;
use goldring_hw::spare::spare;
use goldring_hw::tables::Tables;

use crate::console::say;
use crate::fate::Fate;
use crate::hardware::Hardware;

/// Below this the drivers that nobody wants go before stage 2 is fetched, even if that
/// means to wait for slow disks. 512 MB of memory show as 460 MiB.
const TIGHT: u64 = 700 << 20;

/// Whether drivers should go before anything is fetched.
pub(crate) fn is_tight(root: &Root) -> bool {
    let text = fs::read_to_string(root.join("/proc/meminfo")).unwrap_or_default();
    total(&text).is_some_and(|total| total < TIGHT)
}

/// Whether the kernel has unpacked all of `all.rdz`. It lets it take half of the memory and
/// goes on with what fits, so that a driver may be missing without a word.
///
/// # Errors
/// The memory is too small.
pub(crate) fn is_unpacked(root: &Root) -> Result<(), Fate> {
    let messages = goldring_sys::kmsg::messages(&root.join("/dev/kmsg")).unwrap_or_default();
    match unpack_error(&messages) {
        Some("write error") => {
            let text = fs::read_to_string(root.join("/proc/meminfo")).unwrap_or_default();
            Err(Fate::reboot(too_small_to_unpack(total(&text))))
        }
        // Some loaders leave a few bytes behind the archive, which does no harm.
        Some(error) => {
            say(&format!(
                "the kernel found a fault in all.rdz ({error}); if something is missing, copy \
                 all.rdz to the boot server again"
            ));
            Ok(())
        }
        None => Ok(()),
    }
}

/// What the kernel had against the initramfs (Linux, init/initramfs.c, do_populate_rootfs).
fn unpack_error(messages: &[String]) -> Option<&str> {
    messages
        .iter()
        .find_map(|message| message.strip_prefix("Initramfs unpacking failed: "))
        .map(str::trim)
}

fn too_small_to_unpack(total: Option<u64>) -> String {
    let memory = total.map_or("this memory".to_owned(), |total| {
        format!("{} MB of memory", total >> 20)
    });
    format!(
        "not enough memory: all.rdz does not fit into the half of {memory} that the kernel lets it \
         take; give the node {MEMORY_PROMISED} MB"
    )
}

/// Lets the root file system take more than the half of the memory that the kernel grants
/// it: where all.rdz fills that half, not even a lease could be written down.
pub(crate) fn widen_root(root: &Root) {
    // On a kernel without tmpfs it is a ramfs, which has no limit.
    let _ = goldring_sys::mount::remount(&root.join("/"), "size=95%");
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
    fn an_image_that_was_not_unpacked_is_noticed() {
        let log = |last: &str| vec!["Linux version 6.1".to_owned(), last.to_owned()];
        let failed = log("Initramfs unpacking failed: write error");
        assert_eq!(unpack_error(&failed), Some("write error"));
        let fine = log("Freeing initrd memory: 22572K");
        assert_eq!(unpack_error(&fine), None);
        let said = log("init: Initramfs unpacking failed: write error");
        assert_eq!(unpack_error(&said), None);
        assert_eq!(unpack_error(&[]), None);
        assert_eq!(
            too_small_to_unpack(Some(200 << 20)),
            "not enough memory: all.rdz does not fit into the half of 200 MB of memory that the \
             kernel lets it take; give the node 512 MB"
        );
    }

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
