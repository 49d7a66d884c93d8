//! Programs in namespaces: started, watched, signalled by their own id, never left.

use std::cell::RefCell;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, kill_process};

pub use rustix::process::Signal;

use crate::net::Net;

/// A running program. Killed when dropped.
#[derive(Debug)]
pub struct Program {
    child: Child,
    /// What to call it in messages.
    pub name: String,
    log: PathBuf,
}

/// The `goldring` under test: `GOLDRING_BIN`, or built now, with the places where it can be
/// made to die.
///
/// # Errors
/// It cannot be built.
pub fn goldring() -> Result<PathBuf> {
    match std::env::var_os("GOLDRING_BIN") {
        Some(path) => Ok(PathBuf::from(path)),
        None => built_with("goldring-agent", "goldring", &["--features", "faults"]),
    }
}

/// Why a program cannot be made to die at a place of its own, if so.
///
/// # Errors
/// It cannot be read.
pub fn without_kill_points(program: &Path) -> Result<Option<String>> {
    const NAME: &[u8] = b"GOLDRING_KILL";
    let bytes = fs::read(program).with_context(|| program.display().to_string())?;
    let has = bytes.windows(NAME.len()).any(|part| part == NAME);
    Ok((!has).then(|| {
        let program = program.display();
        format!("{program} was built without --features faults")
    }))
}

/// The program `binary` of `package`, built now.
///
/// # Errors
/// It cannot be built.
pub fn built(package: &str, binary: &str) -> Result<PathBuf> {
    built_with(package, binary, &[])
}

fn built_with(package: &str, binary: &str, options: &[&str]) -> Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["build", "--quiet", "--locked", "-p", package])
        .args(options)
        .current_dir(&root)
        .status()
        .context("starting cargo")?;
    if !status.success() {
        bail!("{package} does not build");
    }
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    Ok(fs::canonicalize(target.join("debug").join(binary))?)
}

/// The independent old peer.
pub fn classic() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/classic.py")
}

/// Somebody who does not belong to a ring and tries every port with nonsense.
pub fn stranger() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/stranger.py")
}

/// The independent peer of the SUSE dialect.
pub fn suse() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/suse.py")
}

/// The independent old dolly+.
pub fn plus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/plus.py")
}

/// The independent old ka.
pub fn ka() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/ka.py")
}

/// The independent node with an old stage 2.
pub fn ka_node() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/ka_node.py")
}

impl Program {
    /// Starts `words` on a computer, in `folder`; it is called `n` and the number there.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(net: &Net, computer: usize, folder: &Path, words: &[&str]) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let log = folder.join("log");
        let out = File::create(&log)?;
        let child = Command::new("ip")
            .args(["netns", "exec", &net.namespace(computer)])
            .args(words)
            .current_dir(folder)
            .env("MYNODENAME", format!("n{computer}"))
            .env_remove("HOST")
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .spawn()
            .with_context(|| format!("starting {words:?}"))?;
        Ok(Self {
            child,
            name: format!("n{computer}"),
            log,
        })
    }

    /// Everything it said so far.
    pub fn said(&self) -> String {
        let bytes = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Waits until it has said `text`.
    ///
    /// # Errors
    /// It does not within `limit`.
    pub fn expect(&self, text: &str, limit: Duration) -> Result<()> {
        let end = Instant::now() + limit;
        while !self.said().contains(text) {
            if Instant::now() > end {
                bail!("{} did not say {text:?}:\n{}", self.name, self.said());
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Whether it has not ended.
    ///
    /// # Errors
    /// The system does not say.
    pub fn is_running(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// Waits for its end: the exit code, or none when a signal ended it.
    ///
    /// # Errors
    /// It runs on after `limit`.
    pub fn wait(&mut self, limit: Duration) -> Result<Option<i32>> {
        let end = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status.code());
            }
            if Instant::now() > end {
                bail!("{} still runs after {limit:?}:\n{}", self.name, self.said());
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits for its end and its exit code.
    ///
    /// # Errors
    /// It runs on, or ends otherwise.
    pub fn ends_with(&mut self, code: i32, limit: Duration) -> Result<()> {
        let got = self.wait(limit)?;
        if got != Some(code) {
            bail!(
                "{} ended with {got:?}, not {code}:\n{}",
                self.name,
                self.said()
            );
        }
        Ok(())
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// It is gone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).with_context(|| format!("signalling {}", self.name))
    }

    /// For how long it has used a processor (proc_pid_stat(5), in ticks of 10 ms).
    pub fn processor_time(&self) -> Option<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).ok()?;
        let (_, rest) = stat.rsplit_once(") ")?;
        let numbers = rest.split(' ').skip(11).take(2);
        let ticks: u64 = numbers.filter_map(|n| n.parse::<u64>().ok()).sum();
        Some(Duration::from_millis(ticks * 10))
    }

    /// How much memory it has used at most, in bytes.
    pub fn peak_memory(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
        let kilobytes: u64 = line.split_ascii_whitespace().nth(1)?.parse().ok()?;
        Some(kilobytes * 1024)
    }
}

thread_local! {
    /// What the programs of this thread's story had said when they were ended.
    static LAST_WORDS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// What the programs of a story that has just failed with `why` said, but for those that it
/// quotes itself: the one that is waited for is seldom the one that is at fault.
#[must_use]
pub fn last_words(why: &str) -> String {
    let all = LAST_WORDS.take();
    let others = all.iter().filter(|words| {
        let said = words.split_once('\n').map_or("", |(_, said)| said);
        !said.trim().is_empty() && !why.contains(said)
    });
    others.fold(String::new(), |text, words| text + "\n--- " + words)
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let end = self.child.wait();
        let end = end.map_or_else(|error| error.to_string(), |end| end.to_string());
        let words = format!("{}, {end}:\n{}", self.name, self.said());
        LAST_WORDS.with_borrow_mut(|all| all.push(words));
    }
}
