//! The tables inside `all.rdz`, written by the builder and read by `init`.
//!
//! They are line tables with one reader and one writer, both here: PID 1 needs no
//! TOML and no parser of `modules.dep`, because the builder has resolved everything
//! (see ARCHITECTURE.md).

use std::collections::HashMap;
use std::fmt;

/// A table that does not read as it should: an image that is broken or was made by
/// another version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("table {table}, line {line}: {problem}; make the images again with `cargo xtask image`")]
pub struct TableError {
    table: &'static str,
    line: usize,
    problem: String,
}

impl TableError {
    fn new(table: &'static str, line: usize, problem: impl Into<String>) -> Self {
        Self {
            table,
            line,
            problem: problem.into(),
        }
    }
}

/// The version of these tables; an `init` refuses another one.
pub const FORMAT: u32 = 1;

/// What the image is and which other files belong to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The kernel release that the modules are for, as `uname -r` prints it.
    pub kernel: String,
    /// SHA-256 of the `rescue.clp` that was made with this image, in hexadecimal.
    pub stage2_sha256: String,
    /// Size of that `rescue.clp`, in bytes.
    pub stage2_size: u64,
    /// The version of goldring that made it.
    pub version: String,
}

impl Manifest {
    /// Reads the text that `Display` wrote.
    ///
    /// # Errors
    /// A missing key, a value that is none, another [`FORMAT`].
    pub fn parse(text: &str) -> Result<Self, TableError> {
        const TABLE: &str = "manifest";
        let mut values = HashMap::new();
        for (number, line) in text.lines().enumerate() {
            let (key, value) = line
                .split_once(' ')
                .ok_or_else(|| TableError::new(TABLE, number + 1, "no value"))?;
            values.insert(key, (number + 1, value));
        }
        let get = |key: &str| {
            values
                .get(key)
                .copied()
                .ok_or_else(|| TableError::new(TABLE, 0, format!("no line {key:?}")))
        };
        let (line, format) = get("format")?;
        if format != FORMAT.to_string() {
            let problem = format!("format {format}, but this program reads format {FORMAT}");
            return Err(TableError::new(TABLE, line, problem));
        }
        let (line, size) = get("stage2-size")?;
        let (digest_line, digest) = get("stage2-sha256")?;
        if digest.len() != 64 || !digest.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(TableError::new(TABLE, digest_line, "not a SHA-256 digest"));
        }
        Ok(Self {
            kernel: get("kernel")?.1.to_owned(),
            stage2_sha256: digest.to_ascii_lowercase(),
            stage2_size: size
                .parse()
                .map_err(|_| TableError::new(TABLE, line, "size is not a number"))?,
            version: get("version")?.1.to_owned(),
        })
    }
}

impl fmt::Display for Manifest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "format {FORMAT}")?;
        writeln!(f, "kernel {}", self.kernel)?;
        writeln!(f, "stage2-sha256 {}", self.stage2_sha256)?;
        writeln!(f, "stage2-size {}", self.stage2_size)?;
        writeln!(f, "version {}", self.version)
    }
}

/// What a module is for; decides which missing ones are worth a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// A network card's driver.
    Network,
    /// A disk controller's driver.
    Storage,
    /// A bus behind which more devices appear (virtio, USB host controllers…).
    Bus,
    /// A file system.
    FileSystem,
    /// Needed by others, or needed by name.
    Other,
}

impl Class {
    const ALL: [(Self, &'static str); 5] = [
        (Self::Network, "net"),
        (Self::Storage, "storage"),
        (Self::Bus, "bus"),
        (Self::FileSystem, "fs"),
        (Self::Other, "other"),
    ];

    /// The word in the table and in `images/stage1.toml`.
    pub fn word(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(class, _)| *class == self)
            .map_or("other", |(_, word)| word)
    }

    /// The class that is called `word`.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .find(|(_, w)| *w == word)
            .map(|(class, _)| *class)
    }
}

/// One module inside `all.rdz`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    /// The name with underscores, as aliases and `/proc/modules` use it.
    pub name: String,
    /// The file below `/lib/modules/RELEASE`, uncompressed (`….ko`).
    pub path: String,
    /// What it is for.
    pub class: Class,
    /// All modules to load before it, dependencies of dependencies and `softdep pre`
    /// included, in an order that works. Built-in ones are left out.
    pub before: Vec<String>,
    /// Modules to load after it (`softdep post`).
    pub after: Vec<String>,
    /// Firmware files that it may ask for, relative to `/lib/firmware`.
    pub firmware: Vec<String>,
}

/// The modules inside `all.rdz`, sorted by name. One line each, fields split by
/// tabs: name, path, class, before, after, firmware; lists by commas.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Modules(Vec<Module>);

impl Modules {
    /// Takes the modules and sorts them by name.
    pub fn new(mut modules: Vec<Module>) -> Self {
        modules.sort_by(|a, b| a.name.cmp(&b.name));
        Self(modules)
    }

    /// The module called `name`; `-` and `_` are the same, as in kmod.
    pub fn get(&self, name: &str) -> Option<&Module> {
        let name = module_name(name);
        self.0
            .binary_search_by(|m| m.name.as_str().cmp(&name))
            .ok()
            .map(|i| &self.0[i])
    }

    /// All of them, by name.
    pub fn iter(&self) -> std::slice::Iter<'_, Module> {
        self.0.iter()
    }

    /// Reads the text that `Display` wrote.
    ///
    /// # Errors
    /// A line with another number of fields, or an unknown class.
    pub fn parse(text: &str) -> Result<Self, TableError> {
        const TABLE: &str = "modules";
        let mut modules = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let fields: Vec<&str> = line.split('\t').collect();
            let [name, path, class, before, after, firmware] = fields[..] else {
                return Err(TableError::new(TABLE, number + 1, "not six fields"));
            };
            let class = Class::from_word(class).ok_or_else(|| {
                TableError::new(TABLE, number + 1, format!("unknown class {class:?}"))
            })?;
            modules.push(Module {
                name: name.to_owned(),
                path: path.to_owned(),
                class,
                before: list(before),
                after: list(after),
                firmware: list(firmware),
            });
        }
        Ok(Self::new(modules))
    }
}

impl fmt::Display for Modules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for m in &self.0 {
            writeln!(
                f,
                "{}\t{}\t{}\t{}\t{}\t{}",
                m.name,
                m.path,
                m.class.word(),
                m.before.join(","),
                m.after.join(","),
                m.firmware.join(",")
            )?;
        }
        Ok(())
    }
}

/// Which module drives which device: patterns of `modules.alias`, in its order.
/// One line each: pattern, blank, module name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Aliases(Vec<(String, String)>);

impl Aliases {
    /// Takes pairs of pattern and module name; their order decides which module is
    /// tried first.
    pub fn new(pairs: Vec<(String, String)>) -> Self {
        Self(pairs)
    }

    /// Pairs of pattern and module name, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(pattern, module)| (pattern.as_str(), module.as_str()))
    }

    /// Reads the text that `Display` wrote.
    ///
    /// # Errors
    /// A line without a blank.
    pub fn parse(text: &str) -> Result<Self, TableError> {
        let mut pairs = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let (pattern, module) = line
                .rsplit_once(' ')
                .ok_or_else(|| TableError::new("aliases", number + 1, "no module"))?;
            pairs.push((pattern.to_owned(), module.to_owned()));
        }
        Ok(Self(pairs))
    }
}

impl fmt::Display for Aliases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (pattern, module) in &self.0 {
            writeln!(f, "{pattern} {module}")?;
        }
        Ok(())
    }
}

/// What PCI devices are called, from `pci.ids`: `VENDOR|NAME`.
///
/// One line for each vendor that has a device here (`8086 Intel Corporation`),
/// followed by its devices, each indented by a tab, as in `pci.ids` itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Names {
    vendors: HashMap<u16, String>,
    devices: HashMap<(u16, u16), String>,
}

impl Names {
    /// `VENDOR|NAME` of a PCI device; what the table lacks stands in hexadecimal.
    pub fn device(&self, vendor: u16, device: u16) -> String {
        let vendor_name = self
            .vendors
            .get(&vendor)
            .cloned()
            .unwrap_or_else(|| format!("{vendor:04x}"));
        let device_name = self
            .devices
            .get(&(vendor, device))
            .cloned()
            .unwrap_or_else(|| format!("{device:04x}"));
        format!("{vendor_name}|{device_name}")
    }

    /// Keeps the devices that `keep` wants, and the vendors that then have one.
    pub fn retain(&mut self, mut keep: impl FnMut(u16, u16) -> bool) {
        self.devices
            .retain(|&(vendor, device), _| keep(vendor, device));
        let devices = &self.devices;
        self.vendors
            .retain(|vendor, _| devices.keys().any(|(v, _)| v == vendor));
    }

    /// Reads `pci.ids` or the text that `Display` wrote; the format is the same.
    /// Comments, subsystems (two tabs) and the list of classes at the end are left out.
    pub fn parse(text: &str) -> Self {
        let mut names = Self::default();
        let mut current = None;
        for line in text.lines() {
            if line.starts_with('#') || line.starts_with("\t\t") || line.is_empty() {
                continue;
            }
            if line.starts_with("C ") {
                break;
            }
            let entry = line.trim_start_matches('\t');
            let Some((id, name)) = entry.split_once(char::is_whitespace) else {
                continue;
            };
            let Ok(id) = u16::from_str_radix(id, 16) else {
                continue;
            };
            let name = name.trim_start().to_owned();
            if line.starts_with('\t') {
                if let Some(vendor) = current {
                    names.devices.insert((vendor, id), name);
                }
            } else {
                current = Some(id);
                names.vendors.insert(id, name);
            }
        }
        names
    }
}

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut vendors: Vec<_> = self.vendors.iter().collect();
        vendors.sort();
        let mut devices: Vec<_> = self.devices.iter().collect();
        devices.sort();
        for (vendor, name) in vendors {
            writeln!(f, "{vendor:04x}  {name}")?;
            let start = devices.partition_point(|((v, _), _)| v < vendor);
            for ((_, device), name) in devices[start..]
                .iter()
                .take_while(|((v, _), _)| v == vendor)
            {
                writeln!(f, "\t{device:04x}  {name}")?;
            }
        }
        Ok(())
    }
}

/// A module's name as aliases and `/proc/modules` write it: `-` becomes `_`, and a
/// trailing `.ko`, `.ko.xz`… is cut.
///
/// ```
/// assert_eq!(goldring_contract::image::module_name("usb-storage.ko.xz"), "usb_storage");
/// ```
pub fn module_name(file: &str) -> String {
    let stem = file.split_once(".ko").map_or(file, |(stem, _)| stem);
    stem.replace('-', "_")
}

fn list(field: &str) -> Vec<String> {
    field
        .split(',')
        .filter(|s| !s.is_empty())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_read_as_they_were_written() {
        let manifest = Manifest {
            kernel: "6.1.0-42-amd64".into(),
            stage2_sha256: "ab".repeat(32),
            stage2_size: 71_000_000,
            version: "0.1.0".into(),
        };
        assert_eq!(Manifest::parse(&manifest.to_string()), Ok(manifest));

        let modules = Modules::new(vec![
            Module {
                name: "virtio_net".into(),
                path: "kernel/drivers/net/virtio_net.ko".into(),
                class: Class::Network,
                before: vec!["failover".into(), "net_failover".into()],
                after: vec![],
                firmware: vec![],
            },
            Module {
                name: "e1000".into(),
                path: "kernel/drivers/net/ethernet/intel/e1000/e1000.ko".into(),
                class: Class::Network,
                before: vec![],
                after: vec![],
                firmware: vec!["e1000/x.bin".into()],
            },
        ]);
        assert_eq!(Modules::parse(&modules.to_string()), Ok(modules.clone()));
        assert_eq!(
            modules.get("virtio-net").map(|m| m.name.as_str()),
            Some("virtio_net")
        );
        assert!(modules.get("tg3").is_none());

        let aliases = Aliases::new(vec![("pci:v00008086d*".into(), "e1000".into())]);
        assert_eq!(Aliases::parse(&aliases.to_string()), Ok(aliases));
    }

    #[test]
    fn broken_tables_say_where() {
        let table = [
            ("", "no line \"format\""),
            ("format 2\n", "format 2, but this program reads format 1"),
            ("format\n", "no value"),
            (
                "format 1\nstage2-size x\nstage2-sha256 zz\n",
                "not a SHA-256 digest",
            ),
        ];
        for (text, problem) in table {
            let error = Manifest::parse(text).unwrap_err().to_string();
            assert!(error.contains(problem), "{text:?}: {error}");
        }
        assert!(
            Modules::parse("a\tb\tc")
                .unwrap_err()
                .to_string()
                .contains("line 1")
        );
        assert!(
            Modules::parse("a\tb\tzoo\t\t\t")
                .unwrap_err()
                .to_string()
                .contains("zoo")
        );
        assert!(Aliases::parse("alone").is_err());
    }

    #[test]
    fn names_come_from_pci_ids() {
        let text = "# comment\n14e4  Broadcom Corp.\n\t1659  NetXtreme BCM5721\n\t\t1014 02c6  x\n8086  Intel\nC 01  Mass storage\n\t00  SCSI\n";
        let mut names = Names::parse(text);
        assert_eq!(
            names.device(0x14e4, 0x1659),
            "Broadcom Corp.|NetXtreme BCM5721"
        );
        assert_eq!(names.device(0x8086, 0x10d3), "Intel|10d3");
        assert_eq!(names.device(0x1af4, 0x1000), "1af4|1000");
        assert_eq!(Names::parse(&names.to_string()), names);
        names.retain(|vendor, _| vendor == 0x14e4);
        assert_eq!(
            names.to_string(),
            "14e4  Broadcom Corp.\n\t1659  NetXtreme BCM5721\n"
        );
    }
}
