//! `lsparts`: the disks and partitions of this machine, with size and content.

use super::disks;
use super::run::Programs;
use goldring_contract::paths;
use goldring_disk::lsblk::Device;

const EXAMPLES: &str = "\
Examples:
  lsparts       each partition with its size and what it holds
  lsparts -v    labels, numbers (UUID) and where it is mounted as well";

/// Options of `lsparts`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Show labels, numbers (UUID) and mount points as well
    #[arg(short, long)]
    verbose: bool,
}

/// Prints the list.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let mut devices = disks::list(&mut Programs)?;
    devices.retain(is_shown);
    if devices.is_empty() {
        anyhow::bail!(
            "no disk is here; goldring drvinst STORAGE tells which drivers there are for it"
        );
    }
    print!("{}", table(&devices, args.verbose));
    Ok(())
}

/// Neither an empty drive nor what the rescue system itself runs from.
fn is_shown(device: &Device) -> bool {
    let empty_drive = device.kind == "rom" && device.content.is_empty();
    !empty_drive && !device.mounted.starts_with(paths::STAGE2_LOWER)
}

/// One line each, the columns below each other.
fn table(devices: &[Device], verbose: bool) -> String {
    let width = devices.iter().map(|d| d.name.len()).max().unwrap_or(0);
    devices
        .iter()
        .map(|device| {
            let mut line = format!(
                "{:width$}  {:>9}  {}",
                device.name,
                size(device.size),
                content(device)
            );
            if verbose {
                line.push_str(&details(device));
            }
            line.push('\n');
            line
        })
        .collect()
}

/// What it is, in words that people know.
fn content(device: &Device) -> String {
    match device.content.as_str() {
        "" => bare(device),
        "LVM2_member" => "LVM".to_owned(),
        "linux_raid_member" => "RAID".to_owned(),
        "crypto_LUKS" => "LUKS, encrypted".to_owned(),
        "vfat" if device.is_esp() => "vfat, EFI system partition".to_owned(),
        other => other.to_owned(),
    }
}

/// What has no content that libblkid knows.
fn bare(device: &Device) -> String {
    // The first three: extended partitions of DOS, Windows and Linux.
    match device.part_type.as_str() {
        "0x5" | "0xf" | "0x85" => return "extended".to_owned(),
        "21686148-6449-6e6f-744e-656564454649" => return "GRUB for BIOS".to_owned(),
        _ => {}
    }
    match (device.kind.as_str(), device.table.as_str()) {
        ("disk", "") => "disk, no partitions".to_owned(),
        ("disk", table) => format!("disk, {table}"),
        _ => "unknown".to_owned(),
    }
}

fn details(device: &Device) -> String {
    let mut text = String::new();
    for (what, value) in [
        ("label", &device.label),
        ("UUID", &device.uuid),
        ("PARTLABEL", &device.part_label),
        ("PARTUUID", &device.part_uuid),
        ("on", &device.mounted),
    ] {
        if !value.is_empty() {
            text.push_str(&format!("  {what} {}", printable(value)));
        }
    }
    text
}

/// A label may hold anything; a console must survive it.
fn printable(text: &str) -> String {
    let safe: String = text.chars().filter(|c| !c.is_control()).collect();
    if safe.contains(' ') {
        format!("{safe:?}")
    } else {
        safe
    }
}

/// `512 B`, `33.6 MB`, `1.2 TB`: powers of thousand, as on the box of a disk.
pub(crate) fn size(bytes: u64) -> String {
    let units = [(12, "TB"), (9, "GB"), (6, "MB"), (3, "kB")];
    for (power, unit) in units {
        let one = 10u64.pow(power);
        if bytes >= one {
            return format!("{:.1} {unit}", bytes as f64 / one as f64);
        }
    }
    format!("{bytes} B")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(name: &str, kind: &str, content: &str) -> Device {
        Device {
            name: name.into(),
            kind: kind.into(),
            content: content.into(),
            size: 3_221_225_472,
            ..Device::default()
        }
    }

    #[test]
    fn columns_stand_below_each_other() {
        let disk = Device {
            table: "dos".into(),
            ..device("/dev/sda", "disk", "")
        };
        let root = Device {
            size: 512,
            label: "my root\u{1b}[2J".into(),
            uuid: "5a1b".into(),
            mounted: "/mnt".into(),
            ..device("/dev/sda1", "part", "ext4")
        };
        let devices = [disk, root];
        assert_eq!(
            table(&devices, false),
            "/dev/sda      3.2 GB  disk, dos\n/dev/sda1      512 B  ext4\n"
        );
        assert!(
            table(&devices, true).ends_with("ext4  label \"my root[2J\"  UUID 5a1b  on /mnt\n"),
            "{}",
            table(&devices, true)
        );
    }

    #[test]
    fn each_content_has_a_word() {
        let part = |part_type: &str, content| Device {
            part_type: part_type.into(),
            ..device("x", "part", content)
        };
        let table = [
            (part("0x83", "xfs"), "xfs"),
            (part("0x82", "swap"), "swap"),
            (part("0x8e", "LVM2_member"), "LVM"),
            (part("0xfd", "linux_raid_member"), "RAID"),
            (part("0x83", "crypto_LUKS"), "LUKS, encrypted"),
            (part("0xef", "vfat"), "vfat, EFI system partition"),
            (part("0xc", "vfat"), "vfat"),
            (part("0x5", ""), "extended"),
            (
                part("21686148-6449-6e6f-744e-656564454649", ""),
                "GRUB for BIOS",
            ),
            (part("0x83", ""), "unknown"),
            (device("x", "disk", ""), "disk, no partitions"),
            (device("x", "disk", "ext4"), "ext4"),
            (device("x", "lvm", "btrfs"), "btrfs"),
        ];
        for (device, word) in table {
            assert_eq!(content(&device), word, "{device:?}");
        }
    }

    #[test]
    fn what_is_not_worth_a_line_is_left_out() {
        let own = Device {
            mounted: paths::STAGE2_LOWER.into(),
            ..device("/dev/loop0", "loop", "squashfs")
        };
        let shown = [
            own,
            device("/dev/sr0", "rom", ""),
            device("/dev/sr0", "rom", "iso9660"),
            device("/dev/sda1", "part", ""),
        ]
        .map(|device| is_shown(&device));
        assert_eq!(shown, [false, false, true, true]);
    }

    #[test]
    fn sizes_are_short() {
        for (bytes, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (134_217_728, "134.2 MB"),
            (u64::MAX, "18446744.1 TB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }
}
