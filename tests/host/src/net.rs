//! A network of namespaces: one for each computer and one with a bridge between them.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, bail};

static COUNT: AtomicUsize = AtomicUsize::new(0);

/// Computers `n0`, `n1`, … with the addresses 10.77.0.10, 10.77.0.11, …; each knows
/// the names of all. Gone when dropped.
#[derive(Debug)]
pub struct Net {
    prefix: String,
    computers: usize,
}

/// Why network tests cannot run here, if so.
pub fn unavailable() -> Option<String> {
    let probe = format!("grprobe{}", std::process::id());
    let result = ip(&["netns", "add", &probe]);
    // It may not exist; that is what is being found out.
    let _ = ip(&["netns", "del", &probe]);
    result
        .err()
        .map(|error| format!("needs root and ip netns: {error:#}"))
}

/// Runs `ip`.
///
/// # Errors
/// It is not there, or fails; with what it said.
pub fn ip(args: &[&str]) -> Result<()> {
    run("ip", args)
}

/// Runs a program and waits for it.
///
/// # Errors
/// It is not there, or fails; with what it said.
pub fn run(program: &str, args: &[&str]) -> Result<()> {
    let output = Command::new(program)
        .args(args)
        .output()
        .with_context(|| format!("starting {program}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{program} {}: {}", args.join(" "), said.trim());
    }
    Ok(())
}

/// Limits what a card in a namespace sends.
fn limit(namespace: &str, card: &str, rate: &str) -> Result<()> {
    let mut args = vec!["netns", "exec", namespace, "tc", "qdisc", "add"];
    args.extend(["dev", card, "root", "tbf", "rate", rate]);
    args.extend(["burst", "128kb", "latency", "50ms"]);
    ip(&args)
}

impl Net {
    /// Makes `computers` of them.
    ///
    /// # Errors
    /// The system refuses.
    pub fn new(computers: usize) -> Result<Self> {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("gr{}x{number}", std::process::id());
        let net = Self { prefix, computers };
        let bridge = format!("{}b", net.prefix);
        ip(&["netns", "add", &bridge])?;
        ip(&["-n", &bridge, "link", "add", "br0", "type", "bridge"])?;
        ip(&["-n", &bridge, "link", "set", "br0", "up"])?;
        let hosts: String = (0..computers)
            .map(|i| format!("{} n{i}\n", net.address(i)))
            .collect();
        for i in 0..computers {
            let name = net.namespace(i);
            ip(&["netns", "add", &name])?;
            let folder = PathBuf::from("/etc/netns").join(&name);
            fs::create_dir_all(&folder)?;
            fs::write(
                folder.join("hosts"),
                format!("127.0.0.1 localhost\n{hosts}"),
            )?;
            let port = format!("p{i}");
            ip(&[
                "link", "add", &port, "netns", &bridge, "type", "veth", "peer", "name", "eth0",
                "netns", &name,
            ])?;
            ip(&["-n", &bridge, "link", "set", &port, "master", "br0", "up"])?;
            let address = format!("{}/24", net.address(i));
            ip(&[
                "-n", &name, "addr", "add", &address, "brd", "+", "dev", "eth0",
            ])?;
            for link in ["lo", "eth0"] {
                ip(&["-n", &name, "link", "set", link, "up"])?;
            }
        }
        Ok(net)
    }

    /// The address of a computer.
    pub fn address(&self, computer: usize) -> String {
        format!("10.77.0.{}", computer + 10)
    }

    /// Gives every computer a second card on a network of its own, 10.78.0.10 and so on.
    /// There `n1` is called `n1-b`, `n1-c` and `nx1`.
    ///
    /// # Errors
    /// The system refuses.
    pub fn second_network(&self) -> Result<()> {
        let bridge = format!("{}b", self.prefix);
        ip(&["-n", &bridge, "link", "add", "br1", "type", "bridge"])?;
        ip(&["-n", &bridge, "link", "set", "br1", "up"])?;
        let hosts: String = (0..self.computers)
            .map(|i| format!("10.78.0.{} n{i}-b n{i}-c nx{i}\n", i + 10))
            .collect();
        self.add_hosts(&hosts)?;
        for i in 0..self.computers {
            let name = self.namespace(i);
            let port = format!("q{i}");
            ip(&[
                "link", "add", &port, "netns", &bridge, "type", "veth", "peer", "name", "eth1",
                "netns", &name,
            ])?;
            ip(&["-n", &bridge, "link", "set", &port, "master", "br1", "up"])?;
            let address = format!("10.78.0.{}/24", i + 10);
            ip(&["-n", &name, "addr", "add", &address, "dev", "eth1"])?;
            ip(&["-n", &name, "link", "set", "eth1", "up"])?;
        }
        Ok(())
    }

    /// Everybody knows these computers by other names, too.
    ///
    /// # Errors
    /// The names cannot be written.
    pub fn add_names(&self, names: &[(usize, &str)]) -> Result<()> {
        let line =
            |(computer, name): &(usize, &str)| format!("{} {name}\n", self.address(*computer));
        self.add_hosts(&names.iter().map(line).collect::<String>())
    }

    fn add_hosts(&self, hosts: &str) -> Result<()> {
        for i in 0..self.computers {
            let known = PathBuf::from("/etc/netns")
                .join(self.namespace(i))
                .join("hosts");
            let before = fs::read_to_string(&known)?;
            fs::write(&known, before + hosts)?;
        }
        Ok(())
    }

    /// Gives a computer a default route, which old ka needs for its broadcast.
    ///
    /// # Errors
    /// `ip` fails.
    pub fn default_route(&self, computer: usize) -> Result<()> {
        let name = self.namespace(computer);
        ip(&["-n", &name, "route", "replace", "default", "dev", "eth0"])
    }

    /// How many bytes a computer's card has sent and received.
    ///
    /// # Errors
    /// `ip` fails.
    pub fn traffic(&self, computer: usize, card: &str) -> Result<u64> {
        let name = self.namespace(computer);
        let folder = format!("/sys/class/net/{card}/statistics");
        let files = [format!("{folder}/tx_bytes"), format!("{folder}/rx_bytes")];
        let output = Command::new("ip")
            .args(["netns", "exec", &name, "cat"])
            .args(&files)
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let numbers = text.split_whitespace().map(str::parse::<u64>);
        Ok(numbers
            .collect::<std::result::Result<Vec<_>, _>>()?
            .iter()
            .sum())
    }

    /// The namespace of a computer.
    pub fn namespace(&self, computer: usize) -> String {
        format!("{}h{computer}", self.prefix)
    }

    /// Limits what a computer sends, such as `200mbit`.
    ///
    /// # Errors
    /// `tc` fails.
    pub fn slow(&self, computer: usize, rate: &str) -> Result<()> {
        limit(&self.namespace(computer), "eth0", rate)
    }

    /// Limits what a computer sends and what it gets.
    ///
    /// # Errors
    /// `tc` fails.
    pub fn slow_both_ways(&self, computer: usize, rate: &str) -> Result<()> {
        let bridge = format!("{}b", self.prefix);
        limit(&bridge, &format!("p{computer}"), rate)?;
        self.slow(computer, rate)
    }

    /// The kernels of all computers keep at most so many bytes of a connection, at each
    /// end; without that, dozens of MiB are neither here nor there.
    ///
    /// # Errors
    /// `sysctl` fails.
    pub fn small_buffers(&self, bytes: u32) -> Result<()> {
        for computer in 0..self.computers {
            let name = self.namespace(computer);
            let of = |kind| format!("net.ipv4.tcp_{kind}=4096 65536 {bytes}");
            let (receive, send) = (of("rmem"), of("wmem"));
            ip(&["netns", "exec", &name, "sysctl", "-qw", &receive, &send])?;
        }
        Ok(())
    }

    /// A computer sends as quickly as it can again.
    ///
    /// # Errors
    /// It was not slow.
    pub fn quick(&self, computer: usize) -> Result<()> {
        let name = self.namespace(computer);
        let words = ["tc", "qdisc", "del", "dev", "eth0", "root"];
        ip(&[&["netns", "exec", &name][..], &words].concat())
    }

    /// Limits what a computer receives, such as `200mbit`; again and again.
    ///
    /// # Errors
    /// `tc` fails.
    pub fn slow_towards(&self, computer: usize, rate: &str) -> Result<()> {
        let bridge = format!("{}b", self.prefix);
        let port = format!("p{computer}");
        let tbf = [
            "root", "tbf", "rate", rate, "burst", "128kb", "latency", "50ms",
        ];
        let mut args = vec!["netns", "exec", &bridge, "tc", "qdisc", "replace", "dev"];
        args.push(&port);
        args.extend(tbf);
        ip(&args)
    }

    /// Pulls a computer's cable.
    ///
    /// # Errors
    /// `ip` fails.
    pub fn cut(&self, computer: usize) -> Result<()> {
        self.cable(computer, "down")
    }

    /// Plugs a computer's cable in again.
    ///
    /// # Errors
    /// `ip` fails.
    pub fn plug(&self, computer: usize) -> Result<()> {
        self.cable(computer, "up")
    }

    fn cable(&self, computer: usize, state: &str) -> Result<()> {
        let bridge = format!("{}b", self.prefix);
        ip(&["-n", &bridge, "link", "set", &format!("p{computer}"), state])
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        // What was never made cannot be removed; nothing else is to be done about it.
        for i in 0..self.computers {
            let name = self.namespace(i);
            let _ = ip(&["netns", "del", &name]);
            let _ = fs::remove_dir_all(PathBuf::from("/etc/netns").join(&name));
        }
        let _ = ip(&["netns", "del", &format!("{}b", self.prefix)]);
        // Fails while others use it, which is right.
        let _ = fs::remove_dir("/etc/netns");
    }
}
