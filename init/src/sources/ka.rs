//! `method:ka`: this node takes part in a ka session that brings a tar: the unpacked
//! stage 2, or a folder with `rescue.clp` in it.

mod unpack;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use goldring_contract::ka::stage2_session;
use goldring_contract::limits::{FETCH_TRIES, KA_FIND, KA_WAIT};
use goldring_contract::paths;
use goldring_contract::sentences::NO_KA_SERVER;
use goldring_transfer::ka::client::{ClientError, Options, Where, receive};
use goldring_transfer::ka::{Event, Ports, Reporter, Sink};
use goldring_wire::ka::client::Failure;

use self::unpack::{Shared, Unpacker};
use crate::console::say;
use crate::ctx::Ctx;
use crate::fate::{Fate, chain};
use crate::store;

/// Where an image may lie in what comes.
const IMAGES: [&str; 3] = ["rescue.clp", "stage2/rescue.clp", paths::STAGE2_ON_SERVER];

/// So many bytes between two lines about how much has come.
const STEP: u64 = 50_000_000;

/// Takes part in the session.
pub(super) fn deliver(ctx: &mut Ctx) -> Result<PathBuf, Fate> {
    let tree = ctx.root.join(paths::STAGE2_TREE);
    store::prepare(ctx, &tree)?;
    // What a try before has left there is no stage 2.
    if let Err(error) = fs::remove_dir_all(&tree)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        return Err(Fate::reboot(format!(
            "removing {}: {error}",
            tree.display()
        )));
    }
    let shared = Arc::new(Shared::default());
    let most = store::free(&ctx.root).map_or(u64::MAX, store::usable);
    let mut open = |_| {
        let unpacker = Unpacker::new(&tree, most, Arc::clone(&shared));
        let unpacker = unpacker.map_err(|error| format!("making {}: {error}", tree.display()))?;
        let shared = Arc::clone(&shared);
        Ok(Sink {
            writer: Box::new(unpacker),
            check: Box::new(move || shared.verdict()),
            stop: Arc::new(|| {}),
        })
    };
    let mut lines = Lines::default();
    let result = receive(&options(ctx), &mut open, &mut lines);
    let summary = result.map_err(|error| fate(&error, &shared))?;
    if let Some(trouble) = &summary.trouble {
        say(&format!(
            "ka: stage 2 is complete here, but then: {trouble}"
        ));
    }
    say(&format!("ka: {} bytes are unpacked", summary.stream.bytes));
    let found = found(ctx, &tree)?;
    ctx.handover.server = lines.server;
    Ok(found)
}

/// Says what happens in the session; how long stage 2 is nobody knows before its end.
#[derive(Default)]
struct Lines {
    server: Option<String>,
    said: u64,
}

impl Reporter for Lines {
    fn event(&mut self, event: Event) {
        match &event {
            Event::Progress(bytes) if *bytes < self.said + STEP => return,
            Event::Progress(bytes) => {
                self.said = *bytes;
                return say(&format!("ka: {} MB have come", bytes / 1_000_000));
            }
            Event::Found(address) => self.server = Some(address.to_string()),
            _ => {}
        }
        say(&format!("ka: {event}"));
    }
}

/// What a dry run says.
pub(super) fn plan(ctx: &Ctx) -> String {
    format!(
        "would look {FETCH_TRIES} times {} s for the ka server of session {} and unpack what it sends",
        KA_FIND.as_secs(),
        session(ctx)
    )
}

fn session(ctx: &Ctx) -> String {
    stage2_session(ctx.args.kaopt.as_deref())
}

fn options(ctx: &Ctx) -> Options {
    let own = goldring_transfer::dolly::own(&ctx.root, &[]);
    Options {
        server: Where::Session(session(ctx)),
        name: own.names.into_iter().next().unwrap_or_default(),
        wait: true,
        find: KA_FIND,
        patience: KA_WAIT,
        bind: std::net::Ipv4Addr::UNSPECIFIED,
        ports: Ports::default(),
        root: ctx.root.clone(),
    }
}

/// What a session that broke means.
fn fate(error: &ClientError, shared: &Shared) -> Fate {
    if let Some(refused) = shared.refused() {
        return Fate::reboot(format!("stage 2 by ka: {refused}"));
    }
    match error {
        ClientError::Find(_)
        | ClientError::Connect(..)
        | ClientError::Failed(Failure::TurnedAway) => {
            Fate::retry(format!("{NO_KA_SERVER}: {}", chain(error)))
        }
        _ => Fate::retry(format!("stage 2 by ka: {}", chain(error))),
    }
}

/// The tree that came, or the image in it.
fn found(ctx: &mut Ctx, tree: &Path) -> Result<PathBuf, Fate> {
    let agent = tree.join(paths::AGENT.trim_start_matches('/'));
    if agent.symlink_metadata().is_ok() {
        if ctx.manifest.is_some() && !ctx.args.any_stage2 {
            say("ka: stage 2 came as a tree, which has no digest to compare with");
        }
        return Ok(tree.to_owned());
    }
    let mut images = IMAGES.iter().map(|name| tree.join(name));
    let Some(image) = images.find(|image| image.is_file()) else {
        return Err(Fate::retry(format!(
            "what came by ka is no stage 2: it has neither {} nor rescue.clp; give ka-d-session the \
             folder of one",
            paths::AGENT
        )));
    };
    let opened = fs::File::open(&image).and_then(|file| Ok((file.metadata()?.len(), file)));
    let (length, mut file) =
        opened.map_err(|error| Fate::reboot(format!("reading {}: {error}", image.display())))?;
    store::check(ctx, "the rescue.clp that came by ka", &mut file, length)?;
    Ok(image)
}

#[cfg(test)]
mod tests {
    use goldring_contract::Root;
    use goldring_transfer::ka::find::FindError;

    use super::*;
    use crate::flags::Facts;

    fn ctx(root: &Path) -> Ctx {
        Ctx::laptop(Facts {
            root: Root::at(root),
            cmdline: None,
            kernel: None,
        })
    }

    #[test]
    fn a_tree_an_image_or_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut ctx = ctx(folder.path());
        let tree = folder.path().join("tree");
        fs::create_dir_all(tree.join("stage2")).unwrap();
        let Err(Fate::Retry(cause)) = found(&mut ctx, &tree) else {
            panic!("nothing is there");
        };
        assert!(cause.why.contains("has neither"), "{}", cause.why);
        let image = tree.join("stage2/rescue.clp");
        fs::write(&image, "x").unwrap();
        assert_eq!(found(&mut ctx, &tree).unwrap(), image);
        let agent = tree.join(paths::AGENT.trim_start_matches('/'));
        fs::create_dir_all(agent.parent().unwrap()).unwrap();
        fs::write(&agent, "x").unwrap();
        assert_eq!(found(&mut ctx, &tree).unwrap(), tree);
    }

    #[test]
    fn nobody_there_is_the_sentence_of_the_manual() {
        let nobody = ClientError::Find(FindError::Nobody {
            name: "getstage2".into(),
            seconds: 10,
        });
        let Fate::Retry(cause) = fate(&nobody, &Shared::default()) else {
            panic!("it is tried again");
        };
        assert!(cause.why.starts_with("Can't reach a valid KA server: "));
        let broken = ClientError::Failed(Failure::ServerGone);
        assert!(matches!(fate(&broken, &Shared::default()), Fate::Retry(_)));
    }
}
