//! Stage 2 from wherever `method:` says.

use crate::console::say;
use crate::ctx::Ctx;
use crate::fate::Fate;
use crate::sources;

/// Gets it.
pub(super) fn run(ctx: &mut Ctx) -> Result<(), Fate> {
    if ctx.dry_run {
        say(&sources::plan(ctx)?);
        return Ok(());
    }
    ctx.image = Some(sources::deliver(ctx)?);
    Ok(())
}
