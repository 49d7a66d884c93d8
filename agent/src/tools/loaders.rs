//! Which boot loader an installed system uses, and the commands that install it again.

use std::fmt;
use std::path::Path;

use super::tree::Tree;

/// A boot loader with what its installation needs to know. Paths are seen from the
/// installed system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Loader {
    /// GRUB 2 in the boot sector.
    GrubBios {
        /// `grub-install` or `grub2-install`; `None`: the system has none.
        program: Option<String>,
    },
    /// GRUB 2 on the EFI partition.
    GrubEfi {
        /// As above.
        program: Option<String>,
        /// Where the EFI partition is mounted.
        esp: String,
        /// The folder below `EFI`, such as `debian`.
        id: String,
    },
    /// A GRUB on the EFI partition that its distribution signed: only the entry in the
    /// firmware can be missing.
    Shim {
        /// The folder below `EFI`.
        id: String,
    },
    /// GRUB 0.97.
    GrubLegacy {
        /// `grub-install`.
        program: String,
    },
    /// systemd-boot.
    SystemdBoot {
        /// Where the EFI partition is mounted.
        esp: String,
    },
    /// LILO.
    Lilo {
        /// `boot=` of its configuration.
        boot: Option<String>,
    },
    /// EXTLINUX.
    Extlinux {
        /// Where its files are.
        folder: String,
        /// The code for the boot sector.
        code: Option<String>,
    },
}

impl Loader {
    /// The word for `--loader`.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::GrubBios { .. } => "grub",
            Self::GrubEfi { .. } | Self::Shim { .. } => "grub-efi",
            Self::GrubLegacy { .. } => "grub-legacy",
            Self::SystemdBoot { .. } => "systemd-boot",
            Self::Lilo { .. } => "lilo",
            Self::Extlinux { .. } => "extlinux",
        }
    }

    /// Whether firmware of the EFI kind starts it.
    pub(crate) fn is_efi(&self) -> bool {
        matches!(
            self,
            Self::GrubEfi { .. } | Self::Shim { .. } | Self::SystemdBoot { .. }
        )
    }
}

impl fmt::Display for Loader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::GrubBios { .. } => "GRUB for BIOS",
            Self::GrubEfi { .. } => "GRUB for UEFI",
            Self::Shim { .. } => "GRUB for UEFI, signed",
            Self::GrubLegacy { .. } => "GRUB 0.97",
            Self::SystemdBoot { .. } => "systemd-boot",
            Self::Lilo { .. } => "LILO",
            Self::Extlinux { .. } => "EXTLINUX",
        })
    }
}

/// All boot loaders that the system at `tree` shows signs of: those that are in use before one
/// that is only packed there, then those that fit this machine's firmware. `mounted` are the
/// folders that something is mounted on.
pub(crate) fn find(tree: &Path, mounted: &[&str], efi: bool) -> Vec<Loader> {
    let tree = &Tree::new(tree);
    let esp = ["/boot/efi", "/efi", "/boot"]
        .into_iter()
        .find(|place| mounted.contains(place) && tree.has(&format!("{place}/EFI")));
    let mut loaders = Vec::new();
    let configured = tree.has("/boot/grub/grub.cfg") || tree.has("/boot/grub2/grub.cfg");
    let program = tree.program(&["grub-install", "grub2-install"]);
    let modules = |platform: &str| {
        [
            "/usr/lib/grub",
            "/boot/grub",
            "/boot/grub2",
            "/usr/share/grub2",
        ]
        .iter()
        .any(|folder| tree.has(&format!("{folder}/{platform}")))
    };
    if configured && modules("i386-pc") {
        let program = program.clone();
        loaders.push(Loader::GrubBios { program });
    }
    let mut only_packed = false;
    if let Some(esp) = esp {
        loaders.extend(on_esp(tree, esp, program, modules("x86_64-efi")));
        // Systems that UEFI starts may have the package for a BIOS as well; only grub-install
        // makes that folder.
        let installed = ["/boot/grub/i386-pc", "/boot/grub2/i386-pc"];
        only_packed = own_grub(tree, esp).is_some() && tree.first(&installed).is_none();
    }
    if !configured && tree.has("/boot/grub/menu.lst") {
        let program = tree.program(&["grub-install"]);
        loaders.extend(program.map(|program| Loader::GrubLegacy { program }));
    }
    if tree.has("/etc/lilo.conf") && tree.program(&["lilo"]).is_some() {
        let boot = lilo_boot(&tree.text("/etc/lilo.conf"));
        loaders.push(Loader::Lilo { boot });
    }
    let folder = tree.first(&[
        "/boot/extlinux/extlinux.conf",
        "/boot/syslinux/syslinux.cfg",
    ]);
    if let Some(file) = folder
        && tree.program(&["extlinux"]).is_some()
    {
        let folder = file.rsplit_once('/').map_or("/", |(folder, _)| folder);
        loaders.push(Loader::Extlinux {
            folder: folder.to_owned(),
            code: tree.first(&[
                "/usr/lib/syslinux/mbr/mbr.bin",
                "/usr/lib/EXTLINUX/mbr.bin",
                "/usr/lib/syslinux/bios/mbr.bin",
                "/usr/share/syslinux/mbr.bin",
                "/usr/lib/syslinux/mbr.bin",
            ]),
        });
    }
    let spare = |loader: &Loader| only_packed && matches!(loader, Loader::GrubBios { .. });
    loaders.sort_by_key(|loader| (spare(loader), loader.is_efi() != efi));
    loaders
}

/// The folder of a GRUB below `EFI` that is not the one for firmware without an entry.
fn own_grub(tree: &Tree, esp: &str) -> Option<String> {
    let mut names = tree.names(&format!("{esp}/EFI")).into_iter();
    names.find(|id| {
        !id.eq_ignore_ascii_case("boot") && tree.has(&format!("{esp}/EFI/{id}/grubx64.efi"))
    })
}

fn on_esp(tree: &Tree, esp: &str, program: Option<String>, modules: bool) -> Vec<Loader> {
    let mut loaders = Vec::new();
    let has = |id: &str, file: &str| tree.has(&format!("{esp}/EFI/{id}/{file}"));
    match own_grub(tree, esp) {
        // grub2-install refuses machines with UEFI; its files come from packages.
        Some(id) if has(&id, "shimx64.efi") && program.as_deref() != Some("grub-install") => {
            loaders.push(Loader::Shim { id });
        }
        Some(id) => {
            let esp = esp.to_owned();
            loaders.push(Loader::GrubEfi { program, esp, id });
        }
        None if modules => {
            let id = os_id(&tree.text("/etc/os-release"));
            let esp = esp.to_owned();
            loaders.push(Loader::GrubEfi { program, esp, id });
        }
        None => {}
    }
    if tree.has(&format!("{esp}/loader/loader.conf")) && tree.program(&["bootctl"]).is_some() {
        let esp = esp.to_owned();
        loaders.push(Loader::SystemdBoot { esp });
    }
    loaders
}

/// `ID=` of os-release(5), which distributions call their folder.
fn os_id(text: &str) -> String {
    let id = text.lines().find_map(|line| line.strip_prefix("ID="));
    let id: String = id
        .unwrap_or_default()
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || *c == '-' || *c == '_')
        .collect();
    if id.is_empty() {
        "linux".to_owned()
    } else {
        id
    }
}

/// `boot=/dev/hda` of lilo.conf(5).
fn lilo_boot(text: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once('=')?;
        let value = value.trim().trim_matches('"').to_owned();
        (key.trim() == "boot").then_some(value)
    })
}

/// What the commands need to know of this machine.
#[derive(Clone)]
pub(crate) struct Place<'a> {
    /// Where the installed system is mounted.
    pub(crate) folder: &'a str,
    /// The disks that carry its `/boot`, at least one.
    pub(crate) disks: &'a [String],
    /// The EFI partition: its disk and number.
    pub(crate) esp: Option<(String, u32)>,
    /// This machine was started by UEFI, so that its firmware can be told of entries.
    pub(crate) efi: bool,
    /// Whether a device is here.
    pub(crate) is_here: &'a dyn Fn(&str) -> bool,
    /// For whom.
    pub(crate) purpose: Purpose,
}

/// What a boot loader is installed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// This system has run on this computer before.
    Repair,
    /// It is a clone, and the firmware has never seen it.
    Clone,
}

/// Commands, as words.
pub(crate) type Commands = Vec<Vec<String>>;

/// The commands that install `loader`, in order.
///
/// # Errors
/// A sentence: what is missing for it.
pub(crate) fn commands(loader: &Loader, place: &Place<'_>) -> Result<Commands, String> {
    let words = |words: &[&str]| -> Vec<String> { words.iter().map(|&w| w.to_owned()).collect() };
    let inside = |more: &[&str]| words(&[&["chroot", place.folder], more].concat());
    let boot = format!(
        "--boot-directory={}/boot",
        place.folder.trim_end_matches('/')
    );
    let each = |command: &dyn Fn(&str) -> Vec<String>| -> Commands {
        place.disks.iter().map(|disk| command(disk)).collect()
    };
    Ok(match loader {
        Loader::GrubBios {
            program: Some(program),
        } => each(&|disk| inside(&[program, "--target=i386-pc", disk])),
        Loader::GrubBios { program: None } => {
            each(&|disk| words(&["grub-install", "--target=i386-pc", &boot, disk]))
        }
        Loader::GrubEfi { program, esp, id } => {
            let id = format!("--bootloader-id={id}");
            let directory = match program {
                Some(_) => format!("--efi-directory={esp}"),
                None => format!(
                    "--efi-directory={}{esp}",
                    place.folder.trim_end_matches('/')
                ),
            };
            let mut options = vec!["--target=x86_64-efi", &directory, &id];
            if !place.efi {
                options.push("--no-nvram");
            }
            let install = |options: &[&str]| match program {
                Some(program) => inside(&[&[program.as_str()], options].concat()),
                None => words(&[&["grub-install", &boot], options].concat()),
            };
            let mut all = vec![install(&options)];
            if !place.efi && place.purpose == Purpose::Clone {
                // Firmware without an entry starts EFI/BOOT/BOOTX64.EFI.
                options.push("--removable");
                all.push(install(&options));
            }
            all
        }
        // Its files came with the clone, EFI/BOOT/BOOTX64.EFI among them.
        Loader::Shim { .. } if !place.efi && place.purpose == Purpose::Clone => Vec::new(),
        Loader::Shim { id } => vec![entry(id, place)?],
        Loader::GrubLegacy { program } => each(&|disk| inside(&[program, disk])),
        Loader::SystemdBoot { esp } => {
            let esp = format!("--esp-path={esp}");
            let mut options = vec!["bootctl", &esp];
            if !place.efi {
                options.push("--no-variables");
            }
            options.push("install");
            vec![inside(&options)]
        }
        Loader::Lilo { boot } => match boot {
            Some(boot) if (place.is_here)(boot) => vec![inside(&["lilo"])],
            _ => each(&|disk| inside(&["lilo", "-b", disk])),
        },
        Loader::Extlinux { folder, code } => {
            let code = code
                .as_deref()
                .ok_or("the system has no mbr.bin; install its syslinux package again")?;
            let input = format!("if={}{code}", place.folder.trim_end_matches('/'));
            let mut all = vec![inside(&["extlinux", "--install", folder])];
            all.extend(each(&|disk| {
                let output = format!("of={disk}");
                words(&[
                    "dd",
                    "bs=440",
                    "count=1",
                    "conv=notrunc,fsync",
                    &input,
                    &output,
                ])
            }));
            all
        }
    })
}

/// An entry of the firmware for a loader that is there already.
fn entry(id: &str, place: &Place<'_>) -> Result<Vec<String>, String> {
    if !place.efi {
        return Err(format!(
            "EFI/{id} is there and signed, only the firmware's entry may be missing; boot this \
             rescue system by UEFI to make it"
        ));
    }
    let (disk, number) = place
        .esp
        .as_ref()
        .ok_or("the EFI partition is not on a partition of a disk")?;
    Ok([
        "efibootmgr",
        "--create",
        "--disk",
        disk,
        "--part",
        &number.to_string(),
        "--label",
        id,
        "--loader",
        &format!("\\EFI\\{id}\\shimx64.efi"),
    ]
    .map(str::to_owned)
    .to_vec())
}

#[cfg(test)]
mod tests;
