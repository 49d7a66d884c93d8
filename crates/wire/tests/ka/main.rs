//! ka against recorded sessions, against ugly input, and whole sessions in memory.

mod captures;
mod gate;
mod messages;
mod old;
mod sessions;
mod world;
