//! `vlan=ID`: a device that tags what it sends and takes only what is tagged so.

use goldring_sys::netlink;

use super::link::{self, Link};
use super::module;
use crate::ctx::Ctx;
use crate::fate::Fate;

/// IFNAMSIZ of linux/if.h, without its NUL.
const NAME_MAX: usize = 15;

/// The VLAN device on `card`, up.
///
/// # Errors
/// A kernel or an image without 8021q.
pub(crate) fn on(ctx: &Ctx, card: &Link, id: u16) -> Result<Link, Fate> {
    let name = name(&card.name, id);
    let broken = |error| {
        Fate::reboot(format!(
            "vlan={id}: cannot make {name} on {card}: {error}; \
             the image needs the module 8021q, see images/stage1.toml"
        ))
    };
    // An earlier try may have made it.
    if link::named(&ctx.root, &name).is_none() {
        module(ctx, "8021q");
        netlink::add_vlan(card.index, &name, id).map_err(broken)?;
    }
    let device = link::named(&ctx.root, &name)
        .ok_or_else(|| broken(std::io::Error::other("it is not there")))?;
    netlink::link_up(device.index).map_err(broken)?;
    Ok(device)
}

/// `eth0.5`, as everybody calls it; without the card where that is too long.
pub(crate) fn name(card: &str, id: u16) -> String {
    let name = format!("{card}.{id}");
    if name.len() <= NAME_MAX {
        name
    } else {
        format!("vlan{id}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_the_kernel() {
        assert_eq!(name("eth0", 5), "eth0.5");
        assert_eq!(name("enp0s31f6", 4094), "enp0s31f6.4094");
        assert_eq!(name("enx525400123456", 5), "vlan5");
    }
}
