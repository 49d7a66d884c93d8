//! Any text as a kernel command line: never a panic, and an error is one line.

#![no_main]

use goldring_contract::bootargs::BootArgs;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match BootArgs::parse(text) {
        Ok(args) => assert!(args.notes.iter().all(|note| !note.contains('\n'))),
        Err(error) => assert!(!error.to_string().contains('\n')),
    }
});
