//! The boot loader, installed on the disks of this computer: the one that the golden node
//! uses, or the one that is wished.

use anyhow::{Context, bail};

use super::{Clone, initramfs};
use crate::tools::guessmounts::World;
use crate::tools::install_bootloader::{already_mounted, complete, find, is_efi, plan};
use crate::tools::loaders::{Loader, Purpose};
use crate::tools::run::command_line;

/// Where GRUB 2 has its menu, and what writes it.
const MENUS: [&str; 2] = ["/boot/grub/grub.cfg", "/boot/grub2/grub.cfg"];

/// Installs it.
///
/// # Errors
/// A clone without an initramfs that it should have; no boot loader that is known; what
/// its program says.
pub(crate) fn install(clone: &mut Clone<'_>) -> anyhow::Result<()> {
    if !clone.wish.dry {
        initramfs::check(clone)?;
    }
    let mut world = World {
        root: clone.root,
        runner: clone.runner,
    };
    let mounted = already_mounted(&mut world, clone.folder, None)?;
    complete(&mounted)?;
    let found = find(clone.root, clone.folder, &mounted);
    let loader = choose(found, clone.wish.loader_name())?;
    if is_efi(clone.root) && !loader.is_efi() {
        clone.say(&format!(
            "this computer was started by UEFI, and the clone has {loader}: let its firmware \
             start the old way (CSM, legacy), or install GRUB for UEFI on the golden node"
        ));
    }
    if matches!(loader, Loader::GrubBios { .. } | Loader::GrubEfi { .. }) {
        menu(clone)?;
    }
    let plan = plan(clone.root, clone.folder, &mounted, loader, Purpose::Clone)?;
    for command in &plan.commands {
        let arguments: Vec<&str> = command[1..].iter().map(String::as_str).collect();
        clone.runner.run(&command[0], &arguments)?;
        clone.say(&command_line(&command[0], &arguments));
    }
    clone.say(&format!("{}, on {}", plan.loader, plan.disks.join(" and ")));
    Ok(())
}

/// The first that fits `wish`, which is `lilo`, `grub`, or a word of `install_bootloader`.
fn choose(found: Vec<Loader>, wish: Option<&str>) -> anyhow::Result<Loader> {
    let all: Vec<&str> = found.iter().map(Loader::word).collect();
    let all = match all.is_empty() {
        true => "none that is known (GRUB, systemd-boot, LILO, EXTLINUX)".to_owned(),
        false => all.join(", "),
    };
    let fits = |loader: &Loader| match wish {
        None => true,
        // GRUB of any age, for any firmware.
        Some("grub") => loader.word().starts_with("grub"),
        Some(wish) => loader.word() == wish,
    };
    let Some(loader) = found.into_iter().find(fits) else {
        match wish {
            Some(wish) => bail!("-r {wish}: the clone does not have it; it has {all}"),
            None => bail!("the clone has no boot loader: {all}; install one on the golden node"),
        }
    };
    Ok(loader)
}

/// GRUB's menu names the kind of the partition table and where its files are, which may be
/// others here. Systems of other disks are not looked for.
fn menu(clone: &mut Clone<'_>) -> anyhow::Result<()> {
    let program = clone.tree.program(&["grub-mkconfig", "grub2-mkconfig"]);
    let (Some(program), Some(menu)) = (program, clone.tree.first(&MENUS)) else {
        return Ok(());
    };
    clone
        .chroot(&["env", "GRUB_DISABLE_OS_PROBER=true", &program, "-o", &menu])
        .context("writing GRUB's menu")?;
    Ok(())
}
