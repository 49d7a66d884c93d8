//! Messages: ugly ones, any, and words of goldring.

use std::net::Ipv4Addr;

use goldring_wire::ka::discover::{BadName, is_reply, is_request, reply, request};
use goldring_wire::ka::message::{Layout, OwnHeader, Report, ToClient, ToServer};
use goldring_wire::ka::own::{FromClient, FromServer, Stream, TAIL_MAX};
use goldring_wire::ka::reader::{ClientSaid, OfClient, OfServer, ServerSaid};
use proptest::prelude::*;

#[test]
fn session_names() {
    assert_eq!(request("kainstall1").unwrap(), b"kainstall1\0");
    assert_eq!(request(""), Err(BadName::Length(0)));
    assert!(request(&"x".repeat(199)).is_ok());
    assert_eq!(request(&"x".repeat(200)), Err(BadName::Length(200)));
    assert_eq!(request("a\0b"), Err(BadName::Zero));
    let name = request("kainstall1").unwrap();
    for (datagram, yes) in [
        (&b"kainstall1\0"[..], true),
        (b"kainstall1", false),
        (b"kainstall1\0\0", false),
        (b"kainstall2\0", false),
        (b"kainstall\0", false),
        (b"", false),
    ] {
        assert_eq!(is_request(&name, datagram), yes, "{datagram:?}");
    }
    assert_eq!(reply(), b"Ka-deploy-0.6\0");
    for ugly in [
        &b"Ka-deploy-0.6"[..],
        b"Ka-deploy-0.7\0",
        b"",
        b"\0",
        b"Ka-deploy-0.6\0\0",
    ] {
        assert!(!is_reply(ugly), "{ugly:?}");
    }
}

#[test]
fn what_no_client_says() {
    for layout in Layout::ALL {
        let size = layout.to_server();
        let hello = ToServer::Hello { own: false }.emit(layout);
        assert_eq!(
            ToServer::parse(layout, &hello),
            Ok(ToServer::Hello { own: false })
        );
        assert!(ToServer::parse(layout, &hello[..size - 1]).is_err());
        assert!(ToServer::parse(layout, &[]).is_err());
        let changed = |at: usize, byte: u8| {
            let mut bytes = hello.clone();
            bytes[at] = byte;
            ToServer::parse(layout, &bytes)
        };
        let text = if layout == Layout::A32 { 4 } else { 8 };
        // Another version, a longer one, no end of the text, an unknown type.
        assert!(changed(text + 12, b'7').is_err());
        assert!(changed(text + 13, b'1').is_err());
        assert!(changed(text, b'k').is_err());
        assert!(changed(0, 9).is_err());
        assert!(changed(3, 0xff).is_err());
        let mut below = ToServer::Position(0).emit(layout);
        below[text..text + 8].copy_from_slice(&(-1i64).to_le_bytes());
        assert!(ToServer::parse(layout, &below).is_err());
        let mut report = ToClient::ReportPosition(Report::Once).emit(layout);
        report[text] = 3;
        assert!(ToClient::parse(layout, &report).is_err());
        let mut own = ToServer::Own(OwnHeader { kind: 1, length: 0 }).emit(layout);
        own[text..text + 2].copy_from_slice(&(TAIL_MAX as u16 + 1).to_le_bytes());
        assert!(ToServer::parse(layout, &own).is_err());
    }
}

#[test]
fn a_first_byte_that_is_no_ka_ends_the_connection() {
    for ugly in [
        &b"GET / HTTP/1.0\r\n\r\n"[..],
        b"SSH-2.0-OpenSSH_9\r\n",
        &[0; 40],
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\0\0\0\0\0\0\0\0\0\0\0",
    ] {
        let mut reader = OfClient::default();
        let mut rest = ugly;
        assert!(reader.next(&mut rest).is_err(), "{ugly:?}");
    }
    // The name of the protocol, but no HELLO.
    let mut rest = &b"\x01\0\0\0Ka-deploy-0.6\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"[..];
    let mut reader = OfClient::default();
    let said = reader.next(&mut rest);
    assert!(
        matches!(said, Ok(Some(ClientSaid::Plain(ToServer::GotClient(_))))),
        "{said:?}"
    );
}

fn any_address() -> impl Strategy<Value = Ipv4Addr> {
    any::<u32>().prop_map(Ipv4Addr::from)
}

fn any_offset() -> impl Strategy<Value = u64> {
    0..=i64::MAX as u64
}

fn any_stream() -> impl Strategy<Value = Stream> {
    (any::<u64>(), any::<u64>()).prop_map(|(bytes, digest)| Stream { bytes, digest })
}

fn any_up() -> impl Strategy<Value = ClientSaid> {
    let plain = |message| ClientSaid::Plain(message);
    prop_oneof![
        any_address().prop_map(ToServer::GotClient).prop_map(plain),
        Just(ToServer::AcceptsData).prop_map(plain),
        (any_address(), any_offset())
            .prop_map(|(parent, received)| ToServer::ParentLost { parent, received })
            .prop_map(plain),
        Just(ToServer::Finished).prop_map(plain),
        any_offset().prop_map(ToServer::Position).prop_map(plain),
        Just(ToServer::GoNow).prop_map(plain),
        any::<bool>()
            .prop_map(|wait| ToServer::Options { wait })
            .prop_map(plain),
        Just(ToServer::Pong).prop_map(plain),
        "[ -~äöü]{0,100}".prop_map(|text| ClientSaid::Own(FromClient::Name(text))),
        any::<u64>().prop_map(|bytes| ClientSaid::Own(FromClient::Keeps(bytes))),
        any_stream().prop_map(|stream| ClientSaid::Own(FromClient::Got(stream))),
        "[ -~äöü]{0,100}".prop_map(|text| ClientSaid::Own(FromClient::Reason(text))),
        any_address().prop_map(|child| ClientSaid::Own(FromClient::Cannot(child))),
    ]
}

fn any_down() -> impl Strategy<Value = ServerSaid> {
    let plain = |message| ServerSaid::Plain(message);
    prop_oneof![
        Just(ToClient::Go).prop_map(plain),
        Just(ToClient::EndOfFlow).prop_map(plain),
        Just(ToClient::Finish).prop_map(plain),
        any_address().prop_map(ToClient::Parent).prop_map(plain),
        (any_address(), any_offset())
            .prop_map(|(child, offset)| ToClient::AuthChild { child, offset })
            .prop_map(plain),
        any_address().prop_map(ToClient::DropChild).prop_map(plain),
        prop_oneof![
            Just(Report::Never),
            Just(Report::Regularly),
            Just(Report::Once)
        ]
        .prop_map(ToClient::ReportPosition)
        .prop_map(plain),
        Just(ToClient::Ping).prop_map(plain),
        Just(ServerSaid::Own(FromServer::Welcome)),
        any_stream().prop_map(|stream| ServerSaid::Own(FromServer::Ended(stream))),
        "[ -~äöü]{0,2000}".prop_map(|text| ServerSaid::Own(FromServer::Reason(text))),
    ]
}

fn any_layout() -> impl Strategy<Value = Layout> {
    prop_oneof![Just(Layout::A32), Just(Layout::A64)]
}

/// Pieces of these sizes, again and again.
fn pieces(bytes: &[u8], sizes: &[usize]) -> Vec<Vec<u8>> {
    let mut rest = bytes;
    let mut all = Vec::new();
    for size in sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (now, later) = rest.split_at((*size).min(rest.len()));
        all.push(now.to_vec());
        rest = later;
    }
    all
}

proptest! {
    #[test]
    fn whatever_the_pieces_a_server_reads_what_a_client_said(
        layout in any_layout(),
        said in prop::collection::vec(any_up(), 0..20),
        sizes in prop::collection::vec(1usize..100, 1..10),
    ) {
        let hello = ToServer::Hello { own: true };
        let mut bytes = hello.emit(layout);
        for word in &said {
            bytes.extend(match word {
                ClientSaid::Plain(message) => message.emit(layout),
                ClientSaid::Own(word) => word.emit(layout),
            });
        }
        let mut reader = OfClient::default();
        let mut heard = Vec::new();
        for piece in pieces(&bytes, &sizes) {
            let mut rest = &piece[..];
            while let Some(word) = reader.next(&mut rest).unwrap() {
                heard.push(word);
            }
            prop_assert!(rest.is_empty());
        }
        prop_assert_eq!(reader.layout(), Some(layout));
        prop_assert_eq!(heard.remove(0), ClientSaid::Plain(hello));
        prop_assert_eq!(heard, said);
    }

    #[test]
    fn whatever_the_pieces_a_client_reads_what_a_server_said(
        layout in any_layout(),
        said in prop::collection::vec(any_down(), 0..20),
        sizes in prop::collection::vec(1usize..100, 1..10),
    ) {
        let mut bytes = Vec::new();
        let mut expected = Vec::new();
        for word in &said {
            bytes.extend(match word {
                ServerSaid::Plain(message) => message.emit(layout),
                ServerSaid::Own(word) => word.emit(layout),
            });
            expected.push(match word {
                // A long reason is cut, at a whole character.
                ServerSaid::Own(FromServer::Reason(text)) => {
                    let end = (0..=text.len().min(900)).rev().find(|n| text.is_char_boundary(*n));
                    ServerSaid::Own(FromServer::Reason(text[..end.unwrap()].to_owned()))
                }
                word => word.clone(),
            });
        }
        let mut reader = OfServer::new(layout);
        let mut heard = Vec::new();
        for piece in pieces(&bytes, &sizes) {
            let mut rest = &piece[..];
            while let Some(word) = reader.next(&mut rest).unwrap() {
                heard.push(word);
            }
        }
        prop_assert_eq!(heard, expected);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let mut rest = &bytes[..];
        let mut reader = OfClient::default();
        while let Ok(Some(_)) = reader.next(&mut rest) {}
        for layout in Layout::ALL {
            let mut rest = &bytes[..];
            let mut reader = OfServer::new(layout);
            while let Ok(Some(_)) = reader.next(&mut rest) {}
        }
    }
}
