//! Which modules go into `all.rdz`: chosen by path and by name, with all that they need,
//! and the tables that let `init` load them without `depmod` having run.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;

use anyhow::{Context, Result, anyhow, bail};
use goldring_contract::image::{Aliases, Class, Module, Modules, module_name};

use crate::compress;
use crate::kernel::Kernel;
use crate::modinfo::{self, ModInfo};
use crate::recipe::ModuleSet;

/// A module is at most this large when it is unpacked (the largest of Debian's
/// kernels has 7 MB).
const MODULE_MAX: u64 = 256 << 20;

/// A module of the kernel.
#[derive(Debug, Clone)]
struct Candidate {
    path: String,
    real: PathBuf,
    info: ModInfo,
}

/// All modules of a kernel.
#[derive(Debug, Default)]
pub struct Index {
    /// By name, with underscores.
    modules: BTreeMap<String, Candidate>,
    /// Names in the order of `modules.order`: which of several drivers comes first.
    order: Vec<String>,
    /// Exact aliases (no pattern) and who has them.
    providers: HashMap<String, Vec<String>>,
    builtin: BTreeSet<String>,
}

/// The modules that go in, and their tables.
#[derive(Debug, Clone)]
pub struct Selection {
    /// The table of modules; firmware is as the modules name it.
    pub modules: Modules,
    /// Where each module of the table comes from, by name.
    pub real: BTreeMap<String, PathBuf>,
    /// Who drives what.
    pub aliases: Aliases,
    /// Who would drive what, had it been taken.
    pub absent: Aliases,
}

/// Reads a module's file, uncompressed.
///
/// # Errors
/// It cannot be read or does not unpack.
pub fn read_module(real: &std::path::Path) -> Result<Vec<u8>> {
    let bytes = std::fs::read(real).with_context(|| format!("reading {}", real.display()))?;
    compress::plain(bytes, MODULE_MAX).with_context(|| format!("reading {}", real.display()))
}

impl Index {
    /// Reads the `.modinfo` of every module.
    ///
    /// # Errors
    /// A module that is none, or is for another kernel.
    pub fn of_kernel(kernel: &Kernel, tick: &dyn Fn(usize, usize)) -> Result<Self> {
        let mut modules = BTreeMap::new();
        let files: Vec<_> = kernel
            .files
            .iter()
            .filter_map(|(path, real)| Some((uncompressed(path)?, real)))
            .collect();
        for (number, (path, real)) in files.iter().enumerate() {
            tick(number, files.len());
            let info = read_module(real)
                .and_then(|bytes| ModInfo::of_module(&bytes))
                .and_then(|info| modinfo::check_release(&info, &kernel.release).map(|()| info))
                .with_context(|| format!("module {path}"))?;
            let candidate = Candidate {
                path: path.clone(),
                real: (*real).clone(),
                info,
            };
            modules.insert(name_of(path), candidate);
        }
        let text = |name: &str| Ok::<_, anyhow::Error>(kernel.text(name)?.unwrap_or_default());
        let builtin =
            modinfo::builtin(&text("modules.builtin")?, &text("modules.builtin.modinfo")?);
        Ok(Self::new(modules, &text("modules.order")?, builtin))
    }

    fn new(modules: BTreeMap<String, Candidate>, order: &str, builtin: BTreeSet<String>) -> Self {
        let mut seen = BTreeSet::new();
        let mut names: Vec<String> = order
            .lines()
            .map(name_of)
            .filter(|name| modules.contains_key(name) && seen.insert(name.clone()))
            .collect();
        // What modules.order does not mention comes last, as depmod has it.
        names.extend(modules.keys().filter(|name| !seen.contains(*name)).cloned());
        let mut providers: HashMap<String, Vec<String>> = HashMap::new();
        for name in &names {
            for alias in &modules[name].info.aliases {
                if !alias.contains(['*', '?', '[']) {
                    providers
                        .entry(alias.replace('-', "_"))
                        .or_default()
                        .push(name.clone());
                }
            }
        }
        Self {
            modules,
            order: names,
            providers,
            builtin,
        }
    }

    /// Whether a module, or an alias of one, is built into the kernel.
    fn is_builtin(&self, name: &str) -> bool {
        self.builtin.contains(name) || self.builtin.contains(&name.replace('_', "-"))
    }

    /// The modules behind a soft dependency, which is a name or an exact alias.
    ///
    /// Of several (a generic `crc32c` and one for some processors), those for certain
    /// processors are left to the processor's own alias: as a dependency they would
    /// fail on every other machine.
    fn soft(&self, name: &str) -> Vec<&str> {
        if let Some((name, _)) = self.modules.get_key_value(name) {
            return vec![name];
        }
        let Some(all) = self.providers.get(&name.replace('-', "_")) else {
            return Vec::new();
        };
        let general: Vec<&str> = all
            .iter()
            .filter(|name| {
                !self.modules[*name]
                    .info
                    .aliases
                    .iter()
                    .any(|a| a.starts_with("cpu:"))
            })
            .map(String::as_str)
            .collect();
        if general.is_empty() {
            all.iter().map(String::as_str).collect()
        } else {
            general
        }
    }

    /// Every module that a soft dependency could mean.
    fn providers(&self, name: &str) -> Vec<&str> {
        if let Some((name, _)) = self.modules.get_key_value(name) {
            return vec![name];
        }
        self.providers
            .get(&name.replace('-', "_"))
            .map(|all| all.iter().map(String::as_str).collect())
            .unwrap_or_default()
    }

    /// Adds to `out` what must be loaded before `name`, in an order that works.
    fn before(&self, name: &str, seen: &mut BTreeSet<String>, out: &mut Vec<String>) -> Result<()> {
        let info = &self.modules[name].info;
        let soft = info.before.iter().flat_map(|soft| self.soft(soft));
        let mut needed: Vec<&str> = soft.collect();
        for depend in &info.depends {
            if self.modules.contains_key(depend) {
                needed.push(depend);
            } else if !self.is_builtin(depend) {
                bail!("module {name} needs {depend}, which this kernel does not have");
            }
        }
        for needed in needed {
            if seen.insert(needed.to_owned()) {
                self.before(needed, seen, out)?;
                out.push(needed.to_owned());
            }
        }
        Ok(())
    }

    /// Chooses modules.
    ///
    /// `absent` are paths whose devices are worth a word when their driver was left out.
    ///
    /// # Errors
    /// A needed module that the kernel has not, or one whose dependencies it has not.
    pub fn select(&self, sets: &[ModuleSet], absent: &[String]) -> Result<Selection> {
        let mut classes: BTreeMap<String, Class> = BTreeMap::new();
        for set in sets {
            for name in self.members(set)? {
                classes.entry(name.to_owned()).or_insert(set.class.0);
            }
        }
        self.close(&mut classes)?;
        let mut modules = Vec::new();
        let mut real = BTreeMap::new();
        for (name, class) in &classes {
            modules.push(self.entry(name, *class, &classes)?);
            real.insert(name.clone(), self.modules[name].real.clone());
        }
        Ok(Selection {
            modules: Modules::new(modules),
            real,
            aliases: self.aliases(|name| classes.contains_key(name), |_| true),
            absent: self.aliases(
                |name| !classes.contains_key(name) && below(&self.modules[name].path, absent),
                |alias| alias.starts_with("pci:") || alias.starts_with("virtio:"),
            ),
        })
    }

    /// The modules of one set, without what they need.
    fn members(&self, set: &ModuleSet) -> Result<Vec<&str>> {
        let mut names = Vec::new();
        for name in &set.needed {
            let plain = module_name(name);
            if let Some((name, _)) = self.modules.get_key_value(&plain) {
                names.push(name.as_str());
            } else if !self.is_builtin(&plain) {
                return Err(anyhow!(
                    "this kernel has no module {name}, which is needed: {}",
                    set.why
                ));
            }
        }
        let wanted = set.wanted.iter().map(|name| module_name(name));
        names.extend(wanted.filter_map(|name| {
            self.modules
                .get_key_value(&name)
                .map(|(name, _)| name.as_str())
        }));
        names.extend(
            self.modules
                .iter()
                .filter(|(name, m)| {
                    below(&m.path, &set.paths)
                        && !below(&m.path, &set.except)
                        && !set
                            .except
                            .iter()
                            .any(|except| module_name(except) == **name)
                })
                .map(|(name, _)| name.as_str()),
        );
        Ok(names)
    }

    /// Adds all that the chosen ones need or would like.
    fn close(&self, classes: &mut BTreeMap<String, Class>) -> Result<()> {
        let mut todo: Vec<String> = classes.keys().cloned().collect();
        while let Some(name) = todo.pop() {
            let mut needed = Vec::new();
            self.before(&name, &mut BTreeSet::from([name.clone()]), &mut needed)?;
            let info = &self.modules[&name].info;
            for soft in info.before.iter().chain(&info.after) {
                needed.extend(self.providers(soft).iter().map(|name| (*name).to_owned()));
            }
            for name in needed {
                if !classes.contains_key(&name) {
                    classes.insert(name.clone(), Class::Other);
                    todo.push(name);
                }
            }
        }
        Ok(())
    }

    fn entry(&self, name: &str, class: Class, chosen: &BTreeMap<String, Class>) -> Result<Module> {
        let candidate = &self.modules[name];
        let mut before = Vec::new();
        self.before(name, &mut BTreeSet::from([name.to_owned()]), &mut before)?;
        let mut after: Vec<String> = Vec::new();
        for soft in &candidate.info.after {
            for name in self.soft(soft) {
                if chosen.contains_key(name) && !after.iter().any(|a| a == name) {
                    after.push(name.to_owned());
                }
            }
        }
        Ok(Module {
            name: name.to_owned(),
            path: candidate.path.clone(),
            class,
            before,
            after,
            firmware: candidate.info.firmware.clone(),
        })
    }

    /// Aliases of some modules, in the order of `modules.order`.
    fn aliases(&self, of: impl Fn(&str) -> bool, keep: impl Fn(&str) -> bool) -> Aliases {
        let chosen = self.order.iter().filter(|name| of(name));
        let pairs = chosen.flat_map(|name| {
            self.modules[name]
                .info
                .aliases
                .iter()
                .filter(|alias| keep(alias))
                .map(move |alias| (alias.clone(), name.clone()))
        });
        let mut seen = BTreeSet::new();
        Aliases::new(pairs.filter(|pair| seen.insert(pair.clone())).collect())
    }
}

/// Whether `path` is one of these files or in one of these folders; the ending `.ko`
/// may be left out.
fn below(path: &str, places: &[String]) -> bool {
    places.iter().any(|place| {
        path.strip_prefix(place.trim_end_matches('/'))
            .is_some_and(|rest| rest.is_empty() || rest == ".ko" || rest.starts_with('/'))
    })
}

/// `….ko`, `….ko.xz`… → `….ko`; nothing for other files.
fn uncompressed(path: &str) -> Option<String> {
    let plain = [".xz", ".zst", ".gz"]
        .iter()
        .find_map(|ending| path.strip_suffix(ending))
        .unwrap_or(path);
    plain.ends_with(".ko").then(|| plain.to_owned())
}

fn name_of(path: &str) -> String {
    module_name(path.rsplit('/').next().unwrap_or(path))
}
