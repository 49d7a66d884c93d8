//! Sockets and threads around the wire protocols, the pump that moves the data, and
//! the fetchers of stage 2.

pub mod digest;
pub mod discover;
pub mod dolly;
pub mod dollyplus;
pub mod fetch;
pub mod fib;
pub mod ka;
mod pace;
mod pool;
pub mod pump;
pub mod range;
pub mod remote;
mod zeros;
