//! Cards and addresses: each way to name a card, and each way to an address, up to a stage
//! 2 that came over it from a real web server.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use anyhow::Result;
use goldring_vm_tests::guest::{Guest, Machine};
use goldring_vm_tests::room::{BRIDGE, Room, SERVER, mac};
use libtest_mimic::Trial;

use crate::images::images;
use crate::stage1::LIMIT;
use crate::{no_lab, trial};

const RUNNING: &str = "goldring: stage 2 running";
/// The room's server in IPv6.
const SERVER6: &str = "2001:db8:1::253";

pub(crate) fn trials() -> Vec<Trial> {
    type Story = (&'static str, fn() -> Result<()>);
    let stories: [Story; 5] = [
        (
            "network::a_fixed_address_on_the_card_that_has_a_link",
            fixed,
        ),
        (
            "network::a_card_by_its_address_in_a_vlan_without_a_router",
            vlan,
        ),
        (
            "network::a_fixed_ipv6_address_on_the_card_of_pxe",
            fixed_ipv6,
        ),
        (
            "network::ipv6_of_its_own_where_no_ipv4_server_answers",
            slaac,
        ),
        ("network::dhcpv6_names_the_node_and_its_server", dhcpv6),
    ];
    stories
        .map(|(name, story)| trial(name, no_lab().or_else(no_web_server), story))
        .into()
}

/// Why nobody can serve stage 2 here, if so.
fn no_web_server() -> Option<&'static str> {
    let there = Command::new("nginx").arg("-v").output().is_ok();
    (!there).then_some("needs nginx-light; as root, cargo xtask test installs it")
}

/// A room with two taps whose server has IPv6, too, and whose nginx has stage 2 below
/// `/cs4`.
fn room() -> Result<Room> {
    let mut room = Room::new(2)?;
    let address = format!("{SERVER6}/64");
    room.ip(&["addr", "add", &address, "dev", BRIDGE, "nodad"])?;
    let folder = room.folder().to_owned();
    let place = folder.join("www/cs4/install/stage2");
    fs::create_dir_all(&place)?;
    symlink(images()?.join("rescue.clp"), place.join("rescue.clp"))?;
    let config = folder.join("nginx.conf");
    let at = folder.display();
    fs::write(
        &config,
        format!(
            "daemon off; master_process off; pid {at}/nginx.pid; events {{}}\n\
             http {{ access_log {at}/access; client_body_temp_path {at}/t; proxy_temp_path {at}/t;\n\
             fastcgi_temp_path {at}/t; uwsgi_temp_path {at}/t; scgi_temp_path {at}/t;\n\
             server {{ listen 80; listen [::]:80; root {at}/www; }} }}\n"
        ),
    )?;
    let mut nginx = room.command("nginx");
    nginx.arg("-e").arg("stderr").arg("-c").arg(&config);
    room.serve("nginx", nginx, None)?;
    Ok(room)
}

/// A guest with cards on both taps, `eth0` and `eth1`.
fn two_cards<'a>(images: &'a Path, room: &'a Room, words: &str) -> Machine<'a> {
    let second = room.tap_card(2, "virtio-net-pci");
    Machine::new(images, words)
        .in_room(room, 1)
        .arguments(second)
}

/// What a person sees who types `line`; the answer is not in the line itself.
fn shows(guest: &mut Guest, line: &str, answers: &[&str]) -> Result<()> {
    guest.expect("# ", LIMIT)?;
    guest.type_line(line)?;
    for answer in answers {
        guest.expect(answer, LIMIT)?;
    }
    Ok(())
}

/// No DHCP server is there, and the first card has no link.
fn fixed() -> Result<()> {
    let room = room()?;
    let words = format!(
        "automatic=method:http,interface:auto,network:static,ip:10.0.1.77,netmask:255.255.255.0,\
         gateway:10.0.1.1,dns:{SERVER},hostname:node7,domain:lab.lan,server:{SERVER},directory:/cs4 \
         rescue"
    );
    let mut guest = two_cards(&images()?, &room, &words)
        .unplugged("tap1")
        .start()?;
    guest.expect("eth1: 10.0.1.77/24, router 10.0.1.1", LIMIT)?;
    guest.expect(RUNNING, LIMIT)?;
    shows(
        &mut guest,
        "echo name:$(uname -n); cat /etc/resolv.conf; grep ^eth1.00000000.0101000A /proc/net/route && echo routed-$((6*7))",
        &[
            "name:node7",
            "search lab.lan",
            &format!("nameserver {SERVER}"),
            "routed-42",
        ],
    )
}

/// Only the second card is in the VLAN, and only who tags its frames is answered there.
fn vlan() -> Result<()> {
    let mut room = room()?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/vlan.py");
    let mut switch = room.command(script);
    switch.args(["5", "v5", "5001", "5002"]);
    room.serve("switch", switch, Some("ready"))?;
    room.ip(&["addr", "add", "10.5.0.1/24", "dev", "v5"])?;
    room.ip(&["link", "set", "v5", "up"])?;
    // An option without a value is not sent: no router.
    room.dnsmasq_alone(
        "interface=v5\nport=0\ndhcp-range=10.5.0.30,10.5.0.30,255.255.255.0,1h\ndhcp-option=3",
    )?;
    let words = format!(
        "vlan=5 automatic=method:http,interface:{},network:dhcp,directory:/cs4 rescue",
        mac(2)
    );
    let mut guest = Machine::new(&images()?, &words)
        .in_room(&room, 1)
        .arguments([
            "-netdev",
            "socket,id=v,udp=127.0.0.1:5001,localaddr=127.0.0.1:5002",
            "-device",
            &format!("virtio-net-pci,netdev=v,mac={}", mac(2)),
        ])
        .start()?;
    let sentence = "eth1.5: 10.5.0.30/24, no router: only this network can be reached, \
                    boot server 10.5.0.1";
    guest.expect(sentence, LIMIT)?;
    guest.expect(RUNNING, LIMIT)
}

/// BOOTIF as pxelinux writes it.
fn fixed_ipv6() -> Result<()> {
    let room = room()?;
    let words = format!(
        "BOOTIF=01-{} automatic=method:http,network:static,ip:2001:db8:1::15/64,gateway:{SERVER6},\
         dns:{SERVER6},server:[{SERVER6}]:80,directory:/cs4 rescue",
        mac(2).replace(':', "-")
    );
    let mut guest = two_cards(&images()?, &room, &words).start()?;
    let sentence = format!("eth1: 2001:db8:1::15/64, router {SERVER6}");
    guest.expect(&sentence, LIMIT)?;
    guest.expect(RUNNING, LIMIT)?;
    shows(
        &mut guest,
        "cat /etc/resolv.conf /run/goldring/network",
        &[&format!("nameserver {SERVER6}"), "address 2001:db8:1::15"],
    )
}

/// The router tells the name server, which tells where stage 2 is.
fn slaac() -> Result<()> {
    let mut room = room()?;
    room.dnsmasq_alone(&format!(
        "interface={BRIDGE}\nenable-ra\ndhcp-range=2001:db8:1::,ra-only,64\n\
         dhcp-option=option6:dns-server,[{SERVER6}]\naddress=/boot.lan/{SERVER6}"
    ))?;
    let words = "automatic=method:http,interface:eth0,network:dhcp,server:boot.lan,directory:/cs4 \
                 rescue";
    let mut guest = Machine::new(&images()?, words).in_room(&room, 1).start()?;
    guest.expect("eth0: a router speaks IPv6, taking that", LIMIT)?;
    guest.expect(
        "eth0: 2001:db8:1:0:5054:ff:fe67:7201/64, router fe80::",
        LIMIT,
    )?;
    guest.expect("fetching http://boot.lan/cs4/install", LIMIT)?;
    guest.expect(RUNNING, LIMIT)
}

/// Nothing but the folder is on the command line.
fn dhcpv6() -> Result<()> {
    let mut room = room()?;
    room.dnsmasq_alone(&format!(
        "interface={BRIDGE}\nport=0\nenable-ra\ndomain=lab.lan\n\
         dhcp-range=2001:db8:1::30,2001:db8:1::60,64,1h\n\
         dhcp-host=id:00:03:00:01:{},node9,[2001:db8:1::99]\n\
         dhcp-option=option6:dns-server,[{SERVER6}]\n\
         dhcp-option=option6:bootfile-url,http://[{SERVER6}]/boot",
        mac(1)
    ))?;
    let words = "automatic=method:http,network:ipv6,directory:/cs4 rescue";
    let mut guest = Machine::new(&images()?, words).in_room(&room, 1).start()?;
    guest.expect("eth0: 2001:db8:1::99/128, router fe80::", LIMIT)?;
    guest.expect(&format!(", boot server [{SERVER6}]"), LIMIT)?;
    guest.expect(RUNNING, LIMIT)?;
    shows(
        &mut guest,
        "echo name:$(uname -n); cat /etc/resolv.conf",
        &["name:node9", &format!("nameserver {SERVER6}")],
    )
}
