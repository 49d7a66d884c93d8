//! Which modules of the clone's own kernels drive this computer, and `modprobe.conf` for
//! systems that find their drivers there.

use std::collections::BTreeSet;

use goldring_contract::Root;
use goldring_contract::image::{Aliases, module_name};
use goldring_hw::device::{Device, Kind, scan};
use goldring_hw::index::Index;

use super::Clone;
use crate::tools::tree::Tree;

/// Where the clone's kernels keep their modules.
const MODULES: &str = "/lib/modules";
/// Where Mandriva and Red Hat wrote down drivers before udev found them.
const MODPROBE_CONF: &str = "/etc/modprobe.conf";

/// A kernel of the clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kernel {
    /// Its release, such as `6.1.0-25-amd64`.
    pub(crate) release: String,
}

impl Kernel {
    /// All that have modules and an image to boot, oldest name first.
    pub(crate) fn all(tree: &Tree) -> Vec<Self> {
        let has_image = |release: &String| {
            let images = ["vmlinuz", "kernel", "bzImage", "Image"];
            let named = images
                .iter()
                .any(|image| tree.has(&format!("/boot/{image}-{release}")));
            named
                || tree.has(&format!("{MODULES}/{release}/vmlinuz"))
                || tree.has(&format!("{MODULES}/{release}/pkgbase"))
        };
        tree.names(MODULES)
            .into_iter()
            .filter(|release| tree.has(&format!("{MODULES}/{release}/modules.dep")))
            .filter(has_image)
            .map(|release| Self { release })
            .collect()
    }
}

/// What drives this computer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Drivers {
    /// For its cards, one each, in the order in which they are numbered.
    pub(crate) cards: Vec<String>,
    /// For its disks and what they hang on.
    pub(crate) disks: Vec<String>,
    /// Of these, those of the old IDE drivers, which call disks `/dev/hda`.
    pub(crate) ide: Vec<String>,
    /// For its USB.
    pub(crate) usb: Vec<String>,
}

/// What a kernel says of its own modules.
struct Table {
    aliases: Index,
    /// Names of modules that are old IDE drivers.
    ide: BTreeSet<String>,
}

impl Table {
    fn read(tree: &Tree, kernel: &Kernel) -> Self {
        let folder = format!("{MODULES}/{}", kernel.release);
        let mut pairs = pairs(&tree.text(&format!("{folder}/modules.alias")));
        // What is built in needs no module and still has a driver (kernels since 5.2).
        pairs.retain(|(pattern, _)| pattern.contains(':'));
        let ide = tree
            .text(&format!("{folder}/modules.dep"))
            .lines()
            .filter_map(|line| line.split_once(':'))
            .filter(|(path, _)| path.contains("/drivers/ide/"))
            .map(|(path, _)| module_name(path.rsplit('/').next().unwrap_or(path)))
            .collect();
        Self {
            aliases: Index::new(&Aliases::new(pairs)),
            ide,
        }
    }
}

/// Lines `alias PATTERN MODULE` (depmod(8)).
fn pairs(text: &str) -> Vec<(String, String)> {
    let pair = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let is_alias = words.next() == Some("alias");
        let pair = (words.next()?.to_owned(), words.next()?.to_owned());
        is_alias.then_some(pair)
    };
    text.lines().filter_map(pair).collect()
}

/// The drivers that this kernel has for the devices of this computer.
pub(crate) fn drivers(root: &Root, tree: &Tree, kernel: &Kernel) -> Drivers {
    let table = Table::read(tree, kernel);
    let mut drivers = Drivers::default();
    for device in scan(root) {
        let modules = table.aliases.modules(&device.modalias);
        let modules = modules.iter().map(|&module| module.to_owned());
        match device.kind() {
            // What carries a card is no card.
            Kind::Network => drivers.cards.extend(
                modules
                    .filter(|module| !module.starts_with("virtio_pci"))
                    .take(1),
            ),
            Kind::Storage => add(&mut drivers.disks, modules),
            Kind::Other if is_usb(&device) => add(&mut drivers.usb, modules),
            Kind::Other => {}
        }
    }
    let is_ide = |module: &&String| table.ide.contains(*module);
    drivers.ide = drivers.disks.iter().filter(is_ide).cloned().collect();
    drivers
}

fn add(all: &mut Vec<String>, modules: impl Iterator<Item = String>) {
    for module in modules {
        if !all.contains(&module) {
            all.push(module);
        }
    }
}

fn is_usb(device: &Device) -> bool {
    device.media_type() == "SERIAL_USB"
}

/// Writes `modprobe.conf` again where the clone has one: the lines about cards and disks
/// are those of this computer, all others stay.
///
/// # Errors
/// It cannot be written.
pub(crate) fn modprobe_conf(clone: &mut Clone<'_>) -> anyhow::Result<()> {
    if !clone.tree.has(MODPROBE_CONF) {
        return Ok(());
    }
    let Some(kernel) = Kernel::all(&clone.tree).pop() else {
        clone.say("modprobe.conf stays as it is: the clone has no kernel with modules");
        return Ok(());
    };
    let drivers = drivers(clone.root, &clone.tree, &kernel);
    let old_names = clone.tree.text("/etc/fstab").contains("/dev/hd");
    if clone
        .tree
        .edit(MODPROBE_CONF, |text| regenerated(text, &drivers, old_names))?
    {
        clone.say("modprobe.conf has the drivers of this computer");
    }
    Ok(())
}

/// The new text. `old_names`: the clone calls its disks `/dev/hda`, so that the old IDE
/// drivers are the right ones where both exist.
fn regenerated(text: &str, drivers: &Drivers, old_names: bool) -> String {
    let red_hat = text
        .lines()
        .any(|line| line.trim_start().starts_with("alias scsi_hostadapter"));
    let mut out: String = text
        .split_inclusive('\n')
        .filter(|line| !is_about_hardware(line))
        .collect();
    if !out.is_empty() && !out.ends_with('\n') {
        out.push('\n');
    }
    for (number, module) in drivers.cards.iter().enumerate() {
        out.push_str(&format!("alias eth{number} {module}\n"));
    }
    let (ide, others): (Vec<&String>, Vec<&String>) = drivers
        .disks
        .iter()
        .partition(|module| drivers.ide.contains(module));
    // Two drivers for one controller: the one whose names the system uses.
    let (ide, others) = match old_names {
        true => {
            let pata = |module: &&String| !module.starts_with("pata_") && *module != "ata_piix";
            (ide, others.into_iter().filter(pata).collect())
        }
        false if others.is_empty() => (ide, others),
        false => (Vec::new(), others),
    };
    let usb = drivers.usb.iter().collect();
    if red_hat {
        let disks: Vec<&String> = others.into_iter().chain(ide).collect();
        for (what, modules) in [("scsi_hostadapter", disks), ("usb-controller", usb)] {
            for (number, module) in modules.iter().enumerate() {
                // The first has no number.
                let number = match number {
                    0 => String::new(),
                    number => number.to_string(),
                };
                out.push_str(&format!("alias {what}{number} {module}\n"));
            }
        }
        return out;
    }
    for (what, modules) in [
        ("scsi_hostadapter", others),
        ("ide-controller", ide),
        ("usb-interface", usb),
    ] {
        let load = |module: &&String| format!("/sbin/modprobe {module}; ");
        let load: String = modules.iter().map(load).collect();
        if !load.is_empty() {
            out.push_str(&format!("install {what} {load}/bin/true\n"));
        }
    }
    out
}

fn is_about_hardware(line: &str) -> bool {
    let mut words = line.split_ascii_whitespace();
    let (first, second) = (words.next(), words.next().unwrap_or_default());
    let is_card = second
        .strip_prefix("eth")
        .is_some_and(|number| !number.is_empty() && number.chars().all(|c| c.is_ascii_digit()));
    let is_bus = [
        "scsi_hostadapter",
        "ide-controller",
        "usb-interface",
        "usb-controller",
    ]
    .iter()
    .any(|bus| second.starts_with(bus));
    matches!(first, Some("alias" | "install" | "probeall")) && (is_card || is_bus)
}

/// Says so when a kernel of the clone has no driver for a disk of this computer: then it may
/// not start here, whatever else is done. What is built in shows no module; such a kernel is
/// not blamed.
pub(crate) fn warn(clone: &mut Clone<'_>, kernel: &Kernel) {
    let table = Table::read(&clone.tree, kernel);
    let built_in = built_in(&clone.tree, kernel);
    let mut said = Vec::new();
    for device in scan(clone.root) {
        let known = |index: &Index| !index.modules(&device.modalias).is_empty();
        let is_disk = device.kind() == Kind::Storage && device.bus == "pci";
        if is_disk && !known(&table.aliases) && !known(&built_in) {
            said.push(format!(
                "the clone's kernel {} has no driver for {} ({}); if its disk hangs on it, it \
                 will not start: install a newer kernel on the golden node",
                kernel.release,
                device.id(),
                device.media_type()
            ));
        }
    }
    for line in said {
        clone.say(&line);
    }
}

/// The aliases of built-in drivers: `NAME.alias=PATTERN`, each ended by a zero byte
/// (Documentation/kbuild/kbuild.rst: `modules.builtin.modinfo`, since 5.2).
fn built_in(tree: &Tree, kernel: &Kernel) -> Index {
    let text = tree.text(&format!(
        "{MODULES}/{}/modules.builtin.modinfo",
        kernel.release
    ));
    let pair = |line: &str| {
        let (module, pattern) = line.split_once(".alias=")?;
        Some((pattern.to_owned(), module.to_owned()))
    };
    let pairs = text.split('\0').filter_map(pair);
    Index::new(&Aliases::new(
        pairs.filter(|(pattern, _)| pattern.contains(':')).collect(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::tree::testing::tree;

    const DISK: &str = "pci:v00008086d00007010sv00001AF4sd00001100bc01sc01i80";
    const CARD: &str = "pci:v00008086d0000100Esv00001AF4sd00001100bc02sc00i00";
    const HUB: &str = "pci:v00008086d00007020sv00001AF4sd00001100bc0Csc03i00";

    fn machine() -> (tempfile::TempDir, Root) {
        let device = |place: &str, alias: &str| {
            format!("sys/bus/pci/devices/0000:00:0{place}.0/modalias={alias};")
        };
        let files = [device("1", DISK), device("2", HUB), device("3", CARD)];
        let files: Vec<&str> = files.iter().map(String::as_str).collect();
        let folder = tree(&files);
        let root = Root::at(folder.path());
        (folder, root)
    }

    fn mandriva() -> tempfile::TempDir {
        tree(&[
            "boot/vmlinuz-2.6.17-5mdv=",
            "lib/modules/2.6.17-5mdv/modules.dep=/lib/modules/2.6.17-5mdv/kernel/drivers/ide/pci/piix.ko.gz:;kernel/drivers/scsi/ata_piix.ko.gz:;",
            "lib/modules/2.6.17-5mdv/modules.alias=# x;alias pci:v00008086d00007010sv*sd*bc*sc*i* piix;alias pci:v00008086d00007010sv*sd*bc*sc*i* ata_piix;alias pci:v00008086d0000100Esv*sd*bc*sc*i* e1000;alias pci:v*d*sv*sd*bc0Csc03i00* uhci_hcd;alias fs-xfs xfs;broken;",
            "lib/modules/2.6.17-4mdv/modules.dep=",
        ])
    }

    #[test]
    fn the_clones_own_kernel_says_what_drives_this_computer() {
        let (_machine, root) = machine();
        let folder = mandriva();
        let tree = Tree::new(folder.path());
        let kernels = Kernel::all(&tree);
        // The other one has no image to boot.
        assert_eq!(kernels.len(), 1);
        let drivers = drivers(&root, &tree, &kernels[0]);
        assert_eq!(drivers.disks, ["piix", "ata_piix"]);
        assert_eq!(
            (drivers.ide, drivers.cards, drivers.usb),
            (
                vec!["piix".to_owned()],
                vec!["e1000".to_owned()],
                vec!["uhci_hcd".to_owned()]
            )
        );
    }

    #[test]
    fn modprobe_conf_keeps_what_is_not_hardware() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let drivers = Drivers {
            cards: words("e1000 tg3"),
            disks: words("piix ata_piix"),
            ide: words("piix"),
            usb: words("uhci-hcd"),
        };
        let old = "alias eth0 8139too\nalias sound-slot-0 snd-intel\ninstall scsi_hostadapter /sbin/modprobe sata_via; /bin/true\noptions x y=1";
        assert_eq!(
            regenerated(old, &drivers, false),
            "alias sound-slot-0 snd-intel\noptions x y=1\nalias eth0 e1000\nalias eth1 tg3\n\
             install scsi_hostadapter /sbin/modprobe ata_piix; /bin/true\n\
             install usb-interface /sbin/modprobe uhci-hcd; /bin/true\n"
        );
        assert_eq!(
            regenerated("", &drivers, true),
            "alias eth0 e1000\nalias eth1 tg3\ninstall ide-controller /sbin/modprobe piix; /bin/true\n\
             install usb-interface /sbin/modprobe uhci-hcd; /bin/true\n"
        );
        let red_hat = "alias scsi_hostadapter mptspi\nalias eth0 pcnet32\nalias usb-controller ehci-hcd\nalias ethernet x\n";
        assert_eq!(
            regenerated(red_hat, &drivers, false),
            "alias ethernet x\nalias eth0 e1000\nalias eth1 tg3\nalias scsi_hostadapter ata_piix\nalias usb-controller uhci-hcd\n"
        );
        // A second run changes nothing.
        let once = regenerated(old, &drivers, false);
        assert_eq!(regenerated(&once, &drivers, false), once);
    }
}
