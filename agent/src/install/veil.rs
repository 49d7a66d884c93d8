//! What keeps firmware away from a clone that is not whole. A BIOS finds no boot code in the
//! first sector until the boot loader is installed. UEFI starts files, which come with all
//! others; until then the EFI partition has the type of any other.

use std::fs::OpenOptions;
use std::io::{Read, Seek, SeekFrom, Write};

use anyhow::Context;
use goldring_contract::Root;
use goldring_disk::desc::{Kind, Table};
use goldring_disk::table::PartitionTable;

use crate::deploy::BOOT_CODE;
use crate::partition::Plan;

/// What an EFI partition of a DOS table is until the end: Linux.
const NEUTRAL: Kind = Kind::Dos(0x83);

/// Makes a disk such that nothing starts from it.
///
/// # Errors
/// Writing fails.
pub(super) fn hide(root: &Root, plans: &[Plan]) -> anyhow::Result<()> {
    plans.iter().try_for_each(|plan| {
        let table = hidden(&plan.layout.table);
        write(root, plan, Some(&table), &[0; BOOT_CODE])
    })
}

/// Gives the table its real types, and the first sector boot code if there is any.
///
/// # Errors
/// Writing fails.
pub(super) fn reveal(root: &Root, plan: &Plan, boot: Option<&[u8]>) -> anyhow::Result<()> {
    let has_efi = plan
        .layout
        .table
        .parts
        .iter()
        .any(|part| part.kind.is_efi());
    let table = has_efi.then_some(&plan.layout.table);
    write(root, plan, table, boot.unwrap_or_default())
}

fn hidden(table: &PartitionTable) -> PartitionTable {
    let mut table = table.clone();
    for part in table.parts.iter_mut().filter(|part| part.kind.is_efi()) {
        part.kind = match table.table {
            Table::Dos(_) => NEUTRAL,
            Table::Gpt(_) => NEUTRAL.in_gpt().unwrap_or(part.kind),
        };
    }
    table
}

/// File systems of this disk may be mounted, so it is not opened for this program alone.
fn write(
    root: &Root,
    plan: &Plan,
    table: Option<&PartitionTable>,
    boot: &[u8],
) -> anyhow::Result<()> {
    let context = || format!("writing the first sectors of {}", plan.disk.path.display());
    let mut disk = OpenOptions::new()
        .read(true)
        .write(true)
        .open(root.join(&plan.disk.path))
        .with_context(context)?;
    if let Some(table) = table {
        table.write(&mut disk).with_context(context)?;
    }
    let mut first = [0; 512];
    disk.seek(SeekFrom::Start(0)).with_context(context)?;
    disk.read_exact(&mut first).with_context(context)?;
    first[..boot.len()].copy_from_slice(boot);
    disk.seek(SeekFrom::Start(0)).with_context(context)?;
    disk.write_all(&first).with_context(context)?;
    disk.sync_all().with_context(context)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use goldring_disk::desc::Desc;

    use super::*;
    use crate::partition::Disk;

    #[test]
    fn half_a_clone_is_nothing_that_starts() {
        for text in [
            "gpt\nefi 50 fs=none\nlinux fill",
            "efi 50 fs=none\nlinux fill",
        ] {
            let folder = tempfile::tempdir().unwrap();
            let root = Root::at(folder.path());
            fs::create_dir_all(root.join("/dev")).unwrap();
            let file = fs::File::create(root.join("/dev/sda")).unwrap();
            file.set_len(200 << 20).unwrap();
            let disk = || Disk::open(&root, Path::new("/dev/sda"), 512).unwrap();
            let plan = Plan::new(disk(), Desc::parse(text).unwrap()).unwrap();
            let plans = [plan];
            let seen = || {
                let parts = disk().table(&root).unwrap().unwrap().parts;
                let first = fs::read(root.join("/dev/sda")).unwrap()[..BOOT_CODE].to_vec();
                (parts, first)
            };
            hide(&root, &plans).unwrap();
            let (parts, first) = seen();
            assert!(!parts[0].kind.is_efi(), "{text}");
            assert_eq!(first, [0; BOOT_CODE]);
            reveal(&root, &plans[0], Some(&[7; BOOT_CODE])).unwrap();
            let (parts, first) = seen();
            assert_eq!(parts, plans[0].layout.table.parts);
            assert_eq!(first, [7; BOOT_CODE]);
            hide(&root, &plans).unwrap();
            let (parts, first) = seen();
            assert!(!parts[0].kind.is_efi(), "{text}");
            assert_eq!(first, [0; BOOT_CODE]);
        }
    }
}
