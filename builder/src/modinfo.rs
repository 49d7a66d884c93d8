//! What modules say about themselves: the section `.modinfo`, and the same for what is
//! built into the kernel (`modules.builtin.modinfo`).

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail};
use goblin::elf::Elf;
use goldring_contract::image::module_name;

/// Keys and values, in the order of the section.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModInfo {
    /// Patterns of devices and other names that ask for this module.
    pub aliases: Vec<String>,
    /// Modules whose symbols it uses.
    pub depends: Vec<String>,
    /// Modules (or aliases of them) to load before it, if they are there.
    pub before: Vec<String>,
    /// Modules (or aliases of them) to load after it, if they are there.
    pub after: Vec<String>,
    /// Firmware files that it may ask for.
    pub firmware: Vec<String>,
    /// The kernel that it is for: the first word is the release.
    pub vermagic: Option<String>,
}

impl ModInfo {
    /// Reads the section of an uncompressed module.
    ///
    /// # Errors
    /// No ELF file, or one without the section.
    pub fn of_module(bytes: &[u8]) -> Result<Self> {
        let elf = Elf::parse(bytes).context("no ELF file")?;
        let section = elf
            .section_headers
            .iter()
            .find(|header| elf.shdr_strtab.get_at(header.sh_name) == Some(".modinfo"))
            .context("no section .modinfo, so no kernel module")?;
        let range = section
            .file_range()
            .context("its section .modinfo has no content")?;
        let section = bytes
            .get(range)
            .context("its section .modinfo is cut off")?;
        Ok(Self::parse(section))
    }

    /// Reads `key=value` pairs, each ended by a NUL. What is not one, and keys that do
    /// not matter here, are passed over.
    pub fn parse(section: &[u8]) -> Self {
        let mut info = Self::default();
        for pair in section.split(|&byte| byte == 0) {
            let text = String::from_utf8_lossy(pair);
            let Some((key, value)) = text.split_once('=') else {
                continue;
            };
            let value = value.trim();
            match key {
                // A blank would break the line tables, and no alias has one.
                "alias" if !value.is_empty() && !value.contains(char::is_whitespace) => {
                    info.aliases.push(value.to_owned());
                }
                "depends" => info.depends.extend(
                    value
                        .split(',')
                        .filter(|name| !name.is_empty())
                        .map(module_name),
                ),
                "softdep" => info.soft(value),
                "firmware" => info.firmware.push(value.to_owned()),
                "vermagic" => info.vermagic = Some(value.to_owned()),
                _ => {}
            }
        }
        info
    }

    /// `pre: a b post: c`.
    fn soft(&mut self, value: &str) {
        let mut list = None;
        for word in value.split_ascii_whitespace() {
            match word {
                "pre:" => list = Some(&mut self.before),
                "post:" => list = Some(&mut self.after),
                // "platform:" was never used; a word before any list means nothing.
                _ if word.ends_with(':') => list = None,
                _ => {
                    if let Some(list) = &mut list {
                        list.push(module_name(word));
                    }
                }
            }
        }
    }
}

/// What is built into the kernel: the names of `modules.builtin` (one path for each
/// line), and with their aliases those of `modules.builtin.modinfo` (NUL-ended
/// `module.key=value`).
pub fn builtin(paths: &str, modinfo: &str) -> BTreeSet<String> {
    let mut names: BTreeSet<String> = paths
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(|line| module_name(line.rsplit('/').next().unwrap_or(line)))
        .collect();
    for pair in modinfo.split('\0') {
        let Some((key, value)) = pair.split_once('=') else {
            continue;
        };
        if let Some((module, "alias")) = key.split_once('.') {
            names.insert(module.to_owned());
            names.insert(value.trim().to_owned());
        }
    }
    names.remove("");
    names
}

/// Checks that a module is for this kernel release.
///
/// # Errors
/// It names another one.
pub fn check_release(info: &ModInfo, release: &str) -> Result<()> {
    match info.vermagic.as_deref().and_then(|v| v.split(' ').next()) {
        Some(other) if other != release => bail!("it is for kernel {other}, not for {release}"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ugly_sections_are_read_as_far_as_they_go() {
        let section = b"alias=pci:v00008086d*\0\0alias=\0alias=a b\0noequals\0depends=ptp,i2c-algo-bit,\0depends=\0\
            softdep=pre: crc32c usb-common post: x\0softdep=platform: y\0softdep=z\0firmware=a/b.bin\0license=GPL\0\
            alias=fs-ext4\0vermagic=6.1.0 SMP mod_unload\0\xff\xfe=1\0alias=last";
        let info = ModInfo::parse(section);
        assert_eq!(info.aliases, ["pci:v00008086d*", "fs-ext4", "last"]);
        assert_eq!(info.depends, ["ptp", "i2c_algo_bit"]);
        assert_eq!(info.before, ["crc32c", "usb_common"]);
        assert_eq!(info.after, ["x"]);
        assert_eq!(info.firmware, ["a/b.bin"]);
        assert!(check_release(&info, "6.1.0").is_ok());
        assert!(check_release(&info, "6.1").is_err());
        assert!(check_release(&ModInfo::default(), "6.1").is_ok());
        assert_eq!(ModInfo::parse(b""), ModInfo::default());
    }

    #[test]
    fn what_is_no_module_says_so() {
        for (bytes, problem) in [
            (&b""[..], "no ELF"),
            (b"\x7fELF", "no ELF"),
            (b"text", "no ELF"),
        ] {
            let error = ModInfo::of_module(bytes).unwrap_err().to_string();
            assert!(error.contains(problem), "{error}");
        }
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let error = ModInfo::of_module(&own).unwrap_err().to_string();
        assert!(error.contains("no section .modinfo"), "{error}");
    }

    #[test]
    fn built_in_modules_are_known_by_name_and_alias() {
        let names = builtin(
            "kernel/fs/ext4/ext4.ko\n\n  kernel/x/a-b.ko\nplain\n",
            "unix.alias=net-pf-1\0unix.license=GPL\0broken\0=x\0crc32c.alias=crypto-crc32c\0",
        );
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        assert_eq!(
            names,
            [
                "a_b",
                "crc32c",
                "crypto-crc32c",
                "ext4",
                "net-pf-1",
                "plain",
                "unix"
            ]
        );
        assert!(builtin("", "").is_empty());
    }
}
