//! The probe: look for devices, load what drives them, look again, until nothing new
//! comes.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use goldring_contract::Root;
use goldring_contract::image::{Class, Module, module_name};

use crate::device::{Device, scan};
use crate::load::{Job, Ledger, Loader, Problem, Why, run};
use crate::tables::Tables;

/// How long nothing new must come after a bus driver was loaded.
const QUIET: Duration = Duration::from_millis(200);
/// The same when there is a USB: its hubs wait for stable power first.
const QUIET_USB: Duration = Duration::from_millis(1200);
/// The same for disks: their controllers wait for them in the background.
const QUIET_DISKS: Duration = Duration::from_millis(1200);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(40);
/// However busy the buses are, the probe ends after so many rounds…
const ROUNDS: u32 = 16;
/// … and looks for so long altogether.
const PATIENCE: Duration = Duration::from_secs(8);
/// No driver may take longer than this; a RAID controller that starts takes a minute.
const SLOWEST: Duration = Duration::from_secs(150);

/// What is said about modules, and how time passes.
pub trait Voice {
    /// Says that `module` is about to be loaded for `device`.
    fn installing(&self, module: &str, device: &Device);

    /// Says that `problem` came up while a driver for `device` was loaded.
    fn trouble(&self, problem: &Problem, device: &Device);

    /// Waits.
    fn pause(&self, time: Duration);
}

/// Which drivers are loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// All but those of disks.
    WithoutDisks,
    /// All.
    All,
}

/// A driver that did not come to drive its device.
#[derive(Debug, Clone)]
pub struct Trouble {
    /// The device.
    pub device: Device,
    /// What went wrong with which module, as the end of a sentence.
    pub what: String,
}

/// The state of a probe: what was seen and what was tried.
pub struct Probe {
    root: Root,
    tables: Arc<Tables>,
    ledger: Arc<Ledger>,
    loader: Arc<dyn Loader>,
    seen: BTreeSet<Device>,
    /// Drivers of disks that wait for their turn.
    later: Vec<(Device, Job)>,
    /// What USB would bring is left alone.
    without_usb: bool,
    /// Which devices get drivers.
    wanted: Box<dyn Fn(&Device) -> bool + Send>,
    troubles: Vec<Trouble>,
}

impl std::fmt::Debug for Probe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Probe")
            .field("seen", &self.seen)
            .finish_non_exhaustive()
    }
}

/// What one round did.
#[derive(Debug, Clone, Copy, Default)]
struct Round {
    new_devices: bool,
    bus_loaded: bool,
}

impl Probe {
    /// A probe that has seen nothing. Modules in `loaded` (`/proc/modules`) count as
    /// tried.
    pub fn new(
        root: &Root,
        tables: &Arc<Tables>,
        loaded: HashSet<String>,
        loader: Arc<dyn Loader>,
    ) -> Self {
        Self {
            root: root.clone(),
            tables: Arc::clone(tables),
            ledger: Arc::new(Ledger::new(loaded)),
            loader,
            seen: BTreeSet::new(),
            later: Vec::new(),
            without_usb: false,
            wanted: Box::new(|_| true),
            troubles: Vec::new(),
        }
    }

    /// `noauto`: leaves USB and PCMCIA controllers alone, and takes only the first of
    /// several drivers of one disk controller.
    pub fn without_usb(mut self) -> Self {
        self.without_usb = true;
        self
    }

    /// Loads drivers only for devices that `wanted` says yes to.
    pub fn only(mut self, wanted: impl Fn(&Device) -> bool + Send + 'static) -> Self {
        self.wanted = Box::new(wanted);
        self
    }

    /// All devices that were seen.
    pub fn devices(&self) -> &BTreeSet<Device> {
        &self.seen
    }

    /// Drivers that did not come to drive their devices.
    pub fn troubles(&self) -> &[Trouble] {
        &self.troubles
    }

    /// Loads everything that drives something, until all is quiet, or until nothing new
    /// is there at once and there is `enough`.
    pub fn run(&mut self, share: Share, voice: &impl Voice, enough: impl Fn() -> bool) {
        let mut waited = Duration::ZERO;
        for _ in 0..ROUNDS {
            let mut round = self.round(share, voice);
            // As long as devices come, look again at once.
            while round.new_devices && round.bus_loaded {
                round = self.round(share, voice);
            }
            if enough() || !self.settle(share, voice, &mut waited) {
                break;
            }
        }
    }

    /// Waits until a device appears (true) or all is quiet (false).
    fn settle(&self, share: Share, voice: &impl Voice, waited: &mut Duration) -> bool {
        let quiet = self.quiet(share);
        let mut still = Duration::ZERO;
        loop {
            if scan(&self.root).difference(&self.seen).next().is_some() {
                return true;
            }
            if still >= quiet || *waited >= PATIENCE {
                return false;
            }
            voice.pause(LOOK);
            still += LOOK;
            *waited += LOOK;
        }
    }

    /// How long nothing new must come before no more is expected.
    fn quiet(&self, share: Share) -> Duration {
        let loaded = |class| {
            let mut of_class = self.tables.modules.iter().filter(|m| m.class == class);
            of_class.any(|module| self.ledger.knows(&module.name))
        };
        if share == Share::All && loaded(Class::Storage) {
            QUIET_DISKS
        } else if self.seen.iter().any(|device| device.bus == "usb") {
            QUIET_USB
        } else if loaded(Class::Bus) {
            QUIET
        } else {
            Duration::ZERO
        }
    }

    /// Looks once and loads what drives the new devices.
    fn round(&mut self, share: Share, voice: &impl Voice) -> Round {
        let mut round = Round::default();
        let mut jobs = Vec::new();
        if share == Share::All {
            jobs.append(&mut self.later);
        }
        let now = scan(&self.root);
        let new: Vec<Device> = now.difference(&self.seen).cloned().collect();
        let mut planned: HashSet<String> = HashSet::new();
        for device in new {
            round.new_devices = true;
            for module in self
                .drivers(&device)
                .into_iter()
                .cloned()
                .collect::<Vec<_>>()
            {
                if self.ledger.knows(&module.name) || !planned.insert(module.name.clone()) {
                    continue;
                }
                let job = Job::new(&self.tables, &module);
                if share == Share::WithoutDisks && module.class == Class::Storage {
                    self.later.push((device.clone(), job));
                } else {
                    round.bus_loaded |= module.class == Class::Bus;
                    jobs.push((device.clone(), job));
                }
            }
            self.seen.insert(device);
        }
        self.load(jobs, voice);
        round
    }

    /// The modules to load for a device, in order.
    fn drivers(&self, device: &Device) -> Vec<&Module> {
        if !(self.wanted)(device) {
            return Vec::new();
        }
        let names = self.tables.index.modules(&device.modalias);
        let modules = names
            .into_iter()
            .filter_map(|name| self.tables.modules.get(name));
        let mut modules: Vec<&Module> = modules.collect();
        if self.without_usb {
            modules.retain(|module| {
                !["usb/host", "pcmcia"].iter().any(|folder| {
                    let rest = module.path.strip_prefix("kernel/drivers/");
                    rest.is_some_and(|rest| rest.starts_with(folder))
                })
            });
            let mut disks = 0;
            modules.retain(|module| {
                disks += usize::from(module.class == Class::Storage);
                module.class != Class::Storage || disks == 1
            });
        }
        modules
    }

    /// Loads what is new of `jobs` and notes what goes wrong.
    fn load(&mut self, mut jobs: Vec<(Device, Job)>, voice: &impl Voice) {
        jobs.retain(|(_, job)| !self.ledger.knows(&job.module));
        let mut told: HashSet<&str> = HashSet::new();
        for (device, job) in &jobs {
            if told.insert(&job.module) {
                voice.installing(&job.module, device);
            }
        }
        let (devices, jobs): (Vec<_>, Vec<_>) = jobs.into_iter().unzip();
        let names: Vec<String> = jobs.iter().map(|job| job.module.clone()).collect();
        let results = run(jobs, &self.ledger, &self.loader, SLOWEST);
        for ((device, problems), name) in devices.iter().zip(results).zip(names) {
            for problem in problems {
                voice.trouble(&problem, device);
                if problem.matters() {
                    self.troubles.push(Trouble {
                        device: device.clone(),
                        what: problem.told(&name, device),
                    });
                }
            }
        }
    }
}

/// `No such device` to finit_module: the driver looked and found nothing for it. Usual,
/// and not worth a line.
const ENODEV: i32 = 19;

impl Problem {
    /// Whether it is worth a line.
    pub fn matters(&self) -> bool {
        !matches!(&self.why, Why::Refused(error) if error.raw_os_error() == Some(ENODEV))
    }

    /// `e1000e for 8086:10d3 did not load: …`.
    fn told(&self, driver: &str, device: &Device) -> String {
        let id = device.id();
        let module = &self.module;
        let part = if module == driver {
            String::new()
        } else {
            format!(", needed by {driver},")
        };
        match &self.why {
            Why::Missing => format!("{module}{part} for {id} is not in this image"),
            Why::Refused(error) => format!("{module}{part} for {id} did not load: {error}"),
            Why::Slow => format!("{module} for {id} still loads after a long time"),
        }
    }
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
    use goldring_contract::image::{Aliases, Modules, Names};
    use std::cell::{Cell, RefCell};
    use std::fs;
    use std::io;
    use std::sync::Mutex;

    use crate::index::Index;
    use crate::load::load_chain;

    /// Loads by writing down, and lets a bus driver bring its devices.
    #[derive(Default)]
    struct Kernel {
        loaded: Mutex<Vec<String>>,
        brings: Vec<(&'static str, std::path::PathBuf, &'static str)>,
    }

    impl Loader for Kernel {
        fn load(&self, module: &Module) -> io::Result<()> {
            if module.path.is_empty() {
                return Err(io::ErrorKind::NotFound.into());
            }
            self.loaded.lock().unwrap().push(module.name.clone());
            for (by, folder, modalias) in &self.brings {
                if *by == module.name {
                    fs::create_dir_all(folder)?;
                    fs::write(folder.join("modalias"), modalias)?;
                }
            }
            if module.name == "refused" {
                return Err(io::Error::from_raw_os_error(8));
            }
            Ok(())
        }
    }

    /// Writes down what is said.
    #[derive(Default)]
    struct Recorder {
        said: RefCell<Vec<String>>,
        waited: Cell<Duration>,
    }

    impl Voice for Recorder {
        fn installing(&self, module: &str, device: &Device) {
            self.said
                .borrow_mut()
                .push(format!("for {} {module}", device.place));
        }
        fn trouble(&self, problem: &Problem, _: &Device) {
            self.said
                .borrow_mut()
                .push(format!("trouble {}", problem.module));
        }
        fn pause(&self, time: Duration) {
            self.waited.set(self.waited.get() + time);
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
        let mut usb = module("uhci_hcd", Class::Bus, &[]);
        usb.path = "kernel/drivers/usb/host/uhci-hcd.ko".into();
        let mut crc = module("xfs", Class::FileSystem, &["libcrc32c"]);
        crc.after = vec!["crc32c_intel".into()];
        let aliases = [
            ("pci:v00001AF4d*", "virtio_pci"),
            ("virtio:d00000001v*", "virtio_net"),
            ("pci:v0000DEADd*", "gone"),
            ("pci:v0000DEADd*", "unknown"),
            ("pci:v00001000d*", "refused"),
            ("pci:v00001000d*", "second"),
            ("pci:v*d*bc0Csc03i00*", "uhci_hcd"),
            ("fs-xfs", "xfs"),
        ];
        Tables {
            modules: Modules::new(vec![
                module("virtio_pci", Class::Bus, &["virtio", "virtio_ring"]),
                module("virtio", Class::Other, &[]),
                module("virtio_ring", Class::Other, &["virtio"]),
                module("virtio_net", Class::Network, &["failover"]),
                module("failover", Class::Other, &[]),
                module("refused", Class::Storage, &[]),
                module("libcrc32c", Class::Other, &[]),
                module("crc32c_intel", Class::Other, &["libcrc32c"]),
                crc,
                gone,
                usb,
            ]),
            index: Index::new(&Aliases::new(
                aliases.map(|(p, m)| (p.to_owned(), m.to_owned())).to_vec(),
            )),
            names: Names::default(),
        }
    }

    fn machine(devices: &[(&str, &str)]) -> (tempfile::TempDir, Root) {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::at(folder.path());
        for (place, modalias) in devices {
            let folder = root.join(format!("/sys/bus/{place}"));
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("modalias"), format!("{modalias}\n")).unwrap();
        }
        (folder, root)
    }

    fn probe(root: &Root, kernel: &Arc<Kernel>) -> Probe {
        let loader: Arc<dyn Loader> = kernel.clone();
        Probe::new(root, &Arc::new(tables()), HashSet::new(), loader)
    }

    #[test]
    fn a_bus_is_followed_by_a_new_probe() {
        let (_folder, root) = machine(&[
            ("pci/devices/0000:00:03.0", "pci:v00001AF4d00001000sv"),
            ("pci/devices/0000:00:04.0", "pci:v0000DEADd00001000sv"),
        ]);
        let kernel = Arc::new(Kernel {
            brings: vec![(
                "virtio_pci",
                root.join("/sys/bus/virtio/devices/virtio0"),
                "virtio:d00000001v00001AF4",
            )],
            ..Kernel::default()
        });
        let recorder = Recorder::default();
        let mut probe = probe(&root, &kernel);
        probe.run(Share::All, &recorder, || false);
        assert_eq!(
            *recorder.said.borrow(),
            [
                "for 0000:00:03.0 virtio_pci",
                "for 0000:00:04.0 gone",
                "trouble gone",
                "for virtio0 virtio_net",
            ]
        );
        let loaded = kernel.loaded.lock().unwrap();
        assert_eq!(
            *loaded,
            [
                "virtio",
                "virtio_ring",
                "virtio_pci",
                "failover",
                "virtio_net"
            ]
        );
        assert_eq!(probe.devices().len(), 3);
        assert_eq!(
            probe.troubles()[0].what,
            "gone for dead:1000 is not in this image"
        );
        assert!(recorder.waited.get() < Duration::from_secs(1));
    }

    #[test]
    fn disks_come_when_they_are_asked_for_and_enough_is_enough() {
        let (_folder, root) = machine(&[
            ("pci/devices/0000:00:02.0", "pci:v00001000d00000012sv"),
            ("pci/devices/0000:00:03.0", "pci:v00001AF4d00001000sv"),
        ]);
        let kernel = Arc::<Kernel>::default();
        let recorder = Recorder::default();
        let mut probe = probe(&root, &kernel);
        probe.run(Share::WithoutDisks, &recorder, || true);
        assert!(recorder.waited.get().is_zero());
        assert_eq!(*recorder.said.borrow(), ["for 0000:00:03.0 virtio_pci"]);
        probe.run(Share::All, &recorder, || false);
        assert_eq!(
            recorder.said.borrow()[1..],
            ["for 0000:00:02.0 refused", "trouble refused"]
        );
        let told = &probe.troubles()[0].what;
        assert!(
            told.starts_with("refused for 1000:0012 did not load: Exec format"),
            "{told}"
        );
        // Some disks take their time.
        assert_eq!(recorder.waited.get(), QUIET_DISKS);
    }

    #[test]
    fn only_devices_that_are_wanted_get_drivers() {
        let (_folder, root) = machine(&[
            (
                "pci/devices/0000:00:01.2",
                "pci:v00008086d00007020sv0bc0Csc03i00",
            ),
            ("pci/devices/0000:00:02.0", "pci:v00001000d00000012sv"),
        ]);
        let kernel = Arc::<Kernel>::default();
        let mut probe = probe(&root, &kernel).only(|device| device.id() == "1000:0012");
        probe.run(Share::All, &Recorder::default(), || true);
        assert_eq!(*kernel.loaded.lock().unwrap(), ["refused"]);
        assert_eq!(probe.devices().len(), 2);
    }

    #[test]
    fn noauto_leaves_usb_alone() {
        let (_folder, root) = machine(&[
            (
                "pci/devices/0000:00:01.2",
                "pci:v00008086d00007020sv0bc0Csc03i00",
            ),
            ("pci/devices/0000:00:02.0", "pci:v00001000d00000012sv"),
        ]);
        let kernel = Arc::<Kernel>::default();
        let mut probe = probe(&root, &kernel).without_usb();
        probe.run(Share::All, &Recorder::default(), || true);
        assert_eq!(*kernel.loaded.lock().unwrap(), ["refused"]);
    }

    #[test]
    fn nothing_to_drive_waits_for_nothing() {
        let (_folder, root) = machine(&[]);
        let recorder = Recorder::default();
        let mut probe = probe(&root, &Arc::default());
        probe.run(Share::All, &recorder, || false);
        assert!(probe.devices().is_empty() && recorder.said.borrow().is_empty());
        assert!(recorder.waited.get().is_zero());
    }

    #[test]
    fn names_and_aliases_load_with_what_they_need() {
        let tables = tables();
        let kernel = Kernel::default();
        let mut done = parse_loaded("crc32c_intel 24576 0 - Live 0x0\n");
        for name in tables.resolve("fs-xfs") {
            let module = tables.modules.get(name).unwrap();
            assert!(load_chain(&tables, module, &mut done, &kernel).is_empty());
            assert!(load_chain(&tables, module, &mut done, &kernel).is_empty());
        }
        assert_eq!(*kernel.loaded.lock().unwrap(), ["libcrc32c", "xfs"]);
        assert_eq!(tables.resolve("virtio-net"), ["virtio_net"]);
        assert!(tables.resolve("zebra").is_empty());
    }
}
