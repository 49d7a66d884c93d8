//! Any bytes as a configuration, or as what a parent says before it: no panic, and what
//! parses is written and read back.

#![no_main]

use goldring_wire::dolly::config::Config;
use goldring_wire::dolly::hearing::Hearing;
use goldring_wire::dolly::password::Password;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(config) = Config::parse_bytes(bytes) {
        let again = Config::parse(&config.to_string());
        assert_eq!(again.as_ref(), Ok(&config));
        let _ = config.text();
    }
    let _ = Config::received(bytes);
    let _ = Config::received_suse(bytes);
    for password in [None, Some(Password::new("x"))] {
        let mut hearing = Hearing::new(password, None);
        // In two pieces, since a parent waits for an answer between them.
        let (first, rest) = bytes.split_at(bytes.len().min(33));
        if hearing.push(first).is_ok() && hearing.push(rest).is_ok() {
            let _ = hearing.config();
        }
    }
});
