//! Children in their own root, and the reaping that is PID 1's duty.

use std::ffi::CString;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::{SigSet, Signal};
use nix::unistd::Pid as NixPid;
use rustix::process::WaitOptions;

/// A program that shall run in another root, as the leader of a session of its own.
#[derive(Debug, Clone, Copy)]
pub struct InRoot<'a> {
    /// The folder that becomes its `/`.
    pub root: &'a Path,
    /// The program, as seen from there.
    pub program: &'a str,
    /// Its arguments, without the program's name.
    pub args: &'a [&'a str],
    /// Its whole environment.
    pub env: &'a [(&'a str, &'a str)],
    /// Its standard input, output and error, and its controlling terminal; seen from
    /// the caller's root.
    pub console: &'a Path,
}

impl InRoot<'_> {
    /// Starts it and returns its process id; [`reap`] tells when it ends.
    ///
    /// # Errors
    /// A program that is missing or cannot be executed, and any step before.
    pub fn spawn(&self) -> io::Result<u32> {
        let console = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(rustix::fs::OFlags::NOCTTY.bits() as i32)
            .open(self.console)?;
        let root = CString::new(self.root.as_os_str().as_bytes())?;
        let mut command = Command::new(self.program);
        command
            .args(self.args)
            .env_clear()
            .envs(self.env.iter().copied())
            .stdin(Stdio::from(console.try_clone()?))
            .stdout(Stdio::from(console.try_clone()?))
            .stderr(Stdio::from(console));
        hears_signals(&mut command);
        // SAFETY: between fork and exec the closure makes four system calls by rustix,
        // which is async-signal-safe, and neither allocates (the path is made before)
        // nor takes a lock. std can change the user and the folder of a child, but
        // neither its root nor its controlling terminal.
        unsafe {
            command.pre_exec(move || {
                rustix::process::setsid()?;
                // A console without a terminal (a file in a test) is fine.
                let _ = rustix::process::ioctl_tiocsctty(rustix::stdio::stdin());
                rustix::process::chroot(root.as_c_str())?;
                rustix::process::chdir(c"/")?;
                Ok(())
            });
        }
        Ok(command.spawn()?.id())
    }
}

/// Makes a child hear all signals, whatever its parent has blocked: what is blocked
/// stays so across fork and exec, and Ctrl-C or a polite end would do nothing.
pub fn hears_signals(command: &mut Command) {
    // SAFETY: between fork and exec the closure makes one system call through
    // pthread_sigmask, which is async-signal-safe, and neither allocates nor takes a
    // lock. std leaves a child the mask of its parent and has no way to change it.
    unsafe {
        command.pre_exec(|| Ok(SigSet::empty().thread_set_mask()?));
    }
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// With this exit code.
    Exited(i32),
    /// By this signal.
    Killed(i32),
}

/// Waits for the next child, own or inherited, and returns its id and end; `None`
/// when there is no child at all.
///
/// # Errors
/// None that waitpid(2) documents for this use.
pub fn reap() -> io::Result<Option<(u32, Ended)>> {
    loop {
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) => {
                let ended = match (status.exit_status(), status.terminating_signal()) {
                    (Some(code), _) => Ended::Exited(code),
                    (None, Some(signal)) => Ended::Killed(signal),
                    // Stopped or continued: it lives.
                    (None, None) => continue,
                };
                return Ok(Some((pid.as_raw_nonzero().get() as u32, ended)));
            }
            Ok(None) => return Ok(None),
            Err(rustix::io::Errno::CHILD) => return Ok(None),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Asks every process but the caller to end; as PID 1 the whole machine. Refused for
/// any other caller, because a test must never reach it.
pub fn terminate_all() {
    signal_all(Signal::SIGTERM);
}

/// Ends every process but the caller, at once; see [`terminate_all`].
pub fn kill_all() {
    signal_all(Signal::SIGKILL);
}

fn signal_all(signal: Signal) {
    if std::process::id() == 1 {
        // ESRCH: nobody is left, which is what was wanted.
        let _ = nix::sys::signal::kill(NixPid::from_raw(-1), signal);
    }
}

/// Gives the machine its name (sethostname(2)).
///
/// # Errors
/// A name of more than 64 bytes, or a caller who may not.
pub fn set_hostname(name: &str) -> io::Result<()> {
    Ok(rustix::system::sethostname(name.as_bytes())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signals::{Signals, ignore_keys};

    #[test]
    fn what_this_thread_blocks_a_child_hears() {
        Signals::block().unwrap();
        ignore_keys().unwrap();
        let mut command = Command::new("grep");
        command.args(["SigBlk", "/proc/self/status"]);
        hears_signals(&mut command);
        let said = String::from_utf8(command.output().unwrap().stdout).unwrap();
        assert_eq!(said.trim(), "SigBlk:\t0000000000000000");
    }
}
