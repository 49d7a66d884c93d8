//! `goldring dollyC`: a node of a dolly+ ring.

use std::path::Path;
use std::time::Duration;

use goldring_contract::Root;
use goldring_disk::target::Kind;
use goldring_disk::writer::Sync;
use goldring_transfer::dolly;
use goldring_transfer::dolly::client::Store;
use goldring_transfer::dollyplus::client::{self, Options, Wanted};
use goldring_transfer::dollyplus::{Event, Reporter};
use goldring_wire::dollyplus::cook::Cook;

use super::codec::ZSTD;
use super::cook::{self, Kitchen};
use super::screen::Screen;
use super::{ClientArgs, timing};
use crate::dolly::store;
use crate::fault;

/// `goldring dollyC`.
pub(crate) fn run(args: &ClientArgs) -> anyhow::Result<()> {
    let root = Root::system();
    let options = Options {
        bind: args.bind,
        announce: Some(dolly::own(&root, &[]).name().to_owned()),
        wait: args.wait.map(Duration::from_secs),
        again: true,
        timing: timing(Duration::from_secs(args.stall_timeout)),
        codec: (!args.plain).then_some(ZSTD),
    };
    let mut screen = Screen::new(args.verbose, args.json);
    loop {
        let done = client::clone(
            &options,
            None,
            &mut |wanted| open(&root, wanted, Before::Emptied),
            &mut screen,
        )?;
        if !done.dry {
            screen.client_summary(&done);
            return Ok(());
        }
        screen.event(Event::Note(DRY.to_owned()));
    }
}

/// What a node says after a dry run.
pub(crate) const DRY: &str = "that was a dry run, nothing is written; waiting again";

/// What becomes of a plain file that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Before {
    /// It is emptied, as dolly+ does.
    Emptied,
    /// It is overwritten and keeps its length, as dolly does.
    Kept,
}

/// Opens a target that the golden node names.
pub(crate) fn open(root: &Root, wanted: Wanted<'_>, before: Before) -> Result<Store, String> {
    // As a shell would take it: relative to where this program was started.
    let path = std::path::absolute(wanted.output).map_err(fault::one_line)?;
    if wanted.cook.archive().is_some() {
        if wanted.dry {
            return Ok(store::nowhere(wanted.output));
        }
        cook::folder(&path)?;
        let kitchen = Kitchen::start(wanted.cook, &path, None)?;
        return Ok(stored(wanted.output, Box::new(kitchen)));
    }
    if wanted.dry
        && !path.exists()
        && path.parent().is_some_and(Path::is_dir)
        && !path.starts_with("/dev")
    {
        // It would be made; a look makes nothing.
        return Ok(store::nowhere(wanted.output));
    }
    let target = store::existing(root, &path).map_err(fault::one_line)?;
    if wanted.dry {
        let room = target.room();
        let mut look = store::nowhere(wanted.output);
        look.fits = Box::new(move |size| room.check(size.bytes()).map_err(fault::one_line));
        return Ok(look);
    }
    if target.kind == Kind::File && before == Before::Emptied {
        target
            .file
            .set_len(0)
            .map_err(|error| format!("emptying {}: {}", wanted.output, fault::one_line(error)))?;
    }
    if wanted.cook == Cook::PLAIN {
        return Ok(store::of_target(target, wanted.output, Sync::Always));
    }
    let kitchen = Kitchen::start(wanted.cook, &path, Some(target.file))?;
    Ok(stored(wanted.output, Box::new(kitchen)))
}

fn stored(name: &str, sink: Box<dyn goldring_transfer::pump::Sink>) -> Store {
    Store {
        name: name.to_owned(),
        sink,
        fits: Box::new(|_| Ok(())),
    }
}
