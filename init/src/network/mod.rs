//! Cards and addresses: which card has a link, what VLAN it is in, how it gets an address
//! and how it keeps it.

pub(crate) mod dhcp;
pub(crate) mod held;
pub(crate) mod link;
mod probe;
mod resolv;
pub(crate) mod vlan;
