//! What a card has been given, so that the next lease can take its place.

use std::fmt::Write;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use goldring_contract::handover::Network;
use goldring_contract::{Root, paths};
use goldring_sys::netlink;
use goldring_wire::dhcp::{Lease, Route};

use super::link::{Link, mac_text};
use super::{probe, resolv};
use crate::console::say;
use crate::fate::Fate;

/// A card with an address.
#[derive(Debug)]
pub(crate) struct Held {
    root: Root,
    card: Link,
    /// The domain of the command line, which outdoes that of DHCP.
    domain: Option<String>,
    /// `None` between a lease that a server took away and the next one.
    lease: Option<Lease>,
}

impl Held {
    /// Gives the card what the lease grants, and says so.
    ///
    /// # Errors
    /// The card does not take the address.
    pub(crate) fn take(
        root: &Root,
        card: &Link,
        lease: &Lease,
        domain: Option<&str>,
    ) -> Result<Self, Fate> {
        let mut held = Self {
            root: root.clone(),
            card: card.clone(),
            domain: domain.map(str::to_owned),
            lease: None,
        };
        held.apply(lease)?;
        Ok(held)
    }

    /// Puts what a later lease grants in the place of the earlier one.
    pub(crate) fn change(&mut self, lease: &Lease) {
        if self.lease.as_ref().is_some_and(|old| same(old, lease)) {
            return;
        }
        if let Some(old) = &self.lease {
            if old.address == lease.address && old.prefix == lease.prefix {
                self.remove_routes(&old.routes, &lease.routes);
            } else {
                say(&format!(
                    "{}: the address changes from {} to {}; connections break",
                    self.card.name, old.address, lease.address
                ));
                self.lose();
            }
        }
        if let Err(Fate::Retry(cause) | Fate::Reboot(cause) | Fate::Hold(cause)) = self.apply(lease)
        {
            say(&cause.why);
        }
        tell_the_agent(&self.root, lease.address.into());
    }

    /// Whether the card has this address.
    pub(crate) fn has(&self, address: Ipv4Addr) -> bool {
        self.lease
            .as_ref()
            .is_some_and(|lease| lease.address == address)
    }

    /// Takes the address from the card; the kernel takes its routes.
    pub(crate) fn lose(&mut self) {
        if let Some(old) = self.lease.take() {
            // It may have gone with the card.
            let _ = netlink::remove_address(self.card.index, old.address, old.prefix);
        }
    }

    fn apply(&mut self, lease: &Lease) -> Result<(), Fate> {
        let (card, address) = (&self.card, lease.address);
        netlink::add_address(card.index, address, lease.prefix).map_err(|error| {
            Fate::retry(format!(
                "{card}: cannot take the address {address}: {error}"
            ))
        })?;
        self.set_mtu(lease.mtu);
        self.add_routes(&lease.routes);
        probe::announce(card, address);
        say(&format!("{}: {}", card.name, summary(lease)));
        let domain = self.domain.as_deref().or(lease.domain.as_deref());
        resolv::write(&self.root, domain, &lease.search, &lease.dns);
        self.lease = Some(lease.clone());
        Ok(())
    }

    fn add_routes(&self, routes: &[Route]) {
        for route in routes {
            let network = route.network.into();
            let added = netlink::add_route(self.card.index, network, route.prefix, gateway(route));
            if let Err(error) = added {
                say(&format!(
                    "{}: no route to {}/{} by {}: {error}",
                    self.card.name, route.network, route.prefix, route.router
                ));
            }
        }
    }

    fn remove_routes(&self, old: &[Route], new: &[Route]) {
        for route in old.iter().filter(|route| !new.contains(route)) {
            let network = route.network.into();
            // It may be gone, or never have been taken.
            let _ = netlink::remove_route(self.card.index, network, route.prefix, gateway(route));
        }
    }

    fn set_mtu(&self, mtu: Option<u16>) {
        if let Some(mtu) = mtu
            && let Err(error) = netlink::set_mtu(self.card.index, mtu.into())
        {
            let name = &self.card.name;
            say(&format!("{name}: cannot take the MTU {mtu}: {error}"));
        }
    }
}

/// An agent that starts later reads the address that counts then.
pub(super) fn tell_the_agent(root: &Root, address: IpAddr) {
    let file = root.join(paths::HANDOVER);
    // Not there yet: the agent's step will write what it knows.
    let Ok(text) = fs::read_to_string(&file) else {
        return;
    };
    let Ok(mut network) = Network::parse(&text) else {
        return;
    };
    network.address = Some(address);
    if let Err(error) = fs::write(&file, network.to_string()) {
        say(&format!("writing {}: {error}", paths::HANDOVER));
    }
}

/// Takes an address that the command line names.
///
/// # Errors
/// Another computer has it.
pub(crate) fn is_free(card: &Link, address: Ipv4Addr) -> Result<(), Fate> {
    probe::holder(card, address).map_or(Ok(()), |mac| {
        Err(Fate::retry(format!(
            "{}: {address} is in use by {}; give this node another ip: or find that computer",
            card.name,
            mac_text(mac)
        )))
    })
}

/// A lease as it would be, from the command line.
pub(crate) fn fixed(ip: Ipv4Addr, prefix: u8, gateway: Option<IpAddr>) -> Lease {
    let default = |gateway| match gateway {
        IpAddr::V4(router) => Some(Route {
            network: Ipv4Addr::UNSPECIFIED,
            prefix: 0,
            router,
        }),
        // The parser lets none through.
        IpAddr::V6(_) => None,
    };
    Lease {
        address: ip,
        prefix,
        routes: gateway.and_then(default).into_iter().collect(),
        dns: Vec::new(),
        log_servers: Vec::new(),
        hostname: None,
        domain: None,
        search: Vec::new(),
        mtu: None,
        server_id: None,
        boot_server: None,
        duration: None,
        t1: Duration::MAX,
        t2: Duration::MAX,
    }
}

/// RFC 3442: the router 0.0.0.0 means that the network is on this link.
fn gateway(route: &Route) -> Option<IpAddr> {
    (!route.router.is_unspecified()).then_some(route.router.into())
}

/// `10.0.2.15/24, router 10.0.2.2, boot server 10.0.2.2`.
fn summary(lease: &Lease) -> String {
    let mut line = format!("{}/{}", lease.address, lease.prefix);
    match lease.routes.iter().find(|route| route.prefix == 0) {
        Some(route) => {
            let _ = write!(line, ", router {}", route.router);
        }
        None if lease.routes.is_empty() => {
            line.push_str(", no router: only this network can be reached");
        }
        None => line.push_str(", no default router"),
    }
    if let Some(server) = &lease.boot_server {
        let _ = write!(line, ", boot server {server}");
    }
    line
}

/// Whether a lease brings nothing new but time.
fn same(old: &Lease, new: &Lease) -> bool {
    let times = Lease {
        duration: old.duration,
        t1: old.t1,
        t2: old.t2,
        ..new.clone()
    };
    *old == times
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_fits_a_line() {
        let ip = Ipv4Addr::new(10, 0, 2, 15);
        let mut lease = fixed(ip, 24, Some(IpAddr::from([10, 0, 2, 2])));
        lease.boot_server = Some("boot.lan".into());
        assert_eq!(
            summary(&lease),
            "10.0.2.15/24, router 10.0.2.2, boot server boot.lan"
        );
        assert_eq!(
            summary(&fixed(ip, 24, None)),
            "10.0.2.15/24, no router: only this network can be reached"
        );
        lease.routes[0].prefix = 8;
        assert!(summary(&lease).starts_with("10.0.2.15/24, no default router"));
    }

    #[test]
    fn more_time_is_nothing_new() {
        let old = fixed(Ipv4Addr::new(10, 0, 2, 15), 24, None);
        let mut new = old.clone();
        new.duration = Some(Duration::from_secs(60));
        new.t1 = Duration::from_secs(30);
        assert!(same(&old, &new));
        new.mtu = Some(1400);
        assert!(!same(&old, &new));
    }
}
