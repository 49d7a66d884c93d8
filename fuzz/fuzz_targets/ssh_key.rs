//! What a web server may send instead of a public key.
#![no_main]

use goldring_wire::ssh_key;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(keys) = ssh_key::parse(data) {
        assert!(!keys.is_empty() && keys.iter().all(|key| !key.contains('\n')));
    }
});
