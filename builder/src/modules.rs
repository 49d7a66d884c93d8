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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::ClassWord;

    /// Modules from `(path, .modinfo with blanks for NULs)`.
    fn index(modules: &[(&str, &str)], order: &str, builtin: &[&str]) -> Index {
        let modules = modules
            .iter()
            .map(|(path, info)| {
                let candidate = Candidate {
                    path: (*path).to_owned(),
                    real: PathBuf::from("/nowhere"),
                    info: ModInfo::parse(info.replace('|', "\0").as_bytes()),
                };
                (name_of(path), candidate)
            })
            .collect();
        Index::new(
            modules,
            order,
            builtin.iter().map(|&name| name.to_owned()).collect(),
        )
    }

    fn set(class: Class) -> ModuleSet {
        ModuleSet {
            why: "a test".into(),
            class: ClassWord(class),
            paths: Vec::new(),
            needed: Vec::new(),
            wanted: Vec::new(),
            except: Vec::new(),
        }
    }

    fn strings(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    fn sample() -> Index {
        index(
            &[
                (
                    "kernel/net/nic.ko",
                    "alias=pci:v1*|depends=phy-lib,core|softdep=pre: crc post: nic-tune|firmware=n.bin",
                ),
                ("kernel/net/phy-lib.ko", "depends=bus"),
                ("kernel/net/bus.ko", ""),
                ("kernel/net/nic-tune.ko", ""),
                (
                    "kernel/net/old/nic2.ko",
                    "alias=pci:v2*|alias=fs-x|depends=",
                ),
                ("kernel/lib/crc_generic.ko", "alias=crc|alias=crypto-crc"),
                ("kernel/lib/crc-intel.ko", "alias=crc|alias=cpu:type:x86*"),
                ("kernel/scsi/round1.ko", "softdep=pre: round2"),
                ("kernel/scsi/round2.ko", "depends=round1"),
                ("kernel/scsi/orphan.ko", "depends=gone"),
            ],
            "kernel/net/old/nic2.ko\nkernel/net/nic.ko\nkernel/not/there.ko\n\nkernel/net/nic.ko\n",
            &["core"],
        )
    }

    #[test]
    fn what_is_chosen_brings_what_it_needs_in_order() {
        let mut net = set(Class::Network);
        net.paths = strings(&["kernel/net/nic"]);
        let chosen = sample().select(&[net], &strings(&["kernel/net"])).unwrap();
        let names: Vec<_> = chosen.modules.iter().map(|m| m.name.as_str()).collect();
        // The crc for one processor is inside, and no dependency.
        assert_eq!(
            names,
            [
                "bus",
                "crc_generic",
                "crc_intel",
                "nic",
                "nic_tune",
                "phy_lib"
            ]
        );
        let nic = chosen.modules.get("nic").unwrap();
        assert_eq!(nic.class, Class::Network);
        assert_eq!(nic.before, ["crc_generic", "bus", "phy_lib"]);
        assert_eq!(nic.after, ["nic_tune"]);
        assert_eq!(nic.firmware, ["n.bin"]);
        assert_eq!(chosen.modules.get("bus").unwrap().class, Class::Other);
        assert_eq!(chosen.absent.to_string(), "pci:v2* nic2\n");
        assert!(chosen.aliases.to_string().starts_with("pci:v1* nic\n"));
    }

    #[test]
    fn aliases_have_the_order_of_the_kernel() {
        let mut all = set(Class::Network);
        all.paths = strings(&["kernel/net"]);
        all.except = strings(&["nic-tune"]);
        let chosen = sample().select(&[all], &[]).unwrap();
        let order: Vec<_> = chosen
            .aliases
            .iter()
            .map(|(_, name)| name.to_owned())
            .collect();
        assert_eq!(order[..3], ["nic2", "nic2", "nic"]);
        // It is excepted as a member of the set, and comes back as a soft dependency.
        assert!(chosen.modules.get("nic_tune").is_some());
    }

    #[test]
    fn a_circle_of_dependencies_ends() {
        let mut storage = set(Class::Storage);
        storage.wanted = strings(&["round1", "never-heard-of"]);
        let chosen = sample().select(&[storage], &[]).unwrap();
        assert_eq!(chosen.modules.get("round1").unwrap().before, ["round2"]);
        assert_eq!(chosen.modules.get("round2").unwrap().before, ["round1"]);
    }

    #[test]
    fn what_the_kernel_lacks_is_named() {
        let mut needed = set(Class::Storage);
        needed.needed = strings(&["core", "ahci"]);
        let error = sample().select(&[needed], &[]).unwrap_err().to_string();
        assert!(
            error.contains("no module ahci") && error.contains("a test"),
            "{error}"
        );
        let mut orphan = set(Class::Storage);
        orphan.paths = strings(&["kernel/scsi/"]);
        let error = sample().select(&[orphan], &[]).unwrap_err().to_string();
        assert_eq!(
            error,
            "module orphan needs gone, which this kernel does not have"
        );
    }

    #[test]
    fn places_are_files_or_folders() {
        for (path, place, inside) in [
            ("kernel/net/nic.ko", "kernel/net", true),
            ("kernel/net/nic.ko", "kernel/net/", true),
            ("kernel/net/nic.ko", "kernel/net/nic", true),
            ("kernel/net/nic.ko", "kernel/net/nic.ko", true),
            ("kernel/net/nic2.ko", "kernel/net/nic", false),
            ("kernel/network/nic.ko", "kernel/net", false),
        ] {
            assert_eq!(below(path, &strings(&[place])), inside, "{path} {place}");
        }
        for (file, plain) in [
            ("a/b.ko", Some("a/b.ko")),
            ("a/b.ko.xz", Some("a/b.ko")),
            ("a/b.ko.zst", Some("a/b.ko")),
            ("a/b.ko.gz", Some("a/b.ko")),
            ("modules.order", None),
            ("a/b.ko.bak", None),
        ] {
            assert_eq!(uncompressed(file).as_deref(), plain);
        }
    }
}
