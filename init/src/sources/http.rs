//! `method:http`: stage 2 from a web server.

use std::path::PathBuf;

use goldring_contract::limits::FETCH_SILENCE;
use goldring_contract::paths;
use goldring_transfer::http::{self, HttpError, Url};

use crate::console::say;
use crate::ctx::Ctx;
use crate::fate::{Fate, chain};
use crate::{sources, store};

/// Fetches it into memory.
pub(super) fn deliver(ctx: &mut Ctx) -> Result<PathBuf, Fate> {
    let url = address(ctx)?;
    say(&format!("fetching {url}"));
    let mut body = http::get(&url, FETCH_SILENCE).map_err(|error| unreachable(&error))?;
    let length = body.length;
    let file = store::take(ctx, &url.to_string(), &mut body, length)?;
    ctx.handover.server = Some(url.host);
    Ok(file)
}

/// What a dry run says.
pub(super) fn plan(ctx: &Ctx) -> Result<String, Fate> {
    Ok(format!("would fetch {}", address(ctx)?))
}

/// Where stage 2 is.
fn address(ctx: &Ctx) -> Result<Url, Fate> {
    let automatic = ctx.automatic()?;
    let server = sources::server(ctx)?;
    Url::new(server, &automatic.directory, paths::STAGE2_ON_SERVER)
        .map_err(|error| Fate::reboot(chain(&error)))
}

fn unreachable(error: &HttpError) -> Fate {
    match error {
        HttpError::Status { code: 404, url, .. } => {
            let path = url.path.trim_start_matches('/');
            Fate::retry(format!("{error}: {path} below the web server's folder"))
        }
        HttpError::Server(_) | HttpError::NoLength(_) => Fate::reboot(chain(error)),
        _ => Fate::retry(chain(error)),
    }
}
