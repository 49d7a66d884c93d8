//! Which ring the golden node is to build: from a file, from the words of the command
//! line, or from whoever waits.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, ToSocketAddrs};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use goldring_contract::Root;
use goldring_transfer::discover;
use goldring_wire::discover::{Found, Program};
use goldring_wire::dolly::config::{Config, Dialect};
use goldring_wire::dolly::identity::Own;
use goldring_wire::dolly::listed;

use super::Args;
use super::screen::Screen;
use crate::fault::Usage;

/// How often a dry run asks who waits.
const DRY_ROUNDS: u32 = 3;
/// The most clients that dolly 0.72 takes.
const SUSE_CLIENTS: usize = 16;

/// The configuration of the ring.
pub(super) fn config(
    args: &Args,
    root: &Root,
    own: &Own,
    screen: &mut Screen,
) -> anyhow::Result<Config> {
    let config = match &args.config {
        Some(file) => {
            let config = from_file(file)?;
            if args.server && !config.server.is_empty() {
                check_name(&config, own)?;
            }
            config
        }
        None => from_words(args, root, own, screen)?,
    };
    let name = own_name(own);
    let config = config.into_dialect(args.dialect(), &name).map_err(|word| {
        Usage(format!(
            "the dialect of dolly 0.70 and later has no {word}; remove it, or leave --dialect suse away"
        ))
    })?;
    if config.dialect == Dialect::Suse {
        return for_suse(config, screen);
    }
    Ok(config)
}

fn from_file(file: &Path) -> anyhow::Result<Config> {
    let name = file.display();
    let bytes = fs::read(file).with_context(|| format!("reading the configuration {name}"))?;
    Config::parse_bytes(&bytes).with_context(|| name.to_string())
}

fn from_words(args: &Args, root: &Root, own: &Own, screen: &mut Screen) -> anyhow::Result<Config> {
    let (Some(input), Some(output)) = (&args.input, &args.output) else {
        bail!(Usage(
            "-s needs a ring: write -f FILE, or --in PATH --out PATH and the nodes (their names, or --nodes N)"
                .to_owned()
        ));
    };
    // Nobody should wait for forty nodes to learn of a slip of the finger.
    fs::metadata(input).with_context(|| format!("opening the infile {input}"))?;
    let clients = match args.count {
        Some(count) => found(args, root, (waits_for(output), count), screen)?,
        None if args.nodes.is_empty() => bail!(Usage(
            "--in and --out need the nodes; write their names behind them, or --nodes N for those that wait"
                .to_owned()
        )),
        None => args.nodes.clone(),
    };
    // The same checks as for a file, and the same text.
    let text = format!(
        "infile {input}\noutfile {output}\nserver {}\nfirstclient {}\nlastclient {}\nclients {}\n{}\nendconfig\n",
        own_name(own),
        clients.first().map_or("", String::as_str),
        clients.last().map_or("", String::as_str),
        clients.len(),
        clients.join("\n"),
    );
    Config::parse(&text).map_err(|error| Usage(error.complaint).into())
}

/// Whom to look for: a node in stage 1 takes nothing but its stage 2, into a ramdisk.
fn waits_for(output: &str) -> Program {
    if output.starts_with("/dev/ram") {
        Program::Stage2
    } else {
        Program::Dolly
    }
}

/// The addresses of the nodes that wait, in their order.
fn found(
    args: &Args,
    root: &Root,
    (program, count): (Program, usize),
    screen: &mut Screen,
) -> anyhow::Result<Vec<String>> {
    let found = if args.dry_run {
        let found = discover::look_around(root, program, DRY_ROUNDS)?;
        screen.say(&progress(&found, count, true));
        if found.is_empty() {
            bail!("no node waits, so there is no plan; switch nodes on, then start again");
        }
        found
    } else {
        let mut last: Option<Vec<Found>> = None;
        let mut told = |found: &[Found]| {
            let changed = last.as_deref() != Some(found);
            let line = progress(found, count, changed);
            if changed {
                screen.say(&line);
            } else {
                screen.status(&line);
            }
            last = Some(found.to_vec());
        };
        let limit = args.alarm.map(Duration::from_secs);
        discover::find(root, program, count, limit, &mut told)?
    };
    Ok(found
        .iter()
        .map(|found| found.address.to_string())
        .collect())
}

/// `found 2 of 3 nodes: 10.0.0.2 (node2), 10.0.0.3`.
fn progress(found: &[Found], count: usize, who: bool) -> String {
    let line = format!("found {} of {count} nodes", found.len());
    if who && !found.is_empty() {
        format!("{line}: {}", discover::names(found))
    } else {
        line
    }
}

/// What the golden node is called in the text; peers only show it.
fn own_name(own: &Own) -> String {
    let usable = |name: &&String| !name.contains("ready") && !name.contains(['%', '\'', ' ']);
    let name = own.names.iter().find(usable).cloned();
    let address = || own.addresses.first().map(Ipv4Addr::to_string);
    name.or_else(address).unwrap_or_else(|| "golden".to_owned())
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
    let local = |ip: Ipv4Addr| ip.is_loopback() || own.addresses.contains(&ip);
    addresses(name).into_iter().any(local)
}

/// The IPv4 addresses of a name; none when nobody knows it.
fn addresses(name: &str) -> Vec<Ipv4Addr> {
    let found = (name, 0).to_socket_addrs().into_iter().flatten();
    found
        .filter_map(|address| match address.ip() {
            IpAddr::V4(ip) => Some(ip),
            IpAddr::V6(_) => None,
        })
        .collect()
}

/// dolly 0.70 and later know themselves by their addresses only, so names become those.
fn for_suse(mut config: Config, screen: &mut Screen) -> anyhow::Result<Config> {
    for client in &mut config.clients {
        let found = addresses(client);
        let Some(address) = found.first() else {
            bail!(
                "{client} has no IPv4 address that this computer knows; write the address instead"
            );
        };
        *client = address.to_string();
    }
    if config.clients.len() > SUSE_CLIENTS {
        screen.say(&format!(
            "warning: dolly 0.72 takes {SUSE_CLIENTS} clients, and these are {}; goldring takes all",
            config.clients.len()
        ));
    }
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_found_is_told() {
        let node = |last: u8, name: &str| Found {
            address: Ipv4Addr::new(10, 0, 0, last),
            name: name.to_owned(),
        };
        let found = [node(2, "node2"), node(3, ""), node(4, "10.0.0.4")];
        assert_eq!(
            progress(&found, 40, true),
            "found 3 of 40 nodes: 10.0.0.2 (node2), 10.0.0.3, 10.0.0.4"
        );
        assert_eq!(progress(&found, 40, false), "found 3 of 40 nodes");
        assert_eq!(progress(&[], 40, true), "found 0 of 40 nodes");
    }

    #[test]
    fn nodes_in_stage_1_are_found_for_their_ramdisk_only() {
        assert_eq!(waits_for("/dev/ram3"), Program::Stage2);
        for path in ["/dev/sda", "/dev/vda1", "image"] {
            assert_eq!(waits_for(path), Program::Dolly);
        }
    }

    #[test]
    fn a_name_that_would_confuse_old_nodes_is_not_used() {
        let own = |names: &[&str]| Own {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            addresses: vec![Ipv4Addr::new(10, 0, 0, 1)],
        };
        assert_eq!(own_name(&own(&["already", "gold"])), "gold");
        assert_eq!(own_name(&own(&["already"])), "10.0.0.1");
        assert_eq!(own_name(&Own::default()), "golden");
    }
}
