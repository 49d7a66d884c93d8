//! An image on a web or FTP server, as the old script fetched it from the boot server.

use std::fs;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use goldring_contract::limits::FETCH_SILENCE;
use goldring_disk::target::decimal;
use goldring_transfer::fetch::into_file;
use goldring_transfer::remote::{Options, Remote, Url, open};

/// One that was fetched; gone when dropped.
#[derive(Debug)]
pub(super) struct Fetched(PathBuf);

impl Fetched {
    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Fetched {
    fn drop(&mut self) {
        // What stays of it is told by its name.
        let _ = fs::remove_file(&self.0);
    }
}

/// The URL, if a person gave one and no path.
pub(super) fn url(image: &Path) -> Option<&str> {
    image.to_str().filter(|text| text.contains("://"))
}

/// How long it is, in bytes; asks the server.
///
/// # Errors
/// The server has no such file, or does not say how long it is.
pub(super) fn length(text: &str) -> anyhow::Result<u64> {
    known(text, &ask(text)?)
}

fn known(text: &str, remote: &Remote) -> anyhow::Result<u64> {
    let length = remote.length();
    length.with_context(|| format!("{text}: its server does not say how long it is"))
}

fn ask(text: &str) -> anyhow::Result<Remote> {
    let url = Url::parse(text).with_context(|| format!("reading the address {text}"))?;
    let mut options = Options::new(FETCH_SILENCE);
    options.tell = |line| eprintln!("{line}");
    open(&url, &options).with_context(|| format!("fetching {text}"))
}

/// Fetches it to where the tree is to lie, under a name of its own.
///
/// # Errors
/// See [`length`]; there is no room; the server breaks off.
pub(super) fn fetch(text: &str, into: &Path) -> anyhow::Result<Fetched> {
    let mut remote = ask(text)?;
    let length = known(text, &remote)?;
    let folder = into.parent().context("--into names no folder")?;
    fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    let free = super::free(folder)?;
    ensure!(
        free >= length,
        "{} has {} left, and {text} is {} long; say another place with --into",
        folder.display(),
        decimal(free),
        decimal(length)
    );
    let path = folder.join(format!(".goldring-image-{}", std::process::id()));
    let shown = io::stderr().is_terminal();
    let mut percent = u64::MAX;
    let mut tick = |done: goldring_transfer::fetch::Progress| {
        let now = done.bytes.saturating_mul(100) / length.max(1);
        if shown && now != percent {
            percent = now;
            eprint!("\rfetching {now} % of {}  ", decimal(length));
        }
    };
    let fetched = into_file(&mut remote, length, &path, FETCH_SILENCE, &mut tick);
    if shown {
        eprintln!();
    }
    fetched.with_context(|| format!("fetching {text}"))?;
    Ok(Fetched(path))
}
