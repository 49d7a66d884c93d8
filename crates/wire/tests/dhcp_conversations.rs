//! Whole DHCP conversations in memory and virtual time: lost packets, refusals, nonsense,
//! several servers, renewals.

use std::net::Ipv4Addr;
use std::time::Duration;

use goldring_wire::dhcp::message::option;
use goldring_wire::dhcp::{
    Client, Config, Destination, Event, Kind, Lease, Loss, Message, ParseError, Route, Transmit,
};

const MAC: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const OTHER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const NODE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 7);

/// A client, a clock, and what went over the wire.
struct World {
    client: Client,
    now: Duration,
    sent: Vec<(Duration, Destination, Message)>,
}

impl World {
    fn new() -> Self {
        Self::with_patience(Duration::ZERO)
    }

    fn with_patience(patience: Duration) -> Self {
        let config = Config {
            mac: MAC,
            hostname: Some("node7".into()),
            seed: 0x1234_5678,
            patience,
        };
        Self {
            client: Client::new(config, Duration::ZERO),
            now: Duration::ZERO,
            sent: Vec::new(),
        }
    }

    /// What the client sends now.
    fn send(&mut self) -> Vec<Message> {
        let mut messages = Vec::new();
        while let Some(Transmit { to, bytes }) = self.client.poll_transmit(self.now) {
            let message = Message::parse(&bytes).unwrap();
            self.sent.push((self.now, to, message.clone()));
            messages.push(message);
        }
        messages
    }

    /// Lets the time pass until the client wants something.
    fn wait(&mut self) -> Vec<Message> {
        self.now = self.now.max(self.client.poll_timeout().unwrap());
        self.send()
    }

    fn receive(&mut self, message: &Message) {
        let mut bytes = Vec::new();
        message.emit(&mut bytes);
        self.client.handle(self.now, &bytes);
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.client.poll_event()).collect()
    }

    /// The usual four messages.
    fn bind(&mut self, lease: u32) -> Lease {
        let discover = self.send().remove(0);
        self.receive(&answer(&discover, Kind::Offer, SERVER));
        let request = self.send().remove(0);
        let mut ack = answer(&request, Kind::Ack, SERVER);
        ack.lease = Some(lease);
        self.receive(&ack);
        match self.events().pop() {
            Some(Event::Bound(lease)) => lease,
            other => panic!("bound expected, not {other:?}"),
        }
    }
}

fn answer(to: &Message, kind: Kind, server: Ipv4Addr) -> Message {
    let mut message = Message::new(kind, to.xid, to.chaddr);
    message.server_id = Some(server);
    if kind != Kind::Nak {
        message.yiaddr = NODE;
        message.lease = Some(3600);
        message.netmask = Some(Ipv4Addr::new(255, 255, 255, 0));
        message.routers = vec![SERVER];
    }
    message
}

#[test]
fn discover_offer_request_ack() {
    let mut world = World::new();
    let discover = world.send().remove(0);
    assert_eq!(discover.kind, Kind::Discover);
    assert!(discover.broadcast);
    assert_eq!(discover.client_id, [1, 0x52, 0x54, 0, 0x12, 0x34, 0x56]);
    assert_eq!(discover.hostname.as_deref(), Some("node7"));
    assert!(discover.max_size.is_some());
    for wanted in [
        1, 3, 6, 12, 15, 26, 28, 42, 51, 54, 58, 59, 66, 67, 119, 121,
    ] {
        assert!(discover.parameters.contains(&wanted), "{wanted}");
    }
    world.receive(&answer(&discover, Kind::Offer, SERVER));
    let request = world.send().remove(0);
    assert_eq!(request.kind, Kind::Request);
    assert_eq!(
        (request.requested, request.server_id),
        (Some(NODE), Some(SERVER))
    );
    assert_eq!(request.ciaddr, Ipv4Addr::UNSPECIFIED);
    assert_eq!(request.parameters, discover.parameters);
    assert!(request.parameters.contains(&option::ROUTES));
    let mut ack = answer(&request, Kind::Ack, SERVER);
    ack.siaddr = OTHER;
    world.receive(&ack);
    let events = world.events();
    let [Event::Offered { .. }, Event::Bound(lease)] = &events[..] else {
        panic!("{events:?}");
    };
    assert_eq!((lease.address, lease.prefix), (NODE, 24));
    assert_eq!(lease.boot_server.as_deref(), Some("10.0.0.2"));
    assert_eq!(lease.routes[0].router, SERVER);
    assert_eq!(lease.t1, Duration::from_secs(1800));
    assert_eq!(lease.t2, Duration::from_secs(3150));
}

#[test]
fn the_boot_server_is_siaddr_then_option_66_then_the_server() {
    let mut world = World::new();
    assert_eq!(world.bind(60).boot_server.as_deref(), Some("10.0.0.1"));
    let mut world = World::new();
    let discover = world.send().remove(0);
    world.receive(&answer(&discover, Kind::Offer, SERVER));
    let request = world.send().remove(0);
    let mut ack = answer(&request, Kind::Ack, SERVER);
    ack.boot_server = Some("boot.lan".into());
    ack.routers.clear();
    world.receive(&ack);
    let Some(Event::Bound(lease)) = world.events().pop() else {
        panic!("bound expected");
    };
    assert_eq!(lease.boot_server.as_deref(), Some("boot.lan"));
    assert!(lease.routes.is_empty(), "no router is no error");
}

#[test]
fn silence_is_met_with_growing_patience() {
    let mut world = World::new();
    world.send();
    for _ in 0..6 {
        world.wait();
    }
    let times: Vec<f64> = world.sent.iter().map(|(t, ..)| t.as_secs_f64()).collect();
    // RFC 2131, section 4.1: 4, 8, 16, 32, 64 s, each plus or minus one.
    for (pair, nominal) in times.windows(2).zip([4.0, 8.0, 16.0, 32.0, 64.0, 64.0]) {
        let pause = pair[1] - pair[0];
        assert!(
            (nominal - 1.0..nominal + 1.0).contains(&pause),
            "{pause} / {nominal}"
        );
    }
    assert!(
        world
            .sent
            .iter()
            .all(|(_, to, _)| *to == Destination::Broadcast)
    );
    assert_eq!(world.sent[3].2.secs, times[3] as u16);
    assert_eq!(world.events().last(), Some(&Event::Unanswered(6)));
}

#[test]
fn nodes_with_other_seeds_are_not_in_step() {
    let first_pause = |seed| {
        let mut client = Client::new(
            Config {
                mac: MAC,
                hostname: None,
                seed,
                patience: Duration::ZERO,
            },
            Duration::ZERO,
        );
        client.poll_transmit(Duration::ZERO);
        client.poll_timeout().unwrap()
    };
    let pauses: std::collections::HashSet<Duration> = (0..50).map(first_pause).collect();
    assert!(pauses.len() > 40, "{}", pauses.len());
}

#[test]
fn nonsense_and_other_peoples_messages_change_nothing() {
    let mut world = World::new();
    let discover = world.send().remove(0);
    let offer = answer(&discover, Kind::Offer, SERVER);
    let mut foreign = offer.clone();
    foreign.xid ^= 1;
    world.receive(&foreign);
    foreign = offer.clone();
    foreign.chaddr[5] ^= 1;
    world.receive(&foreign);
    // A proxy DHCP server offers no address.
    foreign = offer.clone();
    foreign.yiaddr = Ipv4Addr::UNSPECIFIED;
    world.receive(&foreign);
    foreign.yiaddr = Ipv4Addr::BROADCAST;
    world.receive(&foreign);
    foreign = offer.clone();
    foreign.server_id = None;
    world.receive(&foreign);
    world.receive(&answer(&discover, Kind::Ack, SERVER));
    world.receive(&answer(&discover, Kind::Nak, SERVER));
    world.receive(&discover);
    world.client.handle(world.now, b"nonsense");
    assert_eq!(world.events(), [Event::Empty(Some(SERVER))]);
    assert!(world.send().is_empty());
    // And the right one still counts.
    world.receive(&offer);
    assert_eq!(world.send()[0].kind, Kind::Request);
}

#[test]
fn the_first_of_several_offers_is_taken() {
    let mut world = World::new();
    let discover = world.send().remove(0);
    world.receive(&answer(&discover, Kind::Offer, OTHER));
    world.receive(&answer(&discover, Kind::Offer, SERVER));
    let request = world.send().remove(0);
    assert_eq!(request.server_id, Some(OTHER));
    // The other server's word does not count now.
    world.receive(&answer(&request, Kind::Nak, SERVER));
    world.receive(&answer(&request, Kind::Ack, SERVER));
    assert_eq!(world.events().len(), 1);
    world.receive(&answer(&request, Kind::Ack, OTHER));
    assert!(matches!(world.events()[..], [Event::Bound(_)]));
}

#[test]
fn a_lost_ack_is_asked_for_again_and_then_all_begins_anew() {
    let mut world = World::new();
    let discover = world.send().remove(0);
    world.receive(&answer(&discover, Kind::Offer, SERVER));
    assert_eq!(world.send()[0].kind, Kind::Request);
    for _ in 0..3 {
        assert_eq!(world.wait()[0].kind, Kind::Request);
    }
    let again = world.wait().remove(0);
    assert_eq!(again.kind, Kind::Discover);
    assert_ne!(again.xid, discover.xid);
    world.receive(&answer(&again, Kind::Offer, SERVER));
    let request = world.send().remove(0);
    world.receive(&answer(&request, Kind::Ack, SERVER));
    assert!(matches!(world.events().pop(), Some(Event::Bound(_))));
}

#[test]
fn a_refusal_begins_anew_after_a_pause() {
    let mut world = World::new();
    let discover = world.send().remove(0);
    world.receive(&answer(&discover, Kind::Offer, SERVER));
    let request = world.send().remove(0);
    let mut nak = answer(&request, Kind::Nak, SERVER);
    nak.message = Some("wrong network".into());
    world.receive(&nak);
    assert_eq!(
        world.events().pop(),
        Some(Event::Refused(Some("wrong network".into())))
    );
    assert!(world.send().is_empty(), "not at once");
    assert_eq!(world.wait()[0].kind, Kind::Discover);
    assert!(world.now >= Duration::from_secs(2));
}

#[test]
fn a_nak_after_the_ack_is_looked_into() {
    let late = |server| {
        let mut world = World::new();
        world.bind(600);
        let (_, _, request) = world.sent.last().unwrap().clone();
        let mut nak = answer(&request, Kind::Nak, server);
        nak.message = Some("not in this network".into());
        world.receive(&nak);
        (world, nak)
    };
    // Another server has nothing to say.
    let (mut world, _) = late(OTHER);
    assert!(world.events().is_empty() && world.send().is_empty());
    // Our own is asked again, and the lease stays when it agrees …
    let (mut world, nak) = late(SERVER);
    let why = Some("not in this network".to_owned());
    assert_eq!(world.events(), [Event::Doubted(why.clone())]);
    let request = world.send().remove(0);
    assert_eq!((request.kind, request.ciaddr), (Kind::Request, NODE));
    world.receive(&nak);
    assert!(world.events().is_empty(), "a copy of the first NAK");
    world.receive(&answer(&request, Kind::Ack, SERVER));
    assert!(matches!(world.events()[..], [Event::Renewed(_)]));
    // … and is lost when it does not.
    let (mut world, _) = late(SERVER);
    let request = world.send().remove(0);
    world.events();
    world.receive(&answer(&request, Kind::Nak, SERVER));
    let lost = [Event::Lost(Loss::Refused), Event::Refused(None)];
    assert_eq!(world.events(), lost);
    assert!(!world.client.is_bound());
    assert_eq!(world.wait()[0].kind, Kind::Discover);
}

#[test]
fn a_nak_in_a_renewal_begins_anew() {
    for rebinding in [false, true] {
        let mut world = World::new();
        world.bind(800);
        let mut request = world.wait().remove(0);
        while rebinding && world.now < Duration::from_secs(700) {
            request = world.wait().remove(0);
        }
        let server = if rebinding { OTHER } else { SERVER };
        world.receive(&answer(&request, Kind::Nak, server));
        assert_eq!(world.events()[0], Event::Lost(Loss::Refused));
        assert_eq!(world.wait()[0].kind, Kind::Discover);
    }
}

#[test]
fn an_offer_that_names_a_boot_server_is_worth_a_moment() {
    let moment = Duration::from_secs(1);
    let mut world = World::with_patience(moment);
    let discover = world.send().remove(0);
    world.receive(&answer(&discover, Kind::Offer, OTHER));
    assert!(world.send().is_empty(), "waits");
    let mut better = answer(&discover, Kind::Offer, SERVER);
    better.siaddr = SERVER;
    world.receive(&better);
    assert_eq!(world.send()[0].server_id, Some(SERVER));
    // Nobody better comes: the first is taken, after that moment and no later.
    let mut world = World::with_patience(moment);
    let discover = world.send().remove(0);
    world.receive(&answer(&discover, Kind::Offer, OTHER));
    world.receive(&answer(&discover, Kind::Offer, SERVER));
    assert_eq!(world.wait()[0].server_id, Some(OTHER));
    assert_eq!(world.now, moment);
}

#[test]
fn the_earlier_server_is_preferred_after_a_loss() {
    let mut world = World::with_patience(Duration::from_secs(1));
    let discover = world.send().remove(0);
    let mut offer = answer(&discover, Kind::Offer, SERVER);
    offer.siaddr = SERVER;
    world.receive(&offer);
    let request = world.send().remove(0);
    let mut ack = answer(&request, Kind::Ack, SERVER);
    ack.lease = Some(100);
    world.receive(&ack);
    let mut last = request;
    while last.kind != Kind::Discover {
        last = world.wait().pop().unwrap_or(last);
    }
    assert_eq!(world.events().last(), Some(&Event::Lost(Loss::Expired)));
    world.receive(&answer(&last, Kind::Offer, OTHER));
    world.receive(&answer(&last, Kind::Offer, SERVER));
    assert_eq!(world.send()[0].server_id, Some(SERVER));
}

#[test]
fn an_address_in_use_is_declined() {
    let mut world = World::new();
    world.bind(600);
    world.client.decline(world.now);
    let decline = world.send().remove(0);
    assert_eq!(decline.kind, Kind::Decline);
    assert_eq!(
        (decline.requested, decline.server_id),
        (Some(NODE), Some(SERVER))
    );
    assert_eq!(decline.ciaddr, Ipv4Addr::UNSPECIFIED);
    assert_eq!(decline.client_id, [1, 0x52, 0x54, 0, 0x12, 0x34, 0x56]);
    assert!(decline.parameters.is_empty());
    // RFC 2131, section 3.1 item 5: at least ten seconds, then all begins anew.
    assert_eq!(world.wait()[0].kind, Kind::Discover);
    assert_eq!(world.now, Duration::from_secs(10));
    // Without a lease there is nothing to decline.
    world.client.decline(world.now);
    assert!(world.send().is_empty());
}

#[test]
fn a_broken_answer_is_told_once() {
    let mut world = World::new();
    let discover = world.send().remove(0);
    let offer = answer(&discover, Kind::Offer, SERVER);
    let mut bytes = Vec::new();
    offer.emit(&mut bytes);
    // The server identifier, 54, becomes three bytes long.
    let at = bytes.windows(2).position(|w| w == [54, 4]).unwrap();
    bytes[at + 1] = 3;
    bytes.remove(at + 2);
    world.client.handle(world.now, &bytes);
    world.client.handle(world.now, &bytes);
    assert_eq!(
        world.events(),
        [Event::Nonsense(ParseError::OptionLength(54))]
    );
    // A good one still counts.
    world.receive(&offer);
    assert_eq!(world.send()[0].kind, Kind::Request);
}

#[test]
fn a_renewal_may_bring_another_address_and_other_options() {
    let mut world = World::new();
    world.bind(600);
    let request = world.wait().remove(0);
    let mut ack = answer(&request, Kind::Ack, SERVER);
    ack.yiaddr = Ipv4Addr::new(10, 0, 0, 99);
    ack.log = vec![OTHER, Ipv4Addr::BROADCAST];
    ack.routes = vec![Route {
        network: Ipv4Addr::new(192, 168, 0, 0),
        prefix: 16,
        router: OTHER,
    }];
    world.receive(&ack);
    let Some(Event::Renewed(lease)) = world.events().pop() else {
        panic!("renewed expected");
    };
    assert_eq!(lease.address, Ipv4Addr::new(10, 0, 0, 99));
    assert_eq!(lease.log_servers, [OTHER]);
    assert_eq!(lease.routes, ack.routes, "the router option is ignored");
    // From now on the new address is what is renewed.
    assert_eq!(world.wait()[0].ciaddr, lease.address);
}

#[test]
fn a_lease_is_renewed_at_half_its_time() {
    let mut world = World::new();
    world.bind(600);
    assert!(world.send().is_empty());
    let request = world.wait().remove(0);
    assert_eq!(world.now, Duration::from_secs(300));
    let (_, to, _) = world.sent.last().unwrap();
    assert_eq!(*to, Destination::Server(SERVER));
    assert_eq!(request.ciaddr, NODE);
    assert_eq!((request.requested, request.server_id), (None, None));
    assert!(!request.broadcast);
    world.receive(&answer(&request, Kind::Ack, SERVER));
    assert!(matches!(world.events()[..], [Event::Renewed(_)]));
    world.wait();
    assert_eq!(world.now, Duration::from_secs(300 + 1800));
}

#[test]
fn a_silent_server_leads_to_rebinding_and_then_to_loss() {
    let mut world = World::new();
    world.bind(800);
    while world.now < Duration::from_secs(800) {
        world.wait();
    }
    let renewals: Vec<(u64, bool)> = world.sent[2..]
        .iter()
        .map(|(now, to, _)| (now.as_secs(), *to == Destination::Broadcast))
        .collect();
    // T1 400, then half of what is left until T2 700, but at least 60 s; then everybody.
    assert_eq!(
        renewals,
        [
            (400, false),
            (550, false),
            (625, false),
            (685, false),
            (700, true),
            (760, true),
            (800, true)
        ]
    );
    assert_eq!(world.events(), [Event::Lost(Loss::Expired)]);
    assert_eq!(world.sent.last().unwrap().2.kind, Kind::Discover);
    // Another server may answer a rebinding.
    let mut world = World::new();
    world.bind(800);
    let mut request = world.wait().remove(0);
    while world.now < Duration::from_secs(700) {
        request = world.wait().remove(0);
    }
    world.receive(&answer(&request, Kind::Ack, OTHER));
    assert!(matches!(world.events()[..], [Event::Renewed(_)]));
}

#[test]
fn odd_leases_do_no_harm() {
    let mut world = World::new();
    world.bind(0);
    assert!(world.client.poll_timeout().unwrap() >= Duration::from_secs(5));
    let mut world = World::new();
    let lease = world.bind(u32::MAX);
    assert_eq!(lease.duration, None);
    assert_eq!(world.client.poll_timeout(), None);
    let mut world = World::new();
    let discover = world.send().remove(0);
    world.receive(&answer(&discover, Kind::Offer, SERVER));
    let request = world.send().remove(0);
    let mut ack = answer(&request, Kind::Ack, SERVER);
    (ack.lease, ack.t1, ack.t2) = (Some(100), Some(90), Some(80));
    ack.netmask = Some(Ipv4Addr::new(255, 0, 255, 0));
    ack.mtu = Some(68);
    world.receive(&ack);
    let Some(Event::Bound(lease)) = world.events().pop() else {
        panic!("bound expected");
    };
    assert!(lease.t1 < lease.t2 && lease.t2 < lease.duration.unwrap());
    assert_eq!((lease.prefix, lease.mtu), (8, None));
}
