//! The tools of the rescue system, under the names that the old one gave them.

pub(crate) mod chroot;
pub(crate) mod disks;
pub(crate) mod drivers;
pub(crate) mod guessmounts;
pub(crate) mod install_bootloader;
pub(crate) mod loaders;
pub(crate) mod lsparts;
pub(crate) mod run;
pub(crate) mod systems;
pub(crate) mod tree;
pub(crate) mod volumes;
pub(crate) mod watch;
