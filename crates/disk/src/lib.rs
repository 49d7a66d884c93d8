//! Disks as sources and targets: what a path is, what it holds, who uses it, and how it
//! is written so that a disk that is not whole does not look bootable. What an installed
//! system mounts, and compressed images.

pub mod cloop;
pub mod desc;
pub mod describe;
pub mod escape;
pub mod fstab;
pub mod guid;
pub mod gzip;
pub mod identity;
pub mod layout;
pub mod lsblk;
pub mod lvm;
pub mod member;
pub mod mkfs;
pub mod old;
pub mod parts;
pub mod probe;
pub mod raid;
pub mod source;
pub mod stack;
pub mod superblock;
pub mod table;
pub mod target;
pub mod users;
pub mod window;
pub mod writer;
mod zeros;
