//! Programs that may hang: whoever waits is told that one still runs, and which; what runs
//! far too long is ended, so that no computer waits for ever.

use std::fs;
use std::io::Read;
use std::process::{Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

/// How long a program that was killed, or its output, is waited for. The kernel does not
/// let go of one that waits for a disk that does not answer.
const GRACE: Duration = Duration::from_secs(5);

/// How long a program may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Patience {
    /// After so long it is told that it still runs; again after twice as long, and so on.
    pub(crate) word: Duration,
    /// After so long it is ended.
    pub(crate) limit: Duration,
}

/// Runs a program to its end and gives all that it said. `line` is what it is called.
///
/// # Errors
/// It does not start; it has not ended within the limit, with the last that it said.
pub(crate) fn output(
    command: &mut Command,
    line: &str,
    patience: Patience,
    say: &mut dyn FnMut(&str),
) -> anyhow::Result<Output> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("starting {line}"))?;
    let (stdout, stderr) = (
        Heard::listen(child.stdout.take()),
        Heard::listen(child.stderr.take()),
    );
    let pid = Pid::from_child(&child);
    if !wait(pid, line, patience, say) {
        end(pid);
        let minutes = minutes(patience.limit);
        let last = [stdout.so_far(), stderr.so_far()].concat();
        let last = last_line(&last);
        bail!(
            "{line} did not end within {minutes} and was killed; what it works on hangs, dmesg \
             may say why; the last it said: {last}"
        );
    }
    let status: ExitStatus = child
        .wait()
        .with_context(|| format!("waiting for {line}"))?;
    Ok(Output {
        status,
        stdout: stdout.all(),
        stderr: stderr.all(),
    })
}

/// Whether it ends in time. It is not reaped here, so that its number stays its own.
fn wait(pid: Pid, line: &str, patience: Patience, say: &mut dyn FnMut(&str)) -> bool {
    let ended = watch(pid);
    let begin = Instant::now();
    let mut word = patience.word;
    loop {
        let due = word.min(patience.limit);
        match ended.recv_timeout(due.saturating_sub(begin.elapsed())) {
            Ok(()) => return true,
            // No thread watches it, so nobody knows.
            Err(RecvTimeoutError::Disconnected) => return true,
            Err(RecvTimeoutError::Timeout) if due == patience.limit => return false,
            Err(RecvTimeoutError::Timeout) => {
                say(&format!("still running after {}: {line}", minutes(word)));
                word *= 2;
            }
        }
    }
}

/// Tells when a program has ended.
fn watch(pid: Pid) -> Receiver<()> {
    let (tell, told) = mpsc::channel();
    let work = move || {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        let ended = rustix::io::retry_on_intr(|| waitid(WaitId::Pid(pid), options));
        // Nobody waits for one that was given up.
        if ended.is_ok() {
            let _ = tell.send(());
        }
    };
    // Without a thread the caller waits as long as it takes.
    let _ = thread::Builder::new().name("watch".into()).spawn(work);
    told
}

/// Kills a program and what it has started.
fn end(pid: Pid) {
    let mut all = vec![pid];
    let mut next = 0;
    while let Some(&parent) = all.get(next) {
        all.extend(children(parent));
        next += 1;
    }
    for pid in &all {
        // It may have ended a moment ago.
        let _ = kill_process(*pid, Signal::KILL);
    }
    let (options, begin) = (
        WaitIdOptions::EXITED | WaitIdOptions::NOHANG,
        Instant::now(),
    );
    while matches!(waitid(WaitId::Pid(pid), options), Ok(None)) && begin.elapsed() < GRACE {
        thread::sleep(Duration::from_millis(10));
    }
}

/// What a process has started, by any of its threads (`proc_pid_task_children`(5)).
fn children(pid: Pid) -> Vec<Pid> {
    let tasks = fs::read_dir(format!("/proc/{}/task", pid.as_raw_nonzero()));
    let text = tasks.into_iter().flatten().filter_map(|task| {
        let path = task.ok()?.path().join("children");
        fs::read_to_string(path).ok()
    });
    let text: String = text.collect();
    let number = |word: &str| Pid::from_raw(word.parse().ok()?);
    text.split_ascii_whitespace().filter_map(number).collect()
}

/// What a program says, while it says it.
struct Heard {
    bytes: Arc<Mutex<Vec<u8>>>,
    ended: Receiver<()>,
}

impl Heard {
    fn listen(pipe: Option<impl Read + Send + 'static>) -> Self {
        let bytes: Arc<Mutex<Vec<u8>>> = Arc::default();
        let (tell, ended) = mpsc::channel();
        let to = Arc::clone(&bytes);
        let work = move || {
            let mut piece = [0; 4096];
            let mut pipe = pipe;
            while let Some(Ok(length @ 1..)) = pipe.as_mut().map(|pipe| pipe.read(&mut piece)) {
                let mut to = to.lock().unwrap_or_else(PoisonError::into_inner);
                to.extend_from_slice(&piece[..length]);
            }
            // Nobody may wait for it any more.
            let _ = tell.send(());
        };
        // Without a thread its words are lost, and a full pipe stops it; then it is killed.
        let _ = thread::Builder::new().name("listen".into()).spawn(work);
        Self { bytes, ended }
    }

    fn so_far(&self) -> Vec<u8> {
        let bytes = self.bytes.lock();
        bytes.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// All of it, of a program that has ended. What it left running may keep the pipe open.
    fn all(&self) -> Vec<u8> {
        let _ = self.ended.recv_timeout(GRACE);
        self.so_far()
    }
}

fn last_line(said: &[u8]) -> String {
    let text = String::from_utf8_lossy(said);
    let line = text
        .split(['\n', '\r'])
        .rfind(|line| !line.trim().is_empty());
    line.map_or_else(|| "nothing".to_owned(), |line| line.trim().to_owned())
}

fn minutes(time: Duration) -> String {
    match time.as_secs() {
        seconds if seconds >= 60 => format!("{} min", seconds / 60),
        seconds => format!("{seconds} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(script: &str, patience: Patience) -> (anyhow::Result<Output>, Vec<String>) {
        let mut said = Vec::new();
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        let mut say = |line: &str| said.push(line.to_owned());
        let output = output(&mut command, "mkfs.fake /dev/sdx", patience, &mut say);
        (output, said)
    }

    #[test]
    fn a_program_that_hangs_is_told_and_then_ended_with_what_it_started() {
        let folder = tempfile::tempdir().unwrap();
        let mark = folder.path().join("mark");
        let patience = Patience {
            word: Duration::from_secs(1),
            limit: Duration::from_secs(3),
        };
        // The second shell is a child, as a tool's own helpers are.
        let script = format!(
            "echo 12 of 99 inodes; sh -c 'sleep 5; echo late > {}'; echo",
            mark.display()
        );
        let begin = Instant::now();
        let (output, said) = run(&script, patience);
        assert!(begin.elapsed() < Duration::from_secs(5), "{begin:?}");
        let error = output.unwrap_err().to_string();
        assert!(
            error.starts_with("mkfs.fake /dev/sdx did not end within 3 s and was killed; ")
                && error.ends_with("the last it said: 12 of 99 inodes"),
            "{error}"
        );
        assert_eq!(
            said,
            [
                "still running after 1 s: mkfs.fake /dev/sdx",
                "still running after 2 s: mkfs.fake /dev/sdx"
            ]
        );
        thread::sleep(Duration::from_secs(6).saturating_sub(begin.elapsed()));
        assert!(!mark.exists(), "what it had started went on");
    }

    #[test]
    fn a_program_that_ends_in_time_is_heard_whole() {
        let patience = Patience {
            word: Duration::from_secs(60),
            limit: Duration::from_secs(60),
        };
        let (output, said) = run("seq 30000; echo talk >&2; exit 3", patience);
        let output = output.unwrap();
        assert_eq!(output.status.code(), Some(3));
        assert!(output.stdout.ends_with(b"\n30000\n") && output.stderr == b"talk\n");
        assert_eq!(said, [""; 0]);
        // What stays behind keeps nobody waiting for long.
        let begin = Instant::now();
        let (output, _) = run("sleep 20 & echo ready", patience);
        assert_eq!(output.unwrap().stdout, b"ready\n");
        assert!(begin.elapsed() < Duration::from_secs(15));
    }
}
