//! What old nodes get in the first session, beside what goldring's read: the small files of
//! ka-deploy, from which their scripts make partitions, file systems and the boot loader.

use goldring_contract::Root;
use goldring_disk::desc::Format;
use goldring_disk::lsblk::{join_partition, split_partition};
use goldring_disk::old::{fdisk_keystrokes, sfdisk_dump};
use goldring_files::manifest::{Manifest, Swap};
use goldring_files::partfiles::{Orders, complaint, partfiles};

use super::options::Shape;
use super::plan::{Drive, Plan};
use crate::fault;
use crate::partition::Disk;

/// Names and contents.
pub(crate) type Files = Vec<(String, Vec<u8>)>;

/// The loaders that their scripts know, and the file by which a system tells that it has it.
const LOADERS: [(&str, &str); 2] = [("lilo", "/etc/lilo.conf"), ("grub", "/boot/grub/menu.lst")];
/// Where systems have the program by which those scripts make an initramfs.
const MKINITRD: [&str; 4] = [
    "/sbin/mkinitrd",
    "/usr/sbin/mkinitrd",
    "/bin/mkinitrd",
    "/usr/bin/mkinitrd",
];

/// The files, with the wishes of the person and the partitions that are sent as they are.
///
/// # Errors
/// Why old nodes cannot become clones of this computer.
pub(super) fn files(
    root: &Root,
    plan: &Plan,
    (shape, raw): (&Shape, &[String]),
) -> Result<Files, String> {
    if let Some(why) = complaint(&plan.manifest) {
        return Err(why);
    }
    let loader = loader(root, shape)?;
    if !MKINITRD.iter().any(|path| root.join(path).exists()) {
        return Err("their scripts run mkinitrd in the clone, which is not here".to_owned());
    }
    let devices = plan.manifest.file_systems.iter().map(|one| &one.device);
    for device in devices.chain(raw) {
        let whole = split_partition(device).map(|(disk, _)| disk);
        let known = plan
            .drives
            .iter()
            .any(|drive| Some(drive.device.as_str()) == whole);
        if !known && device.starts_with('/') {
            return Err(format!("{device} is no plain partition of a disk"));
        }
    }
    let mut files = Files::new();
    for drive in &plan.drives {
        files.extend(table(root, drive, shape).map_err(|why| format!("{}: {why}", drive.device))?);
    }
    let orders = Orders {
        raw: plan
            .deployment
            .raw
            .iter()
            .map(|raw| raw.device.clone())
            .collect(),
        command: Some(loader),
        // They come once more when their boot loader is installed, and so it is known.
        delay: true,
    };
    let texts = partfiles(&with_all_swap(plan), &orders);
    files.extend(
        texts
            .into_iter()
            .map(|(name, text)| (name.to_owned(), text.into_bytes())),
    );
    Ok(files)
}

/// The list with the swap that is not in use now: today's nodes find it in the desc.
fn with_all_swap(plan: &Plan) -> Manifest {
    let mut manifest = plan.manifest.clone();
    for drive in &plan.drives {
        for (number, part) in drive.desc.numbers().into_iter().zip(&drive.desc.partitions) {
            let place = join_partition(&drive.device, number);
            let known = manifest.swaps.iter().any(|swap| swap.place == place);
            let is_swap = part
                .file_system()
                .is_some_and(|one| one.format == Format::Swap);
            if is_swap && !known {
                manifest.swaps.push(Swap {
                    place,
                    ..Swap::default()
                });
            }
        }
    }
    manifest
}

/// How the partitions of a drive are made, and its boot code.
fn table(root: &Root, drive: &Drive, shape: &Shape) -> Result<Files, String> {
    let short = drive.device.strip_prefix("/dev/").unwrap_or(&drive.device);
    if short.contains('/') {
        return Err("their scripts know no disk of such a name".to_owned());
    }
    let wished = shape.descs().any(|(name, _)| name == drive.device);
    let (kind, text) = match wished {
        true => ("fdisk_commands", fdisk_keystrokes(&drive.desc)?),
        false => {
            let table = Disk::open(root, drive.device.as_ref(), 512)
                .and_then(|disk| disk.table(root))
                .map_err(|error| fault::chain(&error))?;
            let table = table.ok_or("it has no partition table")?;
            ("partition_tab", sfdisk_dump(&drive.device, &table)?)
        }
    };
    let mut files = vec![(format!("{kind}{short}"), text.into_bytes())];
    if let Some(code) = &drive.boot {
        files.push((format!("MBR{short}"), code.clone()));
    }
    Ok(files)
}

/// What `-r` says, or what is here.
fn loader(root: &Root, shape: &Shape) -> Result<String, String> {
    let wished = shape.loader.as_deref().unwrap_or_default();
    let first = wished.split(' ').next().unwrap_or_default();
    let known = LOADERS.iter().find(|(name, file)| match first {
        "" => root.join(file).exists(),
        word => word == *name,
    });
    match known {
        Some((_, file)) if !root.join(file).exists() => {
            Err(format!("their scripts need {file}, which is not here"))
        }
        Some((name, _)) if wished.is_empty() => Ok((*name).to_owned()),
        Some(_) => Ok(wished.to_owned()),
        None => Err(
            "their scripts know LILO and the old GRUB only: neither /etc/lilo.conf nor \
             /boot/grub/menu.lst is here"
                .to_owned(),
        ),
    }
}
