//! Modules that no device of this machine wants, so that their files may go.

use std::collections::HashSet;

use goldring_contract::image::{Class, Module};

use crate::device::Device;
use crate::tables::Tables;

/// Buses whose devices are there from the start: what did not match will not come. All
/// others (USB, SCSI, MMC, HID, names that file systems ask for…) may bring more.
const COLD: [&str; 9] = [
    "pci", "virtio", "vmbus", "xen", "acpi*", "platform", "of", "eisa", "pcmcia",
];

/// Folders whose modules are only there for others of these folders.
const HELPERS: [&str; 5] = ["net", "scsi", "ata", "message", "infiniband"];

/// The modules whose files may go: drivers of cards, controllers and buses that match
/// nothing in `devices`, and what only they need. Modules in `loaded` stay.
pub fn spare<'t>(
    tables: &'t Tables,
    devices: impl IntoIterator<Item = &'t Device>,
    loaded: &HashSet<String>,
) -> Vec<&'t Module> {
    let mut kept: HashSet<&str> = loaded.iter().map(String::as_str).collect();
    for device in devices {
        kept.extend(tables.index.modules(&device.modalias));
    }
    let cold = tables.index.modules_of_buses(&COLD);
    let unwanted = |module: &Module| {
        let driver = matches!(module.class, Class::Network | Class::Storage | Class::Bus);
        driver && cold.contains(module.name.as_str()) && !kept.contains(module.name.as_str())
    };
    let (mut unwanted, wanted): (Vec<&Module>, Vec<&Module>) =
        tables.modules.iter().partition(|module| unwanted(module));
    // A helper is wanted when something wanted, other than a helper, needs it.
    let (helpers, wanted): (Vec<&Module>, Vec<&Module>) = wanted
        .into_iter()
        .partition(|module| is_helper(module, &unwanted) && !kept.contains(module.name.as_str()));
    let needed: HashSet<&str> = wanted
        .iter()
        .flat_map(|module| module.before.iter().chain(&module.after))
        .map(String::as_str)
        .collect();
    unwanted.extend(helpers);
    unwanted.retain(|module| !needed.contains(module.name.as_str()));
    unwanted
}

/// Whether a module has come along only because one of `unwanted` needs it.
fn is_helper(module: &Module, unwanted: &[&Module]) -> bool {
    let below = module.path.strip_prefix("kernel/drivers/");
    let folder = below.and_then(|path| path.split('/').next());
    module.class == Class::Other
        && folder.is_some_and(|folder| HELPERS.contains(&folder))
        && unwanted
            .iter()
            .any(|other| other.before.contains(&module.name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use goldring_contract::image::{Aliases, Modules};

    use crate::index::Index;

    #[test]
    fn what_matches_nothing_goes_and_what_may_be_plugged_in_stays() {
        let module = |name: &str, class, folder: &str, before: &[&str]| Module {
            name: name.into(),
            path: format!("kernel/drivers/{folder}/{name}.ko"),
            class,
            before: before.iter().map(|&b| b.to_owned()).collect(),
            after: vec![],
            firmware: vec![],
        };
        let tables = Tables {
            modules: Modules::new(vec![
                module("e1000e", Class::Network, "net", &["ptp"]),
                module(
                    "bnx2x",
                    Class::Network,
                    "net",
                    &["mdio", "ptp", "libcrc32c"],
                ),
                module("asix", Class::Network, "net/usb", &["mdio", "usbnet"]),
                module("cnic", Class::Network, "net", &["uio_helper"]),
                module("virtio_net", Class::Network, "net", &[]),
                module("ahci", Class::Storage, "ata", &["libata"]),
                module("mpt3sas", Class::Storage, "scsi", &["scsi_transport_sas"]),
                module("sd_mod", Class::Storage, "scsi", &[]),
                module("raid1", Class::Storage, "md", &[]),
                module("libata", Class::Other, "ata", &[]),
                module("scsi_transport_sas", Class::Other, "scsi", &[]),
                module("mdio", Class::Other, "net", &[]),
                module("usbnet", Class::Other, "net/usb", &[]),
                module("uio_helper", Class::Other, "uio", &[]),
                module("realtek", Class::Other, "net/phy", &[]),
                module("ptp", Class::Other, "ptp", &[]),
                module("libcrc32c", Class::Other, "lib", &[]),
            ]),
            index: Index::new(&Aliases::new(
                [
                    ("pci:v00008086d000010D3*", "e1000e"),
                    ("pci:v000014E4d*", "bnx2x"),
                    ("pci:v000014E5d*", "cnic"),
                    ("usb:v0B95p772A*", "asix"),
                    ("virtio:d00000001v*", "virtio_net"),
                    ("pci:v*d*sv*sd*bc01sc06i01*", "ahci"),
                    ("pci:v00001000d*", "mpt3sas"),
                    ("scsi:t-0x00*", "sd_mod"),
                    ("md-raid1", "raid1"),
                    ("mdio:0000*", "realtek"),
                ]
                .map(|(p, m)| (p.to_owned(), m.to_owned()))
                .to_vec(),
            )),
            ..Tables::default()
        };
        let device = Device {
            bus: "pci".into(),
            place: "0000:00:03.0".into(),
            modalias: "pci:v00008086d000010D3sv0".into(),
        };
        let names = |loaded: &[&str]| -> Vec<String> {
            let loaded = loaded.iter().map(|&name| name.to_owned()).collect();
            let mut names: Vec<_> = spare(&tables, [&device], &loaded)
                .iter()
                .map(|module| module.name.clone())
                .collect();
            names.sort();
            names
        };
        // mdio stays for asix, which may be plugged in; ptp and libcrc32c are no drivers.
        let all = [
            "ahci",
            "bnx2x",
            "cnic",
            "libata",
            "mpt3sas",
            "scsi_transport_sas",
            "virtio_net",
        ];
        assert_eq!(names(&[]), all);
        assert_eq!(
            names(&["ahci", "libata", "virtio_net"]),
            ["bnx2x", "cnic", "mpt3sas", "scsi_transport_sas"]
        );
    }
}
