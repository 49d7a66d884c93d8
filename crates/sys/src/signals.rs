//! Signals of PID 1, and of whoever owns a terminal.

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

/// Keeps the keys of a terminal (Ctrl-C and its like) from ending or stopping this
/// thread, and lets it take the terminal back from a program that it has started.
/// Children inherit it; see [`crate::process::hears_signals`].
///
/// # Errors
/// None that Linux documents.
pub fn ignore_keys() -> io::Result<()> {
    let mut set = SigSet::empty();
    for signal in [
        Signal::SIGINT,
        Signal::SIGQUIT,
        Signal::SIGTSTP,
        Signal::SIGTTIN,
        Signal::SIGTTOU,
    ] {
        set.add(signal);
    }
    Ok(set.thread_block()?)
}

impl Signals {
    /// Blocks them in this thread and in all threads that it starts from now on, so
    /// call it first of all. Children inherit it; see [`crate::process::hears_signals`].
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
