//! The initramfs, made again by what the clone has for that, with the modules that this
//! computer needs.

use anyhow::Context;

use super::Clone;
use super::hardware::{self, Kernel, drivers};
use crate::tools::tree::Tree;

/// A file of settings that counts during the run only.
const ALL_MODULES: &str = "/etc/initramfs-tools/conf.d/goldring";

/// What makes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tool {
    /// initramfs-tools of Debian and Ubuntu.
    InitramfsTools,
    /// dracut of Fedora, Red Hat, SUSE, Mageia and others.
    Dracut,
    /// mkinitcpio of Arch.
    Mkinitcpio,
    /// mkinitrd of Mandriva and old Red Hat.
    Mkinitrd,
}

impl Tool {
    /// What the clone has; `mkinitrd` last, because newer systems keep it as another name.
    pub(crate) fn find(tree: &Tree) -> Option<Self> {
        let table = [
            ("mkinitramfs", Self::InitramfsTools),
            ("dracut", Self::Dracut),
            ("mkinitcpio", Self::Mkinitcpio),
            ("mkinitrd", Self::Mkinitrd),
        ];
        let has = |(program, _): &&(&str, Self)| tree.program(&[program]).is_some();
        table.iter().find(has).map(|(_, tool)| *tool)
    }
}

/// Makes it for each kernel of the clone.
///
/// # Errors
/// What its program says. A clone that has no such program keeps what it has, with a word.
pub(crate) fn rebuild(clone: &mut Clone<'_>) -> anyhow::Result<()> {
    let kernels = Kernel::all(&clone.tree);
    for kernel in &kernels {
        hardware::warn(clone, kernel);
    }
    let Some(tool) = Tool::find(&clone.tree) else {
        clone.say(
            "the clone has no initramfs-tools, dracut, mkinitcpio or mkinitrd: its initramfs, \
             if it has one, is that of the golden node",
        );
        return Ok(());
    };
    if kernels.is_empty() {
        clone.say("the clone has no kernel in /boot with modules in /lib/modules: nothing to do");
        return Ok(());
    }
    match tool {
        Tool::InitramfsTools => with_all_modules(clone, &kernels),
        Tool::Mkinitcpio => {
            // Its presets know where it goes; it looks at this computer's hardware.
            clone.chroot(&["mkinitcpio", "-P"])?;
            clone.say("initramfs: mkinitcpio, all presets");
            Ok(())
        }
        Tool::Dracut => each(clone, &kernels, dracut),
        Tool::Mkinitrd => each(clone, &kernels, mkinitrd),
    }
}

type Arguments = Vec<String>;

fn each(
    clone: &mut Clone<'_>,
    kernels: &[Kernel],
    command: fn(&Clone<'_>, &Kernel) -> Arguments,
) -> anyhow::Result<()> {
    for kernel in kernels {
        let arguments = command(clone, kernel);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        clone.chroot(&arguments)?;
        clone.say(&format!(
            "initramfs: {} for {}",
            arguments[0], kernel.release
        ));
    }
    Ok(())
}

/// `MODULES=dep` would take what this rescue system shows of the machine for all there is.
/// The setting counts for this run; the clone keeps its own.
fn with_all_modules(clone: &mut Clone<'_>, kernels: &[Kernel]) -> anyhow::Result<()> {
    clone
        .tree
        .write(ALL_MODULES, "# during the clone only\nMODULES=most\n")?;
    let update = |clone: &Clone<'_>, kernel: &Kernel| -> Arguments {
        let release = &kernel.release;
        let there = clone.tree.has(&format!("/boot/initrd.img-{release}"));
        let what = if there { "-u" } else { "-c" };
        words(&["update-initramfs", what, "-k", release])
    };
    let done = each(clone, kernels, update);
    clone.tree.remove(ALL_MODULES)?;
    done
}

fn dracut(clone: &Clone<'_>, kernel: &Kernel) -> Arguments {
    let release = &kernel.release;
    let mut arguments = words(&["dracut", "--force"]);
    // That of 2010 lived elsewhere, and always took all modules.
    if clone.tree.has("/usr/lib/dracut") {
        arguments.push("--no-hostonly".to_owned());
        let drivers = drivers(clone.root, &clone.tree, kernel).disks;
        if !drivers.is_empty() {
            arguments.extend(["--add-drivers".to_owned(), drivers.join(" ")]);
        }
    }
    // Where the boot loader looks for it; else dracut knows its distribution's way.
    match image_of(&clone.tree, release) {
        Some(image) => arguments.extend([image, release.clone()]),
        None => arguments.extend(["--kver".to_owned(), release.clone()]),
    }
    arguments
}

fn mkinitrd(clone: &Clone<'_>, kernel: &Kernel) -> Arguments {
    let release = &kernel.release;
    let mut arguments = words(&["mkinitrd", "-v", "-f"]);
    arguments.extend(clone.wish.loader_options().iter().cloned());
    let drivers = drivers(clone.root, &clone.tree, kernel).disks;
    let given = |module: &&String| {
        let with = format!("--with={module}");
        !clone.wish.loader_options().contains(&with)
    };
    arguments.extend(
        drivers
            .iter()
            .filter(given)
            .map(|module| format!("--with={module}")),
    );
    let image = image_of(&clone.tree, release);
    arguments.push(image.unwrap_or_else(|| format!("/boot/initrd-{release}.img")));
    arguments.push(release.clone());
    arguments
}

/// The initramfs of a kernel, wherever the distribution keeps it.
fn image_of(tree: &Tree, release: &str) -> Option<String> {
    let plain = [
        format!("/boot/initramfs-{release}.img"),
        format!("/boot/initrd.img-{release}"),
        format!("/boot/initrd-{release}.img"),
        format!("/boot/initrd-{release}"),
    ];
    // kernel-install(8): BOOT/TOKEN/RELEASE/initrd.
    let filed = ["/boot", "/efi", "/boot/efi"].into_iter().flat_map(|boot| {
        let tokens = tree.names(boot).into_iter();
        tokens.map(move |token| format!("{boot}/{token}/{release}/initrd"))
    });
    plain.into_iter().chain(filed).find(|path| tree.has(path))
}

fn words(words: &[&str]) -> Arguments {
    words.iter().map(|&word| word.to_owned()).collect()
}

/// Whether each kernel has an initramfs that is not empty, where there is a tool for it.
///
/// # Errors
/// The one that lacks it.
pub(crate) fn check(clone: &Clone<'_>) -> anyhow::Result<()> {
    let Some(Tool::InitramfsTools | Tool::Dracut | Tool::Mkinitrd) = Tool::find(&clone.tree) else {
        return Ok(());
    };
    for kernel in Kernel::all(&clone.tree) {
        let release = &kernel.release;
        let image = image_of(&clone.tree, release)
            .with_context(|| format!("no initramfs for {release} is in /boot"))?;
        let length = clone.tree.resolve(&image)?.metadata()?.len();
        anyhow::ensure!(length > 0, "{image} is empty; is /boot full?");
    }
    Ok(())
}
