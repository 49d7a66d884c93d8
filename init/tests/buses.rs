//! `init --dry-run` on a machine that has one device on each bus: each gets the driver
//! whose pattern, as the kernel's modules have it, matches.

use std::fs;
use std::path::Path;
use std::process::Command;

use goldring_contract::image::{Aliases, Class, Manifest, Module, Modules};

const KERNEL: &str = "6.1.0-42-amd64";

/// Place in sysfs, what the device says, the pattern of the module, the module.
const BUSES: &[(&str, &str, &str, &str)] = &[
    (
        "pci/devices/0000:00:03.0",
        "pci:v00008086d000010D3sv00008086sd0000A01Fbc02sc00i00",
        "pci:v00008086d000010D3sv*sd*bc*sc*i*",
        "e1000e",
    ),
    (
        "virtio/devices/virtio0",
        "virtio:d00000001v00001AF4",
        "virtio:d00000001v*",
        "virtio_net",
    ),
    (
        "usb/devices/1-1:1.0",
        "usb:v0B95p772Ad0001dcFFdscFFdp00icFFiscFFip00in00",
        "usb:v0B95p772Ad*dc*dsc*dp*ic*isc*ip*in*",
        "asix",
    ),
    (
        "vmbus/devices/a2b6c2f6-0000",
        "vmbus:635161f83edfc546913ff2d2f965ed0e",
        "vmbus:635161f83edfc546913ff2d2f965ed0e",
        "hv_netvsc",
    ),
    ("xen/devices/vif-0", "xen:vif", "xen:vif", "xen_netfront"),
    (
        "platform/devices/80860F14:00",
        "acpi:80860F14:PNP0D40:",
        "acpi*:80860F14:*",
        "sdhci_acpi",
    ),
    (
        "platform/devices/virtio-mmio.0",
        "platform:virtio-mmio",
        "platform:virtio-mmio",
        "virtio_mmio",
    ),
    (
        "scsi/devices/0:0:0:0",
        "scsi:t-0x00",
        "scsi:t-0x00*",
        "sd_mod",
    ),
    (
        "mmc/devices/mmc0:4567",
        "mmc:block",
        "mmc:block",
        "mmc_block",
    ),
];

fn write(root: &Path, path: &str, text: &str) {
    let file = root.join(path);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, text).unwrap();
}

#[test]
fn every_bus_is_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let manifest = Manifest {
        kernel: KERNEL.into(),
        stage2_sha256: "ab".repeat(32),
        stage2_size: 1000,
        version: "0.1.0".into(),
    };
    let module = |name: &str| Module {
        name: name.into(),
        path: format!("kernel/{name}.ko"),
        class: Class::Other,
        before: vec![],
        after: vec![],
        firmware: vec![],
    };
    let modules = Modules::new(BUSES.iter().map(|bus| module(bus.3)).collect());
    let aliases = BUSES.iter().map(|bus| (bus.2.to_owned(), bus.3.to_owned()));
    let aliases = Aliases::new(aliases.collect());
    write(root, "etc/goldring/manifest", &manifest.to_string());
    write(root, "etc/goldring/modules", &modules.to_string());
    write(root, "etc/goldring/aliases", &aliases.to_string());
    for (place, modalias, _, module) in BUSES {
        let folder = format!("sys/bus/{place}");
        // Linux, drivers/mmc/core/bus.c: this bus tells it in the event only.
        match place.starts_with("mmc") {
            true => write(
                root,
                &format!("{folder}/uevent"),
                &format!("MODALIAS={modalias}\n"),
            ),
            false => write(
                root,
                &format!("{folder}/modalias"),
                &format!("{modalias}\n"),
            ),
        }
        write(
            root,
            &format!("lib/modules/{KERNEL}/kernel/{module}.ko"),
            "",
        );
    }
    let output = Command::new(env!("CARGO_BIN_EXE_init"))
        .args(["--dry-run", "--kernel", KERNEL, "--cmdline"])
        .args(["automatic=method:http,network:dhcp", "--root"])
        .arg(root)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    for (_, _, _, module) in BUSES {
        let sentence = format!("Installing driver {module} (for \"");
        assert!(said.contains(&sentence), "no {sentence:?} in\n{said}");
    }
}
