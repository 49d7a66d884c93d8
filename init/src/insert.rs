//! Modules into the kernel, with the sentences that people know.

use std::collections::HashSet;
use std::io;
use std::time::Duration;

use goldring_contract::Root;
use goldring_contract::image::{Module, Names};
use goldring_contract::sentences::installing_driver;
use goldring_hw::device::Device;
use goldring_hw::insert::{load, sentence};
use goldring_hw::load::{Loader, Problem, load_chain};
use goldring_hw::probe::{Voice, parse_loaded};
use goldring_hw::tables::Tables;

use crate::console::say;

/// Loads from `/lib/modules/RELEASE`, or in a dry run only looks there.
#[derive(Debug)]
pub(crate) struct Kernel<'a> {
    pub(crate) root: &'a Root,
    pub(crate) release: &'a str,
    pub(crate) names: &'a Names,
    pub(crate) dry_run: bool,
}

/// The same, for threads.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    pub(crate) root: Root,
    pub(crate) release: String,
    pub(crate) dry_run: bool,
}

impl Loader for Kernel<'_> {
    fn load(&self, module: &Module) -> io::Result<()> {
        load(self.root, self.release, self.dry_run, module)
    }
}

impl Loader for Files {
    fn load(&self, module: &Module) -> io::Result<()> {
        load(&self.root, &self.release, self.dry_run, module)
    }
}

/// Says what became of modules that did not go in.
pub(crate) fn told(root: &Root, problem: &Problem) {
    if let Some(sentence) = sentence(root, problem) {
        say(&sentence);
    }
}

impl Voice for Kernel<'_> {
    fn installing(&self, module: &str, device: &Device) {
        say(&installing_driver(module, &device.name(self.names)));
    }

    fn trouble(&self, problem: &Problem, _: &Device) {
        told(self.root, problem);
    }

    fn pause(&self, time: Duration) {
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
            let problems = load_chain(tables, module, &mut done, &*insert);
            all &= !problems.iter().any(|problem| problem.module == module.name);
            for problem in &problems {
                told(insert.root, problem);
            }
        }
    }
    all
}
