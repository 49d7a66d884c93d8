//! Helpers of the host tests: computers as network namespaces on a bridge, programs in
//! them, and what a ring needs.

pub mod bench;
pub mod ka;
pub mod net;
pub mod program;
pub mod ring;
pub mod target;
pub mod timing;
