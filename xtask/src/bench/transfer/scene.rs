//! One transfer: the network, the programs in it, their end, the copies.

use std::fmt;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use goldring_host_tests::net::Net;

use super::data::{self, Amount, Data, Memory};
use super::figures::{self, Figures};
use super::options::Rate;
use super::process::{self, Process};
use super::tools::{CONFIG, INPUT, Listens, OUTPUT, Tool};
use crate::host;

/// How often it is looked whether programs have ended.
const LOOK: Duration = Duration::from_millis(2);
/// How often it is looked how much memory they use.
const LOOK_AT_MEMORY: Duration = Duration::from_millis(20);
/// A node listens within this time.
const READY: Duration = Duration::from_secs(10);
/// A transfer may take this long and what it takes at a fifth of its link's limit, or at
/// so many bytes per second without one.
const PATIENCE: f64 = 60.0;
const SLOWEST: f64 = 5e6;
/// So many empty files are made in a second, at least.
const SLOWEST_FILES: f64 = 200.0;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::bench) struct Case {
    pub(in crate::bench) rate: Rate,
    pub(in crate::bench) nodes: usize,
    pub(in crate::bench) data: Data,
    pub(in crate::bench) tool: Tool,
    /// A node is killed in the middle.
    pub(in crate::bench) kill: bool,
}

impl Case {
    /// The node that is killed: the one in the middle.
    fn victim(&self) -> Option<usize> {
        self.kill.then_some(self.nodes.div_ceil(2))
    }

    fn limit(&self, amount: &Amount) -> Duration {
        let rate = self
            .rate
            .0
            .map_or(SLOWEST, |rate| figures::payload_limit(rate) / 5.0);
        let files = amount.files as f64 / SLOWEST_FILES * self.nodes as f64;
        Duration::from_secs_f64(PATIENCE + amount.bytes as f64 / rate + files)
    }
}

/// `3 nodes`.
pub(in crate::bench) fn nodes(number: usize) -> String {
    format!("{number} node{}", if number == 1 { "" } else { "s" })
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (nodes, data) = (nodes(self.nodes), self.data.name());
        write!(f, "{}, {nodes}, {data}: {}", self.rate, self.tool.name())?;
        if self.kill {
            f.write_str(", a node killed")?;
        }
        Ok(())
    }
}

/// Why there are no figures, as a sentence.
pub(in crate::bench) type Failure = String;

/// Where transfers take place.
#[derive(Debug)]
pub(in crate::bench) struct Place<'a> {
    /// The program under measurement.
    pub(in crate::bench) goldring: PathBuf,
    /// Where the files are.
    pub(in crate::bench) memory: &'a Memory,
    /// Where the programs' words are kept.
    pub(in crate::bench) logs: PathBuf,
    /// How much is sent.
    pub(in crate::bench) amount: Amount,
}

impl Place<'_> {
    /// Transfers once.
    ///
    /// # Errors
    /// The network or the files cannot be made, or somebody pressed Ctrl-C. What a tool
    /// does wrong is no error but a result.
    pub(in crate::bench) fn measure(&self, case: &Case) -> Result<Result<Figures, Failure>> {
        if let Some(reason) = case.tool.unavailable(&self.goldring) {
            return Ok(Err(reason));
        }
        let net = Net::new(case.nodes + 1)?;
        if let Some(rate) = case.rate.0 {
            for host in 0..=case.nodes {
                net.slow(host, &format!("{rate}mbit"))?;
            }
        }
        let folder = self.memory.fresh()?;
        let source = self.memory.source(case.data);
        for host in 0..=case.nodes {
            let home = home(&folder, host);
            fs::create_dir(&home).with_context(|| format!("making {}", home.display()))?;
        }
        let golden = home(&folder, 0);
        match case.data {
            Data::Tree => {
                symlink(&source, golden.join(INPUT)).context("linking the source")?;
                for host in 1..=case.nodes {
                    fs::create_dir(home(&folder, host).join(OUTPUT)).context("making a folder")?;
                }
            }
            _ => fs::hard_link(&source, golden.join(INPUT)).context("linking the source")?,
        }
        if let Some(config) = case.tool.config(case.nodes) {
            fs::write(golden.join(CONFIG), config).context("writing the configuration")?;
        }
        let mut transfer = Transfer {
            place: self,
            case,
            net,
            folder,
            programs: Vec::new(),
            victim: None,
        };
        let result = transfer.run()?;
        let result = match result {
            Ok(figures) => transfer.compare(&source)?.map_or(Ok(figures), Err),
            Err(failure) => Err(failure),
        };
        let Transfer {
            programs, folder, ..
        } = transfer;
        drop(programs);
        fs::remove_dir_all(&folder).with_context(|| format!("emptying {}", folder.display()))?;
        Ok(result)
    }
}

fn home(folder: &Path, host: usize) -> PathBuf {
    folder.join(format!("n{host}"))
}

/// A transfer under way.
struct Transfer<'a> {
    place: &'a Place<'a>,
    case: &'a Case,
    net: Net,
    folder: PathBuf,
    /// By host, once all are started; before, in the order of their starts.
    programs: Vec<Process>,
    /// Who was killed.
    victim: Option<usize>,
}

impl Transfer<'_> {
    fn run(&mut self) -> Result<Result<Figures, Failure>> {
        let (busy, begin) = match self.start_all()? {
            Ok(began) => began,
            Err(failure) => return Ok(Err(failure)),
        };
        if let Err(failure) = self.wait(begin)? {
            return Ok(Err(failure));
        }
        let survivors = || {
            self.survivors()
                .filter_map(|(_, program)| program.end.as_ref())
        };
        let Some(end) = survivors().map(|end| end.at).max() else {
            return Ok(Err("nobody was left".to_owned()));
        };
        let wall = end.duration_since(begin).as_secs_f64();
        let ends = self
            .programs
            .iter()
            .filter_map(|program| program.end.as_ref());
        let cpu: Vec<f64> = ends.map(|end| end.cpu).collect();
        let busy = process::busy()
            .zip(busy)
            .map_or(0.0, |(after, before)| after - before);
        let processors = thread::available_parallelism().map_or(1, usize::from) as f64;
        Ok(Ok(Figures {
            wall,
            others: figures::others(busy, cpu.iter().sum(), wall, processors),
            cpu,
            peaks: self.programs.iter().map(|program| program.peak).collect(),
        }))
    }

    /// Starts everybody; gives how busy all processors had been, and when it began: with
    /// the start of the one without whom nothing moves.
    fn start_all(&mut self) -> Result<Result<(Option<f64>, Instant), Failure>> {
        let golden_first = self.case.tool.golden_comes_first();
        let mut order: Vec<usize> = (0..=self.case.nodes).collect();
        if !golden_first {
            // From the end, so that everybody finds the next one listening.
            order.reverse();
        }
        let Some((&last, others)) = order.split_last() else {
            bail!("nobody is to be started");
        };
        for &host in others {
            self.start(host)?;
            if let Err(failure) = self.ready(host)? {
                return Ok(Err(failure));
            }
        }
        let began = (process::busy(), Instant::now());
        self.start(last)?;
        if !golden_first {
            self.programs.reverse();
        }
        Ok(Ok(began))
    }

    fn start(&mut self, host: usize) -> Result<()> {
        let logs = &self.place.logs;
        fs::create_dir_all(logs).with_context(|| format!("making {}", logs.display()))?;
        let name = format!("n{host}");
        let goldring = self.place.goldring.to_string_lossy();
        let (case, tool) = (self.case, self.case.tool);
        let words = tool.words(&goldring, (host, case.nodes), case.rate);
        let places = (home(&self.folder, host), logs.join(format!("{name}.log")));
        let program = Process::start(
            &self.net.namespace(host),
            (&places.0, places.1),
            &name,
            &words,
        )?;
        self.programs.push(program);
        Ok(())
    }

    /// Waits until the host that was started last listens.
    fn ready(&mut self, host: usize) -> Result<Result<(), Failure>> {
        let end = Instant::now() + READY;
        let Some(program) = self.programs.last_mut() else {
            bail!("nothing was started");
        };
        loop {
            host::check_interrupt()?;
            program.look()?;
            if program.end.is_some() {
                return Ok(Err(format!(
                    "n{host} ended at once: {}",
                    program.last_words()
                )));
            }
            if is_listening(program.id(), self.case.tool.listens()) {
                return Ok(Ok(()));
            }
            if Instant::now() > end {
                return Ok(Err(format!(
                    "n{host} does not listen: {}",
                    program.last_words()
                )));
            }
            thread::sleep(LOOK);
        }
    }

    /// Waits for everybody's end, and kills the victim when half of the data is there.
    fn wait(&mut self, begin: Instant) -> Result<Result<(), Failure>> {
        let limit = self.case.limit(&self.place.amount);
        let mut look_at_memory = begin;
        loop {
            host::check_interrupt()?;
            let now = Instant::now();
            if now >= look_at_memory {
                self.programs.iter_mut().for_each(Process::look_at_memory);
                look_at_memory = now + LOOK_AT_MEMORY;
            }
            for program in &mut self.programs {
                program.look()?;
            }
            self.kill_when_half_done();
            if let Some(failure) = self.failed() {
                return Ok(Err(failure));
            }
            if self.survivors().all(|(_, program)| program.end.is_some()) {
                return Ok(if self.victim == self.case.victim() {
                    Ok(())
                } else {
                    Err("it was over before a node could be killed".to_owned())
                });
            }
            if now.duration_since(begin) > limit {
                return Ok(Err(self.late(limit)));
            }
            thread::sleep(LOOK);
        }
    }

    fn kill_when_half_done(&mut self) {
        let Some(victim) = self.case.victim().filter(|_| self.victim.is_none()) else {
            return;
        };
        let written = fs::metadata(home(&self.folder, victim).join(OUTPUT));
        if written.is_ok_and(|file| file.len() >= self.place.amount.bytes / 2) {
            self.programs[victim].kill();
            self.victim = Some(victim);
        }
    }

    /// Everybody, or when a node was killed all other nodes: the golden one may wait for
    /// it, and rightly fails when it does not come back.
    fn survivors(&self) -> impl Iterator<Item = (usize, &Process)> {
        let victim = self.victim;
        let all = self.programs.iter().enumerate();
        all.filter(move |(host, _)| victim.is_none_or(|victim| ![0, victim].contains(host)))
    }

    /// Who ended badly, and what it said.
    fn failed(&self) -> Option<Failure> {
        self.survivors().find_map(|(host, program)| {
            let end = program.end.as_ref().filter(|end| end.code != Some(0))?;
            let how = end
                .code
                .map_or("by a signal".to_owned(), |code| format!("with {code}"));
            Some(format!("n{host} ended {how}: {}", program.last_words()))
        })
    }

    fn late(&self, limit: Duration) -> Failure {
        let names: Vec<String> = self
            .survivors()
            .filter(|(_, program)| program.end.is_none())
            .map(|(host, _)| format!("n{host}"))
            .collect();
        format!(
            "not ended after {:.0} s: {}",
            limit.as_secs_f64(),
            names.join(", ")
        )
    }

    /// The first copy that is not right.
    fn compare(&self, source: &Path) -> Result<Option<Failure>> {
        for (host, _) in self.survivors().filter(|(host, _)| *host > 0) {
            let copy = home(&self.folder, host).join(OUTPUT);
            let difference = match self.case.data {
                Data::Tree => data::trees_differ(&self.place.goldring, source, &copy)?,
                _ => data::difference(source, &copy)?,
            };
            if let Some(difference) = difference {
                return Ok(Some(format!("wrong on n{host}: {difference}")));
            }
        }
        Ok(None)
    }
}

/// Whether somebody listens in the namespace of a process.
fn is_listening(id: u32, listens: Listens) -> bool {
    let namespace = |id: &str| fs::read_link(format!("/proc/{id}/ns/net")).ok();
    // Until it has come there, it sees this machine's ports.
    if namespace(&id.to_string()) == namespace("self") {
        return false;
    }
    let (tables, port) = match listens {
        Listens::Tcp(port) => (["tcp", "tcp6"], port),
        Listens::Udp(port) => (["udp", "udp6"], port),
    };
    tables.iter().any(|table| {
        let text = fs::read_to_string(format!("/proc/{id}/net/{table}")).unwrap_or_default();
        has_listener(&text, port, matches!(listens, Listens::Tcp(_)))
    })
}

/// Whether `/proc/net/tcp` (or udp) shows a socket at `port`; with `listening` one in
/// the state 0A.
fn has_listener(table: &str, port: u16, listening: bool) -> bool {
    let end = format!(":{port:04X}");
    table.lines().skip(1).any(|line| {
        let mut words = line.split_ascii_whitespace().skip(1);
        let local = words.next().unwrap_or_default();
        let state = words.nth(1).unwrap_or_default();
        local.ends_with(&end) && (!listening || state == "0A")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_one_is_killed() {
        let mut case = Case {
            rate: Rate(Some(400)),
            nodes: 7,
            data: Data::Half,
            tool: Tool::Goldring,
            kill: false,
        };
        assert_eq!(case.victim(), None);
        case.kill = true;
        for (nodes, victim) in [(2, 1), (3, 2), (7, 4)] {
            case.nodes = nodes;
            assert_eq!(case.victim(), Some(victim));
        }
        let amount = Amount {
            bytes: 1 << 30,
            files: 0,
        };
        assert!(case.limit(&amount) > Duration::from_secs(150));
        let many = Amount {
            files: 1_000_000,
            ..amount
        };
        assert!(case.limit(&many) > case.limit(&amount) * 5);
    }

    #[test]
    fn listeners_are_found_in_the_kernels_table() {
        let table = "  sl  local_address rem_address   st\n\
            0: 0100007F:270E 00000000:0000 0A 0\n\
            1: 0100007F:1F90 00000000:0000 01 0\n";
        assert!(has_listener(table, 9998, true));
        assert!(!has_listener(table, 9997, true));
        assert!(!has_listener(table, 8080, true));
        assert!(has_listener(table, 8080, false));
        assert!(!has_listener("", 9998, true));
    }
}
