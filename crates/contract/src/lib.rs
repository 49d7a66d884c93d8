//! What the programs of goldring agree on: the boot arguments, the tables inside
//! `all.rdz`, limits, paths, the console sentences that the manuals promise, and
//! what `init` hands to the agent.
//!
//! Everything here is parsing and printing of plain values. This crate depends on
//! nothing of ours and touches neither a socket nor a clock; the few `read`
//! functions open one file below a [`Root`].

pub mod bootargs;
pub mod calendar;
pub mod handover;
pub mod image;
pub mod ka;
pub mod limits;
pub mod paths;
mod root;
pub mod sentences;

pub use root::Root;
