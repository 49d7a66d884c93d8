//! A ka session on a [`Bench`]: the programs.

use std::fs;
use std::ops::Deref;
use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::Result;

use crate::bench::Bench;
use crate::program::{Program, ka};
use crate::ring::LONG;

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
pub struct Session(Bench);

impl Deref for Session {
    type Target = Bench;

    fn deref(&self) -> &Bench {
        &self.0
    }
}

impl Session {
    /// With so many clients and an input of `size` bytes.
    ///
    /// # Errors
    /// The network cannot be made.
    pub fn new(goldring: &Path, clients: usize, size: usize) -> Result<Self> {
        Ok(Self(Bench::new(goldring, clients, size)?))
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
}
