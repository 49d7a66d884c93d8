//! See ARCHITECTURE.md.
pub mod dhcp;
