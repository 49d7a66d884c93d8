//! The tables of `all.rdz`, read together.

use std::fs;
use std::io;

use goldring_contract::image::{Aliases, Module, Modules, Names, TableError, module_name};
use goldring_contract::{Root, paths};

use crate::device::Device;
use crate::index::Index;

/// Why the tables cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TablesError {
    /// One is missing: not one of our images, or a broken one.
    #[error("reading {path}; make the images again with `cargo xtask image`")]
    Read {
        /// Which.
        path: &'static str,
        /// Why.
        source: io::Error,
    },
    /// One is broken.
    #[error(transparent)]
    Table(#[from] TableError),
}

/// What an image knows about modules.
#[derive(Debug, Default)]
pub struct Tables {
    /// The modules inside.
    pub modules: Modules,
    /// Which drives what.
    pub index: Index,
    /// What PCI devices are called.
    pub names: Names,
}

impl Tables {
    /// Reads them. Names are a comfort: without them hexadecimal numbers are shown.
    ///
    /// # Errors
    /// A missing or broken table of modules or aliases.
    pub fn read(root: &Root) -> Result<Self, TablesError> {
        let modules = Modules::parse(&read(root, paths::MODULES)?)?;
        let aliases = Aliases::parse(&read(root, paths::ALIASES)?)?;
        let names = fs::read_to_string(root.join(paths::NAMES)).unwrap_or_default();
        Ok(Self {
            modules,
            index: Index::new(&aliases),
            names: Names::parse(&names),
        })
    }

    /// The modules that are called `name` or that it is an alias of.
    pub fn resolve(&self, name: &str) -> Vec<&str> {
        match self.modules.get(name) {
            Some(module) => vec![module.name.as_str()],
            None => self.index.modules(name),
        }
    }

    /// Everything that loading `module` means, in order: what it needs, itself, what
    /// follows it. Modules that the table lacks are named as well.
    pub fn chain(&self, module: &Module) -> Vec<String> {
        let mut chain: Vec<String> = Vec::new();
        let mut add = |name: &str| {
            let name = module_name(name);
            if !chain.contains(&name) {
                chain.push(name);
            }
        };
        for name in &module.before {
            add(name);
        }
        add(&module.name);
        for name in &module.after {
            for before in self.modules.get(name).map_or(&[][..], |m| &m.before) {
                add(before);
            }
            add(name);
        }
        chain
    }
}

/// A device whose module was left out of the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Absent {
    /// The module.
    pub module: String,
    /// The device, as [`Device::id`] shows it.
    pub device: String,
}

/// Which of `devices` would be driven by modules that were left out of the image.
/// Without the table nothing is known to be absent.
pub fn absent<'a>(root: &Root, devices: impl IntoIterator<Item = &'a Device>) -> Vec<Absent> {
    let text = fs::read_to_string(root.join(paths::ABSENT)).unwrap_or_default();
    let Ok(aliases) = Aliases::parse(&text) else {
        return Vec::new();
    };
    let index = Index::new(&aliases);
    let mut absent = Vec::new();
    for device in devices {
        for module in index.modules(&device.modalias) {
            absent.push(Absent {
                module: module.to_owned(),
                device: device.id(),
            });
        }
    }
    absent
}

fn read(root: &Root, path: &'static str) -> Result<String, TablesError> {
    fs::read_to_string(root.join(path)).map_err(|source| TablesError::Read { path, source })
}
