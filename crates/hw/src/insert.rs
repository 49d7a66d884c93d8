//! A module's file into the running kernel, and what to say when it does not go in.

use std::fs;
use std::io;

use goldring_contract::image::Module;
use goldring_contract::sentences::cannot_find_module;
use goldring_contract::{Root, paths};

use crate::load::{Problem, Why};

/// The module's symbols are not there.
const ENOENT: i32 = 2;
/// No module, or one for another kernel.
const ENOEXEC: i32 = 8;
/// A module without a signature that this kernel takes: ENOKEY, EKEYREJECTED.
const UNSIGNED: [i32; 2] = [126, 129];

/// Loads the module's file below `/lib/modules/RELEASE`, or with `dry_run` only looks
/// whether it is there. One that is loaded already is a success.
///
/// # Errors
/// `NotFound` when the file is missing; what the kernel says otherwise, with the line of
/// its log that explains it.
pub fn load(root: &Root, release: &str, dry_run: bool, module: &Module) -> io::Result<()> {
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

/// What became of a module that did not go in, as a sentence; `None` when it is usual
/// and not worth a line.
pub fn sentence(root: &Root, problem: &Problem) -> Option<String> {
    let module = &problem.module;
    Some(match &problem.why {
        Why::Missing if is_freed(root, module) => was_freed(module),
        Why::Missing => cannot_find_module(module),
        Why::Refused(error) if problem.matters() => format!("loading {module}: {error}"),
        Why::Refused(_) => return None,
        Why::Slow => format!("loading {module} takes too long; going on without it"),
    })
}

/// Whether the module's file was removed to free memory.
pub fn is_freed(root: &Root, module: &str) -> bool {
    let freed = fs::read_to_string(root.join(paths::FREED)).unwrap_or_default();
    freed.lines().any(|name| name == module)
}

/// The sentence for it.
pub fn was_freed(module: &str) -> String {
    format!("{module} was freed, because no device wanted it; boot with keepmodules")
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
        let problem = |module: &str| Problem {
            module: module.into(),
            why: Why::Missing,
        };
        assert!(!is_freed(&root, "tg3"));
        fs::create_dir_all(root.join(paths::TABLES)).unwrap();
        fs::write(root.join(paths::FREED), "tg\ntg3\n").unwrap();
        assert!(is_freed(&root, "tg3") && !is_freed(&root, "t"));
        assert_eq!(sentence(&root, &problem("tg3")), Some(was_freed("tg3")));
        let gone = sentence(&root, &problem("piix"));
        assert_eq!(gone.as_deref(), Some("Can't find piix.ko in archive"));
        let nothing = Why::Refused(io::Error::from_raw_os_error(19));
        let module = "piix".to_owned();
        let usual = Problem {
            module,
            why: nothing,
        };
        assert_eq!(sentence(&root, &usual), None);
    }
}
