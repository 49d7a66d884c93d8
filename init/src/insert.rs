//! Modules into the kernel, with the sentences that people know.

use std::collections::HashSet;
use std::io;
use std::time::Duration;

use goldring_contract::image::{Module, Names};
use goldring_contract::sentences::{cannot_find_module, installing_driver};
use goldring_contract::{Root, paths};
use goldring_hw::device::Device;
use goldring_hw::probe::{Insert, load_chain, parse_loaded};
use goldring_hw::tables::Tables;

use crate::console::say;

/// `No such device` and `Invalid argument` to finit_module: the driver looked and found
/// nothing for it. Usual, and not worth a line.
const ENODEV: i32 = 19;

/// Loads from `/lib/modules/RELEASE`, or in a dry run only looks there.
#[derive(Debug)]
pub(crate) struct Kernel<'a> {
    pub(crate) root: &'a Root,
    pub(crate) release: &'a str,
    pub(crate) names: &'a Names,
    pub(crate) dry_run: bool,
}

impl Insert for Kernel<'_> {
    fn insert(&mut self, module: &Module) -> io::Result<()> {
        let tree = format!("{}/{}", paths::MODULE_TREE, self.release);
        let file = self.root.join(tree).join(&module.path);
        if self.dry_run || !file.exists() {
            // ENOENT from the kernel would mean something else: an unknown symbol.
            return file.metadata().map(drop);
        }
        match goldring_sys::module::load(&file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(io::Error::other(
                "unknown symbol; is a module missing that it needs?",
            )),
            other => other.map(drop),
        }
    }

    fn installing(&mut self, module: &str, device: &Device) {
        say(&installing_driver(module, &device.name(self.names)));
    }

    fn missing(&mut self, module: &str) {
        say(&cannot_find_module(module));
    }

    fn failed(&mut self, module: &str, error: &io::Error) {
        if error.raw_os_error() != Some(ENODEV) {
            say(&format!("loading {module}: {error}"));
        }
    }

    fn pause(&mut self, time: Duration) {
        if !self.dry_run {
            std::thread::sleep(time);
        }
    }
}

/// Loads the modules that are called `name` or that it is an alias of. Returns whether
/// the image has any and all went in.
pub(crate) fn by_name(tables: &Tables, name: &str, insert: &mut Kernel<'_>) -> bool {
    let loaded = std::fs::read_to_string(insert.root.join("/proc/modules")).unwrap_or_default();
    let mut done: HashSet<String> = parse_loaded(&loaded);
    let modules = tables.resolve(name);
    let mut all = !modules.is_empty();
    for module in modules {
        if let Some(module) = tables.modules.get(module) {
            all &= load_chain(tables, module, &mut done, insert);
        }
    }
    all
}
