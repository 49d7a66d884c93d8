//! A room: a network namespace with a bridge, taps for guests, and real servers. Nothing
//! in it reaches this machine's own network. Needs root.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use goldring_host_tests::net::{ip, run};

/// The address of everything that serves in the room, as in the manual's examples.
pub const SERVER: &str = "10.0.1.253";
/// The bridge inside the namespace.
pub const BRIDGE: &str = "br0";

static COUNT: AtomicUsize = AtomicUsize::new(0);

/// A namespace with a bridge ([`BRIDGE`], [`SERVER`]`/24`) and taps; when it is dropped,
/// its servers end and it is gone.
#[derive(Debug)]
pub struct Room {
    name: String,
    servers: Vec<Server>,
    folder: tempfile::TempDir,
}

/// A server of the room.
#[derive(Debug)]
struct Server {
    child: Child,
    log: PathBuf,
}

impl Room {
    /// Makes one with `taps` taps.
    ///
    /// # Errors
    /// No root, or the system refuses.
    pub fn new(taps: usize) -> Result<Self> {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let room = Self {
            name: format!("grroom{}x{number}", std::process::id()),
            servers: Vec::new(),
            folder: tempfile::tempdir()?,
        };
        ip(&["netns", "add", &room.name])?;
        room.ip(&["link", "set", "lo", "up"])?;
        room.ip(&["link", "add", BRIDGE, "type", "bridge"])?;
        room.ip(&["addr", "add", &format!("{SERVER}/24"), "dev", BRIDGE])?;
        room.ip(&["link", "set", BRIDGE, "up"])?;
        for number in 1..=taps {
            let tap = tap(number);
            room.ip(&["tuntap", "add", &tap, "mode", "tap"])?;
            room.ip(&["link", "set", &tap, "master", BRIDGE, "up"])?;
        }
        Ok(room)
    }

    /// A folder for configurations, logs and what is served; gone with the room.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Runs `ip` on the namespace.
    ///
    /// # Errors
    /// What it says.
    pub fn ip(&self, arguments: &[&str]) -> Result<()> {
        run("ip", &[&["-n", &self.name], arguments].concat())
    }

    /// A command that runs inside the namespace.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &self.name])
            .arg(program.as_ref());
        command
    }

    /// Starts a server that stays in the foreground, with its output in a log. `ready`
    /// is what its log shows when it serves; without it, it only has to live on for a
    /// moment.
    ///
    /// # Errors
    /// It does not start, ends at once, or never gets ready; with its log.
    pub fn serve(&mut self, name: &str, mut command: Command, ready: Option<&str>) -> Result<()> {
        let log = self.folder().join(format!("{name}.log"));
        let file = File::create(&log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("starting {name}"))?;
        self.servers.push(Server { child, log });
        let start = Instant::now();
        loop {
            let server = self.servers.last_mut().context("it was just pushed")?;
            let said = fs::read_to_string(&server.log).unwrap_or_default();
            if let Some(status) = server.child.try_wait()? {
                bail!("{name} ended: {status}:\n{said}");
            }
            match ready {
                Some(words) if said.contains(words) => return Ok(()),
                None if start.elapsed() > Duration::from_millis(500) => return Ok(()),
                _ if start.elapsed() > Duration::from_secs(30) => {
                    bail!("{name} never said {words:?}:\n{said}", words = ready)
                }
                _ => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    }

    /// What a server has said so far.
    pub fn said(&self, name: &str) -> String {
        let bytes = fs::read(self.folder().join(format!("{name}.log"))).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Starts dnsmasq as the room's DHCP server (10.0.1.30 to 10.0.1.60) with `more`
    /// lines of configuration.
    ///
    /// # Errors
    /// As [`Room::serve`].
    pub fn dnsmasq(&mut self, more: &str) -> Result<()> {
        self.dnsmasq_alone(&format!(
            "interface={BRIDGE}\nport=0\ndhcp-authoritative\n\
             dhcp-range=10.0.1.30,10.0.1.60,255.255.255.0,1h\n{more}"
        ))
    }

    /// Starts dnsmasq with these lines and nothing that it would serve by itself but DNS.
    ///
    /// # Errors
    /// As [`Room::serve`].
    pub fn dnsmasq_alone(&mut self, lines: &str) -> Result<()> {
        let config = self.folder().join("dnsmasq.conf");
        let text = format!(
            "bind-interfaces\nuser=root\nno-resolv\nno-hosts\nlog-dhcp\nlog-facility=-\n\
             dhcp-leasefile={}\n{lines}\n",
            self.folder().join("leases").display(),
        );
        fs::write(&config, text)?;
        let mut dnsmasq = self.command("dnsmasq");
        dnsmasq
            .arg("--keep-in-foreground")
            .arg(format!("--conf-file={}", config.display()));
        self.serve("dnsmasq", dnsmasq, Some("started, "))
    }

    /// QEMU's arguments for a card of this model on tap `number`, from 1.
    pub fn tap_card(&self, number: usize, model: &str) -> [String; 4] {
        [
            "-netdev".to_owned(),
            format!(
                "tap,id=tap{number},ifname={},script=no,downscript=no",
                tap(number)
            ),
            "-device".to_owned(),
            format!("{model},netdev=tap{number},mac={}", mac(number)),
        ]
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        for server in &mut self.servers {
            // It may have ended.
            let _ = server.child.kill();
            let _ = server.child.wait();
        }
        // What a server left behind would keep the namespace.
        let output = Command::new("ip")
            .args(["netns", "pids", &self.name])
            .output();
        for pid in output.iter().flat_map(|o| o.stdout.split(|b| *b == b'\n')) {
            let pid = String::from_utf8_lossy(pid);
            if !pid.is_empty() {
                let _ = run("kill", &["-9", &pid]);
            }
        }
        let _ = ip(&["netns", "del", &self.name]);
    }
}

/// The tap of number `number`, from 1.
pub fn tap(number: usize) -> String {
    format!("tap{number}")
}

/// The hardware address of the card on tap `number`, from 1.
pub fn mac(number: usize) -> String {
    format!("52:54:00:67:72:{number:02x}")
}
