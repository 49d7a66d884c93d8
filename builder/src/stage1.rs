//! What is in `all.rdz`: `init`, modules, their tables, and the little that a root
//! needs before anything is mounted.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result, bail};
use goldring_contract::image::{Aliases, Manifest, Modules, Names};
use goldring_contract::paths;

use crate::compress::{Compression, Format};
use crate::modules::{Selection, read_module};
use crate::newc;
use crate::sysroot::Sysroot;
use crate::tree::{Content, Kind, Tree};

/// No initramfs of ours is larger when it is unpacked.
const UNPACKED_MAX: u64 = 2 << 30;

/// What [`tree`] needs.
#[derive(Debug)]
pub struct Parts<'a> {
    /// The program `init`.
    pub init: &'a Path,
    /// The chosen modules.
    pub selection: &'a Selection,
    /// Which image this is.
    pub manifest: &'a Manifest,
    /// Names of PCI devices, already filtered.
    pub names: &'a Names,
    /// Where firmware may be found.
    pub firmware: &'a Sysroot,
    /// Who may sign the certificates of https servers, PEM.
    pub ca: Option<&'a [u8]>,
}

/// The tree of `all.rdz`.
///
/// # Errors
/// A module cannot be read.
pub fn tree(parts: &Parts<'_>, tick: &dyn Fn(usize, usize)) -> Result<Tree> {
    let mut tree = Tree::new();
    for folder in [
        "/proc",
        "/sys",
        "/dev",
        "/run",
        "/etc",
        "/tmp",
        paths::STAGE2_ROOT,
    ] {
        tree.folder(folder, 0o755)?;
    }
    // The kernel opens it for PID 1 before /dev is mounted (init/main.c).
    tree.device("/dev/console", 0o600, 5, 1)?;
    tree.device("/dev/null", 0o666, 1, 3)?;
    tree.file("/init", 0o755, Content::File(parts.init.to_owned()))?;
    tree.link(paths::MODPROBE, "/init")?;
    tree.text("/etc/nsswitch.conf", "hosts: files dns\n")?;
    tree.text("/etc/hosts", "127.0.0.1 localhost\n::1 localhost\n")?;
    let (modules, firmware) = with_firmware(&parts.selection.modules, parts.firmware);
    for (path, content) in firmware {
        tree.file(&format!("/lib/firmware/{path}"), 0o644, content)?;
    }
    tree.text(paths::MANIFEST, parts.manifest.to_string())?;
    tree.text(paths::MODULES, modules.to_string())?;
    tree.text(paths::ALIASES, parts.selection.aliases.to_string())?;
    tree.text(paths::ABSENT, parts.selection.absent.to_string())?;
    tree.text(paths::NAMES, parts.names.to_string())?;
    if let Some(ca) = parts.ca {
        tree.file(paths::CA, 0o644, Content::Bytes(ca.to_owned()))?;
    }
    let all = parts.selection.real.len();
    for (number, module) in modules.iter().enumerate() {
        tick(number, all);
        let bytes = read_module(&parts.selection.real[&module.name])?;
        let path = format!(
            "{}/{}/{}",
            paths::MODULE_TREE,
            parts.manifest.kernel,
            module.path
        );
        tree.file(&path, 0o644, Content::Bytes(bytes))?;
    }
    Ok(tree)
}

/// Firmware that the modules name and that is there. The table keeps all names, so
/// that `init` can say which file a driver missed.
fn with_firmware(modules: &Modules, sysroot: &Sysroot) -> (Modules, BTreeMap<String, Content>) {
    let mut files = BTreeMap::new();
    for name in modules.iter().flat_map(|module| &module.firmware) {
        let path = format!("usr/lib/firmware/{name}");
        if let Ok(followed) = sysroot.follow(&path)
            && let Ok(real) = sysroot.real(&followed.file)
        {
            files.insert(name.clone(), Content::File(real.to_owned()));
        }
    }
    (modules.clone(), files)
}

/// Keeps the names of devices that a driver inside names, and those that contain one of
/// some words.
pub fn filter_names(pci_ids: &str, aliases: &Aliases, containing: &[String]) -> Names {
    let mut exact = BTreeSet::new();
    let mut vendors = BTreeSet::new();
    for (pattern, _) in aliases.iter() {
        match pci_pattern(pattern) {
            Some((vendor, Some(device))) => drop(exact.insert((vendor, device))),
            Some((vendor, None)) => drop(vendors.insert(vendor)),
            None => {}
        }
    }
    let mut names = Names::parse(pci_ids);
    let all = names.clone();
    names.retain(|vendor, device| {
        let named = || {
            let name = all.device(vendor, device);
            let name = name.split_once('|').map_or("", |(_, name)| name);
            containing.iter().any(|word| name.contains(word.as_str()))
        };
        exact.contains(&(vendor, device)) || vendors.contains(&vendor) || named()
    });
    names
}

/// Vendor and device of `pci:v00008086d000010D3sv*sd*bc*sc*i*`. A pattern for every
/// device of a vendor counts only if it is not narrowed by a class; one for all vendors
/// says nothing about names.
fn pci_pattern(pattern: &str) -> Option<(u16, Option<u16>)> {
    let rest = pattern.strip_prefix("pci:v")?;
    let (vendor, rest) = rest.split_once('d')?;
    let vendor = hexadecimal(vendor)?;
    let (device, rest) = rest.split_once("sv")?;
    match hexadecimal(device) {
        Some(device) => Some((vendor, Some(device))),
        None if device == "*" && rest.ends_with("bc*sc*i*") => Some((vendor, None)),
        None => None,
    }
}

fn hexadecimal(text: &str) -> Option<u16> {
    u32::from_str_radix(text, 16).ok()?.try_into().ok()
}

/// Packs a tree, reads it back and compares; returns the bytes of `all.rdz`.
///
/// # Errors
/// A file cannot be read, or what is read back is not what was written.
pub fn pack(tree: &Tree, compression: Compression, tick: &dyn Fn(u64, u64)) -> Result<Vec<u8>> {
    let archive = newc::write(tree, Vec::new())?;
    let all = archive.len() as u64;
    let bytes = compression.compress(|out| {
        for (number, part) in archive.chunks(1 << 20).enumerate() {
            tick((number as u64) << 20, all);
            out.write_all(part)?;
        }
        Ok(())
    })?;
    verify(tree, &bytes).context("reading back all.rdz")?;
    Ok(bytes)
}

fn verify(tree: &Tree, bytes: &[u8]) -> Result<()> {
    let format = Format::of(bytes).context("it is not compressed")?;
    let (archive, used) = format.unpack(bytes, UNPACKED_MAX)?;
    if used != bytes.len() {
        bail!("{} bytes follow the compressed archive", bytes.len() - used);
    }
    let (entries, used) = newc::read(&archive)?;
    if used != archive.len() || entries.len() != tree.len() {
        bail!("{} names instead of {}", entries.len(), tree.len());
    }
    for (wanted, entry) in newc::entries(tree).zip(&entries) {
        let wanted = wanted?;
        if wanted != *entry {
            bail!("/{} is not what was written", wanted.name);
        }
    }
    Ok(())
}

/// Whether `path` is a module in a tree.
pub fn is_module(path: &str, kind: &Kind) -> bool {
    matches!(kind, Kind::File(_)) && path.ends_with(".ko")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_of_pci_devices() {
        for (pattern, wanted) in [
            (
                "pci:v00008086d000010D3sv*sd*bc*sc*i*",
                Some((0x8086, Some(0x10d3))),
            ),
            ("pci:v00001AF4d*sv*sd*bc*sc*i*", Some((0x1af4, None))),
            ("pci:v00008086d*sv*sd*bc0Csc03i30*", None),
            ("pci:v*d*sv*sd*bc01sc06i01*", None),
            ("pci:v00008086", None),
            ("virtio:d00000001v*", None),
            ("pci:v1FFFFFFFFd1sv*", None),
        ] {
            assert_eq!(pci_pattern(pattern), wanted, "{pattern}");
        }
    }

    #[test]
    fn names_that_nobody_drives_stay_out() {
        let ids = "8086  Intel\n\t10d3  82574L\n\t10d4  other\n\t0953  NVMe thing\n1af4  Red Hat\n\t1000  Virtio network\nffff  nobody\n\t0001  nothing\n";
        let aliases = Aliases::new(vec![
            (
                "pci:v00008086d000010D3sv*sd*bc*sc*i*".into(),
                "e1000e".into(),
            ),
            ("pci:v00001AF4d*sv*sd*bc*sc*i*".into(), "virtio_pci".into()),
        ]);
        let names = filter_names(ids, &aliases, &["NVMe".into()]);
        assert_eq!(
            names.to_string(),
            "1af4  Red Hat\n\t1000  Virtio network\n8086  Intel\n\t0953  NVMe thing\n\t10d3  82574L\n"
        );
        assert_eq!(filter_names("", &aliases, &[]), Names::default());
        assert_eq!(
            filter_names("\t1\nzz y\n\t\t\n8086\n", &aliases, &[]),
            Names::default()
        );
    }
}
