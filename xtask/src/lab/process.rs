//! A process of the lab: its output goes to a file, and it ends with its owner.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::host;

/// A running process; dropping it kills it.
#[derive(Debug)]
pub(super) struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command` with its output in `log`. `name` stands in messages.
    pub(super) fn start(name: &str, mut command: Command, log: &Path) -> Result<Self> {
        let file = File::create(log).with_context(|| format!("making {}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("starting {name}"))?;
        Ok(Self {
            name: name.to_owned(),
            child,
            log: log.to_owned(),
        })
    }

    /// Its exit status, once it has ended.
    pub(super) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child
            .try_wait()
            .with_context(|| format!("asking for the state of {}", self.name))
    }

    /// An error, with its last words, when it has ended.
    pub(super) fn check_running(&mut self) -> Result<()> {
        match self.ended()? {
            None => Ok(()),
            Some(status) => bail!("{} ended: {status}: {}", self.name, self.last_words()),
        }
    }

    /// Waits until it ends well.
    pub(super) fn wait_success(&mut self, limit: Duration) -> Result<()> {
        let start = Instant::now();
        while start.elapsed() < limit {
            host::check_interrupt()?;
            match self.ended()? {
                None => std::thread::sleep(Duration::from_millis(100)),
                Some(status) if status.success() => return Ok(()),
                Some(status) => bail!("{} failed: {status}: {}", self.name, self.last_words()),
            }
        }
        bail!(
            "{} did not end within {} s: {}",
            self.name,
            limit.as_secs(),
            self.last_words()
        )
    }

    /// The end of what it printed, and where all of it is.
    pub(super) fn last_words(&self) -> String {
        last_lines(&self.log, 6)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself; either way it must not stay a zombie.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The last `count` lines of a text file that say something, on one line, and where the
/// file is.
pub(super) fn last_lines(path: &Path, count: usize) -> String {
    let bytes = std::fs::read(path).unwrap_or_default();
    let last = last_news(&String::from_utf8_lossy(&bytes), count);
    format!("{last} (all of it: {})", path.display())
}

/// A node that gives up says why, and then counts down and lets the kernel reboot: that
/// end is the same each time.
fn last_news(text: &str, count: usize) -> String {
    let is_news = |line: &&str| {
        let kernel = ["] reboot: ", "] ACPI: PM: "];
        !line.trim().is_empty()
            && !line.starts_with("rebooting in ")
            && !kernel.iter().any(|words| line.contains(words))
    };
    let lines: Vec<_> = text.split(['\n', '\r']).filter(is_news).collect();
    lines[lines.len().saturating_sub(count)..].join(" / ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_not_hidden_by_the_countdown() {
        let console = "fetching http://s/rescue.clp\r\nhttp://s/rescue.clp: no route (try 5/5, the last)\r\n\
            rebooting in 2 s\r\n[    9.1] sd 0:0:0:0: stopped\r\nrebooting in 1 s\r\n\r\n\
            [   10.4] ACPI: PM: Preparing to enter system sleep state S5\r\n\
            [   10.5] reboot: Restarting system\r\n[   10.6] reboot: machine restart\r\n";
        assert_eq!(
            last_news(console, 2),
            "http://s/rescue.clp: no route (try 5/5, the last) / [    9.1] sd 0:0:0:0: stopped"
        );
        assert_eq!(last_news("a\nb\n", 8), "a / b");
        assert_eq!(last_news("", 8), "");
    }
}
