//! Stories of real processes in network namespaces. Each trial is one sentence.

mod desc;
mod dhcp;
mod discovery;
mod dry;
mod faults;
mod files;
mod forms;
mod garbage;
mod ipv6;
mod ka;
mod ka_deploy;
mod ka_deploy_old;
mod ka_faults;
mod ka_phases;
mod leases;
mod manual;
mod over;
mod peers;
mod plus;
mod plus_faults;
mod plus_slow;
mod prepare;
mod rings;
mod store;
mod suse;
mod table;
mod targets;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use goldring_host_tests::timing::{not_long, print_slowest, timed};
use goldring_host_tests::{net, program};
use libtest_mimic::{Arguments, Failed, Trial};

/// A trial: its sentence and what it does with the program under test.
type Story = (&'static str, fn(&Path) -> Result<()>);

fn main() {
    let mut arguments = Arguments::from_args();
    // Most stories wait, but some measure time: they share the processors with few others.
    arguments.test_threads.get_or_insert(4);
    let reason = if arguments.list {
        None
    } else {
        net::unavailable()
    };
    if let Some(reason) = &reason {
        eprintln!("host tests are ignored: {reason}");
    }
    let goldring = match (&reason, arguments.list) {
        (None, false) => program::goldring().unwrap_or_else(|error| {
            eprintln!("{error:#}");
            std::process::exit(1);
        }),
        _ => PathBuf::new(),
    };
    let goldring = Arc::new(goldring);
    let no_dnsmasq = dhcp::unavailable();
    if let (None, Some(reason)) = (&reason, &no_dnsmasq) {
        eprintln!("the dhcp story is ignored: {reason}");
    }
    let no_dnsmasq = reason.clone().or(no_dnsmasq);
    let no_routers = reason.clone().or_else(ipv6::unavailable);
    if let (None, Some(reason)) = (&reason, &no_routers) {
        eprintln!("stories of IPv6 are ignored: {reason}");
    }
    let no_tools = reason.clone().or_else(desc::unavailable);
    if let (None, Some(reason)) = (&reason, &no_tools) {
        eprintln!("stories of desc files are ignored: {reason}");
    }
    let no_images = reason.clone().or_else(prepare::unavailable);
    if let (None, Some(reason)) = (&reason, &no_images) {
        eprintln!("stories of prepare are ignored: {reason}");
    }
    let no_kill_points = match no_tools.is_some() || arguments.list {
        true => None,
        false => program::without_kill_points(&goldring).unwrap_or_else(|error| {
            eprintln!("{error:#}");
            std::process::exit(1);
        }),
    };
    if let Some(reason) = &no_kill_points {
        eprintln!("stories of phases are ignored: {reason}");
    }
    let no_kill_points = no_tools.clone().or(no_kill_points);
    let [no_disks, no_fat] = [&["xfs", "btrfs"][..], &["vfat"]].map(|kinds| {
        let lacks = files::unavailable(kinds);
        if let (None, Some(lacks)) = (&reason, &lacks) {
            eprintln!("a story of {} is ignored: {lacks}", kinds.join(" and "));
        }
        reason.clone().or(lacks)
    });
    let stories = [
        (rings::STORIES, &reason),
        (faults::STORIES, &reason),
        (garbage::STORIES, &reason),
        (forms::STORIES, &reason),
        (suse::STORIES, &reason),
        (discovery::STORIES, &reason),
        (dry::STORIES, &reason),
        (peers::STORIES, &reason),
        (over::STORIES, &reason),
        (manual::STORIES, &reason),
        (plus::STORIES, &reason),
        (plus_faults::STORIES, &reason),
        (plus_slow::STORIES, &reason),
        (ka::STORIES, &reason),
        (ka_faults::STORIES, &reason),
        (ka_deploy::STORIES, &no_tools),
        (ka_deploy_old::STORIES, &no_tools),
        (prepare::STORIES, &no_images),
        (store::STORIES, &no_tools),
        (ka_phases::STORIES, &no_kill_points),
        (targets::STORIES, &reason),
        (desc::STORIES, &no_tools),
        (files::STORIES, &reason),
        (files::OTHERS, &no_disks),
        (files::FAT, &no_fat),
        (dhcp::STORIES, &no_dnsmasq),
        (leases::STORIES, &reason),
        (ipv6::ODD, &reason),
        (ipv6::REAL, &no_routers),
    ];
    let long = not_long();
    if let Some(long) = long {
        eprintln!("rows of the fault table that others resemble are ignored: {long}");
    }
    let table = table::rows().map(|row| {
        let ignored = reason.is_some() || (row.is_long() && long.is_some());
        let goldring = Arc::clone(&goldring);
        let work = move || told(&row.to_string(), || row.run(&goldring));
        Trial::test(row.to_string(), work)
            .with_ignored_flag(ignored)
            .with_kind(reason.as_deref().map_or("", |_| "lacks something"))
    });
    let trials = stories
        .iter()
        .flat_map(|(stories, reason)| stories.iter().map(move |story| (story, reason)))
        .map(|((name, story), reason)| {
            let (goldring, story) = (Arc::clone(&goldring), *story);
            let work = move || told(name, || story(&goldring));
            Trial::test(*name, work)
                .with_ignored_flag(reason.is_some())
                .with_kind(reason.as_deref().map_or("", |_| "lacks something"))
        })
        .chain(table)
        .collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    print_slowest();
    conclusion.exit();
}

/// Runs a story; when it fails, says why and what all of its programs said.
fn told(name: &str, story: impl FnOnce() -> Result<()>) -> Result<(), Failed> {
    let result = timed(name, story);
    let why = result.as_ref().err().map(|error| format!("{error:#}"));
    let words = program::last_words(why.as_deref().unwrap_or_default());
    why.map_or(Ok(()), |why| Err(Failed::from(why + &words)))
}
