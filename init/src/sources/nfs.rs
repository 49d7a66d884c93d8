//! `method:nfs`: stage 2 on an NFS server, through the kernel's own client and without
//! a helper program. The newest version that the server has is used, down to 3.

mod ladder;
mod place;

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use goldring_contract::limits::MOUNT_WAIT;

use self::ladder::{Failure, Patience, Rung, climb};
use self::place::Place;
use super::mounted::{self, Found, Layer, Wanted, bounded, find};
use crate::console::say;
use crate::ctx::Ctx;
use crate::fate::Fate;
use crate::sources;

/// How long one address of the server may take to answer at all.
const ANSWER: Duration = Duration::from_secs(10);
/// A refusal comes at once. After so long it is a time-out, whatever the kernel calls it:
/// version 4 says EIO.
const REFUSAL: Duration = Duration::from_secs(10);

/// Mounts it and gets stage 2.
pub(super) fn deliver(ctx: &mut Ctx) -> Result<PathBuf, Fate> {
    // What a try before has left.
    ctx.held = None;
    let place = place(ctx)?;
    say(&format!("mounting {place} by NFS"));
    let address = answering(&place)?;
    let found = mount(ctx, &place, address, Patience::Short)?;
    let found = if mounted::fits(ctx, &found) {
        found
    } else {
        // Stage 2 will be read from the server for as long as the node runs, and must
        // not break when that is rebooted.
        drop(found);
        mount(ctx, &place, address, Patience::Endless)?
    };
    let file = mounted::deliver(ctx, found)?;
    ctx.handover.server = Some(place.host);
    Ok(file)
}

/// What a dry run says.
pub(super) fn plan(ctx: &Ctx) -> Result<String, Fate> {
    Ok(format!(
        "would mount {} by NFS, in the newest of the versions 4.2 to 3 that the server has, and \
         look for stage 2 there",
        place(ctx)?
    ))
}

fn place(ctx: &Ctx) -> Result<Place, Fate> {
    Place::new(sources::server(ctx)?, &ctx.automatic()?.directory).map_err(Fate::reboot)
}

/// The first address of the server at which somebody answers, be it with a refusal: a
/// server of version 3 may have another port.
fn answering(place: &Place) -> Result<SocketAddr, Fate> {
    let addresses = place.addresses().map_err(|error| {
        Fate::retry(format!(
            "{} has no address ({error}); write the server's address instead of its name",
            place.host
        ))
    })?;
    let mut last = None;
    for address in addresses {
        match TcpStream::connect_timeout(&address, ANSWER) {
            Ok(_) => return Ok(address),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => return Ok(address),
            Err(error) => last = Some((address, error)),
        }
    }
    Err(Fate::retry(match last {
        Some((address, error)) => format!(
            "{} does not answer ({}: {error}); is it switched on, and does a packet filter drop \
             NFS, port {}?",
            place.host,
            address.ip(),
            address.port()
        ),
        None => format!("{} has no address", place.host),
    }))
}

/// Tries one version after the other.
fn mount(ctx: &Ctx, place: &Place, address: SocketAddr, patience: Patience) -> Result<Found, Fate> {
    let wanted = mounted::wanted(ctx);
    let step = |rung: &Rung| {
        let data = rung.options(address, place.port, patience);
        attempt(ctx, place, address.ip(), data, wanted)
    };
    climb(step).map_err(|failure| fate(ctx, place, failure))
}

/// Mounts it in one way and looks for stage 2.
fn attempt(
    ctx: &Ctx,
    place: &Place,
    address: IpAddr,
    data: String,
    wanted: Wanted,
) -> Result<Found, Failure> {
    let (root, place) = (ctx.root.clone(), place.clone());
    let work = move || {
        let source = place.source(address);
        let layer = Layer::mount(&root, Path::new(&source), &["nfs"], &data)
            .map_err(|error| Failure::Mount(error.raw_os_error().unwrap_or_default()))?;
        let name = place.folder_name();
        find(&root, layer, &place.file, &name, wanted).map_err(Failure::Miss)
    };
    let start = Instant::now();
    match bounded(MOUNT_WAIT, work) {
        None => Err(Failure::Late),
        Some(Err(Failure::Mount(_))) if start.elapsed() > REFUSAL => Err(Failure::Late),
        Some(result) => result,
    }
}

/// What it means that no version led to stage 2.
fn fate(ctx: &Ctx, place: &Place, failure: Failure) -> Fate {
    let Failure::Mount(code) = failure else {
        return match failure {
            Failure::Miss(miss) => mounted::nothing(&miss),
            _ => Fate::retry(format!(
                "{} took the connection and then said nothing; does its NFS server hang?",
                place.host
            )),
        };
    };
    let own = ctx.handover.address;
    let own = own.map_or(String::new(), |own| format!(", {own}"));
    ladder::sentence(place, &own, code)
}
