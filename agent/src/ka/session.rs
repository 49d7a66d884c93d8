//! `goldring ka-d-session`: stage 2 for nodes that boot with `method:ka`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail};
use goldring_contract::ka::stage2_session;
use goldring_contract::limits::KA_SILENCE;
use goldring_contract::paths::{PREPARED, STAGE2_FOR_NODES};
use goldring_transfer::ka::server::{Options, serve};
use goldring_transfer::ka::{Ports, Source};
use goldring_wire::ka::server::{Late, Lead};

use super::screen::Screen;
use super::server::sum_up;
use super::{SessionArgs, command};
use crate::prepare;

/// Sends a folder as a tar.
pub(super) fn run(args: &SessionArgs) -> anyhow::Result<()> {
    let folder = folder(args);
    let mut inside = std::fs::read_dir(&folder).with_context(|| {
        format!(
            "looking into {}; unpack stage 2 there with `goldring prepare`, or say another folder \
             with DATA_PATH=",
            folder.display()
        )
    })?;
    if inside.next().is_none() {
        bail!(
            "{} is empty; unpack stage 2 there with `goldring prepare`",
            folder.display()
        );
    }
    let session = stage2_session(args.name.as_deref());
    let options = Options {
        session: Some(session),
        next: None,
        wanted: usize::try_from(args.nodes)?,
        expected: None,
        patience: Duration::from_secs(args.timeout),
        late: if args.partial {
            Late::GoOn
        } else {
            Late::GiveUp
        },
        arity: 1,
        lead: Lead::WhenFew,
        release: None,
        silence: KA_SILENCE,
        bind: args.bind,
        ports: Ports::default(),
    };
    let mut open = |_| folder_source(&folder);
    let summary = serve(&options, &mut open, &mut Screen::new(args.verbose))?;
    sum_up(&summary)
}

/// What is in a folder, as a tar.
///
/// # Errors
/// tar does not start.
pub(crate) fn folder_source(folder: &Path) -> Result<Source, String> {
    let mut tar = Command::new("tar");
    tar.args(["--create", "--numeric-owner", "--file", "-"]);
    tar.arg(format!("--exclude=./{PREPARED}"));
    if prepare::sends_as_root(folder) {
        tar.args(["--owner=0", "--group=0"]);
    }
    tar.arg("--directory").arg(folder).arg(".");
    command::source_of(tar)
}

fn folder(args: &SessionArgs) -> PathBuf {
    let given = args.data_path.clone();
    let given = given.or_else(|| std::env::var_os("DATA_PATH").map(PathBuf::from));
    given.unwrap_or_else(|| PathBuf::from(STAGE2_FOR_NODES))
}
