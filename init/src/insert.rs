//! Modules into the kernel, with the sentences that people know.

use std::collections::HashSet;
use std::io;
use std::time::Duration;

use goldring_contract::image::{Module, Names};
use goldring_contract::sentences::{cannot_find_module, installing_driver};
use goldring_contract::{Root, paths};
use goldring_hw::device::Device;
use goldring_hw::load::{Loader, Problem, Why, load_chain};
use goldring_hw::probe::{Voice, parse_loaded};
use goldring_hw::tables::Tables;

use crate::console::say;

/// The module's symbols are not there.
const ENOENT: i32 = 2;
/// No module, or one for another kernel.
const ENOEXEC: i32 = 8;
/// A module without a signature that this kernel takes: ENOKEY, EKEYREJECTED.
const UNSIGNED: [i32; 2] = [126, 129];

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

fn load(root: &Root, release: &str, dry_run: bool, module: &Module) -> io::Result<()> {
    let tree = format!("{}/{release}", paths::MODULE_TREE);
    let file = root.join(tree).join(&module.path);
    if dry_run || !file.exists() {
        // ENOENT from the kernel would mean something else: an unknown symbol.
        return file.metadata().map(drop);
    }
    goldring_sys::module::load(&file)
        .map(drop)
        .map_err(|error| explained(root, &module.name, error))
}

/// The kernel's errno says little; its log says more.
fn explained(root: &Root, module: &str, error: io::Error) -> io::Error {
    let what = match error.raw_os_error() {
        Some(ENOENT) => "unknown symbol; is a module missing that it needs?",
        Some(ENOEXEC) => "its file is broken, or for another kernel",
        Some(code) if UNSIGNED.contains(&code) => "this kernel takes only signed modules",
        _ => return error,
    };
    let messages = goldring_sys::kmsg::messages(&root.join("/dev/kmsg")).unwrap_or_default();
    io::Error::other(match reason(&messages, module) {
        Some(reason) => format!("{what} (the kernel: {reason})"),
        None => what.to_owned(),
    })
}

/// The last message about `module`, without its name.
fn reason<'m>(messages: &'m [String], module: &str) -> Option<&'m str> {
    messages.iter().rev().find_map(|message| {
        let (name, text) = message.split_once(": ")?;
        (name.replace('-', "_") == module).then_some(text)
    })
}

/// Says what became of modules that did not go in.
pub(crate) fn told(root: &Root, problem: &Problem) {
    let module = &problem.module;
    match &problem.why {
        Why::Missing if is_freed(root, module) => say(&was_freed(module)),
        Why::Missing => say(&cannot_find_module(module)),
        Why::Refused(error) if problem.matters() => say(&format!("loading {module}: {error}")),
        Why::Refused(_) => {}
        Why::Slow => say(&format!(
            "loading {module} takes too long; going on without it"
        )),
    }
}

/// Whether the module's file was removed to free memory.
pub(crate) fn is_freed(root: &Root, module: &str) -> bool {
    let freed = std::fs::read_to_string(root.join(paths::FREED)).unwrap_or_default();
    freed.lines().any(|name| name == module)
}

/// The sentence for it.
pub(crate) fn was_freed(module: &str) -> String {
    format!("{module} was freed, because no device wanted it; boot with keepmodules")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_last_word_on_a_module_is_found() {
        let messages = [
            "virtio_net: Unknown symbol net_failover_create (err -2)",
            "e1000e: version magic '6.1.0-1 SMP ' should be '6.1.0-2 SMP '",
            "usb-storage: module verification failed",
            "virtio_net: something else",
        ]
        .map(str::to_owned);
        assert_eq!(reason(&messages, "virtio_net"), Some("something else"));
        assert!(
            reason(&messages, "e1000e")
                .unwrap()
                .starts_with("version magic")
        );
        assert!(reason(&messages, "usb_storage").is_some());
        assert_eq!(reason(&messages, "tg3"), None);
    }

    #[test]
    fn a_freed_module_is_not_called_missing() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::at(folder.path());
        assert!(!is_freed(&root, "tg3"));
        std::fs::create_dir_all(root.join(paths::TABLES)).unwrap();
        std::fs::write(root.join(paths::FREED), "tg\ntg3\n").unwrap();
        assert!(is_freed(&root, "tg3") && !is_freed(&root, "t"));
    }
}
