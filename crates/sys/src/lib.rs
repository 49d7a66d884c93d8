//! The fence: every system call that the standard library lacks, and the only
//! crate of the workspace that may contain `unsafe`.
//!
//! Each type owns one effect and undoes it when it is dropped: [`mount::Mounted`],
//! [`loopdev::LoopDevice`]. Functions take paths that the caller has already put
//! below its `contract::Root`.

pub mod beneath;
pub mod block;
pub mod buffers;
pub mod clock;
pub mod icmp6;
pub mod kmsg;
pub mod loopdev;
pub mod low_water;
pub mod module;
pub mod mount;
pub mod netlink;
pub mod packet;
pub mod pipe;
pub mod power;
pub mod process;
pub mod random;
pub mod signals;
pub mod tcp;
pub mod terminal;
pub mod udp;
pub mod uevents;
