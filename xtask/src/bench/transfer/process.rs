//! A host's program: started in its namespace, watched, counted, and never left.

use std::fs::{self, File};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

/// A program and everything it starts. All of it is killed when dropped.
#[derive(Debug)]
pub(in crate::bench) struct Process {
    child: Child,
    log: PathBuf,
    /// The most memory of one process of it, in bytes.
    pub(in crate::bench) peak: u64,
    /// How it ended, once it has.
    pub(in crate::bench) end: Option<End>,
}

/// How a program ended.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::bench) struct End {
    pub(in crate::bench) at: Instant,
    /// `None`: a signal ended it.
    pub(in crate::bench) code: Option<i32>,
    /// Seconds of processors, its children included.
    pub(in crate::bench) cpu: f64,
}

impl Process {
    /// Starts `words` in a namespace and a folder; what it says goes to `log`.
    pub(in crate::bench) fn start(
        namespace: &str,
        (folder, log): (&Path, PathBuf),
        name: &str,
        words: &[String],
    ) -> Result<Self> {
        let out = File::create(&log).with_context(|| format!("making {}", log.display()))?;
        let child = Command::new("ip")
            .args(["netns", "exec", namespace])
            .args(words)
            .current_dir(folder)
            .env("MYNODENAME", name)
            .env_remove("HOST")
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            // A group of its own, so that a pipeline can be killed as one.
            .process_group(0)
            .spawn()
            .with_context(|| format!("starting {}", words.join(" ")))?;
        Ok(Self {
            child,
            log,
            peak: 0,
            end: None,
        })
    }

    /// Its id; only while it has not been found to have ended.
    pub(in crate::bench) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Looks whether it has ended.
    pub(in crate::bench) fn look(&mut self) -> Result<()> {
        if self.end.is_some() {
            return Ok(());
        }
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let pid = Pid::from_child(&self.child);
        if waitid(WaitId::Pid(pid), options)
            .context("waiting")?
            .is_none()
        {
            return Ok(());
        }
        // It has ended and is still counted; after wait() nothing is left of it.
        let at = Instant::now();
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.id()))
            .context("reading the processor time of a program that has ended")?;
        let status = self.child.wait().context("waiting")?;
        self.end = Some(End {
            at,
            code: status.code().filter(|_| status.signal().is_none()),
            cpu: cpu(&stat).context("no processor time in /proc/PID/stat")?,
        });
        Ok(())
    }

    /// Looks how much memory each of its processes has used.
    pub(in crate::bench) fn look_at_memory(&mut self) {
        if self.end.is_some() {
            return;
        }
        let mut look_at = vec![self.id()];
        while let Some(id) = look_at.pop() {
            // Processes come and go.
            let read = |file: String| fs::read_to_string(file).unwrap_or_default();
            let peak = high_water(&read(format!("/proc/{id}/status")));
            self.peak = self.peak.max(peak.unwrap_or(0));
            // Any thread may have started one.
            let tasks = fs::read_dir(format!("/proc/{id}/task"));
            for task in tasks.into_iter().flatten().flatten() {
                let children = fs::read_to_string(task.path().join("children"));
                let children = children.unwrap_or_default();
                let ids = children.split_ascii_whitespace();
                look_at.extend(ids.filter_map(|id| id.parse::<u32>().ok()));
            }
        }
    }

    /// Kills it and what it started.
    pub(in crate::bench) fn kill(&self) {
        if self.end.is_none() {
            // It may have ended a moment ago.
            let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        }
    }

    /// The last thing it said.
    pub(in crate::bench) fn last_words(&self) -> String {
        let bytes = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let line = text
            .split(['\n', '\r'])
            .rfind(|line| !line.trim().is_empty());
        line.map_or_else(|| "it said nothing".to_owned(), |line| line.trim().into())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        // It must not stay a zombie.
        let _ = self.child.wait();
    }
}

/// Seconds of processors of a process and its children, from `/proc/PID/stat`
/// (proc_pid_stat(5): utime, stime, cutime, cstime).
fn cpu(stat: &str) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let ticks: Option<Vec<u64>> = rest
        .split_ascii_whitespace()
        .skip(11)
        .take(4)
        .map(|number| number.parse().ok())
        .collect();
    let ticks = ticks.filter(|ticks| ticks.len() == 4)?;
    Some(ticks.iter().sum::<u64>() as f64 / ticks_per_second())
}

fn ticks_per_second() -> f64 {
    rustix::param::clock_ticks_per_second() as f64
}

/// The bytes of `VmHWM` in `/proc/PID/status`.
fn high_water(status: &str) -> Option<u64> {
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kilobytes: u64 = line.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes * 1024)
}

/// Seconds for which all processors together were busy since the start of this machine,
/// from `/proc/stat` (proc_stat(5)).
pub(in crate::bench) fn busy() -> Option<f64> {
    busy_in(&fs::read_to_string("/proc/stat").ok()?)
}

fn busy_in(stat: &str) -> Option<f64> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let ticks: Option<Vec<u64>> = line
        .split_ascii_whitespace()
        .map(|number| number.parse().ok())
        .collect();
    let ticks = ticks.filter(|ticks| ticks.len() >= 8)?;
    // user, nice, system; idle and iowait are none; irq, softirq, steal.
    let busy = ticks[..3].iter().chain(&ticks[5..8]).sum::<u64>();
    Some(busy as f64 / ticks_per_second())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_memory_are_read() {
        let tick = 1.0 / ticks_per_second();
        let stat = "7 (a) b) Z 1 7 7 0 -1 4 0 0 0 0 100 20 3 4 20 0 1 0 5";
        assert_eq!(cpu(stat), Some(127.0 * tick));
        assert_eq!(
            busy_in("cpu  1 2 4 8 16 32 64 128 0 0\ncpu0 9"),
            Some(231.0 * tick)
        );
        assert_eq!(high_water("Name:\tx\nVmHWM:\t    2048 kB\n"), Some(2 << 20));
        for ugly in ["", "7 (a) Z 1 2", "cpu ", "cpu  1 2 x", "VmHWM:"] {
            assert_eq!(cpu(ugly), None, "{ugly:?}");
            assert_eq!(busy_in(ugly), None, "{ugly:?}");
            assert_eq!(high_water(ugly), None, "{ugly:?}");
        }
    }
}
