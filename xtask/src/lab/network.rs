//! The lab's network: one namespace with a bridge and a tap for each node. Nothing
//! in it reaches this machine's own network.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

use super::ip;
use super::models::Nic;

/// The address of the boot server and the golden node, as in the manual's examples.
pub(super) const SERVER: &str = "10.0.1.253";
/// The bridge inside the namespace.
pub(super) const BRIDGE: &str = "br0";

/// One namespace; dropping it ends what runs in it and removes it.
#[derive(Debug)]
pub(super) struct Network {
    name: String,
}

impl Network {
    /// Makes the namespace, the bridge and `nodes` taps.
    pub(super) fn new(nodes: usize) -> Result<Self> {
        remove_stale();
        let name = format!("goldring-lab-{}", std::process::id());
        ip(&["netns", "add", &name])?;
        let network = Self { name };
        network.ip(&["link", "set", "lo", "up"])?;
        network.ip(&["link", "add", BRIDGE, "type", "bridge"])?;
        network.ip(&["addr", "add", &format!("{SERVER}/24"), "dev", BRIDGE])?;
        network.ip(&["link", "set", BRIDGE, "up"])?;
        for number in 1..=nodes {
            let tap = tap(number);
            network.ip(&["tuntap", "add", &tap, "mode", "tap"])?;
            network.ip(&["link", "set", &tap, "master", BRIDGE, "up"])?;
        }
        network.write_hosts(nodes)?;
        Ok(network)
    }

    /// The namespace's name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// A command that runs inside the namespace.
    pub(super) fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &self.name])
            .arg(program.as_ref());
        command
    }

    /// From now on at most `frames` full frames of a TCP connection are on their way from
    /// the server to node `number`, counted from 1.
    pub(super) fn hold_back(&self, number: usize, frames: u8) -> Result<()> {
        let (node, frames) = (node_address(number), frames.to_string());
        let window = ["dev", BRIDGE, "cwnd", "lock", &frames];
        self.ip(&[&["route", "replace", &node], &window[..]].concat())?;
        Ok(())
    }

    fn ip(&self, arguments: &[&str]) -> Result<String> {
        ip(&[&["-n", &self.name], arguments].concat())
    }

    /// Inside the namespace the nodes have names: `ip netns exec` puts this file in
    /// the place of `/etc/hosts`.
    fn write_hosts(&self, nodes: usize) -> Result<()> {
        let folder = etc(&self.name);
        std::fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        let mut text = format!("127.0.0.1 localhost\n{SERVER} golden\n");
        for number in 1..=nodes {
            text += &format!("{} {}\n", node_address(number), node_name(number));
        }
        let hosts = folder.join("hosts");
        std::fs::write(&hosts, text).with_context(|| format!("writing {}", hosts.display()))
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        remove(&self.name);
    }
}

fn etc(name: &str) -> PathBuf {
    Path::new("/etc/netns").join(name)
}

/// The tap of node `number`, counted from 1.
pub(super) fn tap(number: usize) -> String {
    format!("tap{number}")
}

/// The name of node `number`, counted from 1.
pub(super) fn node_name(number: usize) -> String {
    format!("node{number}")
}

/// The address of node `number`, counted from 1.
pub(super) fn node_address(number: usize) -> String {
    format!("10.0.1.{}", 30 + number)
}

/// The hardware address of node `number`, counted from 1.
pub(super) fn node_mac(number: usize) -> String {
    format!("52:54:00:67:72:{number:02x}")
}

/// QEMU's arguments for a card of this model on tap `number`, counted from 1; with
/// `order` its place in the boot order.
pub(super) fn card(model: &Nic, number: usize, order: Option<u32>) -> Vec<String> {
    let (net, tap) = (format!("net{number}"), tap(number));
    let mut arguments = vec![
        "-netdev".to_owned(),
        format!("tap,id={net},ifname={tap},script=no,downscript=no"),
    ];
    arguments.extend(model.arguments(&net, &node_mac(number), order));
    arguments
}

/// Ends what runs in the namespace `name` and removes it; for namespaces of the lab
/// only.
fn remove(name: &str) {
    for pid in ip(&["netns", "pids", name])
        .unwrap_or_default()
        .split_whitespace()
    {
        if let Some(pid) = pid.parse().ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
    let _ = ip(&["netns", "del", name]);
    let _ = std::fs::remove_dir_all(etc(name));
}

/// A lab that was killed could not clean up; its number is a process that is gone.
fn remove_stale() {
    for line in ip(&["netns", "list"]).unwrap_or_default().lines() {
        let name = line.split_whitespace().next().unwrap_or_default();
        let Some(pid) = name.strip_prefix("goldring-lab-") else {
            continue;
        };
        if !Path::new("/proc").join(pid).exists() {
            remove(name);
        }
    }
}
