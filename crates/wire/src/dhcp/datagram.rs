//! A UDP datagram inside an IPv4 packet, as a packet socket gives it.

/// IPPROTO_UDP.
const UDP: u8 = 17;

/// What a whole IPv4 packet carries to UDP port `port`; `None` for everything else.
///
/// The checksums are not looked at: cards and virtual cards compute them after the packet
/// socket has seen the packet, the link has its own, and a lease that makes no sense is
/// refused anyway.
pub fn payload(packet: &[u8], port: u16) -> Option<&[u8]> {
    let (&first, &protocol) = (packet.first()?, packet.get(9)?);
    let header = usize::from(first & 0xf) * 4;
    let total = usize::from(u16::from_be_bytes(packet.get(2..4)?.try_into().ok()?));
    let fragment = u16::from_be_bytes(packet.get(6..8)?.try_into().ok()?) & 0x3fff;
    // RFC 791, section 3.1: version 4, a header of at least 20 bytes, no fragment.
    if first >> 4 != 4 || header < 20 || protocol != UDP || fragment != 0 {
        return None;
    }
    // Ethernet pads short packets: what counts is the packet's own length.
    let datagram = packet.get(header..total)?;
    let field = |at: usize| {
        Some(u16::from_be_bytes(
            datagram.get(at..at + 2)?.try_into().ok()?,
        ))
    };
    let (to, length) = (field(2)?, usize::from(field(4)?));
    (to == port).then(|| datagram.get(8..length))?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x45, 0, 0, (28 + payload.len()) as u8, 0, 0, 0, 0, 64, UDP];
        packet.resize(20, 0);
        packet.extend([0, 67, 0, 68, 0, (8 + payload.len()) as u8, 0, 0]);
        packet.extend(payload);
        packet
    }

    #[test]
    fn a_datagram_is_taken_out() {
        let good = packet(b"hello");
        assert_eq!(payload(&good, 68), Some(&b"hello"[..]));
        let padded = [&good[..], &[0; 20]].concat();
        assert_eq!(payload(&padded, 68), Some(&b"hello"[..]));
        assert_eq!(payload(&packet(b""), 68), Some(&b""[..]));
        // IP options lie between header and datagram.
        let mut options = good.clone();
        (options[0], options[3]) = (0x46, options[3] + 4);
        options.splice(20..20, [1, 1, 1, 0]);
        assert_eq!(payload(&options, 68), Some(&b"hello"[..]));
    }

    #[test]
    fn everything_else_is_left_alone() {
        let good = packet(b"hello");
        assert_eq!(payload(&good, 67), None);
        for (at, byte) in [
            (0, 0x65),
            (0, 0x44),
            (0, 0x4f),
            (9, 6),
            (6, 0x20),
            (7, 1),
            (3, 20),
            (3, 255),
            (25, 255),
            (25, 3),
        ] {
            let mut odd = good.clone();
            odd[at] = byte;
            assert_eq!(payload(&odd, 68), None, "byte {at} is {byte}");
        }
        for length in 0..good.len() {
            assert_eq!(payload(&good[..length], 68), None);
        }
    }
}
