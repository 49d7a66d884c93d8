//! Wire protocols without input or output: machines that take bytes and the time,
//! and give bytes, deadlines and events. No sockets, no clock, no threads.

pub mod arp;
pub mod dhcp;
pub mod dhcp6;
pub mod discover;
pub mod dolly;
pub mod dollyplus;
pub mod ka;
pub mod router;
pub mod ssh_key;
pub mod syslog;
