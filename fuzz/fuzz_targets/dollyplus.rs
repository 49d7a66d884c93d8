//! Any bytes as a packet of dolly+, as its body, as a configuration: no panic, nothing that
//! is unbounded, and what parses is written and read back.

#![no_main]

use goldring_wire::dollyplus::config::Config;
use goldring_wire::dollyplus::own::{self, Plan, Verdicts};
use goldring_wire::dollyplus::packet::{Command, HEAD, Head, Kind, List};
use goldring_wire::dollyplus::ring::Ring;
use goldring_wire::dollyplus::status::Status;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = Config::parse_bytes(bytes);
    let _ = Status::decode(&String::from_utf8_lossy(bytes));
    if let Ok(plan) = Plan::decode(bytes) {
        assert_eq!(Plan::decode(plan.encode().as_bytes()).as_ref(), Ok(&plan));
    }
    if let Ok(verdicts) = Verdicts::decode(bytes) {
        assert!(Verdicts::decode(verdicts.encode().as_bytes()).is_ok());
    }
    let Some((head, rest)) = bytes.split_first_chunk::<HEAD>() else {
        return;
    };
    match Head::parse(head) {
        Ok(Head::List { kind, bytes, count }) => {
            let rest = &rest[..rest.len().min(List::rest(bytes))];
            let Ok(list) = List::decode(kind, count, rest) else {
                return;
            };
            assert!(list.encode().is_ok());
            if kind == Kind::Ring
                && let Ok(ring) = Ring::called(list)
            {
                let _ = ring.call(ring.candidate(ring.own())).encode();
            }
        }
        Ok(Head::Command { number, .. }) => {
            let _ = Command::decode(number, rest);
        }
        Ok(Head::Own { .. }) => {
            if let Some(chunk) = rest.first_chunk().and_then(|head| own::Chunk::decode(head).ok()) {
                assert!(chunk.payload as usize <= own::CHUNK);
            }
        }
        _ => {}
    }
});
