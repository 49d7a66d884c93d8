//! Drivers for everything on every bus.

use goldring_contract::Root;
use goldring_contract::sentences::Milestone;
use goldring_hw::probe::{Probe, parse_loaded};

use crate::console;
use crate::ctx::Ctx;
use crate::fate::Fate;
use crate::insert::{Kernel, by_name};

/// Loads them, again and again until no new device appears.
pub(super) fn run(ctx: &mut Ctx) -> Result<(), Fate> {
    let release = ctx.release();
    let mut kernel = Kernel {
        root: &ctx.root,
        release: &release,
        names: &ctx.tables.names,
        dry_run: ctx.dry_run,
    };
    // Packet sockets serve tools of stage 2; missing or built in is fine.
    by_name(&ctx.tables, "af_packet", &mut kernel);
    let loaded = loaded(&ctx.root);
    ctx.devices = Probe::new(&ctx.tables, loaded).run(&ctx.root, &mut kernel);
    console::milestone(Milestone::ModulesLoaded);
    Ok(())
}

fn loaded(root: &Root) -> std::collections::HashSet<String> {
    let text = std::fs::read_to_string(root.join("/proc/modules")).unwrap_or_default();
    parse_loaded(&text)
}
