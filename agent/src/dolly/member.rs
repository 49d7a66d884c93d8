//! A node of a dolly ring.

use std::io::{self, Write};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use goldring_contract::Root;
use goldring_contract::limits::{DOLLY_ACK_WAIT, DOLLY_RING_WAIT};
use goldring_disk::target::{Target, TargetError};
use goldring_disk::writer::{Sync, Writer};
use goldring_transfer::dolly;
use goldring_transfer::dolly::client::{self, Options, Store};
use goldring_transfer::pump::Sink;
use goldring_wire::dolly::config::{Config, Payload};

use super::Args;
use super::screen::{Place, Screen};
use crate::fault;

/// How long a disk may take to appear: its driver was loaded a moment ago.
const APPEAR: Duration = Duration::from_secs(10);

/// `goldring dolly` without `-s`.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let root = Root::system();
    let options = Options {
        own: dolly::own(&root, &[]),
        bind: args.bind,
        wait: args.wait.or(args.alarm).map(Duration::from_secs),
        stall: args.stall(),
        ring_wait: DOLLY_RING_WAIT,
        count_wait: DOLLY_ACK_WAIT,
    };
    let sync = if args.no_sync {
        Sync::Never
    } else {
        Sync::Always
    };
    let mut screen = Screen::new(Place::Command, args.verbose);
    let summary = client::clone(
        &options,
        &mut |config| open(&root, config, sync),
        &mut screen,
    )?;
    screen.summary("cloned", &summary);
    Ok(())
}

/// Opens what the configuration names, once it is there.
pub(crate) fn open(root: &Root, config: &Config, sync: Sync) -> Result<Store, String> {
    if let Some(refusal) = dolly::not_yet(config) {
        return Err(refusal);
    }
    let Payload::File { output, .. } = &config.payload else {
        return Err("there is no outfile".to_owned());
    };
    // As a shell would take it: relative to where this program was started.
    let path = std::path::absolute(&output.path).map_err(fault::one_line)?;
    Ok(store(wait_for(root, &path)?, &output.path, sync))
}

/// Opens a target; a disk may appear a little later than the node.
pub(crate) fn wait_for(root: &Root, path: &Path) -> Result<Target, String> {
    let limit = Instant::now() + APPEAR;
    loop {
        match Target::open(root, path) {
            Err(TargetError::Absent { .. }) if Instant::now() < limit => {
                thread::sleep(Duration::from_millis(250));
            }
            other => return other.map_err(fault::one_line),
        }
    }
}

/// An open target, ready for the ring.
pub(crate) fn store(target: Target, name: &str, sync: Sync) -> Store {
    let room = target.room();
    Store {
        name: name.to_owned(),
        sink: Box::new(Disk(Writer::new(target, sync))),
        fits: Box::new(move |size| room.check(size.bytes()).map_err(fault::one_line)),
    }
}

/// The disk as the pump's sink.
struct Disk(Writer);

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Sink for Disk {
    fn finish(&mut self) -> io::Result<()> {
        // Whether the kernel could read the new table matters to nobody who reboots.
        self.0.finish().map(|_| ())
    }
}
