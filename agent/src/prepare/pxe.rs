//! What nodes find over TFTP: kernel, stage 1, and an entry of pxelinux that starts them as
//! nodes of this golden node.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};

use super::image::Whose;

/// What the boot server needs of the images, and where it lies below its folder, as in the
/// manual.
const FILES: [&str; 2] = ["vmlinuz", "all.rdz"];
const IMAGES: &str = "images";
const MENU: &str = "pxelinux.cfg/default";

/// What is to be done in the folder of a boot server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Boot {
    /// From where to where.
    files: Vec<(PathBuf, PathBuf)>,
    /// The menu, if there is none yet.
    menu: Option<PathBuf>,
    /// The entries.
    entries: String,
    /// The menu that is there and has no such entries.
    lacks: Option<PathBuf>,
}

impl Boot {
    /// Looks at `tftp`, and for the images in `from`.
    ///
    /// # Errors
    /// Something is not there.
    pub(super) fn plan(
        tftp: &Path,
        from: &Path,
        (whose, ramdisk, name): (Whose, Option<u64>, Option<&str>),
    ) -> anyhow::Result<Self> {
        ensure!(
            tftp.is_dir(),
            "{} is no folder; name the one that pxelinux's files are in",
            tftp.display()
        );
        let mut files = Vec::new();
        for file in FILES {
            let source = from.join(file);
            if !source.is_file() {
                bail!(
                    "{} is not there; say where vmlinuz and all.rdz are with --boot-files",
                    source.display()
                );
            }
            files.push((source, tftp.join(IMAGES).join(file)));
        }
        let entries = entries(whose, ramdisk, name);
        let menu = tftp.join(MENU);
        let there = match fs::read_to_string(&menu) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error).with_context(|| format!("reading {}", menu.display())),
        };
        let complete = there.as_ref().is_some_and(|text| has_entry(text));
        Ok(Self {
            files,
            lacks: (there.is_some() && !complete).then(|| menu.clone()),
            menu: there.is_none().then_some(menu),
            entries,
        })
    }

    /// What would be written, a line each.
    pub(super) fn text(&self) -> String {
        let mut text: String = self
            .files
            .iter()
            .map(|(from, to)| format!("{} as {}\n", from.display(), to.display()))
            .collect();
        if let Some(menu) = &self.menu {
            text.push_str(&format!(
                "{}, which starts nodes from their disks\n",
                menu.display()
            ));
        }
        text
    }

    /// What only a person can do; nothing when all is there.
    pub(super) fn advice(&self) -> Option<String> {
        let menu = self.lacks.as_ref()?;
        Some(format!(
            "{} is left as it is; it needs this entry, and LABEL local as its default:\n\n{}",
            menu.display(),
            self.entries
        ))
    }

    /// Writes it; each file appears when it is complete.
    ///
    /// # Errors
    /// The kernel's, with the path.
    pub(super) fn write(&self) -> anyhow::Result<()> {
        for (from, to) in &self.files {
            appear(to, |aside| fs::copy(from, aside).map(|_| ()))?;
        }
        if let Some(menu) = &self.menu {
            let text = format!("{BEGIN}{}", self.entries);
            appear(menu, |aside| fs::write(aside, text))?;
        }
        Ok(())
    }
}

/// Nobody who only boots by PXE shall be cloned.
const BEGIN: &str = "\
# Written by goldring prepare. Nodes start from their disks unless a person chooses
# another entry, or somebody writes it behind DEFAULT for the time of a clone.
DEFAULT local
PROMPT 1
TIMEOUT 50

LABEL local
  LOCALBOOT 0

";

fn entries(whose: Whose, ramdisk: Option<u64>, name: Option<&str>) -> String {
    let kaopt = name.map_or_else(String::new, |name| format!(" kaopt={name}"));
    let ramdisk = ramdisk.map_or_else(String::new, |kib| format!(" ramdisk_size={kib}"));
    // Old kernels start the ramdisk; goldring's words are understood by both.
    let (old, card) = match whose.is_old() {
        true => (" root=/dev/ram3 rw vga=788", "eth0"),
        false => ("", "auto"),
    };
    let entry = |label: &str, method: &str| {
        format!(
            "LABEL {label}\n  KERNEL {IMAGES}/vmlinuz\n  APPEND initrd={IMAGES}/all.rdz{ramdisk} \
             automatic=method:{method},interface:{card},network:dhcp{old} rescue kamethod{kaopt}\n  \
             IPAPPEND 2\n"
        )
    };
    format!("{}\n{}", entry("kamethod", "ka"), entry("dollyka", "dolly"))
}

fn has_entry(menu: &str) -> bool {
    let mut lines = menu.lines().map(str::trim_start);
    lines.any(|line| {
        !line.starts_with('#') && line.contains("method:ka") && line.contains("kamethod")
    })
}

fn appear(path: &Path, write: impl FnOnce(&Path) -> std::io::Result<()>) -> anyhow::Result<()> {
    let context = || format!("writing {}", path.display());
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).with_context(context)?;
    }
    let mut aside = path.to_owned().into_os_string();
    aside.push(".goldring-new");
    let aside = PathBuf::from(aside);
    let done = write(&aside).and_then(|()| fs::rename(&aside, path));
    if done.is_err() {
        // What stays of it is told by its name.
        let _ = fs::remove_file(&aside);
    }
    done.with_context(context)
}

#[cfg(test)]
mod tests {
    use goldring_contract::bootargs::BootArgs;

    use super::*;

    #[test]
    fn nodes_are_told_what_stage_1_reads() {
        let text = entries(Whose::Ours, None, Some("room12"));
        let lines: Vec<&str> = text
            .lines()
            .filter(|line| line.contains("APPEND i"))
            .collect();
        assert_eq!(lines.len(), 2);
        for (line, method) in lines.iter().zip(["Ka", "Dolly"]) {
            let args = BootArgs::parse(line.trim().trim_start_matches("APPEND ")).unwrap();
            assert_eq!(args.kaopt.as_deref(), Some("room12"));
            assert!(format!("{args:?}").contains(method), "{args:?}");
        }
        let old = entries(Whose::Old2010, Some(64_000), None);
        assert!(old.contains(
            "APPEND initrd=images/all.rdz ramdisk_size=64000 automatic=method:ka,interface:eth0,\
             network:dhcp root=/dev/ram3 rw vga=788 rescue kamethod\n"
        ));
    }

    #[test]
    fn a_menu_that_is_there_stays() {
        let folder = tempfile::tempdir().unwrap();
        let (tftp, from) = (folder.path().join("tftp"), folder.path().join("from"));
        let plan = || Boot::plan(&tftp, &from, (Whose::Ours, None, None));
        assert!(plan().unwrap_err().to_string().contains("is no folder"));
        fs::create_dir(&tftp).unwrap();
        fs::create_dir(&from).unwrap();
        assert!(plan().unwrap_err().to_string().contains("--boot-files"));
        for file in FILES {
            fs::write(from.join(file), file).unwrap();
        }
        let first = plan().unwrap();
        assert_eq!(first.advice(), None);
        first.write().unwrap();
        let menu = fs::read_to_string(tftp.join(MENU)).unwrap();
        assert!(
            menu.contains("DEFAULT local\n") && has_entry(&menu),
            "{menu}"
        );
        assert_eq!(fs::read(tftp.join("images/all.rdz")).unwrap(), b"all.rdz");
        let second = plan().unwrap();
        assert_eq!(
            (second.advice(), second.text().contains(MENU)),
            (None, false)
        );

        fs::write(tftp.join(MENU), "DEFAULT x\n# method:ka kamethod\n").unwrap();
        let other = plan().unwrap();
        other.write().unwrap();
        assert!(other.advice().unwrap().contains("LABEL kamethod\n"));
        let menu = fs::read_to_string(tftp.join(MENU)).unwrap();
        assert!(menu.starts_with("DEFAULT x\n"), "{menu}");
    }
}
