//! A ring on a [`Bench`]: the configuration and the programs.

use std::fmt::Write as _;
use std::fs;
use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use crate::bench::Bench;
use crate::program::{Program, classic, plus};

/// Long enough for anything that is not broken.
pub const LONG: Duration = Duration::from_secs(60);

/// A ring that is not running yet.
#[derive(Debug)]
pub struct Ring(Bench);

impl Deref for Ring {
    type Target = Bench;

    fn deref(&self) -> &Bench {
        &self.0
    }
}

impl DerefMut for Ring {
    fn deref_mut(&mut self) -> &mut Bench {
        &mut self.0
    }
}

impl Ring {
    /// A ring of so many clients with an input of `size` bytes.
    ///
    /// # Errors
    /// The network cannot be made.
    pub fn new(goldring: &Path, clients: usize, size: usize) -> Result<Self> {
        let ring = Self(Bench::new(goldring, clients, size)?);
        ring.configure("", "out")?;
        Ok(ring)
    }

    /// Writes the configuration, with more lines and another target.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn configure(&self, more: &str, target: &str) -> Result<()> {
        let n = self.clients;
        let mut text = format!("infile in\noutfile {target}\n{more}server n0\n");
        write!(text, "firstclient n1\nlastclient n{n}\nclients {n}\n")?;
        for i in 1..=n {
            writeln!(text, "n{i}")?;
        }
        text.push_str("endconfig\n");
        self.configure_as(&text)
    }

    /// Writes this text as the configuration.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn configure_as(&self, text: &str) -> Result<()> {
        Ok(fs::write(self.home(0).join("dolly.cfg"), text)?)
    }

    /// Starts goldring on a computer: the golden node on 0, which speaks as old dolly does
    /// whoever the clients are; a client elsewhere; with more options.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(&self, computer: usize, more: &[&str]) -> Result<Program> {
        let file: &[&str] = if computer == 0 {
            &["-s", "--plain", "-f", "dolly.cfg"]
        } else {
            &[]
        };
        self.start_with(computer, &[file, more].concat())
    }

    /// Starts goldring on a computer with these options only.
    ///
    /// # Errors
    /// It does not start.
    pub fn start_with(&self, computer: usize, options: &[&str]) -> Result<Program> {
        let goldring = self.goldring.to_string_lossy().into_owned();
        let words = [&[goldring.as_str(), "dolly", "-v"], options].concat();
        Program::start(&self.net, computer, &self.home(computer), &words)
    }

    /// Starts the independent old program on a computer. An old client's target must
    /// exist, unless the configuration says otherwise.
    ///
    /// # Errors
    /// It does not start.
    pub fn start_classic(&self, computer: usize) -> Result<Program> {
        let text = fs::read_to_string(self.home(0).join("dolly.cfg"))?;
        let outfile = text.lines().find(|line| line.contains("outfile "));
        if computer > 0 && outfile == Some("outfile out") {
            self.make_target(computer)?;
        }
        let name = format!("n{computer}");
        self.start_old(computer, &classic(), &name, &[])
    }

    /// Starts an independent old program on a computer: the golden node on 0, elsewhere a
    /// client that has this name.
    ///
    /// # Errors
    /// It does not start.
    pub fn start_old(
        &self,
        computer: usize,
        program: &Path,
        name: &str,
        more: &[&str],
    ) -> Result<Program> {
        let path = program.to_string_lossy().into_owned();
        let role = if computer == 0 {
            ["server", "dolly.cfg"]
        } else {
            ["client", name]
        };
        let words = [&["python3", &path], &role[..], more].concat();
        Program::start(&self.net, computer, &self.home(computer), &words)
    }

    /// Makes an empty target.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn make_target(&self, computer: usize) -> Result<()> {
        let home = self.home(computer);
        fs::create_dir_all(&home)?;
        Ok(fs::write(home.join("out"), "")?)
    }

    /// Starts everybody, clients first.
    ///
    /// # Errors
    /// Somebody does not start.
    pub fn start_all(&self, more: &[&str]) -> Result<Vec<Program>> {
        let mut programs = Vec::new();
        for computer in 1..=self.clients {
            programs.push(self.start(computer, more)?);
        }
        programs.insert(0, self.start(0, more)?);
        Ok(programs)
    }

    /// Writes a configuration of dolly+ with these file lines.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn configure_plus(&self, files: &[&str]) -> Result<()> {
        let n = self.clients;
        let mut text = format!("iofiles {}\n{}\nserver n0\n", files.len(), files.join("\n"));
        write!(text, "firstclient n1\nlastclient n{n}\nclients {n}\n")?;
        for i in 1..=n {
            writeln!(text, "n{i}")?;
        }
        text.push_str("endconfig\n");
        self.configure_as(&text)
    }

    /// Starts goldring's dolly+ on a computer: the golden node on 0, a client elsewhere,
    /// with more options.
    ///
    /// # Errors
    /// It does not start.
    pub fn start_plus(&self, computer: usize, more: &[&str]) -> Result<Program> {
        let goldring = self.goldring.to_string_lossy().into_owned();
        let mut words = match computer {
            0 => vec![goldring.as_str(), "dollyS", "-v", "-f", "dolly.cfg"],
            _ => vec![goldring.as_str(), "dollyC", "-v"],
        };
        words.extend(more);
        Program::start(&self.net, computer, &self.home(computer), &words)
    }

    /// Starts the independent old dolly+ on a computer.
    ///
    /// # Errors
    /// It does not start.
    pub fn start_old_plus(&self, computer: usize) -> Result<Program> {
        let path = plus().to_string_lossy().into_owned();
        let words = match computer {
            0 => vec!["python3", &path, "server", "dolly.cfg", "20"],
            _ => vec!["python3", &path, "client"],
        };
        Program::start(&self.net, computer, &self.home(computer), &words)
    }

    /// Starts goldring's dolly+ everywhere, clients first; the golden node with more
    /// options. Gives the golden node first.
    ///
    /// # Errors
    /// Somebody does not start.
    pub fn start_all_plus(&self, more: &[&str]) -> Result<Vec<Program>> {
        let mut programs = Vec::new();
        for computer in 1..=self.clients {
            programs.push(self.start_plus(computer, &[])?);
        }
        for program in &programs {
            program.expect("waiting for the golden node", LONG)?;
        }
        programs.insert(0, self.start_plus(0, more)?);
        Ok(programs)
    }

    /// Everybody ends well, and every copy is right.
    ///
    /// # Errors
    /// Not so.
    pub fn succeeds(&self, programs: &mut [Program]) -> Result<()> {
        for program in programs {
            program.ends_with(0, LONG)?;
        }
        for computer in 1..=self.clients {
            self.same(computer)?;
        }
        Ok(())
    }
}
