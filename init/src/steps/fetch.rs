//! Stage 2 from wherever `method:` says.

use crate::console::say;
use crate::ctx::Ctx;
use crate::fate::Fate;
use crate::{report, sources};

/// Gets it. From here on somebody else may hear what becomes of this node.
pub(super) fn run(ctx: &mut Ctx) -> Result<(), Fate> {
    report::prepare(ctx);
    if ctx.dry_run {
        // What is missing now will still be missing in a moment.
        let plan = sources::plan(ctx).map_err(|fate| match fate {
            Fate::Retry(cause) => Fate::Reboot(cause),
            other => other,
        })?;
        say(&plan);
        return Ok(());
    }
    ctx.image = Some(sources::deliver(ctx)?);
    Ok(())
}
