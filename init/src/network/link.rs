//! Network cards: which there are, which to use, and when they have a link.

use std::fs;
use std::time::{Duration, Instant};

use goldring_contract::Root;
use goldring_contract::bootargs::Interface;
use goldring_sys::netlink;

use crate::console::say;
use crate::fate::Fate;

/// Between two looks at the carrier.
const LOOK: Duration = Duration::from_millis(50);
/// Waiting is worth a word after this.
const WORD: Duration = Duration::from_secs(1);
/// Once a card has a link, those before it get so much longer: autonegotiation of a
/// gigabit card takes 2 to 4 s, and all were brought up together.
const SETTLE: Duration = Duration::from_secs(4);

/// A card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    /// Its name, such as `eth0`.
    pub(crate) name: String,
    /// Its number.
    pub(crate) index: u32,
    /// Its hardware address.
    pub(crate) mac: [u8; 6],
}

impl Link {
    /// Whether it has a link; `false` as long as it is down.
    fn has_carrier(&self, root: &Root) -> bool {
        attribute(root, &self.name, "carrier").as_deref() == Some("1")
    }
}

impl std::fmt::Display for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.name, mac_text(self.mac))
    }
}

/// `52:54:00:12:34:56`.
pub(crate) fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// All wired Ethernet cards, by number.
pub(crate) fn all(root: &Root) -> Vec<Link> {
    let Ok(entries) = fs::read_dir(root.join("/sys/class/net")) else {
        return Vec::new();
    };
    let mut links: Vec<Link> = entries
        .flatten()
        .filter_map(|entry| read(root, &entry.file_name().into_string().ok()?))
        .collect();
    links.sort_by_key(|link| link.index);
    links
}

/// One card; `None` for what is none: loopback, tunnels, wireless, virtual links
/// that have no device (Linux, Documentation/ABI/testing/sysfs-class-net).
fn read(root: &Root, name: &str) -> Option<Link> {
    let folder = root.join(format!("/sys/class/net/{name}"));
    let wired = !folder.join("wireless").exists() && !folder.join("phy80211").exists();
    (wired && folder.join("device").exists()).then(|| named(root, name))?
}

/// The Ethernet link of this name, virtual ones included.
pub(crate) fn named(root: &Root, name: &str) -> Option<Link> {
    // ARPHRD_ETHER of linux/if_arp.h
    (attribute(root, name, "type")? == "1").then_some(())?;
    Some(Link {
        name: name.to_owned(),
        index: attribute(root, name, "ifindex")?.parse().ok()?,
        mac: parse_mac(&attribute(root, name, "address")?)?,
    })
}

fn attribute(root: &Root, name: &str, attribute: &str) -> Option<String> {
    let text = fs::read_to_string(root.join(format!("/sys/class/net/{name}/{attribute}"))).ok()?;
    Some(text.trim().to_owned())
}

fn parse_mac(text: &str) -> Option<[u8; 6]> {
    let mut mac = [0; 6];
    let mut parts = text.split(':');
    for byte in &mut mac {
        *byte = u8::from_str_radix(parts.next()?, 16).ok()?;
    }
    parts.next().is_none().then_some(mac)
}

/// The cards that may be used, the best one first: the one that was named, or all, with
/// the one that PXE booted from before the others.
///
/// # Errors
/// The sentence about a card that was named but is not there.
pub(crate) fn candidates(
    links: &[Link],
    wanted: &Interface,
    boot_interface: Option<[u8; 6]>,
) -> Result<Vec<Link>, String> {
    let named = |what: String, found: Option<&Link>| {
        let there: Vec<String> = links.iter().map(Link::to_string).collect();
        found.map(|link| vec![link.clone()]).ok_or_else(|| {
            format!(
                "interface:{what}: there is no such card, but {}; \
                 write its name or address, or interface:auto",
                there.join(", ")
            )
        })
    };
    match wanted {
        Interface::Name(name) => named(name.clone(), links.iter().find(|l| l.name == *name)),
        Interface::Mac(mac) => named(mac_text(*mac), links.iter().find(|l| l.mac == *mac)),
        Interface::Auto => {
            let mut cards = links.to_vec();
            cards.sort_by_key(|link| Some(link.mac) != boot_interface);
            Ok(cards)
        }
    }
}

/// Brings all cards up and waits for the one to use: the first with a link among those
/// that no earlier try has `tried`, or else the first with a link.
///
/// # Errors
/// No link within `limit`.
pub(crate) fn ready(
    root: &Root,
    cards: &[Link],
    tried: &[u32],
    limit: Duration,
) -> Result<Link, Fate> {
    for card in cards {
        if let Err(error) = netlink::link_up(card.index) {
            say(&format!("{card}: cannot bring it up: {error}"));
        }
    }
    let started = Instant::now();
    let mut first_link = None;
    let mut said = false;
    loop {
        let linked: Vec<&Link> = cards.iter().filter(|card| card.has_carrier(root)).collect();
        if !linked.is_empty() {
            first_link.get_or_insert_with(Instant::now);
        }
        let settled = first_link.is_some_and(|since: Instant| since.elapsed() >= SETTLE);
        if let Some(card) = pick(cards, &linked, tried, settled) {
            return Ok(card.clone());
        }
        if started.elapsed() >= limit && linked.is_empty() {
            let seconds = limit.as_secs();
            return Err(Fate::retry(format!(
                "no link on {} within {seconds} s; check cable and switch",
                names(cards)
            )));
        }
        if started.elapsed() >= WORD && linked.is_empty() && !said {
            say(&format!("waiting for a link on {}", names(cards)));
            said = true;
        }
        std::thread::sleep(LOOK);
    }
}

/// The card to use, of those that are `linked`; `None` as long as waiting may bring a
/// better one.
fn pick<'a>(cards: &[Link], linked: &[&'a Link], tried: &[u32], settled: bool) -> Option<&'a Link> {
    let fresh = |link: &&Link| !tried.contains(&link.index);
    let best = linked.iter().copied().find(|link| fresh(link));
    let first = cards.iter().find(fresh);
    match best {
        Some(best) if settled || first.is_none_or(|first| first.index == best.index) => Some(best),
        Some(_) => None,
        // Without an untried card there is nothing to wait for.
        None if settled || first.is_none() => linked.first().copied(),
        None => None,
    }
}

/// `eth0, eth1`.
fn names(cards: &[Link]) -> String {
    let names: Vec<&str> = cards.iter().map(|card| card.name.as_str()).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card(root: &Root, name: &str, index: u32, mac: &str) {
        let folder = root.join(format!("/sys/class/net/{name}"));
        fs::create_dir_all(folder.join("device")).unwrap();
        for (file, text) in [
            ("type", "1\n"),
            ("ifindex", &format!("{index}\n")),
            ("address", &format!("{mac}\n")),
        ] {
            fs::write(folder.join(file), text).unwrap();
        }
    }

    #[test]
    fn cards_are_found_and_chosen() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::at(folder.path());
        assert!(all(&root).is_empty());
        card(&root, "eth1", 3, "52:54:00:00:00:02");
        card(&root, "eth0", 2, "52:54:00:00:00:01");
        card(&root, "lo", 1, "00:00:00:00:00:00");
        fs::write(root.join("/sys/class/net/lo/type"), "772\n").unwrap();
        card(&root, "wlan0", 4, "52:54:00:00:00:03");
        fs::create_dir(root.join("/sys/class/net/wlan0/wireless")).unwrap();
        let links = all(&root);
        assert_eq!(super::names(&links), "eth0, eth1");
        let choose = |wanted, booted| candidates(&links, &wanted, booted);
        assert_eq!(choose(Interface::Auto, None).unwrap().len(), 2);
        let second = Some([0x52, 0x54, 0, 0, 0, 2]);
        let order = choose(Interface::Auto, second).unwrap();
        assert_eq!(super::names(&order), "eth1, eth0");
        assert_eq!(choose(Interface::Auto, Some([9; 6])).unwrap().len(), 2);
        let mac = Interface::Mac([0x52, 0x54, 0, 0, 0, 2]);
        assert_eq!(choose(mac, None).unwrap()[0].name, "eth1");
        let error = choose(Interface::Name("eth7".into()), None).unwrap_err();
        assert!(
            error.starts_with("interface:eth7: there is no such card, but eth0 (52:54"),
            "{error}"
        );
    }
    #[test]
    fn the_first_card_with_a_link_is_taken() {
        let link = |index: u32| Link {
            name: format!("eth{index}"),
            index,
            mac: [0; 6],
        };
        let cards = [link(0), link(1), link(2)];
        let pick = |linked: &[usize], tried: &[u32], settled| {
            let linked: Vec<&Link> = linked.iter().map(|i| &cards[*i]).collect();
            super::pick(&cards, &linked, tried, settled).map(|link| link.index)
        };
        // With a link, tried before, whether the others had their time; what is taken.
        type Row<'a> = (&'a [usize], &'a [u32], bool, Option<u32>);
        let table: [Row<'_>; 10] = [
            (&[], &[], false, None),
            (&[0, 1, 2], &[], false, Some(0)),
            (&[1], &[], false, None),
            (&[1], &[], true, Some(1)),
            (&[0, 1], &[0], false, Some(1)),
            (&[0, 2], &[0], false, None),
            (&[0, 2], &[0], true, Some(2)),
            (&[0], &[0], false, None),
            (&[0], &[0], true, Some(0)),
            (&[0, 1], &[0, 1, 2], false, Some(0)),
        ];
        for (linked, tried, settled, expected) in table {
            let got = pick(linked, tried, settled);
            assert_eq!(got, expected, "{linked:?} {tried:?} {settled}");
        }
    }
}
