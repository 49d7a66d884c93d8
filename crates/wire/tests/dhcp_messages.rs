//! DHCP messages: what is written is read back, and no bytes at all upset the reader.

use std::net::Ipv4Addr;

use goldring_wire::dhcp::packet::{FIXED_LEN, MAGIC_COOKIE, MIN_LEN};
use goldring_wire::dhcp::{Kind, Message, ParseError, Route};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::{Just, Strategy, any, prop_assert_eq, prop_oneof, proptest};

fn address() -> impl Strategy<Value = Ipv4Addr> {
    any::<u32>().prop_map(Ipv4Addr::from)
}

fn words(most: usize) -> impl Strategy<Value = Option<String>> {
    let letter = proptest::char::ranges(vec!['a'..='z', '0'..='9', '.'..='/', 'A'..='Z'].into());
    of(vec(letter, 1..=most).prop_map(String::from_iter))
}

fn route() -> impl Strategy<Value = Route> {
    (address(), 0u8..=32, address()).prop_map(|(network, prefix, router)| {
        let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
        Route {
            network: Ipv4Addr::from(u32::from(network) & mask),
            prefix,
            router,
        }
    })
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        Just(Kind::Discover),
        Just(Kind::Offer),
        Just(Kind::Request),
        Just(Kind::Decline),
        Just(Kind::Ack),
        Just(Kind::Nak),
        Just(Kind::Release),
        Just(Kind::Inform),
    ]
}

fn message() -> impl Strategy<Value = Message> {
    let fixed = (
        kind(),
        any::<(u32, u16, bool, [u8; 6])>(),
        address(),
        address(),
        address(),
        words(64),
        words(128),
    );
    let addresses = (
        of(address()),
        vec(address(), 0..4),
        // More than 255 bytes, so that the option is split.
        vec(address(), 0..100),
        vec(address(), 0..3),
        of(address()),
        of(address()),
        vec(address(), 0..3),
    );
    let texts = (words(80), words(80), words(300), words(80), words(300));
    let numbers = any::<(
        Option<u16>,
        Option<u16>,
        Option<u32>,
        Option<u32>,
        Option<u32>,
    )>();
    let lists = (
        vec(any::<u8>(), 0..40),
        vec(any::<u8>(), 0..40),
        vec("[a-z]{1,20}(\\.[a-z]{1,20}){0,3}", 0..4),
        vec(route(), 0..40),
    );
    (fixed, addresses, texts, numbers, lists).prop_map(
        |(fixed, addresses, texts, numbers, lists)| {
            let (kind, (xid, secs, broadcast, chaddr), ciaddr, yiaddr, siaddr, sname, file) = fixed;
            Message {
                secs,
                broadcast,
                ciaddr,
                yiaddr,
                siaddr,
                sname,
                file,
                netmask: addresses.0,
                routers: addresses.1,
                dns: addresses.2,
                ntp: addresses.3,
                requested: addresses.4,
                server_id: addresses.5,
                log: addresses.6,
                hostname: texts.0,
                domain: texts.1,
                message: texts.2,
                boot_server: texts.3,
                boot_file: texts.4,
                mtu: numbers.0,
                max_size: numbers.1,
                lease: numbers.2,
                t1: numbers.3,
                t2: numbers.4,
                client_id: lists.0,
                parameters: lists.1,
                search: lists.2,
                routes: lists.3,
                ..Message::new(kind, xid, chaddr)
            }
        },
    )
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(message in message()) {
        let mut bytes = Vec::new();
        message.emit(&mut bytes);
        prop_assert_eq!(Message::parse(&bytes), Ok(message));
    }

    #[test]
    fn no_bytes_upset_the_reader(
        head in vec(any::<u8>(), 0..300),
        options in vec(any::<u8>(), 0..400),
        plausible: bool,
    ) {
        let mut bytes = head;
        if plausible {
            bytes.resize(FIXED_LEN, 0);
            bytes[..3].copy_from_slice(&[2, 1, 6]);
            bytes.extend(MAGIC_COOKIE);
            bytes.extend([53, 1, 5]);
        }
        bytes.extend(options);
        if let Ok(message) = Message::parse(&bytes) {
            // What was understood can be said again.
            let mut again = Vec::new();
            message.emit(&mut again);
            let second = Message::parse(&again);
            prop_assert_eq!(second.map(|m| (m.kind, m.xid, m.yiaddr)), Ok((message.kind, message.xid, message.yiaddr)));
        }
    }

    #[test]
    fn a_cut_message_is_read_or_refused(message in message(), at in 0usize..2000) {
        let mut bytes = Vec::new();
        message.emit(&mut bytes);
        let _ = Message::parse(&bytes[..at.min(bytes.len())]);
    }
}

/// A reply with these raw options, and `file` and `sname` as given.
fn reply(options: &[u8], sname: &[u8], file: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; FIXED_LEN];
    bytes[..3].copy_from_slice(&[2, 1, 6]);
    bytes[44..44 + sname.len()].copy_from_slice(sname);
    bytes[108..108 + file.len()].copy_from_slice(file);
    bytes.extend(MAGIC_COOKIE);
    bytes.extend([53, 1, 5]);
    bytes.extend(options);
    bytes
}

#[test]
fn overload_and_split_options_are_joined() {
    // RFC 2132, section 9.3: 3 says that both fields hold options.
    let bytes = reply(
        &[52, 1, 3, 12, 2, b'n', b'o', 255],
        &[15, 2, b'a', b'b', 255],
        &[12, 2, b'd', b'e', 0, 26, 2, 5, 0xdc, 255],
    );
    let message = Message::parse(&bytes).unwrap();
    assert_eq!(message.hostname.as_deref(), Some("node"));
    assert_eq!(message.domain.as_deref(), Some("ab"));
    assert_eq!(message.mtu, Some(1500));
    assert_eq!((message.sname, message.file), (None, None));
    // An overload that overloads itself must end.
    let bytes = reply(&[52, 1, 1, 255], b"", &[52, 1, 3, 255]);
    assert!(Message::parse(&bytes).is_ok());
}

#[test]
fn texts_of_real_servers() {
    // dnsmasq ends option 67 with a NUL; a newline would be one in resolv.conf too.
    let mut options = vec![67, 12];
    options.extend(b"pxelinux.0\0\0");
    options.extend([15, 5]);
    options.extend(b"a\nb.c");
    options.push(255);
    let message = Message::parse(&reply(&options, b"boot\0rest", b"")).unwrap();
    assert_eq!(message.boot_file.as_deref(), Some("pxelinux.0"));
    assert_eq!(message.domain, None);
    assert_eq!(message.sname.as_deref(), Some("boot"));
}

#[test]
fn search_lists_with_pointers() {
    // RFC 3397: "eng.apple.com." and "marketing" with a pointer to "apple.com.".
    let mut options = vec![119, 27];
    options.extend(b"\x03eng\x05apple\x03com\x00\x09marketing\xC0\x04");
    options.push(255);
    let message = Message::parse(&reply(&options, b"", b"")).unwrap();
    assert_eq!(message.search, ["eng.apple.com", "marketing.apple.com"]);
    for endless in [
        &b"\x77\x02\xC0\x00"[..],
        b"\x77\x04\x01a\xC0\x00",
        b"\x77\x03\x09ab",
    ] {
        let message = Message::parse(&reply(endless, b"", b"")).unwrap();
        assert!(message.search.is_empty(), "{endless:?}");
    }
}

#[test]
fn wrong_messages_are_refused_by_name() {
    let good = reply(&[255], b"", b"");
    let with = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        Message::parse(&bytes).unwrap_err()
    };
    assert_eq!(with(0, 1), ParseError::Operation(1));
    assert_eq!(with(0, 9), ParseError::Operation(9));
    assert_eq!(with(1, 6), ParseError::NotEthernet);
    assert_eq!(with(FIXED_LEN, 0), ParseError::NoCookie);
    assert_eq!(with(FIXED_LEN + 6, 77), ParseError::UnknownKind(77));
    assert_eq!(with(FIXED_LEN + 4, 0), ParseError::NoKind);
    assert_eq!(Message::parse(&good[..100]), Err(ParseError::Short(100)));
    let odd = reply(&[1, 3, 255, 255, 255, 255], b"", b"");
    assert_eq!(Message::parse(&odd), Err(ParseError::OptionLength(1)));
    let routes = reply(&[121, 2, 33, 0, 255], b"", b"");
    assert_eq!(Message::parse(&routes), Err(ParseError::OptionLength(121)));
}

#[test]
fn what_no_address_depends_on_may_be_nonsense() {
    let odd = reply(
        &[26, 1, 5, 42, 3, 1, 2, 3, 7, 5, 1, 2, 3, 4, 5, 255],
        b"",
        b"",
    );
    let message = Message::parse(&odd).unwrap();
    assert_eq!(message.mtu, None);
    assert!(message.ntp.is_empty() && message.log.is_empty());
}

#[test]
fn routes_of_windows_servers_are_read_when_there_are_no_others() {
    let windows = [249, 6, 8, 10, 1, 2, 3, 4];
    let standard = [121, 6, 8, 11, 1, 2, 3, 4];
    let network = |options: &[u8]| {
        let bytes = reply(&[options, &[255]].concat(), b"", b"");
        Message::parse(&bytes).unwrap().routes[0].network
    };
    assert_eq!(network(&windows), Ipv4Addr::new(10, 0, 0, 0));
    let both = [windows, standard].concat();
    assert_eq!(network(&both), Ipv4Addr::new(11, 0, 0, 0));
}

#[test]
fn what_we_send_is_long_enough_for_old_servers() {
    let mut bytes = Vec::new();
    Message::new(Kind::Discover, 1, [2; 6]).emit(&mut bytes);
    assert_eq!(bytes.len(), MIN_LEN);
}

/// What dnsmasq 2.90 really sent; `fixtures/dhcp/dnsmasq.gen.sh` recorded it.
#[test]
fn a_real_servers_answers_are_understood() {
    let offer = include_bytes!("../../../fixtures/dhcp/dnsmasq.offer");
    let ack = include_bytes!("../../../fixtures/dhcp/dnsmasq.ack");
    assert_eq!(Message::parse(offer).unwrap().kind, Kind::Offer);
    let ack = Message::parse(ack).unwrap();
    assert_eq!(ack.kind, Kind::Ack);
    assert_eq!(ack.yiaddr, Ipv4Addr::new(10, 9, 0, 57));
    assert_eq!(ack.siaddr, Ipv4Addr::new(10, 9, 0, 2));
    assert_eq!(ack.hostname.as_deref(), Some("node7"));
    assert_eq!(ack.boot_server.as_deref(), Some("boot.lan"));
    assert_eq!(ack.boot_file.as_deref(), Some("pxelinux.0"));
    assert_eq!(ack.search, ["lab.lan", "eng.lab.lan"]);
    assert_eq!((ack.mtu, ack.lease), (Some(1450), Some(600)));
    assert_eq!(ack.routes.len(), 2);
    assert_eq!(
        (ack.routes[1].network, ack.routes[1].prefix),
        (Ipv4Addr::new(192, 168, 4, 0), 22)
    );
}
