//! A dry run: the nodes look at their targets, and nothing is written anywhere.
//!
//! Nodes of goldring that wait for dolly are there for rings of dolly+ as well, in which
//! targets can be looked at. An old dolly opens and empties its target as soon as it is
//! called, and takes any connection for its ring, so it is not even called: whether goldring
//! waits is asked beforehand by datagrams, which an old program never sees.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::bail;
use goldring_transfer::discover::{self, Waits};
use goldring_transfer::dollyplus::server::{Fate, Summary};
use goldring_wire::discover::Program;
use goldring_wire::dolly::config::{Config, Payload};

use super::ring::is_for_stage2;
use super::screen::Screen;
use super::{Args, over};
use crate::dollyplus::screen::Screen as PlusScreen;
use crate::dollyplus::{Asked, all_good};

/// How long a node may take to say that it waits.
const LISTEN: Duration = Duration::from_secs(3);

/// Lets all nodes look, and says what they say.
pub(super) fn ask(args: &Args, config: &Config, screen: &mut Screen) -> anyhow::Result<()> {
    let stage2 = match &config.payload {
        Payload::File { output, .. } => is_for_stage2(&output.path),
        Payload::Dummy { .. } => false,
    };
    let stage2 = stage2.then_some("nodes that wait for their stage 2 have no disk to look at");
    if let Some(why) = over::hindrance(args, config).or(stage2) {
        screen.say(&format!(
            "the nodes were not asked whether they can write that: {why}"
        ));
        return Ok(());
    }
    let mut fates = BTreeMap::new();
    let (mut waiting, mut address) = (Vec::new(), None);
    let answers = discover::ask(&config.clients, Program::Dolly, LISTEN);
    for (name, answer) in config.clients.iter().zip(answers) {
        match fate(answer) {
            Ok(own) => {
                waiting.push(name.clone());
                address = Some(IpAddr::V4(own));
            }
            Err(why) => {
                fates.insert(name.clone(), Fate::Failed(why));
            }
        }
    }
    let mut screen = PlusScreen::new(args.verbose, args.json);
    if let Some(address) = address {
        let summary = over::ring(args, config, (address, &waiting), &mut screen)?;
        fates.extend(summary.fates);
    }
    let fates = config.clients.iter().filter_map(|name| {
        let fate = fates.remove(name)?;
        Some((name.clone(), fate))
    });
    let summary = Summary {
        fates: fates.collect(),
        dry: true,
        ..Summary::default()
    };
    screen.server_summary(&summary);
    all_good(&summary, Asked::ToLook)?;
    match args.words.count {
        Some(count) if count != config.clients.len() => bail!(
            "{} of {count} nodes wait; switch the others on, then start again",
            config.clients.len()
        ),
        _ => Ok(()),
    }
}

/// This computer's own address as a node that waits sees it, or why a node cannot be asked.
fn fate(answer: Waits) -> Result<std::net::Ipv4Addr, String> {
    match answer {
        Waits::Yes(own) => Ok(own),
        Waits::No => Err(
            "no goldring waits there for dolly; an old dolly cannot be asked, look at its screen"
                .to_owned(),
        ),
        Waits::Silent => Err("it does not answer; is it off?".to_owned()),
        Waits::Unreachable(why) => Err(format!("it cannot be asked: {why}")),
    }
}
