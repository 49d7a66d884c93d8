//! The index of an image in a store, with a right digest at its end. What is read is printed
//! and read again, and no name in it leads out of the folder.
#![no_main]

use goldring_files::store::Index;
use goldring_files::trailer::Sum;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &str| {
    let mut body = body.to_owned();
    if !body.ends_with('\n') {
        body.push('\n');
    }
    let mut sum = Sum::default();
    sum.add(body.as_bytes());
    let text = format!("{body}end xxh3={:032x}\n", sum.digest());
    match Index::parse(&text) {
        Ok(index) => {
            assert!(index.files.iter().all(|file| !file.name.contains('/')));
            assert_eq!(Index::parse(&index.to_string()), Ok(index));
        }
        Err(error) => assert!(!error.to_string().contains('\n')),
    }
});
