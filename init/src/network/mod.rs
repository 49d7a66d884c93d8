//! Cards and addresses: which card has a link, what VLAN it is in, how it gets an address
//! and how it keeps it.

pub(crate) mod dhcp;
mod dhcp6;
pub(crate) mod held;
pub(crate) mod held6;
mod inet6;
pub(crate) mod ipv6;
pub(crate) mod link;
mod probe;
pub(crate) mod resolv;
mod routers;
pub(crate) mod vlan;

use crate::ctx::Ctx;
use crate::insert::{Kernel, by_name};

/// Loads a module of the network by its name. Built in is fine, and what is missing the
/// kernel says itself when it is used.
pub(crate) fn module(ctx: &Ctx, name: &str) {
    let release = ctx.release();
    let mut kernel = Kernel {
        root: &ctx.root,
        release: &release,
        names: &ctx.tables.names,
        dry_run: ctx.dry_run,
    };
    by_name(&ctx.tables, name, &mut kernel);
}
