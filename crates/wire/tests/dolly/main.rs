//! dolly without sockets: configurations with every fault, recorded conversations, and
//! whole rings in memory.

mod captures;
mod configs;
mod over;
mod readers;
mod ring;
mod rings;
mod suse;
