//! Where stage 2 comes from: one module for each `method:` of `automatic=`.
//!
//! A source delivers a file or a block device that holds stage 2, checked as far as it
//! can be, or says in one sentence why not. Trying again is the engine's.

mod cdrom;
mod disk;
mod dolly;
mod ka;
pub(crate) mod mounted;
mod nfs;
mod web;

use std::path::PathBuf;

use goldring_contract::bootargs::{Method, host_of};
use goldring_transfer::remote::Scheme;

use crate::ctx::Ctx;
use crate::fate::Fate;

/// Gets stage 2: a file, or a block device, whose content is stage 2.
///
/// # Errors
/// What the source says.
pub(crate) fn deliver(ctx: &mut Ctx) -> Result<PathBuf, Fate> {
    match ctx.automatic()?.method {
        Method::Http => web::deliver(ctx, Scheme::Http),
        Method::Ftp => web::deliver(ctx, Scheme::Ftp),
        Method::Dolly => dolly::deliver(ctx),
        Method::Ka => ka::deliver(ctx),
        Method::Nfs => nfs::deliver(ctx),
        Method::Cdrom => cdrom::deliver(ctx),
        Method::Disk => disk::deliver(ctx),
    }
}

/// What [`deliver`] would do, in a sentence.
///
/// # Errors
/// What is wrong with the command line.
pub(crate) fn plan(ctx: &Ctx) -> Result<String, Fate> {
    match ctx.automatic()?.method {
        Method::Http => web::plan(ctx, Scheme::Http),
        Method::Ftp => web::plan(ctx, Scheme::Ftp),
        Method::Dolly => dolly::plan(ctx),
        Method::Ka => Ok(ka::plan(ctx)),
        Method::Nfs => nfs::plan(ctx),
        Method::Cdrom => cdrom::plan(ctx),
        Method::Disk => disk::plan(ctx),
    }
}

/// The server of `server:`, or the boot server that DHCP named.
fn server(ctx: &Ctx) -> Result<&str, Fate> {
    let automatic = ctx.automatic()?;
    // DHCPv6 names the port of a web server with it.
    let boot_server = ctx
        .boot_server
        .as_deref()
        .map(|server| match automatic.method {
            Method::Http => server,
            _ => host_of(server),
        });
    automatic
        .server
        .as_deref()
        .or(boot_server)
        .ok_or_else(|| Fate::reboot("no server: DHCP named none; add server:ADDRESS to automatic="))
}
