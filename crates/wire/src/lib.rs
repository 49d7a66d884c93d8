//! Wire protocols without input or output: machines that take bytes and the time,
//! and give bytes, deadlines and events. No sockets, no clock, no threads.

pub mod arp;
pub mod dhcp;
pub mod dolly;
pub mod syslog;
