//! Host tests: placeholder main until the ring lands.
fn main() {}
