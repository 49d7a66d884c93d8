//! Any bytes as a configuration: no panic, and what parses is written and read back.

#![no_main]

use goldring_wire::dolly::config::Config;
use goldring_wire::dolly::lines::ConfigReader;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(config) = Config::parse_bytes(bytes) {
        let again = Config::parse(&config.to_string());
        assert_eq!(again.as_ref(), Ok(&config));
        let _ = config.text();
    }
    let _ = Config::received(bytes);
    let _ = ConfigReader::default().push(bytes);
});
