//! The network cards and disk controllers that QEMU has, with the driver that is for
//! them in Linux.
//!
//! Left out is what no node could boot with: devices on ISA, which do not say what they
//! are (`ne2k_isa`, `isa-ide`, `isa-fdc`), switches and RDMA (`rocker`, `pvrdma`), memory
//! that pretends to be a disk (`nvdimm`, `virtio-pmem`), and other programs' devices
//! (`vhost-user-*`, `vfio-*`).

/// A network card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Nic {
    /// QEMU's name for it.
    pub(crate) name: &'static str,
    /// The module that drives it.
    pub(crate) driver: &'static str,
    /// Whether `ipxe-qemu` has a PXE ROM for it. Without one the kernel is started
    /// directly.
    pub(crate) has_rom: bool,
    /// What the driver needs from `/lib/firmware`, and is not free.
    pub(crate) firmware: Option<&'static str>,
    /// How many full frames may be on the way to it at once, if QEMU's card cannot stand
    /// more.
    pub(crate) frames: Option<u8>,
}

/// A disk controller with one disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Disk {
    /// QEMU's name for it, or one made of two of QEMU's.
    pub(crate) name: &'static str,
    /// The module that drives it.
    pub(crate) driver: &'static str,
    /// What the node calls the disk, such as `/dev/sda`.
    pub(crate) device: &'static str,
    plug: Plug,
}

/// How the disk hangs on the controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plug {
    /// Controller and disk are one device.
    Itself,
    /// A SCSI controller.
    Scsi,
    /// A SAS controller, whose disks need a name of their own to be seen.
    Sas,
    /// The IDE controller that the machine has anyway.
    Ide,
    /// A SATA controller.
    Sata,
    /// A stick on this USB controller.
    Stick(&'static str),
    /// A SCSI controller on USB.
    ScsiOverUsb,
    /// A card in a reader.
    SdCard,
}

/// A World Wide Name of the kind that vendors give, for the one SAS disk of a machine.
const WWN: &str = "0x5000c50015ea71ac";

const fn card(name: &'static str, driver: &'static str, has_rom: bool) -> Nic {
    Nic {
        name,
        driver,
        has_rom,
        firmware: None,
        frames: None,
    }
}

const fn controller(
    name: &'static str,
    driver: &'static str,
    device: &'static str,
    plug: Plug,
) -> Disk {
    Disk {
        name,
        driver,
        device,
        plug,
    }
}

/// All cards; the first is the one that is taken when none is named.
pub(crate) const NICS: &[Nic] = &[
    card("virtio-net-pci", "virtio_net", true),
    card("virtio-net-pci-transitional", "virtio_net", true),
    card("virtio-net-pci-non-transitional", "virtio_net", true),
    card("e1000", "e1000", true),
    card("e1000-82544gc", "e1000", true),
    card("e1000-82545em", "e1000", true),
    card("e1000e", "e1000e", true),
    card("rtl8139", "8139cp", true),
    Nic {
        // Eight fill the card's buffer. QEMU has no interrupt for that (hw/net/ne2000.c
        // never sets ENISR_OVER), and Linux takes back the one for a frame after it has
        // looked (lib8390.c, ei_receive): what comes in between is never fetched, and
        // nothing more is received.
        frames: Some(4),
        ..card("ne2k_pci", "ne2k_pci", true)
    },
    card("pcnet", "pcnet32", true),
    card("i82550", "e100", true),
    Nic {
        // Linux, drivers/net/ethernet/intel/e100.c: of revisions F and 10 only.
        firmware: Some("e100/d102e_ucode.bin"),
        ..card("i82551", "e100", true)
    },
    card("i82557a", "e100", true),
    card("i82557b", "e100", true),
    card("i82557c", "e100", true),
    card("i82558a", "e100", true),
    card("i82558b", "e100", true),
    card("i82559a", "e100", true),
    card("i82559b", "e100", true),
    card("i82559c", "e100", true),
    card("i82559er", "e100", true),
    card("i82562", "e100", true),
    card("i82801", "e100", true),
    card("vmxnet3", "vmxnet3", true),
    card("tulip", "tulip", false),
    card("usb-net", "cdc_ether", false),
];

/// All controllers; the first is the one that is taken when none is named.
pub(crate) const DISKS: &[Disk] = &[
    controller("virtio-blk-pci", "virtio_blk", "/dev/vda", Plug::Itself),
    controller(
        "virtio-blk-pci-transitional",
        "virtio_blk",
        "/dev/vda",
        Plug::Itself,
    ),
    controller(
        "virtio-blk-pci-non-transitional",
        "virtio_blk",
        "/dev/vda",
        Plug::Itself,
    ),
    controller("virtio-scsi-pci", "virtio_scsi", "/dev/sda", Plug::Scsi),
    controller(
        "virtio-scsi-pci-transitional",
        "virtio_scsi",
        "/dev/sda",
        Plug::Scsi,
    ),
    controller(
        "virtio-scsi-pci-non-transitional",
        "virtio_scsi",
        "/dev/sda",
        Plug::Scsi,
    ),
    controller("piix3-ide", "ata_piix", "/dev/sda", Plug::Ide),
    controller("ich9-ahci", "ahci", "/dev/sda", Plug::Sata),
    controller("nvme", "nvme", "/dev/nvme0n1", Plug::Itself),
    controller("lsi53c810", "sym53c8xx", "/dev/sda", Plug::Scsi),
    controller("lsi53c895a", "sym53c8xx", "/dev/sda", Plug::Scsi),
    controller("megasas", "megaraid_sas", "/dev/sda", Plug::Scsi),
    controller("megasas-gen2", "megaraid_sas", "/dev/sda", Plug::Scsi),
    controller("mptsas1068", "mptsas", "/dev/sda", Plug::Sas),
    controller("pvscsi", "vmw_pvscsi", "/dev/sda", Plug::Scsi),
    controller("am53c974", "am53c974", "/dev/sda", Plug::Scsi),
    controller("dc390", "am53c974", "/dev/sda", Plug::Scsi),
    controller(
        "usb-storage",
        "usb_storage",
        "/dev/sda",
        Plug::Stick("qemu-xhci"),
    ),
    controller(
        "usb-storage+usb-ehci",
        "usb_storage",
        "/dev/sda",
        Plug::Stick("usb-ehci"),
    ),
    controller(
        "usb-storage+piix3-usb-uhci",
        "usb_storage",
        "/dev/sda",
        Plug::Stick("piix3-usb-uhci"),
    ),
    controller(
        "usb-storage+pci-ohci",
        "usb_storage",
        "/dev/sda",
        Plug::Stick("pci-ohci"),
    ),
    controller("usb-bot", "usb_storage", "/dev/sda", Plug::ScsiOverUsb),
    controller("usb-uas", "uas", "/dev/sda", Plug::ScsiOverUsb),
    controller("sdhci-pci", "sdhci_pci", "/dev/mmcblk0", Plug::SdCard),
];

impl Nic {
    /// QEMU's arguments for the card on the network `net`; with `order` its place in the
    /// boot order, if it has a ROM.
    pub(crate) fn arguments(&self, net: &str, mac: &str, order: Option<u32>) -> Vec<String> {
        let mut arguments = Vec::new();
        if self.name == "usb-net" {
            arguments.extend(["-device".to_owned(), format!("qemu-xhci,id=xhci-{net}")]);
        }
        let bus = if self.name == "usb-net" {
            format!(",bus=xhci-{net}.0")
        } else {
            String::new()
        };
        // Without a ROM there is nothing to boot from.
        let order = order.filter(|_| self.has_rom);
        let order = order.map_or(String::new(), |order| format!(",bootindex={order}"));
        arguments.extend([
            "-device".to_owned(),
            format!("{},netdev={net},mac={mac}{bus}{order}", self.name),
        ]);
        arguments
    }
}

impl Disk {
    /// QEMU's arguments for the controller and the disk of the drive `drive`; with
    /// `order` its place in the boot order.
    pub(crate) fn arguments(&self, drive: &str, order: Option<u32>) -> Vec<String> {
        let order = order.map_or(String::new(), |order| format!(",bootindex={order}"));
        let name = self.name;
        let hub = format!("hub-{drive}");
        let devices = match self.plug {
            Plug::Itself if name == "nvme" => {
                vec![format!("nvme,serial={drive},drive={drive}{order}")]
            }
            Plug::Itself => vec![format!("{name},drive={drive}{order}")],
            Plug::Scsi => vec![
                format!("{name},id={hub}"),
                format!("scsi-hd,bus={hub}.0,drive={drive}{order}"),
            ],
            Plug::Sas => vec![
                format!("{name},id={hub}"),
                format!("scsi-hd,bus={hub}.0,drive={drive},wwn={WWN}{order}"),
            ],
            Plug::Ide => vec![format!("ide-hd,bus=ide.0,drive={drive}{order}")],
            Plug::Sata => vec![
                format!("{name},id={hub}"),
                format!("ide-hd,bus={hub}.0,drive={drive}{order}"),
            ],
            Plug::Stick(usb) => vec![
                format!("{usb},id={hub}"),
                format!("usb-storage,bus={hub}.0,drive={drive}{order}"),
            ],
            Plug::ScsiOverUsb => vec![
                format!("qemu-xhci,id=usb-{drive}"),
                format!("{name},id={hub},bus=usb-{drive}.0"),
                format!("scsi-hd,bus={hub}.0,drive={drive}{order}"),
            ],
            // A card has no place in the boot order; the firmware tries it last.
            Plug::SdCard => vec![
                format!("{name},id={hub}"),
                format!("sd-card,bus=sd-bus,drive={drive}"),
            ],
        };
        let devices = devices.into_iter();
        devices.flat_map(|d| ["-device".to_owned(), d]).collect()
    }

    /// The size of a disk that has room for `bytes`: cards come in powers of two.
    pub(crate) fn size(&self, bytes: u64) -> u64 {
        match self.plug {
            Plug::SdCard => bytes.next_power_of_two(),
            _ => bytes,
        }
    }
}

/// The card of this name.
pub(crate) fn nic(name: &str) -> Option<Nic> {
    NICS.iter().find(|nic| nic.name == name).copied()
}

/// The controller of this name.
pub(crate) fn disk(name: &str) -> Option<Disk> {
    DISKS.iter().find(|disk| disk.name == name).copied()
}

/// A word of `--nic`.
pub(super) fn parse_nics(word: &str) -> Result<Vec<Nic>, String> {
    parse(word, NICS, |nic| nic.name)
}

/// A word of `--disk`.
pub(super) fn parse_disks(word: &str) -> Result<Vec<Disk>, String> {
    parse(word, DISKS, |disk| disk.name)
}

/// One model, or `all`. QEMU's short names without `-pci` will do.
fn parse<T: Copy>(word: &str, all: &[T], name: impl Fn(&T) -> &str) -> Result<Vec<T>, String> {
    if word == "all" {
        return Ok(all.to_vec());
    }
    let is_it = |model: &&T| name(model) == word || name(model).strip_suffix("-pci") == Some(word);
    match all.iter().find(is_it) {
        Some(model) => Ok(vec![*model]),
        None => {
            let names: Vec<&str> = all.iter().map(name).collect();
            Err(format!(
                "no such model; write all, or one of {}",
                names.join(" ")
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_are_found_by_name() {
        assert_eq!(parse_nics("all").unwrap().len(), NICS.len());
        assert_eq!(parse_nics("e1000e").unwrap()[0].driver, "e1000e");
        assert_eq!(parse_nics("virtio-net").unwrap()[0], NICS[0]);
        assert_eq!(parse_disks("virtio-blk").unwrap()[0], DISKS[0]);
        for ugly in ["", "e1000x", "ALL", "virtio", "-pci"] {
            let error = parse_disks(ugly).unwrap_err();
            assert!(error.contains("no such model") && error.contains("megasas"));
        }
    }

    #[test]
    fn names_are_there_once() {
        let mut names: Vec<&str> = NICS.iter().map(|n| n.name).collect();
        names.extend(DISKS.iter().map(|d| d.name));
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
    }

    #[test]
    fn every_disk_hangs_on_its_drive() {
        for disk in DISKS {
            let arguments = disk.arguments("d0", Some(2)).join(" ");
            assert!(arguments.contains("drive=d0"), "{arguments}");
            let ordered = arguments.contains(",bootindex=2");
            assert_eq!(ordered, disk.plug != Plug::SdCard, "{arguments}");
            assert!(!disk.arguments("d0", None).join(" ").contains("bootindex"));
        }
        let card = parse_disks("sdhci").unwrap()[0];
        assert_eq!(card.size(3 << 29), 2 << 30);
        assert_eq!(DISKS[0].size(3 << 29), 3 << 29);
    }
}
