//! Signals of PID 1.

use std::io;

use nix::sys::signal::{SigSet, Signal};

/// The signals that a person or the kernel may send to PID 1: `SIGINT` for
/// Ctrl-Alt-Del and `SIGTERM`.
#[derive(Debug, Clone, Copy)]
pub struct Signals(SigSet);

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caught {
    /// Ctrl-Alt-Del was pressed (after [`crate::power::catch_ctrl_alt_del`]).
    CtrlAltDel,
    /// Something else, to be ignored.
    Other,
}

impl Signals {
    /// Blocks them in this thread and in all threads that it starts from now on, so
    /// call it first of all. Children of `std::process::Command` are not affected.
    ///
    /// # Errors
    /// None that Linux documents.
    pub fn block() -> io::Result<Self> {
        let mut set = SigSet::empty();
        set.add(Signal::SIGINT);
        set.add(Signal::SIGTERM);
        set.thread_block()?;
        Ok(Self(set))
    }

    /// Waits for the next one.
    ///
    /// # Errors
    /// None that Linux documents.
    pub fn wait(&self) -> io::Result<Caught> {
        Ok(match self.0.wait()? {
            Signal::SIGINT => Caught::CtrlAltDel,
            _ => Caught::Other,
        })
    }
}
