//! The probe: look for devices, load what drives them, look again, until nothing new
//! comes.

use std::collections::{BTreeSet, HashSet};
use std::io;
use std::time::Duration;

use goldring_contract::Root;
use goldring_contract::image::{Module, module_name};

use crate::device::{Device, scan};
use crate::tables::Tables;

/// How long nothing new must come after a bus driver was loaded.
const QUIET: Duration = Duration::from_millis(200);
/// The same when there is a USB: its hubs wait for stable power first.
const QUIET_USB: Duration = Duration::from_millis(1200);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(40);
/// However busy the buses are, the probe ends after so many rounds…
const ROUNDS: u32 = 16;
/// … and looks for so long altogether.
const PATIENCE: Duration = Duration::from_secs(8);

/// How a module gets into the kernel, and what is said about it.
pub trait Insert {
    /// Loads the module's file; one that is there already is a success.
    ///
    /// # Errors
    /// `NotFound` when the file is missing; what the kernel says otherwise.
    fn insert(&mut self, module: &Module) -> io::Result<()>;

    /// Says that `module` is about to be loaded for `device`.
    fn installing(&mut self, module: &str, device: &Device);

    /// Says that a module of the table is not in the image.
    fn missing(&mut self, module: &str);

    /// Says that a module could not be loaded.
    fn failed(&mut self, module: &str, error: &io::Error);

    /// Waits.
    fn pause(&mut self, time: Duration);
}

/// The state of a probe: what was seen and what was tried.
#[derive(Debug)]
pub struct Probe<'a> {
    tables: &'a Tables,
    seen: BTreeSet<Device>,
    tried: HashSet<String>,
}

/// What one round did.
#[derive(Debug, Clone, Copy, Default)]
struct Round {
    new_devices: bool,
    bus_loaded: bool,
}

impl<'a> Probe<'a> {
    /// A probe that has seen nothing. Modules in `loaded` (`/proc/modules`) count as
    /// tried.
    pub fn new(tables: &'a Tables, loaded: HashSet<String>) -> Self {
        Self {
            tables,
            seen: BTreeSet::new(),
            tried: loaded,
        }
    }

    /// Loads everything that drives something. Returns all devices that were seen.
    pub fn run(mut self, root: &Root, insert: &mut impl Insert) -> BTreeSet<Device> {
        let mut waited = Duration::ZERO;
        for _ in 0..ROUNDS {
            let mut round = self.round(root, insert);
            // As long as devices come, look again at once.
            if round.new_devices && round.bus_loaded {
                round = self.round(root, insert);
            }
            if !self.settle(root, insert, round, &mut waited) {
                break;
            }
        }
        self.seen
    }

    /// Waits until a device appears (true) or all is quiet (false).
    fn settle(
        &self,
        root: &Root,
        insert: &mut impl Insert,
        round: Round,
        waited: &mut Duration,
    ) -> bool {
        if !round.new_devices {
            return false;
        }
        let usb = self.seen.iter().any(|device| device.bus == "usb");
        let quiet = if usb { QUIET_USB } else { QUIET };
        let mut still = Duration::ZERO;
        loop {
            if scan(root).difference(&self.seen).next().is_some() {
                return true;
            }
            if still >= quiet || *waited >= PATIENCE || !self.has_bus() {
                return false;
            }
            insert.pause(LOOK);
            still += LOOK;
            *waited += LOOK;
        }
    }

    /// Whether any driver of a bus was loaded, so that waiting makes sense.
    fn has_bus(&self) -> bool {
        self.tried.iter().any(|module| self.tables.is_bus(module))
    }

    /// Looks once and loads what drives the new devices.
    fn round(&mut self, root: &Root, insert: &mut impl Insert) -> Round {
        let mut round = Round::default();
        let now = scan(root);
        let new: Vec<Device> = now.difference(&self.seen).cloned().collect();
        for device in new {
            round.new_devices = true;
            for module in self.tables.index.modules(&device.modalias) {
                round.bus_loaded |= self.tables.is_bus(module);
                if let Some(module) = self.tables.modules.get(module) {
                    self.load(module, Some(&device), insert);
                }
            }
            self.seen.insert(device);
        }
        round
    }

    /// Loads a module with all that belongs to it, once.
    fn load(&mut self, module: &Module, device: Option<&Device>, insert: &mut impl Insert) {
        if self.tried.contains(&module.name) {
            return;
        }
        if let Some(device) = device {
            insert.installing(&module.name, device);
        }
        load_chain(self.tables, module, &mut self.tried, insert);
    }
}

/// Loads `module` with what it needs and what follows it, leaving out what is in `done`.
/// Returns whether `module` itself went in, or was there.
pub fn load_chain(
    tables: &Tables,
    module: &Module,
    done: &mut HashSet<String>,
    insert: &mut impl Insert,
) -> bool {
    let mut loaded = done.contains(&module.name);
    for name in tables.chain(module) {
        if !done.insert(name.clone()) {
            continue;
        }
        let Some(entry) = tables.modules.get(&name) else {
            insert.missing(&name);
            continue;
        };
        match insert.insert(entry) {
            Ok(()) => loaded |= name == module.name,
            Err(error) if error.kind() == io::ErrorKind::NotFound => insert.missing(&name),
            Err(error) => insert.failed(&name, &error),
        }
    }
    loaded
}

/// The modules that `/proc/modules` lists.
pub fn parse_loaded(proc_modules: &str) -> HashSet<String> {
    proc_modules
        .lines()
        .filter_map(|line| line.split_ascii_whitespace().next())
        .map(module_name)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use goldring_contract::image::{Aliases, Class, Modules, Names};
    use std::fs;

    use crate::index::Index;

    /// Records what is said, and lets a bus driver bring its devices.
    #[derive(Default)]
    struct Recorder {
        said: Vec<String>,
        brings: Vec<(&'static str, std::path::PathBuf, &'static str)>,
        waited: Duration,
    }

    impl Insert for Recorder {
        fn insert(&mut self, module: &Module) -> io::Result<()> {
            if module.path.is_empty() {
                return Err(io::ErrorKind::NotFound.into());
            }
            self.said.push(format!("load {}", module.name));
            for (by, folder, modalias) in &self.brings {
                if *by == module.name {
                    fs::create_dir_all(folder)?;
                    fs::write(folder.join("modalias"), modalias)?;
                }
            }
            Ok(())
        }
        fn installing(&mut self, module: &str, device: &Device) {
            self.said.push(format!("for {} {module}", device.place));
        }
        fn missing(&mut self, module: &str) {
            self.said.push(format!("missing {module}"));
        }
        fn failed(&mut self, module: &str, _: &io::Error) {
            self.said.push(format!("failed {module}"));
        }
        fn pause(&mut self, time: Duration) {
            self.waited += time;
        }
    }

    fn module(name: &str, class: Class, before: &[&str]) -> Module {
        Module {
            name: name.into(),
            path: format!("{name}.ko"),
            class,
            before: before.iter().map(|s| (*s).to_owned()).collect(),
            after: vec![],
            firmware: vec![],
        }
    }

    fn tables() -> Tables {
        let mut gone = module("gone", Class::Network, &[]);
        gone.path.clear();
        let mut crc = module("xfs", Class::FileSystem, &["libcrc32c"]);
        crc.after = vec!["crc32c_intel".into()];
        let aliases = [
            ("pci:v00001AF4d*", "virtio_pci"),
            ("virtio:d00000001v*", "virtio_net"),
            ("pci:v0000DEADd*", "gone"),
            ("pci:v0000DEADd*", "unknown"),
            ("fs-xfs", "xfs"),
        ];
        Tables {
            modules: Modules::new(vec![
                module("virtio_pci", Class::Bus, &["virtio", "virtio_ring"]),
                module("virtio", Class::Other, &[]),
                module("virtio_ring", Class::Other, &["virtio"]),
                module("virtio_net", Class::Network, &["failover"]),
                module("failover", Class::Other, &[]),
                module("libcrc32c", Class::Other, &[]),
                module("crc32c_intel", Class::Other, &["libcrc32c"]),
                crc,
                gone,
            ]),
            index: Index::new(&Aliases::new(
                aliases.map(|(p, m)| (p.to_owned(), m.to_owned())).to_vec(),
            )),
            names: Names::default(),
        }
    }

    #[test]
    fn a_bus_is_followed_by_a_new_probe() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::at(folder.path());
        let pci = root.join("/sys/bus/pci/devices/0000:00:03.0");
        fs::create_dir_all(&pci).unwrap();
        fs::write(pci.join("modalias"), "pci:v00001AF4d00001000sv\n").unwrap();
        let dead = root.join("/sys/bus/pci/devices/0000:00:04.0");
        fs::create_dir_all(&dead).unwrap();
        fs::write(dead.join("modalias"), "pci:v0000DEADd00001000sv\n").unwrap();
        let tables = tables();
        let mut recorder = Recorder {
            brings: vec![(
                "virtio_pci",
                root.join("/sys/bus/virtio/devices/virtio0"),
                "virtio:d00000001v00001AF4",
            )],
            ..Recorder::default()
        };
        let seen = Probe::new(&tables, HashSet::new()).run(&root, &mut recorder);
        assert_eq!(
            recorder.said,
            [
                "for 0000:00:03.0 virtio_pci",
                "load virtio",
                "load virtio_ring",
                "load virtio_pci",
                "for 0000:00:04.0 gone",
                "missing gone",
                "for virtio0 virtio_net",
                "load failover",
                "load virtio_net",
            ]
        );
        assert_eq!(seen.len(), 3);
        assert!(
            recorder.waited < Duration::from_secs(1),
            "{:?}",
            recorder.waited
        );
    }

    #[test]
    fn nothing_to_drive_waits_for_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let tables = tables();
        let mut recorder = Recorder::default();
        let seen = Probe::new(&tables, HashSet::new()).run(&Root::at(folder.path()), &mut recorder);
        assert!(seen.is_empty() && recorder.said.is_empty() && recorder.waited.is_zero());
    }

    #[test]
    fn names_and_aliases_load_with_what_they_need() {
        let tables = tables();
        let mut recorder = Recorder::default();
        let mut done = parse_loaded("crc32c_intel 24576 0 - Live 0x0\n");
        for name in tables.resolve("fs-xfs") {
            let module = tables.modules.get(name).unwrap();
            assert!(load_chain(&tables, module, &mut done, &mut recorder));
            assert!(load_chain(&tables, module, &mut done, &mut recorder));
        }
        assert_eq!(recorder.said, ["load libcrc32c", "load xfs"]);
        assert_eq!(tables.resolve("virtio-net"), ["virtio_net"]);
        assert!(tables.resolve("zebra").is_empty());
    }
}
