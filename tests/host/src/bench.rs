//! Computers that copy something: a folder for each, the input, the copies.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::net::Net;

/// What every kind of cloning is tried on; computer 0 sends. What is first here goes first.
#[derive(Debug)]
pub struct Bench {
    /// The computers.
    pub net: Net,
    folder: tempfile::TempDir,
    pub(crate) goldring: PathBuf,
    /// What is copied; the golden node has it as `in`.
    pub input: Vec<u8>,
    pub(crate) clients: usize,
}

impl Bench {
    /// So many clients and an input of `size` bytes.
    ///
    /// # Errors
    /// The network cannot be made.
    pub(crate) fn new(goldring: &Path, clients: usize, size: usize) -> Result<Self> {
        let bench = Self {
            net: Net::new(clients + 1)?,
            folder: tempfile::tempdir()?,
            goldring: goldring.to_owned(),
            input: noise(size),
            clients,
        };
        fs::create_dir_all(bench.home(0))?;
        fs::write(bench.home(0).join("in"), &bench.input)?;
        Ok(bench)
    }

    /// A computer's folder.
    pub fn home(&self, computer: usize) -> PathBuf {
        self.folder.path().join(format!("n{computer}"))
    }

    /// A client's copy is right.
    ///
    /// # Errors
    /// It differs, or is not there.
    pub fn same(&self, computer: usize) -> Result<()> {
        let copy = fs::read(self.home(computer).join("out"))?;
        if copy != self.input {
            let at = copy.iter().zip(&self.input).position(|(a, b)| a != b);
            bail!(
                "the copy of n{computer} differs: {} bytes, first at {at:?}",
                copy.len()
            );
        }
        Ok(())
    }
}

/// So many bytes that nothing can pack; the same ones each time.
pub fn noise(size: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ size as u64;
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}
