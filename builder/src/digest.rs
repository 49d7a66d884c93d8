//! SHA-256 in hexadecimal, of bytes and of files.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

/// A running digest over labelled inputs.
#[derive(Debug, Clone, Default)]
pub struct Running(Sha256);

impl Running {
    /// Nothing so far.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one input. Lengths are part of it, so that inputs cannot run into each other.
    pub fn add(&mut self, label: &str, bytes: &[u8]) {
        for part in [label.as_bytes(), bytes] {
            self.0.update((part.len() as u64).to_le_bytes());
            self.0.update(part);
        }
    }

    /// The digest of all that was added.
    pub fn finish(self) -> String {
        hexadecimal(&self.0.finalize())
    }
}

/// The digest of some bytes.
pub fn of_bytes(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes))
}

/// The digest and the size of a file.
///
/// # Errors
/// The file cannot be read.
pub fn of_file(path: &Path) -> Result<(String, u64)> {
    let context = || format!("reading {}", path.display());
    let mut file = File::open(path).with_context(context)?;
    let mut digest = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    let mut size = 0;
    loop {
        let n = file.read(&mut buffer).with_context(context)?;
        if n == 0 {
            return Ok((hexadecimal(&digest.finalize()), size));
        }
        digest.update(&buffer[..n]);
        size += n as u64;
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_do_not_run_into_each_other() {
        assert!(of_bytes(b"").starts_with("e3b0c44298fc1c14"));
        let digest = |parts: &[(&str, &[u8])]| {
            let mut running = Running::new();
            for (label, bytes) in parts {
                running.add(label, bytes);
            }
            running.finish()
        };
        assert_ne!(digest(&[("a", b"bc")]), digest(&[("ab", b"c")]));
        assert_eq!(digest(&[("a", b"bc")]), digest(&[("a", b"bc")]));
    }
}
