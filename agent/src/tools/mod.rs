//! The tools of the rescue system, under the names that the old one gave them.

mod devices;
pub(crate) mod drivers;
mod fstab;
pub(crate) mod guessmounts;
pub(crate) mod install_bootloader;
mod loaders;
pub(crate) mod lsparts;
mod run;
mod systems;
mod volumes;
