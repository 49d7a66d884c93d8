//! Random numbers from the kernel.

use rustix::rand::{GetRandomFlags, getrandom};

/// A random number that is good enough to tell nodes apart, never blocking.
///
/// Early in boot the kernel's pool may not be ready; then, and on kernels before 5.6
/// that lack `GRND_INSECURE` (getrandom(2)), the clock serves.
pub fn number() -> u32 {
    let mut bytes = [0u8; 4];
    match getrandom(&mut bytes[..], GetRandomFlags::INSECURE) {
        Ok(4) => u32::from_ne_bytes(bytes),
        _ => {
            let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
            // Odd multiplier (Knuth): neighbouring clocks give distant numbers.
            (now.tv_nsec as u32).wrapping_mul(2_654_435_761)
        }
    }
}
