//! The golden node of a dolly ring.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use goldring_contract::Root;
use goldring_contract::limits::DOLLY_ACK_WAIT;
use goldring_transfer::dolly::server::{self, Ending, Options};
use goldring_transfer::dolly::{self, Manner, Summary};
use goldring_wire::dolly::config::{Config, Output, Payload, TEXT_SAFE, Text};
use goldring_wire::dolly::opening::Opening;
use goldring_wire::dolly::server::Setup;
use goldring_wire::dolly::{listed, own, topology};

use super::input::{self, Input};
use super::screen::{Place, Screen};
use super::{Args, dry, over, ring};
use crate::dollyplus::Asked;
use crate::dollyplus::screen::Screen as PlusScreen;
use crate::fault::Usage;

/// `goldring dolly -s`.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let root = Root::system();
    let mut screen = Screen::new(Place::Command, args.verbose);
    let config = ring::config(args, &root, &dolly::own(&root, &[]), &mut screen)?;
    let is_dummy = matches!(config.payload, Payload::Dummy { .. });
    if let Some(option) = [(args.dummy, "-d"), (args.dummy_time.is_some(), "-t")]
        .iter()
        .find_map(|(given, option)| (*given && !is_dummy).then_some(option))
    {
        bail!(Usage(format!(
            "{option} is for dummy data, but the configuration has an infile; write dummy instead of infile and outfile"
        )));
    }
    // Whoever is found is of ours, and no old reader stands in the way.
    let mut text = match args.words.count {
        Some(_) => Text {
            warning: None,
            ..config.text_for_ours()
        },
        None => config.text()?,
    };
    let short = text.bytes.len() <= TEXT_SAFE || args.words.count.is_some();
    if short && over::hindrance(args, &config).is_none() {
        own::offer(&mut text.bytes);
    }
    if let Some(warning) = &text.warning {
        screen.say(&format!("warning: {warning}"));
    }
    let time = args.dummy_time.map(Duration::from_secs);
    let input = input::open(&root, &config, time)?;
    for user in &input.users {
        screen.say(&format!(
            "warning: {user}; what changes while it is copied is copied half"
        ));
    }
    if args.dry_run {
        if !args.json {
            print!("{}", plan(&config, &text, &input));
        }
        return dry::ask(args, &config, &mut screen);
    }
    // Before the clone: a wrong path must not turn an hour's good work into a failure.
    let log = args.log.as_deref().map(open_log).transpose()?;
    let options = options(args, &config, text, input);
    let summary = match server::serve(options, &mut screen)? {
        Ending::Cloned(summary) => summary,
        Ending::Switched(address) => return switched(args, &config, address, log),
    };
    let done = format!("{} clones are complete", config.clients.len());
    screen.summary(&done, &summary, args.size);
    if let Some(mut log) = log {
        let line = figures(&config, &summary);
        log.write_all(line.as_bytes())
            .context("writing the figures of -o; the clones are complete all the same")?;
    }
    Ok(())
}

/// All nodes are goldring: the clone goes on as dolly+.
fn switched(
    args: &Args,
    config: &Config,
    address: IpAddr,
    log: Option<File>,
) -> anyhow::Result<()> {
    let mut screen = PlusScreen::new(args.verbose, args.json);
    let summary = over::serve(args, config, address, &mut screen)?;
    if let Some(mut log) = log {
        let figured = Summary {
            bytes: summary.bytes,
            elapsed: summary.elapsed,
            trouble: None,
        };
        log.write_all(figures(config, &figured).as_bytes())
            .context("writing the figures of -o; the clones are as they are all the same")?;
    }
    crate::dollyplus::all_good(&summary, Asked::ToTake)
}

fn options(args: &Args, config: &Config, text: Text, input: Input) -> Options {
    Options {
        talk: Setup {
            children: topology::of_server(config.clients.len(), config.fanout).len(),
            clients: config.clients.clone(),
            offers: own::is_offered(&text.bytes),
            text: text.bytes,
            opening: Opening {
                dialect: config.dialect,
                password: args.password(),
                seed: goldring_sys::random::bytes(),
            },
            total: input.size,
            give_up: args.alarm.map(Duration::from_secs),
            count_wait: DOLLY_ACK_WAIT,
        },
        // With several links the blocks are dealt out, so they have to be read.
        whole: input.whole.filter(|_| config.networks.is_none()),
        input: input.reader,
        input_name: input.name,
        manner: Manner::of(config, args.stall()),
    }
}

/// What would happen.
fn plan(config: &Config, text: &Text, input: &Input) -> String {
    let mut plan = String::new();
    let size = input.size.map_or_else(
        || "unknown before its end".to_owned(),
        |n| format!("{n} bytes"),
    );
    let _ = writeln!(plan, "input    {} on {}, {size}", input.name, config.server);
    let (packs, writes) = match &config.payload {
        Payload::Dummy { .. } => ("", "writes nothing".to_owned()),
        Payload::File { input, output } => (
            if output.compressed {
                " and packs it"
            } else {
                ""
            },
            what_is_written(input.compressed, output),
        ),
    };
    let _ = writeln!(plan, "text     {} bytes", text.bytes.len());
    let mut line = |name: &str, does: String, children: Vec<String>| {
        let feeds = if children.is_empty() {
            "feeds nobody".to_owned()
        } else {
            format!("feeds {}", listed(&children))
        };
        let _ = writeln!(plan, "{name:<16} {does}, {feeds}");
    };
    let names = |range: std::ops::Range<usize>| config.clients[range].to_vec();
    let first = topology::of_server(config.clients.len(), config.fanout);
    line(
        &config.server,
        format!("reads {}{packs}", input.name),
        names(first),
    );
    for (index, client) in config.clients.iter().enumerate() {
        let children = names(config.children_of(index));
        line(client, writes.clone(), children);
    }
    plan
}

fn what_is_written(unpacked: bool, output: &Output) -> String {
    let how = if unpacked { "unpacks into" } else { "writes" };
    match output.split {
        Some(size) => format!("{how} {}_0, {0}_1, … of {size} bytes each", output.path),
        None => format!("{how} {}", output.path),
    }
}

fn open_log(path: &Path) -> anyhow::Result<File> {
    let file = OpenOptions::new().append(true).create(true).open(path);
    file.with_context(|| format!("opening {} for the figures of -o", path.display()))
}

/// The line of `-o`, as dolly 0.57 wrote it: MB, segsize, clients, seconds, MB/s, MB/s
/// of all clients together.
fn figures(config: &Config, summary: &Summary) -> String {
    let megabytes = summary.bytes as f64 / 1e6;
    let seconds = summary.elapsed.as_secs_f64().max(1e-6);
    let rate = megabytes / seconds;
    let clients = config.clients.len();
    format!(
        "{megabytes:.3} {} {clients} {seconds:.3} {rate:.3} {:.3}\n",
        config.segsize.unwrap_or(0),
        rate * clients as f64
    )
}
