//! `drvinst`: drivers for the devices of this machine.
//!
//! Stage 1 has loaded them before and keeps doing so when devices come. This is for what
//! it was told to leave alone (`noauto`), for a look at what it did, and for people who
//! know the word. The tables and modules are those of stage 1: PID 1 still has its root,
//! which stage 2 sees in `/proc/1/root`.

use std::cell::Cell;
use std::collections::HashSet;
use std::fs;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use goldring_contract::image::Module;
use goldring_contract::sentences::installing_driver;
use goldring_contract::{Root, paths};
use goldring_hw::device::Device;
use goldring_hw::insert;
use goldring_hw::load::{Loader, Problem, load_chain};
use goldring_hw::probe::{Probe, Share, Voice, parse_loaded};
use goldring_hw::tables::{Tables, absent};
use regex_lite::{Regex, RegexBuilder};

use crate::fault::Usage;

const EXAMPLES: &str = "\
Examples:
  drvinst                     drivers for everything that is here
  drvinst STORAGE             for disk controllers of every kind
  drvinst NETWORK 'usb$'      for cards and for USB
Types: STORAGE_SCSI STORAGE_IDE STORAGE_RAID STORAGE_SATA STORAGE_SAS
  STORAGE_EXPRESS STORAGE_SDHCI STORAGE_OTHER NETWORK_ETHERNET NETWORK_OTHER
  SERIAL_USB SERIAL_FIREWIRE BRIDGE_OTHER MULTIMEDIA_OTHER USB OTHER";

/// Options of `drvinst`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Regular expressions for the types of devices; small letters count as capitals
    #[arg(value_name = "TYPE")]
    types: Vec<String>,
}

/// Loads them and says so.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let types = args
        .types
        .iter()
        .map(|text| {
            let mut regex = RegexBuilder::new(text);
            let regex = regex.case_insensitive(true).build();
            regex.map_err(|error| Usage(format!("TYPE {text:?} is no regular expression: {error}")))
        })
        .collect::<Result<Vec<Regex>, Usage>>()?;
    install(&stage1(&Root::system()), types)
}

/// Where the tables and modules are: here, or in the root that PID 1 kept.
fn stage1(root: &Root) -> Root {
    if root.join(paths::MODULES).exists() {
        return root.clone();
    }
    Root::at(root.join("/proc/1/root"))
}

fn install(root: &Root, types: Vec<Regex>) -> anyhow::Result<()> {
    let tables = Arc::new(Tables::read(root).context("drivers come from all.rdz")?);
    let loaded = fs::read_to_string(root.join("/proc/modules")).unwrap_or_default();
    let wanted = move |device: &Device| is_wanted(device, &types);
    let files = Files::new(root);
    let voice = Screen {
        root,
        tables: &tables,
        said: Cell::new(0),
    };
    let mut probe = Probe::new(root, &tables, parse_loaded(&loaded), Arc::new(files));
    let seen = goldring_hw::device::scan(root);
    let chosen: Vec<&Device> = seen.iter().filter(|device| wanted(device)).collect();
    if chosen.is_empty() {
        bail!("no device of that type is here; drvinst --help lists the types");
    }
    for absent in absent(root, chosen.iter().copied()) {
        println!(
            "{} for {} is not in this image; add it in images/stage1.toml",
            absent.module, absent.device
        );
    }
    probe = probe.only(wanted);
    probe.run(Share::All, &voice, || false);
    let failed = probe.troubles().len();
    if failed > 0 {
        bail!("{failed} drivers did not load; see above");
    }
    if voice.said.get() == 0 {
        println!("nothing to do: the drivers for what is here are loaded");
    }
    Ok(())
}

/// Displays are left alone, as they always were: the console must stay readable.
fn is_wanted(device: &Device, types: &[Regex]) -> bool {
    let name = device.media_type();
    name != "DISPLAY_VGA" && (types.is_empty() || types.iter().any(|regex| regex.is_match(name)))
}

/// Loads a module by its name for a tool that needs it. What does not go in is not told:
/// it may be built in, and the tool itself will say what it lacks.
pub(crate) fn need(root: &Root, name: &str) {
    let root = stage1(root);
    let Ok(tables) = Tables::read(&root) else {
        return;
    };
    let loaded = fs::read_to_string(root.join("/proc/modules")).unwrap_or_default();
    let mut done: HashSet<String> = parse_loaded(&loaded);
    let files = Files::new(&root);
    for module in tables.resolve(name) {
        if let Some(module) = tables.modules.get(module) {
            load_chain(&tables, module, &mut done, &files);
        }
    }
}

/// The modules of stage 1.
struct Files {
    root: Root,
    release: String,
}

impl Files {
    fn new(root: &Root) -> Self {
        Self {
            root: root.clone(),
            release: goldring_sys::module::kernel_release(),
        }
    }
}

impl Loader for Files {
    fn load(&self, module: &Module) -> io::Result<()> {
        insert::load(&self.root, &self.release, false, module)
    }
}

struct Screen<'a> {
    root: &'a Root,
    tables: &'a Tables,
    said: Cell<usize>,
}

impl Voice for Screen<'_> {
    fn installing(&self, module: &str, device: &Device) {
        self.said.set(self.said.get() + 1);
        println!(
            "{}",
            installing_driver(module, &device.name(&self.tables.names))
        );
    }

    fn trouble(&self, problem: &Problem, _: &Device) {
        if let Some(sentence) = insert::sentence(self.root, problem) {
            println!("failed: {sentence}");
        }
    }

    fn pause(&self, time: Duration) {
        std::thread::sleep(time);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(modalias: &str) -> Device {
        Device {
            bus: modalias.split(':').next().unwrap_or_default().into(),
            place: "0".into(),
            modalias: modalias.into(),
        }
    }

    #[test]
    fn types_choose_devices() {
        let disk = device("pci:v00008086d00007010sv0sd0bc01sc01i80");
        let card = device("pci:v00008086d000010D3sv0sd0bc02sc00i00");
        let screen = device("pci:v00001234d00001111sv0sd0bc03sc00i00");
        let chosen = |types: &[&str]| {
            let types: Vec<Regex> = types
                .iter()
                .map(|t| RegexBuilder::new(t).case_insensitive(true).build().unwrap())
                .collect();
            [&disk, &card, &screen].map(|device| is_wanted(device, &types))
        };
        assert_eq!(chosen(&[]), [true, true, false]);
        assert_eq!(chosen(&["STORAGE"]), [true, false, false]);
        assert_eq!(chosen(&["^net", "ide$"]), [true, true, false]);
        assert_eq!(chosen(&["DISPLAY"]), [false; 3]);
    }

    #[test]
    fn a_wrong_expression_is_a_mistake_in_the_call() {
        let types = vec!["STOR(".to_owned()];
        let error = run(&Args { types }).unwrap_err();
        assert!(error.downcast_ref::<Usage>().is_some(), "{error}");
        assert!(error.to_string().contains("STOR("), "{error}");
    }

    /// A machine with one card, whose tables stand where stage 2 sees them.
    fn machine(modules: &str) -> (tempfile::TempDir, Root) {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::at(folder.path());
        let stage1 = stage1(&root);
        for (path, text) in [
            (paths::MODULES, modules),
            (paths::ALIASES, "pci:v00008086d000010D3* e1000e\n"),
            (paths::ABSENT, "pci:v00008086d000010D3* other\n"),
            (
                "/sys/bus/pci/devices/0000:00:03.0/modalias",
                "pci:v00008086d000010D3sv0sd0bc02sc00i00\n",
            ),
            ("/proc/modules", "loaded 1 0 - Live 0x0\n"),
        ] {
            let path = stage1.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        (folder, stage1)
    }

    #[test]
    fn failures_end_with_a_sentence() {
        let line = Module {
            name: "e1000e".into(),
            path: "kernel/e1000e.ko".into(),
            class: goldring_contract::image::Class::Network,
            before: vec![],
            after: vec![],
            firmware: vec![],
        };
        let table = goldring_contract::image::Modules::new(vec![line]).to_string();
        let (_folder, root) = machine(&table);
        let said = |types: &[&str]| {
            let types = types.iter().map(|t| Regex::new(t).unwrap()).collect();
            install(&root, types).map_err(|error| error.to_string())
        };
        let error = said(&[]).unwrap_err();
        assert_eq!(error, "1 drivers did not load; see above");
        assert!(
            said(&["STORAGE"])
                .unwrap_err()
                .contains("no device of that type")
        );
        fs::write(root.join("/proc/modules"), "e1000e 1 0 - Live 0x0\n").unwrap();
        said(&["NETWORK"]).unwrap();
    }
}
