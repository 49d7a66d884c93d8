//! `rescue` alone: a shell with tools that work.

use std::time::Duration;

use anyhow::Result;
use goldring_vm_tests::web::Manner;
use libtest_mimic::Trial;

use crate::stage1::{LIMIT, serve, stage2};
use crate::{no_qemu, trial};

pub(crate) fn trials() -> Vec<Trial> {
    vec![trial(
        "rescue::a_person_makes_and_mounts_file_systems",
        no_qemu(),
        file_systems,
    )]
}

/// Each file system is made by stage 2's tools; the kernel asks for its module by
/// itself when it is mounted.
fn file_systems() -> Result<()> {
    let (_web, server) = serve(Manner::Honest)?;
    let mut guest = stage2(&server, "")?;
    guest.expect("# ", LIMIT)?;
    guest.type_line("lsblk -nbo SIZE /dev/vda | sed s/^/disk:/")?;
    guest.expect("disk:134217728", LIMIT)?;
    for make in ["mkfs.ext4 -q -F", "mkfs.vfat", "mkfs.btrfs -q -f -M"] {
        // The answer is computed, so that the echo of the line is not taken for it.
        let name = make.split_whitespace().next().unwrap_or(make);
        guest.type_line(&format!(
            "{make} /dev/vda >/dev/null && mount /dev/vda /mnt && umount /mnt && echo {name}-$((6*7))"
        ))?;
        guest.expect(&format!("{name}-42"), LIMIT)?;
    }
    guest.type_line("grub-install --version; parted --version | head -n 1; goldring --version")?;
    guest.expect("grub-install (GRUB)", LIMIT)?;
    guest.expect("goldring 0.", LIMIT)?;
    guest.type_line("reboot")?;
    guest.expect_reboot(Duration::from_secs(90))
}
