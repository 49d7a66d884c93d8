//! What travels with the files of a clone: a tar and what stands behind the files, and the list of
//! what is cloned, and what is made of a node's disks.
#![no_main]

use goldring_files::deployment::Deployment;
use goldring_files::manifest::Manifest;
use goldring_files::said::Said;
use goldring_files::trailer::{Form, Trailer};
use goldring_files::walk::Walk;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut walk = Walk::new(Form::Checked);
    for piece in data.chunks(700) {
        match walk.feed(piece) {
            Ok(taken) if taken == piece.len() => {}
            _ => break,
        }
    }
    for told in [Some(data), walk.trailer()].into_iter().flatten() {
        let _ = Trailer::parse(told);
    }
    let _ = Said::parse(data);
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(deployment) = Deployment::parse(text)
    {
        assert_eq!(Deployment::parse(&deployment.to_string()), Ok(deployment));
    }
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(manifest) = Manifest::parse(text)
    {
        assert_eq!(Manifest::parse(&manifest.to_string()).as_ref(), Ok(&manifest));
    }
});
