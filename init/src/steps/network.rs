//! A card, a link, an address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use goldring_contract::bootargs::{Addressing, Automatic, Method, host_of};
use goldring_contract::limits::CARRIER_WAIT;
use goldring_contract::sentences::Milestone;
use goldring_contract::{Root, paths};
use goldring_hw::device::Kind;
use goldring_sys::{netlink, process};

use crate::console::{self, say};
use crate::ctx::Ctx;
use crate::fate::Fate;
use crate::network::dhcp::Conversation;
use crate::network::held::{Held, fixed, is_free};
use crate::network::ipv6::{self, Asker, Ear, Got};
use crate::network::link::{self, Link};
use crate::network::{held6, module, resolv, vlan};

/// The first try waits long enough for a switch with spanning tree; later ones need not.
const CARRIER_WAIT_AGAIN: Duration = Duration::from_secs(10);
/// A card that is named may be a slow one on USB: it has until this try, some 7 s.
const LATE_CARD_TRIES: u32 = 4;
/// How long an offer waits for another one that names a boot server.
const BOOT_SERVER_WAIT: Duration = Duration::from_secs(1);

/// Brings one card up. A node whose stage 2 is on a CD or a disk, and that clones nothing,
/// comes up without a network too: that is what a person with a USB stick expects.
pub(super) fn run(ctx: &mut Ctx) -> Result<(), Fate> {
    match connect(ctx) {
        Err(Fate::Retry(cause) | Fate::Reboot(cause)) if is_optional(ctx) => {
            say(&format!(
                "{}; going on without a network, since stage 2 is here",
                cause.why
            ));
            // Number 1 is 127.0.0.1's.
            if !ctx.dry_run {
                let _ = netlink::link_up(1);
            }
            Ok(())
        }
        other => other,
    }
}

/// Whether nothing that this boot is for needs the network.
fn is_optional(ctx: &Ctx) -> bool {
    let method = ctx
        .args
        .automatic
        .as_ref()
        .map(|automatic| automatic.method);
    matches!(method, Some(Method::Cdrom | Method::Disk)) && ctx.args.clone.is_none()
}

/// Brings one card up.
fn connect(ctx: &mut Ctx) -> Result<(), Fate> {
    let automatic = ctx.automatic()?.clone();
    let links = link::all(&ctx.root);
    if links.is_empty() {
        let why = ctx.hardware.no_card(&ctx.root, &ctx.tables.names);
        return Err(Fate::reboot(why));
    }
    let cards =
        link::candidates(&links, &automatic.interface, ctx.args.boot_interface).map_err(|why| {
            if ctx.dry_run || ctx.attempt >= LATE_CARD_TRIES {
                Fate::reboot(why)
            } else {
                Fate::retry(why)
            }
        })?;
    if ctx.dry_run {
        return pretend(ctx, &cards[0], &automatic.addressing);
    }
    // 127.0.0.1 is expected by many a tool. It is always number 1.
    let _ = netlink::link_up(1);
    // Before any card is up: then the kernel asks the routers. Missing is fine for IPv4.
    module(ctx, "ipv6");
    if let Addressing::Static {
        ip: IpAddr::V6(_), ..
    } = automatic.addressing
    {
        ipv6::ignore_routers(&ctx.root, &cards);
    }
    let card = choose(ctx, &cards)?;
    ctx.handover.interface.clone_from(&card.name);
    ctx.handover.hostname.clone_from(&automatic.hostname);
    match automatic.addressing {
        Addressing::Dhcp if names_ipv6(&automatic) => by_ipv6(ctx, &card, &automatic)?,
        Addressing::Dhcp => by_dhcp(ctx, &card, &automatic)?,
        Addressing::Ipv6 => by_ipv6(ctx, &card, &automatic)?,
        Addressing::Static { .. } => as_written(ctx, &card, &automatic)?,
    }
    if let Some(name) = &ctx.handover.hostname
        && let Err(error) = process::set_hostname(name)
    {
        say(&format!("cannot take the name {name}: {error}"));
    }
    console::milestone(Milestone::AddressBound);
    Ok(())
}

/// The card of this try, or the VLAN on it. Each try takes the next card with a link, in
/// case the first leads to another network.
fn choose(ctx: &mut Ctx, cards: &[Link]) -> Result<Link, Fate> {
    let wait = match ctx.attempt {
        1 if !is_optional(ctx) => CARRIER_WAIT,
        _ => CARRIER_WAIT_AGAIN,
    };
    let card = link::ready(&ctx.root, cards, &ctx.cards_tried, wait)
        .map_err(|fate| fate.because(&ctx.hardware.hints(&ctx.root, Kind::Network)))?;
    let booted = &cards[0];
    if ctx.cards_tried.is_empty() && card != *booted && Some(booted.mac) == ctx.args.boot_interface
    {
        say(&format!(
            "{booted}: PXE booted from this card, but it has no link; taking {}",
            card.name
        ));
    }
    if ctx.cards_tried.contains(&card.index) {
        // All had their turn.
        ctx.cards_tried.clear();
    }
    ctx.cards_tried.push(card.index);
    match ctx.args.vlan {
        Some(id) => vlan::on(ctx, &card, id),
        None => Ok(card),
    }
}

/// `network:static`.
fn as_written(ctx: &mut Ctx, card: &Link, automatic: &Automatic) -> Result<(), Fate> {
    let Addressing::Static {
        ip,
        prefix,
        gateway,
        dns,
    } = automatic.addressing
    else {
        return Ok(());
    };
    let domain = automatic.domain.as_deref();
    match ip {
        IpAddr::V4(ip) => {
            is_free(card, ip)?;
            let lease = fixed(ip, prefix, gateway);
            Held::take(&ctx.root, card, &lease, domain)?;
        }
        IpAddr::V6(ip) => held6::take_fixed(&ctx.root, card, (ip, prefix), gateway)?,
    }
    // One of the other family is written down as it is, too.
    let dns: Vec<IpAddr> = dns.into_iter().collect();
    resolv::write(&ctx.root, domain, &[], &dns);
    ctx.handover.address = Some(ip);
    Ok(())
}

/// `network:dhcp`: IPv4, or IPv6 where no IPv4 server answers and a router speaks IPv6.
fn by_dhcp(ctx: &mut Ctx, card: &Link, automatic: &Automatic) -> Result<(), Fate> {
    let ear = takes_ipv6(automatic).then(|| Ear::open(card));
    let Err(fate) = by_dhcp4(ctx, card, automatic) else {
        return Ok(());
    };
    let (Fate::Retry(cause), Some(ear)) = (&fate, ear) else {
        return Err(fate);
    };
    let Some(router) = ear.router() else {
        return Err(fate.because(&["no router speaks IPv6 either".to_owned()]));
    };
    say(&cause.why);
    say(&format!("{}: a router speaks IPv6, taking that", card.name));
    let root = ctx.root.clone();
    match ipv6::by_router(&asker(&root, card, automatic), Some(router)) {
        Ok(got) => {
            got_ipv6(ctx, automatic, got);
            Ok(())
        }
        Err(Fate::Retry(six) | Fate::Reboot(six) | Fate::Hold(six)) => {
            Err(fate.because(&[format!("by IPv6: {}", six.why)]))
        }
    }
}

fn by_ipv6(ctx: &mut Ctx, card: &Link, automatic: &Automatic) -> Result<(), Fate> {
    let root = ctx.root.clone();
    let got = ipv6::get(&asker(&root, card, automatic))?;
    got_ipv6(ctx, automatic, got);
    Ok(())
}

fn asker<'a>(root: &'a Root, card: &'a Link, automatic: &'a Automatic) -> Asker<'a> {
    Asker {
        root,
        files: Some(root),
        card,
        hostname: automatic.hostname.as_deref(),
        domain: automatic.domain.as_deref(),
    }
}

fn got_ipv6(ctx: &mut Ctx, automatic: &Automatic, got: Got) {
    let settings = got.held.settings();
    if automatic.hostname.is_none() {
        ctx.handover.hostname.clone_from(&settings.hostname);
    }
    ctx.boot_server.clone_from(&settings.boot_server);
    ctx.handover.address = got.held.address().map(IpAddr::V6);
    got.keep();
}

/// Whether `server:` is an IPv6 address, so that IPv4 would be of no use.
fn names_ipv6(automatic: &Automatic) -> bool {
    server(automatic).parse::<Ipv6Addr>().is_ok()
}

/// Whether IPv6 would do in place of IPv4: not for a server that is an IPv4 address, and not
/// for rings, which speak IPv4.
fn takes_ipv6(automatic: &Automatic) -> bool {
    let is_ipv4 = server(automatic).parse::<Ipv4Addr>().is_ok();
    !is_ipv4 && !matches!(automatic.method, Method::Dolly | Method::Ka)
}

/// The host of `server:`; empty when none was written.
fn server(automatic: &Automatic) -> &str {
    automatic.server.as_deref().map_or("", host_of)
}

fn by_dhcp4(ctx: &mut Ctx, card: &Link, automatic: &Automatic) -> Result<(), Fate> {
    let wanted = automatic.hostname.as_deref();
    let patience = match automatic.server {
        // Nobody needs the server's word on where to boot.
        Some(_) => Duration::ZERO,
        None => BOOT_SERVER_WAIT,
    };
    let mut conversation = Conversation::new(card, wanted, patience)
        .map_err(|error| Fate::retry(format!("DHCP on {card}: {error}")))?;
    let lease = conversation.first_lease()?;
    let held = Held::take(&ctx.root, card, &lease, automatic.domain.as_deref())?;
    if wanted.is_none() {
        ctx.handover.hostname.clone_from(&lease.hostname);
    }
    ctx.handover.address = Some(lease.address.into());
    ctx.boot_server.clone_from(&lease.boot_server);
    ctx.log_servers.clone_from(&lease.log_servers);
    conversation.keep(held);
    Ok(())
}

fn pretend(ctx: &mut Ctx, card: &Link, addressing: &Addressing) -> Result<(), Fate> {
    let card = match ctx.args.vlan {
        Some(id) => format!("{} on {card}", vlan::name(&card.name, id)),
        None => card.to_string(),
    };
    match addressing {
        Addressing::Dhcp => {
            say(&format!("would ask for an address by DHCP on {card}"));
            ctx.boot_server = Some("BOOT-SERVER".to_owned());
        }
        Addressing::Ipv6 => {
            say(&format!("would ask for an IPv6 address on {card}"));
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
    use goldring_contract::bootargs::BootArgs;

    #[test]
    fn the_server_tells_which_family_is_of_use() {
        // What is written, whether only IPv6 is of use, whether IPv6 is of use at all.
        let table = [
            ("method:http", false, true),
            ("method:http,server:10.0.1.1", false, false),
            ("method:http,server:10.0.1.1:8080", false, false),
            ("method:http,server:http://10.0.1.1", false, false),
            ("method:http,server:https://10.0.1.1/pub", false, false),
            ("method:http,server:boot.lan:8080", false, true),
            ("method:http,server:[2001:db8::1]:8080", true, true),
            ("method:ftp,server:ftp://[2001:db8::1]/pub", true, true),
            ("method:http,server:2001:db8::1", true, true),
            ("method:dolly", false, false),
            ("method:ka,server:boot.lan", false, false),
        ];
        for (text, only, at_all) in table {
            let args = BootArgs::parse(&format!("automatic={text}")).unwrap();
            let automatic = args.automatic.unwrap();
            let got = (names_ipv6(&automatic), takes_ipv6(&automatic));
            assert_eq!(got, (only, at_all), "{text}");
        }
    }
}
