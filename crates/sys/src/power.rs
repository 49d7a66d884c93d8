//! The end of a machine's run.

use std::io;
use std::sync::mpsc;
use std::time::Duration;

use rustix::system::RebootCommand;

/// Restarts the machine at once, without any sync (reboot(2)).
///
/// # Errors
/// `EPERM` for everybody but root in the first namespace. On success it does not
/// return.
pub fn reboot() -> io::Result<()> {
    Ok(rustix::system::reboot(RebootCommand::Restart)?)
}

/// Makes Ctrl-Alt-Del send `SIGINT` to PID 1 instead of restarting at once.
///
/// # Errors
/// `EPERM` as for [`reboot`].
pub fn catch_ctrl_alt_del() -> io::Result<()> {
    Ok(rustix::system::reboot(RebootCommand::CadOff)?)
}

/// sync(2) for at most `limit`; a disk that hangs must not hold the machine.
/// Returns whether it ended in time.
pub fn sync_bounded(limit: Duration) -> bool {
    let (done, wait) = mpsc::channel();
    let thread = std::thread::Builder::new().spawn(move || {
        rustix::fs::sync();
        let _ = done.send(());
    });
    thread.is_ok() && wait.recv_timeout(limit).is_ok()
}
