//! What a card has of IPv6, so that the next lease can take its place.

use std::fmt::Write;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use goldring_contract::Root;
use goldring_sys::netlink;
use goldring_wire::dhcp6::{Lease, Settings};
use goldring_wire::router::{Advertisement, Prefix};

use super::held::tell_the_agent;
use super::ipv6::Asker;
use super::link::Link;
use super::routers::Router;
use super::{inet6, resolv};
use crate::console::say;
use crate::fate::Fate;

/// The network of an address whose link has no router that would name one.
const USUAL_PREFIX: u8 = 64;

/// A card with IPv6.
#[derive(Debug)]
pub(crate) struct Held6 {
    /// Where the kernel's files are.
    root: Root,
    /// Where resolv.conf is written, if anywhere.
    files: Option<Root>,
    card: Link,
    /// The domain of the command line, which outdoes that of a server.
    domain: Option<String>,
    /// Who takes what leaves the link.
    router: Option<Router>,
    /// The address in use and the length of its network.
    address: Option<(Ipv6Addr, u8)>,
    /// Whether the address came by DHCPv6; otherwise the kernel made it.
    leased: bool,
    /// What DHCPv6 said.
    settings: Settings,
}

impl Held6 {
    /// Nothing yet.
    pub(super) fn new(asker: &Asker<'_>, router: Option<Router>) -> Self {
        Self {
            root: asker.root.clone(),
            files: asker.files.cloned(),
            card: asker.card.clone(),
            domain: asker.domain.map(str::to_owned),
            router,
            address: None,
            leased: false,
            settings: Settings::default(),
        }
    }

    /// The address.
    pub(crate) fn address(&self) -> Option<Ipv6Addr> {
        self.address.map(|(ip, _)| ip)
    }

    /// What DHCPv6 said.
    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Gives the card what was granted; `false` when somebody else has the address.
    ///
    /// # Errors
    /// The card does not take it.
    pub(super) fn take(&mut self, lease: &Lease) -> Result<bool, Fate> {
        let prefix = prefix(lease.address, self.router.as_ref().map(|r| &r.said));
        add(&self.root, &self.card, lease.address, prefix).inspect(|free| {
            if *free {
                self.address = Some((lease.address, prefix));
                self.leased = true;
                self.settings = lease.settings.clone();
            }
        })
    }

    /// Waits for the address that the kernel makes in a network that a router names.
    ///
    /// # Errors
    /// It makes none, or somebody else has it.
    pub(super) fn made_by_kernel(&mut self, limit: Duration) -> Result<(), Fate> {
        let said = self.router.as_ref().map(|router| &router.said);
        let networks: Vec<Prefix> = said.map(autonomous).unwrap_or_default();
        let ours = |address: &inet6::Address| networks.iter().any(|p| contains(p, address.ip));
        let name = &self.card.name;
        let found = inet6::wait(&self.root, &self.card, limit, ours).map_err(|taken| {
            Fate::retry(format!(
                "{name}: {taken} is in use by another computer; \
                 are there two cards with one hardware address?"
            ))
        })?;
        let found = found.ok_or_else(|| {
            Fate::retry(format!(
                "{name}: the router {} names no network in which a node makes itself an address; \
                 let it do so (AdvAutonomous on), or run a DHCPv6 server (AdvManagedFlag on)",
                self.router
                    .as_ref()
                    .map_or(Ipv6Addr::UNSPECIFIED, |r| r.address),
            ))
        })?;
        self.address = Some((found.ip, found.prefix));
        self.leased = false;
        Ok(())
    }

    /// Writes down what servers and routers say beside the address.
    pub(super) fn settle(&mut self, settings: Settings) {
        self.settings = settings;
        self.write();
    }

    /// Says what the card has, and writes resolv.conf.
    pub(super) fn finish(&self) {
        say(&format!("{}: {}", self.card.name, self.summary()));
        self.write();
    }

    /// Puts what a later lease grants in the place of the earlier one; `false` when
    /// somebody else has the address.
    pub(super) fn change(&mut self, lease: &Lease) -> bool {
        let old = self.address.filter(|_| self.leased);
        if old.is_some_and(|(ip, _)| ip == lease.address) {
            if self.settings != lease.settings {
                self.settle(lease.settings.clone());
            }
            return true;
        }
        match self.take(lease) {
            Ok(false) => return false,
            Err(Fate::Retry(cause) | Fate::Reboot(cause) | Fate::Hold(cause)) => {
                say(&cause.why);
                return true;
            }
            Ok(true) => {}
        }
        if let Some((ip, prefix)) = old {
            say(&format!(
                "{}: the address changes from {ip} to {}; connections break",
                self.card.name, lease.address
            ));
            self.remove(ip, prefix);
        }
        self.finish();
        if let Some(files) = &self.files {
            tell_the_agent(files, lease.address.into());
        }
        true
    }

    /// Takes the leased address from the card.
    pub(super) fn lose(&mut self) {
        if self.leased
            && let Some((ip, prefix)) = self.address.take()
        {
            self.remove(ip, prefix);
        }
    }

    fn remove(&self, ip: Ipv6Addr, prefix: u8) {
        // It may have gone with the card.
        let _ = netlink::remove_address6(self.card.index, ip, prefix);
    }

    fn write(&self) {
        let said = self.router.as_ref().map(|router| &router.said);
        let (dns, search) = said.map_or((&[][..], &[][..]), |said| (&said.dns, &said.search));
        // What a server says for this node goes before what a router says for all.
        let dns = joined(&self.settings.dns, dns);
        let search = joined(&self.settings.search, search);
        let domain = self.domain.as_deref().or(self.settings.domain.as_deref());
        if let Some(files) = &self.files {
            resolv::write(files, domain, &search, &dns);
        }
    }

    /// `2001:db8::5/64, router fe80::1, boot server boot.lan`.
    fn summary(&self) -> String {
        let mut line = match self.address {
            Some((ip, prefix)) => format!("{ip}/{prefix}"),
            None => "no address".to_owned(),
        };
        match &self.router {
            Some(router) if router.said.lifetime != 0 => {
                let _ = write!(line, ", router {}", router.address);
            }
            _ => line.push_str(", no router: only this network can be reached"),
        }
        if let Some(server) = &self.settings.boot_server {
            let _ = write!(line, ", boot server {server}");
        }
        line
    }
}

/// Takes an address that the command line names.
///
/// # Errors
/// Another computer has it, or the card does not take it.
pub(crate) fn take_fixed(
    root: &Root,
    card: &Link,
    (ip, prefix): (Ipv6Addr, u8),
    gateway: Option<IpAddr>,
) -> Result<(), Fate> {
    if !inet6::is_there(root) {
        return Err(Fate::reboot(super::ipv6::MISSING));
    }
    if !add(root, card, ip, prefix)? {
        return Err(Fate::retry(format!(
            "{}: {ip} is in use by another computer; \
             give this node another ip: or find that computer",
            card.name
        )));
    }
    let mut line = format!("{}: {ip}/{prefix}", card.name);
    match gateway {
        Some(gateway) => {
            netlink::add_route(card.index, Ipv6Addr::UNSPECIFIED.into(), 0, Some(gateway))
                .map_err(|error| {
                    Fate::reboot(format!(
                        "{}: no route by gateway:{gateway}: {error}; \
                         the gateway must be in the network of ip:, or begin with fe80:",
                        card.name
                    ))
                })?;
            let _ = write!(line, ", router {gateway}");
        }
        None => line.push_str(", no router: only this network can be reached"),
    }
    say(&line);
    Ok(())
}

/// Gives the card an address for ever (this program takes it away itself) and waits for the
/// kernel to find out whether it is free; `false` when it is not.
fn add(root: &Root, card: &Link, ip: Ipv6Addr, prefix: u8) -> Result<bool, Fate> {
    netlink::add_address6(card.index, ip, prefix, Duration::MAX, Duration::MAX)
        .map_err(|error| Fate::retry(format!("{card}: cannot take the address {ip}: {error}")))?;
    let free = inet6::settled(root, card, ip).is_ok();
    if !free {
        // Gone by itself is fine.
        let _ = netlink::remove_address6(card.index, ip, prefix);
    }
    Ok(free)
}

/// The length of the network of a leased address. DHCPv6 does not tell it, a router does
/// (RFC 5942): where a router names the network, the kernel has a route to it. Without any
/// router the neighbours would be out of reach, so the usual length is taken.
fn prefix(ip: Ipv6Addr, said: Option<&Advertisement>) -> u8 {
    match said {
        Some(_) => 128,
        None => {
            say(&format!(
                "no router names the network of {ip}; taking it for a /{USUAL_PREFIX}"
            ));
            USUAL_PREFIX
        }
    }
}

/// The networks in which a node makes itself an address (RFC 4862, section 5.5.3: of 64
/// bits, as Ethernet wants them).
fn autonomous(said: &Advertisement) -> Vec<Prefix> {
    let fits = |p: &&Prefix| p.autonomous && p.valid != 0 && p.length == 64;
    said.prefixes.iter().filter(fits).copied().collect()
}

fn contains(prefix: &Prefix, ip: Ipv6Addr) -> bool {
    let shift = 128 - u32::from(prefix.length.min(128));
    let bits = |ip: Ipv6Addr| u128::from(ip).checked_shr(shift).unwrap_or(0);
    bits(prefix.network) == bits(ip)
}

fn joined<T: Clone + PartialEq>(first: &[T], second: &[T]) -> Vec<T> {
    let mut all = first.to_vec();
    all.extend(second.iter().filter(|one| !first.contains(one)).cloned());
    all
}

/// Whether a router lets nodes make themselves an address.
pub(super) fn is_autonomous(said: &Advertisement) -> bool {
    !autonomous(said).is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str, length: u8) -> Prefix {
        Prefix {
            network: text.parse().unwrap(),
            length,
            on_link: true,
            autonomous: true,
            valid: 600,
        }
    }

    #[test]
    fn addresses_are_of_networks() {
        let ip = "2001:db8::5".parse().unwrap();
        for (prefix, expected) in [
            (network("2001:db8::", 64), true),
            (network("2001:db8:0:1::", 64), false),
            (network("2001:db8:0:1::", 48), true),
            (network("::", 0), true),
            (network("2001:db8::5", 128), true),
            (network("2001:db8::4", 128), false),
        ] {
            assert_eq!(contains(&prefix, ip), expected, "{prefix:?}");
        }
    }

    #[test]
    fn what_is_not_for_nodes_is_no_network_of_theirs() {
        let good = network("2001:db8::", 64);
        let said = |prefix| Advertisement {
            prefixes: vec![prefix],
            ..Advertisement::default()
        };
        assert!(is_autonomous(&said(good)));
        assert!(!is_autonomous(&said(network("2001:db8::", 63))));
        assert!(!is_autonomous(&said(Prefix {
            autonomous: false,
            ..good
        })));
        assert!(!is_autonomous(&said(Prefix { valid: 0, ..good })));
    }

    #[test]
    fn a_card_fits_a_line() {
        let card = Link {
            name: "eth0".into(),
            index: 2,
            mac: [2; 6],
        };
        let asker = Asker {
            root: &Root::at("/nonexistent"),
            files: None,
            card: &card,
            hostname: None,
            domain: None,
        };
        let mut held = Held6::new(&asker, None);
        held.address = Some(("2001:db8::5".parse().unwrap(), 64));
        assert_eq!(
            held.summary(),
            "2001:db8::5/64, no router: only this network can be reached"
        );
        held.settings.boot_server = Some("[2001:db8::1]".into());
        held.router = Some(Router {
            address: "fe80::1".parse().unwrap(),
            said: Advertisement {
                lifetime: 1800,
                ..Advertisement::default()
            },
        });
        assert_eq!(
            held.summary(),
            "2001:db8::5/64, router fe80::1, boot server [2001:db8::1]"
        );
        assert_eq!(joined(&[1, 2], &[2, 3]), [1, 2, 3]);
    }
}
