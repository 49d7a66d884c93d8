//! `method:dolly`: this node takes part in a dolly ring whose configuration says
//! `outfile /dev/ram3`.

mod copy;
mod plus;

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use goldring_contract::limits::{DOLLY_STAGE2_TRIES, DOLLY_STAGE2_WAIT};
use goldring_contract::sentences::NO_DOLLY_SERVER;
use goldring_transfer::dolly::client::{self, ClientError, Ending, Options, Size, Store};
use goldring_transfer::dolly::{Event, Reporter, Summary};
use goldring_transfer::fetch::Progress;
use goldring_wire::discover::Program;
use goldring_wire::dolly::config::{Config, Payload};

use self::copy::{Shared, Sink};
use crate::console::say;
use crate::ctx::Ctx;
use crate::fate::{Fate, chain};
use crate::ramdisk::{self, Ramdisks};
use crate::store::{self, Beat};

/// Takes part in the ring.
pub(super) fn deliver(ctx: &mut Ctx) -> Result<PathBuf, Fate> {
    let ramdisks = Ramdisks::of(ctx);
    // What a try before has left there is of no use, and in the way.
    ramdisks
        .drop_all()
        .map_err(|error| Fate::reboot(format!("giving the memory of /dev/ram* back: {error}")))?;
    let free = store::free(&ctx.root);
    let mut part = Part {
        most: free.map_or(SIZE_UNKNOWN, store::usable),
        asked: ctx.args.ramdisk_size.map(|kib| kib.saturating_mul(1024)),
        ramdisks,
        free,
        refused: Rc::default(),
        shared: Arc::default(),
        opened: None,
    };
    let waits = (Program::Stage2, patience(ctx)?);
    let mut options = Options::of_node(&ctx.root, &ctx.handover, waits).map_err(Fate::reboot)?;
    options.plus = plus::abilities(free);
    let result = client::clone(&options, &mut |config| part.open(config), &mut Lines::new());
    let summary = match result {
        Ok(Ending::Stored(summary)) => summary,
        Ok(other) => plus::join(&mut part, &options, other)?,
        Err(error) => return Err(part.fate(&error)),
    };
    part.end(ctx, &summary)
}

/// The size of a ramdisk when nobody can say how much memory there is; it is a limit
/// only.
const SIZE_UNKNOWN: u64 = 1 << 30;

/// What a dry run says.
pub(super) fn plan(ctx: &Ctx) -> Result<String, Fate> {
    let size = match ctx.args.ramdisk_size {
        Some(kib) => format!("of ramdisk_size={kib}"),
        None => "as large as the memory allows".to_owned(),
    };
    Ok(format!(
        "would wait {DOLLY_STAGE2_TRIES} times {} s for a dolly server whose configuration says \
         outfile /dev/ram3, a ramdisk {size}",
        patience(ctx)?.as_secs()
    ))
}

fn patience(ctx: &Ctx) -> Result<Duration, Fate> {
    let seconds = ctx.automatic()?.dolly_timeout;
    Ok(seconds.map_or(DOLLY_STAGE2_WAIT, |s| Duration::from_secs(s.into())))
}

/// This node's part in one ring.
struct Part {
    ramdisks: Ramdisks,
    /// What `ramdisk_size=` asks for, in bytes.
    asked: Option<u64>,
    /// How much memory is free, in bytes.
    free: Option<u64>,
    /// How much of it stage 2 may take.
    most: u64,
    /// What this node itself had against the ring.
    refused: Rc<RefCell<Option<Fate>>>,
    shared: Arc<Shared>,
    /// The golden node and the ramdisk, once they are known.
    opened: Option<(String, PathBuf)>,
}

impl Part {
    /// Makes the ramdisk that the configuration names. Nothing else on this computer
    /// is written.
    fn open(&mut self, config: &Config) -> Result<Store, String> {
        let refused = Rc::clone(&self.refused);
        let output = target(config).map_err(|why| refuse(&refused, Fate::retry, why))?;
        self.open_ramdisk(&config.server, output)
    }

    /// Makes this ramdisk for what `server` sends.
    fn open_ramdisk(&mut self, server: &str, output: &str) -> Result<Store, String> {
        let refused = Rc::clone(&self.refused);
        let number = number_of(output).map_err(|why| refuse(&refused, Fate::retry, why))?;
        let made = self.ramdisks.make(self.asked.unwrap_or(self.most));
        let size = made.and_then(|()| Ok(self.ramdisks.open(number)?.1));
        let size = size.map_err(|error| {
            let why = format!(
                "/dev/ram{number}: {error}; without the module brd stage 2 cannot come by dolly, \
                 make the images again with `cargo xtask image`"
            );
            refuse(&refused, Fate::reboot, why)
        })?;
        self.opened = Some((server.to_owned(), self.ramdisks.path(number)));
        let sink = Sink::new(
            self.ramdisks.clone(),
            number,
            (size, self.most),
            Arc::clone(&self.shared),
        );
        let room = Room {
            size,
            free: self.free,
            fixed: self.ramdisks.are_built_in(),
            shared: Arc::clone(&self.shared),
        };
        let fits = move |size| {
            room.check(size)
                .map_err(|why| refuse(&refused, Fate::reboot, why))
        };
        Ok(Store {
            name: format!("/dev/ram{number}"),
            sink: Box::new(sink),
            fits: Box::new(fits),
        })
    }

    /// What a ring that broke means.
    fn fate(&self, error: &ClientError) -> Fate {
        if let ClientError::NoServer(seconds) = error {
            return Fate::retry(format!(
                "{NO_DOLLY_SERVER}: nobody called within {seconds} s; start goldring dolly -s -f \
                 dolly.cfg on the golden node"
            ));
        }
        let own = self.refused.borrow_mut().take();
        own.unwrap_or_else(|| Fate::retry(format!("stage 2 by dolly: {}", chain(error))))
    }

    /// Looks at what came.
    fn end(self, ctx: &mut Ctx, summary: &Summary) -> Result<PathBuf, Fate> {
        let (server, device) = self
            .opened
            .ok_or_else(|| Fate::retry("stage 2 by dolly: nothing was written"))?;
        if let Some(trouble) = &summary.trouble {
            say(&format!(
                "dolly: stage 2 is complete here, but then: {trouble}"
            ));
        }
        let (sent, digest) = (summary.bytes, self.shared.digest());
        match &ctx.manifest {
            Some(manifest) if manifest.stage2_size == sent => {
                let place = format!("what {server} sent to {}", device.display());
                store::check_digest(ctx, &place, &digest)?;
            }
            Some(manifest) if !ctx.args.any_stage2 => say(&format!(
                "{server} sent {sent} bytes, so not the rescue.clp of this all.rdz ({} bytes); \
                 taking it, since it was chosen there",
                manifest.stage2_size
            )),
            _ => {}
        }
        ctx.handover.server = Some(server);
        Ok(device)
    }
}

/// Keeps what a refusal means for this machine, and gives the sentence to the ring.
fn refuse(refused: &RefCell<Option<Fate>>, fate: fn(String) -> Fate, why: String) -> String {
    refused.replace(Some(fate(why.clone())));
    why
}

/// What a configuration wants to be written.
fn target(config: &Config) -> Result<&str, String> {
    match &config.payload {
        Payload::Dummy { .. } => Err(not_as_it_is("dummy")),
        Payload::File { input, output } if input.compressed || output.compressed => {
            Err(not_as_it_is("compressed"))
        }
        Payload::File { output, .. } if output.split.is_some() => {
            Err(not_as_it_is("outfile with split"))
        }
        Payload::File { output, .. } => Ok(&output.path),
    }
}

/// The number of the ramdisk that is to be written.
fn number_of(output: &str) -> Result<u8, String> {
    ramdisk::number(output).ok_or_else(|| {
        format!(
            "the dolly server wants to write to {output}, but stage 2 goes to /dev/ram3: write \
             outfile /dev/ram3 in its configuration"
        )
    })
}

/// Stage 1 has nothing to unpack with, and room for one file.
fn not_as_it_is(what: &str) -> String {
    format!(
        "the configuration says {what}, but stage 2 must come as it is, into one ramdisk; remove it \
         and start the ring again"
    )
}

/// How much fits.
struct Room {
    /// The size of the ramdisk, in bytes.
    size: u64,
    free: Option<u64>,
    /// The ramdisk cannot be made larger.
    fixed: bool,
    shared: Arc<Shared>,
}

impl Room {
    fn check(&self, size: Size) -> Result<(), String> {
        let bytes = size.bytes();
        store::enough(self.free, bytes)?;
        if self.fixed && bytes > self.size {
            return Err(format!(
                "stage 2 has {} KiB, but /dev/ram* of this kernel only {}; write ramdisk_size={} \
                 on the kernel command line",
                bytes.div_ceil(1024),
                self.size / 1024,
                bytes.div_ceil(1024)
            ));
        }
        if let Size::Total(total) = size {
            self.shared.announce(total);
        }
        Ok(())
    }
}

/// Says what happens in the ring.
struct Lines {
    started: Instant,
    beat: Beat,
}

impl Lines {
    fn new() -> Self {
        Self {
            started: Instant::now(),
            beat: Beat::new(),
        }
    }
}

impl Reporter for Lines {
    fn event(&mut self, event: Event) {
        match event {
            Event::Progress(bytes, Some(total)) => self.beat.progress(Progress {
                bytes,
                total,
                elapsed: self.started.elapsed(),
            }),
            Event::Progress(_, None) => {}
            Event::Started(_) => {
                self.started = Instant::now();
                say(&format!("dolly: {event}"));
            }
            event => say(&format!("dolly: {event}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(first: &str) -> Config {
        let rest = "server g\nfirstclient n\nlastclient n\nclients 1\nn\nendconfig\n";
        Config::received(format!("{first}{rest}").as_bytes()).unwrap()
    }

    #[test]
    fn only_a_ramdisk_is_a_target() {
        let to = |path: &str| {
            let config = config(&format!("infile x\noutfile {path}\n"));
            target(&config).and_then(number_of)
        };
        assert_eq!(to("/dev/ram3"), Ok(3));
        assert_eq!(
            to("/dev/sda").unwrap_err(),
            "the dolly server wants to write to /dev/sda, but stage 2 goes to /dev/ram3: \
             write outfile /dev/ram3 in its configuration"
        );
        for path in ["/dev/ram16", "stage2.img", "/dev/ram3/../sda", "/init"] {
            assert!(to(path).is_err(), "{path}");
        }
        let refused = |text: &str| target(&config(text)).unwrap_err();
        assert!(refused("dummy 5\n").contains("dummy"));
        assert!(refused("compressed infile x\noutfile /dev/ram3\n").contains("compressed"));
        assert!(refused("infile x\noutfile /dev/ram3 split 1M\n").contains("split"));
        let parts = config("infile x split\noutfile /dev/ram3\n");
        assert_eq!(
            target(&parts),
            Ok("/dev/ram3"),
            "the golden node puts them together"
        );
    }

    #[test]
    fn what_is_too_large_is_refused_with_what_it_needs() {
        let room = |free: u64, fixed| Room {
            size: 64_000 << 10,
            free: Some(free << 20),
            fixed,
            shared: Arc::default(),
        };
        let total = Size::Total(71 << 20);
        assert_eq!(room(200, false).check(total), Ok(()));
        let poor = room(100, false).check(total).unwrap_err();
        assert!(poor.contains("has 71 MB"), "{poor}");
        let fixed = room(200, true);
        let small = fixed.check(total).unwrap_err();
        assert!(small.contains("ramdisk_size=72704"), "{small}");
        // An old server tells the total at the end: what is here already counts.
        assert_eq!(fixed.check(Size::AtLeast(1 << 20)), Ok(()));
        assert_eq!(fixed.shared.total(), None);
        assert!(room(100, false).check(Size::AtLeast(71 << 20)).is_err());
    }

    #[test]
    fn a_broken_ring_is_tried_again_and_an_own_refusal_keeps_its_fate() {
        let part = Part {
            ramdisks: Ramdisks::none(),
            asked: None,
            free: None,
            most: 0,
            refused: Rc::default(),
            shared: Arc::default(),
            opened: None,
        };
        let Fate::Retry(cause) = part.fate(&ClientError::NoServer(120)) else {
            panic!("retry expected");
        };
        assert!(cause.why.starts_with(NO_DOLLY_SERVER), "{}", cause.why);
        let broken = || ClientError::Ring(goldring_wire::dolly::Failure::Here("no".into()));
        assert!(matches!(part.fate(&broken()), Fate::Retry(_)));
        refuse(&part.refused, Fate::reboot, "no memory".to_owned());
        assert_eq!(part.fate(&broken()), Fate::reboot("no memory"));
    }
}
