//! One machine with many cards and many disk controllers: each has its driver, each disk
//! is there. `cargo xtask lab --nic all --disk all` boots with each by itself.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result};
use goldring_vm_tests::guest::{Card, Machine};
use goldring_vm_tests::web::Manner;
use libtest_mimic::Trial;

use crate::images::images;
use crate::stage1::{LIMIT, serve};
use crate::{no_qemu, not_long, trial};

pub(crate) fn trials() -> Vec<Trial> {
    vec![trial(
        "cards::every_card_and_every_controller_has_its_driver",
        no_qemu().or_else(not_long),
        every_one,
    )]
}

/// QEMU's cards beside the guest's own, one for each driver, and the name that the driver
/// has in sysfs.
const CARDS: &[(&str, &str)] = &[
    ("e1000", "e1000"),
    ("e1000e", "e1000e"),
    ("rtl8139", "8139cp"),
    ("ne2k_pci", "ne2k-pci"),
    ("pcnet", "pcnet32"),
    ("i82559er", "e100"),
    ("vmxnet3", "vmxnet3"),
    ("tulip", "tulip"),
    ("usb-net,bus=usb.0", "cdc_ether"),
];

/// QEMU's controllers, each with the disk on it (`DISK` is its drive), and the name that
/// the driver has in sysfs. Not in this company: mptsas1068, whose interrupt nobody takes
/// for his, and am53c974, whose driver breaks when it shares such a one.
const CONTROLLERS: &[(&str, &str, &str)] = &[
    ("", "ide-hd,bus=ide.0,drive=DISK", "ata_piix"),
    ("ich9-ahci,id=a", "ide-hd,bus=a.0,drive=DISK", "ahci"),
    ("", "nvme,serial=n,drive=DISK", "nvme"),
    (
        "virtio-scsi-pci,id=b",
        "scsi-hd,bus=b.0,drive=DISK",
        "virtio_scsi",
    ),
    ("lsi53c895a,id=c", "scsi-hd,bus=c.0,drive=DISK", "sym53c8xx"),
    ("megasas,id=d", "scsi-hd,bus=d.0,drive=DISK", "megaraid_sas"),
    ("pvscsi,id=f", "scsi-hd,bus=f.0,drive=DISK", "vmw_pvscsi"),
    ("", "usb-storage,bus=usb.0,drive=DISK", "usb-storage"),
    (
        "usb-uas,bus=usb.0,id=h",
        "scsi-hd,bus=h.0,drive=DISK",
        "uas",
    ),
    ("sdhci-pci,id=i", "sd-card,bus=sd-bus,drive=DISK", "mmcblk"),
];

/// Prints `card:ADDRESS DRIVER` for each card, and `disk:BYTES DRIVERS` for each disk with
/// the drivers on the way to it. The line itself shows neither after the colon.
const LOOK: &str = r#"for n in /sys/class/net/*/device/driver; do d=${n%/device/driver}; echo "card:$(cat $d/address) $(basename $(readlink $n)) "; done; for b in /sys/block/*/device; do p=$(readlink -f $b); c=; while [ $p != /sys/devices ]; do if [ -e $p/driver ]; then c="$c $(basename $(readlink $p/driver))"; fi; p=${p%/*}; done; echo "disk:$(($(cat ${b%/device}/size) / 2048))$c "; done; echo looked-$((6*7))"#;

fn every_one() -> Result<()> {
    let (_web, server) = serve(Manner::Honest)?;
    let folder = tempfile::tempdir()?;
    let images = images()?;
    let words = format!("automatic=method:http,network:dhcp,server:{server},directory:/cs4 rescue");
    let mut guest = Machine::new(&images, &words)
        .card(Card::Connected)
        .arguments(["-device", "qemu-xhci,id=usb"])
        .arguments(cards())
        .arguments(controllers(folder.path())?)
        .start()?;
    guest.expect("goldring: stage 2 running", LIMIT)?;
    guest.expect("goldring: modules loaded", LIMIT)?;
    guest.expect("# ", LIMIT)?;
    guest.type_line(LOOK)?;
    guest.expect("looked-42", LIMIT)?;
    let console = guest.console();
    let said = |words: &str| {
        console
            .lines()
            .any(|line| line.contains(words))
            .then_some(())
            .with_context(|| format!("no {words:?} on the console:\n{console}"))
    };
    said(" virtio_net ")?;
    for (number, (_, driver)) in CARDS.iter().enumerate() {
        said(&format!("card:{} {driver} ", mac(number)))?;
    }
    for (number, (_, _, driver)) in CONTROLLERS.iter().enumerate() {
        let disk = format!("disk:{} ", megabytes(number));
        let line = console.lines().find(|line| line.contains(&disk));
        let line = line.with_context(|| format!("no {disk:?}, by {driver}:\n{console}"))?;
        let found = line.split_whitespace().any(|word| word == *driver);
        found
            .then_some(())
            .with_context(|| format!("{driver} does not drive {line:?}"))?;
    }
    Ok(())
}

/// All are in QEMU's user network, so it is all the same which one is taken.
fn cards() -> Vec<String> {
    let cards = CARDS.iter().enumerate();
    cards
        .flat_map(|(number, (model, _))| {
            [
                "-netdev".to_owned(),
                format!("user,id=net{number}"),
                "-device".to_owned(),
                format!("{model},netdev=net{number},mac={}", mac(number)),
            ]
        })
        .collect()
}

fn mac(number: usize) -> String {
    format!("52:54:00:67:73:{number:02x}")
}

fn controllers(folder: &Path) -> Result<Vec<String>> {
    let mut arguments = Vec::new();
    for (number, (controller, disk, _)) in CONTROLLERS.iter().enumerate() {
        let drive = format!("disk{number}");
        let path = folder.join(&drive);
        File::create(&path)?.set_len(megabytes(number) << 20)?;
        arguments.push("-drive".to_owned());
        arguments.push(format!(
            "file={},if=none,id={drive},format=raw,cache=unsafe",
            path.display()
        ));
        let disk = disk.replace("DISK", &drive);
        for device in [*controller, &disk] {
            if !device.is_empty() {
                arguments.extend(["-device".to_owned(), device.to_owned()]);
            }
        }
    }
    Ok(arguments)
}

/// Each disk has a size of its own; that of an SD card is a power of two.
fn megabytes(number: usize) -> u64 {
    match CONTROLLERS[number].2 {
        "mmcblk" => 64,
        _ => 16 + number as u64,
    }
}
