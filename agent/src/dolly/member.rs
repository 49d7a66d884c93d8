//! A node of a dolly ring.

use std::time::Duration;

use goldring_contract::Root;
use goldring_contract::limits::{DOLLY_ACK_WAIT, DOLLY_RING_WAIT};
use goldring_disk::writer::Sync;
use goldring_transfer::dolly;
use goldring_transfer::dolly::client::{self, ClientError, Ending, Options};
use goldring_transfer::dollyplus::client::Done;
use goldring_transfer::dollyplus::{Event as PlusEvent, Reporter};
use goldring_wire::discover::Program;
use goldring_wire::dolly::config::{Config, Payload};

use super::screen::{Place, Screen};
use super::{Args, over, store};
use crate::dollyplus::member::DRY;
use crate::dollyplus::screen::Screen as PlusScreen;
use crate::dollyplus::timing;

/// `goldring dolly` without `-s`.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let root = Root::system();
    let options = Options {
        own: dolly::own(&root, &[]),
        bind: args.bind,
        program: Program::Dolly,
        password: args.password(),
        plus: args.password.is_none().then_some(over::ABILITIES),
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
    let mut runs = 0;
    loop {
        let result = client::clone(
            &options,
            &mut |config| {
                refuse_data(args.dummy, config)?;
                store::open(&root, config, sync)
            },
            &mut screen,
        );
        match result {
            Err(ClientError::NoServer(_)) if runs > 0 => return Ok(()),
            result => match result? {
                Ending::Stored(summary) => screen.summary("cloned", &summary, None),
                other => match go_over(args, &root, other)? {
                    // It was only looked what there is.
                    done if done.dry => continue,
                    _ => return Ok(()),
                },
            },
        }
        // Measuring takes many runs: dolly 0.57 with -d waits for the next one, too.
        if !args.dummy {
            return Ok(());
        }
        runs += 1;
    }
}

/// The ring is one of dolly+ from here on.
fn go_over(args: &Args, root: &Root, ending: Ending) -> anyhow::Result<Done> {
    let allow = |output: &str| match args.dummy {
        true => Err(dummy_only(output)),
        false => Ok(()),
    };
    let mut screen = PlusScreen::new(args.verbose, args.json);
    let how = (args.bind, timing(args.stall()));
    let done = over::join(root, ending, how, &allow, &mut screen)?;
    if done.dry {
        screen.event(PlusEvent::Note(DRY.to_owned()));
    } else {
        screen.client_summary(&done);
    }
    Ok(done)
}

/// A node that was started for a dummy run writes nothing, whoever calls.
fn refuse_data(dummy: bool, config: &Config) -> Result<(), String> {
    match &config.payload {
        Payload::File { output, .. } if dummy => Err(dummy_only(&output.path)),
        _ => Ok(()),
    }
}

fn dummy_only(output: &str) -> String {
    format!(
        "this node waits for dummy data (-d), but the golden node wants to write to {output}; start the node without -d"
    )
}
