//! The sessions of a deployment, one after the other. Whoever took part in the first one is
//! waited for in the next; a node that fails is dropped, and the others go on.

use std::fs::File;
use std::io::{self, Cursor};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::Context;
use goldring_contract::Root;
use goldring_contract::ka::{install_session, stage2_session};
use goldring_contract::limits::{KA_GATHER, KA_NEXT};
use goldring_files::send::{Sending, send};
use goldring_transfer::ka::server::{Options, serve};
use goldring_transfer::ka::{Ports, Source};
use goldring_wire::ka::server::{Late, Lead};

use super::Args;
use super::parcel::Parcel;
use super::plan::Plan;
use super::tally::{Phase, Tally};
use crate::ka::command::widen;
use crate::ka::screen::Screen;
use crate::ka::session::folder_source;

/// Runs them all.
///
/// # Errors
/// Nobody took part.
pub(super) fn run(root: &Root, plan: &Plan, args: &Args) -> anyhow::Result<Tally> {
    let parcel = Parcel::write(plan)?;
    let mut run = Run {
        args,
        screen: Screen::new(args.verbose),
        tally: Tally::default(),
        number: 0,
    };
    if !args.no_stage2 && args.data_path.is_dir() {
        run.stage2()?;
    }
    run.next("partitions and file systems", None, &|| {
        folder_source(parcel.path())
    })?;
    run.next("files", None, &|| files(root, plan, args.zstd))?;
    for raw in &plan.deployment.raw {
        run.next(&raw.device, None, &|| partition(root, &raw.device))?;
    }
    if let Some(tenths) = args.delay {
        let release = Duration::from_millis(100) * tenths;
        run.next("the end", Some(release), &|| Ok(hello()))?;
    }
    Ok(run.tally)
}

struct Run<'a> {
    args: &'a Args,
    screen: Screen,
    tally: Tally,
    /// Of the last session of the installation.
    number: u32,
}

impl Run<'_> {
    fn stage2(&mut self) -> anyhow::Result<()> {
        let session = stage2_session(self.args.name.as_deref());
        let folder = self.args.data_path.clone();
        let phase = Phase {
            name: "stage 2".to_owned(),
            counts: true,
        };
        self.session(session, &phase, None, &|| folder_source(&folder))
    }

    /// The next session of the installation, if there is anybody for it.
    fn next(
        &mut self,
        name: &str,
        release: Option<Duration>,
        open: &dyn Fn() -> Result<Source, String>,
    ) -> anyhow::Result<()> {
        self.number += 1;
        let session = install_session(self.args.name.as_deref(), self.number);
        let phase = Phase {
            name: name.to_owned(),
            // With a pause between the nodes there is nothing in it that a clone needs.
            counts: release.is_none(),
        };
        self.session(session, &phase, release, open)
    }

    fn session(
        &mut self,
        session: String,
        phase: &Phase,
        release: Option<Duration>,
        open: &dyn Fn() -> Result<Source, String>,
    ) -> anyhow::Result<()> {
        let expected: Vec<(String, Ipv4Addr)> = self
            .tally
            .going_on()
            .into_iter()
            .map(|(address, name)| (name, address))
            .collect();
        let is_first = self.tally.len() == 0;
        if expected.is_empty() && !is_first {
            return Ok(());
        }
        self.screen
            .say(&format!("session {session}: {}", phase.name));
        let late = match is_first && !self.args.partial {
            true => Late::GiveUp,
            false => Late::GoOn,
        };
        let options = Options {
            session: Some(session),
            // Who got its stage 2 by ka-d-session, from the net or from a disk waits there.
            next: (self.number == 0).then(|| install_session(self.args.name.as_deref(), 1)),
            wanted: usize::try_from(self.args.nodes)?,
            patience: match (is_first, self.number) {
                (true, _) => Duration::from_secs(self.args.timeout),
                // They start their stage 2 before this one.
                (false, 1) => KA_NEXT,
                (false, _) => KA_GATHER,
            },
            expected: Some(expected).filter(|all| !all.is_empty()),
            late,
            arity: 1,
            lead: Lead::WhenFew,
            release,
            silence: Duration::from_secs(self.args.stall_timeout),
            bind: self.args.bind,
            ports: Ports::default(),
        };
        let ended = serve(&options, &mut || open(), &mut self.screen);
        self.tally
            .take(phase, ended)
            .with_context(|| phase.name.clone())
    }
}

/// The files of this system.
fn files(root: &Root, plan: &Plan, level: Option<i32>) -> Result<Source, String> {
    let (reader, writer) = io::pipe().map_err(|error| format!("making a pipe: {error}"))?;
    widen(&writer);
    let sending = Sending {
        source: plan.manifest.source(root.as_path()),
        level,
    };
    let work = move || send(&sending, writer, &mut |said| eprintln!("{said}"));
    let thread = thread::Builder::new().name("files".into()).spawn(work);
    let thread = thread.map_err(|error| format!("starting a thread: {error}"))?;
    let check = move || match thread.join() {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(crate::fault::one_line(error)),
        Err(_) => Err("sending the files failed".to_owned()),
    };
    Ok(source(reader, check))
}

/// A partition as it is.
fn partition(root: &Root, name: &str) -> Result<Source, String> {
    let file = File::open(root.join(name)).map_err(|error| format!("opening {name}: {error}"))?;
    Ok(source(file, || Ok(())))
}

/// What the old golden node sent in the session that only lets nodes go.
fn hello() -> Source {
    source(Cursor::new(*b"Hello\n"), || Ok(()))
}

/// One that ends by itself when nobody reads it any more.
fn source(
    reader: impl io::Read + Send + 'static,
    check: impl FnOnce() -> Result<(), String> + Send + 'static,
) -> Source {
    Source {
        reader: Box::new(reader),
        check: Box::new(check),
        stop: Arc::new(|| {}),
    }
}
