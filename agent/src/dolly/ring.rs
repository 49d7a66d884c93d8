//! Which ring the golden node is to build: from a file, from the words of the command
//! line, or from whoever waits.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, ToSocketAddrs};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use goldring_contract::Root;
use goldring_wire::discover::Program;
use goldring_wire::dolly::config::{Config, Dialect};
use goldring_wire::dolly::identity::Own;
use goldring_wire::dolly::listed;

use super::Args;
use super::screen::Screen;
use super::words::Search;
use crate::fault::Usage;

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
    let search = |output: &str| Search {
        programs: waits_for(output),
        dry: args.dry_run,
        limit: args.alarm.map(Duration::from_secs),
    };
    let mut told = |line: &str, changed: bool| match changed {
        true => screen.say(line),
        false => screen.status(line),
    };
    let ring = args.words.ring(root, &search, &mut told)?;
    let copied = format!("infile {}\noutfile {}", ring.input, ring.output);
    let text = ring.text(&copied, &own_name(own));
    Config::parse(&text).map_err(|error| Usage(error.complaint).into())
}

/// Whom to look for: a node in stage 1 takes nothing but its stage 2, into a ramdisk.
fn waits_for(output: &str) -> &'static [Program] {
    if is_for_stage2(output) {
        &[Program::Stage2]
    } else {
        &[Program::Dolly]
    }
}

/// Whether nodes in stage 1 take it, and no others.
pub(crate) fn is_for_stage2(output: &str) -> bool {
    output.starts_with("/dev/ram")
}

/// What the golden node is called in the text; peers only show it.
pub(crate) fn own_name(own: &Own) -> String {
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
    fn nodes_in_stage_1_are_found_for_their_ramdisk_only() {
        assert_eq!(waits_for("/dev/ram3"), [Program::Stage2]);
        for path in ["/dev/sda", "/dev/vda1", "image"] {
            assert_eq!(waits_for(path), [Program::Dolly]);
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
