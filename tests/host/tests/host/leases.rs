//! `init`'s DHCP client against a server that misbehaves: what it says, and what address
//! the card ends up with.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use goldring_host_tests::net::{Net, ip};
use goldring_host_tests::program::{self, Program};

use crate::Story;

pub(crate) const STORIES: &[Story] = &[
    ("leases::a_server_that_answers_by_unicast_is_heard", unicast),
    ("leases::dhcp_answers_that_make_no_sense_are_told", nonsense),
    ("leases::a_dhcp_server_without_addresses_is_told", empty),
    ("leases::a_silent_dhcp_server_is_told", silent),
    (
        "leases::a_lease_without_a_router_works_and_says_so",
        no_router,
    ),
    ("leases::an_address_in_use_is_declined_and_named", in_use),
    (
        "leases::a_server_that_ignores_a_decline_is_told",
        in_use_for_ever,
    ),
    ("leases::a_renewal_may_move_the_node", moves),
    ("leases::a_renewal_may_bring_other_routes", new_options),
    (
        "leases::a_nak_in_a_renewal_leads_to_another_address",
        nak_in_renewal,
    ),
    (
        "leases::a_nak_after_the_ack_is_believed_when_it_is_meant",
        nak_after_ack,
    ),
    (
        "leases::a_stray_nak_after_the_ack_changes_nothing",
        stray_nak,
    ),
];

/// Generous, since the machine may be busy.
const LONG: Duration = Duration::from_secs(60);

/// A server on n0, a client on n1, and n2, which has 10.77.0.12.
struct Room {
    net: Net,
    folder: tempfile::TempDir,
    server: Program,
    client: Program,
}

impl Room {
    /// The client keeps its lease, or only asks.
    fn new(manner: &str, keep: bool) -> Result<Self> {
        let init = program::built("goldring-init", "init")?;
        let folder = tempfile::tempdir()?;
        let net = Net::new(3)?;
        ip(&["-n", &net.namespace(1), "addr", "flush", "dev", "eth0"])?;
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/dhcp.py");
        let script = script.to_string_lossy().into_owned();
        let words = [script.as_str(), "eth0", "10.77.0.10", manner];
        let server = Program::start(&net, 0, &folder.path().join("server"), &words)?;
        server.expect("ready", LONG)?;
        let root = folder.path().join("root");
        for below in ["etc", "run"] {
            std::fs::create_dir_all(root.join(below))?;
        }
        let (init, root) = (init.to_string_lossy(), root.to_string_lossy().into_owned());
        let mut words = vec![&*init, "--dhcp", "eth0"];
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

    /// What `ip WORDS` shows on the client.
    fn ip(&self, words: &[&str]) -> Result<String> {
        let namespace = self.net.namespace(1);
        let output = Command::new("ip")
            .args(["-n", &namespace])
            .args(words)
            .output()?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Waits until `ip WORDS` on the client shows `wanted` and not `unwanted`.
    fn shows(&self, words: &[&str], wanted: &str, unwanted: &str) -> Result<()> {
        let end = Instant::now() + LONG;
        loop {
            let shown = self.ip(words)?;
            if shown.contains(wanted) && (unwanted.is_empty() || !shown.contains(unwanted)) {
                return Ok(());
            }
            if Instant::now() > end {
                bail!(
                    "{words:?} shows {shown}, not {wanted}:\n{}",
                    self.client.said()
                );
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn address(&self, wanted: &str, unwanted: &str) -> Result<()> {
        self.shows(&["-4", "addr", "show", "dev", "eth0"], wanted, unwanted)
    }

    /// The client ends with failure and says this.
    fn fails(&mut self, sentence: &str) -> Result<()> {
        self.client.ends_with(1, Duration::from_secs(120))?;
        self.client.expect(sentence, Duration::ZERO)
    }
}

/// Waits until the client's resolv.conf, which is written after the card is set up, names this
/// server first. `folder` is the room's.
pub(crate) fn resolves_by(client: &Program, folder: &Path, server: &str) -> Result<()> {
    let file = folder.join("root/etc/resolv.conf");
    let line = format!("nameserver {server}\n");
    let end = Instant::now() + LONG;
    loop {
        let text = std::fs::read_to_string(&file);
        if text.as_ref().is_ok_and(|text| text.contains(&line)) {
            return Ok(());
        }
        if Instant::now() > end {
            bail!("{text:?}, no {line}:\n{}", client.said());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn unicast(_goldring: &Path) -> Result<()> {
    let mut room = Room::new("unicast", false)?;
    room.client.ends_with(0, LONG)?;
    room.client.expect("address: 10.77.0.50", Duration::ZERO)
}

fn nonsense(_goldring: &Path) -> Result<()> {
    let mut room = Room::new("nonsense", false)?;
    room.fails(
        "s; a DHCP answer makes no sense (option 54 has a wrong length), ignored; \
         look at the server's options; is the DHCP server in this network?",
    )
}

fn empty(_goldring: &Path) -> Result<()> {
    let mut room = Room::new("empty", false)?;
    room.fails("s; 10.77.0.10 answers, but offers no address; is the DHCP server in")
}

fn silent(_goldring: &Path) -> Result<()> {
    let mut room = Room::new("silent", false)?;
    room.fails("init: no DHCP lease on eth0 within ")?;
    room.client
        .expect("s; is the DHCP server in this network?", Duration::ZERO)
}

fn no_router(_goldring: &Path) -> Result<()> {
    let room = Room::new("no-router", true)?;
    let sentence = "eth0: 10.77.0.50/24, no router: only this network can be reached";
    room.client.expect(sentence, LONG)?;
    room.address("10.77.0.50/24", "")?;
    ensure!(!room.ip(&["route"])?.contains("default"));
    // The local segment is reached: n2 refuses the connection.
    let connect = "import socket; s = socket.socket(); s.settimeout(20); \
                   exit(s.connect_ex(('10.77.0.12', 9)) != 111)";
    let namespace = room.net.namespace(1);
    ip(&["netns", "exec", &namespace, "python3", "-c", connect])
}

fn in_use(_goldring: &Path) -> Result<()> {
    let mut room = Room::new("in-use", false)?;
    room.client.ends_with(0, LONG)?;
    let output = Command::new("ip")
        .args(["-n", &room.net.namespace(2), "link", "show", "eth0"])
        .output()?;
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    let mac = shown
        .split_once("link/ether ")
        .map_or("", |(_, rest)| &rest[..17]);
    let sentence = format!("eth0: 10.77.0.12 is in use by {mac}, declined");
    room.client.expect(&sentence, Duration::ZERO)?;
    room.client.expect("address: 10.77.0.50", Duration::ZERO)?;
    room.server.expect("got 4", Duration::ZERO)
}

fn in_use_for_ever(_goldring: &Path) -> Result<()> {
    let mut room = Room::new("in-use-for-ever", false)?;
    room.fails("; 10.77.0.12 is in use by ")
}

fn moves(_goldring: &Path) -> Result<()> {
    let room = Room::new("moves", true)?;
    room.address("10.77.0.50/24", "")?;
    let sentence = "the address changes from 10.77.0.50 to 10.77.0.60; connections break";
    room.client.expect(sentence, LONG)?;
    room.address("10.77.0.60/24", "10.77.0.50")?;
    room.shows(
        &["route"],
        "default via 10.77.0.12",
        "default via 10.77.0.10",
    )?;
    room.shows(&["link", "show", "eth0"], "mtu 1400", "")?;
    resolves_by(&room.client, room.folder.path(), "10.77.0.12")
}

fn new_options(_goldring: &Path) -> Result<()> {
    let room = Room::new("new-options", true)?;
    room.shows(&["route"], "default via 10.77.0.10", "")?;
    room.shows(
        &["route"],
        "default via 10.77.0.12",
        "default via 10.77.0.10",
    )?;
    room.address("10.77.0.50/24", "")?;
    ensure!(!room.client.said().contains("connections break"));
    Ok(())
}

fn nak_in_renewal(_goldring: &Path) -> Result<()> {
    let room = Room::new("nak-in-renewal", true)?;
    room.address("10.77.0.50/24", "")?;
    room.client
        .expect("the DHCP server takes the address away; asking for", LONG)?;
    room.client
        .expect("the DHCP server refuses: not in this network", LONG)?;
    room.address("10.77.0.60/24", "10.77.0.50")
}

fn nak_after_ack(_goldring: &Path) -> Result<()> {
    let room = Room::new("nak-after-ack", true)?;
    let sentence = "refuses what it has granted (not in this network), asking it again";
    room.client.expect(sentence, LONG)?;
    room.client
        .expect("the DHCP server takes the address away", LONG)?;
    room.address("10.77.0.60/24", "10.77.0.50")
}

fn stray_nak(_goldring: &Path) -> Result<()> {
    let room = Room::new("stray-nak", true)?;
    room.client.expect("refuses what it has granted", LONG)?;
    room.server.expect("got 3 renewal", LONG)?;
    // The answer changes nothing, so there is nothing to wait for but time.
    std::thread::sleep(Duration::from_secs(2));
    room.address("10.77.0.50/24", "")?;
    ensure!(!room.client.said().contains("takes the address away"));
    Ok(())
}
