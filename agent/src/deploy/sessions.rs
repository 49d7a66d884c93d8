//! The sessions of a deployment, one after the other. Whoever took part in the first one is
//! waited for in the next; a node that fails is dropped, and the others go on.

use std::fs::File;
use std::io::{Cursor, Read};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use goldring_contract::Root;
use goldring_contract::ka::{install_session, stage2_session};
use goldring_contract::limits::{KA_GATHER, KA_NEXT};
use goldring_files::send::Sending;
use goldring_files::trailer::Form;
use goldring_transfer::ka::server::{Options, serve};
use goldring_transfer::ka::{Ports, Source};
use goldring_wire::ka::server::{Late, Lead};

use super::old::Files;
use super::options::Course;
use super::parcel::Parcel;
use super::plan::Plan;
use super::tally::{Phase, Tally, Who};
use crate::files::stream;
use crate::ka::screen::Screen;
use crate::ka::session::folder_source;
use crate::killpoint::killpoint;

/// What nodes do for minutes while the golden one has nothing more to send.
const WORK: &str = "everything is sent; the nodes write the rest, make their initramfs and install the boot loader";

/// Where the streams of a deployment come from. Each is opened once, when everybody is
/// connected.
pub(crate) trait Streams {
    /// The files, as `goldring files send` sends them; `plain`, as old nodes read them.
    ///
    /// # Errors
    /// A sentence for all nodes.
    fn files(&self, plain: bool) -> Result<Source, String>;

    /// The partition that is sent as it is, by its number in the deployment, from 0.
    ///
    /// # Errors
    /// A sentence for all nodes.
    fn raw(&self, number: usize) -> Result<Source, String>;
}

/// Runs them all; `old` is what old nodes read, or why they cannot take part.
///
/// # Errors
/// Nobody took part.
pub(super) fn run(
    plan: &Plan,
    old: Result<Files, String>,
    args: &Course,
    streams: &dyn Streams,
) -> anyhow::Result<Tally> {
    let (old, no_old) = match old {
        Ok(files) => (files, None),
        Err(why) => (Files::new(), Some(why)),
    };
    let parcel = Parcel::write(plan, &old)?;
    let mut run = Run {
        args,
        screen: Screen::new(args.verbose),
        tally: Tally::new(no_old),
        number: 0,
    };
    if !args.no_stage2 && args.data_path.is_dir() {
        run.stage2()?;
    }
    run.next("partitions and file systems", None, &|| {
        folder_source(parcel.path())
    })?;
    let plain = run.tally.has_old();
    if plain {
        run.screen.say(
            "old nodes are among them: the files go as their tar reads them, and sockets stay \
             behind",
        );
    }
    let raws = plan.deployment.raw.len();
    if raws == 0 {
        run.screen.at_the_end(Some(WORK));
    }
    run.next("files", None, &|| streams.files(plain))?;
    for (number, raw) in plan.deployment.raw.iter().enumerate() {
        if number + 1 == raws {
            run.screen.at_the_end(Some(WORK));
        }
        run.next(&raw.device, None, &|| streams.raw(number))?;
    }
    match args.delay {
        Some(tenths) => {
            let release = Duration::from_millis(100) * tenths;
            run.next("the end", Some(release), &|| Ok(hello()))?;
        }
        // They come when their boot loader is installed; goldring's have said so before.
        None if run.tally.has_old() => run.old_end()?,
        None => {}
    }
    Ok(run.tally)
}

struct Run<'a> {
    args: &'a Course,
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
            who: Who::Anybody,
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
            who: Who::All,
        };
        self.session(session, &phase, release, open)
    }

    /// The session that lets old nodes go.
    fn old_end(&mut self) -> anyhow::Result<()> {
        self.number += 1;
        let session = install_session(self.args.name.as_deref(), self.number);
        let phase = Phase {
            name: "boot loader".to_owned(),
            counts: true,
            who: Who::Old,
        };
        self.session(session, &phase, None, &|| Ok(hello()))
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
            .going_on(phase.who)
            .into_iter()
            .map(|(address, name)| (name, address))
            .collect();
        let is_first = self.tally.len() == 0;
        if expected.is_empty() && !is_first {
            return Ok(());
        }
        killpoint(&phase.name);
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
                // Old nodes do their work between two sessions.
                (false, _) if self.tally.has_old() => KA_NEXT,
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
        let ended = serve(&options, &mut |_| open(), &mut self.screen);
        // One that broke off before has not said it.
        self.screen.at_the_end(None);
        self.tally
            .take(phase, ended)
            .with_context(|| phase.name.clone())
    }
}

/// Those of the system that runs here.
#[derive(Debug)]
pub(super) struct Live<'a> {
    /// Where it is.
    pub(super) root: &'a Root,
    /// What of it travels.
    pub(super) plan: &'a Plan,
    /// Files are compressed by zstd with this level.
    pub(super) level: Option<i32>,
}

impl Streams for Live<'_> {
    fn files(&self, plain: bool) -> Result<Source, String> {
        stream::source(Sending {
            source: self.plan.manifest.source(self.root.as_path()),
            level: self.level.filter(|_| !plain),
            form: if plain { Form::Plain } else { Form::Agreed },
        })
    }

    fn raw(&self, number: usize) -> Result<Source, String> {
        let name = &self.plan.deployment.raw[number].device;
        let file = File::open(self.root.join(name));
        let file = file.map_err(|error| format!("opening {name}: {error}"))?;
        Ok(source(file, || Ok(())))
    }
}

/// What the old golden node sent in the session that only lets nodes go.
fn hello() -> Source {
    source(Cursor::new(*b"Hello\n"), || Ok(()))
}

/// One that ends by itself when nobody reads it any more.
pub(crate) fn source(
    reader: impl Read + Send + 'static,
    check: impl FnOnce() -> Result<(), String> + Send + 'static,
) -> Source {
    Source {
        reader: Box::new(reader),
        check: Box::new(check),
        stop: Arc::new(|| {}),
    }
}
