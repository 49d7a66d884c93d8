//! Whole DHCPv6 conversations in memory and virtual time: lost packets, refusals,
//! nonsense, several servers, renewals.

use std::net::Ipv6Addr;
use std::time::Duration;

use goldring_wire::dhcp6::{
    Client, Config, Event, Ia, IaAddress, Kind, Lease, Loss, Message, ParseError, Settings, Status,
    Wish,
};

const MAC: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];
const DUID: [u8; 10] = [0, 3, 0, 1, 0x52, 0x54, 0, 0x12, 0x34, 0x56];
const SERVER: &[u8] = &[0, 3, 0, 1, 2, 0, 0, 0, 0, 1];
const OTHER: &[u8] = &[0, 3, 0, 1, 2, 0, 0, 0, 0, 2];
const NODE: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7);
const SECOND: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 8);

/// A client, a clock, and what went over the wire.
struct World {
    client: Client,
    now: Duration,
    sent: Vec<(Duration, Message)>,
}

fn config(wish: Wish) -> Config {
    Config {
        mac: MAC,
        hostname: Some("node7".into()),
        seed: 0x1234_5678,
        wish,
    }
}

impl World {
    fn new(wish: Wish) -> Self {
        Self {
            client: Client::new(config(wish), Duration::ZERO),
            now: Duration::ZERO,
            sent: Vec::new(),
        }
    }

    /// What the client sends now.
    fn send(&mut self) -> Vec<Message> {
        let mut messages = Vec::new();
        while let Some(bytes) = self.client.poll_transmit(self.now) {
            let message = Message::parse(&bytes).unwrap();
            self.sent.push((self.now, message.clone()));
            messages.push(message);
        }
        messages
    }

    /// Lets the time pass until the client sends something.
    fn wait(&mut self) -> Message {
        for _ in 0..10 {
            self.now = self.now.max(self.client.poll_timeout().unwrap());
            if let Some(message) = self.send().pop() {
                return message;
            }
        }
        panic!("nothing is sent");
    }

    fn receive(&mut self, message: &Message) {
        let mut bytes = Vec::new();
        message.emit(&mut bytes);
        self.client.handle(self.now, &bytes);
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.client.poll_event()).collect()
    }

    /// Solicit, Advertise, Request; gives the Request.
    fn request(&mut self) -> Message {
        let solicit = self.wait();
        let mut advertise = answer(&solicit, Kind::Advertise, SERVER);
        advertise.preference = 255;
        self.receive(&advertise);
        let request = self.send().remove(0);
        assert_eq!(request.kind, Kind::Request);
        assert_eq!(self.events(), [Event::Offered(NODE)]);
        request
    }

    /// The usual four messages, and an address for so long.
    fn bind(&mut self, valid: u32) -> Lease {
        let request = self.request();
        let mut reply = answer(&request, Kind::Reply, SERVER);
        reply.ias[0].addresses[0] = granted(NODE, valid);
        self.receive(&reply);
        match self.events().pop() {
            Some(Event::Bound(lease)) => lease,
            other => panic!("bound expected, not {other:?}"),
        }
    }
}

fn granted(address: Ipv6Addr, valid: u32) -> IaAddress {
    IaAddress {
        address,
        preferred: valid,
        valid,
    }
}

fn answer(to: &Message, kind: Kind, server: &[u8]) -> Message {
    let mut message = Message::new(kind, to.xid, DUID.to_vec());
    message.server_id = server.to_vec();
    message.ias = vec![Ia {
        id: 0x0012_3456,
        t1: 0,
        t2: 0,
        addresses: vec![granted(NODE, 3600)],
        status: None,
    }];
    message
}

fn status(code: u16) -> Status {
    Status {
        code,
        message: "sorry".into(),
    }
}

fn refusal(to: &Message, code: u16) -> Message {
    let mut message = answer(to, Kind::Reply, SERVER);
    message.ias[0].addresses.clear();
    message.ias[0].status = Some(status(code));
    message
}

#[test]
fn solicit_advertise_request_reply() {
    let mut world = World::new(Wish::Address);
    let solicit = world.wait();
    assert_eq!(solicit.kind, Kind::Solicit);
    // Section 18.2.1: within a second.
    assert!(world.now < Duration::from_secs(1));
    assert_eq!(solicit.client_id, DUID);
    assert_eq!(solicit.fqdn.as_deref(), Some("node7"));
    assert_eq!((solicit.elapsed, solicit.ias[0].id), (Some(0), 0x0012_3456));
    assert!(solicit.ias[0].addresses.is_empty() && solicit.server_id.is_empty());
    for wanted in [23, 24, 39, 59, 82, 83] {
        assert!(solicit.requested.contains(&wanted), "{wanted}");
    }
    world.receive(&answer(&solicit, Kind::Advertise, SERVER));
    assert!(world.send().is_empty(), "others have a second");
    let request = world.wait();
    assert_eq!(request.kind, Kind::Request);
    assert_eq!(request.server_id, SERVER);
    assert_eq!(request.ias[0].addresses[0].address, NODE);
    assert_ne!(request.xid, solicit.xid);
    let mut reply = answer(&request, Kind::Reply, SERVER);
    reply.dns = vec![SECOND, Ipv6Addr::UNSPECIFIED];
    reply.search = vec!["a.lan".into(), "lab.a.lan".into()];
    reply.fqdn = Some("node7.a.lan".into());
    reply.boot_url = Some("http://[2001:db8::1]:8080/boot".into());
    world.receive(&reply);
    let events = world.events();
    let [Event::Offered(NODE), Event::Bound(lease)] = &events[..] else {
        panic!("{events:?}");
    };
    assert_eq!(lease.address, NODE);
    assert_eq!((lease.t1.as_secs(), lease.t2.as_secs()), (1800, 2880));
    let expected = Settings {
        dns: vec![SECOND],
        search: reply.search,
        hostname: Some("node7".into()),
        domain: Some("a.lan".into()),
        boot_server: Some("[2001:db8::1]:8080".into()),
    };
    assert_eq!(lease.settings, expected);
    assert!(world.client.is_bound());
}

#[test]
fn who_wants_us_most_is_taken() {
    let mut world = World::new(Wish::Address);
    let solicit = world.wait();
    let mut advertise = answer(&solicit, Kind::Advertise, OTHER);
    advertise.preference = 1;
    world.receive(&answer(&solicit, Kind::Advertise, SERVER));
    world.receive(&advertise);
    world.receive(&answer(&solicit, Kind::Advertise, SERVER));
    assert_eq!(world.wait().server_id, OTHER);
}

#[test]
fn silence_is_met_with_growing_patience() {
    let mut world = World::new(Wish::Address);
    for _ in 0..7 {
        world.wait();
    }
    let times: Vec<f64> = world.sent.iter().map(|(t, _)| t.as_secs_f64()).collect();
    for (pair, nominal) in times.windows(2).zip([1.0f64, 2.0, 4.0, 8.0, 16.0, 32.0]) {
        let pause = pair[1] - pair[0];
        // Each pause has up to a tenth more or less, and hands it on to the next one.
        assert!((pause / nominal - 1.0).abs() < 0.6, "{pause} / {nominal}");
    }
    assert!(world.sent[6].1.elapsed.unwrap() > 4000);
    assert_eq!(world.events().last(), Some(&Event::Unanswered(6)));
    // The first one after the pause is taken at once.
    let (_, last) = world.sent.last().unwrap().clone();
    world.receive(&answer(&last, Kind::Advertise, SERVER));
    assert_eq!(world.send()[0].kind, Kind::Request);
}

#[test]
fn nonsense_and_other_peoples_messages_change_nothing() {
    let mut world = World::new(Wish::Address);
    let solicit = world.wait();
    let good = answer(&solicit, Kind::Advertise, SERVER);
    let odd: [fn(&mut Message); 7] = [
        |m| m.xid ^= 1,
        |m| m.client_id[9] ^= 1,
        |m| m.client_id.clear(),
        |m| m.server_id.clear(),
        |m| m.kind = Kind::Reply,
        |m| m.kind = Kind::Solicit,
        |m| m.kind = Kind::Decline,
    ];
    for change in odd {
        let mut message = good.clone();
        change(&mut message);
        world.receive(&message);
    }
    assert!(world.events().is_empty() && world.send().is_empty());
    // Bytes that are for us and make no sense are told, once.
    let mut bytes = Vec::new();
    good.emit(&mut bytes);
    let end = bytes.len() - 1;
    world.client.handle(world.now, &bytes[..end]);
    world.client.handle(world.now, &bytes[..end]);
    world.client.handle(world.now, &[]);
    let error = ParseError::OptionLength(3);
    assert_eq!(world.events(), [Event::Nonsense(error)]);
    world.receive(&good);
    assert_eq!(world.wait().kind, Kind::Request);
}

#[test]
fn a_server_without_addresses_is_told_once() {
    let mut world = World::new(Wish::Address);
    let solicit = world.wait();
    let mut none = answer(&solicit, Kind::Advertise, SERVER);
    none.ias.clear();
    none.status = Some(status(Status::NO_ADDRESSES));
    world.receive(&none);
    world.receive(&none);
    assert_eq!(world.events(), [Event::Refused(status(2))]);
    // Addresses that no node can have are none.
    for address in ["::", "::1", "ff02::1", "fe80::1"] {
        let mut world = World::new(Wish::Address);
        let solicit = world.wait();
        let mut odd = answer(&solicit, Kind::Advertise, SERVER);
        odd.ias[0].addresses[0].address = address.parse().unwrap();
        world.receive(&odd);
        assert!(matches!(world.events()[..], [Event::Refused(_)]));
    }
}

#[test]
fn a_refusal_begins_anew_after_a_pause() {
    for code in [1, 2, 4, 77] {
        let mut world = World::new(Wish::Address);
        let request = world.request();
        world.receive(&refusal(&request, code));
        assert_eq!(world.events(), [Event::Refused(status(code))]);
        assert!(world.send().is_empty(), "not at once");
        assert_eq!(world.wait().kind, Kind::Solicit);
    }
    // Another server has no say.
    let mut world = World::new(Wish::Address);
    let request = world.request();
    let mut other = refusal(&request, 2);
    other.server_id = OTHER.to_vec();
    world.receive(&other);
    world.receive(&answer(&request, Kind::Reply, OTHER));
    assert!(world.events().is_empty());
}

#[test]
fn a_lost_reply_is_asked_for_again_and_then_all_begins_anew() {
    let mut world = World::new(Wish::Address);
    let first = world.request();
    for _ in 0..9 {
        let again = world.wait();
        assert_eq!((again.kind, again.xid), (Kind::Request, first.xid));
    }
    assert_eq!(world.wait().kind, Kind::Solicit);
}

#[test]
fn an_address_is_renewed_at_half_its_time() {
    let mut world = World::new(Wish::Address);
    world.bind(600);
    let bound = world.now;
    assert!(world.send().is_empty());
    let renew = world.wait();
    assert_eq!(world.now, bound + Duration::from_secs(300));
    assert_eq!((renew.kind, &renew.server_id[..]), (Kind::Renew, SERVER));
    assert_eq!(renew.ias[0].addresses[0].address, NODE);
    world.receive(&answer(&renew, Kind::Reply, SERVER));
    assert!(matches!(world.events()[..], [Event::Renewed(_)]));
    world.wait();
    assert_eq!(world.now, bound + Duration::from_secs(300 + 1800));
}

#[test]
fn a_renewal_may_bring_another_address() {
    let mut world = World::new(Wish::Address);
    world.bind(600);
    let renew = world.wait();
    let mut reply = answer(&renew, Kind::Reply, SERVER);
    reply.ias[0].addresses = vec![granted(NODE, 0), granted(SECOND, 600)];
    world.receive(&reply);
    let events = world.events();
    let [Event::Renewed(lease)] = &events[..] else {
        panic!("{events:?}");
    };
    assert_eq!(lease.address, SECOND);
    // Ours comes first as long as it counts.
    let renew = world.wait();
    let mut reply = answer(&renew, Kind::Reply, SERVER);
    reply.ias[0].addresses = vec![granted(NODE, 600), granted(SECOND, 600)];
    world.receive(&reply);
    assert!(matches!(&world.events()[..], [Event::Renewed(l)] if l.address == SECOND));
}

#[test]
fn an_address_may_be_taken_away() {
    let mut world = World::new(Wish::Address);
    world.bind(600);
    let renew = world.wait();
    let mut reply = answer(&renew, Kind::Reply, SERVER);
    reply.ias[0].addresses = vec![granted(NODE, 0)];
    world.receive(&reply);
    assert_eq!(world.events(), [Event::Lost(Loss::Refused)]);
    assert!(!world.client.is_bound());
    assert_eq!(world.wait().kind, Kind::Solicit);
    for code in [Status::NO_ADDRESSES, Status::NOT_ON_LINK] {
        let mut world = World::new(Wish::Address);
        world.bind(600);
        let renew = world.wait();
        world.receive(&refusal(&renew, code));
        let expected = [Event::Lost(Loss::Refused), Event::Refused(status(code))];
        assert_eq!(world.events(), expected);
    }
}

#[test]
fn a_server_that_has_forgotten_us_is_asked_for_the_same_address() {
    let mut world = World::new(Wish::Address);
    world.bind(600);
    let renew = world.wait();
    world.receive(&refusal(&renew, Status::NO_BINDING));
    assert_eq!(world.events(), [Event::Refused(status(3))]);
    assert!(world.client.is_bound(), "the address stays meanwhile");
    let request = world.send().remove(0);
    assert_eq!(request.kind, Kind::Request);
    assert_eq!(request.ias[0].addresses[0].address, NODE);
    world.receive(&answer(&request, Kind::Reply, SERVER));
    assert!(matches!(world.events()[..], [Event::Renewed(_)]));
    // It may also have nothing left.
    let renew = world.wait();
    world.receive(&refusal(&renew, Status::NO_BINDING));
    let request = world.send().remove(0);
    world.receive(&refusal(&request, Status::NO_ADDRESSES));
    let events = world.events();
    assert_eq!(events[1], Event::Lost(Loss::Refused), "{events:?}");
}

#[test]
fn a_silent_server_leads_to_rebinding_and_then_to_loss() {
    let mut world = World::new(Wish::Address);
    world.bind(1000);
    let bound = world.now;
    let mut kinds = Vec::new();
    while world.now < bound + Duration::from_secs(1000) {
        let kind = world.wait().kind;
        if kinds.last().is_none_or(|(last, _)| *last != kind) {
            kinds.push((kind, (world.now - bound).as_secs()));
        }
    }
    assert_eq!(
        kinds,
        [
            (Kind::Renew, 500),
            (Kind::Rebind, 800),
            (Kind::Solicit, 1000)
        ]
    );
    assert_eq!(world.events(), [Event::Lost(Loss::Expired)]);
    // Another server may answer a Rebind.
    let mut world = World::new(Wish::Address);
    world.bind(1000);
    let mut message = world.wait();
    while message.kind == Kind::Renew {
        message = world.wait();
    }
    assert!(message.server_id.is_empty());
    world.receive(&answer(&message, Kind::Reply, OTHER));
    assert!(matches!(&world.events()[..], [Event::Renewed(l)] if l.server_id == OTHER));
}

#[test]
fn an_address_in_use_is_declined() {
    let mut world = World::new(Wish::Address);
    world.bind(600);
    world.client.decline(world.now);
    let decline = world.send().remove(0);
    assert_eq!(
        (decline.kind, &decline.server_id[..]),
        (Kind::Decline, SERVER)
    );
    assert_eq!(decline.ias[0].addresses[0].address, NODE);
    assert!(!world.client.is_bound());
    // It is said again until it is heard.
    assert_eq!(world.wait().xid, decline.xid);
    let mut reply = answer(&decline, Kind::Reply, SERVER);
    reply.ias.clear();
    world.receive(&reply);
    assert!(world.send().is_empty(), "not at once");
    assert_eq!(world.wait().kind, Kind::Solicit);
    // And a server that never answers is asked again all the same.
    let mut world = World::new(Wish::Address);
    world.bind(600);
    world.client.decline(world.now);
    let kinds: Vec<Kind> = (0..5).map(|_| world.wait().kind).collect();
    assert_eq!(kinds[3..], [Kind::Decline, Kind::Solicit]);
    world.client.decline(world.now);
    assert!(
        world.send().is_empty(),
        "without an address there is nothing to decline"
    );
}

#[test]
fn settings_without_an_address() {
    let mut world = World::new(Wish::Settings);
    let inform = world.wait();
    assert_eq!(inform.kind, Kind::Inform);
    assert!(inform.ias.is_empty() && inform.server_id.is_empty());
    world.wait();
    assert_eq!(world.events(), [Event::Unanswered(1)]);
    let mut reply = answer(&inform, Kind::Reply, SERVER);
    reply.ias.clear();
    reply.dns = vec![SECOND];
    reply.refresh = Some(1);
    world.receive(&reply);
    assert!(matches!(&world.events()[..], [Event::Informed(s)] if s.dns == [SECOND]));
    assert!(!world.client.is_bound() && world.send().is_empty());
    let informed = world.now;
    assert_eq!(world.wait().kind, Kind::Inform);
    assert_eq!(world.now - informed, Duration::from_secs(600));
}

#[test]
fn nodes_with_other_seeds_are_not_in_step() {
    let first = |seed| {
        let config = Config {
            seed,
            ..config(Wish::Address)
        };
        let client = Client::new(config, Duration::ZERO);
        client.poll_timeout().unwrap()
    };
    let starts: std::collections::HashSet<Duration> = (0..50).map(first).collect();
    assert!(starts.len() > 40, "{}", starts.len());
}
