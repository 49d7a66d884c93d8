//! A ka session in a [`Net`]: the input, the programs, the copies.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::net::Net;
use crate::program::{Program, ka};
use crate::ring::{LONG, noise};

/// Whose program it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// goldring.
    Ours,
    /// The independent old one, as it is in the wild.
    Old,
    /// The same with the other layout.
    Old64,
}

/// A session that is not running yet; computer 0 is the server.
#[derive(Debug)]
pub struct Session {
    /// The computers.
    pub net: Net,
    folder: tempfile::TempDir,
    goldring: PathBuf,
    /// What is sent.
    pub input: Vec<u8>,
    clients: usize,
}

impl Session {
    /// With so many clients and an input of `size` bytes.
    ///
    /// # Errors
    /// The network cannot be made.
    pub fn new(goldring: &Path, clients: usize, size: usize) -> Result<Self> {
        let session = Self {
            net: Net::new(clients + 1)?,
            folder: tempfile::tempdir()?,
            goldring: goldring.to_owned(),
            input: noise(size),
            clients,
        };
        fs::create_dir_all(session.home(0))?;
        fs::write(session.home(0).join("in"), &session.input)?;
        Ok(session)
    }

    /// A computer's folder.
    pub fn home(&self, computer: usize) -> PathBuf {
        self.folder.path().join(format!("n{computer}"))
    }

    /// Starts the server, which waits for all clients, with more options.
    ///
    /// # Errors
    /// It does not start.
    pub fn serve(&self, who: Who, more: &[&str]) -> Result<Program> {
        let count = self.clients.to_string();
        let options = ["-s", "session", "-n", &count, "-e", "cat in"];
        let program = self.start(0, who, &[&options[..], more].concat())?;
        // An old client that finds nobody asks again only a second later.
        thread::sleep(Duration::from_millis(200));
        Ok(program)
    }

    /// Starts a client, with more options.
    ///
    /// # Errors
    /// It does not start.
    pub fn join(&self, computer: usize, who: Who, more: &[&str]) -> Result<Program> {
        let options = ["-s", "session", "-e", "cat > out"];
        self.start(computer, who, &[&options[..], more].concat())
    }

    /// Starts a program of ka with these options only.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(&self, computer: usize, who: Who, options: &[&str]) -> Result<Program> {
        let path = match who {
            Who::Ours => self.goldring.clone(),
            _ => ka(),
        };
        let path = path.to_string_lossy().into_owned();
        let role: &[&str] = match (who, computer) {
            (Who::Ours, 0) => &[&path, "ka-d-server", "--verbose"],
            (Who::Ours, _) => &[&path, "ka-d-client", "--verbose"],
            (Who::Old, 0) => &["python3", &path, "server"],
            (Who::Old, _) => &["python3", &path, "client"],
            (Who::Old64, 0) => &["python3", &path, "server", "-a64"],
            (Who::Old64, _) => &["python3", &path, "client", "-a64"],
        };
        if who != Who::Ours {
            self.net.default_route(computer)?;
        }
        Program::start(
            &self.net,
            computer,
            &self.home(computer),
            &[role, options].concat(),
        )
    }

    /// Runs all to a good end: who stands where, the server first.
    ///
    /// # Errors
    /// Not so.
    pub fn run(&self, who: &[Who], server: &[&str], client: &[&str]) -> Result<()> {
        let mut programs = vec![self.serve(who[0], server)?];
        for (computer, who) in who.iter().enumerate().skip(1) {
            programs.push(self.join(computer, *who, client)?);
        }
        for program in &mut programs {
            program.ends_with(0, LONG)?;
        }
        for computer in 1..=self.clients {
            self.same(computer)?;
            fs::remove_file(self.home(computer).join("out"))?;
        }
        Ok(())
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
