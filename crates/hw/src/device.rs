//! Devices from `/sys/bus/*/devices/*/modalias`.

use std::collections::BTreeSet;
use std::fs;

use goldring_contract::Root;
use goldring_contract::image::Names;

/// A device that a module may drive.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Device {
    /// The bus, such as `pci`.
    pub bus: String,
    /// Its place on the bus, such as `0000:00:03.0`.
    pub place: String,
    /// What it says of itself.
    pub modalias: String,
}

impl Device {
    /// What people call it: `VENDOR|NAME` for a PCI device, else its modalias, cut so
    /// that a console line stays a line.
    pub fn name(&self, names: &Names) -> String {
        match pci_ids(&self.modalias) {
            Some((vendor, device)) => names.device(vendor, device),
            None => self.modalias.chars().take(48).collect(),
        }
    }

    /// `8086:10d3` for a PCI device, else the modalias.
    pub fn id(&self) -> String {
        match pci_ids(&self.modalias) {
            Some((vendor, device)) => format!("{vendor:04x}:{device:04x}"),
            None => self.modalias.chars().take(48).collect(),
        }
    }

    /// Whether a PCI device says that it is for networks: base class 02.
    pub fn is_network(&self) -> bool {
        self.base_class() == Some("02")
    }

    /// Whether a PCI device says that it is for storage: base class 01.
    pub fn is_storage(&self) -> bool {
        self.base_class() == Some("01")
    }

    fn base_class(&self) -> Option<&str> {
        self.modalias
            .strip_prefix("pci:")?
            .split_once("bc")?
            .1
            .get(..2)
    }
}

/// Vendor and device of `pci:vVVVVVVVVdDDDDDDDD…` (Linux, scripts/mod/file2alias.c).
pub fn pci_ids(modalias: &str) -> Option<(u16, u16)> {
    let rest = modalias.strip_prefix("pci:v")?;
    let vendor = u32::from_str_radix(rest.get(..8)?, 16).ok()?;
    let device = u32::from_str_radix(rest.get(8..)?.strip_prefix('d')?.get(..8)?, 16).ok()?;
    Some((vendor.try_into().ok()?, device.try_into().ok()?))
}

/// All devices that say what they are, PCI first and in the order of their places, so that
/// interfaces get the same names at each boot. A folder that cannot be read is
/// left out: a machine without the bus.
pub fn scan(root: &Root) -> BTreeSet<Device> {
    let mut devices = BTreeSet::new();
    for bus in entries(root, "/sys/bus") {
        let folder = format!("/sys/bus/{bus}/devices");
        for place in entries(root, &folder) {
            let file = root.join(format!("{folder}/{place}/modalias"));
            let Ok(text) = fs::read_to_string(file) else {
                continue;
            };
            let modalias = text.trim().to_owned();
            if !modalias.is_empty() {
                devices.insert(Device {
                    bus: bus.clone(),
                    place,
                    modalias,
                });
            }
        }
    }
    devices
}

fn entries(root: &Root, folder: &str) -> Vec<String> {
    let Ok(entries) = fs::read_dir(root.join(folder)) else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pci_ids_and_classes_are_read() {
        let device = Device {
            bus: "pci".into(),
            place: "0000:00:03.0".into(),
            modalias: "pci:v00008086d000010D3sv00008086sd0000A01Fbc02sc00i00".into(),
        };
        assert_eq!(pci_ids(&device.modalias), Some((0x8086, 0x10d3)));
        assert_eq!(device.id(), "8086:10d3");
        assert!(device.is_network() && !device.is_storage());
        let names = Names::parse("8086  Intel\n\t10d3  82574L\n");
        assert_eq!(device.name(&names), "Intel|82574L");
        for ugly in [
            "",
            "pci:",
            "pci:v",
            "pci:v0000808",
            "pci:v00008086x",
            "pci:vé0000086d000010D3",
            "usb:v1",
        ] {
            assert_eq!(pci_ids(ugly), None, "{ugly}");
        }
    }
}
