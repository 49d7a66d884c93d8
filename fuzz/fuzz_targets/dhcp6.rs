//! Any bytes as DHCPv6 and as a router advertisement: reading never panics, what was
//! understood is written again as the same message, and a client that receives them goes on.

#![no_main]

use std::time::Duration;

use goldring_wire::dhcp6::{Client, Config, Message, Wish};
use goldring_wire::router::Advertisement;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(said) = Advertisement::parse(bytes) {
        Advertisement::parse(&said.emit()).expect("what was written reads");
    }
    let parsed = Message::parse(bytes);
    if let Ok(message) = &parsed {
        let mut again = Vec::new();
        message.emit(&mut again);
        let second = Message::parse(&again).expect("what was written reads");
        assert_eq!((second.kind, second.xid), (message.kind, message.xid));
    }
    for wish in [Wish::Address, Wish::Settings] {
        let config = Config {
            mac: [2; 6],
            hostname: None,
            seed: 1,
            wish,
        };
        let mut client = Client::new(config, Duration::ZERO);
        let mut now = Duration::from_secs(1);
        for _ in 0..4 {
            let mut xid = None;
            while let Some(sent) = client.poll_transmit(now) {
                xid = Message::xid_of(&sent).or(xid);
            }
            client.handle(now, bytes);
            // The same as an answer to what was just sent.
            if let (Ok(message), Some(xid)) = (&parsed, xid) {
                let ours = Message {
                    xid,
                    client_id: vec![0, 3, 0, 1, 2, 2, 2, 2, 2, 2],
                    ..message.clone()
                };
                let mut again = Vec::new();
                ours.emit(&mut again);
                client.handle(now, &again);
            }
            while client.poll_event().is_some() {}
            now = client.poll_timeout().unwrap_or(now).max(now);
        }
    }
});
