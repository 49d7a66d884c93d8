//! Drivers for everything on every bus: those of cards first, so that the network comes
//! up while slow disks are still looked for.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use goldring_contract::bootargs::{Interface, Method};
use goldring_contract::sentences::Milestone;
use goldring_contract::{Root, paths};
use goldring_hw::device::Kind;
use goldring_hw::load::Loader;
use goldring_hw::probe::{Probe, Share, parse_loaded};
use goldring_hw::tables::Tables;
use goldring_sys::uevents::Uevents;

use crate::console::{self, say};
use crate::ctx::Ctx;
use crate::fate::Fate;
use crate::hardware::Hardware;
use crate::insert::{Files, Kernel, by_name};
use crate::memory;
use crate::network::link;

/// After a device was added more will follow; they are looked for together.
const TOGETHER: Duration = Duration::from_millis(100);

/// Loads the drivers of cards and leaves the rest to a thread, unless stage 2 is on a
/// disk, or the memory is too small for modules that nobody needs.
pub(super) fn run(ctx: &mut Ctx) -> Result<(), Fate> {
    let mut work = Work::new(ctx);
    // Packet sockets serve tools of stage 2; missing or built in is fine.
    work.by_name("af_packet");
    let wish = wish(ctx);
    let root = ctx.root.clone();
    work.look(Share::WithoutDisks, || wish.is_met(&root));
    if ctx.dry_run || needs_disks(ctx) || memory::is_tight(&ctx.root) {
        work.finish();
    }
    if !ctx.dry_run {
        let follow = move || work.follow();
        let thread = thread::Builder::new().name("drivers".to_owned());
        if let Err(error) = thread.spawn(follow) {
            say(&format!("drivers: no thread for what comes later: {error}"));
        }
    }
    Ok(())
}

/// Stage 2 is looked for on disks, so all of them must be there.
fn needs_disks(ctx: &Ctx) -> bool {
    let method = ctx.args.automatic.as_ref().map(|a| a.method);
    matches!(method, Some(Method::Cdrom | Method::Disk))
}

/// The card to use, as far as the command line names it.
fn wish(ctx: &Ctx) -> Wish {
    let automatic = ctx.args.automatic.as_ref();
    Wish {
        interface: automatic.map(|a| a.interface.clone()).unwrap_or_default(),
        boot_interface: ctx.args.boot_interface,
    }
}

struct Wish {
    interface: Interface,
    boot_interface: Option<[u8; 6]>,
}

impl Wish {
    /// Whether the card is there; without a wish any is.
    fn is_met(&self, root: &Root) -> bool {
        link::all(root).iter().any(|link| match &self.interface {
            Interface::Name(name) => link.name == *name,
            Interface::Mac(mac) => link.mac == *mac,
            Interface::Auto => self.boot_interface.is_none_or(|mac| link.mac == mac),
        })
    }
}

/// The work, for this step and for the thread after it.
struct Work {
    root: Root,
    release: String,
    tables: Arc<Tables>,
    hardware: Hardware,
    events: Option<Uevents>,
    probe: Probe,
    /// What mounting stage 2 will need.
    ahead: Vec<&'static str>,
    dry_run: bool,
    keep_modules: bool,
    is_finished: bool,
}

impl Work {
    fn new(ctx: &Ctx) -> Self {
        let release = ctx.release();
        let files = Files {
            root: ctx.root.clone(),
            release: release.clone(),
            dry_run: ctx.dry_run,
        };
        let loader: Arc<dyn Loader> = Arc::new(files);
        let text = std::fs::read_to_string(ctx.root.join("/proc/modules")).unwrap_or_default();
        let probe = Probe::new(&ctx.root, &ctx.tables, parse_loaded(&text), loader);
        // Before the first look, so that nothing comes unheard.
        let events = (!ctx.dry_run).then(Uevents::open).and_then(|open| {
            open.map_err(|error| say(&format!("drivers: devices that come later: {error}")))
                .ok()
        });
        Self {
            root: ctx.root.clone(),
            release,
            tables: Arc::clone(&ctx.tables),
            hardware: ctx.hardware.clone(),
            events,
            probe: if ctx.args.noauto {
                probe.without_usb()
            } else {
                probe
            },
            ahead: ahead(ctx),
            dry_run: ctx.dry_run,
            keep_modules: ctx.args.keepmodules,
            is_finished: false,
        }
    }

    fn by_name(&self, name: &str) {
        let mut kernel = Kernel {
            root: &self.root,
            release: &self.release,
            names: &self.tables.names,
            dry_run: self.dry_run,
        };
        by_name(&self.tables, name, &mut kernel);
    }

    fn look(&mut self, share: Share, enough: impl Fn() -> bool) {
        let voice = Kernel {
            root: &self.root,
            release: &self.release,
            names: &self.tables.names,
            dry_run: self.dry_run,
        };
        self.probe.run(share, &voice, enough);
        self.hardware.learn(&self.probe);
    }

    /// Loads what is left, and frees what nobody wants.
    fn finish(&mut self) {
        // The kernel ends the loading of any module only when all disks were looked for
        // (Linux, kernel/module/main.c, async_synchronize_full), so these come before.
        for name in std::mem::take(&mut self.ahead) {
            self.by_name(name);
        }
        self.look(Share::All, || false);
        console::milestone(Milestone::ModulesLoaded);
        self.is_finished = true;
        if self.dry_run {
            return;
        }
        self.tell_the_agent();
        if !self.keep_modules {
            memory::free_modules(&self.root, &self.release, &self.tables, &self.hardware);
        }
    }

    /// Writes down why disks may be missing.
    fn tell_the_agent(&self) {
        let hints = self.hardware.hints(&self.root, Kind::Storage);
        let file = self.root.join(paths::MISSING);
        let written = if hints.is_empty() {
            Ok(())
        } else {
            let folder = file.parent().map_or(Ok(()), std::fs::create_dir_all);
            folder.and_then(|()| std::fs::write(&file, hints.join("\n") + "\n"))
        };
        if let Err(error) = written {
            say(&format!("writing {}: {error}", file.display()));
        }
    }

    /// Finishes, then loads drivers for whatever is plugged in.
    fn follow(mut self) {
        if !self.is_finished {
            self.finish();
        }
        let Some(events) = self.events.take() else {
            return;
        };
        while events.wait().is_ok() {
            thread::sleep(TOGETHER);
            self.look(Share::All, || true);
        }
    }
}

/// What every stage 2 stands on, and what its method needs.
fn ahead(ctx: &Ctx) -> Vec<&'static str> {
    if ctx.dry_run {
        return Vec::new();
    }
    let mut ahead = vec!["loop", "squashfs", "overlay"];
    if ctx.args.automatic.as_ref().map(|a| a.method) == Some(Method::Nfs) {
        ahead.extend(["nfs", "nfsv4", "nfsv3"]);
    }
    ahead
}
