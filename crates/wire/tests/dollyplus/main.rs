//! dolly+ without sockets: bytes, configurations, windows, a long ring.

mod configs;
mod pace;
mod packets;
mod slope;
mod windows;
