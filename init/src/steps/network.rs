//! A card, a link, an address.

use std::fmt::Write;
use std::fs;
use std::net::Ipv4Addr;
use std::time::Duration;

use goldring_contract::bootargs::Addressing;
use goldring_contract::limits::CARRIER_WAIT;
use goldring_contract::sentences::Milestone;
use goldring_contract::{Root, paths};
use goldring_sys::{netlink, process};
use goldring_wire::dhcp::{Lease, Route};

use crate::console::{self, say};
use crate::ctx::Ctx;
use crate::dhcp::Conversation;
use crate::fate::Fate;
use crate::link::{self, Link};

/// The first try waits long enough for a switch with spanning tree; later ones need not.
const CARRIER_WAIT_AGAIN: Duration = Duration::from_secs(10);

/// Brings one card up.
pub(super) fn run(ctx: &mut Ctx) -> Result<(), Fate> {
    let automatic = ctx.automatic()?.clone();
    let links = link::all(&ctx.root);
    if links.is_empty() {
        let why = ctx.hardware.no_card(&ctx.root, &ctx.tables.names);
        return Err(Fate::reboot(why));
    }
    let cards = link::candidates(&links, &automatic.interface, ctx.args.boot_interface)
        .map_err(Fate::reboot)?;
    if ctx.dry_run {
        return pretend(ctx, &cards[0], &automatic.addressing);
    }
    // 127.0.0.1 is expected by many a tool. It is always number 1.
    let _ = netlink::link_up(1);
    let wait = match ctx.attempt {
        1 => CARRIER_WAIT,
        _ => CARRIER_WAIT_AGAIN,
    };
    let ready = link::with_carrier(&ctx.root, &cards, wait)?;
    // Each try takes the next card, in case the first leads to another network.
    let card = &ready[(ctx.attempt as usize - 1) % ready.len()];
    ctx.handover.interface.clone_from(&card.name);
    ctx.handover.hostname.clone_from(&automatic.hostname);
    match automatic.addressing {
        Addressing::Dhcp => by_dhcp(ctx, card, automatic.domain.as_deref())?,
        Addressing::Static {
            ip,
            prefix,
            gateway,
            dns,
        } => {
            let lease = fixed(ip, prefix, gateway, dns);
            apply(&ctx.root, card, &lease, automatic.domain.as_deref())?;
            ctx.handover.address = Some(ip);
        }
    }
    if let Some(name) = &ctx.handover.hostname
        && let Err(error) = process::set_hostname(name)
    {
        say(&format!("cannot take the name {name}: {error}"));
    }
    console::milestone(Milestone::AddressBound);
    Ok(())
}

fn by_dhcp(ctx: &mut Ctx, card: &Link, domain: Option<&str>) -> Result<(), Fate> {
    let wanted = ctx.handover.hostname.clone();
    let broken = |error| Fate::retry(format!("DHCP on {card}: {error}"));
    let mut conversation = Conversation::new(card, wanted.as_deref()).map_err(broken)?;
    let lease = conversation.first_lease()?;
    apply(&ctx.root, card, &lease, domain)?;
    if wanted.is_none() {
        ctx.handover.hostname.clone_from(&lease.hostname);
    }
    ctx.handover.address = Some(lease.address);
    ctx.boot_server.clone_from(&lease.boot_server);
    let (root, card, domain) = (ctx.root.clone(), card.clone(), domain.map(str::to_owned));
    let mut held = lease;
    conversation.keep(move |lease| {
        if *lease == held {
            return;
        }
        if lease.address != held.address {
            say(&format!(
                "{}: the address changed, connections break",
                card.name
            ));
            let _ = netlink::remove_address(card.index, held.address, held.prefix);
        }
        if let Err(Fate::Retry(cause)) = apply(&root, &card, lease, domain.as_deref()) {
            say(&cause.why);
        }
        held = lease.clone();
    });
    Ok(())
}

/// A lease as it would be, from the command line.
fn fixed(ip: Ipv4Addr, prefix: u8, gateway: Option<Ipv4Addr>, dns: Option<Ipv4Addr>) -> Lease {
    let default = |router| Route {
        network: Ipv4Addr::UNSPECIFIED,
        prefix: 0,
        router,
    };
    Lease {
        address: ip,
        prefix,
        routes: gateway.map(default).into_iter().collect(),
        dns: dns.into_iter().collect(),
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

/// Gives the card what the lease grants, and says so.
fn apply(root: &Root, card: &Link, lease: &Lease, domain: Option<&str>) -> Result<(), Fate> {
    netlink::add_address(card.index, lease.address, lease.prefix).map_err(|error| {
        let address = lease.address;
        Fate::retry(format!(
            "{card}: cannot take the address {address}: {error}"
        ))
    })?;
    let mut line = format!("{}: {}/{}", card.name, lease.address, lease.prefix);
    for route in &lease.routes {
        let gateway = (!route.router.is_unspecified()).then_some(route.router);
        match netlink::add_route(card.index, route.network, route.prefix, gateway) {
            Ok(()) if route.prefix == 0 => {
                let _ = write!(line, ", router {}", route.router);
            }
            Ok(()) => {}
            Err(error) => say(&format!(
                "{}: no route to {}/{} by {}: {error}",
                card.name, route.network, route.prefix, route.router
            )),
        }
    }
    if let Some(mtu) = lease.mtu
        && let Err(error) = netlink::set_mtu(card.index, mtu.into())
    {
        say(&format!(
            "{}: cannot take the MTU {mtu}: {error}",
            card.name
        ));
    }
    if let Some(server) = &lease.boot_server {
        let _ = write!(line, ", boot server {server}");
    }
    say(&line);
    let text = resolv_conf(lease, domain);
    for file in ["/etc/resolv.conf", "/run/resolv.conf"] {
        if let Err(error) = fs::write(root.join(file), &text) {
            say(&format!("writing {file}: {error}"));
        }
    }
    Ok(())
}

/// resolv.conf(5); a dead name server must not cost much time.
fn resolv_conf(lease: &Lease, domain: Option<&str>) -> String {
    let mut text = String::new();
    let own = domain.or(lease.domain.as_deref());
    let mut search: Vec<&str> = own.into_iter().collect();
    search.extend(
        lease
            .search
            .iter()
            .map(String::as_str)
            .filter(|s| Some(*s) != own),
    );
    if !search.is_empty() {
        let _ = writeln!(text, "search {}", search.join(" "));
    }
    // The resolver reads three (MAXNS).
    for server in lease.dns.iter().take(3) {
        let _ = writeln!(text, "nameserver {server}");
    }
    text + "options timeout:2 attempts:2\n"
}

fn pretend(ctx: &mut Ctx, card: &Link, addressing: &Addressing) -> Result<(), Fate> {
    match addressing {
        Addressing::Dhcp => {
            say(&format!("would ask for an address by DHCP on {card}"));
            ctx.boot_server = Some("BOOT-SERVER".to_owned());
        }
        Addressing::Static { ip, prefix, .. } => {
            say(&format!("would take {ip}/{prefix} on {card}"));
        }
    }
    let file = paths::HANDOVER;
    say(&format!("would tell the agent in {file}"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolv_conf_has_what_the_resolver_reads() {
        let mut lease = fixed(Ipv4Addr::new(10, 0, 0, 9), 24, None, None);
        assert_eq!(resolv_conf(&lease, None), "options timeout:2 attempts:2\n");
        lease.domain = Some("dhcp.lan".into());
        lease.search = vec!["lab".into(), "a.lan".into()];
        lease.dns = (1..=4).map(|n| Ipv4Addr::new(10, 0, 0, n)).collect();
        assert_eq!(
            resolv_conf(&lease, Some("a.lan")),
            "search a.lan lab\nnameserver 10.0.0.1\nnameserver 10.0.0.2\n\
             nameserver 10.0.0.3\noptions timeout:2 attempts:2\n"
        );
    }
}
