//! What is known of the machine's devices: by the step that loads drivers, by the thread
//! that goes on with it, and by the steps that lack something.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use goldring_contract::Root;
use goldring_contract::image::Names;
use goldring_hw::device::{Device, Kind};
use goldring_hw::firmware;
use goldring_hw::probe::{Probe, Trouble};
use goldring_hw::tables::{Absent, absent};

/// How many missing drivers one line names.
const ABSENT_SHOWN: usize = 4;

/// Devices and troubles, shared between threads.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hardware(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    devices: BTreeSet<Device>,
    troubles: Vec<Trouble>,
}

impl Hardware {
    /// Takes over what a probe has found.
    pub(crate) fn learn(&self, probe: &Probe) {
        let mut known = self.lock();
        known.devices.clone_from(probe.devices());
        known.troubles = probe.troubles().to_vec();
    }

    /// All devices.
    pub(crate) fn devices(&self) -> BTreeSet<Device> {
        self.lock().devices.clone()
    }

    /// What keeps devices of one kind from working, one sentence each.
    pub(crate) fn hints(&self, root: &Root, kind: Kind) -> Vec<String> {
        let known = self.lock();
        let of_kind = || known.devices.iter().filter(|device| device.kind() == kind);
        let troubles = known.troubles.iter().filter(|t| t.device.kind() == kind);
        let mut hints: Vec<String> = troubles.map(|trouble| trouble.what.clone()).collect();
        let left_out = absent(root, of_kind());
        if !left_out.is_empty() {
            hints.push(format!(
                "wanted {}, not in this image; add it in images/stage1.toml",
                wanted(&left_out)
            ));
        }
        let messages = goldring_sys::kmsg::messages(&root.join("/dev/kmsg")).unwrap_or_default();
        for missed in firmware::wanted(messages.iter().map(String::as_str)) {
            if let Some(device) = of_kind().find(|device| device.place == missed.place) {
                hints.push(format!(
                    "{} for {} wants the firmware {}, not in this image; \
                     add its package to firmware-packages in images/stage1.toml",
                    missed.driver,
                    device.id(),
                    missed.file
                ));
            }
        }
        hints
    }

    /// The sentence for a machine without any card, with what is known of the reason.
    pub(crate) fn no_card(&self, root: &Root, names: &Names) -> String {
        let hints = self.hints(root, Kind::Network);
        if !hints.is_empty() {
            return format!("no network interface: {}", hints.join("; "));
        }
        let cards: Vec<String> = self
            .lock()
            .devices
            .iter()
            .filter(|device| device.kind() == Kind::Network)
            .map(|device| format!("{} ({})", device.id(), device.name(names)))
            .collect();
        if cards.is_empty() {
            "no network interface: this machine shows no network card; \
             look into the firmware's settings"
                .to_owned()
        } else {
            format!(
                "no network interface: no driver of this image takes {}; \
                 a newer kernel may have one",
                cards.join(", ")
            )
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // A thread that panicked must not silence the others.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `e1000e for 8086:10d3, tg3 for 14e4:1659`.
fn wanted(left_out: &[Absent]) -> String {
    let mut words: Vec<String> = left_out
        .iter()
        .take(ABSENT_SHOWN)
        .map(|absent| format!("{} for {}", absent.module, absent.device))
        .collect();
    if left_out.len() > ABSENT_SHOWN {
        words.push(format!("{} more", left_out.len() - ABSENT_SHOWN));
    }
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_drivers_fit_a_line() {
        let many: Vec<Absent> = (0..6)
            .map(|n| Absent {
                module: "e1000e".into(),
                device: format!("8086:10d{n}"),
            })
            .collect();
        assert_eq!(wanted(&many[..1]), "e1000e for 8086:10d0");
        assert!(wanted(&many).ends_with("e1000e for 8086:10d3, 2 more"));
    }
}
