//! Any bytes as DHCP: parsing never panics, what was understood is written again as the
//! same message type, and a client that receives them goes on.

#![no_main]

use std::time::Duration;

use goldring_wire::dhcp::{Client, Config, Message};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let parsed = Message::parse(bytes);
    if let Ok(message) = &parsed {
        let mut again = Vec::new();
        message.emit(&mut again);
        let second = Message::parse(&again).expect("what was written reads");
        assert_eq!((second.kind, second.xid), (message.kind, message.xid));
    }
    let (mac, seed) = match parsed {
        Ok(message) => (message.chaddr, message.xid),
        Err(_) => ([2; 6], 1),
    };
    let config = Config {
        mac,
        hostname: None,
        seed,
        patience: Duration::from_secs(1),
    };
    let mut client = Client::new(config, Duration::ZERO);
    let mut now = Duration::ZERO;
    for _ in 0..4 {
        while client.poll_transmit(now).is_some() {}
        client.handle(now, bytes);
        while client.poll_event().is_some() {}
        now = client.poll_timeout().unwrap_or(now).max(now);
    }
});
