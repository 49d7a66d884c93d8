//! DHCPv6 messages and router advertisements: what is written is read back, and no bytes
//! at all upset the readers and the client.

use std::net::Ipv6Addr;
use std::time::Duration;

use goldring_wire::dhcp6::{Client, Config, Ia, IaAddress, Kind, Message, Status, Wish};
use goldring_wire::router::{self, Advertisement, Prefix};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, proptest};

const NODE: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7);

fn address() -> impl Strategy<Value = Ipv6Addr> {
    any::<u128>().prop_map(Ipv6Addr::from)
}

fn words(most: usize) -> impl Strategy<Value = String> {
    let letter = proptest::char::ranges(vec!['a'..='z', '0'..='9'].into());
    vec(letter, 1..=most).prop_map(String::from_iter)
}

fn any_status() -> impl Strategy<Value = Option<Status>> {
    of((any::<u16>(), words(40)).prop_map(|(code, message)| Status { code, message }))
}

fn association() -> impl Strategy<Value = Ia> {
    let addresses = vec((address(), any::<(u32, u32)>()), 0..4);
    (any::<(u32, u32, u32)>(), addresses, any_status()).prop_map(|((id, t1, t2), list, status)| {
        let addresses = list
            .into_iter()
            .map(|(address, (preferred, valid))| IaAddress {
                address,
                preferred,
                valid,
            });
        Ia {
            id,
            t1,
            t2,
            addresses: addresses.collect(),
            status,
        }
    })
}

fn message() -> impl Strategy<Value = Message> {
    let ids = (vec(any::<u8>(), 1..130), vec(any::<u8>(), 0..130));
    let numbers = any::<(u8, Option<u16>, Option<u32>, Option<u32>, Option<u32>)>();
    let rest = (
        vec(association(), 0..3),
        vec(any::<u16>(), 0..9),
        any_status(),
        vec(address(), 0..9),
        vec(words(20), 0..4),
        of(words(60)),
        of(words(100)),
    );
    let kinds = proptest::sample::select(vec![
        Kind::Solicit,
        Kind::Advertise,
        Kind::Request,
        Kind::Renew,
        Kind::Rebind,
        Kind::Reply,
        Kind::Decline,
        Kind::Inform,
    ]);
    (kinds, 0u32..1 << 24, ids, numbers, rest).prop_map(|(kind, xid, ids, numbers, rest)| Message {
        server_id: ids.1,
        ias: rest.0,
        requested: rest.1,
        elapsed: numbers.1,
        preference: numbers.0,
        status: rest.2,
        dns: rest.3,
        search: rest.4,
        refresh: numbers.2,
        fqdn: rest.5,
        boot_url: rest.6,
        sol_max_rt: numbers.3,
        inf_max_rt: numbers.4,
        ..Message::new(kind, xid, ids.0)
    })
}

fn advertisement() -> impl Strategy<Value = Advertisement> {
    let prefix = (address(), 0u8..=128, any::<(bool, bool, u32)>());
    let prefixes = vec(prefix, 0..4);
    let dns = vec((1u128..1 << 100).prop_map(|n| Ipv6Addr::from(n + 2)), 0..9);
    (
        any::<(bool, bool, u16)>(),
        prefixes,
        dns,
        vec(words(20), 0..4),
    )
        .prop_map(
            |((managed, other, lifetime), prefixes, dns, search)| Advertisement {
                managed,
                other,
                lifetime,
                prefixes: prefixes
                    .into_iter()
                    .map(|(network, length, (on_link, autonomous, valid))| Prefix {
                        network,
                        length,
                        on_link,
                        autonomous,
                        valid,
                    })
                    .collect(),
                dns,
                search,
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
    fn no_bytes_upset_the_reader(bytes in vec(any::<u8>(), 0..600)) {
        let _ = Message::parse(&bytes);
        let _ = Advertisement::parse(&bytes);
    }

    #[test]
    fn a_cut_message_never_upsets_the_client(
        message in message(),
        cut in any::<proptest::sample::Index>(),
        wish in proptest::sample::select(vec![Wish::Address, Wish::Settings]),
    ) {
        let config = Config { mac: [2; 6], hostname: None, seed: 7, wish };
        let mut client = Client::new(config, Duration::ZERO);
        let mut now = Duration::from_secs(2);
        let first = client.poll_transmit(now).unwrap();
        let first = Message::parse(&first).unwrap();
        for kind in [Kind::Advertise, Kind::Reply] {
            let ours = Message {
                kind,
                xid: first.xid,
                client_id: first.client_id.clone(),
                ..message.clone()
            };
            let mut bytes = Vec::new();
            ours.emit(&mut bytes);
            client.handle(now, &bytes[..cut.index(bytes.len() + 1)]);
            client.handle(now, &bytes);
            while client.poll_transmit(now).is_some() {}
        }
        while client.poll_event().is_some() {}
        // Whatever was taken, time goes on.
        for _ in 0..20 {
            let Some(due) = client.poll_timeout() else { break };
            now = now.max(due);
            while client.poll_transmit(now).is_some() {}
            prop_assert!(client.poll_timeout().is_none_or(|due| due > now));
        }
    }

    #[test]
    fn an_advertisement_is_read_back(said in advertisement()) {
        prop_assert_eq!(Advertisement::parse(&said.emit()), Ok(said));
    }
}

#[test]
fn ugly_advertisements() {
    let good = Advertisement {
        lifetime: 1800,
        dns: vec![NODE],
        ..Advertisement::default()
    };
    let bytes = good.emit();
    assert_eq!(bytes[0], router::ADVERTISEMENT);
    let dns = bytes.len() - 24;
    let parse = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = bytes.clone();
        change(&mut bytes);
        Advertisement::parse(&bytes)
    };
    use router::ParseError as E;
    assert_eq!(parse(&|b| b.truncate(15)), Err(E::Short(15)));
    assert_eq!(parse(&|b| b[0] = 133), Err(E::Kind(133, 0)));
    assert_eq!(parse(&|b| b[1] = 1), Err(E::Kind(134, 1)));
    assert_eq!(parse(&|b| b[dns + 1] = 0), Err(E::Option(25)));
    assert_eq!(parse(&|b| b[dns + 1] = 4), Err(E::Option(25)));
    // Too short for a prefix, or for anything that we read.
    assert_eq!(parse(&|b| b[dns] = 3), Err(E::Option(3)));
    let nothing = Advertisement {
        dns: vec![],
        ..good.clone()
    };
    assert_eq!(parse(&|b| b[dns] = 99), Ok(nothing.clone()));
    // A lifetime of zero takes a name server away; one that nobody can have is none.
    assert_eq!(parse(&|b| b[dns + 4..dns + 8].fill(0)), Ok(nothing.clone()));
    assert_eq!(parse(&|b| b[dns + 8..].fill(0)), Ok(nothing));
    assert_eq!(parse(&|b| b.push(1)), Ok(good));
}
