//! Devices, the modules that drive them, and what is missing.
//!
//! Everything here is decided from tables that the builder made and from `/sys` below a
//! `Root`; loading itself is the caller's, through [`load::Loader`], with [`insert::load`] as
//! the real way.

pub mod device;
pub mod firmware;
pub mod glob;
pub mod index;
pub mod insert;
pub mod load;
pub mod probe;
pub mod spare;
pub mod tables;
