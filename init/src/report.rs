//! What becomes of this node, told to a syslog server by one datagram for each event:
//! stage 2 runs, all is done, it reboots or stays and why, a bug.
//!
//! Nobody answers and nothing waits: a line that is lost is lost, the console has it too.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::sync::{Mutex, MutexGuard, TryLockError};

use goldring_contract::bootargs::{Syslog, host_of};
use goldring_contract::limits::SYSLOG_PORT;
use goldring_wire::syslog::{Message, Severity};

use crate::console;
use crate::ctx::Ctx;

/// Global, because a panic is told too.
static REPORTER: Mutex<Reporter> = Mutex::new(Reporter {
    host: String::new(),
    servers: Vec::new(),
    asked: false,
});

struct Reporter {
    /// This node's name or address.
    host: String,
    servers: Vec<SocketAddr>,
    /// Whether a name is being looked up, or was.
    asked: bool,
}

/// What is told, and how bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// Stage 2 runs.
    Running,
    /// The agent has done its work.
    Done,
    /// The machine reboots, although its work is not done.
    Reboot,
    /// The machine stays as it is.
    Hold,
    /// A bug.
    Panic,
}

impl Event {
    fn severity(self) -> Severity {
        match self {
            Self::Running | Self::Done => Severity::Notice,
            Self::Reboot | Self::Hold => Severity::Error,
            Self::Panic => Severity::Critical,
        }
    }

    fn id(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Reboot => "reboot",
            Self::Hold => "hold",
            Self::Panic => "panic",
        }
    }
}

/// Who hears it: the hosts, and their port.
#[derive(Debug, PartialEq, Eq)]
struct Aim {
    hosts: Vec<String>,
    port: u16,
}

/// `syslog=`, else the log servers that DHCP named, else the boot server that DHCP named,
/// else `server:`. Empty when nobody is to hear, or nobody is known.
fn aim(ctx: &Ctx) -> Aim {
    let to = |hosts, port| Aim { hosts, port };
    match &ctx.args.syslog {
        Some(Syslog::Off) => return to(Vec::new(), SYSLOG_PORT),
        Some(Syslog::At { host, port }) => return to(vec![host.clone()], *port),
        None => {}
    }
    let logs: Vec<String> = ctx.log_servers.iter().map(ToString::to_string).collect();
    if !logs.is_empty() {
        return to(logs, SYSLOG_PORT);
    }
    let automatic = ctx.args.automatic.as_ref();
    let server = automatic.and_then(|automatic| automatic.server.as_deref());
    let boot = ctx.boot_server.as_deref().or(server).map(host_of);
    to(boot.map(str::to_owned).into_iter().collect(), SYSLOG_PORT)
}

/// Learns from the network step who this node is and who hears of it. A name is looked up
/// beside the boot; what is told before it is known is not sent.
pub(crate) fn prepare(ctx: &Ctx) {
    let Aim { hosts, port } = aim(ctx);
    if hosts.is_empty() {
        return;
    }
    let names = hosts.join(", ");
    if ctx.dry_run {
        console::say(&format!("would tell {names} by syslog what becomes of it"));
        return;
    }
    let mut reporter = lock();
    reporter.host = identity(ctx);
    if std::mem::replace(&mut reporter.asked, true) {
        return;
    }
    drop(reporter);
    console::log(&format!("syslog: telling {names}"));
    let (literal, named): (Vec<_>, Vec<_>) = hosts
        .into_iter()
        .partition(|host| host.parse::<IpAddr>().is_ok());
    lock().servers.extend(found(&literal, port));
    if !named.is_empty() {
        let look_up = move || {
            let servers = found(&named, port);
            if servers.is_empty() {
                console::log(&format!("syslog: {} is not known", named.join(", ")));
            }
            lock().servers.extend(servers);
        };
        // Without a thread nobody hears; the console has every line.
        let _ = std::thread::Builder::new()
            .name("syslog".to_owned())
            .spawn(look_up);
    }
}

/// One address for each host.
fn found(hosts: &[String], port: u16) -> Vec<SocketAddr> {
    hosts
        .iter()
        .filter_map(|host| (host.as_str(), port).to_socket_addrs().ok()?.next())
        .collect()
}

/// The node's name, else its address, else what its card is called.
fn identity(ctx: &Ctx) -> String {
    let network = &ctx.handover;
    let address = network.address.map(|address| address.to_string());
    network
        .hostname
        .clone()
        .or(address)
        .unwrap_or_else(|| network.interface.clone())
}

/// Tells it to whoever is to hear it.
pub(crate) fn tell(event: Event, text: &str) {
    // A panic in here must end, not wait for itself.
    let reporter = match REPORTER.try_lock() {
        Ok(reporter) => reporter,
        Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
        Err(TryLockError::WouldBlock) => return,
    };
    let message = Message {
        severity: event.severity(),
        host: &reporter.host,
        id: event.id(),
        text,
    };
    let datagram = message.datagram();
    for server in &reporter.servers {
        if let Err(error) = send(*server, &datagram) {
            console::log(&format!("syslog: {server}: {error}"));
        }
    }
}

fn send(server: SocketAddr, datagram: &[u8]) -> std::io::Result<()> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.set_nonblocking(true)?;
    socket.send_to(datagram, server).map(drop)
}

fn lock() -> MutexGuard<'static, Reporter> {
    REPORTER
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use goldring_contract::Root;
    use goldring_contract::bootargs::BootArgs;

    use super::*;
    use crate::flags::Facts;

    fn ctx(cmdline: &str) -> Ctx {
        let mut ctx = Ctx::laptop(Facts {
            root: Root::at("/nonexistent"),
            cmdline: None,
            kernel: None,
        });
        ctx.args = BootArgs::parse(cmdline).unwrap();
        ctx
    }

    #[test]
    fn the_nearest_word_wins() {
        let aimed = |ctx: &Ctx| {
            let Aim { hosts, port } = aim(ctx);
            (hosts.join(" "), port)
        };
        let mut known = ctx("automatic=method:http,server:10.0.1.1:8080");
        assert_eq!(aimed(&known), ("10.0.1.1".to_owned(), 514));
        let url = ctx("automatic=method:http,server:http://boot.lan:8080/pub");
        assert_eq!(aimed(&url), ("boot.lan".to_owned(), 514));
        // As DHCPv6 gives it.
        known.boot_server = Some("[2001:db8::1]:8080".to_owned());
        assert_eq!(aimed(&known), ("2001:db8::1".to_owned(), 514));
        known.log_servers = vec![[10, 0, 1, 7].into(), [10, 0, 1, 8].into()];
        assert_eq!(aimed(&known), ("10.0.1.7 10.0.1.8".to_owned(), 514));
        known.args.syslog = ctx("syslog=log.lan:5140").args.syslog;
        assert_eq!(aimed(&known), ("log.lan".to_owned(), 5140));
        known.args.syslog = Some(Syslog::Off);
        assert_eq!(aimed(&known).0, "");
        assert_eq!(aimed(&ctx("automatic=method:dolly")).0, "");
    }

    #[test]
    fn a_node_has_a_name() {
        let mut node = ctx("");
        node.handover.interface = "eth0".to_owned();
        assert_eq!(identity(&node), "eth0");
        node.handover.address = Some([10, 0, 1, 31].into());
        assert_eq!(identity(&node), "10.0.1.31");
        node.handover.hostname = Some("node31".to_owned());
        assert_eq!(identity(&node), "node31");
    }

    #[test]
    fn each_event_is_one_datagram_and_nobody_is_waited_for() {
        let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        server
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        let port = server.local_addr().unwrap().port();
        let mut node = ctx(&format!("syslog=127.0.0.1:{port}"));
        node.dry_run = false;
        node.handover.hostname = Some("node31".to_owned());
        prepare(&node);
        // A second try of a step aims at nobody twice.
        prepare(&node);
        tell(Event::Reboot, "rebooting: no link on eth0");
        tell(Event::Running, "stage 2 running");
        let mut buffer = [0; 2048];
        for expected in [
            "<27>1 - node31 goldring - reboot - rebooting: no link on eth0",
            "<29>1 - node31 goldring - running - stage 2 running",
        ] {
            let (length, _) = server.recv_from(&mut buffer).unwrap();
            assert_eq!(String::from_utf8_lossy(&buffer[..length]), expected);
        }
        server.set_nonblocking(true).unwrap();
        assert!(server.recv_from(&mut buffer).is_err());
    }
}
