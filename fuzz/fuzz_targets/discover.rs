//! Any bytes as a query or an answer of discovery: no panic, what parses is written and
//! read back, and no answer is longer than a query.

#![no_main]

use std::net::Ipv4Addr;
use std::time::Instant;

use goldring_wire::discover::{Answer, Finder, Program, Query};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let longest = if let Ok(query) = Query::parse(bytes) {
        assert_eq!(Query::parse(&query.emit()), Ok(query));
        query.emit().len()
    } else {
        128
    };
    if let Ok(answer) = Answer::parse(bytes) {
        let written = answer.emit();
        assert!(written.len() <= longest);
        let again = Answer::parse(&written).unwrap();
        assert!(answer.name.starts_with(&again.name));
    }
    let mut finder = Finder::new(&[Program::Dolly, Program::DollyPlus], 0);
    finder.answered(Instant::now(), Ipv4Addr::LOCALHOST, bytes);
    assert!(finder.present(Instant::now()).len() <= 1);
});
