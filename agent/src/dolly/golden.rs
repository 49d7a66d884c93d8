//! The golden node of a dolly ring.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::net::{IpAddr, ToSocketAddrs};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use goldring_contract::Root;
use goldring_contract::limits::DOLLY_ACK_WAIT;
use goldring_disk::source::Source;
use goldring_transfer::dolly::server::{self, Options};
use goldring_transfer::dolly::whole::Whole;
use goldring_transfer::dolly::{self, Summary};
use goldring_wire::dolly::config::{Config, Payload, Text};
use goldring_wire::dolly::identity::Own;
use goldring_wire::dolly::server::Setup;
use goldring_wire::dolly::{listed, topology};

use super::Args;
use super::screen::{Place, Screen};

/// `goldring dolly -s`.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let root = Root::system();
    let mut screen = Screen::new(Place::Command, args.verbose);
    let Some(file) = &args.config else {
        bail!(crate::fault::Usage("-s needs -f FILE".to_owned()));
    };
    let config = read_config(file)?;
    if let Some(refusal) = dolly::not_yet(&config) {
        bail!("{}: {refusal}", file.display());
    }
    if args.server {
        check_name(&config, &dolly::own(&root, &[]))?;
    }
    let text = config.text()?;
    if let Some(warning) = &text.warning {
        screen.say(&format!("warning: {warning}"));
    }
    if config.segsize.is_some() {
        screen.talk("segsize has no effect; the system chooses better");
    }
    let Payload::File { input, .. } = &config.payload else {
        bail!("there is no infile");
    };
    let source = Source::open(&root, &std::path::absolute(&input.path)?)?;
    for user in &source.users {
        screen.say(&format!(
            "warning: {user}; what changes while it is copied is copied half"
        ));
    }
    if args.dry_run {
        print!("{}", plan(&config, &text, source.size));
        return Ok(());
    }
    // Before the clone: a wrong path must not turn an hour's good work into a failure.
    let log = args.log.as_deref().map(open_log).transpose()?;
    let options = options(args, &config, text, (input.path.clone(), source))?;
    let summary = server::serve(options, &mut screen)?;
    screen.summary(
        &format!("{} clones are complete", config.clients.len()),
        &summary,
    );
    if let Some(mut log) = log {
        let line = figures(&config, &summary);
        log.write_all(line.as_bytes())
            .context("writing the figures of -o; the clones are complete all the same")?;
    }
    Ok(())
}

fn read_config(file: &Path) -> anyhow::Result<Config> {
    let name = file.display();
    let bytes = fs::read(file).with_context(|| format!("reading the configuration {name}"))?;
    Config::parse_bytes(&bytes).with_context(|| name.to_string())
}

/// dolly's `-s` makes sure that the file is meant for this computer.
fn check_name(config: &Config, own: &Own) -> anyhow::Result<()> {
    let server = config.server.as_str();
    let short = |name: &str| name.split('.').next() == Some(server);
    if own.is(server) || own.names.iter().any(|name| short(name)) || is_local(server, own) {
        return Ok(());
    }
    let all: Vec<String> = own.all().collect();
    bail!(
        "the configuration says server {server}, this computer is {}; mend the server line, or use -S instead of -s",
        listed(&all)
    )
}

fn is_local(name: &str, own: &Own) -> bool {
    let Ok(addresses) = (name, 0).to_socket_addrs() else {
        return false;
    };
    let local = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => ip.is_loopback() || own.addresses.contains(&ip),
        IpAddr::V6(_) => false,
    };
    addresses.map(|address| address.ip()).any(local)
}

fn options(
    args: &Args,
    config: &Config,
    text: Text,
    input: (String, Source),
) -> anyhow::Result<Options> {
    let (input_name, source) = input;
    Ok(Options {
        talk: Setup {
            children: topology::of_server(config.clients.len(), config.fanout).len(),
            clients: config.clients.clone(),
            text: text.bytes,
            total: source.size,
            give_up: args.alarm.map(Duration::from_secs),
            count_wait: DOLLY_ACK_WAIT,
        },
        whole: whole(&source).with_context(|| format!("opening {input_name} again"))?,
        input: Box::new(source),
        input_name,
        stall: args.stall(),
    })
}

/// A file or disk, of which parts can be sent without reading them; nothing for a pipe.
fn whole(source: &Source) -> std::io::Result<Option<Whole>> {
    let Some(size) = source.size else {
        return Ok(None);
    };
    let mut looks = source.try_clone()?;
    Ok(Some(Whole {
        file: source.file()?,
        size,
        hole_at: Box::new(move |offset| looks.hole_at(offset)),
    }))
}

/// What would happen.
fn plan(config: &Config, text: &Text, size: Option<u64>) -> String {
    let mut plan = String::new();
    let size = size.map_or_else(|| "unknown (a pipe)".to_owned(), |n| format!("{n} bytes"));
    let Payload::File { input, output } = &config.payload else {
        return plan;
    };
    let _ = writeln!(plan, "input    {} on {}, {size}", input.path, config.server);
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
        format!("reads {}", input.path),
        names(first),
    );
    for (index, client) in config.clients.iter().enumerate() {
        let children = names(config.children_of(index));
        line(client, format!("writes {}", output.path), children);
    }
    plan
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
