//! dolly+ (`dollyS`, `dollyC`, `dping`; version 0.93): the packets, the ring, and what
//! goldring adds among its own kind.
//!
//! A ring is one TCP connection from each computer to the next; the last one connects to
//! the server. A list packet (the hosts, then the files) goes round once before data
//! moves. Data comes in numbered chunks, so that a computer whose neighbour died can
//! connect to the one behind it and go on where that one is. A second port takes single
//! commands.
//!
//! | module | holds |
//! |---|---|
//! | [`config`] | the operator's file |
//! | [`cook`] | what `>>` makes of a file, by its ending |
//! | [`pace`] | who holds a ring up |
//! | [`packet`] | every packet of 0.93, to the byte |
//! | [`ring`] | who is next, who was passed over |
//! | [`window`] | which chunks a computer takes, keeps and gives away |
//! | [`own`] | chunks with checksums, the plan and the verdicts; among goldring only |
//! | [`status`] | the answer to `dping`, and what goldring reads in it |

pub mod config;
pub mod cook;
pub mod own;
pub mod pace;
pub mod packet;
pub mod ring;
pub mod status;
pub mod window;

/// Payload of a chunk of 0.93, except a file's last one. A peer of that version refuses
/// larger ones.
pub const CHUNK: usize = 4 << 20;
/// The most hosts of a configuration (0.93).
pub const HOSTS_MAX: usize = 1024;
/// The most files of one run (0.93).
pub const FILES_MAX: usize = 32;
/// The longest name in a list packet that a 0.93 peer takes.
pub const NAME_MAX: usize = 127;
/// The longest host name that 0.93 can connect to.
pub const HOST_MAX: usize = 31;
