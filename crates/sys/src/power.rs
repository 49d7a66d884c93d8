//! The end of a machine's run.

use std::io;

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

/// sync(2): writes all that is waiting to be written. May take long, or for ever on a disk
/// that hangs; bound it.
pub fn sync() {
    rustix::fs::sync();
}
