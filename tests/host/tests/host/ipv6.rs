//! `init` and IPv6: real routers and servers, and one that misbehaves; what it says, and
//! what the card ends up with.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use goldring_host_tests::net::{Net, ip};
use goldring_host_tests::program::{self, Program};

use crate::Story;
use crate::leases::resolves_by;

/// With dnsmasq and radvd.
pub(crate) const REAL: &[Story] = &[
    ("ipv6::an_address_by_dhcpv6_from_dnsmasq", stateful),
    ("ipv6::its_own_address_and_settings_by_dhcpv6", stateless),
    ("ipv6::radvd_alone_is_enough", router_only),
    (
        "ipv6::dhcpv6_without_a_router_reaches_the_segment",
        no_router,
    ),
];

/// With a server of our own that misbehaves.
pub(crate) const ODD: &[Story] = &[
    ("ipv6::silence_is_told", silent),
    (
        "ipv6::a_router_that_talks_nonsense_is_told",
        nonsense_router,
    ),
    ("ipv6::dhcpv6_answers_that_make_no_sense_are_told", nonsense),
    (
        "ipv6::a_dhcpv6_server_without_addresses_is_told",
        no_addresses,
    ),
    ("ipv6::a_request_that_is_refused_is_told", not_on_link),
    (
        "ipv6::a_silent_dhcpv6_server_leaves_its_own_address",
        fallback,
    ),
    ("ipv6::an_address_in_use_is_declined", in_use),
    (
        "ipv6::a_server_that_ignores_a_decline_is_told",
        in_use_for_ever,
    ),
    ("ipv6::a_renewal_may_move_the_node", moves),
    ("ipv6::a_server_that_forgets_is_asked_again", forgets),
    (
        "ipv6::an_address_that_is_taken_away_is_replaced",
        taken_away,
    ),
];

/// Why the stories with real servers cannot run here, if so.
pub(crate) fn unavailable() -> Option<String> {
    let there = |program: &str| Command::new(program).arg("--version").output().is_ok();
    (!there("dnsmasq") || !there("radvd"))
        .then(|| "needs dnsmasq-base and radvd; as root, cargo xtask test installs them".to_owned())
}

/// Generous, since the machine may be busy.
const LONG: Duration = Duration::from_secs(60);

/// A router or server on n0 (2001:db8:77::10), a client on n1, and n2, which has
/// 2001:db8:77::12.
struct Room {
    net: Net,
    folder: tempfile::TempDir,
    server: Program,
    client: Program,
}

impl Room {
    /// A room with what `start` starts; the client keeps what it gets, or only asks.
    fn new(keep: bool, start: impl FnOnce(&Net, &Path) -> Result<Program>) -> Result<Self> {
        let init = program::built("goldring-init", "init")?;
        let folder = tempfile::tempdir()?;
        let net = Net::new(3)?;
        for (computer, address) in [(0, "2001:db8:77::10/64"), (2, "2001:db8:77::12/64")] {
            let words = ["addr", "add", address, "dev", "eth0", "nodad"];
            ip(&[&["-n", &net.namespace(computer)], &words[..]].concat())?;
        }
        let server = start(&net, folder.path())?;
        let root = folder.path().join("root");
        for below in ["etc", "run"] {
            fs::create_dir_all(root.join(below))?;
        }
        let (init, root) = (init.to_string_lossy(), root.to_string_lossy().into_owned());
        let mut words = vec![&*init, "--ipv6", "eth0"];
        if keep {
            words.extend(["--keep", &root]);
        }
        let client = Program::start(&net, 1, &folder.path().join("client"), &words)?;
        Ok(Self {
            net,
            folder,
            server,
            client,
        })
    }

    /// The one that misbehaves.
    fn odd(manner: &str, keep: bool) -> Result<Self> {
        Self::new(keep, |net, folder| {
            let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/dhcp6.py");
            let script = script.to_string_lossy().into_owned();
            let words = [script.as_str(), "eth0", manner];
            let server = Program::start(net, 0, &folder.join("server"), &words)?;
            server.expect("ready", LONG)?;
            Ok(server)
        })
    }

    fn dnsmasq(lines: &str, keep: bool) -> Result<Self> {
        Self::new(keep, |net, folder| {
            let config = folder.join("dnsmasq.conf");
            let text = format!(
                "interface=eth0\nbind-interfaces\nuser=root\nport=0\nlog-dhcp\nlog-facility=-\n\
                 dhcp-leasefile={}\ndhcp-option=option6:dns-server,[2001:db8:77::10],[2001:db8:77::12]\n\
                 dhcp-option=option6:domain-search,a.lan\n{lines}\n",
                folder.join("leases").display()
            );
            fs::write(&config, text)?;
            let config = format!("--conf-file={}", config.display());
            let words = ["dnsmasq", "--keep-in-foreground", &config];
            let server = Program::start(net, 0, &folder.join("server"), &words)?;
            server.expect("started", LONG)?;
            Ok(server)
        })
    }

    /// What `ip -6 WORDS` shows on the client.
    fn ip(&self, words: &[&str]) -> Result<String> {
        let output = Command::new("ip")
            .args(["-6", "-n", &self.net.namespace(1)])
            .args(words)
            .output()?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Waits until the client's card has `wanted` and not `unwanted`.
    fn address(&self, wanted: &str, unwanted: &str) -> Result<()> {
        let end = Instant::now() + LONG;
        loop {
            let shown = self.ip(&["addr", "show", "dev", "eth0"])?;
            if shown.contains(wanted) && (unwanted.is_empty() || !shown.contains(unwanted)) {
                return Ok(());
            }
            if Instant::now() > end {
                bail!("{shown}, not {wanted}:\n{}", self.client.said());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn resolv(&self) -> Result<String> {
        Ok(fs::read_to_string(
            self.folder.path().join("root/etc/resolv.conf"),
        )?)
    }

    fn resolves_by(&self, server: &str) -> Result<()> {
        resolves_by(&self.client, self.folder.path(), server)
    }

    /// The client reaches n2.
    fn reaches_n2(&self) -> Result<()> {
        let connect = "import socket; s = socket.socket(socket.AF_INET6); s.settimeout(20); \
                       exit(s.connect_ex(('2001:db8:77::12', 9)) != 111)";
        let namespace = self.net.namespace(1);
        ip(&["netns", "exec", &namespace, "python3", "-c", connect])
    }

    /// The client ends with failure and says this.
    fn fails(&mut self, sentence: &str) -> Result<()> {
        self.client.ends_with(1, Duration::from_secs(120))?;
        self.client.expect(sentence, Duration::ZERO)
    }
}

fn stateful(_goldring: &Path) -> Result<()> {
    let lines = "enable-ra\ndhcp-range=2001:db8:77::50,2001:db8:77::50,64,10m\n\
                 dhcp-option=option6:bootfile-url,tftp://[2001:db8:77::10]/boot\n";
    let room = Room::dnsmasq(lines, true)?;
    room.client
        .expect("eth0: 2001:db8:77::50/128, router fe80::", LONG)?;
    room.client
        .expect(", boot server [2001:db8:77::10]", LONG)?;
    room.address("2001:db8:77::50/128", "")?;
    room.reaches_n2()?;
    ensure!(room.ip(&["route"])?.contains("default via fe80::"));
    ensure!(
        room.resolv()?
            == "search a.lan\nnameserver 2001:db8:77::10\nnameserver 2001:db8:77::12\n\
                options timeout:2 attempts:2\n",
        "{}",
        room.resolv()?
    );
    // The identifier is that of the card.
    ensure!(room.server.said().contains("00:03:00:01:"));
    Ok(())
}

fn stateless(_goldring: &Path) -> Result<()> {
    let lines = "enable-ra\ndhcp-range=2001:db8:77::,ra-stateless,64,10m\n\
                 dhcp-option=option6:bootfile-url,http://[2001:db8:77::10]:8080/boot\n";
    let mut room = Room::dnsmasq(lines, false)?;
    room.client.ends_with(0, LONG)?;
    room.client.expect("/64, router fe80::", Duration::ZERO)?;
    room.client
        .expect(", boot server [2001:db8:77::10]:8080", Duration::ZERO)?;
    room.server
        .expect("DHCPINFORMATION-REQUEST", Duration::ZERO)
}

fn router_only(_goldring: &Path) -> Result<()> {
    let room = Room::new(true, |net, folder| {
        let config = folder.join("radvd.conf");
        fs::write(
            &config,
            "interface eth0 { AdvSendAdvert on; prefix 2001:db8:77::/64 { };\n\
             RDNSS 2001:db8:77::10 { }; DNSSL lab.lan { }; };\n",
        )?;
        let namespace = net.namespace(0);
        // It wants to be a router.
        let sysctl = "/proc/sys/net/ipv6/conf/all/forwarding";
        let write = format!("echo 1 > {sysctl}");
        ip(&["netns", "exec", &namespace, "sh", "-c", &write])?;
        let (config, pid) = (config.display().to_string(), folder.join("pid"));
        let pid = pid.display().to_string();
        let words = [
            "radvd", "-n", "-m", "stderr", "-d", "1", "-C", &config, "-p", &pid,
        ];
        Program::start(net, 0, &folder.join("server"), &words)
    })?;
    room.client.expect("eth0: 2001:db8:77:0:", LONG)?;
    room.client.expect("/64, router fe80::", LONG)?;
    room.resolves_by("2001:db8:77::10")?;
    ensure!(room.resolv()?.contains("search lab.lan\n"));
    room.reaches_n2()
}

fn no_router(_goldring: &Path) -> Result<()> {
    let room = Room::dnsmasq("dhcp-range=2001:db8:77::50,2001:db8:77::50,64,10m", true)?;
    room.client
        .expect("no router speaks IPv6 here, asking DHCPv6", LONG)?;
    let sentence = "eth0: 2001:db8:77::50/64, no router: only this network can be reached";
    room.client.expect(sentence, LONG)?;
    room.reaches_n2()
}

fn silent(_goldring: &Path) -> Result<()> {
    let mut room = Room::new(false, |net, folder| {
        Program::start(net, 0, &folder.join("server"), &["true"])
    })?;
    room.fails("init: no DHCPv6 answer on eth0 within ")?;
    room.client.expect(
        "; no router answers either; does one speak IPv6 here?",
        Duration::ZERO,
    )
}

fn nonsense_router(_goldring: &Path) -> Result<()> {
    let room = Room::odd("nonsense-router", true)?;
    room.client.expect(
        "makes no sense (option 3 has a wrong length), ignored",
        LONG,
    )?;
    // Its server is heard all the same.
    room.client
        .expect("eth0: 2001:db8:77::50/64, no router", LONG)
}

fn nonsense(_goldring: &Path) -> Result<()> {
    let mut room = Room::odd("nonsense", false)?;
    room.fails(
        "s; a DHCPv6 answer makes no sense (option 23 has a wrong length), ignored; \
         look at the server's options; is the DHCPv6 server in this network?",
    )
}

fn no_addresses(_goldring: &Path) -> Result<()> {
    let mut room = Room::odd("no-addresses", false)?;
    room.fails("; it refuses: it has no address left (as told); is the DHCPv6 server")
}

fn not_on_link(_goldring: &Path) -> Result<()> {
    let mut room = Room::odd("not-on-link", false)?;
    room.fails("; it refuses: the address is of another network (as told); is the")
}

fn fallback(_goldring: &Path) -> Result<()> {
    let mut room = Room::odd("silent-but-autonomous", false)?;
    room.client.ends_with(0, LONG)?;
    room.client
        .expect("making an address instead", Duration::ZERO)?;
    room.client.expect("eth0: 2001:db8:77:0:", Duration::ZERO)
}

fn in_use(_goldring: &Path) -> Result<()> {
    let room = Room::odd("in-use", true)?;
    let sentence = "2001:db8:77::12 is in use by another computer";
    room.client.expect(sentence, LONG)?;
    room.address("2001:db8:77::50/128", "2001:db8:77::12")?;
    room.server.expect("got 9", Duration::ZERO)
}

fn in_use_for_ever(_goldring: &Path) -> Result<()> {
    let mut room = Room::odd("in-use-for-ever", false)?;
    room.fails("; 2001:db8:77::12 is in use by another computer; is the")
}

fn moves(_goldring: &Path) -> Result<()> {
    let room = Room::odd("moves", true)?;
    room.address("2001:db8:77::50/128", "")?;
    let sentence = "the address changes from 2001:db8:77::50 to 2001:db8:77::60; connections break";
    room.client.expect(sentence, LONG)?;
    room.address("2001:db8:77::60/128", "2001:db8:77::50")?;
    room.resolves_by("2001:db8:77::12")
}

fn forgets(_goldring: &Path) -> Result<()> {
    let room = Room::odd("forgets", true)?;
    room.client.expect(
        "the DHCPv6 server refuses: it does not know this node (as told)",
        LONG,
    )?;
    // The second Request; the address stays.
    let end = Instant::now() + LONG;
    while room.server.said().matches("got 3").count() < 2 && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(50));
    }
    room.address("2001:db8:77::50/128", "")?;
    ensure!(!room.client.said().contains("connections break"));
    ensure!(room.server.said().matches("got 3").count() == 2);
    Ok(())
}

fn taken_away(_goldring: &Path) -> Result<()> {
    let room = Room::odd("takes-away", true)?;
    room.client.expect(
        "the DHCPv6 server takes the address away; asking for another one",
        LONG,
    )?;
    room.address("2001:db8:77::60/128", "2001:db8:77::50")
}
