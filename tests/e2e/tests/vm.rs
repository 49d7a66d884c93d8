//! Stories in virtual machines.
fn main() {}
