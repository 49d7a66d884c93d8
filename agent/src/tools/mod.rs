//! The tools of the rescue system, under the names that the old one gave them.

mod disks;
pub(crate) mod drivers;
pub(crate) mod guessmounts;
pub(crate) mod install_bootloader;
mod loaders;
pub(crate) mod lsparts;
pub(crate) mod run;
mod systems;
mod volumes;
