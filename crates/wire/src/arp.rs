//! ARP, as far as a node needs it to find out whether an address is free (RFC 826, RFC
//! 5227).
//!
//! Packets are the payload of Ethernet frames of type [`ETHERTYPE`].

use std::net::Ipv4Addr;

/// The Ethernet type.
pub const ETHERTYPE: u16 = 0x0806;
/// The length of a packet for Ethernet and IPv4.
pub const LEN: usize = 28;

/// Ethernet, IPv4, and the lengths of their addresses.
const HEADER: [u8; 6] = [0, 1, 8, 0, 6, 4];
const REQUEST: u16 = 1;

/// "Has anybody got `address`?" (RFC 5227, section 2.1.1: the sender's address is zero,
/// so that nobody's table changes).
pub fn probe(mac: [u8; 6], address: Ipv4Addr) -> [u8; LEN] {
    request(mac, Ipv4Addr::UNSPECIFIED, address)
}

/// "`address` is mine now" (RFC 5227, section 2.3).
pub fn announcement(mac: [u8; 6], address: Ipv4Addr) -> [u8; LEN] {
    request(mac, address, address)
}

fn request(mac: [u8; 6], sender: Ipv4Addr, target: Ipv4Addr) -> [u8; LEN] {
    let mut packet = [0; LEN];
    packet[..6].copy_from_slice(&HEADER);
    packet[6..8].copy_from_slice(&REQUEST.to_be_bytes());
    packet[8..14].copy_from_slice(&mac);
    packet[14..18].copy_from_slice(&sender.octets());
    packet[24..28].copy_from_slice(&target.octets());
    packet
}

/// Who has `address`, or wants it at this moment too, as far as this packet tells
/// (RFC 5227, section 2.1.1). `own` is our hardware address. `None` for everything else.
pub fn holder(packet: &[u8], own: [u8; 6], address: Ipv4Addr) -> Option<[u8; 6]> {
    let packet = packet.get(..LEN)?;
    let mac: [u8; 6] = packet[8..14].try_into().ok()?;
    if packet[..6] != HEADER || mac == own {
        return None;
    }
    let (sender, target) = (&packet[14..18], &packet[24..28]);
    let has_it = sender == address.octets();
    let wants_it = packet[6..8] == REQUEST.to_be_bytes()
        && sender == Ipv4Addr::UNSPECIFIED.octets()
        && target == address.octets();
    (has_it || wants_it).then_some(mac)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: [u8; 6] = [2, 0, 0, 0, 0, 1];
    const OTHER: [u8; 6] = [2, 0, 0, 0, 0, 2];
    const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 7);

    #[test]
    fn who_has_it_is_known() {
        let elsewhere = Ipv4Addr::new(10, 0, 0, 8);
        let mut answer = announcement(OTHER, ADDRESS);
        answer[7] = 2;
        let table: [(&[u8], Option<[u8; 6]>); 8] = [
            (&answer, Some(OTHER)),
            (&announcement(OTHER, ADDRESS), Some(OTHER)),
            (&probe(OTHER, ADDRESS), Some(OTHER)),
            // Our own echo, somebody who merely asks, other addresses, pieces.
            (&probe(OWN, ADDRESS), None),
            (&request(OTHER, elsewhere, ADDRESS), None),
            (&probe(OTHER, elsewhere), None),
            (&answer[..27], None),
            (&[0; 60], None),
        ];
        for (packet, expected) in table {
            assert_eq!(holder(packet, OWN, ADDRESS), expected, "{packet:?}");
        }
        // Ethernet pads short frames.
        let padded = [&answer[..], &[0; 18]].concat();
        assert_eq!(holder(&padded, OWN, ADDRESS), Some(OTHER));
    }
}
