//! `method:http` and `method:ftp`: stage 2 from a web or FTP server.

use std::path::PathBuf;

use goldring_contract::limits::{FETCH_PAUSE, FETCH_SILENCE};
use goldring_contract::paths;
use goldring_transfer::remote::{self, Options, Proxy, RemoteError, Scheme, Url};

use crate::console::say;
use crate::ctx::Ctx;
use crate::fate::{Fate, chain};
use crate::{sources, store};

/// The port that proxies use when nobody says another.
const PROXY_PORT: u16 = 3128;

/// Fetches it into memory.
pub(super) fn deliver(ctx: &mut Ctx, scheme: Scheme) -> Result<PathBuf, Fate> {
    let url = address(ctx, scheme)?;
    let options = options(ctx)?;
    say(&format!("fetching {url}"));
    let mut file = remote::open(&url, &options).map_err(|error| unreachable(&url, &error))?;
    let length = file.length().ok_or_else(|| {
        Fate::reboot(format!(
            "{url}: the server tells no length; serve it as a plain file"
        ))
    })?;
    let file = store::take(ctx, &url.to_string(), &mut file, length)?;
    ctx.handover.server = Some(url.host);
    Ok(file)
}

/// What a dry run says.
pub(super) fn plan(ctx: &Ctx, scheme: Scheme) -> Result<String, Fate> {
    let (url, options) = (address(ctx, scheme)?, options(ctx)?);
    remote::check(&url, &options).map_err(|error| unreachable(&url, &error))?;
    let by = match options.proxy {
        Some(proxy) => format!(" by the proxy {} at port {}", proxy.host, proxy.port),
        None => String::new(),
    };
    Ok(format!("would fetch {url}{by}"))
}

/// Where stage 2 is.
fn address(ctx: &Ctx, scheme: Scheme) -> Result<Url, Fate> {
    let automatic = ctx.automatic()?;
    let server = sources::server(ctx)?;
    let file = paths::STAGE2_ON_SERVER;
    let url = Url::on_server(scheme, server, &automatic.directory, file);
    let mut url = url.map_err(|_| {
        Fate::reboot(format!(
            "server:{server} makes no sense; write server:HOST, server:HOST:PORT or \
             server:http://HOST:PORT"
        ))
    })?;
    if (url.scheme == Scheme::Ftp) != (scheme == Scheme::Ftp) {
        let method = if scheme == Scheme::Ftp { "http" } else { "ftp" };
        return Err(Fate::reboot(format!(
            "server:{server} is not for this method; write method:{method}"
        )));
    }
    if url.scheme == Scheme::Ftp && url.login.is_none() {
        let pass = automatic.pass.clone().unwrap_or_default();
        url.login = automatic.user.clone().map(|user| (user, pass));
    }
    Ok(url)
}

fn options(ctx: &Ctx) -> Result<Options, Fate> {
    let automatic = ctx.automatic()?;
    let proxy = automatic.proxy_host.as_deref().map(|host| {
        Proxy::new(host, automatic.proxy_port.unwrap_or(PROXY_PORT))
            .map_err(|_| Fate::reboot(format!("proxy_host:{host} makes no sense; write its name or address, and its port as proxy_port:")))
    });
    Ok(Options {
        pause: FETCH_PAUSE,
        proxy: proxy.transpose()?,
        roots: std::fs::read(ctx.root.join(paths::CA)).ok(),
        tell: say,
        ..Options::new(FETCH_SILENCE)
    })
}

fn unreachable(url: &Url, error: &RemoteError) -> Fate {
    match error {
        RemoteError::Status { code: 404, .. } => {
            let path = url.path.trim_start_matches('/');
            Fate::retry(format!("{error}: {path} below the web server's folder"))
        }
        error if error.lasts() => Fate::reboot(chain(error)),
        _ => Fate::retry(chain(error)),
    }
}
