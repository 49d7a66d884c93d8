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

    /// What the device says that it is for; most buses tell.
    pub fn kind(&self) -> Kind {
        let Some((bus, rest)) = self.modalias.split_once(':') else {
            return Kind::Other;
        };
        match bus {
            "pci" => self.pci_class().map_or(Kind::Other, pci_kind),
            "usb" => self.usb_kind(),
            // linux/virtio_ids.h: 1 is a card, 2 a disk, 8 a SCSI controller.
            "virtio" => match rest.get(..9) {
                Some("d00000001") => Kind::Network,
                Some("d00000002" | "d00000008") => Kind::Storage,
                _ => Kind::Other,
            },
            // linux/hyperv.h: HV_NIC_GUID, HV_SCSI_GUID, HV_IDE_GUID.
            "vmbus" => match rest {
                "635161f83edfc546913ff2d2f965ed0e" => Kind::Network,
                "d96361baa104294db60572e2ffb1dc7f" | "32264132cb86a2449b5c50d1417354f5" => {
                    Kind::Storage
                }
                _ => Kind::Other,
            },
            "xen" => match rest {
                "vif" => Kind::Network,
                "vbd" | "vscsi" => Kind::Storage,
                _ => Kind::Other,
            },
            "scsi" | "mmc" | "nd" => Kind::Storage,
            _ => Kind::Other,
        }
    }

    /// The old name of its type, which people give `drvinst`: `STORAGE_IDE`,
    /// `NETWORK_ETHERNET`, `SERIAL_USB`… (ldetect; from the classes of linux/pci_ids.h).
    pub fn media_type(&self) -> &'static str {
        match (self.pci_class(), self.kind()) {
            (Some(class), _) => pci_media_type(class),
            (None, Kind::Network) => "NETWORK_OTHER",
            (None, Kind::Storage) => "STORAGE_OTHER",
            (None, Kind::Other) if self.bus == "usb" => "USB",
            (None, Kind::Other) => "OTHER",
        }
    }

    /// Base class and class of a PCI device, four hexadecimal digits.
    fn pci_class(&self) -> Option<(&str, &str)> {
        let (_, class) = self.modalias.strip_prefix("pci:")?.split_once("bc")?;
        Some((
            class.get(..2)?,
            class.get(2..)?.strip_prefix("sc")?.get(..2)?,
        ))
    }

    /// Interface classes of usb.org: 08 is storage; 02 with a subclass of Ethernet, or
    /// e0 with RNDIS, is a card. Those of vendors (ff) do not say.
    fn usb_kind(&self) -> Kind {
        let class = self.modalias.split_once("ic").map_or("", |(_, rest)| rest);
        match (class.get(..2), class.get(2..).and_then(|c| c.get(..5))) {
            (Some("08"), _) => Kind::Storage,
            (Some("02"), Some("isc06" | "isc0D" | "isc0E" | "isc0C")) => Kind::Network,
            (Some("E0"), Some("isc01")) => Kind::Network,
            _ => Kind::Other,
        }
    }
}

/// What a device is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A network card.
    Network,
    /// A disk, or a controller that has some.
    Storage,
    /// Anything else, and what does not say.
    Other,
}

/// Classes of the PCI ID repository: 02 network, 01 storage, 0805 SD host.
fn pci_kind(class: (&str, &str)) -> Kind {
    match class {
        ("02", _) => Kind::Network,
        ("01", _) | ("08", "05") => Kind::Storage,
        _ => Kind::Other,
    }
}

fn pci_media_type(class: (&str, &str)) -> &'static str {
    match class {
        ("01", "00") => "STORAGE_SCSI",
        ("01", "01") => "STORAGE_IDE",
        ("01", "02") => "STORAGE_FLOPPY",
        ("01", "04") => "STORAGE_RAID",
        ("01", "06") => "STORAGE_SATA",
        ("01", "07") => "STORAGE_SAS",
        ("01", "08") => "STORAGE_EXPRESS",
        ("08", "05") => "STORAGE_SDHCI",
        ("01", _) => "STORAGE_OTHER",
        ("02", "00") => "NETWORK_ETHERNET",
        ("02", _) => "NETWORK_OTHER",
        ("03", _) => "DISPLAY_VGA",
        ("04", _) => "MULTIMEDIA_OTHER",
        ("06", _) => "BRIDGE_OTHER",
        ("07", _) => "COMMUNICATION_OTHER",
        ("0C", "00") => "SERIAL_FIREWIRE",
        ("0C", "03") => "SERIAL_USB",
        ("0C", "04") => "SERIAL_FIBER",
        ("0C", "05") => "SERIAL_SMBUS",
        _ => "OTHER",
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
            let modalias = modalias(root, &format!("{folder}/{place}"));
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

/// A device's modalias. The buses mmc and auxiliary tell it in `uevent` only.
fn modalias(root: &Root, folder: &str) -> String {
    let read = |file| fs::read_to_string(root.join(format!("{folder}/{file}")));
    match read("modalias") {
        Ok(text) => text.trim().to_owned(),
        Err(_) => read("uevent")
            .unwrap_or_default()
            .lines()
            .find_map(|line| line.strip_prefix("MODALIAS="))
            .unwrap_or_default()
            .to_owned(),
    }
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
        assert_eq!(device.kind(), Kind::Network);
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

    #[test]
    fn each_bus_has_its_way_to_say_what_a_device_is_for() {
        let table = [
            (
                "pci:v00001000d00000012sv00001000sd00001000bc01sc00i00",
                Kind::Storage,
            ),
            (
                "pci:v00001B36d00000007sv00001AF4sd00001100bc08sc05i01",
                Kind::Storage,
            ),
            (
                "pci:v00001B36d0000000Dsv00001AF4sd00001100bc0Csc03i30",
                Kind::Other,
            ),
            ("pci:v00001B36bc", Kind::Other),
            ("virtio:d00000001v00001AF4", Kind::Network),
            ("virtio:d00000008v00001AF4", Kind::Storage),
            ("virtio:d00000010v00001AF4", Kind::Other),
            ("vmbus:635161f83edfc546913ff2d2f965ed0e", Kind::Network),
            ("vmbus:d96361baa104294db60572e2ffb1dc7f", Kind::Storage),
            ("xen:vif", Kind::Network),
            ("xen:vbd", Kind::Storage),
            ("xen:vkbd", Kind::Other),
            (
                "usb:v46F4p0001d0000dc00dsc00dp00ic08isc06ip50in00",
                Kind::Storage,
            ),
            (
                "usb:v0525pA4A2d0000dc02dsc00dp00ic02isc06ip00in00",
                Kind::Network,
            ),
            (
                "usb:v0627p0001d0000dc00dsc00dp00ic03isc01ip01in00",
                Kind::Other,
            ),
            ("usb:é", Kind::Other),
            ("mmc:block", Kind::Storage),
            ("scsi:t-0x00", Kind::Storage),
            ("acpi:PNP0C0A:", Kind::Other),
            ("", Kind::Other),
        ];
        for (modalias, kind) in table {
            let device = Device {
                bus: String::new(),
                place: String::new(),
                modalias: modalias.into(),
            };
            assert_eq!(device.kind(), kind, "{modalias}");
        }
    }

    #[test]
    fn types_have_their_old_names() {
        for (bus, modalias, name) in [
            (
                "pci",
                "pci:v00008086d00007010sv0sd0bc01sc01i80",
                "STORAGE_IDE",
            ),
            (
                "pci",
                "pci:v00001B36d00000010sv0sd0bc01sc08i02",
                "STORAGE_EXPRESS",
            ),
            (
                "pci",
                "pci:v00008086d000010D3sv0sd0bc02sc00i00",
                "NETWORK_ETHERNET",
            ),
            (
                "pci",
                "pci:v00001234d00001111sv0sd0bc03sc00i00",
                "DISPLAY_VGA",
            ),
            (
                "pci",
                "pci:v00001B36d0000000Dsv0sd0bc0Csc03i30",
                "SERIAL_USB",
            ),
            ("pci", "pci:v00001B36d0000000Dsv0sd0bcFFsc00i00", "OTHER"),
            ("virtio", "virtio:d00000001v00001AF4", "NETWORK_OTHER"),
            ("scsi", "scsi:t-0x00", "STORAGE_OTHER"),
            (
                "usb",
                "usb:v0627p0001d0000dc00dsc00dp00ic03isc01ip01in00",
                "USB",
            ),
            ("acpi", "acpi:PNP0C0A:", "OTHER"),
        ] {
            let device = Device {
                bus: bus.into(),
                place: String::new(),
                modalias: modalias.into(),
            };
            assert_eq!(device.media_type(), name, "{modalias}");
        }
    }

    #[test]
    fn a_modalias_stands_in_a_file_or_in_the_event() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::at(folder.path());
        for (place, file, text) in [
            (
                "/sys/bus/mmc/devices/mmc0:4567",
                "uevent",
                "MMC_TYPE=SD\nMODALIAS=mmc:block\n",
            ),
            (
                "/sys/bus/acpi/devices/PNP0303:00",
                "modalias",
                "acpi:PNP0303:PNP030B:\n",
            ),
            ("/sys/bus/acpi/devices/empty", "modalias", "\n"),
            (
                "/sys/bus/usb/devices/usb1",
                "uevent",
                "DEVTYPE=usb_device\n",
            ),
        ] {
            fs::create_dir_all(root.join(place)).unwrap();
            fs::write(root.join(place).join(file), text).unwrap();
        }
        let found: Vec<String> = scan(&root).into_iter().map(|d| d.modalias).collect();
        assert_eq!(found, ["acpi:PNP0303:PNP030B:", "mmc:block"]);
    }
}
