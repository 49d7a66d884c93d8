//! The alias table, sorted so that a device is compared with few patterns.
//!
//! A distribution has 26 000 patterns. Most begin with `pci:v` and the vendor, so a
//! bucket for the first 13 bytes, with those that have a wildcard earlier in
//! one bucket for each bus, leaves a few hundred for each device.

use std::collections::{HashMap, HashSet};

use goldring_contract::image::Aliases;

use crate::glob::{literal_prefix, matches};

/// `pci:v00008086`, `usb:v0B95p772`: bus and vendor.
const BUCKET: usize = 13;

/// Finds the modules for a modalias.
#[derive(Debug, Default)]
pub struct Index {
    buckets: HashMap<String, Vec<usize>>,
    patterns: Vec<(String, String)>,
}

impl Index {
    /// Sorts the table.
    pub fn new(aliases: &Aliases) -> Self {
        let mut index = Self::default();
        for (number, (pattern, module)) in aliases.iter().enumerate() {
            let literal = literal_prefix(pattern);
            let key = literal.get(..BUCKET).unwrap_or(bus(literal));
            match index.buckets.get_mut(key) {
                Some(bucket) => bucket.push(number),
                None => {
                    index.buckets.insert(key.to_owned(), vec![number]);
                }
            }
            index.patterns.push((pattern.to_owned(), module.to_owned()));
        }
        index
    }

    /// The modules whose pattern matches, each once, in the order of the table.
    pub fn modules(&self, modalias: &str) -> Vec<&str> {
        let mut keys = vec!["", bus(modalias)];
        keys.extend(modalias.get(..BUCKET));
        keys.dedup();
        let mut numbers: Vec<usize> = keys
            .into_iter()
            .filter_map(|key| self.buckets.get(key))
            .flatten()
            .copied()
            .filter(|&number| matches(&self.patterns[number].0, modalias))
            .collect();
        numbers.sort_unstable();
        let mut modules: Vec<&str> = Vec::new();
        for number in numbers {
            let module = self.patterns[number].1.as_str();
            if !modules.contains(&module) {
                modules.push(module);
            }
        }
        modules
    }

    /// The modules that have device patterns, all of them for `buses`. A pattern
    /// without a bus (`fs-xfs`, `xennet`) is a name and does not count.
    pub fn modules_of_buses(&self, buses: &[&str]) -> HashSet<&str> {
        let mut inside = HashSet::new();
        let mut outside = HashSet::new();
        for (pattern, module) in &self.patterns {
            if let Some((bus, _)) = pattern.split_once(':') {
                let set = match buses.contains(&bus) {
                    true => &mut inside,
                    false => &mut outside,
                };
                set.insert(module.as_str());
            }
        }
        inside.retain(|module| !outside.contains(module));
        inside
    }
}

/// `pci:` of `pci:v0000…`; empty when the pattern has a wildcard before its colon.
fn bus(text: &str) -> &str {
    text.find(':').map_or("", |colon| &text[..=colon])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_match_in_the_order_of_the_table() {
        let pairs = [
            ("pci:v00008086d00002653sv*sd*bc*sc*i*", "ata_piix"),
            ("pci:v*d*sv*sd*bc01sc06i01*", "ahci"),
            ("pci:v00008086d00002653sv*sd*bc01sc*i*", "ata_piix"),
            ("pci:v00008086d*sv*sd*bc01sc*i*", "ata_generic"),
            ("acpi*:PNP0501:*", "serial"),
            ("fs-xfs", "xfs"),
            ("cpu:type:x86,ven*fam*mod*:feature:*0081*", "crc"),
        ];
        let owned = pairs.map(|(p, m)| (p.to_owned(), m.to_owned())).to_vec();
        let index = Index::new(&Aliases::new(owned));
        let sata = "pci:v00008086d00002653sv00001028sd000001A2bc01sc06i01";
        assert_eq!(index.modules(sata), ["ata_piix", "ahci", "ata_generic"]);
        assert_eq!(index.modules("acpi:PNP0501:"), ["serial"]);
        assert_eq!(index.modules("fs-xfs"), ["xfs"]);
        assert_eq!(
            index.modules("cpu:type:x86,ven0000fam0006mod009E:feature:,0080,0081,"),
            ["crc"]
        );
        assert!(index.modules("pci:v0000").is_empty());
        assert!(index.modules("").is_empty());
        // A boundary inside a letter must not matter.
        assert!(index.modules("pci:v0000808é").is_empty());
    }
}
