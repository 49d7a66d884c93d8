//! Disks as sources and targets: what a path is, who uses it, and how it is written
//! so that a disk that is not whole does not look bootable; and what file system a device
//! holds.

pub mod probe;
pub mod source;
pub mod target;
pub mod users;
pub mod writer;
