//! Whether somebody else has an address already (RFC 5227, RFC 2131 section 4.4.1).

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use goldring_sys::packet::PacketSocket;
use goldring_wire::arp;

use super::link::Link;

/// Questions, and the pause after each. RFC 5227 wants up to 7 s; every node of a room
/// would wait that long on every boot. A computer that is there answers within
/// milliseconds, and one lost question leaves two.
const QUESTIONS: u32 = 3;
const PAUSE: Duration = Duration::from_millis(120);

/// Who has `address`, if anybody. On a kernel without packet sockets nobody is asked.
pub(super) fn holder(card: &Link, address: Ipv4Addr) -> Option<[u8; 6]> {
    let socket = PacketSocket::arp(card.index).ok()?;
    let question = arp::probe(card.mac, address);
    let mut buffer = [0; 64];
    for _ in 0..QUESTIONS {
        socket.broadcast(&question).ok()?;
        let end = Instant::now() + PAUSE;
        while let Some(left) = end.checked_duration_since(Instant::now()) {
            // A time-out ends the loop by itself; any other error counts as silence.
            let length = socket.receive(&mut buffer, left).unwrap_or(0);
            if let Some(mac) = arp::holder(&buffer[..length], card.mac, address) {
                return Some(mac);
            }
        }
    }
    None
}

/// Tells the neighbours, who may remember another card for this address.
pub(super) fn announce(card: &Link, address: Ipv4Addr) {
    // They find out by themselves when this is lost.
    let _ = PacketSocket::arp(card.index)
        .and_then(|socket| socket.broadcast(&arp::announcement(card.mac, address)));
}
